package fhir

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pli/fault"
)

// Bounds of a search.
const (
	MaxQuery     = 8192         // octets, all parameters together but a page token, as they came
	maxToken     = 2 * MaxQuery // octets of a page token, which holds a whole search
	maxPairs     = 64           // parameters
	maxValues    = 200          // alternatives of one parameter
	maxValue     = 512          // octets of one alternative
	minContains  = 3            // characters: fewer are found everywhere
	DefaultCount = 50
	MaxCount     = 200
)

// Pair is a parameter as it came, unescaped from its URL.
type Pair struct{ Name, Value string }

// Filter is a condition: one of its values must hold. All the filters of a query must.
type Filter struct {
	Param    string
	Chain    *Filter // a condition on what the reference points to; then there are no values
	Type     string  // of the reference's target, when it was said
	Modifier string
	Missing  bool // the value of :missing
	Values   []Value
}

// Value is one alternative of a filter; its kind says which fields count.
type Value struct {
	Text string // String; also the id of a Reference

	// Token.
	System    string
	HasSystem bool // there was a |, even with nothing before it
	Code      string

	// Date: the comparison, and the span that was written, its end excluded.
	Compare  string
	From, To time.Time
}

// Summary is what _summary asks for.
type Summary string

// Summaries. A count is never given: it would tell of what is not shown.
const (
	SummaryFalse Summary = ""
	SummaryTrue  Summary = "true"
	SummaryText  Summary = "text"
	SummaryData  Summary = "data"
)

// Query is a search that was understood.
type Query struct {
	Type       string
	Filters    []Filter
	Count      int
	PageToken  string
	Elements   []string // nil is all
	Summary    Summary
	Include    []string
	RevInclude []string
	Used       []Pair  // what was understood, as it came, paging excepted
	Ignored    []Issue // warnings
}

// ParsePairs takes a query string or a form apart, in order. Errors are one issue.
func ParsePairs(raw string) ([]Pair, []Issue) {
	long := []Issue{{Error, "too-long", fault.Text{FR: "Cette recherche est trop longue.", EN: "This search is too long."}, ""}}
	if len(raw) > MaxQuery+maxToken {
		return nil, long
	}
	var pairs []Pair
	size := len(raw)
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		if name == "_page_token" {
			size -= len(part)
		}
		n, err := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err != nil || err2 != nil || !clean(n) || !clean(v) {
			return nil, []Issue{{Error, "invalid", fault.Text{FR: "Un paramètre est mal codé.", EN: "A parameter is badly encoded."}, ""}}
		}
		pairs = append(pairs, Pair{n, v})
	}
	if size > MaxQuery {
		return nil, long
	}
	if len(pairs) > maxPairs {
		return nil, []Issue{{Error, "too-costly", fault.Text{FR: "Cette recherche a trop de paramètres.", EN: "This search has too many parameters."}, ""}}
	}
	return pairs, nil
}

// clean reports whether s is text without control characters.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) })
}

// Parse understands a search of a type in the catalogue. strict refuses what is not
// known or cannot be used (Prefer: handling=strict); otherwise it is left out with a
// warning. What is known and malformed is refused either way, every issue at once.
func Parse(cat Catalogue, resource string, pairs []Pair, strict bool) (Query, []Issue) {
	p := parser{cat: cat, spec: cat.Of(resource), strict: strict}
	p.q = Query{Type: resource, Count: DefaultCount}
	for _, pair := range pairs {
		before := len(p.refused) + len(p.q.Ignored)
		paging := p.one(pair)
		if len(p.refused)+len(p.q.Ignored) == before && !paging {
			p.q.Used = append(p.q.Used, pair)
		}
	}
	if p.q.Elements != nil && p.q.Summary != SummaryFalse {
		p.refuse("invalid", "_summary", "_elements et _summary s'excluent.", "_elements and _summary exclude each other.")
	}
	return p.q, p.refused
}

type parser struct {
	cat     Catalogue
	spec    *Spec
	strict  bool
	q       Query
	refused []Issue
}

func (p *parser) refuse(code, name, fr, en string) {
	p.refused = append(p.refused, Issue{Error, code, fault.Text{FR: fr, EN: en}, expression(name)})
}

// without leaves a parameter out, or refuses it when handling is strict.
func (p *parser) without(name, fr, en string) {
	if p.strict {
		p.refuse("not-supported", name, fr, en)
		return
	}
	p.q.Ignored = append(p.q.Ignored, Issue{Warning, "not-supported", fault.Text{FR: fr + " Il est ignoré.", EN: en + " It is ignored."}, expression(name)})
}

const maxName = 64

// expression names a parameter back, cut when it is no reasonable name.
func expression(name string) string {
	if name == "" {
		return ""
	}
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	return "http." + name
}

