package fhird

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/directory/listing"
	"pli/directory/resource"
	"pli/fault"
	"pli/health"
	"pli/identity"
	"pli/internal/limit"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/internal/ticket"
)

const (
	address  = "anne.martin@mss-a.example"
	password = "K7QXM-2D9PA-WW3TE-81HCN"
)

// house is a door on the real store and PostgreSQL. Identity and gate say what the test
// wants, and count.
type house struct {
	t      testing.TB
	db     *pg.DB
	url    string // the base
	client *http.Client
	log    *safeBuffer
	server *Server
	deny   atomic.Pointer[fault.Error]
	later  atomic.Int64 // how much later than it is the door believes it to be
	asked  atomic.Int64 // sign-ins asked of identity
	opened atomic.Int64
	store  Store
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *safeBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.later.Load())) }

func (h *house) AppPassword(_ context.Context, a, secret, _ string) (identity.SignIn, error) {
	h.asked.Add(1)
	switch {
	case a == address && secret == password:
		return identity.SignIn{Account: 1, BAL: 7, Means: identity.ByAppPassword}, nil
	case a == "autre@mss-a.example" && secret == password:
		return identity.SignIn{Account: 2, BAL: 8, Means: identity.ByAppPassword}, nil
	}
	return identity.SignIn{}, fault.New(fault.WrongSecret, "identity.AppPassword", "wrong")
}

func (h *house) Certificate(context.Context, string, *x509.Certificate) (identity.SignIn, error) {
	h.asked.Add(1)
	return identity.SignIn{Account: 3, BAL: 9, Means: identity.ByCertificate}, nil
}

func (h *house) OpenDirectory(_ context.Context, _ identity.SignIn, door string) error {
	h.opened.Add(1)
	if door != "fhir" {
		return fault.New(fault.Internal, "test", "door")
	}
	if f := h.deny.Load(); f != nil {
		return f
	}
	return nil
}

var testCert = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
})

func newHouse(t testing.TB, change func(*house, *Deps, *Config)) *house {
	t.Helper()
	cert, err := testCert()
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.DB(t)
	h := &house{t: t, db: db, log: &safeBuffer{}, store: resource.New(db, "https://mss-a.example")}
	office, err := ticket.New([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	d := Deps{SignIn: h, Reader: h, Store: h.store, Limit: limit.New(nil), Tickets: office,
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12},
		VerifyClient: func(cs tls.ConnectionState) (*x509.Certificate, error) {
			return cs.PeerCertificates[0], nil
		},
		Log: slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: h.now}
	c := Config{Operator: "Opérateur d'essai", Version: "0"}
	if change != nil {
		change(h, &d, &c)
	}
	h.server, err = New(d, c)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(ctx, ln) }()
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableCompression: true}
	h.client = &http.Client{Transport: transport, Timeout: time.Minute}
	h.url = fmt.Sprintf("https://%s/fhir", ln.Addr())
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return h
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do asks, signed in, with headers given as pairs.
func (h *house) do(method, path, form string, headers ...string) answer {
	h.t.Helper()
	url := path
	if !strings.HasPrefix(path, "https://") {
		url = h.url + path
	}
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(form))
	if err != nil {
		h.t.Fatal(err)
	}
	r.SetBasicAuth(address, password)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := h.client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

func (h *house) get(path string, headers ...string) answer {
	h.t.Helper()
	return h.do("GET", path, "", headers...)
}

// bundle is what tests read of a search's answer.
type bundle struct {
	ResourceType string
	Type         string
	Total        *int
	Link         []struct{ Relation, URL string }
	Entry        []struct {
		FullURL  string
		Resource struct {
			ResourceType, ID string
			Issue            []issue
		}
		Search struct{ Mode string }
	}
}

type issue struct {
	Severity, Code, Diagnostics string
	Details                     struct{ Text string }
	Expression                  []string
}

func (a answer) bundle(t testing.TB) bundle {
	t.Helper()
	var b bundle
	if err := json.Unmarshal(a.body, &b); err != nil || a.status != 200 || b.ResourceType != "Bundle" || b.Total != nil {
		t.Fatalf("%d %v %.600s", a.status, err, a.body)
	}
	return b
}

func (b bundle) link(relation string) string {
	for _, l := range b.Link {
		if l.Relation == relation {
			return l.URL
		}
	}
	return ""
}

func (b bundle) ids() string {
	var out []string
	for _, e := range b.Entry {
		if e.Search.Mode == "match" {
			out = append(out, e.Resource.ID)
		}
	}
	return strings.Join(out, " ")
}

func (b bundle) warnings() []issue {
	for _, e := range b.Entry {
		if e.Search.Mode == "outcome" {
			return e.Resource.Issue
		}
	}
	return nil
}

