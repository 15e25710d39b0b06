// Package resource shows the published directory as FHIR resources: Practitioner,
// PractitionerRole and Organization, in the shape of the national API (mssante.md §4.3).
//
// It reads what is published and nothing else: the house's own rows, and the national
// extraction that is current when a question begins; an own row hides the national one
// of the same id. A question sees one edition only. No patient and no BAL on the liste
// rouge is in what it reads.
package resource

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/codec/fhir"
	"pli/directory/listing"
	"pli/fault"
	"pli/internal/pg"
)

// Types of resources.
const (
	Practitioner     = "Practitioner"
	PractitionerRole = "PractitionerRole"
	Organization     = "Organization"
)

// Resource is one resource as it is sent.
type Resource struct {
	Type      string
	ID        string
	Version   string // of its content
	UpdatedAt time.Time
	JSON      []byte
	Included  bool // not found, but brought along
}

// Page is a page of an answer.
type Page struct {
	Resources []Resource
	// After is the id after which the next page begins; "" when there is nothing more.
	After string
	// Cut says that more resources would have been included than a page may hold.
	Cut bool
}

// maxIncluded bounds what is brought along on a page.
const maxIncluded = 1000

// Store reads. Its DB is made for questions that strangers shape (pg.Config.Search).
type Store struct {
	db     *pg.DB
	source string
}

// New makes the store. source is the URI that the house's own resources name as where
// they come from; "" names none.
func New(db *pg.DB, source string) *Store { return &Store{db: db, source: source} }

// Read returns one resource. Errors: fault.NotFound.
func (s *Store) Read(ctx context.Context, kind, id string) (Resource, error) {
	if !fhir.ValidID(id) || table(kind) == "" {
		return Resource{}, fault.New(fault.NotFound, "resource.Read", "no-such-resource")
	}
	q := fhir.Query{Type: kind, Count: 1, Filters: []fhir.Filter{{Param: "_id", Values: []fhir.Value{{Code: id}}}}}
	page, err := s.Search(ctx, q, "")
	if err != nil {
		return Resource{}, err
	}
	if len(page.Resources) == 0 {
		return Resource{}, fault.New(fault.NotFound, "resource.Read", "no-such-resource")
	}
	return page.Resources[0], nil
}

// Search answers a query that fhir.Parse understood against Catalogue, in the order of
// ids, from the one after the id given. Errors: fault.Invalid for a value that cannot be
// looked for, fault.Timeout when it takes too long.
func (s *Store) Search(ctx context.Context, q fhir.Query, after string) (Page, error) {
	// One snapshot: whatever is published meanwhile, nothing changes in here.
	tx, err := s.db.Pool().BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Page{}, pg.Error("resource.Search", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	v := &view{ctx: ctx, tx: tx, source: s.source}
	if err := tx.QueryRow(ctx, readPart).Scan(&v.part); err != nil {
		return Page{}, pg.Error("resource.Search", err)
	}
	return v.search(q, after)
}

// view is the directory as one question sees it.
type view struct {
	ctx  context.Context
	tx   pgx.Tx
	part string // a or b

	source string // of own resources
}

// of names the tables of the current edition in a statement.
func (v *view) of(statement string) string { return strings.ReplaceAll(statement, "_part", "_"+v.part) }

func (v *view) search(q fhir.Query, after string) (Page, error) {
	var page Page
	found, err := v.find(q, after)
	if err != nil {
		return page, err
	}
	if len(found.ids()) > q.Count {
		found.cut(q.Count)
		page.After = found.ids()[q.Count-1]
	}
	include, cut, err := v.include(q, found)
	if err != nil {
		return page, err
	}
	page.Cut = cut
	around, err := v.surroundings(found, include)
	if err != nil {
		return page, err
	}
	if page.Resources, err = around.resources(found, nil); err != nil {
		return page, err
	}
	more, err := around.resources(include, page.Resources)
	for i := range more {
		more[i].Included = true
	}
	page.Resources = append(page.Resources, more...)
	return page, err
}

// Rows, and whether they are the house's own.
type (
	practitionerRow struct {
		listing.Practitioner
		own bool
	}
	roleRow struct {
		listing.Role
		own bool
	}
	organizationRow struct {
		listing.Organization
		own bool
	}
)

// rows are rows of the three tables, in the order of ids.
type rows struct {
	practitioners []practitionerRow
	roles         []roleRow
	organizations []organizationRow
}

func (r *rows) ids() []string {
	out := make([]string, 0, len(r.practitioners)+len(r.roles)+len(r.organizations))
	for i := range r.practitioners {
		out = append(out, r.practitioners[i].ID)
	}
	for i := range r.roles {
		out = append(out, r.roles[i].ID)
	}
	for i := range r.organizations {
		out = append(out, r.organizations[i].ID)
	}
	return out
}

// cut keeps the first n of the one table that was searched.
func (r *rows) cut(n int) {
	r.practitioners = r.practitioners[:min(n, len(r.practitioners))]
	r.roles = r.roles[:min(n, len(r.roles))]
	r.organizations = r.organizations[:min(n, len(r.organizations))]
}
