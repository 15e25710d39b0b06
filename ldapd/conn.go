package ldapd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"pli/fault"
	"pli/identity"
)

const (
	messageTimeout = 20 * time.Second // from the first octet of a message to its last
	earlyTime      = 2 * time.Minute  // for who has not signed in, all together
	writeTimeout   = 30 * time.Second
	outstanding    = 16 // operations in hand of one connection; more wait to be read
	maxFailures    = 5  // sign-ins that fail on one connection
	commandTimeout = time.Minute
	askAgain       = 5 * time.Minute // a right lasts so long before it is asked about again
)

var (
	errStopping  = errors.New("ldapd: stopping")
	errAbandoned = errors.New("ldapd: abandoned")
)

// conn is one connection. Its messages are read by one goroutine, which does everything
// but searches; those run beside it.
type conn struct {
	s      *Server
	host   string
	ctx    context.Context // until the connection ends
	cancel context.CancelFunc
	since  time.Time
	slots  chan struct{}
	ops    sync.WaitGroup

	// Of the reading goroutine; searches read what was when they began.
	br       *bufio.Reader
	tls      *tls.ConnectionState // nil in clear
	who      identity.SignIn
	prove    func(context.Context) (identity.SignIn, error) // again, of who is signed in
	bound    bool
	authzID  string // RFC 4513 §5.2.1.8
	seen     time.Time
	failures int

	mu       sync.Mutex
	net      net.Conn
	running  map[int64]context.CancelCauseFunc
	stopping bool

	wmu  sync.Mutex
	dead bool
}

func newConn(s *Server, nc net.Conn, host string) *conn {
	ctx, cancel := context.WithCancel(context.Background())
	return &conn{s: s, host: host, ctx: ctx, cancel: cancel, since: time.Now(), slots: make(chan struct{}, outstanding),
		net: nc, br: bufio.NewReaderSize(nc, 4096), running: map[int64]context.CancelCauseFunc{}}
}

// secure makes the TLS handshake.
func (c *conn) secure() error {
	ctx, cancel := context.WithTimeout(c.ctx, handshakeTimeout)
	defer cancel()
	if err := c.deadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	_ = c.net.SetWriteDeadline(time.Now().Add(handshakeTimeout))
	tc, err := c.s.handshakes.Server(ctx, c.net, c.s.d.TLS)
	if err != nil {
		c.s.metrics.handshakeFailures.Inc()
		c.s.d.Log.Info("ldap handshake failed")
		return err
	}
	state := tc.ConnectionState()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.net, c.tls, c.br = tc, &state, bufio.NewReaderSize(tc, 4096)
	return nil
}

// serve reads and answers until the end.
func (c *conn) serve() {
	for {
		m, err := c.read()
		if err != nil {
			c.farewell(err)
			return
		}
		if !c.take(m) {
			return
		}
	}
}

// read reads one message. One that is too deep to be looked at is answered here.
func (c *conn) read() (message, error) {
	for {
		b, err := c.next()
		if err != nil {
			return message{}, err
		}
		m, err := parseMessage(b)
		tag, known := responseTag[m.tag]
		if !errors.Is(err, errTooDeep) || !known {
			return m, err
		}
		c.reply(m.id, tag, result{code: adminLimitExceeded, text: textTooLarge})
	}
}

// next reads the octets of one message. Silence before it has one bound, slowness in it
// another.
func (c *conn) next() ([]byte, error) {
	idle := time.Now().Add(c.s.c.IdleTimeout)
	if end := c.since.Add(earlyTime); !c.bound && idle.After(end) {
		idle = end
	}
	if err := c.deadline(idle); err != nil {
		return nil, err
	}
	first, err := c.br.ReadByte()
	if err != nil {
		return nil, err
	}
	if err := c.deadline(time.Now().Add(messageTimeout)); err != nil {
		return nil, err
	}
	return readMessage(c.br, first)
}

// deadline sets when reading gives up, unless the door is closing.
func (c *conn) deadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return errStopping
	}
	return c.net.SetReadDeadline(t)
}

