package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/codec/fhir"
	"pli/directory/listing"
	"pli/fault"
	"pli/health"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

var day = time.Date(2026, 11, 2, 8, 30, 0, 0, time.UTC)

// seed puts rows into one part of the directory.
type seed struct {
	t  testing.TB
	db *pg.DB
}

func (s seed) copy(table string, columns []string, rows ...[]any) {
	s.t.Helper()
	if _, err := s.db.Pool().CopyFrom(context.Background(), pgx.Identifier{table}, columns, pgx.CopyFromRows(rows)); err != nil {
		s.t.Fatalf("%s: %v", table, err)
	}
}

// insert is for listings, whose words are text to be read as a tsvector.
func (s seed) listings(part string, all ...listing.Listing) {
	s.t.Helper()
	marks := make([]string, len(listing.Columns))
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	marks[len(marks)-1] += "::text::tsvector"
	for i := range all {
		l := &all[i]
		l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
		if l.ChangedAt.IsZero() {
			l.ChangedAt = day
		}
		l.SinceAt, l.SeenAt = day, day
		sql := "INSERT INTO listing_" + part + " (" + strings.Join(listing.Columns, ",") + ") VALUES (" + strings.Join(marks, ",") + ")"
		if _, err := s.db.Exec(context.Background(), sql, l.Row()...); err != nil {
			s.t.Fatalf("listing: %v", err)
		}
	}
}

func (s seed) practitioners(part string, all ...listing.Practitioner) {
	rows := make([][]any, 0, len(all))
	for i := range all {
		p := &all[i]
		p.ID, p.SeenAt = listing.PractitionerID(p.PPType, p.PP), day
		if p.ChangedAt.IsZero() {
			p.ChangedAt = day
		}
		rows = append(rows, p.Row())
	}
	s.copy("practitioner_"+part, listing.PractitionerColumns, rows...)
}

func (s seed) organizations(part string, all ...listing.Organization) {
	rows := make([][]any, 0, len(all))
	for i := range all {
		o := &all[i]
		o.ID, o.SeenAt = listing.OrganizationID(o.FINESS, o.SIRET, o.SIREN, o.Technical), day
		if o.ChangedAt.IsZero() {
			o.ChangedAt = day
		}
		rows = append(rows, o.Row())
	}
	s.copy("organization_"+part, listing.OrganizationColumns, rows...)
}

func (s seed) roles(part string, all ...listing.Role) {
	rows := make([][]any, 0, len(all))
	for i := range all {
		r := &all[i]
		if r.ID == "" {
			r.ID = listing.RoleID(r.Practitioner, r.Organization, r.Profession, r.KnowHow, r.Mode, r.Function)
		}
		r.SeenAt = day
		if r.ChangedAt.IsZero() {
			r.ChangedAt = day
		}
		rows = append(rows, r.Row())
	}
	s.copy("role_"+part, listing.RoleColumns, rows...)
}

func practitioner(rpps, family, given string) listing.Practitioner {
	return listing.Practitioner{PPType: "8", PP: rpps, Civility: "DR", FamilyName: family, GivenName: given, Category: "C", CategoryLabel: "Civil", Active: true}
}

