package fhird

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"pli/codec/fhir"
	"pli/directory/resource"
	"pli/fault"
	"pli/identity"
)

// metadata answers anybody: what may be asked is no secret.
func (s *Server) metadata(w http.ResponseWriter, r *http.Request) error {
	pairs, issues := fhir.ParsePairs(r.URL.RawQuery)
	if len(issues) > 0 {
		return refused{issues}
	}
	if err := negotiate(r, pairs); err != nil {
		return err
	}
	s.write(w, r, http.StatusOK, s.capability)
	return nil
}

// read answers one resource, or 304 when the client has it.
func (s *Server) read(w http.ResponseWriter, r *http.Request, kind, id string) error {
	who, err := s.signIn(r)
	if err != nil {
		return err
	}
	q, err := s.query(r, kind)
	if err != nil {
		return err
	}
	if err := s.allow(r.Context(), who, "resources", s.c.MaxResourcesPerHour, hourOfWork, 1); err != nil {
		return err
	}
	var found resource.Resource
	err = s.inTurn(r.Context(), who, func() (err error) {
		found, err = s.d.Store.Read(r.Context(), kind, id)
		return err
	})
	if err != nil {
		return err
	}
	body, err := s.part(q, found)
	if err != nil {
		return err
	}
	etag := `W/"` + found.Version + `"`
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Last-Modified", found.UpdatedAt.UTC().Format(http.TimeFormat))
	s.count(r, found)
	if unchanged(r, etag, found.UpdatedAt) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	s.write(w, r, http.StatusOK, body)
	return nil
}

