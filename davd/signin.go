package davd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"sync"
	"time"

	"pli/fault"
	"pli/identity"
)

// HTTP knows no session: a phone proves who it is with each of its requests. A proof that
// was good is good again for provenTime, and the right to ask is decided and traced once
// in that time.
const (
	provenTime  = 5 * time.Minute
	refusedTime = time.Minute // a phone that is refused goes on asking: one trace a minute is enough
	maxProven   = 10_000
)

// proven remembers proofs by a hash under a key of this process.
type proven struct {
	key [32]byte
	mu  sync.Mutex
	by  map[[32]byte]provenBy
}

type provenBy struct {
	who     identity.SignIn
	refusal error // of the gate
	until   time.Time
}

func newProven() *proven {
	p := &proven{by: map[[32]byte]provenBy{}}
	rand.Read(p.key[:]) // never fails (crypto/rand)
	return p
}

// hash names a proof; each part comes with its length.
func (p *proven) hash(parts ...string) (h [32]byte) {
	mac := hmac.New(sha256.New, p.key[:])
	for _, s := range parts {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(s))) // a hash takes everything
		_, _ = mac.Write([]byte(s))
	}
	copy(h[:], mac.Sum(nil))
	return h
}

func (p *proven) get(h [32]byte, now time.Time) (provenBy, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.by[h]
	if ok && !now.Before(k.until) {
		delete(p.by, h)
		return provenBy{}, false
	}
	return k, ok
}

func (p *proven) put(h [32]byte, k provenBy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.by) >= maxProven {
		clear(p.by)
	}
	p.by[h] = k
}

// enter finds who asks: a name and an app password (RFC 7617), or else the certificate of
// the connection. Errors: fault.Unauthenticated without either; those of identity and of
// the gate.
func (s *Server) enter(ctx context.Context, r *http.Request) (identity.SignIn, error) {
	const op = "davd.enter"
	name, secret, basic := r.BasicAuth()
	shown := r.TLS != nil && len(r.TLS.PeerCertificates) > 0
	var h [32]byte
	var prove func() (identity.SignIn, error)
	switch {
	case basic:
		h = s.proven.hash("basic", name, secret)
		prove = func() (identity.SignIn, error) { return s.d.SignIn.AppPassword(ctx, name, secret, r.RemoteAddr) }
	case shown:
		h = s.proven.hash("certificate", string(r.TLS.PeerCertificates[0].Raw))
		prove = func() (identity.SignIn, error) {
			cert, err := s.d.VerifyClient(*r.TLS)
			if err != nil {
				return identity.SignIn{}, fault.Wrap(fault.WrongSecret, op, "certificate", err)
			}
			return s.d.SignIn.Certificate(ctx, "", cert)
		}
	default:
		return identity.SignIn{}, fault.New(fault.Unauthenticated, op, "no-proof")
	}
	now := s.d.Now()
	if k, ok := s.proven.get(h, now); ok {
		return k.who, k.refusal
	}
	who, err := prove()
	if err != nil {
		return identity.SignIn{}, err
	}
	err = s.d.Reader.OpenDirectory(ctx, who, doorName)
	switch fault.KindOf(err) {
	case fault.Forbidden, fault.Closed:
		s.proven.put(h, provenBy{who, err, now.Add(refusedTime)})
	}
	if err != nil {
		return who, err
	}
	s.d.Log.Info("carddav sign-in", "account", who.Account, "bal", who.BAL, "means", who.Means)
	s.proven.put(h, provenBy{who, nil, now.Add(provenTime)})
	return who, nil
}
