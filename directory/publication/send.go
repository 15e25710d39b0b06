package publication

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/codec/fhir"
	"pli/fault"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/pg"
)

// sendJob sends what a revision of a BAL changed. Both are opaque.
type sendJob struct {
	Publication int64 `json:"publication"`
	Revision    int64 `json:"revision"`
}

func (sendJob) Kind() string { return "publication.send" }

// sweepJob looks for what lost its job or was never told, and forgets what is old.
type sweepJob struct{}

func (sweepJob) Kind() string { return "publication.sweep" }

const (
	leaseTime    = 15 * time.Minute
	leasePoll    = 30 * time.Second // whoever has it in hand sees to the rest
	sendTimeout  = 10 * time.Minute // of one job, shorter than the lease
	sweepEvery   = 5 * time.Minute
	stuckAfter   = 10 * time.Minute
	refusedPause = 15 * time.Minute         // when we are not let in
	stepsKept    = 3 * 366 * 24 * time.Hour // the trace of a publication (mssante.md §3.4)
	maxSteps     = 8                        // requests that change something, for one BAL in one go
	sweepBatch   = 5000
)

// Handle tells the workers how to run the jobs.
func (p *Publisher) Handle(w *job.Workers) {
	job.Handle(w, sendTimeout, func(ctx context.Context, j sendJob) error { return p.send(ctx, id.BAL(j.Publication)) })
	job.Handle(w, 5*time.Minute, func(ctx context.Context, _ sweepJob) error { return p.Sweep(ctx) })
	if p.Sends() {
		w.Every(sweepJob{}, sweepEvery)
	}
	p.handleFiles(w)
}

// row is a publication in hand.
type row struct {
	bal       id.BAL
	revision  int64
	attempts  int
	published *placed
	tried     *placed
}

const (
	sqlClaim = `
UPDATE publication SET lease_until = $2::timestamptz + $3::interval
WHERE bal_id = $1 AND state = 'waiting' AND next_at <= $2 AND (lease_until IS NULL OR lease_until <= $2)
RETURNING revision, attempts, published, tried`

	sqlWhen = `SELECT state, next_at, coalesce(lease_until, next_at) FROM publication WHERE bal_id = $1`

	sqlTry = `UPDATE publication SET tried = $2 WHERE bal_id = $1`

	sqlSettle = `UPDATE publication SET published = $2, tried = NULL, attempts = 0, told_at = CASE WHEN $4 THEN $3 ELSE told_at END WHERE bal_id = $1`

	sqlStep = `INSERT INTO publication_step (bal_id, at, operation, outcome, status, cause) VALUES ($1, $2, $3, $4, $5, $6)`

	// A change of the register since it was taken in hand leaves it waiting.
	sqlEnd = `
UPDATE publication SET state = CASE WHEN revision = $2 THEN $3 ELSE 'waiting' END,
       status = CASE WHEN revision = $2 THEN $4 ELSE 0 END, cause = CASE WHEN revision = $2 THEN $5 ELSE '' END,
       cause_text = CASE WHEN revision = $2 THEN $6 ELSE '' END, attempts = 0, lease_until = NULL
WHERE bal_id = $1 RETURNING state`

	sqlLater = `
UPDATE publication SET next_at = $2, attempts = attempts + $3, status = $4, cause = $5, cause_text = '', lease_until = NULL
WHERE bal_id = $1`
)

// send brings what the national directory has of one BAL to what the register says.
func (p *Publisher) send(ctx context.Context, b id.BAL) error {
	const op = "publication.send"
	if p.d.Channel == nil {
		return nil
	}
	for {
		if wait := p.pause(); wait > 0 {
			return job.Again(wait)
		}
		r, wait, err := p.claim(ctx, b)
		switch {
		case err != nil:
			return pg.Error(op, err)
		case r == nil && wait == 0:
			return nil
		case r == nil:
			return job.Again(wait)
		}
		state, err := p.bring(ctx, r)
		if err != nil {
			return p.later(ctx, r, err)
		}
		if state != "waiting" {
			return nil
		}
	}
}

// Send sends what waits for one BAL now, whatever its jobs do. Errors: that it still
// waits, as the job would.
func (p *Publisher) Send(ctx context.Context, b id.BAL) error { return p.send(ctx, b) }

// claim takes a row in hand; nil and a pause when it is not due or another has it, nil
// and zero when there is nothing to do.
func (p *Publisher) claim(ctx context.Context, b id.BAL) (*row, time.Duration, error) {
	now := p.d.Now()
	r := &row{bal: b}
	var published, tried []byte
	err := p.d.DB.QueryRow(ctx, sqlClaim, b, now, leaseTime).Scan(&r.revision, &r.attempts, &published, &tried)
	if errors.Is(err, pgx.ErrNoRows) {
		var state string
		var next, leased time.Time
		err := p.d.DB.QueryRow(ctx, sqlWhen, b).Scan(&state, &next, &leased)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && state != "waiting" {
			return nil, 0, nil
		}
		return nil, max(next.Sub(now), min(leased.Sub(now), leasePoll), time.Second), err
	}
	if err != nil {
		return nil, 0, err
	}
	if r.published, err = placedIn(published); err != nil {
		return nil, 0, err
	}
	r.tried, err = placedIn(tried)
	return r, 0, err
}

