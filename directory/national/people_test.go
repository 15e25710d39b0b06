package national

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pli/codec/extraction"
	"pli/directory"
	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

type noIndex struct{}

func (noIndex) Key(domain string, parts ...string) []byte { return fmt.Append(nil, domain, parts) }

type traces struct{ acts []directory.Act }

func (r *traces) TraceTx(_ context.Context, _ *pg.Tx, acts ...directory.Act) error {
	r.acts = append(r.acts, acts...)
	return nil
}

// staff is a house with n doctors, each with a BAL and a situation in two practices.
func staff(t *testing.T, n int) (*Importer, *traces, []extraction.Activity) {
	t.Helper()
	im := house(t)
	d := directory.New(im.DB, noIndex{}, directory.Config{Domains: []string{"mss-a.example"}})
	kept := &traces{}
	d.Plug(directory.Plugs{Traces: kept})
	im.Ended = d
	var lines []extraction.Activity
	err := im.DB.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		var places [2]directory.StructureID
		for i := range places {
			var err error
			if places[i], err = d.CreateStructureTx(ctx, tx, directory.Structure{FINESS: health.FINESS(finess(i)), Name: fmt.Sprint("Cabinet ", i)}); err != nil {
				return err
			}
		}
		for i := range n {
			rpps := rppsOf(i)
			p, err := d.CreatePersonTx(ctx, tx, directory.Person{RPPS: health.RPPS(rpps), FamilyName: fmt.Sprint("NOM", i), GivenName: "Léa", Profession: "10"})
			if err != nil {
				return err
			}
			for k, place := range places {
				if err := d.CreateSituationTx(ctx, tx, p, place, "L", day0); err != nil {
					return err
				}
				lines = append(lines, act(rpps, fmt.Sprint("NOM", i), "Léa", finess(k)))
			}
			var h id.Holder
			if err := tx.QueryRow(ctx, `INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id`).Scan(&h); err != nil {
				return err
			}
			a, err := mail.ParseAddress(fmt.Sprintf("p%d@mss-a.example", i))
			if err != nil {
				return err
			}
			if _, err := d.CreateBALTx(ctx, tx, directory.NewBAL{Address: a, Kind: health.PER, State: health.Active, Holder: h, Person: p, At: day0}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return im, kept, lines
}

func rppsOf(i int) string { return fmt.Sprintf("8997%06d%d", i, luhn(fmt.Sprintf("8997%06d", i))) }
func finess(i int) string { return fmt.Sprintf("9900000%d%d", i, luhn(fmt.Sprintf("9900000%d", i))) }

// luhn is the digit that makes a number pass.
func luhn(s string) int {
	sum := 0
	for i := range s {
		n := int(s[len(s)-1-i] - '0')
		if i%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return (10 - sum%10) % 10
}

func states(t *testing.T, im *Importer) map[string]int64 {
	t.Helper()
	type row struct {
		State string
		N     int64
	}
	out := map[string]int64{}
	for _, r := range rowsOf[row](t, im, `SELECT state, count(*) FROM bal GROUP BY state`) {
		out[r.State] = r.N
	}
	return out
}

// A professional whose exercise ends in the nightly import keeps a readable mailbox and
// nothing else (features.md DIR-07); one who comes back has it all again.
func TestAnExerciseThatEnds(t *testing.T) {
	im, kept, lines := staff(t, 30)
	stranger := lines[:len(lines)-2] // the last one is not in the file, and never was
	r := doImport(t, im, extraction.Activities, exercisesFile(t, 0, stranger...))
	if r.Ended+r.Restored != 0 || r.Unknown != 1 {
		t.Fatalf("%+v", r)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM person WHERE seen_at IS NOT NULL`); n != 29 {
		t.Fatal(n)
	}

	// The first one is struck off; the second leaves his second practice.
	r, err := im.Import(t.Context(), extraction.Activities, exercisesFile(t, 1, append(stranger[2:3:3], stranger[4:]...)...), Options{MaxLoss: 0.2})
	if err != nil || r.Ended != 1 || r.Unknown != 1 || r.Gone != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := states(t, im); got["suspended"] != 1 || got["active"] != 29 {
		t.Fatal(got)
	}
	if p := one[string](t, im, `SELECT rpps FROM person WHERE ended_at IS NOT NULL`); p != rppsOf(0) {
		t.Fatal(p)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM situation s JOIN person p ON p.id = s.person_id WHERE p.rpps = $1 AND s.ended_at IS NOT NULL`, rppsOf(1)); n != 1 {
		t.Fatal(n)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM situation WHERE ended_at IS NOT NULL`); n != 3 {
		t.Fatal(n)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM listing_own`); n != 29 {
		t.Fatalf("%d are shown", n)
	}
	if len(kept.acts) == 0 {
		t.Fatal("not traced")
	}

	// The other file has nothing to say about that.
	doImport(t, im, extraction.Correspondances, bals(t, 1, per("karim.haddad@medecin.example", "89970000017", "HADDAD", "Karim", "990000019")))
	if got := states(t, im); got["suspended"] != 1 {
		t.Fatal(got)
	}

	r = doImport(t, im, extraction.Activities, exercisesFile(t, 2, lines...))
	if r.Ended != 0 || r.Restored != 1 || r.Unknown != 0 {
		t.Fatalf("%+v", r)
	}
	if got := states(t, im); got["active"] != 30 {
		t.Fatal(got)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM situation WHERE ended_at IS NOT NULL OR gone_at IS NOT NULL`); n != 0 {
		t.Fatal(n)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM national_ended`); n != 0 {
		t.Fatal(n)
	}
}

// Somebody whom the operator ended stays ended, whatever the file says.
func TestTheImportBringsBackOnlyThoseItEnded(t *testing.T) {
	im, _, lines := staff(t, 3)
	doImport(t, im, extraction.Activities, exercisesFile(t, 0, lines...))
	if _, err := im.DB.Exec(t.Context(), `UPDATE person SET ended_at = $1 WHERE rpps = $2`, time.Now(), rppsOf(0)); err != nil {
		t.Fatal(err)
	}
	r := doImport(t, im, extraction.Activities, exercisesFile(t, 1, lines...))
	if r.Restored != 0 {
		t.Fatalf("%+v", r)
	}
}

func TestEndingsByTheDozenAreAskedFor(t *testing.T) {
	im, _, lines := staff(t, 40)
	others := make([]extraction.Activity, 2000)
	for i := range others {
		others[i] = act(rppsOf(1000+i), "AUTRE", "Zoé", finess(3))
	}
	doImport(t, im, extraction.Activities, exercisesFile(t, 0, append(lines, others...)...))
	path := exercisesFile(t, 1, append(lines[20:len(lines):len(lines)], others...)...)
	r, err := im.Import(t.Context(), extraction.Activities, path, Options{})
	if !fault.Is(err, fault.InvalidContent) || r.State != Refused || r.Cause != "mass-endings" {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, edition := part(t, im); edition != 1 || states(t, im)["active"] != 40 {
		t.Fatal("something changed")
	}
	if r, err = im.Import(t.Context(), extraction.Activities, path, Options{Force: true}); err != nil || r.Ended != 10 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := states(t, im); got["suspended"] != 10 {
		t.Fatal(got)
	}
}
