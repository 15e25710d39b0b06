package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// Changes says what is to be otherwise about a BAL; nil leaves as it is. Its address, its
// kind and its holder never change (mssante.md §3.2).
type Changes struct {
	DisplayName, Service, Description, Responsible, Hours *string

	Replacement    *mail.Address
	Unlisted       *bool // on the liste rouge
	OpenToPatients *bool
	Rank           *int   // 1 is the preferred BAL of its holder
	QuotaSize      *int64 // octets; 0 is the operator's default
}

// PersonChanges says what is to be otherwise about a professional.
type PersonChanges struct{ Civility, FamilyName, GivenName, Profession, KnowHow *string }

// StructureChanges says what is to be otherwise about a structure.
type StructureChanges struct {
	Name, TradeName, Sector, Street, PostalCode, City, Department, Country, Presentation, Preparation *string
}

const (
	updateBAL = `
UPDATE bal SET display_name = $2, service = $3, description = $4, responsible = $5, hours = $6, replacement = $7,
       unlisted = $8, open_to_patients = $9, rank = $10, quota_size = $11 WHERE id = $1`

	updatePerson = `
UPDATE person SET civility = $2, family_name = $3, given_name = $4, profession = $5, know_how = $6 WHERE id = $1`

	updateStructure = `
UPDATE structure SET name = $2, trade_name = $3, sector = $4, street = $5, postal_code = $6, city = $7,
       department = $8, country = $9, presentation = $10, preparation = $11 WHERE id = $1`

	selectPerson = `
SELECT id, coalesce(rpps, ''), civility, family_name, given_name, profession, know_how, ended_at
FROM person WHERE id = $1 FOR UPDATE`

	selectStructure = `
SELECT id, coalesce(finess, ''), coalesce(siret, ''), name, trade_name, sector, street, postal_code, city,
       department, country, presentation, preparation FROM structure WHERE id = $1`

	// the BAL of a holder that bear at least a rank, but for one of them
	ranked = `
SELECT o.id, o.rank FROM bal o, bal b WHERE b.id = $1 AND o.id <> b.id AND o.rank >= $2
AND o.state <> 'purged' AND o.kind <> 'PATIENT'
AND CASE WHEN b.person_id IS NOT NULL THEN o.person_id = b.person_id
    ELSE o.person_id IS NULL AND o.structure_id = b.structure_id AND lower(o.service) = lower($3) END
ORDER BY o.rank, o.id`

	setRank = `UPDATE bal SET rank = $2 WHERE id = $1`

	balsHeldBy = `SELECT id FROM bal WHERE person_id = $1 AND kind <> 'PATIENT' ORDER BY id`

	// a structure shows through its own BAL and through those of who exercises in it
	balsOfStructure = `
SELECT id FROM bal WHERE structure_id = $1 AND kind <> 'PATIENT'
UNION SELECT b.id FROM bal b JOIN situation t ON t.person_id = b.person_id
WHERE t.structure_id = $1 AND t.ended_at IS NULL AND b.structure_id IS NULL`
)

func balsBy[T ~int64](ctx context.Context, q pg.Querier, sql string, n T) ([]id.BAL, error) {
	rows, err := q.Query(ctx, sql, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[id.BAL])
}

// The longest texts, in characters.
const (
	maxLine  = 200
	maxWords = 2000 // description, hours
	maxPage  = 8000 // presentation, preparation
	maxRank  = 1000
	maxQuota = 1 << 44
)

// field is one text being changed.
type field struct {
	name    string // as the trace and the reports call it
	value   *string
	to      *string
	max     int
	several bool // lines
	needed  bool // never empty
}

// change writes the fields that are given and differ, and returns their names.
func change(op string, fields []field) (changed []string, err error) {
	for _, f := range fields {
		if f.to == nil {
			continue
		}
		v := strings.TrimSpace(*f.to)
		if f.several {
			v = strings.ReplaceAll(v, "\r\n", "\n")
		}
		if err := f.check(op, v); err != nil {
			return nil, err
		}
		if v != *f.value {
			*f.value = v
			changed = append(changed, f.name)
		}
	}
	return changed, nil
}

