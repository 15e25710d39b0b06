package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"pli/fault"
	"pli/health"
	"pli/mail"
)

var (
	at    = time.Date(2026, 3, 2, 14, 5, 0, 0, time.FixedZone("", 3600))
	adele = mail.MustAddress("adele.martin@mss-a.example")
	house = Person{Name: "Opérateur A", Address: "postmaster@mss-a.example"}
)

// read scans a message built here and returns its octets too.
func read(t *testing.T, r io.Reader, err error) (*Outline, []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if bare := regexp.MustCompile(`[^\r]\n|\r[^\n]`).Find(b); bare != nil {
		t.Errorf("a bare CR or LF: %q", bare)
	}
	for line := range strings.SplitSeq(string(b), "\r\n") {
		if len(line) > 998 { // RFC 5322 §2.1.1
			t.Errorf("a line of %d octets", len(line))
		}
	}
	o, err := Scan(bytes.NewReader(b), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	checkShape(t, o, b)
	return o, b
}

func body(t *testing.T, o *Outline, msg []byte, path ...int) string {
	t.Helper()
	p := o.Part(path...)
	if p == nil {
		t.Fatalf("no part %v", path)
	}
	b, err := io.ReadAll(Decode(p, bytes.NewReader(msg[p.BodyStart:p.End])))
	if err != nil {
		t.Fatalf("part %v: %v", path, err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// TestReports compares DSN and MDN with testdata/reports.txtar, boundaries and
// identifiers put at rest; PLI_UPDATE=1 writes them anew.
func TestReports(t *testing.T) {
	header := []byte("From: adele.martin@mss-a.example\r\nSubject: =?utf-8?q?R=C3=A9sultats?=\r\nMessage-ID: <1@mss-a.example>\r\n\r\n")
	dsn := DSN{
		MessageID: "d@mss-a.example", From: house, To: adele, At: at, Action: Failed, ReportingMTA: "mx.mss-a.example",
		EnvelopeID: "QQ314159", ArrivedAt: at.Add(-time.Hour), Header: header,
		Recipients: []DSNRecipient{
			{Final: mail.MustAddress("karim.hadad@mss-b.example"), Original: "karim.hadad@mss-b.example", Status: "5.1.1",
				RemoteMTA: "mx.mss-b.example", Diagnostic: "550 5.1.1 Cette adresse n'existe pas — pas là", TriedAt: at},
			{Final: mail.MustAddress("nadia@mss-b.example"), Status: "5.3.4", Diagnostic: "552 5.3.4 trop gros", TriedAt: at},
		},
	}
	delay := dsn
	delay.Action, delay.Recipients = Delayed, []DSNRecipient{{Final: mail.MustAddress("nadia@mss-b.example"), Status: "4.4.1", TriedAt: at}}
	delay.NextAt, delay.RetryUntil = at.Add(time.Hour), at.Add(44*time.Hour)
	full := dsn
	full.Recipients = full.Recipients[:1]
	full.Original = strings.NewReader(string(header) + "Le texte.\r\n")
	moved := full
	moved.Original = nil
	moved.Recipients = []DSNRecipient{
		{Final: mail.MustAddress("karim.hadad@mss-b.example"), Status: "5.1.1", RemoteMTA: "mx.mss-b.example", Diagnostic: "550 5.1.1 non", TriedAt: at,
			Present: []DSNPresent{{"karim.haddad@mss-c.example", "HADDAD Karim, Lyon", "same-professional"}}},
		{Final: mail.MustAddress("chir@mss-b.example"), Status: "5.2.1", TriedAt: at, Present: []DSNPresent{
			{"chirurgie@mss-c.example", "Chirurgie, Lyon", "replacement"}, {"chir2@mss-b.example", "", "near"}}},
		{Final: mail.MustAddress("nadia@mss-b.example"), Status: "5.1.1", TriedAt: at, Present: []DSNPresent{{"nadja@mss-b.example", "", "near"}}},
	}
	mdn := MDN{
		MessageID: "m@mss-a.example", From: Person{Address: "jeanne@mss-a.example"}, To: mail.MustAddress("labo@mss-b.example"),
		At: at, ReportingUA: "mx.mss-a.example; Pli", Final: mail.MustAddress("jeanne@mss-a.example"),
		OriginalRecipient: "jeanne@mss-a.example", OriginalID: "7@mss-b.example", OriginalSubject: "XDM/1.0/DDM+ Échographie",
		Original: strings.NewReader("Subject: XDM/1.0/DDM+\r\n\r\nBonjour.\r\n"),
	}
	refused := mdn
	refused.Code, refused.Original, refused.Header = health.NotLatestVersion, nil, []byte("Subject: XDM/1.0/DDM+\r\n\r\n")
	seen := mdn
	seen.Displayed, seen.Original = true, nil
	got := &txtar.Archive{Comment: []byte("What Pli sends by itself, and the text of it decoded. PLI_UPDATE=1 go test\n./codec/message rewrites it.\n")}
	for _, c := range []struct {
		name string
		make func() (io.Reader, error)
	}{
		{"failed", func() (io.Reader, error) { return BuildDSN(dsn) }},
		{"delayed", func() (io.Reader, error) { return BuildDSN(delay) }},
		{"failed-full", func() (io.Reader, error) { return BuildDSN(full) }},
		{"moved", func() (io.Reader, error) { return BuildDSN(moved) }},
		{"filed", func() (io.Reader, error) { return BuildMDN(mdn) }},
		{"refused", func() (io.Reader, error) { return BuildMDN(refused) }},
		{"displayed", func() (io.Reader, error) { return BuildMDN(seen) }},
	} {
		r, err := c.make()
		o, b := read(t, r, err)
		if !o.IsReport() || o.HasXDM() {
			t.Errorf("%s: not a report, or one to ingest", c.name)
		}
		shown := regexp.MustCompile(`pli-[0-9a-f]{32}`).ReplaceAll(b, []byte("BOUNDARY"))
		shown = bytes.ReplaceAll(shown, []byte("\r\n"), []byte("\n"))
		got.Files = append(got.Files,
			txtar.File{Name: c.name + ".eml", Data: shown},
			txtar.File{Name: c.name + ".txt", Data: []byte(o.Fields().Subject() + "\n\n" + body(t, o, b, 1))})
	}
	const path = "testdata/reports.txtar"
	if os.Getenv("PLI_UPDATE") != "" {
		if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(txtar.Format(got))); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestEveryStatusIsExplained gives words to every class of status (ux.md §6.6), and none
// that says DOMAIN.
func TestEveryStatusIsExplained(t *testing.T) {
	rcpt := DSNRecipient{Final: mail.MustAddress("nadia@mss-b.example")}
	for status, want := range map[string]string{
		"5.1.1": "n'existe pas", "5.1.6": "a quitté", "5.1.10": "ne reçoit pas", "5.1.2": "espace de confiance", "5.2.1": "fermée", "5.2.2": "pleine", "5.3.4": "taille", "5.2.3": "taille",
		"4.4.7": "dans les délais", "5.4.7": "dans les délais", "5.4.1": "pas répondu", "5.6.0": "contenu", "5.7.0": "sécurité", "5.7.1": "n'accepte pas",
		"5.7.10": "prouvé", "5.7.11": "prouvé", "5.5.0": "refusé", "": "refusé", "nonsense": "refusé",
	} {
		rcpt.Status = status
		if c := explain(DSN{Action: Failed}, rcpt); !strings.Contains(c.fr, want) || strings.Contains(fmt.Sprint(c), "DOMAIN") || c.fixFR == "" || c.en == "" || c.fixEN == "" {
			t.Errorf("%s: %q", status, c)
		}
	}
	for status, want := range map[string]string{"4.2.2": "pleine", "4.4.1": "ne répond pas", "4.3.0": "attendre"} {
		rcpt.Status = status
		if c := explain(DSN{Action: Delayed, At: at}, rcpt); !strings.Contains(c.fr, want) || strings.Contains(fmt.Sprint(c), "DOMAIN") {
			t.Errorf("%s: %q", status, c)
		}
	}
}

func TestReportsToNobody(t *testing.T) {
	if _, err := BuildDSN(DSN{From: house, At: at}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a DSN to nobody: %v", err)
	}
	if _, err := BuildMDN(MDN{From: house, At: at}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an MDN to nobody: %v", err)
	}
}

func TestCompose(t *testing.T) {
	pdf := bytes.Repeat([]byte("%PDF-1.7 é\n"), 40_000)
	d := Draft{
		From:       Person{"Jeanne \"Nanou\" PETIT", "jeanne@mss-a.example"},
		To:         []Person{{"Dr Adèle\r\nBcc: x@y.example", "adele.martin@mss-a.example"}, {"nobody", "no address"}},
		Subject:    "Re: Résultats\r\nX-Evil: 1 " + strings.Repeat("é", 100),
		At:         at,
		MessageID:  "r@mss-a.example",
		InReplyTo:  "1@mss-a.example",
		References: []string{"0@mss-a.example", "1@mss-a.example"},
		Text:       "Bonjour,\n.\nFrom moi à vous = merci\r\n" + strings.Repeat("long ", 300),
		Files: []File{
			{"ordonnance à lire.pdf", "application/pdf", iotest.OneByteReader(bytes.NewReader(pdf[:5000]))},
			{"a\r\nb.eml", "message/rfc822", strings.NewReader("Subject: x\r\n\r\n")},
			{"", "nonsense", bytes.NewReader(pdf)},
		},
		MSS: MSS{MES: "FIN"},
	}
	var b bytes.Buffer
	if err := Compose(&b, d); err != nil {
		t.Fatal(err)
	}
	o, msg := read(t, &b, nil)
	f := o.Fields()
	if f.Has("Bcc") || f.Has("X-Evil") || !f.EndsExchange() {
		t.Errorf("fields: %q", o.Header)
	}
	if p := f.From(); len(p) != 1 || p[0] != d.From {
		t.Error("From changed")
	}
	if p := f.To(); len(p) != 1 || p[0].Address != "adele.martin@mss-a.example" {
		t.Error("To changed")
	}
	if !f.Date().Equal(at) || f.MessageID() != "r@mss-a.example" || len(f.References()) != 2 || f.InReplyTo()[0] != "1@mss-a.example" {
		t.Errorf("fields: %q", o.Header)
	}
	if got := body(t, o, msg, 1); got != strings.ReplaceAll(d.Text, "\r\n", "\n")+"\n" {
		t.Errorf("text is %q", got)
	}
	if o.Part(2).Filename != "ordonnance à lire.pdf" || o.Part(3).Type() != "application/octet-stream" || o.Part(3).Filename != "a  b.eml" {
		t.Errorf("files %q %q", o.Part(2).Filename, o.Part(3).Filename)
	}
	p := o.Part(4)
	got, err := io.ReadAll(Decode(p, bytes.NewReader(msg[p.BodyStart:p.End])))
	if err != nil || !bytes.Equal(got, pdf) {
		t.Errorf("a file of %d octets came back as %d, %v", len(pdf), len(got), err)
	}
	if err := Compose(io.Discard, Draft{}); !fault.Is(err, fault.InvalidAddress) {
		t.Errorf("from nobody: %v", err)
	}
}

func TestDecode(t *testing.T) {
	text := func(charset string) map[string]string { return map[string]string{"charset": charset} }
	for _, c := range []struct {
		name string
		part Part
		in   string
		want string
	}{
		{"windows-1252", Part{MediaType: "text", Params: text("windows-1252"), Encoding: "quoted-printable"}, "L=92=E9t=E9 =80=\r\n!", "L’été €!"},
		{"no charset, UTF-8", Part{MediaType: "text"}, "été", "été"},
		{"no charset, Latin", Part{MediaType: "text"}, "\xe9t\xe9", "été"},
		{"wrong UTF-8", Part{MediaType: "text", Params: text("utf-8")}, "a\xffb", "a\uFFFDb"},
		{"unknown charset", Part{MediaType: "text", Params: text("x-martian")}, "caf\xe9", "caf\uFFFD"},
		{"malformed QP", Part{MediaType: "text", Encoding: "quoted-printable"}, "1=2 =ZZ =\r\n=C3=A9=", "1=2 =ZZ é"},
		{"QP trailing space", Part{MediaType: "text", Encoding: "quoted-printable"}, "a  \t\r\nb", "a\r\nb"},
		{"base64 with dirt", Part{MediaType: "application", Encoding: "base64"}, " JV\r\nBE*Ri0=\r\n-- list footer", "%PDF-"},
		{"binary is left alone", Part{MediaType: "application"}, "\xff\r\n", "\xff\r\n"},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			got, err := io.ReadAll(Decode(&c.part, r))
			if err != nil || string(got) != c.want {
				t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
			}
		}
	}
	long := strings.Repeat("=C3=A9", 5000)
	got, err := io.ReadAll(Decode(&Part{MediaType: "text", Encoding: "quoted-printable"}, strings.NewReader("x"+long)))
	if err != nil || string(got) != "x"+strings.Repeat("é", 5000) {
		t.Errorf("a long line of quoted-printable was damaged: %v", err)
	}
	cut := base64.StdEncoding.EncodeToString([]byte("hello, world"))[:10]
	if _, err := io.ReadAll(Decode(&Part{MediaType: "image", Encoding: "base64"}, strings.NewReader(cut))); err == nil {
		t.Error("a body cut short was taken as whole")
	}
}

func TestWithoutFields(t *testing.T) {
	in := "Bcc: a\r\n b\r\nSubject: x\r\n y\r\nbCC : c\r\nReturn-Path: <x>\r\n\r\nBcc: body\r\n"
	if got := string(WithoutFields([]byte(in), "Bcc", "Return-Path")); got != "Subject: x\r\n y\r\n\r\nBcc: body\r\n" {
		t.Errorf("%q", got)
	}
}

func TestFields(t *testing.T) {
	f := ParseFields([]byte("Return-Path: <a@mss-a.example>\nX-MSS-CODECDA: 11502-2, ,34133-9\nx-mss-ins: O\nX-MSS-NIL: n\n" +
		"no colon\n leading\nDisposition-Notification-To: <A@mss-a.example>\nX-MSS-MES: fin\nSubject: [FIN]\nMessage-ID: not bracketed\nDate: nonsense\n\nSubject: body\n"))
	m := f.MSS()
	if len(m.CodeCDA) != 2 || m.INS != "O" || m.NIL != "n" || m.MES != "fin" {
		t.Errorf("%+v", m)
	}
	if f.EndsExchange() {
		t.Error("the header is there and does not say FIN: the subject must not count")
	}
	if n := f.DispositionNotificationTo(); len(n) != 1 || n[0].Mail() != f.ReturnPath() || f.ReturnPath().IsZero() {
		t.Error("the same address in two cases differs")
	}
	if f.MessageID() != "not" || !f.Date().IsZero() || f.Count("Subject") != 1 {
		t.Errorf("malformed fields: %q %v", f.MessageID(), f.Date())
	}
	for in, want := range map[string]string{
		"XDM/1.0/DDM+ ECHOGRAPHIE": "ECHOGRAPHIE", "XDM/1.0/DDM+ECHO": "ECHO", "Re: XDM/1.0/DDM+ECHO": "Re: ECHO", "Bonjour": "Bonjour",
		"[KO Intégration système !][902] XDM/1.0/DDM+ECHO": "[KO Intégration système !][902] ECHO",
	} {
		if got := HumanSubject(in); got != want {
			t.Errorf("%q reads %q", in, got)
		}
	}
}

func TestReceiptTo(t *testing.T) {
	for _, c := range []struct {
		header, reverse string
		want            bool
	}{
		{"Disposition-Notification-To: Adele.Martin@mss-a.example", "adele.martin@mss-a.example", true},
		{"Disposition-Notification-To: A <adele.martin@mss-a.example>\nAuto-Submitted: no", "adele.martin@mss-a.example", true},
		{"Disposition-Notification-To: karim@mss-a.example", "adele.martin@mss-a.example", false},
		{"Disposition-Notification-To: adele.martin@mss-a.example, karim@mss-a.example", "adele.martin@mss-a.example", false},
		{"Disposition-Notification-To: adele.martin@mss-a.example", "", false},
		{"Disposition-Notification-To: adele.martin@mss-a.example\nAuto-Submitted: auto-replied", "adele.martin@mss-a.example", false},
		{"Disposition-Notification-To: adele.martin@mss-a.example\nContent-Type: multipart/report; boundary=b\n\n--b\n\n--b--", "adele.martin@mss-a.example", false},
		{"Return-Path: <adele.martin@mss-a.example>", "adele.martin@mss-a.example", false},
	} {
		o, err := Scan(strings.NewReader(crlf(c.header+"\n\n")), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		o.ReversePath = c.reverse
		if got := o.ReceiptTo(); got.IsZero() == c.want || c.want && got != adele {
			t.Errorf("%q from %q: %q", c.header, c.reverse, got.Reveal())
		}
	}
}

func TestNothingIsPrinted(t *testing.T) {
	o, err := Scan(strings.NewReader(crlf(sample)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{o, o.Root, Person{"Adèle", "a@mss-a.example"}, []Person{{"Adèle", "a@mss-a.example"}}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, "mss-a") || strings.Contains(s, "Ad") {
				t.Errorf("%T prints %s", v, s)
			}
		}
	}
}
