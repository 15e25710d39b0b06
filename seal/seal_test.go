package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ProtonMail/gopenpgp/v2/crypto"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

// marked is a sentence that must be found nowhere.
const marked = "PLI-CANARI-7: la glycémie à jeun de Mme Exemple est de 1,12 g/L"

func newKeys(t testing.TB, n int) []string {
	t.Helper()
	var paths []string
	for i := range n {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("operator-%d.key", i))
		if err := NewKeyFile(path); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func openKeys(t testing.TB, paths ...string) *KeyFiles {
	t.Helper()
	k, err := OpenKeyFiles(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newService(t testing.TB) (*Service, *pg.DB) {
	t.Helper()
	db := pgtest.DB(t)
	return New(db, openKeys(t, newKeys(t, 1)...)), db
}

func newHolder(t testing.TB, s *Service, p Purpose) id.Holder {
	t.Helper()
	var h id.Holder
	err := s.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) (err error) {
		h, err = s.CreateHolderTx(ctx, tx, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func unlock(t testing.TB, s *Service, h id.Holder) *Unlocked {
	t.Helper()
	u, err := s.Unlock(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func newKey(t testing.TB) *SessionKey {
	t.Helper()
	k, err := NewSessionKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func packetFor(t testing.TB, s *Service, k *SessionKey, h id.Holder) Packet {
	t.Helper()
	public, err := s.Public(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	p, err := k.PacketFor(public)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func sealBody(t testing.TB, k *SessionKey, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := k.SealTo(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Size() != int64(out.Len()) {
		t.Fatalf("Size %d, written %d", w.Size(), out.Len())
	}
	return out.Bytes()
}

func openAll(k *SessionKey, sealed []byte) ([]byte, error) {
	r, err := k.OpenFrom(bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestFiveHoldersReadOneBlob(t *testing.T) {
	s, _ := newService(t)
	body := []byte(strings.Repeat(marked+"\r\n", 2000))
	k := newKey(t)
	sealed := sealBody(t, k, body)
	if bytes.Contains(sealed, []byte("CANARI")) {
		t.Fatal("the body is stored in clear")
	}
	outline, err := k.SealValue(body[:3000])
	if err != nil {
		t.Fatal(err)
	}
	holders := map[id.Holder]Packet{}
	for range 5 {
		h := newHolder(t, s, PurposeBAL)
		holders[h] = packetFor(t, s, k, h)
	}
	k.Clear()
	stranger := unlock(t, s, newHolder(t, s, PurposeDossier))
	for h, p := range holders {
		if n := len(p.Bytes); n > 120 {
			t.Errorf("a packet has %d octets", n)
		}
		key, err := unlock(t, s, h).SessionKey(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := openAll(key, sealed); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("body: %d octets, %v", len(got), err)
		}
		if got, err := key.OpenValue(outline); err != nil || !bytes.Equal(got, body[:3000]) {
			t.Fatalf("outline: %v", err)
		}
		if _, err := stranger.SessionKey(p); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("a stranger opened a packet: %v", err)
		}
	}
}

func TestBodySizes(t *testing.T) {
	k := newKey(t)
	for _, n := range []int{0, 1, 2, 511, 512, 513, 32<<10 - 1, 128 << 10, window + 1, 3<<20 + 7} {
		for name, body := range map[string][]byte{"text": text(n), "chance": chance(n)} {
			sealed := sealBody(t, k, body)
			got, err := openAll(k, sealed)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s %d: got %d octets, %v", name, n, len(got), err)
			}
			if over := len(sealed) - n; over > 100+n/1000 {
				t.Errorf("%s %d: %d octets more when sealed", name, n, over)
			}
		}
	}
}

func TestSealedOctetsAreOpenPGP(t *testing.T) {
	s, _ := newService(t)
	h := newHolder(t, s, PurposeBAL)
	k := newKey(t)
	sealed := sealBody(t, k, []byte(marked))
	p := packetFor(t, s, k, h)
	u := unlock(t, s, h)
	if err := u.unlock(1); err != nil {
		t.Fatal(err)
	}
	message := crypto.NewPGPSplitMessage(p.Bytes, sealed).GetPGPMessage()
	if _, err := u.rings[1].Decrypt(message, nil, 0); err != nil {
		t.Fatalf("another reader of OpenPGP does not open packet and body: %v", err)
	}
}

func TestAlteredBodyIsAnError(t *testing.T) {
	k := newKey(t)
	for name, body := range map[string][]byte{"empty": nil, "short": []byte(marked), "long": text(70000)} {
		sealed := sealBody(t, k, body)
		step := max(1, len(sealed)/250)
		for i := 0; i < len(sealed); i += step {
			for _, bit := range []byte{0x01, 0x10, 0x80} {
				bad := bytes.Clone(sealed)
				bad[i] ^= bit
				if _, err := openAll(k, bad); !fault.Is(err, fault.Corrupt) {
					t.Fatalf("%s: octet %d of %d altered by %#x: %v", name, i, len(sealed), bit, err)
				}
			}
			if _, err := openAll(k, sealed[:i]); !fault.Is(err, fault.Corrupt) {
				t.Fatalf("%s: cut at %d of %d: %v", name, i, len(sealed), err)
			}
		}
		for _, more := range [][]byte{{0}, {packetTag}, sealed} {
			if _, err := openAll(k, append(bytes.Clone(sealed), more...)); !fault.Is(err, fault.Corrupt) {
				t.Fatalf("%s: lengthened by %d: %v", name, len(more), err)
			}
		}
		if _, err := openAll(newKey(t), sealed); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("%s: another key: %v", name, err)
		}
	}
}

func TestAlteredValueIsAnError(t *testing.T) {
	s, _ := newService(t)
	h := newHolder(t, s, PurposeRegister)
	u := unlock(t, s, h)
	k := newKey(t)
	for name, value := range map[string][]byte{"empty": {}, "short": []byte("x"), "long": text(3000)} {
		sealedValue, err := k.SealValue(value)
		if err != nil {
			t.Fatal(err)
		}
		sealedFor, err := s.SealFor(t.Context(), h, value)
		if err != nil {
			t.Fatal(err)
		}
		opens := map[string]struct {
			sealed []byte
			open   func([]byte) ([]byte, error)
		}{
			"value": {sealedValue, k.OpenValue},
			"for":   {sealedFor, u.OpenSealed},
			"view":  {u.SealView("message 7|3", value), func(b []byte) ([]byte, error) { return u.OpenView("message 7|3", b) }},
		}
		for form, o := range opens {
			if got, err := o.open(o.sealed); err != nil || !bytes.Equal(got, value) {
				t.Fatalf("%s %s: %v", name, form, err)
			}
			step := max(1, len(o.sealed)/200)
			for i := 0; i < len(o.sealed); i += step {
				bad := bytes.Clone(o.sealed)
				bad[i] ^= 0x04
				if _, err := o.open(bad); !fault.Is(err, fault.Corrupt) && !sameAnswer(o.open, bad, value) {
					t.Fatalf("%s %s: octet %d of %d altered: %v", name, form, i, len(o.sealed), err)
				}
				if _, err := o.open(o.sealed[:i]); !fault.Is(err, fault.Corrupt) {
					t.Fatalf("%s %s: cut at %d: %v", name, form, i, err)
				}
			}
			if _, err := o.open(append(bytes.Clone(o.sealed), 0)); !fault.Is(err, fault.Corrupt) {
				t.Fatalf("%s %s: lengthened: %v", name, form, err)
			}
		}
		if _, err := u.OpenView("message 7|4", opens["view"].sealed); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("%s: a view opened in another's place: %v", name, err)
		}
	}
}

// sameAnswer is the one harmless case: a key packet has octets that bind nothing (the
// recipient's key id, RFC 4880 §5.1), and altering them changes nothing.
func sameAnswer(open func([]byte) ([]byte, error), b, want []byte) bool {
	got, err := open(b)
	return err == nil && bytes.Equal(got, want)
}

func TestLargeValueAndItsBound(t *testing.T) {
	k := newKey(t)
	value := text(5 << 20)
	sealed, err := k.SealValue(value)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.OpenValue(sealed); err != nil || !bytes.Equal(got, value) {
		t.Fatalf("5 MiB value: %v", err)
	}
	if _, err := k.SealValue(make([]byte, maxValue+1)); !fault.Is(err, fault.TooLarge) {
		t.Fatalf("a value that would not open again: %v", err)
	}
	bomb, err := k.key.Encrypt(&crypto.PlainMessage{Data: pack(make([]byte, maxValue+1))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.OpenValue(bomb); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("%d octets unpacked to more than %d: %v", len(bomb), maxValue, err)
	}
}

func TestReaderErrorIsNotTakenForTampering(t *testing.T) {
	k := newKey(t)
	sealed := sealBody(t, k, chance(200000))
	away := errors.New("the store is away")
	for _, n := range []int{0, 10, 100000} {
		r, err := k.OpenFrom(io.MultiReader(bytes.NewReader(sealed[:n]), iotest.ErrReader(away)))
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !fault.Is(err, fault.Unavailable) || !errors.Is(err, away) {
			t.Errorf("after %d octets: %v", n, err)
		}
	}
}

func TestMovedSlotDoesNotOpen(t *testing.T) {
	s, db := newService(t)
	a, b := newHolder(t, s, PurposeBAL), newHolder(t, s, PurposeBAL)
	if _, err := db.Exec(t.Context(), `UPDATE seal_slot SET wrapped =
		(SELECT wrapped FROM seal_slot WHERE holder_id = $1) WHERE holder_id = $2`, a, b); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unlock(t.Context(), b); fault.CodeOf(err) != "slot-does-not-open" {
		t.Fatalf("a moved slot: %v", err)
	}
	if _, err := s.Unlock(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unlock(t.Context(), b+1000); !fault.Is(err, fault.NotFound) {
		t.Fatalf("no such holder: %v", err)
	}
}

func TestSwappedPrivateKeyDoesNotOpen(t *testing.T) {
	s, db := newService(t)
	a, b := newHolder(t, s, PurposeBAL), newHolder(t, s, PurposeBAL)
	p := packetFor(t, s, newKey(t), a)
	if _, err := db.Exec(t.Context(), `UPDATE seal_key SET private =
		(SELECT private FROM seal_key WHERE holder_id = $1) WHERE holder_id = $2`, a, b); err != nil {
		t.Fatal(err)
	}
	if _, err := unlock(t, s, b).SessionKey(p); fault.CodeOf(err) != "key-does-not-unlock" {
		t.Fatalf("another's private key: %v", err)
	}
}

func TestRotationKeepsOlderLettersReadable(t *testing.T) {
	s, _ := newService(t)
	h := newHolder(t, s, PurposeBAL)
	older := newKey(t)
	sealed := sealBody(t, older, []byte(marked))
	p1 := packetFor(t, s, older, h)
	view := unlock(t, s, h).SealView("m", []byte(marked))
	if err := s.Rotate(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	p2 := packetFor(t, s, older, h)
	if p1.Generation != 1 || p2.Generation != 2 {
		t.Fatalf("generations %d, %d", p1.Generation, p2.Generation)
	}
	u := unlock(t, s, h)
	if u.Public().Generation != 2 {
		t.Fatalf("the newest key is %d", u.Public().Generation)
	}
	for _, p := range []Packet{p1, p2} {
		key, err := u.SessionKey(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := openAll(key, sealed); err != nil || string(got) != marked {
			t.Fatalf("generation %d: %v", p.Generation, err)
		}
	}
	if got, err := u.OpenView("m", view); err != nil || string(got) != marked {
		t.Fatalf("a view from before the rotation: %v", err)
	}
	if _, err := u.SessionKey(Packet{Generation: 1, Bytes: p2.Bytes}); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("a packet under another generation: %v", err)
	}
	if _, err := u.SessionKey(Packet{Generation: 3, Bytes: p2.Bytes}); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("a generation that is not: %v", err)
	}
}

func TestAnotherProcessSeesARotationWithinTheTTL(t *testing.T) {
	s, db := newService(t)
	h := newHolder(t, s, PurposeBAL)
	other := New(db, s.custodian)
	start := other.now()
	other.now = func() time.Time { return start }
	if p, err := other.Public(t.Context(), h); err != nil || p.Generation != 1 {
		t.Fatal(p.Generation, err)
	}
	if err := s.Rotate(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Public(t.Context(), h); err != nil || p.Generation != 2 {
		t.Fatal("the process that rotated still uses the older key", err)
	}
	if p, err := other.Public(t.Context(), h); err != nil || p.Generation != 1 {
		t.Fatal("not cached", p.Generation, err)
	}
	other.now = func() time.Time { return start.Add(publicTTL) }
	if p, err := other.Public(t.Context(), h); err != nil || p.Generation != 2 {
		t.Fatal("an older key is used for ever", p.Generation, err)
	}
}

func TestRewrapThenDropTheOlderOperatorKey(t *testing.T) {
	db := pgtest.DB(t)
	keys := newKeys(t, 2)
	s := New(db, openKeys(t, keys[0]))
	if err := s.EnsureHouse(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := newHolder(t, s, PurposeBAL)
	sealed, err := s.SealFor(t.Context(), h, []byte(marked))
	if err != nil {
		t.Fatal(err)
	}
	both := New(db, openKeys(t, keys[1], keys[0]))
	if n, err := both.RewrapAll(t.Context()); n != 4 || err != nil {
		t.Fatalf("rewrapped %d, %v", n, err)
	}
	if n, err := both.RewrapAll(t.Context()); n != 0 || err != nil {
		t.Fatalf("rewrapped again %d, %v", n, err)
	}
	if _, err := s.Unlock(t.Context(), h); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("the older key alone: %v", err)
	}
	newer := New(db, openKeys(t, keys[1]))
	if got, err := unlock(t, newer, h).OpenSealed(sealed); err != nil || string(got) != marked {
		t.Fatalf("the newer key alone: %v", err)
	}
}

func TestEnsureHouseFromSeveralProcesses(t *testing.T) {
	s, db := newService(t)
	if _, err := s.House(t.Context(), PurposeRelay); !fault.Is(err, fault.NotFound) {
		t.Fatalf("before: %v", err)
	}
	done := make(chan error)
	for range 4 {
		go func() { done <- New(db, s.custodian).EnsureHouse(t.Context()) }()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	seen := map[id.Holder]bool{}
	for _, p := range housePurposes() {
		h, err := s.House(t.Context(), p)
		if err != nil || seen[h] {
			t.Fatalf("%s: %d, %v", p, h, err)
		}
		seen[h] = true
		unlock(t, s, h)
	}
	if _, err := s.House(t.Context(), PurposeBAL); err == nil {
		t.Fatal("a BAL is no duty of the house")
	}
}

func TestClosedHolderOpensNothing(t *testing.T) {
	s, _ := newService(t)
	h := newHolder(t, s, PurposeBAL)
	u, err := s.Unlock(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	p := packetFor(t, s, newKey(t), h)
	if _, err := u.SessionKey(p); err != nil {
		t.Fatal(err)
	}
	secret, view := u.secret, u.SealView("m", []byte("x"))
	u.Close()
	u.Close()
	if !bytes.Equal(secret, make([]byte, secretSize)) {
		t.Fatal("the holder's secret stays in memory")
	}
	if _, err := u.SessionKey(p); err == nil {
		t.Fatal("a closed holder opens packets")
	}
	if _, err := u.OpenView("m", view); err == nil {
		t.Fatal("a closed holder opens views")
	}
	if u.SealView("m", []byte("x")) != nil {
		t.Fatal("a closed holder seals views")
	}
}

func TestStoredRowsHoldNoSecret(t *testing.T) {
	s, db := newService(t)
	h := newHolder(t, s, PurposeBAL)
	u := unlock(t, s, h)
	var private, wrapped []byte
	if err := db.QueryRow(t.Context(), `SELECT k.private, s.wrapped FROM seal_key k JOIN seal_slot s
		USING (holder_id) WHERE holder_id = $1`, h).Scan(&private, &wrapped); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, u.secret) || bytes.Contains(private, u.secret) {
		t.Fatal("the secret is stored in clear")
	}
	key, err := crypto.NewKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if locked, err := key.IsLocked(); err != nil || !locked {
		t.Fatal("the private half is stored unlocked")
	}
	for _, sub := range key.GetEntity().Subkeys {
		if !sub.PrivateKey.Encrypted {
			t.Fatal("the private half of the sealing key is stored unlocked")
		}
	}
}

func TestKeyFilesRefuse(t *testing.T) {
	if _, err := OpenKeyFiles(); err == nil {
		t.Error("no key file at all")
	}
	path := newKeys(t, 1)[0]
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyFiles(path); fault.CodeOf(err) != "readable-by-others" {
		t.Errorf("group reads: %v", err)
	}
}

func TestIndexKeys(t *testing.T) {
	open := func() *Index {
		path := filepath.Join(t.TempDir(), "index.key")
		if err := NewIndexFile(path); err != nil {
			t.Fatal(err)
		}
		ix, err := OpenIndex(path)
		if err != nil {
			t.Fatal(err)
		}
		return ix
	}
	ix := open()
	base := ix.Key("login", "ab", "c")
	if len(base) != 16 || !bytes.Equal(base, ix.Key("login", "ab", "c")) {
		t.Fatal("not 16 octets, or not stable")
	}
	for name, other := range map[string][]byte{
		"parts":  ix.Key("login", "a", "bc"),
		"domain": ix.Key("logina", "b", "c"),
		"fewer":  ix.Key("login", "abc"),
		"key":    open().Key("login", "ab", "c"),
	} {
		if bytes.Equal(base, other) {
			t.Errorf("%s: two values meet", name)
		}
	}
}

func TestStatements(t *testing.T) {
	db := pgtest.DB(t)
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{sqlPublic, sqlHouse, sqlHouseLock, sqlHouseAll, sqlNewHolder, sqlNewKey,
		sqlNewSlot, sqlSlot, sqlKeys, sqlLockHolder, sqlSlotTx, sqlNewest, sqlRetire, sqlStale, sqlRewrap} {
		if _, err := conn.Conn().Prepare(t.Context(), "", sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
