package extraction

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pli/fault"
)

func header[T any](columns []column[T]) string {
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	return strings.Join(names, "|")
}

var head = header(correspondanceColumns)

// bal is a line with an address and a tail of empty fields.
func bal(kind, address string) string { return kind + "|" + address + strings.Repeat("|", 29) }

// read gives the addresses read and the causes of refusals by line, and what ended it.
func read(t testing.TB, r io.Reader) (addresses []string, refused map[int64]string, end error) {
	t.Helper()
	in, err := NewCorrespondances(r)
	if err != nil {
		return nil, nil, err
	}
	refused = map[int64]string{}
	var c Correspondance
	for {
		err := in.Next(&c)
		if line := (*LineError)(nil); errors.As(err, &line) {
			refused[line.Line] = line.Cause
			continue
		}
		if err != nil {
			if again := in.Next(&c); !errors.Is(again, err) {
				t.Errorf("after %v: %v", err, again)
			}
			return addresses, refused, err
		}
		addresses = append(addresses, c.Address)
	}
}

func TestColumns(t *testing.T) {
	if len(correspondanceColumns) != 31 || len(activityColumns) != 56 {
		t.Fatalf("%d and %d columns", len(correspondanceColumns), len(activityColumns))
	}
	for _, columns := range [][]string{strings.Split(head, "|"), strings.Split(header(activityColumns), "|")} {
		seen := map[string]bool{}
		for _, name := range columns {
			if seen[foldName(name)] {
				t.Errorf("two columns fold to %q", foldName(name))
			}
			seen[foldName(name)] = true
		}
	}
	if n := reflect.TypeFor[Correspondance]().NumField(); n != 31 {
		t.Errorf("%d fields", n)
	}
	if n := reflect.TypeFor[Activity]().NumField(); n != 56 {
		t.Errorf("%d fields", n)
	}
}

// Every field comes back by the column it was written under.
func TestWrittenIsRead(t *testing.T) {
	var c Correspondance
	var a Activity
	fill := func(v reflect.Value) {
		for i := range v.NumField() {
			v.Field(i).SetString("« " + v.Type().Field(i).Name + " \"é\" »")
		}
	}
	fill(reflect.ValueOf(&c).Elem())
	fill(reflect.ValueOf(&a).Elem())
	c.Kind, c.Address = "ORG", "service@ch.example.example"
	var b bytes.Buffer
	cw := NewCorrespondanceWriter(&b)
	cw.Write(&c)
	cw.Flush()
	cr, err := NewCorrespondances(&b)
	if err != nil {
		t.Fatal(err)
	}
	var gotC Correspondance
	if err := cr.Next(&gotC); err != nil || gotC != c {
		t.Errorf("%v\n%+v\n%+v", err, gotC, c)
	}
	b.Reset()
	aw := NewActivityWriter(&b)
	aw.Write(&a)
	aw.Flush()
	ar, err := NewActivities(&b)
	if err != nil {
		t.Fatal(err)
	}
	var gotA Activity
	if err := ar.Next(&gotA); err != nil || gotA != a {
		t.Errorf("%v\n%+v\n%+v", err, gotA, a)
	}
	if err := ar.Next(&gotA); err != io.EOF {
		t.Error(err)
	}
}

func TestWriterKeepsTheShape(t *testing.T) {
	var b bytes.Buffer
	w := NewCorrespondanceWriter(&b)
	w.Write(&Correspondance{Kind: "ORG", Address: "a@b.example", Structure: "A|B\r\nC"})
	w.Flush()
	addresses, refused, end := read(t, &b)
	if len(addresses) != 1 || len(refused) != 0 || end != io.EOF {
		t.Error(addresses, refused, end)
	}
}