// farewell says why a connection ends, after the operations in hand.
func (c *conn) farewell(err error) {
	c.mu.Lock()
	stopping := c.stopping
	c.mu.Unlock()
	switch {
	case stopping:
		c.ops.Wait()
		c.notice(unavailable, textRestarting)
	case errors.Is(err, errMalformed):
		c.notice(protocolError, textMalformed)
	case errors.Is(err, errTooLarge), errors.Is(err, errTooDeep):
		c.notice(protocolError, textTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.ops.Wait()
		c.notice(unavailable, textIdle)
	}
}

// take does one operation, or begins it; false ends the connection.
func (c *conn) take(m message) bool {
	if m.tag == tagUnbindRequest {
		return false
	}
	if m.tag == tagAbandonRequest {
		c.abandon(m)
		return true
	}
	tag, known := responseTag[m.tag]
	if !known { // RFC 4511 §4.1.1: a tag that is no request ends the session
		c.farewell(errMalformed)
		return false
	}
	controls, err := parseControls(m.controls)
	if err != nil {
		c.farewell(err)
		return false
	}
	for _, x := range controls {
		if x.critical && !(x.oid == oidPaged && m.tag == tagSearchRequest) && x.oid != oidManageDsaIT {
			c.reply(m.id, tag, result{code: unavailableCriticalExtension, text: textControl})
			return true
		}
	}
	if err := c.stillAllowed(); err != nil {
		return false
	}
	switch m.tag {
	case tagBindRequest:
		return c.bind(m)
	case tagSearchRequest:
		return c.begin(m, controls)
	case tagExtendedRequest:
		return c.extended(m)
	case tagCompareRequest:
		c.reply(m.id, tag, c.compare(m))
	default:
		c.count(m.tag, unwillingToPerform)
		c.reply(m.id, tag, result{code: unwillingToPerform, text: textReadOnly})
	}
	return true
}

var operationNames = map[byte]string{tagModifyRequest: "modify", tagAddRequest: "add", tagDelRequest: "delete",
	tagModifyDNRequest: "modify-dn", tagCompareRequest: "compare", tagExtendedRequest: "extended"}

func (c *conn) count(tag byte, code int) {
	c.s.metrics.others.WithLabelValues(operationNames[tag], result{code: code}.name()).Inc()
}

// stillAllowed asks again about the proof and the right when it is time, and ends the
// connection of who has lost either. When nobody can answer nothing changes yet.
func (c *conn) stillAllowed() error {
	now := c.s.d.Now()
	if !c.bound || now.Sub(c.seen) < askAgain {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, commandTimeout)
	defer cancel()
	who, err := c.prove(ctx)
	if err == nil && who != c.who {
		err = fault.New(fault.WrongSecret, "ldapd.stillAllowed", "another")
	}
	if err == nil {
		err = c.s.d.Reader.DirectoryStillAllowed(ctx, who, doorName)
	}
	if err != nil {
		switch fault.KindOf(err) {
		case fault.Unavailable, fault.Timeout, fault.Internal, fault.RateLimited:
			c.s.d.Log.Warn("ldap right not asked again", "bal", c.who.BAL, "cause", err)
			return nil
		}
		c.s.d.Log.Info("ldap right lost", "account", c.who.Account, "bal", c.who.BAL)
		c.ops.Wait()
		c.notice(strongerAuthRequired, failure(err).text)
		return err
	}
	c.seen = now
	return nil
}

// begin starts a search beside the reader, as soon as there is room.
func (c *conn) begin(m message, controls []control) bool {
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return false
	}
	ctx, cancel := context.WithCancelCause(c.ctx)
	c.mu.Lock()
	_, twice := c.running[m.id]
	if !twice {
		c.running[m.id] = cancel
	}
	c.mu.Unlock()
	if twice { // RFC 4511 §4.1.1.1
		cancel(nil)
		<-c.slots
		c.reply(m.id, tagSearchResultDone, result{code: protocolError, text: textMalformed})
		return true
	}
	a := &asker{conn: c, id: m.id, secure: c.tls != nil, bound: c.bound, who: c.who, root: c.root}
	c.ops.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				c.s.d.Log.Error("ldap search", "cause", fault.Panic("ldapd.search", v))
				c.reply(m.id, tagSearchResultDone, failure(fault.New(fault.Internal, "ldapd.search", "panic")))
			}
			c.mu.Lock()
			delete(c.running, m.id)
			c.mu.Unlock()
			cancel(nil)
			<-c.slots
		}()
		a.search(ctx, m, controls)
	})
	return true
}

