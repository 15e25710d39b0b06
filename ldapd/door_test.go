package ldapd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/prometheus/client_golang/prometheus"

	"pli/fault"
	"pli/internal/limit"
)

func TestBinds(t *testing.T) {
	h := newHouse(t, options{})
	labo, err := selfSigned("labo")
	h.check(err)
	stranger, err := selfSigned("dehors")
	h.check(err)
	for _, x := range []struct {
		name, password string
		code           uint16
	}{
		{address, password, 0},
		{"  Anne.Martin@mss-a.example ", password, 0},
		{"mail=" + address + "," + base, password, 0},
		{"uid=" + address + "," + base, password, 0},
		{"cn=" + address + ",o=n'importe quoi", password, 0},
		{"MAIL=anne.martin\\40mss-a.example, ou=x", password, 0},
		{`mail="anne.martin@mss-a.example"`, password, 0},
		{address, "faux", invalidCredentials},
		{"jean.petit@mss-a.example", password, invalidCredentials},
		{"o=" + address, password, invalidCredentials},
		{"annemartin", password, invalidCredentials},
		{"mail=" + address + "+cn=x," + base, password, invalidCredentials},
		{"mail=", password, invalidCredentials},
		{"", password, invalidCredentials},
		{address, "too-often", busy},
	} {
		wantCode(t, h.dial().Bind(x.name, x.password), x.code)
	}
	// A name without a password signs nobody in (RFC 4513 §5.1.2).
	c := h.dial()
	_, err = c.SimpleBind(&ldap.SimpleBindRequest{Username: address, AllowEmptyPassword: true})
	wantCode(t, err, unwillingToPerform)
	_, err = c.Search(sub("(sn=martin)"))
	wantCode(t, err, strongerAuthRequired)
	// Nobody signs in over a line that can be heard.
	clear, err := ldap.DialURL("ldap://" + h.clear)
	h.check(err)
	defer clear.Close()
	wantCode(t, clear.Bind(address, password), confidentialityRequired)
	wantCode(t, clear.ExternalBind(), confidentialityRequired)
	_, err = clear.Search(sub("(sn=martin)"))
	wantCode(t, err, confidentialityRequired)
	// By certificate.
	c = h.dial(labo)
	h.check(c.ExternalBind())
	if who, err := c.WhoAmI(nil); err != nil || who.AuthzID != "u:bal-8" {
		t.Errorf("%v %v", who, err)
	}
	wantCode(t, h.dial().ExternalBind(), inappropriateAuthentication)
	wantCode(t, h.dial(stranger).ExternalBind(), invalidCredentials)
	// The gate has the last word.
	h.deny.Store(fault.New(fault.Forbidden, "gate.Do", "denied"))
	c = h.dial()
	wantCode(t, c.Bind(address, password), 50)
	_, err = c.Search(sub("(sn=martin)"))
	wantCode(t, err, strongerAuthRequired)
	if log := h.log.String(); strings.Contains(log, "martin") || strings.Contains(log, password) {
		t.Error("an address or a secret is in the log")
	}
}

func TestAnonymous(t *testing.T) {
	h := newHouse(t, options{})
	c := h.dial()
	h.check(c.UnauthenticatedBind(""))
	if who, err := c.WhoAmI(nil); err != nil || who.AuthzID != "" {
		t.Errorf("%v %v", who, err)
	}
	_, err := c.Search(baseRead(base, "(objectClass=*)"))
	wantCode(t, err, strongerAuthRequired)
	h.check(c.Bind(address, password))
	if who, err := c.WhoAmI(nil); err != nil || who.AuthzID != "dn:mail="+address+","+base {
		t.Errorf("%v %v", who, err)
	}
	if _, err = c.Search(baseRead(base, "(objectClass=*)")); err != nil {
		t.Error(err)
	}
	// A bind that fails leaves nobody signed in.
	wantCode(t, c.Bind(address, "faux"), invalidCredentials)
	_, err = c.Search(baseRead(base, "(objectClass=*)"))
	wantCode(t, err, strongerAuthRequired)
}

func TestTooManyWrongPasswords(t *testing.T) {
	h := newHouse(t, options{})
	c := h.dial()
	for range maxFailures {
		wantCode(t, c.Bind(address, "faux"), invalidCredentials)
	}
	if err := c.Bind(address, password); err == nil || ldap.IsErrorWithCode(err, invalidCredentials) {
		t.Errorf("the connection goes on: %v", err)
	}
}

