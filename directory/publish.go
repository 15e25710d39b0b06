package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/directory/listing"
	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
)

// Publishing: the register writes what may be shown of its BAL into listing_own and,
// beside it, the professional, the structure and the exercise that each BAL shows. All
// of it follows from the BAL that are published: one on the liste rouge shows nobody and
// no place, in no table.

var (
	upsertListing      = upsert("listing_own", listing.Columns)
	upsertPractitioner = upsert("practitioner_own", listing.PractitionerColumns)
	upsertOrganization = upsert("organization_own", listing.OrganizationColumns)
	upsertRole         = upsert("role_own", listing.RoleColumns)
)

// upsert writes a row under its first column, and touches it only when it says something
// new: changed_at then moves.
func upsert(table string, columns []string) string {
	var places, sets, was, is []string
	for i, c := range columns {
		places = append(places, fmt.Sprintf("$%d", i+1))
		if i > 0 && c != "since_at" {
			sets = append(sets, c+" = excluded."+c)
		}
		if !slices.Contains([]string{"since_at", "changed_at", "seen_at"}, c) {
			was, is = append(was, "t."+c), append(is, "excluded."+c)
		}
	}
	return "INSERT INTO " + table + " AS t (" + strings.Join(columns, ", ") + ")\nVALUES (" + strings.Join(places, ", ") +
		")\nON CONFLICT (" + columns[0] + ") DO UPDATE SET " + strings.Join(sets, ", ") +
		"\nWHERE (" + strings.Join(was, ", ") + ") IS DISTINCT FROM (" + strings.Join(is, ", ") + ")"
}

const (
	findShown = `SELECT practitioner, organization, role FROM bal_shown WHERE bal_id = $1`

	upsertShown = `
INSERT INTO bal_shown (bal_id, practitioner, organization, role) VALUES ($1, $2, $3, $4)
ON CONFLICT (bal_id) DO UPDATE SET practitioner = excluded.practitioner, organization = excluded.organization, role = excluded.role`

	deleteShown = `DELETE FROM bal_shown WHERE bal_id = $1`

	// of a BAL, but for the one that is right
	deleteListing = `DELETE FROM listing_own WHERE bal_id = $1 AND key IS DISTINCT FROM $2`

	deletePractitioner = `DELETE FROM practitioner_own WHERE id = $1 AND NOT EXISTS (SELECT FROM bal_shown WHERE practitioner = $1)`
	deleteOrganization = `DELETE FROM organization_own WHERE id = $1 AND NOT EXISTS (SELECT FROM bal_shown WHERE organization = $1)`
	deleteRole         = `DELETE FROM role_own WHERE id = $1 AND NOT EXISTS (SELECT FROM bal_shown WHERE role = $1)`

	wordsShown = `SELECT DISTINCT unnest(tsvector_to_array(words)) FROM listing_own WHERE bal_id = ANY($1::bigint[])`

	addWords = `
INSERT INTO word_own (word)
SELECT DISTINCT unnest(tsvector_to_array(words)) FROM listing_own WHERE bal_id = ANY($1::bigint[])
ON CONFLICT DO NOTHING`

	dropWords = `
DELETE FROM word_own w WHERE w.word = ANY($1::text[]) AND NOT EXISTS (SELECT FROM listing_own l
WHERE l.words @@ ('''' || replace(replace(w.word, '\', '\\'), '''', '''''') || '''')::tsquery)`

	findPart = `SELECT part FROM national_part`

	// how somebody exercises in a place
	findMode = `
SELECT mode FROM situation WHERE person_id = $1 AND structure_id = $2 AND ended_at IS NULL
ORDER BY started_at DESC, id DESC LIMIT 1`

	findTexts = `SELECT presentation, preparation FROM structure WHERE id = $1`
)

// What the part that is read says of an address of ours, from the time before its domain
// was: the import leaves such lines out, and the register alone says what is shown.
var dropNational = map[string]string{
	"a": `DELETE FROM listing_a WHERE f_address = ANY($1::text[])`,
	"b": `DELETE FROM listing_b WHERE f_address = ANY($1::text[])`,
}

// shown is what one BAL shows: its listing, and the ids of the rest, "" for none.
type shown struct {
	listing      listing.Listing
	practitioner *listing.Practitioner
	organization *listing.Organization
	role         *listing.Role
}

