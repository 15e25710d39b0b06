package directory

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

var command = Author{Means: ByCommand}

func acts(d *Directory) *recorder { return d.plugs.Traces.(*recorder) }

// told keeps what the outlet and the sessions were told.
type toldRecorder struct {
	changed, ended []id.BAL
}

func (r *toldRecorder) ChangedTx(_ context.Context, _ *pg.Tx, b id.BAL) error {
	r.changed = append(r.changed, b)
	return nil
}

func (r *toldRecorder) EndSessionsTx(_ context.Context, _ *pg.Tx, b id.BAL, _ time.Time) error {
	r.ended = append(r.ended, b)
	return nil
}

func column(t testing.TB, q pg.Querier, sql string, args ...any) []string {
	t.Helper()
	rows, err := q.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestMoves(t *testing.T) {
	d, db := open(t)
	doctor, pharmacy, patient := seed(t, d, db)
	h := holder(t, db)
	var waiting id.BAL
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) (err error) {
		waiting, err = d.CreateBALTx(ctx, tx, NewBAL{Address: mail.MustAddress("attente@mss-a.example"), Kind: health.ORG, Holder: h, Structure: 2, At: noon})
		return err
	})
	told := &toldRecorder{}
	d.Plug(Plugs{Outlet: told, Sessions: told})
	for i, s := range []struct {
		bal   id.BAL
		to    health.BALState
		cause string
		code  string // of the refusal; "" when it moves
		stays bool
		ends  bool // sessions
	}{
		{bal: doctor, to: health.Active, cause: "operator", stays: true},
		{bal: doctor, to: health.Pending, cause: "operator", code: "move-not-allowed"},
		{bal: doctor, to: health.Purged, cause: "operator", code: "close-first"},
		{bal: doctor, to: health.Suspended, cause: "", code: "cause"},
		{bal: doctor, to: health.Suspended, cause: "Départ en retraite", code: "cause"},
		{bal: doctor, to: health.Suspended, cause: strings.Repeat("a", 41), code: "cause"},
		{bal: doctor, to: health.Suspended, cause: "conge-long", ends: true},
		{bal: doctor, to: health.Purged, cause: "operator", code: "close-first"},
		{bal: doctor, to: health.Active, cause: "operator"},
		{bal: doctor, to: health.Closed, cause: CauseHolder, ends: true},
		{bal: doctor, to: health.Suspended, cause: "operator", code: "move-not-allowed"},
		{bal: doctor, to: health.Active, cause: CauseReopened},
		{bal: doctor, to: health.Closed, cause: CauseHolder, ends: true},
		{bal: doctor, to: health.Purged, cause: "operator", ends: true},
		{bal: doctor, to: health.Active, cause: "operator", code: "purged"},
		{bal: doctor, to: health.Closed, cause: "operator", code: "purged"},
		{bal: waiting, to: health.Active, cause: "operator", code: "terms-not-accepted"},
		{bal: waiting, to: health.Suspended, cause: "operator", code: "move-not-allowed"},
		{bal: waiting, to: health.Closed, cause: "operator", ends: true},
		{bal: pharmacy, to: health.Suspended, cause: "operator", ends: true},
		{bal: patient, to: health.Suspended, cause: "operator", ends: true},
		{bal: patient, to: health.Active, cause: "operator"},
		{bal: 9999, to: health.Active, cause: "operator", code: "unknown-bal"},
	} {
		acts(d).take()
		*told = toldRecorder{}
		var moved bool
		err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) (err error) {
			moved, err = d.MoveTx(ctx, tx, s.bal, Move{To: s.to, Cause: s.cause, Author: command, At: noon.Add(time.Duration(i) * time.Hour)})
			return err
		})
		if fault.CodeOf(err) != s.code || moved != (s.code == "" && !s.stays) {
			t.Fatalf("step %d to %s: moved %v, %v", i, s.to, moved, err)
		}
		if s.code != "" && fault.TextOf(err) == fault.KindOf(err).Text() {
			t.Errorf("step %d: the refusal does not say what to do", i)
		}
		traces := acts(d).take()
		if !moved {
			same(t, fmt.Sprintf("step %d: traces", i), traces, nil)
			continue
		}
		same(t, fmt.Sprintf("step %d: traces", i), traces, []string{fmt.Sprintf("%d set-state-%s bal:%d %s", s.bal, s.to, s.bal, s.cause)})
		if (len(told.ended) > 0) != s.ends {
			t.Errorf("step %d: sessions ended: %v", i, told.ended)
		}
		if professional := s.bal != patient; (len(told.changed) > 0) != professional {
			t.Errorf("step %d: the outlet was told of %v", i, told.changed)
		}
	}
	b, err := d.ByID(t.Context(), db, doctor)
	if err != nil || b.State != health.Purged || b.Address.IsZero() || b.DisplayName != "" {
		t.Errorf("a tombstone keeps the address and nothing else: %+v, %v", b.State, err)
	}
}

