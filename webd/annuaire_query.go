package webd

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/health"
)

// listingsPerPage is how many listings one page of results shows.
const listingsPerPage = 20

// ticketTime is how long a search may be looked at again: as long as a session.
const ticketTime = 12 * time.Hour

// Bounds of what is typed.
const (
	maxTyped      = 100 // characters of a field
	maxTypedWords = 8
	minLetters    = 2 // letters and digits of a field
)

// ask is a question to the directory, as it travels in a ticket.
type ask struct {
	Who        string   `json:"q,omitempty"` // name, profession, speciality or service
	Where      string   `json:"o,omitempty"` // city, postal code or structure
	Profession string   `json:"p,omitempty"` // TRE_G15
	Kind       string   `json:"k,omitempty"` // "personne", "service" or all
	Places     []string `json:"l,omitempty"` // FINESS or SIRET: the boxes of one structure, and nothing typed
	After      string   `json:"a,omitempty"` // search.Page.Next of the page before
}

// Kinds of box that a search may keep to.
const (
	onlyPersons  = "personne"
	onlyServices = "service"
)

// clean makes one line of what was typed or pasted: valid UTF-8, no control or format
// character, single spaces.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	return strings.Join(strings.Fields(s), " ")
}

// cut keeps the first characters of a text that is too long to be shown again.
func cut(s string, n int) string {
	if rs := []rune(s); len(rs) > n {
		return string(rs[:n])
	}
	return s
}

// faults lists what is wrong with what was typed: field and text key.
func (a ask) faults() map[string]string {
	long := func(s string) bool {
		return utf8.RuneCountInString(s) > maxTyped || len(strings.Fields(s)) > maxTypedWords
	}
	f := map[string]string{}
	if long(a.Who) {
		f["qui"] = "directory.long"
	}
	if long(a.Where) {
		f["ou"] = "directory.long"
	}
	if len(f) > 0 {
		return f
	}
	switch {
	case a.Who+a.Where == "" && a.Profession != "":
		f["ou"] = "directory.alone"
	case a.Who+a.Where == "":
		f["qui"] = "directory.empty"
	}
	if a.Who != "" && letters(a.Who) < minLetters {
		f["qui"] = "directory.short"
	}
	if a.Where != "" && letters(a.Where) < minLetters {
		f["ou"] = "directory.short"
	}
	return f
}

// letters counts the letters and digits of a text.
func letters(s string) int {
	return utf8.RuneCountInString(strings.ReplaceAll(listing.Fold(s), " ", ""))
}

// query is the question in the words of the search. It asks for the near spellings too.
func (a ask) query() search.Query {
	all := search.And{}
	if a.Who != "" {
		all = append(all, whoCond(a.Who))
	}
	all = append(all, whereConds(a.Where)...)
	if a.Profession != "" {
		all = append(all, search.Equal{Field: search.Profession, Value: a.Profession})
	}
	if len(a.Places) > 0 {
		all = append(all, placeCond(a.Places))
	}
	if c := kindCond(a.Kind); c != nil {
		all = append(all, c)
	}
	return search.Query{Where: all, Limit: listingsPerPage, After: a.After, Fuzzy: len(a.Places) == 0}
}

// whoCond looks for an address or a number when one was pasted, else for words.
func whoCond(s string) search.Cond {
	number := strings.ReplaceAll(s, " ", "")
	switch {
	case strings.Contains(s, "@"):
		return search.Prefix{Field: search.Address, Value: strings.ToLower(number)}
	case len(number) >= 8 && isDigits(number): // RPPS, ADELI, FINESS, SIRET
		return search.Or{search.Equal{Field: search.PP, Value: number}, search.Equal{Field: search.Place, Value: number}}
	}
	return search.Words{Field: search.Any, Value: s}
}

// whereConds asks for each word in the name of the city, the department or the structure,
// or at the beginning of the postal code: « Les Lilas Paris », « 75019 », « CHU Lyon ».
func whereConds(s string) []search.Cond {
	words := listing.WordsOf(s)
	conds := make([]search.Cond, 0, len(words))
	for i := 0; i < len(words); i++ {
		w := words[i]
		if i+1 < len(words) {
			if postal := arrondissement(w, words[i+1]); postal != "" {
				conds = append(conds, search.Words{Field: search.City, Value: w}, search.Or{
					search.Prefix{Field: search.PostalCode, Value: postal}, search.Words{Field: search.City, Value: words[i+1]}})
				i++
				continue
			}
		}
		or := search.Or{search.Words{Field: search.City, Value: saint(w)}, search.Words{Field: search.Structure, Value: w},
			search.Words{Field: search.Department, Value: w}}
		if isDigits(w) && len(w) <= 5 {
			or = append(or, search.Prefix{Field: search.PostalCode, Value: w})
		}
		conds = append(conds, or)
	}
	return conds
}

// arrondissement is the postal code of « Paris 19 », « Lyon 3e », "" for anything else.
func arrondissement(city, word string) string {
	prefix := map[string]string{"paris": "750", "lyon": "690", "marseille": "130"}[city]
	n, err := strconv.Atoi(strings.TrimRight(word, "emr"))
	if prefix == "" || err != nil || n < 1 || n > 20 {
		return ""
	}
	if n < 10 {
		prefix += "0"
	}
	return prefix + strconv.Itoa(n)
}

// saint writes out « St » and « Ste », as the names of cities are kept.
func saint(w string) string {
	switch w {
	case "st":
		return "saint"
	case "ste":
		return "sainte"
	}
	return w
}

func placeCond(places []string) search.Cond {
	or := make(search.Or, 0, len(places))
	for _, p := range places {
		or = append(or, search.Equal{Field: search.Place, Value: p})
	}
	if len(or) == 1 {
		return or[0]
	}
	return or
}

func kindCond(kind string) search.Cond {
	is := func(k health.BALKind) search.Cond { return search.Equal{Field: search.Kind, Value: string(k)} }
	switch kind {
	case onlyPersons:
		return is(health.PER)
	case onlyServices:
		return search.Or{is(health.ORG), is(health.CAB), is(health.APP)}
	}
	return nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// bearer is whom the tickets of a session are for.
func (s Session) bearer() string { return "account " + strconv.FormatInt(int64(s.Account), 10) }

// ticket seals a question for the one who asks it.
func (s *Server) ticket(ses Session, a ask) (string, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return "", fault.Wrap(fault.Internal, "webd.ticket", "ask", err)
	}
	return s.tickets.Seal(b, ses.bearer(), s.Now().Add(ticketTime)), nil
}

// maxTicket bounds the ticket of a question, in characters.
const maxTicket = 8 << 10

// asked reads a ticket. Errors: fault.NotFound, the same for one that is forged, too old
// or somebody else's.
func (s *Server) asked(ses Session, ticket string) (ask, error) {
	gone := fault.New(fault.NotFound, "webd.asked", "ticket")
	if len(ticket) > maxTicket {
		return ask{}, gone
	}
	b, err := s.tickets.Open(ticket, ses.bearer(), s.Now())
	if err != nil {
		return ask{}, gone
	}
	var a ask
	if err := json.Unmarshal(b, &a); err != nil {
		return ask{}, gone
	}
	return a, nil
}
