package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"pli/certs"
	"pli/certs/demopki"
	"pli/fault"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mail"
	"pli/migrations"
)

var pki = sync.OnceValue(func() demopki.Paths {
	dir, err := os.MkdirTemp("", "pli-outbound")
	if err != nil {
		panic(err)
	}
	p, err := demopki.Write(dir, []demopki.Operator{
		{Name: "a", Organisation: "OPERATEUR A", FINESS: "990000001", Host: "mx.mss-a.example", Domains: []string{"mss-a.example"}},
		{Name: "b", Organisation: "OPERATEUR B", FINESS: "990000003", Host: "mx.mss-b.example", Domains: []string{"mss-b.example"}},
		{Name: "c", Organisation: "OPERATEUR C", FINESS: "990000004", Host: "mx.mss-c.example", Domains: []string{"mss-c.example"}},
	}, time.Now())
	if err != nil {
		panic(err)
	}
	return p
})

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(filepath.Dir(pki().Roots))
	os.Exit(code)
}

func trust(t testing.TB, operator string) *certs.Trust {
	t.Helper()
	p := pki()
	o := p.Operators[operator]
	tr, err := certs.Open(certs.Config{Roots: p.Roots, Intermediates: p.Intermediates, CRLs: p.CRLs, WhiteList: p.WhiteList,
		WhiteListSigners: []string{p.WhiteListSigner}, ServerCert: o.ServerCert, ServerKey: o.ServerKey}, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// peer is another operator's MX.
type peer struct {
	mu     sync.Mutex
	srv    *smtp.Server
	addr   string
	trust  *certs.Trust
	mail   func(from string, o *smtp.MailOptions) error
	rcpt   func(to string, o *smtp.RcptOptions) error
	data   func() error
	bodies []string
	froms  []smtp.MailOptions
	rcpts  map[string]smtp.RcptOptions
}

func newPeer(t testing.TB, operator string, change func(*smtp.Server)) *peer {
	t.Helper()
	p := &peer{trust: trust(t, operator), rcpts: map[string]smtp.RcptOptions{}}
	p.srv = smtp.NewServer(p)
	p.srv.Domain = "mx.mss-b.example"
	p.srv.TLSConfig = p.trust.MXServer()
	p.srv.EnableDSN, p.srv.EnableSMTPUTF8 = true, true
	p.srv.MaxLineLength = 1 << 20
	p.srv.ErrorLog = silent{}
	if change != nil {
		change(p.srv)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	go func() { _ = p.srv.Serve(ln) }()
	t.Cleanup(func() { p.srv.Close() })
	return p
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

func (p *peer) NewSession(c *smtp.Conn) (smtp.Session, error) { return &peerSession{p, c}, nil }

type peerSession struct {
	p *peer
	c *smtp.Conn
}

func (s *peerSession) Reset()        {}
func (s *peerSession) Logout() error { return nil }
func (s *peerSession) Mail(from string, o *smtp.MailOptions) error {
	cs, ok := s.c.TLSConnectionState()
	if !ok {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "TLS"}
	}
	if domains, err := s.p.trust.PeerDomains(cs); err != nil || len(domains) != 1 || domains[0] != "mss-a.example" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "certificat operateur refuse"}
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.froms = append(s.p.froms, *o)
	if s.p.mail != nil {
		return s.p.mail(from, o)
	}
	return nil
}
func (s *peerSession) Rcpt(to string, o *smtp.RcptOptions) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.rcpts[to] = *o
	if s.p.rcpt != nil {
		return s.p.rcpt(to, o)
	}
	return nil
}
func (s *peerSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.data != nil {
		if err := s.p.data(); err != nil {
			return err
		}
	}
	s.p.bodies = append(s.p.bodies, string(b))
	return nil
}

func (p *peer) got() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.bodies...)
}

// letters is a stand-in for seal and blob: it turns bits over.
type letters struct {
	sent    func() // content was sent
	content string
	broken  bool
	closed  atomic.Int32
}

func turn(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= 0xff
	}
	return out
}

