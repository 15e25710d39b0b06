package health_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pli/health"
)

// Numbers and keys of dmp.md §1.2 and mssante.md §3.3, and official samples whose key
// is wrong.
func TestINSKey(t *testing.T) {
	for s, valid := range map[string]bool{
		"279035121518989": true, "255081416802538": true, "294037512000591": true,
		"153124500723160": true, "284052A32102552": true, "277076322082910": true,
		"146026322000196": true, "2 79 03 51 215 189 89": true,
		"221042545611404": false, "223042545611404": false, "276059205062865": false,
	} {
		i, err := health.ParseINS(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if i.KeyValid() != valid {
			t.Errorf("%s: key valid is %v, want %v", s, i.KeyValid(), valid)
		}
	}
	for _, s := range []string{"", "27903512151898", "979035121518989", "27903512151898A", "2A9035121518989", "284053A32102552", "2790351215189890"} {
		if i, err := health.ParseINS(s); err == nil {
			t.Errorf("%q is no INS: %q", s, i.Reveal())
		}
	}
}

func TestINSPrintsNothing(t *testing.T) {
	i, _ := health.ParseINS("279035121518989")
	tr := health.Traits{BirthName: "PAT-TROIS"}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s %d %x", i, i, i, i, i, i), fmt.Sprintf("%v %+v %#v %s", tr, tr, tr, tr)} {
		if strings.Contains(s, "2790") || strings.Contains(s, "TROIS") {
			t.Error(s)
		}
	}
	if i.Grouped() != "2\u00a079\u00a003\u00a051\u00a0215\u00a0189\u00a089" {
		t.Error(i.Grouped())
	}
}

func TestTraitsMatch(t *testing.T) {
	base := health.Traits{BirthName: "PAT-TROIS", FirstBirthName: "DOMINIQUE", Sex: "F", BirthDate: "19790328", BirthPlace: "51215"}
	same := []health.Traits{
		{BirthName: "Pat Trois", FirstBirthName: "Dominique", Sex: "F", BirthDate: "19790328", BirthPlace: "51215"},
		{BirthName: "pat’trois", GivenNames: "DOMINIQUE MARIE-LOUISE", Sex: "F", BirthDate: "19790328", BirthPlace: "51215", UsedName: "AUTRE"},
	}
	for _, o := range same {
		if !base.Match(o) || !o.Match(base) {
			t.Error("the same person is not recognised")
		}
	}
	for name, change := range map[string]func(*health.Traits){
		"name": func(t *health.Traits) { t.BirthName = "PAT-DEUX" }, "first": func(t *health.Traits) { t.FirstBirthName = "DOMINIC" },
		"sex": func(t *health.Traits) { t.Sex = "M" }, "date": func(t *health.Traits) { t.BirthDate = "19790329" },
		"place": func(t *health.Traits) { t.BirthPlace = "51216" }, "no first": func(t *health.Traits) { t.FirstBirthName = "" },
	} {
		o := base
		change(&o)
		if base.Match(o) {
			t.Errorf("another %s still matches", name)
		}
	}
	if (health.Traits{}).Match(health.Traits{}) {
		t.Error("nothing matches nothing")
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"Élodie": "ELODIE", "d'Œuvre": "D OEUVRE", " Jean–Paul ": "JEAN–PAUL", "Jean-Paul": "JEAN PAUL", "L’Hôpital": "L HOPITAL", "Ça\u00a0va": "CA VA",
	} {
		if got := health.Fold(in); got != want {
			t.Errorf("Fold(%q) = %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		if once := health.Fold(s); health.Fold(once) != once {
			t.Fatalf("folding twice changes %q", s)
		}
	})
}

func TestProfessionalNumbers(t *testing.T) {
	for _, s := range []string{"10000023084", "01234567897", "99700218896"} {
		r, err := health.ParseRPPS(s)
		if err != nil || r.NationalID() != "8"+s {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"10000023085", "1000002308", "1000002308X", ""} {
		if _, err := health.ParseRPPS(s); err == nil {
			t.Errorf("%q is no RPPS", s)
		}
	}
	for _, s := range []string{"750712184", "690781810", "120456789", "2A0000014", "2b0000014"} {
		if f, err := health.ParseFINESS(s); err != nil || f.NationalID() != "1"+strings.ToUpper(s) {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"75071218", "7507121845", "7A0712184x"} {
		if _, err := health.ParseFINESS(s); err == nil {
			t.Errorf("%q is no FINESS", s)
		}
	}
}

func TestClassOfOID(t *testing.T) {
	for oid, want := range map[string]health.INSClass{health.OIDNIR: health.RealINS, health.OIDNIA: health.RealINS, health.OIDTest: health.TestINS, health.OIDDemo: health.TestINS} {
		if got, ok := health.ClassOfOID(oid); !ok || got != want {
			t.Errorf("%s: %v %v", oid, got, ok)
		}
	}
	if _, ok := health.ClassOfOID("1.2.250.1.213.1.4.13"); ok {
		t.Error("an unknown OID is taken for an INS")
	}
}

func FuzzParseINS(f *testing.F) {
	f.Add("279035121518989")
	f.Add("2 84 05 2A 321 025 52")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := health.ParseINS(s)
		if err != nil {
			return
		}
		if j, err := health.ParseINS(i.Grouped()); err != nil || j != i {
			t.Fatal("what is shown cannot be read again")
		}
		i.KeyValid()
	})
}
