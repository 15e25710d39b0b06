package job

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/obs"
	"pli/internal/pg"
	"pli/migrations"
)

// Workers holds one handler per kind of job. Fill it before Run.
type Workers struct {
	kinds   []string
	add     []func(*river.Workers, *run)
	every   []*river.PeriodicJob
	longest time.Duration
}

// NewWorkers returns an empty set.
func NewWorkers() *Workers { return &Workers{} }

// Handle sets the handler of T. Its context ends after timeout. A handler may run
// twice for one job, also at the same time when a process was taken for dead. What it
// returns is logged and kept by kind and code only. A panic counts as a failure.
func Handle[T Args](w *Workers, timeout time.Duration, f func(ctx context.Context, args T) error) {
	var zero T
	w.kinds = append(w.kinds, zero.Kind())
	w.longest = max(w.longest, timeout)
	w.add = append(w.add, func(rw *river.Workers, r *run) {
		river.AddWorker(rw, &worker[T]{run: r, timeout: timeout, f: f})
	})
}

// Every enqueues a so often, and once when a process begins to lead the workers, unless
// the one before still waits or runs.
func (w *Workers) Every(a Args, every time.Duration) {
	opts := insertOpts(a.Kind(), options{unique: true})
	w.every = append(w.every, river.NewPeriodicJob(river.PeriodicInterval(every),
		func() (river.JobArgs, *river.InsertOpts) { return a, opts },
		&river.PeriodicJobOpts{RunOnStart: true}))
}

const (
	workersPerKind = 16 // at once, in one process
	softStop       = 30 * time.Second
	hardStop       = 5 * time.Second
)

// run is one process working.
type run struct {
	client  string // its name in the job rows
	log     *slog.Logger
	metrics metrics

	mu   sync.Mutex
	hand map[int64]time.Time // jobs in hand; when they ended, for those just ended
}

// Run works until ctx is done, then finishes what is in hand, at most 30 seconds; what
// is still running then is told to stop and goes back to the queue.
func (q *Queue) Run(ctx context.Context, w *Workers) error {
	const op = "job.Run"
	if len(w.kinds) == 0 {
		<-ctx.Done()
		return nil
	}
	r := &run{client: id.New().String(), log: q.log, metrics: q.metrics, hand: map[int64]time.Time{}}
	client, err := river.NewClient(riverpgxv5.New(q.db.Pool()), w.config(r))
	if err != nil {
		return fault.Wrap(fault.Internal, op, "workers", err)
	}
	work := context.WithoutCancel(ctx)
	watched, unwatch := context.WithCancel(work)
	var wg sync.WaitGroup
	held := make(chan struct{})
	wg.Go(func() { q.watch(watched, r, held) })
	defer func() { unwatch(); wg.Wait() }()
	select { // jobs are taken only once others can see that we live
	case <-held:
	case <-ctx.Done():
		return nil
	}
	if err := client.Start(work); err != nil {
		return pg.Error(op, err)
	}
	<-ctx.Done()
	soft, cancel := context.WithTimeout(work, softStop)
	defer cancel()
	if client.Stop(soft) == nil {
		return nil
	}
	hard, cancel := context.WithTimeout(work, hardStop)
	defer cancel()
	return fault.Wrap(fault.Timeout, op, "jobs-do-not-stop", client.StopAndCancel(hard))
}

func (w *Workers) config(r *run) *river.Config {
	workers := river.NewWorkers()
	for _, add := range w.add {
		add(workers, r)
	}
	queues := map[string]river.QueueConfig{}
	for _, kind := range w.kinds {
		queues[queueOf(kind)] = river.QueueConfig{MaxWorkers: workersPerKind}
	}
	return &river.Config{
		ID:                          r.client,
		Schema:                      migrations.JobSchema,
		Queues:                      queues,
		Workers:                     workers,
		PeriodicJobs:                w.every,
		SkipUnknownJobCheck:         true,
		FetchCooldown:               5 * time.Millisecond,
		FetchPollInterval:           time.Second,
		JobTimeout:                  time.Minute, // each kind has its own
		RescueStuckJobsAfter:        w.longest + 10*time.Minute,
		CompletedJobRetentionPeriod: time.Hour,
		CancelledJobRetentionPeriod: -1, // parked: never deleted
		DiscardedJobRetentionPeriod: -1,
		MaxAttempts:                 maxAttempts,
		RetryPolicy:                 backoff{},
		Logger:                      libraryLogger(r.log),
	}
}

// backoff doubles from 2 seconds to an hour, give or take a fifth.
type backoff struct{}

func (backoff) NextRetry(j *rivertype.JobRow) time.Time {
	return time.Now().UTC().Add(delay(len(j.Errors)+1, rand.Float64()))
}

// delay before the next attempt after so many failures; chance is in [0, 1).
func delay(failures int, chance float64) time.Duration {
	d := time.Hour
	if failures < 12 {
		d = min(d, 2*time.Second<<(max(failures, 1)-1))
	}
	return time.Duration(float64(d) * (0.8 + 0.4*chance))
}

type worker[T Args] struct {
	river.WorkerDefaults[T]
	run     *run
	timeout time.Duration
	f       func(context.Context, T) error
}

func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return w.timeout }

// Work runs one job and writes its one event.
func (w *worker[T]) Work(ctx context.Context, j *river.Job[T]) error {
	start := time.Now()
	w.run.begin(j.ID)
	defer w.run.end(j.ID)
	err := w.call(ctx, j.Args)
	took := time.Since(start)
	attrs := []slog.Attr{
		slog.String("kind", j.Kind), slog.Int64("job", j.ID), slog.Int("attempt", j.Attempt),
		slog.Duration("took", took),
	}
	level, outcome, out := slog.LevelInfo, "done", error(nil)
	var a *again
	var p *park
	switch {
	case err == nil:
	case errors.As(err, &a):
		outcome, out = "again", river.JobSnooze(a.after)
	case errors.As(err, &p):
		level, outcome, out = slog.LevelError, "parked", river.JobCancel(&told{p.err})
	default:
		level, outcome, out = slog.LevelWarn, "failed", &told{err}
	}
	attrs = append(attrs, slog.String("outcome", outcome))
	if a == nil && err != nil {
		attrs = append(attrs, slog.String("error", obs.ErrorText(err)))
	}
	w.run.log.LogAttrs(ctx, level, "job", attrs...)
	w.run.metrics.runs.WithLabelValues(j.Kind, outcome).Inc()
	w.run.metrics.seconds.WithLabelValues(j.Kind).Observe(took.Seconds())
	return out
}

func (w *worker[T]) call(ctx context.Context, args T) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.Panic("job."+args.Kind(), v)
		}
	}()
	return w.f(ctx, args)
}

// told is an error whose text is safe to keep in the job's row.
type told struct{ err error }

func (t *told) Error() string { return obs.ErrorText(t.err) }
func (t *told) Unwrap() error { return t.err }

// justEnded is how long the library may take to write down that a job ended.
const justEnded = time.Minute

func (r *run) begin(job int64) {
	r.mu.Lock()
	r.hand[job] = time.Time{}
	r.mu.Unlock()
}

func (r *run) end(job int64) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hand[job] = now
	if len(r.hand)%256 == 0 { // now and then, forget the older ones
		for j, ended := range r.hand {
			if !ended.IsZero() && now.Sub(ended) > justEnded {
				delete(r.hand, j)
			}
		}
	}
}

// holds reports whether a job is in hand or ended a moment ago.
func (r *run) holds(job int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended, ok := r.hand[job]
	return ok && (ended.IsZero() || time.Since(ended) <= justEnded)
}
