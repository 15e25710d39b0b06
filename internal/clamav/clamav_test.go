package clamav

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"pli/fault"
)

// daemon is a clamd that answers each stream by what f makes of it; "" hangs up.
func daemon(t *testing.T, limit int, f func(stream []byte) string) *Client {
	t.Helper()
	addr := filepath.Join(t.TempDir(), "clamd")
	ln, err := net.Listen("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn, limit, f)
		}
	}()
	return New("unix", addr)
}

func serve(conn net.Conn, limit int, f func([]byte) string) {
	defer conn.Close()
	command := make([]byte, 10)
	if _, err := io.ReadFull(conn, command[:6]); err != nil {
		return
	}
	if string(command[:6]) == "zPING\x00" {
		io.WriteString(conn, "PONG\x00")
		return
	}
	if _, err := io.ReadFull(conn, command[6:]); err != nil || string(command) != "zINSTREAM\x00" {
		io.WriteString(conn, "UNKNOWN COMMAND\x00")
		return
	}
	var stream bytes.Buffer
	for {
		var n uint32
		if binary.Read(conn, binary.BigEndian, &n) != nil {
			return
		}
		if n == 0 {
			break
		}
		if _, err := io.CopyN(&stream, conn, int64(n)); err != nil {
			return
		}
		if limit > 0 && stream.Len() > limit {
			io.WriteString(conn, "INSTREAM size limit exceeded. ERROR\x00")
			return
		}
	}
	if answer := f(stream.Bytes()); answer != "" {
		io.WriteString(conn, answer+"\x00")
	}
}

func scanText(t *testing.T, c Scanner, text string) error {
	t.Helper()
	s, err := c.Begin(t.Context())
	if err != nil {
		return err
	}
	defer s.Cancel()
	if _, err := io.CopyBuffer(struct{ io.Writer }{s}, strings.NewReader(text), make([]byte, 8<<10)); err != nil {
		return err
	}
	return s.Verdict()
}

func TestVerdicts(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	for _, c := range []struct {
		name, text, answer string
		limit              int
		want               fault.Kind
		clean              bool
	}{
		{name: "clean", text: "hello", answer: "stream: OK", clean: true},
		{name: "clean and big", text: big, answer: "stream: OK", clean: true},
		{name: "empty", text: "", answer: "stream: OK", clean: true},
		{name: "infected", text: "x", answer: "stream: Eicar-Test-Signature FOUND", want: fault.Infected},
		{name: "infected and big", text: big, answer: "stream: Eicar-Test-Signature FOUND", want: fault.Infected},
		{name: "engine error", text: "x", answer: "stream: Can't allocate memory ERROR", want: fault.Unavailable},
		{name: "odd answer", text: "x", answer: "OK", want: fault.Unavailable},
		{name: "hangs up", text: "x", answer: "", want: fault.Unavailable},
		{name: "beyond its limit", text: big, limit: 100_000, answer: "stream: OK", want: fault.Unavailable},
	} {
		var got []byte
		client := daemon(t, c.limit, func(stream []byte) string { got = stream; return c.answer })
		err := scanText(t, client, c.text)
		if c.clean {
			if err != nil || string(got) != c.text {
				t.Errorf("%s: %v, %d of %d octets arrived", c.name, err, len(got), len(c.text))
			}
		} else if !fault.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if n := len(client.slots); n != 0 {
			t.Errorf("%s: %d slots are still taken", c.name, n)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	c := New("unix", filepath.Join(t.TempDir(), "none"))
	if err := scanText(t, c, "x"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	if err := c.Ping(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("ping: %v", err)
	}
	if err := daemon(t, 0, nil).Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestContextEndsTheWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := daemon(t, 0, func([]byte) string { cancel(); <-ctx.Done(); select {} })
	s, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(s, "x")
	if err := s.Verdict(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestSlotsAreBounded(t *testing.T) {
	c := daemon(t, 0, func([]byte) string { return "stream: OK" })
	big := make([]byte, early+1)
	var open []Scan
	for range concurrent {
		s, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(big); err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(big); !fault.Is(err, fault.Unavailable) {
		t.Errorf("one stream too many: %v", err)
	}
	s.Cancel()
	for _, s := range open {
		s.Cancel()
		s.Cancel() // a second time does nothing
	}
	if err := scanText(t, c, "x"); err != nil {
		t.Errorf("after all ended: %v", err)
	}
}
