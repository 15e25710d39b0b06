package fhird

import (
	"net/http"
	"strings"

	"pli/fault"
)

// Routes, for events and counts.
const (
	routeNone     = "none"
	routeMetadata = "metadata"
	routeRead     = "read"
	routeSearch   = "search"
	routeOther    = "other" // refused: what this door does not do
)

// Methods a resource may be asked with.
const (
	allowRead   = "GET, HEAD"
	allowSearch = "POST"
)

// unsupported is a refusal of something FHIR knows and this door does not do.
type unsupported struct {
	status int
	allow  string // of 405
	text   fault.Text
}

func (u unsupported) Error() string { return "fhird.route: not supported" }

var (
	readOnly = fault.Text{FR: "Cet annuaire se lit et ne se modifie pas ici.", EN: "This directory is read only here."}
	notDone  = fault.Text{FR: "Cette opération n'est pas offerte ici.", EN: "This operation is not offered here."}
)

// route answers a request by the form of its path: [base]/metadata, [base]/Type,
// [base]/Type/_search, [base]/Type/id.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), root)
	if !ok || rest != "" && rest[0] != '/' {
		s.fail(w, r, fault.New(fault.NotFound, "fhird.route", "no-route"))
		return
	}
	parts := strings.Split(strings.Trim(rest, "/"), "/")
	n := noteOf(r)
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	var err error
	switch {
	case parts[0] == "metadata" && len(parts) == 1 && get:
		n.route = routeMetadata
		err = s.metadata(w, r)
	case s.catalogue.Of(parts[0]) != nil && len(parts) == 1 && get:
		n.route = routeSearch
		err = s.search(w, r, parts[0])
	case s.catalogue.Of(parts[0]) != nil && len(parts) == 2 && parts[1] == "_search" && r.Method == http.MethodPost:
		n.route = routeSearch
		err = s.search(w, r, parts[0])
	case s.catalogue.Of(parts[0]) != nil && len(parts) == 2 && get && !special(parts[1]):
		n.route = routeRead
		err = s.read(w, r, parts[0], parts[1])
	default:
		n.route = routeOther
		err = s.refuse(r, parts)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

// special reports whether a segment is FHIR's own: an operation, _history, _search.
func special(segment string) bool {
	return segment == "" || segment[0] == '_' || segment[0] == '$' || strings.HasPrefix(segment, "%24")
}

// refuse says why the rest is not done. It tells nothing of what there is, so nobody
// needs to be known for it.
func (s *Server) refuse(r *http.Request, parts []string) error {
	last := parts[len(parts)-1]
	served := s.catalogue.Of(parts[0]) != nil
	switch {
	case special(last) && last != "" && last != "_search":
		return unsupported{http.StatusNotImplemented, "", notDone}
	case !served && parts[0] != "" && parts[0] != "metadata" && !special(parts[0]):
		return fault.New(fault.NotFound, "fhird.refuse", "no-such-type").Say("Ce type de ressource n'est pas dans cet annuaire.", "This type of resource is not in this directory.")
	case parts[0] == "": // the whole system: batch, transaction, search across types
		return unsupported{http.StatusNotImplemented, "", notDone}
	case last == "_search" && served:
		return unsupported{http.StatusMethodNotAllowed, allowSearch, readOnly}
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return fault.New(fault.NotFound, "fhird.refuse", "no-route")
	}
	return unsupported{http.StatusMethodNotAllowed, allowRead, readOnly}
}
