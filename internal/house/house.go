// Package house starts a whole operator inside a test: real PostgreSQL (pgtest), the
// built-in Redis, a demo PKI, every role, doors on free ports of loopback. Several may
// run in one process.
package house

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pli/app"
	"pli/certs/demopki"
	"pli/directory"
	"pli/health"
	"pli/internal/pgtest"
	"pli/internal/redisserver"
	"pli/mail"
)

// Options change the house. The zero value is operator a with its patients.
type Options struct {
	Operator string            // "a" (the default) or "b"
	Routes   map[string]string // where other domains' mail goes: domain to host:port
	Log      io.Writer         // takes the events; nil drops them
	// Change edits the configuration before the house is built.
	Change func(*app.Config)
}

// House is a running operator.
type House struct {
	*app.House
	Domain string
	CA     string // PEM file that clients trust
	PKI    demopki.Paths
}

var pki struct {
	once  sync.Once
	paths demopki.Paths
	err   error
}

// keys makes the PKI once per test binary: its RSA keys are what takes time.
func keys() (demopki.Paths, error) {
	pki.once.Do(func() {
		dir, err := os.MkdirTemp("", "pli-house-pki")
		if err != nil {
			pki.err = err
			return
		}
		pki.paths, pki.err = demopki.Write(dir, []demopki.Operator{
			{Name: "a", Organisation: "OPERATEUR EXEMPLE A", FINESS: "990000050", Host: "mx.mss-a.example", Domains: []string{"mss-a.example", "patient.mss-a.example"}},
			{Name: "b", Organisation: "OPERATEUR EXEMPLE B", FINESS: "990000068", Host: "mx.mss-b.example", Domains: []string{"mss-b.example"}},
		}, time.Now())
	})
	return pki.paths, pki.err
}

// Start runs a house until the test ends.
func Start(t testing.TB, o Options) *House {
	t.Helper()
	if o.Operator == "" {
		o.Operator = "a"
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	paths, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	redis, err := redisserver.Start(t.Context(), redisserver.Options{BuiltIn: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redis.Stop)
	cfg := config(t, o, paths)
	cfg.Redis.URL = redis.URL()
	if o.Change != nil {
		o.Change(&cfg)
	}
	if _, err := app.NewKeys(cfg.Keys); err != nil {
		t.Fatal(err)
	}
	for _, problem := range cfg.Check() {
		t.Fatal(problem)
	}
	h, err := app.New(t.Context(), cfg, app.RoleNames(), slog.New(slog.NewJSONHandler(o.Log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Listen(); err != nil {
		h.Close()
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the house ended: %v", err)
		}
	})
	return &House{House: h, Domain: cfg.Operator.Domains[0], CA: paths.CA, PKI: paths}
}

func config(t testing.TB, o Options, paths demopki.Paths) app.Config {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	domain, mine := "mss-"+o.Operator+".example", paths.Operators[o.Operator]
	const free = "127.0.0.1:0"
	c := app.Config{
		Operator: app.OperatorConfig{Name: "Opérateur " + o.Operator, Hostname: "mx." + domain, Domains: []string{domain}, INSClass: string(health.TestINS)},
		Database: app.DatabaseConfig{DSN: pgtest.DSN(t), MaxConns: 10},
		Blobs:    app.BlobsConfig{Dir: at("blobs"), SpoolDir: at("spool")},
		Keys:     app.KeysConfig{Operator: []string{at("operator.key")}, Index: at("index.key"), Audit: at("audit.key")},
		Certs: app.CertsConfig{Roots: paths.Roots, Intermediates: paths.Intermediates, CRLs: paths.CRLs, WhiteList: paths.WhiteList,
			WhiteListSigners: []string{paths.WhiteListSigner}, ServerCert: mine.ServerCert, ServerKey: mine.ServerKey,
			PublicCert: paths.WebCert, PublicKey: paths.WebKey},
		SMTP:     app.SMTPConfig{MX: free, Submission: free, Submissions: free},
		IMAP:     app.IMAPConfig{IMAP: free, IMAPS: free},
		Web:      app.WebConfig{Listen: free},
		Scanner:  app.ScannerConfig{Off: true},
		Outbound: app.OutboundConfig{Routes: o.Routes, RetryFirst: app.Duration(time.Second)},
	}
	if o.Operator == "a" {
		c.Operator.PatientDomain = "patient." + domain
	} else {
		c.Operator.ForeignPatientDomains = []string{"patient.mss-a.example"}
	}
	return c
}

// Professional makes a BAL of kind PER and returns its address and app password.
func (h *House) Professional(t testing.TB, local string) (address, password string) {
	t.Helper()
	a := mail.MustAddress(local + "@" + h.Domain)
	m, err := h.CreateBox(t.Context(), app.NewBox{Kind: health.PER, Address: a, Person: &directory.Person{Civility: "DR", FamilyName: local, GivenName: "Essai", Profession: "10"},
		DisplayName: local, AppPassword: "new"})
	if err != nil {
		t.Fatal(err)
	}
	return a.Reveal(), m.AppPassword
}
