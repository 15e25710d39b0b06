package resource

import (
	"context"
	"strings"
	"testing"

	"pli/codec/fhir"
	"pli/directory"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mail"
)

type noTraces struct{}

func (noTraces) TraceTx(context.Context, *pg.Tx, ...directory.Act) error { return nil }

type plainIndex struct{}

func (plainIndex) Key(domain string, parts ...string) []byte {
	return []byte(domain + "/" + strings.Join(parts, "/"))
}

// everything is all that anybody can be told: every resource, and who is found by each
// address.
func everything(t *testing.T, s *Store, addresses ...string) string {
	t.Helper()
	var out strings.Builder
	for _, kind := range []string{Practitioner, PractitionerRole, Organization} {
		for _, r := range ask(t, s, kind, "_count=200").Resources {
			out.Write(r.JSON)
		}
		for _, a := range addresses {
			for _, q := range []string{"mailbox-mss=" + a, "mailbox-mss:exact=" + a, "mailbox-mss:contains=" + a[:5]} {
				if found := ids(ask(t, s, kind, q)); found != "" {
					out.WriteString(" found " + a + " " + found)
				}
			}
		}
	}
	return out.String()
}

// What the register does not publish is in no answer: patients, the liste rouge, who
// answers for a BAL; and what it takes back is gone at once.
func TestTheRegisterDecidesWhatIsShown(t *testing.T) {
	db := pgtest.DB(t)
	d := directory.New(db, plainIndex{}, directory.Config{Domains: []string{"mss-a.example"}, PatientDomain: "patient.mss-a.example"})
	d.Plug(directory.Plugs{Traces: noTraces{}})
	holder := func() (h id.Holder) {
		if err := db.QueryRow(t.Context(), `INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id`).Scan(&h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	const (
		shown, hidden     = "ouverte@mss-a.example", "cachee@mss-a.example"
		counter, basement = "comptoir@mss-a.example", "reserve@mss-a.example"
		patient           = "279035121518989@patient.mss-a.example"
	)
	bals := map[string]id.BAL{}
	err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		place, err := d.CreateStructureTx(ctx, tx, directory.Structure{FINESS: "990000017", Name: "PHARMACIE FICTIVE", Sector: "SA33", City: "Lyon", PostalCode: "69003"})
		if err != nil {
			return err
		}
		person, err := d.CreatePersonTx(ctx, tx, directory.Person{RPPS: "89970000017", FamilyName: "ORMELUNE", GivenName: "Paul", Profession: "21"})
		if err != nil {
			return err
		}
		if err := d.CreateSituationTx(ctx, tx, person, place, "L", day); err != nil {
			return err
		}
		for _, n := range []directory.NewBAL{
			{Address: mail.MustAddress(shown), Kind: health.PER, Person: person},
			{Address: mail.MustAddress(hidden), Kind: health.PER, Person: person, Unlisted: true},
			{Address: mail.MustAddress(counter), Kind: health.ORG, Structure: place, Service: "Comptoir", Responsible: "Madame Responsable"},
			{Address: mail.MustAddress(basement), Kind: health.ORG, Structure: place, Unlisted: true, Service: "Sous-sol"},
			{Address: mail.MustAddress(patient), Kind: health.Patient},
		} {
			n.State, n.Holder, n.TermsVersion, n.At = health.Active, holder(), "1", day
			b, err := d.CreateBALTx(ctx, tx, n)
			if err != nil {
				return err
			}
			bals[n.Address.Reveal()] = b
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := New(db, "")
	all := []string{shown, hidden, counter, basement, patient}
	told := everything(t, s, all...)
	for _, word := range []string{"ORMELUNE", shown, counter, "PHARMACIE FICTIVE", "found " + shown, "Comptoir"} {
		if !strings.Contains(told, word) {
			t.Errorf("%q is not told", word)
		}
	}
	for _, word := range []string{hidden, basement, "Sous-sol", "279035121518989", "Responsable", "listeRouge", "responsible", "found " + patient} {
		if strings.Contains(told, word) {
			t.Errorf("%q is told", word)
		}
	}
	for _, raw := range []string{"mailbox-mss:contains=patient", "mailbox-mss-type=PATIENT", "mailbox-mss=2790"} {
		for _, kind := range []string{Practitioner, PractitionerRole, Organization} {
			if found := ids(ask(t, s, kind, raw)); found != "" {
				t.Errorf("%s?%s: %s", kind, raw, found)
			}
		}
	}
	yes := true
	if err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		_, err := d.UpdateBALTx(ctx, tx, bals[shown], directory.Changes{Unlisted: &yes}, directory.Author{Means: directory.ByCommand}, day)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if told := everything(t, s, all...); strings.Contains(told, shown) || !strings.Contains(told, counter) {
		t.Errorf("after the BAL went on the liste rouge: %s", told)
	}
	q := fhir.Query{Type: Practitioner, Count: 5, Filters: []fhir.Filter{{Param: "mailbox-mss", Modifier: fhir.Missing}}}
	if page, err := s.Search(t.Context(), q, ""); err != nil || len(page.Resources) != 0 {
		t.Errorf("somebody has a BAL: %v %v", ids(page), err)
	}
}
