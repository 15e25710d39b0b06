package dossier

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

var now = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

type house struct {
	*testing.T
	db *pg.DB
	d  *Dossier
	p  id.Patient
}

func open(t *testing.T) *house {
	h := &house{T: t, db: pgtest.DB(t)}
	h.d = New(h.db)
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		var err error
		h.p, err = h.d.CreatePatientTx(ctx, tx, NewPatient{INSKey: []byte("ins-1"), Class: health.TestINS, TraitsSealed: []byte("sealed"), Qualified: true, Holder: h.holder()})
		return err
	})
	return h
}

func (h *house) holder() (n id.Holder) {
	h.Helper()
	if err := h.db.QueryRow(h.Context(), `INSERT INTO seal_holder (purpose) VALUES ('dossier') RETURNING id`).Scan(&n); err != nil {
		h.Fatal(err)
	}
	return n
}

func (h *house) try(f func(context.Context, *pg.Tx) error) error {
	return h.db.InTx(h.Context(), f)
}

func (h *house) tx(f func(context.Context, *pg.Tx) error) {
	h.Helper()
	if err := h.try(f); err != nil {
		h.Fatal(err)
	}
}

// doc makes a document from "unique set version replaces author org"; "-" is none.
func (h *house) doc(s string) NewDocument {
	f := strings.Fields(s)
	key := func(i int) []byte {
		if i >= len(f) || f[i] == "-" {
			return nil
		}
		return []byte(f[i])
	}
	n := NewDocument{
		ID: id.New(), Patient: h.p, UniqueKey: key(0), SetKey: key(1), ReplacesKey: key(3), AuthorKey: key(4), OrganisationKey: key(5),
		Origin: ByIngest, Blob: id.New(), Size: 9, SealedSize: 10, SealedSHA256: []byte("sum"), Generation: 1,
		Packet: []byte("packet"), Meta: []byte("meta"), FiledAt: now, Visibility: []string{"MASQUE_PS", "N"},
	}
	if f[2] != "-" {
		fmt.Sscan(f[2], &n.Version)
	}
	return n
}

func (h *house) file(n NewDocument) (filed Filed, err error) {
	_, checked := h.d.Check(h.Context(), h.db, n)
	err = h.try(func(ctx context.Context, tx *pg.Tx) error {
		var err error
		filed, err = h.d.FileTx(ctx, tx, n)
		return err
	})
	if fault.CodeOf(checked) != fault.CodeOf(err) {
		h.Errorf("Check said %v and FileTx %v", checked, err)
	}
	return filed, err
}

// TestVersions files documents in order; each line: document, then what is expected of
// it, then the statuses of all documents by unique key.
func TestVersions(t *testing.T) {
	for name, lines := range map[string][]string{
		"two documents": {
			"a - - - x - | v1 approved | a=approved",
			"b - - - x - | v1 approved | a=approved b=approved"},
		"same id": {
			"a s 1 - x - | v1 approved | a=approved",
			"a s 1 - x - | duplicate | a=approved",
			"a t 2 - y - | 906 | a=approved"},
		"same set and version, other id": {
			"a s 1 - x - | v1 approved | a=approved",
			"b s 1 - x - | 906 | a=approved"},
		"higher version": {
			"a s 1 - x - | v1 approved | a=approved",
			"b s 2 a x - | v2 approved | a=deprecated b=approved",
			"c s 5 b x - | v5 approved | a=deprecated b=deprecated c=approved"},
		"higher version without relatedDocument": {
			"a s 1 - x - | v1 approved | a=approved",
			"b s 2 - x - | v2 approved | a=deprecated b=approved"},
		"lower version arrives late": {
			"b s 2 - x - | v2 approved | b=approved",
			"a s 1 - x - | v1 deprecated | a=deprecated b=approved"},
		"replaces what is not the latest": {
			"a s 1 - x - | v1 approved | a=approved",
			"b s 2 a x - | v2 approved | a=deprecated b=approved",
			"c s 3 a x - | 900 | a=deprecated b=approved"},
		"replaces by a lower version": {
			"b s 2 - x - | v2 approved | b=approved",
			"a s 1 b x - | 900 | b=approved"},
		"another author": {
			"a s 1 - x - | v1 approved | a=approved",
			"b s 2 a y - | 901 | a=approved",
			"c s 2 - y - | 901 | a=approved",
			"d s 2 a - - | 901 | a=approved"},
		"another author of the same structure": {
			"a s 1 - x o | v1 approved | a=approved",
			"b s 2 a y o | v2 approved | a=deprecated b=approved"},
		"unidentified authors are not the same": {
			"a s 1 - - - | v1 approved | a=approved",
			"b s 2 a - - | 901 | a=approved"},
		"unknown parent": {
			"b s 2 a x - | v2 approved flagged | b=approved",
			"c s 3 b x - | v3 approved | b=deprecated c=approved"},
		"no set at all": { // CR_Radio v1 and v2
			"a - 1 - x - | v1 approved | a=approved",
			"b - 2 a x - | v2 approved | a=deprecated b=approved",
			"c - - b x - | v3 approved | a=deprecated b=deprecated c=approved"},
		"no set, replacement first": {
			"b - 2 a x - | v2 approved flagged | b=approved",
			"a - 1 - x - | v1 deprecated | a=deprecated b=approved"},
		"replacement first, by somebody else": {
			"b - 2 a y - | v2 approved flagged | b=approved",
			"a - 1 - x - | v1 approved | a=approved b=approved"},
		"replaces into another set": {
			"a s 1 - x - | v1 approved | a=approved",
			"b t 1 a x - | v1 approved | a=deprecated b=approved"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			for _, line := range lines {
				part := strings.Split(line, " | ")
				n := h.doc(part[0])
				filed, err := h.file(n)
				got := fmt.Sprintf("v%d %s", filed.Version, filed.Status)
				switch {
				case IntegrationCode(err) != 0:
					got = fmt.Sprint(int(IntegrationCode(err)))
				case err != nil:
					t.Fatal(err)
				case filed.Duplicate:
					got = "duplicate"
				case filed.Flagged:
					got += " flagged"
				}
				if got != part[1] {
					t.Errorf("%s: %s, want %s", part[0], got, part[1])
				}
				if got := h.statuses(); got != part[2] {
					t.Errorf("after %s: %s, want %s", part[0], got, part[2])
				}
			}
		})
	}
}

