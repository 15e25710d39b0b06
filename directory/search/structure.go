package search

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"pli/directory/listing"
	"pli/fault"
	"pli/health"
	"pli/internal/pg"
)

const (
	maxBoxes         = 500 // of a structure's page
	maxOrganizations = 100
)

var organizationColumns = strings.Join(listing.OrganizationColumns[:slices.Index(listing.OrganizationColumns, "f_name")], ", ")

func scanOrganization(row pgx.CollectableRow) (o listing.Organization, err error) {
	err = row.Scan(&o.ID, &o.FINESS, &o.FINESSEJ, &o.SIRET, &o.SIREN, &o.Technical, &o.Name, &o.TradeName, &o.Sector, &o.SectorLabel,
		&o.Complement, &o.Street, &o.PostalCode, &o.City, &o.Department, &o.Country, &o.Phone, &o.Fax, &o.Presentation, &o.Preparation,
		&o.Active, &o.ChangedAt, &o.SeenAt)
	o.ChangedAt, o.SeenAt = o.ChangedAt.UTC(), o.SeenAt.UTC()
	return o, err
}

// Structure returns a structure by what listings say of their place: "FINESS", "SIRET",
// "SIREN" or another type, and the number. Errors: fault.NotFound.
func (s *Searcher) Structure(ctx context.Context, placeType, place string) (Establishment, error) {
	o := listing.Organization{}
	switch placeType {
	case "FINESS":
		o.FINESS = place
	case "SIRET":
		o.SIRET = place
	case "SIREN":
		o.SIREN = place
	default:
		o.Technical = place
	}
	o.ID = listing.OrganizationID(o.FINESS, o.SIRET, o.SIREN, o.Technical)
	return s.establishment(ctx, o)
}

// StructureByID is Structure by the id of the organization. Errors: fault.NotFound.
func (s *Searcher) StructureByID(ctx context.Context, organization string) (Establishment, error) {
	o := listing.Organization{ID: organization}
	// The id may say all: a structure that is known by its listings only.
	if n, ok := strings.CutPrefix(organization, "finess-"); ok {
		o.FINESS = n
	} else if n, ok := strings.CutPrefix(organization, "siret-"); ok {
		o.SIRET = n
	}
	return s.establishment(ctx, o)
}

func (s *Searcher) establishment(ctx context.Context, asked listing.Organization) (Establishment, error) {
	const op = "search.Structure"
	if asked.ID == "" || len(asked.ID) > maxValue || strings.ContainsRune(asked.ID, 0) {
		return Establishment{}, fault.New(fault.NotFound, op, "unknown-structure")
	}
	e, err := s.edition(ctx)
	if err != nil {
		return Establishment{}, err
	}
	// The house's own row first: it has what the structure says of itself.
	rows, err := s.db.Query(ctx, "SELECT "+organizationColumns+" FROM ("+
		"SELECT "+organizationColumns+", 1 AS part FROM organization_own WHERE id = $1 UNION ALL SELECT "+organizationColumns+
		", 2 FROM organization_"+e.part+" WHERE id = $1) o ORDER BY part LIMIT 1", asked.ID)
	if err != nil {
		return Establishment{}, pg.Error(op, err)
	}
	found, err := pgx.CollectRows(rows, scanOrganization)
	if err != nil {
		return Establishment{}, pg.Error(op, err)
	}
	out := Establishment{Organization: asked}
	if len(found) > 0 {
		out.Organization = found[0]
	}
	ls, err := s.boxes(ctx, e, out.Organization)
	if err != nil {
		return Establishment{}, err
	}
	if len(found) == 0 && len(ls) == 0 {
		return Establishment{}, fault.New(fault.NotFound, op, "unknown-structure")
	}
	if len(ls) > maxBoxes {
		out.More, ls = true, ls[:maxBoxes]
	}
	if len(found) == 0 {
		out.Organization = asOrganization(asked, &ls[0])
	}
	out.Teams = teams(ls)
	return out, nil
}