// town is a small directory: part a is read, b is another edition, and some is our own.
func town(t testing.TB) (*Store, *pg.DB) {
	db := pgtest.DB(t)
	s := seed{t, db}
	gone := practitioner("89970000099", "Parti", "Jean")
	gone.Active = false
	s.practitioners("a", practitioner("89970000017", "HADDAD", "Karim"), practitioner("89970000025", "LE GOFF", "Maëlle"),
		practitioner("89970000033", "Martin", "Élise"), gone,
		practitioner("89970000041", "NATIONAL", "Ancien"), // hidden by ours
		listing.Practitioner{PPType: "0", PP: "999000017", FamilyName: "Martinez", GivenName: "Karim", Active: true, Category: "C"})
	s.practitioners("own", practitioner("89970000041", "ORMELUNE", "Paul"))
	s.practitioners("b", practitioner("89970000777", "AUTRE", "Édition"))
	s.organizations("a",
		listing.Organization{FINESS: "990000017", FINESSEJ: "990000090", Name: "CH DE VILLEFICTIVE", Sector: "SA01", SectorLabel: "Etablissement public de santé",
			Street: "1 RUE DES LILAS", PostalCode: "75019", City: "Paris 19e Arrondissement", Department: "75", Phone: "0100000000", Active: true},
		listing.Organization{FINESS: "990000090", FINESSEJ: "990000090", Name: "GHT FICTIF", City: "LYON CEDEX 03", PostalCode: "69003", Active: true},
		listing.Organization{SIRET: "99000000000017", SIREN: "990000000", Name: "CABINET DES LILAS", TradeName: "Maison bleue", Sector: "SA07", City: "L'HAŸ-LES-ROSES", PostalCode: "94240", Active: true},
		listing.Organization{Technical: "R99000000000001", Name: "CABINET SANS NUMERO", Active: true})
	s.roles("a",
		listing.Role{ID: "ro-1", Practitioner: "rpps-89970000017", Organization: "finess-990000017", Profession: "10", ProfessionLabel: "Médecin",
			KnowHowType: "S", KnowHow: "SM54", KnowHowLabel: "Médecine générale", Mode: "S", ModeLabel: "Salarié", Function: "FON-01", Active: true, FamilyName: "HADDAD", GivenName: "Karim"},
		listing.Role{ID: "ro-2", Practitioner: "rpps-89970000017", Organization: "siret-99000000000017", Profession: "10", ProfessionLabel: "Médecin", Mode: "L", Active: true},
		listing.Role{ID: "ro-3", Practitioner: "rpps-89970000025", Profession: "60", ProfessionLabel: "Infirmier", Mode: "L", Active: true},
		listing.Role{ID: "ro-4", Practitioner: "rpps-89970000033", Profession: "ZZ9", ProfessionLabel: "Métier nouveau", Active: true})
	s.listings("a",
		listing.Listing{Kind: health.PER, Address: "karim.haddad@ch.mss.example", PPType: "8", PP: "89970000017", PlaceType: "FINESS", Place: "990000017", FamilyName: "HADDAD", GivenName: "Karim", Rank: 2},
		listing.Listing{Kind: health.PER, Address: "dr.haddad@medecin.mss.example", PPType: "8", PP: "89970000017", FamilyName: "HADDAD", GivenName: "Karim", Rank: 1},
		listing.Listing{Kind: health.CAB, Address: "cabinet.legoff@infirmier.mss.example", PPType: "8", PP: "89970000025", FamilyName: "LE GOFF", Rank: 1},
		listing.Listing{Kind: health.ORG, Address: "urgences@ch.mss.example", PlaceType: "FINESS", Place: "990000017", Service: "Urgences", Description: "Comptes rendus de passage", Rank: 1, ChangedAt: day.AddDate(0, 0, 5)},
		listing.Listing{Kind: health.ORG, Address: "secretariat@lilas.mss.example", PlaceType: "SIRET", Place: "99000000000017", Rank: 1},
		listing.Listing{Kind: health.PER, Address: "sans.numero@ch.mss.example", PlaceType: "FINESS", Place: "990000090", FamilyName: "SANS", GivenName: "Numéro", Rank: 1},
		listing.Listing{Kind: health.APP, Address: "robot@technique.mss.example", PlaceType: "Identifiant technique", Place: "R99000000000001", Rank: 1})
	return New(db, "urn:x-test:house"), db
}

// ask parses and searches, and tells the ids found.
func ask(t testing.TB, s *Store, kind, raw string) Page {
	t.Helper()
	pairs, issues := fhir.ParsePairs(raw)
	q, refused := fhir.Parse(Catalogue(), kind, pairs, true)
	if issues = append(issues, refused...); len(issues) > 0 {
		t.Fatalf("%s?%s: %+v", kind, raw, issues)
	}
	page, err := s.Search(t.Context(), q, "")
	if err != nil {
		t.Fatalf("%s?%s: %v", kind, raw, err)
	}
	return page
}

