package imapd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"pli/codec/message"
	"pli/directory"
	"pli/fault"
	"pli/identity"
	"pli/internal/blob"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/internal/wake"
	"pli/mail"
	"pli/mailstore"
	"pli/pipeline"
	"pli/policy"
	"pli/seal"
)

// patience bounds waits that should be over in milliseconds.
const patience = 20 * time.Second

const (
	address  = "anne.martin@mss-a.example"
	password = "K7QXM-2D9PA-WW3TE-81HCN"
)

// house is a door with real rooms behind it: PostgreSQL, seal, blobs, Redis's stand-in.
// Identity, gate and directory are small and say what the test wants.
type house struct {
	t      testing.TB
	db     *pg.DB
	seal   *seal.Service
	mail   *mailstore.Store
	blobs  blob.Store
	dir    string // of the blobs
	redis  *miniredis.Miniredis
	bus    *wake.Bus // of "another process": the door has its own
	bal    id.BAL
	holder id.Holder
	pub    seal.Public
	log    *safeBuffer
	clear  string // address of the listener in clear
	secure string // address of the one under TLS
	server *Server
	stop   context.CancelFunc
	served chan error

	deny      atomic.Pointer[fault.Error]
	suspended atomic.Bool // since sign-in
	unable    atomic.Bool // to decide
	readOnly  bool
	later     atomic.Int64 // how much later than it is the door believes it to be
}

func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.later.Load())) }

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (h *house) Do(ctx context.Context, _ []policy.Question, act func(context.Context, *pg.Tx, []policy.Decision) error) error {
	if err := h.deny.Load(); err != nil {
		return err
	}
	d := policy.Decision{Effect: policy.Permit, Obligations: []policy.Obligation{policy.Trace}}
	if h.readOnly {
		d.Obligations = append(d.Obligations, policy.ReadOnly)
	}
	return h.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error { return act(ctx, tx, []policy.Decision{d}) })
}

func (h *house) Ask(context.Context, policy.Question) (policy.Decision, error) {
	if h.unable.Load() {
		return policy.Decision{}, fault.New(fault.Unavailable, "gate.Ask", "database")
	}
	if h.deny.Load() != nil {
		return policy.Decision{Effect: policy.Deny, Reasons: []policy.Reason{{Rule: "test"}}}, nil
	}
	if h.suspended.Load() {
		return policy.Decision{Effect: policy.Permit, Obligations: []policy.Obligation{policy.Trace, policy.ReadOnly}}, nil
	}
	return policy.Decision{Effect: policy.Permit}, nil
}

func (h *house) ByID(_ context.Context, _ pg.Querier, b id.BAL) (directory.BAL, error) {
	return directory.BAL{ID: b, Holder: h.holder}, nil
}

func (h *house) AppPassword(_ context.Context, a, secret, _ string) (identity.SignIn, error) {
	switch {
	case secret == "too-often":
		return identity.SignIn{}, fault.New(fault.RateLimited, "identity.AppPassword", "")
	case a == address && secret == password:
		return identity.SignIn{Account: 1, BAL: h.bal, Means: identity.ByAppPassword}, nil
	}
	return identity.SignIn{}, fault.New(fault.WrongSecret, "identity.AppPassword", "")
}

func (h *house) Certificate(_ context.Context, a string, c *x509.Certificate) (identity.SignIn, error) {
	if a != "" && a != address || c.Subject.CommonName != "labo" {
		return identity.SignIn{}, fault.New(fault.WrongSecret, "identity.Certificate", "")
	}
	return identity.SignIn{Account: 2, BAL: h.bal, Means: identity.ByCertificate}, nil
}

// Store files as the pipeline does, without its walk.
func (h *house) Store(_ context.Context, req pipeline.StoreRequest, r io.Reader) (mailstore.Placed, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return mailstore.Placed{}, err
	}
	return h.file(string(raw), mailstore.Deposit{BAL: req.BAL, Mailbox: req.Mailbox, Flags: req.Flags, Keywords: req.Keywords, ReceivedAt: req.ReceivedAt})
}