// one reads a parameter, and reports whether it was about paging only.
func (p *parser) one(pair Pair) (paging bool) {
	name, modifier, _ := strings.Cut(pair.Name, ":")
	switch name {
	case "_count":
		p.count(pair)
		return false
	case "_page_token":
		if p.q.PageToken != "" || pair.Value == "" {
			p.refuse("invalid", name, "Ce jeton de page n'est pas valable.", "This page token is not valid.")
		}
		p.q.PageToken = pair.Value
		return true
	case "_elements":
		p.elements(pair)
	case "_summary":
		p.summary(pair)
	case "_include":
		p.include(pair, modifier, p.spec.Includes, &p.q.Include)
	case "_revinclude":
		p.include(pair, modifier, p.spec.RevIncludes, &p.q.RevInclude)
	case "_total":
		p.total(pair)
	case "_format":
		return true // the door's
	default:
		if pair.Value == "" {
			p.without(pair.Name, "Ce paramètre est vide.", "This parameter is empty.")
			return false
		}
		if f, ok := p.filter(p.spec, pair.Name, pair.Name, pair.Value, true); ok {
			p.q.Filters = append(p.q.Filters, f)
		}
	}
	return false
}

func (p *parser) count(pair Pair) {
	n, err := strconv.Atoi(pair.Value)
	if err != nil || n < 0 || len(pair.Value) > 9 {
		p.refuse("invalid", pair.Name, "_count est un nombre de 1 à 200.", "_count is a number from 1 to 200.")
		return
	}
	if n == 0 {
		p.noCount(pair.Name)
		return
	}
	p.q.Count = min(n, MaxCount)
}

func (p *parser) noCount(name string) {
	p.refuse("not-supported", name, "Cet annuaire ne donne pas de nombre de résultats.", "This directory gives no number of results.")
}

func (p *parser) elements(pair Pair) {
	for e := range strings.SplitSeq(pair.Value, ",") {
		e = strings.TrimSpace(e)
		if e == "" || strings.Trim(e, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			p.refuse("invalid", pair.Name, "_elements énumère des éléments de premier niveau.", "_elements lists elements of the first level.")
			return
		}
		p.q.Elements = append(p.q.Elements, e)
	}
}

func (p *parser) summary(pair Pair) {
	switch pair.Value {
	case "false":
		p.q.Summary = SummaryFalse
	case "true", "text", "data":
		p.q.Summary = Summary(pair.Value)
	case "count":
		p.noCount(pair.Name)
	default:
		p.refuse("invalid", pair.Name, "_summary vaut true, text, data ou false.", "_summary is true, text, data or false.")
	}
}

func (p *parser) total(pair Pair) {
	switch pair.Value {
	case "none":
	case "accurate", "estimate":
		p.without(pair.Name, "Cet annuaire ne donne pas de nombre de résultats.", "This directory gives no number of results.")
	default:
		p.refuse("invalid", pair.Name, "_total vaut none.", "_total is none.")
	}
}

// include reads _include and _revinclude: Source:parameter, with the target's type after
// it or not, and * for all.
func (p *parser) include(pair Pair, modifier string, known []string, into *[]string) {
	parts := strings.Split(pair.Value, ":")
	switch {
	case modifier != "":
		p.without(pair.Name, "Les inclusions ne se suivent pas ici.", "Inclusions are not iterated here.")
	case pair.Value == "*" && len(known) > 0:
		*into = append(*into, known...)
	case len(parts) >= 2 && len(parts) <= 3 && slices.Contains(known, parts[0]+":"+parts[1]):
		*into = append(*into, parts[0]+":"+parts[1])
	default:
		p.without(pair.Name, "Cette inclusion n'est pas connue ici.", "This inclusion is not known here.")
	}
}

// filter reads a condition on a resource. whole is the parameter's name as it came.
func (p *parser) filter(spec *Spec, whole, name, value string, chain bool) (Filter, bool) {
	head, rest, chained := strings.Cut(name, ".")
	base, modifier, _ := strings.Cut(head, ":")
	param := spec.Param(base)
	if param == nil {
		p.without(whole, "Ce paramètre n'est pas connu ici.", "This parameter is not known here.")
		return Filter{}, false
	}
	f := Filter{Param: base, Modifier: modifier}
	if param.Kind == Reference && slices.Contains(param.Targets, modifier) {
		f.Type, f.Modifier = modifier, ""
	}
	if chained {
		return p.chain(param, f, whole, rest, value, chain)
	}
	switch {
	case f.Modifier == "" || slices.Contains(param.Modifiers, f.Modifier):
	default:
		// A modifier changes what is asked: to leave it out would answer something else.
		p.refuse("not-supported", whole, "Ce modificateur n'est pas connu ici.", "This modifier is not known here.")
		return Filter{}, false
	}
	if f.Modifier == Missing {
		f.Missing = value == "true"
		if value != "true" && value != "false" {
			p.refuse("invalid", whole, ":missing vaut true ou false.", ":missing is true or false.")
		}
		return f, true
	}
	return f, p.values(param, &f, whole, value)
}