func (f field) check(op, v string) error {
	e := fault.New(fault.Invalid, op, f.name)
	if v == "" && f.needed {
		return e.Say("Le champ « "+f.name+" » ne peut pas être vide.", "Field \""+f.name+"\" cannot be empty.")
	}
	if !utf8.ValidString(v) || utf8.RuneCountInString(v) > f.max {
		return e.Say(fmt.Sprintf("Le champ « %s » dépasse %d caractères ou n'est pas du texte. Raccourcissez-le.", f.name, f.max),
			fmt.Sprintf("Field %q is longer than %d characters or no text. Shorten it.", f.name, f.max))
	}
	for _, r := range v {
		if unicode.IsControl(r) && (!f.several || r != '\n') {
			return e.Say("Le champ « "+f.name+" » contient un caractère invisible. Saisissez-le de nouveau.",
				"Field \""+f.name+"\" holds an invisible character. Type it again.")
		}
	}
	return nil
}

func (b *BAL) fields(c Changes) []field {
	return []field{
		{name: "display-name", value: &b.DisplayName, to: c.DisplayName, max: maxLine},
		{name: "service", value: &b.Service, to: c.Service, max: maxLine},
		{name: "description", value: &b.Description, to: c.Description, max: maxWords, several: true},
		{name: "responsible", value: &b.Responsible, to: c.Responsible, max: maxLine},
		{name: "hours", value: &b.Hours, to: c.Hours, max: maxWords, several: true},
	}
}

// UpdateBALTx changes what describes a BAL and publishes it. It returns the names of the
// fields that changed, which is what the trace holds; none when nothing does. A rank that
// another BAL of the same holder bears pushes that one, and those after it, back by one.
// Locks the register.
//
// Errors: fault.NotFound; fault.Invalid, with a text, for a value that cannot be;
// fault.Conflict for a purged BAL.
func (d *Directory) UpdateBALTx(ctx context.Context, tx *pg.Tx, b id.BAL, c Changes, by Author, at time.Time) (changed []string, err error) {
	const op = "directory.UpdateBALTx"
	r, err := d.lockedBALTx(ctx, tx, op, b)
	if err != nil {
		return nil, err
	}
	was := r
	if changed, err = change(op, r.fields(c)); err != nil {
		return nil, err
	}
	set := func(name string, given, differs bool, f func()) {
		if given && differs {
			f()
			changed = append(changed, name)
		}
	}
	set("replacement", c.Replacement != nil, c.Replacement != nil && *c.Replacement != r.Replacement, func() { r.Replacement = *c.Replacement })
	set("unlisted", c.Unlisted != nil, c.Unlisted != nil && *c.Unlisted != r.Unlisted, func() { r.Unlisted = *c.Unlisted })
	set("open-to-patients", c.OpenToPatients != nil, c.OpenToPatients != nil && *c.OpenToPatients != r.OpenToPatients, func() { r.OpenToPatients = *c.OpenToPatients })
	set("rank", c.Rank != nil, c.Rank != nil && *c.Rank != r.Rank, func() { r.Rank = *c.Rank })
	set("quota", c.QuotaSize != nil, c.QuotaSize != nil && *c.QuotaSize != r.QuotaSize, func() { r.QuotaSize = *c.QuotaSize })
	if len(changed) == 0 {
		return nil, nil
	}
	if err := r.suits(op, was); err != nil {
		return nil, err
	}
	acts := []Act{{BAL: b, Author: by, Action: "update-bal", Object: objectBAL(b), Fields: changed, At: at}}
	bals := []id.BAL{b}
	if r.Rank != was.Rank {
		pushed, err := d.pushTx(ctx, tx, r)
		if err != nil {
			return nil, err
		}
		for _, p := range pushed {
			acts = append(acts, Act{BAL: p, Author: by, Action: "update-bal", Object: objectBAL(p), Fields: []string{"rank"}, At: at})
		}
		bals = append(bals, pushed...)
	}
	_, err = tx.Exec(ctx, updateBAL, b, r.DisplayName, r.Service, r.Description, r.Responsible, r.Hours, r.Replacement.Reveal(),
		r.Unlisted, r.OpenToPatients, r.Rank, r.QuotaSize)
	if err != nil {
		return nil, err
	}
	if err := d.publishTx(ctx, tx, at, true, bals...); err != nil {
		return nil, err
	}
	return changed, d.traceTx(ctx, tx, acts...)
}