func TestLines(t *testing.T) {
	good := bal("PER", "A.B@medecin.mssante.example")
	text := "\ufeff" + head + "\r\n" +
		good + "\r\n" + // 2
		good + "|\n" + // 3: one bar too many, empty
		"\n" + // 4
		good + "|x\n" + // 5: more fields than columns
		"PER|a@b.example|8\n" + // 6
		bal("PAT", "a@b.example") + "\n" + // 7
		bal("PER", "") + "\n" + // 8
		bal("PER", "a b@c.example") + "\n" + // 9
		bal("PER", "a@b@c.example") + "\n" + // 10
		bal("PER", "a@localhost") + "\n" + // 11
		bal("PER", "\xffa@b.example") + "\n" + // 12
		bal("PER", strings.Repeat("x", lineSize)+"@b.example") + "\n" + // 13
		good + "\n" + // 14
		bal(" org ", "\u00a0c@b.example\u200b") + "\n" // 15
	addresses, refused, end := read(t, strings.NewReader(text))
	want := map[int64]string{5: "fields", 6: "fields", 7: "kind", 8: "address", 9: "address", 10: "address", 11: "address", 12: "encoding", 13: "too-long"}
	if !reflect.DeepEqual(refused, want) || end != io.EOF {
		t.Errorf("refused %v, end %v", refused, end)
	}
	if n := len(addresses); n != 4 || addresses[0] != "a.b@medecin.mssante.example" || addresses[n-1] != "c@b.example" {
		t.Errorf("%q", addresses)
	}
}

func TestQuotesAndControls(t *testing.T) {
	var want Correspondance
	want.Kind, want.Address, want.Structure, want.TradeName = "ORG", "a@b.example", `CENTRE "FRANCK" d'ÉTÉ`, "A B"
	var b bytes.Buffer
	w := NewCorrespondanceWriter(&b)
	line := want
	line.TradeName = "\x00A\u202eB\t"
	w.Write(&line)
	w.Flush()
	in, err := NewCorrespondances(&b)
	if err != nil {
		t.Fatal(err)
	}
	var got Correspondance
	if err := in.Next(&got); err != nil || got != want {
		t.Errorf("%v %+v", err, got)
	}
}

func TestHeaders(t *testing.T) {
	// Moved, added, in other words, with a bar at the end.
	names := strings.Split(head, "|")
	names[0], names[1] = names[1], names[0]
	moved := strings.ToUpper(strings.Join(append(names, "Téléphone BAL"), "|")) + "|"
	addresses, refused, end := read(t, strings.NewReader(moved+"\na@b.example|ORG"+strings.Repeat("|", 29)+"|0102|\n"))
	if len(addresses) != 1 || addresses[0] != "a@b.example" || len(refused) != 0 || end != io.EOF {
		t.Error(addresses, refused, end)
	}
	// Optional ones may be gone.
	less := strings.Replace(head, "|Dématérialisation", "", 1)
	if addresses, _, _ := read(t, strings.NewReader(less+"\nORG|a@b.example"+strings.Repeat("|", 28)+"\n")); len(addresses) != 1 {
		t.Error("without Dématérialisation: not read")
	}
	_, _, err := read(t, strings.NewReader(strings.Replace(head, "|Adresse BAL", "", 1)+"\n"))
	missing := (*MissingError)(nil)
	if !errors.As(err, &missing) || len(missing.Columns) != 1 || missing.Columns[0] != "Adresse BAL" || fault.CodeOf(err) != "columns" {
		t.Errorf("%v", err)
	}
	if _, _, err := read(t, strings.NewReader("")); fault.CodeOf(err) != "no-header" {
		t.Errorf("empty: %v", err)
	}
	if _, _, err := read(t, strings.NewReader("<html>maintenance</html>\n")); fault.CodeOf(err) != "columns" {
		t.Errorf("html: %v", err)
	}
	if _, _, err := read(t, strings.NewReader(head[:100])); !errors.Is(err, ErrTruncated) {
		t.Errorf("cut in the header: %v", err)
	}
}

