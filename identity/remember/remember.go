// Package remember signs in the requests of doors that speak HTTP, which knows no
// session: a client proves who it is with each request. A proof that was good is good
// again for a few minutes, and the right to come in is decided, and traced, once in that
// time. Nothing is kept but a keyed hash, under a key of this process.
package remember

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"pli/fault"
	"pli/identity"
)

const (
	// For bounds how long a proof is taken again without asking: an account that is
	// disabled, or a secret that is revoked, stops within as long.
	For = 5 * time.Minute
	// RefusalFor is the same for a refusal of the gate: a client that is refused goes on
	// asking, and one trace of it a minute is enough.
	RefusalFor = time.Minute

	maxKept    = 10_000
	maxAddress = 320 // octets
	maxSecret  = 256
	signInTime = 20 * time.Second
)

// SignIn proves who comes (identity.Service).
type SignIn interface {
	AppPassword(ctx context.Context, address, secret, remote string) (identity.SignIn, error)
	Certificate(ctx context.Context, address string, cert *x509.Certificate) (identity.SignIn, error)
}

// Deps is what a door gives. Verify may be nil, which takes no certificates; the rest is
// required.
type Deps struct {
	SignIn SignIn
	// Verify checks the certificate that a client showed (certs.Trust.VerifyClient).
	Verify func(tls.ConnectionState) (*x509.Certificate, error)
	// Open decides, and traces, that who was proven may come in by this door.
	Open func(ctx context.Context, who identity.SignIn) error
	// Asked is told the end of each sign-in that was not remembered. means is "password"
	// or "certificate".
	Asked func(means string, who identity.SignIn, err error)
	Now   func() time.Time
}

// Memory remembers the proofs of one door. It may be used from anywhere at once.
type Memory struct {
	d   Deps
	key [32]byte

	mu    sync.Mutex
	kept  map[[32]byte]outcome
	doing map[[32]byte]*doing
}

type outcome struct {
	who     identity.SignIn
	refusal error // of the gate
	until   time.Time
}

// doing is a proof being asked about: who comes with the same meanwhile waits for it.
type doing struct {
	done chan struct{}
	who  identity.SignIn
	err  error
}

// New makes a memory.
func New(d Deps) *Memory {
	m := &Memory{d: d, kept: map[[32]byte]outcome{}, doing: map[[32]byte]*doing{}}
	rand.Read(m.key[:]) // never fails (crypto/rand)
	return m
}

// Enter finds who asks: by an address and an app password (RFC 7617) when the request has
// an Authorization, by the certificate of the connection when it has none. who is also
// told of somebody that was proven and then refused.
//
// Errors: fault.Unauthenticated without either; fault.WrongSecret; those of identity and
// of the gate.
func (m *Memory) Enter(r *http.Request) (who identity.SignIn, err error) {
	const op = "remember.Enter"
	if r.Header.Get("Authorization") != "" {
		address, secret, ok := r.BasicAuth()
		address = strings.ToLower(strings.TrimSpace(address))
		if !ok || address == "" || secret == "" || len(address) > maxAddress || len(secret) > maxSecret {
			return who, fault.New(fault.WrongSecret, op, "authorization")
		}
		remote := hostOf(r.RemoteAddr)
		return m.prove(r.Context(), "password", m.hash("password", address, secret), func(ctx context.Context) (identity.SignIn, error) {
			return m.d.SignIn.AppPassword(ctx, address, secret, remote)
		})
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || m.d.Verify == nil {
		return who, fault.New(fault.Unauthenticated, op, "no-proof")
	}
	state := *r.TLS
	h := m.hash("certificate", string(state.PeerCertificates[0].Raw))
	return m.prove(r.Context(), "certificate", h, func(ctx context.Context) (identity.SignIn, error) {
		cert, err := m.d.Verify(state)
		if err != nil {
			return identity.SignIn{}, fault.Wrap(fault.WrongSecret, op, "certificate", err)
		}
		return m.d.SignIn.Certificate(ctx, "", cert)
	})
}

// prove tells whose a proof is: from memory, or by asking once for all those who come
// with it at a time.
func (m *Memory) prove(ctx context.Context, means string, h [32]byte, ask func(context.Context) (identity.SignIn, error)) (identity.SignIn, error) {
	m.mu.Lock()
	if o, ok := m.kept[h]; ok {
		if m.d.Now().Before(o.until) {
			m.mu.Unlock()
			return o.who, o.refusal
		}
		delete(m.kept, h)
	}
	d, waiting := m.doing[h]
	if !waiting {
		d = &doing{done: make(chan struct{})}
		m.doing[h] = d
	}
	m.mu.Unlock()
	if waiting {
		select {
		case <-d.done:
			return d.who, d.err
		case <-ctx.Done():
			return identity.SignIn{}, fault.Wrap(fault.Timeout, "remember.prove", "", ctx.Err())
		}
	}
	d.err = fault.New(fault.Internal, "remember.prove", "no-answer") // should ask panic
	defer func() {
		m.mu.Lock()
		delete(m.doing, h)
		m.keep(h, d.who, d.err)
		m.mu.Unlock()
		close(d.done)
	}()
	// Those who wait for the answer do not lose it when the first of them leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signInTime)
	defer cancel()
	who, err := ask(ctx)
	if err == nil {
		err = m.d.Open(ctx, who)
	}
	d.who, d.err = who, err
	m.d.Asked(means, who, err)
	return who, err
}

// keep wants m.mu. A secret that was wrong is not kept, nor what went wrong on our side.
// When there are too many, those that are over go, then any.
func (m *Memory) keep(h [32]byte, who identity.SignIn, err error) {
	now, o := m.d.Now(), outcome{who: who, refusal: err}
	switch kind := fault.KindOf(err); {
	case err == nil:
		o.until = now.Add(For)
	case kind == fault.Forbidden || kind == fault.Closed:
		o.until = now.Add(RefusalFor)
	default:
		return
	}
	if len(m.kept) >= maxKept {
		for k, old := range m.kept {
			if !now.Before(old.until) {
				delete(m.kept, k)
			}
		}
		for k := range m.kept {
			if len(m.kept) < maxKept {
				break
			}
			delete(m.kept, k)
		}
	}
	m.kept[h] = o
}

// hash names a proof; each part comes with its length.
func (m *Memory) hash(parts ...string) (h [32]byte) {
	mac := hmac.New(sha256.New, m.key[:])
	for _, s := range parts {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(s))) // a hash takes everything
		_, _ = mac.Write([]byte(s))
	}
	copy(h[:], mac.Sum(nil))
	return h
}

// hostOf is the host of a remote address, for the limits on sign-in.
func hostOf(remote string) string {
	h, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	return h
}
