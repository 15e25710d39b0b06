// Package smtpd is the door by which mail comes in: from operators of the trust space
// (MX, port 25) and from users (submission, 587 and 465). It speaks SMTP with the
// go-smtp library, checks who is there, and hands every message to the pipeline as a
// stream. It keeps nothing, decides nothing, and says 250 only after the pipeline did.
package smtpd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"pli/identity"
	"pli/mail"
	"pli/pipeline"
)

// Mode says who calls.
type Mode string

const (
	MX         Mode = "mx"         // operators: STARTTLS and a listed certificate
	Submission Mode = "submission" // users: STARTTLS, then AUTH
)

// Inbound is what the MX door needs of the pipeline.
type Inbound interface {
	InboundRecipient(ctx context.Context, peer pipeline.Peer, from, to mail.Address, size int64) error
	Inbound(ctx context.Context, peer pipeline.Peer, env mail.Envelope, r io.Reader) (pipeline.Receipt, error)
}

// Outgoing is what the submission door needs of the pipeline.
type Outgoing interface {
	SubmitRecipient(ctx context.Context, who identity.SignIn, to mail.Address, size int64) error
	Submit(ctx context.Context, who identity.SignIn, env mail.Envelope, r io.Reader) (pipeline.Receipt, error)
}

// Accounts is what the submission door needs of identity.
type Accounts interface {
	AppPassword(ctx context.Context, address, secret, remote string) (identity.SignIn, error)
	Certificate(ctx context.Context, address string, cert *x509.Certificate) (identity.SignIn, error)
}

// Trust is what the doors need of certs.
type Trust interface {
	PeerDomains(cs tls.ConnectionState) ([]string, error)
	VerifyClient(cs tls.ConnectionState) (*x509.Certificate, error)
}

// Config tunes a door. The zero value is for production.
type Config struct {
	// Hostname is said in the greeting and in Received fields.
	Hostname string `toml:"hostname"`
	// MaxMessageSize is advertised as SIZE, in octets. Zero means 36,700,160 (25 MB of
	// content once in base64, and some).
	MaxMessageSize int64 `toml:"max_message_size"`
	// MaxRecipients of one message. Zero means 100.
	MaxRecipients int `toml:"max_recipients"`
	// MaxConnections at once, and from one source address. Zero means 1,000 and 100.
	MaxConnections          int `toml:"max_connections"`
	MaxConnectionsPerSource int `toml:"max_connections_per_source"`
	// ReadTimeout bounds every read, WriteTimeout every reply. Zero means 5 min and 1 min.
	ReadTimeout  time.Duration `toml:"read_timeout"`
	WriteTimeout time.Duration `toml:"write_timeout"`
	// CommandTimeout bounds what a command asks of the house; DataTimeout bounds a whole
	// message from DATA to its reply. Zero means 1 min and 30 min.
	CommandTimeout time.Duration `toml:"command_timeout"`
	DataTimeout    time.Duration `toml:"data_timeout"`
	// StopTimeout bounds the wait for messages in hand when stopping. Zero means 30 s.
	StopTimeout time.Duration `toml:"stop_timeout"`
}

// Deps is what a door stands on. Inbound is needed for MX; Outgoing and Accounts for
// submission.
type Deps struct {
	Mode     Mode
	Config   Config
	TLS      *tls.Config // certs.MXServer or certs.Submission
	Trust    Trust
	Inbound  Inbound
	Outgoing Outgoing
	Accounts Accounts
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil: none
	Now      func() time.Time
}

// Server is one door. It may serve several listeners.
type Server struct {
	d       Deps
	cfg     Config // with its defaults
	limits  *limits
	metrics *metrics
}

// New makes a door.
func New(d Deps) *Server {
	c := d.Config
	orInt(&c.MaxRecipients, 100)
	orInt(&c.MaxConnections, 1000)
	orInt(&c.MaxConnectionsPerSource, 100)
	if c.MaxMessageSize <= 0 {
		c.MaxMessageSize = pipeline.DefaultMaxSize
	}
	if c.Hostname == "" {
		c.Hostname = "localhost"
	}
	for v, or := range map[*time.Duration]time.Duration{&c.ReadTimeout: 5 * time.Minute, &c.WriteTimeout: time.Minute,
		&c.CommandTimeout: time.Minute, &c.DataTimeout: 30 * time.Minute, &c.StopTimeout: 30 * time.Second} {
		if *v <= 0 {
			*v = or
		}
	}
	return &Server{d: d, cfg: c, metrics: newMetrics(d.Metrics, d.Mode),
		limits: &limits{all: c.MaxConnections, perSource: c.MaxConnectionsPerSource, sources: map[string]int{}}}
}

