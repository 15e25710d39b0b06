package nationaltest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pli/codec/fhir"
	"pli/health"
)

const (
	doctor = fhir.SystemPP + "|889970000017"
	place  = fhir.SystemFINESS + "|990000108"
)

func server() *Server {
	s := &Server{Base: "/fhir/v2", Key: "k"}
	s.Add("Practitioner", doctor, fhir.SystemRPPS+"|89970000017")
	s.Add("Organization", place)
	return s
}

type asked struct {
	method, target, identifier, key, media string
	body                                   []byte
}

func ask(s *Server, a asked) (int, string) {
	if a.key == "" {
		a.key = "k"
	}
	if a.media == "" {
		a.media = fhir.MediaType
	}
	if a.identifier != "" {
		a.target += "?identifier=" + url.QueryEscape(a.identifier)
	}
	r := httptest.NewRequest(a.method, "/fhir/v2/"+a.target, strings.NewReader(string(a.body)))
	r.Header.Set("ESANTE-API-KEY", a.key)
	r.Header.Set("Content-Type", a.media)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestRules(t *testing.T) {
	per := fhir.Announced{Mailbox: fhir.Mailbox{Address: "a@mss-a.example", Kind: health.PER}}
	org := fhir.Announced{Mailbox: fhir.Mailbox{Address: "o@mss-a.example", Kind: health.ORG, Description: "d"}}
	insert := func(resource string, a fhir.Announced) []byte {
		return fhir.Patch(fhir.Changes(resource, nil, &a, fhir.AsConcept)...)
	}
	on := func(resource string, op fhir.PatchType, path fhir.Path, v fhir.PatchValue) []byte {
		return fhir.Patch(fhir.Operation{Type: op, Path: path, Value: v})
	}
	s := server()
	s.Allows = func(d string) bool { return strings.HasSuffix(d, ".example") }
	other := per
	other.Address = "b@mss-a.example"
	for _, c := range []struct {
		name   string
		a      asked
		status int
		says   string
	}{
		{"wrong key", asked{method: "GET", target: "Practitioner", key: "x"}, 401, "login"},
		{"unknown type", asked{method: "GET", target: "Patient"}, 404, "not-supported"},
		{"PUT", asked{method: "PUT", target: "Practitioner/pr-1"}, 405, "PUT"},
		{"another media", asked{method: "PATCH", target: "Practitioner", identifier: doctor, media: "application/json-patch+json", body: insert("Practitioner", per)}, 415, "fhir+json"},
		{"no target", asked{method: "PATCH", target: "Practitioner", body: insert("Practitioner", per)}, 400, "required"},
		{"nobody", asked{method: "PATCH", target: "Practitioner", identifier: fhir.SystemPP + "|x", body: insert("Practitioner", per)}, 404, "not-found"},
		{"no patch", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: []byte("{}")}, 400, "not-parameters"},
		{"another root", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: insert("Organization", per)}, 400, "chemin"},
		{"an ORG on a person", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: insert("Practitioner", org)}, 400, "type de BAL"},
		{"a foreign domain", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: insert("Practitioner", fhir.Announced{Mailbox: fhir.Mailbox{Address: "a@b.invalid", Kind: health.PER}})}, 400, "domaine"},
		{"made", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: insert("Practitioner", per)}, 200, "a@mss-a.example"},
		{"made twice", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: insert("Practitioner", per)}, 400, "duplicate"},
		{"made elsewhere", asked{method: "PATCH", target: "Organization", identifier: place, body: insert("Organization", fhir.Announced{Mailbox: fhir.Mailbox{Address: per.Address, Kind: health.ORG}})}, 400, "ailleurs"},
		{"made by id", asked{method: "PATCH", target: "Organization/or-2", body: insert("Organization", org)}, 200, "o@mss-a.example"},
		{"another address", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: on("Practitioner", fhir.Replace, fhir.TelecomPath("Practitioner", per.Address), other.Value(fhir.AsCode))}, 400, "ne se modifient pas"},
		{"another type", asked{method: "PATCH", target: "Organization", identifier: place, body: on("Organization", fhir.Replace, fhir.MetadataPath("Organization", org.Address, "type"), fhir.CodeValue("APP"))}, 400, "ne se modifient pas"},
		{"the address itself", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: on("Practitioner", fhir.Replace,
			fhir.Path{Resource: "Practitioner", Steps: append(fhir.TelecomPath("Practitioner", per.Address).Steps, fhir.Step{Name: "value"})}, fhir.StringValue("z@mss-a.example"))}, 400, "ne se modifient pas"},
		{"a name", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: on("Practitioner", fhir.Replace,
			fhir.Path{Resource: "Practitioner", Steps: []fhir.Step{{Name: "active"}}}, fhir.BooleanValue(false))}, 400, "seules les BAL"},
		{"a path to nothing", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: on("Practitioner", fhir.Replace, fhir.TelecomPath("Practitioner", "none@x"), per.Value(fhir.AsCode))}, 400, "ne désigne rien"},
		{"one text", asked{method: "PATCH", target: "Organization", identifier: place, body: on("Organization", fhir.Replace, fhir.MetadataPath("Organization", org.Address, "description"), fhir.StringValue("neuf"))}, 200, "neuf"},
		{"gone twice", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: on("Practitioner", fhir.Delete, fhir.TelecomPath("Practitioner", "none@x"), fhir.PatchValue{})}, 200, "Practitioner"},
		{"found by address", asked{method: "GET", target: "Organization?mailbox-mss=o@mss"}, 200, `"total":1`},
		{"not found by address", asked{method: "GET", target: "Organization?mailbox-mss=x@mss"}, 200, `"total":0`},
		{"gone", asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: on("Practitioner", fhir.Delete, fhir.TelecomPath("Practitioner", per.Address), fhir.PatchValue{})}, 200, "Practitioner"},
	} {
		if status, body := ask(s, c.a); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
	}
	if a, _, ok := s.Published(org.Address); !ok || a.Description != "neuf" || s.Count() != 1 {
		t.Errorf("%+v %v", a, ok)
	}
	if h := s.History(place); len(h) != 3 || !strings.Contains(h[2], `"versionId":"3"`) {
		t.Errorf("%q", h)
	}
	s.Add("Practitioner", doctor)
	if status, body := ask(s, asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: insert("Practitioner", per)}); status != 412 || !strings.Contains(body, "multiple-matches") {
		t.Error(status, body)
	}
	if n := len(s.Requests()); n != 25 {
		t.Errorf("%d requests kept", n)
	}
}

