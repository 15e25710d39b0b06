package davd

import (
	"context"
	"encoding/base64"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-vcard"
	"github.com/emersion/go-webdav"
	"github.com/emersion/go-webdav/carddav"

	"pli/directory"
	"pli/directory/listing"
	"pli/fault"
	"pli/health"
	"pli/identity/remember"
	"pli/internal/pg"
)

// What Thunderbird asks, from the host's name to the cards.
func TestAsThunderbird(t *testing.T) {
	h := newHouse(t)
	resp, _ := h.askAs("", "", "PROPFIND", "/.well-known/carddav", "")
	if resp.StatusCode != 301 || resp.Header.Get("Location") != "/carddav/" {
		t.Fatal(resp.Status, resp.Header)
	}
	const who = `<propfind xmlns="DAV:"><prop><resourcetype/><displayname/><current-user-principal/><current-user-privilege-set/></prop></propfind>`
	m := h.dav("PROPFIND", "/carddav/", "0", who)
	if in := m.Responses[0].Props[0].Prop.Inner; !strings.Contains(in, "<D:current-user-principal><D:href>/carddav/moi/</D:href>") {
		t.Fatal(in)
	}
	m = h.dav("PROPFIND", "/carddav/moi/", "0", `<propfind xmlns="DAV:" xmlns:card="urn:ietf:params:xml:ns:carddav"><prop><card:addressbook-home-set/></prop></propfind>`)
	if in := m.Responses[0].Props[0].Prop.Inner; !strings.Contains(in, "<D:href>/carddav/livres/</D:href>") {
		t.Fatal(in)
	}
	m = h.dav("PROPFIND", "/carddav/livres/", "1", `<propfind xmlns="DAV:"><prop><resourcetype/><displayname/><current-user-privilege-set/></prop></propfind>`)
	if got := m.hrefs(); !slices.Equal(got, []string{"/carddav/livres/", bookPath}) {
		t.Fatal(got)
	}
	in := m.Responses[1].Props[0].Prop.Inner
	if !strings.Contains(in, "<C:addressbook/>") || !strings.Contains(in, "Mon établissement") || !strings.Contains(in, "<D:read/>") || strings.Contains(in, "write") || strings.Contains(in, "all") {
		t.Error(in)
	}
	m = h.dav("PROPFIND", bookPath, "1", `<propfind xmlns="DAV:" xmlns:cs="http://calendarserver.org/ns/"><prop><resourcetype/><getetag/><cs:getctag/></prop></propfind>`)
	if got := m.hrefs(); len(got) != 4 || got[0] != bookPath {
		t.Fatal(got)
	}
	var hrefs strings.Builder
	for _, r := range m.Responses[1:] {
		fmt.Fprintf(&hrefs, "<d:href>%s</d:href>", r.Href)
		if len(r.Props[0].Prop.ETag) != 18 {
			t.Error(r.Props[0].Prop)
		}
	}
	m = h.dav("REPORT", bookPath, "1", `<card:addressbook-multiget xmlns:d="DAV:" xmlns:card="urn:ietf:params:xml:ns:carddav"><d:prop><d:getetag/><card:address-data/></d:prop>`+
		hrefs.String()+`<d:href>`+bookPath+strings.Repeat("0", 32)+`.vcf</d:href><d:href>/etc/passwd</d:href></card:addressbook-multiget>`)
	var names []string
	for _, r := range m.Responses[:3] {
		c, err := vcard.NewDecoder(strings.NewReader(r.Props[0].Prop.Data)).Decode()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, c.Value(vcard.FieldFormattedName))
	}
	slices.Sort(names)
	if strings.Join(names, "|") != "Cardiologie, étage 2 – CHU des Monts, Nord – Clermont-Ferrand|HAMDI Nadia – Médecin – Clermont-Ferrand – CHU des Monts, Nord|SORBIER Éloi-Paul – Infirmier – Clermont-Ferrand – CHU des Monts, Nord" {
		t.Error(names)
	}
	if got := m.hrefs()[3:]; !slices.Equal(got, []string{"-" + bookPath + strings.Repeat("0", 32) + ".vcf", "-/etc/passwd"}) {
		t.Error(got)
	}
}

const syncBody = `<sync-collection xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><sync-token>%s</sync-token><sync-level>1</sync-level>%s<prop><getetag/><C:address-data/></prop></sync-collection>`

