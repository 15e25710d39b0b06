package search

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pli/directory/listing"
	"pli/fault"
	"pli/health"
	"pli/internal/pg"
)

type nobody struct{}

func (nobody) ForPatients(domain string) bool { return strings.HasPrefix(domain, "patient.") }

// matches evaluates a condition as its words say, without any index or SQL.
func holds(c Cond, l *listing.Listing) bool {
	switch c := c.(type) {
	case And:
		return !slices.ContainsFunc(c, func(k Cond) bool { return !holds(k, l) })
	case Or:
		return slices.ContainsFunc(c, func(k Cond) bool { return holds(k, l) })
	case Not:
		return !holds(c.Cond, l)
	case Equal:
		return leafHolds(c.Field, c.Value, l, func(f Field, of, v string) bool { return of == v && v != "" })
	case Prefix:
		switch c.Field {
		case Family:
			return strings.HasPrefix(fullName(l, false), listing.Fold(c.Value))
		case Given:
			v, full := listing.Fold(c.Value), fullName(l, true)
			return strings.HasPrefix(full, v) && full != ""
		case Profession, KnowHow:
			if listing.Fold(c.Value) != "" {
				return wordsHold(c.Field, c.Value, l)
			}
		}
		return leafHolds(c.Field, c.Value, l, func(f Field, of, v string) bool { return of != "" && strings.HasPrefix(of, v) })
	case Contains:
		return leafHolds(c.Field, c.Value, l, func(f Field, of, v string) bool { return of != "" && strings.Contains(of, v) })
	case Words:
		return wordsHold(c.Field, c.Value, l)
	}
	panic("unknown condition")
}

func fullName(l *listing.Listing, givenFirst bool) string {
	row := l.Row()
	if givenFirst {
		return row[slices.Index(listing.Columns, "f_given")].(string)
	}
	return row[slices.Index(listing.Columns, "f_name")].(string)
}

func valuesOf(f Field, l *listing.Listing) []string {
	given := fullName(l, true)
	switch f {
	case Name:
		return []string{fullName(l, false), given}
	case Family:
		if given == "" {
			return []string{fullName(l, false)}
		}
		return []string{listing.Fold(l.FamilyName)}
	case Given:
		if given == "" {
			return nil
		}
		return []string{listing.Fold(l.GivenName)}
	case Address:
		return []string{listing.FoldAddress(l.Address)}
	case PP:
		return []string{l.PP}
	case Place:
		return []string{l.Place}
	case Structure:
		return []string{listing.Fold(l.Structure), listing.Fold(l.TradeName)}
	case Service:
		return []string{listing.Fold(l.Service), listing.Fold(l.Description)}
	case City:
		return []string{listing.FoldCity(l.City)}
	case PostalCode:
		return []string{listing.Fold(l.PostalCode)}
	case Department:
		return []string{listing.Fold(l.Department)}
	case Profession:
		return []string{listing.Fold(l.ProfessionLabel)}
	case KnowHow:
		return []string{listing.Fold(l.KnowHowLabel)}
	case Kind:
		return []string{string(l.Kind)}
	case Key:
		return []string{l.Key.String()}
	}
	return nil
}

func leafHolds(f Field, v string, l *listing.Listing, test func(f Field, of, v string) bool) bool {
	if f == Any {
		return slices.ContainsFunc(anywhere, func(f Field) bool { return leafHolds(f, v, l, test) })
	}
	raw := strings.TrimSpace(v)
	switch f {
	case Address:
		v = listing.FoldAddress(v)
	case City:
		v = listing.FoldCity(v)
	case PP, Place, Key:
		v = raw
	case Kind:
		v = strings.ToUpper(raw)
	default:
		v = listing.Fold(v)
	}
	if slices.ContainsFunc(valuesOf(f, l), func(of string) bool { return test(f, of, v) }) {
		return true
	}
	// Codes, which only a whole comparison knows: "=" is not in any value.
	if test(f, "=", "=") && !test(f, "=x", "=") {
		switch f {
		case Profession:
			return raw != "" && raw == l.Profession
		case KnowHow:
			return raw != "" && strings.EqualFold(raw, l.KnowHow)
		case Department:
			return len(raw) == 2 && strings.HasPrefix(l.PostalCode, raw)
		}
	}
	return false
}

func wordsHold(f Field, v string, l *listing.Listing) bool {
	switch f {
	case PP, Place, Kind:
		return leafHolds(f, v, l, func(_ Field, of, v string) bool { return of != "" && strings.HasPrefix(of, v) })
	}
	var have []string
	switch f {
	case Any:
		l.Vocabulary(func(w string) { have = append(have, w) })
	case Profession, KnowHow:
		have = listing.WordsOf(l.ProfessionLabel + " " + l.KnowHowLabel)
		have = append(have, listing.WordsOf(l.Title())...)
	default:
		for _, s := range valuesOf(f, l) {
			have = append(have, listing.WordsOf(s)...)
		}
	}
	if f == City {
		v = listing.FoldCity(v)
	}
	want := listing.WordsOf(v)
	if f == Any {
		want = telling(want)
	}
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, w) }) {
			return false
		}
	}
	return len(want) > 0
}

