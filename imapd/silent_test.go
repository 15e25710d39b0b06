package imapd

import (
	"net"
	"runtime"
	"testing"
	"time"
)

// Who connects and says nothing shuts nobody out.
func TestSilentStrangers(t *testing.T) {
	h := newHouse(t)
	for range 8*runtime.NumCPU() + 4 {
		c, err := net.Dial("tcp", h.secure)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	began := time.Now()
	h.inbox()
	if took := time.Since(began); took > handshakeTimeout/2 {
		t.Errorf("a user waits %v", took)
	}
}
