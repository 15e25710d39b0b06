package webd

import (
	"net/http"
)

// connectionsPage lists where the person is signed in.
type connectionsPage struct {
	Sessions []Session
	Mine     Session
}

func (s *Server) connections(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	list, err := s.SignIn.Sessions(r.Context(), v.session)
	if err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "connections", page{Title: s.words(r).T("connections.title"), Nav: "connections",
		Data: connectionsPage{Sessions: list, Mine: v.session}})
}

// endConnections signs the person out everywhere, here too.
func (s *Server) endConnections(w http.ResponseWriter, r *http.Request) error {
	if err := s.SignIn.EndAll(r.Context(), visitOf(r).session); err != nil {
		return err
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.visits.end(c.Value)
	}
	clearCookie(w)
	http.Redirect(w, r, "/connexion?etat=partout", http.StatusSeeOther)
	return nil
}
