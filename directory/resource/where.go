package resource

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"pli/codec/fhir"
	"pli/directory/listing"
	"pli/fault"
	"pli/internal/pg"
)

// builder makes the conditions of a query: fixed pieces of SQL about row t, and values as
// arguments. No text of a question is ever part of a statement.
type builder struct {
	*view
	args []any
}

func (b *builder) arg(v any) string {
	if list, ok := v.([]string); ok && list == nil {
		v = []string{} // nil would be NULL, which is neither in a list nor out of it
	}
	b.args = append(b.args, v)
	return fmt.Sprintf("$%d", len(b.args))
}

// all is the condition that every filter holds.
func (b *builder) all(kind string, filters []fhir.Filter) (string, error) {
	parts := make([]string, 0, len(filters))
	for _, f := range filters {
		p := paramOf(kind, f.Param)
		if p == nil {
			return "", fault.New(fault.Invalid, "resource.where", "no-such-parameter")
		}
		where, err := p.where(b, f)
		if err != nil {
			return "", err
		}
		parts = append(parts, where)
	}
	if len(parts) == 0 {
		return "true", nil
	}
	return strings.Join(parts, " AND "), nil
}

// anyOf joins one condition per value of a filter.
func anyOf(f fhir.Filter, one func(fhir.Value) string) (string, error) {
	parts := make([]string, 0, len(f.Values))
	for _, v := range f.Values {
		parts = append(parts, one(v))
	}
	return or(parts...), nil
}