func (h *house) in(f func(ctx context.Context, tx *pg.Tx) error) {
	h.t.Helper()
	if err := h.db.InTx(context.Background(), f); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// newHouse starts a door on two listeners.
func newHouse(t testing.TB, change ...func(*Config)) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{t: t, db: pgtest.DB(t), dir: filepath.Join(dir, "blobs"), log: &safeBuffer{}, served: make(chan error, 2)}
	h.check(errors.Join(seal.NewKeyFile(filepath.Join(dir, "operator.key")), seal.NewIndexFile(filepath.Join(dir, "index.key"))))
	custodian, err := seal.OpenKeyFiles(filepath.Join(dir, "operator.key"))
	h.check(err)
	index, err := seal.OpenIndex(filepath.Join(dir, "index.key"))
	h.check(err)
	h.seal, h.mail = seal.New(h.db, custodian), mailstore.New(h.db, index)
	h.blobs, err = blob.OpenFiles(h.dir)
	h.check(err)
	h.in(func(ctx context.Context, tx *pg.Tx) (err error) {
		if h.holder, err = h.seal.CreateHolderTx(ctx, tx, seal.PurposeBAL); err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `INSERT INTO bal (address_key, address, kind, state, holder_id) VALUES ('k', $1, 'PER', 'active', $2) RETURNING id`,
			address, int64(h.holder)).Scan(&h.bal)
		if err != nil {
			return err
		}
		return h.mail.CreateStandardTx(ctx, tx, h.bal, time.Now())
	})
	h.pub, err = h.seal.Public(context.Background(), h.holder)
	h.check(err)
	h.redis = miniredis.RunT(t)
	h.bus = h.newBus()
	h.serve(dir, change)
	return h
}

func (h *house) newBus() *wake.Bus {
	b, err := wake.Open(context.Background(), wake.Config{URL: "redis://" + h.redis.Addr()}, slog.New(slog.DiscardHandler))
	h.check(err)
	h.t.Cleanup(func() { _ = b.Close() })
	return b
}

func (h *house) serve(dir string, change []func(*Config)) {
	var c Config
	for _, f := range change {
		f(&c)
	}
	log := slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	reader := pipeline.NewReader(pipeline.ReaderDeps{DB: h.db, Mail: h.mail, Gate: h, Boxes: h, Seal: h.seal, Blobs: h.blobs, SpoolDir: dir, Log: log})
	h.server = New(Deps{
		DB: h.db, Mail: h.mail, SignIn: h, Reader: reader, Filer: h, Wake: h.newBus(), TLS: serverTLS(h.t), Log: log, Now: h.now,
		VerifyClient: func(cs tls.ConnectionState) (*x509.Certificate, error) {
			if len(cs.PeerCertificates) == 0 {
				return nil, fault.New(fault.Untrusted, "certs.VerifyClient", "no-certificate")
			}
			return cs.PeerCertificates[0], nil
		},
	}, c)
	h.server.watchEvery = 50 * time.Millisecond // the door's clock is the test's, its ticks are real
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	clear, err := net.Listen("tcp", "127.0.0.1:0")
	h.check(err)
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	h.check(err)
	h.clear, h.secure = clear.Addr().String(), secure.Addr().String()
	var doors sync.WaitGroup
	doors.Go(func() { h.served <- h.server.Serve(ctx, clear) })
	doors.Go(func() { h.served <- h.server.ServeTLS(ctx, secure) })
	h.t.Cleanup(func() {
		cancel()
		h.server.each((*guard).kill)
		doors.Wait()
	})
}

// seal seals a body as the pipeline does.
func (h *house) sealed(raw string) (mailstore.Letter, seal.Packet) {
	h.t.Helper()
	k, err := seal.NewSessionKey()
	h.check(err)
	defer k.Clear()
	name := id.New()
	w, err := h.blobs.Create(context.Background(), name)
	h.check(err)
	body, err := k.SealTo(w)
	h.check(err)
	_, err = io.WriteString(body, raw)
	h.check(errors.Join(err, body.Close(), w.Commit()))
	out, err := message.Scan(strings.NewReader(raw), message.Limits{})
	h.check(err)
	outline, err := k.SealValue(out.Marshal())
	h.check(err)
	packet, err := k.PacketFor(h.pub)
	h.check(err)
	return mailstore.Letter{ID: name, Size: int64(len(raw)), SealedSize: body.Size(), SealedSHA256: body.Sum(), Outline: outline}, packet
}

func (h *house) file(raw string, d mailstore.Deposit) (placed mailstore.Placed, err error) {
	h.t.Helper()
	l, packet := h.sealed(raw)
	d.Letter, d.Generation, d.Packet, d.Size = l.ID, packet.Generation, packet.Bytes, int64(len(raw))
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now()
	}
	err = h.db.InTx(context.Background(), func(ctx context.Context, tx *pg.Tx) (err error) {
		if err = h.mail.InsertLetterTx(ctx, tx, l); err != nil {
			return err
		}
		placed, err = h.mail.DepositTx(ctx, tx, d)
		return err
	})
	return placed, err
}

// put deposits a message as another process would: and wakes.
func (h *house) put(raw string) mailstore.Placed {
	h.t.Helper()
	p, err := h.file(raw, mailstore.Deposit{BAL: h.bal, ReceivedAt: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)})
	h.check(err)
	h.bus.Wake(context.Background(), wake.BAL(h.bal))
	return p
}