func (l *letters) Open(_ context.Context, _ id.Letter, generation int, packet []byte) (Letter, error) {
	if generation != 3 || string(packet) != "paquet" {
		return nil, fault.New(fault.Corrupt, "letters.Open", "packet")
	}
	return l, nil
}
func (l *letters) OpenValue(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != 's' {
		return nil, errors.New("not sealed")
	}
	return turn(b[1:]), nil
}
func (l *letters) SealValue(b []byte) ([]byte, error) { return seal(string(b)), nil }
func (l *letters) Content(context.Context) (io.ReadCloser, error) {
	r := io.Reader(strings.NewReader(l.content))
	if l.broken {
		r = io.MultiReader(r, failing{})
	}
	return sent{r, l.sent}, nil
}
func (l *letters) Close() { l.closed.Add(1) }

// sent is a content that says when it was sent.
type sent struct {
	io.Reader
	f func()
}

func (s sent) Close() error {
	if s.f != nil {
		s.f()
	}
	return nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("integrity") }

func seal(s string) []byte { return append([]byte("s"), turn([]byte(s))...) }

// notices keeps reports.
type notices struct {
	mu      sync.Mutex
	reports []Report
	header  string
	fail    error
}

func (n *notices) DSN(ctx context.Context, r Report) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != nil {
		return n.fail
	}
	rc, err := r.Original(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	n.header = string(b)
	n.reports = append(n.reports, r)
	return err
}

func (n *notices) all() []Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Report(nil), n.reports...)
}

type house struct {
	t       *testing.T
	db      *pg.DB
	q       *Queue
	letters *letters
	notices *notices
	log     *bytes.Buffer
	skew    time.Duration
}

func newHouse(t *testing.T, routes map[string]string) *house {
	t.Helper()
	return newHouseOn(t, pgtest.DB(t), routes)
}

func newHouseOn(t *testing.T, db *pg.DB, routes map[string]string) *house {
	t.Helper()
	h := &house{t: t, db: db, letters: &letters{content: "Subject: marque\r\n\r\n.un point\r\nBonjour\r\n"}, notices: &notices{}, log: &bytes.Buffer{}}
	h.q = New(Deps{DB: h.db, Jobs: job.New(h.db, slog.New(slog.DiscardHandler)), Letters: h.letters, Notices: h.notices, Trust: trust(t, "a"),
		Resolver: resolver{}, Log: slog.New(slog.NewJSONHandler(h.log, nil)), Now: func() time.Time { return time.Now().Add(h.skew) },
		Config: Config{Hostname: "mx.mss-a.example", Routes: routes, FirstRetry: time.Minute, Timeout: 5 * time.Second}})
	return h
}

type resolver struct{}