func (h *house) sync(token, limit string) multistatus {
	h.Helper()
	return h.dav("REPORT", bookPath, "1", fmt.Sprintf(syncBody, token, limit))
}

// A token tells what a phone has; we keep nothing, and tell what came, changed and went,
// a part at a time if asked.
func TestSync(t *testing.T) {
	h := newHouse(t)
	first := h.sync("", "")
	if len(first.hrefs()) != 3 || first.SyncToken == "" {
		t.Fatal(first.hrefs(), first.SyncToken)
	}
	if again := h.sync(first.SyncToken, ""); len(again.Responses) != 0 || again.SyncToken != first.SyncToken {
		t.Error("something changed", again.hrefs())
	}
	if m := h.dav("PROPFIND", bookPath, "0", `<propfind xmlns="DAV:"><prop><sync-token/></prop></propfind>`); !strings.Contains(m.Responses[0].Props[0].Prop.Inner, first.SyncToken) {
		t.Error("the collection has another token")
	}
	var part []string
	token := ""
	for range 5 {
		m := h.sync(token, "<limit><nresults>2</nresults></limit>")
		token = m.SyncToken
		part = append(part, m.hrefs()...)
		if !slices.Contains(m.hrefs(), "507") {
			break
		}
	}
	if len(part) != 4 || token != first.SyncToken {
		t.Error(part)
	}
	away := h.bals["paul.sorbier@mss-a.example"]
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := h.dir.MoveTx(ctx, tx, away, directory.Move{To: health.Closed, Cause: directory.CauseOperator, At: noon})
		return err
	})
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE listing_own SET description = 'Fermé le samedi' WHERE kind = 'ORG'`)
		return err
	})
	h.later.Store(int64(keptTime))
	next := h.sync(first.SyncToken, "")
	if got := next.hrefs(); len(got) != 2 || strings.HasPrefix(got[0], "-") == strings.HasPrefix(got[1], "-") {
		t.Error(got)
	}
	for _, r := range next.Responses {
		if r.Status == "" && !strings.Contains(r.Props[0].Prop.Data, "Fermé le samedi") {
			t.Error(r.Props[0].Prop.Data)
		}
	}
	for _, token := range []string{"b905a5fd-ce23", tokenScheme + "!", tokenScheme + "AAAA", tokenScheme + base64.RawURLEncoding.EncodeToString(make([]byte, 20*2001))} {
		resp, body := h.ask("REPORT", bookPath, fmt.Sprintf(syncBody, token, ""))
		if resp.StatusCode != 403 || !strings.Contains(body, "<D:valid-sync-token/>") {
			t.Error(resp.Status, body)
		}
	}
	resp, body := h.ask("REPORT", gatewayPath, fmt.Sprintf(syncBody, "", ""))
	if resp.StatusCode != 403 || !strings.Contains(body, "<D:supported-report/>") {
		t.Error(resp.Status, body)
	}
}

// Everybody is asked, never listed; the liste rouge is nowhere.
func TestGateway(t *testing.T) {
	h := newHouse(t)
	h.national(doctor(1, "HADDAD", "Karima", "Lyon"), doctor(2, "HADOUX", "Luc", "Lyon"))
	c := h.dialDAV()
	ask := func(test carddav.FilterTest, filters ...carddav.PropFilter) string {
		t.Helper()
		q := &carddav.AddressBookQuery{FilterTest: test, PropFilters: filters, DataRequest: carddav.AddressDataRequest{AllProp: true}}
		found, err := c.QueryAddressBook(t.Context(), gatewayPath, q)
		if err != nil {
			t.Error(err)
		}
		var names []string
		for _, o := range found {
			names = append(names, o.Card.PreferredValue(vcard.FieldEmail))
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	text := func(name, text string, how carddav.MatchType) carddav.PropFilter {
		return carddav.PropFilter{Name: name, TextMatches: []carddav.TextMatch{{Text: text, MatchType: how}}}
	}
	const karim, karima, luc, paul = "karim.haddad@mss-a.example", "p1@mss-b.example", "p2@mss-b.example", "paul.sorbier@mss-a.example"
	for name, c := range map[string]struct{ got, want string }{
		"begins":            {ask("", text("FN", "hadd", carddav.MatchStartsWith)), karim + " " + karima},
		"contains":          {ask("", text("FN", "adda", carddav.MatchContains)), karim + " " + karima},
		"first name first":  {ask("", text("FN", "karim had", "")), karim + " " + karima},
		"with the town":     {ask("", text("FN", "haddad lyon", "")), karima},
		"as shown":          {ask("", text("FN", "HADDAD Karim – Médecin – Paris 19 – Cabinet des Lilas", carddav.MatchEquals)), karim},
		"accents":           {ask("", text("N", "ELOI", carddav.MatchContains)), paul},
		"address":           {ask("", text("EMAIL", "karim.haddad@", carddav.MatchStartsWith)), karim},
		"whole address":     {ask("", text("EMAIL", karim, carddav.MatchEquals)), karim},
		"structure":         {ask("", text("ORG", "Lilas", "")), karim},
		"town":              {ask("allof", text("ADR", "lyon", ""), text("FN", "hadoux", "")), luc},
		"both":              {ask("allof", text("FN", "haddad", ""), text("ORG", "Lilas", "")), karim},
		"either":            {ask("anyof", text("FN", "hadoux", ""), text("EMAIL", "karim.h", carddav.MatchStartsWith)), karim + " " + luc},
		"what no card has":  {ask("anyof", text("FN", "hadoux", ""), text("TEL", "hadoux", "")), luc},
		"not":               {ask("allof", text("FN", "haddad", ""), carddav.PropFilter{Name: "ORG", TextMatches: []carddav.TextMatch{{Text: "Lilas", NegateCondition: true}}}), karima},
		"nothing asked":     {ask(""), ""},
		"too little":        {ask("", text("FN", "h", "")), ""},
		"only a negation":   {ask("", carddav.PropFilter{Name: "FN", TextMatches: []carddav.TextMatch{{Text: "zz", NegateCondition: true}}}), ""},
		"defined":           {ask("", carddav.PropFilter{Name: "EMAIL"}), ""},
		"liste rouge":       {ask("", text("FN", "cachee", "")), ""},
		"liste rouge, mail": {ask("", text("EMAIL", "rouge@mss-a.example", carddav.MatchEquals)), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
	if m := h.dav("PROPFIND", gatewayPath, "1", ""); len(m.Responses) != 1 || !strings.Contains(m.Responses[0].Props[0].Prop.Inner, "<C:directory/>") {
		t.Errorf("it is listed: %v", m.hrefs())
	}
	for _, p := range []string{principalPath, homePath} {
		m := h.dav("PROPFIND", p, "0", `<propfind xmlns="DAV:"><prop><directory-gateway xmlns="urn:ietf:params:xml:ns:carddav"/></prop></propfind>`)
		if in := m.Responses[0].Props[0].Prop.Inner; !strings.Contains(in, gatewayPath) {
			t.Errorf("%s: %s", p, in)
		}
	}
	l := doctor(1, "HADDAD", "Karima", "Lyon")
	if got, err := c.MultiGetAddressBook(t.Context(), gatewayPath, &carddav.AddressBookMultiGet{Paths: []string{pathOf(gateway, l.Key)}}); err != nil || len(got) != 1 || got[0].Card.Value("UID") != l.Key.String() {
		t.Error(got, err)
	}
	if o, err := c.GetAddressObject(t.Context(), pathOf(gateway, l.Key)); err != nil || o.Card.Value(vcard.FieldFormattedName) != "HADDAD Karima – Médecin – Lyon 3 – Maison de santé" {
		t.Error(o, err)
	}
	if log := h.log.String(); strings.Contains(strings.ToLower(log), "haddad") || strings.Contains(log, "lilas") || strings.Contains(log, l.Key.String()) {
		t.Error("what is looked for is in the log")
	}
}

func (h *house) dialDAV() *carddav.Client {
	h.Helper()
	c, err := carddav.NewClient(webdav.HTTPClientWithBasicAuth(h.client, hamdi, secret), h.url)
	h.need(err)
	return c
}

// A library's client finds its way and keeps a book.
func TestAsALibrary(t *testing.T) {
	h := newHouse(t)
	c := h.dialDAV()
	if err := c.HasSupport(t.Context()); err != nil {
		t.Fatal(err)
	}
	who, err := c.FindCurrentUserPrincipal(t.Context())
	h.need(err)
	homes, err := c.FindAddressBookHomeSet(t.Context(), who)
	h.need(err)
	books, err := c.FindAddressBooks(t.Context(), homes)
	if err != nil || len(books) != 1 || books[0].Name != "Mon établissement" || books[0].Description != "Annuaire MSSanté : CHU des Monts, Nord" || !books[0].SupportsAddressData("text/vcard", "4.0") {
		t.Fatalf("%+v, %v", books, err)
	}
	r, err := c.SyncCollection(t.Context(), books[0].Path, &carddav.SyncQuery{})
	if err != nil || len(r.Updated) != 3 || r.SyncToken == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	found, err := c.QueryAddressBook(t.Context(), books[0].Path, &carddav.AddressBookQuery{PropFilters: []carddav.PropFilter{{Name: "FN", TextMatches: []carddav.TextMatch{{Text: "haddad"}}}}})
	if err != nil || len(found) != 0 {
		t.Errorf("somebody of another place: %v, %v", found, err)
	}
	found, err = c.QueryAddressBook(t.Context(), books[0].Path, &carddav.AddressBookQuery{DataRequest: carddav.AddressDataRequest{Props: []string{"VERSION", "EMAIL"}}})
	if err != nil || len(found) != 3 || found[0].Card.Value("FN") != "" || found[0].Card.Value("EMAIL") == "" {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := c.PutAddressObject(t.Context(), books[0].Path+"x.vcf", vcard.Card{"VERSION": {{Value: "3.0"}}}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a card was put: %v", err)
	}
	if err := c.RemoveAll(t.Context(), r.Updated[0].Path); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a card was removed: %v", err)
	}
}

// vCard 3.0 and 4.0, whole, with what a French entry is made of.
func TestCards(t *testing.T) {
	h := newHouse(t)
	var paths []string
	for _, r := range h.sync("", "").Responses {
		paths = append(paths, r.Href)
		if strings.Contains(r.Props[0].Prop.Data, "HAMDI") {
			want := []string{"VERSION:3.0", "FN:HAMDI Nadia – Médecin – Clermont-Ferrand – CHU des Monts\\, Nord", "N:HAMDI;Nadia;;DR;", "TITLE:Médecin", "CATEGORIES:Médecin",
				"item1.EMAIL;TYPE=INTERNET;TYPE=WORK;TYPE=PREF:" + hamdi, "item1.X-ABLABEL:MSSanté", "ORG:CHU des Monts\\, Nord", "ADR;TYPE=WORK:;;1 rue du Col;Clermont-Ferrand;;63000;FR",
				"NOTE:Adresse MSSanté confirmée par l'annuaire en novembre 2026.", "REV:2026", "UID:"}
			for _, line := range want {
				if !strings.Contains(r.Props[0].Prop.Data, line) {
					t.Errorf("without %q:\n%s", line, r.Props[0].Prop.Data)
				}
			}
		}
	}
	for _, p := range paths {
		resp, body := h.ask("GET", p, "", "Accept", "text/vcard; version=4.0")
		if resp.StatusCode != 200 || !strings.Contains(body, "VERSION:4.0") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/vcard") {
			t.Error(resp.Status, body)
		}
		if strings.Contains(body, "cardiologie@") && (!strings.Contains(body, "KIND:org") || !strings.Contains(body, "NOTE:Service : Cardiologie\\, étage 2\\nAvis et rendez-vous")) {
			t.Error(body)
		}
		etag := resp.Header.Get("ETag")
		if resp, _ := h.ask("GET", p, "", "If-None-Match", `"x", W/`+etag); resp.StatusCode != 304 {
			t.Error(resp.Status)
		}
		if resp, body := h.ask("HEAD", p, ""); resp.StatusCode != 200 || body != "" || resp.Header.Get("ETag") != etag {
			t.Error(resp.Status, body)
		}
	}
	ugly := doctor(3, "O'NEIL\x01; X", "A,n\\ne\r\nEND:VCARD", "Lyon\u2028")
	b, err := encode(h.server.makeCard(ugly, ugly.Display(), vcard3), nil)
	if err != nil || strings.Count(string(b), "END:VCARD\r\n") != 1 || strings.Count(string(b), "\nEND") != 1 || strings.ContainsAny(string(b), "\x01\u2028") {
		t.Errorf("%q, %v", b, err)
	}
	if c, err := vcard.NewDecoder(strings.NewReader(string(b))).Decode(); err != nil || c.Name().FamilyName != "O'NEIL , X" {
		t.Errorf("%+v, %v", c, err)
	}
}

// Nothing is changed here, by any method.
func TestReadOnly(t *testing.T) {
	h := newHouse(t)
	for _, method := range []string{"PUT", "DELETE", "MKCOL", "PROPPATCH", "MOVE", "COPY", "POST", "PATCH", "ACL"} {
		for _, path := range []string{bookPath, bookPath + "nouveau.vcf", gatewayPath, principalPath, homePath + "autre/"} {
			resp, body := h.ask(method, path, "<x/>")
			if resp.StatusCode != 403 || !strings.Contains(body, "<D:need-privileges><D:resource><D:href>"+path) {
				t.Errorf("%s %s: %s %s", method, path, resp.Status, body)
			}
		}
	}
	for _, method := range []string{"LOCK", "UNLOCK", "BREW"} {
		if resp, _ := h.ask(method, bookPath, ""); resp.StatusCode != 405 || resp.Header.Get("Allow") != allowed {
			t.Errorf("%s: %s", method, resp.Status)
		}
	}
	resp, _ := h.ask("OPTIONS", bookPath, "")
	if !strings.Contains(resp.Header.Get("DAV"), "addressbook") || resp.Header.Get("Allow") != allowed {
		t.Error(resp.Header)
	}
	if resp, body := h.ask("GET", bookPath, ""); resp.StatusCode != 405 || !strings.Contains(body, "téléphone") {
		t.Error(resp.Status, body)
	}
	for _, path := range []string{"/carddav/x/", bookPath + "x.vcf", bookPath + strings.Repeat("A", 32) + ".vcf", "/carddav/livres/etablissement/../../moi"} {
		if resp, _ := h.ask("PROPFIND", path, "", "Depth", "0"); resp.StatusCode != 404 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// Whoever asks proves it; a proof is remembered for five minutes, and the right is asked
// once in that time.
func TestSignIn(t *testing.T) {
	h := newHouse(t)
	const pf = `<propfind xmlns="DAV:"><prop><displayname/></prop></propfind>`
	for _, c := range []struct {
		name, secret string
		status       int
	}{{"", "", 401}, {hamdi, "wrong", 401}, {"nobody@mss-a.example", secret, 401}, {hamdi, "", 401}, {hamdi, "too-often", 429}} {
		resp, body := h.askAs(c.name, c.secret, "PROPFIND", bookPath, pf)
		if resp.StatusCode != c.status || (c.status == 401) != (resp.Header.Get("WWW-Authenticate") != "") || strings.Contains(body, "CHU") {
			t.Errorf("%q: %s %s", c.name, resp.Status, body)
		}
	}
	h.signIns.Store(0)
	for range 5 {
		h.dav("PROPFIND", bookPath, "0", pf)
	}
	if h.signIns.Load() != 1 || h.opens.Load() != 1 {
		t.Errorf("%d proofs, %d decisions", h.signIns.Load(), h.opens.Load())
	}
	h.later.Store(int64(remember.For))
	h.deny.Store(fault.New(fault.Closed, "gate", "R-DIR-04").Say("Cette boîte n'est pas ouverte.", "This mailbox is not open."))
	for range 2 {
		if resp, body := h.ask("PROPFIND", bookPath, pf); resp.StatusCode != 403 || !strings.HasPrefix(body, "Cette boîte n'est pas ouverte.") {
			t.Error(resp.Status, body)
		}
	}
	if h.opens.Load() != 2 {
		t.Errorf("%d decisions: a phone that goes on asking fills the traces", h.opens.Load())
	}
	h.deny.Store(nil)
	h.later.Add(int64(remember.RefusalFor))
	h.dav("PROPFIND", bookPath, "0", pf)
	h.later.Add(int64(remember.For))
	h.deny.Store(fault.New(fault.Unavailable, "gate", "database"))
	if resp, _ := h.ask("PROPFIND", bookPath, pf); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Error(resp.Status)
	}
	h.deny.Store(nil)
	h.dav("PROPFIND", bookPath, "0", pf)
	cert, err := selfSigned("logiciel")
	h.need(err)
	stranger, err := selfSigned("autre")
	h.need(err)
	h.client = h.newClient(cert)
	if resp, body := h.askAs("", "", "PROPFIND", bookPath, pf); resp.StatusCode != 207 {
		t.Error(resp.Status, body)
	}
	h.client = h.newClient(stranger)
	if resp, _ := h.askAs("", "", "PROPFIND", bookPath, pf); resp.StatusCode != 401 {
		t.Error(resp.Status)
	}
}

// The general texts are about sending mail.
func TestRefusalsSpeakOfTheDirectory(t *testing.T) {
	h := newHouse(t)
	const pf = `<propfind xmlns="DAV:"><prop><displayname/></prop></propfind>`
	if resp, body := h.ask("PROPFIND", bookPath, strings.Repeat(pf, 5_000)); resp.StatusCode != 413 || !strings.HasPrefix(body, "Cette demande est trop longue.") {
		t.Error(resp.Status, body)
	}
	h.later.Store(int64(remember.For))
	h.deny.Store(fault.New(fault.Forbidden, "gate", "R-DIR-01"))
	if resp, body := h.ask("PROPFIND", bookPath, pf); resp.StatusCode != 403 || !strings.HasPrefix(body, "Vous ne pouvez pas consulter l'annuaire.") {
		t.Error(resp.Status, body)
	}
}

// Bounds: of a search, of an hour, of a book, of connections.
func TestBounds(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxFound, c.MaxFoundPerHour, c.MaxCards = 3, 7, 2 })
	var ls []listing.Listing
	for i := range 9 {
		ls = append(ls, doctor(i, "DUPONT", fmt.Sprintf("Anne %c", 'A'+i), "Lyon"))
	}
	h.national(ls...)
	const q = `<C:addressbook-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><D:prop><D:getetag/></D:prop><C:filter><C:prop-filter name="FN"><C:text-match>dupont</C:text-match></C:prop-filter></C:filter>%s</C:addressbook-query>`
	if got := h.dav("REPORT", gatewayPath, "1", fmt.Sprintf(q, "")).hrefs(); len(got) != 4 || got[3] != "507" {
		t.Error(got)
	}
	if got := h.dav("REPORT", gatewayPath, "1", fmt.Sprintf(q, "<C:limit><C:nresults>1</C:nresults></C:limit>")).hrefs(); len(got) != 2 || got[1] != "507" {
		t.Error(got)
	}
	h.dav("REPORT", gatewayPath, "1", fmt.Sprintf(q, ""))
	if resp, _ := h.ask("REPORT", gatewayPath, fmt.Sprintf(q, "")); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Error(resp.Status, resp.Header)
	}
	if got := h.sync("", "").hrefs(); len(got) != 2 {
		t.Error(got)
	}
	hrefs := strings.Repeat("<D:href>"+pathOf(gateway, ls[0].Key)+"</D:href>", 4)
	if resp, body := h.ask("REPORT", gatewayPath, `<C:addressbook-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">`+hrefs+`</C:addressbook-multiget>`); resp.StatusCode != 403 || !strings.Contains(body, "number-of-matches") {
		t.Error(resp.Status, body)
	}
}

