// Package nationaltest is a small stand-in of the national directory as an operator writes
// to it (mssante.md §9): resources that carry BAL, read by identifier and changed by
// conditional FHIRPath Patch, with the refusals that the guide announces. It keeps every
// version of a resource. It is for tests and the demo; it holds invented people only.
package nationaltest

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pli/codec/fhir"
	"pli/fault"
	"pli/health"
)

// Server is the stand-in: an http.Handler below Base.
type Server struct {
	// Base is the path before the types of resources, such as "/fhir/v2".
	Base string
	// Key is what the header ESANTE-API-KEY must hold.
	Key string
	// Allows says which domains this operator may announce; nil is all.
	Allows func(domain string) bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	mu        sync.Mutex
	resources []*resource
	faults    []Fault
	requests  []Request
}

type resource struct {
	kind     string
	versions []map[string]any // the last is the present one
}

func (r *resource) now() map[string]any { return r.versions[len(r.versions)-1] }

// Fault is an answer given instead of the right one.
type Fault struct {
	Method     string // "" is any
	Status     int    // 0 closes the connection without an answer
	RetryAfter string
	Body       string
	After      bool          // the request is carried out first, and its answer lost
	Delay      time.Duration // before the answer
}

// Request is one that was answered.
type Request struct {
	Method, Path, Query string
	Status              int
}

// Add makes a resource: Practitioner, PractitionerRole or Organization, with identifiers
// written system|value.
func (s *Server) Add(kind string, identifiers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []any
	for _, i := range identifiers {
		system, value, _ := strings.Cut(i, "|")
		list = append(list, map[string]any{"system": system, "value": value})
	}
	id := fmt.Sprintf("%s-%d", strings.ToLower(kind[:2]), len(s.resources)+1)
	s.resources = append(s.resources, &resource{kind, []map[string]any{{
		"resourceType": kind, "id": id, "meta": map[string]any{"versionId": "1"}, "identifier": list, "active": true,
	}}})
}

// Remove takes out the resources that have an identifier.
func (s *Server) Remove(identifier string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resources = slices.DeleteFunc(s.resources, func(r *resource) bool { return has(r, identifier) })
}

// FailNext makes the next requests fail, in turn.
func (s *Server) FailNext(fs ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fs...)
}

// Requests are all that were answered so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Published is the BAL announced under an address, and the identifiers of what carries
// it; ok is false for none, and for more than one.
func (s *Server) Published(address string) (a fhir.Announced, identifiers []string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := 0
	for _, r := range s.resources {
		for _, c := range telecoms(r.now()) {
			if got, unlisted, is := announced(c); is && !unlisted && strings.EqualFold(got.Address, address) {
				a, identifiers = got, identifiersOf(r)
				found++
			}
		}
	}
	return a, identifiers, found == 1
}

// Count is how many BAL are announced in all.
func (s *Server) Count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.resources {
		n += len(telecoms(r.now()))
	}
	return n
}

// History is every version of the resource that has an identifier, as JSON, oldest first.
func (s *Server) History(identifier string) (versions []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.resources {
		if has(r, identifier) {
			for _, v := range r.versions {
				b, _ := json.Marshal(v)
				versions = append(versions, string(b))
			}
		}
	}
	return versions
}

// Edit changes a BAL behind the operator's back: f gets its ContactPoint, and false takes
// it out.
func (s *Server) Edit(address string, f func(contactPoint map[string]any) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.resources {
		next := clone(r.now())
		var kept []any
		for _, c := range telecoms(next) {
			m, _ := c.(map[string]any)
			if m["value"] != address || f(m) {
				kept = append(kept, c)
			}
		}
		next["telecom"] = kept
		r.versions = append(r.versions, next)
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault, bad := s.fault(r.Method)
	if bad && !fault.After {
		s.fail(w, r, fault)
		return
	}
	status, body := s.answer(r)
	if bad {
		s.fail(w, r, fault)
		return
	}
	s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.URL.RawQuery, status})
	w.Header().Set("Content-Type", fhir.MediaType)
	w.WriteHeader(status)
	w.Write(body)
}