// unchanged reports whether the client has this version (RFC 9110 §13.2.2).
func unchanged(r *http.Request, etag string, at time.Time) bool {
	if list := r.Header.Get("If-None-Match"); list != "" {
		return slices.ContainsFunc(strings.Split(list, ","), func(e string) bool {
			e = strings.TrimSpace(e)
			return e == "*" || strings.TrimPrefix(e, "W/") == strings.TrimPrefix(etag, "W/")
		})
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	return err == nil && !at.Truncate(time.Second).After(since)
}

// part keeps of a resource what the client wants to see.
func (s *Server) part(q fhir.Query, found resource.Resource) ([]byte, error) {
	spec := s.catalogue.Of(found.Type)
	switch {
	case q.Elements != nil:
		return fhir.Subset(found.JSON, append(slices.Clone(q.Elements), spec.Mandatory...))
	case q.Summary == fhir.SummaryTrue:
		return fhir.Subset(found.JSON, append(slices.Clone(spec.Summary), spec.Mandatory...))
	case q.Summary == fhir.SummaryText: // our resources have no narrative
		return fhir.Subset(found.JSON, spec.Mandatory)
	}
	return found.JSON, nil // data: all but the narrative
}

func (s *Server) count(r *http.Request, found ...resource.Resource) {
	noteOf(r).resources = len(found)
	for _, f := range found {
		s.metrics.resources.WithLabelValues(f.Type).Inc()
	}
}

// query reads the parameters of a request about a type.
func (s *Server) query(r *http.Request, kind string) (fhir.Query, error) {
	raw, err := body(r)
	if err != nil {
		return fhir.Query{}, err
	}
	pairs, issues := fhir.ParsePairs(raw)
	if len(issues) > 0 {
		return fhir.Query{}, refused{issues}
	}
	if err := negotiate(r, pairs); err != nil {
		return fhir.Query{}, err
	}
	q, issues := fhir.Parse(s.catalogue, kind, pairs, strict(r))
	if len(issues) > 0 {
		return fhir.Query{}, refused{issues}
	}
	return q, nil
}

// bare takes away what may stand around a preference's value.
var bare = strings.NewReplacer(" ", "", "\t", "", `"`, "")

// strict reports whether the client wants what is not understood to be refused (RFC 7240).
func strict(r *http.Request) bool {
	for _, line := range r.Header.Values("Prefer") {
		for item := range strings.FieldsFuncSeq(line, func(c rune) bool { return c == ',' || c == ';' }) {
			if strings.EqualFold(bare.Replace(item), "handling=strict") {
				return true
			}
		}
	}
	return false
}

// search answers a page.
func (s *Server) search(w http.ResponseWriter, r *http.Request, kind string) error {
	who, err := s.signIn(r)
	if err != nil {
		return err
	}
	q, err := s.query(r, kind)
	if err != nil {
		return err
	}
	after := ""
	if q.PageToken != "" {
		if q, after, err = s.turn(q, who); err != nil {
			return err
		}
	}
	var page resource.Page
	err = s.inTurn(r.Context(), who, func() (err error) {
		page, err = s.d.Store.Search(r.Context(), q, after)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.allow(r.Context(), who, "resources", s.c.MaxResourcesPerHour, hourOfWork, len(page.Resources)); err != nil {
		return err
	}
	base := s.baseOf(r)
	entries, err := s.entries(q, page, base)
	if err != nil {
		return err
	}
	links := []fhir.Link{{Relation: "self", URL: link(base, kind, q.Used)}}
	if page.After != "" {
		links = append(links, fhir.Link{Relation: "next", URL: link(base, kind, []fhir.Pair{{Name: "_page_token", Value: s.token(q, page.After, who)}})})
	}
	s.count(r, page.Resources...)
	s.write(w, r, http.StatusOK, fhir.Searchset(bundleID(), s.d.Now(), links, entries))
	return nil
}

func bundleID() string {
	var b [12]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

var errCut = fault.Text{
	FR: "Toutes les ressources liées ne tiennent pas sur cette page : demandez des pages plus courtes.",
	EN: "Not all linked resources fit on this page: ask for shorter pages."}

// entries are the resources of a page, and at its end what is to be said of the search.
func (s *Server) entries(q fhir.Query, page resource.Page, base string) ([]fhir.Entry, error) {
	out := make([]fhir.Entry, 0, len(page.Resources)+1)
	for _, found := range page.Resources {
		body, err := s.part(q, found)
		if err != nil {
			return nil, err
		}
		mode := fhir.Match
		if found.Included {
			mode = fhir.Include
		}
		out = append(out, fhir.Entry{FullURL: base + "/" + found.Type + "/" + found.ID, Resource: body, Mode: mode})
	}
	issues := q.Ignored
	if page.Cut {
		issues = append(slices.Clone(issues), fhir.Issue{Severity: fhir.Warning, Code: "incomplete", Text: errCut})
	}
	if len(issues) > 0 {
		out = append(out, fhir.Entry{Resource: fhir.Outcome(issues), Mode: fhir.Told})
	}
	return out, nil
}

// baseOf is the base in links: the one that is configured, else what the client called.
func (s *Server) baseOf(r *http.Request) string {
	if s.base != "" {
		return s.base
	}
	scheme := "https"
	if r.TLS == nil {
		scheme = "http"
	}
	return scheme + "://" + r.Host + root
}

func link(base, kind string, pairs []fhir.Pair) string {
	url := base + "/" + kind
	if len(pairs) > 0 {
		url += "?" + fhir.Encode(pairs)
	}
	return url
}

// tokenFor is how long a page may be turned.
const tokenFor = time.Hour

// turned is what a page token holds: the whole question, so that no URL of a further page
// shows what is sought.
type turned struct {
	Pairs []fhir.Pair `json:"p"`
	After string      `json:"a"`
}

// token seals where the next page begins, for this account and this type.
func (s *Server) token(q fhir.Query, after string, who identity.SignIn) string {
	b, _ := json.Marshal(turned{q.Used, after}) // strings: cannot fail
	return s.d.Tickets.Seal(b, bearer(q.Type, who), s.d.Now().Add(tokenFor))
}

func bearer(kind string, who identity.SignIn) string { return door + " " + kind + " " + number(who) }

// turn takes up a search where its page token leaves it. Parameters given beside the
// token must be the same.
func (s *Server) turn(q fhir.Query, who identity.SignIn) (fhir.Query, string, error) {
	bad := refused{[]fhir.Issue{{Severity: fhir.Error, Code: "invalid", Expression: "http._page_token",
		Text: fault.Text{FR: "Ce jeton de page n'est pas valable, ou plus : recommencez la recherche.", EN: "This page token is not valid (any more): start the search again."}}}}
	b, err := s.d.Tickets.Open(q.PageToken, bearer(q.Type, who), s.d.Now())
	if err != nil {
		return q, "", bad
	}
	var t turned
	if err := json.Unmarshal(b, &t); err != nil {
		return q, "", bad
	}
	before, issues := fhir.Parse(s.catalogue, q.Type, t.Pairs, true)
	if len(issues) > 0 || len(q.Used) > 0 && !slices.Equal(q.Used, before.Used) {
		return q, "", bad
	}
	before.Ignored = q.Ignored
	return before, t.After, nil
}
