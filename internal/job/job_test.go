package job

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pli/fault"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

type carry struct {
	Letter int `json:"letter"`
}

func (carry) Kind() string { return "test.carry" }

type other struct {
	Letter int `json:"letter"`
}

func (other) Kind() string { return "test.other" }

// logged is a log that several goroutines write and the test reads.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newQueue(t *testing.T, db *pg.DB, w io.Writer) *Queue {
	t.Helper()
	return New(db, slog.New(slog.NewJSONHandler(w, nil)))
}

// start runs workers until the test ends, or until stop is called.
func start(t *testing.T, q *Queue, w *Workers) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, w) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func enqueue(t *testing.T, q *Queue, db *pg.DB, a Args, opts ...Option) {
	t.Helper()
	err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error { return q.EnqueueTx(ctx, tx, a, opts...) })
	if err != nil {
		t.Fatal(err)
	}
}

// next waits for a value; the bound only ends a test that hangs.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func count(t *testing.T, db *pg.DB, where string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM job.river_job WHERE `+where, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRolledBackJobIsNeverRun(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	ran := make(chan int, 10)
	w := NewWorkers()
	Handle(w, time.Minute, func(_ context.Context, a carry) error { ran <- a.Letter; return nil })
	start(t, q, w)
	back := errors.New("back")
	err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		if err := q.EnqueueTx(ctx, tx, carry{1}); err != nil {
			t.Fatal(err)
		}
		return back
	})
	if fault.KindOf(err) != fault.Internal {
		t.Fatalf("InTx: %v", err)
	}
	enqueue(t, q, db, carry{2})
	if n := next(t, ran); n != 2 {
		t.Fatalf("ran %d", n)
	}
	if n := count(t, db, `true`); n != 1 {
		t.Fatalf("%d rows", n)
	}
}

func TestFailedAndPanickingJobsRunAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	log := &logged{}
	q := newQueue(t, db, log)
	ran := make(chan string, 10)
	w := NewWorkers()
	fails, panics := 0, 0
	Handle(w, time.Minute, func(_ context.Context, a carry) error {
		if fails++; fails == 1 {
			return fault.Wrap(fault.Unavailable, "test.Carry", "peer-away", errors.New("550 no such user canari@mss-a.example"))
		}
		ran <- "failed"
		return nil
	})
	Handle(w, time.Minute, func(_ context.Context, a other) error {
		if panics++; panics == 1 {
			panic("the name is CANARI")
		}
		ran <- "panicked"
		return nil
	})
	start(t, q, w)
	enqueue(t, q, db, carry{1})
	enqueue(t, q, db, other{1})
	got := map[string]bool{next(t, ran): true, next(t, ran): true}
	if !got["failed"] || !got["panicked"] {
		t.Fatalf("ran again: %v", got)
	}
	var kept string
	if err := db.QueryRow(t.Context(), `SELECT string_agg(e::text, ' ') FROM job.river_job, unnest(errors) e`).Scan(&kept); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"test.Carry: unavailable [peer-away]: *errors.errorString", "panic-string"} {
		if !strings.Contains(kept, want) {
			t.Errorf("the row does not say %q: %s", want, kept)
		}
	}
	for where, text := range map[string]string{"the row": kept, "the log": log.String()} {
		if strings.Contains(strings.ToLower(text), "canari") {
			t.Errorf("%s tells what the error quoted: %s", where, text)
		}
	}
}

func TestAgainIsNoFailure(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	ran, times := make(chan bool, 1), 0
	w := NewWorkers()
	Handle(w, time.Minute, func(context.Context, carry) error {
		if times++; times <= 5 {
			return Again(0)
		}
		ran <- true
		return nil
	})
	start(t, q, w)
	enqueue(t, q, db, carry{1})
	next(t, ran)
	waitFor(t, "one attempt, no error", func() bool {
		return count(t, db, `state = 'completed' AND attempt = 1 AND errors IS NULL`) == 1
	})
}

