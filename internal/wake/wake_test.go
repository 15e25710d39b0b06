package wake

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"pli/fault"
)

// patience bounds waits that should be over in milliseconds.
const patience = 20 * time.Second

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func open(t *testing.T, url string) (*Bus, *safeBuffer) {
	t.Helper()
	var out safeBuffer
	b, err := Open(context.Background(), Config{URL: url}, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b, &out
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("no wake-up: %s", what)
	}
}

func TestWakeBetweenProcesses(t *testing.T) {
	r := miniredis.RunT(t)
	a, _ := open(t, "redis://"+r.Addr()+"/0")
	b, _ := open(t, "redis://"+r.Addr()+"/0")
	c, cancel := a.Subscribe(BAL(7))
	wait(t, c, "the subscription is heard")
	other, cancelOther := a.Subscribe(BAL(8))
	wait(t, other, "the other subscription is heard")
	for range 3 {
		b.Wake(t.Context(), BAL(7))
		wait(t, c, "from the other process")
	}
	a.Wake(t.Context(), BAL(7))
	wait(t, c, "from this process")
	cancelOther()
	cancel()
	if n := len(a.subs); n != 0 {
		t.Errorf("%d topics left after cancel", n)
	}
}

func TestOnlyItsTopic(t *testing.T) {
	b := &Bus{out: make(chan string, 1), subs: make(map[string]map[*listener]struct{})}
	one, _ := b.Subscribe("one")
	two, _ := b.Subscribe("two")
	<-one
	<-two
	b.Wake(t.Context(), "one")
	if len(one) != 1 || len(two) != 0 {
		t.Errorf("one heard %d, two heard %d", len(one), len(two))
	}
}

// With Redis gone the listeners tick, what is sent does not block, and wake-ups come
// again once it is back; each change is said once.
func TestRedisAway(t *testing.T) {
	r := miniredis.RunT(t)
	a, out := open(t, "redis://"+r.Addr()+"/0")
	b, _ := open(t, "redis://"+r.Addr()+"/0")
	c, cancel := a.Subscribe(BAL(7))
	defer cancel()
	wait(t, c, "the subscription is heard")
	r.Close()
	wait(t, c, "a tick while Redis is away")
	for range 2 * queueLength {
		b.Wake(t.Context(), BAL(7))
	}
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !strings.Contains(out.String(), "redis is back"); {
		if time.Now().After(deadline) {
			t.Fatalf("the bus did not find Redis again: %s", out)
		}
		time.Sleep(20 * time.Millisecond)
	}
	for len(c) > 0 {
		<-c
	}
	b.Wake(t.Context(), BAL(7))
	wait(t, c, "after Redis is back")
	if n := strings.Count(out.String(), "redis is away"); n != 1 {
		t.Errorf("said %d times that Redis is away: %s", n, out)
	}
}

func TestNeverThere(t *testing.T) {
	a, _ := open(t, "redis://127.0.0.1:1/0")
	c, cancel := a.Subscribe(BAL(1))
	defer cancel()
	wait(t, c, "a first tick")
	a.Wake(t.Context(), BAL(1))
	wait(t, c, "within the process")
}

func TestOpenRefusesAndLeavesNothing(t *testing.T) {
	if _, err := Open(t.Context(), Config{URL: "mini://x"}, slog.New(slog.DiscardHandler)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a URL that is none: %v", err)
	}
	r := miniredis.NewMiniRedis()
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ignore := goleak.IgnoreCurrent()
	b, err := Open(t.Context(), Config{URL: "redis://" + r.Addr()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := b.Subscribe("x")
	wait(t, c, "the subscription is heard")
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	r.Close()
	goleak.VerifyNone(t, ignore)
}
