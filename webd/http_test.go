package webd

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pli/fault"
	"pli/internal/id"
)

// client is a browser without a screen: cookies kept, redirects not followed.
type client struct {
	*testing.T
	*http.Client
	base string
}

func newClient(t *testing.T, srv *httptest.Server) *client {
	t.Helper()
	own := *srv.Client() // not shared: each has its own cookies
	c := &own
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Jar = jar
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{T: t, Client: c, base: srv.URL}
}

// answer is a response read to its end.
type answer struct {
	*http.Response
	body string
}

func (c *client) send(r *http.Request) answer {
	c.Helper()
	resp, err := c.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	return answer{resp, string(b)}
}

func (c *client) get(path string) answer {
	c.Helper()
	r, err := http.NewRequest(http.MethodGet, c.base+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	return c.send(r)
}

func (c *client) post(path string, form url.Values, header ...string) answer {
	c.Helper()
	r, err := http.NewRequest(http.MethodPost, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return c.send(r)
}

func (c *client) signIn() *client {
	c.Helper()
	return c.signInAs(testLogin, testPassword)
}

func (c *client) signInAs(login, password string) *client {
	c.Helper()
	if a := c.post("/connexion", url.Values{"identifiant": {login}, "motdepasse": {password}}); a.StatusCode != 303 {
		c.Fatalf("password: %d", a.StatusCode)
	}
	if a := c.post("/connexion/code", url.Values{"code": {"123 456"}}); a.StatusCode != 303 {
		c.Fatalf("code: %d", a.StatusCode)
	}
	return c
}

// form makes the body of a reply; a file is a field whose name ends with its content.
type formFile struct {
	name    string
	content []byte
}

func (c *client) reply(letter id.Letter, text string, files ...formFile) answer {
	c.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	w.WriteField("texte", text) //nolint:errcheck // a buffer
	for _, f := range files {
		p, err := w.CreateFormFile("fichiers", f.name)
		if err != nil {
			c.Fatal(err)
		}
		p.Write(f.content) //nolint:errcheck // a buffer
	}
	w.Close()
	r, err := http.NewRequest(http.MethodPost, fmt.Sprintf("%s/messages/%s/repondre", c.base, letter), &b)
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("Content-Type", w.FormDataContentType())
	return c.send(r)
}

func TestHeaders(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	for _, path := range []string{"/", "/messages", "/dossier", "/rien"} {
		got := c.get(path).Header
		for name, want := range map[string]string{
			"Content-Security-Policy": pagePolicy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
		} {
			if got.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got.Get(name), want)
			}
		}
		if !strings.HasPrefix(got.Get("Strict-Transport-Security"), "max-age=") || got.Get("Permissions-Policy") == "" {
			t.Errorf("%s: no HSTS or permissions policy", path)
		}
	}
	if strings.Contains(pagePolicy, "unsafe") || strings.Contains(framePolicy, "unsafe") || strings.Contains(filePolicy, "unsafe") {
		t.Error("a content policy allows something unsafe")
	}
}

func TestSessionCookie(t *testing.T) {
	c := newClient(t, door(t, newHouse()))
	a := c.post("/connexion", url.Values{"identifiant": {testLogin}, "motdepasse": {testPassword}})
	half := a.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-pli=", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"} {
		if !strings.Contains(half, want) {
			t.Errorf("cookie %q has no %q", half, want)
		}
	}
	if got := c.get("/messages"); got.StatusCode != 303 || !strings.HasPrefix(got.Header.Get("Location"), "/connexion/code") {
		t.Errorf("after the password alone /messages gives %d to %s", got.StatusCode, got.Header.Get("Location"))
	}
	a = c.post("/connexion/code", url.Values{"code": {testCode}, "retour": {"/dossier"}})
	if a.Header.Get("Location") != "/dossier" || a.Header.Get("Set-Cookie") == half {
		t.Errorf("after the code: to %q with the same token %v", a.Header.Get("Location"), a.Header.Get("Set-Cookie") == half)
	}
}

