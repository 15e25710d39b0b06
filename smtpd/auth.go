package smtpd

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"

	"github.com/emersion/go-sasl"

	"pli/fault"
	"pli/identity"
)

// maxResponse bounds one SASL response, decoded.
const maxResponse = 8 << 10

// AuthMechanisms lists what this connection may use. Nothing reaches here but under
// TLS; EXTERNAL is offered only to those who showed a certificate.
func (s *session) AuthMechanisms() []string {
	if s.mode() != Submission {
		return nil
	}
	ms := []string{sasl.Plain, sasl.Login}
	if len(s.tls.PeerCertificates) > 0 {
		ms = append(ms, sasl.External)
	}
	return ms
}

// Auth starts one exchange.
func (s *session) Auth(mech string) (sasl.Server, error) {
	const op = "smtpd.Auth"
	switch {
	case s.mode() != Submission:
	case mech == sasl.Plain:
		return &exchange{s, sasl.NewPlainServer(s.plain)}, nil
	case mech == sasl.Login:
		return &exchange{s, &login{ask: s.password}}, nil
	case mech == sasl.External && len(s.tls.PeerCertificates) > 0:
		return &exchange{s, sasl.NewExternalServer(s.external)}, nil
	}
	return nil, s.refuse(atAuth, fault.New(fault.Invalid, op, "mechanism"))
}

// exchange keeps a SASL mechanism's errors from reaching the wire as they are.
type exchange struct {
	s     *session
	inner sasl.Server
}

func (e *exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	const op = "smtpd.Auth"
	e.s.wire.refill(false)
	if len(response) > maxResponse {
		return nil, false, e.s.refuse(atAuth, fault.New(fault.Invalid, op, "too-long"))
	}
	challenge, done, err = e.inner.Next(response)
	var f *fault.Error
	if err != nil && !errors.As(err, &f) {
		err = fault.New(fault.Invalid, op, "sasl") // the library's own text may quote
	}
	return challenge, done, e.s.refuse(atAuth, err)
}

// plain takes RFC 4616's three parts. Acting for another than oneself does not exist.
func (s *session) plain(authzid, name, secret string) error {
	if authzid != "" && authzid != name {
		return fault.New(fault.WrongSecret, "smtpd.Auth", "authorization-identity")
	}
	return s.password(name, secret)
}

// password signs in with an application password.
func (s *session) password(name, secret string) error {
	return s.signIn(identity.ByAppPassword, func(ctx context.Context) (identity.SignIn, error) {
		return s.door.s.d.Accounts.AppPassword(ctx, name, secret, s.wire.remote)
	})
}

// external signs in with the certificate of the connection (APP BAL, mssante.md §5.1).
func (s *session) external(authzid string) error {
	return s.signIn(identity.ByCertificate, func(ctx context.Context) (identity.SignIn, error) {
		var cert *x509.Certificate
		cert, err := s.door.s.d.Trust.VerifyClient(s.tls)
		if err != nil {
			return identity.SignIn{}, err
		}
		return s.door.s.d.Accounts.Certificate(ctx, authzid, cert)
	})
}

// maxFailures is how many wrong sign-ins one connection may try.
const maxFailures = 5

func (s *session) signIn(means string, prove func(context.Context) (identity.SignIn, error)) (err error) {
	const op = "smtpd.Auth"
	defer func() {
		if v := recover(); v != nil {
			err = fault.Panic(op, v)
		}
	}()
	ctx, cancel := context.WithTimeout(s.ctx, s.door.s.cfg.CommandTimeout)
	defer cancel()
	start := s.door.s.d.Now()
	who, err := prove(ctx)
	result := "ok"
	if err != nil {
		result = fault.KindOf(err).String()
		if s.failures++; s.failures >= maxFailures {
			s.wire.cut.Store(true)
		}
	}
	s.door.s.metrics.signIns.WithLabelValues(means, result).Inc()
	s.door.s.d.Log.Info("smtp: sign-in", "mode", s.mode(), "means", means, "result", result, "code", fault.CodeOf(err),
		"account", who.Account, "bal", who.BAL, "ms", s.door.s.d.Now().Sub(start).Milliseconds())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.who = &who
	return nil
}

// login is the LOGIN mechanism, obsolete and still the only one some Outlook speak
// (draft-murchison-sasl-login).
type login struct {
	ask  func(name, secret string) error
	step int
	name []byte
}

func (l *login) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case l.step == 0 && response == nil:
		l.step = 1
		return []byte("Username:"), false, nil
	case l.step <= 1: // an initial response is the name
		l.step, l.name = 2, bytes.Clone(response)
		return []byte("Password:"), false, nil
	case l.step == 2:
		l.step = 3
		return nil, true, l.ask(string(l.name), string(response))
	}
	return nil, false, sasl.ErrUnexpectedClientResponse
}
