package remember

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pli/fault"
	"pli/identity"
	"pli/internal/id"
)

const (
	address = "anne.martin@mss-a.example"
	secret  = "K7QXM-2D9PA-WW3TE-81HCN"
)

// desk is identity and gate, which say what the test wants, and count.
type desk struct {
	mu             sync.Mutex
	proven, opened int
	told           []string
	wrong, deny    error
	delay          time.Duration
}

func (d *desk) AppPassword(ctx context.Context, a, s, remote string) (identity.SignIn, error) {
	select {
	case <-time.After(d.delay):
	case <-ctx.Done():
		return identity.SignIn{}, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.proven++
	if a != address || s != secret || remote != "192.0.2.1" {
		return identity.SignIn{}, fault.New(fault.WrongSecret, "test", a)
	}
	return identity.SignIn{Account: 1, BAL: 7}, nil
}

func (d *desk) Certificate(_ context.Context, _ string, c *x509.Certificate) (identity.SignIn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.proven++
	return identity.SignIn{Account: 2, BAL: 8}, nil
}

func (d *desk) open(context.Context, identity.SignIn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened++
	return d.deny
}

func newMemory(d *desk) *Memory {
	return New(Deps{SignIn: d, Open: d.open, Now: time.Now,
		Verify: func(s tls.ConnectionState) (*x509.Certificate, error) { return s.PeerCertificates[0], d.wrong },
		Asked: func(means string, who identity.SignIn, err error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.told = append(d.told, fmt.Sprintf("%s %d %v", means, who.Account, err == nil))
		}})
}

func request(name, secret string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(name, secret)
	return r
}

// A proof is asked about once in its time, by however many at once, in whatever letters
// the address is typed; then again.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{delay: time.Second}
		m := newMemory(d)
		for _, name := range []string{address, " Anne.MARTIN@mss-a.example"} {
			for range 10 {
				go func() {
					if who, err := m.Enter(request(name, secret)); err != nil || who.BAL != 7 {
						t.Error(who, err)
					}
				}()
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if d.proven != 1 || d.opened != 1 || len(d.told) != 1 || d.told[0] != "password 1 true" {
			t.Error(d.proven, d.opened, d.told)
		}
		time.Sleep(For)
		_, _ = m.Enter(request(address, secret))
		if d.proven != 2 || d.opened != 2 {
			t.Error("remembered for too long")
		}
	})
}

// Who leaves first does not take the answer away from those who wait with him, and who
// waits may leave.
func TestTheFirstLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{delay: 2 * time.Second}
		m := newMemory(d)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		go func() { _, _ = m.Enter(request(address, secret).WithContext(ctx)) }()
		synctest.Wait()
		go func() {
			if _, err := m.Enter(request(address, secret).WithContext(ctx)); !fault.Is(err, fault.Timeout) {
				t.Error(err)
			}
		}()
		if _, err := m.Enter(request(address, secret)); err != nil || d.proven != 1 {
			t.Error(err, d.proven)
		}
	})
}

// A client that the gate refuses and that goes on asking leaves one trace a minute; what
// is wrong, or wrong with us, is asked about each time.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		m := newMemory(d)
		for _, kind := range []fault.Kind{fault.Forbidden, fault.Closed} {
			d.deny, d.opened = fault.New(kind, "gate", "no"), 0
			for range 5 {
				if who, err := m.Enter(request(address, secret)); !errors.Is(err, d.deny) || who.BAL != 7 {
					t.Error(who, err)
				}
			}
			if d.opened != 1 {
				t.Errorf("%v: %d decisions", kind, d.opened)
			}
			time.Sleep(RefusalFor)
		}
		d.deny, d.opened, d.proven = fault.New(fault.Unavailable, "gate", "away"), 0, 0
		for range 3 {
			_, _ = m.Enter(request(address, secret))
			_, _ = m.Enter(request(address, "faux"))
		}
		if d.opened != 3 || d.proven != 6 {
			t.Error(d.opened, d.proven)
		}
	})
}

func TestWhatIsNoProof(t *testing.T) {
	d := &desk{}
	m := newMemory(d)
	cert := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("leaf")}}}
	bearer := httptest.NewRequest("GET", "/", nil)
	bearer.Header.Set("Authorization", "Bearer abc")
	bearer.TLS = cert
	long := request(address, string(make([]byte, maxSecret+1)))
	for _, r := range []*http.Request{bearer, request("", secret), request(address, ""), long} {
		if _, err := m.Enter(r); !fault.Is(err, fault.WrongSecret) {
			t.Error(err)
		}
	}
	if _, err := m.Enter(httptest.NewRequest("GET", "/", nil)); !fault.Is(err, fault.Unauthenticated) {
		t.Error(err)
	}
	if d.proven != 0 {
		t.Error("identity was asked")
	}
	shown := httptest.NewRequest("GET", "/", nil)
	shown.TLS = cert
	d.wrong = fault.New(fault.Untrusted, "certs", "revoked")
	if _, err := m.Enter(shown); !fault.Is(err, fault.WrongSecret) || d.proven != 0 {
		t.Error(err)
	}
	d.wrong = nil
	if who, err := m.Enter(shown); err != nil || who.BAL != 8 {
		t.Error(who, err)
	}
}

// A sign-in that panics frees those who wait with it.
func TestPanic(t *testing.T) {
	m := newMemory(&desk{})
	m.d.Open = func(context.Context, identity.SignIn) error { panic("open") }
	func() {
		defer func() { _ = recover() }()
		_, _ = m.Enter(request(address, secret))
	}()
	if len(m.doing) != 0 || len(m.kept) != 0 {
		t.Error("something is left")
	}
}

func TestBounded(t *testing.T) {
	m := newMemory(&desk{})
	for i := range maxKept + 10 {
		m.keep(m.hash(fmt.Sprint(i)), identity.SignIn{Account: id.Account(i)}, nil)
	}
	if len(m.kept) > maxKept {
		t.Error(len(m.kept))
	}
	if m.hash("a", "bc") == m.hash("ab", "c") || m.hash("x") == newMemory(&desk{}).hash("x") {
		t.Error("two proofs are one")
	}
}