// What the page answers never tells whether an account exists.
func TestSignInTellsNothing(t *testing.T) {
	c := newClient(t, door(t, newHouse()))
	known := c.post("/connexion", url.Values{"identifiant": {testLogin}, "motdepasse": {"x"}})
	unknown := c.post("/connexion", url.Values{"identifiant": {"nobody.there00"}, "motdepasse": {"x"}})
	same := strings.ReplaceAll(unknown.body, "nobody.there00", testLogin)
	if known.StatusCode != unknown.StatusCode || known.body != same {
		t.Errorf("answers differ: %d and %d", known.StatusCode, unknown.StatusCode)
	}
	for range 20 {
		known = c.post("/connexion", url.Values{"identifiant": {testLogin}, "motdepasse": {"x"}})
	}
	if known.StatusCode != 429 {
		t.Errorf("after many tries: %d", known.StatusCode)
	}
}

// Another site's form does nothing, whatever cookie comes with it.
func TestForeignForms(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://ailleurs.example"}} {
		if a := c.post("/deconnexion", nil, header...); a.StatusCode != 403 {
			t.Errorf("%v: %d", header, a.StatusCode)
		}
	}
	if a := c.get("/messages"); a.StatusCode != 200 {
		t.Errorf("the session was ended from elsewhere: %d", a.StatusCode)
	}
	if a := c.get("/deconnexion"); a.StatusCode != 404 && a.StatusCode != 405 {
		t.Errorf("GET /deconnexion: %d", a.StatusCode)
	}
}

func TestBack(t *testing.T) {
	for in, want := range map[string]string{
		"/messages?page=2": "/messages?page=2", "": "/", "//ailleurs.example": "/", "https://ailleurs.example/": "/", "/\\ailleurs.example": "/",
		"javascript:alert(1)": "/", "messages": "/", "/a\r\nSet-Cookie: x": "/", "/%0d%0a": "/%0d%0a", "\\\\ailleurs": "/", "/\tx": "/",
	} {
		if got := back(in); got != want {
			t.Errorf("back(%q) = %q, want %q", in, got, want)
		}
	}
}

// What is not the person's, or is malformed, is not found.
func TestNotFound(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	l := h.letters[2].ID.String()
	for _, path := range []string{"/messages/" + id.New().String(), "/messages/1", "/messages/" + l + "/9/0/ouvrir", "/messages/" + l + "/2/7/fichier",
		"/messages/" + l + "/../0/fichier", "/messages/" + l + "/corps", "/dossier/" + id.New().String(), "/dossier/x", "/dossier/x/fichier", "/static/rien.css"} {
		if a := c.get(path); a.StatusCode != 404 && a.StatusCode != 307 && a.StatusCode != 301 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
}

// A failure shows a code to quote and none of its detail.
func TestFailureShowsACode(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	h.failMail = fmt.Errorf("secret detail: %w", fault.New(fault.Corrupt, "room.Op", "broken-box"))
	a := c.get("/messages")
	if a.StatusCode != 500 || strings.Contains(a.body, "secret detail") || strings.Contains(a.body, "broken-box") {
		t.Errorf("%d, detail shown: %v", a.StatusCode, strings.Contains(a.body, "secret detail"))
	}
	if !strings.Contains(a.body, `class="ref"`) || !strings.Contains(a.body, "Erreur") {
		t.Error("no code to quote")
	}
}

func TestFilesAreServedSafely(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	base := "/messages/" + h.letters[2].ID.String()
	a := c.get(base + "/2/0/fichier")
	if a.StatusCode != 200 || !strings.HasPrefix(a.body, "%PDF-") || a.Header.Get("Content-Disposition") != "attachment; filename=ordonnance.pdf" {
		t.Errorf("%d %q", a.StatusCode, a.Header.Get("Content-Disposition"))
	}
	if got := a.Header.Get("Content-Security-Policy"); got != filePolicy || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("policy %q", got)
	}
	a = c.get(base + "/2/0/ouvrir")
	if a.Header.Get("Content-Type") != "application/pdf" || !strings.HasPrefix(a.Header.Get("Content-Disposition"), "inline") {
		t.Errorf("%q %q", a.Header.Get("Content-Type"), a.Header.Get("Content-Disposition"))
	}
	a = c.get(base + "/3/0/ouvrir")
	if a.StatusCode != 200 || !strings.Contains(a.body, "Aperçu impossible") {
		t.Errorf("a file no browser shows: %d", a.StatusCode)
	}
	lab := "/messages/" + h.letters[3].ID.String() + "/2"
	if a = c.get(lab + "/1/fichier"); !strings.Contains(a.body, "ClinicalDocument") || !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("a document of the archive: %d %q", a.StatusCode, a.Header.Get("Content-Disposition"))
	}
	if a = c.get(lab + "/0/fichier"); !strings.HasPrefix(a.body, "PK") {
		t.Errorf("the archive itself: %d", a.StatusCode)
	}
	if a = c.get("/dossier/" + h.docs[2].ID.String() + "/ouvrir"); !strings.HasPrefix(a.body, "%PDF-") {
		t.Errorf("the PDF of a CDA: %d", a.StatusCode)
	}
}

