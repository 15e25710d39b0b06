package imapd

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/google/go-cmp/cmp"

	"pli/mail"
)

// The library's own client, from sign-in to a message that arrives in IDLE.
func TestLibraryClient(t *testing.T) {
	h := newHouse(t)
	arrived := make(chan uint32, 10)
	c, err := imapclient.DialStartTLS(h.clear, &imapclient.Options{TLSConfig: clientTLS(t), UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				arrived <- *d.NumMessages
			}
		}}})
	h.check(err)
	defer c.Close()
	h.check(c.Login(address, password).Wait())
	up := c.Append("Brouillons", int64(len(sample)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDraft}, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	_, err = io.WriteString(up, sample)
	h.check(err)
	h.check(up.Close())
	put, err := up.Wait()
	h.check(err)
	selected, err := c.Select("Brouillons", nil).Wait()
	h.check(err)
	if put.UIDValidity != selected.UIDValidity || put.UID != 1 || selected.NumMessages != 1 {
		t.Errorf("%+v %+v", put, selected)
	}
	section := &imap.FetchItemBodySection{Peek: true}
	got, err := c.Fetch(imap.UIDSetNum(1), &imap.FetchOptions{UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	h.check(err)
	m := got[0]
	if string(m.FindBodySection(section)) != sample || m.Envelope.Subject != "Résultats du 20 novembre" || m.RFC822Size != int64(len(sample)) {
		t.Errorf("%+v", m.Envelope)
	}
	if !m.InternalDate.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) || len(m.Flags) != 1 || m.Flags[0] != imap.FlagDraft {
		t.Errorf("%v %v", m.InternalDate, m.Flags)
	}
	if bs, ok := m.BodyStructure.(*imap.BodyStructureMultiPart); !ok || len(bs.Children) != 3 || bs.Children[1].(*imap.BodyStructureSinglePart).Filename() != "bilan.pdf" {
		t.Errorf("%+v", m.BodyStructure)
	}
	moved, err := c.Move(imap.UIDSetNum(1), "Archives").Wait()
	h.check(err)
	if moved.UIDValidity != uint32(h.box(mail.Archive).UIDValidity) {
		t.Errorf("%+v", moved)
	}
	_, err = c.Select("INBOX", nil).Wait()
	h.check(err)
	idle, err := c.Idle()
	h.check(err)
	h.put(sample)
	select {
	case n := <-arrived:
		if n != 1 {
			t.Errorf("EXISTS %d", n)
		}
	case <-time.After(patience):
		t.Error("nothing arrived")
	}
	h.check(idle.Close())
	h.check(idle.Wait())
	h.check(c.Logout().Wait())
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func (h *house) caFile() string {
	h.t.Helper()
	c, err := testCert()
	h.check(err)
	path := filepath.Join(h.t.TempDir(), "ca.pem")
	h.check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600))
	return path
}

// localhost gives an address by the name in the certificate, at its port.
func localhost(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return "localhost:" + port
}

func TestCurl(t *testing.T) {
	curl := tool(t, "curl")
	h := newHouse(t)
	h.put(sample)
	ca := h.caFile()
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--cacert", ca, "-u", address + ":" + password}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("curl %v: %v %s", args, err, out)
		}
		return string(out)
	}
	if got := run("imaps://" + localhost(h.secure) + "/INBOX;UID=1"); got != sample {
		t.Errorf("got %.100q", got)
	}
	file := filepath.Join(t.TempDir(), "m.eml")
	h.check(os.WriteFile(file, []byte(sample), 0o600))
	run("--ssl-reqd", "-T", file, "imap://"+localhost(h.clear)+"/Sent")
	if got := run("--ssl-reqd", "imap://"+localhost(h.clear)+"/", "-X", "STATUS Envoy&AOk-s (MESSAGES)"); !strings.Contains(got, "(MESSAGES 1)") {
		t.Error(got)
	}
	if got := run("imaps://" + localhost(h.secure) + "/INBOX?SUBJECT%20novembre"); strings.TrimSpace(got) != "* SEARCH 1" {
		t.Error(got)
	}
}

// mbsync carries a mailbox both ways, twice: the second time nothing is left to do.
func TestMbsync(t *testing.T) {
	mbsync := tool(t, "mbsync")
	h := newHouse(t)
	for i := range 30 {
		h.put(strings.Replace(sample, "<1@", fmt.Sprintf("<%d@", i), 1))
	}
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(h.secure)
	config := fmt.Sprintf(`IMAPAccount a
Host localhost
Port %s
User %s
Pass %s
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account a

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns * !Corbeille
Create Both
Expunge Both
SyncState *
`, port, address, password, h.caFile(), dir, dir)
	rc := filepath.Join(dir, "mbsyncrc")
	h.check(os.WriteFile(rc, []byte(config), 0o600))
	sync := func() {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), mbsync, "-c", rc, "-a")
		cmd.Env = append(os.Environ(), "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("mbsync: %v %s", err, out)
		}
	}
	sync()
	near := func(box string) (files []string) {
		for _, sub := range []string{"cur", "new"} {
			es, err := os.ReadDir(filepath.Join(dir, box, sub))
			h.check(err)
			for _, e := range es {
				files = append(files, filepath.Join(dir, box, sub, e.Name()))
			}
		}
		return files
	}
	if n := len(near("INBOX")); n != 30 {
		t.Fatalf("%d messages came", n)
	}
	raw, err := os.ReadFile(near("INBOX")[0])
	h.check(err)
	if got := strings.ReplaceAll(string(raw), "\n", "\r\n"); !strings.Contains(got, "noemie.petit") || len(got) < len(sample) {
		t.Errorf("it came as %.200q", got)
	}
	// Upwards: a new message, and one thrown away.
	h.check(os.WriteFile(filepath.Join(dir, "Archives", "cur", "1.x.y:2,S"), []byte("Subject: du poste\nMessage-ID: <poste@x>\n\nvoilà\n"), 0o600))
	h.check(os.Remove(near("INBOX")[0]))
	sync()
	w := h.login()
	w.ok("SELECT Archives")
	if got := w.ok("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"); len(got) != 1 || !strings.Contains(got[0], `(\Seen)`) || !strings.Contains(got[0], "du poste") {
		t.Error(got)
	}
	if got := w.ok("STATUS INBOX (MESSAGES)"); got[0] != "* STATUS INBOX (MESSAGES 29)" {
		t.Error(got)
	}
	before := near("INBOX")
	sync()
	if d := cmp.Diff(before, near("INBOX")); d != "" {
		t.Error(d)
	}
}

// A client certificate that the client cannot prove is no certificate.
func TestTLSFloor(t *testing.T) {
	h := newHouse(t)
	conf := clientTLS(t)
	conf.MaxVersion = tls.VersionTLS11
	conf.MinVersion = tls.VersionTLS10
	if c, err := tls.Dial("tcp", h.secure, conf); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 is spoken")
	}
}
