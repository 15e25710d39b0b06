package fhird

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"pli/codec/fhir"
	"pli/directory/resource"
	"pli/fault"
	"pli/identity"
	"pli/internal/limit"
	"pli/internal/ticket"
)

var signedIn = identity.SignIn{Account: 1, BAL: 7}

// alone stands for every room: one account, which may ask, and one resource.
type alone struct{}

func (alone) AppPassword(context.Context, string, string, string) (identity.SignIn, error) {
	return signedIn, nil
}
func (alone) Certificate(context.Context, string, *x509.Certificate) (identity.SignIn, error) {
	return signedIn, nil
}
func (alone) OpenDirectory(context.Context, identity.SignIn, string) error { return nil }

func (alone) Read(_ context.Context, kind, id string) (resource.Resource, error) {
	if id != "rpps-1" {
		return resource.Resource{}, fault.New(fault.NotFound, "test", "")
	}
	return resource.Resource{Type: kind, ID: id, Version: "1", JSON: []byte(`{"resourceType":"` + kind + `","id":"rpps-1","meta":{}}`)}, nil
}

func (a alone) Search(ctx context.Context, q fhir.Query, after string) (resource.Page, error) {
	r, err := a.Read(ctx, q.Type, "rpps-1")
	return resource.Page{Resources: []resource.Resource{r}, After: "rpps-1"}, err
}

// aloneDoor is a door without any room behind it.
func aloneDoor(t testing.TB) *Server {
	t.Helper()
	office, err := ticket.New([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Deps{SignIn: alone{}, Reader: alone{}, Store: alone{}, Limit: limit.New(nil), Tickets: office, Log: slog.New(slog.DiscardHandler), Now: time.Now},
		Config{MaxRequestsPerMinute: 1e9, MaxResourcesPerHour: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Page tokens come from strangers.
func FuzzPageToken(f *testing.F) {
	s := aloneDoor(f)
	f.Add(s.token(fhir.Query{Type: "Practitioner", Used: []fhir.Pair{{Name: "family", Value: "x"}}}, "rpps-1", signedIn))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		_, after, err := s.turn(fhir.Query{Type: "Practitioner", PageToken: token}, signedIn)
		if err == nil && after != "rpps-1" {
			t.Errorf("%q was taken", token)
		}
	})
}

// Whatever is asked, the answer is a resource, and never our mistake.
func FuzzRequest(f *testing.F) {
	door := aloneDoor(f)
	handler := door.guard(http.HandlerFunc(door.route))
	for _, s := range []struct{ method, path, query, body, accept string }{
		{"GET", "/fhir/metadata", "", "", ""},
		{"GET", "/fhir/Practitioner", "family:exact=a,b&_count=3", "", "application/fhir+json"},
		{"GET", "/fhir/PractitionerRole", "practitioner.name=x&_include=*&_elements=code", "", "*/*;q=0.1"},
		{"POST", "/fhir/Organization/_search", "", "identifier=s|1&_summary=true", ""},
		{"GET", "/fhir/Practitioner/rpps-1", "_format=xml", "", "text/html"},
		{"PATCH", "/fhir/Practitioner/rpps-1", "", "{}", ""},
		{"GET", "/fhir//%24x/_history", "", "", ""},
	} {
		f.Add(s.method, s.path, s.query, s.body, s.accept)
	}
	f.Fuzz(func(t *testing.T, method, path, query, body, accept string) {
		u := &url.URL{Path: path, RawQuery: query}
		r := &http.Request{Method: method, URL: u, Host: "fhir.example", Header: http.Header{}, RemoteAddr: "192.0.2.1:1", Body: http.NoBody}
		r = r.WithContext(t.Context())
		if body != "" {
			r.Body = readCloser{strings.NewReader(body)}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		r.Header.Set("Accept", accept)
		r.SetBasicAuth(address, password)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		switch {
		case w.Code >= 500 && w.Code != http.StatusNotImplemented:
			t.Errorf("%s %s?%s: %d %s", method, path, query, w.Code, w.Body)
		case method != http.MethodHead && !json.Valid(w.Body.Bytes()):
			t.Errorf("%s %s?%s: %d %q", method, path, query, w.Code, w.Body)
		}
	})
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
