package clamserver_test

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"pli/internal/child"
	"pli/internal/clamserver"
)

// scan asks clamd about one stream and returns its answer.
func scan(t *testing.T, socket, text string) string {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	b := []byte("zINSTREAM\x00")
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	b = append(append(b, text...), 0, 0, 0, 0)
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(string(answer), "\x00\n")
}

func TestClamdKnowsEICAR(t *testing.T) {
	if clamserver.Find() == "" {
		if os.Getenv("PLI_E2E") != "" {
			t.Fatal("no clamd: run scripts/ci-deps.sh")
		}
		t.Skip("no clamd installed")
	}
	name := ""
	if _, err := user.Lookup("clamav"); err == nil && os.Getuid() == 0 {
		name = "clamav"
	}
	dir, err := os.MkdirTemp("", "pli-clam")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := clamserver.Start(t.Context(), clamserver.Options{Dir: dir, User: name})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	// In two halves, so that no scanner stops at this file.
	virus := `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD` + `-ANTIVIRUS-TEST-FILE!$H+H*`
	if got := scan(t, s.Socket(), virus); got != "stream: Eicar-Test-Signature.UNOFFICIAL FOUND" {
		t.Errorf("EICAR alone: %q", got)
	}
	mail := "From: <a@mss-a.example>\r\nTo: <b@mss-a.example>\r\nSubject: x\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" +
		"--b\r\nContent-Type: application/octet-stream; name=x.com\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename=x.com\r\n\r\n" +
		"WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNU\r\nLUZJTEUhJEgrSCo=\r\n--b--\r\n"
	if got := scan(t, s.Socket(), mail); !strings.HasSuffix(got, " FOUND") {
		t.Errorf("EICAR attached: %q", got)
	}
	if got := scan(t, s.Socket(), "Bonjour"); got != "stream: OK" {
		t.Errorf("clean: %q", got)
	}
	s.Stop()
	if child.Alive(s.PID()) {
		t.Error("still alive after Stop")
	}
}
