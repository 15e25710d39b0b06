package redisserver_test

import (
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pli/internal/child"
	"pli/internal/redisserver"
)

func start(t *testing.T, o redisserver.Options) (*redisserver.Server, *redis.Client) {
	t.Helper()
	s, err := redisserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	opt, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opt)
	t.Cleanup(func() { c.Close(); s.Stop() })
	return s, c
}

func TestStandInExpiresKeysByItself(t *testing.T) {
	_, c := start(t, redisserver.Options{BuiltIn: true})
	if err := c.Set(t.Context(), "k", "v", time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); c.Exists(t.Context(), "k").Val() == 1; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the key never expires")
		}
	}
}

func TestStandInRefusesStrangers(t *testing.T) {
	_, c := start(t, redisserver.Options{BuiltIn: true})
	stranger := redis.NewClient(&redis.Options{Addr: c.Options().Addr})
	defer stranger.Close()
	if err := stranger.Ping(t.Context()).Err(); err == nil {
		t.Fatal("answered without a password")
	}
}

func TestRealServer(t *testing.T) {
	if redisserver.Find() == "" {
		if os.Getenv("PLI_E2E") != "" {
			t.Fatal("no redis-server: run scripts/ci-deps.sh")
		}
		t.Skip("no redis-server installed")
	}
	dir, err := os.MkdirTemp("", "pli-redis") // short: a socket path has 107 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, c := start(t, redisserver.Options{Dir: dir})
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if child.Alive(s.PID()) {
		t.Fatal("still alive after Stop")
	}
}
