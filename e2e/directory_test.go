package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/go-ldap/ldap/v3"

	"pli/internal/invent"
)

const ldapBase = "ou=annuaire,o=mssante,c=fr"

// ldapsearch asks an operator's directory as an account. The tool takes 127.0.0.1: for
// localhost it expects a certificate in the name of the machine.
func (d *demo) ldapsearch(t *testing.T, a account, args ...string) (string, int) {
	t.Helper()
	rc := filepath.Join(t.TempDir(), "ldaprc")
	if err := os.WriteFile(rc, []byte("TLS_CACERT "+d.path(d.CA)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"LDAPCONF=" + rc, need(t, "ldapsearch"), "-LLL", "-x", "-o", "ldif-wrap=no", "-D", a.Address, "-w", a.Password, "-b", ldapBase}, args...)
	return tool(t, "", "env", args...)
}

func (d *demo) ldaps(a account) []string {
	return []string{"-H", "ldaps://" + d.Operators[a.Operator].LDAPS}
}

// mails are the addresses in an answer of ldapsearch.
func mails(ldif string) (out []string) {
	for line := range strings.Lines(ldif) {
		if m, ok := strings.CutPrefix(strings.TrimSpace(line), "mail: "); ok {
			out = append(out, m)
		}
	}
	return out
}

// Somebody completes an address in his mail program: the colleague of the other operator
// is there, typing errors are forgiven, patients are not to be found.
func TestAddressBookOverLDAP(t *testing.T) {
	karim := house.who(t, "karim.haddad")
	completion := func(s string) string {
		return fmt.Sprintf("(|(cn=%[1]s*)(mail=%[1]s*)(sn=%[1]s*)(givenName=%[1]s*))", s)
	}
	for _, way := range [][]string{house.ldaps(karim), {"-ZZ", "-H", "ldap://" + house.Operators[0].LDAP}} {
		out, code := house.ldapsearch(t, karim, append(way, completion("alice ro"), "mail", "displayName", "title")...)
		if got := mails(out); code != 0 || len(got) != 1 || got[0] != house.who(t, "alice.roy").Address {
			t.Fatalf("%v: exit %d\n%s", way, code, out)
		}
	}
	out, _ := house.ldapsearch(t, karim, append(house.ldaps(karim), "-z", "10", completion("hadad"), "mail")...)
	if !strings.Contains(out, karim.Address) {
		t.Errorf("a letter less, and nobody is found:\n%s", out)
	}
	jeanne := house.who(t, "jeanne")
	for _, filter := range []string{"(mail=" + jeanne.Address + ")", "(mail=" + jeanne.INS + "*)", "(cn=*petit*jeanne*)", "(mail=*@patient.*)"} {
		out, code := house.ldapsearch(t, karim, append(house.ldaps(karim), filter, "mail")...)
		for _, m := range mails(out) {
			if strings.Contains(m, "patient") || strings.Contains(m, jeanne.INS) {
				t.Errorf("%s: exit %d, a patient is in the directory:\n%s", filter, code, out)
			}
		}
	}
	if out, code := house.ldapsearch(t, account{Operator: 0, Address: karim.Address, Password: "faux-faux-faux-faux-faux"}, append(house.ldaps(karim), "(cn=a*)")...); code != 49 {
		t.Errorf("a wrong password: exit %d\n%s", code, out)
	}
	if out, code := house.ldapsearch(t, karim, "-H", "ldap://"+house.Operators[0].LDAP, "(cn=a*)"); code != 13 {
		t.Errorf("a password in clear: exit %d\n%s", code, out)
	}
}

// fhir asks over FHIR and returns the bundle.
func (d *demo) fhir(t *testing.T, a account, path string) (total int, text string) {
	t.Helper()
	out, code := d.curl(t, append(signIn(a), "-H", "Accept: application/fhir+json", d.Operators[a.Operator].FHIR+path)...)
	var b struct {
		ResourceType string
		Entry        []struct{ Search struct{ Mode string } }
	}
	if err := json.Unmarshal([]byte(out), &b); code != 0 || err != nil || b.ResourceType != "Bundle" {
		t.Fatalf("%s: exit %d, %v\n%.1000s", path, code, err, out)
	}
	for _, e := range b.Entry {
		if e.Search.Mode == "match" {
			total++
		}
	}
	return total, out
}