// abandon stops a search: nothing more is said of it (RFC 4511 §4.11).
func (c *conn) abandon(m message) {
	_, content, _, _ := element(m.op)
	var id int64
	for _, b := range content[:min(len(content), 5)] {
		id = id<<8 | int64(b)
	}
	c.mu.Lock()
	cancel := c.running[id]
	c.mu.Unlock()
	if cancel != nil {
		cancel(errAbandoned)
	}
}

// extended does an extended operation (RFC 4511 §4.12).
func (c *conn) extended(m message) bool {
	p, err := m.decode()
	if err != nil || len(p.Children) == 0 {
		c.farewell(errMalformed)
		return false
	}
	r, more := result{}, []byte(nil)
	switch text(p.Children[0]) {
	case oidStartTLS:
		return c.startTLS(m)
	case oidWhoAmI:
		more = appendString(nil, 0x8b, c.authzID)
	case oidPasswordModify:
		r = result{code: unwillingToPerform, text: textReadOnly}
	default:
		r = result{code: protocolError, text: textUnknownOp}
	}
	c.count(m.tag, r.code)
	c.write(appendResponse(nil, m.id, tagExtendedResponse, r, more, nil))
	return true
}

// startTLS begins TLS (RFC 4511 §4.14). What a client sent after the request, in clear,
// ends the connection: nothing from outside TLS is taken for something from inside.
func (c *conn) startTLS(m message) bool {
	c.mu.Lock()
	inHand := len(c.running)
	c.mu.Unlock()
	r := result{}
	switch {
	case c.tls != nil:
		r = result{code: operationsError, text: textTLSAlready}
	case inHand > 0:
		r = result{code: operationsError, text: textBusyTLS}
	case c.br.Buffered() > 0:
		c.farewell(errMalformed)
		return false
	}
	c.count(m.tag, r.code)
	c.write(appendResponse(nil, m.id, tagExtendedResponse, r, appendString(nil, 0x8a, oidStartTLS), nil))
	if r.code != success {
		return true
	}
	c.ops.Wait()
	return c.secure() == nil
}

// reply answers an operation with a result.
func (c *conn) reply(id int64, tag byte, r result) {
	c.write(appendResponse(nil, id, tag, r, nil, nil))
}

// notice says that the connection ends (RFC 4511 §4.4.1).
func (c *conn) notice(code int, t fault.Text) {
	c.write(appendNotice(nil, code, t))
	c.wmu.Lock()
	c.dead = true
	c.wmu.Unlock()
}

// write sends whole messages. A client that does not take them loses its connection.
func (c *conn) write(b []byte) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.dead {
		return
	}
	c.mu.Lock()
	nc := c.net
	c.mu.Unlock()
	_ = nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := nc.Write(b); err != nil {
		c.dead = true
		c.cancel()
		_ = nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// stop asks for an end: of silence now, of operations in hand after them.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	_ = c.net.SetReadDeadline(time.Unix(1, 0))
}

// kill cuts the connection.
func (c *conn) kill() {
	c.cancel()
	c.mu.Lock()
	nc := c.net
	c.mu.Unlock()
	if under, ok := nc.(*tls.Conn); ok {
		nc = under.NetConn()
	}
	_ = nc.Close()
}

// end closes the connection once nothing runs on it.
func (c *conn) end() {
	c.cancel()
	c.ops.Wait()
	c.mu.Lock()
	nc := c.net
	c.mu.Unlock()
	_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
	_ = nc.Close()
}

// event is what is logged at the end of an operation: never what was asked.
func (c *conn) event(what string, bad bool, attrs ...slog.Attr) {
	level := slog.LevelDebug
	if bad {
		level = slog.LevelError
	}
	c.s.d.Log.LogAttrs(c.ctx, level, what, attrs...)
}
