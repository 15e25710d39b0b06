package listing

import (
	_ "embed"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"pli/health"
)

//go:embed titles.tsv
var titlesTSV string

// titles are the names of who practises a speciality, by code of TRE_R38.
var titles = readTitles(titlesTSV)

func readTitles(tsv string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(tsv) {
		code, title, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if ok && !strings.HasPrefix(line, "#") {
			m[code] = title
		}
	}
	return m
}

// Person reports whether the listing goes by a professional's name.
func (l *Listing) Person() bool {
	return l.Kind != health.ORG && l.Kind != health.APP && strings.ContainsFunc(l.FamilyName, unicode.IsLetter)
}

func (l *Listing) serviceName() string {
	for _, s := range []string{l.DisplayName, l.Service, l.TradeName, l.Structure, l.FamilyName} {
		if s != "" {
			return s
		}
	}
	return ""
}

// Name is « NOM Prénom », or the name of the service, or the address when there is none.
func (l Listing) Name() string {
	name := l.serviceName()
	if l.Person() {
		name = strings.TrimSpace(strings.ToUpper(l.FamilyName) + " " + gentle(l.GivenName))
	}
	if name == "" {
		return l.Address
	}
	return name
}

// Display is how the listing is shown on one line (ux.md §6.3): « HADDAD Karim –
// Médecin généraliste – Paris 19 – Cabinet médical des Lilas », or « Cardiologie – CHU
// des Monts – Lyon 3 » for a service. One that nothing places has its address.
func (l Listing) Display() string { return l.display(false) }

// Displays gives each listing's Display, those that would read the same being told apart
// by service, postal code and address, as far as it takes.
func Displays(ls []Listing) []string {
	out := make([]string, len(ls))
	count := map[string]int{}
	for i := range ls {
		out[i] = ls[i].display(false)
		count[out[i]]++
	}
	for i := range ls {
		if count[out[i]] > 1 {
			out[i] = ls[i].display(true)
		}
	}
	return out
}

const dash = " – "

func (l *Listing) display(full bool) string {
	parts := make([]string, 0, 8)
	add := func(s string) {
		if s = strings.TrimSpace(s); s == "" {
			return
		}
		for _, p := range parts {
			if Fold(p) == Fold(s) {
				return
			}
		}
		parts = append(parts, s)
	}
	structure := l.TradeName
	if structure == "" {
		structure = l.Structure
	}
	add(l.Name())
	if l.Person() {
		add(l.Title())
		add(l.Town())
		add(structure)
	} else {
		add(structure)
		add(l.Town())
	}
	if full {
		add(l.Service)
		add(l.PostalCode)
	}
	if full || structure == "" && l.City == "" {
		add(l.Address)
	}
	return strings.Join(parts, dash)
}

// Title is what a professional is, in French: the speciality when it has a name for who
// practises it, else as it is labelled, else the profession.
func (l *Listing) Title() string {
	if t := titles[l.KnowHow]; t != "" {
		return t
	}
	switch {
	case l.KnowHowLabel == "":
		return gentle(l.ProfessionLabel)
	case l.ProfessionLabel == "":
		return gentle(l.KnowHowLabel)
	default:
		return gentle(l.ProfessionLabel) + ", " + lowerFirst(gentle(l.KnowHowLabel))
	}
}

// Town is the town with its district for those that have: « Paris 19 ».
func (l *Listing) Town() string {
	name := FoldCity(l.City)
	if name == "" {
		return ""
	}
	if n := district(name, l.PostalCode, Fold(l.City)); n > 0 {
		return upperFirst(name) + " " + strconv.Itoa(n)
	}
	city := l.City
	if i := strings.Index(strings.ToUpper(city), " CEDEX"); i > 0 {
		city = city[:i]
	}
	return gentle(city)
}

// district is the number of the arrondissement of Paris, Lyon or Marseille, 0 for none.
func district(city, postal, whole string) int {
	last, prefix := 0, ""
	switch city {
	case "paris":
		last, prefix = 20, "75"
	case "lyon":
		last, prefix = 9, "69"
	case "marseille":
		last, prefix = 16, "13"
	default:
		return 0
	}
	if strings.HasPrefix(postal, prefix) && len(postal) == 5 && (postal[2] == '0' || city == "paris" && postal[2] == '1') {
		if n, err := strconv.Atoi(postal[3:]); err == nil && n >= 1 && n <= last {
			return n
		}
	}
	for w := range strings.FieldsSeq(strings.TrimPrefix(whole, city)) {
		n, err := strconv.Atoi(strings.TrimRight(w, "abcdefghijklmnopqrstuvwxyz"))
		if err == nil && n >= 1 && n <= last {
			return n
		}
	}
	return 0
}

// small words keep their lower case inside a name.
var small = map[string]bool{
	"a": true, "au": true, "aux": true, "d": true, "de": true, "des": true, "du": true, "en": true, "et": true,
	"l": true, "la": true, "le": true, "les": true, "lès": true, "sous": true, "sur": true,
}

// gentle writes « JEAN-PIERRE » as « Jean-Pierre » and « BOURG EN BRESSE » as « Bourg en
// Bresse », and leaves what has lower-case letters.
func gentle(s string) string {
	if strings.ContainsFunc(s, unicode.IsLower) {
		return s
	}
	lower := strings.ToLower(s)
	var b strings.Builder
	for len(lower) > 0 {
		n := strings.IndexFunc(lower, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.Is(unicode.Mn, r) })
		switch {
		case n < 0:
			n = len(lower)
		case n == 0:
			_, n = utf8.DecodeRuneInString(lower)
		}
		if word := lower[:n]; b.Len() > 0 && small[word] {
			b.WriteString(word)
		} else {
			b.WriteString(upperFirst(word))
		}
		lower = lower[n:]
	}
	return b.String()
}

func lowerFirst(s string) string { return first(s, unicode.ToLower) }
func upperFirst(s string) string { return first(s, unicode.ToUpper) }

func first(s string, f func(rune) rune) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(f(r)) + s[n:]
}