func (resolver) LookupMX(_ context.Context, domain string) ([]*net.MX, error) {
	switch domain {
	case "mss-c.example":
		return []*net.MX{{Host: "."}}, nil
	case "mss-a.example":
		return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	}
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

func (resolver) LookupHost(context.Context, string) ([]string, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

func to(s string) ItemRecipient { return ItemRecipient{Address: seal(s)} }

// send queues one letter and returns its row.
func (h *house) send(domain, from string, rcpts ...ItemRecipient) int64 {
	h.t.Helper()
	letter := id.New()
	ctx := h.t.Context()
	if _, err := h.db.Exec(ctx, `INSERT INTO letter (id, size, sealed_size, sealed_sha256, outline) VALUES ($1, 1, 1, '', '')`, letter); err != nil {
		h.t.Fatal(err)
	}
	err := h.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		return h.q.EnqueueTx(ctx, tx, Item{Letter: letter, Generation: 3, Packet: []byte("paquet"), Domain: domain, ReversePath: seal(from),
			EnvelopeID: seal("env-1"), Size: 41, Recipients: rcpts, At: h.q.d.Now()})
	})
	if err != nil {
		h.t.Fatal(err)
	}
	var n int64
	if err := h.db.QueryRow(ctx, `SELECT id FROM outbound WHERE letter_id = $1`, letter).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// run does one pass and reports whether the item is done.
func (h *house) run(n int64) bool {
	h.t.Helper()
	if err := h.q.run(h.t.Context(), relayJob{n}); err != nil && err.Error() != "job: again" {
		h.t.Fatal(err)
	}
	return h.done(n)
}

func (h *house) done(n int64) (done bool) {
	h.t.Helper()
	var packet []byte
	if err := h.db.QueryRow(h.t.Context(), `SELECT done_at IS NOT NULL, packet FROM outbound WHERE id = $1`, n).Scan(&done, &packet); err != nil {
		h.t.Fatal(err)
	}
	if done != (len(packet) == 0) {
		h.t.Errorf("done %v with a packet of %d octets", done, len(packet))
	}
	return done
}

func (h *house) row(n int64, i int) (state, enhanced string, code, attempts int) {
	h.t.Helper()
	if err := h.db.QueryRow(h.t.Context(), `SELECT state, enhanced, reply_code, attempts FROM outbound_recipient WHERE outbound_id = $1 AND n = $2`,
		n, i).Scan(&state, &enhanced, &code, &attempts); err != nil {
		h.t.Fatal(err)
	}
	return
}

func (h *house) wantRow(n int64, i int, state, enhanced string) {
	h.t.Helper()
	if s, e, _, _ := h.row(n, i); s != state || e != enhanced {
		h.t.Errorf("recipient %d: %s %s, want %s %s", i, s, e, state, enhanced)
	}
}

func refusal(code int, e smtp.EnhancedCode, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: e, Message: text}
}

func TestLetterReachesItsPeer(t *testing.T) {
	p := newPeer(t, "b", nil)
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example",
		ItemRecipient{Address: seal("a@mss-b.example"), Original: seal("autre@mss-b.example"), Notify: mail.NotifySuccess | mail.NotifyDelay},
		to("b@mss-b.example"))
	if !h.run(n) {
		t.Fatal("not done")
	}
	if got := p.got(); len(got) != 1 || got[0] != h.letters.content {
		t.Errorf("the peer has %q", got)
	}
	if o := p.froms[0]; o.EnvelopeID != "env-1" || o.Return != smtp.DSNReturnHeaders || o.UTF8 || o.Size != 41 || o.Body != smtp.Body8BitMIME {
		t.Errorf("MAIL parameters %+v", o)
	}
	if o := p.rcpts["a@mss-b.example"]; o.OriginalRecipient != "autre@mss-b.example" || len(o.Notify) != 2 {
		t.Errorf("RCPT parameters %+v", o)
	}
	if o := p.rcpts["b@mss-b.example"]; len(o.Notify) != 0 || o.OriginalRecipient != "" {
		t.Errorf("RCPT parameters %+v", o)
	}
	h.wantRow(n, 0, "delivered", "2.0.0")
	if r := h.notices.all(); len(r) != 0 {
		t.Errorf("the peer makes success reports itself: %+v", r)
	}
	if h.letters.closed.Load() != 1 {
		t.Error("the letter's key stays open")
	}
	for _, mark := range []string{"marque", "haddad", "mss-b.example"} {
		if strings.Contains(h.log.String(), mark) {
			t.Errorf("the log holds %q", mark)
		}
	}
	if err := h.q.run(t.Context(), relayJob{n}); err != nil || len(p.got()) != 1 {
		t.Errorf("a done item ran again: %v", err)
	}
}

func TestRelayedReportWhenThePeerMakesNone(t *testing.T) {
	p := newPeer(t, "b", func(s *smtp.Server) { s.EnableDSN = false })
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example",
		ItemRecipient{Address: seal("a@mss-b.example"), Notify: mail.NotifySuccess}, to("b@mss-b.example"))
	if !h.run(n) {
		t.Fatal("not done")
	}
	r := h.notices.all()
	if len(r) != 1 || r[0].Action != Relayed || len(r[0].Recipients) != 1 || r[0].Recipients[0].Final != mail.MustAddress("a@mss-b.example") ||
		r[0].Recipients[0].Status != "2.0.0" {
		t.Errorf("reports %+v", r)
	}
}