func (h *house) box(role mail.Role) mailstore.Mailbox {
	h.t.Helper()
	b, err := h.mail.ByRole(context.Background(), h.db, h.bal, role)
	h.check(err)
	return b
}

// alter changes the blob of the newest message of INBOX on the disk.
func (h *house) alter(f func(b []byte) []byte) {
	h.t.Helper()
	ms, err := h.mail.Newest(context.Background(), h.db, h.box(mail.Inbox).ID, 0, 1)
	h.check(err)
	found := false
	h.check(filepath.WalkDir(h.dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !strings.Contains(filepath.Base(p), ms[0].Letter.String()) {
			return err
		}
		found = true
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return errors.Join(os.Remove(p), os.WriteFile(p, f(b), 0o600))
	}))
	if !found {
		h.t.Fatal("no blob file")
	}
}

var testCert = sync.OnceValues(func() (tls.Certificate, error) { return selfSigned("localhost") })

func selfSigned(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	c, err := testCert()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
}

func clientTLS(t testing.TB, certs ...tls.Certificate) *tls.Config {
	t.Helper()
	c, err := testCert()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c.Leaf)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: certs}
}

// wire is a connection on which a test speaks IMAP by hand.
type wire struct {
	t  testing.TB
	c  net.Conn
	br *bufio.Reader
	n  int
}

// dial connects under TLS and reads the greeting.
func (h *house) dial(certs ...tls.Certificate) *wire {
	h.t.Helper()
	c, err := tls.Dial("tcp", h.secure, clientTLS(h.t, certs...))
	h.check(err)
	w := &wire{t: h.t, c: c, br: bufio.NewReader(c)}
	h.t.Cleanup(func() { _ = c.Close() })
	if l := w.line(); !strings.HasPrefix(l, "* OK [CAPABILITY ") {
		h.t.Fatalf("greeting: %s", l)
	}
	return w
}

// login connects, signs in and selects INBOX.
func (h *house) login() *wire {
	h.t.Helper()
	w := h.dial()
	w.ok("LOGIN %s %s", address, password)
	return w
}

func (h *house) inbox() *wire {
	h.t.Helper()
	w := h.login()
	w.ok("SELECT INBOX")
	return w
}

func (w *wire) send(s string) {
	w.t.Helper()
	_ = w.c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(w.c, s); err != nil {
		w.t.Fatalf("send: %v", err)
	}
}

// read returns one line without its end, the octets of literals in it included.
func (w *wire) read() (string, error) {
	_ = w.c.SetDeadline(time.Now().Add(patience))
	var sb strings.Builder
	for {
		l, err := w.br.ReadString('\n')
		sb.WriteString(l)
		if err != nil {
			return sb.String(), err
		}
		n, _, ok := literalAtEnd([]byte(l))
		if !ok {
			return strings.TrimSuffix(sb.String(), "\r\n"), nil
		}
		if _, err := io.CopyN(&sb, w.br, n); err != nil {
			return sb.String(), err
		}
	}
}

func (w *wire) line() string {
	w.t.Helper()
	l, err := w.read()
	if err != nil {
		w.t.Fatalf("read: %v (after %q)", err, l)
	}
	return l
}

// do sends a command and returns the untagged lines and the tagged one without its tag.
func (w *wire) do(format string, args ...any) (untagged []string, tagged string) {
	w.t.Helper()
	w.n++
	tag := fmt.Sprintf("t%d", w.n)
	w.send(tag + " " + fmt.Sprintf(format, args...) + "\r\n")
	return w.until(tag)
}

func (w *wire) until(tag string) (untagged []string, tagged string) {
	w.t.Helper()
	for {
		l := w.line()
		if rest, ok := strings.CutPrefix(l, tag+" "); ok {
			return untagged, rest
		}
		untagged = append(untagged, l)
	}
}

// ok is do for a command that must succeed.
func (w *wire) ok(format string, args ...any) []string {
	w.t.Helper()
	lines, tagged := w.do(format, args...)
	if !strings.HasPrefix(tagged, "OK") {
		w.t.Fatalf("%s: %s", fmt.Sprintf(format, args...), tagged)
	}
	return lines
}

// refused is do for a command that must end with that answer.
func (w *wire) refused(want, format string, args ...any) {
	w.t.Helper()
	if _, tagged := w.do(format, args...); !strings.HasPrefix(tagged, want) {
		w.t.Errorf("%s: %s, want %s", fmt.Sprintf(format, args...), tagged, want)
	}
}

// rest reads until the connection ends.
func (w *wire) rest() string {
	w.t.Helper()
	_ = w.c.SetDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(w.br)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatalf("the connection does not end; it said %q", b)
	}
	return string(b)
}