// Some programs bind anew for each name completed.
func TestOneTraceForManyBinds(t *testing.T) {
	h := newHouse(t, options{})
	for range 5 {
		h.signedIn()
	}
	if o, a := h.opened.Load(), h.asked.Load(); o != 1 || a != 4 {
		t.Errorf("opened %d times, asked %d times", o, a)
	}
	h.later.Store(int64(6 * time.Minute))
	h.signedIn()
	if o := h.opened.Load(); o != 2 {
		t.Errorf("after a while: %d", o)
	}
}

// A program that is refused goes on asking: at each letter typed, some of them.
func TestOneTraceForManyRefusals(t *testing.T) {
	h := newHouse(t, options{})
	h.deny.Store(fault.New(fault.Forbidden, "gate.Do", "R-CGU-01").Say("Acceptez d'abord les conditions.", "Accept the conditions first."))
	for range 5 {
		err := h.dial().Bind(address, password)
		wantCode(t, err, 50)
		if !strings.Contains(err.Error(), "Acceptez d'abord les conditions.") {
			t.Error(err)
		}
	}
	if n := h.refuse.Load(); n != 1 {
		t.Errorf("%d refusals traced", n)
	}
	wantCode(t, h.dial().Bind(address, "faux"), invalidCredentials)
	h.deny.Store(nil)
	h.later.Store(int64(refusedTime))
	h.signedIn()
}

// One account does not take every connection to the database for itself.
func TestAnAccountWaitsForItself(t *testing.T) {
	h := newHouse(t, options{})
	h.crowd.delay.Store(int64(30 * time.Millisecond))
	c := h.raw()
	write(t, c, bindMsg(1, address, password))
	readAnswers(t, c, 1)
	const many = 14
	for i := range many {
		write(t, c, searchMsg(int64(2+i), "(sn=martin)"))
	}
	done := 0
	for _, a := range readAnswers(t, c, many) {
		if a.tag == tagSearchResultDone && a.code == success {
			done++
		}
	}
	if most := h.crowd.most.Load(); most > atOnce || done != many {
		t.Errorf("%d at one time, %d answered of %d", most, done, many)
	}
}

func TestARightThatIsLost(t *testing.T) {
	h := newHouse(t, options{})
	c := h.signedIn()
	h.deny.Store(fault.New(fault.Unavailable, "gate.Ask", ""))
	h.later.Store(int64(6 * time.Minute))
	if _, err := c.Search(sub("(sn=martin)")); err != nil {
		t.Errorf("when nobody can answer: %v", err)
	}
	h.deny.Store(fault.New(fault.Closed, "gate.Ask", ""))
	if _, err := c.Search(sub("(sn=martin)")); err == nil {
		t.Error("a closed BAL asks on")
	}
	h.deny.Store(nil)
	h.later.Store(0)
	x := h.raw()
	write(t, x, bindMsg(1, address, password))
	readAnswers(t, x, 1)
	h.deny.Store(fault.New(fault.Closed, "gate.Ask", ""))
	h.later.Store(int64(6 * time.Minute))
	write(t, x, searchMsg(2, "(sn=martin)"))
	all, err := io.ReadAll(x)
	if got := results(all); err != nil || len(got) != 1 || got[0] != (answer{0, tagExtendedResponse, strongerAuthRequired}) {
		t.Errorf("%v %v", got, err)
	}
}

// Who connects and says nothing shuts nobody out.
func TestSilentStrangers(t *testing.T) {
	h := newHouse(t, options{})
	for range 8*runtime.GOMAXPROCS(0) + 4 {
		c, err := net.Dial("tcp", h.secure)
		h.check(err)
		t.Cleanup(func() { c.Close() })
	}
	began := time.Now()
	h.signedIn()
	if took := time.Since(began); took > handshakeTimeout/2 {
		t.Errorf("a user waits %v", took)
	}
}

// A secret or a certificate that is revoked ends the connections that it opened.
func TestRevokedWhileConnected(t *testing.T) {
	h := newHouse(t, options{})
	labo, err := selfSigned("labo")
	h.check(err)
	secret, cert := h.signedIn(), h.dial(labo)
	h.check(cert.ExternalBind())
	h.later.Store(int64(6 * time.Minute))
	for _, c := range []*ldap.Conn{secret, cert} {
		if _, err := c.Search(sub("(sn=martin)")); err != nil {
			t.Error(err)
		}
	}
	h.revoke.Store(true)
	h.later.Store(int64(12 * time.Minute))
	for i, c := range []*ldap.Conn{secret, cert} {
		if _, err := c.Search(sub("(sn=martin)")); err == nil {
			t.Errorf("%d asks on", i)
		}
	}
}

