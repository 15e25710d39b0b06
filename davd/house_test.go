package davd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/directory"
	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/health"
	"pli/identity"
	"pli/identity/remember"
	"pli/internal/id"
	"pli/internal/limit"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mail"
	"pli/pipeline"
)

const (
	hamdi    = "nadia.hamdi@mss-a.example"
	secret   = "K7QXM-2D9PA-WW3TE-81HCN"
	hospital = "990000015"
	practice = "990000023"
)

// What app plugs in fits.
var (
	_ remember.SignIn = (*identity.Service)(nil)
	_ Reader          = (*pipeline.Reader)(nil)
	_ Searcher        = (*search.Searcher)(nil)
	_ Boxes           = (*directory.Directory)(nil)
	_ Limiter         = (*limit.Limiter)(nil)
)

type testIndex struct{}

func (testIndex) Key(domain string, parts ...string) []byte {
	return []byte(fmt.Sprintf("%q%q", domain, parts))
}

// house is a door on real rooms: a hospital with two doctors, a service and one on the
// liste rouge, a practice, and the country. Identity and gate are small and say what the
// test wants.
type house struct {
	testing.TB
	db     *pg.DB
	dir    *directory.Directory
	search *search.Searcher
	server *Server
	url    string
	ca     string // PEM file
	client *http.Client
	log    *safeBuffer
	stop   context.CancelFunc
	served chan error

	bals    map[string]id.BAL
	signIns atomic.Int64
	opens   atomic.Int64
	deny    atomic.Pointer[fault.Error]
	later   atomic.Int64
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

func (h *house) AppPassword(_ context.Context, a, given, _ string) (identity.SignIn, error) {
	h.signIns.Add(1)
	b, ok := h.bals[a]
	switch {
	case given == "too-often":
		return identity.SignIn{}, fault.New(fault.RateLimited, "identity.AppPassword", "too-many-tries")
	case !ok || given != secret:
		return identity.SignIn{}, fault.New(fault.WrongSecret, "identity.AppPassword", "wrong-secret")
	}
	return identity.SignIn{Account: id.Account(b), BAL: b, Kind: identity.Professional, Means: identity.ByAppPassword}, nil
}

func (h *house) Certificate(_ context.Context, _ string, c *x509.Certificate) (identity.SignIn, error) {
	if c.Subject.CommonName != "logiciel" {
		return identity.SignIn{}, fault.New(fault.WrongSecret, "identity.Certificate", "unknown")
	}
	return identity.SignIn{Account: 99, BAL: h.bals[hamdi], Kind: identity.Application, Means: identity.ByCertificate}, nil
}

func (h *house) OpenDirectory(_ context.Context, _ identity.SignIn, door string) error {
	if door != "carddav" {
		h.Errorf("door %q", door)
	}
	h.opens.Add(1)
	if err := h.deny.Load(); err != nil {
		return err
	}
	return nil
}

func (h *house) need(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// noTraces keeps none: what changes here is changed by the test.
type noTraces struct{}

func (noTraces) TraceTx(context.Context, *pg.Tx, ...directory.Act) error { return nil }

func newHouse(t testing.TB, change ...func(*Config)) *house {
	t.Helper()
	h := &house{TB: t, db: pgtest.DB(t), bals: map[string]id.BAL{}, log: &safeBuffer{}, served: make(chan error, 1)}
	h.dir = directory.New(h.db, testIndex{}, directory.Config{Domains: []string{"mss-a.example"}, PatientDomain: "patient.mss-a.example"})
	h.dir.Plug(directory.Plugs{Traces: noTraces{}})
	h.search = search.New(h.db, h.dir)
	h.people()
	cert, err := selfSigned("localhost")
	h.need(err)
	h.ca = filepath.Join(t.TempDir(), "ca.pem")
	h.need(os.WriteFile(h.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600))
	var c Config
	for _, f := range change {
		f(&c)
	}
	h.server = New(Deps{DB: h.db, SignIn: h, Reader: h, Search: h.search, Boxes: h.dir, Limit: limit.New(nil), Now: h.now,
		TLS:          &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12},
		VerifyClient: func(cs tls.ConnectionState) (*x509.Certificate, error) { return cs.PeerCertificates[0], nil },
		Log:          slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, c)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.need(err)
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() { h.served <- h.server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		h.client.CloseIdleConnections()
		if err := <-h.served; err != nil {
			t.Error(err)
		}
	})
	h.url = "https://localhost:" + strings.TrimPrefix(ln.Addr().String(), "127.0.0.1:")
	h.client = h.newClient()
	return h
}

func (h *house) newClient(certs ...tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	b, err := os.ReadFile(h.ca)
	h.need(err)
	pool.AppendCertsFromPEM(b)
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

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
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (h *house) tx(f func(ctx context.Context, tx *pg.Tx) error) {
	h.Helper()
	h.need(h.db.InTx(context.Background(), f))
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// newBAL registers a BAL, and publishes it unless it is on the liste rouge.
func (h *house) newBAL(b directory.NewBAL, p *directory.Person, s *directory.Structure) id.BAL {
	h.Helper()
	h.tx(func(ctx context.Context, tx *pg.Tx) (err error) {
		h.need(tx.QueryRow(ctx, `INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id`).Scan(&b.Holder))
		if p != nil {
			b.Person, err = h.dir.CreatePersonTx(ctx, tx, *p)
			h.need(err)
		}
		if s != nil {
			b.Structure, err = h.dir.CreateStructureTx(ctx, tx, *s)
			h.need(err)
		}
		b.State, b.TermsVersion, b.At = health.Active, "1", noon
		n, err := h.dir.CreateBALTx(ctx, tx, b)
		h.bals[b.Address.Reveal()] = n
		return err
	})
	return h.bals[b.Address.Reveal()]
}

var (
	chu     = &directory.Structure{FINESS: hospital, Name: "CHU des Monts; Nord", Street: "1 rue du Col", PostalCode: "63000", City: "Clermont-Ferrand"}
	cabinet = &directory.Structure{FINESS: practice, Name: "Cabinet des Lilas", PostalCode: "75019", City: "Paris"}
)

func (h *house) people() {
	h.newBAL(directory.NewBAL{Address: mail.MustAddress(hamdi), Kind: health.PER}, &directory.Person{RPPS: "89970000017", Civility: "DR", FamilyName: "HAMDI", GivenName: "Nadia", Profession: "10"}, chu)
	h.newBAL(directory.NewBAL{Address: mail.MustAddress("paul.sorbier@mss-a.example"), Kind: health.PER}, &directory.Person{RPPS: "89970000025", FamilyName: "SORBIER", GivenName: "Éloi-Paul", Profession: "60"}, chu)
	h.newBAL(directory.NewBAL{Address: mail.MustAddress("cardiologie@mss-a.example"), Kind: health.ORG, Service: "Cardiologie, étage 2", Description: "Avis et rendez-vous"}, nil, chu)
	h.newBAL(directory.NewBAL{Address: mail.MustAddress("rouge@mss-a.example"), Kind: health.PER, Unlisted: true}, &directory.Person{RPPS: "89970000033", FamilyName: "CACHEE", GivenName: "Rose", Profession: "10"}, chu)
	h.newBAL(directory.NewBAL{Address: mail.MustAddress("karim.haddad@mss-a.example"), Kind: health.PER}, &directory.Person{RPPS: "89970000041", FamilyName: "HADDAD", GivenName: "Karim", Profession: "10"}, cabinet)
}

// national publishes listings of the country.
func (h *house) national(ls ...listing.Listing) {
	h.Helper()
	var rows [][]any
	words := map[string]bool{}
	for _, l := range ls {
		l.Vocabulary(func(w string) { words[w] = true })
		rows = append(rows, l.Row())
	}
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"listing_a"}, listing.Columns, pgx.CopyFromRows(rows)); err != nil {
			return err
		}
		for w := range words {
			if _, err := tx.Exec(ctx, `INSERT INTO word_a VALUES ($1) ON CONFLICT DO NOTHING`, w); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE national_part SET edition = edition + 1`)
		return err
	})
}

func doctor(n int, family, given, city string) listing.Listing {
	l := listing.Listing{Kind: health.PER, Address: fmt.Sprintf("p%d@mss-b.example", n), PPType: "8", PP: fmt.Sprintf("8997%07d", n), PlaceType: "FINESS",
		Place: "990099999", Civility: "DR", FamilyName: family, GivenName: given, Profession: "10", ProfessionLabel: "Médecin", Structure: "Maison de santé",
		PostalCode: "69003", City: city, Rank: 1, SinceAt: noon, ChangedAt: noon, SeenAt: noon}
	l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
	return l
}

// ask does a request as Dr Hamdi.
func (h *house) ask(method, path, body string, header ...string) (*http.Response, string) {
	h.Helper()
	return h.askAs(hamdi, secret, method, path, body, header...)
}

func (h *house) askAs(name, given, method, path, body string, header ...string) (*http.Response, string) {
	h.Helper()
	r, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	h.need(err)
	if name != "" {
		r.SetBasicAuth(name, given)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/xml; charset=utf-8")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := h.client.Do(r)
	h.need(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h.need(err)
	return resp, string(b)
}

// multistatus is an answer as a client reads it.
type multistatus struct {
	Responses []struct {
		Href   string `xml:"DAV: href"`
		Status string `xml:"DAV: status"`
		Props  []struct {
			Status string `xml:"DAV: status"`
			Prop   struct {
				ETag  string `xml:"DAV: getetag"`
				Data  string `xml:"urn:ietf:params:xml:ns:carddav address-data"`
				Inner string `xml:",innerxml"`
			} `xml:"DAV: prop"`
		} `xml:"DAV: propstat"`
	} `xml:"DAV: response"`
	SyncToken string `xml:"DAV: sync-token"`
}

// dav does a request that must be answered with 207.
func (h *house) dav(method, path, depth, body string) multistatus {
	h.Helper()
	resp, text := h.ask(method, path, body, "Depth", depth)
	if resp.StatusCode != http.StatusMultiStatus {
		h.Fatalf("%s %s: %s\n%s", method, path, resp.Status, text)
	}
	var m multistatus
	if err := xml.Unmarshal([]byte(text), &m); err != nil {
		h.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// hrefs are the paths in an answer, those that are gone after a minus.
func (m multistatus) hrefs() (out []string) {
	for _, r := range m.Responses {
		switch {
		case strings.Contains(r.Status, "404"):
			out = append(out, "-"+r.Href)
		case r.Status != "":
			out = append(out, r.Status[9:12])
		default:
			out = append(out, r.Href)
		}
	}
	return out
}
