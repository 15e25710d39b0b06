package ldapd

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"pli/directory/search"
)

// FuzzMessage reads what anybody may send, down to the operation and its controls.
func FuzzMessage(f *testing.F) {
	f.Add(bindMsg(1, address, password))
	f.Add(searchMsg(2, "(&(mail=*)(|(cn=a*b*c)(!(sn~=d))(cn:dn:2.5.13.2:=e)))"))
	f.Add(msg(3, tagExtendedRequest, appendString(nil, 0x80, oidStartTLS)))
	f.Add([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte{0x30, 0x80, 0x00, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		first, err := r.ReadByte()
		if err != nil {
			return
		}
		content, err := readMessage(r, first)
		if err != nil {
			return
		}
		if len(content) > maxMessage {
			t.Fatalf("%d octets", len(content))
		}
		m, err := parseMessage(content)
		if err != nil {
			return
		}
		if m.id <= 0 || len(m.op) == 0 {
			t.Fatalf("%+v", m)
		}
		_, _ = parseControls(m.controls)
		p, err := m.decode()
		if err != nil {
			return
		}
		_, _ = readBind(p)
		_, _ = readSearch(p)
		_, _ = parseFilter(p)
	})
}

// FuzzFilter compiles any filter: what comes out is bounded, and never both true and
// false of one entry.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"(cn=*)", "(|(cn=*a**)(mail=*b*)(givenName=*c*)(sn=*d*))", "(!(&(a=b)(sn=c)))", "(uid=00112233445566778899aabbccddeeff)",
		"(businessCategory=*R*)", "(objectClass=person)", "(cn:caseIgnoreMatch:=x)", "(anr=x)", "(mail=smtp:)", "(uid=a@b*)", "(cn= – x)"} {
		p, err := ldap.CompileFilter(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.Bytes())
	}
	house := &Server{c: Config{Base: base}}
	subs := people()
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxMessage || check(b, maxNesting) != nil {
			return
		}
		p, err := ber.DecodePacketErr(b)
		if err != nil {
			return
		}
		x, err := parseFilter(p)
		if err != nil {
			return
		}
		yesWhen, noWhen := x.compile(true), x.compile(false)
		if n := size(t, yesWhen, 0) + size(t, noWhen, 0); n > 2*maxFilterLeaves*8 {
			t.Fatalf("%d conditions", n)
		}
		for i := range subs {
			if holds(yesWhen, &subs[i]) && holds(noWhen, &subs[i]) {
				t.Fatalf("true and false of one: %v", ber.DecodePacket(b))
			}
			x.match(house.lookListing(&subject{&subs[i], subs[i].Display()}))
		}
		x.completes()
	})
}

func size(t *testing.T, c search.Cond, depth int) int {
	if depth > 3*maxFilterDepth {
		t.Fatal("too deep")
	}
	n := 1
	switch c := c.(type) {
	case search.And:
		for _, k := range c {
			n += size(t, k, depth+1)
		}
	case search.Or:
		for _, k := range c {
			n += size(t, k, depth+1)
		}
	case search.Not:
		n += size(t, c.Cond, depth+1)
	case search.Equal:
		checkText(t, c.Value)
	case search.Prefix: // an empty one asks whether there is a value
		if c.Value != "" {
			checkText(t, c.Value)
		}
	case search.Contains:
		checkText(t, c.Value)
	case search.Words:
		checkText(t, c.Value)
	default:
		t.Fatalf("%T", c)
	}
	return n
}

func checkText(t *testing.T, s string) {
	if s == "" || len(s) > maxValue+8*maxValue || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		t.Fatalf("%q is asked for", s)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{base, "mail=a@b.example," + base, `cn="a, b"+sn=c\,d , o=\c3\a9`, "2.5.4.3=#04", "a=\\ ", "=", "a=b,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseName(s)
		if err != nil {
			return
		}
		again, err := parseName(n.key())
		if err != nil || again.key() != n.key() {
			t.Fatalf("%q is %q, and that %q (%v)", s, n.key(), again.key(), err)
		}
		if !n.under(n) || len(n) > 0 && n[:0].under(n) {
			t.Fatal("not under itself")
		}
		if a, ok := addressOf(s); ok && !strings.Contains(a, "@") {
			t.Fatalf("%q", a)
		}
	})
}
