package search

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"pli/directory/listing"
	"pli/fault"
	"pli/health"
	"pli/internal/pg"
)

// person is « NOM Prénom », the local part of the address, and what else is said.
func person(name, local string, more ...func(*listing.Listing)) listing.Listing {
	family, givenName, _ := strings.Cut(name, "/")
	l := listing.Listing{
		Kind: health.PER, Address: local + "@medecin.mssante.example", FamilyName: family, GivenName: givenName, PPType: "8",
		PP: fmt.Sprintf("8997%07d", crc32.ChecksumIEEE([]byte(local))%10_000_000), Profession: "10", ProfessionLabel: "Médecin", KnowHow: "SM54",
		KnowHowLabel: "Médecine générale", PlaceType: "FINESS", Place: "990000001", Structure: "Cabinet médical des Lilas",
		City: "LYON CEDEX 03", PostalCode: "69003", Department: "Rhône", Rank: 1, SinceAt: noon, ChangedAt: noon, SeenAt: noon,
	}
	for _, f := range more {
		f(&l)
	}
	l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
	return l
}

func service(name, structure, local string, more ...func(*listing.Listing)) listing.Listing {
	return person("/", local, append([]func(*listing.Listing){func(l *listing.Listing) {
		l.Kind, l.FamilyName, l.PPType, l.PP, l.Profession, l.ProfessionLabel, l.KnowHow, l.KnowHowLabel = health.ORG, "", "", "", "", "", "", ""
		l.Service, l.Structure, l.Place = name, structure, "990000002"
	}}, more...)...)
}

func trade(code, label string) func(*listing.Listing) {
	return func(l *listing.Listing) {
		l.Profession, l.ProfessionLabel, l.KnowHow, l.KnowHowLabel = code, label, "", ""
	}
}

func skill(code, label string) func(*listing.Listing) {
	return func(l *listing.Listing) { l.KnowHow, l.KnowHowLabel = code, label }
}

func inTown(city, postal string) func(*listing.Listing) {
	return func(l *listing.Listing) { l.City, l.PostalCode, l.Department = city, postal, postal[:2] }
}

var quarter = []listing.Listing{
	person("Dupont/Jean", "jean.dupont"),
	person("Dupont/Jean", "jean.dupont2", func(l *listing.Listing) { l.Rank = 2; l.PP = person("", "jean.dupont").PP }),
	person("Dupond/Jeanne", "jeanne.dupond", inTown("Brest", "29200")),
	person("Lefèvre/Éléonore", "eleonore.lefevre", skill("SM04", "Cardiologie et maladies vasculaires")),
	person("Lefebvre/Paul", "paul.lefebvre", inTown("Saint-Étienne", "42000")),
	person("De La Tour/Marie-Claude", "mc.delatour", inTown("PARIS", "75019")),
	person("D'Aubigné/Agrippa", "agrippa.daubigne", inTown("L'Haÿ-les-Roses", "94240")),
	person("Martin/Jean-Pierre", "jp.martin", trade("70", "Masseur-Kinésithérapeute")),
	person("Jean/Martin", "martin.jean", trade("60", "Infirmier")),
	person("Œuvrard/Zoé", "zoe.oeuvrard", trade("40", "Chirurgien-Dentiste")),
	person("Pichon/Anne", "anne.pichon", trade("21", "Pharmacien"), inTown("Ajaccio", "20000")),
	service("Cardiologie", "CHU des Monts", "cardiologie.chu"),
	service("", "Laboratoire des Lilas", "accueil.labo"),
	service("Préadmission chirurgie", "CHU des Monts", "preadmission.chu", func(l *listing.Listing) { l.Description = "Préparer une admission" }),
}

func houseOf(t testing.TB, own, national []listing.Listing) (*pg.DB, *Searcher) {
	t.Helper()
	db, pool := small(t)
	from := func(ls []listing.Listing) func() (listing.Listing, bool) {
		return func() (l listing.Listing, more bool) {
			if len(ls) == 0 {
				return l, false
			}
			l, ls = ls[0], ls[1:]
			return l, true
		}
	}
	fill(t, db, "own", from(own))
	fill(t, db, "a", from(national))
	return db, New(pool, nobody{})
}

func locals(ls []listing.Listing) string {
	out := make([]string, len(ls))
	for i, l := range ls {
		out[i] = local(l.Address)
	}
	return strings.Join(out, " ")
}

