package search

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"pli/directory/listing"
	"pli/fault"
)

// Bounds of a question. A stranger's filter that goes past one is refused.
const (
	maxDepth  = 32
	maxLeaves = 64
	maxNodes  = 600 // once words have become leaves
	maxValue  = 256 // octets
	maxWords  = 16  // of one value
)

type shape uint8

const (
	always shape = iota
	never
	both
	either
	inverse
	test
)

// node is a condition made ready: values folded, one word per leaf, always and never
// nowhere but at the root.
type node struct {
	shape shape
	kids  []node
	leaf  leaf
}

type act uint8

const (
	equal act = iota
	prefix
	contains
	word    // value is one word that begins a word of the field
	present // the field has a value
)

type leaf struct {
	field Field
	act   act
	value string // folded as the field is
	code  string // equal only: the value as a code
	whole string // word only: the text that it came from, folded
}

func invalid(code string) error { return fault.New(fault.Invalid, "search.Search", code) }

type normaliser struct{ leaves, nodes int }

// normalise makes a question ready. Errors: fault.Invalid.
func normalise(c Cond) (node, error) {
	if c == nil {
		return node{shape: always}, nil
	}
	var n normaliser
	return n.cond(c, 1)
}

func (n *normaliser) cond(c Cond, depth int) (node, error) {
	if depth > maxDepth {
		return node{}, invalid("too-deep")
	}
	switch c := c.(type) {
	case And:
		kids, err := n.conds(c, depth)
		return join(both, kids), err
	case Or:
		kids, err := n.conds(c, depth)
		return join(either, kids), err
	case Not:
		kid, err := n.cond(c.Cond, depth+1)
		return negate(kid), err
	case Equal:
		return n.leaf(c.Field, equal, c.Value)
	case Prefix:
		return n.leaf(c.Field, prefix, c.Value)
	case Contains:
		return n.leaf(c.Field, contains, c.Value)
	case Words:
		return n.leaf(c.Field, word, c.Value)
	default:
		return node{}, invalid("no-condition")
	}
}

func (n *normaliser) conds(cs []Cond, depth int) ([]node, error) {
	if len(cs) > maxLeaves {
		return nil, invalid("too-many-conditions")
	}
	kids := make([]node, 0, len(cs))
	for _, c := range cs {
		kid, err := n.cond(c, depth+1)
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
	}
	return kids, nil
}

// join makes a both or an either, without the kids that change nothing.
func join(s shape, kids []node) node {
	nothing, decides := always, never
	if s == either {
		nothing, decides = never, always
	}
	out := make([]node, 0, len(kids))
	for _, k := range kids {
		switch k.shape {
		case nothing:
		case decides:
			return node{shape: decides}
		case s:
			out = append(out, k.kids...)
		default:
			out = append(out, k)
		}
	}
	out = needed(s, out)
	switch len(out) {
	case 0:
		return node{shape: nothing}
	case 1:
		return out[0]
	}
	return node{shape: s, kids: out}
}

// needed leaves out the leaves that another one makes needless: the same again, and in
// an either what a whole name tells of its family and given names.
func needed(s shape, kids []node) []node {
	seen := make(map[leaf]bool, len(kids))
	for _, k := range kids {
		if k.shape == test && s == either && k.leaf.field == Name && k.leaf.act != equal {
			for _, f := range []Field{Family, Given} {
				l := k.leaf
				l.field = f
				seen[l] = true
			}
		}
	}
	out := kids[:0]
	for _, k := range kids {
		if k.shape == test {
			if seen[k.leaf] {
				continue
			}
			seen[k.leaf] = true
		}
		out = append(out, k)
	}
	return out
}

func negate(k node) node {
	switch k.shape {
	case always:
		return node{shape: never}
	case never:
		return node{shape: always}
	case inverse:
		return k.kids[0]
	}
	return node{shape: inverse, kids: []node{k}}
}

