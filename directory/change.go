package directory

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
)

const (
	insertBAL = `
INSERT INTO bal (address_key, address, kind, state, holder_id, person_id, structure_id, display_name, service,
                 description, responsible, unlisted, rank, open_to_patients, quota_size, cgu_version, cgu_at,
                 created_at, state_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18)
ON CONFLICT (address_key) DO NOTHING RETURNING id`

	insertPerson = `
INSERT INTO person (rpps, civility, family_name, given_name, profession, know_how)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (rpps) DO UPDATE SET rpps = excluded.rpps RETURNING id`

	findStructure = `SELECT id FROM structure WHERE finess = $1 OR siret = $2 ORDER BY id LIMIT 1`

	insertStructure = `
INSERT INTO structure (finess, siret, name, trade_name, sector, street, postal_code, city, country)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id`

	insertSituation = `INSERT INTO situation (person_id, structure_id, mode, started_at) VALUES ($1, $2, $3, $4)`

	acceptTerms = `UPDATE bal SET cgu_version = $2, cgu_at = $3 WHERE id = $1`

	lockState = `SELECT state FROM bal WHERE id = $1 FOR UPDATE`

	setState = `
UPDATE bal SET state = $2, state_at = $3,
       service     = CASE WHEN $2 = 'purged' THEN '' ELSE service END,
       description = CASE WHEN $2 = 'purged' THEN '' ELSE description END,
       responsible = CASE WHEN $2 = 'purged' THEN '' ELSE responsible END
WHERE id = $1`
)

// CreateBALTx makes a BAL. A PER or CAB has a person, an ORG or APP a structure, a
// patient neither; the address is in a domain of ours, a patient's being a matricule.
//
// Errors: fault.Invalid, fault.InvalidAddress, and fault.Conflict when the address was
// ever used: an address is never given to somebody else (mssante.md §3.4).
func (d *Directory) CreateBALTx(ctx context.Context, tx *pg.Tx, n NewBAL) (id.BAL, error) {
	const op = "directory.CreateBALTx"
	if err := d.check(op, n); err != nil {
		return 0, err
	}
	key, ok := d.key(n.Address)
	if !ok {
		return 0, fault.New(fault.InvalidAddress, op, "address-not-ours")
	}
	address := text(n.Address.Reveal())
	if n.Kind == health.Patient {
		address = nil
	}
	var termsAt *time.Time
	if n.TermsVersion != "" {
		termsAt = &n.At
	}
	if n.State == "" {
		n.State = health.Pending
	}
	var b id.BAL
	err := tx.QueryRow(ctx, insertBAL, key, address, n.Kind, n.State, n.Holder, number(int64(n.Person)),
		number(int64(n.Structure)), n.DisplayName, n.Service, n.Description, n.Responsible, n.Unlisted, max(n.Rank, 1),
		n.OpenToPatients, n.QuotaSize, n.TermsVersion, termsAt, n.At).Scan(&b)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fault.New(fault.Conflict, op, "address-taken")
	}
	return b, err
}

func (d *Directory) check(op string, n NewBAL) error {
	forPatient := n.Address.Domain() == d.cfg.PatientDomain
	switch {
	case n.Address.IsZero():
		return fault.New(fault.InvalidAddress, op, "no-address")
	case n.At.IsZero():
		return fault.New(fault.Invalid, op, "no-time")
	case n.Holder == 0:
		return fault.New(fault.Invalid, op, "no-holder")
	case (n.Kind == health.Patient) != forPatient:
		return fault.New(fault.InvalidAddress, op, "domain-of-another-kind")
	}
	switch n.Kind {
	case health.PER, health.CAB:
		if n.Person == 0 {
			return fault.New(fault.Invalid, op, "no-person")
		}
	case health.ORG, health.APP:
		if n.Structure == 0 {
			return fault.New(fault.Invalid, op, "no-structure")
		}
	case health.Patient:
		if n.Person != 0 || n.Structure != 0 || n.DisplayName != "" || n.OpenToPatients {
			return fault.New(fault.Invalid, op, "patient-with-names")
		}
	default:
		return fault.New(fault.Invalid, op, "kind")
	}
	return nil
}

