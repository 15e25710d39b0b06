package fhird

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"pli/fault"
	"pli/identity"
)

const (
	// rememberFor bounds how long a proven credential is taken again without asking: an
	// account that is disabled stops here within as long.
	rememberFor  = 5 * time.Minute
	maxKnown     = 10_000
	maxAddress   = 320 // octets
	maxSecret    = 256
	signInTime   = 20 * time.Second
	minuteOfWork = time.Minute
	hourOfWork   = time.Hour
)

// known are credentials that were proven, and allowed to ask the directory, a short while
// ago. They are kept as a keyed hash whose key is this process's own.
type known struct {
	key [32]byte
	now func() time.Time

	mu    sync.Mutex
	all   map[[16]byte]entry
	doing map[[16]byte]*doing
}

type entry struct {
	rest  [16]byte // of the hash
	who   identity.SignIn
	until time.Time
}

// doing is a credential being proven: who comes with the same meanwhile waits for it.
type doing struct {
	done chan struct{}
	who  identity.SignIn
	err  error
}

func newKnown(now func() time.Time) *known {
	k := &known{now: now, all: map[[16]byte]entry{}, doing: map[[16]byte]*doing{}}
	rand.Read(k.key[:]) //nolint:errcheck // never fails (crypto/rand)
	return k
}

// prove returns who a credential is of: from memory, or by asking once for all those who
// come with it at a time.
func (k *known) prove(ctx context.Context, credential []byte, ask func(context.Context) (identity.SignIn, error)) (identity.SignIn, error) {
	m := hmac.New(sha256.New, k.key[:])
	m.Write(credential)
	sum := m.Sum(nil)
	name, rest := [16]byte(sum[:16]), [16]byte(sum[16:])

	k.mu.Lock()
	if e, ok := k.all[name]; ok {
		if subtle.ConstantTimeCompare(e.rest[:], rest[:]) == 1 && k.now().Before(e.until) {
			k.mu.Unlock()
			return e.who, nil
		}
		delete(k.all, name)
	}
	d, waiting := k.doing[name]
	if !waiting {
		d = &doing{done: make(chan struct{})}
		k.doing[name] = d
	}
	k.mu.Unlock()
	if waiting {
		select {
		case <-d.done:
			return d.who, d.err
		case <-ctx.Done():
			return identity.SignIn{}, fault.Wrap(fault.Timeout, "fhird.prove", "", ctx.Err())
		}
	}
	// Those who wait for the answer do not lose it when the first of them leaves.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), signInTime)
	defer cancel()
	d.err = fault.New(fault.Internal, "fhird.prove", "no-answer") // should ask panic
	defer func() {
		k.mu.Lock()
		delete(k.doing, name)
		if d.err == nil {
			k.remember(name, entry{rest, d.who, k.now().Add(rememberFor)})
		}
		k.mu.Unlock()
		close(d.done)
	}()
	d.who, d.err = ask(asking)
	return d.who, d.err
}

// remember wants k.mu. When there are too many, those that are over go, then any.
func (k *known) remember(name [16]byte, e entry) {
	if len(k.all) >= maxKnown {
		now := k.now()
		for n, old := range k.all {
			if now.After(old.until) {
				delete(k.all, n)
			}
		}
		for n := range k.all {
			if len(k.all) < maxKnown {
				break
			}
			delete(k.all, n)
		}
	}
	k.all[name] = e
}

// signIn proves who asks and that he may; it counts his requests.
func (s *Server) signIn(r *http.Request) (identity.SignIn, error) {
	who, err := s.prove(r)
	if err != nil {
		return identity.SignIn{}, err
	}
	noteOf(r).who = who
	return who, s.allow(r.Context(), who, "requests", s.c.MaxRequestsPerMinute, minuteOfWork, 1)
}

func (s *Server) prove(r *http.Request) (identity.SignIn, error) {
	ctx := r.Context()
	if r.Header.Get("Authorization") != "" {
		address, secret, ok := r.BasicAuth()
		address = strings.ToLower(strings.TrimSpace(address))
		if !ok || address == "" || secret == "" || len(address) > maxAddress || len(secret) > maxSecret {
			return identity.SignIn{}, fault.New(fault.WrongSecret, "fhird.prove", "authorization")
		}
		return s.known.prove(ctx, []byte("basic\x00"+address+"\x00"+secret), func(ctx context.Context) (identity.SignIn, error) {
			who, err := s.d.SignIn.AppPassword(ctx, address, secret, remote(r))
			return s.open(ctx, "password", who, err)
		})
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && s.d.VerifyClient != nil {
		state := *r.TLS
		return s.known.prove(ctx, append([]byte("certificate\x00"), state.PeerCertificates[0].Raw...), func(ctx context.Context) (identity.SignIn, error) {
			cert, err := s.d.VerifyClient(state)
			if err != nil {
				return s.open(ctx, "certificate", identity.SignIn{}, err)
			}
			who, err := s.d.SignIn.Certificate(ctx, "", cert)
			return s.open(ctx, "certificate", who, err)
		})
	}
	return identity.SignIn{}, fault.New(fault.Unauthenticated, "fhird.prove", "no-credential")
}

// open asks the gate for who was proven; it decides and traces.
func (s *Server) open(ctx context.Context, means string, who identity.SignIn, err error) (identity.SignIn, error) {
	if err == nil {
		err = s.d.Reader.OpenDirectory(ctx, who, door)
	}
	result := "ok"
	if err != nil {
		result = fault.KindOf(err).String()
	}
	s.metrics.signIns.WithLabelValues(means, result).Inc()
	return who, err
}

// limited is a refusal with how long to wait.
type limited struct {
	error
	wait time.Duration
}

func (l limited) Unwrap() error { return l.error }

func (s *Server) allow(ctx context.Context, who identity.SignIn, what string, n int, period time.Duration, take int) error {
	ok, wait := s.d.Limit.AllowN(ctx, "fhir-"+what+"-"+number(who), n, period, min(take, n))
	if ok {
		return nil
	}
	return limited{fault.New(fault.RateLimited, "fhird.allow", what), wait}
}

// number is how an account is named to limits and tickets.
func number(who identity.SignIn) string { return strconv.FormatInt(int64(who.Account), 10) }

// remote is the host the request comes from, for the limits on sign-in.
func remote(r *http.Request) string {
	h, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return h
}
