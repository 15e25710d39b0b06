package mailstore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mail"
)

var at = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

type testIndex struct{}

func (testIndex) Key(domain string, parts ...string) []byte {
	m := hmac.New(sha256.New, []byte("test"))
	fmt.Fprintf(m, "%q%q", domain, parts)
	return m.Sum(nil)[:16]
}

// testView stands for a session's view key: it only marks what passed through it.
type testView struct{}

func (testView) SealView(aad string, b []byte) []byte { return []byte(aad + "|" + string(b)) }
func (testView) OpenView(aad string, b []byte) ([]byte, error) {
	s, ok := strings.CutPrefix(string(b), aad+"|")
	if !ok {
		return nil, errors.New("not sealed here")
	}
	return []byte(s), nil
}

type house struct {
	*Store
	db *pg.DB
	t  testing.TB
}

func newHouse(t testing.TB) *house {
	db := pgtest.DB(t)
	return &house{Store: New(db, testIndex{}), db: db, t: t}
}

func (h *house) in(f func(ctx context.Context, tx *pg.Tx) error) {
	h.t.Helper()
	if err := h.db.InTx(h.t.Context(), f); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) bal() id.BAL {
	h.t.Helper()
	var b id.BAL
	h.in(func(ctx context.Context, tx *pg.Tx) error {
		var holder int64
		if err := tx.QueryRow(ctx, `INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id`).Scan(&holder); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `INSERT INTO bal (address_key, address, kind, state, holder_id)
			VALUES ($1, 'test@mss-a.example', 'PER', 'active', $2) RETURNING id`, []byte(id.New().String()), holder).Scan(&b)
		if err != nil {
			return err
		}
		return h.CreateStandardTx(ctx, tx, b, at)
	})
	return b
}

func (h *house) letter(size int64) id.Letter {
	h.t.Helper()
	l := Letter{ID: id.New(), Size: size, SealedSize: size + 54, SealedSHA256: []byte("sum"), Outline: []byte("outline")}
	h.in(func(ctx context.Context, tx *pg.Tx) error { return h.InsertLetterTx(ctx, tx, l) })
	return l.ID
}

func (h *house) deposit(ds ...Deposit) ([]Placed, error) {
	var ps []Placed
	err := h.db.InTx(h.t.Context(), func(ctx context.Context, tx *pg.Tx) (err error) {
		ps, err = h.DepositAllTx(ctx, tx, ds)
		return err
	})
	return ps, err
}

// fill deposits n messages of 100 octets in a standard mailbox.
func (h *house) fill(b id.BAL, role mail.Role, n int) id.Mailbox {
	h.t.Helper()
	l := h.letter(100)
	ds := make([]Deposit, n)
	for i := range ds {
		ds[i] = Deposit{BAL: b, Role: role, Letter: l, Generation: 1, Packet: []byte{byte(i)}, Size: 100, ReceivedAt: at.Add(time.Duration(i) * time.Minute)}
	}
	ps, err := h.deposit(ds...)
	if err != nil {
		h.t.Fatal(err)
	}
	return ps[0].Mailbox
}

