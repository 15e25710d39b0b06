package imapd

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"pli/fault"
)

// A guard stands between TLS and go-imap's server and knows where literals are.
//
// The server takes a literal that it refuses for the commands that follow: the lines
// of a mail body, chosen by a stranger, would be run when a client files the mail. The
// guard therefore shows every literal to the server as a synchronising one, and passes
// its octets on only once the server has asked for them ("+"); it keeps that "+" to
// itself when the client did not wait for one. A literal that is not asked for, or too
// large, never reaches the server: when the client waits, the command is refused; when
// it does not, the connection ends with BYE.
//
// It also bounds lines and what comes before sign-in, joins small writes, and says BYE
// at a stop.
type guard struct {
	conn   net.Conn
	state  tls.ConnectionState
	limits guardLimits
	br     *bufio.Reader
	since  time.Time

	// Of the reading goroutine.
	out     []byte // of the present line, still to be handed on
	literal int64  // octets still to be handed on
	waiting bool   // the server has a literal's head and has not asked for it yet
	first   bool   // the next line begins a command
	verb    string // of the present command
	message bool   // … an APPEND whose message has been handed on
	line    int    // octets of the present command's lines
	early   int    // octets before sign-in, and of lines that are no command

	mu       sync.Mutex
	w        []byte // written and not sent
	asked    bool   // the server said "+" for the literal at hand
	nonSync  bool   // the client did not wait for it
	greeting bool   // the server's greeting is still to be dropped: plain.go gave one
	raw      bool   // a message is being written: touch nothing
	readOnly bool   // the mailbox just selected opens for reading only
	reading  bool   // blocked on the client
	between  bool   // … between two commands
	signedIn bool
	stopping bool
	dead     bool

	session sync.WaitGroup // the session's own end
	once    sync.Once
	closed  chan struct{}
}

// guardLimits bound what a client may send. Append is in octets.
type guardLimits struct{ append int64 }

const (
	maxLines       = 48 << 10 // of one command: below the server's own bound
	maxArgument    = 4096     // a literal that is no message: the server's own bound
	maxEarly       = 64 << 10 // before sign-in, all commands together
	maxEarlyTime   = 2 * time.Minute
	writeTimeout   = time.Minute
	literalTimeout = time.Minute // silence in the middle of a literal
	flushAt        = 16 << 10
	maxAnswer      = 4000 // a line that answers the server: what it can take there
)

func newGuard(c net.Conn, l guardLimits, afterStartTLS bool) *guard {
	g := &guard{conn: c, limits: l, br: bufio.NewReaderSize(c, 4096), since: time.Now(), first: true, greeting: afterStartTLS, closed: make(chan struct{})}
	g.session.Add(1)
	return g
}

var errGuard = errors.New("imapd: the connection is over")

// Read hands on lines and the octets of literals that were asked for.
func (g *guard) Read(p []byte) (int, error) {
	for {
		switch {
		case len(g.out) > 0:
			n := copy(p, g.out)
			g.out = g.out[n:]
			return n, nil
		case g.waiting:
			if err := g.settle(); err != nil {
				return 0, err
			}
		case g.literal > 0:
			n, err := g.receive(p[:min(int64(len(p)), g.literal)])
			g.literal -= int64(n)
			return n, err
		default:
			if err := g.nextLine(); err != nil {
				return 0, err
			}
		}
	}
}

// settle runs when the server reads again after it was shown the head of a literal:
// either it has asked for it by now, or it has refused the command.
func (g *guard) settle() error {
	g.waiting = false
	g.mu.Lock()
	asked, nonSync := g.asked, g.nonSync
	g.asked, g.nonSync = false, false
	g.mu.Unlock()
	if asked {
		return nil
	}
	if nonSync && g.literal > 0 {
		return g.bye(fault.TooLarge, "refused-literal")
	}
	g.literal, g.first = 0, true
	return nil
}

