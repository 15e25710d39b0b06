package certs

import (
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"pli/fault"
)

// Ages of a white list (mssante.md §2.3 rule 5).
const (
	listAlarm = 7 * 24 * time.Hour
	listStop  = 30 * 24 * time.Hour
)

func sizeText(n int64) string { return strconv.FormatInt(n, 10) }

// readList verifies the white list file and puts it in s when it may replace the list
// there: signed by a pinned signer, later than the current one, and not suddenly short.
func (t *Trust) readList(s *snapshot) error {
	const op = "certs.readList"
	_, list, _ := t.cfg.groups()
	seen := fingerprint(list)
	raw, err := readBounded(t.cfg.WhiteList)
	if err != nil {
		return fault.Wrap(fault.Unavailable, op, "white-list-missing", err)
	}
	now := t.now()
	next, err := readWhiteList(raw, func(sig *Signature) error { return t.maySign(s, sig.Certificate, now, true) })
	if err != nil {
		return err
	}
	if s.list != nil {
		if next.GeneratedAt.Equal(s.list.GeneratedAt) {
			s.listSeen = seen
			return nil
		}
		if err := t.mayReplace(s.list, next, now); err != nil {
			return err
		}
	} else if next.GeneratedAt.After(now.Add(time.Hour)) {
		return fault.New(fault.Untrusted, op, "white-list-from-the-future")
	}
	t.logChange(s.list, next)
	s.list, s.listSeen = next, seen
	return t.keep(raw)
}

// maySign pins the signer: its chain, its usage (emailProtection), and its CN, because
// any member of the trust space owns a certificate of the same authority.
func (t *Trust) maySign(s *snapshot, c *x509.Certificate, at time.Time, revocation bool) error {
	const op = "certs.maySign"
	signers := t.cfg.WhiteListSigners
	if len(signers) == 0 {
		signers = []string{defaultSigner}
	}
	if !slices.Contains(signers, c.Subject.CommonName) {
		return fault.New(fault.Untrusted, op, "white-list-signer")
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	if revocation {
		return s.authorities.verify(c, usages, at, t.cfg.grace())
	}
	_, err := c.Verify(x509.VerifyOptions{Roots: s.authorities.roots, Intermediates: s.authorities.intermediates, CurrentTime: at, KeyUsages: usages})
	if err != nil {
		return fault.New(fault.Untrusted, op, "white-list-signer-chain")
	}
	return nil
}

// mayReplace refuses to go back in time, and to lose more than a fifth of the domains
// unless an administrator says so.
func (t *Trust) mayReplace(old, next *WhiteList, now time.Time) error {
	const op = "certs.mayReplace"
	switch {
	case next.GeneratedAt.Before(old.GeneratedAt):
		return fault.New(fault.Untrusted, op, "white-list-older")
	case next.GeneratedAt.After(now.Add(time.Hour)):
		return fault.New(fault.Untrusted, op, "white-list-from-the-future")
	case old.without(next)*5 > old.Domains() && !t.cfg.WhiteListForce:
		return fault.New(fault.Untrusted, op, "white-list-shrinks")
	}
	return nil
}

// logChange tells the difference in numbers; domains are public but many.
func (t *Trust) logChange(old, next *WhiteList) {
	if old == nil {
		old = &WhiteList{}
	}
	added, removed, rebound := old.changes(next)
	t.log.Info("certs: white list accepted", "generated_at", next.GeneratedAt, "entries", next.Entries, "domains", next.Domains(),
		"skipped", next.Skipped, "added", added, "removed", removed, "rebound", rebound)
}

// keep writes the accepted list where a restart finds it.
func (t *Trust) keep(raw []byte) error {
	const op = "certs.keep"
	path := t.cfg.WhiteListKept
	if path == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".liste-*")
	if err != nil {
		return fault.Wrap(fault.Unavailable, op, "white-list-kept", err)
	}
	defer os.Remove(f.Name()) // nothing is left to remove once renamed
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return fault.Wrap(fault.Unavailable, op, "white-list-kept", err)
}

// keptList reads the list accepted before the restart and checks its signature again,
// as of a time when the signer's certificate was valid. None is no error.
func (t *Trust) keptList(s *snapshot) *WhiteList {
	if t.cfg.WhiteListKept == "" {
		return nil
	}
	raw, err := readBounded(t.cfg.WhiteListKept)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var list *WhiteList
	if err == nil {
		list, err = readWhiteList(raw, func(sig *Signature) error {
			// When it was accepted its signer was checked in full: here, the chain alone.
			return t.maySign(s, sig.Certificate, sig.Certificate.NotAfter.Add(-time.Second), false)
		})
	}
	if err != nil {
		t.log.Error("certs: the kept white list is not usable", "code", fault.CodeOf(err))
		return nil
	}
	return list
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	b, err := io.ReadAll(io.LimitReader(f, maxListSize+1))
	if err == nil && len(b) > maxListSize {
		err = errors.New("too large")
	}
	return b, err
}

// usableList returns the list while it is fresh enough to act upon.
func (t *Trust) usableList(s *snapshot) (*WhiteList, error) {
	const op = "certs.usableList"
	switch {
	case s.list == nil:
		return nil, fault.New(fault.Unavailable, op, "white-list-missing")
	case t.now().Sub(s.list.GeneratedAt) > listStop:
		return nil, fault.New(fault.Unavailable, op, "white-list-stale")
	}
	return s.list, nil
}