func TestDeferredThenDelivered(t *testing.T) {
	p := newPeer(t, "b", nil)
	p.rcpt = func(to string, _ *smtp.RcptOptions) error {
		if strings.HasPrefix(to, "plein") {
			return refusal(452, smtp.EnhancedCode{4, 2, 2}, "boite pleine")
		}
		return nil
	}
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"), to("plein@mss-b.example"))
	if h.run(n) {
		t.Fatal("done too early")
	}
	h.wantRow(n, 0, "delivered", "2.0.0")
	h.wantRow(n, 1, "queued", "4.2.2")
	if h.run(n); len(p.got()) != 1 {
		t.Error("an attempt before its time")
	}
	p.mu.Lock()
	p.rcpt = nil
	p.rcpts = map[string]smtp.RcptOptions{}
	p.mu.Unlock()
	h.skew = 2 * time.Minute
	if !h.run(n) {
		t.Fatal("not done after the second attempt")
	}
	if _, again := p.rcpts["a@mss-b.example"]; again || len(p.got()) != 2 {
		t.Error("who had the letter got it again")
	}
	if _, _, _, attempts := h.row(n, 1); attempts != 2 {
		t.Errorf("%d attempts", attempts)
	}
}

func TestRefusedIsReported(t *testing.T) {
	p := newPeer(t, "b", nil)
	p.rcpt = func(to string, _ *smtp.RcptOptions) error {
		if !strings.HasPrefix(to, "a@") {
			return refusal(550, smtp.EnhancedCode{5, 1, 1}, "adresse\tinconnue")
		}
		return nil
	}
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"),
		ItemRecipient{Address: seal("x@mss-b.example"), Original: seal("xx@mss-b.example")},
		ItemRecipient{Address: seal("y@mss-b.example"), Notify: mail.NotifyNever},
		ItemRecipient{Address: seal("z@mss-b.example"), Notify: mail.NotifySuccess}, to("w@mss-b.example"))
	if !h.run(n) {
		t.Fatal("not done")
	}
	r := h.notices.all()
	if len(r) != 1 || r[0].Action != Failed || r[0].To != mail.MustAddress("k.haddad@mss-a.example") || r[0].EnvelopeID != "env-1" || len(r[0].Recipients) != 2 {
		t.Fatalf("reports %+v", r)
	}
	got := r[0].Recipients[0]
	if got.Final != mail.MustAddress("x@mss-b.example") || got.Original != "xx@mss-b.example" || got.Status != "5.1.1" ||
		got.Diagnostic != "550 5.1.1 adresse inconnue" || got.RemoteMTA != "127.0.0.1" || got.LastTryAt.IsZero() {
		t.Errorf("recipient %+v", got)
	}
	if h.notices.header != h.letters.content {
		t.Errorf("the report can quote %q", h.notices.header)
	}
}

func TestNoReportToTheNullPath(t *testing.T) {
	p := newPeer(t, "b", nil)
	p.rcpt = func(string, *smtp.RcptOptions) error { return refusal(550, smtp.EnhancedCode{5, 1, 1}, "inconnue") }
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "", ItemRecipient{Address: seal("x@mss-b.example"), Notify: mail.NotifyFailure})
	if !h.run(n) || len(h.notices.all()) != 0 {
		t.Error("a report about a report")
	}
}

