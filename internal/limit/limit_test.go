package limit

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// tries counts how many of n tries under key are allowed.
func tries(ctx context.Context, l *Limiter, key string, n, perMinute int) (allowed int) {
	for range n {
		if ok, _ := l.Allow(ctx, key, perMinute); ok {
			allowed++
		}
	}
	return allowed
}

func TestLocalCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := Open("")
		if err != nil {
			t.Fatal(err)
		}
		if n := tries(t.Context(), l, "a", 20, 10); n != 10 {
			t.Errorf("%d of 20 tries at once allowed, want 10", n)
		}
		if n := tries(t.Context(), l, "b", 3, 10); n != 3 {
			t.Errorf("another key: %d of 3", n)
		}
		ok, wait := l.Allow(t.Context(), "a", 10)
		if ok || wait <= 0 || wait > 6*time.Second {
			t.Errorf("allowed %v, wait %v, want to wait at most 6 s", ok, wait)
		}
		time.Sleep(wait)
		if n := tries(t.Context(), l, "a", 5, 10); n != 1 {
			t.Errorf("after the wait: %d, want 1", n)
		}
		time.Sleep(time.Minute)
		if n := tries(t.Context(), l, "a", 20, 10); n != 10 {
			t.Errorf("after a minute: %d, want 10", n)
		}
		if ok, _ := l.Allow(t.Context(), "a", 0); ok {
			t.Error("a limit of nothing allows")
		}
	})
}

func TestRedisCountsForAllProcesses(t *testing.T) {
	m := miniredis.RunT(t)
	one, two := openURL(t, "redis://"+m.Addr()), openURL(t, "redis://"+m.Addr())
	total := tries(t.Context(), one, "k", 7, 10) + tries(t.Context(), two, "k", 7, 10)
	if total != 10 {
		t.Errorf("%d tries allowed in two processes together, want 10", total)
	}
	if ok, wait := two.Allow(t.Context(), "k", 10); ok || wait <= 0 {
		t.Errorf("allowed %v, wait %v", ok, wait)
	}
}

func openURL(t *testing.T, url string) *Limiter {
	t.Helper()
	l, err := Open(url)
	if err != nil {
		t.Fatal(err)
	}
	l.wait = time.Minute // a slow machine is no lost Redis
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestWithoutRedisThereIsStillALimit(t *testing.T) {
	m := miniredis.RunT(t)
	l := openURL(t, "redis://"+m.Addr())
	if n := tries(t.Context(), l, "k", 6, 10); n != 6 {
		t.Fatalf("%d of 6", n)
	}
	m.Close()
	if n := tries(t.Context(), l, "k", 20, 10); n != 4 {
		t.Errorf("Redis away: %d more tries allowed, want the 4 that were left", n)
	}
	gone := openURL(t, "redis://127.0.0.1:1")
	if n := tries(t.Context(), gone, "k", 20, 10); n != 10 {
		t.Errorf("Redis never there: %d, want 10", n)
	}
}

func TestAClientOfTheCallerStaysOpen(t *testing.T) {
	m := miniredis.RunT(t)
	c := redis.NewClient(&redis.Options{Addr: m.Addr()})
	defer c.Close()
	if err := New(c).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("closed with the limiter: %v", err)
	}
}

func TestPeekTakesNothing(t *testing.T) {
	m := miniredis.RunT(t)
	for name, l := range map[string]*Limiter{"local": New(nil), "redis": openURL(t, "redis://"+m.Addr())} {
		for range 20 {
			if ok, _ := l.Peek(t.Context(), "p", 3); !ok {
				t.Fatalf("%s: looking took a try", name)
			}
		}
		if n := tries(t.Context(), l, "p", 5, 3); n != 3 {
			t.Errorf("%s: %d tries allowed, want 3", name, n)
		}
		if ok, wait := l.Peek(t.Context(), "p", 3); ok || wait <= 0 || wait > time.Minute {
			t.Errorf("%s: %v, wait %v after the last try", name, ok, wait)
		}
	}
	other := openURL(t, "redis://"+m.Addr())
	if ok, wait := other.Peek(t.Context(), "p", 3); ok || wait <= 0 || wait > time.Minute {
		t.Errorf("another process: %v, wait %v", ok, wait)
	}
}

func TestAllowIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		n := 0
		for range 120 { // one try a minute, two hours
			if ok, _ := l.AllowIn(t.Context(), "k", 20, time.Hour); ok {
				n++
			}
			time.Sleep(time.Minute)
		}
		if n < 55 || n > 60 {
			t.Errorf("%d tries in two hours, want the first 20 and 20 an hour", n)
		}
	})
}

func TestLocalKeysAreBounded(t *testing.T) {
	l := New(nil)
	for i := range localKeys + 50 {
		l.Allow(t.Context(), fmt.Sprint(i), 10)
	}
	if len(l.counts) != localKeys || l.recent.Len() != localKeys {
		t.Errorf("%d keys, %d in order", len(l.counts), l.recent.Len())
	}
}

func TestABadURLIsRefusedWithoutQuotingIt(t *testing.T) {
	if _, err := Open("redis://u:secret@[bad"); err == nil || err.Error() != "limit.Open: invalid [redis-url]" {
		t.Errorf("%v", err)
	}
}

// A Redis that accepts and says nothing must not hold a sign-in.
func TestASilentRedisIsLeftAlone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l := openURL(t, "redis://"+ln.Addr().String())
	l.wait = 10 * time.Millisecond
	if n := tries(t.Context(), l, "k", 20, 10); n != 10 {
		t.Errorf("%d allowed, want 10", n)
	}
	if !l.resting() {
		t.Error("Redis is asked again at once")
	}
}

func TestManyAtOnce(t *testing.T) {
	m := miniredis.RunT(t)
	for name, l := range map[string]*Limiter{"local": New(nil), "redis": openURL(t, "redis://"+m.Addr())} {
		take := func(n int) bool {
			ok, _ := l.AllowN(t.Context(), "n", 100, time.Hour, n)
			return ok
		}
		if !take(60) || !take(0) {
			t.Fatalf("%s: the first are refused", name)
		}
		if take(41) || take(101) {
			t.Errorf("%s: more than are left", name)
		}
		if !take(40) {
			t.Errorf("%s: a refusal took some", name)
		}
		if take(1) {
			t.Errorf("%s: one too many", name)
		}
	}
}
