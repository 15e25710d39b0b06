package ldapd

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"

	"pli/directory/listing"
	"pli/directory/search"
)

// Choices of a Filter (RFC 4511 §4.5.1.7), by their tags.
const (
	filterAnd ber.Tag = iota
	filterOr
	filterNot
	filterEqual
	filterSubstrings
	filterGreater
	filterLess
	filterPresent
	filterApprox
	filterExtensible
)

// Limits of a filter.
const (
	maxFilterDepth  = 10
	maxFilterLeaves = 64
	maxValue        = 256 // octets of one value: no name is longer
)

var (
	errFilter      = errors.New("ldapd: not a filter")
	errFilterLarge = errors.New("ldapd: filter too large")
)

// filter is a search filter, read. A value that cannot be one of any attribute makes its
// item undefined.
type filter struct {
	op             ber.Tag
	kids           []*filter
	attr           string // in lower case, without options
	value          string
	initial, final string
	any            []string
	undefined      bool
}

// parseFilter reads a filter. Errors: errFilter, errFilterLarge.
func parseFilter(p *ber.Packet) (*filter, error) {
	leaves := 0
	return readFilter(p, maxFilterDepth, &leaves)
}

func readFilter(p *ber.Packet, depth int, leaves *int) (*filter, error) {
	if p.ClassType != ber.ClassContext || (p.TagType == ber.TypePrimitive) != (p.Tag == filterPresent) {
		return nil, errFilter
	}
	if depth == 0 {
		return nil, errFilterLarge
	}
	f := &filter{op: p.Tag}
	switch p.Tag {
	case filterAnd, filterOr, filterNot:
		if p.Tag == filterNot && len(p.Children) != 1 {
			return nil, errFilter
		}
		for _, c := range p.Children {
			k, err := readFilter(c, depth-1, leaves)
			if err != nil {
				return nil, err
			}
			f.kids = append(f.kids, k)
		}
		return f, nil
	}
	if *leaves++; *leaves > maxFilterLeaves {
		return nil, errFilterLarge
	}
	var err error
	switch p.Tag {
	case filterEqual, filterGreater, filterLess, filterApprox:
		err = f.readAssertion(p)
	case filterPresent:
		f.attr = describe(text(p))
	case filterSubstrings:
		err = f.readSubstrings(p)
	case filterExtensible:
		err = f.readExtensible(p)
	default:
		return nil, errFilter
	}
	return f, err
}

func (f *filter) readAssertion(p *ber.Packet) error {
	if len(p.Children) != 2 {
		return errFilter
	}
	attr, ok := octets(p.Children[0])
	value, ok2 := octets(p.Children[1])
	if !ok || !ok2 {
		return errFilter
	}
	f.attr, f.value = describe(attr), value
	f.undefined = !possible(value) || strings.TrimSpace(value) == ""
	return nil
}

func (f *filter) readSubstrings(p *ber.Packet) error {
	if len(p.Children) != 2 || !is(p.Children[1], ber.TagSequence) {
		return errFilter
	}
	attr, ok := octets(p.Children[0])
	if !ok {
		return errFilter
	}
	f.attr = describe(attr)
	for i, c := range p.Children[1].Children {
		if c.ClassType != ber.ClassContext || c.TagType != ber.TypePrimitive {
			return errFilter
		}
		v := text(c)
		if v != "" && !possible(v) {
			f.undefined = true
		}
		switch {
		case c.Tag == 0 && i == 0:
			f.initial = v
		case c.Tag == 1:
			if v != "" {
				f.any = append(f.any, v)
			}
		case c.Tag == 2 && i == len(p.Children[1].Children)-1:
			f.final = v
		default:
			return errFilter
		}
	}
	return nil
}

// readExtensible takes a matching rule that compares without case for equality, and any
// other for one that is not known.
func (f *filter) readExtensible(p *ber.Packet) error {
	rule := ""
	for _, c := range p.Children {
		if c.ClassType != ber.ClassContext || c.TagType != ber.TypePrimitive {
			return errFilter
		}
		switch v := text(c); c.Tag {
		case 1:
			rule = strings.ToLower(v)
		case 2:
			f.attr = describe(v)
		case 3:
			f.value = v
		case 4: // of the names of entries too: theirs hold nothing else
		default:
			return errFilter
		}
	}
	f.op = filterEqual
	known := rule == "" || rule == "caseignorematch" || rule == "2.5.13.2"
	f.undefined = !known || f.attr == "" || !possible(f.value) || strings.TrimSpace(f.value) == ""
	return nil
}

// possible reports whether a value can be one of an attribute here.
func possible(v string) bool {
	return v != "" && len(v) <= maxValue && utf8.ValidString(v) && strings.IndexByte(v, 0) < 0
}

