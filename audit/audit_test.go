package audit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.FixedZone("", 3600))

func newLog(t testing.TB, db *pg.DB) *Log {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trace.key")
	if err := NewKeyFile(path); err != nil {
		t.Fatal(err)
	}
	l, err := New(db, path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func entry(chain string, n int) Entry {
	return Entry{
		Chain: chain, Actor: "account:5", Action: "read-document", Object: fmt.Sprintf("document:%d", n),
		Permit: n%2 == 0, Rules: []string{"R-READ-01", "R-MASK-02"}, Rulebook: "0123abcd", Means: "web",
		At: noon.Add(time.Duration(n) * time.Second),
	}
}

func add(t testing.TB, l *Log, entries ...Entry) {
	t.Helper()
	err := l.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error { return l.AppendTx(ctx, tx, entries...) })
	if err != nil {
		t.Fatal(err)
	}
}

// filled has three chains: of five, three and one traces.
func filled(t *testing.T) (*Log, *pg.DB) {
	t.Helper()
	db := pgtest.DB(t)
	l := newLog(t, db)
	for n := range 5 {
		entries := []Entry{entry(BALChain(7), n)}
		if n < 3 {
			entries = append(entries, entry(PatientChain(3), n))
		}
		if n == 0 {
			entries = append(entries, entry(House, n))
		}
		add(t, l, entries...)
	}
	return l, db
}

func verify(t *testing.T, l *Log) Report {
	t.Helper()
	r, err := l.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWholeChainsHold(t *testing.T) {
	l, db := filled(t)
	r := verify(t, l)
	if r.Chains != 3 || r.Traces != 9 || len(r.Faults) != 0 || len(r.Digest) != 64 {
		t.Fatalf("%+v", r)
	}
	if again := verify(t, l); again.Digest != r.Digest {
		t.Fatal("the digest changes by itself")
	}
	add(t, l, Entry{Chain: House, Actor: "house", Action: "start", Means: "job", At: noon})
	if later := verify(t, l); later.Digest == r.Digest || len(later.Faults) != 0 {
		t.Fatalf("%+v", later)
	}
	if other := verify(t, newLog(t, db)); len(other.Faults) != 10 {
		t.Fatalf("another key finds %d faults", len(other.Faults))
	}
}

func TestReadPages(t *testing.T) {
	l, _ := filled(t)
	chain := BALChain(7)
	var seen []int64
	for before := int64(0); ; {
		rows, err := l.Read(t.Context(), chain, before, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			want := entry(chain, int(r.Seq-1)).normal()
			if !reflect.DeepEqual(r.Entry, want) {
				t.Errorf("got %+v, want %+v", r.Entry, want)
			}
			seen = append(seen, r.Seq)
		}
		before = rows[len(rows)-1].Seq
	}
	if !slices.Equal(seen, []int64{5, 4, 3, 2, 1}) {
		t.Fatalf("pages give %v", seen)
	}
}

// TestTamperingIsFoundAndNamed does what somebody who owns the database can do.
func TestTamperingIsFoundAndNamed(t *testing.T) {
	bal, patient := BALChain(id.BAL(7)), PatientChain(id.Patient(3))
	for _, c := range []struct {
		name, sql string
		want      []Fault
	}{
		{"actor", `UPDATE trace SET actor = 'account:6' WHERE chain = 'bal:7' AND seq = 3`, []Fault{{bal, 3, Altered}}},
		{"time", `UPDATE trace SET at = at + interval '1 microsecond' WHERE chain = 'bal:7' AND seq = 1`, []Fault{{bal, 1, Altered}}},
		{"effect", `UPDATE trace SET effect = 'permit' WHERE chain = 'patient:3' AND seq = 2`, []Fault{{patient, 2, Altered}}},
		{"rules", `UPDATE trace SET rules = rules[1:1] WHERE chain = 'bal:7' AND seq = 5`, []Fault{{bal, 5, Altered}}},
		{"rules joined", `UPDATE trace SET rules = ARRAY[rules[1] || rules[2]] WHERE chain = 'bal:7' AND seq = 5`, []Fault{{bal, 5, Altered}}},
		{"field to field", `UPDATE trace SET action = action || 'd', object = substr(object, 2) WHERE chain = 'bal:7' AND seq = 2`, []Fault{{bal, 2, Altered}}},
		{"means", `UPDATE trace SET means = '' WHERE chain = 'house'`, []Fault{{House, 1, Altered}}},
		{"mac", `UPDATE trace SET mac = decode(repeat('00', 32), 'hex') WHERE chain = 'bal:7' AND seq = 2`,
			[]Fault{{bal, 2, Altered}, {bal, 3, Altered}}},
		{"taken out", `DELETE FROM trace WHERE chain = 'bal:7' AND seq = 2`, []Fault{{bal, 2, Missing}}},
		{"first taken out", `DELETE FROM trace WHERE chain = 'bal:7' AND seq = 1`, []Fault{{bal, 1, Missing}}},
		{"tail cut", `DELETE FROM trace WHERE chain = 'bal:7' AND seq > 3`, []Fault{{bal, 4, CutOff}}},
		{"all cut", `DELETE FROM trace WHERE chain = 'patient:3'`, []Fault{{patient, 1, CutOff}}},
		{"head moved", `UPDATE trace_chain SET seq = 2 WHERE id = 'patient:3'`, []Fault{{patient, 3, BadHead}}},
		{"head without mac", `UPDATE trace_chain SET mac = '' WHERE id = 'patient:3'`, []Fault{{patient, 3, BadHead}}},
		{"head gone", `DELETE FROM trace_chain WHERE id = 'bal:7'`, []Fault{{bal, 1, NoHead}}},
		{"added", `INSERT INTO trace SELECT chain, 6, at, actor, action, object, effect, rules, rulebook, means, mac
			FROM trace WHERE chain = 'bal:7' AND seq = 5`, []Fault{{bal, 6, Altered}, {bal, 6, BadHead}}},
		{"swapped", `UPDATE trace SET object = CASE seq WHEN 2 THEN 'document:2' ELSE 'document:1' END
			WHERE chain = 'bal:7' AND seq IN (2, 3)`, []Fault{{bal, 2, Altered}, {bal, 3, Altered}}},
		{"moved to another chain", `UPDATE trace SET chain = 'bal:8' WHERE chain = 'house'`,
			[]Fault{{House, 1, CutOff}, {"bal:8", 1, NoHead}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, db := filled(t)
			if _, err := db.Exec(t.Context(), `ALTER TABLE trace DISABLE TRIGGER trace_is_kept`); err != nil {
				t.Fatal(err)
			}
			if tag, err := db.Exec(t.Context(), c.sql); err != nil || tag.RowsAffected() == 0 {
				t.Fatalf("%v, %v", tag, err)
			}
			if got := verify(t, l).Faults; !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestWholeEarlierStateShowsInTheDigest(t *testing.T) {
	l, db := filled(t)
	kept := verify(t, l).Digest
	if _, err := db.Exec(t.Context(), `ALTER TABLE trace DISABLE TRIGGER trace_is_kept`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `DELETE FROM trace WHERE chain = 'bal:7' AND seq = 5`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `UPDATE trace_chain SET (seq, mac) =
		(SELECT seq, mac FROM trace WHERE chain = 'bal:7' AND seq = 4) WHERE id = 'bal:7'`); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, l); len(r.Faults) != 0 || r.Digest == kept {
		t.Fatalf("%v: the digest must be what tells", r.Faults)
	}
}

func TestTracesAreNeverChanged(t *testing.T) {
	_, db := filled(t)
	for _, sql := range []string{`UPDATE trace SET actor = 'x'`, `DELETE FROM trace`, `TRUNCATE trace`} {
		if _, err := db.Exec(t.Context(), sql); err == nil {
			t.Errorf("the database lets %s pass", sql)
		}
	}
}

func TestRolledBackTraceIsNotThere(t *testing.T) {
	l, db := filled(t)
	back := errors.New("back")
	err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		if err := l.AppendTx(ctx, tx, entry(BALChain(7), 9), entry(BALChain(99), 9)); err != nil {
			t.Error(err)
		}
		return back
	})
	if err == nil {
		t.Fatal("committed")
	}
	if r := verify(t, l); r.Traces != 9 || r.Chains != 3 || len(r.Faults) != 0 {
		t.Fatalf("%+v", r)
	}
}

func TestIncompleteEntryIsRefused(t *testing.T) {
	l, db := filled(t)
	for name, e := range map[string]Entry{
		"chain": {Actor: "a", Action: "b", At: noon}, "actor": {Chain: "c", Action: "b", At: noon},
		"action": {Chain: "c", Actor: "a", At: noon}, "time": {Chain: "c", Actor: "a", Action: "b"},
	} {
		err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error { return l.AppendTx(ctx, tx, e) })
		if fault.CodeOf(err) != "incomplete-entry" {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestManyAppendToTheSameChains(t *testing.T) {
	db := pgtest.DB(t)
	l := newLog(t, db)
	const writers, each = 8, 12
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				// Given in either order; the same chain twice in one call.
				entries := []Entry{entry(BALChain(1), n), entry(BALChain(id.BAL(2+w%3)), n), entry(BALChain(1), n)}
				if w%2 == 1 {
					slices.Reverse(entries)
				}
				err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error { return l.AppendTx(ctx, tx, entries...) })
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	if r := verify(t, l); r.Chains != 4 || r.Traces != 3*writers*each || len(r.Faults) != 0 {
		t.Fatalf("%+v", r)
	}
	rows, err := l.Read(t.Context(), BALChain(1), 0, 1)
	if err != nil || len(rows) != 1 || rows[0].Seq != 2*writers*each {
		t.Fatalf("%v, %v", rows, err)
	}
}

func TestStatements(t *testing.T) {
	db := pgtest.DB(t)
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{sqlHeads, sqlBegin, sqlTrace, sqlAdvance, sqlRead, sqlChains, sqlWalk, sqlOrphans} {
		if _, err := conn.Conn().Prepare(t.Context(), "", sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// One delivered letter: two traces in two chains.
func BenchmarkAppend(b *testing.B) {
	db := pgtest.DB(b)
	l := newLog(b, db)
	b.ReportAllocs()
	for b.Loop() {
		add(b, l, entry(BALChain(1), 1), entry(BALChain(2), 1))
	}
}
