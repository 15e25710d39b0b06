package seal

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// pattern is a reader of n octets made on the way, half of which compress.
type pattern struct{ n, at int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.n {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.n-p.at)]
	for i := range b {
		x := (uint64(p.at+int64(i)) + 1) * 0x9E3779B97F4A7C15
		x = (x ^ x>>31) * 0xBF58476D1CE4E5B9
		b[i] = 'a' + byte(x>>60)
	}
	p.at += int64(len(b))
	return len(b), nil
}

// watcher notes the largest live heap seen while octets pass.
type watcher struct {
	io.Writer
	passed, next int64
	peak         uint64
}

func (w *watcher) Write(p []byte) (int, error) {
	w.passed += int64(len(p))
	if w.passed >= w.next {
		w.next = w.passed + 8<<20
		w.peak = max(w.peak, liveHeap())
	}
	return w.Writer.Write(p)
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestStreamsKeepMemoryBounded(t *testing.T) {
	const size, most = 64 << 20, 8 << 20
	k := newKey(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "sealed"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := liveHeap()
	out := &watcher{Writer: f}
	w, err := k.SealTo(out)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.New()
	if _, err := io.Copy(w, io.TeeReader(&pattern{n: size}, want)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if grown := int64(out.peak) - int64(before); grown > most {
		t.Errorf("sealing 64 MiB held %d KiB", grown>>10)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	r, err := k.OpenFrom(f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := sha256.New()
	in := &watcher{Writer: got}
	if n, err := io.Copy(in, r); n != size || err != nil {
		t.Fatalf("%d octets, %v", n, err)
	}
	if grown := int64(in.peak) - int64(before); grown > most {
		t.Errorf("opening 64 MiB held %d KiB", grown>>10)
	}
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		t.Fatal("what came out differs")
	}
	t.Logf("64 MiB: %d KiB sealed; sealing held %d KiB, opening %d KiB", w.Size()>>10,
		(int64(out.peak)-int64(before))>>10, (int64(in.peak)-int64(before))>>10)
}
