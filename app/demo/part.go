package demo

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// part is a process (or the stand-in of one) that the demo keeps alive.
type part struct {
	name    string
	pidFile string // empty for a part in this process
	start   func(ctx context.Context) (running, error)
	now     running
}

// running is a started part. PID is zero for one in this process.
type running interface {
	PID() int
	Done() <-chan struct{}
	Stop()
}

// up starts a part and writes its process id.
func (p *part) up(ctx context.Context) error {
	r, err := p.start(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.now = r
	if p.pidFile == "" || r.PID() == 0 {
		return nil
	}
	return writeFile(p.pidFile, []byte(strconv.Itoa(r.PID())+"\n"), 0o644)
}

// first is up at the start of the demo. A port among those that the system lends to
// callers may be taken for a moment, our own probe's call included: another try then.
func (p *part) first(ctx context.Context) (err error) {
	for range 3 {
		if err = p.up(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
	return err
}

// keep starts the part again whenever it ends, until ctx is done; then it stops it.
func (p *part) keep(ctx context.Context, s *state) {
	defer func() {
		if p.now != nil {
			p.now.Stop()
		}
		if p.pidFile != "" {
			_ = os.Remove(p.pidFile)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.now.Done():
		}
		s.set(p, false)
		if !p.again(ctx, s) {
			return
		}
		s.set(p, true)
	}
}

// again tries until the part is up; false when ctx is done before.
func (p *part) again(ctx context.Context, s *state) bool {
	started := time.Now()
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		err := p.up(ctx)
		if err == nil {
			s.say("%s est reparti en %.1f s.", p.name, time.Since(started).Seconds())
			return true
		}
		p.now = nil
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		if wait >= time.Second {
			s.say("%v", err)
		}
	}
	return false
}

// state knows which parts are up, and shows demo.json while all are.
type state struct {
	mu     sync.Mutex
	down   map[*part]bool
	opened bool // everything was up once
	closed bool
	ready  func() bool  // asks every server: a restarted database is found again in a moment
	show   func() error // writes demo.json
	hide   func()       // removes it
	print  func(format string, args ...any)
}

func (s *state) set(p *part, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !up {
		s.down[p] = true
		s.hide()
		return
	}
	delete(s.down, p)
	s.refresh()
}

// open shows demo.json for the first time.
func (s *state) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = true
	s.refresh()
}

// close hides demo.json for good.
func (s *state) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.hide()
}

func (s *state) refresh() {
	if !s.opened || s.closed || len(s.down) > 0 {
		return
	}
	for deadline := time.Now().Add(10 * time.Second); !s.ready() && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	if err := s.show(); err != nil {
		s.print("demo.json : %v", err)
	}
}

func (s *state) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.print(format, args...)
	}
}

// writeFile writes a file whole or not at all.
func writeFile(path string, b []byte, mode os.FileMode) error {
	if err := os.WriteFile(path+".new", b, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
