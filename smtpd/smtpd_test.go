package smtpd_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"pli/certs"
	"pli/certs/demopki"
	"pli/fault"
	"pli/identity"
	"pli/internal/id"
	"pli/mail"
	"pli/pipeline"
	"pli/smtpd"
)

// pki is made once: keys take time.
var pki = sync.OnceValue(func() demopki.Paths {
	dir, err := os.MkdirTemp("", "pli-smtpd")
	if err != nil {
		panic(err)
	}
	p, err := demopki.Write(dir, []demopki.Operator{
		{Name: "a", Organisation: "OPERATEUR A", FINESS: "990000001", Host: "mx.mss-a.example", Domains: []string{"mss-a.example"},
			Clients: []demopki.Client{{Name: "labo", Organisation: "LABORATOIRE", FINESS: "990000002", Host: "labo.mss-a.example"}}},
		{Name: "b", Organisation: "OPERATEUR B", FINESS: "990000003", Host: "mx.mss-b.example", Domains: []string{"mss-b.example", "patient.mss-b.example"}},
	}, time.Now())
	if err != nil {
		panic(err)
	}
	return p
})

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(goleak.IgnoreTopFunction("testing.(*F).Fuzz.func1")); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
		code = 1
	}
	os.RemoveAll(pki().Roots[:strings.LastIndex(pki().Roots, "/")])
	os.Exit(code)
}

