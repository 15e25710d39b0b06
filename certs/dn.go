package certs

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"pli/fault"
)

// DN is the part of a distinguished name by which the trust space knows a certificate:
// CN, OU and O, folded so that == compares (mssante.md §2.1, pitfalls).
type DN struct{ CN, OU, O string }

// attribute starts one: after a comma, a type and the equals sign.
var attribute = regexp.MustCompile(`^\s*([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)\s*=`)

// ParseDN reads a name as the white list writes it: types in any order, values plain,
// with backslashes (RFC 4514 §2.4), or between quotes; quotes inside a plain value are
// ordinary characters, balanced or not. A comma ends a value only when another
// attribute follows. A name without CN, or with two, is refused.
func ParseDN(s string) (DN, error) {
	const op = "certs.ParseDN"
	values := map[string][]string{}
	for rest := s; strings.TrimSpace(rest) != ""; {
		m := attribute.FindStringSubmatch(rest)
		if m == nil {
			return DN{}, fault.New(fault.Invalid, op, "attribute")
		}
		var value string
		value, rest = cutValue(rest[len(m[0]):])
		kind := strings.ToUpper(m[1])
		values[kind] = append(values[kind], value)
	}
	return newDN(op, values["CN"], values["OU"], values["O"])
}

// CertificateDN reads the subject of a certificate.
func CertificateDN(c *x509.Certificate) (DN, error) {
	var cn []string
	for _, n := range c.Subject.Names {
		if n.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
			text, _ := n.Value.(string)
			cn = append(cn, text)
		}
	}
	return newDN("certs.CertificateDN", cn, c.Subject.OrganizationalUnit, c.Subject.Organization)
}

func newDN(op string, cn, ou, o []string) (DN, error) {
	if len(cn) != 1 || fold(cn[0]) == "" {
		return DN{}, fault.New(fault.Invalid, op, "common-name")
	}
	return DN{fold(cn[0]), foldAll(ou), foldAll(o)}, nil
}

// foldAll joins several values, whose order differs from one writer to the next.
func foldAll(vs []string) string {
	out := make([]string, 0, len(vs))
	for _, v := range vs {
		out = append(out, fold(v))
	}
	slices.Sort(out)
	return strings.Join(out, "\x00")
}

var caser = cases.Fold()

// fold makes two writings of one value equal: NFC, case folding, any white space
// (no-break too) as one space. Quotation marks count as space, because the list holds
// the same certificate with and without them.
func fold(s string) string {
	s = norm.NFC.String(caser.String(norm.NFC.String(s)))
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || r == '"' || r == 0 || r == '\u200b' || r == '\ufeff'
	}), " ")
}

// cutValue takes one value off s, and the comma after it.
func cutValue(s string) (value, rest string) {
	s = strings.TrimLeft(s, " \t")
	if strings.HasPrefix(s, `"`) {
		if value, rest, ok := cutQuoted(s[1:]); ok {
			return value, rest
		}
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			n := unescape(&b, s[i+1:])
			i += n
		case s[i] == ',' && ends(s[i+1:]):
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// cutQuoted reads up to the quote that ends a quoted value: the one followed by the end
// or by another attribute. A doubled or escaped quote is a quote.
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i += unescape(&b, s[i+1:])
		case s[i] == '"' && i+1 < len(s) && s[i+1] == '"':
			b.WriteByte('"')
			i++
		case s[i] == '"':
			after := strings.TrimLeft(s[i+1:], " \t")
			if after == "" {
				return b.String(), "", true
			}
			if after[0] == ',' && ends(after[1:]) {
				return b.String(), after[1:], true
			}
			b.WriteByte('"')
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// ends reports whether what follows a comma is another attribute, or nothing.
func ends(after string) bool {
	return strings.TrimSpace(after) == "" || attribute.MatchString(after)
}

// unescape writes what a backslash stands before, and returns how many octets it took.
func unescape(b *strings.Builder, s string) int {
	if len(s) >= 2 {
		if v, err := hex.DecodeString(s[:2]); err == nil {
			b.WriteByte(v[0])
			return 2
		}
	}
	b.WriteByte(s[0])
	return 1
}
