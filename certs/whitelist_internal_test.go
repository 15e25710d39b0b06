package certs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pli/fault"
)

// published reads a file of the published lists, which lie beside the checkout.
func published(t testing.TB, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, "..", "shared", "data", "listeblanche", name))
	if os.IsNotExist(err) {
		t.Skip("../shared is not beside the checkout")
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func anySigner(*Signature) error { return nil }

func TestPublishedListVerifiesAndHoldsTheKnownFigures(t *testing.T) {
	raw := published(t, "listeblanche-2025-02-28-signed.xml")
	var signer *Signature
	list, err := readWhiteList(raw, func(s *Signature) error { signer = s; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if signer.Certificate.Subject.CommonName != "alb.mssante.fr" {
		t.Errorf("signer %q", signer.Certificate.Subject.CommonName)
	}
	if want := time.Date(2025, 2, 28, 15, 42, 7, 0, time.UTC); !list.GeneratedAt.Equal(want) {
		t.Errorf("generated at %v, want %v", list.GeneratedAt, want)
	}
	// 391 texts, but 12 certificates are written in two ways and one in three (quotes,
	// spaces, ST): 378 names by CN, OU and O.
	if list.Entries != 6494 || list.Domains() != 4944 || list.DNs() != 378 || list.Skipped != 0 {
		t.Errorf("entries %d, domains %d, names %d, skipped %d", list.Entries, list.Domains(), list.DNs(), list.Skipped)
	}
	per := map[int]int{}
	for _, dns := range list.byDomain {
		per[len(dns)]++
	}
	if per[2] < 700 || per[5] == 0 {
		t.Errorf("certificates per domain: %v", per)
	}
	if !list.Has("patient.mssante.fr") || !list.Has("PATIENT.mssante.fr") || list.Has("x.patient.mssante.fr") {
		t.Error("the match of a domain is exact and without case")
	}
}

func TestPublishedListRefusedOnceTouched(t *testing.T) {
	raw := published(t, "listeblanche-2025-02-28-signed.xml")
	touched := bytes.Replace(raw, []byte("<Nom>15-20.mssante.fr</Nom>"), []byte("<Nom>15-21.mssante.fr</Nom>"), 1)
	if bytes.Equal(raw, touched) {
		t.Fatal("nothing was touched")
	}
	if _, err := readWhiteList(touched, anySigner); fault.CodeOf(err) != "signature" {
		t.Errorf("touched list: %v", err)
	}
}

func TestUnsignedListRefused(t *testing.T) {
	raw := published(t, "listeblanche-2025-03-13-unsigned-extract.xml")
	if _, err := readWhiteList(raw, anySigner); fault.CodeOf(err) != "incomplete" {
		t.Errorf("the extract as published has lost its last line: %v", err)
	}
	raw = append(raw, "</ListeBlancheMSSante>"...)
	if list, err := parseWhiteList(bytes.NewReader(raw)); err != nil || list.Entries != 619 {
		t.Errorf("the extract has 619 entries: %v", err)
	}
	if _, err := readWhiteList(raw, anySigner); fault.CodeOf(err) != "not-signed" {
		t.Errorf("unsigned list: %v", err)
	}
}

func TestParseDNOnRealShapes(t *testing.T) {
	want := DN{"mss.ch-exemple.fr", "1990000001", "centre hospitalier joly, nord"}
	for _, s := range []string{
		`CN=mss.ch-exemple.fr,OU=1990000001,O=CENTRE HOSPITALIER JOLY\, NORD,ST=Guyane (973),C=FR`,
		`CN=mss.ch-exemple.fr,OU=1990000001,O="CENTRE HOSPITALIER  JOLY, NORD",ST=Guyane (973),C=FR`,
		`CN=MSS.CH-Exemple.fr, OU=1990000001, O=Centre Hospitalier "Joly, Nord", L=Cayenne, C=FR`,
		`C=FR,O=CENTRE HOSPITALIER "JOLY, NORD,OU=1990000001,CN=mss.ch-exemple.fr`,
		`CN=mss.ch-exemple.fr,OU=1990000001,O="CENTRE HOSPITALIER ""JOLY, NORD""",C=FR`,
		"CN=mss.ch-exemple.fr,OU=1990000001,O=CENTRE\u00a0HOSPITALIER JOLY, NORD,C=FR",
	} {
		if got, err := ParseDN(s); err != nil || got != want {
			t.Errorf("ParseDN(%s) = %q, %v", s, got, err)
		}
	}
	composed, err1 := ParseDN("CN=a.example,O=H\u00d4PITAL")
	decomposed, err2 := ParseDN("CN=a.example,O=Ho\u0302pital")
	if err1 != nil || err2 != nil || composed != decomposed {
		t.Errorf("NFC: %q %q", composed, decomposed)
	}
	for _, s := range []string{"", "OU=1,O=x", "CN=a,CN=b,O=x", "CN=,O=x", "no attribute", "=x"} {
		if got, err := ParseDN(s); err == nil {
			t.Errorf("ParseDN(%q) = %q", s, got)
		}
	}
}

const small = `<?xml version="1.0"?><ListeBlancheMSSante xmlns="https://listeblanche.mssante.fr/schema">` +
	`<DateDeGeneration>2026-11-21T10:00:00Z</DateDeGeneration><ListeDomaines>` +
	`<Domaine><Nom>MSS-A.example</Nom><Description>x</Description><DNCertificatOperateur>CN=mx.mss-a.example,OU=1990000001,O=A</DNCertificatOperateur></Domaine>` +
	`</ListeDomaines></ListeBlancheMSSante>`

func TestParseWhiteListRefusesWhatIsNotTheFormat(t *testing.T) {
	if l, err := parseWhiteList(strings.NewReader(small)); err != nil || !l.Has("mss-a.example") {
		t.Fatalf("%v", err)
	}
	for code, s := range map[string]string{
		"directive":           strings.Replace(small, "<Liste", `<!DOCTYPE x [<!ENTITY a "b">]><Liste`, 1),
		"root":                strings.Replace(small, "listeblanche.mssante.fr", "ailleurs.example", 1),
		"attribute":           strings.Replace(small, "<Domaine>", `<Domaine xmlns="urn:other">`, 1),
		"date":                strings.Replace(small, "2026-11-21T", "21/11/2026 ", 1),
		"incomplete":          strings.TrimSuffix(small, "</ListeBlancheMSSante>"),
		"nesting":             strings.Replace(small, "</Nom>", "</Non>", 1),
		"depth":               small + small[21:],
		"field-too-long":      strings.Replace(small, "<Description>x", "<Description>"+strings.Repeat("x", 5000), 1),
		"xml":                 strings.Replace(small, "MSS-A", "&inconnue;", 1),
		"too-many-unreadable": strings.Replace(small, "MSS-A.example", "pas un domaine", 1),
	} {
		if _, err := parseWhiteList(strings.NewReader(s)); fault.CodeOf(err) != code {
			t.Errorf("want %s: %v", code, err)
		}
	}
}

func FuzzParseDN(f *testing.F) {
	for _, s := range []string{`CN=a,OU=1,O="b ""c"" d",C=FR`, `CN=a\,b,O=x\2C`, `CN="`, `O=a "b,OU=1,CN=c`, "CN=a,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		dn, err := ParseDN(s)
		if err != nil {
			return
		}
		if dn.CN == "" {
			t.Error("a name without CN")
		}
		if dn.CN != fold(dn.CN) {
			t.Errorf("fold is not stable: %q then %q", dn.CN, fold(dn.CN))
		}
	})
}

func FuzzReadWhiteList(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(strings.Replace(small, "</ListeBl", `<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/></ListeBl`, 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := readWhiteList(b, anySigner); err == nil && !bytes.Contains(b, []byte("SignatureValue")) {
			t.Error("accepted without a signature")
		}
	})
}
