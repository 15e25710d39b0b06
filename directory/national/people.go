package national

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/pg"
)

// Who of our register is in the activity file, and where. {new} is the part built. The
// id of a professional is that of listing.PractitionerID.
const (
	exercises = `EXISTS (SELECT 1 FROM practitioner_{new} n WHERE n.id = 'rpps-' || p.rpps AND n.from_activity)`

	there = `EXISTS (SELECT 1 FROM role_{new} r JOIN organization_{new} o ON o.id = r.organization
	WHERE r.practitioner = 'rpps-' || p.rpps AND r.from_activity
	  AND (o.finess = t.finess OR o.finess_ej = t.finess OR o.siret = t.siret))`

	countPeople = `
SELECT count(*) FILTER (WHERE p.seen_at IS NOT NULL AND p.ended_at IS NULL),
       count(*) FILTER (WHERE p.seen_at IS NULL AND NOT ` + exercises + `)
FROM person p WHERE p.rpps IS NOT NULL`

	selectEnding = `
SELECT p.id FROM person p
WHERE p.rpps IS NOT NULL AND p.seen_at IS NOT NULL AND p.ended_at IS NULL AND NOT ` + exercises + `
ORDER BY p.id`

	selectBack = `
SELECT p.id FROM national_ended e JOIN person p ON p.id = e.person_id
WHERE p.rpps IS NOT NULL AND ` + exercises + ` ORDER BY p.id`

	seePeople = `UPDATE person p SET seen_at = $1 WHERE p.rpps IS NOT NULL AND ` + exercises

	keepEnded   = `INSERT INTO national_ended (person_id, ended_at) VALUES ($1, $2) ON CONFLICT (person_id) DO UPDATE SET ended_at = $2`
	forgetEnded = `DELETE FROM national_ended WHERE person_id = $1`

	// Situations of persons who go on: one that was seen and is no more has ended.
	countSituations = `
SELECT count(*), count(*) FILTER (WHERE NOT ` + there + `)
FROM situation s JOIN person p ON p.id = s.person_id JOIN structure t ON t.id = s.structure_id
WHERE s.ended_at IS NULL AND s.seen_at IS NOT NULL AND ` + exercises

	endSituations = `
UPDATE situation s SET ended_at = $1, gone_at = $1 FROM person p, structure t
WHERE p.id = s.person_id AND t.id = s.structure_id AND s.ended_at IS NULL AND s.seen_at IS NOT NULL
  AND ` + exercises + ` AND NOT ` + there + ` RETURNING p.id`

	restoreSituations = `
UPDATE situation s SET ended_at = NULL, gone_at = NULL FROM person p, structure t
WHERE p.id = s.person_id AND t.id = s.structure_id AND s.gone_at IS NOT NULL AND s.ended_at = s.gone_at AND ` + there + ` RETURNING p.id`

	// BAL of ours that came while the listings were being carried over
	dropOurs = `DELETE FROM listing_{new} n USING bal b WHERE n.f_address = b.address`

	seeSituations = `
UPDATE situation s SET seen_at = $1 FROM person p, structure t
WHERE p.id = s.person_id AND t.id = s.structure_id AND s.ended_at IS NULL AND ` + there
)

// Endings of more than this part of the people seen, and of more than so many, are
// rather a broken file than the truth.
const (
	massPart  = 0.10
	massFloor = 5
)

func mass(ending, of int64) bool { return ending > massFloor && float64(ending) > massPart*float64(of) }

// peopleTx carries out what an activity file says of our own people (DIR-07): who was
// seen before and is no more has ended; who was never seen is let be. Locks persons by
// rising id. Errors: fault.InvalidContent (mass-endings).
func (im *Importer) peopleTx(ctx context.Context, tx *pg.Tx, fresh string, now time.Time, r *Report, o Options) error {
	r.Ended, r.Restored, r.Unknown = 0, 0, 0
	if im.Ended != nil {
		if err := im.Ended.MovedTx(ctx, tx, nil, now); err != nil {
			return err
		}
	}
	q := func(sql string) string { return parts(sql, "", fresh) }
	if _, err := tx.Exec(ctx, `SELECT set_config('plan_cache_mode', 'auto', true)`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, q(dropOurs)); err != nil {
		return err
	}
	var seen, situations, endingSituations int64
	if err := tx.QueryRow(ctx, q(countPeople)).Scan(&seen, &r.Unknown); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, q(countSituations)).Scan(&situations, &endingSituations); err != nil {
		return err
	}
	ending, err := numbers(ctx, tx, q(selectEnding))
	if err != nil {
		return err
	}
	if !o.Force && (mass(int64(len(ending)), seen) || mass(endingSituations, situations)) {
		return fault.New(fault.InvalidContent, "national.peopleTx", "mass-endings")
	}
	back, err := numbers(ctx, tx, q(selectBack))
	if err != nil {
		return err
	}
	if im.Ended != nil {
		if err := im.tellTx(ctx, tx, ending, back, now); err != nil {
			return err
		}
		r.Ended, r.Restored = int64(len(ending)), int64(len(back))
	}
	moved, err := numbers(ctx, tx, q(restoreSituations))
	if err != nil {
		return err
	}
	left, err := numbers(ctx, tx, q(endSituations), now)
	if err != nil {
		return err
	}
	for _, sql := range []string{seePeople, seeSituations} {
		if _, err := tx.Exec(ctx, q(sql), now); err != nil {
			return err
		}
	}
	if moved = append(moved, left...); im.Ended == nil || len(moved) == 0 {
		return nil
	}
	return im.Ended.MovedTx(ctx, tx, moved, now)
}

// tellTx tells the register who ended and who is back.
func (im *Importer) tellTx(ctx context.Context, tx *pg.Tx, ending, back []int64, now time.Time) error {
	for _, p := range ending {
		if err := im.Ended.EndedTx(ctx, tx, p, now); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, keepEnded, p, now); err != nil {
			return err
		}
	}
	for _, p := range back {
		if err := im.Ended.BackTx(ctx, tx, p, now); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, forgetEnded, p); err != nil {
			return err
		}
	}
	return nil
}

func numbers(ctx context.Context, tx *pg.Tx, sql string, args ...any) ([]int64, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}
