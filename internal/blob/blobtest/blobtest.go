// Package blobtest is what every blob store must do.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pli/fault"
	"pli/internal/blob"
	"pli/internal/id"
)

// Run checks a store that is empty, or holds blobs of other tests.
func Run(t *testing.T, s blob.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, blob.Store)
	}{
		{"round trips", roundTrips},
		{"missing", missing},
		{"unseen before commit", unseen},
		{"abort", abort},
		{"after commit", afterCommit},
		{"never overwritten", neverOverwritten},
		{"each", each},
		{"cancelled", cancelled},
		{"many at once", manyAtOnce},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}

func octets(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func create(t *testing.T, s blob.Store, name id.ID) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context(), name)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return w
}

func put(t *testing.T, s blob.Store, body []byte) id.ID {
	t.Helper()
	name := id.New()
	w := create(t, s, name)
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 100_000)
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatalf("Write: %v", err)
		}
		rest = rest[n:]
	}
	if err := w.Commit(); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	t.Cleanup(func() { _ = s.Delete(context.Background(), name) })
	return name
}

func get(t *testing.T, s blob.Store, name id.ID) ([]byte, error) {
	t.Helper()
	r, err := s.Open(t.Context(), name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func mustMiss(t *testing.T, s blob.Store, name id.ID) {
	t.Helper()
	if _, err := get(t, s, name); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a blob that should not be there: %v", err)
	}
}

func roundTrips(t *testing.T, s blob.Store) {
	// Around one buffer, one request, and several parts of an S3 upload.
	for _, n := range []int{0, 1, 4096, 256 << 10, 5 << 20, 5<<20 + 1, 12<<20 + 3} {
		body := octets(n)
		got, err := get(t, s, put(t, s, body))
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d octets: got %d, %v", n, len(got), err)
		}
	}
}

func missing(t *testing.T, s blob.Store) {
	mustMiss(t, s, id.New())
	if err := s.Delete(t.Context(), id.New()); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
	name := put(t, s, octets(10))
	if err := s.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	mustMiss(t, s, name)
	if err := s.Delete(t.Context(), name); err != nil {
		t.Errorf("deleting again: %v", err)
	}
}

func unseen(t *testing.T, s blob.Store) {
	for _, n := range []int{10, 6 << 20} {
		name := id.New()
		w := create(t, s, name)
		if _, err := w.Write(octets(n)); err != nil {
			t.Fatal(err)
		}
		mustMiss(t, s, name)
		if names := list(t, s); names[name] != 0 {
			t.Errorf("%d octets are listed before Commit", n)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Delete(context.Background(), name) })
		if got, err := get(t, s, name); err != nil || len(got) != n {
			t.Errorf("after Commit: %d octets, %v", len(got), err)
		}
	}
}

func abort(t *testing.T, s blob.Store) {
	for _, n := range []int{0, 10, 6 << 20} {
		name := id.New()
		w := create(t, s, name)
		if _, err := w.Write(octets(n)); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		w.Abort()
		mustMiss(t, s, name)
		if _, err := w.Write([]byte("x")); err == nil {
			t.Error("written after Abort")
		}
		if err := w.Commit(); err == nil {
			t.Error("committed after Abort")
		}
		mustMiss(t, s, name)
	}
}

func afterCommit(t *testing.T, s blob.Store) {
	name := id.New()
	w := create(t, s, name)
	if _, err := w.Write([]byte("kept")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Delete(context.Background(), name) })
	w.Abort()
	if got, err := get(t, s, name); err != nil || string(got) != "kept" {
		t.Fatalf("Abort after Commit took it away: %v", err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("written after Commit")
	}
	if err := w.Commit(); err == nil {
		t.Error("committed twice")
	}
}

func neverOverwritten(t *testing.T, s blob.Store) {
	for _, n := range []int{5, 6 << 20} {
		name := put(t, s, []byte("first"))
		w, err := s.Create(t.Context(), name)
		if err == nil {
			if _, err := w.Write(octets(n)); err != nil && !fault.Is(err, fault.Conflict) {
				t.Fatal(err)
			}
			err = w.Commit()
		}
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("a second blob under one name: %v", err)
		}
		if got, err := get(t, s, name); err != nil || string(got) != "first" {
			t.Errorf("the first blob: %d octets, %v", len(got), err)
		}
	}
}

func list(t *testing.T, s blob.Store) map[id.ID]int64 {
	t.Helper()
	names := map[id.ID]int64{}
	err := s.Each(t.Context(), func(name id.ID, size int64, modified time.Time) error {
		names[name] = size
		if age := time.Since(modified); age < -time.Hour || age > 24*time.Hour {
			t.Errorf("modified %v ago", age)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Each: %v", err)
	}
	return names
}

func each(t *testing.T, s blob.Store) {
	want := map[id.ID]int64{}
	for i := range 12 {
		want[put(t, s, octets(100+i))] = int64(100 + i)
	}
	got := list(t, s)
	for name, size := range want {
		if got[name] != size {
			t.Errorf("a blob of %d octets is listed with %d", size, got[name])
		}
	}
	enough, calls := errors.New("enough"), 0
	err := s.Each(t.Context(), func(id.ID, int64, time.Time) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("Each went on after an error: %d calls, %v", calls, err)
	}
}

func cancelled(t *testing.T, s blob.Store) {
	name := put(t, s, octets(10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Create(ctx, id.New()); !fault.Is(err, fault.Timeout) {
		t.Errorf("Create: %v", err)
	}
	if _, err := s.Open(ctx, name); !fault.Is(err, fault.Timeout) {
		t.Errorf("Open: %v", err)
	}
	if err := s.Delete(ctx, name); !fault.Is(err, fault.Timeout) {
		t.Errorf("Delete: %v", err)
	}
	if _, err := get(t, s, name); err != nil {
		t.Errorf("deleted all the same: %v", err)
	}
}

func manyAtOnce(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			body, name := octets(3000+i), id.New()
			w, err := s.Create(t.Context(), name)
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Abort()
			if _, err := w.Write(body); err != nil {
				t.Error(err)
				return
			}
			if err := w.Commit(); err != nil {
				t.Error(err)
				return
			}
			got, err := get(t, s, name)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("blob %d: %d octets, %v", i, len(got), err)
			}
			if err := s.Delete(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