// A file that lies about its type is not shown as what it says.
func TestLyingFile(t *testing.T) {
	h := newHouse()
	l := h.hold([]byte(strings.ReplaceAll("From: <"+haddad+">\nSubject: x\nMIME-Version: 1.0\nContent-Type: application/pdf; name=\"a.pdf\"\nContent-Disposition: attachment\n\n<script>alert(1)</script>\n", "\n", "\r\n")), testNow, false, true)
	c := newClient(t, door(t, h)).signIn()
	a := c.get("/messages/" + l.String() + "/1/0/ouvrir")
	if strings.Contains(a.body, "<script>") || a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%q: %.100s", a.Header.Get("Content-Type"), a.body)
	}
	if a = c.get("/messages/" + l.String() + "/1/0/fichier"); a.Header.Get("Content-Security-Policy") != filePolicy {
		t.Error("downloaded without the sandbox")
	}
}

func TestUploadLimits(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	l := h.letters[0].ID
	pdf := func(n int) []byte { return append([]byte("%PDF-1.4\n"), bytes.Repeat([]byte{'x'}, n)...) }
	a := c.reply(l, "Voici.", formFile{"grand.pdf", pdf(26_000_000)})
	if a.StatusCode != 422 || !strings.Contains(a.body, "26\u00a0Mo") || !strings.Contains(a.body, ">Voici.</textarea>") {
		t.Errorf("one file too large: %d", a.StatusCode)
	}
	a = c.reply(l, "Voici.", formFile{"a.pdf", pdf(13_000_000)}, formFile{"b.pdf", pdf(13_000_000)})
	if a.StatusCode != 422 || !strings.Contains(a.body, "b.pdf") {
		t.Errorf("two files too large together: %d", a.StatusCode)
	}
	if a = c.reply(l, "Voici.", formFile{"lie.pdf", []byte("MZ\x90\x00")}); a.StatusCode != 422 {
		t.Errorf("a program called .pdf: %d", a.StatusCode)
	}
	if a = c.reply(l, "Voici.", formFile{"../../etc/carte\r\n.pdf", pdf(10)}); a.StatusCode != 303 {
		t.Errorf("a strange name: %d", a.StatusCode)
	}
	if a = c.reply(l, "Une nouvelle fois.", formFile{"énorme.pdf", pdf(60_000_000)}); a.StatusCode != 413 {
		t.Errorf("far beyond: %d", a.StatusCode)
	}
	if len(h.sent) != 1 || bytes.Contains(h.sent[0], []byte("etc/")) {
		t.Errorf("%d messages sent", len(h.sent))
	}
}

// One visit opens the letterbox once, and signing out closes it.
func TestVisitOpensOnce(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	c.get("/messages")
	c.get("/messages/" + h.letters[0].ID.String())
	if h.opened != 1 {
		t.Errorf("opened %d times", h.opened)
	}
	c.post("/deconnexion", nil)
	if h.opened != 0 {
		t.Errorf("%d left open after signing out", h.opened)
	}
}

