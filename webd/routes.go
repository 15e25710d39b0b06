package webd

import (
	"net/http"
)

// routes is the whole map of the site. A public page takes anybody, a private one a
// visit; what changes something is a POST.
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

	m.Handle("GET /prolonger", s.private(s.stay))
	m.Handle("GET /reglages/connexions", s.private(s.connections))
	m.Handle("POST /reglages/connexions/fermer", s.private(s.endConnections))
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
	m.Handle("/", s.public(s.nowhere))
	return m
}
