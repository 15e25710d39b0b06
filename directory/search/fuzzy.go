package search

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"pli/directory/listing"
)

// Rounds of other spellings: one letter off, then two.
const (
	maxRounds  = 2
	shortest   = 4 // letters of a word that may be mistyped
	shortest2  = 6 // … by two letters
	spellings  = 6 // other spellings of one word
	respelt    = 8 // words of one question
	maxVariant = 24
)

// respell gives the same question with the words that may be mistyped in their other
// spellings too, and whether it is another question. Conditions under a negation stay.
func (v *vocabulary) respell(n node, round byte) (node, bool, error) {
	left := respelt
	return v.respellNode(n, round, &left)
}

func (v *vocabulary) respellNode(n node, round byte, left *int) (node, bool, error) {
	switch n.shape {
	case test:
		return v.respellLeaf(n, round, left)
	case both, either:
		out := make([]node, len(n.kids))
		any := false
		for i, k := range n.kids {
			kid, changed, err := v.respellNode(k, round, left)
			if err != nil {
				return n, false, err
			}
			out[i], any = kid, any || changed
		}
		return join(n.shape, out), any, nil
	}
	return n, false, nil
}

func (v *vocabulary) respellLeaf(n node, round byte, left *int) (node, bool, error) {
	l := n.leaf
	switch l.field {
	case Any, Name, Family, Given, Address, Structure, Service, City, Profession, KnowHow:
	default:
		return n, false, nil
	}
	if l.act == present || l.field == Address && strings.ContainsAny(l.value, "@._-") {
		return n, false, nil
	}
	kids := []node{n}
	words := strings.Fields(l.value)
	for i, w := range words {
		if *left == 0 {
			break
		}
		others, err := v.nearest(w, round, left)
		if err != nil {
			return n, false, err
		}
		for _, o := range others {
			other := l
			other.whole = strings.Replace(l.whole, w, o, 1)
			ws := slices.Clone(words)
			ws[i] = o
			other.value = strings.Join(ws, " ")
			other.code = ""
			kids = append(kids, node{shape: test, leaf: other})
		}
	}
	return join(either, kids), len(kids) > 1, nil
}

// nearest returns beginnings of words of the vocabulary that are spelt nearly as w, the
// nearest first. Each new word takes one from left.
func (v *vocabulary) nearest(w string, round byte, left *int) ([]string, error) {
	n := utf8.RuneCountInString(w)
	if n < shortest || n > maxVariant || round > 1 && n < shortest2 || strings.ContainsAny(w, "0123456789") {
		return nil, nil
	}
	if found, ok := v.near[w]; ok && v.nearRound == round {
		return found, nil
	}
	*left--
	var found []string
	var err error
	if round == 1 { // a few hundred; one of three letters would begin half the words
		found, err = v.begun(slices.DeleteFunc(variants(w), func(s string) bool { return utf8.RuneCountInString(s) < shortest }))
	} else {
		found, err = v.twoOff(w)
	}
	if err != nil {
		return nil, err
	}
	if v.nearRound != round {
		v.near, v.nearRound = map[string][]string{}, round
	}
	v.near[w] = found
	return found, nil
}

const selectBegun = `
SELECT v, bool_or(w.word = v) FROM unnest($1::text[]) v
CROSS JOIN LATERAL (SELECT word FROM %s x WHERE word >= v COLLATE "C" AND word < (v || '{') COLLATE "C" ORDER BY word LIMIT 1) w GROUP BY v`

// begun looks up which of some spellings begin words, whole words first.
func (v *vocabulary) begun(all []string) ([]string, error) {
	order := make(map[string]int, len(all))
	for i, o := range all {
		order[o] = i
	}
	rows, err := v.db.Query(v.ctx, strings.Replace(selectBegun, "%s", v.ofParts("word", "word"), 1), all)
	if err != nil {
		return nil, err
	}
	type seen struct {
		word  string
		whole bool
		order int
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s seen, err error) {
		err = row.Scan(&s.word, &s.whole)
		s.order = order[s.word]
		return s, err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b seen) int {
		if a.whole != b.whole {
			if a.whole {
				return -1
			}
			return 1
		}
		if c := cmp.Compare(v.known(b.word), v.known(a.word)); c != 0 {
			return c
		}
		return a.order - b.order
	})
	words := make([]string, 0, spellings)
	for _, s := range found[:min(len(found), spellings)] {
		words = append(words, s.word)
	}
	return words, nil
}

// known is in about how many listings a word is, 0 when it is not a common one.
func (v *vocabulary) known(w string) float64 {
	return v.frequent(func(c string) bool { return c == w }, 0)
}

// variants are the spellings of a word one letter off.
func variants(w string) []string { return variantsOf(w, "abcdefghijklmnopqrstuvwxyz") }

// variantsOf are the texts one letter of an alphabet off: two swapped, one dropped, one
// changed, one added; each once, the likeliest first.
func variantsOf(w, alphabet string) []string {
	r := []rune(w)
	seen := map[string]bool{w: true, "": true}
	var out []string
	add := func(parts ...string) {
		if s := strings.Join(parts, ""); !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for i := 0; i+1 < len(r); i++ {
		add(string(r[:i]), string(r[i+1]), string(r[i]), string(r[i+2:]))
	}
	for i := range r {
		add(string(r[:i]), string(r[i+1:]))
	}
	for i := range r {
		for _, c := range alphabet {
			add(string(r[:i]), string(c), string(r[i+1:]))
		}
	}
	for i := 0; i <= len(r); i++ {
		for _, c := range alphabet {
			add(string(r[:i]), string(c), string(r[i:]))
		}
	}
	return out
}

// twoOff compares with the words that have as many letters in groups of three in common
// as can be, and keeps those at two letters' distance; and it looks up the spellings with
// letters swapped twice, for swaps leave little in common.
func (v *vocabulary) twoOff(w string) ([]string, error) {
	rows, err := v.db.Query(v.ctx, "SELECT word FROM "+v.ofParts("word", "word")+
		" x WHERE word % $1::text ORDER BY similarity(word, $1::text) DESC, word LIMIT 200", w)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	words := make([]string, 0, spellings)
	for _, f := range found {
		if len(words) < spellings && f != w && distance(w, f) <= 2 {
			words = append(words, listing.CutWord(f))
		}
	}
	var twice []string
	for _, s := range swaps(w) {
		twice = append(twice, swaps(s)...)
	}
	slices.Sort(twice)
	swapped, err := v.begun(slices.Compact(twice))
	return append(words, swapped...), err
}

// swaps are the texts with two different neighbours swapped.
func swaps(w string) []string {
	r := []rune(w)
	var out []string
	for i := 0; i+1 < len(r); i++ {
		if r[i] != r[i+1] {
			out = append(out, string(r[:i])+string(r[i+1])+string(r[i])+string(r[i+2:]))
		}
	}
	return out
}

// distance is how many letters to add, drop, change or swap with the next.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, now := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		now[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(y)]
}
