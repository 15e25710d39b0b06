package webd

import (
	"fmt"
	"testing"
)

// place is one page in one state.
type place struct {
	name string
	path func(h *house) string
	open bool // for everybody
}

// places lists every page that a GET shows.
func places() []place {
	at := func(path string) func(*house) string { return func(*house) string { return path } }
	letter := func(i int, more string) func(*house) string {
		return func(h *house) string { return "/messages/" + h.letters[i].ID.String() + more }
	}
	doc := func(i int) func(*house) string {
		return func(h *house) string { return "/dossier/" + h.docs[i].ID.String() }
	}
	return []place{
		{"accueil-public", at("/"), true}, {"connexion", at("/connexion"), true}, {"connexion-fin", at("/connexion?etat=fin"), true},
		{"aide", at("/aide"), true}, {"accessibilite", at("/accessibilite"), true}, {"securite", at("/securite"), true}, {"introuvable", at("/rien"), true},
		{"accueil", at("/"), false}, {"messages", at("/messages"), false}, {"messages-page-2", at("/messages?page=2"), false},
		{"messages-non-lus", at("/messages?filtre=non-lus"), false}, {"messages-termines", at("/messages?filtre=termines"), false},
		{"conversation", letter(0, ""), false}, {"conversation-archive", letter(3, ""), false}, {"conversation-abimee", letter(4, "?fait=envoye#etat"), false},
		{"conversation-fin", letter(5, ""), false}, {"conversation-html", letter(6, ""), false}, {"corps", letter(6, "/corps"), false},
		{"piece-cda", letter(3, "/2/1/ouvrir"), false}, {"dossier", at("/dossier"), false}, {"dossier-imagerie", at("/dossier?categorie=imaging"), false},
		{"document-cda", doc(0), false}, {"document-remplace", doc(2), false}, {"document-pdf", doc(3), false}, {"document-tiff", doc(4), false},
		{"historique", at("/acces/historique"), false}, {"historique-soignants", at("/acces/historique?qui=soignants"), false}, {"prolonger", at("/prolonger"), false}, {"connexions", at("/reglages/connexions"), false},
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
			if !p.open {
				continue
			}
			tb.goTo(p.path(h))
			tb.shot(fmt.Sprintf("%s-%d", p.name, width))
		}
		tb.signIn()
		for _, p := range places() {
			if p.open {
				continue
			}
			tb.goTo(p.path(h))
			tb.shot(fmt.Sprintf("%s-%d", p.name, width))
		}
	}
}
