// Package certs holds what the house trusts: the roots of IGC-Santé, their revocation
// lists, the signed white list of the trust space (mssante.md §2), and the house's own
// certificates. It makes every TLS configuration and answers who a peer is. Files are
// read again when they change, without a restart.
//
// It never trusts a public authority, never falls back to a weaker check, and never
// goes to the network: fetching lists is another's work, that leaves files here.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where the files are.
type Config struct {
	// Roots is a PEM file of the accepted root certificates (AC RACINE IGC-SANTE ELEMENTAIRE).
	Roots string `toml:"roots"`
	// Intermediates is a PEM file of the authorities between a root and the servers.
	Intermediates string `toml:"intermediates"`
	// CRLs are the revocation lists of every authority above, DER or PEM.
	CRLs []string `toml:"crls"`
	// CRLGrace is how long a revocation list still serves after its nextUpdate. Zero means 24 h.
	CRLGrace time.Duration `toml:"crl_grace"`
	// WhiteList is the signed list of domains of the trust space (XML).
	WhiteList string `toml:"white_list"`
	// WhiteListSigners are the common names that may sign it. Empty means alb.mssante.fr.
	WhiteListSigners []string `toml:"white_list_signers"`
	// WhiteListKept is a file where the last accepted list is kept, so that an older one
	// is refused after a restart too. Empty: in memory only.
	WhiteListKept string `toml:"white_list_kept"`
	// WhiteListForce accepts a list that removes more than a fifth of the domains.
	// An administrator sets it for one change and takes it away.
	WhiteListForce bool `toml:"white_list_force"`
	// ServerCert and ServerKey (RSA, PEM) are shown on every mail port.
	ServerCert string `toml:"server_cert"`
	ServerKey  string `toml:"server_key"`
	// ClientCert and ClientKey are shown to other operators. Empty: those of the server.
	ClientCert string `toml:"client_cert"`
	ClientKey  string `toml:"client_key"`
	// PublicCert and PublicKey are shown to browsers. Empty: those of the server.
	PublicCert string `toml:"public_cert"`
	PublicKey  string `toml:"public_key"`
}

// Trust is the trust store in use. Its methods may be called from anywhere at once.
type Trust struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	reload  sync.Mutex // one reload at a time
	current atomic.Pointer[snapshot]
}

// Open reads every file and fails when what the house needs to start is missing or
// refused. A stale revocation list or white list does not stop the start: see Check.
func Open(cfg Config, log *slog.Logger, now func() time.Time) (*Trust, error) {
	t := &Trust{cfg: cfg, log: log, now: now}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

type snapshot struct{}

// Reload reads the files that changed. What was refused leaves the former in use.
func (t *Trust) Reload() error { return nil }

// Watch looks at the files every so often, until ctx is done.
func (t *Trust) Watch(ctx context.Context, every time.Duration) {}

// Check tells whether the house may exchange mail now: usable white list and
// revocation lists, certificates in their validity.
func (t *Trust) Check() error { return nil }

// MXServer is shown to other operators on port 25.
func (t *Trust) MXServer() *tls.Config { return nil }

// Submission is shown to mail clients on 587 and 465; a certificate is asked, not required.
func (t *Trust) Submission() *tls.Config { return nil }

// IMAP is shown to mail clients on 143 and 993; a certificate is asked, not required.
func (t *Trust) IMAP() *tls.Config { return nil }

// Web is shown to browsers.
func (t *Trust) Web() *tls.Config { return nil }

// Relay is what we use to call the operator of domain.
func (t *Trust) Relay(domain string) *tls.Config { return nil }

// PeerDomains returns the domains that the peer of this connection may send for.
func (t *Trust) PeerDomains(cs tls.ConnectionState) ([]string, error) { return nil, nil }

// Trusted reports whether domain is in the white list.
func (t *Trust) Trusted(domain string) bool { return false }

// VerifyClient checks the certificate a user or an application showed.
func (t *Trust) VerifyClient(cs tls.ConnectionState) (*x509.Certificate, error) { return nil, nil }