// A hospital's book is whole up to its bound, and costs a second at most.
func TestLargeBook(t *testing.T) {
	h := newHouse(t)
	var ls []listing.Listing
	for i := range 2_100 {
		l := doctor(i, fmt.Sprintf("DUPONT %d", i), "Anne", "Clermont-Ferrand")
		l.Place = hospital
		l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
		ls = append(ls, l)
	}
	h.national(ls...)
	began := time.Now()
	m := h.sync("", "")
	t.Logf("%d cards in %v, a token of %d octets", len(m.Responses), time.Since(began), len(m.SyncToken))
	if len(m.Responses) != 2_000 {
		t.Error(len(m.Responses))
	}
	began = time.Now()
	if again := h.sync(m.SyncToken, ""); len(again.Responses) != 0 || again.SyncToken != m.SyncToken {
		t.Error(again.hrefs())
	}
	t.Logf("nothing new in %v", time.Since(began))
	if m := h.dav("PROPFIND", bookPath, "1", `<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>`); len(m.Responses) != 2_001 {
		t.Error(len(m.Responses))
	}
}

// What strangers send is refused in time, with a status that says why.
func TestHostileBodies(t *testing.T) {
	h := newHouse(t)
	query := func(filter string) string {
		return `<C:addressbook-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><D:prop><D:getetag/></D:prop><C:filter>` + filter + `</C:filter></C:addressbook-query>`
	}
	var props strings.Builder
	for i := range maxProps + 1 {
		fmt.Fprintf(&props, "<x%d/>", i)
	}
	for name, c := range map[string]struct {
		method, body string
		status       int
	}{
		"a document type": {"PROPFIND", `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><propfind xmlns="DAV:"><prop>&b;</prop></propfind>`, 400},
		"an entity":       {"PROPFIND", `<propfind xmlns="DAV:"><prop>&b;</prop></propfind>`, 400},
		"deep":            {"PROPFIND", strings.Repeat("<a>", 5000), 400},
		"large":           {"PROPFIND", `<propfind xmlns="DAV:"><prop><a>` + strings.Repeat("x", maxBody) + `</a></prop></propfind>`, 413},
		"many elements":   {"REPORT", `<a xmlns="DAV:">` + strings.Repeat("<b/>", maxElements+1) + `</a>`, 413},
		"many properties": {"PROPFIND", `<propfind xmlns="DAV:"><prop>` + props.String() + `</prop></propfind>`, 413},
		"broken":          {"PROPFIND", `<propfind xmlns="DAV:"`, 400},
		"binary":          {"PROPFIND", "\x00\x01\x02", 400},
		"another root":    {"PROPFIND", `<x/>`, 400},
		"no body":         {"REPORT", "", 400},
		"unknown report":  {"REPORT", `<expand-property xmlns="DAV:"/>`, 403},
		"a parameter":     {"REPORT", query(`<C:prop-filter name="EMAIL"><C:param-filter name="TYPE"/></C:prop-filter>`), 403},
		"a collation":     {"REPORT", query(`<C:prop-filter name="FN"><C:text-match collation="i;octet">x</C:text-match></C:prop-filter>`), 403},
		"a test":          {"REPORT", query(`<C:prop-filter name="FN" test="x"/>`), 400},
		"a long text":     {"REPORT", query(`<C:prop-filter name="FN"><C:text-match>` + strings.Repeat("x", maxValue+1) + `</C:text-match></C:prop-filter>`), 400},
		"many filters":    {"REPORT", query(strings.Repeat(`<C:prop-filter name="FN"><C:text-match>dupont</C:text-match></C:prop-filter>`, maxFilters+1)), 400},
		"too many words":  {"REPORT", query(strings.Repeat(`<C:prop-filter name="FN"><C:text-match>a b c d e f g h i j k l m n o p q r s t</C:text-match></C:prop-filter>`, 2)), 403},
		"a limit of none": {"REPORT", strings.Replace(query(""), "</C:addressbook-query>", "<C:limit><C:nresults>0</C:nresults></C:limit></C:addressbook-query>", 1), 400},
		"another format":  {"REPORT", `<C:addressbook-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><D:prop><C:address-data content-type="application/vcard+json"/></D:prop></C:addressbook-query>`, 403},
	} {
		began := time.Now()
		resp, body := h.ask(c.method, gatewayPath, c.body, "Depth", "0")
		if resp.StatusCode != c.status || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %s in %v\n%s", name, resp.Status, time.Since(began), body)
		}
	}
	// A name that a client made up comes back as a name.
	m := h.dav("PROPFIND", bookPath, "0", `<propfind xmlns="DAV:"><prop><a xmlns="urn:&quot;&gt;&lt;x"/><D:b xmlns:D="DAV:"/><c/></prop></propfind>`)
	if len(m.Responses[0].Props) != 2 || !strings.Contains(m.Responses[0].Props[1].Status, "404") {
		t.Error(m)
	}
	if _, body := h.ask("PROPFIND", bookPath, `<propfind xmlns="DAV:"><prop><c/></prop></propfind>`, "Depth", "0", "Prefer", "return=minimal"); strings.Contains(body, "404") {
		t.Error(body)
	}
	if m := h.dav("PROPFIND", bookPath, "0", `<propfind xmlns="DAV:"><propname/></propfind>`); !strings.Contains(m.Responses[0].Props[0].Prop.Inner, "<D:sync-token/>") {
		t.Error(m)
	}
}

// curl, as somebody would look at it by hand.
func TestCurl(t *testing.T) {
	h := newHouse(t)
	out, err := exec.Command("curl", "--silent", "--fail-with-body", "--cacert", h.ca, "--user", hamdi+":"+secret, "--location", "--request", "PROPFIND",
		"--header", "Depth: 0", "--data", `<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>`, h.url+"/.well-known/carddav").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "/carddav/moi/") {
		t.Errorf("%v\n%s", err, out)
	}
}