func TestWhatIsCounted(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	h := newHouse(t, options{metrics: r})
	c := h.signedIn()
	_ = h.dial().Bind(address, "faux")
	_, _ = c.Search(sub("(sn=haddad)", "mail"))
	_, _ = c.Search(baseRead("o=autre", "(sn=haddad)"))
	_ = c.Del(ldap.NewDelRequest(base, nil))
	families, err := r.Gather()
	h.check(err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "pli_ldapd_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{"connections": 2, "binds_total password ok": 1, "binds_total password wrong-secret": 1, "searches_total ok": 1,
		"searches_total no-such-object": 1, "search_seconds": 2, "entries_total": 2, "operations_total delete refused": 1} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

func TestWhatIsNotDoneHere(t *testing.T) {
	h := newHouse(t, options{})
	c := h.signedIn()
	dn := "uid=x," + base
	wantCode(t, c.Add(ldap.NewAddRequest(dn, nil)), unwillingToPerform)
	wantCode(t, c.Del(ldap.NewDelRequest(dn, nil)), unwillingToPerform)
	m := ldap.NewModifyRequest(dn, nil)
	m.Replace("sn", []string{"x"})
	wantCode(t, c.Modify(m), unwillingToPerform)
	wantCode(t, c.ModifyDN(ldap.NewModifyDNRequest(dn, "uid=y", true, "")), unwillingToPerform)
	_, err := c.PasswordModify(ldap.NewPasswordModifyRequest("", "a", "b"))
	wantCode(t, err, unwillingToPerform)
	_, err = c.Extended(ldap.NewExtendedRequest("1.2.3.4", nil))
	wantCode(t, err, protocolError)
	if err := c.MD5Bind("x", "y", "z"); err == nil {
		t.Error("DIGEST-MD5")
	}
	h.check(c.Bind(address, password))
	if _, err := c.Search(sub("(sn=martin)")); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestStartTLS(t *testing.T) {
	h := newHouse(t, options{})
	c, err := ldap.DialURL("ldap://" + h.clear)
	h.check(err)
	defer c.Close()
	h.check(c.StartTLS(clientTLS(t)))
	h.check(c.Bind(address, password))
	if r, err := c.Search(sub("(sn=martin)", "mail")); err != nil || mails(r) != "anne.martin" {
		t.Errorf("%v", err)
	}
	_, err = c.Extended(ldap.NewExtendedRequest(oidStartTLS, nil))
	wantCode(t, err, operationsError)
	if _, err = c.Search(sub("(sn=martin)")); err != nil {
		t.Errorf("after a second StartTLS: %v", err)
	}
}

// A stranger on the line who puts operations before the handshake gets nowhere.
func TestNothingFromBeforeTLSIsDoneAfter(t *testing.T) {
	h := newHouse(t, options{})
	start := msg(1, tagExtendedRequest, appendString(nil, 0x80, oidStartTLS))
	whoami := msg(2, tagExtendedRequest, appendString(nil, 0x80, oidWhoAmI))
	c := h.inClear()
	write(t, c, append(bytes.Clone(start), whoami...))
	all, _ := io.ReadAll(c)
	if codes := results(all); len(codes) != 1 || codes[0] != (answer{0, tagExtendedResponse, protocolError}) {
		t.Errorf("%v", codes)
	}
	// … nor does who sends it between the answer and the handshake.
	c = h.inClear()
	write(t, c, start)
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if got := results(buf[:n]); err != nil || len(got) != 1 || got[0].code != success {
		t.Fatalf("%v %v", got, err)
	}
	write(t, c, whoami)
	tc := tls.Client(c, clientTLS(t))
	if err := tc.Handshake(); err == nil {
		t.Error("a handshake after an operation in clear")
	}
}

// msg writes one request.
func msg(id int64, tag byte, op []byte) []byte {
	b, whole := begin(nil, 0x30)
	b = appendNumber(b, 0x02, id)
	b = appendString(b, tag, op)
	end(b, whole)
	return b
}

func bindMsg(id int64, name, secret string) []byte {
	return msg(id, tagBindRequest, appendString(appendString(appendNumber(nil, 0x02, 3), 0x04, name), 0x80, secret))
}

func searchMsg(id int64, filter string) []byte {
	f, err := ldap.CompileFilter(filter)
	if err != nil {
		panic(err)
	}
	op := appendString(nil, 0x04, base)
	op = appendNumber(op, 0x0a, scopeSub)
	op = appendNumber(op, 0x0a, 0)
	op = appendNumber(op, 0x02, 0)
	op = appendNumber(op, 0x02, 0)
	op = append(op, 0x01, 0x01, 0x00)
	op = append(op, f.Bytes()...)
	op = appendString(op, 0x30, appendString(nil, 0x04, "mail"))
	return msg(id, tagSearchRequest, op)
}

func write(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

// answer is what a message of the server says.
type answer struct {
	id   int64
	tag  byte
	code int
}

func results(b []byte) (out []answer) {
	for len(b) > 0 {
		_, content, rest, ok := element(b)
		if !ok {
			return append(out, answer{-1, 0, 0})
		}
		b = rest
		_, n, op, _ := element(content)
		a := answer{}
		for _, c := range n {
			a.id = a.id<<8 | int64(c)
		}
		var body []byte
		a.tag, body, _, _ = element(op)
		if a.tag != tagSearchResultEntry {
			_, code, _, _ := element(body)
			a.code = int(code[0])
		}
		out = append(out, a)
	}
	return out
}

// readAnswers reads until n results that end an operation have come, or the end.
func readAnswers(t testing.TB, r io.Reader, n int) (out []answer) {
	t.Helper()
	br := bufio.NewReader(r)
	for n > 0 {
		first, err := br.ReadByte()
		if err != nil {
			return out
		}
		b, err := readMessage(br, first)
		if err != nil {
			t.Fatal(err)
		}
		got := results(appendString(nil, 0x30, b))
		out = append(out, got...)
		if got[0].tag != tagSearchResultEntry {
			n--
		}
	}
	return out
}

func TestAThousandSearchesAtOnce(t *testing.T) {
	h := newHouse(t, options{})
	c := h.raw()
	write(t, c, bindMsg(1, address, password))
	if got := readAnswers(t, c, 1); len(got) != 1 || got[0].code != success {
		t.Fatalf("%v", got)
	}
	const n = 1000
	go func() {
		var all []byte
		for i := range int64(n) {
			all = append(all, searchMsg(i+2, "(sn=martin)")...)
		}
		_, _ = c.Write(all)
	}()
	done := map[int64]int{}
	for _, a := range readAnswers(t, c, n) {
		switch {
		case a.tag == tagSearchResultEntry:
			done[a.id]++
		case a.code != success || done[a.id] != 1:
			t.Fatalf("%+v after %d entries", a, done[a.id])
		default:
			done[a.id] = -1
		}
	}
	if len(done) != n {
		t.Errorf("%d of %d answered", len(done), n)
	}
}

func TestABindWaitsForSearches(t *testing.T) {
	h := newHouse(t, options{})
	h.crowd.delay.Store(int64(100 * time.Millisecond))
	c := h.raw()
	write(t, c, bindMsg(1, address, password))
	write(t, c, bytes.Join([][]byte{searchMsg(2, "(sn=martin)"), searchMsg(3, "(sn=haddad)"), bindMsg(4, address, "faux"), searchMsg(5, "(sn=martin)")}, nil))
	got := readAnswers(t, c, 5)
	codes, order := map[int64]int{}, ""
	for _, a := range got {
		if a.tag != tagSearchResultEntry {
			codes[a.id] = a.code
			order += fmt.Sprint(a.id)
		}
	}
	if fmt.Sprint(codes) != "map[1:0 2:0 3:0 4:49 5:8]" || order[0] != '1' || order[3:] != "45" {
		t.Errorf("%v in the order %s", codes, order)
	}
}

func TestAbandon(t *testing.T) {
	h := newHouse(t, options{config: Config{TimeLimit: patience}})
	h.crowd.delay.Store(int64(patience))
	c := h.raw()
	write(t, c, bindMsg(1, address, password))
	write(t, c, searchMsg(2, "(sn=martin)"))
	for h.crowd.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	write(t, c, msg(3, tagAbandonRequest, []byte{99})) // of nothing
	write(t, c, msg(4, tagAbandonRequest, []byte{2}))
	write(t, c, msg(5, tagExtendedRequest, appendString(nil, 0x80, oidWhoAmI)))
	write(t, c, bindMsg(6, address, password)) // would wait for the search
	if got := readAnswers(t, c, 3); len(got) != 3 || got[1].id != 5 || got[2].id != 6 {
		t.Errorf("%v", got)
	}
}

func TestTwoSearchesUnderOneNumber(t *testing.T) {
	h := newHouse(t, options{})
	h.crowd.delay.Store(int64(200 * time.Millisecond))
	c := h.raw()
	write(t, c, bindMsg(1, address, password))
	write(t, c, append(searchMsg(2, "(sn=martin)"), searchMsg(2, "(sn=martin)")...))
	got := readAnswers(t, c, 3)
	if len(got) != 4 || got[1].code != protocolError || got[3].code != success {
		t.Errorf("%v", got)
	}
}

func TestUnbindEndsAll(t *testing.T) {
	h := newHouse(t, options{})
	c := h.raw()
	write(t, c, bindMsg(1, address, password))
	write(t, c, msg(2, tagUnbindRequest, nil))
	all, err := io.ReadAll(c)
	if got := results(all); err != nil || len(got) != 1 || got[0].id != 1 {
		t.Errorf("%v %v", got, err)
	}
}

// What is no LDAP, or pretends to be, is told so and ends; nothing is waited for.
func TestHostileOctets(t *testing.T) {
	h := newHouse(t, options{})
	nested := func(n int) []byte {
		b := []byte{0x87, 2, 'c', 'n'}
		for range n {
			b = appendString(nil, 0xa2, b)
		}
		return b
	}
	search := func(filter []byte) []byte {
		op := appendString(nil, 0x04, base)
		op = append(op, 0x0a, 1, 2, 0x0a, 1, 0, 0x02, 1, 0, 0x02, 1, 0, 0x01, 1, 0)
		return msg(7, tagSearchRequest, append(append(op, filter...), 0x30, 0))
	}
	notice := answer{0, tagExtendedResponse, protocolError}
	for name, x := range map[string]struct {
		send []byte
		want answer
		on   bool // the connection goes on
	}{
		"HTTP":                          {[]byte("GET / HTTP/1.1\r\n\r\n"), notice, false},
		"2 GiB":                         {[]byte{0x30, 0x84, 0x80, 0, 0, 0, 0x02, 1, 1}, notice, false},
		"16 EiB":                        {append([]byte{0x30, 0x88}, bytes.Repeat([]byte{0xff}, 8)...), notice, false},
		"127 octets of length":          {[]byte{0x30, 0xff}, notice, false},
		"indefinite":                    {[]byte{0x30, 0x80, 0x02, 1, 1, 0x42, 0, 0, 0}, notice, false},
		"64 KiB and one":                {[]byte{0x30, 0x83, 1, 0, 1}, notice, false},
		"empty":                         {[]byte{0x30, 0}, notice, false},
		"no number":                     {[]byte{0x30, 2, 0x42, 0}, notice, false},
		"number 0":                      {msg(0, tagUnbindRequest, nil), notice, false},
		"negative number":               {[]byte{0x30, 5, 0x02, 1, 0xff, 0x42, 0}, notice, false},
		"a response":                    {msg(1, tagSearchResultDone, nil), notice, false},
		"an unknown operation":          {msg(1, 0x7e, nil), notice, false},
		"indefinite inside":             {[]byte{0x30, 7, 0x02, 1, 1, 0x60, 0x80, 0, 0}, notice, false},
		"longer inside":                 {[]byte{0x30, 7, 0x02, 1, 1, 0x60, 0x05, 0, 0}, notice, false},
		"a high tag":                    {[]byte{0x30, 7, 0x02, 1, 1, 0x7f, 0x81, 1, 0}, notice, false},
		"no controls":                   {append([]byte{0x30, 8, 0x02, 1, 1, 0x77, 0}, 0xa1, 0, 0)[:10], notice, false},
		"controls that are none":        {[]byte{0x30, 11, 0x02, 1, 1, 0x68, 0, 0xa0, 4, 0x04, 2, 'x', 'y'}, notice, false},
		"an empty bind":                 {msg(1, tagBindRequest, nil), notice, false},
		"a bind of version 2":           {msg(1, tagBindRequest, append(appendNumber(nil, 0x02, 2), 0x04, 0, 0x80, 0)), answer{1, tagBindResponse, protocolError}, true},
		"a bind of an unknown choice":   {msg(1, tagBindRequest, append(appendNumber(nil, 0x02, 3), 0x04, 0, 0x89, 0)), answer{1, tagBindResponse, authMethodNotSupported}, true},
		"SASL PLAIN, asked to go on":    {msg(1, tagBindRequest, append(appendNumber(nil, 0x02, 3), 0x04, 0, 0xa3, 7, 0x04, 5, 'P', 'L', 'A', 'I', 'N')), answer{1, tagBindResponse, saslBindInProgress}, true},
		"an empty search":               {msg(1, tagSearchRequest, nil), answer{1, tagSearchResultDone, protocolError}, true},
		"an empty filter":               {search([]byte{0xa3, 0}), answer{7, tagSearchResultDone, protocolError}, true},
		"an unknown filter":             {search([]byte{0xaa, 0}), answer{7, tagSearchResultDone, protocolError}, true},
		"not of two":                    {search([]byte{0xa2, 8, 0x87, 2, 'c', 'n', 0x87, 2, 's', 'n'}), answer{7, tagSearchResultDone, protocolError}, true},
		"depth 20":                      {search(nested(20)), answer{7, tagSearchResultDone, adminLimitExceeded}, true},
		"depth 10,000":                  {search(nested(10_000)), answer{7, tagSearchResultDone, adminLimitExceeded}, true},
		"a modification without a word": {msg(9, 0x66, nil), answer{9, 0x67, unwillingToPerform}, true},
	} {
		c := h.raw()
		write(t, c, x.send)
		if x.on {
			write(t, c, msg(100, tagExtendedRequest, appendString(nil, 0x80, oidWhoAmI)))
			got := readAnswers(t, c, 2)
			slices.SortFunc(got, func(a, b answer) int { return int(a.id - b.id) })
			if len(got) != 2 || got[0] != x.want || got[1] != (answer{100, tagExtendedResponse, success}) {
				t.Errorf("%s: %v, want %v and to go on", name, got, x.want)
			}
			continue
		}
		all, _ := io.ReadAll(c)
		if got := results(all); len(got) != 1 || got[0] != x.want {
			t.Errorf("%s: %v, want %v", name, got, x.want)
		}
	}
}

func TestSASLPlain(t *testing.T) {
	h := newHouse(t, options{})
	try := func(response string) int {
		sasl := appendString(appendString(nil, 0x04, "PLAIN"), 0x04, response)
		c := h.raw()
		write(t, c, msg(1, tagBindRequest, appendString(append(appendNumber(nil, 0x02, 3), 0x04, 0), 0xa3, sasl)))
		return readAnswers(t, c, 1)[0].code
	}
	for response, want := range map[string]int{
		"\x00" + address + "\x00" + password:                            success,
		address + "\x00" + address + "\x00" + password:                  success,
		"u:" + address + "\x00" + address + "\x00" + password:           success,
		"dn:mail=" + address + ",o=x\x00" + address + "\x00" + password: success,
		"u:jean.petit@mss-a.example\x00" + address + "\x00" + password:  invalidCredentials,
		"\x00" + address + "\x00":                                       invalidCredentials,
		"\x00" + address:                                                invalidCredentials,
		"":                                                              invalidCredentials,
		"\x00" + address + "\x00" + password + "\x00":                   invalidCredentials,
		"\x00mail=" + address + "," + base + "\x00" + password:          success,
	} {
		if got := try(response); got != want {
			t.Errorf("%q: %d, want %d", response, got, want)
		}
	}
}

// Who sends an octet now and then does not keep a connection.
func TestSlowMessages(t *testing.T) {
	h := newHouse(t, options{config: Config{IdleTimeout: 200 * time.Millisecond}})
	c := h.raw()
	write(t, c, bindMsg(1, address, password))
	all, err := io.ReadAll(c)
	got := results(all)
	if err != nil || len(got) != 2 || got[1] != (answer{0, tagExtendedResponse, unavailable}) {
		t.Errorf("idle: %v %v", got, err)
	}
	// The bound on a message holds whatever trickles in.
	server, client := net.Pipe()
	defer client.Close()
	x := newConn(h.server, server, "test")
	_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	go func() {
		for {
			if _, err := client.Write([]byte{0x01}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	started := time.Now()
	_, err = readMessage(bufio.NewReader(io.MultiReader(bytes.NewReader([]byte{0x82, 0x40, 0x00}), server)), 0x30)
	if err == nil || time.Since(started) > patience {
		t.Errorf("%v after %v", err, time.Since(started))
	}
	server.Close()
	x.cancel()
}

func TestStopping(t *testing.T) {
	before := runtime.NumGoroutine()
	h := newHouse(t, options{})
	h.crowd.delay.Store(int64(300 * time.Millisecond))
	idle, busyOne, clear := h.raw(), h.raw(), h.inClear()
	for _, c := range []net.Conn{idle, busyOne} {
		write(t, c, bindMsg(1, address, password))
		if got := readAnswers(t, c, 1); got[0].code != success {
			t.Fatal(got)
		}
	}
	write(t, clear, bindMsg(1, "", ""))
	readAnswers(t, clear, 1)
	write(t, busyOne, searchMsg(2, "(sn=martin)"))
	for h.crowd.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	h.stop()
	notice := answer{0, tagExtendedResponse, unavailable}
	for name, x := range map[string]struct {
		c    net.Conn
		want []answer
	}{
		"idle":   {idle, []answer{notice}},
		"clear":  {clear, []answer{notice}},
		"asking": {busyOne, []answer{{2, tagSearchResultEntry, 0}, {2, tagSearchResultDone, 0}, notice}},
	} {
		all, err := io.ReadAll(x.c)
		if got := results(all); err != nil || fmt.Sprint(got) != fmt.Sprint(x.want) {
			t.Errorf("%s: %v %v, want %v", name, got, err, x.want)
		}
	}
	for range 2 {
		select {
		case err := <-h.served:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("the door does not close")
		}
	}
	for _, c := range []net.Conn{idle, busyOne, clear} {
		c.Close()
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines stay, there were %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestTooManyConnections(t *testing.T) {
	h := newHouse(t, options{config: Config{MaxConnsPerHost: 2}})
	one, two := h.dial(), h.dial()
	c := h.inClear()
	all, err := io.ReadAll(c)
	if got := results(all); err != nil || len(got) != 1 || got[0] != (answer{0, tagExtendedResponse, busy}) {
		t.Errorf("%v %v", got, err)
	}
	one.Close()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if c, err := ldap.DialURL("ldaps://"+h.secure, ldap.DialWithTLSConfig(clientTLS(t))); err == nil {
			c.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	two.Close()
}

// A client that asks for much and reads nothing holds up nobody else.
func TestAClientThatDoesNotRead(t *testing.T) {
	h := newHouse(t, options{crowd: crowdOf(200), config: Config{MaxEntriesPerHour: 1_000_000}})
	deaf := h.raw()
	write(t, deaf, bindMsg(1, address, password))
	go func() {
		for i := int64(2); i < 3000; i++ {
			if _, err := deaf.Write(searchMsg(i, "(sn=duval)")); err != nil {
				return
			}
		}
	}()
	time.Sleep(100 * time.Millisecond)
	if r, err := h.signedIn().Search(sub("(sn=martin)", "mail")); err != nil || mails(r) != "anne.martin" {
		t.Errorf("%v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { h.server.each((*conn).kill) })
	wg.Wait()
}

// The program that administrators try first.
func TestLdapsearch(t *testing.T) {
	if _, err := exec.LookPath("ldapsearch"); err != nil {
		if os.Getenv("PLI_E2E") != "" {
			t.Fatal("PLI_E2E is set and there is no ldapsearch")
		}
		t.Skip("ldapsearch is not here: apt install ldap-utils")
	}
	h := newHouse(t, options{crowd: crowdOf(120)})
	env := []string{"LDAPTLS_CACERT=" + caFile(t), "LC_ALL=C"}
	_, port, _ := net.SplitHostPort(h.clear)
	_, tlsPort, _ := net.SplitHostPort(h.secure)
	plain, secure := "ldap://127.0.0.1:"+port, "ldaps://127.0.0.1:"+tlsPort
	run := func(program string, args ...string) (string, int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = append(cmd.Environ(), env...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	who := []string{"-x", "-D", "mail=" + address + "," + base, "-w", password}
	for _, x := range []struct {
		what string
		args []string
		exit int
		want string
	}{
		{"StartTLS", append([]string{"-ZZ", "-H", plain, "-b", base, "-LLL", "(sn=martin)", "mail"}, who...), 0, "mail: anne.martin@mss-a.example"},
		{"LDAPS", append([]string{"-H", secure, "-b", base, "-LLL", "(sn=martin)", "mail"}, who...), 0, "mail: anne.martin@mss-a.example"},
		{"SASL PLAIN", []string{"-H", secure, "-Y", "PLAIN", "-U", address, "-w", password, "-b", base, "-LLL", "(sn=martin)", "mail"}, -1, "mail: anne.martin@mss-a.example"},
		{"pages", append([]string{"-H", secure, "-E", "pr=50/noprompt", "-b", base, "(sn=duval)", "mail"}, who...), 0, "# numEntries: 120"},
		{"critical pages", append([]string{"-H", secure, "-E", "!pr=50/noprompt", "-b", base, "(sn=duval)", "mail"}, who...), 0, "# numEntries: 120"},
		{"accents", append([]string{"-H", secure, "-b", base, "-LLL", "-o", "ldif-wrap=no", "(sn=l'heritier)", "givenName"}, who...), 0, "givenName:: w4lsb8Ovc2U="},
		{"the size limit", append([]string{"-H", secure, "-z", "10", "-b", base, "(sn=duval)", "mail"}, who...), 4, "# numEntries: 10"},
		{"too many", append([]string{"-H", secure, "-b", base, "(sn=duval)", "mail"}, who...), 4, "# numEntries: 100"},
		{"the root", []string{"-x", "-H", plain, "-b", "", "-s", "base", "-LLL", "+", "*"}, 0, "namingContexts: " + base},
		{"the schema", []string{"-x", "-H", plain, "-b", "cn=Subschema", "-s", "base", "-LLL", "-o", "ldif-wrap=no", "objectClasses"}, 0, "NAME 'inetOrgPerson'"},
		{"nobody", []string{"-x", "-H", secure, "-b", base, "(sn=martin)"}, 8, "Connectez-vous"},
		{"in clear", append([]string{"-H", plain, "-b", base, "(sn=martin)"}, who...), 13, "StartTLS"},
		{"a wrong password", []string{"-x", "-D", address, "-w", "faux", "-H", secure, "-b", base}, 49, "Invalid credentials"},
		{"an unknown control", append([]string{"-H", secure, "-E", "!vlv=0/0/1/0", "-E", "sss=cn", "-b", base, "(sn=martin)"}, who...), 12, ""},
	} {
		out, exit := run("ldapsearch", x.args...)
		if x.exit < 0 && strings.Contains(out, "mechanism") { // no such plug-in on this machine
			continue
		}
		if exit != max(x.exit, 0) || !strings.Contains(out, x.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s", x.what, exit, max(x.exit, 0), x.want, out)
		}
	}
	if out, exit := run("ldapwhoami", append([]string{"-H", secure}, who...)...); exit != 0 || !strings.Contains(out, "dn:mail="+address) {
		t.Errorf("ldapwhoami: %d %s", exit, out)
	}
	if out, exit := run("ldapcompare", append(append([]string{"-H", secure}, who...), base, "ou:annuaire")...); exit != 6 {
		t.Errorf("ldapcompare: %d %s", exit, out)
	}
	if out, exit := run("ldappasswd", append([]string{"-H", secure, "-s", "x"}, who...)...); exit == 0 {
		t.Errorf("ldappasswd: %d %s", exit, out)
	}
	if out, exit := run("ldapdelete", append(append([]string{"-H", secure}, who...), base)...); exit != 53 {
		t.Errorf("ldapdelete: %d %s", exit, out)
	}
}

func TestConfig(t *testing.T) {
	for _, bad := range []string{"annuaire", "ou=", "ou=a,,c=fr", ",", "ou=a,"} {
		if _, err := New(Deps{}, Config{Base: bad}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s, err := New(Deps{Limit: limit.New(nil)}, Config{MaxEntries: 5000})
	if err != nil || s.c.MaxEntries != 1000 || s.c.Base != base || s.c.MaxPagedEntries != 2000 || s.c.TimeLimit != 3*time.Second {
		t.Errorf("%+v %v", s.c, err)
	}
}

func TestAnotherBase(t *testing.T) {
	h := newHouse(t, options{config: Config{Base: "o=Mon Opérateur,dc=mss-a,dc=example"}})
	c := h.signedIn()
	r, err := c.Search(ldap.NewSearchRequest("O=mon opérateur,DC=mss-a,dc=example", ldap.ScopeWholeSubtree, 0, 0, 0, false, "(|(sn=martin)(o=mon opérateur))", nil, nil))
	h.check(err)
	if len(r.Entries) != 2 || r.Entries[0].DN != "o=Mon Opérateur,dc=mss-a,dc=example" || !strings.HasSuffix(r.Entries[1].DN, ",o=Mon Opérateur,dc=mss-a,dc=example") {
		t.Errorf("%v", r.Entries)
	}
}
