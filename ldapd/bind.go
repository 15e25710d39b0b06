package ldapd

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"pli/fault"
	"pli/identity"
)

// credentials is a bind request (RFC 4511 §4.2).
type credentials struct {
	version   int64
	name      string
	password  string // simple
	mechanism string // SASL, "" for simple
	response  []byte
	answered  bool // there is a response, be it empty
}

func readBind(p *ber.Packet) (credentials, error) {
	var x credentials
	if len(p.Children) != 3 {
		return x, errMalformed
	}
	var ok, ok2 bool
	x.version, ok = number(p.Children[0], ber.TagInteger)
	x.name, ok2 = octets(p.Children[1])
	auth := p.Children[2]
	if !ok || !ok2 || auth.ClassType != ber.ClassContext {
		return x, errMalformed
	}
	switch {
	case auth.Tag == 0 && auth.TagType == ber.TypePrimitive:
		x.password = text(auth)
	case auth.Tag == 3 && auth.TagType == ber.TypeConstructed && len(auth.Children) >= 1 && len(auth.Children) <= 2:
		m, ok := octets(auth.Children[0])
		if x.mechanism = strings.ToUpper(m); !ok || m == "" {
			return x, errMalformed
		}
		if len(auth.Children) == 2 {
			r, ok := octets(auth.Children[1])
			if !ok {
				return x, errMalformed
			}
			x.response, x.answered = []byte(r), true
		}
	default:
		x.mechanism = "?"
	}
	return x, nil
}

// bind signs in. It waits for the operations in hand (RFC 4511 §4.2.1), and whatever
// was signed in before is not any more.
func (c *conn) bind(m message) bool {
	p, err := m.decode()
	var x credentials
	if err == nil {
		x, err = readBind(p)
	}
	if err != nil {
		c.farewell(err)
		return false
	}
	c.ops.Wait()
	if c.bound {
		c.since = time.Now()
	}
	c.who, c.prove, c.bound, c.authzID = identity.SignIn{}, nil, false, ""
	ctx, cancel := context.WithTimeout(c.ctx, commandTimeout)
	defer cancel()
	started := time.Now()
	means, r := c.signIn(ctx, x)
	c.s.metrics.binds.WithLabelValues(means, r.name()).Inc()
	if means != "anonymous" {
		c.s.d.Log.Info("ldap bind", "means", means, "result", r.name(), "account", c.who.Account, "bal", c.who.BAL, "took", time.Since(started))
	}
	c.reply(m.id, tagBindResponse, r)
	if r.code == success || r.code == saslBindInProgress {
		return true
	}
	if c.failures++; c.failures < maxFailures {
		return true
	}
	c.notice(unavailable, fault.RateLimited.Text())
	return false
}

// signIn finds out who signs in. means is for counting.
func (c *conn) signIn(ctx context.Context, x credentials) (means string, r result) {
	switch {
	case x.version != 3:
		return "other", result{code: protocolError, text: textVersion}
	case x.mechanism == "" && x.name == "" && x.password == "":
		return "anonymous", result{}
	case x.mechanism == "" && x.password == "": // RFC 4513 §5.1.2
		return "password", result{code: unwillingToPerform, text: textNoPassword}
	case x.mechanism == "":
		address, ok := addressOf(x.name)
		return "password", c.password(ctx, address, x.password, ok)
	case x.mechanism == "PLAIN":
		return "plain", c.plain(ctx, x)
	case x.mechanism == "EXTERNAL":
		return "external", c.external(ctx, x)
	}
	return "other", result{code: authMethodNotSupported, text: textMechanism}
}

func (c *conn) password(ctx context.Context, address, secret string, ok bool) result {
	if c.tls == nil {
		return result{code: confidentialityRequired, text: textNoTLS}
	}
	if !ok {
		return result{code: invalidCredentials, text: fault.WrongSecret.Text()}
	}
	return c.open(ctx, "dn:mail="+escapeValue(address)+","+c.s.c.Base, func(ctx context.Context) (identity.SignIn, error) {
		return c.s.d.SignIn.AppPassword(ctx, address, secret, c.host)
	})
}

