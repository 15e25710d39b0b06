package mailstore

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

func sortPlaces(ps []Place) {
	slices.SortFunc(ps, func(a, b Place) int { return int(int64(a.UID) - int64(b.UID)) })
}

const lockMailboxes = `SELECT ` + mailboxColumns + ` FROM mailbox WHERE id = ANY($1) ORDER BY id FOR UPDATE`

// lock takes the rows of both mailboxes by ascending id and sees that they are of one
// BAL: the packets only open for their holder.
func (s *Store) lock(ctx context.Context, tx *pg.Tx, op string, from, to id.Mailbox) error {
	rows, err := tx.Query(ctx, lockMailboxes, []int64{int64(from), int64(to)})
	if err != nil {
		return pg.Error(op, err)
	}
	ms, err := pgx.CollectRows(rows, scanMailbox)
	if err != nil {
		return pg.Error(op, err)
	}
	want := 2
	if from == to {
		want = 1
	}
	if len(ms) != want || ms[0].BAL != ms[want-1].BAL {
		return fault.New(fault.NotFound, op, "no-mailbox")
	}
	return nil
}

// copyMessages gives each copied message a new UID in the other mailbox, in the order
// of the old ones. The packet, the view and the letter stay the same: so does the
// holder.
const copyMessages = `
WITH src AS (
	SELECT *, row_number() OVER (ORDER BY uid) AS n FROM message WHERE mailbox_id = $1 AND uid = ANY($3)
), sum AS (
	SELECT count(*) AS n, COALESCE(sum(size), 0)::bigint AS size, count(*) FILTER (WHERE flags & 1 = 0) AS unseen FROM src
), up AS (
	UPDATE mailbox b SET uidnext = uidnext + sum.n, modseq = modseq + 1, messages = messages + sum.n,
		unseen = b.unseen + sum.unseen, size = b.size + sum.size
	FROM sum WHERE b.id = $2 AND sum.n > 0
	RETURNING b.uidnext - sum.n - 1 AS before, b.modseq
), ins AS (
	INSERT INTO message (mailbox_id, uid, modseq, letter_id, generation, packet, view, flags, keywords, size,
		message_id_key, thread_key, received_at)
	SELECT $2, up.before + src.n, up.modseq, letter_id, generation, packet, view, flags, keywords, size,
		message_id_key, thread_key, received_at FROM src, up
)
SELECT src.uid, up.before + src.n FROM src, up ORDER BY src.uid`

// CopyTx copies messages to another mailbox of the same BAL (or the same mailbox).
// quotaSize is the octets the BAL may hold; 0 is no bound. UIDs that are gone are left
// out. Errors: fault.NotFound, fault.Quota.
func (s *Store) CopyTx(ctx context.Context, tx *pg.Tx, from, to id.Mailbox, uids []mail.UID, quotaSize int64) ([]Copied, error) {
	const op = "mailstore.CopyTx"
	if err := s.lock(ctx, tx, op, from, to); err != nil {
		return nil, err
	}
	cs, err := copyRows(ctx, tx, op, from, to, uids)
	if err != nil || quotaSize == 0 || len(cs) == 0 {
		return cs, err
	}
	var used int64
	err = tx.QueryRow(ctx, `SELECT sum(size)::bigint FROM mailbox WHERE bal_id = (SELECT bal_id FROM mailbox WHERE id = $1)`, int64(to)).Scan(&used)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	if used > quotaSize {
		return nil, fault.New(fault.Quota, op, "over-quota")
	}
	return cs, nil
}

func copyRows(ctx context.Context, tx *pg.Tx, op string, from, to id.Mailbox, uids []mail.UID) ([]Copied, error) {
	rows, err := tx.Query(ctx, copyMessages, int64(from), int64(to), int64s(uids))
	if err != nil {
		return nil, pg.Error(op, err)
	}
	cs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Copied, err error) {
		err = row.Scan(&c.Source, &c.Copy)
		return c, err
	})
	return cs, pg.Error(op, err)
}

// MoveTx moves messages to another mailbox of the same BAL (RFC 6851): all or none.
// Within one mailbox it gives new UIDs. UIDs that are gone are left out. Errors:
// fault.NotFound.
func (s *Store) MoveTx(ctx context.Context, tx *pg.Tx, from, to id.Mailbox, uids []mail.UID) ([]Copied, error) {
	const op = "mailstore.MoveTx"
	if err := s.lock(ctx, tx, op, from, to); err != nil {
		return nil, err
	}
	cs, err := copyRows(ctx, tx, op, from, to, uids)
	if err != nil || len(cs) == 0 {
		return nil, err
	}
	moved := make([]mail.UID, len(cs))
	for i, c := range cs {
		moved[i] = c.Source
	}
	_, err = remove(ctx, tx, op, from, moved, false)
	return cs, err
}

// removeMessages deletes messages, remembers that they were there, and keeps the
// mailbox's counters. The packet goes with the row: nobody opens the letter by it
// again.
const removeMessages = `
WITH gone AS (
	DELETE FROM message WHERE mailbox_id = $1 AND ($2::bigint[] IS NULL OR uid = ANY($2)) AND (NOT $3 OR flags & 8 <> 0)
	RETURNING uid, size, flags
), sum AS (
	SELECT count(*) AS n, COALESCE(sum(size), 0)::bigint AS size, count(*) FILTER (WHERE flags & 1 = 0) AS unseen FROM gone
), up AS (
	UPDATE mailbox b SET modseq = modseq + 1, messages = messages - sum.n, unseen = b.unseen - sum.unseen, size = b.size - sum.size
	FROM sum WHERE b.id = $1 AND sum.n > 0 RETURNING b.modseq
), kept AS (
	INSERT INTO expunged (mailbox_id, uid, modseq) SELECT $1, gone.uid, up.modseq FROM gone, up
)
SELECT uid FROM gone ORDER BY uid`

func remove(ctx context.Context, tx *pg.Tx, op string, mb id.Mailbox, uids []mail.UID, deletedOnly bool) ([]mail.UID, error) {
	var which []int64
	if uids != nil {
		which = int64s(uids)
	}
	rows, err := tx.Query(ctx, removeMessages, int64(mb), which, deletedOnly)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	gone, err := pgx.CollectRows(rows, pgx.RowTo[mail.UID])
	return gone, pg.Error(op, err)
}

// ExpungeTx removes the messages marked \Deleted among uids (nil: all of them) and
// returns their UIDs. Errors: fault.NotFound when the mailbox is gone.
func (s *Store) ExpungeTx(ctx context.Context, tx *pg.Tx, mb id.Mailbox, uids []mail.UID) ([]mail.UID, error) {
	const op = "mailstore.ExpungeTx"
	if _, err := s.one(ctx, tx, op, lockMailbox, int64(mb)); err != nil {
		return nil, err
	}
	return remove(ctx, tx, op, mb, uids, true)
}
