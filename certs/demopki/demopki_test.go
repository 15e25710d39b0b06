package demopki

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var ops = []Operator{
	{Name: "a", Organisation: "OPERATEUR A", FINESS: "990000001", Host: "mx.mss-a.example",
		Domains: []string{"mss-a.example", "patient.mss-a.example"},
		Clients: []Client{{Name: "labo", Organisation: "LABORATOIRE DES HALLES", FINESS: "990000002", Host: "labo.mss-a.example"}}},
	{Name: "b", Organisation: "OPERATEUR B", FINESS: "990000003", Host: "mx.mss-b.example", Domains: []string{"mss-b.example"}},
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		if filepath.Ext(path) == ".key" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWriteKeepsWhatIsValidAndRenewsTheRest(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	p, err := Write(dir, ops, now)
	if err != nil {
		t.Fatal(err)
	}
	first := files(t, dir)
	for _, path := range append([]string{p.CA, p.Roots, p.Intermediates, p.WhiteList, p.WebCert, p.WebKey, p.CardCert,
		p.Operators["a"].ServerCert, p.Operators["b"].ServerKey, p.Operators["a"].Clients["labo"].Cert}, p.CRLs...) {
		if first[path] == "" {
			t.Errorf("%s is missing or empty", path)
		}
	}
	if _, err := Write(dir, ops, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	again := files(t, dir)
	for path, was := range first {
		if again[path] != was {
			t.Errorf("%s changed an hour later", path)
		}
	}
	if _, err := Write(dir, ops, now.Add(20*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	later := files(t, dir)
	for path, renewed := range map[string]bool{p.CRLs[0]: true, p.CRLs[1]: true, p.WhiteList: true, p.WebCert: false, p.Operators["a"].ServerCert: false, p.Roots: false} {
		if (later[path] != first[path]) != renewed {
			t.Errorf("%s renewed after 20 days: %v, want %v", path, !renewed, renewed)
		}
	}
}

func TestServerCertificateIsShapedLikeIGCSante(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	if _, err := Write(dir, ops[:1], now); err != nil {
		t.Fatal(err)
	}
	cert, key, err := load(filepath.Join(dir, "a", "serveur"))
	if err != nil {
		t.Fatal(err)
	}
	if got := cert.Subject.String(); got != "CN=mx.mss-a.example,OU=1990000001,O=OPERATEUR A,ST=Paris (75),C=FR" {
		t.Errorf("subject %s", got)
	}
	if key.N.BitLen() != 2048 {
		t.Errorf("key of %d bits", key.N.BitLen())
	}
	root, err := LoadAuthority(dir, "racine")
	if err != nil {
		t.Fatal(err)
	}
	orgs, err := LoadAuthority(dir, "organisations")
	if err != nil {
		t.Fatal(err)
	}
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root.Cert)
	inter.AddCert(orgs.Cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: inter, CurrentTime: now, DNSName: "localhost"}); err != nil {
		t.Error(err)
	}
}
