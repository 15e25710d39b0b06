package search

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"pli/directory/listing"
)

// statement is SQL being written: its values are parameters, never text.
type statement struct {
	args []any
	seen map[string]string // of texts already given, their parameter
}

// text gives the parameter that holds a text.
func (s *statement) text(v string) string {
	if p, ok := s.seen[v]; ok {
		return p
	}
	if s.seen == nil {
		s.seen = map[string]string{}
	}
	p := s.any(v, "text")
	s.seen[v] = p
	return p
}

func (s *statement) any(v any, as string) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args)) + "::" + as
}

// folded is listing.Fold in SQL, for columns that are not kept folded.
func folded(column string) string {
	return `btrim(regexp_replace(replace(replace(replace(translate(lower(regexp_replace(normalize(` + column +
		`, NFKD), '[\u0300-\u036f]', '', 'g')), 'øØłŁđĐŒÆ', 'oollddœæ'), 'œ', 'oe'), 'æ', 'ae'), 'ß', 'ss'), '[^a-z0-9]+', ' ', 'g'))`
}

var (
	family     = `(CASE WHEN f_given = '' THEN f_name ELSE ` + folded("family_name") + ` END)`
	given      = `(CASE WHEN f_given = '' THEN '' ELSE ` + folded("given_name") + ` END)`
	structures = []string{folded("structure"), folded("trade_name")}
	services   = []string{folded("service"), folded("description")}
)

// values are the texts of a field, folded, in SQL.
func values(f Field) []string {
	switch f {
	case Name:
		return []string{"f_name", "f_given"}
	case Family:
		return []string{family}
	case Given:
		return []string{given}
	case Address:
		return []string{"f_address"}
	case PP:
		return []string{"pp"}
	case Place:
		return []string{"place"}
	case Structure:
		return structures
	case Service:
		return services
	case City:
		return []string{"f_city"}
	case PostalCode:
		return []string{folded("postal_code")}
	case Department:
		return []string{folded("department")}
	case Profession:
		return []string{folded("profession_label")}
	case KnowHow:
		return []string{folded("know_how_label")}
	default: // Kind
		return []string{"kind"}
	}
}

// predicate writes the whole condition; it is never NULL.
func (s *statement) predicate(n node) string {
	switch n.shape {
	case always:
		return "true"
	case never:
		return "false"
	case inverse:
		return "NOT " + s.predicate(n.kids[0])
	case test:
		return s.leaf(n.leaf)
	}
	op := " AND "
	if n.shape == either {
		op = " OR "
	}
	parts := make([]string, len(n.kids))
	for i, k := range n.kids {
		parts[i] = s.predicate(k)
	}
	return "(" + strings.Join(parts, op) + ")"
}

