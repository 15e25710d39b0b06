package webd

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"pli/codec/message"
	"pli/internal/id"
	"pli/mail"
)

// rowsPerPage is how many conversations one page of the list shows.
const rowsPerPage = 20

// row is one conversation of the list.
type row struct {
	ID          id.Letter
	Who         Card
	Subject     string
	Preview     string
	At          time.Time
	Unread      int
	Letters     int
	Attachments int
	Mine        bool // the last letter is the person's own
	Ended       bool
}

// messagesPage is the list.
type messagesPage struct {
	Rows    []row
	Filter  string // "", "non-lus", "pieces", "termines"
	Total   int    // conversations under this filter
	All     int    // conversations in all
	Unread  int
	Pages   []pageLink
	Before  string // link to the page before, "" at the first
	After   string
	Current int
	Last    int
}

// pageLink is one number of the pagination.
type pageLink struct {
	Number  int
	Link    string
	Current bool
}

func (s *Server) messages(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	ts, err := s.allThreads(r.Context(), v)
	if err != nil {
		return err
	}
	d := messagesPage{Filter: r.URL.Query().Get("filtre"), All: len(ts)}
	for _, t := range ts {
		if t.Unread() > 0 {
			d.Unread++
		}
	}
	ts, err = s.filter(r.Context(), v, ts, d.Filter)
	if err != nil {
		return err
	}
	d.Total = len(ts)
	d.paginate(r.URL.Query().Get("page"))
	first := (d.Current - 1) * rowsPerPage
	if d.Rows, err = s.rows(r.Context(), v, ts[first:min(first+rowsPerPage, len(ts))]); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "messages", page{Title: s.words(r).T("messages.title"), Nav: "messages", Data: d})
}

// allThreads reads the letterbox and groups it.
func (s *Server) allThreads(ctx context.Context, v *visit) ([]thread, error) {
	box, err := v.open(ctx)
	if err != nil {
		return nil, err
	}
	ls, err := box.List(ctx)
	if err != nil {
		return nil, err
	}
	return threads(ls), nil
}

// filter keeps the conversations of one chip above the list.
func (s *Server) filter(ctx context.Context, v *visit, ts []thread, name string) ([]thread, error) {
	keep := func(thread) bool { return true }
	switch name {
	case "non-lus":
		keep = func(t thread) bool { return t.Unread() > 0 }
	case "pieces":
		keep = func(t thread) bool { return t.Attachments() > 0 }
	case "termines":
		es, err := s.exchanges(ctx, v, ts)
		if err != nil {
			return nil, err
		}
		keep = func(t thread) bool { return es[t.answer()].Ended }
	}
	var out []thread
	for _, t := range ts {
		if keep(t) {
			out = append(out, t)
		}
	}
	return out, nil
}

// exchanges are the states with whoever an answer in each conversation would go to.
func (s *Server) exchanges(ctx context.Context, v *visit, ts []thread) (map[mail.Address]Exchange, error) {
	seen := map[mail.Address]bool{}
	var peers []mail.Address
	for _, t := range ts {
		if a := t.answer(); !a.IsZero() && !seen[a] {
			seen[a] = true
			peers = append(peers, a)
		}
	}
	if len(peers) == 0 {
		return nil, nil
	}
	return s.Exchanges.Exchanges(ctx, v.session, peers)
}

func (s *Server) rows(ctx context.Context, v *visit, ts []thread) ([]row, error) {
	var as []mail.Address
	for _, t := range ts {
		as = append(as, t.peer().Mail())
	}
	cards, err := s.Cards.Cards(ctx, as)
	if err != nil {
		return nil, err
	}
	es, err := s.exchanges(ctx, v, ts)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, t := range ts {
		last := t.last()
		rows = append(rows, row{
			ID: t.ID(), Who: cardOf(t.peer(), cards), Subject: t.Subject(), Preview: last.Outline.Preview, At: last.ReceivedAt,
			Unread: t.Unread(), Letters: len(t.items), Attachments: t.Attachments(), Mine: last.Sent, Ended: es[t.answer()].Ended,
		})
	}
	return rows, nil
}

// cardOf gives the words for a correspondent: the directory's, else the name the
// letter bears. A bare address is never shown; without any name, the operator is.
func cardOf(p message.Person, cards map[mail.Address]Card) Card {
	if c, ok := cards[p.Mail()]; ok && c.Name != "" {
		return c
	}
	name := strings.TrimSpace(p.Name)
	if name == "" || strings.Contains(name, "@") {
		return Card{Structure: p.Mail().Domain()}
	}
	return Card{Name: name}
}

// Line is « HADDAD Karim, Médecin, Cabinet des Halles, Lyon », the empty parts and what
// was said already left out; the operator alone when nothing else is known.
func (c Card) Line() string { return joined(c.Name, c.Profession, c.Structure, c.City) }

// joined joins what is new in each part, whatever its capitals.
func joined(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" && !slices.ContainsFunc(kept, func(k string) bool { return strings.EqualFold(k, p) }) {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ", ")
}

// Role is what a list says beside the name: the profession, else where.
func (c Card) Role() string {
	switch {
	case c.Profession != "":
		return c.Profession
	case !strings.EqualFold(c.Structure, c.Name):
		return c.Structure
	}
	return c.City
}

// Rest is the line without the name.
func (c Card) Rest() string {
	if strings.EqualFold(c.Structure, c.Name) {
		return joined(c.Profession, c.City)
	}
	return joined(c.Profession, c.Structure, c.City)
}

// paginate works out the page asked for and the links around it.
func (d *messagesPage) paginate(asked string) {
	d.Last = max(1, (d.Total+rowsPerPage-1)/rowsPerPage)
	n, err := strconv.Atoi(asked)
	if err != nil {
		n = 1
	}
	d.Current = min(max(n, 1), d.Last)
	link := func(n int) string {
		q := url.Values{}
		if d.Filter != "" {
			q.Set("filtre", d.Filter)
		}
		if n > 1 {
			q.Set("page", strconv.Itoa(n))
		}
		if len(q) == 0 {
			return "/messages"
		}
		return "/messages?" + q.Encode()
	}
	if d.Current > 1 {
		d.Before = link(d.Current - 1)
	}
	if d.Current < d.Last {
		d.After = link(d.Current + 1)
	}
	for n := max(1, d.Current-2); n <= min(d.Last, d.Current+2); n++ {
		d.Pages = append(d.Pages, pageLink{Number: n, Link: link(n), Current: n == d.Current})
	}
}