func (h *house) box(mb id.Mailbox) Mailbox {
	h.t.Helper()
	m, err := h.ByID(h.t.Context(), h.db, mb)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// checkCounters compares a mailbox's counters with its rows.
func (h *house) checkCounters(mb id.Mailbox) {
	h.t.Helper()
	var n, unseen, size int64
	err := h.db.QueryRow(h.t.Context(), `SELECT count(*), count(*) FILTER (WHERE flags & 1 = 0), COALESCE(sum(size), 0)::bigint
		FROM message WHERE mailbox_id = $1`, int64(mb)).Scan(&n, &unseen, &size)
	if err != nil {
		h.t.Fatal(err)
	}
	if m := h.box(mb); m.Messages != n || m.Unseen != unseen || m.Size != size {
		h.t.Errorf("counters say %d messages, %d unseen, %d octets; the rows %d, %d, %d", m.Messages, m.Unseen, m.Size, n, unseen, size)
	}
}

func uids(ps []Place) (us []mail.UID) {
	for _, p := range ps {
		us = append(us, p.UID)
	}
	return us
}

func TestDepositAll(t *testing.T) {
	h := newHouse(t)
	a, b := h.bal(), h.bal()
	l := h.letter(500)
	key := []byte("content-key-1234")
	mk := func(bal id.BAL, role mail.Role, flags Flags, key []byte) Deposit {
		return Deposit{BAL: bal, Role: role, Letter: l, Generation: 2, Packet: []byte("packet"), Size: 500, Flags: flags,
			Keywords: []string{"$Forwarded", "$forwarded", ""}, ContentKey: key, MessageIDKey: []byte("mid"), ThreadKey: []byte("thread"), ReceivedAt: at}
	}
	got, err := h.deposit(mk(b, "", 0, key), mk(a, mail.Sent, Seen, nil), mk(a, mail.Inbox, 0, key), mk(b, mail.Inbox, 0, key))
	if err != nil {
		t.Fatal(err)
	}
	if got[0].UID != 1 || got[1].UID != 1 || got[2].UID != 1 || !got[3].Duplicate || got[0].Duplicate {
		t.Fatalf("placed %+v", got)
	}
	if got[0].UIDValidity == 0 || got[0].Mailbox == got[2].Mailbox {
		t.Fatalf("placed %+v", got)
	}
	again, err := h.deposit(mk(a, mail.Inbox, 0, key), mk(b, mail.Inbox, 0, []byte("another")))
	if err != nil || !again[0].Duplicate || again[1].UID != 2 {
		t.Fatalf("placed %+v, %v", again, err)
	}
	m, err := h.Message(t.Context(), h.db, got[1].Mailbox, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := Message{Mailbox: got[1].Mailbox, UID: 1, ModSeq: 2, Letter: l, Generation: 2, Packet: []byte("packet"), Outline: []byte("outline"),
		Flags: Seen, Keywords: []string{"$Forwarded"}, Size: 500, MessageIDKey: []byte("mid"), ThreadKey: []byte("thread"), ReceivedAt: at}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	for _, p := range []Placed{got[0], got[1], got[2]} {
		h.checkCounters(p.Mailbox)
	}
	if n, err := h.UsedSize(t.Context(), h.db, a); n != 1000 || err != nil {
		t.Errorf("a uses %d, %v", n, err)
	}
}

func TestDepositRefusals(t *testing.T) {
	h := newHouse(t)
	a, b := h.bal(), h.bal()
	other, err := h.ByRole(t.Context(), h.db, b, mail.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	l := h.letter(500)
	d := Deposit{BAL: a, Letter: l, Generation: 1, Packet: []byte("p"), Size: 500, QuotaSize: 1200, ContentKey: []byte("k1"), ReceivedAt: at}
	if _, err := h.deposit(d, Deposit{BAL: a, Role: mail.Sent, Letter: l, Generation: 1, Packet: []byte("p"), Size: 500, QuotaSize: 1200, ReceivedAt: at}); err != nil {
		t.Fatalf("within quota: %v", err)
	}
	d.ContentKey = []byte("k2")
	if _, err := h.deposit(d); !fault.Is(err, fault.Quota) {
		t.Fatalf("over quota: %v", err)
	}
	d.QuotaSize = 0
	if ps, err := h.deposit(d); err != nil || ps[0].Duplicate {
		t.Fatalf("a refused deposit left its content key: %+v, %v", ps, err)
	}
	d.ContentKey, d.Mailbox = nil, other.ID
	if _, err := h.deposit(d); !fault.Is(err, fault.NotFound) {
		t.Fatalf("into another's mailbox: %v", err)
	}
	d.Mailbox, d.Role = 0, "attic"
	if _, err := h.deposit(d); !fault.Is(err, fault.NotFound) {
		t.Fatalf("into no mailbox: %v", err)
	}
}

// Many deliveries at once to the same boxes in every order: each UID is given once,
// and the counters agree with the rows.
func TestDepositsAtOnce(t *testing.T) {
	h := newHouse(t)
	boxes := []id.BAL{h.bal(), h.bal(), h.bal()}
	l := h.letter(10)
	var wg sync.WaitGroup
	errs := make(chan error, 200)
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				var ds []Deposit
				for k := range boxes {
					ds = append(ds, Deposit{BAL: boxes[(k+w+i)%len(boxes)], Letter: l, Generation: 1, Packet: []byte("p"), Size: 10,
						ContentKey: fmt.Appendf(nil, "key-%d", (w*10+i)/2), ReceivedAt: at})
				}
				_, err := h.deposit(ds...)
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range boxes {
		in, err := h.ByRole(t.Context(), h.db, b, mail.Inbox)
		if err != nil {
			t.Fatal(err)
		}
		_, ps, err := h.Snapshot(t.Context(), h.db, in.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(ps) != 40 || in.UIDNext != 41 {
			t.Errorf("%d messages, next UID %d; want 40 and 41", len(ps), in.UIDNext)
		}
		h.checkCounters(in.ID)
	}
}

func TestStandardMailboxesAndAliases(t *testing.T) {
	h := newHouse(t)
	b := h.bal()
	ms, err := h.Mailboxes(t.Context(), h.db, b, testView{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range ms {
		names = append(names, m.Name)
	}
	if d := cmp.Diff([]string{"INBOX", "Brouillons", "Envoyés", "Archives", "Indésirables", "Corbeille"}, names); d != "" {
		t.Error(d)
	}
	for alias, want := range map[string]mail.Role{
		"inbox": mail.Inbox, "Boîte de réception": mail.Inbox, "Drafts": mail.Drafts, "Sent": mail.Sent, "SENT ITEMS": mail.Sent,
		"Sent Messages": mail.Sent, "Éléments envoyés": mail.Sent, "E\u0301le\u0301ments envoye\u0301s": mail.Sent, "Envoyes": mail.Sent,
		"Archive": mail.Archive, "Junk": mail.Junk, "Courrier indésirable": mail.Junk, "Trash": mail.Trash, "Deleted Messages": mail.Trash,
		"Éléments supprimés": mail.Trash,
	} {
		m, err := h.Resolve(t.Context(), h.db, b, alias)
		if err != nil || m.Role != want || m.Name != StandardName(want) {
			t.Errorf("%q resolves to %q %q, %v; want %q", alias, m.Role, m.Name, err, want)
		}
		err = h.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
			_, err := h.CreateTx(ctx, tx, b, alias, testView{}, at)
			return err
		})
		if !fault.Is(err, fault.Conflict) || !strings.HasSuffix(fault.TextOf(err).FR, " : "+StandardName(want)) {
			t.Errorf("CREATE %q: %v, %q", alias, err, fault.TextOf(err).FR)
		}
	}
}

func TestOwnMailboxes(t *testing.T) {
	h := newHouse(t)
	b := h.bal()
	tx := func(f func(ctx context.Context, tx *pg.Tx) error) error { return h.db.InTx(t.Context(), f) }
	create := func(name string) error {
		return tx(func(ctx context.Context, tx *pg.Tx) error {
			_, err := h.CreateTx(ctx, tx, b, name, testView{}, at)
			return err
		})
	}
	rename := func(from, to string) error {
		return tx(func(ctx context.Context, tx *pg.Tx) error { return h.RenameTx(ctx, tx, b, from, to, testView{}, at) })
	}
	remove := func(name string) error {
		return tx(func(ctx context.Context, tx *pg.Tx) error { return h.DeleteTx(ctx, tx, b, name, testView{}) })
	}
	names := func() (out []string) {
		ms, err := h.Mailboxes(t.Context(), h.db, b, testView{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			if m.Role == "" {
				out = append(out, m.Name)
			}
		}
		return out
	}
	steps := []struct {
		name string
		do   func() error
		want fault.Kind // Internal here means no error
		left []string
	}{
		{"create", func() error { return create("Cabinet/2026/") }, 0, []string{"Cabinet", "Cabinet/2026"}},
		{"again", func() error { return create("Cabinet") }, fault.Conflict, nil},
		{"empty level", func() error { return create("a//b") }, fault.Invalid, nil},
		{"star", func() error { return create("a*") }, fault.Invalid, nil},
		{"below an alias", func() error { return create("Archive/2025") }, 0, []string{"Archives/2025", "Cabinet", "Cabinet/2026"}},
		{"rename with children", func() error { return rename("Cabinet", "Santé/Cabinet") }, 0,
			[]string{"Archives/2025", "Santé", "Santé/Cabinet", "Santé/Cabinet/2026"}},
		{"rename below itself", func() error { return rename("Santé", "Santé/x") }, fault.Invalid, nil},
		{"rename to an alias", func() error { return rename("Santé", "Trash") }, fault.Conflict, nil},
		{"rename a standard one", func() error { return rename("Sent", "x") }, fault.Forbidden, nil},
		{"rename nothing", func() error { return rename("nothing", "x") }, fault.NotFound, nil},
		{"delete with children", func() error { return remove("Santé") }, fault.Conflict, nil},
		{"delete a standard one", func() error { return remove("Trash") }, fault.Forbidden, nil},
		{"delete", func() error { return remove("Santé/Cabinet/2026") }, 0, []string{"Archives/2025", "Santé", "Santé/Cabinet"}},
	}
	for _, s := range steps {
		err := s.do()
		if s.want == 0 && err != nil || s.want != 0 && !fault.Is(err, s.want) {
			t.Errorf("%s: %v, want %v", s.name, err, s.want)
		}
		if s.left != nil {
			if d := cmp.Diff(s.left, names()); d != "" {
				t.Errorf("%s: %s", s.name, d)
			}
		}
	}
	old, _ := h.Resolve(t.Context(), h.db, b, "Santé/Cabinet")
	if err := errors.Join(remove("Santé/Cabinet"), create("Santé/Cabinet")); err != nil {
		t.Fatal(err)
	}
	if made, err := h.Resolve(t.Context(), h.db, b, "Santé/Cabinet"); err != nil || made.UIDValidity <= old.UIDValidity {
		t.Errorf("UIDVALIDITY %d then %d, %v: it must rise", old.UIDValidity, made.UIDValidity, err)
	}
	var sealed []byte
	if err := h.db.QueryRow(t.Context(), `SELECT name_sealed FROM mailbox WHERE id = $1`, int64(old.ID)).Scan(&sealed); err == nil {
		t.Error("a deleted mailbox left its row")
	}
}

func TestFlags(t *testing.T) {
	h := newHouse(t)
	mb := h.fill(h.bal(), mail.Inbox, 3)
	store := func(f FlagStore, us ...mail.UID) (changed []Place, modified []mail.UID) {
		t.Helper()
		h.in(func(ctx context.Context, tx *pg.Tx) (err error) {
			changed, modified, err = h.StoreFlagsTx(ctx, tx, mb, us, f)
			return err
		})
		h.checkCounters(mb)
		return changed, modified
	}
	got, _ := store(FlagStore{Op: AddFlags, Flags: Seen | Flagged, Keywords: []string{"$Label4"}}, 1, 2, 99)
	want := []Place{{1, 3, Seen | Flagged, []string{"$Label4"}}, {2, 3, Seen | Flagged, []string{"$Label4"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got, _ = store(FlagStore{Op: AddFlags, Flags: Seen, Keywords: []string{"$label4"}}, 1, 2); got != nil || h.box(mb).ModSeq != 3 {
		t.Errorf("nothing changed, yet %+v and MODSEQ %d", got, h.box(mb).ModSeq)
	}
	if got, _ = store(FlagStore{Op: RemoveFlags, Flags: Seen, Keywords: []string{"$LABEL4", "other"}}, 1); len(got) != 1 ||
		got[0].Flags != Flagged || len(got[0].Keywords) != 0 {
		t.Errorf("removed: %+v", got)
	}
	got, modified := store(FlagStore{Op: SetFlags, Flags: Deleted, UnchangedSince: 3}, 1, 2, 3)
	if !slices.Equal(modified, []mail.UID{1}) || !slices.Equal(uids(got), []mail.UID{2, 3}) || got[0].Flags != Deleted || len(got[0].Keywords) != 0 {
		t.Errorf("conditional: %+v, modified %v", got, modified)
	}
	if m := h.box(mb); m.Unseen != 3 || m.ModSeq != 5 {
		t.Errorf("mailbox %+v", m)
	}
}

func TestCopyMoveExpunge(t *testing.T) {
	h := newHouse(t)
	b, stranger := h.bal(), h.bal()
	in := h.fill(b, mail.Inbox, 5)
	trash, err := h.ByRole(t.Context(), h.db, b, mail.Trash)
	if err != nil {
		t.Fatal(err)
	}
	theirs := h.fill(stranger, mail.Inbox, 1)
	if err := h.KeepViews(t.Context(), in, map[mail.UID][]byte{2: []byte("view")}); err != nil {
		t.Fatal(err)
	}
	h.in(func(ctx context.Context, tx *pg.Tx) error {
		_, _, err := h.StoreFlagsTx(ctx, tx, in, []mail.UID{2, 4}, FlagStore{Op: AddFlags, Flags: Deleted})
		return err
	})
	before := h.box(in).ModSeq
	h.in(func(ctx context.Context, tx *pg.Tx) error {
		got, err := h.CopyTx(ctx, tx, in, trash.ID, []mail.UID{3, 2, 77}, 0)
		if d := cmp.Diff([]Copied{{2, 1}, {3, 2}}, got); d != "" {
			t.Error(d)
		}
		return err
	})
	h.in(func(ctx context.Context, tx *pg.Tx) error {
		got, err := h.MoveTx(ctx, tx, in, trash.ID, []mail.UID{5})
		if d := cmp.Diff([]Copied{{5, 3}}, got); d != "" {
			t.Error(d)
		}
		return err
	})
	h.in(func(ctx context.Context, tx *pg.Tx) error {
		got, err := h.ExpungeTx(ctx, tx, in, []mail.UID{1, 2})
		if d := cmp.Diff([]mail.UID{2}, got); d != "" {
			t.Error(d)
		}
		return err
	})
	h.in(func(ctx context.Context, tx *pg.Tx) error {
		got, err := h.ExpungeTx(ctx, tx, in, nil)
		if d := cmp.Diff([]mail.UID{4}, got); d != "" {
			t.Error(d)
		}
		return err
	})
	cs, err := h.ChangesSince(t.Context(), h.db, in, before)
	if err != nil {
		t.Fatal(err)
	}
	gone := []Change{}
	for _, u := range []mail.UID{5, 2, 4} {
		gone = append(gone, Change{Place: Place{UID: u, ModSeq: before + mail.ModSeq(len(gone)) + 1}, Expunged: true})
	}
	if d := cmp.Diff(gone, cs); d != "" {
		t.Error(d)
	}
	m, err := h.Message(t.Context(), h.db, trash.ID, 1)
	if err != nil || m.Flags != Deleted || string(m.View) != "view" || m.Outline != nil {
		t.Errorf("copy %+v, %v", m, err)
	}
	for _, mb := range []id.Mailbox{in, trash.ID} {
		h.checkCounters(mb)
	}
	for name, f := range map[string]func(ctx context.Context, tx *pg.Tx) error{
		"copy to a stranger": func(ctx context.Context, tx *pg.Tx) error {
			_, err := h.CopyTx(ctx, tx, in, theirs, []mail.UID{1}, 0)
			return err
		},
		"move to a stranger": func(ctx context.Context, tx *pg.Tx) error {
			_, err := h.MoveTx(ctx, tx, in, theirs, []mail.UID{1})
			return err
		},
	} {
		if err := h.db.InTx(t.Context(), f); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err = h.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		_, err := h.CopyTx(ctx, tx, in, trash.ID, []mail.UID{1}, 550)
		return err
	})
	if !fault.Is(err, fault.Quota) {
		t.Errorf("copy over quota: %v", err)
	}
}

func TestSnapshotAndNewest(t *testing.T) {
	h := newHouse(t)
	b := h.bal()
	mb := h.fill(b, mail.Inbox, 4)
	box, ps, err := h.Snapshot(t.Context(), h.db, mb)
	if err != nil || box.UIDNext != 5 || box.ModSeq != 2 || !slices.Equal(uids(ps), []mail.UID{1, 2, 3, 4}) {
		t.Errorf("%+v %+v %v", box, ps, err)
	}
	ms, err := h.Newest(t.Context(), h.db, mb, 4, 2)
	if err != nil || len(ms) != 2 || ms[0].UID != 3 || ms[1].UID != 2 {
		t.Errorf("%+v %v", ms, err)
	}
	if _, _, err := h.Snapshot(t.Context(), h.db, 1<<40); !fault.Is(err, fault.NotFound) {
		t.Errorf("no mailbox: %v", err)
	}
	sent, err := h.ByRole(t.Context(), h.db, b, mail.Sent)
	if err != nil {
		t.Fatal(err)
	}
	if box, ps, err := h.Snapshot(t.Context(), h.db, sent.ID); err != nil || len(ps) != 0 || box.UIDNext != 1 || box.ModSeq != 1 {
		t.Errorf("empty: %+v %+v %v", box, ps, err)
	}
}

// blobs is a blob store that only remembers names.
type blobs map[id.ID]time.Time

func (b blobs) Delete(_ context.Context, name id.ID) error { delete(b, name); return nil }
func (b blobs) Each(_ context.Context, f func(id.ID, int64, time.Time) error) error {
	for n, at := range b {
		if err := f(n, 1, at); err != nil {
			return err
		}
	}
	return nil
}

func TestSweep(t *testing.T) {
	h := newHouse(t)
	b := h.bal()
	now := time.Now()
	held, loose, queued, young := h.letter(10), h.letter(10), h.letter(10), h.letter(10)
	orphan, fresh := id.New(), id.New()
	if _, err := h.deposit(Deposit{BAL: b, Letter: held, Generation: 1, Packet: []byte("p"), Size: 10, ContentKey: []byte("old"), ReceivedAt: now.Add(-8 * 24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	h.in(func(ctx context.Context, tx *pg.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE letter SET created_at = now() - interval '2 hours' WHERE id <> $1`, [16]byte(young)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO outbound (letter_id, packet, generation, domain, reverse_path, queued_at, expires_at, next_at)
			VALUES ($1, '', 1, 'mss-b.example', '', now(), now(), now())`, [16]byte(queued))
		return err
	})
	old := now.Add(-2 * time.Hour)
	bs := blobs{held: old, loose: old, queued: old, young: now, orphan: old, fresh: now}
	n, err := h.Sweep(t.Context(), bs, now, time.Hour)
	if err != nil || n != (Swept{Letters: 1, Blobs: 2, Keys: 1}) {
		t.Errorf("swept %+v, %v", n, err)
	}
	for _, x := range []id.ID{held, queued, young, fresh} {
		if _, ok := bs[x]; !ok {
			t.Errorf("swept a blob that is needed: %v", slices.Index([]id.ID{held, queued, young, fresh}, x))
		}
	}
	if len(bs) != 4 {
		t.Errorf("%d blobs left, want 4", len(bs))
	}
}

func TestStatements(t *testing.T) {
	db := pgtest.DB(t)
	for i, sql := range []string{insertLetter, deposit, usedSize, createMailbox, listMailboxes, mailboxByName, mailboxByRole, mailboxByID,
		renameMailbox, lockMailbox, deleteMessages, deleteMailbox, subscribe, snapshot, changesSince, places, messagesByUID, linesByUID, newest, byMessageID,
		countDeleted, keepViews, storeFlags, modifiedSince, bumpUnseen, lockMailboxes, copyMessages, removeMessages,
		sweepLetters, orphans, sweepKeys, keepContentKeys, findByMessageID} {
		if _, err := db.Exec(t.Context(), "PREPARE s"+fmt.Sprint(i)+" AS "+sql); err != nil {
			t.Errorf("%v: %s", err, sql)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"INBOX", "Sent/a", "é/e\u0301", "a//b", "*", "\xff", "/", "a/", " a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Canonical(s)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		if again, err := Canonical(c); err != nil || again != c {
			t.Fatalf("%q becomes %q, then %q, %v", s, c, again, err)
		}
	})
}

func BenchmarkDepositAll(b *testing.B) {
	h := newHouse(b)
	var boxes []id.BAL
	for range 5 {
		boxes = append(boxes, h.bal())
	}
	l := h.letter(5000)
	for i := 0; b.Loop(); i++ {
		var ds []Deposit
		for _, x := range boxes {
			ds = append(ds, Deposit{BAL: x, Letter: l, Generation: 1, Packet: make([]byte, 96), Size: 5000, ContentKey: fmt.Appendf(nil, "%d", i),
				MessageIDKey: fmt.Appendf(nil, "m%d", i), ThreadKey: fmt.Appendf(nil, "t%d", i), ReceivedAt: at})
		}
		if _, err := h.deposit(ds...); err != nil {
			b.Fatal(err)
		}
	}
}
