package directory

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/health"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/pg"
)

// Calendar is what becomes of a BAL that nobody uses (mssante.md §3.4). Zero durations
// are 12, 18 and 24 months; negative ones are never.
type Calendar struct {
	NoticeAfter    time.Duration // the holder is told
	SuspendAfter   time.Duration // it is suspended
	UnpublishAfter time.Duration // it leaves the directory
}

// grace is the least time between the notice and what follows: a house that begins to
// count, or whose nights were missed, surprises nobody.
const grace = 30 * 24 * time.Hour

// before is the day such that what was last used then, or earlier, is concerned.
func before(now time.Time, after time.Duration, months int) (day time.Time, ever bool) {
	switch {
	case after < 0:
		return time.Time{}, false
	case after == 0:
		return addMonths(now, -months), true
	default:
		return now.Add(-after), true
	}
}

// addMonths ends on the last day of a month that lacks the day, where AddDate goes on into
// the next: nobody is suspended before the day that he was told.
func addMonths(t time.Time, months int) time.Time {
	to := t.AddDate(0, months, 0)
	if to.Day() != t.Day() {
		to = to.AddDate(0, 0, -to.Day())
	}
	return to
}

func (c *Calendar) notice(now time.Time) (time.Time, bool)  { return before(now, c.NoticeAfter, 12) }
func (c *Calendar) suspend(now time.Time) (time.Time, bool) { return before(now, c.SuspendAfter, 18) }
func (c *Calendar) unpublish(now time.Time) (time.Time, bool) {
	return before(now, c.UnpublishAfter, 24)
}

// suspendedOn is the day on which a BAL unused since then is suspended; zero for never.
func (c *Calendar) suspendedOn(since time.Time) time.Time {
	switch {
	case c.SuspendAfter < 0:
		return time.Time{}
	case c.SuspendAfter == 0:
		return addMonths(since, 18)
	default:
		return since.Add(c.SuspendAfter)
	}
}

const (
	// The first use of a day is the only one that writes.
	touch = `
UPDATE bal SET used_at = $2, noticed_at = NULL
WHERE id = $1 AND kind <> 'PATIENT' AND (used_at IS NULL OR used_at < $2)`

	findSleep = `
SELECT state = 'suspended' AND state_cause = 'inactive', unpublished_at IS NOT NULL FROM bal
WHERE id = $1 AND kind <> 'PATIENT' AND (used_at IS NULL OR used_at < $2)
  AND (unpublished_at IS NOT NULL OR state = 'suspended' AND state_cause = 'inactive')`

	showAgain = `UPDATE bal SET unpublished_at = NULL WHERE id = $1`

	findSleeping = `
SELECT id FROM bal WHERE kind <> 'PATIENT' AND state = 'active' AND noticed_at IS NULL
  AND coalesce(used_at, created_at) <= $1 AND id > $2 ORDER BY id LIMIT $3`

	setNoticed = `
UPDATE bal SET noticed_at = $2
WHERE id = $1 AND state = 'active' AND noticed_at IS NULL AND coalesce(used_at, created_at) <= $3`

	findToSuspend = `
SELECT id FROM bal WHERE kind <> 'PATIENT' AND state = 'active' AND noticed_at <= $4
  AND coalesce(used_at, created_at) <= $1 AND id > $2 ORDER BY id LIMIT $3`

	findToUnpublish = `
SELECT id FROM bal WHERE kind <> 'PATIENT' AND state IN ('active', 'suspended') AND noticed_at <= $4
  AND unpublished_at IS NULL AND coalesce(used_at, created_at) <= $1 AND id > $2 ORDER BY id LIMIT $3`

	// asked again under lock
	stillToSuspend = `
SELECT EXISTS (SELECT FROM bal WHERE id = $1 AND state = 'active' AND noticed_at <= $3 AND coalesce(used_at, created_at) <= $2)`

	setUnpublished = `
UPDATE bal SET unpublished_at = $2 WHERE id = $1 AND state IN ('active', 'suspended') AND noticed_at <= $4
  AND unpublished_at IS NULL AND coalesce(used_at, created_at) <= $3`

	// the register confirms what it shows
	confirmListings      = `UPDATE listing_own SET seen_at = $1 WHERE seen_at < $1`
	confirmPractitioners = `UPDATE practitioner_own SET seen_at = $1 WHERE seen_at < $1`
	confirmOrganizations = `UPDATE organization_own SET seen_at = $1 WHERE seen_at < $1`
	confirmRoles         = `UPDATE role_own SET seen_at = $1 WHERE seen_at < $1`
)

