package fhird

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"pli/codec/fhir"
	"pli/directory/resource"
	"pli/fault"
	"pli/identity/remember"
)

// Requests, and what each is answered.
func TestAnswers(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(4)
	const one = "/Practitioner/rpps-89970000000"
	for _, c := range []struct {
		method, path, form string
		headers            []string
		status             int
		code, expression   string // of the first issue
	}{
		{"GET", "/metadata", "", nil, 200, "", ""},
		{"GET", "/metadata", "", []string{"Authorization", ""}, 200, "", ""},
		{"GET", "/metadata?_format=xml", "", nil, 406, "not-supported", ""},
		{"GET", one, "", nil, 200, "", ""},
		{"HEAD", one, "", nil, 200, "", ""},
		{"GET", one + "?_format=json", "", []string{"Accept", "application/fhir+xml"}, 200, "", ""},
		{"GET", one, "", []string{"Accept", "application/fhir+xml"}, 406, "not-supported", ""},
		{"GET", one, "", []string{"Accept", "text/html, application/fhir+json;q=0.9, */*;q=0.1"}, 200, "", ""},
		{"GET", one, "", []string{"Accept", "text/html, */*;q=0"}, 406, "not-supported", ""},
		{"GET", one, "", []string{"Accept", "application/json; fhirVersion=4.0"}, 200, "", ""},
		{"GET", "/Practitioner/rpps-1", "", nil, 404, "not-found", ""},
		{"GET", "/Practitioner/" + strings.Repeat("x", 65), "", nil, 404, "not-found", ""},
		{"GET", "/Practitioner/a%2Fb", "", nil, 404, "not-found", ""},
		{"GET", "/Patient/1", "", nil, 404, "not-found", ""},
		{"GET", "/Patient", "", nil, 404, "not-found", ""},
		{"GET", "/", "", nil, 501, "not-supported", ""},
		{"POST", "", "", nil, 501, "not-supported", ""},
		{"GET", "/_history", "", nil, 501, "not-supported", ""},
		{"GET", one + "/_history", "", nil, 501, "not-supported", ""},
		{"GET", one + "/_history/1", "", nil, 404, "not-found", ""},
		{"GET", one + "/$everything", "", nil, 501, "not-supported", ""},
		{"GET", one + "/%24everything", "", nil, 501, "not-supported", ""},
		{"GET", "/Practitioner/$match", "", nil, 501, "not-supported", ""},
		{"GET", "/Practitioner/_search", "", nil, 405, "not-supported", ""},
		{"PUT", one, "{}", nil, 405, "not-supported", ""},
		{"PATCH", one, "{}", nil, 405, "not-supported", ""},
		{"DELETE", one, "", nil, 405, "not-supported", ""},
		{"POST", "/Practitioner", "{}", nil, 405, "not-supported", ""},
		{"OPTIONS", one, "", nil, 405, "not-supported", ""},
		{"GET", "/Practitioner?family=du", "", nil, 200, "", ""},
		{"POST", "/Practitioner/_search", "family=du", nil, 200, "", ""},
		{"POST", "/Practitioner/_search?given=elodie", "family=du", nil, 200, "", ""},
		{"POST", "/Practitioner/_search", "{}", []string{"Content-Type", "application/json"}, 415, "not-supported", ""},
		{"POST", "/Practitioner/_search", strings.Repeat("a", 20_000), nil, 413, "too-long", ""},
		{"GET", "/Practitioner?family=" + strings.Repeat("a", 9_000), "", nil, 400, "too-long", ""},
		{"GET", "/Practitioner?" + strings.Repeat("active=true&", 70), "", nil, 400, "too-costly", ""},
		{"GET", "/Practitioner?family=%zz", "", nil, 400, "invalid", ""},
		{"GET", "/Practitioner?family=%00", "", nil, 400, "invalid", ""},
		{"GET", "/Practitioner?family=%ff", "", nil, 400, "invalid", ""},
		{"GET", "/Practitioner?_count=x", "", nil, 400, "invalid", "http._count"},
		{"GET", "/Practitioner?_count=0", "", nil, 400, "not-supported", "http._count"},
		{"GET", "/Practitioner?_summary=count", "", nil, 400, "not-supported", "http._summary"},
		{"GET", "/Practitioner?_total=accurate", "", []string{"Prefer", "handling=strict"}, 400, "not-supported", "http._total"},
		{"GET", "/Practitioner?_total=accurate", "", nil, 200, "", ""},
		{"GET", "/Practitioner?birthdate=1970", "", []string{"Prefer", "handling=strict"}, 400, "not-supported", "http.birthdate"},
		{"GET", "/Practitioner?birthdate=1970", "", []string{"Prefer", "respond-async; handling = \"strict\""}, 400, "not-supported", "http.birthdate"},
		{"GET", "/Practitioner?birthdate=1970", "", []string{"Prefer", "handling=lenient"}, 200, "", ""},
		{"GET", "/Practitioner?family:fuzzy=x", "", nil, 400, "not-supported", "http.family:fuzzy"},
		{"GET", "/Practitioner?family:contains=x", "", nil, 400, "invalid", "http.family:contains"},
		{"GET", "/Practitioner?identifier=a%7Cb%7Cc", "", nil, 400, "invalid", "http.identifier"},
		{"GET", "/Practitioner?_lastUpdated=hier", "", nil, 400, "invalid", "http._lastUpdated"},
		{"GET", "/Practitioner?family=x%5C", "", nil, 400, "invalid", "http.family"},
		{"GET", "/PractitionerRole?practitioner=Organization/x", "", nil, 400, "invalid", "http.practitioner"},
		{"GET", "/PractitionerRole?practitioner.mailbox-mss=x", "", nil, 400, "not-supported", "http.practitioner.mailbox-mss"},
		{"GET", "/Practitioner?_page_token=xyz", "", nil, 400, "invalid", "http._page_token"},
		{"GET", "/Practitioner", "", []string{"Authorization", ""}, 401, "login", ""},
		{"GET", one, "", []string{"Authorization", "Basic !!!"}, 401, "login", ""},
		{"GET", one, "", []string{"Authorization", "Bearer abc"}, 401, "login", ""},
		{"GET", one, "", []string{"Authorization", "Basic " + basic(address, "wrong")}, 401, "login", ""},
		{"GET", "https://" + strings.TrimPrefix(strings.TrimSuffix(h.url, "/fhir"), "https://") + "/autre", "", nil, 404, "not-found", ""},
		{"GET", h.url + "x", "", nil, 404, "not-found", ""},
	} {
		a := h.do(c.method, c.path, c.form, c.headers...)
		name := c.method + " " + c.path[:min(len(c.path), 80)] + fmt.Sprint(c.headers)
		if a.status != c.status {
			t.Errorf("%s: %d, want %d: %.300s", name, a.status, c.status, a.body)
			continue
		}
		if a.header.Get("X-Request-Id") == "" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", name, a.header)
		}
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: other sites are let in", name)
		}
		if c.code == "" {
			continue
		}
		first := a.issues(t)[0]
		expression := strings.Join(first.Expression, ",")
		if first.Code != c.code || expression != c.expression || first.Details.Text == "" || first.Diagnostics == "" {
			t.Errorf("%s: %+v", name, first)
		}
		switch {
		case c.status == 401 && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic "):
			t.Errorf("%s: no challenge", name)
		case c.status == 405 && a.header.Get("Allow") == "":
			t.Errorf("%s: no Allow", name)
		}
	}
}