func placedIn(b []byte) (*placed, error) {
	if b == nil {
		return nil, nil
	}
	p := &placed{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fault.Wrap(fault.Corrupt, "publication.placedIn", "row", err)
	}
	return p, nil
}

// column is what goes into a jsonb column.
func (p *placed) column() any {
	if p == nil {
		return nil
	}
	b, _ := json.Marshal(p)
	return string(b)
}

// bring takes the steps that are needed, and says in which state the row is left. Any
// error is temporary.
func (p *Publisher) bring(ctx context.Context, r *row) (state string, err error) {
	if r.tried != nil {
		if err := p.look(ctx, r, *r.tried); err != nil {
			return "", err
		}
	}
	looked := false
	for range maxSteps {
		b, err := p.d.Register.ByID(ctx, p.d.DB, r.bal)
		if err != nil {
			return "", err
		}
		is, err := p.wanted(ctx, b, r.published)
		if errors.Is(err, errNoCarrier) && r.published == nil {
			return p.end(ctx, r, "parked", &Refusal{Code: errNoCarrier.Code})
		}
		if err != nil && !errors.Is(err, errNoCarrier) {
			return "", err
		}
		s, ok := p.next(r.published, is)
		if !ok {
			return p.end(ctx, r, "told", nil)
		}
		refused, err := p.take(ctx, r, s)
		switch {
		case err != nil:
			return "", err
		case refused == nil:
			looked = false
		case looked:
			return p.end(ctx, r, "parked", refused)
		default: // perhaps it has something else than we think
			if err := p.look(ctx, r, *s.tried); err != nil {
				return "", err
			}
			looked = true
		}
	}
	return "", fault.New(fault.Conflict, "publication.bring", "never-ends")
}

// take sends one step. What it tries is written first: should we never hear how it ended,
// we know what to look for.
func (p *Publisher) take(ctx context.Context, r *row, s step) (refused *Refusal, err error) {
	if _, err := p.d.DB.Exec(ctx, sqlTry, r.bal, s.tried.column()); err != nil {
		return nil, pg.Error("publication.take", err)
	}
	r.tried = s.tried
	start := time.Now()
	err = p.d.Channel.Patch(ctx, s.target, s.ops)
	operation := s.ops[0].Type
	if errors.As(err, &refused) {
		if operation == fhir.Delete && refused.Status == 404 { // what carried it is gone, and it with it
			refused, err = nil, nil
		} else {
			p.metrics.sent(operation, "refused", time.Since(start))
			p.d.Log.Warn("publication: refused", "bal", r.bal, "operation", operation, "status", refused.Status, "code", refused.Code)
			_, err = p.d.DB.Exec(ctx, sqlStep, r.bal, p.d.Now(), operation, "refused", refused.Status, refused.Code)
			return refused, pg.Error("publication.take", err)
		}
	}
	if err != nil {
		p.metrics.sent(operation, "failed", time.Since(start))
		return nil, err
	}
	p.metrics.sent(operation, "done", time.Since(start))
	p.d.Log.Info("publication: told", "bal", r.bal, "operation", operation, "ms", time.Since(start).Milliseconds())
	return nil, p.settle(ctx, r, string(operation), s.after, true)
}

// look reads back what a resource carries, and takes it for what is announced.
func (p *Publisher) look(ctx context.Context, r *row, at placed) error {
	a, ok, err := p.d.Channel.Read(ctx, at.Target, at.Address)
	if refused := (*Refusal)(nil); errors.As(err, &refused) {
		if r.attempts++; refused.Status != 404 {
			return fault.Wrap(fault.Unavailable, "publication.look", "refused", err)
		}
		ok, err = false, nil
	}
	if err != nil {
		return err
	}
	now := r.published
	switch {
	case ok:
		now = place(at.Target, a)
	case now != nil && now.Target == at.Target && now.Address == at.Address:
		now = nil
	}
	return p.settle(ctx, r, "found", now, false)
}

// settle writes what is announced now.
func (p *Publisher) settle(ctx context.Context, r *row, operation string, published *placed, told bool) error {
	now := p.d.Now()
	batch := &pgx.Batch{}
	if told || !same(r.published, published) { // before the rest: whoever changes a BAL locks it first, too
		batch.Queue(sqlStep, r.bal, now, operation, "done", 0, "")
	}
	batch.Queue(sqlSettle, r.bal, published.column(), now, told)
	err := p.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error { return tx.SendBatch(ctx, batch).Close() })
	if err == nil {
		r.published, r.tried, r.attempts = published, nil, 0
	}
	return err
}

