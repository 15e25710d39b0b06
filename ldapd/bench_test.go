package ldapd

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// BenchmarkSearch is the door alone: what is found costs nothing.
func BenchmarkSearch(b *testing.B) {
	h := newHouse(b, options{config: Config{MaxEntriesPerHour: 1 << 30}})
	c := h.signedIn()
	q := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 10, 0, false, "(|(cn=*hadd*)(mail=*hadd*)(givenName=*hadd*)(sn=*hadd*))", nil, nil)
	for b.Loop() {
		if r, err := c.Search(q); err != nil || len(r.Entries) != 2 {
			b.Fatal(err)
		}
	}
}

// BenchmarkEntry is what writing one entry costs.
func BenchmarkEntry(b *testing.B) {
	s := &Server{c: Config{Base: base}}
	ps := people()
	sub, sel := &subject{&ps[0], ps[0].Display()}, selectAttributes(nil, false)
	var buf []byte
	var scratch []string
	b.ReportAllocs()
	for b.Loop() {
		buf, scratch = s.appendListing(buf[:0], 7, sub, sel, scratch)
	}
	b.SetBytes(int64(len(buf)))
}

// BenchmarkFilter is reading and compiling what Thunderbird sends.
func BenchmarkFilter(b *testing.B) {
	p, err := ldap.CompileFilter("(|(cn=*hadd*)(mail=*hadd*)(givenName=*hadd*)(sn=*hadd*))")
	if err != nil {
		b.Fatal(err)
	}
	op := p.Bytes()
	b.ReportAllocs()
	for b.Loop() {
		p, err := message{op: op}.decode()
		if err != nil {
			b.Fatal(err)
		}
		f, err := parseFilter(p)
		if err != nil {
			b.Fatal(err)
		}
		f.compile(true)
	}
}