func TestReplacement(t *testing.T) {
	d, db := open(t)
	doctor, _, _ := seed(t, d, db)
	next := mail.MustAddress("dr.suivant@mss-b.example")
	move := func(to health.BALState) BAL {
		inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
			m := Move{To: to, Cause: CauseOperator, Author: command, At: noon}
			if to == health.Closed {
				m.Replacement = next
			}
			_, err := d.MoveTx(ctx, tx, doctor, m)
			return err
		})
		b, err := d.ByID(t.Context(), db, doctor)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if b := move(health.Closed); b.Replacement != next || b.StateCause != CauseOperator {
		t.Errorf("closed: %v, %q", b.Replacement == next, b.StateCause)
	}
	if b := move(health.Active); !b.Replacement.IsZero() {
		t.Error("an active BAL is not replaced")
	}
	move(health.Closed)
	if b := move(health.Purged); b.Replacement != next {
		t.Error("a purged BAL forgets who took its place")
	}
}

func TestWithoutTracesNothingChanges(t *testing.T) {
	d, db := open(t)
	doctor, _, _ := seed(t, d, db)
	d.plugs.Traces = nil
	name := "autre"
	for what, f := range map[string]func(ctx context.Context, tx *pg.Tx) error{
		"move": func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.MoveTx(ctx, tx, doctor, Move{To: health.Suspended, Cause: CauseOperator, At: noon})
			return err
		},
		"update": func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.UpdateBALTx(ctx, tx, doctor, Changes{DisplayName: &name}, command, noon)
			return err
		},
		"person": func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.UpdatePersonTx(ctx, tx, 1, PersonChanges{FamilyName: &name}, command, noon)
			return err
		},
		"structure": func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.UpdateStructureTx(ctx, tx, 1, StructureChanges{Name: &name}, command, noon)
			return err
		},
		"terms": func(ctx context.Context, tx *pg.Tx) error {
			return d.AcceptTermsTx(ctx, tx, doctor, "9", command, noon)
		},
		"ended": func(ctx context.Context, tx *pg.Tx) error { return d.EndedTx(ctx, tx, 1, noon) },
	} {
		if err := db.InTx(t.Context(), f); fault.CodeOf(err) != "no-traces" {
			t.Errorf("%s: %v", what, err)
		}
	}
	same(t, "the register", column(t, db, `SELECT state || display_name || cgu_version FROM bal WHERE id = $1`, doctor), []string{"active1"})
}

func TestTermsOpenABAL(t *testing.T) {
	d, db := open(t)
	doctor, _, _ := seed(t, d, db)
	h := holder(t, db)
	var b id.BAL
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) (err error) {
		b, err = d.CreateBALTx(ctx, tx, NewBAL{Address: mail.MustAddress("claire2@mss-a.example"), Kind: health.PER, Holder: h, Person: 1, At: noon})
		return err
	})
	if pending, err := d.TermsPending(t.Context(), b); err != nil || !pending {
		t.Fatalf("pending %v, %v", pending, err)
	}
	if _, err := d.TermsPending(t.Context(), 9999); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown BAL: %v", err)
	}
	acts(d).take()
	for range 2 { // again is fine
		if err := d.AcceptTerms(t.Context(), b, "2026-11", noon, 5); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "traces", acts(d).take(), []string{fmt.Sprintf("%d accept-terms bal:%d", b, b), fmt.Sprintf("%d set-state-active bal:%d terms-accepted", b, b)})
	r, err := d.ByID(t.Context(), db, b)
	if err != nil || r.State != health.Active || r.TermsVersion != "2026-11" || r.Rank != 2 || !r.Published() {
		t.Errorf("state %s, rank %d, %v", r.State, r.Rank, err)
	}
	if err := d.AcceptTerms(t.Context(), doctor, "2027-01", noon, 5); err != nil { // a later edition
		t.Error(err)
	}
	if err := d.AcceptTerms(t.Context(), 9999, "1", noon, 5); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown BAL: %v", err)
	}
}

func TestWhatIsShown(t *testing.T) {
	d, db := open(t)
	doctor, pharmacy, _ := seed(t, d, db)
	same(t, "listings", column(t, db, `SELECT concat_ws('|', bal_id, kind, address, pp_type, pp, place_type, place, family_name, profession_label,
		display_name, structure, trade_name, city, department, rank, open_to_patients, f_name) FROM listing_own ORDER BY bal_id`), []string{
		fmt.Sprintf("%d|PER|claire.aubepine@mss-a.example|8|10000023084|FINESS|690781810|Aubépine|Médecin||SCM DES LILAS|Cabinet des Lilas|Lyon||1|f|aubepine claire", doctor),
		fmt.Sprintf("%d|ORG|pharmacie.pont@mss-a.example|||FINESS|690000001|||Comptoir|Pharmacie du Pont||Lyon||1|t|comptoir", pharmacy),
	})
	same(t, "practitioners", column(t, db, `SELECT id || '|' || family_name FROM practitioner_own`), []string{"rpps-10000023084|Aubépine"})
	same(t, "organizations", column(t, db, `SELECT id FROM organization_own ORDER BY id`), []string{"finess-690000001", "finess-690781810"})
	same(t, "roles", column(t, db, `SELECT practitioner || '|' || organization || '|' || mode_label FROM role_own`),
		[]string{"rpps-10000023084|finess-690781810|Libéral, indépendant, artisan, commerçant"})

	name, know, page, zip := "Églantine", "SM04", "Nous sommes…\nici.", "97110"
	acts(d).take()
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
		fields, err := d.UpdatePersonTx(ctx, tx, 1, PersonChanges{FamilyName: &name, KnowHow: &know}, command, noon.Add(time.Hour))
		same(t, "person", fields, []string{"family-name", "know-how"})
		if err != nil {
			return err
		}
		fields, err = d.UpdateStructureTx(ctx, tx, 1, StructureChanges{Presentation: &page, PostalCode: &zip}, command, noon.Add(time.Hour))
		same(t, "structure", fields, []string{"postal-code", "presentation"})
		return err
	})
	same(t, "traces", acts(d).take(), []string{
		fmt.Sprintf("%d update-person person:1  family-name,know-how", doctor), "0 update-structure structure:1  postal-code,presentation"})
	same(t, "after", column(t, db, `SELECT concat_ws('|', l.family_name, l.know_how_label, l.department, l.since_at = $1, l.changed_at = $2, o.presentation, r.know_how_type)
		FROM listing_own l, organization_own o, role_own r WHERE l.bal_id = $3 AND o.id = 'finess-690781810'`, noon, noon.Add(time.Hour), doctor),
		[]string{"Églantine|Cardiologie et maladies vasculaires|971|t|t|" + page + "|S"})
	same(t, "words", column(t, db, `SELECT word FROM word_own WHERE word IN ('aubepine', 'eglantine')`), []string{"aubepine", "eglantine"}) // the address keeps the old name
}