// boxes are the listings of a place, services before people, by name, one more than are
// shown.
func (s *Searcher) boxes(ctx context.Context, e edition, o listing.Organization) ([]listing.Listing, error) {
	const op = "search.Structure"
	numbers := []string{o.FINESS, o.SIRET}
	if o.FINESS == "" && o.SIRET == "" {
		numbers = []string{o.SIREN, o.Technical}
	}
	numbers = slices.DeleteFunc(numbers, func(n string) bool { return n == "" })
	if len(numbers) == 0 {
		return nil, nil
	}
	var st statement
	q := search{vocabulary: s.vocabulary(ctx, e), limit: maxBoxes}
	err := q.add(byArms, &st, "SELECT "+columns+", f_name, 0 FROM "+e.ofParts(everything, "listing")+" l WHERE place = ANY ("+
		st.any(numbers, "text[]")+") AND place <> '' ORDER BY (kind <> 'ORG'), f_name, rank, key LIMIT "+strconv.Itoa(maxBoxes+1))
	if err != nil {
		return nil, pg.Error(op, err)
	}
	ls := make([]listing.Listing, len(q.hits))
	for i, h := range q.hits {
		ls[i] = h.listing
	}
	return ls, nil
}

func asOrganization(o listing.Organization, l *listing.Listing) listing.Organization {
	o.Name, o.TradeName, o.Sector, o.Complement, o.Street = cmp.Or(l.Structure, l.TradeName), l.TradeName, l.Sector, l.Complement, l.Street
	o.PostalCode, o.City, o.Department, o.Country = l.PostalCode, l.City, l.Department, l.Country
	o.Active, o.ChangedAt, o.SeenAt = true, l.ChangedAt, l.SeenAt
	return o
}

// teams groups listings by service, without changing their order within one.
func teams(ls []listing.Listing) []Team {
	var out []Team
	at := map[string]int{}
	for _, l := range ls {
		name := listing.Fold(l.Service)
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name] = i
			out = append(out, Team{Name: l.Service})
		}
		out[i].Listings = append(out[i].Listings, l)
	}
	slices.SortStableFunc(out, func(a, b Team) int { return strings.Compare(listing.Fold(a.Name), listing.Fold(b.Name)) })
	for _, t := range out {
		slices.SortStableFunc(t.Listings, func(a, b listing.Listing) int { return cmp.Compare(people(a), people(b)) })
	}
	return out
}

func people(l listing.Listing) int {
	if l.Kind == health.ORG || l.Kind == health.APP {
		return 0
	}
	return 1
}

// what is searched of a structure, folded well enough for French.
const structureWords = `' ' || f_name || ' ' || f_trade || ' ' || f_city || ' ' || postal_code || ' ' ||
	translate(lower(sector_label), 'àâäéèêëîïôöùûüç''-', 'aaaeeeeiioouuuc  ')`

// Organizations finds structures by words of their name, town, postal code and sector,
// each of which begins with a word asked; by name, at most limit, 0 being 100. Words that
// nothing begins with find nothing.
func (s *Searcher) Organizations(ctx context.Context, words string, limit int) ([]listing.Organization, error) {
	const op = "search.Organizations"
	where, err := normalise(Words{Any, words})
	if err != nil || where.shape == never {
		return nil, err
	}
	e, err := s.edition(ctx)
	if err != nil {
		return nil, err
	}
	if limit <= 0 || limit > maxOrganizations {
		limit = maxOrganizations
	}
	var st statement
	cond := st.structure(where)
	all := strings.Join(listing.OrganizationColumns, ", ")
	rows, err := s.db.Query(ctx, "SELECT DISTINCT ON (f_name, id) "+organizationColumns+" FROM (SELECT "+all+", 1 AS part FROM organization_own UNION ALL SELECT "+
		all+", 2 FROM organization_"+e.part+") o WHERE active AND "+cond+" ORDER BY f_name, id, part LIMIT "+strconv.Itoa(limit), append([]any{pgx.QueryExecModeExec}, st.args...)...)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	found, err := pgx.CollectRows(rows, scanOrganization)
	return found, pg.Error(op, err)
}

// structure writes a condition made of words about a structure.
func (s *statement) structure(n node) string {
	if n.shape == test {
		return "strpos(" + structureWords + ", " + s.text(" "+n.leaf.value) + ") > 0"
	}
	op := " AND "
	if n.shape == either {
		op = " OR "
	}
	parts := make([]string, len(n.kids))
	for i, k := range n.kids {
		parts[i] = s.structure(k)
	}
	return "(" + strings.Join(parts, op) + ")"
}
