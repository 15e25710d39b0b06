// Package webd is the door by which people come in with a browser: they sign in, read
// their conversations, answer, look into their record and see who opened what.
//
// Pages are HTML made on the server; every task works without scripts, and none is
// sent. The door holds no rule: the gate and the rooms behind the interfaces of
// rooms.go decide, and webd puts their answers into words (texts/*.toml). It never
// puts a name, an address, a subject or an INS in a URL, a log or a header, keeps no
// plaintext on disk, and asks no third party for anything.
package webd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"

	"pli/fault"
	"pli/internal/limit"
	"pli/internal/ticket"
)

// Config says how the door presents itself. The zero value works.
type Config struct {
	Service    string      // name shown to people; "Pli"
	Operator   string      // who runs it, and answers for the data
	Contact    string      // where to write to the operator and its DPO
	UploadSize int64       // octets of the files of one reply, all together; 25 MB
	TLS        *tls.Config // nil: the listener already speaks TLS or a proxy does
	MaxConns   int         // connections at once, the others wait; 2,000
	// AddressBook is shown to professionals; what is empty in it is not.
	AddressBook AddressBook
	// TermsVersion is the edition of the conditions of use that professionals accept
	// before anything else; "" is the newest that the door has the text of.
	TermsVersion string
}

// AddressBook says where mail programs and phones find the directory.
type AddressBook struct {
	LDAPHost string // "" when there is no LDAP
	LDAPPort int    // STARTTLS; 0 when not open
	LDAPS    int    // port with TLS from the first octet; 0 when not open
	LDAPBase string // such as ou=annuaire,o=mssante,c=fr
	CardDAV  string // URL; "" when there is none
}

// Empty reports whether there is nothing to show.
func (a AddressBook) Empty() bool { return a.LDAPHost == "" && a.CardDAV == "" }

// Spool holds an upload until it is sent, sealed on disk (seal.Spool).
type Spool interface {
	io.Writer
	io.ReaderAt
	Finish() error
	Size() int64
	Close() error
}

// Deps are the rooms and tools the door needs. All are required but Metrics, Turns and,
// for a house without a directory to search, Listings; with it come TicketSecret and Limit.
type Deps struct {
	Config    Config
	SignIn    SignIn
	Letterbox Letterbox
	Record    Record
	Exchanges Exchanges
	Cards     Cards
	Submit    Submit
	Practice  Practice
	Listings  Listings
	// TicketSecret, of 16 or 32 octets, seals what is searched for in addresses.
	TicketSecret []byte
	Limit        Limiter
	// Turns bounds the questions of one account to the directory that are worked on at a
	// time, by all the doors that share it. Nil: six, by this door alone.
	Turns   *limit.Turns
	Spool   func() (Spool, error)
	Log     *slog.Logger
	Now     func() time.Time
	Metrics prometheus.Registerer
}

// Server is the door.
type Server struct {
	Deps
	pages   map[Lang]*pageSet
	terms   map[Lang]terms // the conditions of use in force
	assets  *assets
	visits  *visits
	tickets *ticket.Office // nil without Listings
	handler http.Handler
	seconds *prometheus.HistogramVec
}

// New makes the door. It fails when a text, a template or an asset is wrong.
func New(d Deps) (*Server, error) {
	if d.Config.Service == "" {
		d.Config.Service = "Pli"
	}
	if d.Config.UploadSize <= 0 {
		d.Config.UploadSize = 25_000_000
	}
	if d.Config.MaxConns <= 0 {
		d.Config.MaxConns = 2000
	}
	if d.Config.TermsVersion == "" {
		d.Config.TermsVersion = newestTerms
	}
	as, err := loadAssets()
	if err != nil {
		return nil, err
	}
	s := &Server{Deps: d, assets: as, pages: map[Lang]*pageSet{}, terms: map[Lang]terms{}}
	if err := s.openDesk(); err != nil {
		return nil, err
	}
	for _, l := range []Lang{French, English} {
		w, err := loadWords(l)
		if err != nil {
			return nil, err
		}
		if s.pages[l], err = loadPages(w, as, d.Now); err != nil {
			return nil, err
		}
		if s.terms[l], err = loadTerms(s.Config.TermsVersion, l); err != nil {
			return nil, err
		}
	}
	s.visits = newVisits(d.Letterbox, d.Now)
	s.measure(d.Metrics)
	s.handler = s.guard(s.routes())
	return s, nil
}

// openDesk makes the office of tickets, where there is a directory to search.
func (s *Server) openDesk() (err error) {
	if s.Listings == nil {
		return nil
	}
	if s.Limit == nil {
		return fault.New(fault.Invalid, "webd.New", "listings-without-limit")
	}
	if s.Turns == nil {
		s.Turns = limit.NewTurns(atOnce)
	}
	s.tickets, err = ticket.New(s.TicketSecret)
	return err
}

func (s *Server) measure(reg prometheus.Registerer) {
	s.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pli_webd_request_seconds", Help: "Time to answer a request, by route and status class.",
		Buckets: []float64{.005, .01, .025, .05, .1, .15, .3, .5, 1, 2, 5, 30},
	}, []string{"route", "status"})
	if reg != nil {
		reg.MustRegister(s.seconds)
	}
}

// Handler is the whole door as a handler, for tests and for another server's use.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on ln until ctx is done, then finishes what is in hand (30 s at most)
// and closes the letterboxes left open. It returns nil after an orderly stop.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.Config.TLS,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       fileTime,
		WriteTimeout:      fileTime,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(quiet{s.Log.Handler()}, slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		done <- srv.Shutdown(stop)
	}()
	sweep, cancel := context.WithCancel(ctx)
	defer cancel()
	swept := make(chan struct{})
	go func() { defer close(swept); s.visits.run(sweep) }()
	// Strangers hold as many descriptors as this, and none of the other doors'.
	err := s.serve(srv, netutil.LimitListener(ln, s.Config.MaxConns))
	if errors.Is(err, http.ErrServerClosed) {
		err = <-done
	}
	cancel()
	<-swept
	s.visits.closeAll()
	return err
}

func (s *Server) serve(srv *http.Server, ln net.Listener) error {
	if s.Config.TLS != nil {
		return srv.ServeTLS(ln, "", "")
	}
	return srv.Serve(ln)
}

// quiet keeps net/http's own lines out of the log but for their count: they carry
// remote addresses and request bytes.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	return q.Handler.Handle(ctx, slog.NewRecord(r.Time, slog.LevelDebug, "webd connection error", 0))
}