func TestWhatPeopleAsk(t *testing.T) {
	_, s := houseOf(t, quarter[:3], quarter[3:])
	for _, c := range []struct {
		where Cond
		fuzzy bool
		want  string
	}{
		// names, in both orders, without accents, case or punctuation
		{where: Prefix{Name, "dup"}, want: "jeanne.dupond jean.dupont jean.dupont2"},
		{where: Prefix{Name, "JEAN DUP"}, want: "jean.dupont jean.dupont2"},
		{where: Equal{Name, "Dupont, Jean"}, want: "jean.dupont jean.dupont2"},
		{where: Equal{Name, "jean dupont"}, want: "jean.dupont jean.dupont2"},
		{where: Prefix{Name, "lefè"}, want: "paul.lefebvre eleonore.lefevre"},
		{where: Words{Name, "eleonore lefevre"}, want: "eleonore.lefevre"},
		{where: Prefix{Family, "de la t"}, want: "mc.delatour"},
		{where: Words{Any, "tour marie claude"}, want: "mc.delatour"},
		{where: Contains{Name, "la tour"}, want: "mc.delatour"},
		{where: Equal{Family, "d’aubigne"}, want: "agrippa.daubigne"},
		{where: Contains{Name, "aubign"}, want: "agrippa.daubigne"},
		{where: Prefix{Name, "oeuvr"}, want: "zoe.oeuvrard"},
		{where: Equal{Given, "jean pierre"}, want: "jp.martin"},
		{where: Equal{Given, "jean"}, want: "jean.dupont jean.dupont2"},
		{where: Prefix{Name, "martin"}, want: "jp.martin martin.jean"}, // family names first
		{where: Words{Name, "jean martin"}, want: "martin.jean jp.martin"},
		// places
		{where: And{Words{Any, "dupont"}, Equal{City, "Lyon"}}, want: "jean.dupont jean.dupont2"},
		{where: Equal{City, "lyon 3e"}, want: "cardiologie.chu jean.dupont jean.dupont2 martin.jean accueil.labo eleonore.lefevre jp.martin zoe.oeuvrard preadmission.chu"},
		{where: Equal{City, "St Etienne"}, want: "paul.lefebvre"},
		{where: Words{City, "roses"}, want: "agrippa.daubigne"},
		{where: Equal{Department, "2A"}, want: "anne.pichon"},
		{where: Equal{Department, "29"}, want: "jeanne.dupond"},
		{where: Prefix{PostalCode, "75"}, want: "mc.delatour"},
		// professions, as people say them
		{where: Words{Any, "cardiologue lyon"}, want: "cardiologie.chu eleonore.lefevre"},
		{where: Words{Profession, "cardiologue"}, want: "eleonore.lefevre"},
		{where: Words{Any, "kiné"}, want: "jp.martin"},
		{where: Words{Any, "infirmière"}, want: "martin.jean"},
		{where: Words{Any, "dentiste"}, want: "zoe.oeuvrard"},
		{where: Words{Any, "pharmacie ajaccio"}, want: "anne.pichon"},
		{where: Words{Any, "labo lilas"}, want: "accueil.labo"},
		{where: Words{Any, "généraliste brest"}, want: "jeanne.dupond"},
		{where: Words{Any, "Dr Dupond à Brest"}, want: "jeanne.dupond"},
		{where: Equal{Profession, "60"}, want: "martin.jean"},
		{where: Equal{Profession, "chirurgien dentiste"}, want: "zoe.oeuvrard"},
		{where: And{Equal{KnowHow, "SM04"}, Not{Equal{City, "Brest"}}}, want: "eleonore.lefevre"},
		// structures and services
		{where: Words{Service, "chirurgie"}, want: "preadmission.chu"},
		{where: Words{Structure, "monts"}, want: "cardiologie.chu preadmission.chu"},
		{where: And{Equal{Kind, "org"}, Not{Words{Structure, "chu"}}}, want: "accueil.labo"},
		{where: Equal{Place, "990000002"}, want: "cardiologie.chu accueil.labo preadmission.chu"},
		// addresses
		{where: Equal{Address, "Jean.Dupont@medecin.mssante.example"}, want: "jean.dupont"},
		{where: Contains{Address, "ne.pich"}, want: "anne.pichon"},
		{where: Prefix{Address, "jean.d"}, want: "jean.dupont jean.dupont2"},
		// nothing
		{where: Words{Any, "?"}, want: ""},
		{where: Equal{Key, "xyz"}, want: ""},
		{where: Equal{BAL, "1"}, want: ""},
		{where: Equal{Name, ""}, want: ""},
		{where: Or{}, want: ""},
		{where: Contains{Name, "%"}, want: locals(quarter[:0])},
		// nearly so
		{where: Words{Any, "dupomt"}, want: ""},
		{where: Words{Any, "dupomt"}, fuzzy: true, want: "jean.dupont jean.dupont2"},
		{where: Prefix{Name, "pihcon"}, fuzzy: true, want: "anne.pichon"},
		{where: Words{Any, "lefevbre paul"}, fuzzy: true, want: "paul.lefebvre"},
		{where: Words{Any, "aubinhe"}, fuzzy: true, want: "agrippa.daubigne"},
		{where: Words{Any, "ouevrrad"}, fuzzy: true, want: "zoe.oeuvrard"}, // two swaps
		{where: Words{Any, "xyz"}, fuzzy: true, want: ""},
	} {
		p, err := s.Search(t.Context(), Query{Where: c.where, Fuzzy: c.fuzzy})
		if err != nil {
			t.Errorf("%#v: %v", c.where, err)
			continue
		}
		if c.where == Cond(Contains{Name, "%"}) { // punctuation is nowhere, as in every name
			if len(p.Listings) != len(quarter) {
				t.Errorf("%#v: %d", c.where, len(p.Listings))
			}
			continue
		}
		if got := locals(p.Listings); got != c.want || p.Fuzzy != c.fuzzy && c.want != "" {
			t.Errorf("%#v: %q, want %q (fuzzy %v)", c.where, got, c.want, p.Fuzzy)
		}
	}
}

