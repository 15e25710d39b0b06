package webd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"pli/app"
	"pli/directory"
	"pli/directory/listing"
	"pli/health"
	"pli/internal/house"
	"pli/internal/pg"
	"pli/internal/sample"
	"pli/mail"
)

// journal collects the events of a house.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// person is somebody with a browser.
type person struct {
	*testing.T
	http.Client
	base string
}

func browse(t *testing.T, h *house.House) *person {
	t.Helper()
	pem, err := os.ReadFile(h.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{T: t, base: "https://" + h.Addr("web.listen")}
	p.Jar = jar
	p.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	t.Cleanup(p.CloseIdleConnections)
	return p
}

// open reads a page, redirections followed; post sends a form.
func (p *person) open(path string) (status int, at, body string) {
	p.Helper()
	return p.read(p.Get(p.base + path))
}

func (p *person) post(path string, form url.Values) (status int, at, body string) {
	p.Helper()
	return p.read(p.PostForm(p.base+path, form))
}

func (p *person) read(resp *http.Response, err error) (int, string, string) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return resp.StatusCode, resp.Request.URL.Path, strings.NewReplacer("\u00a0", " ", "\u202f", " ", "&#39;", "'").Replace(string(b))
}

func (p *person) signIn(login, password, secret string) string {
	p.Helper()
	p.post("/connexion", url.Values{"identifiant": {login}, "motdepasse": {password}})
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		p.Fatal(err)
	}
	_, at, body := p.post("/connexion/code", url.Values{"code": {code}})
	if !strings.Contains(body, "Se déconnecter") {
		p.Fatalf("not signed in, at %s", at)
	}
	return at
}

const (
	phrase = "une phrase de passe assez longue"
	clinic = "990000131"
)