// lockedBALTx reads a BAL under the register's lock and its own.
func (d *Directory) lockedBALTx(ctx context.Context, tx *pg.Tx, op string, b id.BAL) (BAL, error) {
	if err := d.lockTx(ctx, tx); err != nil {
		return BAL{}, err
	}
	if _, err := d.lockBALTx(ctx, tx, op, b); err != nil {
		return BAL{}, err
	}
	return d.ByID(ctx, tx, b)
}

// suits refuses what a BAL of its kind and state does not have (mssante.md §3.2).
func (b BAL) suits(op string, was BAL) error {
	invalid := func(code, fr, en string) error { return fault.New(fault.Invalid, op, code).Say(fr, en) }
	was.QuotaSize = b.QuotaSize
	switch {
	case b.State == health.Purged:
		return locked{State: health.Purged}.mayMove(op, health.Active)
	case b.Kind == health.Patient && !sameTexts(b, was):
		return invalid("patient", "Seul le quota d'une boîte de patient se règle.", "Of a patient's mailbox only the quota may be set.")
	case b.Rank < 1 || b.Rank > maxRank:
		return invalid("rank", fmt.Sprintf("Le rang va de 1 (préférée) à %d.", maxRank), fmt.Sprintf("A rank goes from 1 (preferred) to %d.", maxRank))
	case b.QuotaSize < 0 || b.QuotaSize > maxQuota:
		return invalid("quota", "Ce quota n'est pas possible. 0 rend celui de l'opérateur.", "This quota cannot be. 0 is the operator's default.")
	case b.Replacement == b.Address && !b.Replacement.IsZero():
		return invalid("replacement", "Une boîte ne se remplace pas elle-même. Donnez une autre adresse.", "A mailbox does not replace itself. Give another address.")
	case b.OpenToPatients && b.Kind == health.APP:
		return invalid("open-to-patients", "Une boîte applicative n'est pas ouverte aux patients.", "An application's mailbox is not open to patients.")
	}
	if personal := b.Kind == health.PER || b.Kind == health.CAB; personal &&
		(b.Service != was.Service || b.Description != was.Description || b.Responsible != was.Responsible) &&
		b.Service+b.Description+b.Responsible != "" {
		return invalid("kind", "Service, description et responsable décrivent une boîte ORG ou APP. Pour une boîte PER ou CAB, utilisez le nom affiché et les horaires.",
			"Service, description and responsible describe an ORG or APP mailbox. For PER or CAB use the display name and the hours.")
	}
	return nil
}

func sameTexts(a, b BAL) bool {
	return a.DisplayName == b.DisplayName && a.Service == b.Service && a.Description == b.Description && a.Responsible == b.Responsible &&
		a.Hours == b.Hours && a.Replacement == b.Replacement && a.Unlisted == b.Unlisted && a.OpenToPatients == b.OpenToPatients && a.Rank == b.Rank
}

// pushTx makes room for the rank of b among the BAL of its holder.
func (d *Directory) pushTx(ctx context.Context, tx *pg.Tx, b BAL) (pushed []id.BAL, err error) {
	type place struct {
		ID   id.BAL
		Rank int
	}
	rows, err := tx.Query(ctx, ranked, b.ID, b.Rank, b.Service)
	if err != nil {
		return nil, err
	}
	others, err := pgx.CollectRows(rows, pgx.RowToStructByPos[place])
	if err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	taken := b.Rank
	for _, o := range others {
		if o.Rank > taken {
			break
		}
		taken++
		batch.Queue(setRank, o.ID, taken)
		pushed = append(pushed, o.ID)
	}
	if batch.Len() == 0 {
		return nil, nil
	}
	return pushed, tx.SendBatch(ctx, batch).Close()
}

