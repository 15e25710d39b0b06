package webd

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/health"
)

// How many boxes the pages of a holder and of a structure show before the rest is a list
// of its own.
const (
	holderBoxes     = 20
	structureBoxes  = 60
	structurePeople = 20
)

// boxPage is one listing, and the other boxes of its holder.
type boxPage struct {
	hit
	Others  []hit
	Back    string // to the results that led here; "" leads to the form
	Patient bool
	Mine    string // the address of the patient who reads
}

func (s *Server) box(w http.ResponseWriter, r *http.Request) error {
	k, err := listing.ParseKey(r.PathValue("key"))
	if err != nil {
		return fault.New(fault.NotFound, "webd.box", "key")
	}
	v := visitOf(r)
	l, err := s.Listings.ByKey(r.Context(), k)
	if err != nil {
		return err
	}
	d := boxPage{Patient: !v.session.Professional, Back: s.backToList(r)}
	if d.Patient {
		d.Mine = v.owner.Address.Reveal()
	}
	ls := []listing.Listing{l}
	if l.Person() && l.PP != "" {
		p, err := s.Listings.Search(r.Context(), search.Query{Where: search.Equal{Field: search.PP, Value: l.PP}, Limit: holderBoxes})
		if err != nil {
			return err
		}
		for _, o := range p.Listings {
			if o.Key != l.Key && o.PPType == l.PPType {
				ls = append(ls, o)
			}
		}
	}
	all := hits(v.session, ls, "")
	d.hit, d.Others = all[0], all[1:]
	return s.render(w, r, http.StatusOK, "boite", page{Title: s.words(r).T("box.title"), Nav: "directory", Data: &d})
}

// backToList is the address of the results that a page was opened from, "" for none.
func (s *Server) backToList(r *http.Request) string {
	t := r.URL.Query().Get("liste")
	if _, err := s.asked(visitOf(r).session, t); err != nil {
		return ""
	}
	return "/annuaire/r/" + t + "#resultats"
}

// structurePage is who a structure is, and its boxes.
type structurePage struct {
	listing.Organization
	Services  []hit
	People    []hit
	Rest      string // link to all the boxes of services, when some are not shown
	RestOfAll string // link to all the people
	Patient   bool
}

// Title is the usual name.
func (d structurePage) Title() string { return first(d.TradeName, d.Name) }

// Formal is the name that the structure is registered under, when it is another.
func (d structurePage) Formal() string {
	if listing.Fold(d.Name) == listing.Fold(d.Title()) {
		return ""
	}
	return d.Name
}

// Lines are the postal address, a line each.
func (d structurePage) Lines() []string {
	return postal(d.Complement, d.Street, d.PostalCode, d.City)
}

// Passages are the paragraphs of a text.
func (structurePage) Passages(s string) []string {
	var out []string
	for _, p := range strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

func (s *Server) structure(w http.ResponseWriter, r *http.Request) error {
	id, ctx, ses := r.PathValue("id"), r.Context(), visitOf(r).session
	if !wellFormed(id) {
		return fault.New(fault.NotFound, "webd.structure", "id")
	}
	e, err := s.Listings.Structure(ctx, id)
	if err != nil {
		return err
	}
	d := structurePage{Organization: e.Organization, Patient: !ses.Professional}
	places := placesOf(id, e.Organization)
	services, people := divide(e.Teams)
	if d.Services, d.Rest, err = s.boxesOf(ctx, ses, services, e.More, ask{Places: places, Kind: onlyServices}, structureBoxes); err != nil {
		return err
	}
	if d.People, d.RestOfAll, err = s.boxesOf(ctx, ses, people, e.More, ask{Places: places, Kind: onlyPersons}, structurePeople); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "structure", page{Title: s.words(r).T("structure.title"), Nav: "directory", Data: d})
}

// divide puts the boxes of services, by name of the service, apart from those of people.
func divide(teams []search.Team) (services, people []listing.Listing) {
	for _, t := range teams {
		for _, l := range t.Listings {
			if l.Kind == health.PER {
				people = append(people, l)
			} else {
				services = append(services, l)
			}
		}
	}
	slices.SortStableFunc(people, func(a, b listing.Listing) int {
		return strings.Compare(listing.Fold(a.Name()), listing.Fold(b.Name()))
	})
	return services, people
}

// inside marks what is shown on the page of its structure.
func inside(hs []hit) []hit {
	for i := range hs {
		hs[i].Inside = true
	}
	return hs
}

// wellFormed reports whether an id may be one of a structure.
func wellFormed(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-.") == ""
}

// placesOf are the numbers that the boxes of a structure are listed under.
func placesOf(id string, o listing.Organization) []string {
	var out []string
	add := func(n string) {
		for _, p := range out {
			if p == n {
				return
			}
		}
		if n != "" {
			out = append(out, n)
		}
	}
	for _, prefix := range []string{"finess-", "siret-"} {
		if n, ok := strings.CutPrefix(id, prefix); ok {
			add(n)
		}
	}
	add(o.FINESS)
	add(o.SIRET)
	if len(out) == 0 {
		add(o.SIREN)
		add(o.Technical)
	}
	return out
}

// boxesOf shows the first n boxes of one kind in a structure, and leads to a list of all
// when there are more. When those at hand may not be the first n, they are asked for again.
func (s *Server) boxesOf(ctx context.Context, ses Session, ls []listing.Listing, short bool, a ask, n int) (hs []hit, rest string, err error) {
	if short && len(ls) <= n {
		q := a.query()
		q.Limit = n + 1
		p, err := s.Listings.Search(ctx, q)
		if err != nil {
			return nil, "", err
		}
		ls = p.Listings
	}
	if len(ls) > n {
		ls = ls[:n]
		if rest, err = s.pageLink(ses, a, "start"); err != nil {
			return nil, "", err
		}
	}
	return inside(hits(ses, ls, "")), rest, nil
}
