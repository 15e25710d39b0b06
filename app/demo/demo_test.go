package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pli/health"
)

// fake is a running part that a test ends.
type fake struct {
	pid  int
	done chan struct{}
	once sync.Once
}

func (f *fake) PID() int              { return f.pid }
func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Stop()                 { f.once.Do(func() { close(f.done) }) }

func TestPartThatDiesIsStartedAgain(t *testing.T) {
	var mu sync.Mutex
	starts := 0
	var last *fake
	shown := false
	p := &part{name: "x", pidFile: filepath.Join(t.TempDir(), "x.pid"), start: func(context.Context) (running, error) {
		mu.Lock()
		defer mu.Unlock()
		if starts++; starts == 2 {
			return nil, errors.New("not yet")
		}
		last = &fake{pid: 1000 + starts, done: make(chan struct{})}
		return last, nil
	}}
	s := &state{down: map[*part]bool{}, ready: func() bool { return true }, print: t.Logf,
		show: func() error { mu.Lock(); shown = true; mu.Unlock(); return nil }, hide: func() { mu.Lock(); shown = false; mu.Unlock() }}
	if err := p.first(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.open()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { p.keep(ctx, s); close(ended) }()
	mu.Lock()
	first := last
	mu.Unlock()
	first.Stop() // dies
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		mu.Lock()
		again := starts == 3 && shown
		mu.Unlock()
		if b, _ := os.ReadFile(p.pidFile); again && string(b) == "1003\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("never started again, or demo.json not shown")
		}
	}
	stop()
	<-ended
	if _, err := os.Stat(p.pidFile); err == nil {
		t.Error("the pid file is left behind")
	}
	s.close()
	if shown {
		t.Error("demo.json is shown after the end")
	}
}

func TestSecretsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.json")
	ops := operators()
	first, err := loadSecrets(path, ops)
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadSecrets(path, ops)
	if err != nil {
		t.Fatal(err)
	}
	for key, s := range first {
		if again[key] != s {
			t.Errorf("%s has other secrets at the second start", key)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("secrets may be read by others: %v, %v", st.Mode(), err)
	}
}

// TestCast checks the numbers of the invented people: keys and digits must hold, for
// the house refuses what does not.
func TestCast(t *testing.T) {
	for _, op := range operators() {
		for _, p := range op.cast {
			switch {
			case p.kind == health.Patient:
				ins, err := health.ParseINS(p.ins)
				if err != nil || !ins.KeyValid() || !p.traits.Complete() {
					t.Errorf("%s: INS or traits do not hold: %v", p.key, err)
				}
			case p.who != nil:
				if _, err := health.ParseRPPS(string(p.who.RPPS)); err != nil {
					t.Errorf("%s: %v", p.key, err)
				}
			}
			if p.place != nil {
				if _, err := health.ParseFINESS(string(p.place.FINESS)); err != nil {
					t.Errorf("%s: %v", p.key, err)
				}
			}
		}
	}
}

func TestPathsAreShownFromTheCheckout(t *testing.T) {
	l := layout{dir: "/src/pli/.demo", cwd: "/src/pli"}
	if got := l.shown(l.at("a", "pli.pid")); got != ".demo/a/pli.pid" {
		t.Errorf("inside: %s", got)
	}
	if got := l.shown("/var/lib/x"); got != "/var/lib/x" {
		t.Errorf("outside: %s", got)
	}
}
