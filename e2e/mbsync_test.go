package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mbsync copies a whole BAL to Maildirs, and back, and returns their folder.
func (d *demo) mbsync(t *testing.T, a account, dir string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(d.Operators[a.Operator].IMAPS)
	config := fmt.Sprintf(`IMAPAccount pli
Host localhost
Port %s
User %s
Pass %s
SSLType IMAPS
SystemCertificates no
CertificateFile %s

IMAPStore far
Account pli

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Sync All
SyncState *
`, port, a.Address, a.Password, d.path(d.CA), dir, dir)
	file := filepath.Join(t.TempDir(), "mbsyncrc")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		out, code := tool(t, "", "mbsync", "-c", file, "-a")
		if code == 0 {
			return
		}
		// While things are being killed, mail programs try again; so does this one.
		if try == 5 || !strings.Contains(out, "UNAVAILABLE") {
			t.Fatalf("mbsync: exit %d\n%s", code, out)
		}
		time.Sleep(time.Second)
	}
}

// maildir gives the messages under a folder, by path.
func maildir(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		if err != nil || st.IsDir() || !(strings.Contains(path, "/cur/") || strings.Contains(path, "/new/")) {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMbsyncKeepsFlags synchronises twice: a flag set on the near side lasts.
func TestMbsyncKeepsFlags(t *testing.T) {
	need(t, "mbsync")
	box := newBox(t, mark("synchro."))
	m := mark("drapeau")
	if out, code := house.swaks(t, box, box.Address, "--h-Subject", m); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	dir := t.TempDir()
	house.mbsync(t, box, dir)
	var path string
	for p, text := range maildir(t, filepath.Join(dir, "INBOX")) {
		if strings.Contains(text, m) {
			path = p
		}
	}
	if path == "" {
		t.Fatal("the message did not come down")
	}
	name, _, _ := strings.Cut(filepath.Base(path), ":2,")
	flagged := filepath.Join(filepath.Dir(filepath.Dir(path)), "cur", name+":2,FS")
	if err := os.Rename(path, flagged); err != nil {
		t.Fatal(err)
	}
	house.mbsync(t, box, dir)
	if out := house.imap(t, box, "INBOX", "UID SEARCH FLAGGED SEEN SUBJECT "+m); !strings.Contains(out, "SEARCH 1") {
		t.Errorf("the flags did not last: %s", out)
	}
}