func (s *statement) leaf(l leaf) string {
	switch {
	case l.field == Key:
		k, _ := listing.ParseKey(l.value)
		return "key = " + s.any(k[:], "bytea")
	case l.field == BAL:
		b, _ := strconv.ParseInt(l.value, 10, 64)
		return "coalesce(bal_id = " + s.any(b, "bigint") + ", false)"
	case l.act == word && l.field == Any:
		return s.vector(l.value, "")
	case l.act == word && (l.field == Profession || l.field == KnowHow):
		return s.vector(l.value, "D")
	}
	exprs := values(l.field)
	switch {
	case l.act == word && l.field == Address:
		exprs = []string{folded("f_address")}
	case l.act == prefix && l.field == Family:
		exprs = []string{"f_name"} // or of the full name
	case l.act == prefix && l.field == Given:
		exprs = []string{"f_given"}
	}
	parts := make([]string, 0, len(exprs)+1)
	for _, e := range exprs {
		parts = append(parts, s.compare(l, e))
	}
	if sooner := s.sooner(l); sooner != "" {
		parts = []string{"(" + sooner + " AND (" + strings.Join(parts, " OR ") + "))"}
	}
	if l.act == equal {
		switch l.field {
		case Profession:
			parts = append(parts, "upper(profession) = "+s.text(l.code))
		case KnowHow:
			parts = append(parts, "upper(know_how) = "+s.text(l.code))
		case Department:
			for _, p := range postal(l.code) {
				parts = append(parts, "starts_with(postal_code, "+s.text(p)+")")
			}
		}
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

func (s *statement) compare(l leaf, expr string) string {
	switch l.act {
	case equal:
		return expr + " = " + s.text(l.value)
	case prefix:
		return "starts_with(" + expr + ", " + s.text(l.value) + ")"
	case contains:
		return "strpos(" + expr + ", " + s.text(l.value) + ") > 0"
	case word:
		return "strpos(' ' || " + expr + ", " + s.text(" "+l.value) + ") > 0"
	default:
		return expr + " <> ''"
	}
}

// sooner is what must hold too and is told sooner than by folding a text again; "" when
// nothing does.
func (s *statement) sooner(l leaf) string {
	switch l.field {
	case Family, Given:
		if l.act == prefix || l.act == present {
			return ""
		}
		return "strpos(f_name, " + s.text(l.value) + ") > 0"
	case Structure, Service, PostalCode, Department, Profession, KnowHow, Address:
	default:
		return ""
	}
	words := listing.WordsOf(l.value)
	last := len(words) - 1
	var qs []string
	for i, w := range words {
		switch {
		case l.act == present, l.act == contains && i == 0, l.field == Address && l.act != word:
		default:
			qs = append(qs, query(w, l.act != equal && i == last, ""))
		}
	}
	if len(qs) == 0 {
		return ""
	}
	return "((words @@ " + s.any(strings.Join(qs, " & "), "tsquery") + ") IS TRUE)"
}

// vector is about words of a listing, in a form that PostgreSQL does not take for a way
// to find rows: that is chosen by need.
func (s *statement) vector(w, weight string) string {
	return "((words @@ " + s.any(query(w, true, weight), "tsquery") + ") IS TRUE)"
}

// query writes a word for tsquery; folded words hold letters and digits only.
func query(w string, begins bool, weight string) string {
	cut := listing.CutWord(w)
	q := "'" + cut + "'"
	if begins || cut != w {
		return q + ":*" + weight
	}
	if weight != "" {
		q += ":" + weight
	}
	return q
}

// postal gives the beginnings of the postal codes of a department's code.
func postal(code string) []string {
	switch {
	case code == "2A":
		return []string{"200", "201"}
	case code == "2B":
		return []string{"202", "206"}
	case len(code) == 2 && code >= "01" && code <= "95" && code != "20" && digits(code):
		return []string{code}
	case len(code) == 3 && (strings.HasPrefix(code, "97") || strings.HasPrefix(code, "98")) && digits(code):
		return []string{code}
	}
	return nil
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// way is a condition that every answer fulfils and that an index finds: the sets of rows
// of all its parts, one within the other. No parts: there is no such way.
type way []part

type part struct {
	write func(s *statement) string
	name  string  // the same for the same part
	rows  float64 // about so many
	wide  bool    // costs much to find, whatever is asked besides
	alone bool    // is many searches of the index: another part would be sought as often
}

// best keeps the parts that pay, the narrowest first.
func (w way) best() way {
	if len(w) < 2 {
		return w
	}
	slices.SortStableFunc(w, func(a, b part) int { return cmp.Compare(a.rows, b.rows) })
	out := w[:1]
	for _, p := range w[1:] {
		if len(out) < 4 && out[0].rows > fewRows && !out[0].alone && !p.alone && !p.wide && p.rows < widePart && p.name != out[0].name {
			out = append(out, p)
		}
	}
	return out
}

// rows guesses how many rows the way leads to in a directory of n.
func (w way) rows(n float64) float64 {
	if len(w) == 0 {
		return n
	}
	rows := w[0].rows
	for _, p := range w[1:] {
		rows *= min(1, 4*p.rows/n) // words of one listing go together
	}
	return rows
}

func (w way) sql(s *statement) string {
	parts := make([]string, len(w))
	for i, p := range w {
		parts[i] = p.write(s)
	}
	return "(" + strings.Join(parts, " AND ") + ")"
}

const (
	widePart = 250_000 // rows: reading such a list costs more than it spares
	fewStems = 12      // searches of the index that are made as one
	fewRows  = 4_000   // rows: looking at each costs less than another list
)

// wayTo finds the way of a condition.
func (v *vocabulary) wayTo(n node) way {
	switch n.shape {
	case test:
		return v.wayToLeaf(n.leaf).best()
	case both:
		var all way
		for _, k := range n.kids {
			all = append(all, v.wayTo(k)...)
		}
		return append(all, v.wayToNames(n.kids)...).best()
	case either:
		return v.wayToOne(n.kids)
	}
	return nil
}

// wayToNames is about names that begin so and hold something more, « jean » and « dup »:
// the indexes of names tell both, without a look at the rows.
func (v *vocabulary) wayToNames(kids []node) way {
	var start leaf
	var more []string
	for _, k := range kids {
		l := k.leaf
		switch {
		case k.shape != test || l.field != Name && l.field != Family && l.field != Given:
		case l.act == prefix && len(l.value) > len(start.value):
			start = l
		case (l.act == contains || l.act == word) && !strings.Contains(l.value, " "): // whichever the order of names
			more = append(more, l.value)
		}
	}
	if len(start.value) < 3 || len(more) == 0 {
		return nil
	}
	rows := v.begins(strings.Fields(start.value)[0]).rows
	if rows > widePart {
		return nil
	}
	columns := map[Field][]string{Name: {"f_name", "f_given"}, Family: {"f_name"}, Given: {"f_given"}}[start.field]
	return way{{
		write: func(s *statement) string {
			parts := make([]string, len(columns))
			for i, c := range columns {
				parts[i] = "SELECT key FROM " + v.ofParts("key, "+c, "listing") + " n WHERE " + arm{column: c, value: start.value}.sql(s) + " AND " + c + " <> ''"
				for _, m := range more {
					parts[i] += " AND strpos(" + c + ", " + s.text(m) + ") > 0"
				}
			}
			return "key = ANY (ARRAY(" + strings.Join(parts, " UNION ALL ") + "))"
		},
		name:  "names " + start.value,
		rows:  rows / 25,
		alone: true,
	}}
}

// wayToOne needs a way to each.
func (v *vocabulary) wayToOne(kids []node) way {
	var ways []way
	sum := part{}
	seen := map[string]bool{}
	for _, k := range kids {
		w := v.wayTo(k)
		if len(w) == 0 {
			return nil
		}
		name := ""
		for _, p := range w {
			name += p.name + "&"
			sum.wide, sum.alone = sum.wide || p.wide, sum.alone || p.alone
		}
		if !seen[name] {
			seen[name] = true
			sum.name += name + "|"
			sum.rows += w.rows(v.size)
			ways = append(ways, w)
		}
	}
	if len(ways) == 1 {
		return ways[0]
	}
	sum.write = func(s *statement) string {
		parts := make([]string, len(ways))
		for i, w := range ways {
			parts[i] = w.sql(s)
		}
		return "(" + strings.Join(parts, " OR ") + ")"
	}
	return way{sum}
}

func (v *vocabulary) wayToLeaf(l leaf) way {
	switch l.field {
	case Key:
		return way{point("key", l, func(s *statement) string { return s.leaf(l) })}
	case BAL:
		b, _ := strconv.ParseInt(l.value, 10, 64)
		return way{point("bal", l, func(s *statement) string { return "bal_id = " + s.any(b, "bigint") })}
	case Kind:
		return nil
	case PP, Place:
		return v.wayToNumber(l)
	}
	switch l.act {
	case word:
		return way{v.begins(l.value)}
	case equal:
		return v.wayToEqual(l)
	case prefix, contains:
		return v.wayToText(l)
	}
	return nil
}

func point(kind string, l leaf, write func(*statement) string) part {
	return part{write: write, name: kind + "=" + l.value, rows: 2}
}

func (v *vocabulary) wayToNumber(l leaf) way {
	column := "pp"
	if l.field == Place {
		column = "place"
	}
	switch {
	case l.act == equal:
		p := point(column, l, func(s *statement) string {
			return "(" + column + " = " + s.text(l.value) + " AND " + column + " <> '')"
		})
		if l.field == Place {
			p.rows = 300
		}
		return way{p}
	case l.act == prefix && digits(l.value):
		// Digits come before ":" in any collation that matters here.
		return way{{
			write: func(s *statement) string {
				return "(" + column + " >= " + s.text(l.value) + " AND " + column + " < " + s.text(after(l.value)) + " AND " + column + " <> '')"
			},
			name: column + ">=" + l.value,
			rows: v.size / float64(int(1)<<min(3*len(l.value), 40)),
		}}
	}
	return nil
}

// after is the first text beyond all that begin with v, in the order of bytes, which in
// UTF-8 is that of letters; "" when there is none.
func after(v string) string {
	r := []rune(v)
	for len(r) > 0 && r[len(r)-1] == utf8.MaxRune {
		r = r[:len(r)-1]
	}
	if len(r) == 0 {
		return ""
	}
	if r[len(r)-1]++; r[len(r)-1] == 0xd800 { // surrogates are not letters
		r[len(r)-1] = 0xe000
	}
	return string(r)
}

func (v *vocabulary) wayToEqual(l leaf) way {
	switch l.field {
	case Address:
		return way{point("address", l, func(s *statement) string { return "f_address = " + s.text(l.value) })}
	case Profession, KnowHow:
		return nil // a code is nowhere among words
	case Department:
		if ps := postal(l.code); len(ps) > 0 {
			kids := []node{word1(Department, listing.Fold(l.code), "")}
			for _, p := range ps {
				kids = append(kids, word1(Department, p, ""))
			}
			return v.wayToOne(kids)
		}
	}
	var w way
	for _, t := range listing.WordsOf(l.value) {
		w = append(w, v.is(t))
	}
	return w
}

// wayToText is about a text that begins somewhere, and whose last word goes on.
func (v *vocabulary) wayToText(l leaf) way {
	words := listing.WordsOf(l.value)
	if len(words) == 0 {
		return nil
	}
	last := len(words) - 1
	var w way
	for i, t := range words {
		switch {
		case i == 0 && l.act == contains && last == 0:
			w = append(w, v.holds(t)...)
		case i == 0 && l.act == contains:
			if len(t) > 2 || len(words[last]) < 3 { // the end of a word: mostly rarer than how the last one begins
				w = append(w, v.holds(t)...)
			}
		case i == last:
			w = append(w, v.begins(t))
		default:
			w = append(w, v.is(t))
		}
	}
	return w
}

func (v *vocabulary) is(w string) part {
	q := query(w, false, "")
	return part{write: matches(q), name: q, rows: v.frequent(func(c string) bool { return c == w }, 50)}
}

func (v *vocabulary) begins(w string) part {
	q := query(w, true, "")
	rare := map[int]float64{1: 100_000, 2: 20_000, 3: 2_000, 4: 500}[len(w)]
	return part{
		write: matches(q), name: q, wide: len(w) < 3,
		rows: v.frequent(func(c string) bool { return strings.HasPrefix(c, w) }, max(rare, 200)),
	}
}

func matches(q string) func(*statement) string {
	return func(s *statement) string { return "words @@ " + s.any(q, "tsquery") }
}

// holds is about words that contain a text; there is no way when they are too many.
func (v *vocabulary) holds(t string) way {
	if !v.deep && len(t) < 3 { // so common that a walk meets it soon
		return nil
	}
	found := v.containing(t)
	if !found.all {
		return nil
	}
	if found.words == 0 {
		return way{{write: func(*statement) string { return "false" }, name: "nothing"}}
	}
	queries := make([]string, len(found.begin))
	for i, b := range found.begin {
		queries[i] = query(b, true, "")
	}
	rows := v.frequent(func(c string) bool { return strings.Contains(c, t) }, 20*float64(found.words))
	if len(queries) <= fewStems { // one search of the index, that others may narrow
		return way{{write: matches(strings.Join(queries, " | ")), name: "*" + t, rows: rows}}
	}
	return way{{
		write: func(s *statement) string { return "words @@ ANY (" + s.any(queries, "tsquery[]") + ")" },
		name:  "*" + t,
		rows:  rows,
		alone: true,
	}}
}