// chance makes conditions out of what listings hold, cut, mistyped and mixed.
type chance struct {
	r  *rand.Rand
	ls []listing.Listing
}

func (c chance) cond(depth int) Cond {
	if depth == 0 || c.r.IntN(3) == 0 {
		return c.leaf()
	}
	n := c.r.IntN(4)
	switch c.r.IntN(5) {
	case 0, 1:
		and := And{}
		for range n {
			and = append(and, c.cond(depth-1))
		}
		return and
	case 2, 3:
		or := Or{}
		for range n {
			or = append(or, c.cond(depth-1))
		}
		return or
	default:
		return Not{c.cond(depth - 1)}
	}
}

func (c chance) leaf() Cond {
	l := &c.ls[c.r.IntN(len(c.ls))]
	fields := []Field{Any, Name, Name, Family, Given, Address, Address, PP, Place, Structure, Service, City, PostalCode, Department, Profession, KnowHow, Kind}
	f := fields[c.r.IntN(len(fields))]
	of := f
	if f == Any {
		of = fields[1+c.r.IntN(len(fields)-1)]
	}
	value := ""
	if vs := valuesOf(of, l); len(vs) > 0 {
		value = vs[c.r.IntN(len(vs))]
	}
	cut := func(whole bool) string {
		r := []rune(value)
		if len(r) == 0 || whole && c.r.IntN(2) == 0 {
			return value
		}
		from := 0
		if !whole {
			from = c.r.IntN(len(r))
		}
		return string(r[from : from+c.r.IntN(min(len(r)-from, 6)+1)])
	}
	if c.r.IntN(8) == 0 {
		value = strings.ToUpper(value)
	}
	switch c.r.IntN(4) {
	case 0:
		if f == Profession && c.r.IntN(2) == 0 {
			value = l.Profession
		}
		return Equal{f, value}
	case 1:
		return Prefix{f, cut(true)}
	case 2:
		return Contains{f, cut(false)}
	default:
		words := strings.Fields(listing.Fold(value))
		c.r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
		for i, w := range words {
			words[i] = w[:1+c.r.IntN(len(w))]
		}
		return Words{f, strings.Join(words[:min(len(words), 3)], " ")}
	}
}

// all follows the pages to the end.
func all(t testing.TB, s *Searcher, q Query) []listing.Listing {
	t.Helper()
	var out []listing.Listing
	for range 200 {
		p, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatalf("%#v: %v", q.Where, err)
		}
		if len(p.Listings) > q.Limit {
			t.Fatalf("%d listings, limit %d", len(p.Listings), q.Limit)
		}
		out = append(out, p.Listings...)
		if q.After = p.Next; q.After == "" {
			return out
		}
	}
	t.Fatalf("%#v: no end", q.Where)
	return nil
}

// Random conditions give what a plain evaluation gives, on any number of pages, once
// each; in both parts.
func TestSearchIsWhatItSays(t *testing.T) {
	synonymsWere, feminineWas := synonyms, feminine
	defer func() { synonyms, feminine = synonymsWere, feminineWas }()
	synonyms = nil
	feminine = nil
	db, pool := small(t)
	c := newCrowd(7, 300)
	var ls []listing.Listing
	keep := func(n int) func() (listing.Listing, bool) {
		next := c.times(n)
		return func() (listing.Listing, bool) {
			l, more := next()
			if more {
				ls = append(ls, l)
			}
			return l, more
		}
	}
	fill(t, db, "a", keep(300))
	fill(t, db, "own", keep(60))
	s := New(pool, nobody{})
	ch := chance{rand.New(rand.NewPCG(11, 11)), ls}
	for i := range 800 {
		q := Query{Where: ch.cond(3), Limit: 15 + ch.r.IntN(400)}
		want := map[string]int{}
		for i := range ls {
			if holds(q.Where, &ls[i]) {
				want[ls[i].Key.String()]++
			}
		}
		got := all(t, s, q)
		for _, l := range got {
			if want[l.Key.String()]--; want[l.Key.String()] < 0 {
				t.Fatalf("%d: %#v\nfound, or found twice: %s %s %v", i, q.Where, l.Display(), l.Address, holds(q.Where, &l))
			}
		}
		if len(got) != len(want) {
			for k, n := range want {
				if n > 0 {
					j := slices.IndexFunc(ls, func(l listing.Listing) bool { return l.Key.String() == k })
					t.Fatalf("%d: %#v\nnot found: %s %s", i, q.Where, ls[j].Display(), ls[j].Address)
				}
			}
		}
	}
}

var _ = fault.Invalid
var _ = health.PER
var _ pg.Config