func orInt(v *int, or int) {
	if *v <= 0 {
		*v = or
	}
}

// Serve answers on ln, in the clear until STARTTLS, until ctx is done; then it accepts
// no one, says 421 to the idle, finishes the messages in hand, and returns nil.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln, false) }

// ServeTLS is Serve with TLS from the first octet (465).
func (s *Server) ServeTLS(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln, true) }

// serve accepts until ctx is done. Every connection goes through admit, and then to
// go-smtp, which takes it from accepted as if it were a listener.
func (s *Server) serve(ctx context.Context, ln net.Listener, implicit bool) error {
	dctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	young, grownUp := context.WithCancel(dctx)
	defer grownUp()
	d := &door{s: s, ctx: dctx, young: young, implicit: implicit, ready: make(chan net.Conn), closed: make(chan struct{}), conns: map[net.Conn]*wire{}}
	lib := s.library(d)
	served := make(chan error, 1)
	go func() { served <- lib.Serve(accepted{d, ln.Addr()}) }()
	shut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { ln.Close(); close(shut) })
	err := d.acceptLoop(ctx, ln)
	if !stop() {
		<-shut // the port is free when we return
	}
	d.stopping.Store(true)
	grownUp()
	d.stop(lib, s.cfg.StopTimeout)
	cancel()
	<-served
	d.wg.Wait()
	return err
}

// library sets go-smtp up. What it would do by default and must not is in libraries.md
// §2; each line has its test.
func (s *Server) library(d *door) *smtp.Server {
	lib := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return newSession(d, c) }))
	lib.Domain = s.cfg.Hostname
	lib.MaxRecipients = s.cfg.MaxRecipients
	lib.MaxMessageBytes = s.cfg.MaxMessageSize
	lib.MaxLineLength = 1 << 20 // applies to bodies too; command lines are policed by wire
	lib.ReadTimeout = s.cfg.ReadTimeout
	lib.WriteTimeout = s.cfg.WriteTimeout
	lib.AllowInsecureAuth = true // nothing reaches it but under TLS, which it cannot see
	lib.EnableSMTPUTF8 = true
	lib.EnableDSN = true
	lib.ErrorLog = quiet{s.d.Log}
	return lib
}

func (d *door) acceptLoop(ctx context.Context, ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			d.wg.Add(1)
			go d.admit(conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of descriptors, most often: wait for some to come back
			d.s.d.Log.Error("smtp: accept failed", "mode", d.s.d.Mode)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// stop lets messages in hand end, within limit, and sends the others away.
func (d *door) stop(lib *smtp.Server, limit time.Duration) {
	d.mu.Lock()
	for conn, w := range d.conns {
		if w != nil {
			w.wake()
		} else {
			_ = conn.SetReadDeadline(time.Unix(1, 0)) // in the front: it answers 421
		}
	}
	d.mu.Unlock()
	close(d.closed)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if lib.Shutdown(ctx) == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn := range d.conns {
		conn.Close()
	}
}

// accepted is the listener that go-smtp sees.
type accepted struct {
	d    *door
	addr net.Addr
}

func (a accepted) Accept() (net.Conn, error) {
	select {
	case c := <-a.d.ready:
		return c, nil
	case <-a.d.closed:
		return nil, net.ErrClosed
	}
}
func (a accepted) Close() error   { return nil }
func (a accepted) Addr() net.Addr { return a.addr }

// stopFlag says that the door is closing.
type stopFlag = atomic.Bool

// quiet keeps go-smtp's log without its arguments, which may quote what a peer sent.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, _ ...any) { q.log.Warn("smtp: library", "what", format) }
func (q quiet) Println(...any)                 { q.log.Warn("smtp: library") }
