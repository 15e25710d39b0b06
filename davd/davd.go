// Package davd is the directory on phones: CardDAV (RFC 6352), read only, over HTTPS.
//
// A request enters at server.go, which finds who asks (signin.go) and what is asked of
// (resource.go), and is answered by one file per method: propfind.go, report.go, and
// server.go for the cards themselves. There are two address books. « Mon établissement »
// holds the listings of the structure of whoever signs in: it is finite, and phones keep
// it whole (book.go). « Annuaire » is everybody: it is asked, never listed, and phones
// that know how find it as a directory gateway. The door decides nothing, changes
// nothing and keeps nothing but what identity/remember does, for five minutes, and a
// structure's book for half a minute.
package davd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/directory"
	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/identity"
	"pli/identity/remember"
	"pli/internal/id"
	"pli/internal/limit"
	"pli/internal/pg"
)

// Reader says who may ask the directory (pipeline.Reader).
type Reader interface {
	OpenDirectory(ctx context.Context, who identity.SignIn, door string) error
}

// Searcher finds (directory/search.Searcher).
type Searcher interface {
	Search(ctx context.Context, q search.Query) (search.Page, error)
	ByKey(ctx context.Context, k listing.Key) (listing.Listing, error)
}

// Boxes finds the structure of a BAL (directory.Directory).
type Boxes interface {
	ByID(ctx context.Context, q pg.Querier, b id.BAL) (directory.BAL, error)
}

// Limiter counts the cards an account takes (internal/limit.Limiter).
type Limiter interface {
	AllowN(ctx context.Context, key string, n int, period time.Duration, take int) (ok bool, retryAfter time.Duration)
}

// Config tunes the door. The zero value is for production.
type Config struct {
	// MaxConns bounds connections. Zero means 1,000.
	MaxConns int `toml:"max_conns"`
	// MaxConnsPerHost bounds connections from one network address; a hospital comes
	// from one. Zero means 500.
	MaxConnsPerHost int `toml:"max_conns_per_host"`
	// MaxCards is what « Mon établissement » holds at most. Zero means 2,000.
	MaxCards int `toml:"max_cards"`
	// MaxFound is what one search of « Annuaire » gives at most. Zero means 100.
	MaxFound int `toml:"max_found"`
	// MaxFoundPerHour is what one account may take of « Annuaire »: nobody copies the
	// directory here. Zero means 10,000.
	MaxFoundPerHour int `toml:"max_found_per_hour"`
}

// Deps is what the door stands on. Turns and Metrics may be nil; the rest is required.
type Deps struct {
	DB     *pg.DB
	SignIn remember.SignIn
	Reader Reader
	Search Searcher
	Boxes  Boxes
	Limit  Limiter
	// Turns bounds the questions of one account that are worked on at a time, by all the
	// doors that share it. Nil: six, by this door alone.
	Turns *limit.Turns
	// TLS is shown to clients; it asks for a client certificate and takes none for
	// granted (certs.Trust.IMAP).
	TLS *tls.Config
	// VerifyClient checks the certificate a client showed (certs.Trust.VerifyClient).
	VerifyClient func(tls.ConnectionState) (*x509.Certificate, error)
	Log          *slog.Logger
	Now          func() time.Time
	// Zone is that of the dates that people read; nil is UTC.
	Zone    *time.Location
	Metrics prometheus.Registerer
}

// doorName is what traces call this door.
const doorName = "carddav"

const atOnce = 6 // questions of one account, unless told

// Server is the door. One serves any number of listeners.
type Server struct {
	d       Deps
	c       Config
	metrics *metrics
	proven  *remember.Memory
	kept    shelf
}

// New makes the door. It panics when something it stands on is missing.
func New(d Deps, c Config) *Server {
	if d.DB == nil || d.SignIn == nil || d.Reader == nil || d.Search == nil || d.Boxes == nil || d.Limit == nil || d.TLS == nil ||
		d.VerifyClient == nil || d.Log == nil || d.Now == nil {
		panic("davd.New: something is missing")
	}
	if d.Zone == nil {
		d.Zone = time.UTC
	}
	for v, or := range map[*int]int{&c.MaxConns: 1_000, &c.MaxConnsPerHost: 500, &c.MaxCards: 2_000, &c.MaxFound: 100, &c.MaxFoundPerHour: 10_000} {
		if *v <= 0 {
			*v = or
		}
	}
	if d.Turns == nil {
		d.Turns = limit.NewTurns(atOnce)
	}
	s := &Server{d: d, c: c, metrics: newMetrics(d.Metrics)}
	s.proven = remember.New(remember.Deps{SignIn: d.SignIn, Verify: d.VerifyClient, Open: s.open, Asked: s.asked, Now: d.Now})
	return s
}

// bad is a request that is not one.
func bad(op, code string) error { return fault.New(fault.Invalid, "davd."+op, code) }
