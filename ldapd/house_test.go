package ldapd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/prometheus/client_golang/prometheus"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/health"
	"pli/identity"
	"pli/internal/limit"
	"pli/internal/ticket"
)

// patience bounds waits that should be over in milliseconds.
const patience = 20 * time.Second

const (
	address  = "anne.martin@mss-a.example"
	password = "K7QXM-2D9PA-WW3TE-81HCN"
	base     = "ou=annuaire,o=mssante,c=fr"
)

// house is a door with small rooms behind it, which say what the test wants.
type house struct {
	t      testing.TB
	server *Server
	log    *safeBuffer
	clear  string // address of the listener in clear
	secure string // address of the one under TLS
	stop   context.CancelFunc
	served chan error
	crowd  *crowd

	deny   atomic.Pointer[fault.Error]
	opened atomic.Int64 // traced openings
	refuse atomic.Int64 // traced refusals to open
	revoke atomic.Bool  // the secret and the certificate
	asked  atomic.Int64
	later  atomic.Int64 // how much later than it is the door believes it to be
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

func (h *house) AppPassword(_ context.Context, a, secret, _ string) (identity.SignIn, error) {
	switch {
	case h.revoke.Load():
		return identity.SignIn{}, fault.New(fault.WrongSecret, "identity.AppPassword", "revoked").Say("Mot de passe révoqué.", "Password revoked.")
	case secret == "too-often":
		return identity.SignIn{}, fault.New(fault.RateLimited, "identity.AppPassword", "")
	case strings.EqualFold(a, address) && secret == password:
		return identity.SignIn{Account: 1, BAL: 7, Means: identity.ByAppPassword}, nil
	}
	return identity.SignIn{}, fault.New(fault.WrongSecret, "identity.AppPassword", "")
}

func (h *house) Certificate(_ context.Context, a string, c *x509.Certificate) (identity.SignIn, error) {
	if a != "" && a != address || c.Subject.CommonName != "labo" || h.revoke.Load() {
		return identity.SignIn{}, fault.New(fault.WrongSecret, "identity.Certificate", "")
	}
	return identity.SignIn{Account: 2, BAL: 8, Means: identity.ByCertificate}, nil
}

func (h *house) OpenDirectory(_ context.Context, _ identity.SignIn, door string) error {
	if err := h.deny.Load(); err != nil {
		h.refuse.Add(1)
		return err
	}
	if door != "ldap" {
		h.t.Errorf("opened at %q", door)
	}
	h.opened.Add(1)
	return nil
}

func (h *house) DirectoryStillAllowed(context.Context, identity.SignIn, string) error {
	h.asked.Add(1)
	if err := h.deny.Load(); err != nil {
		return err
	}
	return nil
}

// crowd is a directory of a few, searched one by one.
type crowd struct {
	all   []listing.Listing
	delay atomic.Int64
	fuzzy atomic.Int64 // questions that forgive
	asked atomic.Int64
	last  atomic.Pointer[search.Query]
	panic atomic.Bool
	now   atomic.Int64 // questions being answered
	most  atomic.Int64 // of them at one time
}

func (c *crowd) Search(ctx context.Context, q search.Query) (search.Page, error) {
	c.asked.Add(1)
	c.last.Store(&q)
	for n := c.now.Add(1); ; {
		m := c.most.Load()
		if n <= m || c.most.CompareAndSwap(m, n) {
			break
		}
	}
	defer c.now.Add(-1)
	if q.Fuzzy {
		c.fuzzy.Add(1)
	}
	if c.panic.Load() {
		panic("Jeanne Petit")
	}
	if d := time.Duration(c.delay.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return search.Page{}, fault.Wrap(fault.Timeout, "search.Search", "", ctx.Err())
		}
	}
	from := 0
	if q.After != "" {
		n, err := strconv.Atoi(q.After)
		if err != nil {
			return search.Page{}, fault.New(fault.Conflict, "search.Search", "stale-page")
		}
		from = n
	}
	var p search.Page
	for i := from; i < len(c.all); i++ {
		if !holds(q.Where, &c.all[i]) {
			continue
		}
		if len(p.Listings) == q.Limit {
			p.Next = strconv.Itoa(i)
			break
		}
		p.Listings = append(p.Listings, c.all[i])
	}
	return p, nil
}