// The liste rouge hides a BAL behind every door at once, and shows it again.
func TestListeRougeEverywhere(t *testing.T) {
	karim, box := house.who(t, "karim.haddad"), newBox(t, "discrete."+strings.ToLower(mark("rouge")), "--rpps", newRPPS())
	local, _, _ := strings.Cut(box.Address, "@")
	set := func(flag string) {
		if out, code := house.pli(t, 0, "bal", "set", box.Address, flag); code != 0 {
			t.Fatalf("bal set %s: exit %d\n%s", flag, code, out)
		}
	}
	shown := func() (ldap, fhir, command bool) {
		out, _ := house.ldapsearch(t, karim, append(house.ldaps(karim), "(mail="+local+"*)", "mail")...)
		n, _ := house.fhir(t, karim, "/Practitioner?mailbox-mss="+local)
		words, _ := house.pli(t, 0, "directory", "search", box.Address)
		return len(mails(out)) == 1, n == 1, strings.Contains(words, box.Address)
	}
	if l, f, c := shown(); !l || !f || !c {
		t.Fatalf("before: LDAP %v, FHIR %v, command %v", l, f, c)
	}
	set("--unlisted")
	if l, f, c := shown(); l || f || c {
		t.Fatalf("on the liste rouge: LDAP %v, FHIR %v, command %v", l, f, c)
	}
	if out, code := house.swaks(t, karim, box.Address, "--body", "Elle reçoit pourtant."); code != 0 {
		t.Errorf("a BAL on the liste rouge receives: exit %d\n%s", code, out)
	}
	set("--no-unlisted")
	if l, f, c := shown(); !l || !f || !c {
		t.Fatalf("after: LDAP %v, FHIR %v, command %v", l, f, c)
	}
}

// Somebody writes to an address that was closed: the refusal names the present one.
func TestRefusalNamesThePresentAddress(t *testing.T) {
	alice, old, now := house.who(t, "alice.roy"), newBox(t, "ancien."+strings.ToLower(mark("ferme"))), newBox(t, "nouveau."+strings.ToLower(mark("ouvert")))
	if out, code := house.pli(t, 0, "bal", "close", old.Address, "--replacement", now.Address, "--cause", "demenagement"); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	karim := house.who(t, "karim.haddad")
	if out, code := house.swaks(t, karim, old.Address, "--body", "Bonjour"); code == 0 || !strings.Contains(out, now.Address) || !strings.Contains(out, "5.2.1") {
		t.Errorf("at submission: exit %d\n%s", code, out)
	}
	m := mark("retour")
	if out, code := house.swaks(t, alice, old.Address, "--h-Subject", m, "--body", "Bonjour"); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	var uids []string
	eventually(t, "the report of the failure", func() bool { uids = house.find(t, alice, "INBOX", m); return len(uids) == 1 })
	if got := house.fetch(t, alice, "INBOX", uids[0]); !strings.Contains(got, strings.SplitN(now.Address, "@", 2)[0]) {
		t.Errorf("the report does not name the present address:\n%.3000s", got)
	}
	jeanne := house.who(t, "jeanne")
	near := "258039999904221" + strings.TrimPrefix(jeanne.Address, jeanne.INS)
	if out, _ := house.swaks(t, karim, near, "--body", "x"); strings.Contains(out, jeanne.Address) || strings.Contains(out, "annuaire :") {
		t.Errorf("a patient's address is suggested:\n%s", out)
	}
}

// newRPPS makes a number of the range of invented people, with its Luhn digit.
func newRPPS() string {
	s := fmt.Sprintf("8996%06d", rand.IntN(1_000_000))
	sum := 0
	for i, c := range s {
		n := int(c - '0')
		if i%2 == 1 { // the last of the ten is doubled
			n = n*2/10 + n*2%10
		}
		sum += n
	}
	return s + fmt.Sprint((10-sum%10)%10)
}

