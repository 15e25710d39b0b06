package national

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/codec/extraction"
	"pli/fault"
	"pli/internal/pg"
)

const (
	lockPart = `
SELECT p.part, s.part FROM national_part p
JOIN national_stage s ON s.owner = $1 AND s.staged AND s.edition = p.edition AND s.part <> p.part
FOR UPDATE`

	flip = `UPDATE national_part SET part = $1, edition = edition + 1, swapped_at = $2`

	freeStage = `DELETE FROM national_stage`

	keepDone = `
UPDATE national_import SET state = 'done', finished_at = $2, ended = $3, restored = $4, unknown = $5 WHERE id = $1`

	// Addresses that were published and are no more; {old} and {new} are parts.
	insertDeparted = `
INSERT INTO departed (address, kind, pp_type, pp, place_type, place, service, gone_at)
SELECT o.f_address, o.kind, o.pp_type, o.pp, o.place_type, o.place, o.service, $1
FROM listing_{old} o WHERE NOT EXISTS (SELECT 1 FROM listing_{new} n WHERE n.f_address = o.f_address)`

	deleteReturned = `
DELETE FROM departed d WHERE EXISTS (SELECT 1 FROM listing_{new} n WHERE n.f_address = d.address)`

	departedDomains = `SELECT DISTINCT split_part(address, '@', 2) FROM departed WHERE gone_at = $1`

	// Traces of an address are kept three years (mssante.md §3.4), lines refused a season.
	forgetDeparted = `DELETE FROM departed WHERE gone_at < $1::timestamptz - interval '3 years'`

	forgetRefusals = `
DELETE FROM national_refusal r USING national_import i
WHERE i.id = r.import_id AND i.started_at < $1::timestamptz - interval '90 days'`

	deleteDeparted = `DELETE FROM departed WHERE gone_at = $1 AND split_part(address, '@', 2) = ANY($2::text[])`
)

// swap makes the part built the one that is read, with what follows, in one transaction.
// Nobody waits for it: readers see the edition before or the one after.
func (im *Importer) swap(ctx context.Context, r *Report, owner []byte, o Options) error {
	now := im.now()
	done := *r
	err := im.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		done = *r
		done.State, done.FinishedAt = Done, now
		var old, fresh string
		if err := tx.QueryRow(ctx, lockPart, owner).Scan(&old, &fresh); err != nil {
			if errors.Is(err, pgx.ErrNoRows) {
				return fault.New(fault.Conflict, "national.swap", "import-runs")
			}
			return err
		}
		follow := im.departTx
		if r.Dataset == extraction.Activities {
			follow = func(ctx context.Context, tx *pg.Tx, _, fresh string, now time.Time) error {
				return im.peopleTx(ctx, tx, fresh, now, &done, o)
			}
		}
		if err := follow(ctx, tx, old, fresh, now); err != nil {
			return err
		}
		for _, sql := range []string{forgetDeparted, forgetRefusals} {
			if _, err := tx.Exec(ctx, sql, now); err != nil {
				return err
			}
		}
		im.step("swap")
		if _, err := tx.Exec(ctx, flip, fresh, now); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, freeStage); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, keepDone, r.ID, now, done.Ended, done.Restored, done.Unknown)
		return err
	})
	if err == nil {
		*r = done
	}
	return err
}

func parts(sql, old, fresh string) string {
	return strings.NewReplacer("{old}", old, "{new}", fresh).Replace(sql)
}

// departTx keeps who had the addresses that are gone, but for those of our domains.
func (im *Importer) departTx(ctx context.Context, tx *pg.Tx, old, fresh string, now time.Time) error {
	if _, err := tx.Exec(ctx, `SELECT set_config('work_mem', '32MB', true), set_config('plan_cache_mode', 'auto', true)`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, parts(deleteReturned, old, fresh)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, parts(insertDeparted, old, fresh), now); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, departedDomains, now)
	if err != nil {
		return err
	}
	domains, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	domains = slices.DeleteFunc(domains, func(d string) bool { return !im.Local(d) && !im.Patient(d) })
	if len(domains) == 0 {
		return nil
	}
	_, err = tx.Exec(ctx, deleteDeparted, now, domains)
	return err
}