func or(parts ...string) string {
	if len(parts) == 0 {
		return "false"
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

func not(is bool, where string) string {
	if is {
		return "NOT " + where
	}
	return where
}

// last sorts after every folded text with the same beginning.
const last = "\U0010FFFF"

// begins holds when a column begins with a value, by its index (COLLATE "C").
func (b *builder) begins(column, value string) string {
	return fmt.Sprintf("(t.%s >= %s AND t.%s < %s)", column, b.arg(value), column, b.arg(value+last))
}

func (b *builder) holds(column, value string) string {
	value = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(value)
	return fmt.Sprintf("t.%s LIKE %s", column, b.arg("%"+value+"%"))
}

func (b *builder) is(column, value string) string {
	return fmt.Sprintf("t.%s = %s", column, b.arg(value))
}

// column is a text that is searched: as it is shown, and as it is compared.
type column struct {
	shown, folded string
	fold          func(string) string
}

// text is the condition of a string parameter over some columns.
func text(columns ...column) func(*builder, fhir.Filter) (string, error) {
	return func(b *builder, f fhir.Filter) (string, error) {
		if f.Modifier == fhir.Missing {
			return textMissing(f, columns), nil
		}
		return anyOf(f, func(v fhir.Value) string {
			parts := make([]string, 0, len(columns))
			for _, c := range columns {
				folded := c.fold(v.Text)
				switch {
				case f.Modifier == fhir.Exact:
					parts = append(parts, "("+b.is(c.shown, v.Text)+" AND "+b.is(c.folded, folded)+")")
				case folded == "": // letters that folding does not keep
				case f.Modifier == fhir.Contains:
					parts = append(parts, b.holds(c.folded, folded))
				default:
					parts = append(parts, b.begins(c.folded, folded))
				}
			}
			return or(parts...)
		})
	}
}

func textMissing(f fhir.Filter, columns []column) string {
	parts := make([]string, 0, len(columns))
	for _, c := range columns {
		parts = append(parts, "t."+c.shown+" <> ''")
	}
	return not(f.Missing, or(parts...))
}

var (
	familyColumn = column{"family_name", "f_family", listing.Fold}
	givenColumn  = column{"given_name", "f_given", listing.Fold}
	nameColumn   = column{"name", "f_name", listing.Fold}
	tradeColumn  = column{"trade_name", "f_trade", listing.Fold}
	cityColumn   = column{"city", "f_city", listing.FoldCity}
)

// maxSplits bounds the ways in which a full name is parted.
const maxSplits = 4

// personName is the condition of name: the beginning of either name, or of the full name
// in either order.
func personName(b *builder, f fhir.Filter) (string, error) {
	if f.Modifier != "" {
		return text(familyColumn, givenColumn)(b, f)
	}
	return anyOf(f, func(v fhir.Value) string {
		words := listing.WordsOf(v.Text)
		if len(words) == 0 {
			return "false"
		}
		whole := strings.Join(words, " ")
		parts := []string{b.begins("f_family", whole), b.begins("f_given", whole)}
		for i := 1; i < len(words) && i <= maxSplits; i++ {
			first, second := strings.Join(words[:i], " "), strings.Join(words[i:], " ")
			parts = append(parts,
				"("+b.is("f_family", first)+" AND "+b.begins("f_given", second)+")",
				"("+b.is("f_given", first)+" AND "+b.begins("f_family", second)+")")
		}
		return or(parts...)
	})
}

// postalCode is the condition of a postal code, whose column is not folded.
func postalCode(b *builder, f fhir.Filter) (string, error) {
	const whole = 5 // characters of a French one
	if f.Modifier == fhir.Missing {
		return not(f.Missing, "(t.postal_code <> '')"), nil
	}
	return anyOf(f, func(v fhir.Value) string {
		if f.Modifier == fhir.Exact || len(v.Text) >= whole {
			return b.is("postal_code", v.Text)
		}
		return fmt.Sprintf("starts_with(t.postal_code, %s)", b.arg(v.Text))
	})
}

// address is the condition of the whole address: the beginning of its town, street or
// postal code.
func address(b *builder, f fhir.Filter) (string, error) {
	return anyOf(f, func(v fhir.Value) string {
		parts := []string{b.is("postal_code", v.Text), fmt.Sprintf("starts_with(lower(t.street), lower(%s))", b.arg(v.Text))}
		if city := listing.FoldCity(v.Text); city != "" {
			parts = append(parts, b.begins("f_city", city))
		}
		return or(parts...)
	})
}

func isID(b *builder, f fhir.Filter) (string, error) {
	ids := make([]string, 0, len(f.Values))
	for _, v := range f.Values {
		if !v.HasSystem && fhir.ValidID(v.Code) {
			ids = append(ids, v.Code)
		}
	}
	return "t.id = ANY(" + b.arg(ids) + "::text[])", nil
}

func active(b *builder, f fhir.Filter) (string, error) {
	return anyOf(f, func(v fhir.Value) string {
		switch v.Code {
		case "true":
			return "t.active"
		case "false":
			return "NOT t.active"
		}
		return "false"
	})
}

// code is one coding that a resource may carry.
type code struct {
	column string
	// system tells the system of a code, "" when it is written without.
	system func(code string) string
	// codes are those of a system, when only some are of it.
	codes func(system string) []string
}

func always(system string) func(string) string { return func(string) string { return system } }

// coded is a condition on codings: those with this code, in this system when one is said.
func (b *builder) coded(v fhir.Value, codes ...code) string {
	parts := make([]string, 0, len(codes))
	for _, c := range codes {
		switch {
		case v.Code == "": // system|
			switch {
			case c.codes != nil:
				parts = append(parts, "t."+c.column+" = ANY("+b.arg(c.codes(v.System))+"::text[])")
			case c.system("") == v.System:
				parts = append(parts, "t."+c.column+" <> ''")
			}
		case !v.HasSystem, c.system(v.Code) == v.System && v.System != "":
			parts = append(parts, b.is(c.column, v.Code))
		}
	}
	return or(parts...)
}

// few is how many rows a condition on other tables may be about for their ids to be
// looked up first. Beyond it, rows are taken in the order of ids and tried one by one:
// what is frequent is soon found that way.
const few = 2000

// found runs a statement for the first ids of it, and reports whether there are few.
func (b *builder) found(statement string, args ...any) ([]string, bool, error) {
	rs, err := b.tx.Query(b.ctx, b.of(statement), args...)
	if err != nil {
		return nil, false, pg.Error("resource.found", err)
	}
	ids, err := pgx.CollectRows(rs, pgx.RowTo[string])
	return ids, len(ids) <= few, pg.Error("resource.found", err)
}

// aside is a builder for a statement of its own.
func (b *builder) aside() *builder { return &builder{view: b.view} }

// Which resource carries which BAL (mssante.md §3.1): a PER one is the professional's,
// and his exercise's when it has a place; a CAB one the professional's; ORG and APP ones
// are the place's, and so is a BAL whose holder has no national identifier.
const (
	ofPerson = `l.pp <> '' AND l.kind IN ('PER', 'CAB')`
	ofRole   = `l.pp <> '' AND l.place <> '' AND l.kind = 'PER'`
	ofPlace  = `l.place <> '' AND (l.kind IN ('ORG', 'APP') OR l.pp = '')`
)

func carried(kind string) string {
	switch kind {
	case Practitioner:
		return ofPerson
	case PractitionerRole:
		return ofRole
	default:
		return ofPlace
	}
}

// carriers holds for rows that carry a BAL l of which a condition holds. The condition is
// written by about, for one statement or another.
func (b *builder) carriers(kind string, about func(*builder) string) (string, error) {
	boxes, all, err := b.boxes(kind, about)
	if err != nil {
		return "", err
	}
	if !all {
		return b.tried(kind, about(b)), nil
	}
	if kind == Practitioner {
		ids := make([]string, 0, len(boxes))
		for _, m := range boxes {
			ids = append(ids, listing.PractitionerID(m.ppType, m.pp))
		}
		return "t.id = ANY(" + b.arg(ids) + "::text[])", nil
	}
	places, err := b.placesOf(boxes)
	if err != nil {
		return "", err
	}
	var people, at []string
	for i := range boxes {
		for j := range places {
			if boxes[i].at(&places[j]) {
				people, at = append(people, listing.PractitionerID(boxes[i].ppType, boxes[i].pp)), append(at, places[j].ID)
			}
		}
	}
	if kind == Organization {
		return "t.id = ANY(" + b.arg(at) + "::text[])", nil
	}
	p, o := b.arg(people), b.arg(at)
	return fmt.Sprintf("(t.practitioner = ANY(%s::text[]) AND (t.practitioner, t.organization) IN (SELECT * FROM unnest(%s::text[], %s::text[])))", p, p, o), nil
}

// boxes finds for whom and where the BAL of a condition are published, and reports
// whether that is all of them.
func (b *builder) boxes(kind string, about func(*builder) string) ([]mailbox, bool, error) {
	a := b.aside()
	where := carried(kind) + " AND " + about(a)
	n := a.arg(few + 1)
	statement := strings.NewReplacer("%W", where, "%N", n).Replace(boxesOf)
	rs, err := b.tx.Query(b.ctx, b.of(statement), a.args...)
	if err != nil {
		return nil, false, pg.Error("resource.boxes", err)
	}
	boxes, err := pgx.CollectRows(rs, func(row pgx.CollectableRow) (m mailbox, err error) {
		return m, row.Scan(&m.ppType, &m.pp, &m.placeType, &m.place)
	})
	return boxes, len(boxes) <= few, pg.Error("resource.boxes", err)
}

// placesOf finds the structures that BAL are published for.
func (b *builder) placesOf(boxes []mailbox) ([]organizationRow, error) {
	numbers := map[string][]string{}
	for _, m := range boxes {
		column := placeColumn(m.placeType)
		numbers[column] = append(numbers[column], m.place)
	}
	a := b.aside()
	var parts []string
	for _, column := range []string{"finess", "siret", "siren", "technical"} {
		if list := nonempty(numbers[column]); len(list) > 0 {
			parts = append(parts, "t."+column+" = ANY("+a.arg(list)+"::text[])")
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	statement := strings.ReplaceAll(placesBy, "%W", or(parts...))
	rs, err := b.tx.Query(b.ctx, b.of(statement), a.args...)
	if err != nil {
		return nil, pg.Error("resource.placesOf", err)
	}
	out, err := pgx.CollectRows(rs, func(row pgx.CollectableRow) (o organizationRow, err error) {
		return o, row.Scan(&o.ID, &o.FINESS, &o.SIRET, &o.SIREN, &o.Technical)
	})
	return out, pg.Error("resource.placesOf", err)
}

// placeColumn is where the number of a place is.
func placeColumn(placeType string) string {
	switch placeType {
	case "FINESS", "SIRET", "SIREN":
		return strings.ToLower(placeType)
	default:
		return "technical"
	}
}

// tried holds for a row that carries a BAL l of which a condition holds, by looking at
// the BAL of that row. A subquery for one value is never turned into a join of the whole.
func (b *builder) tried(kind, where string) string {
	var parts []string
	one := func(from string) {
		parts = append(parts, "(SELECT 1 FROM "+from+" AND "+carried(kind)+" AND "+where+" LIMIT 1) IS NOT NULL")
	}
	for _, l := range []string{"listing_own l", "listing_part l"} {
		switch kind {
		case Practitioner:
			one(l + " WHERE l.pp = t.pp AND l.pp_type = t.pp_type")
		case PractitionerRole:
			for _, p := range []string{"practitioner_own p", "practitioner_part p"} {
				for _, o := range []string{"organization_own s", "organization_part s"} {
					one(p + ", " + l + ", " + o + " WHERE p.id = t.practitioner AND l.pp = p.pp AND l.pp_type = p.pp_type AND s.id = t.organization AND " +
						or(placedAt("s")...))
				}
			}
		default:
			for _, place := range placedAt("t") {
				one(l + " WHERE " + place)
			}
		}
	}
	return or(parts...)
}

// placedAt are the ways in which a BAL l is at structure s.
func placedAt(s string) []string {
	return []string{
		`(l.place_type = 'FINESS' AND l.place = ` + s + `.finess)`,
		`(l.place_type = 'SIRET' AND l.place = ` + s + `.siret)`,
		`(l.place_type = 'SIREN' AND l.place = ` + s + `.siren AND ` + s + `.finess = '' AND ` + s + `.siret = '')`,
		`(l.place_type NOT IN ('FINESS', 'SIRET', 'SIREN') AND l.place = ` + s + `.technical)`,
	}
}

// mailboxAddress is the condition on the address of a BAL.
func mailboxAddress(kind string) func(*builder, fhir.Filter) (string, error) {
	return func(b *builder, f fhir.Filter) (string, error) {
		if f.Modifier == fhir.Missing {
			return not(f.Missing, b.tried(kind, "true")), nil
		}
		return b.carriers(kind, func(b *builder) string {
			where, _ := anyOf(f, func(v fhir.Value) string {
				// Addresses are kept and shown in lower case: :exact is the whole of one.
				switch a := listing.FoldAddress(v.Text); f.Modifier {
				case fhir.Exact:
					return b.is("f_address", v.Text)
				case fhir.Contains:
					return b.holds("f_address", a)
				default:
					return b.begins("f_address", a)
				}
			})
			return ofBox(where)
		})
	}
}

// ofBox makes a condition on t one on l.
func ofBox(where string) string { return strings.ReplaceAll(where, "t.", "l.") }

// mailboxKind is the condition on the type of a BAL. The guide writes it with the system
// of the type of mail as well (mssante.md §4.3): both are taken.
func mailboxKind(kind string) func(*builder, fhir.Filter) (string, error) {
	return func(b *builder, f fhir.Filter) (string, error) {
		return b.carriers(kind, func(b *builder) string {
			where, _ := anyOf(f, func(v fhir.Value) string {
				switch {
				case v.HasSystem && v.System != fhir.SystemBALKind && v.System != fhir.SystemMailKind:
					return "false"
				case v.Code == "":
					return "true"
				}
				return "l.kind = " + b.arg(v.Code)
			})
			return where
		})
	}
}

// lastUpdated is the condition on when a resource last changed: its row, or a BAL it
// carries.
func lastUpdated(kind string) func(*builder, fhir.Filter) (string, error) {
	return func(b *builder, f fhir.Filter) (string, error) {
		var failed error
		since := func(at any) string { // changed at that instant or after
			boxes, err := b.carriers(kind, func(b *builder) string { return "l.changed_at >= " + b.arg(at) })
			if err != nil {
				failed = err
			}
			return "(t.changed_at >= " + b.arg(at) + " OR " + boxes + ")"
		}
		where, _ := anyOf(f, func(v fhir.Value) string {
			switch v.Compare {
			case "ge":
				return since(v.From)
			case "gt", "sa":
				return since(v.To)
			case "lt", "eb":
				return "NOT " + since(v.From)
			case "le":
				return "NOT " + since(v.To)
			case "ne":
				return "NOT (" + since(v.From) + " AND NOT " + since(v.To) + ")"
			default:
				return "(" + since(v.From) + " AND NOT " + since(v.To) + ")"
			}
		})
		return where, failed
	}
}

// reference is the condition on what a column points to: ids, a condition of its own
// (a chain), or an identifier.
func reference(name, target string) func(*builder, fhir.Filter) (string, error) {
	return func(b *builder, f fhir.Filter) (string, error) {
		inner := fhir.Filter{}
		switch {
		case f.Modifier == fhir.Missing:
			return not(f.Missing, "(t."+name+" <> '')"), nil
		case f.Chain != nil:
			inner = *f.Chain
		case f.Modifier == fhir.Identifier:
			inner = fhir.Filter{Param: "identifier", Values: f.Values}
		default:
			ids := make([]string, 0, len(f.Values))
			for _, v := range f.Values {
				ids = append(ids, v.Text)
			}
			return "t." + name + " = ANY(" + b.arg(ids) + "::text[])", nil
		}
		return b.pointing(name, target, inner)
	}
}

// pointing holds for rows whose column points to one of which a condition holds.
func (b *builder) pointing(name, target string, f fhir.Filter) (string, error) {
	a := b.aside()
	where, err := a.all(target, []fhir.Filter{f})
	if err != nil {
		return "", err
	}
	n := a.arg(few + 1)
	statement := strings.NewReplacer("%T", table(target), "%W", where, "%N", n).Replace(idsOf)
	ids, all, err := b.found(statement, a.args...)
	if err != nil {
		return "", err
	}
	if all {
		return "t." + name + " = ANY(" + b.arg(ids) + "::text[])", nil
	}
	if where, err = b.all(target, []fhir.Filter{f}); err != nil {
		return "", err
	}
	where = strings.ReplaceAll(where, "t.", "x.")
	return strings.NewReplacer("%T", table(target), "%N", name, "%W", where).Replace(`((SELECT 1 FROM %T_own x WHERE x.id = t.%N AND %W LIMIT 1) IS NOT NULL
 OR (SELECT 1 FROM %T_part x WHERE x.id = t.%N AND %W AND NOT EXISTS (SELECT 1 FROM %T_own o WHERE o.id = x.id) LIMIT 1) IS NOT NULL)`), nil
}

// legalEntity holds for a structure that is an entité juridique.
const legalEntity = `((t.finess <> '' AND t.finess = t.finess_ej) OR (t.finess = '' AND t.siret = '' AND t.siren <> ''))`

// partOf is the condition on the entité juridique of a structure.
func partOf(b *builder, f fhir.Filter) (string, error) {
	const has = "(t.finess_ej <> '' AND t.finess_ej <> t.finess)"
	if f.Modifier == fhir.Missing {
		return not(f.Missing, has), nil
	}
	return anyOf(f, func(v fhir.Value) string {
		number, ok := strings.CutPrefix(v.Text, "finess-")
		if f.Modifier == fhir.Identifier {
			number, ok = v.Code, v.Code != "" && (!v.HasSystem || v.System == fhir.SystemFINESS)
		}
		if !ok {
			return "false"
		}
		return "(" + b.is("finess_ej", number) + " AND t.finess_ej <> t.finess)"
	})
}