// Published reports whether a BAL is in the directory: one of a professional, of a
// practice or of a service, active, not on the liste rouge, and not asleep for so long
// that it was taken out. An APP is not (mssante.md §3.1).
func (b BAL) Published() bool {
	switch b.Kind {
	case health.PER, health.ORG, health.CAB:
	default:
		return false
	}
	if b.Person != nil && !b.Person.EndedAt.IsZero() {
		return false
	}
	return b.State == health.Active && !b.Unlisted && b.UnpublishedAt.IsZero() && !b.Address.IsZero()
}

// publishTx rewrites what is shown of some BAL. The register is locked (lockTx). With
// told, the outlet hears of each.
func (d *Directory) publishTx(ctx context.Context, tx *pg.Tx, at time.Time, told bool, bals ...id.BAL) error {
	const op = "directory.publishTx"
	if len(bals) == 0 {
		return nil
	}
	slices.Sort(bals)
	bals = slices.Compact(bals)
	found, err := d.Facts(ctx, tx, bals, nil)
	if err != nil {
		return pg.Error(op, err)
	}
	numbers := numbersOf(bals)
	before, err := words(ctx, tx, numbers)
	if err != nil {
		return pg.Error(op, err)
	}
	var addresses []string
	for _, n := range bals {
		b, ok := found.ByID[n]
		if !ok || b.Kind == health.Patient {
			continue // nothing of a patient is ever shown
		}
		addresses = append(addresses, listing.FoldAddress(b.Address.Reveal()))
		if err := d.publishOneTx(ctx, tx, b, at); err != nil {
			return pg.Error(op, err)
		}
		if told && d.plugs.Outlet != nil {
			if err := d.plugs.Outlet.ChangedTx(ctx, tx, n); err != nil {
				return err
			}
		}
	}
	var part string
	if err := tx.QueryRow(ctx, findPart).Scan(&part); err != nil {
		return pg.Error(op, err)
	}
	if _, err := tx.Exec(ctx, dropNational[part], addresses); err != nil {
		return pg.Error(op, err)
	}
	if _, err := tx.Exec(ctx, addWords, numbers); err != nil {
		return pg.Error(op, err)
	}
	if len(before) > 0 {
		_, err = tx.Exec(ctx, dropWords, before)
	}
	return pg.Error(op, err)
}

func numbersOf(bals []id.BAL) []int64 {
	out := make([]int64, len(bals))
	for i, b := range bals {
		out[i] = int64(b)
	}
	return out
}

