package certs_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pli/certs"
	"pli/certs/demopki"
	"pli/fault"
)

var operators = []demopki.Operator{
	{Name: "a", Organisation: "HOPITAL D'ESSAI A", FINESS: "990000001", Host: "mx.mss-a.example",
		Domains: []string{"mss-a.example", "patient.mss-a.example"},
		Clients: []demopki.Client{{Name: "labo", Organisation: "LABORATOIRE D'ESSAI", FINESS: "990000002", Host: "labo.mss-a.example"}}},
	{Name: "b", Organisation: "HOPITAL D'ESSAI B", FINESS: "990000003", Host: "mx.mss-b.example", Domains: []string{"mss-b.example"}},
}

// world is a PKI in a folder, a clock, and what goes wrong with both.
type world struct {
	t    *testing.T
	dir  string
	p    demopki.Paths
	now  time.Time
	orgs *demopki.Authority
}

// made once: keys take time.
var (
	pattern = sync.OnceValue(func() string {
		dir, err := os.MkdirTemp("", "pli-certs")
		if err != nil {
			panic(err)
		}
		if _, err := demopki.Write(dir, operators, time.Now().UTC().Truncate(time.Second)); err != nil {
			panic(err)
		}
		return dir
	})
	oneKey = sync.OnceValue(func() *rsa.PrivateKey {
		key, err := demopki.NewKey()
		if err != nil {
			panic(err)
		}
		return key
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(pattern())
	os.Exit(code)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: time.Now().UTC().Truncate(time.Second)}
	err := os.CopyFS(w.dir, os.DirFS(pattern()))
	if err != nil {
		t.Fatal(err)
	}
	if w.p, err = demopki.Write(w.dir, operators, w.now); err != nil {
		t.Fatal(err)
	}
	if w.orgs, err = demopki.LoadAuthority(w.dir, "organisations"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) config(operator string) certs.Config {
	o := w.p.Operators[operator]
	return certs.Config{Roots: w.p.Roots, Intermediates: w.p.Intermediates, CRLs: w.p.CRLs, WhiteList: w.p.WhiteList,
		WhiteListSigners: []string{w.p.WhiteListSigner}, ServerCert: o.ServerCert, ServerKey: o.ServerKey,
		PublicCert: w.p.WebCert, PublicKey: w.p.WebKey}
}

func (w *world) open(cfg certs.Config) *certs.Trust {
	w.t.Helper()
	tr, err := certs.Open(cfg, slog.New(slog.DiscardHandler), func() time.Time { return w.now })
	if err != nil {
		w.t.Fatal(err)
	}
	return tr
}

func (w *world) write(path string, b []byte) {
	w.t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.touch(path)
}

var touches int

// touch makes a change visible even within the grain of the file system's clock.
func (w *world) touch(path string) {
	touches++
	at := time.Now().Add(time.Duration(touches) * time.Second)
	if err := os.Chtimes(path, at, at); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) cert(path string) *x509.Certificate {
	w.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// like issues a certificate with operator A's name, changed by f.
func (w *world) like(issuer *demopki.Authority, f func(*demopki.Profile)) *x509.Certificate {
	w.t.Helper()
	key := oneKey()
	p := demopki.Profile{CN: "mx.mss-a.example", OU: "1990000001", O: "HOPITAL D'ESSAI A", NotBefore: w.now.Add(-time.Hour),
		NotAfter: w.now.Add(time.Hour), EKU: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	f(&p)
	der, err := issuer.Issue(p, key)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) crl(path string, at, next time.Time, revoked ...*big.Int) {
	w.t.Helper()
	b, err := w.orgs.CRL(at, next, revoked...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(path, b)
}

func state(cs ...*x509.Certificate) tls.ConnectionState {
	return tls.ConnectionState{PeerCertificates: cs}
}

func TestPeerDomains(t *testing.T) {
	w := newWorld(t)
	tr := w.open(w.config("b"))
	if err := tr.Check(); err != nil {
		t.Fatal(err)
	}
	stranger, err := demopki.NewAuthority(nil, demopki.Profile{CN: w.orgs.Cert.Subject.CommonName, O: "PLI DEMO", OU: "IGC-SANTE TEST",
		NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	same := func(*demopki.Profile) {}
	for name, c := range map[string]struct {
		peer []*x509.Certificate
		code string
	}{
		"the listed certificate":        {[]*x509.Certificate{w.cert(w.p.Operators["a"].ServerCert)}, ""},
		"its name written otherwise":    {[]*x509.Certificate{w.like(w.orgs, func(p *demopki.Profile) { p.O = "Hopital  d'Essai A" })}, ""},
		"none":                          {nil, "peer-no-certificate"},
		"a stranger's authority":        {[]*x509.Certificate{w.like(stranger, same), stranger.Cert}, "peer-unknown-authority"},
		"expired":                       {[]*x509.Certificate{w.like(w.orgs, func(p *demopki.Profile) { p.NotAfter = w.now.Add(-time.Minute) })}, "peer-expired"},
		"for mail signatures":           {[]*x509.Certificate{w.like(w.orgs, func(p *demopki.Profile) { p.EKU = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })}, "peer-usage"},
		"same host, other organisation": {[]*x509.Certificate{w.like(w.orgs, func(p *demopki.Profile) { p.OU = "1990000099" })}, "peer-not-listed"},
		"an application of ours":        {[]*x509.Certificate{w.cert(w.p.Operators["a"].Clients["labo"].Cert)}, "peer-not-listed"},
	} {
		got, err := tr.PeerDomains(state(c.peer...))
		if fault.CodeOf(err) != c.code || (err != nil) != (c.code != "") {
			t.Errorf("%s: %v, want code %q", name, err, c.code)
		}
		if c.code != "" && !fault.Is(err, fault.Untrusted) {
			t.Errorf("%s: kind %v", name, fault.KindOf(err))
		}
		if c.code == "" && !slices.Equal(got, []string{"mss-a.example", "patient.mss-a.example"}) {
			t.Errorf("%s: domains %v", name, got)
		}
	}
}

func TestRevocationFailsClosed(t *testing.T) {
	w := newWorld(t)
	tr := w.open(w.config("b"))
	a := w.cert(w.p.Operators["a"].ServerCert)
	peer := func() error { _, err := tr.PeerDomains(state(a)); return err }
	if err := peer(); err != nil {
		t.Fatal(err)
	}
	w.crl(w.p.CRLs[1], w.now.Add(-30*time.Second), w.now.Add(time.Hour), a.SerialNumber)
	if err := tr.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := peer(); fault.CodeOf(err) != "peer-revoked" || !fault.Is(err, fault.Untrusted) {
		t.Errorf("revoked: %v", err)
	}
	w.crl(w.p.CRLs[1], w.now.Add(-20*time.Second), w.now.Add(time.Hour))
	if err := tr.Reload(); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(20 * time.Hour) // within the grace of 24 h
	if err := peer(); err != nil {
		t.Errorf("within the grace: %v", err)
	}
	w.now = w.now.Add(10 * time.Hour)
	if err := peer(); fault.CodeOf(err) != "revocation-unusable" || !fault.Is(err, fault.Unavailable) {
		t.Errorf("stale: %v", err)
	}
	if err := tr.Check(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Check with a stale list: %v", err)
	}
}

func TestRevocationListMissingForgedOrUnreadable(t *testing.T) {
	w := newWorld(t)
	a := w.cert(w.p.Operators["a"].ServerCert)
	cfg := w.config("b")
	cfg.CRLs = cfg.CRLs[:1]
	cfg.WhiteListKept = filepath.Join(w.dir, "garde.xml")
	kept := w.config("b")
	kept.WhiteListKept = cfg.WhiteListKept
	w.open(kept) // leaves an accepted list behind
	if _, err := w.open(cfg).PeerDomains(state(a)); fault.CodeOf(err) != "revocation-unusable" {
		t.Errorf("missing: %v", err)
	}
	impostor, err := demopki.NewAuthority(nil, demopki.Profile{CN: w.orgs.Cert.Subject.CommonName, O: "PLI DEMO", OU: "IGC-SANTE TEST",
		NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := impostor.CRL(w.now, w.now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"forged": forged, "unreadable": []byte("pas une liste")} {
		tr := w.open(kept)
		good, err := os.ReadFile(w.p.CRLs[1])
		if err != nil {
			t.Fatal(err)
		}
		w.write(w.p.CRLs[1], b)
		if err := tr.Reload(); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := tr.PeerDomains(state(a)); err != nil {
			t.Errorf("%s: the last good list no longer serves: %v", name, err)
		}
		w.write(w.p.CRLs[1], good)
	}
}

func TestVerifyClient(t *testing.T) {
	w := newWorld(t)
	tr := w.open(w.config("a"))
	for name, path := range map[string]string{"organisation": w.p.Operators["a"].Clients["labo"].Cert, "card": w.p.CardCert} {
		if c, err := tr.VerifyClient(state(w.cert(path))); err != nil || c == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	server := w.like(w.orgs, func(*demopki.Profile) {})
	if _, err := tr.VerifyClient(state(server)); fault.CodeOf(err) != "peer-usage" {
		t.Errorf("a server's certificate does not sign people in: %v", err)
	}
	if _, err := tr.VerifyClient(state()); !fault.Is(err, fault.Untrusted) {
		t.Errorf("none: %v", err)
	}
}

// entries of the demo's list.
func entries(domains ...string) (out []demopki.Entry) {
	for _, d := range domains {
		out = append(out, demopki.Entry{Domain: d, Description: "essai", DN: operators[0].DN()})
	}
	return out
}

// sign signs a list with a new certificate of that CN and usage.
func (w *world) sign(es []demopki.Entry, at time.Time, cn string, eku x509.ExtKeyUsage) []byte {
	w.t.Helper()
	key := oneKey()
	der, err := w.orgs.Issue(demopki.Profile{CN: cn, NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(100 * 24 * time.Hour),
		EKU: []x509.ExtKeyUsage{eku}}, key)
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := demopki.SignWhiteList(es, at, der, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func TestWhiteListReplacement(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a")
	cfg.WhiteListKept = filepath.Join(w.dir, "garde.xml")
	mail := x509.ExtKeyUsageEmailProtection
	ten := []string{"d0.example", "d1.example", "d2.example", "d3.example", "d4.example", "d5.example", "d6.example", "d7.example", "d8.example", "d9.example"}
	start := w.now.Add(-time.Hour)
	w.write(w.p.WhiteList, w.sign(entries(ten...), start, demopki.Signer, mail))
	tr := w.open(cfg)
	if !tr.Trusted("d9.example") || !tr.Trusted("D9.Example") || tr.Trusted("a.d9.example") || tr.Trusted("mss-a.example") {
		t.Fatal("the first list is not the one in use")
	}
	unsigned, err := demopki.UnsignedWhiteList(entries(ten...), w.now)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		list []byte
		code string
	}{
		"not signed":     {unsigned, "not-signed"},
		"another signer": {w.sign(entries(ten...), w.now, "mx.mss-a.example", mail), "white-list-signer"},
		"other usage":    {w.sign(entries(ten...), w.now, demopki.Signer, x509.ExtKeyUsageServerAuth), "peer-usage"},
		"older":          {w.sign(entries(ten...), start.Add(-time.Second), demopki.Signer, mail), "white-list-older"},
		"future":         {w.sign(entries(ten...), w.now.Add(48*time.Hour), demopki.Signer, mail), "white-list-from-the-future"},
		"shrinks":        {w.sign(entries(ten[:7]...), w.now, demopki.Signer, mail), "white-list-shrinks"},
		"not XML":        {[]byte("<html>erreur 403"), "root"},
	} {
		w.write(w.p.WhiteList, c.list)
		if err := tr.Reload(); fault.CodeOf(first(err)) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
		if !tr.Trusted("d9.example") {
			t.Errorf("%s: the list in use was lost", name)
		}
	}
	w.write(w.p.WhiteList, w.sign(entries(append(ten[:8:8], "neuf.example")...), start.Add(time.Minute), demopki.Signer, mail))
	if err := tr.Reload(); err != nil || !tr.Trusted("neuf.example") || tr.Trusted("d9.example") {
		t.Fatalf("a good list: %v", err)
	}
	// A restart remembers: the older list stays refused, the kept one serves.
	w.write(w.p.WhiteList, w.sign(entries(ten...), start, demopki.Signer, mail))
	if tr = w.open(cfg); !tr.Trusted("neuf.example") || tr.Trusted("d9.example") {
		t.Error("after a restart an older list came back")
	}
	cfg.WhiteListForce = true
	w.write(w.p.WhiteList, w.sign(entries(ten[:2]...), w.now, demopki.Signer, mail))
	if tr = w.open(cfg); tr.Trusted("neuf.example") || !tr.Trusted("d1.example") {
		t.Error("an administrator may force a short list")
	}
}

func first(err error) error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return first(j.Unwrap()[0])
	}
	return err
}

func TestWhiteListAges(t *testing.T) {
	w := newWorld(t)
	tr := w.open(w.config("b"))
	a := w.cert(w.p.Operators["a"].ServerCert)
	w.now = w.now.Add(29 * 24 * time.Hour)
	if _, err := tr.PeerDomains(state(a)); err != nil {
		t.Errorf("at 29 days: %v", err)
	}
	w.now = w.now.Add(2 * 24 * time.Hour)
	if _, err := tr.PeerDomains(state(a)); fault.CodeOf(err) != "white-list-stale" || !fault.Is(err, fault.Unavailable) {
		t.Errorf("at 31 days: %v", err)
	}
	if !tr.Trusted("mss-a.example") {
		t.Error("a stale list stops mail for a time, it does not unlist anyone")
	}
}

// TestSignatureWrapping moves a good signature over content it does not cover.
func TestSignatureWrapping(t *testing.T) {
	w := newWorld(t)
	good, err := os.ReadFile(w.p.WhiteList)
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	sig := text[strings.Index(text, "<Signature"):strings.Index(text, "</ListeBlancheMSSante>")]
	evil := strings.ReplaceAll(text, "mss-b.example", "dehors.example")
	header, body, _ := strings.Cut(text, "?>")
	for name, s := range map[string]string{
		"other content":          evil,
		"two signatures":         strings.Replace(text, "</ListeBlancheMSSante>", sig+"</ListeBlancheMSSante>", 1),
		"signed list inside":     header + "?>" + strings.Replace(strings.Replace(evil[len(header)+2:], sig, "", 1), "</ListeBlancheMSSante>", body+"</ListeBlancheMSSante>", 1),
		"signature not last":     strings.Replace(strings.Replace(text, sig, "", 1), "<ListeDomaines>", sig+"<ListeDomaines>", 1),
		"object with the truth":  strings.Replace(evil, "</KeyInfo>", "</KeyInfo><Object>"+body+"</Object>", 1),
		"reference elsewhere":    strings.Replace(text, `URI=""`, `URI="#x"`, 1),
		"no reference":           strings.Replace(text, `<Reference URI="">`, `<Reference>`, 1),
		"no algorithm of ours":   strings.Replace(text, "rsa-sha256", "rsa-sha1", 1),
		"inclusive form":         strings.ReplaceAll(text, "http://www.w3.org/2001/10/xml-exc-c14n#", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"),
		"added after signing":    strings.Replace(text, "</ListeDomaines>", "<Domaine><Nom>dehors.example</Nom><DNCertificatOperateur>CN=x</DNCertificatOperateur></Domaine></ListeDomaines>", 1),
		"hidden by a comment":    strings.Replace(text, "<Nom>mss-b.example", "<Nom>dehors.example<!-- -->", 1),
		"second document inside": text + body,
	} {
		if s == text {
			t.Fatalf("%s: nothing changed", name)
		}
		w.write(w.p.WhiteList, []byte(s))
		if tr := w.open(w.config("a")); tr.Trusted("mss-a.example") || tr.Trusted("dehors.example") {
			t.Errorf("%s: accepted", name)
		}
	}
	// A comment adds nothing: the canonical form leaves it out and the text is whole.
	w.write(w.p.WhiteList, []byte(strings.Replace(text, "<Nom>mss-b.exam", "<Nom>mss-b.exam<!-- x -->", 1)))
	if tr := w.open(w.config("a")); !tr.Trusted("mss-b.example") || tr.Trusted("mss-b.exam") {
		t.Error("a comment changed what a domain says")
	}
	// The published list writes the ends of base64 lines as &#13;.
	i := strings.Index(text, "<X509Certificate>") + 100
	w.write(w.p.WhiteList, []byte(text[:i]+"&#13;\n"+text[i:]))
	if tr := w.open(w.config("a")); !tr.Trusted("mss-b.example") {
		t.Error("&#13; in base64 is not understood")
	}
}

// handshake runs TLS between two configurations over loopback.
func handshake(t *testing.T, server, client *tls.Config) (s, c tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer conn.Close()
		tc := tls.Server(conn, server)
		if serverErr = tc.Handshake(); serverErr == nil {
			s = tc.ConnectionState()
			_, serverErr = tc.Write([]byte("x"))
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(conn, client)
	if clientErr = tc.Handshake(); clientErr == nil {
		_, clientErr = tc.Read(make([]byte, 1))
		c = tc.ConnectionState()
	}
	conn.Close()
	<-done
	return
}

func TestOperatorsMeet(t *testing.T) {
	w := newWorld(t)
	a, b := w.open(w.config("a")), w.open(w.config("b"))
	s, _, serverErr, clientErr := handshake(t, b.MXServer(), a.Relay("mss-b.example"))
	if serverErr != nil || clientErr != nil {
		t.Fatal(serverErr, clientErr)
	}
	if domains, err := b.PeerDomains(s); err != nil || !slices.Contains(domains, "mss-a.example") {
		t.Errorf("B sees %v, %v", domains, err)
	}
	for domain, code := range map[string]string{"patient.mss-a.example": "peer-not-listed", "dehors.example": "peer-not-listed", "x.mss-b.example": "peer-not-listed"} {
		if _, _, _, err := handshake(t, b.MXServer(), a.Relay(domain)); fault.CodeOf(err) != code {
			t.Errorf("B's server taken for %s: %v", domain, err)
		}
	}
	w.crl(w.p.CRLs[1], w.now.Add(-30*time.Second), w.now.Add(time.Hour), w.cert(w.p.Operators["b"].ServerCert).SerialNumber)
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := handshake(t, b.MXServer(), a.Relay("mss-b.example")); fault.CodeOf(err) != "peer-revoked" {
		t.Errorf("revoked server: %v", err)
	}
}

func TestResumedSessionIsVerifiedAgain(t *testing.T) {
	w := newWorld(t)
	a, b := w.open(w.config("a")), w.open(w.config("b"))
	server, client := b.MXServer(), a.Relay("mss-b.example")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	client.ServerName = "mx.mss-b.example"
	if _, _, serverErr, err := handshake(t, server, client); err != nil || serverErr != nil {
		t.Fatal(serverErr, err)
	}
	_, c, _, err := handshake(t, server, client)
	if err != nil || !c.DidResume {
		t.Fatalf("resumed %v, %v", c.DidResume, err)
	}
	w.crl(w.p.CRLs[1], w.now.Add(-30*time.Second), w.now.Add(time.Hour), w.cert(w.p.Operators["b"].ServerCert).SerialNumber)
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := handshake(t, server, client); fault.CodeOf(err) != "peer-revoked" {
		t.Errorf("a ticket outlived the revocation: %v", err)
	}
}

func TestVersionsAndSuites(t *testing.T) {
	w := newWorld(t)
	tr := w.open(w.config("a"))
	for name, server := range map[string]*tls.Config{"mx": tr.MXServer(), "submission": tr.Submission(), "imap": tr.IMAP(), "web": tr.Web()} {
		for _, c := range []struct {
			what    string
			version uint16
			suites  []uint16
			ok      bool
		}{
			{"TLS 1.1", tls.VersionTLS11, nil, false},
			{"TLS 1.2 C030", tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}, true},
			{"TLS 1.2 C02F", tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, true},
			{"TLS 1.2 ChaCha20", tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}, false},
			{"TLS 1.2 CBC", tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}, false},
			{"TLS 1.3", tls.VersionTLS13, nil, true},
		} {
			client := &tls.Config{InsecureSkipVerify: true, MinVersion: c.version, MaxVersion: c.version, CipherSuites: c.suites}
			if _, _, _, err := handshake(t, server, client); (err == nil) != c.ok {
				t.Errorf("%s, %s: %v", name, c.what, err)
			}
		}
	}
}

func TestReloadWithoutRestart(t *testing.T) {
	w := newWorld(t)
	tr := w.open(w.config("a"))
	server := tr.Submission() // handed to a door once, for good
	shown := func() string {
		t.Helper()
		_, c, _, err := handshake(t, server, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		return c.PeerCertificates[0].SerialNumber.String()
	}
	before := shown()
	o := w.p.Operators["a"]
	key, err := demopki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := w.orgs.Issue(demopki.Profile{CN: "mx.mss-a.example", OU: "1990000001", O: "HOPITAL D'ESSAI A", DNS: []string{"localhost"},
		NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(time.Hour), EKU: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key)
	if err != nil {
		t.Fatal(err)
	}
	w.write(o.ServerCert, demopki.PEM(der, w.orgs.Cert.Raw))
	if err := tr.Reload(); fault.CodeOf(first(err)) != "own-certificate" {
		t.Errorf("a certificate without its key: %v", err)
	}
	if shown() != before {
		t.Error("half a change took effect")
	}
	w.write(o.ServerKey, demopki.KeyPEM(key))
	if err := tr.Reload(); err != nil {
		t.Fatal(err)
	}
	if shown() == before {
		t.Error("the new certificate is not shown")
	}
}

func TestOpenRefusesWhatCannotServe(t *testing.T) {
	w := newWorld(t)
	for name, f := range map[string]func(*certs.Config){
		"no root":            func(c *certs.Config) { c.Roots, c.Intermediates = "", "" },
		"root file missing":  func(c *certs.Config) { c.Roots = filepath.Join(w.dir, "absent.pem") },
		"leaf taken as root": func(c *certs.Config) { c.Roots = w.p.Operators["a"].ServerCert; c.Intermediates = w.p.WebCert },
		"no server key":      func(c *certs.Config) { c.ServerKey = "" },
		"key of another":     func(c *certs.Config) { c.ServerKey = w.p.WebKey },
	} {
		cfg := w.config("a")
		f(&cfg)
		if _, err := certs.Open(cfg, slog.New(slog.DiscardHandler), time.Now); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestClientsAreToldWhichAuthoritiesCount(t *testing.T) {
	w := newWorld(t)
	var asked [][]byte
	client := &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = r.AcceptableCAs
		return &tls.Certificate{}, nil
	}}
	if _, _, _, err := handshake(t, w.open(w.config("a")).Submission(), client); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(asked, func(b []byte) bool { return bytes.Equal(b, w.orgs.Cert.RawSubject) }) {
		t.Errorf("%d authorities named, ours not among them", len(asked))
	}
}

func TestWatchSeesAChange(t *testing.T) {
	w := newWorld(t)
	tr := w.open(w.config("a"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watched := make(chan struct{})
	go func() { tr.Watch(ctx, 5*time.Millisecond); close(watched) }()
	es := entries("mss-a.example", "patient.mss-a.example", "mss-b.example", "neuf.example")
	w.write(w.p.WhiteList, w.sign(es, w.now.Add(time.Minute), demopki.Signer, x509.ExtKeyUsageEmailProtection))
	for !tr.Trusted("neuf.example") && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	if !tr.Trusted("neuf.example") || tr.MayRelay("neuf.example") != nil {
		t.Error("the new list was not taken up")
	}
	if err := tr.MayRelay("dehors.example"); !fault.Is(err, fault.Untrusted) {
		t.Errorf("MayRelay of a stranger: %v", err)
	}
	cancel()
	<-watched
}