func TestRefusalsOfTheWholeMessage(t *testing.T) {
	db := pgtest.DB(t)
	for name, c := range map[string]struct {
		set      func(*peer)
		state    string
		enhanced string
	}{
		"MAIL 4xx": {func(p *peer) {
			p.mail = func(string, *smtp.MailOptions) error { return refusal(451, smtp.EnhancedCode{4, 7, 1}, "plus tard") }
		}, "queued", "4.7.1"},
		"MAIL 5xx": {func(p *peer) {
			p.mail = func(string, *smtp.MailOptions) error { return refusal(552, smtp.EnhancedCode{5, 3, 4}, "trop grand") }
		}, "failed", "5.3.4"},
		"DATA 5xx":          {func(p *peer) { p.data = func() error { return refusal(554, smtp.EnhancedCode{5, 7, 0}, "virus") } }, "failed", "5.7.0"},
		"DATA 4xx":          {func(p *peer) { p.data = func() error { return refusal(451, smtp.EnhancedCode{4, 3, 0}, "panne") } }, "queued", "4.3.0"},
		"no enhanced code":  {func(p *peer) { p.data = func() error { return refusal(554, smtp.NoEnhancedCode, "non") } }, "failed", "5.0.0"},
		"size said at MAIL": {func(p *peer) { p.srv.MaxMessageBytes = 10 }, "failed", "5.3.4"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, "b", nil)
			c.set(p)
			h := newHouseOn(t, db, map[string]string{"mss-b.example": p.addr})
			n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"))
			if h.run(n) != (c.state == "failed") {
				t.Error("done?")
			}
			h.wantRow(n, 0, c.state, c.enhanced)
			if want := c.state == "failed"; (len(h.notices.all()) == 1) != want {
				t.Errorf("%d reports", len(h.notices.all()))
			}
		})
	}
}

// TestNothingGoesOutWithoutProof: TLS is required and the peer must be who the white
// list says. All this is temporary, and nothing of the letter has been said.
func TestNothingGoesOutWithoutProof(t *testing.T) {
	db := pgtest.DB(t)
	web, err := tls.LoadX509KeyPair(pki().WebCert, pki().WebKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		operator string
		change   func(*smtp.Server)
		text     string
	}{
		"no STARTTLS":          {"b", func(s *smtp.Server) { s.TLSConfig = nil }, "does not offer TLS"},
		"another operator":     {"c", nil, "(peer-not-listed)"},
		"a public certificate": {"b", func(s *smtp.Server) { s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{web}} }, "(peer-unknown-authority)"},
		"old TLS": {"b", func(s *smtp.Server) {
			s.TLSConfig.MaxVersion = tls.VersionTLS11
			s.TLSConfig.MinVersion = tls.VersionTLS10
		}, "(handshake)"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, c.operator, c.change)
			h := newHouseOn(t, db, map[string]string{"mss-b.example": p.addr})
			n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"))
			if h.run(n) {
				t.Error("done")
			}
			h.wantRow(n, 0, "queued", "4.7.10")
			if len(p.froms) != 0 {
				t.Error("the envelope was told to a stranger")
			}
			var text []byte
			if err := h.db.QueryRow(t.Context(), `SELECT reply_text FROM outbound_recipient WHERE outbound_id = $1`, n).Scan(&text); err != nil {
				t.Fatal(err)
			}
			if said, err := h.letters.OpenValue(text); err != nil || !strings.Contains(string(said), c.text) {
				t.Errorf("it says %q, %v", said, err)
			}
			h.skew = 49 * time.Hour
			if !h.run(n) {
				t.Error("not given up after 48 h")
			}
			r := h.notices.all()
			if len(r) != 1 || r[0].Recipients[0].Status != "5.7.10" || !strings.Contains(r[0].Recipients[0].Diagnostic, c.text) {
				t.Errorf("reports %+v", r)
			}
		})
	}
}

func TestPeerThatTakesSoManyAtATime(t *testing.T) {
	p := newPeer(t, "b", func(s *smtp.Server) { s.MaxRecipients = 2 })
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	var rcpts []ItemRecipient
	for i := range 5 {
		rcpts = append(rcpts, to(fmt.Sprintf("r%d@mss-b.example", i)))
	}
	n := h.send("mss-b.example", "k.haddad@mss-a.example", rcpts...)
	for range 2 { // no pause: the rest is due at once
		if h.run(n) {
			t.Fatal("done too early")
		}
	}
	if !h.run(n) || len(p.got()) != 3 || len(p.rcpts) != 5 {
		t.Errorf("%d letters for %d recipients", len(p.got()), len(p.rcpts))
	}
}