func trust(t testing.TB) *certs.Trust {
	t.Helper()
	p := pki()
	o := p.Operators["a"]
	tr, err := certs.Open(certs.Config{Roots: p.Roots, Intermediates: p.Intermediates, CRLs: p.CRLs, WhiteList: p.WhiteList,
		WhiteListSigners: []string{p.WhiteListSigner}, ServerCert: o.ServerCert, ServerKey: o.ServerKey}, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// house stands in for the pipeline and identity.
type house struct {
	mu        sync.Mutex
	rcpt      func(to mail.Address) error
	data      func(env mail.Envelope, r io.Reader) error
	taken     []taken
	peer      pipeline.Peer
	secret    string
	authCalls int
	announced []int64 // sizes, at RCPT
}

type taken struct {
	env  mail.Envelope
	body string
	who  identity.SignIn
}

func (h *house) recipient(to mail.Address) error {
	if h.rcpt != nil {
		return h.rcpt(to)
	}
	return nil
}

func (h *house) take(env mail.Envelope, r io.Reader, who identity.SignIn) (pipeline.Receipt, error) {
	if h.data != nil {
		if err := h.data(env, r); err != nil {
			return pipeline.Receipt{}, err
		}
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return pipeline.Receipt{}, fault.Wrap(fault.Internal, "house.take", "read", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken = append(h.taken, taken{env, string(b), who})
	return pipeline.Receipt{Letter: id.ID{1}, Local: len(env.Recipients)}, nil
}

func (h *house) messages() []taken {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]taken(nil), h.taken...)
}

func (h *house) InboundRecipient(_ context.Context, p pipeline.Peer, _, to mail.Address, size int64) error {
	h.mu.Lock()
	h.peer = p
	h.announced = append(h.announced, size)
	h.mu.Unlock()
	return h.recipient(to)
}
func (h *house) Inbound(_ context.Context, _ pipeline.Peer, env mail.Envelope, r io.Reader) (pipeline.Receipt, error) {
	return h.take(env, r, identity.SignIn{})
}
func (h *house) SubmitRecipient(_ context.Context, _ identity.SignIn, to mail.Address, size int64) error {
	h.mu.Lock()
	h.announced = append(h.announced, size)
	h.mu.Unlock()
	return h.recipient(to)
}
func (h *house) Submit(_ context.Context, who identity.SignIn, env mail.Envelope, r io.Reader) (pipeline.Receipt, error) {
	return h.take(env, r, who)
}
func (h *house) AppPassword(_ context.Context, address, secret, remote string) (identity.SignIn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.authCalls++
	if address != "k.haddad@mss-a.example" || secret != "SECRET-SECRET-SECRET" || remote != "127.0.0.1" {
		return identity.SignIn{}, fault.New(fault.WrongSecret, "house", "wrong")
	}
	return identity.SignIn{Account: 5, BAL: 7, Means: identity.ByAppPassword}, nil
}
func (h *house) Certificate(_ context.Context, address string, c *x509.Certificate) (identity.SignIn, error) {
	if c.Subject.CommonName != "labo.mss-a.example" || address != "" && address != "labo@mss-a.example" {
		return identity.SignIn{}, fault.New(fault.WrongSecret, "house", "not-enrolled")
	}
	return identity.SignIn{Account: 6, BAL: 8, Means: identity.ByCertificate}, nil
}

// rig is a door on loopback.
type rig struct {
	t    testing.TB
	h    *house
	addr string
	log  *lockedBuffer
	stop func() error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func start(t testing.TB, mode smtpd.Mode, implicit bool, cfg smtpd.Config) *rig {
	t.Helper()
	tr := trust(t)
	r := &rig{t: t, h: &house{}, log: &lockedBuffer{}}
	tlsc := tr.MXServer()
	if mode == smtpd.Submission {
		tlsc = tr.Submission()
	}
	cfg.Hostname = "mx.mss-a.example"
	s := smtpd.New(smtpd.Deps{Mode: mode, Config: cfg, TLS: tlsc, Trust: tr, Inbound: r.h, Outgoing: r.h, Accounts: r.h,
		Log: slog.New(slog.NewJSONHandler(r.log, nil)), Metrics: prometheus.NewRegistry(), Now: time.Now})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	serve := s.Serve
	if implicit {
		serve = s.ServeTLS
	}
	go func() { done <- serve(ctx, ln) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// client is a hand on the wire.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	return &client{r.t, conn, bufio.NewReader(conn)}
}

// reply reads one whole reply.
func (c *client) reply() string {
	var b strings.Builder
	for {
		l, err := c.r.ReadString('\n')
		b.WriteString(l)
		if err != nil || len(l) < 4 || l[3] != '-' {
			if err != nil {
				b.WriteString("!" + err.Error())
			}
			return strings.TrimRight(b.String(), "\r\n")
		}
	}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Logf("write: %v", err)
	}
}

// do says a command and wants a reply that begins so.
func (c *client) do(command, want string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.want(command, want)
}

func (c *client) want(command, want string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, want) {
		if len(command) > 60 {
			command = command[:60] + "…"
		}
		c.t.Errorf("%q: got %q, want %q", command, got, want)
	}
	return got
}

func (c *client) startTLS(pair *demopki.KeyPair) {
	c.t.Helper()
	c.do("STARTTLS", "220 2.0.0")
	c.handshake(pair)
}

func (c *client) handshake(pair *demopki.KeyPair) {
	c.t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true}
	if pair != nil {
		cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			c.t.Fatal(err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	tc := tls.Client(c.conn, cfg)
	if err := tc.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = tc, bufio.NewReader(tc)
}

func operator(name string) *demopki.KeyPair {
	o := pki().Operators[name]
	return &demopki.KeyPair{Cert: o.ServerCert, Key: o.ServerKey}
}

// peer is operator B, past EHLO.
func (r *rig) peer() *client {
	r.t.Helper()
	c := r.dial()
	c.want("greeting", "220 mx.mss-a.example")
	c.do("EHLO mx.mss-b.example", "250")
	c.startTLS(operator("b"))
	c.do("EHLO mx.mss-b.example", "250")
	return c
}

// user is a professional, signed in.
func (r *rig) user() *client {
	r.t.Helper()
	c := r.dial()
	c.want("greeting", "220")
	c.startTLS(nil)
	c.do("EHLO poste", "250")
	c.do("AUTH PLAIN "+plain("", "k.haddad@mss-a.example", "SECRET-SECRET-SECRET"), "235 2")
	return c
}

func plain(parts ...string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Join(parts, "\x00")))
}

const letter = "From: <a@mss-b.example>\r\nSubject: essai\r\n\r\nBonjour\r\n"

func TestNothingHappensBeforeTLS(t *testing.T) {
	for _, mode := range []smtpd.Mode{smtpd.MX, smtpd.Submission} {
		r := start(t, mode, false, smtpd.Config{})
		c := r.dial()
		c.want("greeting", "220 mx.mss-a.example")
		ehlo := c.do("EHLO x", "250-mx.mss-a.example")
		if !strings.Contains(ehlo, "STARTTLS") || strings.Contains(ehlo, "AUTH") || !strings.Contains(ehlo, "SIZE 36700160") {
			t.Errorf("%s: EHLO before TLS: %q", mode, ehlo)
		}
		c.do("MAIL FROM:<a@mss-b.example>", "530 5.7.0")
		c.do("AUTH PLAIN "+plain("", "k.haddad@mss-a.example", "SECRET-SECRET-SECRET"), "530 5.7.0")
		c.do("RCPT TO:<x@mss-a.example>", "530 5.7.0")
		c.do("NOOP", "250")
		c.do("WRONG", "500 5.5.2")
		c.do(strings.Repeat("A", 2000), "500 5.5.2")
		if got := c.reply(); !strings.HasPrefix(got, "!") {
			t.Errorf("%s: a line too long must end the dialogue: %q", mode, got)
		}
		if r.h.authCalls != 0 {
			t.Errorf("%s: credentials were read in the clear", mode)
		}
	}
}

func TestCommandsSentAheadOfTLSAreRefused(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{})
	c := r.dial()
	c.want("greeting", "220")
	c.send("STARTTLS\r\nEHLO intrus\r\nMAIL FROM:<>\r\n")
	c.want("STARTTLS with commands behind", "503 5.5.1")
	if got := c.reply(); !strings.HasPrefix(got, "!") {
		t.Errorf("the connection stays: %q", got)
	}
}

