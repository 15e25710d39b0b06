package national

import (
	"context"
	"testing"
	"time"

	"pli/codec/extraction"
	"pli/fault"
	"pli/internal/invent"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

// Faults that were found, each with its test.

// A dot after a domain makes another of it: neither a patient nor one of ours is let in
// by it, nor a patient under a domain that the configuration does not name.
func TestADotAfterADomainLetsNobodyIn(t *testing.T) {
	im := house(t)
	var lines []extraction.Correspondance
	for range 300 { // so few are refused that the file is not
		lines = append(lines, per("a"+time.Duration(len(lines)).String()+"@medecin.example", rppsOf(len(lines)), "DURAND", "Anne", "990000019"))
	}
	lines = append(lines, per("279035121518989@patient.mssante.fr.", rppsOf(900), "DURAND", "Anne", "990000019"),
		per("279035121518989@usagers.example", rppsOf(902), "DURAND", "Anne", "990000019"),
		per("secret@MSS-A.example.", rppsOf(901), "DURAND", "Anne", "990000019"))
	r := doImport(t, im, extraction.Correspondances, bals(t, 0, lines...))
	if r.Refused != 3 || r.Kept != 300 {
		t.Errorf("%d refused, %d kept", r.Refused, r.Kept)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM listing_{p} WHERE address LIKE '%.' OR address LIKE '%patient%' OR address LIKE '2790%'`); n != 0 {
		t.Errorf("%d let in", n)
	}
}

// A file dated years ahead does not keep out those that follow.
func TestAFileOfTheFutureKeepsNoneOut(t *testing.T) {
	im := house(t)
	im.Now = func() time.Time { return day0.AddDate(0, 0, 3) }
	r := doImport(t, im, extraction.Correspondances, bals(t, 2000, per("a@medecin.example", rppsOf(0), "DURAND", "Anne", "990000019")))
	if !r.ExtractedAt.IsZero() {
		t.Errorf("extracted at %s", r.ExtractedAt)
	}
	doImport(t, im, extraction.Correspondances, bals(t, 2, per("a@medecin.example", rppsOf(0), "DURAND", "Anne", "990000019")))
	doImport(t, im, extraction.Correspondances, bals(t, 3000, per("a@medecin.example", rppsOf(0), "DURAND", "Annie", "990000019"))) // undated, so to speak
	_, err := im.Import(t.Context(), extraction.Correspondances, bals(t, 1, per("a@medecin.example", rppsOf(0), "DURAND", "Anna", "990000019")), Options{})
	if fault.CodeOf(err) != "older" {
		t.Errorf("an older file: %v", err)
	}
}

// A BAL of ours that came while an activity file was read is not carried over as another's.
func TestABALThatCameDuringTheImportIsNotCarriedOver(t *testing.T) {
	im := house(t)
	doImport(t, im, extraction.Correspondances, bals(t, 0, per("secret@nouveau.example", rppsOf(0), "DURAND", "Anne", "990000019")))
	im.step = func(at string) {
		if at != "staged" {
			return
		}
		for _, sql := range []string{
			`INSERT INTO seal_holder (purpose) VALUES ('bal')`,
			`INSERT INTO bal (address_key, address, kind, state, holder_id, unlisted) SELECT 'k', 'secret@nouveau.example', 'PER', 'active', max(id), true FROM seal_holder`,
		} {
			if _, err := im.DB.Exec(t.Context(), sql); err != nil {
				t.Error(err)
			}
		}
	}
	doImport(t, im, extraction.Activities, exercisesFile(t, 1, extraction.Activity{PPType: "8", PP: rppsOf(1), FamilyName: "ROY", Profession: "10"}))
	if n := one[int64](t, im, `SELECT count(*) FROM listing_{p}`); n != 0 {
		t.Errorf("%d carried over", n)
	}
}

// The least that the configuration lets a pool have is enough: an import that wants one
// more connection than there are would wait for itself, and mail with it.
func TestAnImportFitsInTheLeastPool(t *testing.T) {
	db, err := pg.Open(t.Context(), pg.Config{DSN: pgtest.DSN(t), MaxConns: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	im := on(db)
	most := int32(0)
	im.step = func(string) { most = max(most, db.Pool().Stat().AcquiredConns()) }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, d := range []extraction.Dataset{extraction.Correspondances, extraction.Activities, extraction.Correspondances} {
		path := published(t, d, invent.Options{Seed: 1, Size: 300})
		if _, err := im.Import(ctx, d, path, Options{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if most > 8 {
		t.Errorf("%d connections at once", most)
	}
}