func (c *crowd) ByKey(_ context.Context, k listing.Key) (listing.Listing, error) {
	for _, l := range c.all {
		if l.Key == k {
			return l, nil
		}
	}
	return listing.Listing{}, fault.New(fault.NotFound, "search.ByKey", "no-listing")
}

func holds(c search.Cond, l *listing.Listing) bool {
	switch c := c.(type) {
	case search.And:
		return !slices.ContainsFunc(c, func(c search.Cond) bool { return !holds(c, l) })
	case search.Or:
		return slices.ContainsFunc(c, func(c search.Cond) bool { return holds(c, l) })
	case search.Not:
		return !holds(c.Cond, l)
	case search.Equal:
		return anyOf(c.Field, l, func(v string) bool { return v == folded(c.Field, c.Value) })
	case search.Prefix:
		return anyOf(c.Field, l, func(v string) bool { return strings.HasPrefix(v, folded(c.Field, c.Value)) })
	case search.Contains:
		return anyOf(c.Field, l, func(v string) bool { return strings.Contains(v, folded(c.Field, c.Value)) })
	case search.Words:
		return !slices.ContainsFunc(listing.WordsOf(c.Value), func(w string) bool {
			return !anyOf(c.Field, l, func(v string) bool { return strings.Contains(" "+v, " "+w) })
		})
	}
	panic(fmt.Sprintf("%T", c))
}

func folded(f search.Field, s string) string {
	if f == search.Address {
		return listing.FoldAddress(s)
	}
	return listing.Fold(s)
}

func anyOf(f search.Field, l *listing.Listing, ok func(string) bool) bool {
	v, found := map[search.Field][]string{
		search.Name: {l.FamilyName + " " + l.GivenName, l.GivenName + " " + l.FamilyName, l.Service}, search.Family: {l.FamilyName}, search.Given: {l.GivenName},
		search.Address: {l.Address}, search.PP: {l.PP}, search.Place: {l.Place}, search.Structure: {l.Structure, l.TradeName}, search.Service: {l.Service, l.Description},
		search.City: {l.City}, search.PostalCode: {l.PostalCode}, search.Department: {l.Department}, search.Profession: {l.Profession, l.ProfessionLabel},
		search.KnowHow: {l.KnowHow, l.KnowHowLabel}, search.Kind: {string(l.Kind)}, search.Key: {l.Key.String()},
	}[f]
	if !found {
		panic(fmt.Sprintf("field %d", f))
	}
	return slices.ContainsFunc(v, func(v string) bool { return v != "" && ok(folded(f, v)) })
}

func person(family, given, local, title, city, postal, structure string) listing.Listing {
	l := listing.Listing{Kind: health.PER, Address: local + "@mss-a.example", PPType: "8", PP: "8997000" + fmt.Sprintf("%04d", len(family)*100+len(given)), FamilyName: family, GivenName: given,
		Profession: "10", ProfessionLabel: "Médecin", KnowHowLabel: title, City: city, PostalCode: postal, Department: "Ville-Exemple", Structure: structure, Street: "3 RUE DES ESSAIS",
		Country: "FR", Rank: 1, ChangedAt: time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)}
	l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
	return l
}

func people() []listing.Listing {
	ps := []listing.Listing{
		person("HADDAD", "Karim", "karim.haddad", "Médecine générale", "PARIS", "75019", "CABINET MEDICAL DES LILAS"),
		person("HADDAD", "Karima", "k.haddad", "Cardiologie", "LYON", "69003", "CHU DES MONTS"),
		person("MARTIN", "Anne", "anne.martin", "Médecine générale", "ANGERS", "49000", "CABINET DU MAIL"),
		person("L'HÉRITIER", "Éloïse", "eloise.lheritier", "Dermatologie", "BREST", "29200", "MAISON DE SANTE"),
	}
	org := listing.Listing{Kind: health.ORG, Address: "cardiologie@mss-a.example", Service: "Service de cardiologie", Structure: "CHU DES MONTS", City: "LYON", PostalCode: "69003",
		Description: "Avis et rendez-vous", Hours: "8 h - 18 h"}
	org.Key = listing.KeyOf(org.Address, "", "", org.Service)
	return append(ps, org)
}