func basic(a, p string) string {
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(a, p)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// Every issue of a request is told, not the first.
func TestEveryIssueIsTold(t *testing.T) {
	h := newHouse(t, nil)
	issues := h.get("/Practitioner?_count=a&family:x=b&_lastUpdated=c&nom=d", "Prefer", "handling=strict").issues(t)
	var got []string
	for _, i := range issues {
		got = append(got, strings.Join(i.Expression, ","))
	}
	if s := strings.Join(got, " "); s != "http._count http.family:x http._lastUpdated http.nom" {
		t.Error(s)
	}
}

// What is not known is left out, said, and is not in the self link.
func TestLenient(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(2)
	b := h.get("/Practitioner?family=dupont-1&birthdate=1970&_sort=family&given=").bundle(t)
	if b.ids() != "rpps-89970000001" {
		t.Error(b.ids())
	}
	if w := b.warnings(); len(w) != 3 || w[0].Severity != "warning" || w[0].Expression[0] != "http.birthdate" {
		t.Errorf("%+v", w)
	}
	if self := b.link("self"); self != h.url+"/Practitioner?family=dupont-1" {
		t.Error(self)
	}
}

// Pages show everyone once, whatever edition is read; their links show nothing that is
// sought, and are good for nobody else and nothing else.
func TestPages(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(130)
	for _, sql := range []string{"INSERT INTO practitioner_b SELECT * FROM practitioner_a", "INSERT INTO role_b SELECT * FROM role_a", "INSERT INTO organization_b SELECT * FROM organization_a"} {
		if _, err := h.db.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	pages := 0
	next := h.url + "/Practitioner?family=dupont&_count=50&_elements=name"
	var tokens []string
	for next != "" {
		if _, err := h.db.Exec(context.Background(), "UPDATE national_part SET part = $1, edition = edition + 1", []string{"b", "a"}[pages%2]); err != nil {
			t.Fatal(err)
		}
		b := h.get(next).bundle(t)
		for _, e := range b.Entry {
			seen[e.Resource.ID]++
		}
		if pages++; pages > 5 {
			t.Fatal("no end")
		}
		if next = b.link("next"); next != "" {
			u, _ := url.Parse(next)
			if len(u.Query()) != 1 || strings.Contains(strings.ToLower(next), "dupont") {
				t.Errorf("the next link tells: %s", next)
			}
			tokens = append(tokens, u.Query().Get("_page_token"))
		}
	}
	if len(seen) != 130 || pages != 3 {
		t.Errorf("%d people on %d pages", len(seen), pages)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was shown %d times", id, n)
		}
	}
	q := "_page_token=" + tokens[0]
	if b := h.get("/Practitioner?family=dupont&_count=50&_elements=name&" + q).bundle(t); len(b.Entry) != 50 {
		t.Errorf("with the same parameters: %d", len(b.Entry))
	}
	for name, a := range map[string]answer{
		"another question":  h.get("/Practitioner?family=x&" + q),
		"another type":      h.get("/PractitionerRole?" + q),
		"another account":   h.get("/Practitioner?"+q, "Authorization", "Basic "+basic("autre@mss-a.example", password)),
		"changed":           h.get("/Practitioner?_page_token=" + tokens[0][:len(tokens[0])-2] + "AA"),
		"twice":             h.get("/Practitioner?" + q + "&" + q),
		"none":              h.get("/Practitioner?_page_token="),
		"a later page size": h.get("/Practitioner?_count=10&" + q),
	} {
		if a.status != 400 {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	h.later.Store(int64(2 * time.Hour))
	if a := h.get("/Practitioner?" + q); a.status != 400 {
		t.Errorf("an old token: %d", a.status)
	}
}

// A page holds 200 at most, and 50 when nothing is said.
func TestCount(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(230)
	for raw, want := range map[string]int{"": 50, "_count=7": 7, "_count=200": 200, "_count=100000": 200} {
		if b := h.get("/Practitioner?" + raw).bundle(t); len(b.Entry) != want {
			t.Errorf("%q: %d", raw, len(b.Entry))
		}
	}
}

func TestUnchanged(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(1)
	const one = "/Practitioner/rpps-89970000000"
	a := h.get(one)
	etag, at := a.header.Get("ETag"), a.header.Get("Last-Modified")
	if !strings.HasPrefix(etag, `W/"`) || at != "Mon, 02 Nov 2026 08:30:00 GMT" || !bytes.Contains(a.body, []byte(`"versionId":"`+strings.Trim(etag, `W/"`)+`"`)) {
		t.Errorf("%s, %s, %.200s", etag, at, a.body)
	}
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{"If-None-Match", etag}, 304},
		{[]string{"If-None-Match", `"a", ` + etag}, 304},
		{[]string{"If-None-Match", "*"}, 304},
		{[]string{"If-None-Match", `W/"0"`}, 200},
		{[]string{"If-Modified-Since", at}, 304},
		{[]string{"If-Modified-Since", "Sun, 01 Nov 2026 08:30:00 GMT"}, 200},
		{[]string{"If-None-Match", `W/"0"`, "If-Modified-Since", at}, 200},
	} {
		if a := h.get(one, c.headers...); a.status != c.status || a.status == 304 && len(a.body) > 0 {
			t.Errorf("%v: %d", c.headers, a.status)
		}
	}
	// A BAL that changes changes its carrier.
	if _, err := h.db.Exec(context.Background(), "UPDATE listing_a SET description = 'x', changed_at = changed_at + interval '1 day' WHERE kind = 'CAB'"); err != nil {
		t.Fatal(err)
	}
	if a := h.get(one, "If-None-Match", etag); a.status != 200 || a.header.Get("Last-Modified") != "Tue, 03 Nov 2026 08:30:00 GMT" {
		t.Errorf("%d %s", a.status, a.header.Get("Last-Modified"))
	}
}

func TestCompressed(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(30)
	a := h.get("/Practitioner", "Accept-Encoding", "br, gzip;q=0.5")
	if a.header.Get("Content-Encoding") != "gzip" {
		t.Fatal(a.header)
	}
	z, err := gzip.NewReader(bytes.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if a.body, err = io.ReadAll(z); err != nil || len(a.bundle(t).Entry) != 31 {
		t.Error(err)
	}
	if a := h.get("/Practitioner", "Accept-Encoding", "gzip;q=0"); a.header.Get("Content-Encoding") != "" {
		t.Error("compressed for one who refuses it")
	}
}

// A credential is asked for once in five minutes, by however many at once; the gate with
// it. A wrong one is never remembered.
func TestRemembered(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(1)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { h.get("/Practitioner?_count=1") })
	}
	wg.Wait()
	if a, o := h.asked.Load(), h.opened.Load(); a != 1 || o != 1 {
		t.Errorf("asked %d times, opened %d", a, o)
	}
	h.later.Store(int64(remember.For + time.Second))
	h.get("/Practitioner?_count=1")
	if h.opened.Load() != 2 {
		t.Error("remembered for too long")
	}
	for range 3 {
		if a := h.get("/Practitioner", "Authorization", "Basic "+basic(address, "faux")); a.status != 401 {
			t.Error(a.status)
		}
	}
	if h.asked.Load() != 5 {
		t.Errorf("a wrong secret was asked for %d times", h.asked.Load()-2)
	}
	deny := fault.New(fault.Forbidden, "gate.Do", "denied").Say("Votre boîte est fermée.", "Your mailbox is closed.")
	h.deny.Store(deny)
	h.later.Store(int64(2 * (remember.For + time.Second)))
	a := h.get("/Practitioner")
	if i := a.issues(t)[0]; a.status != 403 || i.Code != "forbidden" || i.Details.Text != "Votre boîte est fermée." {
		t.Errorf("%d %+v", a.status, i)
	}
}

