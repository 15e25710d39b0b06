package fhird

import (
	"context"
	"sync"
	"time"

	"pli/fault"
	"pli/internal/id"
)

// turnWait is how long a request waits for others of its account to end.
const turnWait = 10 * time.Second

// turns lets each account have a few requests worked on at a time: one that asks much
// waits for itself, not the others for it.
type turns struct {
	n  int
	mu sync.Mutex
	of map[id.Account]*queue
}

type queue struct {
	places chan struct{}
	using  int // requests that hold a place or wait for one
}

func newTurns(n int) *turns { return &turns{n: n, of: map[id.Account]*queue{}} }

// take waits for a place. Errors: fault.RateLimited when none comes free.
func (t *turns) take(ctx context.Context, a id.Account) (leave func(), err error) {
	t.mu.Lock()
	q := t.of[a]
	if q == nil {
		q = &queue{places: make(chan struct{}, t.n)}
		t.of[a] = q
	}
	q.using++
	t.mu.Unlock()
	gone := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if q.using--; q.using == 0 {
			delete(t.of, a)
		}
	}
	wait := time.NewTimer(turnWait)
	defer wait.Stop()
	select {
	case q.places <- struct{}{}:
		return func() { <-q.places; gone() }, nil
	case <-wait.C:
	case <-ctx.Done():
	}
	gone()
	return nil, limited{fault.New(fault.RateLimited, "fhird.take", "at-once"), time.Second}
}