func TestPeerIsKnownByItsCertificate(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{})
	labo := pki().Operators["a"].Clients["labo"]
	for name, pair := range map[string]*demopki.KeyPair{"no certificate": nil, "not in the list": &labo,
		"a web certificate": {Cert: pki().WebCert, Key: pki().WebKey}} {
		c := r.dial()
		c.want("greeting", "220")
		c.startTLS(pair)
		c.do("EHLO x", "250")
		if got := c.do("MAIL FROM:<a@mss-b.example>", "550 5.7.1 Certificat operateur refuse"); !strings.Contains(got, " / Operator certificate refused.") {
			t.Errorf("%s: %q", name, got)
		}
		c.do("MAIL FROM:<>", "550 5.7.1")
	}
	c := r.peer()
	c.do("MAIL FROM:<a@mss-a.example>", "550 5.7.1")
	c.do("MAIL FROM:<a@x.mss-b.example>", "550 5.7.1")
	c.do("MAIL FROM:<a@mss-b.example>", "250")
	c.do("RSET", "250")
	c.do("MAIL FROM:<>", "250")
	c.do("RCPT TO:<k.haddad@mss-a.example>", "250")
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if p := r.h.peer; len(p.Domains) != 2 || p.Name != "mx.mss-b.example" || p.Address != "127.0.0.1" || !strings.HasPrefix(p.TLS, "TLS1.3:TLS_") {
		t.Errorf("the pipeline is told %+v", p)
	}
	if c.do("AUTH PLAIN "+plain("", "a", "b"), "5"); r.h.authCalls != 0 {
		t.Error("an operator does not sign in")
	}
}

