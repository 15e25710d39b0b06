package consent

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mail"
)

type testIndex struct{}

func (testIndex) Key(domain string, parts ...string) []byte {
	h := hmac.New(sha256.New, []byte("test"))
	fmt.Fprintf(h, "%q%q", domain, parts)
	return h.Sum(nil)[:16]
}

var noon = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)

func patient(t *testing.T, db *pg.DB, key byte) (b id.BAL) {
	t.Helper()
	var h id.Holder
	if err := db.QueryRow(t.Context(), `INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id`).Scan(&h); err != nil {
		t.Fatal(err)
	}
	err := db.QueryRow(t.Context(), `INSERT INTO bal (address_key, kind, state, holder_id) VALUES ($1, 'PATIENT', 'active', $2) RETURNING id`, []byte{key}, h).Scan(&b)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExchange(t *testing.T) {
	db := pgtest.DB(t)
	s := New(db, testIndex{})
	me, other := patient(t, db, 1), patient(t, db, 2)
	doctor, lab := mail.MustAddress("dr@mss-a.example"), mail.MustAddress("labo@mss-b.example")
	in := func(f func(ctx context.Context, tx *pg.Tx) error) error { t.Helper(); return db.InTx(t.Context(), f) }
	want := func(patient id.BAL, peer mail.Address, state State) {
		t.Helper()
		if got, err := s.State(t.Context(), db, patient, peer); err != nil || got != state {
			t.Errorf("state %d, %v, want %d", got, err, state)
		}
	}

	want(me, doctor, None)
	steps := []struct {
		end  bool
		at   time.Time
		want State
	}{
		{false, noon, Open},
		{false, noon.Add(time.Hour), Open},
		{true, noon.Add(2 * time.Hour), Ended},
		{false, noon.Add(time.Hour), Ended}, // a message that comes late does not open it again
		{false, noon.Add(3 * time.Hour), Open},
		{true, noon.Add(3 * time.Hour), Ended},
	}
	for i, step := range steps {
		err := in(func(ctx context.Context, tx *pg.Tx) error {
			if step.end {
				return s.EndTx(ctx, tx, me, doctor, []byte("sealed doctor"), step.at)
			}
			return s.OpenTx(ctx, tx, me, mail.MustAddress("DR@mss-a.example"), []byte("sealed doctor"), step.at)
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.State(t.Context(), db, me, doctor); err != nil || got != step.want {
			t.Errorf("step %d: state %d, %v, want %d", i, got, err, step.want)
		}
	}
	want(other, doctor, None)
	if err := in(func(ctx context.Context, tx *pg.Tx) error {
		return s.EndTx(ctx, tx, me, lab, []byte("sealed lab"), noon.Add(4*time.Hour))
	}); err != nil {
		t.Fatal(err)
	}
	want(me, lab, Ended) // an exchange that never was

	got, err := s.States(t.Context(), db, []Pair{{other, lab}, {me, lab}, {me, doctor}, {me, lab}})
	if err != nil || fmt.Sprint(got) != fmt.Sprint([]State{None, Ended, Ended, Ended}) {
		t.Errorf("states %v, %v", got, err)
	}
	list, err := s.List(t.Context(), me)
	if err != nil || len(list) != 2 || !bytes.Equal(list[0].PeerSealed, []byte("sealed lab")) || !bytes.Equal(list[0].PeerKey, s.Key(lab)) ||
		list[1].State != Ended || !list[1].At.Equal(noon.Add(3*time.Hour)) {
		t.Errorf("list %+v, %v", list, err)
	}
}

func TestAnExchangeIsWhole(t *testing.T) {
	db := pgtest.DB(t)
	s := New(db, testIndex{})
	me := patient(t, db, 1)
	err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		return s.OpenTx(ctx, tx, me, mail.MustAddress("dr@mss-a.example"), nil, noon)
	})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("without its sealed peer: %v", err)
	}
	if states, err := s.States(t.Context(), db, nil); err != nil || len(states) != 0 {
		t.Errorf("%v, %v", states, err)
	}
}

func TestTheCorrespondentIsNotReadableInTheRow(t *testing.T) {
	db := pgtest.DB(t)
	s := New(db, testIndex{})
	me := patient(t, db, 1)
	if err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		return s.OpenTx(ctx, tx, me, mail.MustAddress("dr.canari@mss-a.example"), []byte{1}, noon)
	}); err != nil {
		t.Fatal(err)
	}
	var found bool
	if err := db.QueryRow(t.Context(), `SELECT e::text LIKE '%canari%' OR e::text LIKE '%63616e617269%' FROM exchange e`).Scan(&found); err != nil || found {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestStatements(t *testing.T) {
	db := pgtest.DB(t)
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for i, sql := range []string{findStates, setState, listExchanges} {
		if _, err := conn.Conn().Prepare(t.Context(), fmt.Sprintf("s%d", i), sql); err != nil {
			t.Errorf("statement %d: %v", i, err)
		}
	}
}
