package webd

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/health"
	"pli/mail"
)

// The professional of the tests.
const (
	doctorLogin    = "karim.haddad"
	doctorPassword = "un stéthoscope sous la pluie"
	doctorAddress  = haddad
)

var doctorSession = Session{Account: 70, BAL: 71, Professional: true}

// fakeListings is a small directory in memory: it looks for words, page by page.
type fakeListings struct {
	*house
	all    []listing.Listing
	orgs   map[string]listing.Organization
	opened int            // times that the gate was asked
	again  int            // and asked anew
	asked  []search.Query // what was searched for
	large  bool           // structures have more boxes than their page shows
	until  time.Time      // when the last of them was to be over
	stale  bool           // pages after the first are of an edition that is gone

	fail, failOpen error
}

func (f *fakeListings) OpenDirectory(context.Context, Session) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	return f.failOpen
}

func (f *fakeListings) DirectoryStillAllowed(context.Context, Session) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again++
	return f.failOpen
}

func (f *fakeListings) Search(ctx context.Context, q search.Query) (search.Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until, _ = ctx.Deadline()
	f.asked = append(f.asked, q)
	if f.fail != nil {
		return search.Page{}, f.fail
	}
	start := 0
	if q.After != "" {
		if f.stale {
			return search.Page{}, fault.New(fault.Conflict, "fake.Search", "stale-page")
		}
		var err error
		if start, err = strconv.Atoi(strings.TrimPrefix(q.After, "dupont|")); err != nil {
			return search.Page{}, fault.New(fault.Invalid, "fake.Search", "page")
		}
	}
	p := search.Page{Listings: f.those(q.Where)}
	if w, ok := q.Where.(search.And); ok && len(p.Listings) == 0 && q.Fuzzy && len(w) > 0 && w[0] == (search.Words{Field: search.Any, Value: "hadad"}) {
		p.Listings, p.Fuzzy = f.those(search.Words{Field: search.Any, Value: "haddad"}), true
	}
	p.Listings = p.Listings[min(start, len(p.Listings)):]
	if len(p.Listings) > q.Limit {
		p.Listings, p.Next = p.Listings[:q.Limit], "dupont|"+strconv.Itoa(start+q.Limit)
	}
	return p, nil
}

func (f *fakeListings) those(c search.Cond) (out []listing.Listing) {
	for _, l := range f.all {
		if holds(c, l) {
			out = append(out, l)
		}
	}
	return out
}

// holds is what the conditions mean, word for word.
func holds(c search.Cond, l listing.Listing) bool {
	switch c := c.(type) {
	case search.And:
		return !slices.ContainsFunc(c, func(c search.Cond) bool { return !holds(c, l) })
	case search.Or:
		return slices.ContainsFunc(c, func(c search.Cond) bool { return holds(c, l) })
	case search.Not:
		return !holds(c.Cond, l)
	case search.Equal:
		return listing.Fold(valueOf(c.Field, l)) == listing.Fold(c.Value)
	case search.Prefix:
		return strings.HasPrefix(listing.Fold(valueOf(c.Field, l)), listing.Fold(c.Value))
	case search.Words:
		have := listing.WordsOf(valueOf(c.Field, l))
		for _, w := range listing.WordsOf(c.Value) {
			if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, w) }) {
				return false
			}
		}
		return true
	}
	return false
}

func valueOf(f search.Field, l listing.Listing) string {
	switch f {
	case search.Any:
		return strings.Join([]string{l.FamilyName, l.GivenName, l.Service, l.Description, l.Structure, l.TradeName, l.City, l.PostalCode, l.ProfessionLabel, l.KnowHowLabel}, " ")
	case search.Address:
		return l.Address
	case search.PP:
		return l.PP
	case search.Place:
		return l.Place
	case search.Structure:
		return l.Structure + " " + l.TradeName
	case search.City:
		return l.City
	case search.PostalCode:
		return l.PostalCode
	case search.Department:
		return l.Department
	case search.Profession:
		return l.Profession
	case search.Kind:
		return string(l.Kind)
	case search.BAL:
		return strconv.FormatInt(int64(l.BAL), 10)
	}
	return ""
}

func (f *fakeListings) ByKey(_ context.Context, k listing.Key) (listing.Listing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.all {
		if l.Key == k {
			return l, nil
		}
	}
	return listing.Listing{}, fault.New(fault.NotFound, "fake.ByKey", "listing")
}

func (f *fakeListings) Structure(_ context.Context, id string) (search.Establishment, error) {
	e := search.Establishment{Organization: f.orgs[id], More: f.large}
	_, number, _ := strings.Cut(id, "-")
	for _, l := range f.those(search.Equal{Field: search.Place, Value: number}) {
		if e.Organization.Name == "" {
			e.Organization = listing.Organization{ID: id, FINESS: number, Name: l.Structure, Street: l.Street, PostalCode: l.PostalCode, City: l.City, SeenAt: l.SeenAt}
		}
		e.Teams = append(e.Teams, search.Team{Name: l.Service, Listings: []listing.Listing{l}})
	}
	if e.Organization.Name == "" {
		return e, fault.New(fault.NotFound, "fake.Structure", "structure")
	}
	return e, nil
}

// AllowIn counts the pages of the directory.
func (h *house) AllowIn(_ context.Context, key string, n int, _ time.Duration) (bool, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pages == nil {
		h.pages = map[string]int{}
	}
	h.pages[key]++
	return h.pages[key] <= n, 0
}

// Practice

