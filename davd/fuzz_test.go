package davd

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-vcard"

	"pli/directory/search"
	"pli/fault"
)

const fuzzQuery = `<C:addressbook-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><D:prop><D:getetag/><C:address-data version="4.0"><C:prop name="FN"/></C:address-data></D:prop>` +
	`<C:filter test="allof"><C:prop-filter name="FN" test="anyof"><C:text-match match-type="starts-with" negate-condition="yes" collation="default">h&amp;d</C:text-match></C:prop-filter>` +
	`<C:prop-filter name="item1.EMAIL"><C:is-not-defined/></C:prop-filter></C:filter><C:limit><C:nresults>4</C:nresults></C:limit></C:addressbook-query>`

// FuzzQuery reads any body: it is refused with a fault or a precondition, or becomes a
// question within bounds.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{fuzzQuery, "", "<x", `<!DOCTYPE a>`, strings.Replace(fuzzQuery, "FN", "ORG", 1), strings.Replace(fuzzQuery, "starts-with", "ends-with", 1),
		`<sync-collection xmlns="DAV:"><sync-token>urn:x-pli-sync:1:AAAA</sync-token><limit><nresults>1</nresults></limit><prop><getetag/></prop></sync-collection>`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		e, err := readXML(strings.NewReader(body))
		if err != nil || e == nil {
			if k := fault.KindOf(err); err != nil && k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("%v", err)
			}
			return
		}
		n, err := readNames(e)
		foreseen(t, err)
		_, err = readWanted(n.data)
		foreseen(t, err)
		if _, err := readLimit(e.child(nsCard, "limit"), nsCard); err != nil {
			foreseen(t, err)
		}
		q, err := readFilter(e.child(nsCard, "filter"))
		foreseen(t, err)
		if err == nil {
			if leaves := count(q.where); leaves > 2*maxFilters*maxFilters {
				t.Fatalf("%d leaves", leaves)
			}
		}
		if st, err := readToken(e.child(nsDAV, "sync-token").text(), 100); err == nil && len(st) > 100 {
			t.Fatal(len(st))
		}
	})
}

func foreseen(t *testing.T, err error) {
	var r *refusal
	if k := fault.KindOf(err); err != nil && !errors.As(err, &r) && k != fault.Invalid && k != fault.TooLarge {
		t.Fatalf("%v", err)
	}
}

func count(c search.Cond) (n int) {
	switch c := c.(type) {
	case search.And:
		for _, k := range c {
			n += count(k)
		}
	case search.Or:
		for _, k := range c {
			n += count(k)
		}
	case search.Not:
		n = count(c.Cond)
	default:
		n = 1
	}
	return n
}

// FuzzPropfind answers any PROPFIND with well-formed XML.
func FuzzPropfind(f *testing.F) {
	f.Add(`<propfind xmlns="DAV:"><prop><a xmlns="urn:&quot;x"/><getetag/></prop></propfind>`)
	f.Add(`<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>`)
	f.Add(`<propfind xmlns="DAV:"><prop><x:a/></prop></propfind>`)
	s := &Server{c: Config{MaxCards: 10}, metrics: newMetrics(nil)}
	s.d.Log, s.d.Zone = slog.New(slog.DiscardHandler), time.UTC
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		a := &asker{Server: s, ctx: t.Context(), w: &answer{ResponseWriter: w}, r: httptest.NewRequest("PROPFIND", principalPath, strings.NewReader(body)), res: locate(principalPath)}
		a.r.Header.Set("Depth", "0")
		if err := a.propfind(); err != nil {
			foreseen(t, err)
			return
		}
		var m multistatus
		if err := xml.Unmarshal(w.Body.Bytes(), &m); err != nil || len(m.Responses) != 1 {
			t.Fatalf("%v in %s", err, w.Body)
		}
	})
}

// FuzzPath never takes a path for another: what is found is written back the same.
func FuzzPath(f *testing.F) {
	for _, s := range []string{bookPath, "/", "/carddav/moi", bookPath + strings.Repeat("0a", 16) + ".vcf", "https://x/carddav/annuaire/" + strings.Repeat("ff", 16) + ".vcf", "//", "%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		res := locateHref(s)
		if res.kind == card && locate(pathOf(res.in, res.key)) != res {
			t.Fatalf("%q is %+v", s, res)
		}
	})
}

// FuzzCard writes cards of any words: one card, on lines that are its own, and XML that
// reads back.
func FuzzCard(f *testing.F) {
	f.Add("HADDAD", "Karim", "Lyon", "Cardiologie; étage 2")
	f.Add("a\r\nEND:VCARD", "\x00", "\xff\u2028\ufffe", "x,y\\n")
	s := &Server{}
	s.d.Zone = time.UTC
	f.Fuzz(func(t *testing.T, family, given, city, service string) {
		l := doctor(1, family, given, city)
		l.Service, l.Description = service, family
		for _, version := range []string{vcard3, vcard4} {
			b, err := encode(s.makeCard(l, l.Display(), version), nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := vcard.NewDecoder(bytes.NewReader(b)).Decode()
			if err != nil || strings.Count(string(b), "\r\n") != strings.Count(string(b), "\n") || bytes.Count(b, []byte("\r\nEND:VCARD\r\n")) != 1 {
				t.Fatalf("%v in %q", err, b)
			}
			if c.Value(vcard.FieldUID) != l.Key.String() || len(c[vcard.FieldEmail]) != 1 {
				t.Fatalf("%q", b)
			}
			var out bytes.Buffer
			w := &writer{b: bufio.NewWriter(&out)}
			w.raw("<x>")
			w.text(string(b))
			w.raw("</x>")
			_ = w.b.Flush()
			var back struct {
				S string `xml:",chardata"`
			}
			if err := xml.Unmarshal(out.Bytes(), &back); err != nil || strings.ReplaceAll(back.S, "\r\n", "\n") != strings.ReplaceAll(string(b), "\r\n", "\n") {
				t.Fatalf("%v: %q from %q", err, back.S, b)
			}
		}
	})
}
