package outbound

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

const sqlInsert = `INSERT INTO outbound (letter_id, packet, generation, sender_bal_id, domain, reverse_path, envelope_id,
	full_return, queued_at, expires_at, next_at, size)
	VALUES ($1, $2, $3, nullif($4::bigint, 0), $5, $6, $7, $8, $9, $10, $9, $11) RETURNING id`

const sqlInsertRecipient = `INSERT INTO outbound_recipient (outbound_id, n, address, original, notify) VALUES ($1, $2, $3, $4, $5)`

// sqlClaim takes an item in hand. A worker that died lets go when its lease ends.
const sqlClaim = `UPDATE outbound SET lease_until = $2::timestamptz + $3::interval
	WHERE id = $1 AND done_at IS NULL AND (lease_until IS NULL OR lease_until <= $2)
	RETURNING letter_id, packet, generation, coalesce(sender_bal_id, 0), domain, reverse_path, envelope_id, full_return,
	size, queued_at, expires_at, next_at, attempts`

const sqlIsDone = `SELECT done_at IS NOT NULL FROM outbound WHERE id = $1`

const sqlRenew = `UPDATE outbound SET lease_until = $2::timestamptz + $3::interval WHERE id = $1 AND done_at IS NULL`

const sqlRelease = `UPDATE outbound SET lease_until = NULL WHERE id = $1`

const sqlRecipients = `SELECT n, address, original, notify, state, attempts, tried_at, delay_told, end_told, reply_code, enhanced,
	reply_text, remote_mta FROM outbound_recipient WHERE outbound_id = $1 ORDER BY n`

const sqlSettleRecipient = `UPDATE outbound_recipient SET state = $3, attempts = attempts + 1, tried_at = $4, end_told = $5,
	reply_code = $6, enhanced = $7, reply_text = $8, remote_mta = $9 WHERE outbound_id = $1 AND n = $2 AND state = 'queued'`

const sqlSettle = `UPDATE outbound SET attempts = attempts + 1, next_at = $2 WHERE id = $1`

const sqlDelayTold = `UPDATE outbound_recipient SET delay_told = true WHERE outbound_id = $1 AND n = ANY($2)`

const sqlEndTold = `UPDATE outbound_recipient SET end_told = true WHERE outbound_id = $1 AND n = ANY($2)`

// sqlFinish drops the key: what the row still holds of the letter can no longer be read.
const sqlFinish = `UPDATE outbound SET done_at = $2, packet = '', lease_until = NULL WHERE id = $1 AND done_at IS NULL
	AND NOT EXISTS (SELECT 1 FROM outbound_recipient WHERE outbound_id = $1 AND (state = 'queued' OR NOT end_told))`

// sqlStuck finds items that nobody has in hand long after their time: their job was
// parked or lost.
const sqlStuck = `SELECT id FROM outbound WHERE done_at IS NULL AND next_at < $1 AND (lease_until IS NULL OR lease_until < $1)
	ORDER BY next_at LIMIT 1000`

const sqlForgetRecipients = `DELETE FROM outbound_recipient r USING outbound o WHERE o.id = r.outbound_id AND o.done_at < $1`

const sqlForget = `DELETE FROM outbound WHERE done_at < $1`

const sqlWaiting = `SELECT count(*), count(*) FILTER (WHERE next_at < $1) FROM outbound WHERE done_at IS NULL`

// item is a row in hand.
type item struct {
	id          int64
	letter      id.Letter
	packet      []byte
	generation  int
	sender      id.BAL
	domain      string
	reversePath []byte
	envelopeID  []byte
	full        bool
	size        int64
	queuedAt    time.Time
	expiresAt   time.Time
	nextAt      time.Time
	attempts    int
	recipients  []recipient
}

// recipient is one row of outbound_recipient.
type recipient struct {
	n         int
	address   []byte
	original  []byte
	notify    mail.Notify
	state     string
	attempts  int
	triedAt   *time.Time
	delayTold bool
	endTold   bool
	code      int
	enhanced  string
	text      []byte
	mta       string
}

func insertTx(ctx context.Context, tx *pg.Tx, it Item, expires time.Time) (int64, error) {
	at := it.At.UTC().Truncate(time.Microsecond)
	var n int64
	err := tx.QueryRow(ctx, sqlInsert, it.Letter, it.Packet, it.Generation, it.Sender, it.Domain, it.ReversePath, it.EnvelopeID,
		it.Full, at, expires.UTC(), it.Size).Scan(&n)
	if err != nil {
		return 0, err
	}
	b := &pgx.Batch{}
	for i, r := range it.Recipients {
		b.Queue(sqlInsertRecipient, n, i, r.Address, r.Original, int(r.Notify))
	}
	return n, tx.SendBatch(ctx, b).Close()
}

func (q *Queue) recipients(ctx context.Context, outboundID int64) ([]recipient, error) {
	rows, err := q.d.DB.Query(ctx, sqlRecipients, outboundID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r recipient, err error) {
		err = row.Scan(&r.n, &r.address, &r.original, &r.notify, &r.state, &r.attempts, &r.triedAt, &r.delayTold, &r.endTold,
			&r.code, &r.enhanced, &r.text, &r.mta)
		return r, err
	})
}
