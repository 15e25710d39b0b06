package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"pli/fault"
)

// base is what every connection of the house has in common: TLS 1.2 at least and the
// two suites of ECO.1.1.3 that Go implements and holds safe (mssante.md §5.2, §12.1).
func base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		},
	}
}

// server makes a configuration that looks the snapshot up at each handshake, so that
// new certificates serve without a restart. Session tickets keep the outer
// configuration's keys.
func (t *Trust) server(own func(*snapshot) *tls.Certificate, auth tls.ClientAuthType, hints bool) *tls.Config {
	outer := base()
	outer.ClientAuth = auth
	outer.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own(t.current.Load()), nil }
	if hints {
		outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			inner := base()
			inner.ClientAuth = auth
			inner.GetCertificate = outer.GetCertificate
			inner.ClientCAs = t.current.Load().authorities.hints
			return inner, nil
		}
	}
	return outer
}

func serverPair(s *snapshot) *tls.Certificate { return s.server }

// MXServer is shown to other operators on port 25. A certificate is asked for and
// checked by PeerDomains at MAIL, not by the handshake: so the refusal is an SMTP reply
// that says why (mssante.md §12.2), and a revocation that happens during a long
// connection counts.
func (t *Trust) MXServer() *tls.Config { return t.server(serverPair, tls.RequestClientCert, false) }

// Submission is shown to mail clients on 587 and 465. A certificate is asked for, among
// those of our authorities, and checked by VerifyClient when the client uses it.
func (t *Trust) Submission() *tls.Config { return t.server(serverPair, tls.RequestClientCert, true) }

// IMAP is shown to mail clients on 143 and 993; as Submission.
func (t *Trust) IMAP() *tls.Config { return t.server(serverPair, tls.RequestClientCert, true) }

// Web is shown to browsers.
func (t *Trust) Web() *tls.Config {
	c := t.server(func(s *snapshot) *tls.Certificate { return s.public }, tls.NoClientCert, false)
	c.NextProtos = []string{"h2", "http/1.1"}
	return c
}

// Relay is what we use to call the operator of domain. The peer is known by its
// certificate's DN, which the signed white list binds to the domain; the host name,
// which comes from DNS, proves nothing here and is not compared (mssante.md §2.3).
// InsecureSkipVerify turns off Go's own check, which needs a name; VerifyConnection
// does the whole verification instead, on resumed sessions too.
func (t *Trust) Relay(domain string) *tls.Config {
	c := base()
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(cs tls.ConnectionState) error { return t.verifyRelay(domain, cs) }
	s := t.current.Load()
	c.ClientSessionCache = s.sessions
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.client, nil }
	return c
}

func (t *Trust) verifyRelay(domain string, cs tls.ConnectionState) error {
	const op = "certs.verifyRelay"
	s := t.current.Load()
	list, err := t.usableList(s)
	if err != nil {
		return err
	}
	if len(cs.PeerCertificates) == 0 {
		return fault.New(fault.Untrusted, op, "peer-no-certificate")
	}
	peer := cs.PeerCertificates[0]
	if err := s.authorities.verify(peer, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, t.now(), t.cfg.grace()); err != nil {
		return err
	}
	dn, err := CertificateDN(peer)
	if err != nil || !slices.Contains(list.Names(domain), dn) {
		return fault.New(fault.Untrusted, op, "peer-not-listed")
	}
	return nil
}

// PeerDomains returns, sorted, the domains that the peer of this connection may send
// for. Operators present to each other the certificate the list names, a server's:
// serverAuth is accepted beside clientAuth (mssante.md §2.3).
//
// Errors: fault.Untrusted with a code peer-…; fault.Unavailable when the white list or
// the revocation lists cannot serve.
func (t *Trust) PeerDomains(cs tls.ConnectionState) ([]string, error) {
	const op = "certs.PeerDomains"
	s := t.current.Load()
	if len(cs.PeerCertificates) == 0 {
		return nil, fault.New(fault.Untrusted, op, "peer-no-certificate")
	}
	list, err := t.usableList(s)
	if err != nil {
		return nil, err
	}
	peer := cs.PeerCertificates[0]
	if err := s.authorities.verify(peer, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, t.now(), t.cfg.grace()); err != nil {
		return nil, err
	}
	dn, err := CertificateDN(peer)
	if err != nil || len(list.DomainsOf(dn)) == 0 {
		return nil, fault.New(fault.Untrusted, op, "peer-not-listed")
	}
	return slices.Clone(list.DomainsOf(dn)), nil
}