// people makes who signs in, and returns their second factors.
func people(t *testing.T, h *house.House) (doctor, patient app.Made) {
	t.Helper()
	cabinet := &directory.Structure{SIRET: "99000000100017", Name: "SCM DES HALLES", TradeName: "Cabinet des Halles", Street: "12 rue des Halles", PostalCode: "69003", City: "LYON"}
	make := func(n app.NewBox) app.Made {
		t.Helper()
		m, err := h.CreateBox(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	doctor = make(app.NewBox{Kind: health.PER, Address: mail.MustAddress("karim.zouaviole@" + h.Domain), Structure: cabinet, Pending: true, Login: "karim.z", Password: phrase,
		Person: &directory.Person{RPPS: "89970000017", Civility: "DR", FamilyName: "ZOUAVIOLE", GivenName: "Karim", Profession: "10", KnowHow: "SM54"}})
	make(app.NewBox{Kind: health.PER, Address: mail.MustAddress("rose.cachemire@" + h.Domain), Structure: cabinet, Unlisted: true,
		Person: &directory.Person{RPPS: "89970000025", Civility: "DR", FamilyName: "CACHEMIRE", GivenName: "Rose", Profession: "10", KnowHow: "SM54"}})
	make(app.NewBox{Kind: health.ORG, Address: mail.MustAddress("preadmission@" + h.Domain), DisplayName: "Préadmission chirurgie", Service: "Chirurgie", Description: "Préparer une hospitalisation", Hours: "Lundi à vendredi",
		Structure: &directory.Structure{FINESS: clinic, Name: "CLINIQUE DES ORMELLES", Street: "1 allée des Ormelles", PostalCode: "69100", City: "VILLEURBANNE", Presentation: "Une clinique de chirurgie.", Preparation: "Venez à jeun."}})
	p := sample.People()[0]
	a := mail.MustAddress(p.Address("patient." + h.Domain))
	ins, err := health.ParseINS(p.INS)
	if err != nil {
		t.Fatal(err)
	}
	patient = make(app.NewBox{Kind: health.Patient, Address: a, INS: ins, OID: p.OID, Traits: p.Traits(), Login: "aline", Password: phrase})
	return doctor, patient
}

// publish makes known professionals of elsewhere: homonyms of ours, and many of one name.
func publish(t *testing.T, h *house.House) {
	t.Helper()
	now := time.Now().UTC()
	var ls []listing.Listing
	for i := range 50 {
		ls = append(ls, listing.Listing{Kind: health.PER, Address: fmt.Sprintf("p%02d@mss-b.example", i), PPType: "8", PP: fmt.Sprintf("8997000%04d", 100+i), Profession: "10", ProfessionLabel: "Médecin",
			FamilyName: "TERREBLANQUE", GivenName: fmt.Sprintf("JEAN-%c%c", 'A'+i/26, 'A'+i%26), PostalCode: fmt.Sprintf("750%02d", 1+i%20), City: "PARIS"})
	}
	ls = append(ls, listing.Listing{Kind: health.PER, Address: "k.zouaviole@mss-b.example", PPType: "8", PP: "89970000017", Rank: 2, Profession: "10", ProfessionLabel: "Médecin", FamilyName: "ZOUAVIOLE", GivenName: "KARIM",
		PlaceType: "FINESS", Place: clinic, Structure: "CLINIQUE DES ORMELLES", Service: "Urgences", PostalCode: "69100", City: "VILLEURBANNE"})
	marks := make([]string, len(listing.Columns))
	for i, c := range listing.Columns {
		if marks[i] = fmt.Sprintf("$%d", i+1); c == "words" {
			marks[i] += "::text::tsvector"
		}
	}
	insert := "INSERT INTO listing_a (" + strings.Join(listing.Columns, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ")"
	err := h.DB.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		for _, l := range ls {
			l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
			l.SinceAt, l.ChangedAt, l.SeenAt = now, now, now
			if _, err := tx.Exec(ctx, insert, l.Row()...); err != nil {
				return err
			}
			words := map[string]bool{}
			l.Vocabulary(func(w string) { words[w] = true })
			for w := range words {
				if _, err := tx.Exec(ctx, "INSERT INTO word_a VALUES ($1) ON CONFLICT DO NOTHING", w); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var hits = regexp.MustCompile(`<h3 class="hit-name"><a href="([^"]+)">([^<]+)`)

// The whole house: a professional accepts the conditions and looks people up, a patient
// too; the liste rouge and patients are nowhere; events and traces tell nothing.
func TestDirectoryOfAHouse(t *testing.T) {
	var events journal
	h := house.Start(t, house.Options{Log: &events})
	doctor, patient := people(t, h)
	publish(t, h)

	pro := browse(t, h)
	if at := pro.signIn("karim.z", phrase, doctor.TOTPSecret); at != "/ps/conditions" {
		t.Fatalf("a professional who has not accepted the conditions comes to %s", at)
	}
	if _, at, _ := pro.open("/annuaire"); at != "/ps/conditions" {
		t.Errorf("/annuaire leads to %s before the conditions", at)
	}
	if status, at, body := pro.post("/ps/conditions", url.Values{"edition": {app.TermsVersion}}); at != "/ps" || !strings.Contains(body, "Bonjour ZOUAVIOLE Karim") {
		t.Fatalf("accepting: %d at %s", status, at)
	}
	for _, path := range []string{"/messages", "/dossier", "/acces/historique"} {
		if status, _, body := pro.open(path); status != 403 || !strings.Contains(body, "celle des patients") {
			t.Errorf("%s for a professional: %d", path, status)
		}
	}
	_, _, body := pro.open("/ps/boite")
	for _, want := range []string{"Votre boîte est publiée", "Cabinet des Halles", "karim.zouaviole@" + h.Domain} {
		if !strings.Contains(body, want) {
			t.Errorf("his own box: no %q", want)
		}
	}
	lookUp(t, pro, h)

	citizen := browse(t, h)
	if at := citizen.signIn("aline", phrase, patient.TOTPSecret); at != "/" {
		t.Errorf("a patient comes to %s", at)
	}
	if status, _, body := citizen.open("/ps/boite"); status != 403 || !strings.Contains(body, "celle des professionnels") {
		t.Errorf("a professional's page for a patient: %d", status)
	}
	_, _, body = citizen.post("/annuaire", url.Values{"qui": {"zouaviole"}})
	if found := hits.FindAllStringSubmatch(body, -1); len(found) != 2 || strings.Contains(body, "mailto:") {
		t.Errorf("a patient finds %d", len(found))
	}
	_, _, body = citizen.post("/annuaire", url.Values{"qui": {"champfleury"}})
	if !strings.Contains(body, "Aucun résultat.") {
		t.Error("a patient is in the directory")
	}
	if _, _, body = citizen.open("/acces/historique"); !strings.Contains(body, "consulté l'annuaire") {
		t.Error("that the patient asked the directory is in no trace")
	}
	if text := events.String(); regexp.MustCompile(`(?i)zouaviole|cachemire|champfleury|ormelle|terreblanque|villeurbanne|mss-b\.example`).MatchString(text) {
		t.Errorf("the events tell what was asked or found:\n%.3000s", text)
	}
	agreed(t, h, doctor)
}

// lookUp asks what a professional asks.
func lookUp(t *testing.T, pro *person, h *house.House) {
	t.Helper()
	ask := func(who, where string) (names []string, first, body string) {
		_, _, body = pro.post("/annuaire", url.Values{"qui": {who}, "ou": {where}})
		for _, m := range hits.FindAllStringSubmatch(body, -1) {
			names = append(names, m[2])
			if first == "" {
				first = m[1]
			}
		}
		return names, first, body
	}
	names, first, body := ask("zouaviole karim", "")
	if len(names) != 2 || !strings.Contains(body, "À utiliser de préférence") || !strings.Contains(body, "mailto:karim.zouaviole@"+h.Domain) {
		t.Errorf("one professional in two places: %q", names)
	}
	_, _, page := pro.open(first)
	for _, want := range []string{"ZOUAVIOLE Karim", "Médecin généraliste", "12 rue des Halles", "Ses autres boîtes", "CLINIQUE DES ORMELLES", "Revenir aux résultats"} {
		if !strings.Contains(page, want) {
			t.Errorf("his page: no %q", want)
		}
	}
	if names, _, _ = ask("zouaviole", "villeurbanne"); len(names) != 1 {
		t.Errorf("in one town: %q", names)
	}
	if names, _, _ = ask("", "clinique ormelles"); len(names) != 2 {
		t.Errorf("by the structure: %q", names)
	}
	if names, _, _ = ask("terreblanque", "Paris 3e"); len(names) != 3 {
		t.Errorf("in one arrondissement: %q", names)
	}
	if names, _, body = ask("zouaviolle", ""); len(names) != 2 || !strings.Contains(body, "orthographe proche") {
		t.Errorf("misspelt: %q", names)
	}
	for _, who := range []string{"cachemire", "rose.cachemire@" + h.Domain, "89970000025"} {
		if _, _, body = ask(who, ""); !strings.Contains(body, "Aucun résultat.") {
			t.Errorf("somebody on the liste rouge was found by %q", who)
		}
	}
	_, _, body = pro.open("/annuaire/s/finess-" + clinic)
	for _, want := range []string{"CLINIQUE DES ORMELLES", "Une clinique de chirurgie.", "Venez à jeun.", "Préadmission chirurgie", "Préparer une hospitalisation", "Lundi à vendredi", "ZOUAVIOLE Karim"} {
		if !strings.Contains(body, want) {
			t.Errorf("the structure's page: no %q", want)
		}
	}
	next := regexp.MustCompile(`<a href="(/annuaire/r/[^"#]+)#resultats" rel="next"`)
	_, _, body = ask("terreblanque", "")
	seen := map[string]bool{}
	for range 10 {
		for _, m := range hits.FindAllStringSubmatch(body, -1) {
			seen[m[2]] = true
		}
		m := next.FindStringSubmatch(body)
		if m == nil {
			break
		}
		_, _, body = pro.open(m[1])
	}
	if len(seen) != 50 {
		t.Errorf("%d of 50 people on all pages", len(seen))
	}
}

// agreed checks that the agreement is traced, with its author, and that the directory was
// opened once.
func agreed(t *testing.T, h *house.House, doctor app.Made) {
	t.Helper()
	rows, err := h.Audit.Read(t.Context(), fmt.Sprintf("bal:%d", doctor.BAL), 0, 50)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range rows {
		if r.Actor == fmt.Sprintf("account:%d", doctor.Account) {
			count[r.Action]++
		}
	}
	if count["accept-terms"] != 1 || count["open-directory"] != 1 {
		t.Errorf("traces of the professional: %v", count)
	}
}
