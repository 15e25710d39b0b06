package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"pli/fault"
	"pli/identity"
	"pli/mail"
	"pli/pipeline"
)

// Lengths that the protocol gives to what a client names (RFC 5321 §4.5.3.1, RFC 3461 §5).
const (
	maxHelo  = 255
	maxPath  = 254
	maxENVID = 100
	maxORCPT = 500
)

// session is one client from EHLO to the end of its connection.
type session struct {
	door   *door
	wire   *wire
	tls    tls.ConnectionState
	helo   string
	ctx    context.Context // of the connection
	cancel context.CancelFunc

	failures int // wrong sign-ins

	mu  sync.Mutex // BDAT runs Data beside the commands
	who *identity.SignIn
	tx  *transaction
}

// transaction is one message from MAIL to its reply, and the event it will make.
type transaction struct {
	start   time.Time
	env     mail.Envelope
	peer    pipeline.Peer
	size    int64 // announced by SIZE; 0 when not
	utf8    bool
	refused int       // recipients
	told    sync.Once // its event; RSET may overtake a message sent in chunks
}

// outcome is what became of a transaction.
type outcome struct {
	result  string // "accepted", "aborted", or the kind of err
	size    int64
	receipt pipeline.Receipt
	ref     string
	err     error
}

func newSession(d *door, c *smtp.Conn) (smtp.Session, error) {
	w, ok := c.Conn().(*wire)
	if !ok || len(c.Hostname()) > maxHelo {
		return nil, reply(d.s.d.Mode, atMail, fault.New(fault.Invalid, "smtpd.NewSession", "helo"), false, newRef())
	}
	w.refill(false)
	s := &session{door: d, wire: w, tls: w.ConnectionState(), helo: c.Hostname()}
	s.ctx, s.cancel = context.WithCancel(d.ctx)
	return s, nil
}

func (s *session) mode() Mode { return s.door.s.d.Mode }

// Logout ends with the connection: whatever is in hand is told.
func (s *session) Logout() error {
	s.Reset()
	s.cancel()
	return nil
}

// Reset closes the transaction, after a message and at RSET or EHLO alike.
func (s *session) Reset() {
	s.mu.Lock()
	tx := s.tx
	s.tx = nil
	s.mu.Unlock()
	s.wire.busy.Store(false)
	s.wire.refill(false)
	if tx != nil {
		s.report(tx, outcome{result: "aborted"})
	}
}

// refuse turns an error into a reply and leaves its trace in the log under the same
// reference. It is for refusals outside a transaction's event.
func (s *session) refuse(at stage, err error) error {
	if err == nil {
		return nil
	}
	ref := newRef()
	s.door.s.d.Log.Info("smtp: refused", "mode", s.mode(), "ref", ref, "kind", fault.KindOf(err).String(), "code", fault.CodeOf(err), "err", err)
	return reply(s.mode(), at, err, s.utf8(), ref)
}

func (s *session) utf8() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx != nil && s.tx.utf8
}

// Mail opens a transaction: who is there is settled here (mssante.md §12.2).
func (s *session) Mail(from string, opts *smtp.MailOptions) (err error) {
	const op = "smtpd.Mail"
	defer func() {
		if v := recover(); v != nil {
			err = s.refuse(atMail, fault.Panic(op, v))
		}
	}()
	s.wire.refill(false)
	if s.door.stopping.Load() {
		s.wire.cut.Store(true)
		return s.refuse(atMail, fault.New(fault.Unavailable, op, codeStopping))
	}
	tx, err := s.open(from, opts)
	if err != nil {
		s.door.s.metrics.transactions.WithLabelValues(fault.KindOf(err).String()).Inc()
		return s.refuse(atMail, err)
	}
	s.mu.Lock()
	s.tx = tx
	s.mu.Unlock()
	s.wire.busy.Store(true)
	s.wire.refill(true)
	return nil
}

