package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
)

const (
	lockPerson = `SELECT ended_at FROM person WHERE id = $1 FOR UPDATE`

	endPerson     = `UPDATE person SET ended_at = $2 WHERE id = $1`
	endSituations = `UPDATE situation SET ended_at = $2 WHERE person_id = $1 AND ended_at IS NULL`

	restorePerson     = `UPDATE person SET ended_at = NULL WHERE id = $1`
	restoreSituations = `UPDATE situation SET ended_at = NULL WHERE person_id = $1 AND ended_at = $2`

	balsOfPerson = `SELECT id, state, state_cause, cgu_version <> '' FROM bal WHERE person_id = $1 AND state <> 'purged' ORDER BY id`
)

type balState struct {
	ID    id.BAL
	State health.BALState
	Cause string
	Terms bool // the conditions of use are accepted
}

// EndSituationsTx records that a professional exercises no more, as the national
// directory says (features.md DIR-07): his BAL are suspended, which leaves them readable,
// leave the directory, and their sessions end. It returns those BAL. Again is fine.
//
// Errors: fault.NotFound.
func (d *Directory) EndSituationsTx(ctx context.Context, tx *pg.Tx, p PersonID, at time.Time) ([]id.BAL, error) {
	const op = "directory.EndSituationsTx"
	ended, err := d.lockPersonTx(ctx, tx, op, p)
	if err != nil || ended != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	batch.Queue(endPerson, p, at)
	batch.Queue(endSituations, p, at)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return d.moveAllTx(ctx, tx, op, p, "end-situations", func(b balState) (Move, bool) {
		return Move{To: health.Suspended, Cause: CauseSituation, At: at}, b.State == health.Active
	})
}

// RestoreSituationsTx undoes EndSituationsTx for somebody who is back in the national
// directory: the situations that ended with him go on, and the BAL that were suspended
// for it, or whose conditions of use were accepted meanwhile, are active. It returns
// those. Errors: fault.NotFound.
func (d *Directory) RestoreSituationsTx(ctx context.Context, tx *pg.Tx, p PersonID, at time.Time) ([]id.BAL, error) {
	const op = "directory.RestoreSituationsTx"
	ended, err := d.lockPersonTx(ctx, tx, op, p)
	if err != nil || ended == nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	batch.Queue(restorePerson, p)
	batch.Queue(restoreSituations, p, ended)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return d.moveAllTx(ctx, tx, op, p, "restore-situations", func(b balState) (Move, bool) {
		return Move{To: health.Active, Cause: CauseRestored, At: at},
			b.State == health.Suspended && b.Cause == CauseSituation || b.State == health.Pending && b.Terms
	})
}

// EndedTx is EndSituationsTx for the import of the national directory.
func (d *Directory) EndedTx(ctx context.Context, tx *pg.Tx, person int64, at time.Time) error {
	_, err := d.EndSituationsTx(ctx, tx, PersonID(person), at)
	return err
}

// BackTx is RestoreSituationsTx for the import of the national directory.
func (d *Directory) BackTx(ctx context.Context, tx *pg.Tx, person int64, at time.Time) error {
	_, err := d.RestoreSituationsTx(ctx, tx, PersonID(person), at)
	return err
}

const balsOfMoved = `SELECT id, person_id FROM bal WHERE person_id = ANY($1::bigint[]) AND state <> 'purged' ORDER BY id`

// MovedTx publishes again the BAL of persons whose situations ended or go on while they
// themselves exercise, as the import of the national directory found; each has the trace
// in its chain. It takes the register's lock, also for nobody: the import asks for it so
// before it touches any row.
func (d *Directory) MovedTx(ctx context.Context, tx *pg.Tx, persons []int64, at time.Time) error {
	if err := d.lockTx(ctx, tx); err != nil || len(persons) == 0 {
		return err
	}
	rows, err := tx.Query(ctx, balsOfMoved, persons)
	if err != nil {
		return err
	}
	var bals []id.BAL
	var acts []Act
	var b id.BAL
	var person int64
	_, err = pgx.ForEachRow(rows, []any{&b, &person}, func() error {
		bals = append(bals, b)
		acts = append(acts, Act{BAL: b, Author: Author{Means: ByImport}, Action: "move-situations", Object: fmt.Sprintf("person:%d", person), At: at})
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.publishTx(ctx, tx, at, true, bals...); err != nil {
		return err
	}
	return d.traceTx(ctx, tx, acts...)
}

func (d *Directory) lockPersonTx(ctx context.Context, tx *pg.Tx, op string, p PersonID) (ended *time.Time, err error) {
	if err := d.lockTx(ctx, tx); err != nil {
		return nil, err
	}
	err = tx.QueryRow(ctx, lockPerson, p).Scan(&ended)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fault.New(fault.NotFound, op, "unknown-person")
	}
	return ended, err
}

// moveAllTx moves the BAL of a person that choose, publishes the others again, and
// traces both: one act for the person, one for each BAL moved.
func (d *Directory) moveAllTx(ctx context.Context, tx *pg.Tx, op string, p PersonID, action string, choose func(balState) (Move, bool)) (moved []id.BAL, err error) {
	rows, err := tx.Query(ctx, balsOfPerson, p)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[balState])
	if err != nil {
		return nil, err
	}
	by := Author{Means: ByImport}
	var acts []Act
	var rest []id.BAL
	var at time.Time
	for _, b := range all {
		m, chosen := choose(b)
		at = m.At
		acts = append(acts, Act{BAL: b.ID, Author: by, Action: action, Object: fmt.Sprintf("person:%d", int64(p)), At: m.At})
		if !chosen {
			rest = append(rest, b.ID)
			continue
		}
		if _, err := d.moveTx(ctx, tx, op, b.ID, m); err != nil {
			return nil, err
		}
		acts = append(acts, Act{BAL: b.ID, Author: by, Action: "set-state-" + string(m.To), Object: objectBAL(b.ID), Cause: m.Cause, At: m.At})
		moved = append(moved, b.ID)
	}
	if err := d.publishTx(ctx, tx, at, true, rest...); err != nil {
		return nil, err
	}
	return moved, d.traceTx(ctx, tx, acts...)
}