func TestActivityHeaders(t *testing.T) {
	// Names as other years had them.
	other := strings.NewReplacer("Code rôle", "Code fonction", "Libellé rôle", "Libellé fonction", "(structure)", "(coord. structure)",
		"Libellé civilité d'exercice", "Libellé civilité exercice", "genre activité", "genre d’activité").Replace(header(activityColumns)) + "|"
	row := make([]string, 57)
	row[0], row[1], row[46], row[52], row[54] = "8", "89970000017", "old", "FON-01", "GENR01"
	in, err := NewActivities(strings.NewReader(other + "\n" + strings.Join(row, "|") + "\n" + strings.Repeat("|", 56) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	var a Activity
	if err := in.Next(&a); err != nil || a.PP != "89970000017" || a.FormerID != "old" || a.Function != "FON-01" || a.Genre != "GENR01" {
		t.Errorf("%v %+v", err, a)
	}
	line := (*LineError)(nil)
	if err := in.Next(&a); !errors.As(err, &line) || line.Cause != "no-identifier" || line.Line != 3 {
		t.Error(err)
	}
}

func TestCutShort(t *testing.T) {
	whole := head + "\n" + bal("PER", "a@b.example") + "\n" + bal("PER", "c@d.example")
	if addresses, _, end := read(t, strings.NewReader(whole)); len(addresses) != 2 || end != io.EOF {
		t.Errorf("whole, without its last end of line: %v %v", addresses, end)
	}
	if addresses, _, end := read(t, strings.NewReader(whole[:len(whole)-5])); len(addresses) != 1 || end != ErrTruncated {
		t.Errorf("cut: %v %v", addresses, end)
	}
	if _, _, end := read(t, strings.NewReader(head+"\n"+strings.Repeat("x", 2*lineSize))); end != ErrTruncated {
		t.Errorf("cut in a long line: %v", end)
	}
}

// put writes a ZIP.
func put(t testing.TB, entries map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range entries {
		e, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(e, text)
	}
	w.Close()
	return save(t, "x.zip", b.Bytes())
}

func save(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	text := head + "\n" + bal("PER", "a@b.example") + "\n"
	const name = "Extraction_Correspondance_MSSante_202608260813.txt"
	for what, path := range map[string]string{
		"as published":       put(t, map[string]string{name: text}),
		"in a folder":        put(t, map[string]string{"x/" + name: text, "lisez-moi.txt": "x"}),
		"under another name": put(t, map[string]string{"extraction.txt": text}),
		"alone":              save(t, "extraction-correspondance-mssante.txt", []byte(text)),
	} {
		f, err := Open(path, Correspondances, Limits{})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		addresses, _, end := read(t, f)
		if len(addresses) != 1 || end != io.EOF || f.Size != int64(len(text)) || f.Close() != nil {
			t.Errorf("%s: %v %v", what, addresses, end)
		}
	}
	three := put(t, map[string]string{"PS_LibreAcces_Personne_activite_202608260813.txt": header(activityColumns) + "\n",
		"PS_LibreAcces_Dipl_AutExerc_202608260813.txt": "x", "PS_LibreAcces_SavoirFaire_202608260813.txt": "x"})
	f, err := Open(three, Activities, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if at, ok := ExtractedAt(f.Name); !ok || !at.Equal(time.Date(2026, 8, 26, 6, 13, 0, 0, time.UTC)) {
		t.Error(at, ok)
	}
	code := func(want, path string, d Dataset, l Limits) {
		t.Helper()
		if _, err := Open(path, d, l); fault.CodeOf(err) != want || !fault.Is(err, fault.InvalidContent) {
			t.Errorf("want %s: %v", want, err)
		}
	}
	code("several-entries", three, Correspondances, Limits{})
	code("no-entry", put(t, map[string]string{"a.csv": text}), Correspondances, Limits{})
	code("no-entry", put(t, map[string]string{name: text}), Activities, Limits{})
	code("not-zip", save(t, "x.zip", []byte("<html>")), Correspondances, Limits{})
	code("not-zip", save(t, "y.zip", []byte("PK\x03\x04")), Correspondances, Limits{})
	code("too-large", put(t, map[string]string{name: text}), Correspondances, Limits{TextSize: 10})
	code("ratio", put(t, map[string]string{name: strings.Repeat("a", 3<<20)}), Correspondances, Limits{})
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Correspondances, Limits{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A ZIP whose content was damaged is not taken for the whole.
func TestDamagedZIP(t *testing.T) {
	var text strings.Builder
	text.WriteString(head + "\n")
	for i := range 2000 {
		text.WriteString(bal("PER", strings.Repeat("x", i%50+1)+"@b.example") + "\n")
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	e, _ := w.CreateHeader(&zip.FileHeader{Name: "Extraction_Correspondance_MSSante_202608260813.txt", Method: zip.Store})
	io.WriteString(e, text.String())
	w.Close()
	raw := b.Bytes()
	raw[len(raw)/2] ^= 1 // one bit in the content
	f, err := Open(save(t, "x.zip", raw), Correspondances, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, _, end := read(t, f); end != ErrTruncated {
		t.Errorf("end %v", end)
	}
}

func TestExtractedAt(t *testing.T) {
	for name, want := range map[string]string{
		"Extraction_Correspondance_MSSante_202608260813.zip": "2026-08-26T06:13:00Z", // summer
		"x/PS_LibreAcces_Personne_activite_202601151200.txt": "2026-01-15T11:00:00Z", // winter
		"Extraction_Correspondance_MSSante_202613260813.txt": "",
		"Extraction_Correspondance_MSSante.txt":              "",
		"Extraction_Correspondance_MSSante_2026082608x3.txt": "",
		"": "",
	} {
		at, ok := ExtractedAt(name)
		if got := at.Format(time.RFC3339); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %s %v", name, got, ok)
		}
	}
	at := time.Date(2026, 8, 26, 6, 13, 0, 0, time.UTC)
	for _, d := range []Dataset{Correspondances, Activities} {
		if back, ok := ExtractedAt(FileName(d, at)); !ok || !back.Equal(at) {
			t.Error(FileName(d, at), back)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	for _, c := range []struct {
		kind, number, national, wantKind, want string
		known                                  bool
	}{
		{"8", "89970000017", "889970000017", "8", "89970000017", true},
		{"RPPS", "89970000017", "", "8", "89970000017", true},
		{"8", "", "889970000017", "8", "89970000017", true},
		{"", "889970000017", "", "8", "89970000017", true},
		{"", "", "889970000017", "8", "89970000017", true},
		{"0", "990000017", "0990000017", "0", "990000017", true},
		{"ADELI", "0990000017", "", "0", "990000017", true},
		{"0", "2A0000017", "", "0", "2A0000017", true},
		{"4", "123", "4123", "4", "123", false},
		{"8", "123", "", "8", "123", false},
		{"", "", "", "", "", false},
	} {
		if kind, number, known := Professional(c.kind, c.number, c.national); kind != c.wantKind || number != c.want || known != c.known {
			t.Errorf("Professional(%q, %q, %q) = %q %q %v", c.kind, c.number, c.national, kind, number, known)
		}
	}
	for _, c := range []struct {
		kind, number, wantKind, want string
		known                        bool
	}{
		{"1", "1990000108", "FINESS", "990000108", true},
		{"FINESS", "990000108", "FINESS", "990000108", true},
		{"FINESS EJ", "2a0000108", "FINESS", "2A0000108", true},
		{"3", "399000000000017", "SIRET", "99000000000017", true},
		{"SIRET", "990 000 000 00017", "SIRET", "99000000000017", true},
		{"2", "2990000000", "SIREN", "990000000", true},
		{"", "1990000108", "FINESS", "990000108", true},
		{"", "399000000000017", "SIRET", "99000000000017", true},
		{"FINESS", "12", "FINESS", "12", false},
		{"4", "41234", "4", "41234", false},
		{"", "", "", "", false},
	} {
		if kind, number, known := Place(c.kind, c.number); kind != c.wantKind || number != c.want || known != c.known {
			t.Errorf("Place(%q, %q) = %q %q %v", c.kind, c.number, kind, number, known)
		}
	}
}

func fuzz[T any](f *testing.F, header, line string, open func(io.Reader) (*Reader[T], error)) {
	f.Add([]byte(header + "\n" + line + "\n"))
	f.Add([]byte("\ufeff" + header + "|\r\n" + line + "|\r\n\n" + line))
	f.Add([]byte(header + "\n\xff\n" + strings.Repeat("|", 100)))
	f.Add([]byte("Type de BAL|Adresse BAL"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := open(bytes.NewReader(b))
		if err != nil {
			return
		}
		last := in.Line()
		for {
			var v T
			err := in.Next(&v)
			if err == nil || errors.As(err, new(*LineError)) {
				if in.Line() <= last {
					t.Fatal("lines do not rise")
				}
				last = in.Line()
				for i := range reflect.ValueOf(v).NumField() {
					if s := reflect.ValueOf(v).Field(i).String(); err == nil && (strings.ContainsAny(s, "|\x00\r\n") || s != strings.TrimSpace(s)) {
						t.Fatalf("%q", s)
					}
				}
				continue
			}
			if err != io.EOF && err != ErrTruncated {
				t.Fatal(err)
			}
			return
		}
	})
}

func FuzzCorrespondances(f *testing.F) {
	fuzz(f, head, bal("PER", "a@b.example"), NewCorrespondances)
}

func FuzzActivities(f *testing.F) {
	fuzz(f, header(activityColumns), "8|89970000017"+strings.Repeat("|", 54), NewActivities)
}

func FuzzIdentifiers(f *testing.F) {
	f.Add("8", "89970000017", "889970000017")
	f.Add("", "", "8")
	f.Fuzz(func(t *testing.T, kind, number, national string) {
		k, n, known := Professional(kind, number, national)
		if k2, n2, known2 := Professional(k, n, ""); known && (k2 != k || n2 != n || !known2) {
			t.Errorf("%q %q then %q %q", k, n, k2, n2)
		}
		k, n, known = Place(kind, number)
		if k2, n2, known2 := Place(k, n); known && (k2 != k || n2 != n || !known2) {
			t.Errorf("%q %q then %q %q", k, n, k2, n2)
		}
		ExtractedAt(kind)
	})
}

func BenchmarkCorrespondances(b *testing.B) {
	line := "PER|jeanne.martin@medecin.mssante.example|8|89970000017|889970000017|FINESS|1990000108||DR|MARTIN|Jeanne|C|Civil|10|Médecin|SM54|Médecine générale (SM)|O|MAISON DE SANTÉ DES LILAS||||12||AV|DE LA RÉPUBLIQUE||75019 PARIS|75019|Paris|FRANCE\n"
	const lines = 100_000
	text := head + "\n" + strings.Repeat(line, lines)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		in, err := NewCorrespondances(strings.NewReader(text))
		if err != nil {
			b.Fatal(err)
		}
		var c Correspondance
		for in.Next(&c) == nil {
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkActivities(b *testing.B) {
	line := "8|89970000017|889970000017|DR|Docteur|MME|Madame|MARTIN|Jeanne|10|Médecin|C|Civil|S|Spécialité ordinale|SM54|Médecine générale (SM)|L|Libéral|99000000000017||990000108||F990000108|MAISON DE SANTÉ DES LILAS||MAISON DE SANTÉ DES LILAS||12||AV|Avenue|DE LA RÉPUBLIQUE||75019 PARIS|75019||Paris 19|||0199000000||||75|Paris||CNOM/CNOM/CNOM|SA05|Centre de santé|||FON-01|Titulaire de cabinet|GENR01|Activité standard\n"
	const lines = 50_000
	text := header(activityColumns) + "\n" + strings.Repeat(line, lines)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		in, err := NewActivities(strings.NewReader(text))
		if err != nil {
			b.Fatal(err)
		}
		var a Activity
		for in.Next(&a) == nil {
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// A dot at the end makes another domain of one for whoever compares: of a patient's, or
// of one of ours, something that is published.
func TestADomainIsWrittenInItsOneForm(t *testing.T) {
	for address, good := range map[string]bool{
		"a@patient.mssante.fr": true, "a@MSS-A.example": true, "a.b_c@x--y.example": true,
		"a@patient.mssante.fr.": false, "a@mss-a.example..": false, "a@.mss-a.example": false, "a@mss-a..example": false,
		"a@mss-a.example/": false, "a@[127.0.0.1]": false, "a@mss-a:example.fr": false, "a@b@c.example": false, "a@example": false,
		"a@mss-a\u3002example.fr": false, "@a.example": false, "a@": false, "a@h\u00f4pital.example": false,
	} {
		line := Correspondance{Kind: "PER", Address: address}
		if cause := checkCorrespondance(&line); (cause == "") != good {
			t.Errorf("%q: %q", address, cause)
		}
	}
}