func TestMessageArrivesWithItsEnvelope(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{})
	c := r.peer()
	c.do("MAIL FROM:<A.Durand@MSS-B.example> SIZE=100 BODY=8BITMIME RET=FULL ENVID=QQ314159", "250")
	c.do("RCPT TO:<k.haddad@mss-a.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;karim+2Bx@mss-a.example", "250")
	c.do("RCPT TO:<n.lopez@mss-a.example> NOTIFY=NEVER", "250")
	c.do("RCPT TO:<K.Haddad@mss-a.example>", "250")
	c.do("RCPT TO:<p@mss-a.example>", "250")
	c.do("DATA", "354")
	// Dot-stuffing both ways: a line of one dot, one that begins with two, and bare LF or
	// CR forms that must not end the message.
	c.send(letter + "..\r\n...\r\nx\n.\ny\r.\rz\n.\r\n\r\n.\r\n")
	if got := c.want("message", "250 2.0.0"); !strings.Contains(got, "[01000000-0000-0000-0000-000000000000]") {
		t.Errorf("the reply names the letter: %q", got)
	}
	ms := r.h.messages()
	if len(ms) != 1 {
		t.Fatalf("%d messages", len(ms))
	}
	if want := letter + ".\r\n..\r\nx\n.\ny\r.\rz\n.\r\n\r\n"; ms[0].body != want {
		t.Errorf("body %q, want %q", ms[0].body, want)
	}
	e := ms[0].env
	if e.ReversePath != mail.MustAddress("a.durand@mss-b.example") || e.Return != mail.ReturnFull || e.EnvelopeID != "QQ314159" {
		t.Errorf("envelope %+v", e)
	}
	want := []mail.Recipient{
		{Address: mail.MustAddress("k.haddad@mss-a.example"), Notify: mail.NotifySuccess | mail.NotifyDelay, Original: "karim+x@mss-a.example"},
		{Address: mail.MustAddress("n.lopez@mss-a.example"), Notify: mail.NotifyNever},
		{Address: mail.MustAddress("p@mss-a.example")},
	}
	if fmt.Sprint(e.Recipients) != fmt.Sprint(want) || len(e.Recipients) != 3 || e.Recipients[0] != want[0] {
		t.Errorf("recipients %+v", e.Recipients)
	}
}

func TestLinesLongerThanTheLibraryLikes(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{})
	c := r.peer()
	body := letter + strings.Repeat("x", 200_000) + "\r\n"
	c.send("MAIL FROM:<a@mss-b.example>\r\nRCPT TO:<b@mss-a.example>\r\nDATA\r\n")
	c.want("MAIL", "250")
	c.want("RCPT", "250")
	c.want("DATA", "354")
	c.send(body + ".\r\n")
	c.want("message", "250")
	// A chunk in the same packet as its commands is no line either.
	c.send(fmt.Sprintf("MAIL FROM:<a@mss-b.example>\r\nRCPT TO:<b@mss-a.example>\r\nBDAT %d\r\n%sBDAT 2 LAST\r\n\r\n", len(body), body))
	for _, want := range []string{"250", "250", "250", "250 2.0.0"} {
		c.want("BDAT", want)
	}
	ms := r.h.messages()
	if len(ms) != 2 || ms[0].body != body || ms[1].body != body+"\r\n" {
		t.Errorf("%d messages", len(ms))
	}
}

func TestCommandLinesAreShort(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{})
	c := r.peer()
	c.do("MAIL FROM:<"+strings.Repeat("a", 300)+"@mss-b.example>", "553 5.1.3")
	// The library may answer the half line it holds; then there is no more.
	c.send("MAIL FROM:<" + strings.Repeat("a", 20_000) + "@mss-b.example>\r\nNOOP\r\n")
	got := c.reply()
	if strings.HasPrefix(got, "501") {
		got = c.reply()
	}
	if !strings.HasPrefix(got, "421") {
		t.Errorf("a line too long: %q", got)
	}
	if got := c.reply(); !strings.HasPrefix(got, "!") {
		t.Errorf("the connection stays: %q", got)
	}
	c = r.dial()
	c.want("greeting", "220")
	c.startTLS(operator("b"))
	c.do("EHLO "+strings.Repeat("h", 1000), "501")
}

