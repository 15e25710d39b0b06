package mailstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/id"
	"pli/internal/pg"
)

const keepContentKeys = `
INSERT INTO deposited (bal_id, content_key, deposited_at)
SELECT $1, k, $3 FROM unnest($2::bytea[]) AS k ORDER BY k
ON CONFLICT DO NOTHING RETURNING content_key`

// FreshTx remembers content keys of a BAL for seven days and says, in their order, which
// were not known: what is done under a key is then done once. Deposits remember their
// own (Deposit.ContentKey); this is for what leaves.
func (s *Store) FreshTx(ctx context.Context, tx *pg.Tx, bal id.BAL, keys [][]byte, at time.Time) ([]bool, error) {
	const op = "mailstore.FreshTx"
	rows, err := tx.Query(ctx, keepContentKeys, bal, keys, at)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	kept, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, pg.Error(op, err)
	}
	known := make(map[string]bool, len(kept))
	for _, k := range kept {
		known[string(k)] = true
	}
	fresh := make([]bool, len(keys))
	for i, k := range keys {
		fresh[i] = known[string(k)]
	}
	return fresh, nil
}
