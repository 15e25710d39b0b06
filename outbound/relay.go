package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"pli/fault"
	"pli/mail"
)

// state of a recipient, as in the table.
type state string

const (
	queued    state = "queued"
	delivered state = "delivered"
	failed    state = "failed"
)

// result is what one attempt gave one recipient.
type result struct {
	state     state
	code      int    // of the peer's reply; 0 when none was given
	enhanced  string // status code, with its class
	text      string // the reply's, or ours
	mta       string // who spoke
	peerTells bool   // the peer makes the success report (it has DSN)
	soon      bool   // try the rest at once: the peer takes so many at a time
}

// setback is a failure that concerns every recipient.
type setback struct {
	permanent bool
	result
}

func (s *setback) Error() string { return "outbound: " + s.enhanced }

func temporary(enhanced, text string) *setback {
	return &setback{result: result{state: queued, enhanced: enhanced, text: text}}
}

func permanent(enhanced, text string) *setback {
	return &setback{permanent: true, result: result{state: failed, enhanced: enhanced, text: text}}
}

// relay carries a letter to the recipients of it.recipients that waiting names, and
// returns one result for each, in their order.
func (q *Queue) relay(ctx context.Context, it *item, env *envelope, l Letter, waiting []int) []result {
	results := make([]result, len(waiting))
	err := q.relayAny(ctx, it, env, l, waiting, results)
	if err == nil {
		return results
	}
	var s *setback
	if !errors.As(err, &s) {
		s = temporary("4.3.0", "erreur interne / internal error")
		q.d.Log.Error("outbound: attempt failed", "outbound", it.id, "code", fault.CodeOf(err), "kind", fault.KindOf(err).String())
	}
	for k := range results {
		if results[k].state == "" {
			results[k] = s.result
		}
	}
	return results
}

// relayAny tries the domain's hosts in order until one takes up the conversation.
func (q *Queue) relayAny(ctx context.Context, it *item, env *envelope, l Letter, waiting []int, results []result) error {
	if err := q.d.Trust.MayRelay(it.domain); fault.Is(err, fault.Untrusted) {
		return permanent("5.1.2", "domaine hors de l'espace de confiance / domain outside the trusted circle")
	} else if err != nil {
		return temporary("4.7.1", "liste blanche inutilisable / white list unusable")
	}
	hosts, err := q.hosts(ctx, it.domain)
	if err != nil {
		return err
	}
	var last error
	for _, host := range hosts {
		conv, err := q.connect(ctx, it.domain, host)
		if err != nil {
			last = err
			continue
		}
		defer conv.close()
		return conv.carry(ctx, it, env, l, waiting, results)
	}
	return last
}

// hosts finds where a domain's mail goes: the configured route, else its MX records in
// order of preference, else the domain itself (RFC 5321 §5.1).
func (q *Queue) hosts(ctx context.Context, domain string) ([]string, error) {
	if route, ok := q.cfg.Routes[domain]; ok {
		return []string{route}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	mxs, err := q.d.Resolver.LookupMX(ctx, domain)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return q.itself(ctx, domain)
	case err != nil && len(mxs) == 0:
		return nil, temporary("4.4.3", "DNS indisponible / DNS unavailable")
	}
	sort.SliceStable(mxs, func(i, j int) bool { return mxs[i].Pref < mxs[j].Pref })
	var out []string
	for _, mx := range mxs {
		name := strings.TrimSuffix(mx.Host, ".")
		if name == "" { // null MX (RFC 7505)
			return nil, permanent("5.1.10", "ce domaine ne recoit pas de courrier / this domain accepts no mail")
		}
		if len(out) < 5 {
			out = append(out, net.JoinHostPort(name, "25"))
		}
	}
	return out, nil
}

// itself is the implicit MX of a domain that has none.
func (q *Queue) itself(ctx context.Context, domain string) ([]string, error) {
	_, err := q.d.Resolver.LookupHost(ctx, domain)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, permanent("5.1.2", "domaine inconnu / unknown domain")
	case err != nil:
		return nil, temporary("4.4.3", "DNS indisponible / DNS unavailable")
	}
	return []string{net.JoinHostPort(domain, "25")}, nil
}

// conversation is a connection to a peer, under TLS and past EHLO.
type conversation struct {
	conn   net.Conn
	client *smtp.Client
	mta    string
	stop   func() bool
}

func (c *conversation) close() {
	c.stop()
	c.conn.Close()
}

// connect dials, asks for TLS, checks who is there, and greets. Nothing about the
// letter is said before the peer has proved that it serves domain.
func (q *Queue) connect(ctx context.Context, domain, addr string) (*conversation, error) {
	dialer := net.Dialer{Timeout: q.cfg.Timeout}
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, temporary("4.4.1", "serveur injoignable / no answer from the server")
	}
	conn := &patient{Conn: raw, quiet: q.cfg.Timeout}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	name, _, _ := net.SplitHostPort(addr)
	c, err := q.greet(ctx, conn, domain, name)
	if err != nil {
		stop()
		conn.Close()
		var s *setback
		if errors.As(err, &s) {
			s.mta = name
			return nil, s
		}
		s = temporary("4.4.2", "dialogue interrompu avec le serveur / conversation with the server broken off")
		s.mta = name
		return nil, s
	}
	c.mta, c.stop = name, stop
	return c, nil
}

