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
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pli/fault"
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

// defaultSigner signs the national list (mssante.md §2.1).
const defaultSigner = "alb.mssante.fr"

func (c Config) grace() time.Duration {
	if c.CRLGrace > 0 {
		return c.CRLGrace
	}
	return 24 * time.Hour
}

// groups are the files that are read together.
func (c Config) groups() (trust, list, own []string) {
	trust = append([]string{c.Roots, c.Intermediates}, c.CRLs...)
	list = []string{c.WhiteList}
	own = []string{c.ServerCert, c.ServerKey, c.ClientCert, c.ClientKey, c.PublicCert, c.PublicKey}
	return trust, list, own
}

// snapshot is everything in use at one moment. It never changes once published.
type snapshot struct {
	authorities                  *authorities
	list                         *WhiteList // nil: none was accepted yet
	server, client, public       *tls.Certificate
	trustSeen, listSeen, ownSeen string // fingerprints of the files
	// sessions of calls to peers. They carry our certificate, so a new one starts afresh.
	sessions tls.ClientSessionCache
}

// Trust is the trust store in use. Its methods may be called from anywhere at once.
type Trust struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	reload  sync.Mutex // one reload at a time
	current atomic.Pointer[snapshot]
}

// Open reads every file and fails when the authorities or the house's own certificates
// are missing or refused. A missing or stale revocation list, or a refused white list,
// does not stop the start: exchanges with peers then wait, and Check says why.
func Open(cfg Config, log *slog.Logger, now func() time.Time) (*Trust, error) {
	t := &Trust{cfg: cfg, log: log, now: now}
	s := &snapshot{}
	if err := t.readOwn(s); err != nil {
		return nil, err
	}
	problems, err := t.readTrust(s)
	if err != nil {
		return nil, err
	}
	s.list = t.keptList(s)
	problems = append(problems, t.readList(s))
	t.current.Store(s)
	for _, p := range problems {
		if p != nil {
			log.Error("certs: not usable", "code", fault.CodeOf(p))
		}
	}
	return t, nil
}

// Reload reads again the files that changed. What is refused leaves the former in use,
// is tried again at the next call, and is returned.
func (t *Trust) Reload() error {
	t.reload.Lock()
	defer t.reload.Unlock()
	old := t.current.Load()
	next := *old
	trust, list, own := t.cfg.groups()
	var errs []error
	retryList := fingerprint(list) != old.listSeen
	if fingerprint(trust) != old.trustSeen {
		problems, err := t.readTrust(&next)
		errs = append(errs, append(problems, err)...)
		retryList = retryList || err == nil
	}
	if fingerprint(own) != old.ownSeen {
		errs = append(errs, t.readOwn(&next))
	}
	if retryList {
		errs = append(errs, t.readList(&next))
	}
	if next != *old {
		t.current.Store(&next)
	}
	return errors.Join(errs...)
}

// Watch calls Reload every so often until ctx is done, and says in the log what was
// refused or has grown stale.
func (t *Trust) Watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := errors.Join(t.Reload(), t.alarm())
		said := ""
		if err != nil {
			said = err.Error()
		}
		if said != last && err != nil {
			t.log.Error("certs: attention needed", "code", fault.CodeOf(firstOf(err)), "err", err)
		}
		last = said
	}
}

func firstOf(err error) error {
	for {
		j, ok := err.(interface{ Unwrap() []error })
		if !ok || len(j.Unwrap()) == 0 {
			return err
		}
		err = j.Unwrap()[0]
	}
}

// readTrust puts authorities and revocation lists in s, or leaves s alone.
func (t *Trust) readTrust(s *snapshot) (problems []error, err error) {
	trust, _, _ := t.cfg.groups()
	seen := fingerprint(trust)
	a, problems, err := loadAuthorities(t.cfg)
	if err != nil {
		return nil, err
	}
	if s.authorities != nil { // a list that became unreadable leaves the former in use
		for key, was := range s.authorities.crls {
			if now := a.crls[key]; now == nil || now.thisAt.Before(was.thisAt) {
				a.crls[key] = was
			}
		}
	}
	s.authorities = a
	if len(problems) == 0 {
		s.trustSeen = seen
	}
	return problems, nil
}

// readOwn puts the house's certificates in s, or leaves s alone.
func (t *Trust) readOwn(s *snapshot) error {
	_, _, own := t.cfg.groups()
	seen := fingerprint(own)
	server, err := loadPair(t.cfg.ServerCert, t.cfg.ServerKey)
	if err != nil {
		return err
	}
	client, public := server, server
	if t.cfg.ClientCert != "" {
		if client, err = loadPair(t.cfg.ClientCert, t.cfg.ClientKey); err != nil {
			return err
		}
	}
	if t.cfg.PublicCert != "" {
		if public, err = loadPair(t.cfg.PublicCert, t.cfg.PublicKey); err != nil {
			return err
		}
	}
	s.server, s.client, s.public, s.ownSeen = server, client, public, seen
	s.sessions = tls.NewLRUClientSessionCache(256)
	return nil
}

// fingerprint changes when a file does: modification time and size.
func fingerprint(paths []string) string {
	var b strings.Builder
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil {
			b.WriteString(info.ModTime().UTC().Format(time.RFC3339Nano))
			b.WriteByte(' ')
			b.WriteString(info.Mode().String())
			b.WriteString(sizeText(info.Size()))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
