package app

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"pli/fault"
)

func TestReadSheet(t *testing.T) {
	wide := strings.Repeat("x", maxCell+1)
	for name, c := range map[string]struct {
		sheet string
		code  string // of the refusal of the sheet
		lines string // addresses and services read, one word per line
		bad   int    // lines refused
	}{
		"semicolons":      {sheet: "adresse;service\na@x.example;Accueil\n", lines: "2:a@x.example/Accueil"},
		"commas":          {sheet: "service,adresse\r\n\"Accueil, tri\",a@x.example\r\n", lines: "2:a@x.example/Accueil, tri"},
		"tabs":            {sheet: "adresse\tservice\na@x.example\tAccueil", lines: "2:a@x.example/Accueil"},
		"mark":            {sheet: "\ufeffadresse;service\na@x.example;Été\n", lines: "2:a@x.example/Été"},
		"windows":         {sheet: "adresse;service\na@x.example;\xc9t\xe9\n", lines: "2:a@x.example/Été"},
		"header as typed": {sheet: "Adresse ; SERVICE;Liste Rouge;Préparation\na@x.example;Tri;;\n", lines: "2:a@x.example/Tri"},
		"empty lines":     {sheet: "adresse;service\n\n;\na@x.example;Tri\n\n", lines: "4:a@x.example/Tri"},
		"line breaks":     {sheet: "adresse;service\n\"a@x.example\";\"Tri\"\nb@x.example;Tri", lines: "2:a@x.example/Tri 3:b@x.example/Tri"},
		"one column":      {sheet: "adresse\na@x.example\n", lines: "2:a@x.example/"},
		"formulas":        {sheet: "adresse;service\na@x.example;'=1+1\nb@x.example;''x\n", lines: "2:a@x.example/=1+1 3:b@x.example/'x"},
		"too few cells":   {sheet: "adresse;service\na@x.example\nb@x.example;Tri\n", lines: "3:b@x.example/Tri", bad: 1},
		"too many cells":  {sheet: "adresse;service\na@x.example;Tri;x\n", bad: 1},
		"a wide cell":     {sheet: "adresse;service\na@x.example;" + wide + "\nb@x.example;Tri\n", lines: "3:b@x.example/Tri", bad: 1},
		"stray quotes":    {sheet: "adresse;service\na@x.example;T\"ri\nb@x.example;Tri\n", lines: "3:b@x.example/Tri", bad: 1},
		"no end of quote": {sheet: "adresse;service\na@x.example;\"Tri\nb@x.example;Tri\n", bad: 1},
		"nothing":         {sheet: "", code: "no-header"},
		"no address":      {sheet: "service\nTri\n", code: "no-address-column"},
		"another column":  {sheet: "adresse;prix\na@x.example;3\n", code: "unknown-column"},
		"twice":           {sheet: "adresse;service;Service\na@x.example;3;4\n", code: "repeated-column"},
		"binary":          {sheet: "\x00\x01\x02", code: "unknown-column"},
		"too large":       {sheet: "adresse\n" + strings.Repeat("a", maxSheetSize), code: "too-large"},
		"too many lines":  {sheet: "adresse\n" + strings.Repeat("a\n", maxSheetLines+1), code: "too-many-lines"},
	} {
		lines, bad, err := readSheet(strings.NewReader(c.sheet))
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err != nil && fault.TextOf(err) == fault.KindOf(err).Text() {
			t.Errorf("%s: the refusal does not say what to do", name)
		}
		var got []string
		for _, l := range lines {
			got = append(got, string(rune('0'+l.n))+":"+l.cell("adresse")+"/"+l.cell("service"))
		}
		if strings.Join(got, " ") != c.lines || len(bad) != c.bad {
			t.Errorf("%s: read %q and %d bad, want %q and %d", name, got, len(bad), c.lines, c.bad)
		}
	}
}

func TestRepeatsAndContradictions(t *testing.T) {
	lines, bad, err := readSheet(strings.NewReader("adresse;rpps;nom;finess;structure\n" +
		"a@x.example;89970000017;HADDAD;990000019;Maison\n" +
		"A@X.example;89970000017;HADDAD;990000019;Maison\n" + // again
		"b@x.example;89970000017;ROY;990000019;Maison\n" + // another name
		"c@x.example;89970000017;HADDAD;990000019;Maison\n" +
		"d@x.example;;;990000019;Autre maison\n" +
		"e@x.example;;;;\nf@x.example;;;;\n"))
	if err != nil {
		t.Fatal(err)
	}
	refuseRepeats(lines, bad)
	for n := range 9 {
		if want := n == 3 || n == 4 || n == 6; (bad[n] != nil) != want {
			t.Errorf("line %d: %v", n, bad[n])
		}
	}
}

func TestNoFormulaGoesOut(t *testing.T) {
	for _, s := range []string{"", "x", "=cmd|' /C calc'!A0", "+33", "-1", "@SUM(A1)", "\t=1", "\r=1", "'", "''", "'=1", "l'hôpital"} {
		out := guard(s)
		if out != "" && strings.ContainsRune("=+-@\t\r", rune(out[0])) {
			t.Errorf("%q goes out as %q", s, out)
		}
		if back := unguard(out); back != s {
			t.Errorf("%q comes back as %q", s, back)
		}
	}
}

func FuzzReadSheet(f *testing.F) {
	for _, s := range []string{"adresse;service\na@x.example;Tri\n", "\ufeffadresse,nom\n\"a\",\"b\nc\"\n", "adresse\n\"", "adresse\n'=1\n", "\xff\xfe", "adresse;etat\n;\n;;\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, bad, err := readSheet(bytes.NewReader(b))
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%v", err)
			}
			return
		}
		refuseRepeats(lines, bad)
		var out bytes.Buffer
		w := csv.NewWriter(&out)
		w.Comma = ';'
		names := []string{"adresse"}
		for _, c := range registerColumns[1:] {
			names = append(names, c.Name)
		}
		_ = w.Write(names)
		for _, l := range lines {
			var record []string
			for _, n := range names {
				record = append(record, guard(l.cell(n)))
			}
			_ = w.Write(record)
		}
		w.Flush()
		again, worse, err := readSheet(&out)
		if err != nil || len(worse) > 0 {
			t.Fatalf("what went out does not come in: %v, %d bad", err, len(worse))
		}
		if len(again) != len(lines) {
			t.Fatalf("%d lines went out, %d came in", len(lines), len(again))
		}
		for i, l := range again {
			for _, n := range names {
				if l.cell(n) != lines[i].cell(n) {
					t.Errorf("%s: %q came back as %q", n, lines[i].cell(n), l.cell(n))
				}
			}
		}
	})
}