func TestTooLarge(t *testing.T) {
	r := start(t, smtpd.Submission, false, smtpd.Config{MaxMessageSize: 100_000})
	c := r.user()
	if got := c.do("MAIL FROM:<k.haddad@mss-a.example> SIZE=100001", "552 5.3.4 Ce message depasse la taille"); !strings.Contains(got, " / ") {
		t.Errorf("not in two languages: %q", got)
	}
	c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
	c.do("RCPT TO:<b@mss-a.example>", "250")
	c.do("DATA", "354")
	c.send(letter + strings.Repeat(strings.Repeat("y", 998)+"\r\n", 150) + ".\r\n")
	c.want("150 KB", "552 5.3.4 Ce message depasse")
	c.do("MAIL FROM:<k.haddad@mss-a.example>", "250") // and the dialogue goes on
	c.do("RCPT TO:<b@mss-a.example>", "250")
	c.send("BDAT 150000 LAST\r\n" + strings.Repeat("z", 150_000))
	c.want("150 KB in a chunk", "552 5.3.4 Ce message depasse")
	if n := len(r.h.messages()); n != 0 {
		t.Errorf("%d messages taken", n)
	}
}

func TestEndlessMessageIsCutOff(t *testing.T) {
	r := start(t, smtpd.Submission, false, smtpd.Config{MaxMessageSize: 100_000})
	for _, how := range []string{"DATA\r\n", "BDAT 4000000000 LAST\r\n"} {
		c := r.user()
		c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
		c.do("RCPT TO:<b@mss-a.example>", "250")
		c.send(how)
		chunk := []byte(strings.Repeat(strings.Repeat("y", 998)+"\r\n", 100))
		sent := 0
		for sent < 100<<20 {
			n, err := c.conn.Write(chunk)
			sent += n
			if err != nil {
				break
			}
		}
		if sent >= 100<<20 {
			t.Errorf("%q: %d octets swallowed past a limit of 100,000", how, sent)
		}
	}
}

func TestFaultsKeepTheirCode(t *testing.T) {
	r := start(t, smtpd.Submission, false, smtpd.Config{})
	c := r.user()
	for _, k := range fault.Kinds() {
		want := fmt.Sprintf("%d %d.%d.%d", k.SMTP().Code, k.SMTP().Enhanced[0], k.SMTP().Enhanced[1], k.SMTP().Enhanced[2])
		atRcpt, atData := want, want
		if k == fault.Untrusted {
			atRcpt, atData = "550 5.1.2", "550 5.7.1"
		}
		r.h.rcpt = func(mail.Address) error { return fmt.Errorf("wrapped: %w", fault.New(k, "op", "code")) }
		c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
		c.do("RCPT TO:<b@mss-a.example>", atRcpt)
		r.h.rcpt = nil
		r.h.data = func(_ mail.Envelope, rd io.Reader) error {
			_, _ = io.Copy(io.Discard, rd)
			return fmt.Errorf("wrapped: %w", fault.New(k, "op", "code").Say("Texte précis.", "Precise text."))
		}
		c.do("RCPT TO:<b@mss-a.example>", "250")
		c.do("DATA", "354")
		c.send(letter + ".\r\n")
		if got := c.want(k.String(), atData); !strings.Contains(got, "Texte precis. / Precise text. [") {
			t.Errorf("%s: %q", k, got)
		}
	}
}

// A refusal that names where somebody is now may be long: it comes on two lines, each
// with its code and within 512 octets, and a client takes them for one refusal.
func TestLongRefusalsComeOnTwoLines(t *testing.T) {
	for _, mode := range []smtpd.Mode{smtpd.MX, smtpd.Submission} {
		r := start(t, mode, false, smtpd.Config{})
		r.h.rcpt = func(mail.Address) error {
			who := "adresse.plutot.longue@hopital.mss-b.example (" + strings.Repeat("É", 60) + ", " + strings.Repeat("Ô", 60) + ")."
			return fault.New(fault.Closed, "gate", "R-ADDR-03").Say("La boîte est fermée depuis le 1er mars 2026. Adresse actuelle trouvée dans l'annuaire : "+who,
				"The mailbox has been closed since 1 March 2026. Present address found in the directory: "+who)
		}
		c, from := r.user, "k.haddad@mss-a.example"
		if mode == smtpd.MX {
			c, from = r.peer, "dr.b@mss-b.example"
		}
		conn := c()
		conn.do("MAIL FROM:<"+from+">", "250")
		got := strings.Split(conn.do("RCPT TO:<b@mss-a.example>", "550-5.2.1 La boite est fermee depuis le 1er mars 2026. Adresse actuelle"), "\r\n")
		if len(got) != 2 || !strings.HasPrefix(got[1], "550 5.2.1 The mailbox has been closed") || len(got[0]) > 510 || len(got[1]) > 510 {
			t.Errorf("%q", got)
		}
		conn.do("RSET", "250")
	}
}