func (s *Server) fault(method string) (Fault, bool) {
	for i, f := range s.faults {
		if f.Method == "" || f.Method == method {
			s.faults = slices.Delete(s.faults, i, i+1)
			return f, true
		}
	}
	return Fault{}, false
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, f Fault) {
	s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.URL.RawQuery, f.Status})
	time.Sleep(f.Delay)
	if f.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	w.WriteHeader(f.Status)
	io.WriteString(w, f.Body)
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	code   string // issue-type
	text   string
}

func (e *refusal) Error() string { return e.text }

func refuse(status int, code, text string) error { return &refusal{status, code, text} }

func (s *Server) answer(r *http.Request) (status int, body []byte) {
	out, err := s.handle(r)
	if err == nil {
		b, _ := json.Marshal(out)
		return http.StatusOK, b
	}
	e, ok := err.(*refusal)
	if !ok {
		e = &refusal{http.StatusInternalServerError, "exception", "unexpected"}
	}
	return e.status, fhir.Outcome([]fhir.Issue{{Severity: fhir.Error, Code: e.code, Text: fault.Text{FR: e.text, EN: e.text}}})
}

func (s *Server) handle(r *http.Request) (map[string]any, error) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("ESANTE-API-KEY")), []byte(s.Key)) != 1 || s.Key == "" {
		return nil, refuse(401, "login", "clé d'API absente ou refusée")
	}
	rest, ok := strings.CutPrefix(r.URL.Path, s.Base+"/")
	kind, id, _ := strings.Cut(rest, "/")
	if !ok || !slices.Contains([]string{"Practitioner", "PractitionerRole", "Organization"}, kind) {
		return nil, refuse(404, "not-supported", "type de ressource inconnu")
	}
	switch r.Method {
	case http.MethodGet:
		return s.search(kind, id, r.URL.Query())
	case http.MethodPatch:
		return s.patch(kind, id, r)
	case http.MethodPut:
		return nil, refuse(405, "not-supported", "PUT est déconseillé : il effacerait d'autres données")
	}
	return nil, refuse(405, "not-supported", "méthode non prise en charge")
}

func (s *Server) find(kind, id string, q url.Values) (found []*resource) {
	for _, r := range s.resources {
		if r.kind != kind || id != "" && r.now()["id"] != id {
			continue
		}
		if i := q.Get("identifier"); i != "" && !has(r, i) {
			continue
		}
		if a := q.Get("mailbox-mss"); a != "" && !slices.ContainsFunc(telecoms(r.now()), func(c any) bool {
			got, unlisted, is := announced(c)
			return is && !unlisted && strings.HasPrefix(strings.ToLower(got.Address), strings.ToLower(a))
		}) {
			continue
		}
		found = append(found, r)
	}
	return found
}

