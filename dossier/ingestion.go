package dossier

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
)

// Ingestion is the state of the document job for one letter in one BAL.
type Ingestion struct {
	Letter      id.Letter
	BAL         id.BAL
	Mailbox     id.Mailbox // where the message was put
	UID         int64
	Generation  int
	Packet      []byte // for the ingest holder; nil once done
	ReversePath []byte // sealed by the letter's session key; "" inside is <>
	Done        bool
	Filed       int
	Refused     int
}

const insertIngestion = `
INSERT INTO ingestion (letter_id, bal_id, mailbox_id, uid, generation, packet, reverse_path)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`

// InsertIngestionTx remembers that a letter carries an archive; again is fine.
func (d *Dossier) InsertIngestionTx(ctx context.Context, tx *pg.Tx, in Ingestion) error {
	_, err := tx.Exec(ctx, insertIngestion, in.Letter, in.BAL, in.Mailbox, in.UID, in.Generation, in.Packet, in.ReversePath)
	return pg.Error("dossier.InsertIngestionTx", err)
}

const getIngestion = `
SELECT letter_id, bal_id, mailbox_id, uid, generation, packet, reverse_path, done_at IS NOT NULL, filed, refused
FROM ingestion WHERE letter_id = $1 AND bal_id = $2`

// Ingestion gives the state of the job. fault.NotFound.
func (d *Dossier) Ingestion(ctx context.Context, q pg.Querier, l id.Letter, b id.BAL) (Ingestion, error) {
	var in Ingestion
	err := q.QueryRow(ctx, getIngestion, l, b).Scan(&in.Letter, &in.BAL, &in.Mailbox, &in.UID, &in.Generation, &in.Packet,
		&in.ReversePath, &in.Done, &in.Filed, &in.Refused)
	return in, pg.Error("dossier.Ingestion", err)
}

const finishIngestion = `
UPDATE ingestion SET done_at = $3, filed = $4, refused = $5, packet = NULL, reverse_path = NULL
WHERE letter_id = $1 AND bal_id = $2 AND done_at IS NULL`

// FinishIngestionTx ends the job and drops the keys that let the house read the letter.
func (d *Dossier) FinishIngestionTx(ctx context.Context, tx *pg.Tx, l id.Letter, b id.BAL, filed, refused int, at time.Time) error {
	_, err := tx.Exec(ctx, finishIngestion, l, b, utc(at), filed, refused)
	return pg.Error("dossier.FinishIngestionTx", err)
}

// Quarantined is a document, or a whole archive, that was not filed. The message stays
// in its mailbox.
type Quarantined struct {
	Letter      id.Letter
	BAL         id.BAL
	Mailbox     id.Mailbox
	UID         int64
	DocumentKey []byte // which entry of the archive; empty for the archive itself
	Code        health.IntegrationCode
	Cause       string // constant words, never a value of the document
	CreatedAt   time.Time
}

const insertQuarantine = `
INSERT INTO quarantine (letter_id, bal_id, mailbox_id, uid, document_key, code, cause, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`

// QuarantineTx keeps what could not be filed, once.
func (d *Dossier) QuarantineTx(ctx context.Context, tx *pg.Tx, qn Quarantined) (fresh bool, err error) {
	if qn.DocumentKey == nil {
		qn.DocumentKey = []byte{}
	}
	tag, err := tx.Exec(ctx, insertQuarantine, qn.Letter, qn.BAL, qn.Mailbox, qn.UID, qn.DocumentKey, int(qn.Code), qn.Cause, utc(qn.CreatedAt))
	return tag.RowsAffected() == 1, pg.Error("dossier.QuarantineTx", err)
}

const listQuarantine = `
SELECT letter_id, bal_id, mailbox_id, uid, document_key, code, cause, created_at FROM quarantine
WHERE settled_at IS NULL ORDER BY id LIMIT $1`

// Quarantine gives what waits for somebody, oldest first.
func (d *Dossier) Quarantine(ctx context.Context, q pg.Querier, limit int) ([]Quarantined, error) {
	const op = "dossier.Quarantine"
	rows, err := q.Query(ctx, listQuarantine, limit)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	qs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Quarantined, error) {
		var x Quarantined
		err := row.Scan(&x.Letter, &x.BAL, &x.Mailbox, &x.UID, &x.DocumentKey, &x.Code, &x.Cause, &x.CreatedAt)
		return x, err
	})
	return qs, pg.Error(op, err)
}
