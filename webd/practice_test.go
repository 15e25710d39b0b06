package webd

import (
	"net/url"
	"strings"
	"testing"

	"pli/fault"
	"pli/health"
)

// Each page of the space, for each kind of person: what is not one's own is refused in
// words, and nothing of it is shown.
func TestEachPageHasItsPeople(t *testing.T) {
	h := newHouse()
	srv := door(t, h)
	letter, doc := h.letters[2].ID.String(), h.docs[0].ID.String()
	key := h.listings.called(haddad).Key.String()
	pages := map[audience][]string{
		patients: {"GET /messages", "GET /messages/" + letter, "GET /messages/" + letter + "/corps", "GET /messages/" + letter + "/repondre", "POST /messages/" + letter + "/repondre",
			"GET /messages/" + letter + "/2/0/ouvrir", "GET /messages/" + letter + "/2/0/fichier", "POST /messages/" + letter + "/2/0/ranger",
			"GET /dossier", "GET /dossier/" + doc, "GET /dossier/" + doc + "/ouvrir", "GET /dossier/" + doc + "/fichier", "GET /acces/historique"},
		professionals: {"GET /ps", "GET /ps/boite", "GET /ps/conditions", "POST /ps/conditions"},
		everybody:     {"GET /annuaire", "POST /annuaire", "GET /annuaire/b/" + key, "GET /annuaire/s/finess-" + clinic, "GET /reglages/connexions", "GET /prolonger"},
	}
	clients := map[audience]*client{0: newClient(t, srv), patients: newClient(t, srv).signIn(), professionals: newClient(t, srv).signInAs(doctorLogin, doctorPassword)}
	for whose, list := range pages {
		for _, page := range list {
			method, path, _ := strings.Cut(page, " ")
			for who, c := range clients {
				var a answer
				if method == "GET" {
					a = c.get(path)
				} else {
					a = c.post(path, url.Values{"qui": {"haddad"}})
				}
				switch {
				case who == 0:
					if a.StatusCode != 303 || !strings.HasPrefix(a.Header.Get("Location"), "/connexion") {
						t.Errorf("%s, a stranger: %d", page, a.StatusCode)
					}
				case whose&who == 0:
					if a.StatusCode != 403 || !strings.Contains(a.body, "Cette page est celle des p") || strings.Contains(a.body, "Passez me voir") || strings.Contains(a.body, "Hémoglobine") {
						t.Errorf("%s, by %d: %d", page, who, a.StatusCode)
					}
				case a.StatusCode >= 400 && a.StatusCode != 404 && !strings.HasSuffix(path, "/repondre"):
					t.Errorf("%s, by %d: %d", page, who, a.StatusCode)
				}
			}
		}
	}
	if len(h.agreements) != 0 || len(h.sent) != 0 {
		t.Error("something was done by a page of somebody else")
	}
}

