package main

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/smtp"
	"os"
	"strconv"
	"strings"
	"time"
)

// dialer opens TLS connections that trust the demo's authority.
type dialer struct{ pool *x509.CertPool }

func newDialer(ca string) (*dialer, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	d := &dialer{x509.NewCertPool()}
	if !d.pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate", ca)
	}
	return d, nil
}

func (d *dialer) dial(addr string) (*tls.Conn, error) {
	return tls.Dial("tcp", addr, &tls.Config{RootCAs: d.pool, ServerName: "localhost"})
}

func (d *dialer) smtp(addr string, who person) (*smtp.Client, error) {
	conn, err := d.dial(addr)
	if err != nil {
		return nil, err
	}
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		return nil, err
	}
	return c, c.Auth(smtp.PlainAuth("", who.address, who.password, "localhost"))
}

// submitSome sends messages on one connection while next gives numbers above zero, and
// returns how long each took from MAIL to 250.
func submitSome(d *dialer, addr string, from, to person, body string, next func() int) ([]time.Duration, error) {
	c, err := d.smtp(addr, from)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var took []time.Duration
	for k := next(); k > 0; k = next() {
		start := time.Now()
		if err := submit(c, from, to, "mesure "+strconv.Itoa(k), body); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
	}
	return took, c.Quit()
}

func submit(c *smtp.Client, from, to person, subject, body string) error {
	if err := c.Mail(from.address); err != nil {
		return err
	}
	if err := c.Rcpt(to.address); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nMessage-ID: <%s@mesure.example>\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf; name=mesure.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n",
		from.address, to.address, subject, rand.Text())
	if _, err := io.WriteString(w, body); err != nil {
		return err
	}
	return w.Close()
}

// imap is a connection with an INBOX selected.
type imap struct {
	conn *tls.Conn
	r    *bufio.Reader
	n    int
}

func (d *dialer) imap(addr string, who person) (*imap, error) {
	conn, err := d.dial(addr)
	if err != nil {
		return nil, err
	}
	c := &imap{conn: conn, r: bufio.NewReaderSize(conn, 1<<16)}
	if _, err := c.line(); err != nil {
		return nil, err
	}
	for _, cmd := range []string{"LOGIN " + who.address + " " + who.password, "SELECT INBOX"} {
		if err := c.command(cmd, nil); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *imap) line() (string, error) {
	_ = c.conn.SetDeadline(time.Now().Add(time.Minute))
	return c.r.ReadString('\n')
}

// command runs one command; see is told of every untagged line.
func (c *imap) command(cmd string, see func(line string)) error {
	c.n++
	tag := "t" + strconv.Itoa(c.n)
	if _, err := fmt.Fprintf(c.conn, "%s %s\r\n", tag, cmd); err != nil {
		return err
	}
	for {
		l, err := c.line()
		if err != nil {
			return err
		}
		if strings.HasPrefix(l, tag+" ") {
			if !strings.HasPrefix(l, tag+" OK") {
				return fmt.Errorf("imap: %s", strings.TrimSpace(l))
			}
			return nil
		}
		if see != nil {
			see(l)
		}
		if err := c.skipLiteral(l); err != nil {
			return err
		}
	}
}

// skipLiteral reads the octets that a line announces at its end, as {n}.
func (c *imap) skipLiteral(l string) error {
	l = strings.TrimRight(l, "\r\n")
	open := strings.LastIndexByte(l, '{')
	if open < 0 || !strings.HasSuffix(l, "}") {
		return nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(l[open+1:len(l)-1], "+"))
	if err != nil {
		return nil
	}
	_, err = io.CopyN(io.Discard, c.r, int64(n))
	return err
}

// idle measures how long after the 250 a listener in IDLE is told.
func idle(d *dialer, smtpAddr, imapAddr string, from, to person, n int) error {
	c, err := d.imap(imapAddr, to)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	fmt.Fprintf(c.conn, "i IDLE\r\n")
	told := make(chan time.Time, 1000)
	go func() {
		defer close(told)
		for {
			l, err := c.line()
			if err != nil {
				return
			}
			if strings.HasSuffix(l, " EXISTS\r\n") {
				told <- time.Now()
			}
		}
	}()
	s, err := d.smtp(smtpAddr, from)
	if err != nil {
		return err
	}
	defer s.Close()
	var took, whole []time.Duration
	for k := range n {
		start := time.Now()
		if err := submit(s, from, to, "idle "+strconv.Itoa(k), attachment(5000)); err != nil {
			return err
		}
		answered := time.Now()
		select {
		case at, ok := <-told:
			if !ok {
				return fmt.Errorf("the idle connection was closed")
			}
			took, whole = append(took, max(at.Sub(answered), 0)), append(whole, at.Sub(start))
		case <-time.After(10 * time.Second):
			return fmt.Errorf("IDLE told nothing in ten seconds")
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Printf("%-22s %s\n%-22s %s\n", "250 to IDLE", percentiles(took), "MAIL to IDLE", percentiles(whole))
	return nil
}

// fetchAll reads the envelope of every message of INBOX, then every message.
func fetchAll(d *dialer, addr string, who person, m *meter) error {
	c, err := d.imap(addr, who)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	for name, what := range map[string]string{"ENVELOPE": "(UID FLAGS RFC822.SIZE ENVELOPE)", "BODY[]": "(UID BODY.PEEK[])"} {
		n, cpu, start := 0, m.cpu(), time.Now()
		if err := c.command("FETCH 1:* "+what, func(l string) {
			if strings.HasPrefix(l, "* ") && strings.Contains(l, " FETCH ") {
				n++
			}
		}); err != nil {
			return err
		}
		fmt.Printf("%-22s %7.0f msg/s   %d messages   %.3f ms CPU/message\n", "fetch "+name, float64(n)/time.Since(start).Seconds(), n, (m.cpu()-cpu)*1000/float64(max(n, 1)))
	}
	return nil
}
