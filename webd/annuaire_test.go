package webd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/health"
)

// seek sends the form and follows it to the answer.
func (c *client) seek(form url.Values) answer {
	c.Helper()
	a := c.post("/annuaire", form)
	if a.StatusCode != http.StatusSeeOther {
		return a
	}
	to := a.Header.Get("Location")
	if !strings.HasPrefix(to, "/annuaire/r/") || !strings.HasSuffix(to, "#resultats") {
		c.Errorf("the form leads to %q", to)
	}
	return c.get(strings.TrimSuffix(to, "#resultats"))
}

func plainText(s string) string {
	return strings.NewReplacer("\u00a0", " ", "\u202f", " ", "&#39;", "'", "&#34;", `"`).Replace(s)
}

// What the form takes, what it gives to the search, and what it says when it does not.
func TestAsk(t *testing.T) {
	any := func(s string) search.Cond { return search.Words{Field: search.Any, Value: s} }
	where := func(w string) search.Or {
		return search.Or{search.Words{Field: search.City, Value: saint(w)}, search.Words{Field: search.Structure, Value: w}, search.Words{Field: search.Department, Value: w}}
	}
	for _, c := range []struct {
		a    ask
		want search.And
	}{
		{ask{Who: "haddad karim"}, search.And{any("haddad karim")}},
		{ask{Who: "Karim.Haddad@MSS-A.example"}, search.And{search.Prefix{Field: search.Address, Value: "karim.haddad@mss-a.example"}}},
		{ask{Who: "8997 0000 017"}, search.And{search.Or{search.Equal{Field: search.PP, Value: "89970000017"}, search.Equal{Field: search.Place, Value: "89970000017"}}}},
		{ask{Where: "St Étienne"}, search.And{where("st"), where("etienne")}},
		{ask{Where: "690"}, search.And{append(where("690"), search.Prefix{Field: search.PostalCode, Value: "690"})}},
		{ask{Where: "Paris 3e"}, search.And{search.Words{Field: search.City, Value: "paris"}, search.Or{search.Prefix{Field: search.PostalCode, Value: "75003"}, search.Words{Field: search.City, Value: "3e"}}}},
		{ask{Who: "x y", Profession: "10", Kind: onlyPersons}, search.And{any("x y"), search.Equal{Field: search.Profession, Value: "10"}, search.Equal{Field: search.Kind, Value: "PER"}}},
		{ask{Places: []string{"990000131"}}, search.And{search.Equal{Field: search.Place, Value: "990000131"}}},
	} {
		q := c.a.query()
		if !reflect.DeepEqual(q.Where, c.want) || q.Limit != listingsPerPage {
			t.Errorf("%+v asks %#v, want %#v", c.a, q.Where, c.want)
		}
	}
	for _, c := range []struct {
		a     ask
		field string
	}{
		{ask{Who: "du"}, ""}, {ask{Where: "Lyon"}, ""}, {ask{Who: "é"}, "qui"}, {ask{Who: "!?"}, "qui"}, {ask{}, "qui"}, {ask{Where: "-"}, "ou"}, {ask{Who: "martin", Where: "x"}, "ou"},
		{ask{Profession: "10"}, "ou"}, {ask{Profession: "10", Where: "Lyon"}, ""}, {ask{Who: strings.Repeat("m", 101)}, "qui"}, {ask{Where: strings.Repeat("a ", 11)}, "ou"}, {ask{Who: "李明"}, ""},
	} {
		f := c.a.faults()
		if c.field == "" && len(f) > 0 || c.field != "" && f[c.field] == "" {
			t.Errorf("%+v: %v, want a fault at %q", c.a, f, c.field)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"  Du\u00a0pont\r\n\x00X ": "Du pont X", "\u202eabc\u200b": "abc", "\xff\xfeà": "à", "\t": "", "a\u2028b": "a b", "d'Artagnan": "d'Artagnan",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzAsk(f *testing.F) {
	f.Add("dupont", "Paris 19", "10", "personne")
	f.Add("a@b", "\x00\xff", "", "service")
	f.Add("12345678901", "Marseille 99", "x", "")
	f.Fuzz(func(t *testing.T, who, where, profession, kind string) {
		a := ask{Who: clean(who), Where: clean(where), Profession: profession, Kind: kind}
		for _, s := range []string{a.Who, a.Where} {
			if strings.ContainsAny(s, "\x00\r\n\t") || clean(s) != s {
				t.Fatalf("%q is not clean", s)
			}
		}
		q := a.query()
		if len(a.faults()) == 0 && len(q.Where.(search.And)) == 0 {
			t.Fatalf("%+v asks for everything", a)
		}
	})
}

// Without words, a condition or a ticket nothing is asked; a ticket opens for the account
// it was made for, for as long as a session, and not when it was changed.
func TestTickets(t *testing.T) {
	h := newHouse()
	srv := door(t, h)
	c, other := newClient(t, srv).signIn(), newClient(t, srv).signInAs(doctorLogin, doctorPassword)
	to := strings.TrimSuffix(c.post("/annuaire", url.Values{"qui": {"dupont"}}).Header.Get("Location"), "#resultats")
	if a := c.get(to); a.StatusCode != 200 || !strings.Contains(a.body, "DUPONT") {
		t.Fatalf("%d", a.StatusCode)
	}
	asked := len(h.listings.asked)
	stale := func(name string, a answer) {
		t.Helper()
		if a.StatusCode != 404 || strings.Contains(a.body, "DUPONT") || !strings.Contains(a.body, "Cette recherche a expiré") || !strings.Contains(a.body, `name="qui"`) {
			t.Errorf("%s: %d %.300s", name, a.StatusCode, a.body)
		}
	}
	stale("another account", other.get(to))
	i := len(to) - 5
	changed := to[:i] + map[bool]string{true: "B", false: "A"}[to[i] == 'A'] + to[i+1:]
	stale("changed", c.get(changed))
	stale("no ticket", c.get("/annuaire/r/"+strings.Repeat("A", 100)))
	stale("endless", c.get("/annuaire/r/"+strings.Repeat("A", 20_000)))
	stale("bytes", c.get("/annuaire/r/%00%ff"))
	h.mu.Lock()
	h.now = h.now.Add(ticketTime + time.Minute)
	h.mu.Unlock()
	stale("old", c.get(to))
	if n := len(h.listings.asked); n != asked {
		t.Errorf("%d questions were asked by bad tickets", n-asked)
	}
	if strings.Contains(to, "dupont") {
		t.Error("the address tells what was asked")
	}
	if got := newClient(t, srv).post("/annuaire", url.Values{"qui": {"dupont"}}).Header.Get("Location"); got != "/connexion?retour=%2Fannuaire" {
		t.Errorf("a stranger's form leads to %q", got)
	}
}

var nextPage = regexp.MustCompile(`<a href="(/annuaire/r/[^"#]+)#resultats" rel="next"`)

// The pages follow one another to the end, and the way back to the beginning is there.
func TestResultPages(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	a := c.seek(url.Values{"qui": {"dupont"}, "ou": {"Paris"}})
	seen, pages := map[string]bool{}, 0
	for {
		pages++
		for _, part := range strings.Split(a.body, `href="/annuaire/b/`)[1:] {
			key := part[:32]
			if seen[key] {
				t.Errorf("page %d shows %s again", pages, key)
			}
			seen[key] = true
		}
		if first := strings.Contains(a.body, "Début de la liste"); first != (pages > 1) {
			t.Errorf("page %d: the way to the beginning is there: %v", pages, first)
		}
		if !strings.Contains(a.body, `value="dupont"`) || !strings.Contains(a.body, `value="Paris"`) {
			t.Errorf("page %d has lost what was asked", pages)
		}
		next := nextPage.FindStringSubmatch(a.body)
		if next == nil {
			break
		}
		a = c.get(next[1])
	}
	if len(seen) != 45 || pages != 3 {
		t.Errorf("%d listings on %d pages", len(seen), pages)
	}
	for _, total := range []string{"45", "48", "52"} {
		if strings.Contains(plainText(a.body), total+" résultat") {
			t.Errorf("the page tells a total, %s", total)
		}
	}
	// The directory changed meanwhile: the beginning again, and it is said.
	h.listings.stale = true
	a = c.get("/annuaire/r/" + testTicket(Session{Account: 7}, ask{Who: "dupont", After: "dupont|20"}))
	if a.StatusCode != 200 || !strings.Contains(plainText(a.body), "L'annuaire vient d'être mis à jour") || strings.Count(a.body, `class="hit"`) != listingsPerPage {
		t.Errorf("after a swap: %d", a.StatusCode)
	}
}

// No two listings of an answer read the same, and each says what it takes to choose.
func TestHomonymsDiffer(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	body := plainText(c.seek(url.Values{"qui": {"haddad"}}).body)
	var texts []string
	for _, part := range strings.Split(body, `<div class="hit">`)[1:] {
		text, _, _ := strings.Cut(part[strings.Index(part, ">HADDAD")+1:], "</li>")
		for _, o := range texts {
			if o == text {
				t.Errorf("two listings read %q", text)
			}
		}
		texts = append(texts, text)
	}
	if len(texts) != 3 {
		t.Fatalf("%d listings", len(texts))
	}
	for i, wants := range [][]string{
		{"HADDAD Karim", "Médecin généraliste", "Cabinet des Halles, Lyon 3", haddad, "Boîte personnelle", "À utiliser de préférence", "Confirmée le 9 mars 2026"},
		{"HADDAD Karim", "Médecine polyvalente", "CH de Valfictif", "k.haddad@ch-valfictif.mss-b.example"},
		{"HADDAD Karim", "Lyon 3", "karim.haddad2@mss-b.example"},
	} {
		for _, w := range wants {
			if !strings.Contains(texts[i], w) {
				t.Errorf("listing %d has no %q: %s", i, w, texts[i])
			}
		}
		if i > 0 && strings.Contains(texts[i], "préférence") {
			t.Errorf("listing %d is preferred too", i)
		}
	}
}

func TestPreferred(t *testing.T) {
	l := func(pp, address string, rank int) listing.Listing {
		return listing.Listing{PP: pp, Address: address, Rank: rank}
	}
	for _, c := range []struct {
		ls   []listing.Listing
		want []bool
	}{
		{[]listing.Listing{l("1", "a", 1)}, []bool{false}},
		{[]listing.Listing{l("1", "a", 1), l("1", "b", 2), l("1", "c", 3)}, []bool{true, false, false}},
		{[]listing.Listing{l("1", "a", 1), l("1", "b", 1)}, []bool{false, false}}, // nobody said which
		{[]listing.Listing{l("1", "a", 1), l("1", "a", 1)}, []bool{false, false}}, // one address, two places
		{[]listing.Listing{l("1", "a", 1), l("2", "b", 2)}, []bool{false, false}},
		{[]listing.Listing{l("", "a", 1), l("", "b", 2)}, []bool{false, false}},
	} {
		if got := preferredOf(c.ls); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.ls, got, c.want)
		}
	}
}

// A professional writes with a mail program; a patient is told who may be written to, and
// where the others will write.
func TestWritingFromTheDirectory(t *testing.T) {
	h := newHouse()
	srv := door(t, h)
	patient, pro := newClient(t, srv).signIn(), newClient(t, srv).signInAs(doctorLogin, doctorPassword)
	page := func(address string) string { return "/annuaire/b/" + h.listings.called(address).Key.String() }
	closed, open := plainText(patient.get(page(haddad)).body), plainText(patient.get(page("pharmacie@mss-a.example")).body)
	if !strings.Contains(closed, "Cette boîte pourra vous écrire à votre adresse. Vous pourrez alors lui répondre.") || strings.Contains(closed, "écrire en premier") || !strings.Contains(closed, h.owner.Address.Reveal()) {
		t.Error("a box that is not open to patients does not say so")
	}
	if !strings.Contains(open, "Vous pouvez lui écrire en premier.") {
		t.Error("a box that is open to patients does not say so")
	}
	if strings.Contains(closed+open, "mailto:") {
		t.Error("a patient's mail program would write from elsewhere")
	}
	if got := pro.get(page(haddad)).body; !strings.Contains(got, `href="mailto:karim.haddad@mss-a.example"`) || strings.Contains(got, h.owner.Address.Reveal()) {
		t.Error("no mailto for a professional")
	}
	odd := listing.Listing{Kind: health.PER, Address: `a?subject=x&b"%0a@mss-b.example`}
	if got := hits(doctorSession, []listing.Listing{odd}, "")[0].Mailto; strings.ContainsAny(strings.TrimPrefix(got, "mailto:"), `?"`) || strings.Contains(got, "%0a@") {
		t.Errorf("an odd address becomes %q", got)
	}
}

// Trouble is told in words, and the text stays.
func TestDirectoryTrouble(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	for _, x := range []struct {
		err    error
		status int
		says   string
	}{
		{fault.New(fault.Timeout, "fake", "slow"), 504, "trop large"},
		{fault.New(fault.Unavailable, "fake", "away"), 503, "ne répond pas"},
		{fault.New(fault.Invalid, "fake", "what"), 400, "pas été comprise"},
	} {
		h.listings.fail = x.err
		a := c.seek(url.Values{"qui": {"martin & fils"}, "ou": {"Lyon"}})
		if a.StatusCode != x.status || !strings.Contains(a.body, x.says) || !strings.Contains(a.body, `value="martin &amp; fils"`) || !strings.Contains(a.body, `value="Lyon"`) {
			t.Errorf("%v: %d", x.err, a.StatusCode)
		}
	}
	h.listings.fail = fault.New(fault.Corrupt, "fake", "bad-row")
	if a := c.seek(url.Values{"qui": {"martin"}}); a.StatusCode != 500 || strings.Contains(a.body, "bad-row") {
		t.Errorf("the unforeseen: %d", a.StatusCode)
	}
	h.listings.fail = nil
	for name, form := range map[string]url.Values{
		"nothing": {}, "one letter": {"qui": {"m"}}, "signs": {"qui": {"***"}}, "zero bytes": {"qui": {"\x00\x00"}}, "endless": {"qui": {strings.Repeat("martin ", 20_000)}},
		"a profession alone": {"profession": {"10"}}, "an unknown profession": {"profession": {"' OR 1=1"}}, "broken": {"qui": {"\xff\xfe"}},
	} {
		n := len(h.listings.asked)
		if a := c.post("/annuaire", form); a.StatusCode != 422 || !strings.Contains(a.body, `aria-invalid="true"`) || !strings.Contains(a.body, "Erreur") || len(a.body) > 60_000 {
			t.Errorf("%s: %d, %d octets", name, a.StatusCode, len(a.body))
		}
		if len(h.listings.asked) != n {
			t.Errorf("%s was asked", name)
		}
	}
	if a := c.seek(url.Values{"qui": {`<script>alert("x")</script>`}}); a.StatusCode != 200 || strings.Contains(a.body, "<script") || !strings.Contains(a.body, "Aucun résultat") {
		t.Errorf("markup: %d", a.StatusCode)
	}
	if a := c.seek(url.Values{"qui": {"hadad"}}); !strings.Contains(plainText(a.body), "Résultats pour une orthographe proche") || !strings.Contains(a.body, "HADDAD") {
		t.Error("a near spelling is not said to be one")
	}
	for _, path := range []string{"/annuaire/b/x", "/annuaire/b/" + strings.Repeat("0", 32), "/annuaire/b/" + strings.Repeat("z", 32), "/annuaire/s/finess-000000000", "/annuaire/s/%00", "/annuaire/s/" + strings.Repeat("a", 200), "/annuaire/s/finess-'--"} {
		if a := c.get(path); a.StatusCode != 404 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
}

// A page of the directory does not wait as long as a download may.
func TestNobodyWaitsForEverInTheDirectory(t *testing.T) {
	h := newHouse()
	srv := door(t, h)
	pro := newClient(t, srv).signInAs(doctorLogin, doctorPassword)
	for _, path := range []string{"/annuaire/b/" + h.listings.called(haddad).Key.String(), "/ps/boite"} {
		h.listings.until = time.Time{}
		if pro.get(path); h.listings.until.IsZero() || time.Until(h.listings.until) > lookTime {
			t.Errorf("%s may last until %v", path, h.listings.until)
		}
	}
}

// A structure says who it is, what its boxes are for, and how to prepare an admission;
// one with many boxes leads to the lists of all of them.
func TestStructurePage(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	path := "/annuaire/s/finess-" + clinic
	body := plainText(c.get(path).body)
	for _, want := range []string{"CH de Valfictif", "Hôpital public", "Un hôpital de proximité", "Préparer une admission", "À jeun depuis minuit", "Préadmission chirurgie",
		"Préparer une hospitalisation en chirurgie", "Du lundi au vendredi", "Boîte de logiciel", "HADDAD Karim", "04 99 00 00 00"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Index(body, "Préadmission chirurgie</a>") > strings.Index(body, "HADDAD Karim</a>") {
		t.Error("people come before services")
	}
	h.listings.large = true
	for i := range 70 {
		h.listings.all = append(h.listings.all, listing.Listing{Key: listing.KeyOf(fmt.Sprint(i), "", clinic, ""), Kind: health.PER, Address: fmt.Sprintf("agent%d@mss-b.example", i),
			PP: fmt.Sprint(i), FamilyName: "AGENT", GivenName: fmt.Sprint(i), PlaceType: "FINESS", Place: clinic, TradeName: "CH de Valfictif"})
	}
	body = c.get(path).body
	i := strings.Index(body, "Toutes les personnes")
	if n := strings.Count(body, ">AGENT "); n != structurePeople || i < 0 || !strings.Contains(body, "Préadmission chirurgie") {
		t.Fatalf("%d people shown", n)
	}
	_, to, _ := strings.Cut(body[strings.LastIndex(body[:i], `href="`):i], `"`)
	to, _, _ = strings.Cut(to, "#")
	a := c.get(to)
	if !strings.Contains(plainText(a.body), "Boîtes de <span lang=\"fr\">CH de Valfictif") || strings.Count(a.body, `class="hit"`) != listingsPerPage || !strings.Contains(a.body, "Suite") || strings.Contains(a.body, "Préadmission") {
		t.Errorf("all the people: %d to %.60s", a.StatusCode, to)
	}
}

// The gate is asked, and traces, once a visit and before anything is shown.
func TestDirectoryIsOpenedOnce(t *testing.T) {
	h := newHouse()
	c := newClient(t, door(t, h)).signIn()
	c.get("/messages")
	if h.listings.opened != 0 {
		t.Error("asked for a page that is not the directory's")
	}
	h.listings.failOpen = fault.New(fault.Forbidden, "gate", "R-DIR-04").Say("Cette boîte n'est pas ouverte.", "This mailbox is not open.")
	key := h.listings.called(haddad).Key.String()
	for _, path := range []string{"/annuaire", "/annuaire/r/" + testTicket(Session{Account: 7}, ask{Who: "haddad"}), "/annuaire/b/" + key, "/annuaire/s/finess-" + clinic} {
		if a := c.get(path); a.StatusCode != 403 || !strings.Contains(plainText(a.body), "Cette boîte n'est pas ouverte.") || strings.Contains(a.body, "HADDAD") {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	if a := c.post("/annuaire", url.Values{"qui": {"haddad"}}); a.StatusCode != 403 {
		t.Errorf("the form: %d", a.StatusCode)
	}
	if len(h.listings.asked) != 0 {
		t.Error("the directory was asked without leave")
	}
	h.listings.failOpen, h.listings.opened = nil, 0
	c.get("/annuaire")
	c.seek(url.Values{"qui": {"haddad"}})
	c.get("/annuaire/b/" + key)
	if h.listings.opened != 1 || h.listings.again != 0 {
		t.Errorf("the gate was asked %d times in one visit", h.listings.opened)
	}
	later := func() {
		h.mu.Lock()
		h.now = h.now.Add(leaveTime)
		h.mu.Unlock()
	}
	later()
	c.get("/annuaire")
	c.get("/annuaire")
	if h.listings.opened != 1 || h.listings.again != 1 {
		t.Errorf("in a visit that lasts the gate was asked %d and %d times", h.listings.opened, h.listings.again)
	}
	later()
	h.listings.failOpen = fault.New(fault.Closed, "gate", "R-DIR-04")
	if a := c.get("/annuaire"); a.StatusCode != 410 {
		t.Errorf("after the box was closed: %d", a.StatusCode)
	}
}

// Nobody copies the directory page by page.
func TestDirectoryPagesAreCounted(t *testing.T) {
	h := newHouse()
	srv := door(t, h)
	c := newClient(t, srv).signIn()
	for range pagesAnHour {
		c.get("/annuaire")
	}
	if a := c.get("/annuaire"); a.StatusCode != 429 || !strings.Contains(a.body, "Trop de demandes") {
		t.Errorf("page %d: %d", pagesAnHour+1, a.StatusCode)
	}
	if a := newClient(t, srv).signInAs(doctorLogin, doctorPassword).get("/annuaire"); a.StatusCode != 200 {
		t.Errorf("somebody else: %d", a.StatusCode)
	}
	for key := range h.pages {
		if strings.Contains(key, "@") {
			t.Errorf("the key %q tells who", key)
		}
	}
}

// What is searched for and found is in no event.
func TestEventsTellNothing(t *testing.T) {
	h := newHouse()
	var events bytes.Buffer
	d := deps(h)
	d.Log = slog.New(slog.NewJSONHandler(&events, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(s.Handler())
	defer srv.Close()
	c := newClient(t, srv).signIn()
	c.seek(url.Values{"qui": {"haddad"}, "ou": {"Lyon"}})
	h.listings.fail = fault.Wrap(fault.Timeout, "search.Search", "", fault.New(fault.Timeout, "pg", "statement"))
	c.seek(url.Values{"qui": {"haddad"}, "ou": {"Lyon"}})
	h.listings.fail = nil
	c.get("/annuaire/b/" + h.listings.called(haddad).Key.String())
	c.get("/annuaire/s/finess-" + clinic)
	for _, mark := range []string{"haddad", "HADDAD", "Lyon", haddad, clinic, "r/" + testTicket(Session{}, ask{})[:4]} {
		if strings.Contains(events.String(), mark) {
			t.Errorf("the events tell %q:\n%s", mark, events.String())
		}
	}
	if !strings.Contains(events.String(), "/annuaire/r/{ticket}") {
		t.Error("no events")
	}
}

// A ticket carries nothing that its reader could not have typed.
func TestTicketsAreBounded(t *testing.T) {
	long := strings.Repeat("é", maxTyped)
	b, err := json.Marshal(ask{Who: long, Where: long, Profession: "10", Kind: onlyPersons, After: strings.Repeat("x", 1000)})
	if err != nil || len(b)*4/3+100 > maxTicket {
		t.Errorf("%d octets (%v)", len(b), err)
	}
}