// chain reads what follows a reference's dot.
func (p *parser) chain(param *Param, f Filter, whole, rest, value string, allowed bool) (Filter, bool) {
	next, _, _ := strings.Cut(rest, ":")
	if !allowed || param.Kind != Reference || f.Modifier != "" || !slices.Contains(param.Chained, next) {
		p.refuse("not-supported", whole, "Ce chaînage n'est pas connu ici.", "This chain is not known here.")
		return Filter{}, false
	}
	inner, ok := p.filter(p.cat.Of(param.Targets[0]), whole, rest, value, false)
	f.Chain = &inner
	return f, ok
}

func (p *parser) values(param *Param, f *Filter, whole, value string) bool {
	parts, ok := split(value, ',')
	if !ok || len(parts) > maxValues {
		p.refuse("invalid", whole, "Cette valeur est mal écrite.", "This value is malformed.")
		return false
	}
	for _, part := range parts {
		v, ok := Value{}, len(part) <= maxValue
		if ok {
			v, ok = readValue(param, f, part)
		}
		if !ok {
			t := malformed(param, f.Modifier)
			p.refuse("invalid", whole, t.FR, t.EN)
			return false
		}
		f.Values = append(f.Values, v)
	}
	return true
}

func malformed(param *Param, modifier string) fault.Text {
	switch {
	case param.Kind == Date:
		return fault.Text{FR: "Cette date est mal écrite.", EN: "This date is malformed."}
	case param.Kind == Reference && modifier == "":
		return fault.Text{FR: "Cette référence est mal écrite : Type/identifiant.", EN: "This reference is malformed: Type/id."}
	case modifier == Contains:
		return fault.Text{FR: ":contains demande au moins 3 lettres ou chiffres.", EN: ":contains wants 3 letters or digits at least."}
	}
	return fault.Text{FR: "Cette valeur est mal écrite.", EN: "This value is malformed."}
}

func readValue(param *Param, f *Filter, part string) (Value, bool) {
	kind := param.Kind
	if f.Modifier == Identifier {
		kind = Token
	}
	switch kind {
	case Date:
		return readDate(part)
	case Reference:
		return readReference(param, f, part)
	case String:
		s, ok := unescape(part)
		need := 1
		if f.Modifier == Contains {
			need = minContains
		}
		return Value{Text: s}, ok && telling(s) >= need
	default:
		return readToken(part)
	}
}

// telling counts the letters and digits of s: what a folded comparison has left.
func telling(s string) (n int) {
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			n++
		}
	}
	return n
}

func readToken(part string) (Value, bool) {
	pieces, ok := split(part, '|')
	if !ok || len(pieces) > 2 {
		return Value{}, false
	}
	for i := range pieces {
		if pieces[i], ok = unescape(pieces[i]); !ok {
			return Value{}, false
		}
	}
	if len(pieces) == 1 {
		return Value{Code: pieces[0]}, pieces[0] != ""
	}
	return Value{System: pieces[0], HasSystem: true, Code: pieces[1]}, pieces[0] != "" || pieces[1] != ""
}

// readReference takes an id, Type/id, or a URL that ends so (R4 §3.1.1.4.14).
func readReference(param *Param, f *Filter, part string) (Value, bool) {
	s, ok := unescape(part)
	if !ok {
		return Value{}, false
	}
	pieces := strings.Split(s, "/")
	if strings.Contains(s, "://") && len(pieces) > 4 { // scheme, nothing, host, …, type, id
		pieces = pieces[len(pieces)-2:]
	}
	v := Value{Text: pieces[len(pieces)-1]}
	switch {
	case !ValidID(v.Text), len(pieces) > 2:
		return Value{}, false
	case len(pieces) == 2:
		return v, slices.Contains(param.Targets, pieces[0]) && (f.Type == "" || f.Type == pieces[0])
	}
	return v, true
}

// split parts s at each sep that no backslash escapes, and keeps the escapes.
func split(s string, sep byte) (parts []string, ok bool) {
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s) {
				return nil, false
			}
		case sep:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:]), true
}

// unescape takes the backslashes away (R4 §3.1.1.4.0.1): \, \| \$ and \\.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			if i++; i == len(s) || !strings.ContainsRune(`,|$\`, rune(s[i])) {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), true
}

// Encode writes pairs as a query string, in their order.
func Encode(pairs []Pair) string {
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p.Name))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(p.Value))
	}
	return b.String()
}
