package blob_test

import (
	"bytes"
	"io"
	"testing"

	"pli/fault"
	"pli/internal/blob"
	"pli/internal/blob/blobtest"
	"pli/internal/id"
	"pli/internal/pgtest"
)

func TestShort(t *testing.T) {
	blobtest.Run(t, blob.NewShort(pgtest.DB(t), openFiles(t, t.TempDir()), blob.DefaultShortSize))
}

// A blob goes to the database up to the limit and to the other store beyond, however it
// is cut into writes.
func TestShortKeepsToItsLimit(t *testing.T) {
	const limit = 100
	db, files := pgtest.DB(t), openFiles(t, t.TempDir())
	s := blob.NewShort(db, files, limit)
	for _, c := range []struct {
		writes []int
		inside bool
	}{{nil, true}, {[]int{limit}, true}, {[]int{limit - 1, 1}, true}, {[]int{limit, 1}, false}, {[]int{limit + 1}, false}, {[]int{1, 200, 1}, false}} {
		name := id.New()
		w, err := s.Create(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		for i, n := range c.writes {
			b := bytes.Repeat([]byte{byte('a' + i)}, n)
			want = append(want, b...)
			if _, err := w.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		r, err := s.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: read %d octets, %v", c.writes, len(got), err)
		}
		_, err = files.Open(t.Context(), name)
		if inside := fault.Is(err, fault.NotFound); inside != c.inside {
			t.Errorf("%v: in the database is %v", c.writes, inside)
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(t.Context(), name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v: still there after Delete: %v", c.writes, err)
		}
	}
}

func TestShortGathers(t *testing.T) {
	s := blob.NewShort(pgtest.DB(t), openFiles(t, t.TempDir()), 10)
	put := func(body string) id.ID {
		name := id.New()
		w, err := s.Create(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		return name
	}
	a, b, long := put("a"), put("b"), put("longer than ten")
	got, err := s.Gather(t.Context(), []id.ID{a, long, id.New(), b})
	if err != nil || len(got) != 2 || string(got[a]) != "a" || string(got[b]) != "b" {
		t.Errorf("gathered %q, %v", got, err)
	}
}
