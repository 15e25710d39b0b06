package resource

import (
	"fmt"
	"strings"

	"pli/codec/fhir"
	"pli/directory/listing"
	"pli/fault"
)

// builder makes the conditions of a query: fixed pieces of SQL about row t, and values as
// arguments. No text of a question is ever part of a statement.
type builder struct {
	*view
	args []any
}

func (b *builder) arg(v any) string {
	b.args = append(b.args, v)
	return fmt.Sprintf("$%d", len(b.args))
}

// all is the condition that every filter holds.
func (b *builder) all(kind string, filters []fhir.Filter) (string, error) {
	parts := make([]string, 0, len(filters))
	for _, f := range filters {
		p := find1(kind, f.Param)
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

// any1 joins one condition per value of a filter.
func any1(f fhir.Filter, one func(fhir.Value) string) (string, error) {
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
		return any1(f, func(v fhir.Value) string {
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
	return any1(f, func(v fhir.Value) string {
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
	return any1(f, func(v fhir.Value) string {
		if f.Modifier == fhir.Exact || len(v.Text) >= whole {
			return b.is("postal_code", v.Text)
		}
		return fmt.Sprintf("starts_with(t.postal_code, %s)", b.arg(v.Text))
	})
}

// address is the condition of the whole address: the beginning of its town, street or
// postal code.
func address(b *builder, f fhir.Filter) (string, error) {
	return any1(f, func(v fhir.Value) string {
		parts := []string{b.is("postal_code", v.Text), fmt.Sprintf("starts_with(lower(t.street), lower(%s))", b.arg(v.Text))}
		if city := listing.FoldCity(v.Text); city != "" {
			parts = append(parts, b.begins("f_city", city))
		}
		return or(parts...)
	})
}

func id(b *builder, f fhir.Filter) (string, error) {
	ids := make([]string, 0, len(f.Values))
	for _, v := range f.Values {
		if !v.HasSystem && fhir.ValidID(v.Code) {
			ids = append(ids, v.Code)
		}
	}
	return "t.id = ANY(" + b.arg(ids) + "::text[])", nil
}

func active(b *builder, f fhir.Filter) (string, error) {
	return any1(f, func(v fhir.Value) string {
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

// union is both parts of a table as one, in a statement.
func union(name, columns, key string) string {
	return fmt.Sprintf(`(SELECT %[2]s FROM %[1]s_own UNION ALL SELECT %[2]s FROM %[1]s_part n WHERE NOT EXISTS (SELECT 1 FROM %[1]s_own o WHERE o.%[3]s = n.%[3]s))`,
		name, columns, key)
}

var (
	listings      = union("listing", "kind, pp_type, pp, place_type, place, f_address, changed_at", "key")
	practitioners = union("practitioner", "id, pp_type, pp", "id")
	roles         = union("role", "id, practitioner, organization, profession, know_how_type, know_how", "id")
	organizations = union("organization", "id, finess, siret, siren, technical", "id")
)

// Which resource carries which BAL (mssante.md §3.1): a PER one is the professional's,
// and his exercise's when it has a place; a CAB one the professional's, or the place's
// when nobody is named; ORG and APP ones are the place's.
const (
	ofPerson = `l.pp <> '' AND l.kind IN ('PER', 'CAB')`
	ofRole   = `l.pp <> '' AND l.place <> '' AND l.kind = 'PER'`
	ofPlace  = `l.place <> '' AND (l.kind IN ('ORG', 'APP') OR l.kind = 'CAB' AND l.pp = '')`

	// atPlace joins a place to the structures it names.
	atFINESS    = `l.place_type = 'FINESS' AND s.finess = l.place AND s.finess <> ''`
	atSIRET     = `l.place_type = 'SIRET' AND s.siret = l.place AND s.siret <> ''`
	atSIREN     = `l.place_type = 'SIREN' AND s.siren = l.place AND s.finess = '' AND s.siret = ''`
	atTechnical = `l.place_type NOT IN ('FINESS', 'SIRET', 'SIREN') AND s.technical = l.place`
	atPlace     = `((` + atFINESS + `) OR (` + atSIRET + `) OR (` + atSIREN + `) OR (` + atTechnical + `))`
)

// carriers holds for rows that carry a BAL l of which a condition holds.
func (b *builder) carriers(kind, where string) string {
	switch kind {
	case Practitioner:
		return `t.id IN (SELECT p.id FROM ` + practitioners + ` p JOIN ` + listings + ` l ON l.pp = p.pp AND l.pp_type = p.pp_type
 WHERE ` + ofPerson + ` AND ` + where + `)`
	case PractitionerRole:
		return `t.id IN (SELECT r.id FROM ` + roles + ` r JOIN ` + practitioners + ` p ON p.id = r.practitioner
 JOIN ` + listings + ` l ON l.pp = p.pp AND l.pp_type = p.pp_type JOIN ` + organizations + ` s ON s.id = r.organization
 WHERE ` + ofRole + ` AND ` + atPlace + ` AND ` + where + `)`
	default:
		parts := make([]string, 0, 4)
		for _, at := range []string{atFINESS, atSIRET, atSIREN, atTechnical} {
			parts = append(parts, `SELECT s.id FROM `+organizations+` s JOIN `+listings+` l ON `+at+` WHERE `+ofPlace+` AND `+where)
		}
		return `t.id IN (` + strings.Join(parts, " UNION ALL ") + `)`
	}
}

// mailbox is the condition on the address of a BAL.
func mailboxAddress(kind string) func(*builder, fhir.Filter) (string, error) {
	return func(b *builder, f fhir.Filter) (string, error) {
		if f.Modifier == fhir.Missing {
			return not(f.Missing, "("+b.carriers(kind, "true")+")"), nil
		}
		where, err := any1(f, func(v fhir.Value) string {
			// Addresses are kept and shown in lower case: :exact is the whole of one.
			a := listing.FoldAddress(v.Text)
			var one string
			switch f.Modifier {
			case fhir.Exact:
				one = b.is("f_address", v.Text)
			case fhir.Contains:
				one = b.holds("f_address", a)
			default:
				one = b.begins("f_address", a)
			}
			return strings.ReplaceAll(one, "t.", "l.")
		})
		return b.carriers(kind, where), err
	}
}

// mailboxKind is the condition on the type of a BAL. The guide writes it with the system
// of the type of mail as well (mssante.md §4.3): both are taken.
func mailboxKind(kind string) func(*builder, fhir.Filter) (string, error) {
	return func(b *builder, f fhir.Filter) (string, error) {
		where, err := any1(f, func(v fhir.Value) string {
			switch {
			case v.HasSystem && v.System != fhir.SystemBALKind && v.System != fhir.SystemMailKind:
				return "false"
			case v.Code == "":
				return "true"
			}
			return "l.kind = " + b.arg(v.Code)
		})
		return b.carriers(kind, where), err
	}
}

// lastUpdated is the condition on when a resource last changed: its row, or a BAL it
// carries.
func lastUpdated(kind string) func(*builder, fhir.Filter) (string, error) {
	return func(b *builder, f fhir.Filter) (string, error) {
		since := func(at any) string { // changed at that instant or after
			n := b.arg(at)
			return "(t.changed_at >= " + n + " OR " + b.carriers(kind, "l.changed_at >= "+n) + ")"
		}
		return any1(f, func(v fhir.Value) string {
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
		where, err := b.all(target, []fhir.Filter{inner})
		if err != nil {
			return "", err
		}
		return "t." + name + " IN (SELECT t.id FROM " + union(table(target), "*", "id") + " t WHERE " + where + ")", nil
	}
}

// legalEntity holds for a structure that is an entité juridique.
const legalEntity = `((t.finess <> '' AND t.finess = t.finess_ej) OR (t.finess = '' AND t.siret = '' AND t.siren <> ''))`

// partOf is the condition on the entité juridique of a structure.
func partOf(b *builder, f fhir.Filter) (string, error) {
	const has = "(t.finess_ej <> '' AND t.finess_ej <> t.finess)"
	if f.Modifier == fhir.Missing {
		return not(f.Missing, has), nil
	}
	return any1(f, func(v fhir.Value) string {
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
