package resource

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"pli/codec/fhir"
	"pli/directory/listing"
	"pli/internal/pg"
)

// Statements are about the own tables and those of the part that is read, written _part.
// An own row hides the national one of its id.
const (
	readPart = `SELECT part FROM national_part`

	// find: %T is the table, %C its columns, %W the conditions on t.
	find = `
SELECT %C, own FROM (
  (SELECT %C, true AS own FROM %T_own t WHERE t.id > $1 AND %W ORDER BY t.id LIMIT $2)
  UNION ALL
  (SELECT %C, false FROM %T_part t WHERE t.id > $1 AND %W
     AND NOT EXISTS (SELECT 1 FROM %T_own o WHERE o.id = t.id) ORDER BY t.id LIMIT $2)
) u ORDER BY id LIMIT $2`

	byID = `
SELECT %C, true AS own FROM %T_own t WHERE t.id = ANY($1::text[])
UNION ALL
SELECT %C, false FROM %T_part t WHERE t.id = ANY($1::text[]) AND NOT EXISTS (SELECT 1 FROM %T_own o WHERE o.id = t.id)
ORDER BY id`

	// Roles of professionals, or in places.
	rolesOf = `
SELECT %C, true AS own FROM role_own t WHERE t.practitioner = ANY($1::text[]) OR t.organization = ANY($2::text[])
UNION ALL
SELECT %C, false FROM role_part t WHERE (t.practitioner = ANY($1::text[]) OR t.organization = ANY($2::text[]))
   AND NOT EXISTS (SELECT 1 FROM role_own o WHERE o.id = t.id)
ORDER BY id LIMIT $3`

	existing = `
SELECT id FROM organization_own WHERE id = ANY($1::text[])
UNION
SELECT id FROM organization_part WHERE id = ANY($1::text[])`

	// For whom and where BAL l are published; the first of them.
	boxesOf = `
(SELECT l.pp_type, l.pp, l.place_type, l.place FROM listing_own l WHERE %W LIMIT %N)
UNION ALL
(SELECT l.pp_type, l.pp, l.place_type, l.place FROM listing_part l WHERE %W LIMIT %N)
LIMIT %N`

	placesBy = `
SELECT id, finess, siret, siren, technical FROM organization_own t WHERE %W
UNION ALL
SELECT id, finess, siret, siren, technical FROM organization_part t WHERE %W AND NOT EXISTS (SELECT 1 FROM organization_own o WHERE o.id = t.id)`

	// The professionals of exercises r; the first of them.
	qualifiedBy = `
(SELECT r.practitioner FROM role_own r WHERE %W LIMIT %N)
UNION ALL
(SELECT r.practitioner FROM role_part r WHERE %W LIMIT %N)
LIMIT %N`

	// The ids of rows t; the first of them.
	idsOf = `
(SELECT t.id FROM %T_own t WHERE %W LIMIT %N)
UNION ALL
(SELECT t.id FROM %T_part t WHERE %W AND NOT EXISTS (SELECT 1 FROM %T_own o WHERE o.id = t.id) LIMIT %N)
LIMIT %N`

	mailboxColumns = `kind, address, pp_type, pp, place_type, place, service, description, rank, changed_at, family_name, given_name`

	// The BAL of professionals, or those that places carry: a hospital has thousands of
	// professionals, who are not shown with it.
	mailboxes = `
SELECT ` + mailboxColumns + ` FROM listing_own l WHERE ` + ofEither + `
UNION ALL
SELECT ` + mailboxColumns + ` FROM listing_part l WHERE ` + ofEither + `
   AND NOT EXISTS (SELECT 1 FROM listing_own o WHERE o.key = l.key)
ORDER BY rank, address`

	ofEither = `((l.pp <> '' AND l.pp = ANY($1::text[])) OR (l.place = ANY($2::text[]) AND ` + ofPlace + `))`
)

// table is the table of a type of resource, "" when there is none.
func table(kind string) string {
	switch kind {
	case Practitioner:
		return "practitioner"
	case PractitionerRole:
		return "role"
	case Organization:
		return "organization"
	}
	return ""
}

// Columns that are read: those of the row but what is only for searching.
var (
	practitionerColumns = shown(listing.PractitionerColumns)
	organizationColumns = shown(listing.OrganizationColumns)
	roleColumns         = shown(listing.RoleColumns)
)

func shown(columns []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return strings.HasPrefix(c, "f_") }), ", ")
}

