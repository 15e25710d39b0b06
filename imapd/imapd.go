// Package imapd is the door where mail is read and filed: IMAP4rev1 and IMAP4rev2
// (RFC 3501, RFC 9051) on 143 with STARTTLS and on 993.
//
// A connection passes plain.go (before TLS), then guard.go, which watches the decrypted
// stream so that no octet of a literal is ever run as a command, then go-imap's server,
// which calls a session of ours (session.go and one file per family of commands). A
// session signs in through identity, opens its BAL through pipeline.Reader (decided and
// traced there), reads rows from mailstore and streams bodies from the seal. It decides
// nothing and keeps nothing between connections.
package imapd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/prometheus/client_golang/prometheus"

	"pli/fault"
	"pli/identity"
	"pli/internal/limit"
	"pli/internal/pg"
	"pli/mailstore"
	"pli/pipeline"
)

// SignIn proves who comes (identity.Service).
type SignIn interface {
	AppPassword(ctx context.Context, address, secret, remote string) (identity.SignIn, error)
	Certificate(ctx context.Context, address string, cert *x509.Certificate) (identity.SignIn, error)
}

// Filer files what a client appends (pipeline.Pipeline).
type Filer interface {
	Store(ctx context.Context, req pipeline.StoreRequest, r io.Reader) (mailstore.Placed, error)
}

// Waker tells other sessions of a BAL (wake.Bus).
type Waker interface {
	Wake(ctx context.Context, topic string)
	Subscribe(topic string) (c <-chan struct{}, cancel func())
}

// Config tunes the door. The zero value is for production.
type Config struct {
	// MaxConns bounds connections. Zero means 10,000.
	MaxConns int `toml:"max_conns"`
	// MaxConnsPerHost bounds connections from one network address; a hospital comes
	// from one. Zero means 1,000.
	MaxConnsPerHost int `toml:"max_conns_per_host"`
	// MaxSize is the largest message that APPEND takes, in octets. Zero means the
	// pipeline's.
	MaxSize int64 `toml:"max_size"`
}

// Deps is what the door needs. Metrics may be nil; the rest is required.
type Deps struct {
	DB     *pg.DB
	Mail   *mailstore.Store
	SignIn SignIn
	Reader *pipeline.Reader
	Filer  Filer
	Wake   Waker
	// TLS is shown to clients; it asks for a client certificate and takes none for
	// granted (certs.Trust.IMAP).
	TLS *tls.Config
	// VerifyClient checks the certificate a client showed (certs.Trust.VerifyClient).
	VerifyClient func(tls.ConnectionState) (*x509.Certificate, error)
	Log          *slog.Logger
	Now          func() time.Time
	Metrics      prometheus.Registerer
}

const (
	handshakeTimeout = 20 * time.Second
	stopTimeout      = 20 * time.Second
)

// Server is the door. One serves any number of listeners.
type Server struct {
	d          Deps
	c          Config
	metrics    *metrics
	handshakes *limit.Handshakes
	searching  chan struct{} // bounds searches in bodies, over all connections

	watchEvery time.Duration // as the constant, but in tests

	mu     sync.Mutex
	conns  map[*guard]struct{}
	rights map[*right]struct{} // of the connections that have signed in
	hosts  map[string]int
	total  int
}

// New makes the door.
func New(d Deps, c Config) *Server {
	if c.MaxConns <= 0 {
		c.MaxConns = 10_000
	}
	if c.MaxConnsPerHost <= 0 {
		c.MaxConnsPerHost = 1_000
	}
	if c.MaxSize <= 0 {
		c.MaxSize = pipeline.DefaultMaxSize
	}
	cores := runtime.GOMAXPROCS(0)
	return &Server{
		d: d, c: c, metrics: newMetrics(d.Metrics),
		handshakes: limit.NewHandshakes(8 * cores), searching: make(chan struct{}, max(1, cores)),
		watchEvery: watchEvery, conns: make(map[*guard]struct{}), rights: make(map[*right]struct{}), hosts: make(map[string]int),
	}
}

// Serve answers on a listener in clear (143), where STARTTLS is the only way on, until
// ctx is done: then it takes no more connections, tells those that wait BYE, lets
// commands in hand finish, and returns.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln, false) }

// ServeTLS answers on a listener where TLS comes first (993); otherwise as Serve.
func (s *Server) ServeTLS(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln, true) }

