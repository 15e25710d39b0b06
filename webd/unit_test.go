package webd

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/id"
)

func words(t testing.TB, l Lang) *Words {
	t.Helper()
	w, err := loadWords(l)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestDatesAndNumbers(t *testing.T) {
	fr, en := words(t, French), words(t, English)
	at := time.Date(2026, 3, 3, 13, 5, 0, 0, time.UTC)
	for got, want := range map[string]string{
		fr.When(at): "mardi 3\u00a0mars 2026 à 14\u00a0h\u00a005", fr.Date(at.AddDate(0, 0, -2)): "1er\u00a0mars 2026", fr.Clock(at.AddDate(0, 4, 0)): "15\u00a0h\u00a005",
		en.When(at): "Tuesday 3\u00a0March 2026 at 14:05", fr.Short(at, at.Add(time.Hour)): "14\u00a0h\u00a005", fr.Short(at, at.AddDate(0, 0, 3)): "3\u00a0mars",
		fr.Short(at, at.AddDate(2, 0, 0)): "3\u00a0mars 2026", fr.BirthDay("19850612"): "12\u00a0juin 1985", fr.BirthDay("1985"): "1985",
		fr.Number(1250): "1\u202f250", fr.Number(1234567): "1\u202f234\u202f567", fr.Number(-1250): "-1\u202f250", en.Number(1250): "1,250", fr.Number(999): "999",
		fr.Size(3_200_000): "3,2\u00a0Mo", fr.Size(25_000_000): "25\u00a0Mo", fr.Size(999_999): "1\u00a0Mo", fr.Size(0): "0\u00a0o", en.Size(1500): "1.5\u00a0kB",
		fr.N("record.count", 0): "0 document", fr.N("record.count", 2): "2 documents", en.N("record.count", 0): "0 documents", fr.When(time.Time{}): "",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

var textKey = regexp.MustCompile(`\b(?:t|n|T|N)\s*\(?"([a-z]+\.[a-z0-9.-]+)"`)

// Both languages have the same texts, with the same values in them, and every text that
// a page asks for is there.
func TestTexts(t *testing.T) {
	fr, en := words(t, French), words(t, English)
	verbs := regexp.MustCompile(`%(\[\d\])?[sd]`)
	for k, v := range fr.texts {
		if !en.Has(k) {
			t.Errorf("%s is not in English", k)
		} else if k != "faults.say" && !slices.Equal(verbs.FindAllString(v, -1), verbs.FindAllString(en.texts[k], -1)) {
			t.Errorf("%s: other values in English", k)
		}
	}
	for k := range en.texts {
		if !fr.Has(k) {
			t.Errorf("%s is not in French", k)
		}
	}
	files, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if ext := filepath.Ext(f); ext != ".html" && ext != ".go" || strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range textKey.FindAllStringSubmatch(string(b), -1) {
			if !strings.HasSuffix(m[1], ".") && !fr.Has(m[1]) && !fr.Has(m[1]+".one") {
				t.Errorf("%s asks for %s", f, m[1])
			}
		}
	}
	for _, k := range []fault.Kind{fault.Invalid, fault.Forbidden, fault.NotFound, fault.TooLarge, fault.RateLimited, fault.Unavailable, fault.Internal} {
		if !fr.Has("error." + errorKey(k) + ".title") {
			t.Errorf("no page for %s", k)
		}
	}
	for _, c := range Categories() {
		if !fr.Has("category." + string(c)) {
			t.Errorf("no name for %s", c)
		}
	}
}

// French sentences stay short and polite (ux.md §7.1).
func TestVoice(t *testing.T) {
	for k, v := range words(t, French).texts {
		if strings.Contains(v, "!") {
			t.Errorf("%s shouts", k)
		}
		for _, s := range strings.FieldsFunc(v, func(r rune) bool { return r == '.' || r == ':' || r == '?' }) {
			if n := len(strings.Fields(s)); n > 25 {
				t.Errorf("%s: a sentence of %d words", k, n)
			}
		}
	}
}

func letterWith(t *testing.T, header string, at int) Letter {
	t.Helper()
	o, err := message.Scan(strings.NewReader(strings.ReplaceAll(header, "\n", "\r\n")+"\r\n\r\nx\r\n"), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return Letter{ID: id.New(), ReceivedAt: testNow.Add(time.Duration(at) * time.Minute), Outline: o}
}

func TestThreads(t *testing.T) {
	a := letterWith(t, "Message-ID: <a@x.example>\nSubject: S", 1)
	b := letterWith(t, "Message-ID: <b@x.example>\nIn-Reply-To: <a@x.example>\nSubject: Re: S", 2)
	c := letterWith(t, "Message-ID: <c@x.example>\nReferences: <b@x.example>\nSubject: Re: S", 3)
	same := letterWith(t, "Message-ID: <d@x.example>\nSubject: S", 4)
	orphan1 := letterWith(t, "Message-ID: <e@x.example>\nReferences: <gone@x.example>\nSubject: XDM/1.0/DDM+Bilan", 5)
	orphan2 := letterWith(t, "Message-ID: <f@x.example>\nReferences: <gone@x.example> <e@x.example>\nSubject: x", 6)
	none1, none2 := letterWith(t, "Subject: n", 7), letterWith(t, "Subject: n", 8)
	ts := threads([]Letter{c, none2, orphan2, a, same, b, orphan1, none1})
	var got []string
	for _, th := range ts {
		got = append(got, th.Subject())
		if !slices.IsSortedFunc(th.items, func(x, y item) int { return x.ReceivedAt.Compare(y.ReceivedAt) }) {
			t.Error("a conversation is not in order")
		}
	}
	if !slices.Equal(got, []string{"n", "n", "Bilan", "S", "S"}) {
		t.Errorf("conversations %q", got)
	}
	if n := len(ts[4].items); n != 3 || ts[4].ID() != a.ID || !ts[4].has(c.ID) {
		t.Errorf("the conversation has %d letters", n)
	}
}

func TestPassages(t *testing.T) {
	got := passages("Bonjour,\r\n\r\nMerci.\r\n\r\nLe 3 mars, X a écrit :\r\n> un\r\n> deux\r\n\r\n> trois\r\n\r\nFin")
	want := []passage{{"Bonjour,\n\nMerci.", false}, {"Le 3 mars, X a écrit :\n> un\n> deux\n\n> trois", true}, {"Fin", false}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := passages("Le 3 mars, X a écrit :\nrien de cité"); len(got) != 1 || got[0].Quote {
		t.Errorf("got %+v", got)
	}
}

func TestCleanMail(t *testing.T) {
	image := func(cid string) string {
		if cid == "logo" {
			return "data:image/png;base64,AAAA"
		}
		return ""
	}
	for in, want := range map[string]string{
		`<p onclick="x()" style="color:red" class="a" id="b">Bonjour</p>`:                                 `<p>Bonjour</p>`,
		`<script>x()</script><style>p{}</style>t`:                                                         `t`,
		`<img src="https://pisteur.example/x.gif" alt="mot">`:                                             `mot`,
		`<img src="cid:logo" alt="Logo" onerror="x()">`:                                                   `<img src="data:image/png;base64,AAAA" alt="Logo"/>`,
		`<img src="cid:autre" alt="Autre">`:                                                               `Autre`,
		`<img src="data:text/html,x">`:                                                                    ``,
		`<a href="javascript:x()">a</a>`:                                                                  `a`,
		`<a href="https://a.example/b">a</a>`:                                                             `<a href="https://a.example/b" rel="nofollow noreferrer noopener" target="_blank">a</a>`,
		`<form action="/deconnexion"><input name="a"><button>b</button></form>`:                           `b`,
		`<iframe src="https://a.example"></iframe><object data="x"></object><svg><a href="x">s</a></svg>`: `s`,
		`<base href="https://a.example"><meta http-equiv="refresh" content="0;url=x">t`:                   `t`,
		`<table><tr><td colspan="2" background="https://a.example/x">c</td></tr></table>`:                 `<table><tbody><tr><td colspan="2">c</td></tr></tbody></table>`,
	} {
		got, err := cleanMail(strings.NewReader(in), image)
		if err != nil || strings.TrimSpace(got) != want {
			t.Errorf("%s\n gives %q\n want  %q (%v)", in, got, want, err)
		}
	}
}

func FuzzCleanMail(f *testing.F) {
	f.Add("<p onclick=x>a</p><img src=cid:b><a href=javascript:x>c</a>")
	f.Add("<svg><style><img src=https://a.example onerror=x>")
	f.Add("<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := cleanMail(strings.NewReader(in), func(string) string { return "" })
		if err != nil {
			return
		}
		again, err := cleanMail(strings.NewReader(got), func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{got, again} {
			low := strings.ToLower(s)
			for _, bad := range []string{"<script", "<style", "<iframe", "<form", "<img src=\"http", "<object", "<base", "<svg"} {
				if strings.Contains(low, bad) {
					t.Fatalf("%q lets %q through: %q", in, bad, s)
				}
			}
		}
	})
}

func TestCleanDocument(t *testing.T) {
	got, err := cleanDocument(`<article class="cda"><h2>T</h2><section><h5>A</h5><h6>B</h6></section><section><h5>C</h5><table><thead><tr><th>x</th></tr></thead><tbody><tr><td onclick="x()">1</td></tr></tbody></table></section><script>x()</script></article>`, "Tableau")
	want := `<article class="cda"><h2>T</h2><section><h3>A</h3><h4>B</h4></section><section><h3>C</h3><div class="wide" tabindex="0" role="group" aria-label="Tableau"><table><thead><tr><th scope="col">x</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table></div></section></article>`
	if err != nil || got != want {
		t.Errorf("got %s (%v)", got, err)
	}
}

func TestFileNames(t *testing.T) {
	for in, want := range map[string]string{
		`C:\photos\carte.jpg`: "carte.jpg", "../../etc/passwd": "passwd", "a\r\nb.pdf": "ab.pdf", "": "", ".": "", "/": "",
		"fac\u202efdp.exe": "facfdp.exe", strings.Repeat("é", 200) + ".pdf": strings.Repeat("é", 116) + ".pdf",
	} {
		if got := fileName(in); got != want {
			t.Errorf("fileName(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	f.Add("a/b\\c.pdf")
	f.Fuzz(func(t *testing.T, in string) {
		got := fileName(in)
		if strings.ContainsAny(got, "/\\\r\n\x00") || len([]rune(got)) > 120 {
			t.Fatalf("fileName(%q) = %q", in, got)
		}
		if strings.ContainsAny(disposition("attachment", got), "\r\n") {
			t.Fatalf("%q breaks a header", got)
		}
	})
}

func TestSniff(t *testing.T) {
	for in, want := range map[string]string{
		"%PDF-1.7": "application/pdf", "\xff\xd8\xff\xe0": "image/jpeg", "\x89PNG\r\n\x1a\n0": "image/png", "II*\x00x": "image/tiff", "MM\x00*x": "image/tiff",
		"{\\rtf1": "application/rtf", "\x00\x00\x00\x18ftypheic0000": "image/heic", "Bonjour,\r\nça va": "text/plain", "": "", "MZ\x90\x00": "",
		"<html>": "", "  <script>": "", "PK\x03\x04": "", "\x00\x00\x00\x18ftypmp42": "",
	} {
		if got := sniff([]byte(in)); got != want {
			t.Errorf("sniff(%q) = %q, want %q", in, got, want)
		}
	}
}

// A letterbox that nobody uses is closed after a while, one in use is not.
func TestVisitsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		vs := newVisits(h, time.Now)
		v, busy := vs.enter("a", Session{}), vs.enter("b", Session{})
		for _, x := range []*visit{v, busy} {
			if _, err := x.open(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		v.leave()
		time.Sleep(visitIdle / 2)
		vs.sweep()
		if h.opened != 2 {
			t.Errorf("%d open while still fresh", h.opened)
		}
		time.Sleep(visitIdle)
		vs.sweep()
		if h.opened != 1 {
			t.Errorf("%d open, want the busy one", h.opened)
		}
		vs.closeAll()
		if h.opened != 1 {
			t.Error("a letterbox in use was closed")
		}
		busy.leave()
		if h.opened != 0 {
			t.Error("a letterbox outlived its last request")
		}
	})
}

func TestReceiptGoesToTheAuthor(t *testing.T) {
	for header, want := range map[string]bool{
		"From: <a@x.example>\nDisposition-Notification-To: <a@x.example>":                               true,
		"From: <a@x.example>\nDisposition-Notification-To: <b@x.example>":                               false,
		"From: <a@x.example>\nReturn-Path: <b@x.example>\nDisposition-Notification-To: <b@x.example>":   true,
		"From: <a@x.example>\nDisposition-Notification-To: <a@x.example>\nAuto-Submitted: auto-replied": false,
		"From: <a@x.example>": false,
	} {
		if got := receiptTo(letterWith(t, header, 0).Outline.Fields()); got.IsZero() == want {
			t.Errorf("%q: %v", header, !got.IsZero())
		}
	}
}

func TestCapital(t *testing.T) {
	for in, want := range map[string]string{"JEANNE": "Jeanne", "MARIE-ANNE": "Marie-Anne", "INÈS": "Inès", "Zoé": "Zoé", "": "", "D'ARTAGNAN": "D'Artagnan"} {
		if got := capital(in); got != want {
			t.Errorf("capital(%q) = %q, want %q", in, got, want)
		}
	}
}