func columnsOf(kind string) string {
	switch kind {
	case Practitioner:
		return practitionerColumns
	case PractitionerRole:
		return roleColumns
	default:
		return organizationColumns
	}
}

// about fills a statement in for a type and the current edition.
func (v *view) about(statement, kind, where string) string {
	statement = strings.NewReplacer("%C", columnsOf(kind), "%T", table(kind)).Replace(statement)
	return v.of(strings.ReplaceAll(statement, "%W", where))
}

// find looks for the rows of a query, one more than a page holds.
func (v *view) find(q fhir.Query, after string) (*rows, error) {
	b := &builder{view: v, args: []any{after, q.Count + 1}}
	where, err := b.all(q.Type, q.Filters)
	if err != nil {
		return nil, err
	}
	return v.read(q.Type, v.about(find, q.Type, where), b.args...)
}

// get reads rows by id.
func (v *view) get(kind string, ids []string) (*rows, error) {
	if len(ids) == 0 {
		return &rows{}, nil
	}
	return v.read(kind, v.about(byID, kind, ""), ids)
}

func (v *view) read(kind, statement string, args ...any) (*rows, error) {
	out := &rows{}
	rs, err := v.tx.Query(v.ctx, statement, args...)
	if err != nil {
		return nil, pg.Error("resource.read", err)
	}
	switch kind {
	case Practitioner:
		out.practitioners, err = pgx.CollectRows(rs, scanPractitioner)
	case PractitionerRole:
		out.roles, err = pgx.CollectRows(rs, scanRole)
	default:
		out.organizations, err = pgx.CollectRows(rs, scanOrganization)
	}
	return out, pg.Error("resource.read", err)
}

func scanPractitioner(row pgx.CollectableRow) (p practitionerRow, err error) {
	err = row.Scan(&p.ID, &p.PPType, &p.PP, &p.Civility, &p.FamilyName, &p.GivenName, &p.Category, &p.CategoryLabel,
		&p.Active, &p.ChangedAt, &p.SeenAt, &p.own)
	return p, err
}

func scanRole(row pgx.CollectableRow) (r roleRow, err error) {
	err = row.Scan(&r.ID, &r.Practitioner, &r.Organization, &r.Profession, &r.ProfessionLabel, &r.KnowHowType, &r.KnowHow,
		&r.KnowHowLabel, &r.Mode, &r.ModeLabel, &r.Function, &r.FunctionLabel, &r.Active, &r.ChangedAt, &r.SeenAt, &r.own)
	return r, err
}

func scanOrganization(row pgx.CollectableRow) (o organizationRow, err error) {
	err = row.Scan(&o.ID, &o.FINESS, &o.FINESSEJ, &o.SIRET, &o.SIREN, &o.Technical, &o.Name, &o.TradeName, &o.Sector,
		&o.SectorLabel, &o.Complement, &o.Street, &o.PostalCode, &o.City, &o.Department, &o.Country, &o.Phone, &o.Fax,
		&o.Presentation, &o.Preparation, &o.Active, &o.ChangedAt, &o.SeenAt, &o.own)
	return o, err
}

func scanMailbox(row pgx.CollectableRow) (m mailbox, err error) {
	err = row.Scan(&m.Kind, &m.Address, &m.ppType, &m.pp, &m.placeType, &m.place, &m.Service, &m.Description, &m.Rank, &m.changedAt, &m.familyName, &m.givenName)
	return m, err
}

// statements lists every fixed statement, for each part, for the test that prepares them.
func statements() map[string]string {
	out := map[string]string{"readPart": readPart}
	for _, part := range []string{"a", "b"} {
		v := &view{ctx: context.Background(), part: part}
		limited := func(sql, where string) string {
			return v.of(strings.NewReplacer("%T", "role", "%W", where, "%N", "10").Replace(sql))
		}
		out["boxesOf "+part], out["placesBy "+part] = limited(boxesOf, "l.kind = 'PER'"), limited(placesBy, "t.finess = ''")
		out["qualifiedBy "+part], out["idsOf "+part] = limited(qualifiedBy, "r.profession = ''"), limited(idsOf, "t.active")
		out["existing "+part], out["mailboxes "+part] = v.of(existing), v.of(mailboxes)
		out["rolesOf "+part] = v.about(rolesOf, PractitionerRole, "")
		for _, kind := range []string{Practitioner, PractitionerRole, Organization} {
			out["byID "+kind+part] = v.about(byID, kind, "")
			out["find "+kind+part] = v.about(find, kind, "true")
		}
	}
	return out
}
