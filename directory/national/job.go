package national

import (
	"context"
	"strings"
	"time"

	"pli/codec/extraction"
	"pli/fault"
	"pli/internal/job"
	"pli/internal/pg"
)

// update asks for the extractions to be looked at.
type update struct{}

// Kind names the job.
func (update) Kind() string { return "national.update" }

const (
	updateEvery   = 15 * time.Minute // how often somebody looks whether it is time
	updateTimeout = 2 * time.Hour
	lateAfter     = 24 * time.Hour // an import older than that is tried for out of hours
	lateEvery     = time.Hour
)

// Handle has the workers import every night at the hour set, and after a night that was
// missed. Without a source it does nothing.
func (im *Importer) Handle(w *job.Workers) {
	job.Handle(w, updateTimeout, func(ctx context.Context, _ update) error { return im.Update(ctx) })
	if im.Config.Correspondance != "" || im.Config.Activite != "" {
		w.Every(update{}, updateEvery)
	}
}

const keepChecked = `
INSERT INTO national_source (dataset, checked_at, failures) VALUES ($1, $2, $3::int)
ON CONFLICT (dataset) DO UPDATE SET checked_at = $2, failures = CASE WHEN $3 = 0 THEN 0 ELSE national_source.failures + 1 END`

// Update fetches and imports what it is time for. A source that fails is tried again
// later and later, one file that is refused the next night; neither keeps the other
// dataset from its turn.
func (im *Importer) Update(ctx context.Context) error {
	all, err := im.Freshness(ctx)
	if err != nil {
		return err
	}
	for _, f := range all {
		if !f.Wanted || !im.due(f) {
			continue
		}
		err := im.updateOne(ctx, f.Dataset)
		if ctx.Err() != nil {
			return pg.Error("national.Update", ctx.Err()) // begun: the next run goes on
		}
		if fault.Is(err, fault.Conflict) {
			continue // somebody is at it
		}
		if _, err := im.DB.Exec(ctx, keepChecked, f.Dataset, im.now(), failure(err)); err != nil {
			return pg.Error("national.Update", err)
		}
		if err != nil {
			im.Log.WarnContext(ctx, "national update", "dataset", string(f.Dataset), "error", err)
		}
	}
	return nil // what failed is told and counted: the next look tries again when it is time
}

func failure(err error) int {
	if err == nil || fault.Is(err, fault.InvalidContent) {
		return 0 // the source answered
	}
	return 1
}

// updateOne fetches a dataset and imports it.
func (im *Importer) updateOne(ctx context.Context, d extraction.Dataset) error {
	source := im.Config.Correspondance
	if d == extraction.Activities {
		source = im.Config.Activite
	}
	path := source
	if strings.Contains(source, "://") {
		f, err := im.Fetch(ctx, d, source)
		if err != nil {
			return err
		}
		path = f.Path
	}
	if again, err := im.refusedLately(ctx, d, path); again || err != nil {
		return err
	}
	_, err := im.Import(ctx, d, path, Options{})
	return err
}

// refusedAgainAfter is when a file that was refused is looked at anew: it may have been
// the fault of what it was compared with.
const refusedAgainAfter = 20 * time.Hour

const findRefused = `
SELECT EXISTS (SELECT 1 FROM national_import
WHERE dataset = $1 AND file_sha256 = $2 AND state = 'refused' AND cause <> 'abandoned' AND started_at > $3)`

// refusedLately reports whether this very file was refused since yesterday.
func (im *Importer) refusedLately(ctx context.Context, d extraction.Dataset, path string) (yes bool, err error) {
	sum, _, err := digest(ctx, path)
	if err != nil {
		return false, err
	}
	err = im.DB.QueryRow(ctx, findRefused, d, sum, im.now().Add(-refusedAgainAfter)).Scan(&yes)
	return yes, pg.Error("national.refusedLately", err)
}

// due reports whether it is time to ask a source: after each passing of the hour; every
// hour while the last import is more than a day old; and less and less often while it
// fails.
func (im *Importer) due(f Fresh) bool {
	now := im.now()
	if f.CheckedAt.IsZero() {
		return true
	}
	since := now.Sub(f.CheckedAt)
	if f.Failures > 0 {
		return since >= min(updateEvery<<min(f.Failures-1, 4), 4*time.Hour)
	}
	late := f.ImportedAt.IsZero() || now.Sub(f.ImportedAt) > lateAfter
	return f.CheckedAt.Before(im.lastHour(now)) || late && since >= lateEvery
}

// lastHour is the last passing of the hour set, in Paris: at the first instant of that
// hour, whatever the season.
func (im *Importer) lastHour(now time.Time) time.Time {
	local := now.In(paris)
	at := time.Date(local.Year(), local.Month(), local.Day(), im.Config.Hour, 0, 0, 0, paris)
	if at.After(now) {
		at = time.Date(local.Year(), local.Month(), local.Day()-1, im.Config.Hour, 0, 0, 0, paris)
	}
	return at
}

var paris = func() *time.Location {
	l, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		return time.UTC // the zones are embedded (codec/extraction): not reached
	}
	return l
}()