// Touch notes that a professional BAL was opened or written from, to the day: one write a
// day at most. One that was suspended or unpublished because it slept is as before.
func (d *Directory) Touch(ctx context.Context, b id.BAL, at time.Time) error {
	const op = "directory.Touch"
	day := dayOf(at)
	var suspended, unpublished bool
	err := d.db.QueryRow(ctx, findSleep, b, day).Scan(&suspended, &unpublished)
	if errors.Is(err, pgx.ErrNoRows) {
		_, err = d.db.Exec(ctx, touch, b, day)
		return pg.Error(op, err)
	}
	if err != nil {
		return pg.Error(op, err)
	}
	return d.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error { return d.TouchTx(ctx, tx, b, at) })
}

// TouchTx is Touch in the caller's transaction. It locks the register when the BAL sleeps.
func (d *Directory) TouchTx(ctx context.Context, tx *pg.Tx, b id.BAL, at time.Time) error {
	day := dayOf(at)
	var suspended, unpublished bool
	err := tx.QueryRow(ctx, findSleep, b, day).Scan(&suspended, &unpublished)
	if errors.Is(err, pgx.ErrNoRows) {
		_, err = tx.Exec(ctx, touch, b, day)
		return err
	}
	if err != nil {
		return err
	}
	return d.wakeTx(ctx, tx, b, at)
}

func dayOf(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour) }

// wakeTx brings back a BAL that slept.
func (d *Directory) wakeTx(ctx context.Context, tx *pg.Tx, b id.BAL, at time.Time) error {
	const op = "directory.wakeTx"
	if err := d.lockTx(ctx, tx); err != nil {
		return err
	}
	l, err := d.lockBALTx(ctx, tx, op, b)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(touch, b, dayOf(at))
	batch.Queue(showAgain, b)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	by := Author{Means: ByUse}
	if l.State == health.Suspended && l.Cause == CauseInactive && l.EndedAt == nil {
		_, err := d.MoveTx(ctx, tx, b, Move{To: health.Active, Cause: CauseUsed, Author: by, At: at})
		return err
	}
	if err := d.publishTx(ctx, tx, at, true, b); err != nil {
		return err
	}
	return d.traceTx(ctx, tx, Act{BAL: b, Author: by, Action: "publish-again", Object: objectBAL(b), Cause: CauseUsed, At: at})
}

// night is the job of the calendar.
type night struct{}

// Kind names the job.
func (night) Kind() string { return "directory.calendar" }

const (
	nightEvery   = 24 * time.Hour
	nightTimeout = time.Hour
	nightBatch   = 200
)

// Handle registers the job of the calendar.
func (d *Directory) Handle(w *job.Workers) {
	job.Handle(w, nightTimeout, func(ctx context.Context, _ night) error {
		n, err := d.RunCalendar(ctx, d.now())
		if d.plugs.Log != nil {
			d.plugs.Log.InfoContext(ctx, "calendar", "noticed", n.Noticed, "suspended", n.Suspended, "unpublished", n.Unpublished)
		}
		return err
	})
	w.Every(night{}, nightEvery)
}

func (d *Directory) now() time.Time {
	if d.plugs.Now != nil {
		return d.plugs.Now()
	}
	return time.Now()
}

// Night is what the calendar did.
type Night struct{ Noticed, Suspended, Unpublished int }

// RunCalendar tells, suspends and takes out of the directory the BAL that slept long
// enough at now, each in a transaction of its own, and confirms what the register shows.
// Again is fine. One that fails does not hold up the others.
func (d *Directory) RunCalendar(ctx context.Context, now time.Time) (n Night, err error) {
	c := d.plugs.Calendar
	if c == nil {
		c = &Calendar{}
	}
	now = now.UTC()
	var errs []error
	step := func(count *int, day time.Time, ever bool, sql string, args []any, f func(context.Context, id.BAL) (bool, error)) {
		if ever {
			errs = append(errs, d.eachSleeper(ctx, sql, day, args, count, f))
		}
	}
	day, ever := c.notice(now)
	step(&n.Noticed, day, ever && d.plugs.Letters != nil, findSleeping, nil, func(ctx context.Context, b id.BAL) (bool, error) {
		return d.noticeOne(ctx, b, c, day, now)
	})
	told := now.Add(-grace)
	suspendDay, ever := c.suspend(now)
	step(&n.Suspended, suspendDay, ever, findToSuspend, []any{told}, func(ctx context.Context, b id.BAL) (bool, error) {
		return d.suspendOne(ctx, b, suspendDay, told, now)
	})
	unpublishDay, ever := c.unpublish(now)
	step(&n.Unpublished, unpublishDay, ever, findToUnpublish, []any{told}, func(ctx context.Context, b id.BAL) (bool, error) {
		return d.unpublishOne(ctx, b, unpublishDay, told, now)
	})
	errs = append(errs, pg.Error("directory.confirm", d.confirm(ctx, now)))
	return n, errors.Join(errs...)
}

