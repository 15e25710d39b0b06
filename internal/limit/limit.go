// Package limit keeps anybody from taking it all: tries are counted, questions wait for
// their turn (turns.go), connections that are too many are closed (listener.go), TLS
// handshakes are computed a few at a time (handshakes.go).
//
// Redis counts tries for all processes together; when it is away each process counts
// alone, so there is never no limit. Keys are pseudonymous: callers pass keyed hashes or
// row numbers, never a name or an address.
package limit

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"pli/fault"
)

const (
	redisWait = 250 * time.Millisecond // a sign-in waits no longer for Redis
	redisRest = 5 * time.Second        // after a failure Redis is left alone this long
	localKeys = 100_000                // keys counted locally; the longest unused is dropped
)

// Limiter allows so many tries a minute under a key. It may be used from anywhere at once.
type Limiter struct {
	own    *redis.Client // made by Open
	shared *redis_rate.Limiter
	now    func() time.Time
	wait   time.Duration // for Redis

	mu     sync.Mutex
	away   time.Time // Redis is not asked before
	counts map[string]*list.Element
	recent *list.List // of *count, the latest used first
}

type count struct {
	key string
	lim *rate.Limiter
}

// Open connects to Redis at url; "" counts in this process only. It does not wait for
// Redis: while Redis is away the local count holds.
func Open(url string) (*Limiter, error) {
	if url == "" {
		return New(nil), nil
	}
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, fault.New(fault.Invalid, "limit.Open", "redis-url") // the cause may quote a password
	}
	opt.MaxRetries, opt.DialerRetries, opt.ContextTimeoutEnabled = -1, 1, true // the context of each question bounds it
	c := redis.NewClient(opt)
	l := New(c)
	l.own = c
	return l, nil
}

// New makes a limiter on a client, which stays the caller's; nil counts in this process
// only.
func New(rdb *redis.Client) *Limiter {
	l := &Limiter{now: time.Now, wait: redisWait, counts: map[string]*list.Element{}, recent: list.New()}
	if rdb != nil {
		l.shared = redis_rate.NewLimiter(rdb)
	}
	return l
}

// Allow takes one try under key and says whether it is within perMinute a minute, in
// bursts up to perMinute, or how long to wait. The local count is kept beside Redis's,
// so that a process which loses Redis does not start from nothing. perMinute below 1
// allows nothing.
func (l *Limiter) Allow(ctx context.Context, key string, perMinute int) (bool, time.Duration) {
	return l.AllowIn(ctx, key, perMinute, time.Minute)
}

// AllowIn is Allow with n tries in any period. A key keeps one limit for its life.
func (l *Limiter) AllowIn(ctx context.Context, key string, n int, period time.Duration) (bool, time.Duration) {
	if n < 1 || period <= 0 {
		return false, time.Minute
	}
	ok, wait := l.local(key, n, period, 1)
	if !ok {
		return false, wait
	}
	return l.ask(ctx, key, n, period, 1)
}

// AllowN is AllowIn for take tries at once: all of them, or none.
func (l *Limiter) AllowN(ctx context.Context, key string, n int, period time.Duration, take int) (bool, time.Duration) {
	if n < 1 || period <= 0 || take > n {
		return false, time.Minute
	}
	if take < 1 {
		return true, 0
	}
	ok, wait := l.local(key, n, period, take)
	if !ok {
		return false, wait
	}
	return l.ask(ctx, key, n, period, take)
}

// Peek says whether one more try would be allowed, and takes none: it lets a caller
// count failures only.
func (l *Limiter) Peek(ctx context.Context, key string, perMinute int) (bool, time.Duration) {
	if perMinute < 1 {
		return false, time.Minute
	}
	ok, wait := l.local(key, perMinute, time.Minute, 0)
	if !ok {
		return false, wait
	}
	return l.ask(ctx, key, perMinute, time.Minute, 0)
}

// ask asks Redis when it is there; otherwise the local count, which allowed, holds.
func (l *Limiter) ask(ctx context.Context, key string, n int, period time.Duration, take int) (bool, time.Duration) {
	if l.shared == nil || l.resting() {
		return true, 0
	}
	ctx, cancel := context.WithTimeout(ctx, l.wait)
	defer cancel()
	res, err := l.shared.AllowN(ctx, key, redis_rate.Limit{Rate: n, Burst: n, Period: period}, take)
	switch {
	case err != nil:
		l.rest()
		return true, 0
	case take > 0:
		return res.Allowed > 0, max(res.RetryAfter, 0)
	case res.Remaining > 0:
		return true, 0
	default:
		return false, max(res.ResetAfter-period*time.Duration(n-1)/time.Duration(n), 0)
	}
}

// local counts in this process; with take 0 it only looks.
func (l *Limiter) local(key string, n int, period time.Duration, take int) (bool, time.Duration) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.counts[key]
	if !ok {
		if take == 0 {
			return true, 0
		}
		e = l.recent.PushFront(&count{key: key, lim: rate.NewLimiter(rate.Limit(float64(n)/period.Seconds()), n)})
		l.counts[key] = e
		if l.recent.Len() > localKeys {
			last := l.recent.Remove(l.recent.Back()).(*count)
			delete(l.counts, last.key)
		}
	}
	l.recent.MoveToFront(e)
	r := e.Value.(*count).lim.ReserveN(now, max(take, 1))
	wait := r.DelayFrom(now)
	if take == 0 || wait > 0 {
		r.CancelAt(now)
	}
	return wait <= 0, max(wait, 0)
}

func (l *Limiter) resting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now().Before(l.away)
}

func (l *Limiter) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = l.now().Add(redisRest)
}

// Close lets the connection go if Open made it.
func (l *Limiter) Close() error {
	if l.own == nil {
		return nil
	}
	return l.own.Close()
}
