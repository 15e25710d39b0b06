package imapd

import (
	"fmt"
	"strings"
	"testing"

	"pli/mail"
	"pli/mailstore"
)

const inner = "From: Labo <labo@mss-b.example>\r\nSubject: dedans\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n" +
	"--i\r\nContent-Type: text/plain\r\n\r\ntexte dedans\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>dedans</p>\r\n--i--\r\n"

const sample = "Received: from a\r\n by b\r\nFrom: =?utf-8?q?No=C3=A9mie?= Petit <noemie.petit@mss-b.example>\r\nTo: anne.martin@mss-a.example, \"Dupont, Paul\" <paul.dupont@mss-a.example>\r\n" +
	"Subject: =?utf-8?q?R=C3=A9sultats?= du\r\n 20 novembre\r\nDate: Fri, 20 Nov 2026 09:15:00 +0100\r\nMessage-ID: <1@mss-b.example>\r\nIn-Reply-To: <0@mss-a.example>\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\npréambule\r\n" +
	"--o\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nBonjour,=20\r\nvoici les r=C3=A9sultats.\r\n" +
	"--o\r\nContent-Type: application/pdf; name=bilan.pdf\r\nContent-Disposition: attachment; filename=bilan.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n" +
	"--o\r\nContent-Type: message/rfc822\r\n\r\n" + inner + "\r\n--o--\r\n"

func between(t *testing.T, s, from, to string) string {
	t.Helper()
	i := strings.Index(s, from)
	if i < 0 {
		t.Fatalf("no %q", from)
	}
	i += len(from)
	j := strings.Index(s[i:], to)
	if j < 0 {
		t.Fatalf("no %q", to)
	}
	return s[i : i+j]
}

func TestFetchSections(t *testing.T) {
	h := newHouse(t)
	h.put(sample)
	w := h.inbox()
	header, text, _ := strings.Cut(sample, "\r\n\r\n")
	header += "\r\n\r\n"
	innerHeader, innerText, _ := strings.Cut(inner, "\r\n\r\n")
	for item, want := range map[string]string{
		"BODY.PEEK[]":                               sample,
		"BODY.PEEK[HEADER]":                         header,
		"BODY.PEEK[TEXT]":                           text,
		"BODY.PEEK[1]":                              "Bonjour,=20\r\nvoici les r=C3=A9sultats.",
		"BODY.PEEK[1.MIME]":                         "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
		"BODY.PEEK[2]":                              "JVBERi0xLjQK",
		"BODY.PEEK[3]":                              inner,
		"BODY.PEEK[3.HEADER]":                       innerHeader + "\r\n\r\n",
		"BODY.PEEK[3.TEXT]":                         innerText,
		"BODY.PEEK[3.1]":                            "texte dedans",
		"BODY.PEEK[3.2.MIME]":                       "Content-Type: text/html\r\n\r\n",
		"BODY.PEEK[3.HEADER.FIELDS (subject)]":      "Subject: dedans\r\n\r\n",
		"BODY.PEEK[4]":                              "",
		"BODY.PEEK[1.HEADER]":                       "",
		"BODY.PEEK[HEADER.FIELDS (SUBJECT Date x)]": "Subject: =?utf-8?q?R=C3=A9sultats?= du\r\n 20 novembre\r\nDate: Fri, 20 Nov 2026 09:15:00 +0100\r\n\r\n",
		"BODY.PEEK[HEADER.FIELDS.NOT (From To Subject Date Message-ID In-Reply-To MIME-Version Content-Type)]": "Received: from a\r\n by b\r\n\r\n",
		"BODY.PEEK[]<10.20>":     sample[10:30],
		"BODY.PEEK[]<0.100000>":  sample,
		"BODY.PEEK[]<100000.5>":  "",
		"BODY.PEEK[HEADER]<3.4>": header[3:7],
		"BODY.PEEK[2]<4.100>":    "Ri0xLjQK",
		"BINARY.PEEK[1]":         "Bonjour, \r\nvoici les résultats.",
		"BINARY.PEEK[2]":         "%PDF-1.4\n",
		"BINARY.PEEK[2]<1.3>":    "PDF",
		"RFC822.HEADER":          header,
	} {
		lines := w.ok("FETCH 1 %s", item)
		if len(lines) != 1 {
			t.Fatalf("%s: %q", item, lines)
		}
		_, got, _ := strings.Cut(lines[0], "}\r\n")
		if got = strings.TrimSuffix(got, ")"); got != want {
			t.Errorf("%s:\n got %q\nwant %q", item, got, want)
		}
		if size := between(t, lines[0], "{", "}"); size != fmt.Sprint(len(want)) {
			t.Errorf("%s: size %s, want %d", item, size, len(want))
		}
	}
	if l := w.ok("FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[2] RFC822.SIZE UID)"); l[0] != fmt.Sprintf("* 1 FETCH (UID 1 RFC822.SIZE %d BINARY.SIZE[1] 32 BINARY.SIZE[2] 9)", len(sample)) {
		t.Error(l)
	}
	if l := w.ok("FETCH 1 FLAGS"); l[0] != "* 1 FETCH (FLAGS ())" {
		t.Errorf("peeking set a flag: %v", l)
	}
	if l := w.ok("FETCH 1 BODY[1]<0.2>"); !strings.HasPrefix(l[0], "* 1 FETCH (FLAGS (\\Seen) BODY[1]<0> {2}\r\nBo") {
		t.Error(l)
	}
	if l := w.ok("FETCH 1 (FLAGS RFC822)"); !strings.HasPrefix(l[0], "* 1 FETCH (FLAGS (\\Seen) RFC822 {") {
		t.Error(l)
	}
}