// A peer that takes so many at a time, and puts the message off, was called again at
// once, for two days.
func TestPeerThatTakesSomeAndPutsOff(t *testing.T) {
	p := newPeer(t, "b", func(s *smtp.Server) { s.MaxRecipients = 1 })
	p.data = func() error { return refusal(451, smtp.EnhancedCode{4, 3, 0}, "plus tard") }
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"), to("b@mss-b.example"))
	h.run(n)
	var next time.Time
	if err := h.db.QueryRow(t.Context(), `SELECT next_at FROM outbound WHERE id = $1`, n).Scan(&next); err != nil {
		t.Fatal(err)
	}
	if h.wantRow(n, 1, "queued", "4.5.3"); time.Until(next) < 30*time.Second {
		t.Errorf("tried again in %v", time.Until(next))
	}
}

func TestHeaderBeyondASCIIAsksForSMTPUTF8(t *testing.T) {
	for content, want := range map[string]bool{"Subject: \u00e9\r\n\r\nx\r\n": true, "Subject: e\r\n\r\n\u00e9\r\n": false} {
		p := newPeer(t, "b", nil)
		h := newHouse(t, map[string]string{"mss-b.example": p.addr})
		h.letters.content = content
		if !h.run(h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"))) || p.froms[0].UTF8 != want {
			t.Errorf("%q: SMTPUTF8 %v", content, p.froms[0].UTF8)
		}
	}
}

func TestWhereItCannotGo(t *testing.T) {
	db := pgtest.DB(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	ln.Close()
	for name, c := range map[string]struct {
		domain, state, enhanced string
		routes                  map[string]string
	}{
		"outside the trusted circle": {"dehors.example", "failed", "5.1.2", nil},
		"null MX":                    {"mss-c.example", "failed", "5.1.10", nil},
		"DNS away":                   {"mss-a.example", "queued", "4.4.3", nil},
		"no such name":               {"mss-b.example", "failed", "5.1.2", nil},
		"nobody answers":             {"mss-b.example", "queued", "4.4.1", map[string]string{"mss-b.example": closed}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouseOn(t, db, c.routes)
			n := h.send(c.domain, "k.haddad@mss-a.example", to("a@"+c.domain))
			h.run(n)
			h.wantRow(n, 0, c.state, c.enhanced)
		})
	}
}

func TestWaitingIsToldThenGivenUp(t *testing.T) {
	p := newPeer(t, "b", nil)
	p.rcpt = func(string, *smtp.RcptOptions) error { return refusal(450, smtp.EnhancedCode{4, 2, 1}, "occupee") }
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"), ItemRecipient{Address: seal("b@mss-b.example"), Notify: mail.NotifyFailure})
	for _, at := range []time.Duration{0, 3 * time.Hour} {
		if h.skew = at; h.run(n) || len(h.notices.all()) != 0 {
			t.Fatalf("at %v: %+v", at, h.notices.all())
		}
	}
	h.skew = 5 * time.Hour
	h.run(n)
	r := h.notices.all()
	if len(r) != 1 || r[0].Action != Delayed || len(r[0].Recipients) != 1 || r[0].Recipients[0].Status != "4.2.1" || !r[0].RetryAt.After(r[0].At) || !r[0].GiveUpAt.After(r[0].RetryAt) {
		t.Fatalf("delay: %+v", r)
	}
	h.skew = 8 * time.Hour
	if h.run(n); len(h.notices.all()) != 1 {
		t.Error("a delay is told once")
	}
	h.skew = 48*time.Hour + time.Minute
	if !h.run(n) {
		t.Fatal("not given up")
	}
	if r = h.notices.all(); len(r) != 2 || r[1].Action != Failed || len(r[1].Recipients) != 2 || r[1].Recipients[0].Status != "5.4.7" ||
		r[1].Recipients[0].Diagnostic != "450 5.4.7 occupee" {
		t.Errorf("end: %+v", r[1:])
	}
}

