package listing

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pli/health"
)

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"  ":                      "",
		"Lefèvre":                 "lefevre",
		"L'Haÿ-les-Roses":         "l hay les roses",
		"L’HAŸ LES ROSES":         "l hay les roses",
		"Cœur & Sœur":             "coeur soeur",
		"  de  La -- Tour ":       "de la tour",
		"ÉLÉONORE":                "eleonore",
		"E\u0301le\u0301onore":    "eleonore",
		"Groß":                    "gross",
		"Ægidius":                 "aegidius",
		"n°12 bis":                "n 12 bis",
		"Ｆｕｌｌ":                    "full",
		"a\x00b\xffc":             "a b c",
		"Łukasz Ørsted":           "lukasz orsted",
		"jean.dupont@x-y.example": "jean dupont x y example",
	} {
		if got := Fold(in); got != want {
			t.Errorf("Fold(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFoldCity(t *testing.T) {
	for in, want := range map[string]string{
		"LYON CEDEX 03":             "lyon",
		"Lyon 3e arrondissement":    "lyon",
		"PARIS 19":                  "paris",
		"PARIS 01ER ARRONDISSEMENT": "paris",
		"St-Étienne":                "saint etienne",
		"STE FOY LES LYON":          "sainte foy les lyon",
		"BOURG EN BRESSE CEDEX":     "bourg en bresse",
		"Cedex":                     "cedex",
		"":                          "",
		"12":                        "12",
	} {
		if got := FoldCity(in); got != want {
			t.Errorf("FoldCity(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzFold(f *testing.F) {
	f.Add("L'Haÿ-les-Roses")
	f.Add("ŒUVRE\x00\xff ẞ İ")
	f.Fuzz(func(t *testing.T, s string) {
		got := Fold(s)
		if again := Fold(got); again != got {
			t.Fatalf("Fold(%q) = %q, again %q", s, got, again)
		}
		if !utf8.ValidString(got) || strings.Contains(got, "  ") || strings.TrimSpace(got) != got || strings.ContainsAny(got, "'\\\x00%_") {
			t.Fatalf("Fold(%q) = %q", s, got)
		}
		for _, w := range strings.Fields(got) {
			if cut := CutWord(w); len(cut) > maxWord || cut == "" || !utf8.ValidString(cut) {
				t.Fatalf("CutWord(%q) = %q", w, cut)
			}
		}
		if FoldCity(FoldCity(s)) != FoldCity(s) {
			t.Fatalf("FoldCity(%q) = %q", s, FoldCity(s))
		}
	})
}

func TestKey(t *testing.T) {
	k := KeyOf("Jean.Dupont@mss-a.example", "89970000017", "990000001", "")
	if k != KeyOf("jean.dupont@mss-a.example", "89970000017", "990000001", "") {
		t.Error("the case of the address changes the key")
	}
	if k == KeyOf("jean.dupont@mss-a.example", "8997000001", "7990000001", "") {
		t.Error("parts run into each other")
	}
	if got, err := ParseKey(k.String()); err != nil || got != k {
		t.Errorf("ParseKey(%s) = %v, %v", k, got, err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("g", 32), strings.Repeat("0", 33)} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) gives no error", bad)
		}
	}
}

func TestIDs(t *testing.T) {
	for got, want := range map[string]string{
		PractitionerID("8", "89970000017"):                        "rpps-89970000017",
		PractitionerID("0", "990000017"):                          "adeli-990000017",
		PractitionerID("", ""):                                    "",
		OrganizationID("990000001", "1", "", ""):                  "finess-990000001",
		OrganizationID("", "99000000100017", "", ""):              "siret-99000000100017",
		OrganizationID("", "", "", ""):                            "",
		PractitionerID("3", "990000001/0000000017")[:3]:           "pp-",
		PractitionerID("8", "../../etc")[:3]:                      "pp-",
		OrganizationID("", "", "990000001", "R1")[:3]:             "st-",
		RoleID("rpps-89970000017", "", "10", "SM54", "L", "")[:3]: "ro-",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if RoleID("a", "b", "", "", "", "") == RoleID("a", "", "b", "", "", "") {
		t.Error("parts run into each other")
	}
}

func haddad() Listing {
	return Listing{
		Kind: health.PER, Address: "Karim.Haddad@mss-a.example", PPType: "8", PP: "89970000017",
		FamilyName: "Haddad", GivenName: "KARIM", Profession: "10", ProfessionLabel: "Médecin", KnowHow: "SM54",
		KnowHowLabel: "Médecine générale", Structure: "Cabinet médical des Lilas", PostalCode: "75019", City: "PARIS", Rank: 1,
	}
}

func TestDisplay(t *testing.T) {
	one := haddad()
	for _, c := range []struct {
		change func(*Listing)
		want   string
	}{
		{func(*Listing) {}, "HADDAD Karim – Médecin généraliste – Paris 19 – Cabinet médical des Lilas"},
		{func(l *Listing) { l.KnowHow, l.KnowHowLabel = "", "" }, "HADDAD Karim – Médecin – Paris 19 – Cabinet médical des Lilas"},
		{func(l *Listing) { l.KnowHow, l.KnowHowLabel = "ZZ9", "Médecine spatiale" }, "HADDAD Karim – Médecin, médecine spatiale – Paris 19 – Cabinet médical des Lilas"},
		{func(l *Listing) { l.City, l.PostalCode = "LYON CEDEX 03", "69437" }, "HADDAD Karim – Médecin généraliste – Lyon 3 – Cabinet médical des Lilas"},
		{func(l *Listing) { l.City, l.PostalCode = "BOURG EN BRESSE CEDEX", "01000" }, "HADDAD Karim – Médecin généraliste – Bourg en Bresse – Cabinet médical des Lilas"},
		{func(l *Listing) { l.City, l.Structure = "", "" }, "HADDAD Karim – Médecin généraliste – Karim.Haddad@mss-a.example"},
		{func(l *Listing) { l.TradeName = "Maison des Lilas" }, "HADDAD Karim – Médecin généraliste – Paris 19 – Maison des Lilas"},
		{func(l *Listing) {
			*l = Listing{Kind: health.ORG, Service: "Cardiologie", Structure: "CHU des Monts", City: "Lyon", PostalCode: "69003"}
		}, "Cardiologie – CHU des Monts – Lyon 3"},
		{func(l *Listing) { *l = Listing{Kind: health.ORG, Structure: "CHU des Monts", City: "Lyon"} }, "CHU des Monts – Lyon"},
		{func(l *Listing) { *l = Listing{Kind: health.ORG, Address: "x@mss-a.example"} }, "x@mss-a.example"},
	} {
		l := one
		c.change(&l)
		if got := l.Display(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestHomonymsNeverLookIdentical(t *testing.T) {
	a, b, c := haddad(), haddad(), haddad()
	b.Address = "karim.haddad2@mss-a.example"
	c.City, c.PostalCode = "PARIS", "75018"
	got := Displays([]Listing{a, b, c})
	if got[0] == got[1] || got[0] == got[2] || got[1] == got[2] {
		t.Errorf("%q", got)
	}
	if got[2] != c.Display() {
		t.Errorf("needlessly told apart: %q", got[2])
	}
}

func TestRow(t *testing.T) {
	l := haddad()
	l.SinceAt = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	row := l.Row()
	if len(row) != len(Columns) {
		t.Fatalf("%d values for %d columns", len(row), len(Columns))
	}
	at := map[string]any{}
	for i, c := range Columns {
		at[c] = row[i]
	}
	for c, want := range map[string]any{
		"bal_id": nil, "address": "karim.haddad@mss-a.example", "f_name": "haddad karim", "f_given": "karim haddad",
		"f_address": "karim.haddad@mss-a.example", "f_city": "paris", "rank": int32(1), "kind": "PER",
		"words": "'haddad':1A,2B 'karim':1A,2B 'cabinet':2B 'medical':2B 'des':2B 'lilas':2B 'mss':2B 'a':2B 'example':2B " +
			"'paris':3C '75019':3C 'medecin':4D 'medecine':4D 'generale':4D 'generaliste':4D",
	} {
		if got := at[c]; c != "words" && got != want {
			t.Errorf("%s = %v, want %v", c, got, want)
		} else if c == "words" && !sameWords(got.(string), want.(string)) {
			t.Errorf("words = %s", got)
		}
	}
	seen := map[string]bool{}
	l.Vocabulary(func(w string) { seen[w] = true })
	if len(seen) != 15 || !seen["generaliste"] {
		t.Errorf("vocabulary: %v", seen)
	}
	p, o, r := Practitioner{}, Organization{}, Role{}
	if len(p.Row()) != len(PractitionerColumns) || len(o.Row()) != len(OrganizationColumns) || len(r.Row()) != len(RoleColumns) {
		t.Error("rows and columns differ")
	}
}

func sameWords(a, b string) bool {
	left := map[string]bool{}
	for _, w := range strings.Fields(a) {
		left[w] = true
	}
	for _, w := range strings.Fields(b) {
		if !left[w] {
			return false
		}
		delete(left, w)
	}
	return len(left) == 0
}

func TestNameless(t *testing.T) {
	l := Listing{Kind: health.PER, Address: "accueil@mss-a.example"}
	if name, given := l.folded(); name != "accueil mss a example" || given != "" {
		t.Errorf("%q, %q", name, given)
	}
	if l.Name() != "accueil@mss-a.example" {
		t.Error(l.Name())
	}
}

func BenchmarkRow(b *testing.B) {
	l := haddad()
	b.ReportAllocs()
	for b.Loop() {
		l.Row()
	}
}
