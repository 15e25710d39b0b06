package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Before TLS nothing of value is said, so little is heard: these bounds are small.
const (
	frontCommands = 20
	frontLine     = 1024
	frontTimeout  = time.Minute
)

var errFront = errors.New("smtpd: no TLS was asked for")

// front is the dialogue before TLS. It is ours and not the library's: it knows five
// commands, reads no address and no password, and refuses octets sent ahead of the
// handshake, which would be a stranger's commands taken for the client's.
type front struct {
	door *door
	conn net.Conn
	r    *bufio.Reader
}

// run speaks until STARTTLS was asked for and answered.
func (f *front) run() error {
	if err := f.conn.SetDeadline(time.Now().Add(frontTimeout)); err != nil {
		return err
	}
	if err := f.say("220 %s ESMTP", f.door.s.cfg.Hostname); err != nil {
		return err
	}
	for range frontCommands {
		lineBytes, err := f.r.ReadSlice('\n')
		if f.door.stopping.Load() {
			return errors.Join(errFront, f.say("421 4.3.2 %s", line(textStopping, "", false)))
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return errors.Join(errFront, f.say("500 5.5.2 Ligne trop longue / Line too long"))
		}
		if err != nil {
			return err
		}
		command := strings.TrimRight(string(lineBytes), "\r\n")
		if strings.EqualFold(command, "STARTTLS") {
			return f.startTLS()
		}
		if done, err := f.answer(command); done || err != nil {
			return errors.Join(errFront, err)
		}
	}
	return errors.Join(errFront, f.say("421 4.7.0 %s", line(textNoTLS, "", false)))
}

// startTLS answers 220, and refuses a client that has already sent more.
func (f *front) startTLS() error {
	if f.r.Buffered() > 0 {
		return errors.Join(errFront, f.say("503 5.5.1 Commande anticipee / Pipelined command"))
	}
	return f.say("220 2.0.0 Pret pour TLS / Ready to start TLS")
}

func (f *front) answer(command string) (done bool, err error) {
	verb, arg, _ := strings.Cut(command, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		if arg == "" {
			return false, f.say("501 5.5.4 EHLO <domaine>")
		}
		return false, f.say("250-%s\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SIZE %d\r\n250 STARTTLS", f.door.s.cfg.Hostname, f.door.s.cfg.MaxMessageSize)
	case "HELO":
		return false, f.say("250 %s", f.door.s.cfg.Hostname)
	case "NOOP", "RSET":
		return false, f.say("250 2.0.0 OK")
	case "QUIT":
		return true, f.say("221 2.0.0 %s", f.door.s.cfg.Hostname)
	case "MAIL", "RCPT", "DATA", "AUTH", "VRFY":
		return false, f.say("530 5.7.0 %s", line(textNoTLS, "", false))
	case "BDAT": // octets follow that are no commands
		return true, f.say("530 5.7.0 %s", line(textNoTLS, "", false))
	}
	return false, f.say("500 5.5.2 Commande inconnue / Unknown command")
}

func (f *front) say(format string, args ...any) error {
	_, err := fmt.Fprintf(f.conn, format+"\r\n", args...)
	return err
}

// door is one listener being served.
type door struct {
	s        *Server
	ctx      context.Context // ends when the last message in hand had its time
	young    context.Context // of connections not under TLS yet: ends when the door stops
	implicit bool            // TLS from the first octet
	stopping stopFlag
	ready    chan net.Conn // connections under TLS, for go-smtp
	closed   chan struct{}
	mu       sync.Mutex
	conns    map[net.Conn]*wire // nil before TLS
	wg       sync.WaitGroup
}

// admit takes a new connection through limits, front and handshake, and hands it on.
func (d *door) admit(conn net.Conn) {
	defer d.wg.Done()
	source := host(conn.RemoteAddr())
	if reason := d.s.limits.enter(source); reason != "" {
		d.s.metrics.refused.WithLabelValues(reason).Inc()
		d.turnAway(conn)
		return
	}
	d.s.metrics.connections.Inc()
	c := &counted{Conn: conn, received: d.s.metrics.received, left: func() {
		d.s.limits.leave(source)
		d.s.metrics.connections.Dec()
		d.forget(conn)
	}}
	d.mu.Lock()
	d.conns[conn] = nil
	d.mu.Unlock()
	if d.stopping.Load() {
		d.turnAway(conn)
		c.Close()
		return
	}
	tc, err := d.secure(c)
	if err != nil {
		d.s.metrics.refused.WithLabelValues("no-tls").Inc()
		c.Close()
		return
	}
	w := &wire{Conn: tc, door: d, remote: source, swallow: !d.implicit}
	w.refill(false)
	d.mu.Lock()
	d.conns[conn] = w
	d.mu.Unlock()
	select {
	case d.ready <- w:
	case <-d.closed:
		w.Close()
	}
}

// secure brings a connection under TLS.
func (d *door) secure(c net.Conn) (*tls.Conn, error) {
	if !d.implicit {
		f := &front{door: d, conn: c, r: bufio.NewReaderSize(c, frontLine)}
		if err := f.run(); err != nil {
			return nil, err
		}
	}
	if err := c.SetDeadline(time.Now().Add(frontTimeout)); err != nil {
		return nil, err
	}
	tc := tls.Server(c, d.s.d.TLS)
	if err := tc.HandshakeContext(d.young); err != nil {
		return nil, err
	}
	return tc, c.SetDeadline(time.Time{})
}

// turnAway tells one too many to come back. Under implicit TLS there is no cheap way
// to say so: the connection is closed.
func (d *door) turnAway(conn net.Conn) {
	if !d.implicit {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second)) // best effort, it leaves anyway
		_, _ = fmt.Fprintf(conn, "421 4.7.0 %s\r\n", line(textTooMany, "", false))
	}
	conn.Close()
}

func (d *door) forget(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, conn)
}

// counted is the raw connection, under TLS: its octets are what the network carried.
type counted struct {
	net.Conn
	received interface{ Add(float64) }
	left     func()
	once     sync.Once
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(float64(n))
	return n, err
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.left)
	return err
}

// limits counts connections of all the door's listeners.
type limits struct {
	all, perSource int
	mu             sync.Mutex
	sources        map[string]int
	total          int
}

// enter returns why a connection is one too many, or "".
func (l *limits) enter(source string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.total >= l.all:
		return "all"
	case l.sources[source] >= l.perSource:
		return "source"
	}
	l.total++
	l.sources[source]++
	return ""
}

func (l *limits) leave(source string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.sources[source]--; l.sources[source] <= 0 {
		delete(l.sources, source)
	}
}