// A phone keeps the address book of its establishment, and does not copy the directory.
func TestPhoneOverCardDAV(t *testing.T) {
	karim := house.who(t, "karim.haddad")
	dir := t.TempDir()
	config := fmt.Sprintf(`[general]
status_path = %q
[pair p]
a = "pli"
b = "here"
collections = ["from a"]
conflict_resolution = "a wins"
[storage pli]
type = "carddav"
url = %q
username = %q
password = %q
verify = %q
read_only = true
[storage here]
type = "filesystem"
path = %q
fileext = ".vcf"
`, filepath.Join(dir, "status"), house.Operators[0].DAV, karim.Address, karim.Password, house.path(house.CA), filepath.Join(dir, "cards"))
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	vdirsyncer := need(t, "vdirsyncer")
	for _, args := range [][]string{{"discover"}, {"sync"}, {"sync"}} {
		if out, code := tool(t, "y\ny\ny\n", vdirsyncer, append([]string{"-c", path}, args...)...); code != 0 {
			t.Fatalf("vdirsyncer %v: exit %d\n%s", args, code, out)
		}
	}
	cards, _ := filepath.Glob(filepath.Join(dir, "cards", "*", "*.vcf"))
	var all strings.Builder
	for _, c := range cards {
		b, err := os.ReadFile(c)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	if len(cards) == 0 || len(cards) > 50 || !strings.Contains(all.String(), karim.Address) {
		t.Errorf("%d cards on the phone:\n%.2000s", len(cards), all.String())
	}
	if strings.Contains(all.String(), "patient.") {
		t.Error("a patient is on the phone")
	}
}

// A hundred people search while the national directory is replaced twice: nobody waits
// for it, nobody is refused.
func TestSearchersWhileAnImportSwaps(t *testing.T) {
	roy := house.who(t, "alice.roy")
	dir := t.TempDir()
	var files []string
	for day := range 2 {
		sub := filepath.Join(dir, fmt.Sprint(day))
		if err := os.Mkdir(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		paths, err := invent.WriteFiles(sub, invent.Options{Seed: 1, Size: 3000, Others: 500, At: time.Now().Add(time.Duration(day+1) * time.Hour), Day: day + 1})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, paths[0])
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var searches, found atomic.Int64
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			c, err := house.dialLDAP(roy)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for n := i; ctx.Err() == nil; n++ {
				prefix := []string{"pet", "mar", "hel", "cab", "sec", "dup", "ber", "phar"}[n%8]
				got, err := c.Search(ldap.NewSearchRequest(ldapBase, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 10, 0, false,
					fmt.Sprintf("(|(cn=%[1]s*)(mail=%[1]s*)(sn=%[1]s*))", prefix), []string{"mail"}, nil))
				if err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
					t.Errorf("search %d: %v", n, err)
					return
				}
				searches.Add(1)
				found.Add(int64(len(got.Entries)))
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	for _, f := range files {
		if out, code := house.pli(t, 1, "directory", "import", f); code != 0 {
			t.Errorf("import: exit %d\n%s", code, out)
		}
	}
	stop()
	wg.Wait()
	t.Logf("%d searches, %d entries, while %d files were imported", searches.Load(), found.Load(), len(files))
	if searches.Load() < 500 || found.Load() == 0 {
		t.Errorf("%d searches found %d", searches.Load(), found.Load())
	}
}

func (d *demo) dialLDAP(a account) (*ldap.Conn, error) {
	pem, err := os.ReadFile(d.path(d.CA))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	_, port, _ := net.SplitHostPort(d.Operators[a.Operator].LDAPS)
	c, err := ldap.DialURL("ldaps://localhost:"+port, ldap.DialWithTLSConfig(&tls.Config{RootCAs: roots, ServerName: "localhost"}))
	if err != nil {
		return nil, err
	}
	if err := c.Bind(a.Address, a.Password); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// A professional signs in, finds a colleague by profession and place, and sees a
// structure's page; the patient finds him too, and neither sees a patient.
func TestDirectoryInABrowser(t *testing.T) {
	p := house.browse(t, 0, 390)
	p.signIn(house.who(t, "karim.haddad"))
	p.open("/annuaire")
	p.do(chromedp.SendKeys("#qui", "cardiologue"), chromedp.SendKeys("#ou", "lyon"))
	p.press("form[action$='/annuaire'] button")
	p.expect("ROY", "Alice", "CENTRE HOSPITALIER SAINT-EXEMPLE")
	if at := p.location(); strings.Contains(at, "cardiologue") || strings.Contains(at, "lyon") {
		t.Errorf("what was searched is in the address: %s", at)
	}
}
