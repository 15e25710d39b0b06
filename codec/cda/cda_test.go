package cda_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pli/codec/cda"
	"pli/fault"
	"pli/health"
	"pli/internal/sample"
)

func read(b []byte) (*cda.Document, error) { return cda.Read(bytes.NewReader(b)) }

func mustRead(t *testing.T, c sample.CDA) *cda.Document {
	t.Helper()
	d, err := read(c.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func render(t testing.TB, d *cda.Document, o cda.Options) string {
	t.Helper()
	var b strings.Builder
	if err := cda.Render(&b, d, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHeader(t *testing.T) {
	p := sample.People()[0]
	c := sample.Report(p)
	c.Version, c.Replaces = 2, "2.25.7^A 1"
	d := mustRead(t, c)
	if d.ID.String() != c.ID || d.SetID.String() != c.SetID || d.Version != 2 || d.Replaces().String() != c.Replaces {
		t.Errorf("identity: %v %v %d %v", d.ID, d.SetID, d.Version, d.Replaces())
	}
	if d.Type.Code != "11502-2" || d.Title != c.Title || !d.Created.At.Equal(c.Created) || d.Confidentiality != "N" || d.Language != "fr-FR" {
		t.Errorf("header: %v %q %v", d.Type, d.Title, d.Created)
	}
	if len(d.Patient.INS) != 1 || d.Patient.INS[0].Number.Reveal() != p.INS || d.Patient.INS[0].Class != health.TestINS || !d.Patient.INS[0].Number.KeyValid() {
		t.Error("the INS was not read")
	}
	if d.Patient.Traits != p.Traits() || len(d.Patient.Local) != 1 {
		t.Error("the traits differ")
	}
	a := d.Authors[0]
	if a.Name() != "ORVALNOIR Judith" || a.IDs[0].String() != cda.OIDPerson+"^8"+c.Author.RPPS || a.Specialty.Code != "G15_10/SM03" || a.Organisation.Name != c.Author.Structure {
		t.Errorf("author: %+v", a)
	}
	if s := d.MainService(); !s.HasPerformer || !s.Start.At.Equal(c.Created) || s.Setting.Code != "AMBULATOIRE" {
		t.Errorf("service: %+v", s)
	}
	if d.Encounter.Facility.Code != "SA25" || d.Authenticator.Name() != a.Name() || d.Custodian.Name != c.Author.Structure || d.Body.Level != 3 {
		t.Errorf("rest: %+v %v", d.Encounter, d.Body)
	}
	if s := fmt.Sprintf("%v %+v %s %#v", d, d, d, d); strings.Contains(s, "CHAMP") || strings.Contains(s, p.INS) {
		t.Error("a document prints its patient")
	}
}

// Shapes and leniencies of dmp.md §2.1 and §2.3.
func TestShapesMetInTheWild(t *testing.T) {
	base := sample.Report(sample.People()[1])
	for name, change := range map[string]func(*sample.CDA){
		"plain":      func(*sample.CDA) {},
		"BOM":        func(c *sample.CDA) { c.BOM = true },
		"Latin-1":    func(c *sample.CDA) { c.Latin1 = true },
		"stylesheet": func(c *sample.CDA) { c.Stylesheet = true },
		"Signature":  func(c *sample.CDA) { c.Signature = true },
		"prefix":     func(c *sample.CDA) { c.Prefix = true },
		"no set":     func(c *sample.CDA) { c.SetID, c.Version = "", 0 },
		"no author":  func(c *sample.CDA) { c.NoAuthor = true },
	} {
		c := base
		change(&c)
		d, err := read(c.Bytes())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.ID.String() != c.ID || d.Patient.Traits != c.Patient.Traits() || d.Title != c.Title || len(d.Sections) != 2 || d.Version != c.Version {
			t.Errorf("%s: read differently: %q %d sections", name, d.Title, len(d.Sections))
		}
		if h := render(t, d, cda.Options{}); !strings.Contains(h, "Hémoglobine") || strings.Contains(h, "alert") {
			t.Errorf("%s: rendered differently", name)
		}
	}
	base.NoOffset, base.Created = true, time.Date(2026, 7, 14, 12, 0, 0, 0, time.UTC)
	if d := mustRead(t, base); d.Created.Zoned || d.Created.At.Hour() != 10 {
		t.Errorf("a time without offset is Paris time: %v", d.Created.At)
	}
	base.NoINS = true
	if d := mustRead(t, base); len(d.Patient.INS) != 0 || len(d.Patient.Local) != 1 {
		t.Error("an INS was found where there is none")
	}
	base.NoINS, base.NoTraits = false, true
	if d := mustRead(t, base); d.Patient.Traits.Complete() {
		t.Error("traits are complete where two are missing")
	}
}

func TestTimes(t *testing.T) {
	for value, want := range map[string]string{
		"2021": "2020-12-31T23:00:00Z", "20210409": "2021-04-08T22:00:00Z", "202104090949+0200": "2021-04-09T07:49:00Z",
		"20210409094914.827+0100": "2021-04-09T08:49:14Z", "20210409094914": "2021-04-09T07:49:14Z",
		"": "", "2021040": "", "20211350": "", "soon": "", "20210409094914+1": "", "20210409+0100": "",
	} {
		b := bytes.Replace(sample.Report(sample.People()[0]).Bytes(), []byte(`<effectiveTime value="20260304093000+0000"/>`), []byte(`<effectiveTime value="`+value+`"/>`), 1)
		d, err := read(b)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if !d.Created.IsZero() {
			got = d.Created.At.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	c := sample.Report(sample.People()[0])
	doctype, noID := c, c
	doctype.Doctype, noID.ID = `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>`, ""
	for code, in := range map[string]string{
		"doctype":              string(doctype.Bytes()),
		"no-id":                string(noID.Bytes()),
		"no-clinical-document": "<ClinicalDocument/>",
		"xml":                  string(c.Bytes()[:2000]),
		"depth":                `<ClinicalDocument xmlns="urn:hl7-org:v3">` + strings.Repeat("<a>", 200),
		"elements":             `<ClinicalDocument xmlns="urn:hl7-org:v3">` + strings.Repeat("<a/>", 200_001),
		"markup-too-long":      `<ClinicalDocument xmlns="urn:hl7-org:v3" a="` + strings.Repeat("x", 300<<10) + `"/>`,
		"too-large":            `<ClinicalDocument xmlns="urn:hl7-org:v3">` + strings.Repeat("x", 33<<20) + `</ClinicalDocument>`,
	} {
		_, err := read([]byte(in))
		if fault.KindOf(err) != fault.InvalidContent || fault.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// oneByte gives one octet at a time, so that every state of the cutter is entered with
// a border in the middle.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func TestEmbeddedFiles(t *testing.T) {
	p := sample.People()[0]
	letter := sample.Letter(p)
	report := sample.Report(p)
	report.PDF = sample.PDF("Copie", "du compte rendu")
	cdata := bytes.Replace(bytes.Replace(letter.Bytes(), []byte(`"B64">`), []byte(`"B64"><!-- ici --><![CDATA[`), 1), []byte(`</text></nonXMLBody>`), []byte(`]]></text></nonXMLBody>`), 1)
	for name, c := range map[string]struct {
		file, pdf []byte
		copied    bool
	}{
		"level 1":           {letter.Bytes(), letter.PDF, false},
		"level 1, CDATA":    {cdata, letter.PDF, false},
		"level 3, its copy": {report.Bytes(), report.PDF, true},
	} {
		for _, slow := range []bool{false, true} {
			var in, in2 io.Reader = bytes.NewReader(c.file), bytes.NewReader(c.file)
			if slow {
				in, in2 = oneByte{in}, oneByte{in2}
			}
			d, err := cda.Read(in)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			m, ok := d.Printable()
			if !ok || m.MediaType != "application/pdf" || m.Copy != c.copied || m.Size == 0 {
				t.Fatalf("%s: printable %+v %v", name, m, ok)
			}
			var out bytes.Buffer
			if err := cda.Extract(in2, m, &out); err != nil || !bytes.Equal(out.Bytes(), c.pdf) {
				t.Errorf("%s (slow %v): %v, %d octets of %d", name, slow, err, out.Len(), len(c.pdf))
			}
		}
	}
	if h := render(t, mustRead(t, letter), cda.Options{}); !strings.Contains(h, "Le contenu de ce document est un PDF joint.") {
		t.Error("a level 1 document does not tell what it holds")
	}
	if h := render(t, mustRead(t, report), cda.Options{}); strings.Contains(h, "Copie du document") || !strings.Contains(h, "Une copie en PDF accompagne") {
		t.Error("the copy is shown as a section")
	}
}

func TestExtractRefusals(t *testing.T) {
	c := sample.Letter(sample.People()[0])
	if err := cda.Extract(bytes.NewReader(c.Bytes()), cda.Media{Ordinal: 1}, io.Discard); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no such file: %v", err)
	}
	bad := bytes.Replace(c.Bytes(), []byte("JVBERi"), []byte("JV*ERi"), 1)
	if err := cda.Extract(bytes.NewReader(bad), cda.Media{}, io.Discard); fault.CodeOf(err) != "base64" {
		t.Errorf("bad base64: %v", err)
	}
}

// A large embedded file is neither held nor tokenised.
func TestLargeFileCostsNoMemory(t *testing.T) {
	c := sample.Letter(sample.People()[0])
	c.PDF = append(c.PDF, make([]byte, 15<<20)...)
	b := c.Bytes()
	n := testing.Benchmark(func(bench *testing.B) {
		bench.ReportAllocs()
		for range bench.N {
			d, err := read(b)
			if err != nil {
				bench.Fatal(err)
			}
			if err := cda.Extract(bytes.NewReader(b), d.Media[0], io.Discard); err != nil {
				bench.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	// Extract decodes chunk by chunk and leaves garbage behind, less than the file twice.
	if n > 64<<20 {
		t.Errorf("%d MiB allocated for a 20 MiB document", n>>20)
	}
}

func TestNarrative(t *testing.T) {
	c := sample.Report(sample.People()[0])
	c.Sections = []sample.Section{{Title: "Titre <b>", Narrative: `<table><caption>C</caption><thead><tr><th/><th>A</th></tr></thead><tbody><tr><th>L</th><td colspan="2" rowspan="9999" align="right">1</td></tr></tbody></table>` +
		`<paragraph>un<br/>deux<sub>2</sub><sup>3</sup></paragraph><list><caption>T</caption><item>i</item></list><list listType="ordered"><item>o</item></list>` +
		`<content styleCode="Bold xTest" ID="a" onclick="x()">g</content><linkHtml href="javascript:alert(1)">lien</linkHtml><script>s()</script><iframe src="x">f</iframe>` +
		`<renderMultiMedia referencedObject="none"/>&lt;script&gt;`}}
	got := render(t, mustRead(t, c), cda.Options{HeadingLevel: 3})
	for _, want := range []string{
		`<h3>Compte rendu d&#39;analyses de sang</h3>`, `<h4>Titre &lt;b&gt;</h4>`, `<caption>C</caption>`, `<td></td><th scope="col">A</th>`,
		`<th scope="row">L</th><td colspan="2" class="cda-right">1</td>`, `un<br>deux<sub>2</sub><sup>3</sup></p>`,
		`<ul><li>T</li><li>i</li></ul><ol><li>o</li></ol>`, `<span class="cda-bold">g</span><span>lien</span>s()f`, `[image absente du document]`, `&lt;script&gt;`,
		`ORMELUNE ALINE (nom de naissance : CHAMPFLEURY), née le 12/06/1985`, `ORVALNOIR Judith, Médecin, Biologie médicale, Laboratoire des Trois Ponts`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %s in\n%s", want, got)
		}
	}
	checkSafe(t, got)
}

func TestImages(t *testing.T) {
	c := sample.Report(sample.People()[0])
	c.PDF, c.MediaType = []byte("\x89PNG"), "image/png"
	c.Sections = []sample.Section{{Title: "Image", Narrative: `<renderMultiMedia referencedObject="copie"/>`}}
	d := mustRead(t, c)
	if got := render(t, d, cda.Options{MediaURL: func(m cda.Media) string { return fmt.Sprintf("/d/%d?a&b", m.Ordinal) }}); !strings.Contains(got, `src="/d/0?a&amp;b"`) {
		t.Error(got)
	}
	for _, bad := range []string{"javascript:x", "//elsewhere.example/x", "https://elsewhere.example/"} {
		if got := render(t, d, cda.Options{MediaURL: func(cda.Media) string { return bad }}); strings.Contains(got, "<img") {
			t.Errorf("image shown from %s", bad)
		}
	}
}

var (
	anyTag  = regexp.MustCompile(`<[^>]*>?`)
	safeTag = regexp.MustCompile(`^<(/?(article|header|h[1-6]|dl|div|dt|dd|section|p|span|br|sub|sup|ul|ol|li|small|table|caption|thead|tbody|tfoot|tr|td|th))( (class="cda[a-z -]*"|lang="[A-Za-z-]*"|scope="[a-z]+"|colspan="\d+"|rowspan="\d+"|tabindex="0"|role="group"|aria-label="[^"<>]*"))*>$`)
)

// checkSafe holds every tag against the list of those that may come out.
func checkSafe(t testing.TB, html string) {
	t.Helper()
	for _, tag := range anyTag.FindAllString(html, -1) {
		if !safeTag.MatchString(tag) {
			t.Fatalf("a tag that must not come out: %q", tag)
		}
	}
}

func FuzzRead(f *testing.F) {
	p := sample.People()
	report, letter := sample.Report(p[0]), sample.Letter(p[1])
	report.PDF = sample.PDF("x")
	f.Add(report.Bytes())
	f.Add(letter.Bytes())
	f.Add([]byte(`<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="1"/><component><structuredBody><component><section><title>&lt;script&gt;</title><text><td onclick="x"><th scope='"&gt;'>a</th></td></text></section></component></structuredBody></component></ClinicalDocument>`))
	f.Add([]byte(`<x representation="B64">&#60;</x><!-- --><![CDATA[ ]]><?p ?>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := read(b)
		slow, err2 := cda.Read(oneByte{bytes.NewReader(b)})
		if fault.CodeOf(err) != fault.CodeOf(err2) || (err == nil) != (err2 == nil) {
			t.Fatalf("read at once: %v, octet by octet: %v", err, err2)
		}
		if err != nil {
			if fault.KindOf(err) != fault.InvalidContent {
				t.Fatalf("a document from outside gave %v", err)
			}
			return
		}
		html := render(t, d, cda.Options{})
		checkSafe(t, html)
		if html != render(t, slow, cda.Options{}) {
			t.Fatal("the borders of reads show in the result")
		}
		for _, m := range d.Media {
			if err := cda.Extract(bytes.NewReader(b), m, io.Discard); err != nil && fault.KindOf(err) != fault.InvalidContent && fault.KindOf(err) != fault.NotFound {
				t.Fatalf("extract: %v", err)
			}
		}
	})
}

// The 17 real samples, against the manifest that another reader made.
func TestSharedSamples(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "cda")
	f, err := os.Open(filepath.Join(dir, "manifest.csv"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("../shared is not beside the checkout")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 18 {
		t.Fatalf("manifest: %v, %d rows", err, len(rows))
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, row := range rows[1:] {
		get := func(name string) string { return row[column[name]] }
		t.Run(get("file"), func(t *testing.T) { checkSample(t, dir, get) })
	}
}

func checkSample(t *testing.T, dir string, get func(string) string) {
	b, err := os.ReadFile(filepath.Join(dir, get("file")))
	if err != nil {
		t.Fatal(err)
	}
	d, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	body := "N" + strconv.Itoa(d.Body.Level)
	if d.Body.Level == 1 {
		body += ":" + d.Body.MediaType
	}
	related := ""
	if len(d.Related) > 0 {
		related = d.Related[0].Kind
	}
	for name, got := range map[string]string{
		"root_element": d.Root, "type_code": d.Type.Code, "version": strconv.Itoa(d.Version), "body": body,
		"related_document": related, "confidentiality": d.Confidentiality, "facility_type": d.Encounter.Facility.Code,
		"patient_first_id_root": d.Patient.INS[0].OID, "patient_first_id_ext": d.Patient.INS[0].Number.Reveal(),
		"author_specialties": d.Authors[0].Specialty.Code,
	} {
		want := get(name)
		if name == "author_specialties" && want == "None" {
			want = ""
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if _, known := health.TypeOf(d.Type.Code); !known || d.Title == "" || d.Created.IsZero() || !d.Patient.Traits.Complete() || d.Authors[0].Name() == "" {
		t.Errorf("title %q, created %v, traits %v, author %q", d.Title, d.Created, d.Patient.Traits.Complete(), d.Authors[0].Name())
	}
	html := render(t, d, cda.Options{})
	checkSafe(t, html)
	if d.Body.Level == 3 && !strings.Contains(html, "<section>") {
		t.Error("nothing was rendered")
	}
	if m, ok := d.Printable(); ok {
		var pdf bytes.Buffer
		if err := cda.Extract(bytes.NewReader(b), m, &pdf); err != nil || !bytes.HasPrefix(pdf.Bytes(), []byte("%PDF")) {
			t.Errorf("embedded file: %v", err)
		}
	} else if d.Body.Level == 1 {
		t.Error("a level 1 document without a file")
	}
}
