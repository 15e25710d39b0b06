package webd

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"
)

// visitIdle is how long a letterbox stays open between two pages of one person.
const visitIdle = 3 * time.Minute

// visits keeps the letterboxes of the people who are here, so that one visit is one
// decision, one trace and one use of the operator's key. It holds handles, no content:
// losing it costs a reopening.
type visits struct {
	box Letterbox
	now func() time.Time

	mu sync.Mutex
	by map[[32]byte]*presence
}

// presence is one person being here, shared by the requests of a session.
type presence struct {
	mu       sync.Mutex // for opening
	letters  Letters    // nil until a page needs it
	owner    *Owner
	accepted bool      // the conditions of use in force, by a professional
	leaveAt  time.Time // when leave to ask the directory was last given

	// under visits.mu
	usedAt   time.Time
	requests int  // in hand
	over     bool // out of the map: the last request closes
}

// visit is one request of a signed-in person.
type visit struct {
	*presence
	session Session
	all     *visits
}

type visitKey struct{}

func visitOf(r *http.Request) *visit {
	v, _ := r.Context().Value(visitKey{}).(*visit)
	return v
}

func newVisits(box Letterbox, now func() time.Time) *visits {
	return &visits{box: box, now: now, by: map[[32]byte]*presence{}}
}

// enter begins a request of a session; leave ends it.
func (a *visits) enter(token string, ses Session) *visit {
	key := sha256.Sum256([]byte(token))
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.by[key]
	if p == nil {
		p = &presence{}
		a.by[key] = p
	}
	p.requests++
	return &visit{presence: p, session: ses, all: a}
}

func (v *visit) leave() {
	v.all.mu.Lock()
	v.requests--
	v.usedAt = v.all.now()
	last := v.over && v.requests == 0
	v.all.mu.Unlock()
	if last {
		v.close()
	}
}

// open gives the letterbox, opened at first use.
func (v *visit) open(ctx context.Context) (Letters, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.letters == nil {
		l, err := v.all.box.Open(ctx, v.session)
		if err != nil {
			return nil, err
		}
		v.letters = l
	}
	return v.letters, nil
}

// greet learns, once per presence, whose space this is, and of a professional whether the
// conditions of use in force are accepted.
func (s *Server) greet(ctx context.Context, v *visit) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.owner != nil && (v.accepted || !v.session.Professional) {
		return nil
	}
	if !v.session.Professional {
		o, err := s.Record.Owner(ctx, v.session)
		if err == nil {
			v.owner = &o
		}
		return err
	}
	b, err := s.Practice.Box(ctx, v.session)
	if err == nil {
		o := b.owner()
		v.owner, v.accepted = &o, b.TermsVersion == s.Config.TermsVersion
	}
	return err
}

func (b Box) owner() Owner {
	return Owner{FamilyName: b.Name, Address: b.Address, Professional: true}
}

// agreed reports whether a professional accepted the conditions of use in force.
func (v *visit) agreed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.accepted
}

// leaveTime is how long leave to ask the directory holds in a visit that lasts.
const leaveTime = 5 * time.Minute

// openDirectory has it decided and traced, once per presence, that the person asks the
// directory, and decided anew from time to time.
func (v *visit) openDirectory(ctx context.Context, l Listings) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, err := v.all.now(), error(nil)
	switch {
	case v.leaveAt.IsZero():
		err = l.OpenDirectory(ctx, v.session)
	case now.Sub(v.leaveAt) >= leaveTime:
		err = l.DirectoryStillAllowed(ctx, v.session)
	default:
		return nil
	}
	if v.leaveAt = now; err != nil {
		v.leaveAt = time.Time{}
	}
	return err
}

func (p *presence) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.letters != nil {
		p.letters.Close()
		p.letters = nil
	}
}

// end closes the letterbox of a session that is over, once its requests are done.
func (a *visits) end(token string) {
	key := sha256.Sum256([]byte(token))
	a.drop(func(k [32]byte, _ *presence) bool { return k == key })
}

// sweep closes what nobody used for a while.
func (a *visits) sweep() {
	now := a.now()
	a.drop(func(_ [32]byte, p *presence) bool { return p.requests == 0 && now.Sub(p.usedAt) > visitIdle })
}

func (a *visits) closeAll() {
	a.drop(func([32]byte, *presence) bool { return true })
}

func (a *visits) drop(which func([32]byte, *presence) bool) {
	var idle []*presence
	a.mu.Lock()
	for k, p := range a.by {
		if which(k, p) {
			delete(a.by, k)
			if p.over = true; p.requests == 0 {
				idle = append(idle, p)
			}
		}
	}
	a.mu.Unlock()
	for _, p := range idle {
		p.close()
	}
}

// run sweeps until ctx is done.
func (a *visits) run(ctx context.Context) {
	t := time.NewTicker(visitIdle / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			a.sweep()
		}
	}
}