func TestBrokenLetterIsNeverHalfDelivered(t *testing.T) {
	p := newPeer(t, "b", nil)
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	h.letters.broken = true
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"))
	h.run(n)
	h.wantRow(n, 0, "queued", "4.3.0")
	if len(p.got()) != 0 {
		t.Error("the peer has half a letter")
	}
}

// TestReportLostBeforeItsMark: the process dies between the report and its mark.
func TestReportLostBeforeItsMark(t *testing.T) {
	p := newPeer(t, "b", nil)
	p.rcpt = func(string, *smtp.RcptOptions) error { return refusal(550, smtp.EnhancedCode{5, 1, 1}, "inconnue") }
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"))
	h.notices.fail = fault.New(fault.Unavailable, "notices", "down")
	if err := h.q.run(t.Context(), relayJob{n}); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("run: %v", err)
	}
	if h.done(n) {
		t.Fatal("done without its report")
	}
	h.notices.fail = nil
	if !h.run(n) {
		t.Fatal("not done")
	}
	if _, err := h.db.Exec(t.Context(), `UPDATE outbound SET done_at = NULL, packet = 'paquet' WHERE id = $1`, n); err != nil {
		t.Fatal(err)
	}
	if _, err := h.db.Exec(t.Context(), `UPDATE outbound_recipient SET end_told = false WHERE outbound_id = $1`, n); err != nil {
		t.Fatal(err)
	}
	if !h.run(n) {
		t.Fatal("not done")
	}
	r := h.notices.all()
	if len(r) != 2 || r[0].ID != r[1].ID || r[0].ID == "" {
		t.Errorf("a repeated report bears the same ID: %+v", r)
	}
	if len(p.froms) != 1 {
		t.Errorf("%d attempts at a settled recipient", len(p.froms))
	}
}

// A second recipient that failed after a first report, whose mark was lost, was taken for
// told: the report made again bore the first one's ID.
func TestReportWithOneMoreIsAnother(t *testing.T) {
	p := newPeer(t, "b", nil)
	code := 450
	p.rcpt = func(to string, _ *smtp.RcptOptions) error {
		if strings.HasPrefix(to, "b@") {
			return refusal(code, smtp.EnhancedCode{code / 100, 1, 1}, "inconnue")
		}
		return refusal(550, smtp.EnhancedCode{5, 1, 1}, "inconnue")
	}
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"), to("b@mss-b.example"))
	h.run(n)
	if _, err := h.db.Exec(t.Context(), `UPDATE outbound_recipient SET end_told = false WHERE outbound_id = $1 AND n = 0`, n); err != nil {
		t.Fatal(err)
	}
	code, h.skew = 550, time.Hour
	if !h.run(n) {
		t.Fatal("not done")
	}
	r := h.notices.all()
	if len(r) != 2 || len(r[1].Recipients) != 2 || r[0].ID == r[1].ID {
		t.Errorf("reports: %+v", r)
	}
}

// A worker stopped between the peer's 250 and the commit forgot it, and the letter went
// out a second time.
func TestStoppedRightAfterDelivery(t *testing.T) {
	p := newPeer(t, "b", nil)
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"))
	ctx, stop := context.WithCancel(t.Context())
	h.letters.sent = stop
	if err := h.q.run(ctx, relayJob{n}); !errors.Is(err, context.Canceled) {
		t.Fatalf("run: %v", err)
	}
	h.letters.sent, h.skew = nil, time.Hour
	if !h.run(n) || len(p.got()) != 1 {
		t.Errorf("the peer got it %d times", len(p.got()))
	}
}

func TestOneWorkerAtATime(t *testing.T) {
	p := newPeer(t, "b", nil)
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"))
	ctx := t.Context()
	if it, _, err := h.q.claim(ctx, n); err != nil || it == nil {
		t.Fatal(err)
	}
	if err := h.q.run(ctx, relayJob{n}); err == nil || err.Error() != "job: again" {
		t.Errorf("a second worker: %v", err)
	}
	h.skew = leaseTime + time.Second // the first one died
	if !h.run(n) || len(p.got()) != 1 {
		t.Error("nobody took over")
	}
}