// plain reads authzid NUL authcid NUL password (RFC 4616). Nobody acts for another.
func (c *conn) plain(ctx context.Context, x credentials) result {
	if c.tls == nil {
		return result{code: confidentialityRequired, text: textNoTLS}
	}
	if !x.answered {
		return result{code: saslBindInProgress}
	}
	parts := bytes.Split(x.response, []byte{0})
	if len(parts) != 3 || len(parts[2]) == 0 {
		return result{code: invalidCredentials, text: fault.WrongSecret.Text()}
	}
	address, ok := addressOf(string(parts[1]))
	if other, given := authorization(string(parts[0])); given && other != address {
		ok = false
	}
	return c.password(ctx, address, string(parts[2]), ok)
}

// authorization reads an authorization identity (RFC 4513 §5.2.1.8), or a bare address.
func authorization(s string) (address string, given bool) {
	if s == "" {
		return "", false
	}
	for _, prefix := range []string{"u:", "dn:"} {
		if len(s) > len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
			s = s[len(prefix):]
			break
		}
	}
	address, _ = addressOf(s)
	return address, true
}

// external signs in by the certificate shown in the handshake (RFC 4513 §5.2.3).
func (c *conn) external(ctx context.Context, x credentials) result {
	if c.tls == nil {
		return result{code: confidentialityRequired, text: textNoTLS}
	}
	if len(c.tls.PeerCertificates) == 0 {
		return result{code: inappropriateAuthentication, text: textNoCert}
	}
	address, given := authorization(string(x.response))
	if given && address == "" {
		return result{code: invalidCredentials, text: fault.WrongSecret.Text()}
	}
	authzID := ""
	if address != "" {
		authzID = "dn:mail=" + escapeValue(address) + "," + c.s.c.Base
	}
	return c.open(ctx, authzID, func(ctx context.Context) (identity.SignIn, error) {
		cert, err := c.s.d.VerifyClient(*c.tls)
		if err != nil {
			return identity.SignIn{}, fault.Wrap(fault.WrongSecret, "ldapd.external", "certificate", err)
		}
		return c.s.d.SignIn.Certificate(ctx, address, cert)
	})
}

// open finds who comes by a proof, and asks for his right to ask the directory. The proof
// is kept as long as he is signed in: a secret or a certificate may be revoked meanwhile.
func (c *conn) open(ctx context.Context, authzID string, prove func(context.Context) (identity.SignIn, error)) result {
	who, err := prove(ctx)
	if err != nil {
		return failure(err)
	}
	if authzID == "" {
		authzID = "u:bal-" + strconv.FormatInt(int64(who.BAL), 10)
	}
	ask := c.s.d.Reader.OpenDirectory
	now := c.s.d.Now()
	lately, refusal := c.s.opened.lately(who, now)
	if refusal != nil {
		return failure(refusal)
	}
	if lately {
		ask = c.s.d.Reader.DirectoryStillAllowed
	}
	if err := ask(ctx, who, doorName); err != nil {
		if k := fault.KindOf(err); k == fault.Forbidden || k == fault.Closed {
			c.s.opened.note(who, opening{now.Add(refusedTime), err})
		}
		c.s.d.Log.Info("ldap right refused", "account", who.Account, "bal", who.BAL, "kind", fault.KindOf(err).String(), "code", fault.CodeOf(err))
		return failure(err)
	}
	if !lately {
		c.s.opened.note(who, opening{now.Add(askAgain), nil})
	}
	c.who, c.prove, c.bound, c.authzID, c.seen, c.failures = who, prove, true, authzID, now, 0
	return result{}
}

// refusedTime is how long a refusal is taken for said: a program that is refused goes on
// asking, and one trace of it a minute is enough.
const refusedTime = time.Minute

// openings remembers who opened the directory lately, or was refused: some programs make
// a connection and a bind of each name that they complete, and one trace is enough for
// them all. The secret is proven each time, and the right of who was let in asked about,
// all the same.
type openings struct {
	mu  sync.Mutex
	by  map[identity.SignIn]opening
	max int
}

type opening struct {
	until   time.Time
	refusal error // of the gate
}

func newOpenings() *openings { return &openings{by: map[identity.SignIn]opening{}, max: 10_000} }

func (o *openings) lately(who identity.SignIn, now time.Time) (yes bool, refusal error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x, ok := o.by[who]
	if !ok || !now.Before(x.until) {
		return false, nil
	}
	return true, x.refusal
}

// note begins a period.
func (o *openings) note(who identity.SignIn, x opening) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.by) >= o.max {
		clear(o.by)
	}
	o.by[who] = x
}