func (s *Server) search(kind, id string, q url.Values) (map[string]any, error) {
	found := s.find(kind, id, q)
	if id != "" {
		if len(found) == 0 {
			return nil, refuse(404, "not-found", "ressource inconnue")
		}
		return found[0].now(), nil
	}
	entries := []any{}
	for _, r := range found {
		entries = append(entries, map[string]any{"resource": r.now(), "search": map[string]any{"mode": "match"}})
	}
	return map[string]any{"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries}, nil
}

func (s *Server) patch(kind, id string, r *http.Request) (map[string]any, error) {
	if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(media) != fhir.MediaType {
		return nil, refuse(415, "not-supported", "application/fhir+json attendu")
	}
	if id == "" && r.URL.Query().Get("identifier") == "" {
		return nil, refuse(400, "required", "identifiant de la ressource porteuse absent")
	}
	found := s.find(kind, id, r.URL.Query())
	switch len(found) {
	case 0:
		return nil, refuse(404, "not-found", "aucune ressource ne porte cet identifiant")
	case 1:
	default:
		return nil, refuse(412, "multiple-matches", "plusieurs ressources portent cet identifiant")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, refuse(400, "invalid", "corps illisible")
	}
	ops, err := fhir.ParsePatch(body)
	if err != nil {
		return nil, refuse(400, "invalid", "opérations illisibles : "+fault.CodeOf(err))
	}
	before := found[0].now()
	after := clone(before)
	for _, op := range ops {
		if op.Path.Resource != kind {
			return nil, refuse(400, "invalid", "le chemin ne part pas de la ressource")
		}
		if err := Apply(after, op); err != nil {
			return nil, err
		}
	}
	if err := s.check(kind, found[0], before, after, ops); err != nil {
		return nil, err
	}
	version, _ := strconv.Atoi(before["meta"].(map[string]any)["versionId"].(string))
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	after["meta"] = map[string]any{"versionId": strconv.Itoa(version + 1), "lastUpdated": fhir.Instant(now())}
	found[0].versions = append(found[0].versions, after)
	return after, nil
}

// carriers are the kinds of BAL that a type of resource may carry (mssante.md §3.1).
var carriers = map[string][]health.BALKind{
	"Practitioner": {health.PER, health.CAB}, "PractitionerRole": {health.PER}, "Organization": {health.ORG, health.APP},
}

// check holds the rules that no patch may break.
func (s *Server) check(kind string, at *resource, before, after map[string]any, ops []fhir.Operation) error {
	for field := range maps.Keys(before) {
		if field != "telecom" && !same(before[field], after[field]) {
			return refuse(400, "business-rule", "seules les BAL peuvent être modifiées")
		}
	}
	for _, op := range ops { // an address and a type are never changed (§9)
		if op.Type != fhir.Replace {
			continue
		}
		if err := unchanged(before, after, op); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for _, c := range telecoms(after) {
		a, _, ok := announced(c)
		if !ok {
			return refuse(400, "structure", "une BAL a une adresse et un type")
		}
		if seen[strings.ToLower(a.Address)] {
			return refuse(400, "duplicate", "cette adresse est déjà publiée ici")
		}
		seen[strings.ToLower(a.Address)] = true
		if !slices.Contains(carriers[kind], a.Kind) {
			return refuse(400, "business-rule", "ce type de BAL n'est pas porté par cette ressource")
		}
		if a != a.Allowed() {
			return refuse(400, "business-rule", "une donnée n'est pas prévue pour ce type de BAL")
		}
		_, domain, ok := strings.Cut(a.Address, "@")
		if !ok || s.Allows != nil && !s.Allows(domain) {
			return refuse(400, "business-rule", "domaine absent de la liste blanche de cet opérateur")
		}
		for _, other := range s.resources {
			if other != at && slices.ContainsFunc(telecoms(other.now()), func(c any) bool {
				b, _, is := announced(c)
				return is && strings.EqualFold(a.Address, b.Address)
			}) {
				return refuse(400, "duplicate", "cette adresse est publiée ailleurs")
			}
		}
	}
	return nil
}

func unchanged(before, after map[string]any, op fhir.Operation) error {
	old, now := map[string]health.BALKind{}, map[string]health.BALKind{}
	for _, c := range telecoms(before) {
		if a, _, ok := announced(c); ok {
			old[a.Address] = a.Kind
		}
	}
	for _, c := range telecoms(after) {
		a, _, _ := announced(c)
		now[a.Address] = a.Kind
	}
	if len(op.Path.Steps) > 0 && op.Path.Steps[0].Where != nil {
		address := op.Path.Steps[0].Where.Value
		if kind, was := old[address]; was && now[address] != kind {
			return refuse(400, "business-rule", "l'adresse et le type d'une BAL ne se modifient pas")
		}
	}
	return nil
}

func has(r *resource, identifier string) bool {
	return slices.Contains(identifiersOf(r), identifier)
}

func identifiersOf(r *resource) (out []string) {
	list, _ := r.now()["identifier"].([]any)
	for _, i := range list {
		m, _ := i.(map[string]any)
		out = append(out, fmt.Sprint(m["system"], "|", m["value"]))
	}
	return out
}

func telecoms(r map[string]any) []any {
	list, _ := r["telecom"].([]any)
	return list
}

func announced(contactPoint any) (fhir.Announced, bool, bool) {
	b, err := json.Marshal(contactPoint)
	if err != nil {
		return fhir.Announced{}, false, false
	}
	return fhir.ParseAnnounced(b)
}

func clone(m map[string]any) map[string]any {
	b, _ := json.Marshal(m)
	var out map[string]any
	_ = json.Unmarshal(b, &out)
	return out
}

func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}
