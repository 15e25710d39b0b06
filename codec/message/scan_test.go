package message

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"pli/fault"
)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// checkShape asserts what every outline must hold: offsets inside the message, parts
// nested and disjoint, header and line counts that agree with the bytes.
func checkShape(t *testing.T, o *Outline, msg []byte) {
	t.Helper()
	if o.Size != int64(len(msg)) || o.Root.HeaderStart != 0 || o.Root.End != o.Size {
		t.Fatalf("root spans %d–%d of %d octets", o.Root.HeaderStart, o.Root.End, len(msg))
	}
	checkOutline(t, o, msg)
}

func checkOutline(t *testing.T, o *Outline, msg []byte) {
	t.Helper()
	if !bytes.Equal(o.Header, msg[o.Root.HeaderStart:o.Root.BodyStart]) {
		t.Fatal("the header is not what lies before the body")
	}
	checkPart(t, o.Root, msg)
}

func checkPart(t *testing.T, p *Part, msg []byte) {
	t.Helper()
	if p.HeaderStart < 0 || p.BodyStart < p.HeaderStart || p.End < p.BodyStart || p.End > int64(len(msg)) {
		t.Fatalf("part at %d, %d, %d of %d octets", p.HeaderStart, p.BodyStart, p.End, len(msg))
	}
	if n := bytes.Count(msg[p.BodyStart:p.End], []byte("\n")); int64(n) != p.Lines {
		t.Fatalf("%d lines said, %d there", p.Lines, n)
	}
	at := p.BodyStart
	for _, c := range p.Children {
		if c.HeaderStart < at || c.End > p.End {
			t.Fatalf("child spans %d–%d, outside %d–%d", c.HeaderStart, c.End, at, p.End)
		}
		at = c.End
		checkPart(t, c, msg)
	}
	if (p.MediaType == "multipart") != (len(p.Children) > 0) {
		t.Fatalf("a %s with %d children", p.MediaType, len(p.Children))
	}
	if p.Embedded != nil {
		if p.Embedded.Root.HeaderStart != p.BodyStart || p.Embedded.Root.End != p.End || p.Embedded.Size != p.Size() {
			t.Fatal("an embedded message does not fill its part")
		}
		checkOutline(t, p.Embedded, msg)
	}
}

// sketch writes an outline for people to compare.
func sketch(o *Outline) string {
	var b strings.Builder
	f := o.Fields()
	fmt.Fprintf(&b, "subject: %s\n", f.Subject())
	for _, p := range f.From() {
		fmt.Fprintf(&b, "from: %q <%s>\n", p.Name, p.Address)
	}
	for _, p := range append(f.To(), f.Cc()...) {
		fmt.Fprintf(&b, "to: %q <%s>\n", p.Name, p.Address)
	}
	fmt.Fprintf(&b, "id: %s, replies to %q, references %q\n", f.MessageID(), f.InReplyTo(), f.References())
	fmt.Fprintf(&b, "preview: %s\n", o.Preview)
	fmt.Fprintf(&b, "xdm: %v, ends the exchange: %v\n", o.HasXDM(), f.EndsExchange())
	sketchPart(&b, o.Root, "")
	return b.String()
}

func sketchPart(b *strings.Builder, p *Part, indent string) {
	fmt.Fprintf(b, "%s%s %d %d %d lines %d", indent, p.Type(), p.HeaderStart, p.BodyStart, p.End, p.Lines)
	for _, s := range []string{p.Encoding, p.Params["charset"], p.Disposition, p.Filename, p.ContentID, p.Description} {
		if s != "" {
			fmt.Fprintf(b, " %q", s)
		}
	}
	b.WriteByte('\n')
	for _, c := range p.Children {
		sketchPart(b, c, indent+"  ")
	}
	if p.Embedded != nil {
		fmt.Fprintf(b, "%s  message: %q\n", indent, p.Embedded.Fields().Subject())
		sketchPart(b, p.Embedded.Root, indent+"    ")
	}
}