// A patch of which one operation fails changes nothing.
func TestAllOrNothing(t *testing.T) {
	s := server()
	per := fhir.Announced{Mailbox: fhir.Mailbox{Address: "a@mss-a.example", Kind: health.PER}}
	body := fhir.Patch(append(fhir.Changes("Practitioner", nil, &per, fhir.AsCode),
		fhir.Operation{Type: fhir.Replace, Path: fhir.TelecomPath("Practitioner", "none@x"), Value: per.Value(fhir.AsCode)})...)
	if status, _ := ask(s, asked{method: "PATCH", target: "Practitioner", identifier: doctor, body: body}); status != 400 {
		t.Error(status)
	}
	if s.Count() != 0 || len(s.History(doctor)) != 1 {
		t.Error("half a patch was kept")
	}
}

func TestFaults(t *testing.T) {
	s := server()
	web := httptest.NewServer(s)
	defer web.Close()
	s.FailNext(Fault{Method: "PATCH", Status: 500}, Fault{Status: 429, RetryAfter: "7", Body: "x"})
	res, err := http.Get(web.URL + "/fhir/v2/Practitioner")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 429 || res.Header.Get("Retry-After") != "7" {
		t.Error(res.Status)
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(`{"telecom":[{"value":"a"}],"active":true}`), "Practitioner.telecom.where(value = 'a')", "delete", []byte(`{}`))
	f.Add([]byte(`{"telecom":[{"extension":[{"url":"u","valueString":"x"}]}]}`), "P.telecom[0].extension('u').value", "replace", []byte(`"y"`))
	f.Add([]byte(`{}`), "P.telecom", "insert", []byte(`3`))
	f.Fuzz(func(t *testing.T, resource []byte, path, op string, value []byte) {
		var m map[string]any
		p, err := fhir.ParsePath(path)
		if err != nil || json.Unmarshal(resource, &m) != nil || m == nil {
			return
		}
		_ = Apply(m, fhir.Operation{Type: fhir.PatchType(op), Path: p, Value: fhir.PatchValue{Type: "String", JSON: value}})
		if _, err := json.Marshal(m); err != nil {
			t.Fatal(err)
		}
	})
}