func ids(p Page) string {
	var out []string
	for _, r := range p.Resources {
		id := r.ID
		if r.Included {
			id = "+" + id
		}
		out = append(out, id)
	}
	return strings.Join(out, " ")
}

// Searches, and what each finds.
func TestSearches(t *testing.T) {
	s, _ := town(t)
	const (
		haddad, legoff, martin, gone = "rpps-89970000017", "rpps-89970000025", "rpps-89970000033", "rpps-89970000099"
		ours, adeli                  = "rpps-89970000041", "adeli-999000017"
		ch, ght, lilas               = "finess-990000017", "finess-990000090", "siret-99000000000017"
	)
	technical := listing.OrganizationID("", "", "", "R99000000000001")
	all := func(list ...string) string { slices.Sort(list); return strings.Join(list, " ") }
	for _, c := range []struct{ kind, raw, want string }{
		{Practitioner, "", all(haddad, legoff, martin, gone, ours, adeli)},
		{Practitioner, "family=had", haddad},
		{Practitioner, "family=HADDAD,martin", all(haddad, martin, adeli)},
		{Practitioner, "family=martin&given=karim", adeli},
		{Practitioner, "given=elise", martin},
		{Practitioner, "given=%C3%89LISE", martin},
		{Practitioner, "family:exact=Martin", martin},
		{Practitioner, "family:exact=MARTIN", ""},
		{Practitioner, "family:contains=art", all(martin, gone, adeli)},
		{Practitioner, "family:contains=mar%25tin", ""},
		{Practitioner, "name=karim+haddad", haddad},
		{Practitioner, "name=haddad+kar", haddad},
		{Practitioner, "name=le+goff+ma%C3%ABlle", legoff},
		{Practitioner, "name=maelle+le+go", legoff},
		{Practitioner, "name=karim", all(haddad, adeli)},
		{Practitioner, "family=national", ""},
		{Practitioner, "family=ormelune", ours},
		{Practitioner, "family=autre", ""},
		{Practitioner, "given:missing=true", ""},
		{Practitioner, "given:missing=false&family=had", haddad},
		{Practitioner, "_id=" + haddad + "," + martin, all(haddad, martin)},
		{Practitioner, "_id=rpps-89970000777", ""},
		{Practitioner, "identifier=89970000017", haddad},
		{Practitioner, "identifier=889970000017", haddad},
		{Practitioner, "identifier=https://rpps.esante.gouv.fr%7C89970000017", haddad},
		{Practitioner, "identifier=urn:oid:1.2.250.1.71.4.2.1%7C889970000017", haddad},
		{Practitioner, "identifier=urn:oid:1.2.250.1.71.4.2.1%7C0999000017", adeli},
		{Practitioner, "identifier=https://rpps.esante.gouv.fr%7C999000017", ""},
		{Practitioner, "identifier=%7C89970000017", ""},
		{Practitioner, "identifier=https://rpps.esante.gouv.fr%7C", all(haddad, legoff, martin, gone, ours)},
		{Practitioner, "identifier=http://autre.example%7C89970000017", ""},
		{Practitioner, "identifier-type=RPPS&family=martin", martin},
		{Practitioner, "active=false", gone},
		{Practitioner, "active=true&family=p", ""},
		{Practitioner, "qualification-code=60", legoff},
		{Practitioner, "qualification-code=" + fhir.SystemProfession + "%7C10", haddad},
		{Practitioner, "qualification-code=" + fhir.SystemTitle + "%7C10", ""},
		{Practitioner, "qualification-code=" + fhir.SystemProfession + "%7C", all(haddad, legoff)},
		{Practitioner, "qualification-code=" + fhir.SystemSpecialty + "%7CSM54", haddad},
		{Practitioner, "mailbox-mss=dr.had", haddad},
		{Practitioner, "mailbox-mss=Dr.Haddad@medecin", haddad},
		{Practitioner, "mailbox-mss=karim.haddad@ch.mss.example", haddad},
		{Practitioner, "mailbox-mss:contains=mss.example", all(haddad, legoff)},
		{Practitioner, "mailbox-mss:exact=dr.haddad", ""},
		{Practitioner, "mailbox-mss:exact=dr.haddad@medecin.mss.example", haddad},
		{Practitioner, "mailbox-mss=urgences", ""},
		{Practitioner, "mailbox-mss:missing=true&active=true", all(martin, ours, adeli)},
		{Practitioner, "mailbox-mss-type=CAB", legoff},
		{Practitioner, "mailbox-mss-type=" + fhir.SystemMailKind + "%7CPER", haddad},
		{Practitioner, "mailbox-mss-type=" + fhir.SystemBALKind + "%7CPER,CAB", all(haddad, legoff)},
		{Practitioner, "mailbox-mss-type=http://autre.example%7CPER", ""},
		{Practitioner, "mailbox-mss-type=ORG", ""},
		{Practitioner, "_lastUpdated=ge2026-11-02", all(haddad, legoff, martin, gone, ours, adeli)},
		{Practitioner, "_lastUpdated=gt2026-11-02", ""},
		{Practitioner, "_lastUpdated=lt2026-11-02T08:30:00Z", ""},
		{Practitioner, "_lastUpdated=le2026-11-02T09:30:00%2B01:00&_id=" + martin, martin},
		{Practitioner, "_lastUpdated=2026-11&_id=" + martin, martin},
		{Practitioner, "_lastUpdated=ne2026-11&_id=" + martin, ""},
		{Practitioner, "family=had&_revinclude=PractitionerRole:practitioner", haddad + " +ro-1 +ro-2"},

		{PractitionerRole, "", "ro-1 ro-2 ro-3 ro-4"},
		{PractitionerRole, "practitioner=" + haddad, "ro-1 ro-2"},
		{PractitionerRole, "practitioner=Practitioner/" + haddad, "ro-1 ro-2"},
		{PractitionerRole, "practitioner=https://x.example/fhir/Practitioner/" + haddad, "ro-1 ro-2"},
		{PractitionerRole, "practitioner:Practitioner=" + haddad, "ro-1 ro-2"},
		{PractitionerRole, "practitioner.identifier=89970000025", "ro-3"},
		{PractitionerRole, "practitioner:identifier=https://rpps.esante.gouv.fr%7C89970000025", "ro-3"},
		{PractitionerRole, "practitioner.family=had&organization.address-city=paris", "ro-1"},
		{PractitionerRole, "practitioner.family:exact=HADDAD", "ro-1 ro-2"},
		{PractitionerRole, "organization=" + ch, "ro-1"},
		{PractitionerRole, "organization:missing=true", "ro-3 ro-4"},
		{PractitionerRole, "organization.type=SA07", "ro-2"},
		{PractitionerRole, "role=60", "ro-3"},
		{PractitionerRole, "role=" + fhir.SystemMode + "%7CL", "ro-2 ro-3"},
		{PractitionerRole, "role=ZZ9", "ro-4"},
		{PractitionerRole, "role=" + fhir.SystemProfession + "%7CZZ9", ""},
		{PractitionerRole, "specialty=SM54", "ro-1"},
		{PractitionerRole, "specialty=" + fhir.SystemSpecialty + "%7CSM54", "ro-1"},
		{PractitionerRole, "specialty=" + fhir.SystemSpecialty + "%7C", "ro-1"},
		{PractitionerRole, "specialty=" + fhir.SystemSkill + "%7CSM54", ""},
		{PractitionerRole, "mailbox-mss=karim", "ro-1"},
		{PractitionerRole, "mailbox-mss=dr.haddad", ""},
		{PractitionerRole, "mailbox-mss-type=PER", "ro-1"},
		{PractitionerRole, "_lastUpdated=gt2026-11-02", ""},
		{PractitionerRole, "practitioner=" + haddad + "&_include=*", all("ro-1", "ro-2") + " +" + haddad + " +" + ch + " +" + lilas},
		{PractitionerRole, "_id=ro-1&_include=PractitionerRole:organization", "ro-1 +" + ch},

		{Organization, "", all(ch, ght, lilas, technical)},
		{Organization, "name=ch+de", ch},
		{Organization, "name=maison", lilas},
		{Organization, "name:contains=FICTI", all(ch, ght)},
		{Organization, "address-city=paris", ch},
		{Organization, "address-city=lyon", ght},
		{Organization, "address-city=l%27hay", lilas},
		{Organization, "address-postalcode=75019", ch},
		{Organization, "address-postalcode=94", lilas},
		{Organization, "address=1+rue", ch},
		{Organization, "type=SA07,SA01", all(ch, lilas)},
		{Organization, "type=" + fhir.SystemSector + "%7CSA07", lilas},
		{Organization, "type=LEGAL-ENTITY", ght},
		{Organization, "type=GEOGRAPHICAL-ENTITY", all(ch, lilas)},
		{Organization, "identifier=990000017", ch},
		{Organization, "identifier=https://finess.esante.gouv.fr%7C990000017", ch},
		{Organization, "identifier=urn:oid:1.2.250.1.71.4.2.2%7C1990000017", ch},
		{Organization, "identifier=urn:oid:1.2.250.1.71.4.2.2%7C399000000000017", lilas},
		{Organization, "identifier=https://sirene.fr%7C99000000000017", lilas},
		{Organization, "identifier=https://sirene.fr%7C990000000", ""},
		{Organization, "identifier=R99000000000001", technical},
		{Organization, "partof=" + ght, ch},
		{Organization, "partof:identifier=https://finess.esante.gouv.fr%7C990000090", ch},
		{Organization, "partof:missing=false&_include=Organization:partof", ch + " +" + ght},
		{Organization, "mailbox-mss=urg", ch},
		{Organization, "mailbox-mss=sans.numero", ght},
		{Organization, "mailbox-mss-type=PER", ght},
		{Organization, "mailbox-mss=secretariat,robot", all(lilas, technical)},
		{Organization, "mailbox-mss-type=APP", technical},
		{Organization, "_lastUpdated=gt2026-11-02", ch},
		{Organization, "_lastUpdated=2026-11-07", ch},
		{Organization, "_id=" + ch + "&_revinclude=PractitionerRole:organization", ch + " +ro-1"},
	} {
		if got := ids(ask(t, s, c.kind, c.raw)); got != c.want {
			t.Errorf("%s?%s: %q, want %q", c.kind, c.raw, got, c.want)
		}
	}
}