func TestUpdates(t *testing.T) {
	d, db := open(t)
	doctor, pharmacy, patient := seed(t, d, db)
	str := func(s string) *string { return &s }
	yes, big, self := true, 2000, mail.MustAddress("pharmacie.pont@mss-a.example")
	quota := int64(5 << 30)
	for name, c := range map[string]struct {
		bal    id.BAL
		change Changes
		code   string
		fields []string
	}{
		"nothing":            {bal: pharmacy},
		"as it is":           {bal: pharmacy, change: Changes{DisplayName: str(" Comptoir ")}},
		"texts":              {bal: pharmacy, change: Changes{Hours: str("9 h – 19 h\r\nfermé le lundi"), Service: str("Comptoir")}, fields: []string{"service", "hours"}},
		"a line break":       {bal: pharmacy, change: Changes{Service: str("a\nb")}, code: "service"},
		"a control":          {bal: pharmacy, change: Changes{Description: str("a\x1b[2Jb")}, code: "description"},
		"too long":           {bal: pharmacy, change: Changes{Responsible: str(strings.Repeat("é", 201))}, code: "responsible"},
		"not text":           {bal: pharmacy, change: Changes{DisplayName: str("\xff")}, code: "display-name"},
		"rank 0":             {bal: pharmacy, change: Changes{Rank: new(int)}, code: "rank"},
		"rank 2000":          {bal: pharmacy, change: Changes{Rank: &big}, code: "rank"},
		"replaces itself":    {bal: pharmacy, change: Changes{Replacement: &self}, code: "replacement"},
		"a doctor's service": {bal: doctor, change: Changes{Service: str("Cardiologie")}, code: "kind"},
		"a patient's name":   {bal: patient, change: Changes{DisplayName: str("Jeanne")}, code: "patient"},
		"a patient's quota":  {bal: patient, change: Changes{QuotaSize: &quota}, fields: []string{"quota"}},
		"liste rouge":        {bal: doctor, change: Changes{Unlisted: &yes}, fields: []string{"unlisted"}},
		"nobody":             {bal: 9999, change: Changes{Unlisted: &yes}, code: "unknown-bal"},
	} {
		acts(d).take()
		var fields []string
		err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) (err error) {
			fields, err = d.UpdateBALTx(ctx, tx, c.bal, c.change, command, noon)
			return err
		})
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if c.code != "" && fault.TextOf(err) == fault.KindOf(err).Text() {
			t.Errorf("%s: the refusal does not say what to do", name)
		}
		same(t, name, fields, c.fields)
		var traces []string
		if len(c.fields) > 0 {
			traces = []string{fmt.Sprintf("%d update-bal bal:%d  %s", c.bal, c.bal, strings.Join(c.fields, ","))}
		}
		same(t, name+": traces", acts(d).take(), traces)
	}
}

func TestRanksOfAHolder(t *testing.T) {
	d, db := open(t)
	doctor, pharmacy, _ := seed(t, d, db)
	bals := []id.BAL{doctor}
	for i := range 3 {
		h := holder(t, db)
		inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
			b, err := d.CreateBALTx(ctx, tx, NewBAL{Address: mail.MustAddress(fmt.Sprintf("c%d@mss-a.example", i)), Kind: health.PER, State: health.Active,
				Holder: h, Person: 1, TermsVersion: "1", At: noon})
			bals = append(bals, b)
			return err
		})
	}
	ranks := func() string {
		return strings.Join(column(t, db, `SELECT rank::text FROM bal WHERE id = ANY($1) ORDER BY id`, numbersOf(bals)), " ")
	}
	if ranks() != "1 2 3 4" {
		t.Fatalf("made: %s", ranks())
	}
	for _, c := range []struct {
		bal  id.BAL
		rank int
		want string
	}{{bals[3], 1, "2 3 4 1"}, {bals[0], 9, "9 3 4 1"}, {bals[1], 4, "9 4 5 1"}, {bals[0], 2, "2 4 5 1"}, {bals[0], 2, "2 4 5 1"}} {
		inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.UpdateBALTx(ctx, tx, c.bal, Changes{Rank: &c.rank}, command, noon)
			return err
		})
		if ranks() != c.want {
			t.Errorf("BAL %d to rank %d: %s, want %s", c.bal, c.rank, ranks(), c.want)
		}
		same(t, "shown", column(t, db, `SELECT l.rank::text FROM listing_own l JOIN bal b ON b.id = l.bal_id WHERE l.rank <> b.rank`), nil)
	}
	if b, err := d.ByID(t.Context(), db, pharmacy); err != nil || b.Rank != 1 {
		t.Errorf("another holder's rank moved: %d, %v", b.Rank, err)
	}
}

