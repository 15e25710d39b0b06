package fhird

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pli/codec/fhir"
	"pli/fault"
)

const (
	bodySize   = fhir.MaxQuery + 1024 // of a request, in octets
	worthwhile = 1024                 // octets that are worth compressing
)

// refused is a search that was not understood, with everything there is to say of it.
type refused struct{ issues []fhir.Issue }

func (r refused) Error() string { return "fhird.search: refused" }

// write sends a resource, compressed when the client can and it is worth it.
func (s *Server) write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", fhir.MediaType+"; charset=utf-8")
	h.Add("Vary", "Accept, Accept-Encoding, Authorization")
	if len(body) < worthwhile || !accepts(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = w.Write(body)
		}
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // a level there is
	_, _ = z.Write(body)
	_ = z.Close()
}

// accepts reports whether a list of codings names one and does not refuse it (q=0).
func accepts(list, coding string) bool {
	for item := range strings.SplitSeq(list, ",") {
		name, q, _ := strings.Cut(item, ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			return weight(q) > 0
		}
	}
	return false
}

func weight(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return 0
			}
			return f
		}
	}
	return 1
}

// errFormat refuses a form that the client wants and this door does not write.
var errFormat = unsupported{http.StatusNotAcceptable, "", fault.Text{
	FR: "Cet annuaire répond en JSON (application/fhir+json).", EN: "This directory answers in JSON (application/fhir+json)."}}

// negotiate checks that the client takes JSON: by _format, which wins, or by Accept.
func negotiate(r *http.Request, pairs []fhir.Pair) error {
	for _, p := range pairs {
		if p.Name != "_format" {
			continue
		}
		if !isJSON(p.Value) {
			return errFormat
		}
		return nil
	}
	accept := r.Header.Get("Accept")
	if accept == "" {
		return nil
	}
	for item := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(item, ";")
		switch name = strings.ToLower(strings.TrimSpace(name)); {
		case weight(params) <= 0:
		case name == "*/*", name == "application/*", isJSON(name):
			return nil
		}
	}
	return errFormat
}

func isJSON(format string) bool {
	name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(format)), ";")
	// A + that was not encoded comes as a space.
	switch strings.TrimSpace(strings.ReplaceAll(name, " ", "+")) {
	case "json", "application/json", fhir.MediaType, "application/json+fhir", "text/json":
		return true
	}
	return false
}

// fail answers with an OperationOutcome; the detail stays in the event.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	n := noteOf(r)
	n.err = err
	if rec, ok := w.(*recorder); ok && rec.status != 0 {
		return // the answer had begun
	}
	h := w.Header()
	for _, name := range []string{"ETag", "Last-Modified", "Content-Encoding"} {
		h.Del(name)
	}
	var (
		u     unsupported
		no    refused
		later limited
	)
	switch {
	case errors.As(err, &no):
		n.err = fault.New(fault.Invalid, "fhird.search", no.issues[0].Code)
		s.write(w, r, http.StatusBadRequest, fhir.Outcome(no.issues))
		return
	case errors.As(err, &u):
		n.err = fault.New(fault.Invalid, "fhird.route", "not-supported")
		if u.allow != "" {
			h.Set("Allow", u.allow)
		}
		s.write(w, r, u.status, fhir.Outcome([]fhir.Issue{{Severity: fhir.Error, Code: "not-supported", Text: u.text}}))
		return
	case errors.As(err, &later):
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(max(later.wait, time.Second).Seconds()))))
	}
	err = foreign(err)
	n.err = err
	kind := fault.KindOf(err)
	if kind.HTTP() == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="annuaire", charset="UTF-8"`)
	}
	s.write(w, r, kind.HTTP(), fhir.Outcome([]fhir.Issue{s.issue(err, n.id)}))
}

// foreign gives a kind to the errors of others.
func foreign(err error) error {
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return fault.New(fault.TooLarge, "fhird", "body")
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Timeout, "fhird", "", err)
	}
	return err
}

// texts replace those of mail where they would mislead.
var texts = map[fault.Kind]fault.Text{
	fault.Invalid:         {FR: "Cette demande n'est pas valable.", EN: "This request is not valid."},
	fault.Unauthenticated: {FR: "Donnez l'adresse d'une boîte et un mot de passe d'application, ou un certificat client.", EN: "Give a mailbox's address and an app password, or a client certificate."},
	fault.Forbidden:       {FR: "Cette consultation n'est pas autorisée.", EN: "This is not allowed."},
	fault.NotFound:        {FR: "Cette ressource n'existe pas (ou plus).", EN: "This resource does not exist (any more)."},
	fault.Withheld:        {FR: "Cette ressource n'existe pas (ou plus).", EN: "This resource does not exist (any more)."},
	fault.TooLarge:        {FR: "Cette demande est trop longue.", EN: "This request is too long."},
	fault.Timeout:         {FR: "Cette recherche prend trop de temps : précisez-la.", EN: "This search takes too long: narrow it."},
}

// issue tells an error: its own text, else the door's, with the reference of the event
// when something went wrong on our side.
func (s *Server) issue(err error, id string) fhir.Issue {
	i := fhir.IssueOf(err)
	kind := fault.KindOf(err)
	if t, ok := texts[kind]; ok && i.Text == kind.Text() {
		i.Text = t
	}
	if kind.HTTP() >= http.StatusInternalServerError {
		i.Text.FR += " (référence " + id + ")"
		i.Text.EN += " (reference " + id + ")"
	}
	return i
}

// body reads the parameters of a search: those of the URL, then those of a form.
func body(r *http.Request) (string, error) {
	raw := r.URL.RawQuery
	if r.Method != http.MethodPost {
		return raw, nil
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		return "", unsupported{http.StatusUnsupportedMediaType, "", fault.Text{
			FR: "Les paramètres viennent en application/x-www-form-urlencoded.", EN: "Parameters come as application/x-www-form-urlencoded."}}
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "fhird.body", "body", err)
	}
	if raw != "" && len(b) > 0 {
		raw += "&"
	}
	return raw + string(b), nil
}
