package limit

import (
	"context"
	"sync"
	"time"

	"pli/fault"
	"pli/internal/id"
)

// turnWait is how long a question waits for others of its account to end.
const turnWait = 10 * time.Second

// Turns lets each account have a few questions worked on at a time, by all the doors of
// a process together: who asks much waits for himself, not the others for him. It may be
// used from anywhere at once.
type Turns struct {
	n  int
	mu sync.Mutex
	of map[id.Account]*queue
}

type queue struct {
	places chan struct{}
	using  int // questions that hold a place or wait for one
}

// NewTurns gives each account n places, one at least.
func NewTurns(n int) *Turns { return &Turns{n: max(n, 1), of: map[id.Account]*queue{}} }

// Take waits for a place of an account, which leave gives back. Errors: fault.RateLimited
// when none comes free in time.
func (t *Turns) Take(ctx context.Context, a id.Account) (leave func(), err error) {
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
	return nil, fault.New(fault.RateLimited, "limit.Take", "at-once")
}
