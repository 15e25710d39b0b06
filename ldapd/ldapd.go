// Package ldapd is the directory, asked over LDAP: version 3, read only (RFC 4511), on
// 389 with StartTLS and on 636.
//
// A connection's messages are framed and bounded by wire.go before go-asn1-ber sees
// them, dispatched by conn.go, and answered by one file per operation: a bind goes to
// identity and then to pipeline (decided and traced there), a search is compiled
// (filter.go) to a question for directory/search, and what is found is written straight
// into the connection's buffer (entry.go). The door decides nothing, changes nothing and
// keeps nothing between connections.
package ldapd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/identity"
	"pli/internal/limit"
	"pli/internal/ticket"
)

// SignIn proves who comes (identity.Service).
type SignIn interface {
	AppPassword(ctx context.Context, address, secret, remote string) (identity.SignIn, error)
	Certificate(ctx context.Context, address string, cert *x509.Certificate) (identity.SignIn, error)
}

// Reader says who may ask the directory (pipeline.Reader).
type Reader interface {
	OpenDirectory(ctx context.Context, who identity.SignIn, door string) error
	DirectoryStillAllowed(ctx context.Context, who identity.SignIn, door string) error
}

// Searcher finds (directory/search.Searcher).
type Searcher interface {
	Search(ctx context.Context, q search.Query) (search.Page, error)
	ByKey(ctx context.Context, k listing.Key) (listing.Listing, error)
}

// Limiter counts the entries an account takes (internal/limit.Limiter).
type Limiter interface {
	AllowN(ctx context.Context, key string, n int, period time.Duration, take int) (ok bool, retryAfter time.Duration)
}

// Config tunes the door. The zero value is for production.
type Config struct {
	// Base is the name under which the directory is shown. Empty means
	// ou=annuaire,o=mssante,c=fr.
	Base string `toml:"base"`
	// MaxConns bounds connections. Zero means 2,000.
	MaxConns int `toml:"max_conns"`
	// MaxConnsPerHost bounds connections from one network address; a hospital comes
	// from one. Zero means 500.
	MaxConnsPerHost int `toml:"max_conns_per_host"`
	// MaxEntries of one answer, or of one page. Zero means 100; 1,000 at most.
	MaxEntries int `toml:"max_entries"`
	// MaxPagedEntries is what all the pages of one search may hold. Zero means 2,000.
	MaxPagedEntries int `toml:"max_paged_entries"`
	// MaxEntriesPerHour is what one account may take: nobody copies the directory
	// here. Zero means 10,000.
	MaxEntriesPerHour int `toml:"max_entries_per_hour"`
	// TimeLimit of one search. Zero means 3 s.
	TimeLimit time.Duration `toml:"time_limit"`
	// IdleTimeout ends a signed-in connection that asks nothing. Zero means 15 min.
	IdleTimeout time.Duration `toml:"idle_timeout"`
}

// Deps is what the door stands on. Turns and Metrics may be nil; the rest is required.
type Deps struct {
	SignIn SignIn
	Reader Reader
	Search Searcher
	Limit  Limiter
	// Turns bounds the questions of one account that are worked on at a time, by all the
	// doors that share it. Nil: six, by this door alone.
	Turns *limit.Turns
	// Tickets seals the cookies of paged results.
	Tickets *ticket.Office
	// TLS is shown to clients; it asks for a client certificate and takes none for
	// granted (certs.Trust.IMAP).
	TLS *tls.Config
	// VerifyClient checks the certificate a client showed (certs.Trust.VerifyClient).
	VerifyClient func(tls.ConnectionState) (*x509.Certificate, error)
	Log          *slog.Logger
	Now          func() time.Time
	Metrics      prometheus.Registerer
}

// DefaultBase is the name under which the directory is shown unless configured.
const DefaultBase = "ou=annuaire,o=mssante,c=fr"

// doorName is what traces call this door.
const doorName = "ldap"

const (
	handshakeTimeout = 20 * time.Second
	stopTimeout      = 20 * time.Second
	maxEntries       = 1000
	atOnce           = 6 // questions of one account, unless told
)