// Every statement is one that PostgreSQL takes, for both parts; and so is the condition
// of every parameter that is announced, with each modifier.
func TestStatements(t *testing.T) {
	s, db := town(t)
	for name, sql := range statements() {
		conn, err := db.Pool().Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Conn().Prepare(t.Context(), name, sql); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		conn.Release()
	}
	for _, part := range []string{"a", "b"} {
		flip(t, db, part)
		for _, spec := range Catalogue() {
			for _, p := range spec.Params {
				names := []string{p.Name}
				for _, m := range p.Modifiers {
					names = append(names, p.Name+":"+m)
				}
				for _, c := range p.Chained {
					names = append(names, p.Name+"."+c)
				}
				for _, name := range names {
					value := "abc"
					switch {
					case p.Kind == fhir.Date:
						value = "ne2026-11-02"
					case strings.HasSuffix(name, ":missing"):
						value = "true"
					}
					ask(t, s, spec.Type, name+"="+value)
				}
			}
		}
	}
}

func flip(t testing.TB, db *pg.DB, part string) {
	t.Helper()
	if _, err := db.Exec(context.Background(), "UPDATE national_part SET part = $1, edition = edition + 1", part); err != nil {
		t.Fatal(err)
	}
}

// Once the other edition is current it alone is read, with what is ours.
func TestTheOtherEdition(t *testing.T) {
	s, db := town(t)
	flip(t, db, "b")
	if got := ids(ask(t, s, Practitioner, "")); got != "rpps-89970000041 rpps-89970000777" {
		t.Error(got)
	}
	if _, err := s.Read(t.Context(), Practitioner, "rpps-89970000017"); !fault.Is(err, fault.NotFound) {
		t.Errorf("of the edition before: %v", err)
	}
}

