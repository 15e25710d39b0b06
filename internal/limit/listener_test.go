package limit

import (
	"io"
	"net"
	"testing"
	"time"
)

// One host does not keep the others out, nor all of them together more than there is
// room for; who leaves makes room.
func TestListener(t *testing.T) {
	under, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan struct{}, 10)
	ln := Listener(under, 3, 2, func() { refused <- struct{}{} })
	t.Cleanup(func() { ln.Close() })
	in := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			in <- c
		}
	}()
	come := func(host string, welcome bool) (client, server net.Conn) {
		t.Helper()
		client, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}).Dial("tcp", under.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		select {
		case server = <-in:
			if !welcome {
				t.Errorf("%s came in", host)
			}
		case <-refused:
			if welcome {
				t.Errorf("%s was refused", host)
			}
			_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("a connection refused is %v", err)
			}
		}
		return client, server
	}
	come("127.0.0.2", true)
	_, second := come("127.0.0.2", true)
	come("127.0.0.2", false)
	come("127.0.0.3", true)
	come("127.0.0.4", false)
	_, _ = second.Close(), second.Close()
	come("127.0.0.2", true)
	come("127.0.0.4", false)
}