// greet goes from the first octet to EHLO under TLS.
func (q *Queue) greet(ctx context.Context, conn net.Conn, domain, name string) (*conversation, error) {
	if err := conn.SetDeadline(time.Now().Add(q.cfg.Timeout)); err != nil {
		return nil, err
	}
	if err := askTLS(conn, q.cfg.Hostname); err != nil {
		return nil, err
	}
	cfg := q.d.Trust.Relay(domain).Clone()
	if net.ParseIP(name) == nil {
		cfg.ServerName = name
	}
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, tlsSetback(err)
	}
	client := smtp.NewClient(&greeted{Conn: tc, first: strings.NewReader("220 TLS\r\n")})
	client.CommandTimeout = q.cfg.Timeout
	client.SubmissionTimeout = 10 * q.cfg.Timeout // the peer may scan and store
	if err := client.Hello(q.cfg.Hostname); err != nil {
		return nil, replySetback(err)
	}
	return &conversation{conn: tc, client: client}, nil
}

// tlsSetback says what is wrong with the peer's proof of identity. It is temporary: a
// certificate is renewed, a list catches up; but nothing goes out meanwhile.
func tlsSetback(err error) *setback {
	if fault.Is(err, fault.Unavailable) && fault.CodeOf(err) != "" {
		return temporary("4.7.1", "liste blanche ou listes de revocation inutilisables / white list or revocation lists unusable")
	}
	why := fault.CodeOf(err)
	if why == "" {
		why = "handshake"
	}
	return temporary("4.7.10", "le serveur n'a pas prouve son identite / the server did not prove its identity ("+why+")")
}

// askTLS speaks the few lines before TLS. The peer's certificate is not known yet, so
// what it says here is not passed on to anyone.
func askTLS(conn net.Conn, hostname string) error {
	r := bufio.NewReader(io.LimitReader(conn, 16<<10))
	t := textproto.NewReader(r)
	if _, _, err := t.ReadResponse(220); err != nil {
		return replySetback(err)
	}
	if _, err := fmt.Fprintf(conn, "EHLO %s\r\n", hostname); err != nil {
		return err
	}
	_, msg, err := t.ReadResponse(250)
	if err != nil {
		return replySetback(err)
	}
	offered := false
	for line := range strings.Lines(msg) {
		offered = offered || strings.EqualFold(strings.TrimSpace(line), "STARTTLS")
	}
	if !offered {
		return temporary("4.7.10", "le serveur n'offre pas TLS / the server does not offer TLS")
	}
	if _, err := io.WriteString(conn, "STARTTLS\r\n"); err != nil {
		return err
	}
	if _, _, err := t.ReadResponse(220); err != nil {
		return replySetback(err)
	}
	if r.Buffered() > 0 { // octets ahead of the handshake: not the peer's
		return temporary("4.7.10", "octets inattendus avant TLS / unexpected octets before TLS")
	}
	return nil
}

// replySetback turns a reply into a result for everybody. A refusal before MAIL is
// about the connection and so temporary, whatever its class.
func replySetback(err error) error {
	r, ok := replyOf(err)
	if !ok {
		return err
	}
	r.state = queued
	r.enhanced = "4" + r.enhanced[1:]
	return &setback{result: r}
}

// replyOf reads a peer's refusal.
func replyOf(err error) (result, bool) {
	var s *smtp.SMTPError
	var t *textproto.Error
	switch {
	case errors.As(err, &s):
		r := result{state: queued, code: s.Code, text: clean(s.Message), enhanced: strconv.Itoa(s.Code/100) + ".0.0"}
		if e := s.EnhancedCode; e[0] == s.Code/100 && e != smtp.NoEnhancedCode {
			r.enhanced = fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
		}
		if s.Code/100 == 5 {
			r.state = failed
		}
		return r, s.Code/100 == 4 || s.Code/100 == 5
	case errors.As(err, &t) && (t.Code/100 == 4 || t.Code/100 == 5):
		return result{state: queued, code: t.Code, text: clean(t.Msg), enhanced: strconv.Itoa(t.Code/100) + ".0.0"}, true
	}
	return result{}, false
}

// clean bounds a peer's text and takes control characters out.
func clean(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	return strings.ToValidUTF8(s[:min(len(s), 1000)], "")
}

