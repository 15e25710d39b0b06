package blob_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pli/fault"
	"pli/internal/blob"
	"pli/internal/blob/blobtest"
	"pli/internal/id"
)

func openFiles(t *testing.T, dir string) *blob.Files {
	t.Helper()
	f, err := blob.OpenFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFiles(t *testing.T) {
	blobtest.Run(t, openFiles(t, filepath.Join(t.TempDir(), "new", "blobs")))
}

func TestWhatAProcessLeftWritingIsPassedOverAndSwept(t *testing.T) {
	dir := t.TempDir()
	f := openFiles(t, dir)
	w, err := f.Create(t.Context(), id.New())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("half a letter")); err != nil {
		t.Fatal(err)
	}
	// The process dies here; another opens the store.
	f = openFiles(t, dir)
	err = f.Each(t.Context(), func(name id.ID, _ int64, _ time.Time) error {
		t.Errorf("listed: %v", name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.SweepTemporary(time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Fatalf("a fresh file was swept: %d, %v", n, err)
	}
	if n, err := f.SweepTemporary(time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Fatalf("left: %v, %v", left, err)
	}
}

func TestFilesAreOursAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	f := openFiles(t, dir)
	name := id.New()
	w, err := f.Create(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		dir: 0o700, filepath.Join(dir, name.String()[:2]): 0o700, filepath.Join(dir, name.String()[:2], name.String()): 0o600,
	} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
}

func credential(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credential")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestS3 runs against a real store: PLI_TEST_S3 is
// {"endpoint": "127.0.0.1:7070", "bucket": "pli-test", "access": "…", "secret": "…", "region": "us-east-1"}.
func TestS3(t *testing.T) {
	var c struct{ Endpoint, Bucket, Access, Secret, Region string }
	text := os.Getenv("PLI_TEST_S3")
	if text == "" {
		t.Skip("PLI_TEST_S3 names no store")
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	s, err := blob.OpenS3(t.Context(), blob.S3Config{
		Endpoint: c.Endpoint, Bucket: c.Bucket, Region: c.Region, Insecure: true,
		AccessFile: credential(t, c.Access), SecretFile: credential(t, c.Secret),
	})
	if err != nil {
		t.Fatal(err)
	}
	blobtest.Run(t, s)
}

// A store that answers what we say: the errors of S3 and what we make of them.
func TestS3Errors(t *testing.T) {
	var status int
	var code string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Trim(r.URL.Path, "/") == "bucket" && r.Method == http.MethodHead {
			return
		}
		if r.Method == http.MethodPut && r.Header.Get("If-None-Match") != "*" {
			t.Error("an upload that may overwrite")
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`<Error><Code>` + code + `</Code><Message>secret message</Message></Error>`))
	}))
	defer srv.Close()
	s, err := blob.OpenS3(t.Context(), blob.S3Config{
		Endpoint: strings.TrimPrefix(srv.URL, "http://"), Bucket: "bucket", Region: "us-east-1", Insecure: true,
		AccessFile: credential(t, "a"), SecretFile: credential(t, "b"),
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func() error {
		w, err := s.Create(t.Context(), id.New())
		if err != nil {
			return err
		}
		_, _ = w.Write([]byte("x"))
		return w.Commit()
	}
	open := func() error { _, err := s.Open(t.Context(), id.New()); return err }
	remove := func() error { return s.Delete(t.Context(), id.New()) }
	for _, c := range []struct {
		name   string
		status int
		code   string
		call   func() error
		want   fault.Kind
		ok     bool
	}{
		{name: "open missing", status: 404, code: "NoSuchKey", call: open, want: fault.NotFound},
		{name: "open without bucket", status: 404, code: "NoSuchBucket", call: open, want: fault.Unavailable},
		{name: "open denied", status: 403, code: "AccessDenied", call: open, want: fault.Unavailable},
		{name: "put taken", status: 412, code: "PreconditionFailed", call: put, want: fault.Conflict},
		{name: "put race", status: 409, code: "ConditionalRequestConflict", call: put, want: fault.Conflict},
		{name: "put without room", status: 507, code: "XMinioStorageFull", call: put, want: fault.Unavailable},
		{name: "delete missing", status: 404, code: "NoSuchKey", call: remove, ok: true},
		{name: "delete denied", status: 403, code: "AccessDenied", call: remove, want: fault.Unavailable},
	} {
		status, code = c.status, c.code
		err := c.call()
		if c.ok != (err == nil) || (err != nil && fault.KindOf(err) != c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret message") {
			t.Errorf("%s: the store's message comes out: %v", c.name, err)
		}
	}
}

// One letter of 5 KB to disk. TMPDIR says which disk.
func BenchmarkFiles5KB(b *testing.B) {
	f, err := blob.OpenFiles(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 5000)
	b.SetParallelism(10)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w, err := f.Create(b.Context(), id.New())
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := w.Write(body); err != nil {
				b.Error(err)
			}
			if err := w.Commit(); err != nil {
				b.Error(err)
			}
		}
	})
}