// crowdOf adds n more, all called DUVAL.
func crowdOf(n int) []listing.Listing {
	ps := people()
	for i := range n {
		ps = append(ps, person("DUVAL", fmt.Sprintf("Prénom%04d", i), fmt.Sprintf("duval%04d", i), "Médecine générale", "TOURS", "37000", "CABINET"))
	}
	return ps
}

type options struct {
	config  Config
	metrics prometheus.Registerer
	crowd   []listing.Listing
	search  Searcher
}

func newHouse(t testing.TB, o options) *house {
	t.Helper()
	if o.crowd == nil {
		o.crowd = people()
	}
	h := &house{t: t, log: &safeBuffer{}, served: make(chan error, 2), crowd: &crowd{all: o.crowd}}
	tickets, err := ticket.New([]byte("0123456789abcdef"))
	h.check(err)
	var found Searcher = h.crowd
	if o.search != nil {
		found = o.search
	}
	h.server, err = New(Deps{SignIn: h, Reader: h, Search: found, Limit: limit.New(nil), Tickets: tickets, TLS: serverTLS(t), Now: h.now, Metrics: o.metrics,
		Log: slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		VerifyClient: func(cs tls.ConnectionState) (*x509.Certificate, error) {
			if cs.PeerCertificates[0].Subject.CommonName == "dehors" {
				return nil, fault.New(fault.Untrusted, "certs.VerifyClient", "untrusted")
			}
			return cs.PeerCertificates[0], nil
		},
	}, o.config)
	h.check(err)
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
	t.Cleanup(func() {
		cancel()
		h.server.each((*conn).kill)
		doors.Wait()
	})
	return h
}

func (h *house) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

var testCert = sync.OnceValues(func() (tls.Certificate, error) { return selfSigned("localhost") })

func selfSigned(cn string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, DNSNames: []string{"localhost"},
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
	c, err := testCert()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
}

func clientTLS(t testing.TB, certs ...tls.Certificate) *tls.Config {
	c, err := testCert()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: certs}
}

// caFile writes the server's certificate for programs that read a file.
func caFile(t testing.TB) string {
	c, err := testCert()
	if err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(p, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// dial connects under TLS, without signing in.
func (h *house) dial(certs ...tls.Certificate) *ldap.Conn {
	h.t.Helper()
	c, err := ldap.DialURL("ldaps://"+h.secure, ldap.DialWithTLSConfig(clientTLS(h.t, certs...)))
	h.check(err)
	c.SetTimeout(patience)
	h.t.Cleanup(func() { c.Close() })
	return c
}

func (h *house) signedIn() *ldap.Conn {
	h.t.Helper()
	c := h.dial()
	h.check(c.Bind(address, password))
	return c
}

// raw connects under TLS to write octets.
func (h *house) raw() *tls.Conn {
	h.t.Helper()
	c, err := tls.Dial("tcp", h.secure, clientTLS(h.t))
	h.check(err)
	h.check(c.SetDeadline(time.Now().Add(patience)))
	h.t.Cleanup(func() { c.Close() })
	return c
}

func (h *house) inClear() net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.clear)
	h.check(err)
	h.check(c.SetDeadline(time.Now().Add(patience)))
	h.t.Cleanup(func() { c.Close() })
	return c
}

func sub(filter string, attrs ...string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, attrs, nil)
}

func baseRead(dn, filter string, attrs ...string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, filter, attrs, nil)
}

// mails gives the local parts of the addresses found, sorted.
func mails(r *ldap.SearchResult) string {
	var out []string
	for _, e := range r.Entries {
		local, _, _ := strings.Cut(e.GetAttributeValue("mail"), "@")
		out = append(out, cmp.Or(local, "<"+e.DN+">"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func wantCode(t testing.TB, err error, code uint16) {
	t.Helper()
	if code == 0 && err == nil {
		return
	}
	if !ldap.IsErrorWithCode(err, code) {
		t.Errorf("%v, want result %d", err, code)
	}
}