// Trusted reports whether domain is in the white list, however old: whether mail may
// leave now is asked again by Relay.
func (t *Trust) Trusted(domain string) bool {
	list := t.current.Load().list
	return list != nil && list.Has(domain)
}

// MayRelay is nil when mail may leave for domain now. Errors: fault.Untrusted, code
// domain-not-listed; fault.Unavailable while there is no usable list.
func (t *Trust) MayRelay(domain string) error {
	list, err := t.usableList(t.current.Load())
	if err == nil && !list.Has(domain) {
		err = fault.New(fault.Untrusted, "certs.MayRelay", "domain-not-listed")
	}
	return err
}

// VerifyClient checks the certificate a user or an application showed (profile ORG
// AUTH_CLI, or a card). Errors: as PeerDomains.
func (t *Trust) VerifyClient(cs tls.ConnectionState) (*x509.Certificate, error) {
	if len(cs.PeerCertificates) == 0 {
		return nil, fault.New(fault.Untrusted, "certs.VerifyClient", "peer-no-certificate")
	}
	c := cs.PeerCertificates[0]
	s := t.current.Load()
	if err := s.authorities.verify(c, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, t.now(), t.cfg.grace()); err != nil {
		return nil, err
	}
	return c, nil
}

// Check tells whether the house may exchange mail now: a usable white list, a usable
// revocation list for every authority, and its own certificates in their validity.
func (t *Trust) Check() error {
	const op = "certs.Check"
	s, now := t.current.Load(), t.now()
	_, err := t.usableList(s)
	errs := []error{err}
	for _, a := range s.authorities.certs {
		if l := s.authorities.crls[crlKey(a)]; l == nil || now.After(l.nextAt.Add(t.cfg.grace())) {
			errs = append(errs, fault.New(fault.Unavailable, op, "revocation-unusable"))
		}
	}
	for _, pair := range []*tls.Certificate{s.server, s.client, s.public} {
		if now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
			errs = append(errs, fault.New(fault.Unavailable, op, "own-certificate-expired"))
		}
	}
	return errors.Join(errs...)
}

// alarm is Check and what will soon fail it.
func (t *Trust) alarm() error {
	const op = "certs.alarm"
	s, now := t.current.Load(), t.now()
	errs := []error{t.Check()}
	if s.list != nil && now.Sub(s.list.GeneratedAt) > listAlarm {
		errs = append(errs, fault.New(fault.Unavailable, op, "white-list-ageing"))
	}
	for _, l := range s.authorities.crls {
		if now.After(l.nextAt) {
			errs = append(errs, fault.New(fault.Unavailable, op, "revocation-ageing"))
		}
	}
	if now.Add(30 * 24 * time.Hour).After(s.server.Leaf.NotAfter) {
		errs = append(errs, fault.New(fault.Unavailable, op, "own-certificate-ends-soon"))
	}
	return errors.Join(errs...)
}

// Status is what an operator wants to see.
type Status struct {
	WhiteListAt      time.Time // zero: none
	WhiteListDomains int
	CRLs             map[string]time.Time // authority's CN → nextUpdate
	ServerEndsAt     time.Time
}

// Status describes the store in use.
func (t *Trust) Status() Status {
	s := t.current.Load()
	st := Status{CRLs: map[string]time.Time{}, ServerEndsAt: s.server.Leaf.NotAfter}
	if s.list != nil {
		st.WhiteListAt, st.WhiteListDomains = s.list.GeneratedAt, s.list.Domains()
	}
	for _, l := range s.authorities.crls {
		st.CRLs[l.issuer] = l.nextAt
	}
	return st
}