// anywhere are the fields that Any stands for, but in Words.
var anywhere = []Field{Name, Address, Structure, Service, City, PostalCode, Profession, KnowHow}

func (n *normaliser) leaf(f Field, a act, value string) (node, error) {
	n.leaves++
	switch {
	case f >= fields:
		return node{}, invalid("unknown-field")
	case n.leaves > maxLeaves:
		return node{}, invalid("too-many-conditions")
	case len(value) > maxValue:
		return node{}, invalid("value-too-long")
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return node{}, invalid("value")
	case (f == Key || f == BAL) && a != equal:
		return node{}, invalid("exact-only")
	}
	if f == Any && a != word {
		kids := make([]node, 0, len(anywhere))
		for _, f := range anywhere {
			kid, err := n.one(f, a, value)
			if err != nil {
				return node{}, err
			}
			kids = append(kids, kid)
		}
		return join(either, kids), nil
	}
	return n.one(f, a, value)
}

func (n *normaliser) one(f Field, a act, value string) (node, error) {
	if n.nodes++; n.nodes > maxNodes {
		return node{}, invalid("too-many-conditions")
	}
	l := leaf{field: f, act: a}
	switch f {
	case Key:
		k, err := listing.ParseKey(value)
		if err != nil {
			return node{shape: never}, nil
		}
		l.value = k.String()
		return node{shape: test, leaf: l}, nil
	case BAL:
		b, err := strconv.ParseInt(value, 10, 64)
		if err != nil || b <= 0 {
			return node{shape: never}, nil
		}
		l.value = strconv.FormatInt(b, 10)
		return node{shape: test, leaf: l}, nil
	case PP, Place, Kind:
		l.value = strings.TrimSpace(value)
		if f == Kind {
			l.value = strings.ToUpper(l.value)
		}
		if a == word {
			l.act = prefix
		}
	case Address:
		l.value = listing.FoldAddress(value)
	case City:
		l.value = listing.FoldCity(value)
	default:
		l.value = listing.Fold(value)
	}
	if a == equal {
		l.code = strings.ToUpper(strings.TrimSpace(value))
	}
	// A profession is known by several names: its beginning is that of a word of one.
	if (f == Profession || f == KnowHow) && a == prefix && l.value != "" {
		a = word
	}
	switch {
	case a == word && f != PP && f != Place && f != Kind:
		return n.words(f, l.value)
	case l.value != "":
		return node{shape: test, leaf: l}, nil
	case a == equal:
		return node{shape: never}, nil
	case f == Name || f == Family || f == Address || f == Kind:
		return node{shape: always}, nil
	}
	l.act = present
	return node{shape: test, leaf: l}, nil
}

// words holds when each word begins a word of the field; a text without words finds
// nothing.
func (n *normaliser) words(f Field, value string) (node, error) {
	whole := listing.Fold(value)
	ws := strings.Fields(whole)
	if len(ws) > maxWords {
		return node{}, invalid("too-many-words")
	}
	if f == Any {
		ws = telling(ws)
	}
	if len(ws) == 0 {
		return node{shape: never}, nil
	}
	kids := make([]node, 0, len(ws))
	for _, w := range ws {
		kid := word1(f, w, whole)
		if f == Any || f == Profession || f == KnowHow {
			kid = otherNames(kid)
		}
		if n.nodes += count(kid); n.nodes > maxNodes {
			return node{}, invalid("too-many-conditions")
		}
		kids = append(kids, kid)
	}
	return join(both, kids), nil
}

func word1(f Field, w, whole string) node {
	return node{shape: test, leaf: leaf{field: f, act: word, value: w, whole: whole}}
}

func count(n node) int {
	c := 1
	for _, k := range n.kids {
		c += count(k)
	}
	return c
}

// positive calls f with every leaf that is not under a negation.
func (n node) positive(f func(leaf)) {
	switch n.shape {
	case test:
		f(n.leaf)
	case both, either:
		for _, k := range n.kids {
			k.positive(f)
		}
	}
}
