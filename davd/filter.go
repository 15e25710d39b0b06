package davd

import (
	"strconv"
	"strings"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
)

// Bounds of a filter.
const (
	maxFilters = 32  // prop-filters, and text-matches of one
	maxValue   = 256 // octets of one text
	minText    = 2   // characters that a search of everybody must have somewhere
)

// refusal is a precondition that a request does not meet: its element goes into the
// answer (RFC 4918 §16).
type refusal struct {
	status int
	name   string // with its prefix
	text   string // inside the element, raw XML of ours; "" for an empty one
}

func (r *refusal) Error() string { return "davd: refused: " + r.name }

var (
	unsupportedFilter    = &refusal{status: 403, name: "C:supported-filter"}
	unsupportedCollation = &refusal{status: 403, name: "C:supported-collation"}
)

// fieldsOf says where the text of a card's property is looked for. Properties that our
// cards never have are absent.
func fieldsOf(name string) (fields []search.Field, known bool) {
	switch name {
	case "FN":
		return []search.Field{search.Name, search.Any}, true
	case "N", "NICKNAME":
		return []search.Field{search.Name}, true
	case "EMAIL":
		return []search.Field{search.Address}, true
	case "ORG":
		return []search.Field{search.Structure, search.Service}, true
	case "TITLE", "ROLE", "CATEGORIES":
		return []search.Field{search.Profession, search.KnowHow}, true
	case "ADR":
		return []search.Field{search.City, search.PostalCode}, true
	case "NOTE":
		return []search.Field{search.Service}, true
	case "UID":
		return []search.Field{search.Key}, true
	}
	return nil, false
}

// always are properties that every card has.
var always = map[string]bool{"FN": true, "N": true, "EMAIL": true, "UID": true, "VERSION": true, "PRODID": true, "REV": true}

// filter is a CARDDAV:filter made a question (RFC 6352 §10.5).
type filter struct {
	where search.Cond
	told  bool // there is a text to look for, and it is no negation
	names bool // one of a name, as typed: slips of the finger are forgiven
}

// readFilter compiles a filter. A missing one finds everything (RFC 6352 §10.5).
//
// Errors: fault.Invalid; a *refusal for what is not looked for here.
func readFilter(e *elem) (filter, error) {
	f := filter{where: search.And{}}
	if e == nil {
		return f, nil
	}
	all, err := allOf(e)
	if err != nil {
		return f, err
	}
	var conds []search.Cond
	for _, k := range e.kids {
		if !k.is(nsCard, "prop-filter") {
			continue
		}
		if len(conds) == maxFilters {
			return f, bad("readFilter", "too-many-conditions")
		}
		c, err := f.property(k)
		if err != nil {
			return f, err
		}
		conds = append(conds, c)
	}
	if len(conds) > 0 {
		f.where = joined(all, conds)
	}
	return f, nil
}

// allOf reads the test attribute: anyof unless it says allof.
func allOf(e *elem) (bool, error) {
	switch e.attribute("test") {
	case "", "anyof":
		return false, nil
	case "allof":
		return true, nil
	}
	return false, bad("readFilter", "test")
}

func joined(all bool, conds []search.Cond) search.Cond {
	switch {
	case len(conds) == 1:
		return conds[0]
	case all:
		return search.And(conds)
	}
	return search.Or(conds)
}

func (f *filter) property(e *elem) (search.Cond, error) {
	name := strings.ToUpper(e.attribute("name"))
	if i := strings.LastIndexByte(name, '.'); i >= 0 { // of any group
		name = name[i+1:]
	}
	if name == "" {
		return nil, bad("readFilter", "prop-filter")
	}
	all, err := allOf(e)
	if err != nil {
		return nil, err
	}
	var texts []search.Cond
	absent := false
	for _, k := range e.kids {
		switch {
		case k.is(nsCard, "is-not-defined"):
			absent = true
		case k.is(nsCard, "text-match"):
			if len(texts) == maxFilters {
				return nil, bad("readFilter", "too-many-conditions")
			}
			c, err := f.textMatch(name, k)
			if err != nil {
				return nil, err
			}
			texts = append(texts, c)
		case k.is(nsCard, "param-filter"):
			return nil, unsupportedFilter
		}
	}
	switch {
	case absent && len(texts) > 0:
		return nil, bad("readFilter", "is-not-defined")
	case absent:
		return search.Not{Cond: defined(name)}, nil
	case len(texts) == 0:
		return defined(name), nil
	}
	return joined(all, texts), nil
}

