package directory

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/id"
	"pli/internal/pg"
)

const balsOfMoved = `SELECT id FROM bal WHERE person_id = ANY($1::bigint[]) AND state <> 'purged' ORDER BY id`

// MovedTx publishes again the BAL of persons whose situations ended or go on, as the
// import of the national directory found. It takes the register's lock, also for nobody:
// the import asks for it so before it touches any row.
func (d *Directory) MovedTx(ctx context.Context, tx *pg.Tx, persons []int64, at time.Time) error {
	if err := d.lockTx(ctx, tx); err != nil || len(persons) == 0 {
		return err
	}
	rows, err := tx.Query(ctx, balsOfMoved, persons)
	if err != nil {
		return err
	}
	bals, err := pgx.CollectRows(rows, pgx.RowTo[id.BAL])
	if err != nil {
		return err
	}
	return d.publishTx(ctx, tx, at, true, bals...)
}
