package ldapd

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// ava is one attribute and value of a name.
type ava struct{ attr, value string }

// name is a distinguished name (RFC 4514), the nearest first. Attributes are in lower
// case under their short names; values are as written.
type name [][]ava

var errName = errors.New("ldapd: not a name")

// shortNames are the attributes of names under their other names.
var shortNames = map[string]string{
	"2.5.4.3": "cn", "commonname": "cn", "2.5.4.6": "c", "countryname": "c", "2.5.4.7": "l", "localityname": "l",
	"2.5.4.8": "st", "stateorprovincename": "st", "2.5.4.10": "o", "organizationname": "o", "2.5.4.11": "ou",
	"organizationalunitname": "ou", "0.9.2342.19200300.100.1.25": "dc", "domaincomponent": "dc",
	"0.9.2342.19200300.100.1.1": "uid", "userid": "uid", "0.9.2342.19200300.100.1.3": "mail", "rfc822mailbox": "mail",
	"1.2.840.113549.1.9.1": "mail", "email": "mail", "emailaddress": "mail", "e": "mail",
}

// parseName reads a distinguished name; "" is the root.
func parseName(s string) (name, error) {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 || len(s) > 4096 {
		return nil, errName
	}
	var n name
	for s = strings.TrimLeft(s, " "); s != ""; {
		var rdn []ava
		for {
			var a ava
			var next byte
			var err error
			if a, next, s, err = cutAVA(s); err != nil {
				return nil, err
			}
			rdn = append(rdn, a)
			if next == '+' {
				continue
			}
			n = append(n, rdn)
			if next == 0 {
				return n, nil
			}
			if s == "" { // a comma at the end
				return nil, errName
			}
			break
		}
	}
	return n, nil
}

// cutAVA reads attribute=value up to a separator, which it takes: 0 at the end.
func cutAVA(s string) (a ava, next byte, rest string, err error) {
	attr, s, ok := strings.Cut(s, "=")
	attr = strings.ToLower(strings.TrimSpace(attr))
	if !ok || attr == "" || strings.Trim(attr, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
		return a, 0, "", errName
	}
	attr = strings.TrimPrefix(attr, "oid.")
	if short := shortNames[attr]; short != "" {
		attr = short
	}
	a.attr = attr
	s = strings.TrimLeft(s, " ")
	var b strings.Builder
	kept := 0 // length with escaped spaces at its end
	quoted := strings.HasPrefix(s, `"`)
	i := 0
	if quoted {
		i = 1
	}
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			plain, size, ok := unescape(s[i+1:])
			if !ok {
				return a, 0, "", errName
			}
			b.WriteByte(plain)
			kept = b.Len()
			i += size
		case quoted && c == '"':
			kept, quoted = b.Len(), false
			tail := strings.TrimLeft(s[i+1:], " ")
			if tail != "" && strings.IndexByte(",;+", tail[0]) < 0 {
				return a, 0, "", errName
			}
			i = len(s) - len(tail) - 1
		case !quoted && (c == ',' || c == ';' || c == '+'):
			next, rest = c, strings.TrimLeft(s[i+1:], " ")
			if c == '+' && rest == "" {
				return a, 0, "", errName
			}
			a.value = trimRight(b.String(), kept)
			return a, next, rest, checkValue(a.value)
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return a, 0, "", errName
	}
	a.value = trimRight(b.String(), kept)
	return a, 0, "", checkValue(a.value)
}

func checkValue(s string) error {
	if strings.TrimSpace(s) == "" || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return errName
	}
	return nil
}

// trimRight takes spaces off the end that were not escaped.
func trimRight(s string, kept int) string { return s[:kept] + strings.TrimRight(s[kept:], " ") }

// unescape reads what follows a backslash: a pair of hexadecimal digits, or the octet
// itself.
func unescape(s string) (c byte, size int, ok bool) {
	if len(s) >= 2 {
		if v, err := hex.DecodeString(s[:2]); err == nil {
			return v[0], 2, true
		}
	}
	if s == "" {
		return 0, 0, false
	}
	return s[0], 1, s[0] < utf8.RuneSelf
}

// key is the same for two writings of one name.
func (n name) key() string {
	parts := make([]string, len(n))
	for i, rdn := range n {
		as := make([]string, len(rdn))
		for j, a := range rdn {
			as[j] = a.attr + "=" + escapeValue(strings.ToLower(strings.Join(strings.Fields(a.value), " ")))
		}
		slices.Sort(as)
		parts[i] = strings.Join(as, "+")
	}
	return strings.Join(parts, ",")
}

// escapeValue writes a value so that it can stand in a name (RFC 4514 §2.4).
func escapeValue(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case strings.IndexByte(`,+"\<>;=`, c) >= 0, c == '#' && i == 0, c == ' ' && (i == 0 || i == len(s)-1):
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ':
			b.WriteString(`\` + hex.EncodeToString([]byte{c}))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// under reports whether n is below base, or base itself.
func (n name) under(base name) bool {
	return len(n) >= len(base) && n[len(n)-len(base):].key() == base.key()
}

// addressOf finds the address that somebody signs in with: mail=…, uid=… or cn=… in
// front of any name, or the address itself as people type it.
func addressOf(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if strings.Contains(s, "=") {
		n, err := parseName(s)
		if err != nil || len(n) == 0 || len(n[0]) != 1 {
			return "", false
		}
		a := n[0][0]
		if a.attr != "mail" && a.attr != "uid" && a.attr != "cn" {
			return "", false
		}
		s = strings.TrimSpace(a.value)
	}
	return s, strings.Contains(s, "@") && len(s) <= 320 && checkValue(s) == nil
}
