package directory

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// A person's structure is that of the BAL, else of the newest activity that goes on.
const selectBAL = `
SELECT b.id, b.address_key, coalesce(b.address, ''), b.kind, b.state, b.state_at, b.state_cause, b.holder_id,
       b.display_name, b.service, b.description, b.responsible, b.hours, b.replacement, b.unlisted, b.open_to_patients,
       b.rank, b.quota_size, b.cgu_version, b.cgu_at, b.created_at, b.used_at, b.noticed_at, b.unpublished_at,
       p.id, coalesce(p.rpps, ''), p.civility, p.family_name, p.given_name, p.profession, p.know_how, p.ended_at,
       s.id, coalesce(s.finess, ''), coalesce(s.siret, ''), s.name, s.trade_name, s.sector,
       s.street, s.postal_code, s.city, s.department, s.country
FROM bal b
LEFT JOIN person p ON p.id = b.person_id
LEFT JOIN structure s ON s.id = coalesce(b.structure_id,
       (SELECT t.structure_id FROM situation t
         WHERE t.person_id = b.person_id AND t.ended_at IS NULL AND t.structure_id IS NOT NULL
         ORDER BY t.started_at DESC, t.id DESC LIMIT 1))`

const (
	findBALs = selectBAL + `
WHERE b.id = ANY($1::bigint[]) OR (b.address_key = ANY($2::bytea[]) AND b.state <> 'purged')`

	findOpenToPatients = selectBAL + `
WHERE b.state = 'active' AND NOT b.unlisted AND b.unpublished_at IS NULL AND b.kind IN ('ORG', 'CAB', 'PER')
  AND (b.open_to_patients OR (b.kind = 'ORG' AND s.sector = ANY($1::text[])))
ORDER BY s.name, b.display_name, b.id LIMIT $2`
)

// Found is what Facts found.
type Found struct {
	ByID      map[id.BAL]BAL
	ByAddress map[mail.Address]BAL
}

// Facts finds BAL by id and by address, in one query; those not found are absent. A
// patient found by address carries it, one found by id does not.
func (d *Directory) Facts(ctx context.Context, q pg.Querier, ids []id.BAL, as []mail.Address) (Found, error) {
	found := Found{ByID: map[id.BAL]BAL{}, ByAddress: map[mail.Address]BAL{}}
	asked := map[string]mail.Address{} // by key
	keys := [][]byte{}
	for _, a := range as {
		if k, ok := d.key(a); ok && asked[string(k)].IsZero() {
			asked[string(k)] = a
			keys = append(keys, k)
		}
	}
	wanted := map[id.BAL]bool{}
	numbers := []int64{}
	for _, b := range ids {
		wanted[b] = true
		numbers = append(numbers, int64(b))
	}
	if len(keys) == 0 && len(numbers) == 0 {
		return found, nil
	}
	rows, err := q.Query(ctx, findBALs, numbers, keys)
	if err != nil {
		return found, err
	}
	bals, err := pgx.CollectRows(rows, scanBAL)
	if err != nil {
		return found, err
	}
	for _, r := range bals {
		if wanted[r.ID] {
			found.ByID[r.ID] = r.BAL
		}
		if a, ok := asked[string(r.key)]; ok && r.State != health.Purged {
			r.BAL.Address = a
			found.ByAddress[a] = r.BAL
		}
	}
	return found, nil
}

type balRow struct {
	BAL
	key []byte
}

func scanBAL(row pgx.CollectableRow) (balRow, error) {
	var (
		r                                    balRow
		address, rpps, finess, replacement   string
		termsAt, usedAt, noticedAt           *time.Time
		unpublishedAt, endedAt               *time.Time
		pid, sid                             *int64
		civility, family, given, prof, knows *string
		name, trade, sector, street, zip     *string
		city, department, country            *string
		siret                                string
	)
	err := row.Scan(&r.ID, &r.key, &address, &r.Kind, &r.State, &r.StateAt, &r.StateCause, &r.Holder,
		&r.DisplayName, &r.Service, &r.Description, &r.Responsible, &r.Hours, &replacement, &r.Unlisted, &r.BAL.OpenToPatients,
		&r.Rank, &r.QuotaSize, &r.TermsVersion, &termsAt, &r.CreatedAt, &usedAt, &noticedAt, &unpublishedAt,
		&pid, &rpps, &civility, &family, &given, &prof, &knows, &endedAt,
		&sid, &finess, &siret, &name, &trade, &sector, &street, &zip, &city, &department, &country)
	if err != nil {
		return r, err
	}
	r.StateAt, r.CreatedAt, r.TermsAt = r.StateAt.UTC(), r.CreatedAt.UTC(), utc(termsAt)
	r.UsedAt, r.NoticedAt, r.UnpublishedAt = utc(usedAt), utc(noticedAt), utc(unpublishedAt)
	if replacement != "" { // one that cannot be read any more is none
		r.Replacement, _ = mail.ParseAddress(replacement)
	}
	if address != "" {
		if r.Address, err = mail.ParseAddress(address); err != nil {
			return r, fault.New(fault.Corrupt, "directory.scanBAL", "address")
		}
	}
	if pid != nil {
		r.Person = &Person{ID: PersonID(*pid), RPPS: health.RPPS(rpps), Civility: *civility, FamilyName: *family,
			GivenName: *given, Profession: *prof, KnowHow: *knows, EndedAt: utc(endedAt)}
	}
	if sid != nil {
		r.Structure = &Structure{ID: StructureID(*sid), FINESS: health.FINESS(finess), SIRET: siret, Name: *name,
			TradeName: *trade, Sector: *sector, Street: *street, PostalCode: *zip, City: *city, Department: *department, Country: *country}
	}
	return r, nil
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// Find returns the BAL that bears an address, closed ones too; purged ones are not
// found. Errors: fault.NotFound, the same for an unknown matricule and a wrong key.
func (d *Directory) Find(ctx context.Context, q pg.Querier, a mail.Address) (BAL, error) {
	const op = "directory.Find"
	found, err := d.Facts(ctx, q, nil, []mail.Address{a})
	if err != nil {
		return BAL{}, pg.Error(op, err)
	}
	b, ok := found.ByAddress[a]
	if !ok {
		return BAL{}, fault.New(fault.NotFound, op, "unknown-bal")
	}
	return b, nil
}

// FindMany returns the BAL of several addresses in one query, by address; those that are
// not found are absent.
func (d *Directory) FindMany(ctx context.Context, q pg.Querier, as []mail.Address) (map[mail.Address]BAL, error) {
	found, err := d.Facts(ctx, q, nil, as)
	return found.ByAddress, pg.Error("directory.FindMany", err)
}

// BALOf returns the id and kind of the BAL that bears an address. Errors: fault.NotFound.
func (d *Directory) BALOf(ctx context.Context, q pg.Querier, a mail.Address) (id.BAL, health.BALKind, error) {
	b, err := d.Find(ctx, q, a)
	return b.ID, b.Kind, err
}

// ByID returns a BAL. Errors: fault.NotFound.
func (d *Directory) ByID(ctx context.Context, q pg.Querier, b id.BAL) (BAL, error) {
	const op = "directory.ByID"
	found, err := d.Facts(ctx, q, []id.BAL{b}, nil)
	if err != nil {
		return BAL{}, pg.Error(op, err)
	}
	r, ok := found.ByID[b]
	if !ok {
		return BAL{}, fault.New(fault.NotFound, op, "unknown-bal")
	}
	return r, nil
}