// carry runs one mail transaction.
func (c *conversation) carry(ctx context.Context, it *item, env *envelope, l Letter, waiting []int, results []result) error {
	content, err := l.Content(ctx)
	if err != nil {
		return fault.Wrap(fault.KindOf(err), "outbound.carry", "content", err)
	}
	defer content.Close()
	body := bufio.NewReaderSize(content, 64<<10)
	if err := c.client.Mail(env.from.Reveal(), c.mailOptions(env, it.size, eightBitHeader(body))); err != nil {
		return c.everybody(err)
	}
	accepted := c.rcpt(it, env, waiting, results)
	if len(accepted) == 0 {
		_ = c.client.Quit() // courtesy; the results are known
		return nil
	}
	reply, err := c.data(body)
	if err != nil {
		return c.everybody(err)
	}
	peerDSN, _ := c.client.Extension("DSN")
	for _, k := range accepted {
		results[k] = result{state: delivered, code: 250, enhanced: "2.0.0", text: clean(reply), mta: c.mta, peerTells: peerDSN}
	}
	_ = c.client.Quit()
	return nil
}

// rcpt names the recipients; it fills in the results of those refused and returns the
// others.
func (c *conversation) rcpt(it *item, env *envelope, waiting []int, results []result) (accepted []int) {
	for k, i := range waiting {
		err := c.client.Rcpt(env.recipients[i].address.Reveal(), rcptOptions(it.recipients[i], env.recipients[i]))
		if err == nil {
			accepted = append(accepted, k)
			continue
		}
		r, ok := replyOf(err)
		if !ok {
			r = result{state: queued, enhanced: "4.4.2", text: "dialogue interrompu / conversation broken off"}
		}
		r.mta = c.mta
		r.soon = len(accepted) > 0 && r.code == 452 && r.enhanced == "4.5.3"
		results[k] = r
	}
	return accepted
}

// everybody turns what stopped the transaction into a result for those without one.
func (c *conversation) everybody(err error) error {
	if r, ok := replyOf(err); ok {
		r.mta = c.mta
		return &setback{permanent: r.state == failed, result: r}
	}
	if fault.Is(err, fault.Corrupt) {
		return err
	}
	s := temporary("4.4.2", "dialogue interrompu avec le serveur / conversation with the server broken off")
	s.mta = c.mta
	return s
}

// data streams the message. When the letter cannot be read to its end the connection
// is dropped before the final dot: half a letter is never delivered.
func (c *conversation) data(body io.Reader) (reply string, err error) {
	w, err := c.client.Data()
	if err != nil {
		return "", err
	}
	in := &source{r: body}
	if _, err := io.Copy(w, in); err != nil {
		c.conn.Close()
		if in.err != nil {
			return "", fault.Wrap(fault.Corrupt, "outbound.data", "letter", in.err)
		}
		return "", err
	}
	r, err := w.CloseWithResponse()
	if err != nil {
		return "", err
	}
	return r.StatusText, nil
}

// source remembers that it was the reading side that failed.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (c *conversation) mailOptions(env *envelope, size int64, utf8 bool) *smtp.MailOptions {
	o := &smtp.MailOptions{Size: size, EnvelopeID: env.id, Return: smtp.DSNReturnHeaders}
	if env.full {
		o.Return = smtp.DSNReturnFull
	}
	if ok, _ := c.client.Extension("SMTPUTF8"); ok {
		o.UTF8 = utf8
	}
	return o
}

func rcptOptions(r recipient, p forwardPath) *smtp.RcptOptions {
	o := &smtp.RcptOptions{OriginalRecipient: p.original}
	if p.original != "" {
		o.OriginalRecipientType = smtp.DSNAddressTypeRFC822
		if strings.IndexFunc(p.original, func(r rune) bool { return r > 0x7e || r < ' ' }) >= 0 {
			o.OriginalRecipientType = smtp.DSNAddressTypeUTF8
		}
	}
	for flag, name := range map[mail.Notify]smtp.DSNNotify{mail.NotifyNever: smtp.DSNNotifyNever, mail.NotifySuccess: smtp.DSNNotifySuccess,
		mail.NotifyFailure: smtp.DSNNotifyFailure, mail.NotifyDelay: smtp.DSNNotifyDelayed} {
		if r.notify&flag != 0 {
			o.Notify = append(o.Notify, name)
		}
	}
	return o
}

// eightBitHeader reports whether the header holds octets beyond ASCII, which calls for
// SMTPUTF8 (RFC 6532). It looks at what is buffered: 64 KiB.
func eightBitHeader(r *bufio.Reader) bool {
	head, _ := r.Peek(64 << 10) // a short message ends in io.EOF, a broken one shows when read
	if i := strings.Index(string(head), "\r\n\r\n"); i >= 0 {
		head = head[:i]
	}
	for _, b := range head {
		if b > 0x7f {
			return true
		}
	}
	return false
}

// patient bounds every quiet moment of a connection: go-smtp sets no deadline while a
// message is sent.
type patient struct {
	net.Conn
	quiet time.Duration
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.Conn.SetWriteDeadline(time.Now().Add(p.quiet)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// greeted gives go-smtp the greeting that it waits for: the real one came before TLS.
type greeted struct {
	net.Conn
	first *strings.Reader
}

func (g *greeted) Read(b []byte) (int, error) {
	if g.first.Len() > 0 {
		return g.first.Read(b)
	}
	return g.Conn.Read(b)
}