// CreatePersonTx makes a person; an RPPS that is known gives the person it has.
func (d *Directory) CreatePersonTx(ctx context.Context, tx *pg.Tx, p Person) (PersonID, error) {
	if p.FamilyName == "" {
		return 0, fault.New(fault.Invalid, "directory.CreatePersonTx", "no-name")
	}
	var n PersonID
	err := tx.QueryRow(ctx, insertPerson, text(string(p.RPPS)), p.Civility, p.FamilyName, p.GivenName, p.Profession, p.KnowHow).Scan(&n)
	return n, err
}

// CreateStructureTx makes a structure; a FINESS or SIRET that is known gives the one it has.
func (d *Directory) CreateStructureTx(ctx context.Context, tx *pg.Tx, s Structure) (StructureID, error) {
	const op = "directory.CreateStructureTx"
	if s.Name == "" {
		return 0, fault.New(fault.Invalid, op, "no-name")
	}
	if s.Country == "" {
		s.Country = "FR"
	}
	finess, siret := text(string(s.FINESS)), text(s.SIRET)
	var n StructureID
	err := tx.QueryRow(ctx, findStructure, finess, siret).Scan(&n)
	if !errors.Is(err, pgx.ErrNoRows) {
		return n, err
	}
	err = tx.QueryRow(ctx, insertStructure, finess, siret, s.Name, s.TradeName, s.Sector, s.Street, s.PostalCode, s.City, s.Country).Scan(&n)
	return n, err
}

// CreateSituationTx ties a person to a structure. mode is L, S or B (mode d'exercice).
func (d *Directory) CreateSituationTx(ctx context.Context, tx *pg.Tx, p PersonID, s StructureID, mode string, from time.Time) error {
	_, err := tx.Exec(ctx, insertSituation, p, number(int64(s)), mode, from)
	return err
}

// AcceptTermsTx records that the holder accepted the conditions of use (CGU).
// Errors: fault.NotFound.
func (d *Directory) AcceptTermsTx(ctx context.Context, tx *pg.Tx, b id.BAL, version string, at time.Time) error {
	const op = "directory.AcceptTermsTx"
	if version == "" {
		return fault.New(fault.Invalid, op, "no-version")
	}
	tag, err := tx.Exec(ctx, acceptTerms, b, version, at)
	if err == nil && tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, op, "unknown-bal")
	}
	return err
}

// moves are the steps a BAL may take. A closed one may be opened again by the same
// identity, since the row keeps it; a purged one is a tombstone for ever.
var moves = map[health.BALState][]health.BALState{
	health.Pending:   {health.Active, health.Closed},
	health.Active:    {health.Suspended, health.Closed},
	health.Suspended: {health.Active, health.Closed},
	health.Closed:    {health.Active, health.Purged},
}

// MayMove reports whether a BAL may go from one state to another.
func MayMove(from, to health.BALState) bool {
	for _, s := range moves[from] {
		if s == to {
			return true
		}
	}
	return false
}

// SetStateTx moves a BAL along its life (mssante.md §3.4); staying where it is is fine.
// Purging drops what describes the box and keeps its address, so that it is never given
// again. The caller traces author and cause. Locks the row.
//
// Errors: fault.NotFound, fault.Conflict when the move is not allowed.
func (d *Directory) SetStateTx(ctx context.Context, tx *pg.Tx, b id.BAL, to health.BALState, at time.Time) error {
	const op = "directory.SetStateTx"
	var from health.BALState
	err := tx.QueryRow(ctx, lockState, b).Scan(&from)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.NotFound, op, "unknown-bal")
	case err != nil:
		return err
	case from == to:
		return nil
	case !MayMove(from, to):
		return fault.New(fault.Conflict, op, "move-not-allowed")
	}
	_, err = tx.Exec(ctx, setState, b, to, at)
	return err
}

// text and number turn emptiness into NULL.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func number(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}