// A professional comes to his own space; no letterbox and no record is opened for him.
func TestProfessionalSignsIn(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signInAs(doctorLogin, doctorPassword)
	if a := c.get("/"); a.StatusCode != 303 || a.Header.Get("Location") != "/ps" {
		t.Errorf("home: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	body := c.get("/ps").body
	if !strings.Contains(body, "Bonjour HADDAD Karim") || !strings.Contains(body, `href="/annuaire"`) || strings.Contains(body, `href="/messages"`) || strings.Contains(body, `href="/dossier"`) {
		t.Errorf("%.600s", body)
	}
	if body = c.get("/aide").body; !strings.Contains(body, `href="/ps/boite"`) {
		t.Error("the leaflets do not know the professional")
	}
	if h.opened != 0 {
		t.Error("a letterbox was opened")
	}
}

// Nothing opens before the conditions of use are accepted; the agreement is to the edition
// that was shown, once.
func TestTerms(t *testing.T) {
	h := newHouse()
	h.doctor.TermsVersion = ""
	c := newClient(t, door(t, h)).signInAs(doctorLogin, doctorPassword)
	for _, path := range []string{"/ps", "/ps/boite", "/annuaire", "/annuaire/b/" + h.listings.called(haddad).Key.String(), "/reglages/connexions"} {
		if a := c.get(path); a.StatusCode != 303 || a.Header.Get("Location") != "/ps/conditions" {
			t.Errorf("%s before: %d", path, a.StatusCode)
		}
	}
	if a := c.post("/annuaire", url.Values{"qui": {"haddad"}}); a.Header.Get("Location") != "/ps/conditions" || h.listings.opened != 0 {
		t.Errorf("a search before: %d", a.StatusCode)
	}
	a := c.get("/ps/conditions")
	if a.StatusCode != 200 || !strings.Contains(a.body, "Accepter les conditions") || !strings.Contains(a.body, "À quoi sert la boîte") || strings.Contains(a.body, `class="menu"`) || !strings.Contains(a.body, newestTerms) {
		t.Fatalf("the conditions: %d", a.StatusCode)
	}
	if a = c.post("/ps/conditions", url.Values{"edition": {"1999-01"}}); a.Header.Get("Location") != "/ps/conditions" || len(h.agreements) != 0 {
		t.Error("an edition that was not shown was accepted")
	}
	h.failTerms = fault.New(fault.Unavailable, "fake", "away")
	if a = c.post("/ps/conditions", url.Values{"edition": {newestTerms}}); a.StatusCode != 503 {
		t.Errorf("without a trace: %d", a.StatusCode)
	}
	if a = c.get("/ps"); a.StatusCode != 303 {
		t.Errorf("let in without a trace: %d", a.StatusCode)
	}
	h.failTerms = nil
	for range 2 {
		if a = c.post("/ps/conditions", url.Values{"edition": {newestTerms}}); a.Header.Get("Location") != "/ps" {
			t.Errorf("accepting: %d to %q", a.StatusCode, a.Header.Get("Location"))
		}
	}
	if len(h.agreements) != 1 || h.agreements[0] != "71 "+newestTerms {
		t.Errorf("agreements %v", h.agreements)
	}
	if a = c.get("/annuaire"); a.StatusCode != 200 {
		t.Errorf("after: %d", a.StatusCode)
	}
	if a = c.get("/ps/conditions"); !strings.Contains(plainText(a.body), "Vous avez accepté l'édition "+newestTerms) || strings.Contains(a.body, "Accepter les conditions") {
		t.Error("the conditions cannot be read again")
	}
}

// Both languages tell the same conditions; an edition without a text stops the door.
func TestTermsTexts(t *testing.T) {
	fr, err := loadTerms(newestTerms, French)
	if err != nil {
		t.Fatal(err)
	}
	en, err := loadTerms(newestTerms, English)
	if err != nil || len(en.Sections) != len(fr.Sections) || len(fr.Sections) < 8 {
		t.Fatalf("%d and %d sections (%v)", len(fr.Sections), len(en.Sections), err)
	}
	for i := range fr.Sections {
		if len(fr.Sections[i].Paragraphs) != len(en.Sections[i].Paragraphs) || len(fr.Sections[i].Paragraphs) == 0 {
			t.Errorf("section %q: %d paragraphs, %d in English", fr.Sections[i].Heading, len(fr.Sections[i].Paragraphs), len(en.Sections[i].Paragraphs))
		}
		for _, p := range fr.Sections[i].Paragraphs {
			for _, sentence := range strings.FieldsFunc(p, func(r rune) bool { return r == '.' || r == ':' || r == '?' }) {
				if n := len(strings.Fields(sentence)); n > 25 {
					t.Errorf("a sentence of %d words: %s", n, sentence)
				}
			}
		}
	}
	for _, v := range []string{"1999-01", "", "../texts/fr", "2026-11.fr"} {
		if _, err := loadTerms(v, French); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: %v", v, err)
		}
	}
	d := deps(newHouse())
	d.Config.TermsVersion = "1999-01"
	if _, err := New(d); err == nil {
		t.Error("the door opens with conditions that nobody can read")
	}
}

// The state of the box, the liste rouge and what the directory shows, in words.
func TestOwnBox(t *testing.T) {
	for name, x := range map[string]struct {
		change    func(b *Box)
		says, not []string
	}{
		"active":      {func(*Box) {}, []string{"Votre boîte est publiée", "Cabinet des Halles", "Active", "qu'après votre premier message", "annuaire.mss-a.example", "ou=annuaire,o=mssante,c=fr", "636", "Régler Thunderbird", "https://carnet.mss-a.example/"}, []string{"liste rouge.", "mailto:"}},
		"liste rouge": {func(b *Box) { b.Unlisted = true }, []string{"Vous êtes sur liste rouge.", "personne ne la trouve"}, []string{"Votre boîte est publiée", "Cabinet des Halles"}},
		"suspended": {func(b *Box) { b.State, b.ReadUntil = health.Suspended, testNow.AddDate(0, 0, 30) },
			[]string{"Votre inscription à l'annuaire n'est plus active", "Lecture possible jusqu'au 9 avril 2026", "Suspendue"}, []string{"Votre boîte est publiée"}},
		"closed":  {func(b *Box) { b.State = health.Closed }, []string{"Votre boîte est fermée."}, []string{"Votre boîte est publiée"}},
		"pending": {func(b *Box) { b.State = health.Pending }, []string{"pas encore active"}, nil},
		"open":    {func(b *Box) { b.OpenToPatients = true }, []string{"Les patients peuvent vous écrire en premier."}, nil},
	} {
		h := newHouse()
		x.change(&h.doctor)
		c := newClient(t, door(t, h)).signInAs(doctorLogin, doctorPassword)
		body := plainText(c.get("/ps/boite").body)
		for _, s := range x.says {
			if !strings.Contains(body, s) {
				t.Errorf("%s: no %q", name, s)
			}
		}
		for _, s := range x.not {
			if strings.Contains(body, s) {
				t.Errorf("%s: %q is there", name, s)
			}
		}
	}
	h := newHouse()
	h.listings.fail = fault.New(fault.Unavailable, "fake", "away")
	c := newClient(t, door(t, h)).signInAs(doctorLogin, doctorPassword)
	if a := c.get("/ps/boite"); a.StatusCode != 200 || !strings.Contains(plainText(a.body), "L'annuaire ne répond pas") {
		t.Errorf("the directory away: %d", a.StatusCode)
	}
}

// A house without a directory to search has no page for it and no entry in the menu.
func TestWithoutDirectory(t *testing.T) {
	h := newHouse()
	d := deps(h)
	d.Listings, d.Limit, d.TicketSecret = nil, nil, nil
	d.Config.AddressBook = AddressBook{}
	srv := serve(t, d)
	for _, c := range []*client{newClient(t, srv).signIn(), newClient(t, srv).signInAs(doctorLogin, doctorPassword)} {
		if a := c.get("/annuaire"); a.StatusCode != 404 || strings.Contains(a.body, `href="/annuaire"`) {
			t.Errorf("%d", a.StatusCode)
		}
	}
	c := newClient(t, srv).signInAs(doctorLogin, doctorPassword)
	for _, path := range []string{"/ps", "/ps/boite"} {
		if a := c.get(path); a.StatusCode != 200 || strings.Contains(a.body, `href="/annuaire"`) || strings.Contains(a.body, "LDAP") {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	d = deps(h)
	d.TicketSecret = []byte("short")
	if _, err := New(d); err == nil {
		t.Error("the door opens with a bad secret")
	}
	d = deps(h)
	d.Limit = nil
	if _, err := New(d); err == nil {
		t.Error("the door opens without a limit on who copies the directory")
	}
}
