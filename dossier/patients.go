package dossier

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/policy"
)

const insertPatient = `
INSERT INTO patient (ins_key, ins_class, traits_sealed, generation, qualified, holder_id, bal_id, account_id)
VALUES ($1, $2, $3, $4, $5, $6, nullif($7::bigint, 0), nullif($8::bigint, 0)) RETURNING id`

// CreatePatientTx opens a dossier.
//
// Errors: fault.Conflict when this INS, or this BAL, has one.
func (d *Dossier) CreatePatientTx(ctx context.Context, tx *pg.Tx, p NewPatient) (id.Patient, error) {
	var n id.Patient
	err := tx.QueryRow(ctx, insertPatient, p.INSKey, p.Class, p.TraitsSealed, max(p.Generation, 1), p.Qualified, p.Holder, p.BAL, p.Account).Scan(&n)
	return n, pg.Error("dossier.CreatePatientTx", err)
}

const patientColumns = `
SELECT id, ins_class, traits_sealed, generation, qualified, holder_id, coalesce(bal_id, 0), coalesce(account_id, 0),
	state, feeding_opposed, created_at FROM patient `

const (
	patientByINS     = patientColumns + `WHERE ins_key = $1`
	patientByID      = patientColumns + `WHERE id = $1`
	patientByBAL     = patientColumns + `WHERE bal_id = $1`
	patientByAccount = patientColumns + `WHERE account_id = $1 ORDER BY id LIMIT 1`
	patientFacts     = patientColumns + `WHERE bal_id = ANY($1::bigint[]) OR id = ANY($2::bigint[])`
)

func scanPatient(row pgx.CollectableRow) (Patient, error) {
	var p Patient
	err := row.Scan(&p.ID, &p.Class, &p.TraitsSealed, &p.Generation, &p.Qualified, &p.Holder, &p.BAL, &p.Account,
		&p.State, &p.FeedingOpposed, &p.CreatedAt)
	return p, err
}

func (d *Dossier) patient(ctx context.Context, q pg.Querier, op, sql string, arg any) (Patient, error) {
	rows, err := q.Query(ctx, sql, arg)
	if err != nil {
		return Patient{}, pg.Error(op, err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, scanPatient)
	return p, pg.Error(op, err)
}

// PatientByINS finds a dossier by the key of its INS. fault.NotFound.
func (d *Dossier) PatientByINS(ctx context.Context, q pg.Querier, insKey []byte) (Patient, error) {
	return d.patient(ctx, q, "dossier.PatientByINS", patientByINS, insKey)
}

// Patient finds a dossier. fault.NotFound.
func (d *Dossier) Patient(ctx context.Context, q pg.Querier, p id.Patient) (Patient, error) {
	return d.patient(ctx, q, "dossier.Patient", patientByID, p)
}

// PatientByBAL finds the dossier of the patient whose BAL this is. fault.NotFound.
func (d *Dossier) PatientByBAL(ctx context.Context, q pg.Querier, b id.BAL) (Patient, error) {
	return d.patient(ctx, q, "dossier.PatientByBAL", patientByBAL, b)
}

// PatientByAccount finds the dossier that an account holds. fault.NotFound.
func (d *Dossier) PatientByAccount(ctx context.Context, q pg.Querier, a id.Account) (Patient, error) {
	return d.patient(ctx, q, "dossier.PatientByAccount", patientByAccount, a)
}

const patientOf = `SELECT coalesce(min(id), 0) FROM patient WHERE account_id = $1`

// PatientOf is PatientByAccount for identity: 0 and no error when the account holds none.
func (d *Dossier) PatientOf(ctx context.Context, q pg.Querier, a id.Account) (id.Patient, error) {
	var p id.Patient
	err := q.QueryRow(ctx, patientOf, a).Scan(&p)
	return p, pg.Error("dossier.PatientOf", err)
}

const setPatientState = `UPDATE patient SET state = $2, feeding_opposed = $3, qualified = $4 WHERE id = $1`

// SetStateTx opens or closes a dossier and records the opposition to its feeding
// (CSP R.1111-47) and whether our identity of the patient is qualified (dmp.md §1.4).
func (d *Dossier) SetStateTx(ctx context.Context, tx *pg.Tx, p id.Patient, s State, feedingOpposed, qualified bool) error {
	_, err := tx.Exec(ctx, setPatientState, p, s, feedingOpposed, qualified)
	return pg.Error("dossier.SetStateTx", err)
}

// PatientFacts tells the gate what is known of dossiers, by BAL and by id; those that
// do not exist are absent.
func (d *Dossier) PatientFacts(ctx context.Context, q pg.Querier, bals []id.BAL, patients []id.Patient) ([]policy.Patient, error) {
	const op = "dossier.PatientFacts"
	rows, err := q.Query(ctx, patientFacts, bals, patients)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	found, err := pgx.CollectRows(rows, scanPatient)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	facts := make([]policy.Patient, len(found))
	for i, p := range found {
		facts[i] = policy.Patient{
			ID: p.ID, BAL: p.BAL, Account: p.Account, Class: p.Class, Open: policy.Is(p.State == Open),
			Qualified: policy.Is(p.Qualified), FeedingOpposed: policy.Is(p.FeedingOpposed),
		}
	}
	return facts, nil
}

const documentFacts = `SELECT id, patient_id, status, visibility FROM document WHERE id = ANY($1::uuid[])`

// DocumentFacts tells the gate what is known of documents; those that do not exist are
// absent.
func (d *Dossier) DocumentFacts(ctx context.Context, q pg.Querier, docs []id.Document) ([]policy.Stored, error) {
	const op = "dossier.DocumentFacts"
	rows, err := q.Query(ctx, documentFacts, docs)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	facts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (policy.Stored, error) {
		var s policy.Stored
		var status Status
		err := row.Scan(&s.ID, &s.Patient, &status, &s.Visibility)
		s.Deleted = policy.Is(status == Deleted)
		return s, err
	})
	return facts, pg.Error(op, err)
}

// utc cuts an instant to the database's grain.
func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// visibility puts N first, keeps each code once and gives the HL7 v2 form of the
// longest its usual name (dmp.md §3.5).
func visibility(codes []string) []string {
	all := []string{health.Normal}
	seen := map[string]bool{health.Normal: true, "": true}
	for _, c := range codes {
		if c == "INVISIBLE_REP_LEGAUX" {
			c = health.HiddenToParents
		}
		if !seen[c] {
			seen[c] = true
			all = append(all, c)
		}
	}
	return all
}