func TestEnvelopeAndStructure(t *testing.T) {
	h := newHouse(t)
	h.put(sample)
	h.put("Subject: nu\r\n\r\n")
	h.put("From: pas une adresse\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\nrien\r\n")
	w := h.inbox()
	for item, want := range map[string]string{
		"1 ENVELOPE": `* 1 FETCH (ENVELOPE ("Fri, 20 Nov 2026 09:15:00 +0100" "=?utf-8?q?R=C3=A9sultats_du_20_novembre?=" ` +
			`(("=?utf-8?q?No=C3=A9mie_Petit?=" NIL "noemie.petit" "mss-b.example")) (("=?utf-8?q?No=C3=A9mie_Petit?=" NIL "noemie.petit" "mss-b.example")) ` +
			`(("=?utf-8?q?No=C3=A9mie_Petit?=" NIL "noemie.petit" "mss-b.example")) ` +
			`((NIL NIL "anne.martin" "mss-a.example")("Dupont, Paul" NIL "paul.dupont" "mss-a.example")) NIL NIL "<0@mss-a.example>" "<1@mss-b.example>"))`,
		"2 ENVELOPE": `* 2 FETCH (ENVELOPE (NIL "nu" NIL NIL NIL NIL NIL NIL NIL NIL))`,
		"1 BODYSTRUCTURE": `* 1 FETCH (BODYSTRUCTURE (("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 38 1 NIL NIL NIL NIL)` +
			`("application" "pdf" ("name" "bilan.pdf") NIL NIL "base64" 12 NIL ("attachment" ("filename" "bilan.pdf")) NIL NIL)` +
			fmt.Sprintf(`("message" "rfc822" NIL NIL NIL "7bit" %d (NIL "dedans" (("Labo" NIL "labo" "mss-b.example")) (("Labo" NIL "labo" "mss-b.example")) (("Labo" NIL "labo" "mss-b.example")) NIL NIL NIL NIL NIL) `, len(inner)) +
			`(("text" "plain" NIL NIL NIL "7bit" 12 0 NIL NIL NIL NIL)("text" "html" NIL NIL NIL "7bit" 13 0 NIL NIL NIL NIL) "alternative" ("boundary" "i") NIL NIL NIL) ` +
			fmt.Sprint(strings.Count(inner, "\n")) + ` NIL NIL NIL NIL) "mixed" ("boundary" "o") NIL NIL NIL))`,
	} {
		// The library puts a space between addresses of a list where the grammar has none.
		got := strings.ReplaceAll(w.ok("FETCH %s", item)[0], ") (NIL NIL \"anne", ")(NIL NIL \"anne")
		got = strings.ReplaceAll(got, ") (\"Dupont", ")(\"Dupont")
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", item, got, want)
		}
	}
	if l := w.ok("FETCH 3 (BODYSTRUCTURE BODY ENVELOPE)"); !strings.Contains(l[0], `"adresse-illisible" "invalid"`) {
		t.Error(l)
	}
	if l := w.ok("FETCH 1:* FULL"); len(l) != 3 {
		t.Error(l)
	}
}

func TestFetchNumbers(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		h.put(fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	w := h.inbox()
	w.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
	w.ok("EXPUNGE")
	for set, want := range map[string]string{"1": "1/1", "2:3": "2/3 3/4", "*": "4/5", "3:*": "3/4 4/5", "9:*": "4/5", "1,4,2": "1/1 2/3 4/5", "7": "", "4:2": "2/3 3/4 4/5"} {
		var got []string
		for _, l := range w.ok("FETCH %s UID", set) {
			got = append(got, strings.TrimPrefix(strings.Fields(l)[1], "* ")+"/"+between(t, l, "UID ", ")"))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("FETCH %s: %v, want %s", set, got, want)
		}
	}
	for set, want := range map[string]int{"1:3": 2, "2": 0, "5:*": 1, "900:*": 1, "*:4": 2, "4294967295": 0} {
		if got := w.ok("UID FETCH %s FLAGS", set); len(got) != want {
			t.Errorf("UID FETCH %s: %q, want %d", set, got, want)
		}
	}
}

// A large message is streamed whole, and read in pieces from one opening.
func TestFetchLarge(t *testing.T) {
	h := newHouse(t)
	raw := "Subject: grand\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789\r\n", 50_000)
	h.put(raw)
	w := h.inbox()
	if got := w.ok("FETCH 1 BODY.PEEK[]")[0]; !strings.HasSuffix(got, raw+")") {
		t.Error("the whole differs")
	}
	for _, off := range []int{0, 65536, 1 << 20, 2_899_990} {
		got := w.ok("FETCH 1 BODY.PEEK[]<%d.65536>", off)[0]
		if want := raw[off:min(off+65536, len(raw))]; !strings.HasSuffix(got, "\r\n"+want+")") {
			t.Errorf("the piece at %d differs", off)
		}
	}
	if got := w.ok("FETCH 1 BODY.PEEK[TEXT]")[0]; !strings.HasSuffix(got, raw[18:]+")") {
		t.Error("the text differs")
	}
}

