package resource

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"testing"
	"time"

	"pli/codec/fhir"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

// country fills part a with n professionals, each with an exercise, a tenth as many
// structures and half as many BAL: the proportions of the national directory. Rows are
// made by the database, for speed.
func country(t testing.TB, n int) *Store {
	t.Helper()
	dsn := pgtest.DSN(t)
	db, err := pg.Open(t.Context(), pg.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, sql := range []string{
		`INSERT INTO practitioner_a (id, pp_type, pp, civility, family_name, given_name, category, changed_at, seen_at, f_family, f_given)
		 SELECT 'rpps-' || pp, '8', pp, 'DR', f, g, 'C', day, day, lower(f), lower(g) FROM (SELECT (89970000000 + i)::text pp, 'NOM' || (i * 7919 % 50000) f, 'PRENOM' || (i % 400) g,
		 timestamptz '2026-01-01' + (i % 300) * interval '1 day' AS day FROM generate_series(1, $1::bigint) i) x`,
		`INSERT INTO organization_a (id, finess, finess_ej, name, sector, postal_code, city, changed_at, seen_at, f_name, f_trade, f_city)
		 SELECT 'finess-' || f, f, '99' || lpad((i / 10 * 10)::text, 7, '0'), 'STRUCTURE ' || i, 'SA0' || i % 10, (10000 + i % 80000)::text, 'VILLE ' || i % 3000, now(), now(), 'structure ' || i, '', 'ville ' || i % 3000
		 FROM (SELECT i, '99' || lpad(i::text, 7, '0') f FROM generate_series(0, $1::bigint / 10) i) x`,
		`INSERT INTO role_a (id, practitioner, organization, profession, profession_label, know_how_type, know_how, mode, changed_at, seen_at, f_family, f_given)
		 SELECT 'ro-' || md5(i::text), 'rpps-' || (89970000000 + i)::text, 'finess-99' || lpad((i / 10)::text, 7, '0'), (10 * (1 + i % 8))::text, 'Profession', 'S', 'SM' || i % 60, 'L',
		 now(), now(), '', '' FROM generate_series(1, $1::bigint) i`,
		`INSERT INTO listing_a (key, kind, address, pp_type, pp, place_type, place, since_at, changed_at, seen_at, f_name, f_given, f_address, f_city, words)
		 SELECT decode(md5(i::text), 'hex'), CASE WHEN org THEN 'ORG' ELSE 'PER' END, a, CASE WHEN org THEN '' ELSE '8' END, CASE WHEN org THEN '' ELSE (89970000000 + i)::text END,
		 'FINESS', '99' || lpad((i / 10)::text, 7, '0'), now(), now(), now(), '', '', a, '', ''
		 FROM (SELECT i * 2 i, i % 6 = 0 org, 'boite' || i || '@medecin.mss.example' a FROM generate_series(1, $1::bigint / 2) i) x`,
	} {
		if _, err := db.Exec(context.Background(), sql, n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(context.Background(), "ANALYZE"); err != nil {
		t.Fatal(err)
	}
	search, err := pg.Open(t.Context(), pg.Config{DSN: dsn, Search: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(search.Close)
	return New(search, "")
}

// BenchmarkSearch asks what software asks of a national directory. PLI_BENCH_ROWS
// professionals, 100,000 when it is not said.
func BenchmarkSearch(b *testing.B) {
	n, _ := strconv.Atoi(os.Getenv("PLI_BENCH_ROWS"))
	if n == 0 {
		n = 100_000
	}
	s := country(b, n)
	for _, c := range []struct{ name, kind, raw string }{
		{"read", Practitioner, "_id=rpps-89970004242"},
		{"rpps", Practitioner, "identifier=https://rpps.esante.gouv.fr%7C89970004242"},
		{"family", Practitioner, "family=nom4242"},
		{"family broad", Practitioner, "family=nom&active=true"},
		{"name", Practitioner, "name=nom4242+prenom1"},
		{"given", Practitioner, "given=prenom42"},
		{"family contains", Practitioner, "family:contains=om424"},
		{"nobody contains", Practitioner, "family:contains=zzz"},
		{"address", Practitioner, "mailbox-mss=boite4241@medecin.mss.example"},
		{"address prefix", Practitioner, "mailbox-mss=boite42"},
		{"address contains", Practitioner, "mailbox-mss:contains=ite4242"},
		{"type PER", Practitioner, "mailbox-mss-type=PER"},
		{"no address", Practitioner, "mailbox-mss:missing=true"},
		{"qualification", Practitioner, "qualification-code=SM26"},
		{"changed", Practitioner, "_lastUpdated=ge2026-10-20"},
		{"all of 200", Practitioner, "_count=200"},
		{"role address", PractitionerRole, "mailbox-mss=boite4241@medecin.mss.example"},
		{"role type PER", PractitionerRole, "mailbox-mss-type=PER"},
		{"role family city", PractitionerRole, "practitioner.family=nom4242&organization.address-city=ville"},
		{"role specialty", PractitionerRole, "specialty=SM26&role=70&_include=*"},
		{"role rpps", PractitionerRole, "practitioner.identifier=89970004242&_include=*"},
		{"place name", Organization, "name=structure+424"},
		{"place city", Organization, "address-city=ville+42&type=SA02"},
		{"place address", Organization, "mailbox-mss=boite4242@medecin.mss.example"},
		{"place type ORG", Organization, "mailbox-mss-type=ORG"},
		{"place changed", Organization, "_lastUpdated=ge2026-10-20"},
		{"place roles", Organization, "_id=finess-990000042&_revinclude=PractitionerRole:organization"},
	} {
		b.Run(c.name, func(b *testing.B) {
			pairs, _ := fhir.ParsePairs(c.raw)
			q, issues := fhir.Parse(Catalogue(), c.kind, pairs, true)
			if len(issues) > 0 {
				b.Fatal(issues)
			}
			found := 0
			for b.Loop() {
				page, err := s.Search(b.Context(), q, "")
				if err != nil {
					b.Fatal(err)
				}
				found = len(page.Resources)
			}
			b.ReportMetric(float64(found), "resources")
			b.ReportMetric(float64(found)*float64(b.N)/b.Elapsed().Seconds(), "resources/s")
		})
	}
}

// BenchmarkWrite is the mapping alone, without the database.
func BenchmarkWrite(b *testing.B) {
	row := &practitionerRow{Practitioner: practitioner("89970000017", "HADDAD", "Karim")}
	row.ID, row.ChangedAt = "rpps-89970000017", day
	s := &surroundings{exercises: map[string][]*roleRow{}, byPerson: map[person][]mailbox{}}
	r := &roleRow{}
	r.Profession, r.ProfessionLabel, r.KnowHow, r.KnowHowType = "10", "Médecin", "SM54", "S"
	s.exercises[row.ID] = []*roleRow{r}
	s.byPerson[person{"8", "89970000017"}] = []mailbox{{Mailbox: fhir.Mailbox{Address: "karim.haddad@medecin.mss.example", Kind: "PER", Rank: 1}}}
	b.ReportAllocs()
	for b.Loop() {
		res, err := s.practitioner(row)
		if err != nil || !json.Valid(res.JSON) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "resources/s")
}
