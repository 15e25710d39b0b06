package webd

import (
	"encoding/json"
	"fmt"
	"testing"

	"pli/internal/ticket"
)

// place is one page in one state.
type place struct {
	name string
	path func(h *house) string
	seen audience // 0 is strangers
}

// places lists every page that a GET shows.
func places() []place {
	at := func(path string) func(*house) string { return func(*house) string { return path } }
	letter := func(i int, more string) func(*house) string {
		return func(h *house) string { return "/messages/" + h.letters[i].ID.String() + more }
	}
	box := func(address string) func(*house) string {
		return func(h *house) string { return "/annuaire/b/" + h.listings.called(address).Key.String() }
	}
	asking := func(pro bool, a ask) func(*house) string {
		return func(*house) string {
			ses := Session{Account: 7}
			if pro {
				ses = doctorSession
			}
			return "/annuaire/r/" + testTicket(ses, a) + "#resultats"
		}
	}
	doc := func(i int) func(*house) string {
		return func(h *house) string { return "/dossier/" + h.docs[i].ID.String() }
	}
	return []place{
		{"accueil-public", at("/"), 0}, {"connexion", at("/connexion"), 0}, {"connexion-fin", at("/connexion?etat=fin"), 0},
		{"aide", at("/aide"), 0}, {"accessibilite", at("/accessibilite"), 0}, {"securite", at("/securite"), 0}, {"introuvable", at("/rien"), 0},
		{"accueil", at("/"), patients}, {"messages", at("/messages"), patients}, {"messages-page-2", at("/messages?page=2"), patients},
		{"messages-non-lus", at("/messages?filtre=non-lus"), patients}, {"messages-termines", at("/messages?filtre=termines"), patients},
		{"conversation", letter(0, ""), patients}, {"conversation-archive", letter(3, ""), patients}, {"conversation-abimee", letter(4, "?fait=envoye#etat"), patients},
		{"conversation-fin", letter(5, ""), patients}, {"conversation-html", letter(6, ""), patients}, {"corps", letter(6, "/corps"), patients},
		{"piece-cda", letter(3, "/2/1/ouvrir"), patients}, {"dossier", at("/dossier"), patients}, {"dossier-imagerie", at("/dossier?categorie=imaging"), patients},
		{"document-cda", doc(0), patients}, {"document-remplace", doc(2), patients}, {"document-pdf", doc(3), patients}, {"document-tiff", doc(4), patients},
		{"historique", at("/acces/historique"), patients}, {"historique-soignants", at("/acces/historique?qui=soignants"), patients}, {"prolonger", at("/prolonger"), patients}, {"connexions", at("/reglages/connexions"), patients},

		{"annuaire", at("/annuaire"), patients}, {"annuaire-resultats", asking(false, ask{Who: "haddad"}), patients},
		{"annuaire-filtres", asking(false, ask{Who: "dupont", Where: "Paris 3", Profession: "10", Kind: onlyPersons}), patients},
		{"annuaire-suite", asking(false, ask{Who: "dupont", After: "20"}), patients}, {"annuaire-proche", asking(false, ask{Who: "hadad"}), patients},
		{"annuaire-rien", asking(false, ask{Who: "zzyzx"}), patients}, {"annuaire-expire", at("/annuaire/r/AAAA"), patients},
		{"boite-fermee", box(haddad), patients}, {"boite-ouverte", box("pharmacie@mss-a.example"), patients}, {"boite-service", box(preadmission), patients},
		{"structure", at("/annuaire/s/finess-" + clinic), patients}, {"structure-sans-fiche", at("/annuaire/s/finess-" + pharmacy), patients},
		{"structure-personnes", asking(false, ask{Places: []string{clinic}, Kind: onlyPersons}), patients}, {"refuse-patient", at("/ps"), patients},

		{"ps", at("/ps"), professionals}, {"ps-boite", at("/ps/boite"), professionals}, {"ps-conditions", at("/ps/conditions"), professionals},
		{"ps-annuaire", at("/annuaire"), professionals}, {"ps-resultats", asking(true, ask{Who: "haddad"}), professionals},
		{"ps-fiche", box(haddad), professionals}, {"ps-structure", at("/annuaire/s/finess-" + clinic), professionals},
		{"ps-connexions", at("/reglages/connexions"), professionals}, {"refuse-professionnel", at("/dossier"), professionals},
	}
}

// testTicket is what the door of the tests would make.
func testTicket(ses Session, a ask) string {
	o, err := ticket.New([]byte(testSecret))
	if err != nil {
		panic(err)
	}
	b, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return o.Seal(b, ses.bearer(), testNow.Add(ticketTime))
}

// eachPlace visits the pages that ask for a sign-in: the patient's, then the
// professional's.
func (tb *tab) eachPlace(look func(p place)) {
	tb.Helper()
	for _, who := range []audience{patients, professionals} {
		if who == professionals {
			tb.submit("form[action='/deconnexion'] button")
			tb.signInAs(doctorLogin, doctorPassword)
		} else {
			tb.signIn()
		}
		for _, p := range places() {
			if p.seen == who {
				look(p)
			}
		}
	}
}

func TestShots(t *testing.T) {
	if *shotsDir == "" {
		t.Skip("-shots names no folder: no pictures taken")
	}
	for _, width := range []int64{360, 1280} {
		h := newHouse()
		tb := newTab(t, door(t, h).URL, width)
		for _, p := range places() {
			if p.seen != 0 {
				continue
			}
			tb.goTo(p.path(h))
			tb.shot(fmt.Sprintf("%s-%d", p.name, width))
		}
		tb.eachPlace(func(p place) {
			tb.goTo(p.path(h))
			tb.shot(fmt.Sprintf("%s-%d", p.name, width))
		})
	}
}