func (s *session) open(from string, opts *smtp.MailOptions) (*transaction, error) {
	const op = "smtpd.Mail"
	tx := &transaction{start: s.door.s.d.Now(), utf8: opts.UTF8, size: opts.Size}
	if s.mode() == Submission {
		s.mu.Lock()
		who := s.who
		s.mu.Unlock()
		if who == nil {
			return nil, fault.New(fault.Unauthenticated, op, "no-sign-in")
		}
	}
	if from != "" {
		a, err := address(op, from)
		if err != nil {
			return nil, err
		}
		tx.env.ReversePath = a
	}
	if s.mode() == MX {
		if err := s.authenticatePeer(tx); err != nil {
			return nil, err
		}
	}
	if len(opts.EnvelopeID) > maxENVID {
		return nil, fault.New(fault.Invalid, op, "envid")
	}
	tx.env.EnvelopeID = opts.EnvelopeID
	if opts.Return == smtp.DSNReturnFull {
		tx.env.Return = mail.ReturnFull
	}
	return tx, nil
}

// authenticatePeer finds the operator at the other end and holds the reverse-path to
// the domains of its certificate. A null reverse-path is a notice, whose From field the
// pipeline checks.
func (s *session) authenticatePeer(tx *transaction) error {
	const op = "smtpd.Mail"
	domains, err := s.door.s.d.Trust.PeerDomains(s.tls)
	if err != nil {
		return err
	}
	if from := tx.env.ReversePath; !from.IsZero() && !slices.Contains(domains, from.Domain()) {
		return fault.New(fault.Untrusted, op, "sender-domain").Say(textSender.FR, textSender.EN)
	}
	tx.peer = pipeline.Peer{Domains: domains, Name: s.helo, Address: s.wire.remote, TLS: describe(s.tls)}
	return nil
}

// Rcpt asks the pipeline whether this recipient may be written to.
func (s *session) Rcpt(to string, opts *smtp.RcptOptions) (err error) {
	const op = "smtpd.Rcpt"
	defer func() {
		if v := recover(); v != nil {
			err = s.refuse(atRcpt, fault.Panic(op, v))
		}
	}()
	s.wire.refill(true)
	s.mu.Lock()
	tx := s.tx
	s.mu.Unlock()
	if tx == nil {
		return s.refuse(atRcpt, fault.New(fault.Invalid, op, "no-transaction"))
	}
	if err := s.addRecipient(tx, to, opts); err != nil {
		tx.refused++
		return s.refuse(atRcpt, err)
	}
	return nil
}

