package davd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode"

	"github.com/emersion/go-vcard"

	"pli/directory/listing"
	"pli/fault"
)

// Versions of vCard that are given: 3.0 (RFC 2426), which every phone reads and which is
// the default (RFC 6352 §5.1), and 4.0 (RFC 6350).
const (
	vcard3 = "3.0"
	vcard4 = "4.0"
)

const timeLayout = "20060102T150405Z"

// makeCard shows a listing as a card, under the name by which it is told from others.
func (s *Server) makeCard(l listing.Listing, name, version string) vcard.Card {
	c := vcard.Card{}
	add := func(field, value string, params vcard.Params) {
		if value != "" {
			c.Add(field, &vcard.Field{Value: value, Params: params})
		}
	}
	work := vcard.Params{vcard.ParamType: {"WORK"}}
	if version == vcard4 {
		work = vcard.Params{vcard.ParamType: {"work"}}
	}
	c.SetValue(vcard.FieldVersion, version)
	add(vcard.FieldProductID, "-//Pli//Annuaire//FR", nil)
	add(vcard.FieldUID, l.Key.String(), nil)
	add(vcard.FieldRevision, l.ChangedAt.UTC().Format(timeLayout), nil)
	add(vcard.FieldFormattedName, clean(name), nil)
	if l.Person() {
		add(vcard.FieldName, components(strings.ToUpper(l.FamilyName), l.GivenName, "", l.Civility, ""), nil)
		add(vcard.FieldTitle, clean(l.Title()), nil)
	} else {
		add(vcard.FieldName, components(l.Name(), "", "", "", ""), nil)
		add("X-ABSHOWAS", "COMPANY", nil)
		if version == vcard4 {
			add(vcard.FieldKind, "org", nil)
		}
	}
	addAddress(c, l, version)
	add(vcard.FieldOrganization, organization(l), nil)
	add(vcard.FieldAddress, address(l), work)
	add(vcard.FieldCategories, clean(l.ProfessionLabel), nil)
	add(vcard.FieldNote, s.note(l), nil)
	return c
}

// addAddress puts the address under the name that a phone shows beside it.
func addAddress(c vcard.Card, l listing.Listing, version string) {
	kinds := []string{"INTERNET", "WORK", "PREF"}
	params := vcard.Params{vcard.ParamType: kinds}
	if version == vcard4 {
		params = vcard.Params{vcard.ParamType: {"work"}, vcard.ParamPreferred: {"1"}}
	}
	c.Add(vcard.FieldEmail, &vcard.Field{Group: "item1", Value: clean(l.Address), Params: params})
	c.Add("X-ABLABEL", &vcard.Field{Group: "item1", Value: "MSSanté"})
}

func organization(l listing.Listing) string {
	name := l.TradeName
	if name == "" {
		name = l.Structure
	}
	if name == "" && l.Service == "" {
		return ""
	}
	if l.Service == "" || l.Service == name {
		return clean(name)
	}
	return components(name, l.Service)
}

func address(l listing.Listing) string {
	if l.Street+l.Complement+l.City+l.PostalCode == "" {
		return ""
	}
	return components("", l.Complement, l.Street, l.City, "", l.PostalCode, l.Country)
}

// note says what the other fields cannot, and how fresh the entry is: to the month, so
// that a phone does not fetch everything again each night.
func (s *Server) note(l listing.Listing) string {
	var lines []string
	for _, v := range []struct{ label, text string }{{"Service : ", l.Service}, {"", l.Description}, {"Horaires : ", l.Hours}} {
		if text := clean(v.text); text != "" {
			lines = append(lines, v.label+text)
		}
	}
	if l.OpenToPatients {
		lines = append(lines, "Ouverte aux messages des patients.")
	}
	if !l.SeenAt.IsZero() {
		lines = append(lines, "Adresse MSSanté confirmée par l'annuaire en "+month(l.SeenAt.In(s.d.Zone))+".")
	}
	return strings.Join(lines, "\n")
}

var months = [...]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}

func month(t time.Time) string { return months[t.Month()-1] + " " + t.Format("2006") }

// components joins the parts of a structured value. go-vcard does not write a semicolon
// inside one, so none is there.
func components(parts ...string) string {
	for i := range parts {
		parts[i] = clean(parts[i])
	}
	return strings.Join(parts, ";")
}

// clean keeps what others published to one line that a card and XML can hold.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == ';':
			return ','
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', r == unicode.ReplacementChar, r >= 0xfff0 && r <= 0xffff:
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	return strings.Join(strings.Fields(s), " ")
}

// encode writes a card, or only the fields named.
func encode(c vcard.Card, only map[string]bool) ([]byte, error) {
	if len(only) > 0 {
		part := vcard.Card{vcard.FieldVersion: c[vcard.FieldVersion]}
		for name, fields := range c {
			if only[name] {
				part[name] = fields
			}
		}
		c = part
	}
	var b bytes.Buffer
	if err := vcard.NewEncoder(&b).Encode(c); err != nil {
		return nil, fault.Wrap(fault.Internal, "davd.encode", "vcard", err)
	}
	return b.Bytes(), nil
}

// entry is a card ready to be given.
type entry struct {
	l    listing.Listing
	name string // FN
	etag string // without its quotes
}

func (s *Server) makeEntry(l listing.Listing, name string) (entry, error) {
	b, err := encode(s.makeCard(l, name, vcard3), nil)
	sum := sha256.Sum256(b)
	return entry{l: l, name: name, etag: hex.EncodeToString(sum[:8])}, err
}
