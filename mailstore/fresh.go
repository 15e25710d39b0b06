package mailstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

const keepContentKeys = `
INSERT INTO deposited AS d (bal_id, content_key, deposited_at)
SELECT $1, k, $3 FROM unnest($2::bytea[]) AS k ORDER BY k
ON CONFLICT (bal_id, content_key) DO UPDATE SET deposited_at = EXCLUDED.deposited_at WHERE d.deposited_at < $4
RETURNING content_key`

// FreshTx remembers content keys of a BAL and says, in their order, which were not met
// in the time before: what is done under a key is then done once. Deposits remember
// their own (Deposit.ContentKey); this is for what leaves.
func (s *Store) FreshTx(ctx context.Context, tx *pg.Tx, bal id.BAL, keys [][]byte, at time.Time, before time.Duration) ([]bool, error) {
	const op = "mailstore.FreshTx"
	rows, err := tx.Query(ctx, keepContentKeys, bal, keys, at, at.Add(-before))
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

const findByMessageID = `
SELECT m.id, m.uidvalidity, x.uid, x.received_at FROM mailbox m
JOIN message x ON x.mailbox_id = m.id AND x.message_id_key = $3
WHERE m.bal_id = $1 AND m.role = $2 ORDER BY x.uid DESC LIMIT 1`

// PlaceOf finds the newest message that bears a Message-ID key in a standard mailbox of
// a BAL, and when it was received. fault.NotFound.
func (s *Store) PlaceOf(ctx context.Context, q pg.Querier, bal id.BAL, role mail.Role, key []byte) (p Placed, receivedAt time.Time, err error) {
	err = q.QueryRow(ctx, findByMessageID, bal, role, key).Scan(&p.Mailbox, &p.UIDValidity, &p.UID, &receivedAt)
	return p, receivedAt.UTC(), pg.Error("mailstore.PlaceOf", err)
}
