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

// Deps is what the door stands on. Metrics may be nil; the rest is required.
type Deps struct {
	SignIn SignIn
	Reader Reader
	Search Searcher
	Limit  Limiter
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

// doorName is what traces call this door.
const doorName = "ldap"

var (
	_ = errors.Is
	_ = runtime.GOMAXPROCS
	_ sync.Mutex
)

// Server is the door. One serves any number of listeners.
type Server struct {
	d Deps
	c Config
}

// New makes the door. Errors: fault.Invalid for a base that is no name.
func New(d Deps, c Config) (*Server, error) { return &Server{d: d, c: c}, nil }

// Serve answers on a listener in clear (389), where StartTLS is the only way on, until
// ctx is done: then it takes no more connections, lets operations in hand finish, says
// so to every client, and returns.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	<-ctx.Done()
	return fault.Wrap(fault.Unavailable, "ldapd.Serve", "", ln.Close())
}

// ServeTLS answers on a listener where TLS comes first (636); otherwise as Serve.
func (s *Server) ServeTLS(ctx context.Context, ln net.Listener) error { return s.Serve(ctx, ln) }