func (s *Server) serve(ctx context.Context, ln net.Listener, implicit bool) error {
	hand := &handover{c: make(chan net.Conn), done: make(chan struct{}), addr: ln.Addr()}
	engine := imapserver.New(&imapserver.Options{
		NewSession:   s.newSession,
		Caps:         caps(),
		Logger:       engineLog{s.d.Log},
		InsecureAuth: true, // every connection handed over is under TLS already
	})
	var conns, engines sync.WaitGroup
	engines.Go(func() { _ = engine.Serve(hand) })
	watched, watchEnds := context.WithCancel(ctx)
	engines.Go(func() { s.watch(watched) })
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var err error
	for {
		var conn net.Conn
		if conn, err = ln.Accept(); err != nil {
			break
		}
		conns.Go(func() { s.handle(ctx, conn, implicit, hand) })
	}
	s.stopConns(&conns)
	watchEnds()
	close(hand.done)
	engines.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fault.Wrap(fault.Unavailable, "imapd.Serve", "listener", err)
}

// stopConns says BYE to those that wait, waits for the others, and cuts what is left.
func (s *Server) stopConns(conns *sync.WaitGroup) {
	s.each((*guard).stop)
	cut := time.AfterFunc(stopTimeout, func() { s.each((*guard).kill) })
	defer cut.Stop()
	conns.Wait()
}

func (s *Server) each(f func(*guard)) {
	s.mu.Lock()
	all := make([]*guard, 0, len(s.conns))
	for g := range s.conns {
		all = append(all, g)
	}
	s.mu.Unlock()
	for _, g := range all {
		f(g)
	}
}

// handle carries one connection from accept to its end.
func (s *Server) handle(ctx context.Context, conn net.Conn, implicit bool, hand *handover) {
	defer func() {
		if v := recover(); v != nil {
			s.d.Log.Error("imap connection", "cause", fault.Panic("imapd.handle", v))
		}
		_ = conn.Close()
	}()
	host := hostOf(conn)
	if !s.admit(host) {
		s.metrics.refused.Inc()
		if !implicit {
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = io.WriteString(conn, "* BYE "+bilingual(fault.RateLimited.Text())+"\r\n")
		}
		return
	}
	defer s.leave(host)
	if !implicit {
		wake := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
		ready := plainPhase(conn, func() bool { return ctx.Err() == nil })
		if wake(); !ready {
			return
		}
	}
	tc, err := s.secure(ctx, conn)
	if err != nil {
		s.metrics.handshakeFailures.Inc()
		s.d.Log.Info("imap handshake failed", "implicit", implicit)
		return
	}
	g := newGuard(tc, guardLimits{append: s.c.MaxSize}, !implicit)
	g.state = tc.ConnectionState()
	s.mu.Lock()
	s.conns[g] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, g)
		s.mu.Unlock()
	}()
	if ctx.Err() != nil { // after the round of stopConns
		g.stop()
	}
	if hand.pass(g) {
		<-g.closed
		g.session.Wait()
	}
}

// secure makes the TLS handshake.
func (s *Server) secure(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	return s.handshakes.Server(ctx, conn, s.d.TLS)
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

// handover is the listener that go-imap's server accepts from: connections that are
// under TLS and guarded.
type handover struct {
	c    chan net.Conn
	done chan struct{}
	addr net.Addr
}

func (h *handover) pass(c net.Conn) bool {
	select {
	case h.c <- c:
		return true
	case <-h.done:
		return false
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.c:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error   { return nil }
func (h *handover) Addr() net.Addr { return h.addr }

// caps is what is announced beside what go-imap's server does by itself: only what
// works here.
func caps() imap.CapSet {
	return imap.CapSet{
		imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}, imap.CapNamespace: {}, imap.CapUIDPlus: {}, imap.CapESearch: {},
		imap.CapSearchRes: {}, imap.CapListExtended: {}, imap.CapListStatus: {}, imap.CapMove: {}, imap.CapStatusSize: {},
		imap.CapBinary: {}, imap.CapChildren: {}, imap.CapSpecialUse: {}, imap.CapLiteralPlus: {},
	}
}

// engineLog keeps what go-imap's server says without what it says it about: its
// arguments may quote a client's octets.
type engineLog struct{ log *slog.Logger }

func (l engineLog) Printf(format string, args ...any) {
	switch {
	case len(args) == 2 && len(format) > 5 && format[:5] == "panic":
		l.log.Error("imap engine", "event", format, "stack", args[1])
	default:
		l.log.Debug("imap engine", "event", format)
	}
}
