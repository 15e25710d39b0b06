package publication

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/pg"
)

// State is where the publication of a BAL stands.
type State string

const (
	Waiting State = "waiting" // to be sent
	Told    State = "told"    // the directory has what the register says
	Parked  State = "parked"  // refused: a person must see to it
)

// Status is where the publication of a BAL stands, as its operator may see it.
type Status struct {
	State     State
	Published bool // the directory shows it, as far as we know
	ChangedAt time.Time
	ToldAt    time.Time // zero: never
	NextAt    time.Time // Waiting: the next try
	Attempts  int       // Waiting: in vain so far
	HTTP      int       // of the last refusal or failure; 0 for none
	Code      string
	Text      string // what the directory said
	File      *FileStatus
}

// FileStatus is the line of a BAL in the last daily file that had it.
type FileStatus struct {
	Name       string
	Line       int
	MadeAt     time.Time
	ReportedAt time.Time // zero: no report came yet
	Outcome    string    // accepted, refused; "" when the report says nothing of it
	Code, Text string
}

const (
	sqlStatus = `
SELECT state, published IS NOT NULL, changed_at, told_at, next_at, attempts, status, cause, cause_text
FROM publication WHERE bal_id = $1`

	sqlFileStatus = `
SELECT f.name, l.line, f.made_at, f.reported_at, l.outcome, l.cause, l.cause_text
FROM publication_line l JOIN publication_file f ON f.id = l.file_id
WHERE l.bal_id = $1 ORDER BY l.file_id DESC LIMIT 1`

	sqlRefused = `
SELECT bal_id, 'change', status, cause, cause_text, changed_at FROM publication WHERE state = 'parked' AND bal_id > $1
UNION ALL
SELECT l.bal_id, 'file', 0, l.cause, l.cause_text, f.reported_at
FROM publication_line l JOIN publication_file f ON f.id = l.file_id
WHERE l.outcome = 'refused' AND l.bal_id > $1
  AND f.id = (SELECT max(id) FROM publication_file WHERE reported_at IS NOT NULL)
ORDER BY 1, 2 LIMIT $2`

	sqlCounts = `
SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'parked'),
       min(changed_at) FILTER (WHERE state = 'waiting') FROM publication`

	sqlRetry = `
UPDATE publication SET revision = revision + 1, state = 'waiting', attempts = 0, next_at = $1
WHERE state = 'parked' AND ($2::bigint = 0 OR bal_id = $2) RETURNING bal_id, revision`
)

// Status tells where a BAL stands. Never told of, and in no file: the zero Status.
func (p *Publisher) Status(ctx context.Context, b id.BAL) (s Status, err error) {
	const op = "publication.Status"
	var told *time.Time
	err = p.d.DB.QueryRow(ctx, sqlStatus, b).Scan(&s.State, &s.Published, &s.ChangedAt, &told, &s.NextAt, &s.Attempts, &s.HTTP, &s.Code, &s.Text)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return s, pg.Error(op, err)
	}
	if told != nil {
		s.ToldAt = *told
	}
	var f FileStatus
	var reported *time.Time
	err = p.d.DB.QueryRow(ctx, sqlFileStatus, b).Scan(&f.Name, &f.Line, &f.MadeAt, &reported, &f.Outcome, &f.Code, &f.Text)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, nil
	}
	if err != nil {
		return s, pg.Error(op, err)
	}
	if reported != nil {
		f.ReportedAt = *reported
	}
	s.File = &f
	return s, nil
}

// Refused is a BAL that the national directory refuses.
type Refused struct {
	BAL  id.BAL
	Way  string // change, file
	HTTP int
	Code string
	Text string
	At   time.Time
}

// Refusals lists what is refused, by BAL, after one: parked changes, and lines of the
// last reported file.
func (p *Publisher) Refusals(ctx context.Context, after id.BAL, limit int) ([]Refused, error) {
	rows, err := p.d.DB.Query(ctx, sqlRefused, after, limit)
	if err != nil {
		return nil, pg.Error("publication.Refusals", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Refused])
	return out, pg.Error("publication.Refusals", err)
}

// Counts tells how many BAL wait, since when the oldest does, and how many are parked.
func (p *Publisher) Counts(ctx context.Context) (waiting, parked int, since time.Time, err error) {
	var oldest *time.Time
	err = p.d.DB.QueryRow(ctx, sqlCounts).Scan(&waiting, &parked, &oldest)
	if oldest != nil {
		since = *oldest
	}
	return waiting, parked, since, pg.Error("publication.Counts", err)
}

// Retry sends what is parked again: of one BAL, or all for 0.
func (p *Publisher) Retry(ctx context.Context, b id.BAL) (n int, err error) {
	if p.d.Channel == nil {
		return 0, nil
	}
	err = p.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		rows, err := tx.Query(ctx, sqlRetry, p.d.Now(), b)
		if err != nil {
			return err
		}
		again, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sendJob])
		if err != nil {
			return err
		}
		n = len(again)
		for _, j := range again {
			if err := p.d.Jobs.EnqueueTx(ctx, tx, j, job.Unique()); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