// The logic of filters has three values. compile asks for the condition under which a
// filter is true, or under which it is false: neither holds where it is undefined.

var (
	always = search.And{}
	never  = search.Or{}
)

func isAlways(c search.Cond) bool { a, ok := c.(search.And); return ok && len(a) == 0 }
func isNever(c search.Cond) bool  { o, ok := c.(search.Or); return ok && len(o) == 0 }

// compile makes a filter a condition on listings.
func (f *filter) compile(want bool) search.Cond {
	switch f.op {
	case filterNot:
		return f.kids[0].compile(!want)
	case filterAnd, filterOr:
		all := (f.op == filterAnd) == want
		conds := make([]search.Cond, 0, len(f.kids))
		for _, k := range f.kids {
			conds = append(conds, k.compile(want))
		}
		if all {
			return and(conds)
		}
		return or(conds)
	}
	c, defined := f.leaf()
	switch {
	case !defined:
		return never
	case want:
		return c
	case isAlways(c):
		return never
	case isNever(c):
		return always
	}
	return search.Not{Cond: c}
}

func and(conds []search.Cond) search.Cond {
	out := search.And{}
	for _, c := range conds {
		switch c := c.(type) {
		case search.And:
			out = append(out, c...)
		case search.Or:
			if len(c) == 0 {
				return never
			}
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}

func or(conds []search.Cond) search.Cond {
	out := search.Or{}
	for _, c := range conds {
		switch c := c.(type) {
		case search.Or:
			out = append(out, c...)
		case search.And:
			if len(c) == 0 {
				return always
			}
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	if out = absorb(out); len(out) == 1 {
		return out[0]
	}
	return out
}

// absorb drops the conditions that others of the list hold already: programs ask for the
// beginning of the full name, and of each of its two parts.
func absorb(list search.Or) search.Or {
	held := map[search.Cond]bool{}
	for _, c := range list {
		switch c := c.(type) {
		case search.Prefix:
			if c.Field == search.Name && c.Value != "" {
				held[search.Prefix{Field: search.Family, Value: c.Value}] = true
				held[search.Prefix{Field: search.Given, Value: c.Value}] = true
			}
		case search.Contains:
			if c.Field == search.Name {
				held[search.Contains{Field: search.Family, Value: c.Value}] = true
				held[search.Contains{Field: search.Given, Value: c.Value}] = true
			}
		}
	}
	return slices.DeleteFunc(list, func(c search.Cond) bool {
		switch c.(type) {
		case search.Equal, search.Prefix, search.Contains, search.Words:
			was := held[c]
			held[c] = true // the next like it
			return was
		}
		return false
	})
}

// leaf makes one item a condition; defined is false for one that says nothing.
func (f *filter) leaf() (c search.Cond, defined bool) {
	if f.undefined || f.op == filterGreater || f.op == filterLess { // nothing here has an order
		return nil, false
	}
	if f.attr == "objectclass" || f.attr == "objectcategory" {
		return f.class()
	}
	if f.attr == "anr" && f.op != filterPresent { // "ambiguous name resolution", of Active Directory
		return search.Or{search.Words{Field: search.Name, Value: f.whole()}, search.Prefix{Field: search.Address, Value: f.whole()}}, true
	}
	a := byName[f.attr]
	if a == nil {
		return nil, false
	}
	present := f.op == filterPresent || f.op == filterSubstrings && f.whole() == ""
	switch {
	case present && a.always:
		return always, true
	case len(a.fields) == 0: // false where nobody has one, and unknown where some may
		return never, a.values == nil && !a.always
	}
	var conds []search.Cond
	for _, field := range a.fields {
		c, ok := f.on(field)
		if present {
			c, ok = search.Prefix{Field: field}, true // any beginning will do
		}
		if !ok {
			return nil, false
		}
		conds = append(conds, c)
	}
	return or(conds), true
}

// class is about what an entry is: all are persons.
func (f *filter) class() (search.Cond, bool) {
	switch {
	case f.op == filterPresent:
		return always, true
	case f.op == filterSubstrings:
		return nil, false
	case slices.ContainsFunc(personClasses, func(c string) bool { return strings.EqualFold(c, f.value) }):
		return always, true
	}
	return never, true
}

// whole is everything that a condition holds, for questions that take it loosely.
func (f *filter) whole() string {
	if f.op != filterSubstrings {
		return f.value
	}
	parts := append([]string{f.initial}, f.any...)
	return strings.TrimSpace(strings.Join(append(parts, f.final), " "))
}

// on is the condition on one field. The end of a value is looked for anywhere in it, and
// parts in any order: more may be found, never less.
func (f *filter) on(field search.Field) (search.Cond, bool) {
	if field == search.Key {
		return f.onKey()
	}
	if f.op != filterSubstrings {
		v := trimValue(field, f.value)
		switch {
		case v == "":
			return nil, false
		case f.op == filterEqual:
			return search.Equal{Field: field, Value: v}, true
		case field == search.Address || field == search.PostalCode:
			return search.Prefix{Field: field, Value: v}, true
		}
		return search.Words{Field: field, Value: v}, true
	}
	var conds []search.Cond
	if v := trimValue(field, f.initial); v != "" {
		conds = append(conds, search.Prefix{Field: field, Value: v})
	}
	for _, v := range append(slices.Clone(f.any), f.final) {
		if v = trimValue(field, v); v == "" {
			continue
		}
		conds = append(conds, search.Contains{Field: field, Value: v})
	}
	return and(conds), true
}

// trimValue takes off what programs put around a value: the kind in front of an address
// (proxyAddresses), and what we add to a name to show it.
func trimValue(field search.Field, v string) string {
	switch field {
	case search.Address:
		if len(v) >= 5 && strings.EqualFold(v[:5], "smtp:") {
			v = v[5:]
		}
	case search.Name:
		v, _, _ = strings.Cut(v, " – ")
	}
	return strings.TrimSpace(v)
}

// onKey is a condition on uid, which some take for the address.
func (f *filter) onKey() (search.Cond, bool) {
	switch {
	case f.op == filterSubstrings && strings.Contains(f.initial, "@") && len(f.any) == 0 && f.final == "":
		return search.Prefix{Field: search.Address, Value: f.initial}, true
	case f.op == filterSubstrings:
		return never, true
	case strings.Contains(f.value, "@"):
		return search.Equal{Field: search.Address, Value: f.value}, true
	}
	k, err := listing.ParseKey(strings.ToLower(f.value))
	if err != nil {
		return never, true
	}
	return search.Equal{Field: search.Key, Value: k.String()}, true
}

// completes reports whether a filter is one that a program sends while somebody types a
// name: a slip of the finger is then forgiven.
func (f *filter) completes() bool {
	switch f.op {
	case filterNot:
		return false
	case filterAnd, filterOr:
		return slices.ContainsFunc(f.kids, (*filter).completes)
	case filterSubstrings, filterApprox:
		switch a := byName[f.attr]; {
		case f.undefined || a == nil || f.whole() == "":
			return false
		default:
			return slices.ContainsFunc(a.fields, func(x search.Field) bool {
				return x == search.Name || x == search.Family || x == search.Given
			})
		}
	case filterEqual: // Contacts asks for equality
		return f.attr == "anr" || f.attr == "sn" || f.attr == "cn"
	}
	return false
}

// truth is what a filter is of one entry.
type truth uint8

const (
	unknown truth = iota
	no
	yes
)

// match evaluates a filter on one entry at hand.
func (f *filter) match(l look) truth {
	switch f.op {
	case filterNot:
		switch f.kids[0].match(l) {
		case yes:
			return no
		case no:
			return yes
		}
		return unknown
	case filterAnd, filterOr:
		decisive, out := no, yes
		if f.op == filterOr {
			decisive, out = yes, no
		}
		for _, k := range f.kids {
			switch k.match(l) {
			case decisive:
				return decisive
			case unknown:
				out = unknown
			}
		}
		return out
	}
	if f.undefined || f.op == filterGreater || f.op == filterLess {
		return unknown
	}
	values, known := l(f.attr)
	if !known {
		return unknown
	}
	return f.holds(values)
}

// holds evaluates one item on the values of its attribute.
func (f *filter) holds(values []string) truth {
	fold := listing.Fold
	if a := byName[f.attr]; a != nil && slices.Contains(a.fields, search.Address) {
		fold = listing.FoldAddress
	}
	for _, v := range values {
		v = fold(v)
		ok := false
		switch f.op {
		case filterPresent:
			ok = true
		case filterEqual:
			ok = v == fold(f.value)
		case filterApprox:
			ok = strings.Contains(" "+v, " "+fold(f.value))
		case filterSubstrings:
			ok = f.parts(v, fold)
		}
		if ok {
			return yes
		}
	}
	return no
}

func (f *filter) parts(v string, fold func(string) string) bool {
	v, ok := strings.CutPrefix(v, fold(f.initial))
	if !ok {
		return false
	}
	if v, ok = strings.CutSuffix(v, fold(f.final)); !ok {
		return false
	}
	for _, a := range f.any {
		_, rest, ok := strings.Cut(v, fold(a))
		if !ok {
			return false
		}
		v = rest
	}
	return true
}