// Server is the door. One serves any number of listeners.
type Server struct {
	d          Deps
	c          Config
	suffix     name // Base, read
	metrics    *metrics
	opened     *openings
	handshakes *limit.Handshakes

	mu    sync.Mutex
	conns map[*conn]struct{}
	hosts map[string]int
	total int
}

// New makes the door. Errors: fault.Invalid for a base that is no name.
func New(d Deps, c Config) (*Server, error) {
	if c.Base == "" {
		c.Base = DefaultBase
	}
	suffix, err := parseName(c.Base)
	if err != nil || len(suffix) == 0 {
		return nil, fault.New(fault.Invalid, "ldapd.New", "base")
	}
	orDefault(&c.MaxConns, 2_000)
	orDefault(&c.MaxConnsPerHost, 500)
	orDefault(&c.MaxEntries, 100)
	orDefault(&c.MaxPagedEntries, 2_000)
	orDefault(&c.MaxEntriesPerHour, 10_000)
	orDefault(&c.TimeLimit, 3*time.Second)
	orDefault(&c.IdleTimeout, 15*time.Minute)
	c.MaxEntries = min(c.MaxEntries, maxEntries)
	if d.Turns == nil {
		d.Turns = limit.NewTurns(atOnce)
	}
	return &Server{
		d: d, c: c, suffix: suffix, metrics: newMetrics(d.Metrics), opened: newOpenings(),
		handshakes: limit.NewHandshakes(8 * runtime.GOMAXPROCS(0)),
		conns:      make(map[*conn]struct{}), hosts: make(map[string]int),
	}, nil
}

func orDefault[T int | time.Duration](v *T, or T) {
	if *v <= 0 {
		*v = or
	}
}

// Serve answers on a listener in clear (389), where StartTLS is the only way on, until
// ctx is done: then it takes no more connections, lets operations in hand finish, says
// so to every client, and returns.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln, false) }

// ServeTLS answers on a listener where TLS comes first (636); otherwise as Serve.
func (s *Server) ServeTLS(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln, true) }

func (s *Server) serve(ctx context.Context, ln net.Listener, implicit bool) error {
	shut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { _ = ln.Close(); close(shut) })
	var conns sync.WaitGroup
	err := s.accept(ctx, ln, func(nc net.Conn) {
		conns.Go(func() { s.handle(ctx, nc, implicit) })
	})
	if !stop() {
		<-shut // the port is free when we return
	}
	s.each((*conn).stop)
	cut := time.AfterFunc(stopTimeout, func() { s.each((*conn).kill) })
	defer cut.Stop()
	conns.Wait()
	return err
}

func (s *Server) accept(ctx context.Context, ln net.Listener, take func(net.Conn)) error {
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			take(nc)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fault.Wrap(fault.Unavailable, "ldapd.Serve", "listener", err)
		default: // out of descriptors, most often: wait for some to come back
			s.d.Log.Error("ldap accept failed")
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

// handle carries one connection from accept to its end.
func (s *Server) handle(ctx context.Context, nc net.Conn, implicit bool) {
	defer func() {
		if v := recover(); v != nil {
			s.d.Log.Error("ldap connection", "cause", fault.Panic("ldapd.handle", v))
		}
		_ = nc.Close()
	}()
	host := hostOf(nc)
	if !s.admit(host) {
		s.metrics.refused.Inc()
		if !implicit {
			_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = nc.Write(appendNotice(nil, busy, fault.RateLimited.Text()))
		}
		return
	}
	defer s.leave(host)
	c := newConn(s, nc, host)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	if ctx.Err() != nil { // after the round of stop
		c.stop()
	}
	defer c.end()
	if implicit {
		if err := c.secure(); err != nil {
			return
		}
	}
	c.serve()
}

func (s *Server) admit(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.c.MaxConns || s.hosts[host] >= s.c.MaxConnsPerHost {
		return false
	}
	s.total++
	s.hosts[host]++
	s.metrics.connections.Set(float64(s.total))
	return true
}

func (s *Server) leave(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.hosts[host]--; s.hosts[host] == 0 {
		delete(s.hosts, host)
	}
	s.metrics.connections.Set(float64(s.total))
}

func hostOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}
