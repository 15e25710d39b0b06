// Package job runs what must happen after a transaction: a job row is written in that
// transaction, and a worker runs it at least once. Arguments are opaque ids; a job
// that gives up is kept and counted as parked.
package job

import (
	"context"
	"log/slog"
	"time"

	"pli/fault"
	"pli/internal/pg"
)

var errStub = fault.New(fault.Internal, "job", "not-yet")

// Args are the arguments of a job, kept as JSON: opaque ids only.
type Args interface{ Kind() string }

// Option changes how a job is enqueued.
type Option func(*options)

type options struct {
	at     time.Time
	unique bool
}

// At runs the job at t, not before.
func At(t time.Time) Option { return func(o *options) { o.at = t } }

// Unique enqueues nothing when the same arguments wait or run already.
func Unique() Option { return func(o *options) { o.unique = true } }

// Queue is the job queue of the house.
type Queue struct{}

func New(db *pg.DB, log *slog.Logger) *Queue { return &Queue{} }

func (q *Queue) EnqueueTx(ctx context.Context, tx *pg.Tx, a Args, opts ...Option) error {
	return errStub
}
func (q *Queue) Run(ctx context.Context, w *Workers) error { return errStub }
func (q *Queue) Parked(ctx context.Context) (int, error)   { return 0, errStub }

// Workers holds one handler per kind of job.
type Workers struct{}

func NewWorkers() *Workers { return &Workers{} }

// Handle sets the handler of T.
func Handle[T Args](w *Workers, timeout time.Duration, f func(ctx context.Context, args T) error) {}

// Every enqueues a every so often.
func (w *Workers) Every(a Args, every time.Duration) {}

// Again, returned by a handler, runs the job again after a while; it is not a failure.
func Again(after time.Duration) error { return errStub }

// Park, returned by a handler, gives up: the job is kept and shown.
func Park(err error) error { return errStub }
