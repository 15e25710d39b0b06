package seal

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"pli/fault"
)

func filled(t *testing.T, dir string, body []byte) *Spool {
	t.Helper()
	s, err := NewSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 77_777)
		if k, err := s.Write(rest[:n]); k != n || err != nil {
			t.Fatal(k, err)
		}
		rest = rest[n:]
	}
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpoolGivesBackWhatItGot(t *testing.T) {
	for _, n := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, 3*chunkSize + 5} {
		body := chance(n)
		s := filled(t, t.TempDir(), body)
		if s.Size() != int64(n) {
			t.Fatalf("%d: size %d", n, s.Size())
		}
		got, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d: in order: %d octets, %v", n, len(got), err)
		}
		r := rand.New(rand.NewPCG(4, 5))
		for range 50 {
			off := r.IntN(n + 1)
			p := make([]byte, r.IntN(n-off+1))
			if k, err := s.ReadAt(p, int64(off)); k != len(p) || err != nil || !bytes.Equal(p, body[off:off+k]) {
				t.Fatalf("%d: %d at %d: %d, %v", n, len(p), off, k, err)
			}
		}
		if k, err := s.ReadAt(make([]byte, 10), int64(n)); k != 0 || err != io.EOF {
			t.Fatalf("%d: past the end: %d, %v", n, k, err)
		}
	}
}

func TestSpoolLeavesNoFileAndNoClearText(t *testing.T) {
	dir := t.TempDir()
	body := bytes.Repeat([]byte(marked), 50_000)
	s := filled(t, dir, body)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Fatalf("the file has a name: %v, %v", left, err)
	}
	raw := make([]byte, 4*sealedSize)
	n, err := s.file.ReadAt(raw, 0)
	if err != io.EOF || n < len(body) || bytes.Contains(raw[:n], []byte("CANARI")) {
		t.Fatalf("the file holds clear text, or is not there: %d, %v", n, err)
	}
	inHand := s.piece[:cap(s.piece)]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(inHand, []byte("CANARI")) {
		t.Fatal("clear text stays in memory")
	}
	if _, err := s.ReadAt(raw, 0); err == nil {
		t.Fatal("a closed spool reads")
	}
	small := filled(t, "/nowhere/at/all", []byte(marked))
	if small.file != nil {
		t.Fatal("a small spool has a file")
	}
}

func TestAlteredSpoolIsAnError(t *testing.T) {
	s := filled(t, t.TempDir(), text(2*chunkSize+100))
	if _, err := s.file.WriteAt([]byte{0xff, 0xff}, sealedSize+1000); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	if _, err := s.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.ReadAt(p, chunkSize+5); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("an altered piece: %v", err)
		}
	}
	if _, err := s.ReadAt(p, 2*chunkSize); err != nil {
		t.Fatalf("the piece after: %v", err)
	}
}

func TestSpoolReadByMany(t *testing.T) {
	body := chance(3 * chunkSize)
	s := filled(t, t.TempDir(), body)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			got, err := io.ReadAll(io.NewSectionReader(s, int64(i)*1000, chunkSize))
			if err != nil || !bytes.Equal(got, body[i*1000:i*1000+chunkSize]) {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestSpoolOrderOfCalls(t *testing.T) {
	s, err := NewSpool("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAt(make([]byte, 1), 0); err == nil || err == io.EOF {
		t.Error("read before Finish")
	}
	if err := s.Finish(); err != nil {
		t.Error(err)
	}
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("written after Finish")
	}
	if err := s.Close(); err != nil || s.Close() != nil {
		t.Error("Close:", err)
	}
}
