package listing

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// letters that Unicode does not take apart.
var letters = map[rune]string{
	'œ': "oe", 'æ': "ae", 'ß': "ss", 'ø': "o", 'ł': "l", 'đ': "d", 'ð': "d", 'þ': "th", 'ı': "i",
}

// Fold is how texts are compared: lower case, no accents, ligatures written out, and one
// space for each run of what is neither letter nor digit. « L'Haÿ-les-Roses » is
// "l hay les roses".
func Fold(s string) string {
	if !plain(s) {
		s = norm.NFKD.String(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	gap := false
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf:
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			if !('a' <= r && r <= 'z' || '0' <= r && r <= '9') {
				gap = true
				continue
			}
		case unicode.Is(unicode.Mn, r):
			continue
		case !unicode.IsLetter(r) && !unicode.IsDigit(r) || r == utf8.RuneError:
			gap = true
			continue
		default:
			r = unicode.ToLower(r)
		}
		if gap && b.Len() > 0 {
			b.WriteByte(' ')
		}
		gap = false
		if t, ok := letters[r]; ok {
			b.WriteString(t)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// FoldAddress is how addresses are compared: trimmed, lower case, nothing else.
func FoldAddress(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// FoldCity folds the name of a town, so that « LYON CEDEX 03 », « Lyon 3e arrondissement »
// and « Lyon » are one, and « St-Étienne » is « Saint-Étienne ».
func FoldCity(s string) string {
	words := WordsOf(s)
	if i := slices.Index(words, "cedex"); i > 0 {
		words = words[:i]
	}
	for i, w := range words {
		switch w {
		case "st":
			words[i] = "saint"
		case "ste":
			words[i] = "sainte"
		}
	}
	for len(words) > 1 && arrondissement(words[len(words)-1]) {
		words = words[:len(words)-1]
	}
	return strings.Join(words, " ")
}

// arrondissement reports whether a last word only tells which: "03", "3e", "1er".
func arrondissement(w string) bool {
	if w == "arrondissement" {
		return true
	}
	digits := strings.TrimRight(w, "abcdefghijklmnopqrstuvwxyz")
	if digits == "" || len(digits) > 2 || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	switch w[len(digits):] {
	case "", "e", "er", "eme", "ieme":
		return true
	}
	return false
}

// WordsOf are the words of a folded text, in order.
func WordsOf(s string) []string { return strings.Fields(Fold(s)) }
