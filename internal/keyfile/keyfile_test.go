package keyfile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"pli/fault"
)

func TestCreateThenRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o400 {
		t.Fatalf("mode %v, %v", st.Mode(), err)
	}
	a, err := Read(path)
	if err != nil || len(a) != Size || bytes.Equal(a, make([]byte, Size)) {
		t.Fatalf("%d octets, %v", len(a), err)
	}
	if err := Create(path); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a key file was overwritten: %v", err)
	}
	b, err := Read(path)
	if err != nil || !bytes.Equal(a, b) {
		t.Fatal("the secret changed")
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	raw := bytes.Repeat([]byte{7}, Size)
	for _, c := range []struct {
		name    string
		content []byte
		mode    os.FileMode
		code    string
	}{
		{"raw", raw, 0o400, ""},
		{"owner may write", raw, 0o600, ""},
		{"group reads", raw, 0o440, "readable-by-others"},
		{"others read", raw, 0o404, "readable-by-others"},
		{"others write", raw, 0o602, "readable-by-others"},
		{"short", raw[:31], 0o400, "not-a-key"},
		{"empty", nil, 0o400, "not-a-key"},
		{"text", []byte("a password somebody typed, far too guessable"), 0o400, "not-a-key"},
		{"large", make([]byte, 4096), 0o400, "not-a-key"},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); fault.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want %q", c.name, err, c.code)
		}
	}
	if _, err := Read(filepath.Join(dir, "none")); !fault.Is(err, fault.NotFound) {
		t.Errorf("missing: %v", err)
	}
}