// receive reads from the client once, after sending what is held back.
func (g *guard) receive(p []byte) (int, error) {
	if g.br.Buffered() == 0 {
		if err := g.block(); err != nil {
			return 0, err
		}
		defer g.unblock()
		// The server bounds a literal as a whole; what counts is that it goes on.
		_ = g.conn.SetReadDeadline(time.Now().Add(literalTimeout))
	}
	n, err := g.br.Read(p)
	return n, err
}

// block announces that the reader is about to wait for the client.
func (g *guard) block() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return errGuard
	}
	g.between = g.first
	if g.stopping && g.between {
		g.sayBye(restarting)
		return io.EOF
	}
	g.reading = true
	err := g.flush()
	if cap(g.w) > 1<<10 { // an idle connection holds no buffer
		g.w = nil
	}
	return err
}

func (g *guard) unblock() {
	g.mu.Lock()
	g.reading, g.between = false, false
	g.mu.Unlock()
}

// nextLine reads one line whole, and finds the literal at its end.
func (g *guard) nextLine() error {
	line, err := g.readLine()
	if err != nil {
		return err
	}
	if g.answering() {
		return g.answer(line)
	}
	tag := ""
	if g.first {
		var ok bool
		if tag, g.verb, ok = tagAndVerb(line); !ok {
			return g.noCommand(line)
		}
		g.line, g.message = 0, false
	}
	if g.line += len(line); g.line > maxLines {
		return g.bye(fault.TooLarge, "line-too-long")
	}
	if !g.signed() {
		if g.early += len(line); g.early > maxEarly {
			return g.bye(fault.TooLarge, "too-much-before-sign-in")
		}
	}
	if rest := string(bytes.TrimRight(line, "\r\n")); g.message && rest != "" && rest != ")" {
		return g.bye(fault.Invalid, "after-the-message") // the server would leave it unanswered
	}
	if n, nonSync, ok := literalAtEnd(line); ok {
		return g.head(line, tag, n, nonSync)
	}
	g.out, g.first = line, true
	return nil
}

// noCommand answers a line that is no command: the server would cut the connection
// without a word.
func (g *guard) noCommand(line []byte) error {
	_, _, literal := literalAtEnd(line)
	if g.early += len(line); literal || g.early > maxEarly {
		return g.bye(fault.Invalid, "no-command")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w = append(g.w, "* BAD "+bilingual(fault.Invalid.Text())+"\r\n"...)
	return g.flush()
}

// answer hands on a line that answers the server. The server would take the rest of
// one that is too long, and the octets of a literal, for commands.
func (g *guard) answer(line []byte) error {
	if _, _, literal := literalAtEnd(line); literal || len(line) > maxAnswer {
		return g.bye(fault.TooLarge, "no-answer")
	}
	if g.verb == "IDLE" && bytes.EqualFold(bytes.TrimSpace(line), []byte("DONE")) {
		line = []byte("DONE\r\n")
	}
	g.out, g.first = line, true
	return nil
}

// answering reports whether the line at hand answers a "+" of the server instead of
// giving it a command: DONE after IDLE, and what follows AUTHENTICATE.
func (g *guard) answering() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.asked
	g.asked = false
	return was
}