// UpdatePersonTx changes what is known of a professional and publishes his BAL; each has
// the trace in its chain. It returns the names of the fields that changed.
//
// Errors: fault.NotFound, fault.Invalid with a text.
func (d *Directory) UpdatePersonTx(ctx context.Context, tx *pg.Tx, n PersonID, c PersonChanges, by Author, at time.Time) ([]string, error) {
	const op = "directory.UpdatePersonTx"
	if err := d.lockTx(ctx, tx); err != nil {
		return nil, err
	}
	var p Person
	var ended *time.Time
	err := tx.QueryRow(ctx, selectPerson, n).Scan(&p.ID, &p.RPPS, &p.Civility, &p.FamilyName, &p.GivenName, &p.Profession, &p.KnowHow, &ended)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.New(fault.NotFound, op, "unknown-person")
	}
	if err != nil {
		return nil, err
	}
	changed, err := change(op, []field{
		{name: "civility", value: &p.Civility, to: c.Civility, max: maxLine},
		{name: "family-name", value: &p.FamilyName, to: c.FamilyName, max: maxLine, needed: true},
		{name: "given-name", value: &p.GivenName, to: c.GivenName, max: maxLine},
		{name: "profession", value: &p.Profession, to: c.Profession, max: maxLine},
		{name: "know-how", value: &p.KnowHow, to: c.KnowHow, max: maxLine},
	})
	if err != nil || len(changed) == 0 {
		return nil, err
	}
	if _, err := tx.Exec(ctx, updatePerson, n, p.Civility, p.FamilyName, p.GivenName, p.Profession, p.KnowHow); err != nil {
		return nil, err
	}
	bals, err := balsBy(ctx, tx, balsHeldBy, n)
	if err != nil {
		return nil, err
	}
	var acts []Act
	for _, b := range bals {
		acts = append(acts, Act{BAL: b, Author: by, Action: "update-person", Object: fmt.Sprintf("person:%d", int64(n)), Fields: changed, At: at})
	}
	if err := d.publishTx(ctx, tx, at, true, bals...); err != nil {
		return nil, err
	}
	return changed, d.traceTx(ctx, tx, acts...)
}

// StructureByID returns a structure with its texts. Errors: fault.NotFound.
func (d *Directory) StructureByID(ctx context.Context, q pg.Querier, n StructureID) (s Structure, err error) {
	const op = "directory.StructureByID"
	err = q.QueryRow(ctx, selectStructure, n).Scan(&s.ID, &s.FINESS, &s.SIRET, &s.Name, &s.TradeName, &s.Sector, &s.Street, &s.PostalCode,
		&s.City, &s.Department, &s.Country, &s.Presentation, &s.Preparation)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, fault.New(fault.NotFound, op, "unknown-structure")
	}
	return s, pg.Error(op, err)
}

// UpdateStructureTx changes what is known of a structure and publishes every BAL that
// shows it. One trace, in the house's chain. It returns the names of the fields that
// changed.
//
// Errors: fault.NotFound, fault.Invalid with a text.
func (d *Directory) UpdateStructureTx(ctx context.Context, tx *pg.Tx, n StructureID, c StructureChanges, by Author, at time.Time) ([]string, error) {
	const op = "directory.UpdateStructureTx"
	if err := d.lockTx(ctx, tx); err != nil {
		return nil, err
	}
	s, err := d.StructureByID(ctx, tx, n)
	if err != nil {
		return nil, err
	}
	changed, err := change(op, []field{
		{name: "structure-name", value: &s.Name, to: c.Name, max: maxLine, needed: true},
		{name: "trade-name", value: &s.TradeName, to: c.TradeName, max: maxLine},
		{name: "sector", value: &s.Sector, to: c.Sector, max: maxLine},
		{name: "street", value: &s.Street, to: c.Street, max: maxLine},
		{name: "postal-code", value: &s.PostalCode, to: c.PostalCode, max: maxLine},
		{name: "city", value: &s.City, to: c.City, max: maxLine},
		{name: "department", value: &s.Department, to: c.Department, max: maxLine},
		{name: "country", value: &s.Country, to: c.Country, max: maxLine},
		{name: "presentation", value: &s.Presentation, to: c.Presentation, max: maxPage, several: true},
		{name: "preparation", value: &s.Preparation, to: c.Preparation, max: maxPage, several: true},
	})
	if err != nil || len(changed) == 0 {
		return nil, err
	}
	_, err = tx.Exec(ctx, updateStructure, n, s.Name, s.TradeName, s.Sector, s.Street, s.PostalCode, s.City, s.Department, s.Country,
		s.Presentation, s.Preparation)
	if err != nil {
		return nil, err
	}
	bals, err := balsBy(ctx, tx, balsOfStructure, n)
	if err != nil {
		return nil, err
	}
	if err := d.publishTx(ctx, tx, at, true, bals...); err != nil {
		return nil, err
	}
	return changed, d.traceTx(ctx, tx, Act{Author: by, Action: "update-structure", Object: fmt.Sprintf("structure:%d", int64(n)), Fields: changed, At: at})
}
