package smtpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pli/fault"
)

// Octets a client may send between two commands that we see. Outside a transaction it
// bounds a command line; within, a message that never ends.
const idleBudget = 64 << 10

// maxCommand bounds a command line in octets: 512 and extensions (RFC 5321 §4.5.3.1.4),
// AUTH with its initial response being the longest (RFC 4954 §4.5.3.1: 12,288).
const maxCommand = 12288 + 16

var (
	errBudget  = errors.New("smtpd: more octets than announced or allowed")
	errCommand = errors.New("smtpd: command line too long")
)

// wire is a connection under TLS as go-smtp sees it. The library offers no hook for
// what it does by itself, so this is where octets are counted, deadlines kept during a
// transfer, the idle told to go, and the library's own texts put in our words.
type wire struct {
	*tls.Conn
	door     *door
	remote   string // host only
	swallow  bool   // drop the next line written: the greeting was given before STARTTLS
	pending  []byte // lines of a reply not ended yet
	settings struct {
		sync.Mutex
		budget   int64     // octets left
		data     bool      // a message is being received
		dataEnds time.Time // its deadline
		command  int       // octets of the command line being read
		broken   error     // a rule was broken: nothing more is read
	}
	busy atomic.Bool // a transaction is open
	cut  atomic.Bool // to be closed once the reply is out
}

// refill grants the octets of the next command, or of a message when one may follow.
func (w *wire) refill(transaction bool) {
	w.settings.Lock()
	defer w.settings.Unlock()
	w.settings.budget = idleBudget
	if transaction {
		limit := w.door.s.cfg.MaxMessageSize
		w.settings.budget = limit + limit/8 + 1<<20 // dot-stuffing, commands, a margin
	}
	w.settings.data = false
	w.settings.command = 0
}

// beginData lengthens the deadline for a transfer: each read may take ReadTimeout, the
// whole until ends.
func (w *wire) beginData(ends time.Time) {
	w.settings.Lock()
	defer w.settings.Unlock()
	w.settings.data, w.settings.dataEnds = true, ends
}

// Read counts what comes in. An idle client is told to leave when the door stops.
func (w *wire) Read(b []byte) (int, error) {
	if w.cut.Load() || w.door.stopping.Load() && !w.busy.Load() {
		return 0, os.ErrDeadlineExceeded // go-smtp then answers 421, which Write puts right
	}
	w.settings.Lock()
	budget, data, ends, broken := w.settings.budget, w.settings.data, w.settings.dataEnds, w.settings.broken
	w.settings.Unlock()
	if broken != nil {
		return 0, broken
	}
	if budget <= 0 {
		return 0, errBudget
	}
	if data {
		at := time.Now().Add(w.door.s.cfg.ReadTimeout)
		if ends.Before(at) {
			at = ends
		}
		if err := w.Conn.SetReadDeadline(at); err != nil {
			return 0, err
		}
	}
	n, err := w.Conn.Read(b[:min(int64(len(b)), budget)])
	if w.door.stopping.Load() && !w.busy.Load() && n == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	if broken := w.count(b[:n]); broken != nil {
		return 0, broken
	}
	return n, err
}

// count takes octets off the budget and polices the length of command lines. What
// follows a transaction's first commands may be a message: those lines are its own.
func (w *wire) count(b []byte) error {
	w.settings.Lock()
	defer w.settings.Unlock()
	w.settings.budget -= int64(len(b))
	if w.settings.data || w.busy.Load() {
		return nil
	}
	for len(b) > 0 && w.settings.broken == nil {
		i := bytes.IndexByte(b, '\n')
		end := i
		if i < 0 {
			end = len(b)
		}
		if w.settings.command += end; w.settings.command > maxCommand {
			w.settings.broken = errCommand
		}
		if i < 0 {
			break
		}
		w.settings.command, b = 0, b[i+1:]
	}
	return w.settings.broken
}

// Write sends whole replies in one go: the library flushes each line, which is a TLS
// record and a system call apiece.
func (w *wire) Write(b []byte) (int, error) {
	if w.swallow {
		w.swallow = false
		return len(b), nil
	}
	w.pending = append(w.pending, w.own(b)...)
	if len(b) > 3 && b[3] == '-' {
		return len(b), nil
	}
	out := w.pending
	w.pending = w.pending[:0]
	if _, err := w.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ours are the library's fixed refusals and what we say instead.
var ours = []struct {
	prefix, code string
	text         fault.Text
}{
	{"552 5.3.4 Max message", "552 5.3.4", fault.TooLarge.Text()},
	{"452 4.5.3 Maximum", "452 4.5.3", textRcpts},
	{"421 4.4.2 Idle", "421 4.4.2", textIdle},
	{"500 5.4.0 Too long", "500 5.5.2", fault.Invalid.Text()},
}

// own puts the library's fixed refusals in the house's words.
func (w *wire) own(b []byte) []byte {
	for _, greet := range []string{"250-Hello ", "250 Hello ", "250 2.0.0 Hello "} { // RFC 5321 §4.1.1.1: our name comes first
		if rest, ok := bytes.CutPrefix(b, []byte(greet)); ok {
			return fmt.Appendf(nil, "%s%s Hello %s", greet[:4], w.door.s.cfg.Hostname, rest)
		}
	}
	if len(b) == 0 || b[0] < '4' {
		return b
	}
	for _, o := range ours {
		if !bytes.HasPrefix(b, []byte(o.prefix)) {
			continue
		}
		if o.code == "421 4.4.2" && w.door.stopping.Load() {
			o.code, o.text = "421 4.3.2", textStopping
		} else if o.code == "421 4.4.2" && w.cut.Load() {
			o.code, o.text = "421 4.7.0", fault.RateLimited.Text()
		}
		return fmt.Appendf(nil, "%s %s\r\n", o.code, line(o.text, "", false))
	}
	return b
}

// wake interrupts a read in progress so that it sees that the door stops.
func (w *wire) wake() {
	if !w.busy.Load() {
		_ = w.Conn.SetReadDeadline(time.Unix(1, 0)) // the connection is going away
	}
}

// host returns the address of a peer without its port.
func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}

// describe gives version and suite for the Received field (RFC 8314 §4.3 asks for them
// to be recorded).
func describe(cs tls.ConnectionState) string {
	version := "TLS1.2"
	if cs.Version == tls.VersionTLS13 {
		version = "TLS1.3"
	}
	return version + ":" + tls.CipherSuiteName(cs.CipherSuite)
}
