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
                 created_at, state_at, hours)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18, $19)
ON CONFLICT (address_key) DO NOTHING RETURNING id`

	// The BAL of one holder are those of a person, or those of one service of a structure.
	nextRank = `
SELECT coalesce(max(rank), 0) + 1 FROM bal WHERE state <> 'purged' AND kind <> 'PATIENT'
AND CASE WHEN $1::bigint IS NOT NULL THEN person_id = $1
    ELSE person_id IS NULL AND structure_id = $2 AND lower(service) = lower($3) END`

	insertPerson = `
INSERT INTO person (rpps, civility, family_name, given_name, profession, know_how)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (rpps) DO UPDATE SET rpps = excluded.rpps RETURNING id`

	findStructure = `SELECT id FROM structure WHERE finess = $1 OR siret = $2 ORDER BY id LIMIT 1`

	insertStructure = `
INSERT INTO structure (finess, siret, name, trade_name, sector, street, postal_code, city, country, department,
                       presentation, preparation)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`

	insertSituation = `
INSERT INTO situation (person_id, structure_id, mode, started_at)
SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM situation
WHERE person_id = $1 AND structure_id IS NOT DISTINCT FROM $2::bigint AND mode = $3 AND ended_at IS NULL)`
)

// CreateBALTx makes a BAL. A PER or CAB has a person, an ORG or APP a structure, a
// patient neither; the address is in a domain of ours, a patient's being a matricule.
//
// It is published when it may be; the caller traces it. Locks the register, but for a
// patient's, which the directory never shows.
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
		return 0, fault.New(fault.InvalidAddress, op, "address-not-ours").Say(
			"Ce domaine n'est pas un domaine de cet opérateur. Voyez operator.domains dans la configuration.",
			"This domain is not one of this operator's. See operator.domains in the configuration.")
	}
	if n.Kind.Professional() {
		if err := d.lockTx(ctx, tx); err != nil {
			return 0, err
		}
		if err := d.readyTx(ctx, tx, op, &n); err != nil {
			return 0, err
		}
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
		n.OpenToPatients, n.QuotaSize, n.TermsVersion, termsAt, n.At, n.Hours).Scan(&b)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fault.New(fault.Conflict, op, "address-taken").Say(
			"Cette adresse a déjà servi. Une adresse n'est jamais donnée deux fois : prenez-en une autre ou, pour le même titulaire, pli bal reopen ADRESSE.",
			"This address was used already. An address is never given twice: take another or, for the same holder, pli bal reopen ADDRESS.")
	}
	if err != nil || n.Kind == health.Patient {
		return b, err
	}
	return b, d.publishTx(ctx, tx, n.At, true, b)
}

// readyTx refuses to open a BAL for somebody who exercises no more, and gives it its place
// among those of its holder.
func (d *Directory) readyTx(ctx context.Context, tx *pg.Tx, op string, n *NewBAL) error {
	if n.Person != 0 {
		ended, err := d.lockPersonTx(ctx, tx, op, n.Person)
		if err != nil {
			return err
		}
		if ended != nil && n.State == health.Active {
			return locked{State: health.Suspended, EndedAt: ended}.mayMove(op, health.Active)
		}
	}
	if n.Rank > 0 {
		return nil
	}
	return tx.QueryRow(ctx, nextRank, number(int64(n.Person)), number(int64(n.Structure)), n.Service).Scan(&n.Rank)
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
		return fault.New(fault.InvalidAddress, op, "domain-of-another-kind").Say(
			"Ce domaine est celui des patients : une boîte professionnelle prend un des autres domaines.",
			"This domain is the patients': a professional mailbox takes one of the others.")
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

// CreatePersonTx makes a person; an RPPS that is known gives the person it has. Locks the
// register.
func (d *Directory) CreatePersonTx(ctx context.Context, tx *pg.Tx, p Person) (PersonID, error) {
	if p.FamilyName == "" {
		return 0, fault.New(fault.Invalid, "directory.CreatePersonTx", "no-name")
	}
	if err := d.lockTx(ctx, tx); err != nil {
		return 0, err
	}
	var n PersonID
	err := tx.QueryRow(ctx, insertPerson, text(string(p.RPPS)), p.Civility, p.FamilyName, p.GivenName, p.Profession, p.KnowHow).Scan(&n)
	return n, err
}

// CreateStructureTx makes a structure; a FINESS or SIRET that is known gives the one it
// has. Locks the register: of two who make the same one, the second finds it.
func (d *Directory) CreateStructureTx(ctx context.Context, tx *pg.Tx, s Structure) (StructureID, error) {
	const op = "directory.CreateStructureTx"
	if s.Name == "" {
		return 0, fault.New(fault.Invalid, op, "no-name")
	}
	if err := d.lockTx(ctx, tx); err != nil {
		return 0, err
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
	err = tx.QueryRow(ctx, insertStructure, finess, siret, s.Name, s.TradeName, s.Sector, s.Street, s.PostalCode,
		s.City, s.Country, s.Department, s.Presentation, s.Preparation).Scan(&n)
	return n, err
}

// CreateSituationTx ties a person to a structure. mode is L, S or B (mode d'exercice). A
// tie that is there already stays as it is. What the person shows follows.
func (d *Directory) CreateSituationTx(ctx context.Context, tx *pg.Tx, p PersonID, s StructureID, mode string, from time.Time) error {
	if err := d.lockTx(ctx, tx); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, insertSituation, p, number(int64(s)), mode, from)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	bals, err := balsBy(ctx, tx, balsHeldBy, p)
	if err != nil {
		return err
	}
	return d.publishTx(ctx, tx, from, true, bals...)
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