// head treats a line that ends with the head of a literal.
func (g *guard) head(line []byte, tag string, n int64, nonSync bool) error {
	limit := int64(maxArgument)
	if g.verb == "APPEND" && (!g.first || len(bytes.Fields(line)) > 3) { // else it is the mailbox's name
		limit, g.message = g.limits.append, true
	}
	var why fault.Kind
	switch signed := g.signed(); {
	case !signed && g.verb != "LOGIN":
		why = fault.Unauthenticated
	case n > limit:
		why = fault.TooLarge
	default:
		g.mu.Lock()
		g.asked, g.nonSync = false, nonSync
		g.mu.Unlock()
		g.out, g.literal, g.waiting, g.first = synchronising(line), n, true, false
		return nil
	}
	if nonSync || !g.first {
		return g.bye(why, "refused-literal")
	}
	reply := " NO [TOOBIG] "
	if why == fault.Unauthenticated {
		reply = " BAD [CLIENTBUG] "
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w = append(g.w, tag+reply+bilingual(why.Text())+"\r\n"...)
	return g.flush()
}

// readLine reads up to and with a line feed. Only between commands does silence until
// a stop end in BYE.
func (g *guard) readLine() ([]byte, error) {
	var line []byte
	for {
		if bytes.IndexByte(peekBuffered(g.br), '\n') < 0 {
			if err := g.block(); err != nil {
				return nil, err
			}
		}
		piece, err := g.br.ReadSlice('\n')
		g.unblock()
		line = append(line, piece...)
		switch {
		case err == nil:
			return line, nil
		case len(line) > maxLines:
			return nil, g.bye(fault.TooLarge, "line-too-long")
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, os.ErrDeadlineExceeded) && len(line) == 0 && g.isStopping():
			if err := g.block(); err != nil {
				return nil, err
			}
			return nil, err
		default:
			return nil, err
		}
	}
}

func peekBuffered(br *bufio.Reader) []byte {
	b, _ := br.Peek(br.Buffered())
	return b
}

// literalAtEnd finds {n} or {n+} at the end of a line (RFC 9051 §4.3, RFC 7888).
func literalAtEnd(line []byte) (n int64, nonSync, ok bool) {
	line = bytes.TrimRight(line, " \r\n") // the server forgives a space there
	if !bytes.HasSuffix(line, []byte("}")) {
		return 0, false, false
	}
	i := bytes.LastIndexByte(line, '{')
	if i < 0 {
		return 0, false, false
	}
	digits := line[i+1 : len(line)-1]
	if d, plus := bytes.CutSuffix(digits, []byte("+")); plus {
		digits, nonSync = d, true
	}
	v, err := strconv.ParseUint(string(digits), 10, 63)
	if err != nil {
		// Not a number we can count: treat it as the largest, which is refused.
		if len(digits) == 0 || bytes.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) {
			return 0, false, false
		}
		return 1<<63 - 1, nonSync, true
	}
	return int64(v), nonSync, true
}

// synchronising takes the + out of the literal at the end of a line.
func synchronising(line []byte) []byte {
	i := bytes.LastIndex(line, []byte("+}"))
	if j := bytes.LastIndexByte(line, '{'); i < 0 || i < j {
		return line
	}
	return append(line[:i], line[i+1:]...)
}

// bye ends the connection with a word to the client. code is for the operator's log
// by way of the error.
func (g *guard) bye(k fault.Kind, code string) error {
	g.mu.Lock()
	g.sayBye(k.Text())
	g.mu.Unlock()
	return fault.New(k, "imapd.guard", code)
}

// sayBye wants g.mu. In the middle of a message nothing can be said: it would be taken
// for the message's own octets.
func (g *guard) sayBye(t fault.Text) {
	if g.dead {
		return
	}
	if g.raw {
		g.dead, g.w = true, nil
		return
	}
	g.w = append(g.w, "* BYE "+bilingual(t)+"\r\n"...)
	_ = g.flush()
	g.dead = true
}

// end says BYE and lets nothing more be read or written.
func (g *guard) end(t fault.Text) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sayBye(t)
	_ = g.conn.SetReadDeadline(time.Unix(1, 0))
}

// engineBug is what go-imap's server answers to what it cannot read and has no better
// word for; our sessions never fail that way, so it is the client's mistake.
var engineBug = []byte(" NO [SERVERBUG] Internal server error\r\n")

// engineSelected is what it answers to SELECT, whatever the session may do there: a
// mailbox that opens for reading only is said to (RFC 9051 §6.3.2).
var engineSelected = []byte(" OK [READ-WRITE] SELECT completed\r\n")