func (h *house) Box(_ context.Context, s Session) (Box, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.Professional {
		return Box{}, fault.New(fault.Forbidden, "fake.Box", "patient")
	}
	return h.doctor, nil
}

func (h *house) AcceptTerms(_ context.Context, s Session, version string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failTerms != nil {
		return h.failTerms
	}
	h.doctor.TermsVersion, h.doctor.TermsAt = version, h.now
	h.agreements = append(h.agreements, fmt.Sprintf("%d %s", s.BAL, version))
	return nil
}

// newDoctor is the professional's own box.
func newDoctor() Box {
	return Box{Name: "HADDAD Karim", Address: mail.MustAddress(doctorAddress), Kind: health.PER, State: health.Active, StateAt: testNow.AddDate(-1, 0, 0),
		TermsVersion: newestTerms, TermsAt: testNow.AddDate(0, -1, 0)}
}

const (
	clinic   = "990000131"
	pharmacy = "990000149"
)

// newListings is a directory with homonyms, two places for one person, a clinic, a
// pharmacy and enough people of one name for three pages.
func newListings(h *house) *fakeListings {
	f := &fakeListings{house: h, orgs: map[string]listing.Organization{}}
	add := func(l listing.Listing) {
		l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
		l.Rank, l.SinceAt, l.ChangedAt = max(l.Rank, 1), testNow.AddDate(-1, 0, 0), testNow.AddDate(0, -3, 0)
		l.SeenAt = testNow.AddDate(0, 0, -1)
		f.all = append(f.all, l)
	}
	gp := listing.Listing{Kind: health.PER, PPType: "8", Profession: "10", ProfessionLabel: "Médecin", KnowHow: "SM54", KnowHowLabel: "Médecine générale"}
	k := gp
	k.BAL, k.Address, k.PP, k.FamilyName, k.GivenName = 71, haddad, "89970000017", "HADDAD", "KARIM"
	k.PlaceType, k.Place, k.Structure, k.TradeName = "SIRET", "99000000100017", "SCM DES HALLES", "Cabinet des Halles"
	k.Street, k.PostalCode, k.City = "12 rue des Halles", "69003", "LYON"
	add(k)
	k.BAL, k.Address, k.Rank = 0, "k.haddad@ch-valfictif.mss-b.example", 2
	k.PlaceType, k.Place, k.Structure, k.TradeName, k.Service = "FINESS", clinic, "CENTRE HOSPITALIER DE VALFICTIF", "CH de Valfictif", "Médecine polyvalente"
	k.Street, k.PostalCode, k.City = "1 avenue de l'Hôpital", "69100", "VILLEURBANNE CEDEX"
	add(k)
	other := gp
	other.Address, other.PP, other.FamilyName, other.GivenName, other.City, other.PostalCode = "karim.haddad2@mss-b.example", "89970000025", "HADDAD", "KARIM", "LYON", "69003"
	add(other)
	org := listing.Listing{Kind: health.ORG, PlaceType: "FINESS", Place: clinic, Structure: "CENTRE HOSPITALIER DE VALFICTIF", TradeName: "CH de Valfictif", PostalCode: "69100", City: "VILLEURBANNE CEDEX", Street: "1 avenue de l'Hôpital"}
	org.Address, org.Service, org.Description, org.Hours = preadmission, "Préadmission chirurgie", "Préparer une hospitalisation en chirurgie", "Du lundi au vendredi, de 8 h à 17 h"
	add(org)
	org.Address, org.Service, org.Description, org.Hours = "imagerie@mss-b.example", "Imagerie", "Demandes et résultats d'imagerie", ""
	add(org)
	org.Kind, org.Address, org.Service, org.Description = health.APP, "dpi@mss-b.example", "Dossier patient informatisé", ""
	add(org)
	add(listing.Listing{Kind: health.ORG, Address: "pharmacie@mss-a.example", PlaceType: "FINESS", Place: pharmacy, Structure: "PHARMACIE DU PONT", Sector: "SA33",
		Description: "Ordonnances et questions", Hours: "Tous les jours, de 9 h à 19 h", PostalCode: "30000", City: "NIMES", Street: "3 quai du Pont", OpenToPatients: true})
	for i := range 45 {
		n := gp
		n.Address, n.PP = fmt.Sprintf("dupont%02d@mss-b.example", i), fmt.Sprintf("8997000%04d", 1000+i)
		n.FamilyName, n.GivenName, n.City, n.PostalCode = "DUPONT", "JEANNE-"+string(rune('A'+i%26))+strconv.Itoa(i), "PARIS", fmt.Sprintf("750%02d", 1+i%20)
		add(n)
	}
	f.orgs["finess-"+clinic] = listing.Organization{ID: "finess-" + clinic, FINESS: clinic, Name: "CENTRE HOSPITALIER DE VALFICTIF", TradeName: "CH de Valfictif", SectorLabel: "Hôpital public",
		Street: "1 avenue de l'Hôpital", PostalCode: "69100", City: "VILLEURBANNE CEDEX", Phone: "04 99 00 00 00", SeenAt: testNow.AddDate(0, 0, -1),
		Presentation: "Un hôpital de proximité : chirurgie, maternité, imagerie.\n\nNous écrivons aux patients depuis les boîtes ci-dessous.",
		Preparation:  "Venez avec votre carte Vitale, vos ordonnances et vos résultats.\n\nÀ jeun depuis minuit, sauf indication contraire."}
	return f
}

// called finds a listing by its address.
func (f *fakeListings) called(address string) listing.Listing {
	for _, l := range f.all {
		if l.Address == address {
			return l
		}
	}
	panic("nobody is " + address)
}
