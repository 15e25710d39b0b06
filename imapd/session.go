package imapd

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-sasl"

	"pli/fault"
	"pli/identity"
	"pli/internal/wake"
	"pli/pipeline"
)

// A command that carries messages lasts as long as the line is slow; each write and
// each read of it has its own bound in the guard.
const (
	commandTimeout = 10 * time.Minute
	carryTimeout   = 2 * time.Hour
)

// session is one connection's view of one BAL. go-imap's server calls it from one
// goroutine, but for Idle, which may outlive the reading: mu is held by whatever uses
// the fields below it.
type session struct {
	srv    *Server
	conn   *guard
	engine *imapserver.Conn
	ctx    context.Context // until the connection ends
	cancel context.CancelFunc

	mu    sync.Mutex
	who   identity.SignIn
	bal   *pipeline.OpenBAL // nil before sign-in
	right *right            // … and this
	sel   *selected         // nil when no mailbox is selected
	last  imap.NumSet       // of the last SEARCH … SAVE, as UIDs (RFC 5182)
}

var (
	_ imapserver.SessionIMAP4rev2   = (*session)(nil)
	_ imapserver.SessionSASL        = (*session)(nil)
	_ imapserver.SessionAppendLimit = (*session)(nil)
)

func (s *Server) newSession(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
	ctx, cancel := context.WithCancel(context.Background())
	return &session{srv: s, conn: c.NetConn().(*guard), engine: c, ctx: ctx, cancel: cancel}, &imapserver.GreetingData{}, nil
}

// Close ends the session; it waits for an IDLE that is still writing.
func (s *session) Close() error {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bal != nil {
		s.srv.unwatch(s.right)
		s.bal.Close()
	}
	s.bal, s.right, s.sel = nil, nil, nil
	s.conn.session.Done()
	return nil
}

// run does one command: one at a time, under a deadline, with one event at its end.
func (s *session) run(command string, f func(ctx context.Context) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	timeout := commandTimeout
	if command == "FETCH" || command == "APPEND" {
		timeout = carryTimeout
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	started := time.Now()
	err := s.stillAllowed(ctx)
	if err == nil {
		err = f(ctx)
	}
	s.srv.metrics.done(command, started, err)
	level := slog.LevelDebug
	if k := fault.KindOf(err); err != nil && (k == fault.Internal || k == fault.Corrupt || k == fault.Unavailable) && s.ctx.Err() == nil {
		level = slog.LevelError
	}
	if log := s.srv.d.Log; log.Enabled(ctx, level) {
		attrs := []slog.Attr{slog.String("command", command), slog.Int64("bal", int64(s.who.BAL)), slog.Duration("took", time.Since(started))}
		if err != nil {
			attrs = append(attrs, slog.String("kind", fault.KindOf(err).String()), slog.Any("cause", err))
		}
		log.LogAttrs(ctx, level, "imap command", attrs...)
	}
	return err
}

// stillAllowed asks the gate again when it is time, and ends the connection of who has
// lost the right to read.
func (s *session) stillAllowed(ctx context.Context) error {
	if s.right == nil {
		return nil
	}
	return s.right.still(ctx, s.srv)
}

// Login signs in with an app password.
func (s *session) Login(username, password string) error {
	return reply(s.run("LOGIN", func(ctx context.Context) error {
		who, err := s.srv.d.SignIn.AppPassword(ctx, username, password, hostOf(s.conn))
		if err != nil {
			return err
		}
		return s.open(ctx, who)
	}))
}

// open opens the BAL of who has just signed in.
func (s *session) open(ctx context.Context, who identity.SignIn) error {
	bal, err := s.srv.d.Reader.Open(ctx, who)
	if err != nil {
		return err
	}
	s.who, s.bal, s.right = who, bal, newRight(bal, who, s.conn, s.srv.d.Now())
	s.srv.keepWatch(s.right)
	s.conn.signIn()
	s.srv.d.Log.Info("imap sign-in", "account", who.Account, "bal", who.BAL, "means", who.Means)
	return nil
}

// AuthenticateMechanisms: EXTERNAL is offered to who showed a certificate.
func (s *session) AuthenticateMechanisms() []string {
	if len(s.conn.state.PeerCertificates) > 0 {
		return []string{sasl.External, sasl.Plain}
	}
	return []string{sasl.Plain}
}

// Authenticate begins a SASL exchange. Whatever goes wrong in it comes out as a reply.
func (s *session) Authenticate(mech string) (sasl.Server, error) {
	switch mech {
	case sasl.Plain:
		return &saslServer{next: s.plain}, nil
	case sasl.External:
		return &saslServer{next: s.external}, nil
	}
	return nil, &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeCannot,
		Text: bilingual(fault.Text{FR: "Ce mode de connexion n'est pas proposé.", EN: "This way to sign in is not offered."})}
}

// saslServer is an exchange of one answer, asked for with an empty challenge when it
// did not come at once (RFC 4422 §5, RFC 4959).
type saslServer struct {
	next  func(response []byte) error
	asked bool
}

func (x *saslServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil && !x.asked {
		x.asked = true
		return nil, false, nil
	}
	return nil, true, x.next(response)
}

// plain reads authzid NUL authcid NUL password (RFC 4616).
func (s *session) plain(response []byte) error {
	authzid, authcid, password, ok := splitPlain(response)
	if !ok {
		return reply(fault.New(fault.WrongSecret, "imapd.plain", "malformed"))
	}
	if authzid != "" && authzid != authcid {
		return &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeAuthorizationFailed, Text: bilingual(fault.WrongSecret.Text())}
	}
	return s.Login(authcid, password)
}

// external signs in by the certificate shown in the handshake (RFC 4422 §A). The
// response may name the address; empty is the certificate's own.
func (s *session) external(response []byte) error {
	return reply(s.run("AUTHENTICATE EXTERNAL", func(ctx context.Context) error {
		cert, err := s.srv.d.VerifyClient(s.conn.state)
		if err != nil {
			return fault.Wrap(fault.WrongSecret, "imapd.external", "certificate", err)
		}
		who, err := s.srv.d.SignIn.Certificate(ctx, string(response), cert)
		if err != nil {
			return err
		}
		return s.open(ctx, who)
	}))
}

// AppendLimit is the largest message that APPEND takes.
func (s *session) AppendLimit() uint32 { return uint32(min(s.srv.c.MaxSize, 1<<32-1)) }

// tellOthers wakes the other sessions of the BAL.
func (s *session) tellOthers(ctx context.Context) { s.srv.d.Wake.Wake(ctx, wake.BAL(s.bal.BAL)) }