func (a answer) issues(t testing.TB) []issue {
	t.Helper()
	var o struct {
		ResourceType string
		Issue        []issue
	}
	if err := json.Unmarshal(a.body, &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) == 0 {
		t.Fatalf("%d: no outcome: %v %.300s", a.status, err, a.body)
	}
	if ct := a.header.Get("Content-Type"); ct != "application/fhir+json; charset=utf-8" {
		t.Errorf("an outcome as %q", ct)
	}
	return o.Issue
}

var day = time.Date(2026, 11, 2, 8, 30, 0, 0, time.UTC)

// publish puts people, places and BAL into part a.
func (h *house) publish(n int) {
	h.t.Helper()
	put := func(table string, columns []string, rows ...[]any) {
		if _, err := h.db.Pool().CopyFrom(context.Background(), pgx.Identifier{table}, columns, pgx.CopyFromRows(rows)); err != nil {
			h.t.Fatalf("%s: %v", table, err)
		}
	}
	place := listing.Organization{ID: "finess-990000017", FINESS: "990000017", FINESSEJ: "990000090", Name: "CH DE VILLEFICTIVE & FILS", Sector: "SA01", SectorLabel: "Etablissement public de santé",
		Complement: "BATIMENT B", Street: "1 RUE DES LILAS", PostalCode: "75019", City: "PARIS", Department: "75", Country: "FRANCE", Phone: "0100000000", Fax: "0100000001", Active: true, ChangedAt: day, SeenAt: day}
	legal := listing.Organization{ID: "finess-990000090", FINESS: "990000090", FINESSEJ: "990000090", Name: "GHT FICTIF", TradeName: "Le groupe", Active: true, ChangedAt: day, SeenAt: day}
	siret := listing.Organization{ID: "siret-99000000000017", SIRET: "99000000000017", SIREN: "990000000", Name: "CABINET DES LILAS", FINESSEJ: "990000099", Active: false, ChangedAt: day, SeenAt: day}
	put("organization_a", listing.OrganizationColumns, place.Row(), legal.Row(), siret.Row())
	var people, roles [][]any
	for i := range n {
		p := listing.Practitioner{PPType: "8", PP: fmt.Sprintf("8997%07d", i), Civility: "DR", FamilyName: fmt.Sprintf("DUPONT-%d", i), GivenName: "Élodie", Category: "C", CategoryLabel: "Civil", Active: true, ChangedAt: day, SeenAt: day}
		p.ID = listing.PractitionerID(p.PPType, p.PP)
		people = append(people, p.Row())
		r := listing.Role{Practitioner: p.ID, Organization: place.ID, Profession: "10", ProfessionLabel: "Médecin", KnowHowType: "S", KnowHow: "SM54", KnowHowLabel: "Médecine générale",
			Mode: "S", ModeLabel: "Salarié", Function: "FON-01", FunctionLabel: "Praticien", Active: true, ChangedAt: day, SeenAt: day, FamilyName: p.FamilyName, GivenName: p.GivenName}
		if i == 1 {
			r.Profession, r.ProfessionLabel, r.KnowHow, r.KnowHowType, r.Organization = "ZZ9", "", "", "", ""
		}
		r.ID = listing.RoleID(r.Practitioner, r.Organization, r.Profession, r.KnowHow, r.Mode, r.Function)
		roles = append(roles, r.Row())
	}
	other := listing.Practitioner{ID: "adeli-999000017", PPType: "0", PP: "999000017", FamilyName: "MARTINEZ", Active: false, ChangedAt: day, SeenAt: day}
	people = append(people, other.Row())
	put("practitioner_a", listing.PractitionerColumns, people...)
	put("role_a", listing.RoleColumns, roles...)
	for _, l := range []listing.Listing{
		{Kind: health.PER, Address: "elodie.dupont@medecin.mss.example", PPType: "8", PP: "89970000000", PlaceType: "FINESS", Place: "990000017", FamilyName: "DUPONT-0", GivenName: "Élodie", Rank: 1},
		{Kind: health.CAB, Address: "cabinet.dupont@medecin.mss.example", PPType: "8", PP: "89970000000", FamilyName: "DUPONT-0", Description: "Secrétariat", Rank: 2},
		{Kind: health.ORG, Address: "urgences@ch.mss.example", PlaceType: "FINESS", Place: "990000017", Service: "Urgences", Description: "Comptes rendus", Rank: 1},
		{Kind: health.APP, Address: "robot@ch.mss.example", PlaceType: "FINESS", Place: "990000017", Rank: 3},
	} {
		l.Key, l.SinceAt, l.ChangedAt, l.SeenAt = listing.KeyOf(l.Address, l.PP, l.Place, l.Service), day, day, day
		marks := make([]string, len(listing.Columns))
		for i := range marks {
			marks[i] = fmt.Sprintf("$%d", i+1)
		}
		marks[len(marks)-1] += "::text::tsvector"
		if _, err := h.db.Exec(context.Background(), "INSERT INTO listing_a ("+strings.Join(listing.Columns, ",")+") VALUES ("+strings.Join(marks, ",")+")", l.Row()...); err != nil {
			h.t.Fatal(err)
		}
	}
}
