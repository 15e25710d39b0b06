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
)

// Config says how the door presents itself. The zero value works.
type Config struct {
	Service    string      // name shown to people; "Pli"
	Operator   string      // who runs it, and answers for the data
	Contact    string      // where to write to the operator and its DPO
	UploadSize int64       // octets of the files of one reply, all together; 25 MB
	TLS        *tls.Config // nil: the listener already speaks TLS or a proxy does
	MaxConns   int         // connections at once, the others wait; 2,000
}

// Spool holds an upload until it is sent, sealed on disk (seal.Spool).
type Spool interface {
	io.Writer
	io.ReaderAt
	Finish() error
	Size() int64
	Close() error
}

// Deps are the rooms and tools the door needs; all but Metrics are required.
type Deps struct {
	Config    Config
	SignIn    SignIn
	Letterbox Letterbox
	Record    Record
	Exchanges Exchanges
	Cards     Cards
	Submit    Submit
	Spool     func() (Spool, error)
	Log       *slog.Logger
	Now       func() time.Time
	Metrics   prometheus.Registerer
}

// Server is the door.
type Server struct {
	Deps
	pages   map[Lang]*pageSet
	assets  *assets
	visits  *visits
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
	as, err := loadAssets()
	if err != nil {
		return nil, err
	}
	s := &Server{Deps: d, assets: as, pages: map[Lang]*pageSet{}}
	for _, l := range []Lang{French, English} {
		w, err := loadWords(l)
		if err != nil {
			return nil, err
		}
		if s.pages[l], err = loadPages(w, as, d.Now); err != nil {
			return nil, err
		}
	}
	s.visits = newVisits(d.Letterbox, d.Now)
	s.measure(d.Metrics)
	s.handler = s.guard(s.routes())
	return s, nil
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