func same(a, b *placed) bool { return a == b || a != nil && b != nil && *a == *b }

func (p *Publisher) end(ctx context.Context, r *row, state string, why *Refusal) (left string, err error) {
	if why == nil {
		why = &Refusal{}
	}
	err = p.d.DB.QueryRow(ctx, sqlEnd, r.bal, r.revision, state, why.Status, why.Code, why.Text).Scan(&left)
	return left, pg.Error("publication.end", err)
}

// later puts a row back for another time, and gives what its job is to be told.
func (p *Publisher) later(ctx context.Context, r *row, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	attempts, status, wait := 1, 0, p.backoff(r.attempts)
	code := fault.CodeOf(cause)
	if pause := (*Pause)(nil); errors.As(cause, &pause) {
		wait, status, code = max(wait, pause.For), pause.Status, "asked-to-wait"
		if pause.For > 0 {
			p.pauseFor(pause.For)
		}
	}
	if fault.Is(cause, fault.Unauthenticated) {
		wait, attempts = refusedPause, 0
		p.pauseFor(refusedPause)
		p.d.Log.Error("publication: the national directory does not let us in: see the API key", "code", code)
	}
	p.d.Log.Warn("publication: later", "bal", r.bal, "attempt", r.attempts+1, "code", code, "seconds", int(wait.Seconds()))
	if _, err := p.d.DB.Exec(ctx, sqlLater, r.bal, p.d.Now().Add(wait), attempts, status, code); err != nil {
		return pg.Error("publication.later", err)
	}
	return job.Again(wait)
}

// backoff doubles from FirstRetry to MaxRetry, give or take a tenth.
func (p *Publisher) backoff(attempts int) time.Duration {
	d := p.cfg.FirstRetry
	for range min(attempts, 40) {
		if d *= 2; d >= p.cfg.MaxRetry {
			d = p.cfg.MaxRetry
			break
		}
	}
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

func (p *Publisher) pauseFor(d time.Duration) {
	p.paused.Store(p.d.Now().Add(min(d, time.Hour)).UnixNano())
}

func (p *Publisher) pause() time.Duration {
	return time.Unix(0, p.paused.Load()).Sub(p.d.Now())
}

const (
	// BAL that could be announced and that no row knows: publication was just turned on
	sqlSeed = `
INSERT INTO publication (bal_id, state, next_at, changed_at)
SELECT b.id, 'waiting', $1, $1 FROM bal b
WHERE b.kind IN ('PER', 'ORG', 'APP', 'CAB') AND b.state = 'active' AND NOT b.unlisted
  AND NOT EXISTS (SELECT FROM publication p WHERE p.bal_id = b.id)
ORDER BY b.id LIMIT $2 FOR KEY SHARE OF b SKIP LOCKED`

	// suspended for long, and announced still
	sqlSuspended = `
UPDATE publication SET revision = revision + 1, state = 'waiting', attempts = 0, next_at = $1, changed_at = $1
WHERE bal_id IN (SELECT p.bal_id FROM publication p JOIN bal b ON b.id = p.bal_id
  WHERE b.state = 'suspended' AND b.state_at < $2 AND p.published IS NOT NULL AND p.state = 'told'
  FOR UPDATE OF p SKIP LOCKED)`

	sqlDue = `
SELECT bal_id, revision FROM publication
WHERE state = 'waiting' AND (next_at <= $1 AND attempts = 0 OR next_at <= $2) AND (lease_until IS NULL OR lease_until <= $1)
ORDER BY next_at LIMIT $3`

	sqlForget = `DELETE FROM publication_step WHERE at < $1`
)

// Sweep finds BAL that were never told of, or are suspended for long, gives a job to what
// lost its own, and forgets steps of three years ago. It waits for nobody who changes the
// register: what is being changed comes by itself.
func (p *Publisher) Sweep(ctx context.Context) error {
	const op = "publication.Sweep"
	if p.d.Channel == nil {
		return nil
	}
	now := p.d.Now()
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{sqlSeed, []any{now, sweepBatch}}, {sqlSuspended, []any{now, now.Add(-p.cfg.SuspendedFor)}}, {sqlForget, []any{now.Add(-stepsKept)}},
	} {
		if _, err := p.d.DB.Exec(ctx, q.sql, q.args...); err != nil {
			return pg.Error(op, err)
		}
	}
	rows, err := p.d.DB.Query(ctx, sqlDue, now, now.Add(-stuckAfter), sweepBatch)
	if err != nil {
		return pg.Error(op, err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sendJob])
	if err != nil {
		return pg.Error(op, err)
	}
	return p.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		for _, j := range due {
			if err := p.d.Jobs.EnqueueTx(ctx, tx, j, job.Unique()); err != nil {
				return err
			}
		}
		return nil
	})
}