func TestUnforeseenErrorsAreTemporaryAndSilent(t *testing.T) {
	r := start(t, smtpd.Submission, false, smtpd.Config{})
	c := r.user()
	for name, f := range map[string]func(mail.Envelope, io.Reader) error{
		"unknown error":    func(mail.Envelope, io.Reader) error { return errors.New("pq: k.haddad@mss-a.example") },
		"panic":            func(mail.Envelope, io.Reader) error { panic("k.haddad@mss-a.example") },
		"nothing was read": func(mail.Envelope, io.Reader) error { return fault.New(fault.Unavailable, "op", "down") },
	} {
		r.h.data = f
		c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
		c.do("RCPT TO:<b@mss-a.example>", "250")
		c.do("DATA", "354")
		c.send(letter + ".\r\n")
		got := c.want(name, "451 4.3.0")
		if strings.Contains(got, "haddad") {
			t.Errorf("%s: %q", name, got)
		}
		ref := got[strings.LastIndex(got, "[")+1 : len(got)-1]
		if !strings.Contains(r.log.String(), ref) {
			t.Errorf("%s: reference %q is not in the log", name, ref)
		}
	}
	r.h.data = nil
	r.h.rcpt = func(mail.Address) error { panic("boum") }
	c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
	c.do("RCPT TO:<b@mss-a.example>", "451 4.3.0")
}

func TestAccentsOnlyWithSMTPUTF8(t *testing.T) {
	r := start(t, smtpd.Submission, false, smtpd.Config{})
	c := r.user()
	r.h.rcpt = func(mail.Address) error {
		return fault.New(fault.Forbidden, "op", "closed").Say("Cet échange a été terminé : « cœur ».", "Ended.")
	}
	c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
	c.do("RCPT TO:<b@mss-a.example>", `550 5.7.1 Cet echange a ete termine : "coeur". / Ended. [`)
	c.do("RSET", "250")
	c.do("MAIL FROM:<k.haddad@mss-a.example> SMTPUTF8", "250")
	c.do("RCPT TO:<b@mss-a.example>", "550 5.7.1 Cet échange a été terminé : « cœur ». / Ended. [")
	c.do("RSET", "250")
	c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
	c.do("RCPT TO:<hélène@mss-a.example>", "553 5.6.7")
	c.do("RSET", "250")
	c.do("MAIL FROM:<hélène@mss-a.example>", "553 5.6.7")
	c.do("MAIL FROM:<hélène@mss-a.example> SMTPUTF8", "553 5.6.7")
}

// A recipient is asked about with the size of the message, as far as it was announced.
func TestAnnouncedSizeIsAskedWithTheRecipient(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{})
	c := r.peer()
	for _, size := range []string{" SIZE=1234", ""} {
		c.do("MAIL FROM:<>"+size, "250")
		c.do("RCPT TO:<a.martin@mss-a.example>", "250")
		c.do("RSET", "250")
	}
	if got := r.h.announced; !slices.Equal(got, []int64{1234, 0}) {
		t.Errorf("announced: %v", got)
	}
}

func TestTooManyRecipients(t *testing.T) {
	r := start(t, smtpd.Submission, false, smtpd.Config{MaxRecipients: 2})
	c := r.user()
	c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
	c.do("RCPT TO:<a@mss-a.example>", "250")
	c.do("RCPT TO:<b@mss-a.example>", "250")
	c.do("RCPT TO:<c@mss-a.example>", "452 4.5.3 Trop de destinataires")
}

