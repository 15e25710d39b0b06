package national

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/codec/extraction"
	"pli/fault"
	"pli/internal/pg"
)

const reportColumns = `id, dataset, file_name, file_sha256, file_size, extracted_at, started_at, finished_at, state, cause, forced,
       lines, kept, added, changed, gone, refused, repeated, ours, ended, restored, unknown`

const (
	selectLatest   = `SELECT ` + reportColumns + ` FROM national_import WHERE dataset = $1 AND state = $2 ORDER BY finished_at DESC, id DESC LIMIT 1`
	selectReports  = `SELECT ` + reportColumns + ` FROM national_import ORDER BY id DESC LIMIT $1`
	selectRefusals = `SELECT line, cause FROM national_refusal WHERE import_id = $1 ORDER BY line`
	deleteRefusals = `DELETE FROM national_refusal WHERE import_id = $1`
	insertRefusals = `INSERT INTO national_refusal (import_id, line, cause) SELECT $1, * FROM unnest($2::bigint[], $3::text[])`

	keepRefusedRun = `
UPDATE national_import SET state = 'refused', cause = $2, finished_at = $3, file_name = $4, extracted_at = $5, lines = $6, kept = $7,
       added = $8, changed = $9, gone = $10, refused = $11, repeated = $12, ours = $13
WHERE id = $1`

	selectChecked = `SELECT dataset, checked_at, failures FROM national_source`
)

func scanReport(row pgx.CollectableRow) (r Report, err error) {
	var extracted, finished *time.Time
	err = row.Scan(&r.ID, &r.Dataset, &r.File, &r.SHA256, &r.Size, &extracted, &r.StartedAt, &finished, &r.State, &r.Cause, &r.Forced,
		&r.Lines, &r.Kept, &r.Added, &r.Changed, &r.Gone, &r.Refused, &r.Repeated, &r.Ours, &r.Ended, &r.Restored, &r.Unknown)
	r.StartedAt = r.StartedAt.UTC()
	if extracted != nil {
		r.ExtractedAt = extracted.UTC()
	}
	if finished != nil {
		r.FinishedAt = finished.UTC()
	}
	return r, err
}

// latest is the last import of a dataset that came to a state. Errors: fault.NotFound.
func (im *Importer) latest(ctx context.Context, d extraction.Dataset, s State) (Report, error) {
	const op = "national.latest"
	rows, err := im.DB.Query(ctx, selectLatest, d, s)
	if err != nil {
		return Report{}, pg.Error(op, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanReport)
	return r, pg.Error(op, err)
}

// Reports are the last n imports, the newest first.
func (im *Importer) Reports(ctx context.Context, n int) ([]Report, error) {
	const op = "national.Reports"
	rows, err := im.DB.Query(ctx, selectReports, max(n, 0))
	if err != nil {
		return nil, pg.Error(op, err)
	}
	rs, err := pgx.CollectRows(rows, scanReport)
	return rs, pg.Error(op, err)
}

// Refusals are the lines that an import could not use, the first 1,000.
func (im *Importer) Refusals(ctx context.Context, id int64) ([]Refusal, error) {
	const op = "national.Refusals"
	rows, err := im.DB.Query(ctx, selectRefusals, id)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	rs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Refusal])
	return rs, pg.Error(op, err)
}

func keepRefusalsTx(ctx context.Context, tx *pg.Tx, id int64, refusals []Refusal) error {
	if _, err := tx.Exec(ctx, deleteRefusals, id); err != nil || len(refusals) == 0 {
		return err
	}
	lines, causes := make([]int64, len(refusals)), make([]string, len(refusals))
	for i, r := range refusals {
		lines[i], causes[i] = r.Line, r.Cause
	}
	_, err := tx.Exec(ctx, insertRefusals, id, lines, causes)
	return err
}

func (im *Importer) keepRefusals(ctx context.Context, id int64, refusals []Refusal) error {
	return im.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error { return keepRefusalsTx(ctx, tx, id, refusals) })
}

func (im *Importer) keepRefused(ctx context.Context, r Report) error {
	_, err := im.DB.Exec(ctx, keepRefusedRun, r.ID, r.Cause, r.FinishedAt, r.File, instantOrNull(r.ExtractedAt), r.Lines, r.Kept, r.Added,
		r.Changed, r.Gone, r.Refused, r.Repeated, r.Ours)
	return err
}

// tell writes the one event of an import.
func (im *Importer) tell(ctx context.Context, r Report, err error) {
	outcome := string(r.State)
	if err != nil && r.State != Refused {
		outcome = "failed"
	}
	im.metrics.imports.WithLabelValues(string(r.Dataset), outcome).Inc()
	attrs := []any{"dataset", string(r.Dataset), "import", r.ID, "outcome", outcome, "took", im.now().Sub(r.StartedAt), "lines", r.Lines,
		"kept", r.Kept, "added", r.Added, "changed", r.Changed, "gone", r.Gone, "refused", r.Refused, "repeated", r.Repeated, "ours", r.Ours,
		"ended", r.Ended, "restored", r.Restored, "unknown", r.Unknown}
	if r.Cause != "" {
		attrs = append(attrs, "cause", r.Cause)
	}
	if err != nil {
		im.Log.WarnContext(ctx, "national import", append(attrs, "error", err)...)
		return
	}
	im.metrics.seconds.WithLabelValues(string(r.Dataset)).Observe(r.Took().Seconds())
	im.Log.InfoContext(ctx, "national import", attrs...)
}

// StaleAfter is the age at which an extraction is a matter for alarm: the longest outage
// of the national service that was seen is 10 days (mssante.md §4.2).
const StaleAfter = 10 * 24 * time.Hour

// Fresh is how old what is read of a dataset is. Times are zero when it never came.
type Fresh struct {
	Dataset     extraction.Dataset
	Wanted      bool // the configuration names a source
	ExtractedAt time.Time
	ImportedAt  time.Time
	CheckedAt   time.Time // the source was last asked
	Failures    int       // in a row, since it answered
	Lines       int64     // kept
}

// Age is how long ago the extraction was made, or imported when its name does not tell.
// Zero when it never came.
func (f Fresh) Age(now time.Time) time.Duration {
	at := f.ExtractedAt
	if at.IsZero() {
		at = f.ImportedAt
	}
	if at.IsZero() {
		return 0
	}
	return now.Sub(at)
}

// Stale reports whether somebody should be alarmed: the dataset is wanted, and it never
// came or is older than StaleAfter.
func (f Fresh) Stale(now time.Time) bool {
	return f.Wanted && (f.ImportedAt.IsZero() || f.Age(now) > StaleAfter)
}

// Freshness tells, for both datasets.
func (im *Importer) Freshness(ctx context.Context) ([]Fresh, error) {
	const op = "national.Freshness"
	out := []Fresh{
		{Dataset: extraction.Correspondances, Wanted: im.Config.Correspondance != ""},
		{Dataset: extraction.Activities, Wanted: im.Config.Activite != ""},
	}
	for i := range out {
		r, err := im.latest(ctx, out[i].Dataset, Done)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		out[i].ExtractedAt, out[i].ImportedAt, out[i].Lines = r.ExtractedAt, r.FinishedAt, r.Kept
	}
	rows, err := im.DB.Query(ctx, selectChecked)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	var d extraction.Dataset
	var checked time.Time
	var failures int
	_, err = pgx.ForEachRow(rows, []any{&d, &checked, &failures}, func() error {
		for i := range out {
			if out[i].Dataset == d {
				out[i].CheckedAt, out[i].Failures = checked.UTC(), failures
			}
		}
		return nil
	})
	return out, pg.Error(op, err)
}