// Write takes what the server writes: whole lines, or pieces of a message.
func (g *guard) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return 0, errGuard
	}
	n := len(p)
	if !g.raw {
		p = g.edit(p)
	}
	g.w = append(g.w, p...)
	if g.reading || len(g.w) >= flushAt {
		if err := g.flush(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// edit keeps back what the client must not see.
func (g *guard) edit(p []byte) []byte {
	if g.greeting {
		i := bytes.IndexByte(p, '\n')
		g.greeting = i < 0
		return p[i+1:]
	}
	if bytes.HasPrefix(p, []byte("+ ")) {
		g.asked = true
		if g.nonSync {
			return nil
		}
		if bytes.Equal(p, []byte("+ =\r\n")) { // an empty challenge is written as nothing (RFC 9051 §6.2.2)
			return []byte("+ \r\n")
		}
	}
	if tag, ok := bytes.CutSuffix(p, engineSelected); ok && g.readOnly && isTag(string(tag)) {
		return []byte(string(tag) + " OK [READ-ONLY] SELECT completed\r\n")
	}
	if tag, ok := bytes.CutSuffix(p, engineBug); ok && isTag(string(tag)) {
		return []byte(string(tag) + " BAD " + bilingual(fault.Invalid.Text()) + "\r\n")
	}
	return p
}

// flush sends what is held back. It wants g.mu.
func (g *guard) flush() error {
	if len(g.w) == 0 {
		return nil
	}
	_ = g.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := g.conn.Write(g.w)
	g.w = g.w[:0]
	return err
}

// writing says that a message is on its way out, or that it is done.
func (g *guard) writing(on bool) {
	g.mu.Lock()
	g.raw = on
	g.mu.Unlock()
}

// selecting says whether the mailbox just selected opens for reading only.
func (g *guard) selecting(readOnly bool) {
	g.mu.Lock()
	g.readOnly = readOnly
	g.mu.Unlock()
}

func (g *guard) signIn() {
	g.mu.Lock()
	g.signedIn = true
	g.mu.Unlock()
}

func (g *guard) signed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.signedIn
}

func (g *guard) isStopping() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopping
}

func (g *guard) isDead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

// stop asks for an end at the next point between two commands.
func (g *guard) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopping = true
	if g.reading && g.between {
		_ = g.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// kill cuts the connection: nothing more is written, not even what is held back. It is
// for a message that turned out not to be genuine, and for the end of a stop.
func (g *guard) kill() {
	g.mu.Lock()
	g.dead = true
	g.w = nil
	g.mu.Unlock()
	if under, ok := g.conn.(*tls.Conn); ok { // without TLS's word of farewell
		_ = under.NetConn().Close()
		return
	}
	_ = g.conn.Close()
}

// Close sends what is held back and ends the connection.
func (g *guard) Close() error {
	err := error(nil)
	g.once.Do(func() {
		g.mu.Lock()
		if !g.dead {
			_ = g.flush()
		}
		g.dead = true
		g.mu.Unlock()
		err = g.conn.Close()
		close(g.closed)
	})
	return err
}

// SetReadDeadline is the server's; it is shortened before sign-in and does not undo a
// stop.
func (g *guard) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead || g.stopping && g.reading && g.between {
		return nil
	}
	if end := g.since.Add(maxEarlyTime); !g.signedIn && t.After(end) {
		t = end
	}
	return g.conn.SetReadDeadline(t)
}

// SetDeadline and SetWriteDeadline: the guard gives every write its own.
func (g *guard) SetDeadline(t time.Time) error    { return g.SetReadDeadline(t) }
func (g *guard) SetWriteDeadline(time.Time) error { return nil }

func (g *guard) LocalAddr() net.Addr  { return g.conn.LocalAddr() }
func (g *guard) RemoteAddr() net.Addr { return g.conn.RemoteAddr() }
