package certs

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"time"

	"pli/fault"
)

// authorities are the roots and intermediates with their revocation lists.
type authorities struct {
	roots, intermediates *x509.CertPool
	certs                []*x509.Certificate // all of them
	crls                 map[string]*crl     // by the issuer's raw subject and key
	hints                *x509.CertPool      // all, named to clients that choose a certificate
}

// crl is one verified revocation list.
type crl struct {
	issuer         string // CN, for the operator's eyes
	thisAt, nextAt time.Time
	revoked        map[string]struct{} // serial numbers
}

// loadAuthorities reads certificates and revocation lists. A list that cannot be read
// or is not signed by an authority of ours is left out and comes back among problems:
// what it should have covered then fails closed, for a time.
func loadAuthorities(cfg Config) (a *authorities, problems []error, err error) {
	const op = "certs.loadAuthorities"
	a = &authorities{roots: x509.NewCertPool(), intermediates: x509.NewCertPool(), hints: x509.NewCertPool(), crls: map[string]*crl{}}
	for _, f := range []struct {
		path string
		pool *x509.CertPool
	}{{cfg.Roots, a.roots}, {cfg.Intermediates, a.intermediates}} {
		if f.path == "" {
			continue
		}
		certs, err := readCertificates(f.path)
		if err != nil {
			return nil, nil, fault.Wrap(fault.Invalid, op, "authorities", err)
		}
		for _, c := range certs {
			if !c.IsCA {
				return nil, nil, fault.New(fault.Invalid, op, "not-an-authority")
			}
			f.pool.AddCert(c)
			a.hints.AddCert(c)
			a.certs = append(a.certs, c)
		}
	}
	if len(a.certs) == 0 {
		return nil, nil, fault.New(fault.Invalid, op, "no-root")
	}
	for _, path := range cfg.CRLs {
		if err := a.addCRLs(path); err != nil {
			problems = append(problems, fault.Wrap(fault.Unavailable, op, "crl", err))
		}
	}
	return a, problems, nil
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in " + path)
	}
	return out, nil
}

// maxCRLSize bounds a revocation list file: that of the organisations' authority is
// well under 1 MB.
const maxCRLSize = 64 << 20

// addCRLs reads the lists of one file, DER or PEM. Of two lists of one issuer the
// later serves.
func (a *authorities) addCRLs(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() > maxCRLSize {
		return errors.New("revocation list too large: " + path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	ders := [][]byte{b}
	if block, rest := pem.Decode(b); block != nil {
		for ders = nil; block != nil; block, rest = pem.Decode(rest) {
			ders = append(ders, block.Bytes)
		}
	}
	for _, der := range ders {
		if err := a.addCRL(der); err != nil {
			return errors.New(path + ": " + err.Error())
		}
	}
	return nil
}

func (a *authorities) addCRL(der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	for _, issuer := range a.certs {
		if !bytes.Equal(issuer.RawSubject, list.RawIssuer) || list.CheckSignatureFrom(issuer) != nil {
			continue
		}
		c := &crl{issuer: issuer.Subject.CommonName, thisAt: list.ThisUpdate, nextAt: list.NextUpdate,
			revoked: make(map[string]struct{}, len(list.RevokedCertificateEntries))}
		for _, e := range list.RevokedCertificateEntries {
			if e.ReasonCode != 8 { // removeFromCRL (RFC 5280 §5.3.1)
				c.revoked[string(e.SerialNumber.Bytes())] = struct{}{}
			}
		}
		if old := a.crls[crlKey(issuer)]; old == nil || old.thisAt.Before(c.thisAt) {
			a.crls[crlKey(issuer)] = c
		}
		return nil
	}
	return errors.New("not signed by an authority of ours")
}

func crlKey(issuer *x509.Certificate) string {
	return string(issuer.RawSubject) + "\x00" + string(issuer.RawSubjectPublicKeyInfo)
}

// verify checks that a certificate chains to a root, is in its validity, may be used
// for one of usages, and that neither it nor an authority above it is revoked. Only
// configured intermediates count: a chain through another has no revocation list.
//
// Errors: fault.Untrusted with code peer-expired, peer-usage, peer-unknown-authority or
// peer-revoked; fault.Unavailable with code revocation-unusable, when lists are missing
// or stale: fail closed, but for a time.
func (a *authorities) verify(c *x509.Certificate, usages []x509.ExtKeyUsage, now time.Time, grace time.Duration) error {
	const op = "certs.verify"
	chains, err := c.Verify(x509.VerifyOptions{Roots: a.roots, Intermediates: a.intermediates, CurrentTime: now, KeyUsages: usages})
	if err != nil {
		code := "peer-unknown-authority"
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) {
			switch invalid.Reason {
			case x509.Expired:
				code = "peer-expired"
			case x509.IncompatibleUsage:
				code = "peer-usage"
			}
		}
		return fault.New(fault.Untrusted, op, code) // the cause may quote a subject
	}
	var worst error
	for _, chain := range chains {
		err := a.revoked(chain, now, grace)
		if err == nil {
			return nil
		}
		if worst == nil || fault.Is(err, fault.Untrusted) {
			worst = err
		}
	}
	return worst
}

// revoked looks every certificate of a chain but its root up in its issuer's list.
func (a *authorities) revoked(chain []*x509.Certificate, now time.Time, grace time.Duration) error {
	const op = "certs.revoked"
	var unusable error
	for i, c := range chain[:len(chain)-1] {
		list := a.crls[crlKey(chain[i+1])]
		if list == nil || now.After(list.nextAt.Add(grace)) || now.Add(grace).Before(list.thisAt) {
			unusable = fault.New(fault.Unavailable, op, "revocation-unusable")
		}
		if list == nil {
			continue
		}
		if _, is := list.revoked[string(c.SerialNumber.Bytes())]; is {
			return fault.New(fault.Untrusted, op, "peer-revoked")
		}
	}
	return unusable
}

// loadPair reads one of the house's own certificates with its key, which must be RSA:
// all the suites of the trust space need it (mssante.md §12.1).
func loadPair(certFile, keyFile string) (*tls.Certificate, error) {
	const op = "certs.loadPair"
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, op, "own-certificate", err)
	}
	if _, ok := pair.PrivateKey.(*rsa.PrivateKey); !ok {
		return nil, fault.New(fault.Invalid, op, "own-key-not-rsa")
	}
	return &pair, nil
}