func (h *house) statuses() string {
	h.Helper()
	docs, err := h.d.List(h.Context(), h.db, h.p)
	if err != nil {
		h.Fatal(err)
	}
	var parts []string
	for _, d := range docs {
		parts = append(parts, string(d.UniqueKey)+"="+string(d.Status))
	}
	for i := range parts { // by unique key
		for j := i + 1; j < len(parts); j++ {
			if parts[j] < parts[i] {
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
	}
	return strings.Join(parts, " ")
}

func TestFiledTogetherIsFiledOnce(t *testing.T) {
	h := open(t)
	fresh := make(chan bool, 8)
	for range cap(fresh) {
		n := h.doc("a s 1 - x -")
		go func() {
			var f Filed
			err := h.try(func(ctx context.Context, tx *pg.Tx) (err error) {
				f, err = h.d.FileTx(ctx, tx, n)
				return err
			})
			fresh <- err == nil && !f.Duplicate
		}()
	}
	count := 0
	for range cap(fresh) {
		if <-fresh {
			count++
		}
	}
	if count != 1 || h.statuses() != "a=approved" {
		t.Fatalf("%d filed, %s", count, h.statuses())
	}
}

func TestDocument(t *testing.T) {
	h := open(t)
	n := h.doc("a s 1 - x -")
	if _, err := h.file(n); err != nil {
		t.Fatal(err)
	}
	d, err := h.d.Get(t.Context(), h.db, h.p, n.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d.Blob != n.Blob || !bytes.Equal(d.Packet, n.Packet) || strings.Join(d.Visibility, " ") != "N MASQUE_PS" || !d.SeenAt.IsZero() || d.View != nil || !d.FiledAt.Equal(now) {
		t.Errorf("%+v", d)
	}
	h.tx(func(ctx context.Context, tx *pg.Tx) error { return h.d.MarkSeenTx(ctx, tx, n.ID, now) })
	h.tx(func(ctx context.Context, tx *pg.Tx) error { return h.d.MarkSeenTx(ctx, tx, n.ID, now.Add(time.Hour)) })
	if err := h.d.KeepViews(t.Context(), h.db, []id.Document{n.ID}, [][]byte{[]byte("view")}); err != nil {
		t.Fatal(err)
	}
	if d, err = h.d.Get(t.Context(), h.db, h.p, n.ID); err != nil || !d.SeenAt.Equal(now) || string(d.View) != "view" {
		t.Errorf("%v %v %q", err, d.SeenAt, d.View)
	}
	if _, err := h.d.Get(t.Context(), h.db, h.p+1, n.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another dossier gives it: %v", err)
	}
	facts, err := h.d.DocumentFacts(t.Context(), h.db, []id.Document{n.ID, id.New()})
	if err != nil || len(facts) != 1 || facts[0].Patient != h.p || len(facts[0].Visibility) != 2 {
		t.Errorf("%v %+v", err, facts)
	}
}

func TestDelete(t *testing.T) {
	h := open(t)
	for _, s := range []string{"a s 1 - x -", "b s 2 a x -"} {
		if _, err := h.file(h.doc(s)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		who  string
		code health.IntegrationCode
	}{{"a - - - x -", 900}, {"b - - - y -", 901}, {"c - - - x -", 906}, {"b - - - x -", 0}, {"b - - - x -", 0}} {
		n := h.doc(c.who)
		_, checked := h.d.CheckDelete(t.Context(), h.db, n)
		err := h.try(func(ctx context.Context, tx *pg.Tx) error {
			_, err := h.d.DeleteTx(ctx, tx, n)
			return err
		})
		if IntegrationCode(err) != c.code || IntegrationCode(checked) != c.code || (c.code == 0 && err != nil) {
			t.Errorf("%s: %v, beforehand %v", c.who, err, checked)
		}
	}
	if got := h.statuses(); got != "a=deprecated" {
		t.Errorf("a deleted document is listed: %s", got)
	}
}

func TestPatients(t *testing.T) {
	h := open(t)
	p, err := h.d.PatientByINS(t.Context(), h.db, []byte("ins-1"))
	if err != nil || p.ID != h.p || p.State != Open || !p.Qualified || p.BAL != 0 {
		t.Fatalf("%v %v", err, p.ID)
	}
	err = h.try(func(ctx context.Context, tx *pg.Tx) error {
		_, err := h.d.CreatePatientTx(ctx, tx, NewPatient{INSKey: []byte("ins-1"), Class: health.TestINS, TraitsSealed: []byte("x"), Holder: h.holder()})
		return err
	})
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second dossier for one INS: %v", err)
	}
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		return h.d.SetStateTx(ctx, tx, h.p, Closed, true, false)
	})
	facts, err := h.d.PatientFacts(t.Context(), h.db, nil, []id.Patient{h.p, 99})
	if err != nil || len(facts) != 1 || facts[0].Open.String() != "no" || facts[0].FeedingOpposed.String() != "yes" || facts[0].Qualified.String() != "no" {
		t.Errorf("%v %+v", err, facts)
	}
	if n, err := h.d.PatientOf(t.Context(), h.db, 7); n != 0 || err != nil {
		t.Errorf("an account without a dossier: %d %v", n, err)
	}
	for _, f := range []func() error{
		func() error { _, err := h.d.PatientByBAL(t.Context(), h.db, 5); return err },
		func() error { _, err := h.d.PatientByAccount(t.Context(), h.db, 5); return err },
		func() error { _, err := h.d.PatientByINS(t.Context(), h.db, []byte("?")); return err },
	} {
		if err := f(); fault.KindOf(err) != fault.NotFound {
			t.Errorf("got %v", err)
		}
	}
}

func TestIngestionAndQuarantine(t *testing.T) {
	h := open(t)
	var bal id.BAL
	if err := h.db.QueryRow(t.Context(), `INSERT INTO bal (address_key, address, kind, state, holder_id) VALUES ('k', 'a@mss-a.example', 'PER', 'active', $1) RETURNING id`, h.holder()).Scan(&bal); err != nil {
		t.Fatal(err)
	}
	in := Ingestion{Letter: id.New(), BAL: bal, Mailbox: 3, UID: 4, Generation: 1, Packet: []byte("p"), ReversePath: []byte("r")}
	q := Quarantined{Letter: in.Letter, BAL: bal, Mailbox: 3, UID: 4, Code: 902, Cause: "patient-unknown", CreatedAt: now}
	for i := range 2 {
		h.tx(func(ctx context.Context, tx *pg.Tx) error {
			fresh, err := h.d.QuarantineTx(ctx, tx, q)
			if fresh != (i == 0) {
				t.Errorf("time %d: fresh is %v", i, fresh)
			}
			if err != nil {
				return err
			}
			return h.d.InsertIngestionTx(ctx, tx, in)
		})
	}
	if got, err := h.d.Ingestion(t.Context(), h.db, in.Letter, bal); err != nil || got.Done || string(got.Packet) != "p" || got.UID != 4 {
		t.Errorf("%v %+v", err, got)
	}
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		return h.d.FinishIngestionTx(ctx, tx, in.Letter, bal, 1, 2, now)
	})
	if got, err := h.d.Ingestion(t.Context(), h.db, in.Letter, bal); err != nil || !got.Done || got.Packet != nil || got.ReversePath != nil || got.Filed != 1 || got.Refused != 2 {
		t.Errorf("%v %+v", err, got)
	}
	if qs, err := h.d.Quarantine(t.Context(), h.db, 10); err != nil || len(qs) != 1 || qs[0].Code != 902 || qs[0].Letter != in.Letter {
		t.Errorf("%v %+v", err, qs)
	}
}

