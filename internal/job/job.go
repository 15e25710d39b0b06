// Package job runs what must happen after a transaction: a job row is written in that
// transaction, and a worker runs it at least once, so every handler is idempotent.
// Arguments are opaque ids. A job that gives up is never deleted: it is kept and
// counted as parked, and its error is kept without anything a person wrote.
//
// Each kind has its own queue: a slow peer holds back its own kind only, and a process
// takes only the kinds it has handlers for. River does the work and is named nowhere
// else, so that it stays replaceable.
package job

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"pli/fault"
	"pli/internal/pg"
	"pli/migrations"
)

// Args are the arguments of a job, kept as JSON in clear: opaque ids only. Kind is a
// constant such as "outbound.deliver"; it must not need the receiver's fields.
type Args interface{ Kind() string }

// Option changes how a job is enqueued.
type Option func(*options)

type options struct {
	at     time.Time
	unique bool
}

// At runs the job at t, not before.
func At(t time.Time) Option { return func(o *options) { o.at = t } }

// Unique enqueues nothing when a job of the same kind and arguments waits already, or
// runs: use it where a job that runs sees what this one would have.
func Unique() Option { return func(o *options) { o.unique = true } }

// maxAttempts failures, the last ones an hour apart, then a job is parked: about a day.
const maxAttempts = 30

// Queue is the job queue of the house. Safe for concurrent use.
type Queue struct {
	db       *pg.DB
	log      *slog.Logger
	inserter *river.Client[pgx.Tx]
	metrics  metrics
}

// New returns the queue. It starts nothing.
func New(db *pg.DB, log *slog.Logger) *Queue {
	inserter, err := river.NewClient(riverpgxv5.New(db.Pool()), &river.Config{
		Schema:              migrations.JobSchema,
		FetchCooldown:       time.Millisecond, // how rarely an insert wakes the workers
		Logger:              libraryLogger(log),
		SkipUnknownJobCheck: true,
	})
	if err != nil {
		panic("job.New: " + err.Error()) // the configuration is constant
	}
	return &Queue{db: db, log: log, inserter: inserter, metrics: newMetrics()}
}

// EnqueueTx writes a job in tx: it runs if and only if tx commits, within some ten
// milliseconds when a worker is free.
func (q *Queue) EnqueueTx(ctx context.Context, tx *pg.Tx, a Args, opts ...Option) error {
	var o options
	for _, f := range opts {
		f(&o)
	}
	_, err := q.inserter.InsertTx(ctx, tx.Tx, a, insertOpts(a.Kind(), o))
	return pg.Error("job.EnqueueTx", err)
}

func insertOpts(kind string, o options) *river.InsertOpts {
	opts := &river.InsertOpts{Queue: queueOf(kind), MaxAttempts: maxAttempts, ScheduledAt: o.at}
	if o.unique {
		opts.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
			rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}}
	}
	return opts
}

// queueOf names the queue of a kind in the letters that river allows.
func queueOf(kind string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(kind) {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('_')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

const sqlParked = `SELECT count(*) FROM ` + migrations.JobSchema + `.river_job
	WHERE state IN ('cancelled', 'discarded')`

// Parked counts the jobs that gave up. Somebody has to look at each.
func (q *Queue) Parked(ctx context.Context) (n int, err error) {
	err = q.db.QueryRow(ctx, sqlParked).Scan(&n)
	return n, pg.Error("job.Parked", err)
}

// A unique job that was enqueued anew meanwhile stands for its parked ones.
const sqlRetryParked = `UPDATE ` + migrations.JobSchema + `.river_job
	SET state = 'available', scheduled_at = now(), finalized_at = NULL, max_attempts = attempt + $1
	WHERE id IN (SELECT max(id) FROM ` + migrations.JobSchema + `.river_job p
		WHERE state IN ('cancelled', 'discarded')
		AND NOT EXISTS (SELECT 1 FROM ` + migrations.JobSchema + `.river_job o
			WHERE o.unique_key = p.unique_key AND o.state NOT IN ('cancelled', 'discarded', 'completed'))
		GROUP BY coalesce(unique_key, int8send(id)))`

// RetryParked makes parked jobs run again, with as many attempts as a new one has.
func (q *Queue) RetryParked(ctx context.Context) (n int, err error) {
	tag, err := q.db.Exec(ctx, sqlRetryParked, maxAttempts)
	return int(tag.RowsAffected()), pg.Error("job.RetryParked", err)
}

// again and park are how a handler says what follows.
type again struct{ after time.Duration }

func (a *again) Error() string { return "job: again" }

type park struct{ err error }

func (p *park) Error() string { return "job: parked: " + p.err.Error() }
func (p *park) Unwrap() error { return p.err }

// Again, returned by a handler, runs the job again after a while. It is not a failure
// and may be returned for ever.
func Again(after time.Duration) error { return &again{max(after, 0)} }

// Park, returned by a handler, gives up at once: the job is kept, with err, and shown.
func Park(err error) error {
	if err == nil {
		err = fault.New(fault.Internal, "job.Park", "no-cause")
	}
	return &park{err}
}
