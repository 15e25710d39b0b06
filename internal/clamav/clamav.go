// Package clamav asks a ClamAV daemon whether a stream holds malware (clamd's INSTREAM
// command). Whatever is not a clear answer counts as not scanned, which makes the
// caller defer the message: it is never a pass.
//
// StreamMaxLength in clamd.conf must be above the largest message: beyond it the daemon
// hangs up and the message is deferred until that is put right.
package clamav

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"pli/fault"
)

// Scanner begins scans.
type Scanner interface {
	Begin(ctx context.Context) (Scan, error)
}

// Scan takes one stream. Write it whole, then ask Verdict, or Cancel; either ends it.
type Scan interface {
	io.Writer
	// Verdict is nil for a clean stream. Errors: fault.Infected; fault.Unavailable
	// when the stream could not be scanned whole.
	Verdict() error
	// Cancel forgets the stream. After Verdict it does nothing.
	Cancel()
}

// None scans nothing and finds everything clean: for a house whose operator scans
// elsewhere and says so in the configuration.
type None struct{}

type noScan struct{}

// Begin never fails.
func (None) Begin(context.Context) (Scan, error) { return noScan{}, nil }

func (noScan) Write(p []byte) (int, error) { return len(p), nil }
func (noScan) Verdict() error              { return nil }
func (noScan) Cancel()                     {}

// Client is a Scanner over one daemon.
type Client struct {
	network, addr string
	slots         chan struct{}
}

const (
	// concurrent bounds the streams open at once: clamd works on 10 (MaxThreads) and
	// lets 100 wait (MaxQueue).
	concurrent = 32
	// early is how much of a stream is kept here before the daemon is called, so that a
	// slow sender of a small message holds none of its threads.
	early = 64 << 10
	// patience bounds a dial, a write and the wait for an answer, each.
	patience = time.Minute
)

// New makes a client of the daemon at addr; network is "unix" or "tcp".
func New(network, addr string) *Client {
	return &Client{network: network, addr: addr, slots: make(chan struct{}, concurrent)}
}

// Ping asks the daemon whether it is there. Errors: fault.Unavailable.
func (c *Client) Ping(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience)) // a dead connection shows at the write
	if _, err := io.WriteString(conn, "zPING\x00"); err != nil {
		return unscanned("ping", err)
	}
	if answer, err := readAnswer(conn); err != nil || answer != "PONG" {
		return unscanned("ping", err)
	}
	return nil
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, c.network, c.addr)
	if err != nil {
		return nil, unscanned("unreachable", err)
	}
	return conn, nil
}

// Begin starts a stream; the daemon is called when there is something to say. ctx
// bounds the whole scan.
func (c *Client) Begin(ctx context.Context) (Scan, error) {
	return &scan{c: c, ctx: ctx}, nil
}

type scan struct {
	c    *Client
	ctx  context.Context
	kept []byte   // not sent yet
	conn net.Conn // nil until called
	stop func() bool
	err  error // first failure; sticks
	done bool
}

func (s *scan) Write(p []byte) (int, error) {
	if s.done {
		return 0, errors.New("clamav: the scan has ended")
	}
	if s.err == nil && s.conn == nil {
		if len(s.kept)+len(p) <= early {
			s.kept = append(s.kept, p...)
			return len(p), nil
		}
		s.call()
	}
	s.send(p)
	if s.err != nil {
		return 0, s.err
	}
	return len(p), nil
}

// call takes a slot, connects and sends what was kept.
func (s *scan) call() {
	select {
	case s.c.slots <- struct{}{}:
	case <-s.ctx.Done():
		s.err = unscanned("busy", s.ctx.Err())
		return
	}
	conn, err := s.c.dial(s.ctx)
	if err != nil {
		<-s.c.slots
		s.err = err
		return
	}
	s.conn = conn
	s.stop = context.AfterFunc(s.ctx, func() { conn.Close() })
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "zINSTREAM\x00"); err != nil {
		s.err = unscanned("write", err)
		return
	}
	s.send(s.kept)
	s.kept = nil
}

// send writes one chunk: its length in four octets, then itself.
func (s *scan) send(p []byte) {
	if s.err != nil || len(p) == 0 {
		return
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(patience))
	head := binary.BigEndian.AppendUint32(nil, uint32(len(p)))
	chunk := net.Buffers{head, p}
	if _, err := chunk.WriteTo(s.conn); err != nil {
		s.err = unscanned("write", err)
	}
}

func (s *scan) Verdict() error {
	if s.done {
		return errors.New("clamav: the scan has ended")
	}
	defer s.Cancel()
	if s.err == nil && s.conn == nil {
		s.call()
	}
	if s.err != nil {
		return s.err
	}
	_ = s.conn.SetDeadline(time.Now().Add(patience))
	if _, err := s.conn.Write(make([]byte, 4)); err != nil {
		return unscanned("write", err)
	}
	answer, err := readAnswer(s.conn)
	switch {
	case err != nil:
		return unscanned("read", err)
	case answer == "stream: OK":
		return nil
	case strings.HasPrefix(answer, "stream: ") && strings.HasSuffix(answer, " FOUND"):
		return fault.New(fault.Infected, "clamav.Verdict", "malware")
	default: // size limit, engine error, anything else
		return unscanned("answer", nil)
	}
}

func (s *scan) Cancel() {
	if s.done {
		return
	}
	s.done, s.kept = true, nil
	if s.conn != nil {
		s.stop()
		s.conn.Close()
		<-s.c.slots
	}
}

// readAnswer reads up to the NUL that ends an answer; 4 KiB is far beyond any.
func readAnswer(r io.Reader) (string, error) {
	answer, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString(0)
	return strings.TrimSuffix(answer, "\x00"), err
}

func unscanned(code string, err error) error {
	return &fault.Error{Kind: fault.Unavailable, Op: "clamav", Code: code, Err: err, Text: fault.Text{
		FR: "L'analyse antivirus est momentanément indisponible. Réessayez dans quelques minutes.",
		EN: "Malware scanning is unavailable for the moment. Try again in a few minutes.",
	}}
}