func TestRedaction(t *testing.T) {
	m := Meta{Title: "Sérologie", AuthorName: "ORVALNOIR"}
	i := Identity{INS: "285069999900100"}
	s := fmt.Sprintf("%v %+v %#v %s %v %+v %#v %s", m, m, m, m, i, i, i, i)
	if strings.Contains(s, "Séro") || strings.Contains(s, "2850") {
		t.Error(s)
	}
	if got, err := ReadMeta(m.Marshal()); err != nil || got != m {
		t.Errorf("%v", err)
	}
	if _, err := ReadIdentity([]byte("x")); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("%v", err)
	}
}

func TestStatements(t *testing.T) {
	db := pgtest.DB(t)
	for i, sql := range []string{insertPatient, patientByINS, patientByID, patientByBAL, patientByAccount, patientFacts, patientOf, setPatientState,
		documentFacts, heldDocuments, lockPatient, insertDocument, deprecateDocuments, unflagDocument, deleteDocument, markSeen, listDocuments, getDocument, keepViews,
		insertIngestion, getIngestion, finishIngestion, insertQuarantine, listQuarantine} {
		if _, err := db.Exec(t.Context(), fmt.Sprintf("PREPARE s%d AS %s", i, sql)); err != nil {
			t.Errorf("%v: %s", err, sql)
		}
	}
}
