package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pli/codec/message"
	"pli/directory"
	"pli/fault"
	"pli/identity"
	"pli/internal/blob"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mailstore"
	"pli/policy"
	"pli/seal"
)

// readHouse is what a reader reads from: real rooms, and a gate that says what the
// test wants.
type readHouse struct {
	t      testing.TB
	db     *pg.DB
	seal   *seal.Service
	mail   *mailstore.Store
	blobs  blob.Store
	dir    string // of the blobs
	reader *Reader
	bal    id.BAL
	holder id.Holder

	asked    []policy.Question
	deny     error
	readOnly bool
}

func (h *readHouse) Do(ctx context.Context, qs []policy.Question, act func(context.Context, *pg.Tx, []policy.Decision) error) error {
	h.asked = append(h.asked, qs...)
	if h.deny != nil {
		return h.deny
	}
	d := policy.Decision{Effect: policy.Permit, Obligations: []policy.Obligation{policy.Trace}}
	if h.readOnly {
		d.Obligations = append(d.Obligations, policy.ReadOnly)
	}
	return h.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error { return act(ctx, tx, []policy.Decision{d}) })
}

func (h *readHouse) Ask(context.Context, policy.Question) (policy.Decision, error) {
	if h.deny != nil {
		return policy.Decision{Effect: policy.Deny, Reasons: []policy.Reason{{Rule: "test"}}}, nil
	}
	return policy.Decision{Effect: policy.Permit}, nil
}

func (h *readHouse) ByID(_ context.Context, _ pg.Querier, b id.BAL) (directory.BAL, error) {
	return directory.BAL{ID: b, Holder: h.holder}, nil
}

func readNeed[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newReadHouse(t testing.TB) *readHouse {
	t.Helper()
	dir := t.TempDir()
	if err := seal.NewKeyFile(filepath.Join(dir, "operator.key")); err != nil {
		t.Fatal(err)
	}
	if err := seal.NewIndexFile(filepath.Join(dir, "index.key")); err != nil {
		t.Fatal(err)
	}
	h := &readHouse{t: t, db: pgtest.DB(t), dir: filepath.Join(dir, "blobs")}
	h.seal = seal.New(h.db, readNeed(seal.OpenKeyFiles(filepath.Join(dir, "operator.key")))(t))
	h.mail = mailstore.New(h.db, readNeed(seal.OpenIndex(filepath.Join(dir, "index.key")))(t))
	h.blobs = readNeed(blob.OpenFiles(h.dir))(t)
	h.in(func(ctx context.Context, tx *pg.Tx) (err error) {
		if h.holder, err = h.seal.CreateHolderTx(ctx, tx, seal.PurposeBAL); err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `INSERT INTO bal (address_key, address, kind, state, holder_id) VALUES ('k', 'anne.martin@mss-a.example', 'PER', 'active', $1)
			RETURNING id`, int64(h.holder)).Scan(&h.bal)
		if err != nil {
			return err
		}
		return h.mail.CreateStandardTx(ctx, tx, h.bal, time.Now())
	})
	h.reader = NewReader(ReaderDeps{DB: h.db, Mail: h.mail, Gate: h, Boxes: h, Seal: h.seal, Blobs: h.blobs, SpoolDir: dir, QuotaSize: 1 << 30, Log: slog.New(slog.DiscardHandler)})
	return h
}

func (h *readHouse) in(f func(ctx context.Context, tx *pg.Tx) error) {
	h.t.Helper()
	if err := h.db.InTx(h.t.Context(), f); err != nil {
		h.t.Fatal(err)
	}
}

// put seals and deposits a message and returns its row.
func (h *readHouse) put(raw string) mailstore.Message {
	h.t.Helper()
	ctx := h.t.Context()
	k, err := seal.NewSessionKey()
	if err != nil {
		h.t.Fatal(err)
	}
	defer k.Clear()
	name := id.New()
	w, err := h.blobs.Create(ctx, name)
	if err != nil {
		h.t.Fatal(err)
	}
	body, err := k.SealTo(w)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = io.WriteString(body, raw)
	for _, err := range []error{err, body.Close(), w.Commit()} {
		if err != nil {
			h.t.Fatal(err)
		}
	}
	out, err := message.Scan(strings.NewReader(raw), message.Limits{})
	if err != nil {
		h.t.Fatal(err)
	}
	sealed, err := k.SealValue(out.Marshal())
	if err != nil {
		h.t.Fatal(err)
	}
	pub, err := h.seal.Public(ctx, h.holder)
	if err != nil {
		h.t.Fatal(err)
	}
	packet, err := k.PacketFor(pub)
	if err != nil {
		h.t.Fatal(err)
	}
	var placed mailstore.Placed
	h.in(func(ctx context.Context, tx *pg.Tx) (err error) {
		if err = h.mail.InsertLetterTx(ctx, tx, mailstore.Letter{ID: name, Size: int64(len(raw)), SealedSize: body.Size(), SealedSHA256: body.Sum(), Outline: sealed}); err != nil {
			return err
		}
		placed, err = h.mail.DepositTx(ctx, tx, mailstore.Deposit{BAL: h.bal, Letter: name, Generation: packet.Generation, Packet: packet.Bytes, Size: int64(len(raw)), ReceivedAt: time.Now()})
		return err
	})
	return h.row(placed)
}