// defined holds for the listings whose card has a property.
func defined(name string) search.Cond {
	fields, known := fieldsOf(name)
	switch {
	case always[name]:
		return search.And{}
	case !known:
		return search.Or{}
	}
	conds := make([]search.Cond, len(fields))
	for i, field := range fields {
		conds[i] = search.Prefix{Field: field, Value: ""}
	}
	return joined(false, conds)
}

// textMatch compiles one text (RFC 6352 §10.5.4). Both collations that must be there
// compare without case; here accents do not count either, so that more is found, never
// less; and the end of a value is looked for anywhere in it.
func (f *filter) textMatch(name string, e *elem) (search.Cond, error) {
	switch e.attribute("collation") {
	case "", "default", "i;unicode-casemap", "i;ascii-casemap":
	default:
		return nil, unsupportedCollation
	}
	negate := false
	switch e.attribute("negate-condition") {
	case "", "no":
	case "yes":
		negate = true
	default:
		return nil, bad("readFilter", "negate-condition")
	}
	value := strings.TrimSpace(string(e.data))
	if len(value) > maxValue {
		return nil, bad("readFilter", "value-too-long")
	}
	fields, known := fieldsOf(name)
	how := e.attribute("match-type")
	switch how {
	case "", "contains", "equals", "starts-with", "ends-with":
	default:
		return nil, bad("readFilter", "match-type")
	}
	var c search.Cond = search.Or{}
	if known {
		c = match(name, fields, how, value)
	}
	if negate {
		return search.And{defined(name), search.Not{Cond: c}}, nil
	}
	if known && len([]rune(listing.Fold(value))) >= minText {
		f.told = true
		f.names = f.names || (name == "FN" || name == "N") && how != "equals"
	}
	return c, nil
}

func match(name string, fields []search.Field, how, value string) search.Cond {
	if name == "UID" {
		return search.Equal{Field: search.Key, Value: strings.ToLower(strings.TrimPrefix(value, "urn:uuid:"))}
	}
	if name == "FN" && how == "equals" { // what we show, or the name alone
		value, _, _ = strings.Cut(value, " – ")
	}
	value = strings.ReplaceAll(value, ";", " ") // between the parts of a structured value
	var conds []search.Cond
	for _, field := range fields {
		switch {
		case field == search.Any: // what we show holds the place and the speciality too
			if how != "equals" {
				conds = append(conds, search.Words{Field: field, Value: value})
			}
		case how == "equals":
			conds = append(conds, search.Equal{Field: field, Value: value})
		case how == "starts-with":
			conds = append(conds, search.Prefix{Field: field, Value: value})
		case field == search.PostalCode, field == search.Profession, field == search.KnowHow:
			conds = append(conds, search.Words{Field: field, Value: value})
		default:
			conds = append(conds, search.Contains{Field: field, Value: value})
		}
	}
	return joined(false, conds)
}

// readLimit reads CARDDAV:limit (or DAV:limit of a synchronisation); 0 is none.
// Errors: fault.Invalid.
func readLimit(e *elem, space string) (int, error) {
	n := e.child(space, "nresults")
	if n == nil {
		return 0, nil
	}
	v, err := strconv.ParseUint(n.text(), 10, 31)
	if err != nil || v == 0 {
		return 0, fault.New(fault.Invalid, "davd.readLimit", "nresults")
	}
	return int(v), nil
}
