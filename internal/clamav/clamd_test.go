package clamav_test

import (
	"io"
	"os"
	"os/user"
	"strings"
	"testing"

	"pli/fault"
	"pli/internal/clamav"
	"pli/internal/clamserver"
)

// TestRealDaemon asks a clamd that knows EICAR.
func TestRealDaemon(t *testing.T) {
	if clamserver.Find() == "" {
		t.Skip("no clamd installed")
	}
	name := ""
	if _, err := user.Lookup("clamav"); err == nil && os.Getuid() == 0 {
		name = "clamav"
	}
	dir, err := os.MkdirTemp("", "pli-clam") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	daemon, err := clamserver.Start(t.Context(), clamserver.Options{Dir: dir, User: name, StreamMaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Stop()
	client := clamav.New("unix", daemon.Socket())
	if err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	// In two halves, so that no scanner stops at this file.
	eicar := `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-` + `ANTIVIRUS-TEST-FILE!$H+H*`
	for text, want := range map[string]fault.Kind{
		"hello": fault.Internal, eicar: fault.Infected, strings.Repeat("0123456789abcdef", 1<<17): fault.Unavailable,
	} {
		s, err := client.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(s, strings.NewReader(text))
		if err == nil {
			err = s.Verdict()
		}
		s.Cancel()
		if text == "hello" && err != nil || text != "hello" && !fault.Is(err, want) {
			t.Errorf("%d octets: %v", len(text), err)
		}
	}
}
