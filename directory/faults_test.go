package directory

import (
	"context"
	"testing"
	"time"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// Faults that were found, each with its test.

func TestAFirstPublicationThatWasCutOffGoesOn(t *testing.T) {
	d, db := open(t)
	_, pharmacy, _ := seed(t, d, db)
	before := own(t, db)
	for _, sql := range []string{`DELETE FROM listing_own WHERE bal_id = $1`, `DELETE FROM bal_shown WHERE bal_id = $1`} {
		if _, err := db.Exec(t.Context(), sql, pharmacy); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.EnsurePublished(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	same(t, "published", own(t, db), before)
}

func TestReopeningDoesNotPassByTheTerms(t *testing.T) {
	d, db := open(t)
	seed(t, d, db)
	h := holder(t, db)
	var b id.BAL
	move := func(to health.BALState) error {
		return db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.MoveTx(ctx, tx, b, Move{To: to, Cause: CauseOperator, Author: command, At: noon})
			return err
		})
	}
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) (err error) {
		b, err = d.CreateBALTx(ctx, tx, NewBAL{Address: mail.MustAddress("claire2@mss-a.example"), Kind: health.PER, Holder: h, Person: 1, At: noon})
		return err
	})
	if err := move(health.Closed); err != nil {
		t.Fatal(err)
	}
	if err := move(health.Active); fault.CodeOf(err) != "terms-not-accepted" {
		t.Errorf("open without terms: %v", err)
	}
	if err := d.AcceptTerms(t.Context(), b, "1", noon, 3); err != nil {
		t.Fatal(err)
	}
	if err := move(health.Active); err != nil {
		t.Errorf("with terms: %v", err)
	}
}

func TestWhatTheOperatorSuspendsDoesNotComeBackByItself(t *testing.T) {
	for name, back := range map[string]func(d *Directory, db *pg.DB, b id.BAL) error{
		CauseInactive: func(d *Directory, _ *pg.DB, b id.BAL) error {
			return d.Touch(context.Background(), b, noon.AddDate(2, 0, 0))
		},
		CauseSituation: func(d *Directory, db *pg.DB, _ id.BAL) error {
			return db.InTx(context.Background(), func(ctx context.Context, tx *pg.Tx) error { return d.BackTx(ctx, tx, 1, noon.AddDate(2, 0, 0)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, db := open(t)
			doctor, _, _ := seed(t, d, db)
			inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
				if name == CauseSituation {
					return d.EndedTx(ctx, tx, 1, noon)
				}
				_, err := d.MoveTx(ctx, tx, doctor, Move{To: health.Suspended, Cause: CauseInactive, Author: Author{Means: ByJob}, At: noon})
				return err
			})
			acts(d).take()
			inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
				moved, err := d.MoveTx(ctx, tx, doctor, Move{To: health.Suspended, Cause: "enquete", Author: command, At: noon.Add(time.Hour)})
				if !moved {
					t.Error("the operator is told that there was nothing to do")
				}
				return err
			})
			same(t, "traces", acts(d).take(), []string{"1 set-state-suspended bal:1 enquete"})
			if err := back(d, db, doctor); err != nil {
				t.Fatal(err)
			}
			b, err := d.ByID(t.Context(), db, doctor)
			if err != nil || b.State != health.Suspended || b.StateCause != "enquete" || !b.StateAt.Equal(noon) {
				t.Errorf("%s, %s, %v", b.State, b.StateCause, err)
			}
		})
	}
}

func TestTwoWhoMakeTheSameStructureHaveOne(t *testing.T) {
	d, db := open(t)
	begun, done := make(chan struct{}), make(chan error)
	s := Structure{FINESS: "990000019", Name: "Cabinet"}
	var first, second StructureID
	go func() {
		<-begun
		done <- db.InTx(context.Background(), func(ctx context.Context, tx *pg.Tx) (err error) {
			second, err = d.CreateStructureTx(ctx, tx, s)
			return err
		})
	}()
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) (err error) {
		first, err = d.CreateStructureTx(ctx, tx, s)
		close(begun)
		time.Sleep(200 * time.Millisecond) // the other is at it
		return err
	})
	if err := <-done; err != nil || first != second {
		t.Errorf("structures %d and %d, %v", first, second, err)
	}
}

func TestNobodyIsSuspendedBeforeTheDayHeWasTold(t *testing.T) {
	c := &Calendar{}
	for since := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC); since.Year() < 2028; since = since.AddDate(0, 0, 1) {
		told := c.suspendedOn(since)
		if day, _ := c.suspend(told.AddDate(0, 0, -1)); !since.After(day) {
			t.Errorf("unused since %s: told %s, suspended the day before", since.Format(time.DateOnly), told.Format(time.DateOnly))
		}
		if day, _ := c.suspend(told.AddDate(0, 0, 4)); since.After(day) {
			t.Errorf("unused since %s: told %s, not suspended yet four days later", since.Format(time.DateOnly), told.Format(time.DateOnly))
		}
	}
}

// A domain that was another operator's comes to us: what the last import says of its
// addresses is shown no more once the register has them, the liste rouge above all.
func TestADomainThatComesToUsShowsTheListeRougeNowhere(t *testing.T) {
	d, db := open(t)
	seed(t, d, db)
	for _, sql := range []string{
		`UPDATE national_part SET part = 'b'`,
		`INSERT INTO listing_b SELECT (jsonb_populate_record(l, jsonb_build_object('bal_id', NULL, 'f_address', 'secret@mss-a.example', 'address', 'secret@mss-a.example'))).*
		 FROM listing_own l WHERE bal_id = 1`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	h := holder(t, db)
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
		_, err := d.CreateBALTx(ctx, tx, NewBAL{Address: mail.MustAddress("secret@mss-a.example"), Kind: health.PER, State: health.Active, Holder: h,
			Person: 1, Unlisted: true, TermsVersion: "1", At: noon})
		return err
	})
	same(t, "shown", column(t, db, `SELECT address FROM listing_b`), nil)
}

// What an import changes of somebody's situations leaves a trace, as all that it does.
func TestSituationsThatMoveAreTraced(t *testing.T) {
	d, db := open(t)
	seed(t, d, db)
	acts(d).take()
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
		if err := d.MovedTx(ctx, tx, nil, noon); err != nil { // the lock only
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE situation SET ended_at = $1`, noon); err != nil {
			return err
		}
		return d.MovedTx(ctx, tx, []int64{1}, noon)
	})
	same(t, "traces", acts(d).take(), []string{"1 move-situations person:1"})
	same(t, "the place that he left", column(t, db, `SELECT structure FROM listing_own WHERE kind = 'PER'`), []string{""})
}