func (s *session) addRecipient(tx *transaction, to string, opts *smtp.RcptOptions) error {
	const op = "smtpd.Rcpt"
	a, err := address(op, to)
	if err != nil {
		return err
	}
	if len(opts.OriginalRecipient) > maxORCPT {
		return fault.New(fault.Invalid, op, "orcpt")
	}
	for _, r := range tx.env.Recipients {
		if r.Address == a {
			return nil // said twice, delivered once
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.door.s.cfg.CommandTimeout)
	defer cancel()
	if s.mode() == MX {
		err = s.door.s.d.Inbound.InboundRecipient(ctx, tx.peer, tx.env.ReversePath, a, tx.size)
	} else {
		err = s.door.s.d.Outgoing.SubmitRecipient(ctx, *s.who, a, tx.size)
	}
	if err != nil {
		return err
	}
	tx.env.Recipients = append(tx.env.Recipients, mail.Recipient{Address: a, Notify: notify(opts.Notify), Original: opts.OriginalRecipient})
	return nil
}

// address reads a path. Addresses of the space are ASCII, whatever the client announced
// (RFC 6531 §3.5).
func address(op, s string) (mail.Address, error) {
	if len(s) > maxPath {
		return mail.Address{}, fault.New(fault.InvalidAddress, op, "path-too-long")
	}
	for i := range len(s) {
		if s[i] > 0x7e {
			return mail.Address{}, fault.New(fault.InvalidAddress, op, codeNonASCII).Say(textNonASCII.FR, textNonASCII.EN)
		}
	}
	return mail.ParseAddress(s)
}

// notify reads NOTIFY (RFC 3461 §4.1), which go-smtp has checked.
func notify(values []smtp.DSNNotify) (n mail.Notify) {
	for _, v := range values {
		switch v {
		case smtp.DSNNotifyNever:
			n |= mail.NotifyNever
		case smtp.DSNNotifySuccess:
			n |= mail.NotifySuccess
		case smtp.DSNNotifyFailure:
			n |= mail.NotifyFailure
		case smtp.DSNNotifyDelayed:
			n |= mail.NotifyDelay
		}
	}
	return n
}

// Data streams the message to the pipeline and answers for what became of it.
func (s *session) Data(r io.Reader) error {
	const op = "smtpd.Data"
	s.mu.Lock()
	tx := s.tx
	s.mu.Unlock()
	if tx == nil {
		return s.refuse(atData, fault.New(fault.Invalid, op, "no-transaction"))
	}
	s.door.wg.Add(1)
	defer s.door.wg.Done()
	ends := time.Now().Add(s.door.s.cfg.DataTimeout)
	s.wire.beginData(ends)
	ctx, cancel := context.WithDeadline(s.ctx, ends)
	defer cancel()
	in := &body{r: r}
	receipt, err := s.carry(ctx, tx, in)
	out := outcome{result: "accepted", size: in.n, receipt: receipt, ref: newRef(), err: err}
	if err != nil {
		out.result = fault.KindOf(err).String()
	}
	s.report(tx, out)
	if err != nil {
		return reply(s.mode(), atData, err, tx.utf8, out.ref)
	}
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: line(textTaken, receipt.Letter.String(), tx.utf8)}
}

// carry gives the stream to the pipeline. A broken stream is never taken for a message,
// whatever the pipeline made of it.
func (s *session) carry(ctx context.Context, tx *transaction, in *body) (receipt pipeline.Receipt, err error) {
	const op = "smtpd.Data"
	defer func() {
		if v := recover(); v != nil {
			err = fault.Panic(op, v)
		}
	}()
	if s.mode() == MX {
		receipt, err = s.door.s.d.Inbound.Inbound(ctx, tx.peer, tx.env, in)
	} else {
		receipt, err = s.door.s.d.Outgoing.Submit(ctx, *s.who, tx.env, in)
	}
	var lib *smtp.SMTPError
	switch {
	case errors.As(in.err, &lib) && lib.Code == smtp.ErrDataTooLarge.Code:
		return receipt, fault.New(fault.TooLarge, op, "size")
	case in.err != nil:
		return receipt, fault.New(fault.Unavailable, op, "stream")
	}
	return receipt, err
}

// body counts a message and remembers how its stream ended.
type body struct {
	r   io.Reader
	n   int64
	err error // other than io.EOF
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// report emits the one event of a transaction. It names no one.
func (s *session) report(tx *transaction, o outcome) {
	tx.told.Do(func() {
		took := s.door.s.d.Now().Sub(tx.start)
		s.door.s.metrics.transactions.WithLabelValues(o.result).Inc()
		s.door.s.metrics.seconds.Observe(took.Seconds())
		attrs := []any{"mode", s.mode(), "result", o.result, "recipients", len(tx.env.Recipients), "refused", tx.refused, "size", o.size,
			"ms", took.Milliseconds(), "tls", describe(s.tls)}
		if s.who != nil {
			attrs = append(attrs, "account", s.who.Account, "bal", s.who.BAL)
		}
		if o.err != nil {
			attrs = append(attrs, "ref", o.ref, "code", fault.CodeOf(o.err), "err", o.err)
		} else if o.result == "accepted" {
			attrs = append(attrs, "letter", o.receipt.Letter, "local", o.receipt.Local, "remote", o.receipt.Remote, "duplicates", o.receipt.Duplicates)
		}
		s.door.s.d.Log.Info("smtp: transaction", attrs...)
	})
}