func TestASituationEndsAndIsBack(t *testing.T) {
	d, db := open(t)
	doctor, _, _ := seed(t, d, db)
	h := []id.Holder{holder(t, db), holder(t, db), holder(t, db)}
	var cab, waiting id.BAL
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) (err error) {
		cab, err = d.CreateBALTx(ctx, tx, NewBAL{Address: mail.MustAddress("cabinet@mss-a.example"), Kind: health.CAB, State: health.Active, Holder: h[0], Person: 1, TermsVersion: "1", At: noon})
		if err != nil {
			return err
		}
		waiting, err = d.CreateBALTx(ctx, tx, NewBAL{Address: mail.MustAddress("attente@mss-a.example"), Kind: health.PER, Holder: h[1], Person: 1, At: noon})
		if err != nil {
			return err
		}
		_, err = d.MoveTx(ctx, tx, cab, Move{To: health.Suspended, Cause: "travaux", Author: command, At: noon})
		return err
	})
	told := &toldRecorder{}
	d.Plug(Plugs{Outlet: told, Sessions: told})
	acts(d).take()
	for range 2 { // again is fine
		inTx(t, db, func(ctx context.Context, tx *pg.Tx) error { return d.EndedTx(ctx, tx, 1, noon.Add(time.Hour)) })
	}
	same(t, "traces", acts(d).take(), []string{
		fmt.Sprintf("%d end-situations person:1", doctor), fmt.Sprintf("%d set-state-suspended bal:%d situation-ended", doctor, doctor),
		fmt.Sprintf("%d end-situations person:1", cab), fmt.Sprintf("%d end-situations person:1", waiting)})
	same(t, "sessions", told.ended, []id.BAL{doctor})
	same(t, "shown", column(t, db, `SELECT id FROM practitioner_own UNION ALL SELECT id FROM role_own UNION ALL SELECT address FROM listing_own WHERE kind <> 'ORG'`), nil)
	for what, f := range map[string]func(ctx context.Context, tx *pg.Tx) error{
		"resumed": func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.MoveTx(ctx, tx, doctor, Move{To: health.Active, Cause: CauseOperator, At: noon})
			return err
		},
		"made": func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.CreateBALTx(ctx, tx, NewBAL{Address: mail.MustAddress("neuf@mss-a.example"), Kind: health.PER, State: health.Active, Holder: h[2], Person: 1, TermsVersion: "1", At: noon})
			return err
		},
	} {
		if err := db.InTx(t.Context(), f); fault.CodeOf(err) != "situation-ended" {
			t.Errorf("%s for somebody who exercises no more: %v", what, err)
		}
	}
	if err := d.AcceptTerms(t.Context(), waiting, "1", noon, 3); err != nil {
		t.Error(err)
	}
	if b, _ := d.ByID(t.Context(), db, waiting); b.State != health.Pending {
		t.Errorf("terms opened the BAL of somebody who exercises no more: %s", b.State)
	}
	acts(d).take()
	for range 2 {
		inTx(t, db, func(ctx context.Context, tx *pg.Tx) error { return d.BackTx(ctx, tx, 1, noon.Add(48*time.Hour)) })
	}
	same(t, "states", column(t, db, `SELECT state FROM bal WHERE id = ANY($1) ORDER BY id`, numbersOf([]id.BAL{doctor, cab, waiting})), []string{"active", "suspended", "active"})
	same(t, "situations", column(t, db, `SELECT coalesce(ended_at::text, 'goes on') FROM situation`), []string{"goes on"})
	same(t, "shown again", column(t, db, `SELECT address FROM listing_own WHERE kind = 'PER' ORDER BY address`), []string{"attente@mss-a.example", "claire.aubepine@mss-a.example"})
	if err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error { return d.EndedTx(ctx, tx, 9999, noon) }); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown person: %v", err)
	}
}

// letters keeps to whom the calendar wrote.
type letters struct {
	sent []string
	fail error
}

func (l *letters) Sleeping(_ context.Context, to mail.Address, since, suspended time.Time) error {
	l.sent = append(l.sent, fmt.Sprintf("%s %s %s", to.Local(), since.Format(time.DateOnly), suspended.Format(time.DateOnly)))
	return l.fail
}