func TestSweepFindsTheLostAndForgetsTheOld(t *testing.T) {
	h := newHouse(t, nil)
	n := h.send("mss-b.example", "k.haddad@mss-a.example", to("a@mss-b.example"))
	jobs := func() (c int) {
		if err := h.db.QueryRow(t.Context(), `SELECT count(*) FROM `+migrations.JobSchema+`.river_job WHERE kind = 'outbound.relay'`).Scan(&c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	h.skew = 30 * time.Minute
	if err := h.q.sweep(t.Context(), sweepJob{}); err != nil || jobs() != 1 {
		t.Errorf("%d jobs for a letter that has one, %v", jobs(), err)
	}
	if _, err := h.db.Exec(t.Context(), `DELETE FROM `+migrations.JobSchema+`.river_job`); err != nil {
		t.Fatal(err)
	}
	if err := h.q.sweep(t.Context(), sweepJob{}); err != nil || jobs() != 1 {
		t.Errorf("%d jobs for a lost letter, %v", jobs(), err)
	}
	if all, overdue, err := h.q.Waiting(t.Context()); err != nil || all != 1 || overdue != 0 {
		t.Errorf("waiting %d, overdue %d, %v", all, overdue, err)
	}
	h.skew = 3 * time.Hour
	if _, overdue, err := h.q.Waiting(t.Context()); err != nil || overdue != 1 {
		t.Errorf("overdue %d, %v", overdue, err)
	}
	h.skew = 49 * time.Hour
	if !h.run(n) {
		t.Fatal("not done")
	}
	h.skew += forgetAfter + time.Hour
	if err := h.q.sweep(t.Context(), sweepJob{}); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := h.db.QueryRow(t.Context(), `SELECT count(*) FROM outbound`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows left, %v", left, err)
	}
}

// TestWorkersCarryTheQueue goes through the real job queue, 4xx first.
func TestWorkersCarryTheQueue(t *testing.T) {
	p := newPeer(t, "b", nil)
	tried := map[string]int{}
	p.rcpt = func(to string, _ *smtp.RcptOptions) error {
		if tried[to]++; tried[to] == 1 {
			return refusal(451, smtp.EnhancedCode{4, 3, 0}, "encore")
		}
		return nil
	}
	h := newHouse(t, map[string]string{"mss-b.example": p.addr})
	h.q.cfg.FirstRetry = 10 * time.Millisecond
	var ns []int64
	for i := range 5 {
		ns = append(ns, h.send("mss-b.example", "k.haddad@mss-a.example", to(fmt.Sprintf("r%d@mss-b.example", i))))
	}
	w := job.NewWorkers()
	h.q.Handle(w)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- h.q.d.Jobs.Run(ctx, w) }()
	for _, n := range ns {
		for !h.done(n) && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(p.got()) != 5 {
		t.Errorf("%d letters", len(p.got()))
	}
}

func TestPauses(t *testing.T) {
	q := New(Deps{Trust: nil, Config: Config{}})
	for n, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 50: time.Hour} {
		if got := q.pause(n); got < want*9/10 || got > want*11/10 {
			t.Errorf("pause(%d) = %v, about %v", n, got, want)
		}
	}
}

func TestStatements(t *testing.T) {
	db := pgtest.DB(t)
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{sqlInsert, sqlInsertRecipient, sqlClaim, sqlIsDone, sqlRenew, sqlRelease, sqlRecipients, sqlSettleRecipient, sqlSettle,
		sqlDelayTold, sqlEndTold, sqlFinish, sqlStuck, sqlForgetRecipients, sqlForget, sqlWaiting} {
		if _, err := conn.Conn().Prepare(t.Context(), "", sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// nobody is a white list in which all are listed and none can prove it.
type nobody struct{}

func (nobody) MayRelay(string) error { return nil }
func (nobody) Relay(string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "mx.mss-b.example"}
}
