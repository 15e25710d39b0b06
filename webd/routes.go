package webd

import (
	"net/http"
)

// routes is the whole map of the site. A public page takes anybody, a private one a
// patient, a practice one a professional, a shared one both; what changes something is a
// POST.
func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /static/{file}", s.assets)
	m.Handle("GET /{$}", s.public(s.home))
	m.Handle("GET /connexion", s.public(s.signInForm))
	m.Handle("POST /connexion", s.public(s.signIn))
	m.Handle("GET /connexion/code", s.public(s.codeForm))
	m.Handle("POST /connexion/code", s.public(s.code))
	m.Handle("POST /deconnexion", s.public(s.signOut))
	m.Handle("POST /langue", s.public(s.language))
	for _, name := range []string{"aide", "accessibilite", "securite"} {
		m.Handle("GET /"+name, s.public(s.leaflet(name)))
	}

	m.Handle("GET /prolonger", s.inside(everybody, s.stay))
	m.Handle("GET /reglages/connexions", s.shared(s.connections))
	m.Handle("POST /reglages/connexions/fermer", s.shared(s.endConnections))
	m.Handle("GET /messages", s.private(s.messages))
	m.Handle("GET /messages/{letter}", s.private(s.conversation))
	m.Handle("GET /messages/{letter}/corps", s.private(s.body))
	m.Handle("GET /messages/{letter}/repondre", s.private(s.replyForm))
	m.Handle("POST /messages/{letter}/repondre", s.private(s.reply))
	m.Handle("GET /messages/{letter}/{part}/{n}/ouvrir", s.private(s.openEnclosed))
	m.Handle("GET /messages/{letter}/{part}/{n}/fichier", s.private(s.downloadEnclosed))
	m.Handle("POST /messages/{letter}/{part}/{n}/ranger", s.private(s.keep))

	m.Handle("GET /dossier", s.private(s.record))
	m.Handle("GET /dossier/{doc}", s.private(s.document))
	m.Handle("GET /dossier/{doc}/ouvrir", s.private(s.openDocument))
	m.Handle("GET /dossier/{doc}/fichier", s.private(s.downloadDocument))
	m.Handle("GET /acces/historique", s.private(s.history))

	m.Handle("GET /ps", s.practice(s.practiceHome))
	m.Handle("GET /ps/boite", s.practice(s.ownBox))
	m.Handle("GET /ps/conditions", s.inside(professionals, s.conditions))
	m.Handle("POST /ps/conditions", s.inside(professionals, s.accept))
	if s.Listings != nil {
		m.Handle("GET /annuaire", s.lookUp(s.directoryForm))
		m.Handle("POST /annuaire", s.lookUp(s.seek))
		m.Handle("GET /annuaire/r/{ticket}", s.lookUp(s.results))
		m.Handle("GET /annuaire/b/{key}", s.lookUp(s.box))
		m.Handle("GET /annuaire/s/{id}", s.lookUp(s.structure))
	}
	m.Handle("/", s.public(s.nowhere))
	return m
}