// Nothing that tells about a person is in a URL of the site.
func TestURLsTellNothing(t *testing.T) {
	h := newHouse()
	srv := door(t, h)
	clients := map[audience]*client{0: newClient(t, srv), patients: newClient(t, srv).signIn(), professionals: newClient(t, srv).signInAs(doctorLogin, doctorPassword)}
	marks := []string{"ormelune", "aline", h.owner.Address.Local(), "haddad", "ordonnance", "consultation", "dupont", "zzyzx", "@"}
	for _, p := range places() {
		body := clients[p.seen].get(p.path(h)).body
		for _, attr := range []string{`href="`, `action="`, `src="`} {
			for _, part := range strings.Split(body, attr)[1:] {
				u, _, _ := strings.Cut(part, `"`)
				if p.seen == professionals && strings.HasPrefix(u, "mailto:") {
					continue // opens a mail program; no server sees it
				}
				for _, m := range marks {
					if strings.Contains(strings.ToLower(u), m) && !strings.HasPrefix(u, "data:") {
						t.Errorf("%s: URL %q tells %q", p.name, u, m)
					}
				}
			}
		}
	}
}

func TestLanguage(t *testing.T) {
	c := newClient(t, door(t, newHouse()))
	if a := c.get("/"); !strings.Contains(a.body, `<html lang="fr">`) {
		t.Error("French is not the default")
	}
	a := c.post("/langue", url.Values{"langue": {"en"}, "retour": {"/aide"}})
	if a.Header.Get("Location") != "/aide" {
		t.Errorf("comes back to %q", a.Header.Get("Location"))
	}
	if a := c.get("/aide"); !strings.Contains(a.body, `<html lang="en">`) || !strings.Contains(a.body, "Signing in") {
		t.Error("English was not kept")
	}
}

func TestStyleSheet(t *testing.T) {
	as, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range as.files {
		if len(f.gzip) > 15_000 {
			t.Errorf("%s: %d octets gzipped", name, len(f.gzip))
		}
		if bytes.Contains(f.plain, []byte("http://")) && !strings.HasSuffix(name, ".svg") || bytes.Contains(f.plain, []byte("https://")) || bytes.Contains(f.plain, []byte("@import")) {
			t.Errorf("%s calls elsewhere", name)
		}
		t.Logf("%s: %d octets, %d gzipped", name, len(f.plain), len(f.gzip))
	}
}

// An answer written in a session that has ended is not lost: it waits behind the sign-in.
func TestTextOutlivesTheSession(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	clear(h.sessions)
	l := h.letters[0].ID
	a := c.reply(l, "Un texte & long.", formFile{"a.pdf", []byte("%PDF-1.4 x")})
	if a.StatusCode != 200 || !strings.Contains(a.body, `name="texte" value="Un texte &amp; long."`) || !strings.Contains(a.body, "Votre texte est gardé") {
		t.Fatalf("sign-in page: %d", a.StatusCode)
	}
	form := url.Values{"identifiant": {testLogin}, "motdepasse": {testPassword}, "retour": {"/messages/" + l.String()}, "texte": {"Un texte & long."}}
	if a = c.post("/connexion", form); a.StatusCode != 200 || !strings.Contains(a.body, `name="texte" value="Un texte &amp; long."`) {
		t.Fatalf("code page: %d", a.StatusCode)
	}
	a = c.post("/connexion/code", url.Values{"code": {testCode}, "retour": {"/messages/" + l.String()}, "texte": {"Un texte & long."}})
	if a.StatusCode != 200 || !strings.Contains(a.body, ">Un texte &amp; long.</textarea>") {
		t.Errorf("conversation: %d", a.StatusCode)
	}
	if len(h.sent) != 0 {
		t.Error("it was sent without being asked to")
	}
	if a = c.reply(l, "Encore."); a.StatusCode != 303 {
		t.Errorf("sending it then: %d", a.StatusCode)
	}
}

func TestSignOutEverywhere(t *testing.T) {
	h := newHouse()
	srv := door(t, h)
	here := newClient(t, srv).signIn()
	if a := here.get("/reglages/connexions"); a.StatusCode != 200 || !strings.Contains(a.body, "Cet appareil") {
		t.Errorf("%d", a.StatusCode)
	}
	if a := here.post("/reglages/connexions/fermer", nil); a.Header.Get("Location") != "/connexion?etat=partout" {
		t.Errorf("%d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if len(h.sessions) != 0 || h.opened != 0 {
		t.Errorf("%d sessions and %d letterboxes left", len(h.sessions), h.opened)
	}
	if a := here.get("/messages"); a.StatusCode != 303 {
		t.Errorf("still in: %d", a.StatusCode)
	}
}
