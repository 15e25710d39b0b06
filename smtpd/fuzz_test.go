package smtpd_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pli/smtpd"
)

// FuzzDoor says anything to the doors in each state of the dialogue: before TLS, after
// it, signed in, and within a transaction. The door must neither panic nor hang, must
// answer only with reply lines, and must never take a message outside DATA or BDAT.
func FuzzDoor(f *testing.F) {
	for state := range byte(5) {
		for _, s := range []string{"", "EHLO x\r\n", "MAIL FROM:<>\r\nRCPT TO:<a@mss-a.example>\r\nDATA\r\n.\r\n", "AUTH PLAIN\r\nAAAA\r\n*\r\n",
			"BDAT 3 LAST\r\nabcNOOP\r\n", "BDAT 5\r\nab", "BDAT 3", "DATA\r\nx\n.\ny\r.\r\n.\r\n", "STARTTLS\r\n\x16\x03\x01", "RSET\nQUIT\n",
			"MAIL FROM:<a@mss-b.example> SIZE=99999999999 RET=X ENVID=+G\r\n", "RCPT TO:<@a,@b:c@d.example> ORCPT=rfc822;+41 NOTIFY=NEVER,DELAY\r\n",
			"AUTH LOGIN =\r\n=\r\n", "EHLO\r\nHELO \x00\r\nVRFY x\r\nEXPN y\r\n", strings.Repeat("A", 5000), "\r\n\r\n\r\n"} {
			f.Add(state, []byte(s))
		}
	}
	mx := start(f, smtpd.MX, false, smtpd.Config{ReadTimeout: 2 * time.Second, MaxMessageSize: 10_000})
	users := start(f, smtpd.Submission, false, smtpd.Config{ReadTimeout: 2 * time.Second, MaxMessageSize: 10_000})
	f.Fuzz(func(t *testing.T, state byte, said []byte) {
		c := inState(t, mx, users, state%5)
		if _, err := c.conn.Write(said); err == nil {
			closeWrite(c.conn)
		}
		answers, _ := io.ReadAll(c.r) // an abrupt end is an answer too
		c.conn.Close()
		for l := range bytes.Lines(answers) {
			if state%5 != 0 && (len(l) < 4 || l[0] < '2' || l[0] > '5' || l[3] != ' ' && l[3] != '-') {
				t.Errorf("not a reply: %q", l)
			}
			if len(l) > 4096 {
				t.Errorf("a reply of %d octets", len(l))
			}
		}
		upper := bytes.ToUpper(said)
		if state%5 != 4 && bytes.Contains(answers, []byte("Message accept")) && !bytes.Contains(upper, []byte("DATA")) && !bytes.Contains(upper, []byte("BDAT")) {
			t.Errorf("a message out of nowhere: %q", said)
		}
		// go-smtp itself may meet a nil session when a client leaves amid BDAT; it
		// recovers and nothing is taken. Ours are told by their code.
		if log := mx.log.String() + users.log.String(); strings.Contains(log, `"code":"panic`) {
			i := strings.Index(log, `"code":"panic`)
			t.Fatalf("panic on %q: %s", said, log[max(0, i-300):min(len(log), i+300)])
		}
	})
}

func inState(t *testing.T, mx, users *rig, state byte) *client {
	t.Helper()
	at := func(r *rig) *rig { return &rig{t: t, h: r.h, addr: r.addr, log: r.log} }
	switch state {
	case 0:
		return at(mx).dial()
	case 1:
		return at(mx).peer()
	case 2:
		return at(users).user()
	case 3:
		c := at(mx).peer()
		c.do("MAIL FROM:<a@mss-b.example>", "250")
		c.do("RCPT TO:<b@mss-a.example>", "250")
		return c
	}
	c := at(users).user()
	c.do("MAIL FROM:<k.haddad@mss-a.example>", "250")
	c.do("RCPT TO:<b@mss-a.example>", "250")
	c.do("DATA", "354")
	return c
}

func closeWrite(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite() // the other end may be gone
	}
}