func TestTheCalendar(t *testing.T) {
	d, db := open(t)
	doctor, pharmacy, patient := seed(t, d, db)
	post := &letters{}
	d.Plug(Plugs{Letters: post})
	run := func(at time.Time) Night {
		t.Helper()
		n, err := d.RunCalendar(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	check := func(b id.BAL, state health.BALState, cause string, shown bool) {
		t.Helper()
		r, err := d.ByID(t.Context(), db, b)
		if err != nil || r.State != state || r.StateCause != cause {
			t.Errorf("BAL %d: %s for %q, %v; want %s for %q", b, r.State, r.StateCause, err, state, cause)
		}
		if got := column(t, db, `SELECT address FROM listing_own WHERE bal_id = $1`, b); len(got) > 0 != shown {
			t.Errorf("BAL %d shown: %v", b, got)
		}
	}
	if err := d.Touch(t.Context(), pharmacy, noon.AddDate(0, 8, 0)); err != nil {
		t.Fatal(err)
	}
	acts(d).take()
	if n := run(noon.AddDate(0, 11, 0)); n != (Night{}) {
		t.Errorf("after 11 months: %+v", n)
	}
	year := noon.AddDate(1, 0, 1)
	for i := range 2 { // told once
		if n := run(year.AddDate(0, 0, i)); n.Noticed != 1-i || n.Suspended+n.Unpublished != 0 {
			t.Errorf("after 12 months, night %d: %+v", i, n)
		}
	}
	same(t, "letters", post.sent, []string{"claire.aubepine 2026-03-03 2027-09-03"})
	same(t, "freshness", column(t, db, `SELECT DISTINCT seen_at::date::text FROM listing_own`), []string{"2027-03-05"})
	check(doctor, health.Active, "", true)
	if n := run(noon.AddDate(1, 6, 1)); n.Suspended != 1 || n.Unpublished != 0 {
		t.Errorf("after 18 months: %+v", n)
	}
	check(doctor, health.Suspended, CauseInactive, false)
	if n := run(noon.AddDate(2, 0, 1)); n.Unpublished != 1 {
		t.Errorf("after 24 months: %+v", n)
	}
	same(t, "traces", acts(d).take(), []string{
		fmt.Sprintf("%d notice-inactive bal:%d inactive", doctor, doctor), fmt.Sprintf("%d set-state-suspended bal:%d inactive", doctor, doctor),
		fmt.Sprintf("%d notice-inactive bal:%d inactive", pharmacy, pharmacy), fmt.Sprintf("%d unpublish bal:%d inactive", doctor, doctor)})
	for range 2 { // opening it is enough
		if err := d.Touch(t.Context(), doctor, noon.AddDate(2, 0, 2)); err != nil {
			t.Fatal(err)
		}
	}
	check(doctor, health.Active, CauseUsed, true)
	same(t, "traces", acts(d).take(), []string{fmt.Sprintf("%d set-state-active bal:%d used-again", doctor, doctor)})
	if n := run(noon.AddDate(2, 6, 0)); n.Suspended != 1 { // the pharmacy, told 6 months before
		t.Errorf("%+v", n)
	}
	check(pharmacy, health.Suspended, CauseInactive, false)
	check(patient, health.Active, "", false)
	if got := column(t, db, `SELECT coalesce(used_at::text, 'never') FROM bal WHERE id = $1`, patient); got[0] != "never" {
		t.Error("a patient's use is counted")
	}
}

func TestNobodyIsSuspendedWithoutHavingBeenTold(t *testing.T) {
	d, db := open(t)
	doctor, pharmacy, _ := seed(t, d, db)
	late := noon.AddDate(5, 0, 0)
	if n, err := d.RunCalendar(t.Context(), late); err != nil || n != (Night{}) {
		t.Fatalf("without letters: %+v, %v", n, err)
	}
	post := &letters{fail: fault.New(fault.Unavailable, "test", "away")}
	d.Plug(Plugs{Letters: post})
	if n, err := d.RunCalendar(t.Context(), late); err == nil || n != (Night{}) || len(post.sent) != 2 {
		t.Fatalf("letters that fail: %+v, %v, %v", n, err, post.sent)
	}
	post.fail = nil
	for i, want := range []Night{{Noticed: 2}, {}, {Suspended: 2, Unpublished: 2}, {}} {
		if n, err := d.RunCalendar(t.Context(), late.AddDate(0, 0, 16*i)); err != nil || n != want {
			t.Fatalf("night %d: %+v, %v, want %+v", i, n, err, want)
		}
	}
	for _, b := range []id.BAL{doctor, pharmacy} { // one is opened, one is resumed
		r, _ := d.ByID(t.Context(), db, b)
		if r.UnpublishedAt.IsZero() {
			t.Errorf("BAL %d is not unpublished", b)
		}
	}
	if err := d.Touch(t.Context(), doctor, late.AddDate(0, 3, 0)); err != nil {
		t.Fatal(err)
	}
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
		_, err := d.MoveTx(ctx, tx, pharmacy, Move{To: health.Active, Cause: CauseOperator, Author: command, At: late.AddDate(0, 3, 0)})
		return err
	})
	same(t, "shown", column(t, db, `SELECT bal_id::text FROM listing_own ORDER BY bal_id`), []string{fmt.Sprint(doctor), fmt.Sprint(pharmacy)})
	if n, err := d.RunCalendar(t.Context(), late.AddDate(0, 3, 1)); err != nil || n != (Night{}) {
		t.Errorf("the night after: %+v, %v", n, err)
	}
}

func TestACalendarOfOnesOwn(t *testing.T) {
	d, db := open(t)
	seed(t, d, db)
	day := 24 * time.Hour
	d.Plug(Plugs{Letters: &letters{}, Calendar: &Calendar{NoticeAfter: 10 * day, SuspendAfter: -1, UnpublishAfter: 50 * day}})
	if n, err := d.RunCalendar(t.Context(), noon.Add(11*day)); err != nil || n != (Night{Noticed: 2}) {
		t.Fatalf("%+v, %v", n, err)
	}
	if n, err := d.RunCalendar(t.Context(), noon.Add(51*day)); err != nil || n != (Night{Unpublished: 2}) {
		t.Fatalf("%+v, %v", n, err)
	}
	same(t, "active, and not shown", column(t, db, `SELECT state FROM bal WHERE kind <> 'PATIENT'`), []string{"active", "active"})
	same(t, "shown", column(t, db, `SELECT address FROM listing_own`), nil)
	acts(d).take()
	if err := d.Touch(t.Context(), 1, noon.Add(60*day)); err != nil {
		t.Fatal(err)
	}
	same(t, "traces", acts(d).take(), []string{"1 publish-again bal:1 used-again"})
	same(t, "shown", column(t, db, `SELECT bal_id::text FROM listing_own`), []string{"1"})
}