// eachSleeper runs f on each BAL that sql finds, in batches, and counts what it did.
func (d *Directory) eachSleeper(ctx context.Context, sql string, day time.Time, more []any, count *int, f func(context.Context, id.BAL) (bool, error)) error {
	var errs []error
	for last := id.BAL(0); ; {
		rows, err := d.db.Query(ctx, sql, append([]any{day, last, nightBatch}, more...)...)
		if err != nil {
			return errors.Join(append(errs, pg.Error("directory.eachSleeper", err))...)
		}
		bals, err := pgx.CollectRows(rows, pgx.RowTo[id.BAL])
		if err != nil || len(bals) == 0 {
			return errors.Join(append(errs, pg.Error("directory.eachSleeper", err))...)
		}
		for _, b := range bals {
			done, err := f(ctx, b)
			if err != nil {
				errs = append(errs, pg.Error("directory.RunCalendar", err))
			}
			if done {
				*count++
			}
		}
		last = bals[len(bals)-1]
	}
}

// noticeOne deposits the letter, then notes that it is there: a letter deposited twice
// for the same days is one.
func (d *Directory) noticeOne(ctx context.Context, b id.BAL, c *Calendar, day, now time.Time) (bool, error) {
	r, err := d.ByID(ctx, d.db, b)
	if err != nil {
		return false, err
	}
	since := r.UsedAt
	if since.IsZero() {
		since = r.CreatedAt
	}
	suspended := c.suspendedOn(since)
	if earliest := now.Add(grace); !suspended.IsZero() && suspended.Before(earliest) {
		suspended = earliest
	}
	if err := d.plugs.Letters.Sleeping(ctx, r.Address, since, suspended); err != nil {
		return false, err
	}
	noticed := false
	err = d.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		tag, err := tx.Exec(ctx, setNoticed, b, now, day)
		if noticed = err == nil && tag.RowsAffected() > 0; !noticed {
			return err
		}
		return d.traceTx(ctx, tx, Act{BAL: b, Author: Author{Means: ByJob}, Action: "notice-inactive", Object: objectBAL(b), Cause: CauseInactive, At: now})
	})
	return noticed && err == nil, err
}

func (d *Directory) suspendOne(ctx context.Context, b id.BAL, day, told, now time.Time) (done bool, err error) {
	err = d.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		done = false
		if err := d.lockTx(ctx, tx); err != nil {
			return err
		}
		var still bool
		if err := tx.QueryRow(ctx, stillToSuspend, b, day, told).Scan(&still); err != nil || !still {
			return err
		}
		done, err = d.MoveTx(ctx, tx, b, Move{To: health.Suspended, Cause: CauseInactive, Author: Author{Means: ByJob}, At: now})
		return err
	})
	return done && err == nil, err
}

func (d *Directory) unpublishOne(ctx context.Context, b id.BAL, day, told, now time.Time) (done bool, err error) {
	err = d.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		done = false
		if err := d.lockTx(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, setUnpublished, b, now, day, told)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		done = true
		if err := d.publishTx(ctx, tx, now, true, b); err != nil {
			return err
		}
		return d.traceTx(ctx, tx, Act{BAL: b, Author: Author{Means: ByJob}, Action: "unpublish", Object: objectBAL(b), Cause: CauseInactive, At: now})
	})
	return done && err == nil, err
}

// confirm says that the register still holds what it shows.
func (d *Directory) confirm(ctx context.Context, now time.Time) error {
	for _, sql := range []string{confirmListings, confirmPractitioners, confirmOrganizations, confirmRoles} {
		if _, err := d.db.Exec(ctx, sql, now); err != nil {
			return err
		}
	}
	return nil
}