func TestEverythingInTheOrderOfNames(t *testing.T) {
	_, s := houseOf(t, quarter[:3], quarter[3:])
	for _, where := range []Cond{nil, And{}, Not{Or{}}, Prefix{Address, ""}, Not{Equal{Name, "nobody"}}} {
		ls := all(t, s, Query{Where: where, Limit: 3})
		if len(ls) != len(quarter) || !slices.IsSortedFunc(ls, func(a, b listing.Listing) int { return strings.Compare(fullName(&a, false), fullName(&b, false)) }) {
			t.Errorf("%#v: %s", where, locals(ls))
		}
	}
}

func TestImpossibleQuestions(t *testing.T) {
	_, s := houseOf(t, nil, nil)
	deep := Cond(Words{Any, "x"})
	for range maxDepth {
		deep = Not{deep}
	}
	wide := Or{}
	for range maxLeaves + 1 {
		wide = append(wide, Words{Any, "x"})
	}
	halves := And{wide[:maxLeaves/2+1], wide[:maxLeaves/2+1]}
	for name, q := range map[string]Query{
		"deep":       {Where: deep},
		"wide":       {Where: wide},
		"wide twice": {Where: halves},
		"long":       {Where: Equal{Name, strings.Repeat("a", maxValue+1)}},
		"many words": {Where: Words{Any, strings.Repeat("a ", maxWords+1)}},
		"NUL":        {Where: Equal{Address, "a\x00b"}},
		"not UTF-8":  {Where: Contains{Address, "\xff"}},
		"no field":   {Where: Equal{fields, "x"}},
		"part of id": {Where: Prefix{BAL, "1"}},
		"nothing in": {Where: Not{}},
		"page":       {After: "x"},
		"page 2":     {After: place{mode: bySet, sort: "a\x00"}.String()},
		"page 3":     {After: place{mode: 9}.String()},
	} {
		if _, err := s.Search(t.Context(), q); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.ByKey(t.Context(), listing.Key{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
}

// A page goes on in the edition that came meanwhile, without going back.
func TestPagesGoOnAcrossEditions(t *testing.T) {
	db, s := houseOf(t, nil, quarter)
	fill(t, db, "b", func() func() (listing.Listing, bool) {
		ls := append([]listing.Listing{person("Aaron/Nouveau", "nouveau.aaron"), person("Zola/Nouveau", "nouveau.zola")}, quarter[1:]...)
		return func() (l listing.Listing, more bool) {
			if len(ls) == 0 {
				return l, false
			}
			l, ls = ls[0], ls[1:]
			return l, true
		}
	}())
	for _, where := range []Cond{Not{Equal{Name, "x"}}, Words{Any, "mssante"}, Or{Contains{Name, "a"}, Contains{Address, "a"}}} {
		s.editions.readAt = noon
		one, err := s.Search(t.Context(), Query{Where: where, Limit: 4})
		if err != nil || len(one.Listings) != 4 || one.Next == "" {
			t.Fatalf("%#v: %d %v", where, len(one.Listings), err)
		}
		if _, err := db.Exec(t.Context(), "UPDATE national_part SET part = 'b', edition = edition + 1"); err != nil {
			t.Fatal(err)
		}
		s.editions.readAt = noon
		rest := all(t, s, Query{Where: where, Limit: 100, After: one.Next})
		got := " " + locals(append(one.Listings, rest...)) + " "
		if !strings.Contains(got, " nouveau.zola ") || strings.Count(got, "jean.dupont2") != 1 {
			t.Errorf("%#v: %s", where, got)
		}
		if _, err := db.Exec(t.Context(), "UPDATE national_part SET part = 'a', edition = edition + 1"); err != nil {
			t.Fatal(err)
		}
	}
}

// The preferred BAL of a holder comes first.
func TestPreferredFirst(t *testing.T) {
	_, s := houseOf(t, nil, []listing.Listing{quarter[1], quarter[0]})
	for _, where := range []Cond{Prefix{Name, "dupont"}, Words{Any, "dupont jean"}, Contains{Name, "upon"}, Equal{PP, quarter[0].PP}} {
		p, err := s.Search(t.Context(), Query{Where: where})
		if err != nil || locals(p.Listings) != "jean.dupont jean.dupont2" {
			t.Errorf("%#v: %s %v", where, locals(p.Listings), err)
		}
	}
}

func TestWords(t *testing.T) {
	if got := distance("jaen", "jean"); got != 1 {
		t.Error(got)
	}
	if got := distance("lefevre", "lefebvre"); got != 1 {
		t.Error(got)
	}
	if got := distance("", "abc"); got != 3 {
		t.Error(got)
	}
	if after("dup") != "duq" || after("a"+string(rune(0x10ffff))) != "b" || after(string(rune(0x10ffff))) != "" || after("\ud7ff") != "\ue000" {
		t.Error("after")
	}
	for word, others := range synonyms {
		if listing.Fold(word) != word || len(others) == 0 {
			t.Errorf("synonyms of %q", word)
		}
		for _, o := range others {
			if len(o) == 0 || listing.Fold(strings.Join(o, " ")) != strings.Join(o, " ") {
				t.Errorf("synonym %q of %q", o, word)
			}
		}
	}
}

// FuzzQuestion has strangers' conditions compiled: never a panic, and SQL of a bounded
// size whose texts are all parameters.
func FuzzQuestion(f *testing.F) {
	f.Add([]byte{0, 2, 3, 1}, "jean dup", "")
	f.Add([]byte{1, 4, 3, 9, 3, 1, 2, 4, 1}, "l'haÿ%_\\'", "AQEAAA")
	f.Fuzz(func(t *testing.T, shape []byte, value, page string) {
		at := 0
		next := func() int {
			if at++; at > len(shape) {
				return 3
			}
			return int(shape[at-1])
		}
		var build func() Cond
		build = func() Cond {
			if at > 2_000 {
				return nil
			}
			switch n := next(); n % 8 {
			case 0, 1:
				out := make([]Cond, next()%70)
				for i := range out {
					out[i] = build()
				}
				if n%8 == 0 {
					return And(out)
				}
				return Or(out)
			case 2:
				return Not{build()}
			case 3:
				return Equal{Field(next()), value}
			case 4:
				return Prefix{Field(next()), value}
			case 5:
				return Contains{Field(next()), value}
			case 6:
				return nil
			default:
				return Words{Field(next()), value}
			}
		}
		if p, err := parsePlace(page); err == nil && page != "" {
			if again, err := parsePlace(p.String()); err != nil || again != p {
				t.Fatalf("%v %v", p, again)
			}
		}
		n, err := normalise(build())
		if err != nil {
			var fe *fault.Error
			if !errors.As(err, &fe) || fe.Kind != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		var s statement
		sql := s.predicate(n)
		v := &vocabulary{edition: edition{size: 1e6}, holed: map[string]stems{}, err: fault.New(fault.Internal, "test", "no-database")}
		if w := v.wayTo(n); len(w) > 0 {
			sql += w.sql(&s)
		}
		arms, _ := armsOf(n)
		sql += without(&s, arms) + hintsOf(n).tier(&s)
		if len(sql) > 1<<20 || len(s.args) > 5_000 || count(n) > 2*maxNodes {
			t.Fatalf("%d octets, %d parameters, %d nodes", len(sql), len(s.args), count(n))
		}
		if len(value) > 12 && strings.Contains(sql, value) {
			t.Fatal("a text in the statement")
		}
	})
}
