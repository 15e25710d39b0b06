// Package fhird is the directory, asked over FHIR R4 (HTTPS, read only): Practitioner,
// PractitionerRole and Organization as the national API shows them (mssante.md §4.3).
//
// A request passes guard.go (headers, panics, one event), signin.go (Basic with an
// address and an app password, or a client certificate; decided and traced by
// pipeline.Reader once per remembered credential), then route.go, which knows the few
// forms a URL may have. codec/fhir reads the parameters, directory/resource finds, and
// answer.go writes. Every refusal is an OperationOutcome. The door decides nothing and
// keeps nothing but what identity/remember does, for five minutes.
package fhird

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/codec/fhir"
	"pli/directory/resource"
	"pli/fault"
	"pli/identity"
	"pli/identity/remember"
	"pli/internal/limit"
	"pli/internal/ticket"
)

// Reader says who may ask the directory (pipeline.Reader).
type Reader interface {
	OpenDirectory(ctx context.Context, who identity.SignIn, door string) error
}

// Store finds (directory/resource.Store).
type Store interface {
	Read(ctx context.Context, kind, id string) (resource.Resource, error)
	Search(ctx context.Context, q fhir.Query, after string) (resource.Page, error)
}

// Limiter counts what an account asks and takes (internal/limit.Limiter).
type Limiter interface {
	AllowN(ctx context.Context, key string, n int, period time.Duration, take int) (ok bool, retryAfter time.Duration)
}

// Config tunes the door. The zero value is for production.
type Config struct {
	// BaseURL is where clients reach the door, such as https://fhir.mss-a.example/fhir.
	// Empty: what the client called it.
	BaseURL string `toml:"base_url"`
	// Operator is the name that the CapabilityStatement gives.
	Operator string `toml:"-"`
	// Version of the software.
	Version string `toml:"-"`
	// MaxConns bounds connections. Zero means 1,000.
	MaxConns int `toml:"max_conns"`
	// MaxConnsPerHost bounds connections from one network address; a hospital comes
	// from one. Zero means 500.
	MaxConnsPerHost int `toml:"max_conns_per_host"`
	// MaxRequestsPerMinute of one account. Zero means 600.
	MaxRequestsPerMinute int `toml:"max_requests_per_minute"`
	// MaxResourcesPerHour that one account may be given. Zero means 50,000.
	MaxResourcesPerHour int `toml:"max_resources_per_hour"`
}

// Deps is what the door stands on. Turns, Metrics and VerifyClient may be nil; the rest is
// required, but TLS in tests.
type Deps struct {
	SignIn remember.SignIn
	Reader Reader
	Store  Store
	Limit  Limiter
	// Turns bounds the questions of one account that are worked on at a time, by all the
	// doors that share it. Nil: six, by this door alone.
	Turns *limit.Turns
	// Tickets seals page tokens.
	Tickets *ticket.Office
	// TLS is shown to clients; it asks for a client certificate and takes none for
	// granted (certs.Trust.IMAP). Nil serves in clear, for tests.
	TLS *tls.Config
	// VerifyClient checks the certificate a client showed (certs.Trust.VerifyClient).
	// Nil takes no certificates.
	VerifyClient func(tls.ConnectionState) (*x509.Certificate, error)
	Log          *slog.Logger
	Now          func() time.Time
	Metrics      prometheus.Registerer
}

const (
	// door is what traces call this door.
	door = "fhir"
	// root is the path of the base.
	root = "/fhir"

	requestTime = 30 * time.Second // as the national API
	stopTime    = 20 * time.Second
	atOnce      = 6 // questions of one account, unless told
)

// Server is the door. One serves any number of listeners.
type Server struct {
	d          Deps
	c          Config
	base       string // "" when it is the client's
	catalogue  fhir.Catalogue
	capability []byte
	known      *remember.Memory
	metrics    *metrics
	began      time.Time
}

// New makes the door. Errors: fault.Invalid for a base that is no URL.
func New(d Deps, c Config) (*Server, error) {
	orDefault(&c.MaxConns, 1_000)
	orDefault(&c.MaxConnsPerHost, 500)
	orDefault(&c.MaxRequestsPerMinute, 600)
	orDefault(&c.MaxResourcesPerHour, 50_000)
	if d.Turns == nil {
		d.Turns = limit.NewTurns(atOnce)
	}
	s := &Server{d: d, c: c, base: strings.TrimSuffix(c.BaseURL, "/"), catalogue: resource.Catalogue(),
		metrics: newMetrics(d.Metrics), began: d.Now()}
	s.known = remember.New(remember.Deps{SignIn: d.SignIn, Verify: d.VerifyClient, Open: s.open, Asked: s.asked, Now: d.Now})
	if u, err := url.Parse(s.base); s.base != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil) {
		return nil, fault.New(fault.Invalid, "fhird.New", "base-url")
	}
	var err error
	s.capability, err = fhir.Capability(s.catalogue, fhir.Server{Name: c.Operator, Version: c.Version, URL: s.base, Since: s.began})
	return s, err
}

func orDefault(v *int, or int) {
	if *v <= 0 {
		*v = or
	}
}

// Serve answers on a listener until ctx is done, then lets requests in hand finish.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s.guard(http.HandlerFunc(s.route)),
		TLSConfig:         s.d.TLS,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       requestTime,
		WriteTimeout:      2 * requestTime,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(quiet{s.d.Log.Handler()}, slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		done <- srv.Shutdown(stop)
	}()
	ln = limit.Listener(ln, s.c.MaxConns, s.c.MaxConnsPerHost, s.metrics.refused.Inc)
	var err error
	if s.d.TLS != nil {
		err = srv.ServeTLS(ln, "", "")
	} else {
		err = srv.Serve(ln)
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = <-done
	}
	return fault.Wrap(fault.Unavailable, "fhird.Serve", "listener", err)
}

// quiet keeps net/http's own lines out of the log but for their count: they carry
// remote addresses and request bytes.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	return q.Handler.Handle(ctx, slog.NewRecord(r.Time, slog.LevelDebug, "fhird connection error", 0))
}