func TestTouchWritesOnceADay(t *testing.T) {
	d, db := open(t)
	doctor, _, patient := seed(t, d, db)
	version := func() string { return column(t, db, `SELECT xmin::text FROM bal WHERE id = $1`, doctor)[0] }
	touch := func(b id.BAL, at time.Time) {
		t.Helper()
		if err := d.Touch(t.Context(), b, at); err != nil {
			t.Fatal(err)
		}
	}
	touch(doctor, noon)
	first := version()
	touch(doctor, noon.Add(11*time.Hour))
	touch(doctor, noon.AddDate(0, 0, -1))
	touch(patient, noon)
	touch(9999, noon)
	if version() != first {
		t.Error("a second use of the day writes")
	}
	if touch(doctor, noon.AddDate(0, 0, 1)); version() == first {
		t.Error("the next day does not")
	}
}

// Two hands that each take away one of the two BAL of a professional must not leave him
// in the directory.
func TestTheRegisterIsChangedByOneHandAtATime(t *testing.T) {
	d, db := open(t)
	doctor, _, _ := seed(t, d, db)
	h := holder(t, db)
	var other id.BAL
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) (err error) {
		other, err = d.CreateBALTx(ctx, tx, NewBAL{Address: mail.MustAddress("c2@mss-a.example"), Kind: health.PER, State: health.Active, Holder: h, Person: 1, TermsVersion: "1", At: noon})
		return err
	})
	for i := range 10 {
		to := []health.BALState{health.Suspended, health.Active}[i%2]
		var wg sync.WaitGroup
		for _, b := range []id.BAL{doctor, other} {
			wg.Go(func() {
				err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
					_, err := d.MoveTx(ctx, tx, b, Move{To: to, Cause: CauseOperator, Author: command, At: noon})
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := column(t, db, `SELECT id FROM practitioner_own`); len(got) != i%2 {
			t.Fatalf("round %d: %v", i, got)
		}
	}
}

// The database itself refuses to publish a patient and the liste rouge.
func TestTheDatabaseRefuses(t *testing.T) {
	d, db := open(t)
	doctor, _, patient := seed(t, d, db)
	insert := `INSERT INTO listing_own (key, bal_id, kind, address, since_at, changed_at, seen_at, f_name, f_given, f_address, f_city, words)
		VALUES (decode(repeat('0a', 16), 'hex'), $1, $2, 'x@y.example', now(), now(), now(), 'x', '', 'x', '', '')`
	for name, sql := range map[string]func() error{
		"a patient":            func() error { _, err := db.Exec(t.Context(), insert, patient, "ORG"); return err },
		"the kind of patients": func() error { _, err := db.Exec(t.Context(), insert, nil, "PATIENT"); return err },
		"an unlisted BAL that stays": func() error {
			_, err := db.Exec(t.Context(), `UPDATE bal SET unlisted = true WHERE id = $1`, doctor)
			return err
		},
	} {
		if sql() == nil {
			t.Errorf("%s is published", name)
		}
	}
	if _, err := d.shownTx(t.Context(), db, BAL{Kind: health.Patient}, noon); fault.CodeOf(err) != "never-published" {
		t.Errorf("a patient: %v", err)
	}
	if _, err := d.shownTx(t.Context(), db, BAL{Kind: health.ORG, Address: mail.MustAddress("279035121518989@patient.mss-b.example")}, noon); fault.CodeOf(err) != "never-published" {
		t.Errorf("an address of patients: %v", err)
	}
}

func TestAHouseOlderThanTheDirectory(t *testing.T) {
	d, db := open(t)
	seed(t, d, db)
	before := own(t, db)
	for _, table := range []string{"listing_own", "practitioner_own", "organization_own", "role_own", "word_own", "bal_shown"} {
		if _, err := db.Exec(t.Context(), "TRUNCATE "+table); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(t.Context(), `INSERT INTO word_own VALUES ('fantome')`); err != nil {
		t.Fatal(err)
	}
	if err := d.EnsurePublished(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	same(t, "published again", own(t, db), before)
	if _, err := db.Exec(t.Context(), `UPDATE listing_own SET seen_at = seen_at + interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	if err := d.EnsurePublished(t.Context(), noon.AddDate(1, 0, 0)); err != nil { // nothing to do
		t.Fatal(err)
	}
	same(t, "untouched", column(t, db, `SELECT DISTINCT changed_at::date::text FROM listing_own`), []string{"2026-03-03"})
}

// own is all that the own tables hold but for times, one row each.
func own(t testing.TB, q pg.Querier) (rows []string) {
	t.Helper()
	for _, table := range []string{"listing_own", "practitioner_own", "organization_own", "role_own", "word_own"} {
		rows = append(rows, column(t, q, fmt.Sprintf(`SELECT '%s ' || (to_jsonb(x) - 'since_at' - 'changed_at' - 'seen_at')::text FROM %s x`, table, table))...)
	}
	slices.Sort(rows)
	return rows
}

// TestWhatIsShownAfterAnything runs random lives of a small register and compares, after
// each step, the own tables with what the register says, counted another way; and at the
// end with all published again from nothing.
func TestWhatIsShownAfterAnything(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d, db := open(t)
			d.Plug(Plugs{Letters: &letters{}})
			w := &world{d: d, db: db, r: rand.New(rand.NewPCG(seed, 7)), now: noon}
			w.begin(t)
			for n := range 80 {
				what := w.step(t)
				w.check(t, fmt.Sprintf("seed %d, step %d: %s", seed, n, what))
				if t.Failed() {
					return
				}
			}
			before := own(t, db)
			if err := d.RepublishAll(t.Context(), w.now); err != nil {
				t.Fatal(err)
			}
			same(t, "published again", own(t, db), before)
			if _, err := db.Exec(t.Context(), `TRUNCATE listing_own, practitioner_own, organization_own, role_own, word_own, bal_shown`); err != nil {
				t.Fatal(err)
			}
			if err := d.RepublishAll(t.Context(), w.now); err != nil {
				t.Fatal(err)
			}
			same(t, "published from nothing", own(t, db), before)
		})
	}
}

type world struct {
	d       *Directory
	db      *pg.DB
	r       *rand.Rand
	now     time.Time
	n       int
	bals    []id.BAL
	persons []PersonID
	places  []StructureID
}

func (w *world) begin(t *testing.T) {
	for i := range 4 {
		inTx(t, w.db, func(ctx context.Context, tx *pg.Tx) error {
			p := Person{FamilyName: fmt.Sprintf("Personne%d", i), GivenName: "Élo", Profession: "10"}
			if i < 2 {
				p.RPPS = health.RPPS([]string{"89970000017", "89970000025"}[i])
			}
			n, err := w.d.CreatePersonTx(ctx, tx, p)
			if err != nil {
				return err
			}
			w.persons = append(w.persons, n)
			s, err := w.d.CreateStructureTx(ctx, tx, Structure{FINESS: health.FINESS(fmt.Sprintf("99000000%d", i)), Name: fmt.Sprintf("Maison%d", i), City: "Lyon"})
			w.places = append(w.places, s)
			return err
		})
	}
}

func (w *world) chance(n int) bool { return w.r.IntN(n) == 0 }

func pick[T any](w *world, all []T) T { return all[w.r.IntN(len(all))] }

// step does one thing, which may well be refused.
func (w *world) step(t *testing.T) (what string) {
	w.now = w.now.AddDate(0, 0, w.r.IntN(40))
	w.n++
	if len(w.bals) == 0 || w.chance(6) {
		h := holder(t, w.db)
		n := NewBAL{Address: mail.MustAddress(fmt.Sprintf("b%d@mss-a.example", w.n)), Kind: pick(w, []health.BALKind{health.PER, health.ORG, health.APP, health.CAB}),
			Holder: h, State: pick(w, []health.BALState{health.Pending, health.Active}), Unlisted: w.chance(3), At: w.now}
		if n.State == health.Active {
			n.TermsVersion = "1"
		}
		switch {
		case n.Kind == health.ORG || n.Kind == health.APP:
			n.Structure = pick(w, w.places)
		case w.chance(2):
			n.Person, n.Structure = pick(w, w.persons), pick(w, w.places)
		default:
			n.Person = pick(w, w.persons)
		}
		return "create " + w.try(t, func(ctx context.Context, tx *pg.Tx) error {
			b, err := w.d.CreateBALTx(ctx, tx, n)
			if err == nil {
				w.bals = append(w.bals, b)
			}
			return err
		})
	}
	b := pick(w, w.bals)
	word := fmt.Sprintf("mot%d", w.r.IntN(5))
	type op struct {
		name string
		f    func(ctx context.Context, tx *pg.Tx) error
	}
	flag := w.chance(2)
	rank := 1 + w.r.IntN(3)
	state := pick(w, []health.BALState{health.Active, health.Suspended, health.Closed, health.Active, health.Purged})
	person, place := pick(w, w.persons), pick(w, w.places)
	o := pick(w, []op{
		{"move to " + string(state), func(ctx context.Context, tx *pg.Tx) error {
			_, err := w.d.MoveTx(ctx, tx, b, Move{To: state, Cause: CauseOperator, Author: command, At: w.now})
			return err
		}},
		{"unlisted", func(ctx context.Context, tx *pg.Tx) error {
			_, err := w.d.UpdateBALTx(ctx, tx, b, Changes{Unlisted: &flag, DisplayName: &word}, command, w.now)
			return err
		}},
		{"service", func(ctx context.Context, tx *pg.Tx) error {
			_, err := w.d.UpdateBALTx(ctx, tx, b, Changes{Service: &word, Rank: &rank}, command, w.now)
			return err
		}},
		{"rank", func(ctx context.Context, tx *pg.Tx) error {
			_, err := w.d.UpdateBALTx(ctx, tx, b, Changes{Rank: &rank, OpenToPatients: &flag}, command, w.now)
			return err
		}},
		{"terms", func(ctx context.Context, tx *pg.Tx) error {
			return w.d.AcceptTermsTx(ctx, tx, b, "1", command, w.now)
		}},
		{"ended", func(ctx context.Context, tx *pg.Tx) error { return w.d.EndedTx(ctx, tx, int64(person), w.now) }},
		{"back", func(ctx context.Context, tx *pg.Tx) error { return w.d.BackTx(ctx, tx, int64(person), w.now) }},
		{"situation", func(ctx context.Context, tx *pg.Tx) error {
			return w.d.CreateSituationTx(ctx, tx, person, place, pick(w, []string{"L", "S"}), w.now)
		}},
		{"mode", func(ctx context.Context, tx *pg.Tx) error {
			_, err := w.d.UpdateModeTx(ctx, tx, person, place, pick(w, []string{"L", "S", "B"}), command, w.now)
			return err
		}},
		{"person", func(ctx context.Context, tx *pg.Tx) error {
			_, err := w.d.UpdatePersonTx(ctx, tx, person, PersonChanges{GivenName: &word, KnowHow: &word}, command, w.now)
			return err
		}},
		{"structure", func(ctx context.Context, tx *pg.Tx) error {
			_, err := w.d.UpdateStructureTx(ctx, tx, place, StructureChanges{TradeName: &word, Presentation: &word}, command, w.now)
			return err
		}},
		{"touch", func(ctx context.Context, tx *pg.Tx) error { return w.d.TouchTx(ctx, tx, b, w.now) }},
		{"night", nil},
	})
	if o.f == nil {
		_, err := w.d.RunCalendar(t.Context(), w.now)
		return fmt.Sprint(o.name, " ", err)
	}
	return o.name + " " + w.try(t, o.f)
}

// try runs f; a refusal is fine, an error of the house is not.
func (w *world) try(t *testing.T, f func(context.Context, *pg.Tx) error) string {
	err := w.db.InTx(t.Context(), f)
	switch fault.KindOf(err) {
	case fault.Internal, fault.Unavailable, fault.Timeout, fault.Corrupt:
		if err != nil {
			t.Errorf("an error of the house: %v", err)
		}
	}
	return fmt.Sprint(err)
}

// check counts what must be shown, from the tables of the register alone.
func (w *world) check(t *testing.T, when string) {
	const seen = `FROM bal b LEFT JOIN person p ON p.id = b.person_id LEFT JOIN structure s ON s.id = coalesce(b.structure_id,
		(SELECT x.structure_id FROM situation x WHERE x.person_id = p.id AND x.ended_at IS NULL ORDER BY x.started_at DESC, x.id DESC LIMIT 1))
		WHERE b.kind IN ('PER', 'ORG', 'CAB') AND b.state = 'active' AND NOT b.unlisted AND b.unpublished_at IS NULL AND p.ended_at IS NULL`
	for what, c := range map[string][2]string{
		"listings": {`SELECT address || ' ' || family_name || ' ' || given_name || ' ' || structure || ' ' || trade_name || ' ' || service || ' ' || display_name || ' ' || rank
			FROM listing_own ORDER BY 1`,
			`SELECT b.address || ' ' || coalesce(p.family_name, '') || ' ' || coalesce(p.given_name, '') || ' ' || coalesce(s.name, '') || ' ' || coalesce(s.trade_name, '')
			|| ' ' || b.service || ' ' || b.display_name || ' ' || b.rank ` + seen + ` ORDER BY 1`},
		"practitioners": {`SELECT family_name || ' ' || given_name FROM practitioner_own ORDER BY 1`, `SELECT DISTINCT p.family_name || ' ' || p.given_name ` + seen + ` AND p.id IS NOT NULL ORDER BY 1`},
		"organizations": {`SELECT name || ' ' || trade_name || ' ' || presentation FROM organization_own ORDER BY 1`,
			`SELECT DISTINCT s.name || ' ' || s.trade_name || ' ' || s.presentation ` + seen + ` AND s.id IS NOT NULL ORDER BY 1`},
		"exercises": {`SELECT f_family || ' ' || organization || ' ' || know_how FROM role_own ORDER BY 1`,
			`SELECT DISTINCT lower(p.family_name) || ' ' || coalesce('finess-' || s.finess, '') || ' ' || p.know_how ` + seen + ` AND p.id IS NOT NULL ORDER BY 1`},
		"words":       {`SELECT word FROM word_own ORDER BY 1`, `SELECT DISTINCT unnest(tsvector_to_array(words)) COLLATE "C" FROM listing_own ORDER BY 1`},
		"liste rouge": {`SELECT b.address FROM bal b JOIN listing_own l ON l.bal_id = b.id OR l.address = b.address WHERE b.unlisted`, `SELECT '' WHERE false`},
	} {
		got, want := column(t, w.db, c[0]), column(t, w.db, c[1])
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s:\n got %q\nwant %q", when, what, got, want)
		}
	}
	w.checkHolders(t, when)
}

// checkHolders looks for whoever has nothing but BAL on the liste rouge.
func (w *world) checkHolders(t *testing.T, when string) {
	hidden := column(t, w.db, `SELECT p.family_name FROM person p JOIN bal b ON b.person_id = p.id GROUP BY p.id HAVING bool_and(b.unlisted)`)
	all := strings.ToLower(strings.Join(own(t, w.db), "\n"))
	for name := range maps.Keys(set(hidden)) {
		if strings.Contains(all, strings.ToLower(name)) {
			t.Errorf("%s: %s is on the liste rouge and somewhere", when, name)
		}
	}
}

func set(names []string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}