// What was altered in the store is never passed off as a message: a small one is
// refused, a large one that has begun to flow is cut before its end.
func TestAlteredMessage(t *testing.T) {
	h := newHouse(t)
	h.put("Subject: bon\r\n\r\nbon\r\n")
	h.put("Subject: petit\r\n\r\n" + strings.Repeat("petit ", 100))
	h.alter(func(b []byte) []byte { b[len(b)-30] ^= 1; return b })
	w := h.inbox()
	lines, tagged := w.do("FETCH 1:2 BODY.PEEK[]")
	if len(lines) != 1 || !strings.Contains(lines[0], "bon") || !strings.HasPrefix(tagged, "NO [CORRUPTION] ") {
		t.Errorf("%q %s", lines, tagged)
	}
	w.ok("FETCH 2 ENVELOPE")  // the outline is whole
	var noise strings.Builder // that does not compress away
	for i := range 150_000 {
		fmt.Fprintf(&noise, "%x\r\n", uint32(i)*2654435761)
	}
	h.put("Subject: grand\r\n\r\n" + noise.String())
	h.alter(func(b []byte) []byte { b[len(b)-30] ^= 1; return b })
	w.ok("NOOP")
	w.send("z FETCH 3 BODY.PEEK[]\r\n")
	if got := w.rest(); strings.Contains(got, "\nz OK") || strings.HasSuffix(got, ")\r\n") || !strings.HasPrefix(got, "* 3 FETCH (BODY[] {") {
		t.Errorf("%d octets, ends %q", len(got), got[max(0, len(got)-60):])
	}
	w = h.inbox()
	w.refused("NO [CORRUPTION] ", "FETCH 3 BODY.PEEK[]<0.100>")
	if n := strings.Count(h.log.String(), `"msg":"message not fetched"`); n != 3 {
		t.Errorf("%d events tell of it, want 3", n)
	}
}

// A message that went while the client did not look leaves no hole in the numbers.
func TestFetchOfExpunged(t *testing.T) {
	h := newHouse(t)
	for i := range 3 {
		h.put(fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	a, b := h.inbox(), h.inbox()
	b.ok("STORE 2 +FLAGS (\\Deleted)")
	b.ok("EXPUNGE")
	got := a.ok("FETCH 1:3 UID")
	if len(got) != 2 || got[0] != "* 1 FETCH (UID 1)" || got[1] != "* 3 FETCH (UID 3)" {
		t.Errorf("%q", got)
	}
	if got := a.ok("NOOP"); len(got) != 1 || got[0] != "* 2 EXPUNGE" {
		t.Errorf("%q", got)
	}
	if got := a.ok("FETCH 2 UID"); got[0] != "* 2 FETCH (UID 3)" {
		t.Errorf("%q", got)
	}
}

// fill deposits n messages of one sealed body, as fast as may be.
func (h *house) fill(raw string, n int) {
	h.t.Helper()
	for range n {
		if _, err := h.file(raw, mailstore.Deposit{BAL: h.bal, Role: mail.Inbox}); err != nil {
			h.t.Fatal(err)
		}
	}
}

func benchFetch(b *testing.B, item string) {
	const messages = 1000
	h := newHouse(b)
	h.fill(sample+strings.Repeat("Une ligne de texte de taille ordinaire, rien de plus.\r\n", 70), messages)
	w := h.inbox()
	w.ok("FETCH 1:* ENVELOPE") // outlines go under the view key
	for b.Loop() {
		w.send("b FETCH 1:* " + item + "\r\n")
		if lines, tagged := w.until("b"); len(lines) != messages || !strings.HasPrefix(tagged, "OK") {
			b.Fatal(len(lines), tagged)
		}
	}
	b.ReportMetric(messages*float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkFetchFlags(b *testing.B)    { benchFetch(b, "FLAGS") }
func BenchmarkFetchEnvelope(b *testing.B) { benchFetch(b, "ENVELOPE") }
func BenchmarkFetchBody(b *testing.B)     { benchFetch(b, "BODY.PEEK[]") }
