package imapd

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pli/fault"
	"pli/identity"
	"pli/pipeline"
)

// A right to read that was lost ends the connection within 15 minutes (features.md
// DIR-07): it is asked for again every askAgain, by the next command, by IDLE or, on a
// connection where nothing happens, by the door itself, which looks every watchEvery.
const (
	askAgain   = 10 * time.Minute
	watchEvery = 30 * time.Second
	askTimeout = 30 * time.Second
	askAtOnce  = 8 // questions of the watch at one time
)

// right is what a connection that has signed in lives on.
type right struct {
	bal    *pipeline.OpenBAL
	who    identity.SignIn
	conn   *guard
	seen   atomic.Int64 // when the gate last allowed it, Unix nanoseconds
	asking atomic.Bool
}

func newRight(bal *pipeline.OpenBAL, who identity.SignIn, conn *guard, now time.Time) *right {
	r := &right{bal: bal, who: who, conn: conn}
	r.seen.Store(now.UnixNano())
	return r
}

func (r *right) due(now time.Time) bool { return now.UnixNano()-r.seen.Load() >= int64(askAgain) }

// still asks the gate when it is time. A gate that cannot answer changes nothing yet: it
// is asked again at the next occasion.
func (r *right) still(ctx context.Context, s *Server) error {
	now := s.d.Now()
	if !r.due(now) {
		return nil
	}
	err := r.bal.StillAllowed(ctx)
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Internal:
		if err != nil {
			s.d.Log.Warn("imap right not asked again", "bal", r.who.BAL, "cause", err)
			return nil
		}
	default:
		s.d.Log.Info("imap right lost", "bal", r.who.BAL, "account", r.who.Account, "code", fault.CodeOf(err))
		r.conn.end(fault.TextOf(err))
		return err
	}
	r.seen.Store(now.UnixNano())
	return nil
}

func (s *Server) keepWatch(r *right) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rights[r] = struct{}{}
}

func (s *Server) unwatch(r *right) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rights, r)
}

// watch asks for the connections that do not ask by themselves, until ctx is done.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(s.watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.askDue(ctx)
		}
	}
}

// askDue asks for every right whose time has come. One that another goroutine asks for
// is left to it.
func (s *Server) askDue(ctx context.Context) {
	now := s.d.Now()
	s.mu.Lock()
	var due []*right
	for r := range s.rights {
		if r.due(now) && r.asking.CompareAndSwap(false, true) {
			due = append(due, r)
		}
	}
	s.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(askAtOnce)
	for _, r := range due {
		g.Go(func() error {
			defer func() {
				if v := recover(); v != nil {
					s.d.Log.Error("imap right", "cause", fault.Panic("imapd.askDue", v))
				}
				r.asking.Store(false)
			}()
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			_ = r.still(ctx, s) // it has ended the connection itself
			return nil
		})
	}
	_ = g.Wait() // none fails
}