func TestSignIn(t *testing.T) {
	r := start(t, smtpd.Submission, false, smtpd.Config{})
	c := r.dial()
	c.want("greeting", "220")
	c.startTLS(nil)
	ehlo := c.do("EHLO poste", "250-mx.mss-a.example Hello poste")
	if !strings.Contains(ehlo, "AUTH PLAIN LOGIN\r\n") || strings.Contains(ehlo, "EXTERNAL") || strings.Contains(ehlo, "STARTTLS") || strings.Contains(ehlo, "BINARYMIME") {
		t.Errorf("EHLO: %q", ehlo)
	}
	c.do("HELO poste", "250 mx.mss-a.example Hello poste")
	c.do("MAIL FROM:<k.haddad@mss-a.example>", "530 5.7.0")
	c.do("AUTH PLAIN "+plain("", "k.haddad@mss-a.example", "faux"), "535 5.7.8 Identifiant")
	c.do("AUTH PLAIN "+plain("autre@mss-a.example", "k.haddad@mss-a.example", "SECRET-SECRET-SECRET"), "535 5.7.8")
	c.do("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("sans séparateur")), "501 5.5.4")
	c.do("AUTH CRAM-MD5", "501 5.5.4")
	c.do("AUTH EXTERNAL =", "501 5.5.4")
	c.do("AUTH LOGIN", "334 "+base64.StdEncoding.EncodeToString([]byte("Username:")))
	c.do(base64.StdEncoding.EncodeToString([]byte("k.haddad@mss-a.example")), "334 "+base64.StdEncoding.EncodeToString([]byte("Password:")))
	c.do(base64.StdEncoding.EncodeToString([]byte("SECRET-SECRET-SECRET")), "235 2")
	c.do("AUTH PLAIN "+plain("", "k.haddad@mss-a.example", "SECRET-SECRET-SECRET"), "503")
	c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
	c.do("RCPT TO:<b@mss-b.example>", "250")
	c.do("DATA", "354")
	c.send(letter + ".\r\n")
	c.want("message", "250")
	if m := r.h.messages(); len(m) != 1 || m[0].who.BAL != 7 {
		t.Errorf("messages %v", m)
	}
	for _, secret := range []string{"SECRET-SECRET-SECRET", "haddad", "faux"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func TestSignInVariants(t *testing.T) {
	r := start(t, smtpd.Submission, true, smtpd.Config{}) // 465
	c := r.dial()
	c.handshake(nil)
	c.want("greeting", "220")
	c.do("EHLO poste", "250")
	c.do("AUTH PLAIN", "334")
	c.do(plain("", "k.haddad@mss-a.example", "SECRET-SECRET-SECRET"), "235 2")

	c = r.dial()
	c.handshake(nil)
	c.want("greeting", "220")
	c.do("EHLO poste", "250")
	c.do("AUTH LOGIN "+base64.StdEncoding.EncodeToString([]byte("k.haddad@mss-a.example")), "334 UGFzc3dvcmQ6")
	c.do("*", "501")
	c.do("AUTH PLAIN "+plain("", strings.Repeat("x", 9000), "y"), "501 5.5.4")
	for range 3 {
		c.do("AUTH PLAIN "+plain("", "k.haddad@mss-a.example", "faux"), "535 5.7.8")
	}
	c.do("AUTH PLAIN "+plain("", "k.haddad@mss-a.example", "faux"), "535 5.7.8")
	c.do("AUTH PLAIN "+plain("", "k.haddad@mss-a.example", "faux"), "535 5.7.8")
	if got := c.reply(); !strings.HasPrefix(got, "421 4.7.0") {
		t.Errorf("after five failures: %q", got)
	}
}

func TestApplicationSignsInWithItsCertificate(t *testing.T) {
	r := start(t, smtpd.Submission, false, smtpd.Config{})
	labo := pki().Operators["a"].Clients["labo"]
	c := r.dial()
	c.want("greeting", "220")
	c.startTLS(&labo)
	if ehlo := c.do("EHLO labo", "250"); !strings.Contains(ehlo, "AUTH PLAIN LOGIN EXTERNAL") {
		t.Errorf("EHLO: %q", ehlo)
	}
	c.do("AUTH EXTERNAL "+base64.StdEncoding.EncodeToString([]byte("autre@mss-a.example")), "535 5.7.8")
	c.do("AUTH EXTERNAL =", "235 2")
	c.do("MAIL FROM:<labo@mss-a.example>", "250")

	c = r.dial()
	c.want("greeting", "220")
	c.startTLS(&demopki.KeyPair{Cert: pki().WebCert, Key: pki().WebKey}) // of another authority
	c.do("EHLO labo", "250")
	c.do("AUTH EXTERNAL =", "550 5.7.1 Certificat operateur refuse")
}

func TestConnectionLimits(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{MaxConnectionsPerSource: 2})
	a, b := r.dial(), r.dial()
	a.want("greeting", "220")
	b.want("greeting", "220")
	c := r.dial()
	c.want("third", "421 4.7.0 Trop de connexions")
	a.do("QUIT", "221")
	a.conn.Close()
	for range 100 { // the place comes back once the door has seen the end
		d := r.dial()
		if got := d.reply(); strings.HasPrefix(got, "220") {
			return
		}
	}
	t.Error("the place of a client that left is not given back")
}

func TestIdleClientIsSentAway(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{ReadTimeout: 50 * time.Millisecond})
	c := r.peer()
	if got := c.reply(); !strings.HasPrefix(got, "421 4.4.2 Delai d'inactivite") {
		t.Errorf("idle: %q", got)
	}
}

func TestGracefulStop(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{})
	fresh := r.dial()
	fresh.want("greeting", "220")
	idle := r.peer()
	sending := r.peer()
	sending.do("MAIL FROM:<a@mss-b.example>", "250")
	sending.do("RCPT TO:<b@mss-a.example>", "250")
	sending.do("DATA", "354")
	sending.send("Subject: en cours\r\n\r\n")
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	if got := idle.reply(); !strings.HasPrefix(got, "421 4.3.2 Le service redemarre") {
		t.Errorf("idle: %q", got)
	}
	if got := fresh.reply(); !strings.HasPrefix(got, "421 4.3.2") {
		t.Errorf("before TLS: %q", got)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a message in hand: %v", err)
	default:
	}
	sending.send("la fin\r\n.\r\n")
	sending.want("message in hand", "250 2.0.0")
	if got := sending.reply(); !strings.HasPrefix(got, "421 4.3.2") {
		t.Errorf("after the message: %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if m := r.h.messages(); len(m) != 1 || !strings.HasSuffix(m[0].body, "la fin\r\n") {
		t.Errorf("messages %v", m)
	}
	if _, err := net.Dial("tcp", r.addr); err == nil {
		t.Error("the listener still answers")
	}
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{StopTimeout: 100 * time.Millisecond})
	c := r.peer()
	c.do("MAIL FROM:<a@mss-b.example>", "250")
	c.do("RCPT TO:<b@mss-a.example>", "250")
	c.do("DATA", "354")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if n := len(r.h.messages()); n != 0 {
		t.Error("half a message was taken")
	}
}

func TestLostConnectionIsNotAMessage(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{})
	c := r.peer()
	c.do("MAIL FROM:<a@mss-b.example>", "250")
	c.do("RCPT TO:<b@mss-a.example>", "250")
	c.do("DATA", "354")
	c.send(letter)
	c.conn.Close()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(r.h.messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestOneEventPerTransactionWithoutPersons(t *testing.T) {
	r := start(t, smtpd.MX, false, smtpd.Config{})
	c := r.peer()
	c.do("MAIL FROM:<a.marque@mss-b.example>", "250")
	c.do("RCPT TO:<b.marque@mss-a.example>", "250")
	c.do("DATA", "354")
	c.send("Subject: marque\r\n\r\nmarque\r\n.\r\n")
	c.want("message", "250")
	c.do("MAIL FROM:<a.marque@mss-b.example>", "250")
	c.do("QUIT", "221")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	log := r.log.String()
	if strings.Contains(log, "marque") {
		t.Errorf("the log names people: %s", log)
	}
	if n := strings.Count(log, `"msg":"smtp: transaction"`); n != 2 || !strings.Contains(log, `"result":"accepted"`) || !strings.Contains(log, `"result":"aborted"`) {
		t.Errorf("%d events: %s", n, log)
	}
}