// TestGolden scans the messages of testdata/scan.txtar, each a name.eml followed by the
// sketch expected of it; PLI_UPDATE=1 writes the sketches anew.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "scan.txtar")
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ar.Files {
		name, ok := strings.CutSuffix(ar.Files[i].Name, ".eml")
		if !ok {
			continue
		}
		msg := []byte(crlf(string(ar.Files[i].Data)))
		o, err := Scan(bytes.NewReader(msg), Limits{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkShape(t, o, msg)
		want := &ar.Files[i+1]
		if os.Getenv("PLI_UPDATE") != "" {
			want.Data = []byte(sketch(o))
		}
		o.ReversePath = "adele.martin@mss-a.example"
		if d := cmp.Diff(string(want.Data), sketch(o)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		checkMarshal(t, o)
	}
	if os.Getenv("PLI_UPDATE") != "" {
		if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func checkMarshal(t *testing.T, o *Outline) {
	t.Helper()
	b := o.Marshal()
	back, err := Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(o, back, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("after Marshal and Unmarshal (-want +got):\n%s", d)
	}
}

func TestScanDoesNotDependOnPieces(t *testing.T) {
	msg := crlf(sample)
	want, err := Scan(strings.NewReader(msg), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Scan(iotest.OneByteReader(strings.NewReader(msg)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

const sample = `From: =?utf-8?q?Dr_Ad=C3=A8le_Martin?= <adele.martin@mss-a.example>
To: labo@mss-b.example
Subject: =?utf-8?q?R=C3=A9sultats?=
Message-ID: <1@mss-a.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="a b"

preamble
--a b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Bonjour, les r=E9sultats =
sont joints.
--a b
Content-Type: message/rfc822

Subject: inside
Content-Type: multipart/alternative; boundary=in

--in

one
--in
Content-Type: text/html

<p>two</p>
--in--
--a b
Content-Type: application/pdf
Content-Disposition: attachment; filename*=utf-8''r%C3%A9sultat.pdf
Content-Transfer-Encoding: base64

JVBERi0=
--a b--
epilogue
`

func TestPaths(t *testing.T) {
	msg := crlf(sample)
	o, err := Scan(strings.NewReader(msg), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path []int
		want string
	}{
		{nil, "multipart/mixed"}, {[]int{1}, "text/plain"}, {[]int{2}, "message/rfc822"},
		{[]int{2, 1}, "text/plain"}, {[]int{2, 2}, "text/html"}, {[]int{3}, "application/pdf"},
		{[]int{4}, ""}, {[]int{0}, ""}, {[]int{1, 1}, ""}, {[]int{3, 1}, ""}, {[]int{2, 1, 1}, ""}, {[]int{-1}, ""},
	} {
		got := ""
		if p := o.Part(c.path...); p != nil {
			got = p.Type()
		}
		if got != c.want {
			t.Errorf("%v is %q, want %q", c.path, got, c.want)
		}
	}
	single, _ := Scan(strings.NewReader(crlf("Subject: x\n\nbody\n")), Limits{})
	if single.Part(1) != single.Root || single.Part(2) != nil || single.Part(1, 1) != nil {
		t.Error("the single part of a message is 1 and nothing else")
	}
	if p := o.Part(2, 1); msg[p.BodyStart:p.End] != "one" {
		t.Errorf("part 2.1 is %q", msg[p.BodyStart:p.End])
	}
	if as := o.Attachments(); len(as) != 2 || as[1].Part.Filename != "résultat.pdf" || as[1].Path[0] != 3 {
		t.Errorf("%d attachments", len(as))
	}
	if o.Preview != "Bonjour, les résultats sont joints." {
		t.Errorf("preview %q", o.Preview)
	}
}

func TestNestingIsRefusedFast(t *testing.T) {
	var b strings.Builder
	const n = 3000
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	_, err := Scan(strings.NewReader(b.String()), Limits{})
	if !fault.Is(err, fault.InvalidContent) || fault.CodeOf(err) != "too-deep" {
		t.Errorf("3,000 nested multiparts: %v", err)
	}
	o, err := Scan(strings.NewReader(b.String()), Limits{Depth: n + 1, Parts: n + 2})
	if err != nil {
		t.Fatal(err)
	}
	checkShape(t, o, []byte(b.String()))

	nested := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n)
	if _, err := Scan(strings.NewReader(nested), Limits{}); fault.CodeOf(err) != "too-deep" {
		t.Errorf("3,000 nested messages: %v", err)
	}
}

func TestLimits(t *testing.T) {
	long := "X: " + strings.Repeat("a", 1<<20) + "\r\n\r\n"
	if _, err := Scan(strings.NewReader(long), Limits{}); fault.CodeOf(err) != "header-too-long" {
		t.Errorf("a header of 1 MiB and more: %v", err)
	}
	// A mailbox is listed by its outlines, many at once: what each may hold is little.
	fat := "X: " + strings.Repeat("a", 250<<10) + "\r\n"
	nested := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n"+fat+"\r\n", 5)
	if _, err := Scan(strings.NewReader(nested), Limits{}); fault.CodeOf(err) != "headers-too-long" {
		t.Errorf("headers of more than 1 MiB in all: %v", err)
	}
	parts := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n", 1000)
	if _, err := Scan(strings.NewReader(parts), Limits{}); fault.CodeOf(err) != "too-many-parts" {
		t.Errorf("1,001 parts: %v", err)
	}
	if _, err := ReadHeader(bufio.NewReader(strings.NewReader(long)), 1<<20); fault.CodeOf(err) != "header-too-long" {
		t.Errorf("ReadHeader beyond its bound: %v", err)
	}
	raw, err := ReadHeader(bufio.NewReader(strings.NewReader("A: b\r\n\r\nbody")), 100)
	if err != nil || string(raw) != "A: b\r\n\r\n" {
		t.Errorf("ReadHeader: %q, %v", raw, err)
	}
}

// TestHostileFields reads fields that fill a whole header with what makes naive parsers
// quadratic; such a parser would take minutes.
func TestHostileFields(t *testing.T) {
	for _, u := range []string{"(", "a,", "<", "\"", "=?utf-8?q?a?= ", "=?", "a@b.c <", ":;", "\\", "<>", "<a>", "a.", "()", ";a=b", ";a*0=b"} {
		s := strings.Repeat(u, (1<<19)/len(u)) // twice what a message may hold
		for _, name := range []string{"From", "References", "Content-Type", "Content-Disposition"} {
			o, err := Scan(strings.NewReader(name+": text/plain; "+s+"\r\n\r\n"), Limits{HeaderSize: 1 << 20})
			if err != nil {
				t.Fatalf("%s of %q: %v", name, u, err)
			}
			f := o.Fields()
			if len(f.From()) > maxPeople || len(f.References()) > maxIDs {
				t.Errorf("%s of %q: too much is kept", name, u)
			}
			o.HasXDM()
		}
	}
}

// endless is a message body that never holds a line break.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range p[:n] {
		p[i] = 'a'
	}
	e.left -= n
	return n, nil
}

func TestScanHoldsLittle(t *testing.T) {
	const size = 64 << 20
	r := io.MultiReader(strings.NewReader("Subject: big\r\n\r\n"), &endless{size})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Scan(r, Limits{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("scanning 64 MiB on one line allocated %d octets", got)
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(crlf(sample)))
	f.Add([]byte(sample))
	f.Add([]byte("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n--b\r\n\r\nSubject: x\r\n--b--"))
	f.Add([]byte("Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n----\r\n"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b--\r\n--b--\r\n"))
	f.Add([]byte(": \n\n--\r\r\n"))
	f.Add([]byte("Content-Type: text/html; charset=windows-1252\n\n<style>a</style><p>caf\xe9 &amp; <!-- x -->"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		o, err := Scan(bytes.NewReader(msg), Limits{Depth: 20, Parts: 100})
		if err != nil {
			if !fault.Is(err, fault.InvalidContent) {
				t.Fatalf("%v", err)
			}
			return
		}
		checkShape(t, o, msg)
		again, err := Scan(iotest.OneByteReader(bytes.NewReader(msg)), Limits{Depth: 20, Parts: 100})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(o, again); d != "" {
			t.Fatalf("in pieces of one octet: %s", d)
		}
		checkMarshal(t, o)
		o.HasXDM()
		f := o.Fields()
		f.From()
		f.Date()
		f.References()
		o.Walk(func(path []int, p *Part) {
			if len(path) > 0 && o.Part(path...) != p {
				t.Fatalf("path %v leads elsewhere", path)
			}
			_, _ = io.Copy(io.Discard, Decode(p, bytes.NewReader(msg[p.BodyStart:p.End])))
		})
	})
}

func FuzzUnmarshal(f *testing.F) {
	o, err := Scan(strings.NewReader(crlf(sample)), Limits{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(o.Marshal())
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Unmarshal(b)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Fatalf("%v", err)
			}
			return
		}
		if o.Root == nil {
			t.Fatal("no root")
		}
		checkMarshal(t, o)
	})
}

func BenchmarkScan5KB(b *testing.B) {
	msg := []byte(crlf(sample) + strings.Repeat("Une ligne ordinaire d'un courrier.\r\n", 120))
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Scan(bytes.NewReader(msg), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
