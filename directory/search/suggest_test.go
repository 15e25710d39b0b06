package search

import (
	"strings"
	"testing"

	"pli/directory/listing"
	"pli/fault"
	"pli/internal/pg"
	"pli/mail"
)

func said(ss []Suggestion) string {
	out := make([]string, len(ss))
	for i, s := range ss {
		out[i] = s.Why + ":" + local(s.Listing.Address)
	}
	return strings.Join(out, " ")
}

func exec(t testing.TB, db *pg.DB, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func TestSuggest(t *testing.T) {
	national := []listing.Listing{
		person("Dupont/Jean", "jean.dupont"),
		person("Dupont/Jean", "j.dupont-hopital", func(l *listing.Listing) { l.PP = person("", "jean.dupont").PP; l.Rank = 2 }),
		person("Durand/Paule", "paule.durand"),
		person("Durand/Paul", "paul.durand"),
		person("Zimmermann/Anne", "anne.zimmermann"),
		service("Cardiologie", "CHU des Monts", "cardiologie.chu"),
		service("Urgences", "CHU des Monts", "urgences.chu"),
	}
	of := func(local string) listing.Listing {
		for _, l := range national {
			if strings.HasPrefix(l.Address, local+"@") {
				return l
			}
		}
		panic(local)
	}
	db, s := houseOf(t, nil, national)
	exec(t, db, `INSERT INTO departed (address, kind, pp_type, pp, place_type, place, service, gone_at) VALUES
		('dr.dupont@ancien.mssante.example', 'PER', '8', $1, 'FINESS', '990000001', '', now()),
		('cardio@ancien.mssante.example', 'ORG', '', '', 'FINESS', '990000002', 'CARDIOLOGIE', now())`, of("jean.dupont").PP)
	exec(t, db, `INSERT INTO person (rpps, family_name, given_name) VALUES ($1, 'Durand', 'Paule')`, of("paule.durand").PP)
	exec(t, db, `INSERT INTO structure (finess, name) VALUES ('990000002', 'CHU des Monts')`)
	var holder int64
	if err := db.QueryRow(t.Context(), `INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id`).Scan(&holder); err != nil {
		t.Fatal(err)
	}
	// An address that another operator published, came to us, and is on the liste rouge now.
	exec(t, db, `INSERT INTO departed (address, kind, pp_type, pp, gone_at) VALUES ('hidden@mss-a.example', 'PER', '8', $1, now())`, of("paule.durand").PP)
	bal := func(local, kind, state, service, replacement string, unlisted bool) {
		exec(t, db, `INSERT INTO bal (address_key, address, kind, state, holder_id, person_id, structure_id, service, replacement, unlisted)
			SELECT decode(md5($1), 'hex'), $1, $2, $3, $4, CASE WHEN $2 = 'PER' THEN p.id END, CASE WHEN $2 = 'ORG' THEN s.id END, $5, $6, $7
			FROM person p, structure s`, local+"@mss-a.example", kind, state, holder, service, replacement, unlisted)
	}
	bal("closed", "PER", "closed", "", "", false)
	bal("suspended", "PER", "suspended", "", "", false)
	bal("purged", "PER", "purged", "", "", false)
	bal("active", "PER", "active", "", "", false)
	bal("hidden", "PER", "closed", "", "", true)
	bal("replaced", "PER", "closed", "", "URGENCES.chu@medecin.mssante.example", false)
	bal("replaced.unlisted", "PER", "closed", "", "personne@medecin.mssante.example", true)
	bal("service", "ORG", "closed", "Urgences", "", false)
	for _, c := range []struct{ address, want string }{
		{"dr.dupont@ancien.mssante.example", "same-professional:jean.dupont same-professional:j.dupont-hopital"},
		{"jean.dupont@medecin.mssante.example", "same-professional:j.dupont-hopital"}, // published, and its operator says no
		{"cardio@ancien.mssante.example", "same-structure:cardiologie.chu"},
		{"closed@mss-a.example", "same-professional:paule.durand"},
		{"suspended@mss-a.example", "same-professional:paule.durand"},
		{"purged@mss-a.example", "same-professional:paule.durand"},
		{"active@mss-a.example", ""},
		{"hidden@mss-a.example", ""},
		{"replaced@mss-a.example", "replacement:urgences.chu same-professional:paule.durand"},
		{"replaced.unlisted@mss-a.example", ""},
		{"service@mss-a.example", "same-structure:urgences.chu"},
		{"dupont.jean@medecin.mssante.example", "near:jean.dupont"},
		{"jena.dupont@medecin.mssante.example", "near:jean.dupont"},
		{"paul.duran@medecin.mssante.example", "near:paul.durand near:paule.durand"},
		{"ane.zimmerman@medecin.mssante.example", "near:anne.zimmermann"},
		{"jean.dupont@autre.mssante.example", ""},
		{"jena.dupont@patient.mssante.example", ""},
		{"jean.dupond@patient.mssante.fr", ""},
		{"personne.inconnue@medecin.mssante.example", ""},
	} {
		got, err := s.Suggest(t.Context(), mail.MustAddress(c.address))
		if err != nil || said(got) != c.want {
			t.Errorf("%s: %q, want %q (%v)", c.address, said(got), c.want, err)
		}
	}
	if got, err := s.Suggest(t.Context(), mail.Address{}); err != nil || got != nil {
		t.Error(got, err)
	}
}

// A listing of ours whose BAL is not in use is never suggested, whatever listing_own says.
func TestSuggestOnlyWhatIsInUse(t *testing.T) {
	l := person("Dupont/Jean", "jean.dupont")
	l.BAL = 999
	_, s := houseOf(t, []listing.Listing{l}, nil)
	got, err := s.Suggest(t.Context(), mail.MustAddress("jean.dupond@medecin.mssante.example"))
	if err != nil || len(got) > 0 {
		t.Error(said(got), err)
	}
}

func TestStructure(t *testing.T) {
	db, s := houseOf(t, []listing.Listing{service("Urgences", "CHU des Monts", "urgences.chu")},
		[]listing.Listing{
			service("Cardiologie", "CHU des Monts", "cardiologie.chu"), service("", "CHU des Monts", "accueil.chu"),
			person("Zola/Anne", "anne.zola", func(l *listing.Listing) { l.Place, l.Service = "990000002", "CARDIOLOGIE" }),
			person("Dupont/Jean", "jean.dupont"),
		})
	o := listing.Organization{ID: "finess-990000002", FINESS: "990000002", Name: "CHU des Monts", City: "Lyon", PostalCode: "69003",
		SectorLabel: "Etablissement public de santé", Presentation: "Qui nous sommes", Active: true, ChangedAt: noon, SeenAt: noon}
	insert := func(table string, o listing.Organization) {
		t.Helper()
		places := make([]string, len(listing.OrganizationColumns))
		for i := range places {
			places[i] = "$" + string(rune('0'+(i+1)/10)) + string(rune('0'+(i+1)%10))
		}
		exec(t, db, "INSERT INTO "+table+" ("+strings.Join(listing.OrganizationColumns, ", ")+") VALUES ("+strings.Join(places, ", ")+")", o.Row()...)
	}
	insert("organization_own", o)
	o.Presentation = ""
	insert("organization_a", o)
	insert("organization_a", listing.Organization{ID: "siret-99000000000035", SIRET: "99000000000035", Name: "Pharmacie de la Gare",
		City: "Brest", PostalCode: "29200", SectorLabel: "Pharmacie d'officine", Active: true, ChangedAt: noon, SeenAt: noon})

	for _, get := range []func() (Establishment, error){
		func() (Establishment, error) { return s.Structure(t.Context(), "FINESS", "990000002") },
		func() (Establishment, error) { return s.StructureByID(t.Context(), "finess-990000002") },
	} {
		e, err := get()
		if err != nil || e.Organization.Presentation != "Qui nous sommes" || len(e.Teams) != 3 || e.More {
			t.Fatalf("%+v %v", e, err)
		}
		for i, want := range []string{":accueil.chu", "Cardiologie:cardiologie.chu anne.zola", "Urgences:urgences.chu"} {
			if got := e.Teams[i].Name + ":" + locals(e.Teams[i].Listings); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	// known by its listings only
	if e, err := s.Structure(t.Context(), "FINESS", "990000001"); err != nil || e.Organization.Name != "Cabinet médical des Lilas" || e.Organization.City != "LYON CEDEX 03" {
		t.Errorf("%+v %v", e, err)
	}
	for _, id := range []string{"", "finess-1", "x\x00", strings.Repeat("a", 1_000)} {
		if _, err := s.StructureByID(t.Context(), id); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	for words, want := range map[string]string{
		"chu lyon": "CHU des Monts", "monts 69": "CHU des Monts", "public sante": "CHU des Monts", "officine": "Pharmacie de la Gare",
		"pharmacie brest": "Pharmacie de la Gare", "nulle part": "", "": "", "la": "Pharmacie de la Gare",
	} {
		os, err := s.Organizations(t.Context(), words, 5)
		var got []string
		for _, o := range os {
			got = append(got, o.Name)
		}
		if err != nil || strings.Join(got, ", ") != want {
			t.Errorf("%q: %q, want %q (%v)", words, got, want, err)
		}
	}
}
