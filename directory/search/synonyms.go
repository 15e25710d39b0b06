package search

import (
	_ "embed"
	"strings"
)

//go:embed synonyms.tsv
var synonymsTSV string

// synonyms are other ways to say a word of a profession or of a structure, each one or
// several words that begin words of what is published.
var synonyms = readSynonyms(synonymsTSV)

func readSynonyms(tsv string) map[string][][]string {
	m := map[string][][]string{}
	for line := range strings.Lines(tsv) {
		word, others, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for other := range strings.SplitSeq(others, ",") {
			m[word] = append(m[word], strings.Fields(other))
		}
	}
	return m
}

// noise are words that people put around a name and that tell nothing.
var noise = map[string]bool{
	"a": true, "au": true, "aux": true, "chez": true, "dans": true, "docteur": true, "dr": true, "et": true, "m": true,
	"madame": true, "me": true, "mme": true, "mr": true, "monsieur": true, "pour": true, "pr": true, "professeur": true,
}

// telling leaves the noise out, unless there is nothing else.
func telling(ws []string) []string {
	out := make([]string, 0, len(ws))
	for _, w := range ws {
		if !noise[w] {
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		return ws
	}
	return out
}

// feminine endings of professions, and the masculine ones under which they are published;
// « -logue » and « -logie » meet at « -log ».
var feminine = []struct{ from, to string }{
	{"iere", "ier"}, {"ieres", "ier"}, {"iers", "ier"}, {"ienne", "ien"}, {"iennes", "ien"}, {"iens", "ien"},
	{"trice", "teur"}, {"trices", "teur"}, {"euse", "eur"}, {"euses", "eur"}, {"logue", "log"}, {"logues", "log"},
	{"logie", "log"}, {"istes", "iste"}, {"cins", "cin"}, {"femmes", "femme"}, {"peutes", "peute"},
}

// otherNames adds to a word what else it is called.
func otherNames(n node) node {
	l := n.leaf
	kids := []node{n}
	for _, e := range feminine {
		if stem, ok := strings.CutSuffix(l.value, e.from); ok && len(stem) >= 3 {
			kids = append(kids, word1(l.field, stem+e.to, l.whole))
		}
	}
	for _, other := range synonyms[l.value] {
		all := make([]node, 0, len(other))
		for _, w := range other {
			all = append(all, word1(l.field, w, l.whole))
		}
		kids = append(kids, join(both, all))
	}
	return join(either, kids)
}