// A client that is refused goes on asking: its refusals are traced once a minute.
func TestOneTraceForManyRefusals(t *testing.T) {
	h := newHouse(t, nil)
	h.deny.Store(fault.New(fault.Forbidden, "gate.Do", "R-CGU-01").Say("Acceptez d'abord les conditions.", "Accept the conditions first."))
	for range 5 {
		if a := h.get("/Practitioner"); a.status != 403 || a.issues(t)[0].Details.Text != "Acceptez d'abord les conditions." {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if n := h.opened.Load(); n != 1 {
		t.Errorf("%d refusals traced", n)
	}
	h.deny.Store(nil)
	h.later.Store(int64(remember.RefusalFor))
	if a := h.get("/Practitioner"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Nothing begins with half a letter: the question is answered, and finds nobody.
func TestIdentifierThatBeginsWithAnAccent(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(1)
	for _, kind := range []string{"Practitioner", "Organization"} {
		if a := h.get("/" + kind + "?identifier=" + url.QueryEscape("é89970000000")); a.status != 200 || len(a.bundle(t).Entry) != 0 {
			t.Errorf("%s: %d %s", kind, a.status, a.body)
		}
	}
}

// The next page of a search as long as may be is not too long to be asked for.
func TestNextPageOfALongSearch(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(3)
	ids := []string{"rpps-89970000000", "rpps-89970000001"}
	for i := range 190 {
		ids = append(ids, fmt.Sprintf("rpps-%035d", i))
	}
	next := h.do("POST", "/Practitioner/_search", "_count=1&_id="+strings.Join(ids, ",")).bundle(t).link("next")
	if a := h.get(next); next == "" || a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A client certificate opens as an address and a password do.
func TestCertificate(t *testing.T) {
	h := newHouse(t, nil)
	cert, _ := testCert()
	transport := h.client.Transport.(*http.Transport)
	transport.TLSClientConfig.Certificates = []tls.Certificate{cert}
	if a := h.get("/Practitioner", "Authorization", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.get("/Practitioner", "Authorization", "Basic "+basic(address, "faux")); a.status != 401 {
		t.Errorf("a wrong password beside a certificate: %d", a.status)
	}
}

func TestLimits(t *testing.T) {
	h := newHouse(t, func(_ *house, _ *Deps, c *Config) { c.MaxRequestsPerMinute, c.MaxResourcesPerHour = 5, 100 })
	h.publish(60)
	if a := h.get("/Practitioner?_count=60"); a.status != 200 {
		t.Error(a.status)
	}
	a := h.get("/Practitioner?_count=60")
	if i := a.issues(t)[0]; a.status != 429 || i.Code != "throttled" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %+v", a.status, i)
	}
	for range 3 {
		h.get("/Practitioner?_count=1")
	}
	if a := h.get("/Practitioner?_count=1"); a.status != 429 {
		t.Errorf("the sixth request of a minute: %d", a.status)
	}
}

// broken is a store that fails as it is told to.
type broken struct{ err error }

func (b broken) Read(context.Context, string, string) (resource.Resource, error) {
	return resource.Resource{}, b.err
}

func (b broken) Search(context.Context, fhir.Query, string) (resource.Page, error) {
	if b.err == nil {
		panic("Élodie DUPONT")
	}
	return resource.Page{}, b.err
}

// Every kind of failure has its status and issue, and none tells what is behind.
func TestFailures(t *testing.T) {
	var b broken
	h := newHouse(t, func(_ *house, d *Deps, _ *Config) { d.Store = &b })
	for _, k := range fault.Kinds() {
		b.err = fault.New(k, "test", "secret-detail")
		a := h.get("/Practitioner/x")
		if i := a.issues(t)[0]; a.status != k.HTTP() || i.Code != k.FHIR() || strings.Contains(string(a.body), "secret-detail") {
			t.Errorf("%v: %d %+v", k, a.status, i)
		}
	}
	b.err = nil
	a := h.get("/Practitioner")
	if i := a.issues(t)[0]; a.status != 500 || i.Code != "exception" || !strings.Contains(i.Diagnostics, a.header.Get("X-Request-Id")) {
		t.Errorf("a panic: %d %+v", a.status, i)
	}
	if strings.Contains(h.log.String(), "DUPONT") {
		t.Error("a panic's words are in the log")
	}
}

// Nothing of what is sought, found or signed in with is in the log.
func TestLogTellsNothing(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(3)
	h.get("/Practitioner?family=dupont-1&birthdate=canari1")
	h.get("/Practitioner/rpps-89970000001")
	h.get("/Practitioner?nom:canari2=x", "Prefer", "handling=strict")
	h.do(http.MethodPost, "/Organization/_search", "address-city=canari3")
	h.get("/canari4/canari5")
	h.get("/Practitioner?_page_token=canari6", "X-Request-Id", "canari7", "User-Agent", "canari8")
	log := h.log.String()
	for _, word := range []string{"canari", "dupont", "DUPONT", "89970000001", address, password, "127.0.0.1"} {
		if strings.Contains(log, word) {
			t.Errorf("%q is in the log", word)
		}
	}
	if n := strings.Count(log, `"msg":"fhir request"`); n != 6 {
		t.Errorf("%d events for 6 requests", n)
	}
}

// The statement announces what is done: each of its parameters is taken, strictly.
func TestCapabilityIsTrue(t *testing.T) {
	h := newHouse(t, nil)
	var c struct {
		Rest []struct {
			Resource []struct {
				Type                            string
				Interaction                     []struct{ Code string }
				SearchInclude, SearchRevInclude []string
				SearchParam                     []struct{ Name, Type, Documentation string }
			}
		}
	}
	if err := json.Unmarshal(h.get("/metadata").body, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Rest) != 1 || len(c.Rest[0].Resource) != 3 {
		t.Fatalf("%+v", c)
	}
	for _, r := range c.Rest[0].Resource {
		ask := func(q string) {
			if a := h.get("/"+r.Type+"?"+q, "Prefer", "handling=strict"); a.status != 200 {
				t.Errorf("%s?%s: %d %s", r.Type, q, a.status, a.body)
			}
		}
		for _, p := range r.SearchParam {
			ask(p.Name + "=" + map[string]string{"date": "ge2026"}[p.Type] + map[bool]string{true: "", false: "abc"}[p.Type == "date"])
			if _, list, ok := strings.Cut(p.Documentation, "Modificateurs : "); ok {
				list, _, _ = strings.Cut(list, ".")
				for m := range strings.SplitSeq(list, ", ") {
					ask(p.Name + m + "=" + map[bool]string{true: "true", false: "abc"}[m == ":missing"])
				}
			}
		}
		for _, i := range r.SearchInclude {
			ask("_include=" + i)
		}
		for _, i := range r.SearchRevInclude {
			ask("_revinclude=" + i)
		}
	}
}

// Searchers by the dozen while editions change: every answer is whole and of one edition.
func TestSearchersWhileEditionsChange(t *testing.T) {
	h := newHouse(t, func(_ *house, _ *Deps, c *Config) { c.MaxRequestsPerMinute, c.MaxResourcesPerHour = 1e6, 1e6 })
	h.publish(40)
	if _, err := h.db.Exec(context.Background(), `INSERT INTO practitioner_b SELECT * FROM practitioner_a;
		UPDATE practitioner_b SET given_name = 'Autre', civility = 'MME'`); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Second)
	defer stop()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for ctx.Err() == nil {
				a := h.get("/Practitioner?family=dupont&_count=200")
				b := a.bundle(t)
				first, other := bytes.Count(a.body, []byte("Élodie")), bytes.Count(a.body, []byte("Autre"))
				if len(b.Entry) != 40 || first+other != 40 || first*other != 0 {
					t.Errorf("%d people, %d of one edition and %d of the other", len(b.Entry), first, other)
					return
				}
			}
		})
	}
	for n := 0; ctx.Err() == nil; n++ {
		if _, err := h.db.Exec(context.Background(), "UPDATE national_part SET part = $1, edition = edition + 1", []string{"b", "a"}[n%2]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	wg.Wait()
}