func TestParkedJobsAreKeptCountedAndRetried(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	ran := make(chan int, 10)
	refuse := true
	var mu sync.Mutex
	w := NewWorkers()
	Handle(w, time.Minute, func(_ context.Context, a carry) error {
		mu.Lock()
		defer mu.Unlock()
		ran <- a.Letter
		if refuse {
			return Park(fault.New(fault.Corrupt, "test.Carry", "no-letter"))
		}
		return nil
	})
	start(t, q, w)
	enqueue(t, q, db, carry{7})
	next(t, ran)
	parked := func() int {
		n, err := q.Parked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	waitFor(t, "parked", func() bool { return parked() == 1 })
	reg := prometheus.NewRegistry()
	q.Register(reg)
	if text := metricsText(t, reg); !strings.Contains(text, `pli_job_runs_total{kind="test.carry",outcome="parked"} 1`) ||
		!strings.Contains(text, "pli_job_parked 1") {
		t.Errorf("metrics: %s", text)
	}
	if n := count(t, db, `errors[1]::text LIKE '%test.Carry: corrupt [no-letter]%'`); n != 1 {
		t.Fatal("the cause is not kept")
	}
	mu.Lock()
	refuse = false
	mu.Unlock()
	if n, err := q.RetryParked(t.Context()); n != 1 || err != nil {
		t.Fatalf("retried %d, %v", n, err)
	}
	if n := next(t, ran); n != 7 || parked() != 0 {
		t.Fatalf("ran %d, parked %d", n, parked())
	}
}

func metricsText(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestUniqueAndLater(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	later := time.Now().Add(time.Hour)
	for range 3 {
		enqueue(t, q, db, carry{1}, Unique(), At(later))
	}
	enqueue(t, q, db, carry{2}, Unique(), At(later))
	enqueue(t, q, db, other{1}, Unique(), At(later))
	if n := count(t, db, `state = 'scheduled' AND scheduled_at > now() + interval '50 minutes'`); n != 3 {
		t.Fatalf("%d jobs wait", n)
	}
}

func TestEveryRunsOnceAtStart(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	ran := make(chan int, 10)
	w := NewWorkers()
	Handle(w, time.Minute, func(_ context.Context, a other) error { ran <- a.Letter; return nil })
	w.Every(other{9}, time.Hour)
	start(t, q, w)
	if n := next(t, ran); n != 9 {
		t.Fatalf("ran %d", n)
	}
}

func TestStopFinishesWhatIsInHand(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	began, finish, ended := make(chan bool), make(chan bool), false
	w := NewWorkers()
	Handle(w, time.Minute, func(ctx context.Context, _ carry) error {
		began <- true
		<-finish
		ended = true
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, w) }()
	enqueue(t, q, db, carry{1})
	next(t, began)
	cancel()
	select {
	case err := <-done:
		t.Fatalf("Run left a job in hand: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	if err := next(t, done); err != nil || !ended {
		t.Fatalf("ended %v, %v", ended, err)
	}
	if n := count(t, db, `state = 'completed'`); n != 1 {
		t.Fatal("the job's end was not written down")
	}
}

func TestOtherProcessesKindsAreLeftAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	ran := make(chan int, 10)
	w := NewWorkers()
	Handle(w, time.Minute, func(_ context.Context, a carry) error { ran <- a.Letter; return nil })
	start(t, q, w)
	enqueue(t, q, db, other{1})
	enqueue(t, q, db, carry{2})
	next(t, ran)
	if n := count(t, db, `kind = 'test.other' AND state = 'available' AND attempt = 0`); n != 1 {
		t.Fatal("a job without a handler here was taken")
	}
}

func TestJobOfAKilledProcessIsGivenBackWithinSeconds(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	enqueue(t, q, db, carry{3})
	// What kill -9 leaves: running, under the name of a process that holds no lock.
	if _, err := db.Exec(t.Context(), `UPDATE job.river_job SET state = 'running', attempt = 1,
		attempted_at = now(), attempted_by = '{dead-process}'`); err != nil {
		t.Fatal(err)
	}
	ran := make(chan int, 10)
	w := NewWorkers()
	Handle(w, time.Minute, func(_ context.Context, a carry) error { ran <- a.Letter; return nil })
	start(t, q, w)
	if n := next(t, ran); n != 3 {
		t.Fatalf("ran %d", n)
	}
}

func TestJobOfALivingProcessIsNotGivenBack(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	began, finish := make(chan bool, 10), make(chan bool)
	w := NewWorkers()
	Handle(w, time.Minute, func(context.Context, carry) error { began <- true; <-finish; return nil })
	stopA := start(t, q, w)
	enqueue(t, q, db, carry{1})
	next(t, began)
	if _, err := db.Exec(t.Context(), `UPDATE job.river_job SET attempted_at = now() - interval '2 hours'`); err != nil {
		t.Fatal(err)
	}
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	tag, err := conn.Exec(t.Context(), sqlGiveBack, lockClass, patience.Seconds())
	if err != nil || tag.RowsAffected() != 0 {
		t.Fatalf("given back: %d, %v", tag.RowsAffected(), err)
	}
	close(finish)
	stopA()
	if n := count(t, db, `state = 'completed'`); n != 1 {
		t.Fatal("not completed")
	}
}

func TestOwnJobThatNobodyHoldsIsGivenBack(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	for i := range 3 {
		enqueue(t, q, db, carry{i})
	}
	if _, err := db.Exec(t.Context(), `UPDATE job.river_job SET state = 'running', attempt = 1,
		attempted_at = now() - interval '5 minutes', attempted_by = '{me}'`); err != nil {
		t.Fatal(err)
	}
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	r := &run{client: "me", hand: map[int64]time.Time{}}
	r.begin(1)
	r.begin(2)
	r.end(2)
	n, err := giveBackMine(t.Context(), conn, r)
	if err != nil || n != 1 || count(t, db, `id = 3 AND state = 'available'`) != 1 {
		t.Fatalf("given back %d, %v", n, err)
	}
}

func TestDelays(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: 2 * time.Second, 2: 4 * time.Second, 6: 64 * time.Second, 12: time.Hour, 30: time.Hour} {
		least, most := delay(failures, 0), delay(failures, 1)
		if least != want*8/10 || most != want*12/10 {
			t.Errorf("after %d failures: %v to %v", failures, least, most)
		}
	}
}

func TestQueueNames(t *testing.T) {
	for kind, want := range map[string]string{"outbound.deliver": "outbound_deliver", "ingest": "ingest", "A--b.": "a_b"} {
		if got := queueOf(kind); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{sqlParked, sqlRetryParked, sqlHold, sqlGiveBack, sqlMine, sqlGiveBackOne} {
		if _, err := conn.Conn().Prepare(t.Context(), "", sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestWorkGoesOnAfterTheDatabaseDroppedEveryConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	q := newQueue(t, db, io.Discard)
	ran := make(chan int, 100)
	began, finish := make(chan bool, 10), make(chan bool)
	w := NewWorkers()
	Handle(w, time.Minute, func(_ context.Context, a carry) error { ran <- a.Letter; return nil })
	Handle(w, time.Minute, func(context.Context, other) error { began <- true; <-finish; return nil })
	start(t, q, w)
	enqueue(t, q, db, carry{1})
	next(t, ran)
	enqueue(t, q, db, other{1})
	next(t, began)
	for range 2 {
		_, err := db.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		if err != nil {
			t.Fatal(err)
		}
	}
	close(finish)
	waitFor(t, "a job enqueued afterwards is run", func() bool {
		err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error { return q.EnqueueTx(ctx, tx, carry{2}) })
		if err != nil {
			return false
		}
		return next(t, ran) == 2
	})
	waitFor(t, "the job in hand is written down as done, once", func() bool {
		return count(t, db, `kind = 'test.other' AND state = 'completed' AND attempt = 1`) == 1
	})
}

// From commit to the handler, and what an insert costs the transaction.
func BenchmarkEnqueueToRun(b *testing.B) {
	db := pgtest.DB(b)
	q := New(db, slog.New(slog.NewJSONHandler(io.Discard, nil)))
	ran := make(chan bool)
	w := NewWorkers()
	Handle(w, time.Minute, func(context.Context, carry) error { ran <- true; return nil })
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, w) }()
	for b.Loop() {
		err := db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error { return q.EnqueueTx(ctx, tx, carry{1}) })
		if err != nil {
			b.Fatal(err)
		}
		<-ran
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkEnqueue(b *testing.B) {
	db := pgtest.DB(b)
	q := New(db, slog.New(slog.NewJSONHandler(io.Discard, nil)))
	for b.Loop() {
		err := db.InTx(b.Context(), func(ctx context.Context, tx *pg.Tx) error { return q.EnqueueTx(ctx, tx, carry{1}) })
		if err != nil {
			b.Fatal(err)
		}
	}
}