func read(t testing.TB, s *Store, kind, id string) map[string]any {
	t.Helper()
	r, err := s.Read(t.Context(), kind, id)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(r.JSON, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// at walks into a resource: "telecom.0.value".
func at(v any, path string) any {
	for step := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

// The shapes of the French profiles, by hand.
func TestShapes(t *testing.T) {
	s, _ := town(t)
	for _, c := range []struct {
		kind, id, path string
		want           any
	}{
		{Practitioner, "rpps-89970000017", "resourceType", "Practitioner"},
		{Practitioner, "rpps-89970000017", "meta.source", nationalSource},
		{Practitioner, "rpps-89970000041", "meta.source", "urn:x-test:house"},
		{Practitioner, "rpps-89970000017", "meta.profile.1", fhir.ProfilePractitioner},
		{Practitioner, "rpps-89970000017", "identifier.0.system", "urn:oid:1.2.250.1.71.4.2.1"},
		{Practitioner, "rpps-89970000017", "identifier.0.value", "889970000017"},
		{Practitioner, "rpps-89970000017", "identifier.0.type.coding.0.code", "IDNPS"},
		{Practitioner, "rpps-89970000017", "identifier.1.value", "89970000017"},
		{Practitioner, "adeli-999000017", "identifier.0.value", "0999000017"},
		{Practitioner, "adeli-999000017", "identifier.1", nil},
		{Practitioner, "rpps-89970000017", "name.0.family", "HADDAD"},
		{Practitioner, "rpps-89970000017", "name.0.given.0", "Karim"},
		{Practitioner, "rpps-89970000017", "qualification.0.code.coding.0.code", "10"},
		{Practitioner, "rpps-89970000017", "qualification.0.code.coding.1.system", fhir.SystemCategory},
		{Practitioner, "rpps-89970000017", "qualification.1.code.coding.0.system", fhir.SystemSpecialty},
		{Practitioner, "rpps-89970000033", "qualification.0.code.text", "Métier nouveau"},
		{Practitioner, "rpps-89970000017", "telecom.0.value", "dr.haddad@medecin.mss.example"},
		{Practitioner, "rpps-89970000017", "telecom.0.rank", 1.0},
		{Practitioner, "rpps-89970000017", "telecom.0.extension.0.valueCoding.code", "MSSANTE"},
		{Practitioner, "rpps-89970000017", "telecom.0.extension.1.extension.0.valueCodeableConcept.coding.0.code", "PER"},
		{Practitioner, "rpps-89970000017", "telecom.1.value", "karim.haddad@ch.mss.example"},
		{PractitionerRole, "ro-1", "telecom.0.value", "karim.haddad@ch.mss.example"},
		{PractitionerRole, "ro-1", "telecom.1", nil},
		{PractitionerRole, "ro-2", "telecom", nil},
		{PractitionerRole, "ro-1", "practitioner.reference", "Practitioner/rpps-89970000017"},
		{PractitionerRole, "ro-1", "organization.reference", "Organization/finess-990000017"},
		{PractitionerRole, "ro-1", "specialty.0.coding.0.code", "SM54"},
		{PractitionerRole, "ro-1", "code.1.coding.0.code", "S"},
		{PractitionerRole, "ro-4", "code.0.text", "Métier nouveau"},
		{Organization, "finess-990000017", "partOf.reference", "Organization/finess-990000090"},
		{Organization, "finess-990000017", "identifier.0.value", "1990000017"},
		{Organization, "finess-990000017", "identifier.1.type.coding.0.code", "FINEG"},
		{Organization, "finess-990000090", "identifier.1.type.coding.0.code", "FINEJ"},
		{Organization, "finess-990000090", "type.0.coding.0.code", "LEGAL-ENTITY"},
		{Organization, "finess-990000017", "type.1.coding.0.code", "SA01"},
		{Organization, "finess-990000017", "telecom.0.system", "phone"},
		{Organization, "finess-990000017", "telecom.1.value", "urgences@ch.mss.example"},
		{Organization, "finess-990000017", "telecom.1.extension.1.extension.1.valueString", "Comptes rendus de passage"},
		{Organization, "finess-990000017", "telecom.1.extension.1.extension.2.valueString", "Urgences"},
		{Organization, "finess-990000017", "meta.lastUpdated", "2026-11-07T08:30:00.000Z"},
		{Organization, "finess-990000017", "address.0.line.0", "1 RUE DES LILAS"},
		{Organization, "finess-990000090", "telecom.0.extension.1.extension.1.valueString", "SANS Numéro"},
		{Organization, "siret-99000000000017", "alias.0", "Maison bleue"},
	} {
		if got := at(read(t, s, c.kind, c.id), c.path); got != c.want {
			t.Errorf("%s/%s %s: %v, want %v", c.kind, c.id, c.path, got, c.want)
		}
	}
}

// Paging shows every resource once, while editions change under it.
func TestPagingThroughSwaps(t *testing.T) {
	db := pgtest.DB(t)
	s := seed{t, db}
	var all, both []listing.Practitioner
	for i := range 500 {
		p := practitioner(fmt.Sprintf("8997%07d", i), "Dupont", fmt.Sprintf("Prénom %d", i))
		all = append(all, p)
		if i%7 != 0 {
			both = append(both, p)
		}
	}
	s.practitioners("a", all...)
	s.practitioners("b", both...)
	s.practitioners("own", all[3], all[491])
	store := New(db, "")
	seen := map[string]int{}
	after := ""
	for n := 0; ; n++ {
		page, err := store.Search(t.Context(), fhir.Query{Type: Practitioner, Count: 23}, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Resources {
			seen[r.ID]++
		}
		if after = page.After; after == "" {
			break
		}
		flip(t, db, []string{"a", "b"}[n%2])
	}
	for _, p := range both {
		if id := listing.PractitionerID("8", p.PP); seen[id] != 1 {
			t.Errorf("%s, in both editions, was shown %d times", id, seen[id])
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was shown %d times", id, n)
		}
	}
}

// What is sought is never part of a statement.
func TestNoValueIsInAStatement(t *testing.T) {
	s, _ := town(t)
	for _, evil := range []string{"'; DROP TABLE practitioner_own; --", "$1", "\\", "%", "t.", "zz_part", "abc' OR 'a'='a"} {
		for _, spec := range Catalogue() {
			for _, p := range spec.Params {
				if p.Kind == fhir.Date {
					continue
				}
				q := fhir.Query{Type: spec.Type, Count: 5, Filters: []fhir.Filter{{Param: p.Name, Values: []fhir.Value{{Text: evil, Code: evil, System: evil, HasSystem: true}}}}}
				page, err := s.Search(t.Context(), q, "")
				if err != nil || len(page.Resources) != 0 {
					t.Errorf("%s %s %q: %v %v", spec.Type, p.Name, evil, ids(page), err)
				}
			}
		}
	}
}

// A hospital is shown with its own BAL: those of the people who work there, thousands,
// are not even read.
func TestAHospitalsPeopleAreNotReadWithIt(t *testing.T) {
	db := pgtest.DB(t)
	s := seed{t, db}
	const place = "990000017"
	people := []listing.Listing{{Kind: health.ORG, Address: "urgences@ch.example", PlaceType: "FINESS", Place: place},
		{Kind: health.PER, Address: "sans.numero@ch.example", PlaceType: "FINESS", Place: place}}
	for i := range 20 {
		people = append(people, listing.Listing{Kind: health.PER, Address: fmt.Sprintf("p%d@ch.example", i), PPType: "8", PP: fmt.Sprintf("8997%07d", i),
			PlaceType: "FINESS", Place: place})
	}
	s.listings("a", people...)
	v := &view{part: "a"}
	for _, c := range []struct {
		people, places []string
		want           int
	}{{[]string{}, []string{place}, 2}, {[]string{"89970000003"}, []string{}, 1}, {[]string{"89970000003"}, []string{place}, 3}} {
		rs, err := db.Query(t.Context(), v.of(mailboxes), c.people, c.places)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := pgx.CollectRows(rs, scanMailbox); err != nil || len(found) != c.want {
			t.Errorf("%v: %d, %v", c, len(found), err)
		}
	}
}