func words(ctx context.Context, q pg.Querier, bals []int64) ([]string, error) {
	rows, err := q.Query(ctx, wordsShown, bals)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// ids are the rows that a BAL shows beside its listing.
type ids struct{ practitioner, organization, role string }

func (d *Directory) publishOneTx(ctx context.Context, tx *pg.Tx, b BAL, at time.Time) error {
	var was, is ids
	err := tx.QueryRow(ctx, findShown, b.ID).Scan(&was.practitioner, &was.organization, &was.role)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if b.Published() {
		s, err := d.shownTx(ctx, tx, b, at)
		if err != nil {
			return err
		}
		if is, err = s.writeTx(ctx, tx); err != nil {
			return err
		}
	} else {
		batch := &pgx.Batch{}
		batch.Queue(deleteListing, b.ID, nil)
		batch.Queue(deleteShown, b.ID)
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
	}
	return was.leaveTx(ctx, tx, is)
}

// leaveTx takes out the rows that nobody shows any more.
func (was ids) leaveTx(ctx context.Context, tx *pg.Tx, is ids) error {
	batch := &pgx.Batch{}
	for _, c := range []struct{ sql, was, is string }{
		{deleteRole, was.role, is.role}, {deletePractitioner, was.practitioner, is.practitioner}, {deleteOrganization, was.organization, is.organization},
	} {
		if c.was != "" && c.was != c.is {
			batch.Queue(c.sql, c.was)
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}

func (s shown) writeTx(ctx context.Context, tx *pg.Tx) (is ids, err error) {
	batch := &pgx.Batch{}
	batch.Queue(deleteListing, s.listing.BAL, s.listing.Key[:])
	batch.Queue(upsertListing, s.listing.Row()...)
	if s.practitioner != nil {
		is.practitioner = s.practitioner.ID
		batch.Queue(upsertPractitioner, s.practitioner.Row()...)
	}
	if s.organization != nil {
		is.organization = s.organization.ID
		batch.Queue(upsertOrganization, s.organization.Row()...)
	}
	if s.role != nil {
		is.role = s.role.ID
		batch.Queue(upsertRole, s.role.Row()...)
	}
	batch.Queue(upsertShown, s.listing.BAL, is.practitioner, is.organization, is.role)
	return is, tx.SendBatch(ctx, batch).Close()
}

// shownTx is what a published BAL shows.
func (d *Directory) shownTx(ctx context.Context, q pg.Querier, b BAL, at time.Time) (shown, error) {
	if b.Kind == health.Patient || b.Kind == health.APP || b.Unlisted || d.ForPatients(b.Address.Domain()) {
		return shown{}, fault.New(fault.Internal, "directory.shownTx", "never-published")
	}
	s := shown{listing: b.Listing(at)}
	if p := b.Person; p != nil {
		s.practitioner = p.practitioner(at)
	}
	if st := b.Structure; st != nil {
		whole, err := d.texts(ctx, q, *st)
		if err != nil {
			return shown{}, err
		}
		s.organization = whole.organization(at)
	}
	if s.practitioner == nil {
		return s, nil
	}
	var mode string
	if s.organization != nil {
		err := q.QueryRow(ctx, findMode, b.Person.ID, b.Structure.ID).Scan(&mode)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return shown{}, err
		}
	}
	s.role = role(s, mode, at)
	return s, nil
}

func (d *Directory) texts(ctx context.Context, q pg.Querier, s Structure) (Structure, error) {
	err := q.QueryRow(ctx, findTexts, s.ID).Scan(&s.Presentation, &s.Preparation)
	return s, err
}

// Listing is what the directory publishes of a BAL, whether or not it does.
func (b BAL) Listing(at time.Time) listing.Listing {
	l := listing.Listing{
		BAL: b.ID, Kind: b.Kind, Address: b.Address.Reveal(), DisplayName: b.DisplayName, Service: b.Service,
		Description: b.Description, Hours: b.Hours, OpenToPatients: b.TakesPatients(), Rank: b.Rank,
		SinceAt: b.CreatedAt, ChangedAt: at, SeenAt: at,
	}
	if p := b.Person; p != nil {
		if p.RPPS != "" {
			l.PPType, l.PP = "8", string(p.RPPS)
		}
		l.Civility, l.FamilyName, l.GivenName = p.Civility, p.FamilyName, p.GivenName
		l.Profession, l.ProfessionLabel = p.Profession, health.ProfessionLabel(p.Profession)
		l.KnowHow, l.KnowHowLabel = p.KnowHow, knowHowLabel(p.Profession, p.KnowHow)
	}
	if s := b.Structure; s != nil {
		switch {
		case s.FINESS != "":
			l.PlaceType, l.Place = "FINESS", string(s.FINESS)
		case s.SIRET != "":
			l.PlaceType, l.Place = "SIRET", s.SIRET
		}
		l.Structure, l.TradeName, l.Sector = s.Name, s.TradeName, s.Sector
		l.Street, l.PostalCode, l.City, l.Department, l.Country = s.Street, s.PostalCode, s.City, s.department(), s.Country
	}
	l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
	return l
}

// department is the one given, or what the postal code tells: 2 digits, 3 beyond the seas.
func (s Structure) department() string {
	if s.Department != "" || len(s.PostalCode) != 5 || s.Country != "" && s.Country != "FR" {
		return s.Department
	}
	if strings.HasPrefix(s.PostalCode, "97") || strings.HasPrefix(s.PostalCode, "98") {
		return s.PostalCode[:3]
	}
	if s.PostalCode[:2] == "20" { // Corsica: 200, 201 and 202, 206
		if s.PostalCode[2] < '2' {
			return "2A"
		}
		return "2B"
	}
	return s.PostalCode[:2]
}

// knowHowLabel is the French name of a savoir-faire, "" when it is not known.
func knowHowLabel(profession, code string) string {
	if code == "" {
		return ""
	}
	_, label, _ := strings.Cut(health.AuthorLabel("G15_"+profession+"/"+code), ", ")
	return label
}

func (p Person) practitioner(at time.Time) *listing.Practitioner {
	out := &listing.Practitioner{Civility: p.Civility, FamilyName: p.FamilyName, GivenName: p.GivenName, Active: true, ChangedAt: at, SeenAt: at}
	if p.RPPS != "" {
		out.PPType, out.PP = "8", string(p.RPPS)
		out.ID = listing.PractitionerID(out.PPType, out.PP)
	} else {
		out.ID = listing.PractitionerID("pli", fmt.Sprint("person:", int64(p.ID)))
	}
	return out
}

func (s Structure) organization(at time.Time) *listing.Organization {
	technical := ""
	if s.FINESS == "" && s.SIRET == "" {
		technical = fmt.Sprint("structure:", int64(s.ID))
	}
	return &listing.Organization{
		ID: listing.OrganizationID(string(s.FINESS), s.SIRET, "", technical), FINESS: string(s.FINESS), SIRET: s.SIRET, Name: s.Name,
		TradeName: s.TradeName, Sector: s.Sector, Street: s.Street, PostalCode: s.PostalCode, City: s.City, Department: s.department(),
		Country: s.Country, Presentation: s.Presentation, Preparation: s.Preparation, Active: true, ChangedAt: at, SeenAt: at,
	}
}

// modes d'exercice (TRE_R23).
var modes = map[string]string{"L": "Libéral, indépendant, artisan, commerçant", "S": "Salarié", "B": "Bénévole"}

func role(s shown, mode string, at time.Time) *listing.Role {
	l := s.listing
	r := &listing.Role{
		Practitioner: s.practitioner.ID, Profession: l.Profession, ProfessionLabel: l.ProfessionLabel, KnowHow: l.KnowHow,
		KnowHowLabel: l.KnowHowLabel, Mode: mode, ModeLabel: modes[mode], Active: true, ChangedAt: at, SeenAt: at,
		FamilyName: l.FamilyName, GivenName: l.GivenName,
	}
	if strings.HasPrefix(r.KnowHow, "S") {
		r.KnowHowType = "S" // spécialité (TRE_R04)
	}
	if s.organization != nil {
		r.Organization = s.organization.ID
	}
	r.ID = listing.RoleID(r.Practitioner, r.Organization, r.Profession, r.KnowHow, r.Mode, r.Function)
	return r
}

const (
	republishBatch = 200

	nextBALs = `SELECT id FROM bal WHERE id > $1 AND kind <> 'PATIENT' ORDER BY id LIMIT $2`

	// rows that no BAL shows, which only a hand in the database can leave
	deleteStrays = `
WITH l AS (DELETE FROM listing_own WHERE bal_id IS NULL OR bal_id NOT IN (SELECT bal_id FROM bal_shown)),
     p AS (DELETE FROM practitioner_own WHERE id NOT IN (SELECT practitioner FROM bal_shown)),
     o AS (DELETE FROM organization_own WHERE id NOT IN (SELECT organization FROM bal_shown)),
     r AS (DELETE FROM role_own WHERE id NOT IN (SELECT role FROM bal_shown))
SELECT`

	deleteStrayWords = `DELETE FROM word_own w WHERE NOT EXISTS (SELECT FROM listing_own l
WHERE l.words @@ ('''' || replace(replace(w.word, '\', '\\'), '''', '''''') || '''')::tsquery)`

	// as BAL.Published
	anyToShow = `
SELECT EXISTS (SELECT FROM bal b LEFT JOIN person p ON p.id = b.person_id
WHERE b.kind IN ('PER', 'ORG', 'CAB') AND b.state = 'active' AND NOT b.unlisted AND b.unpublished_at IS NULL
  AND b.address IS NOT NULL AND p.ended_at IS NULL AND NOT EXISTS (SELECT FROM bal_shown s WHERE s.bal_id = b.id))`
)

// RepublishAll writes again all that is shown, from the register. Nothing is told to the
// outlet. Batches of 200 BAL, one transaction each.
func (d *Directory) RepublishAll(ctx context.Context, at time.Time) error {
	const op = "directory.RepublishAll"
	for last := id.BAL(0); ; {
		var batch []id.BAL
		err := d.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
			if err := d.lockTx(ctx, tx); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, nextBALs, last, republishBatch)
			if err != nil {
				return err
			}
			if batch, err = pgx.CollectRows(rows, pgx.RowTo[id.BAL]); err != nil {
				return err
			}
			return d.publishTx(ctx, tx, at, false, batch...)
		})
		if err != nil {
			return pg.Error(op, err)
		}
		if len(batch) == 0 {
			break
		}
		last = batch[len(batch)-1]
	}
	return d.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		if err := d.lockTx(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, deleteStrays); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, deleteStrayWords)
		return err
	})
}

// EnsurePublished publishes the register when a BAL to show is not shown: at the first
// start after the migration that brought the directory, and again should that one have
// been cut off. Cheap otherwise.
func (d *Directory) EnsurePublished(ctx context.Context, at time.Time) error {
	var due bool
	if err := d.db.QueryRow(ctx, anyToShow).Scan(&due); err != nil {
		return pg.Error("directory.EnsurePublished", err)
	}
	if !due {
		return nil
	}
	return d.RepublishAll(ctx, at)
}