func (h *readHouse) row(p mailstore.Placed) mailstore.Message {
	h.t.Helper()
	m, err := h.mail.Message(h.t.Context(), h.db, p.Mailbox, p.UID)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

func (h *readHouse) open() *OpenBAL {
	h.t.Helper()
	o, err := h.reader.Open(h.t.Context(), identity.SignIn{Account: 3, BAL: h.bal, Means: identity.ByAppPassword})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(o.Close)
	return o
}

const readSample = "From: Anne Martin <anne.martin@mss-a.example>\r\nSubject: essai\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"R=E9sultat normal.\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--b--\r\n"

func TestOpenIsDecidedAndTracedOnce(t *testing.T) {
	h := newReadHouse(t)
	h.readOnly = true
	o := h.open()
	m := h.put(readSample)
	for range 2 {
		if _, err := o.Outline(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.asked) != 1 || h.asked[0].Action != policy.OpenBAL || h.asked[0].Object.BAL != h.bal || h.asked[0].Actor.Means != "imap" {
		t.Errorf("asked %+v", h.asked)
	}
	if !o.ReadOnly || o.QuotaSize != 1<<30 {
		t.Errorf("read-only %v, quota %d", o.ReadOnly, o.QuotaSize)
	}
	if err := o.StillAllowed(t.Context()); err != nil {
		t.Errorf("later: %v", err)
	}
	h.deny = fault.New(fault.Closed, "gate.Do", "R-OPEN-02")
	if _, err := h.reader.Open(t.Context(), identity.SignIn{BAL: h.bal, Means: identity.ByWeb}); !fault.Is(err, fault.Closed) {
		t.Errorf("denied: %v", err)
	}
	if err := o.StillAllowed(t.Context()); err == nil {
		t.Error("a session outlives its right")
	}
	if h.asked[1].Actor.Means != "web" {
		t.Errorf("asked %+v", h.asked[1])
	}
}

func TestOutlinesAreKeptUnderTheViewKey(t *testing.T) {
	h := newReadHouse(t)
	o := h.open()
	var ms []mailstore.Message
	for i := range 40 {
		ms = append(ms, h.put(fmt.Sprintf("Subject: numéro %d\r\n\r\ncorps\r\n", i)))
	}
	bad := ms[7]
	ms[7].Outline = []byte("altered")
	outs, err := o.Outlines(t.Context(), ms)
	if err != nil {
		t.Fatal(err)
	}
	for i, out := range outs {
		if i == 7 {
			if out != nil {
				t.Error("an altered outline opened")
			}
		} else if got := out.Fields().Subject(); got != fmt.Sprintf("numéro %d", i) {
			t.Errorf("outline %d says %q", i, got)
		}
	}
	o.jobs.Wait()
	again := h.row(mailstore.Placed{Mailbox: ms[3].Mailbox, UID: ms[3].UID})
	if again.View == nil || again.Outline != nil {
		t.Fatalf("no view was kept: %+v", again)
	}
	if bytes.Contains(again.View, []byte("num")) {
		t.Error("the view is in clear")
	}
	if h.row(mailstore.Placed{Mailbox: bad.Mailbox, UID: bad.UID}).View != nil {
		t.Error("an altered outline was kept")
	}
	out, err := o.Outline(t.Context(), again)
	if err != nil || out.Fields().Subject() != "numéro 3" {
		t.Errorf("from the view: %v", err)
	}
	swapped := again
	swapped.Letter = ms[4].Letter
	if _, err := o.Outline(t.Context(), swapped); !fault.Is(err, fault.Corrupt) {
		t.Errorf("another letter's view opened: %v", err)
	}
}

func TestBodyAtAndPart(t *testing.T) {
	h := newReadHouse(t)
	o := h.open()
	m := h.put(readSample)
	r, err := o.Body(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != readSample || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	first, err := o.At(t.Context(), m)
	if err != nil || first.Size() != int64(len(readSample)) {
		t.Fatal(err)
	}
	second, err := o.At(t.Context(), h.put("Subject: autre\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if _, err := first.ReadAt(buf, 0); err != nil || string(buf) != "From" {
		t.Errorf("one lent earlier: %q, %v", buf, err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := first.ReadAt(buf, 0); err == nil {
		t.Error("nobody holds it any more, and it still reads")
	}
	_ = second.Close()
	for _, c := range []struct {
		path []int
		want string
	}{{[]int{1}, "Résultat normal."}, {[]int{2}, "%PDF-"}} {
		r, p, err := o.Part(t.Context(), m, c.path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != c.want || err != nil {
			t.Errorf("part %v (%s): %q, %v", c.path, p.Type(), got, err)
		}
		_ = r.Close()
	}
	if _, _, err := o.Part(t.Context(), m, []int{3}); !fault.Is(err, fault.NotFound) {
		t.Errorf("no such part: %v", err)
	}
}

// What was altered on the disk never ends well: every way of reading says Corrupt.
func TestAlteredBlob(t *testing.T) {
	h := newReadHouse(t)
	o := h.open()
	alter := func(f func(b []byte) []byte) mailstore.Message {
		m := h.put(readSample + strings.Repeat("x", 5000))
		var path string
		err := filepath.WalkDir(h.dir, func(p string, d os.DirEntry, err error) error {
			if err == nil && strings.Contains(filepath.Base(p), m.Letter.String()) {
				path = p
			}
			return err
		})
		if err != nil || path == "" {
			t.Fatalf("no blob file: %v", err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(path)
		if b = f(b); b != nil {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	for name, f := range map[string]func(b []byte) []byte{
		"flipped": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)-10] },
		"gone":    func([]byte) []byte { return nil },
	} {
		m := alter(f)
		r, err := o.Body(t.Context(), m)
		if err == nil {
			_, err = io.ReadAll(r)
			_ = r.Close()
		}
		if !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: Body says %v", name, err)
		}
		if _, err := o.At(t.Context(), m); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: At says %v", name, err)
		}
	}
	longer := h.put(readSample)
	longer.Size--
	if _, err := o.At(t.Context(), longer); !fault.Is(err, fault.Corrupt) {
		t.Errorf("another length than the row says: %v", err)
	}
}
