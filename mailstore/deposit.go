package mailstore

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

const insertLetter = `
INSERT INTO letter (id, size, sealed_size, sealed_sha256, outline)
VALUES ($1, $2, $3, $4, $5)`

// InsertLetterTx keeps one sealed letter, whose blob must already be durable. A letter
// that no message, outbound or ingestion row refers to is swept later.
func (s *Store) InsertLetterTx(ctx context.Context, tx *pg.Tx, l Letter) error {
	_, err := tx.Exec(ctx, insertLetter, [16]byte(l.ID), l.Size, l.SealedSize, l.SealedSHA256, l.Outline)
	return pg.Error("mailstore.InsertLetterTx", err)
}

// deposit does a whole delivery in one round trip. Its steps, in the order in which
// the data force them: keep what is not a repeat (fresh), find the mailboxes (todo),
// lock their rows by ascending id (locked), take UIDs and one MODSEQ per mailbox
// (up), write the messages (ins). The update reads the row as the lock left it, not
// as the statement's snapshot saw it, so UIDs never repeat.
const deposit = `
WITH d AS (
	SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::int[], $6::bytea[],
		$7::bigint[], $8::int[], $9::text[], $10::bytea[], $11::bytea[], $12::bytea[], $13::timestamptz[])
	WITH ORDINALITY AS d (bal_id, role, box, letter_id, generation, packet,
		size, flags, keywords, message_id_key, thread_key, content_key, received_at, n)
), fresh AS (
	INSERT INTO deposited (bal_id, content_key, deposited_at)
	SELECT bal_id, content_key, received_at FROM d WHERE content_key IS NOT NULL ORDER BY 1, 2
	ON CONFLICT DO NOTHING RETURNING bal_id, content_key
), todo AS (
	SELECT d.*, m.id AS mailbox_id FROM d JOIN mailbox m ON m.bal_id = d.bal_id AND m.id =
		CASE d.box WHEN 0 THEN (SELECT x.id FROM mailbox x WHERE x.bal_id = d.bal_id AND x.role = d.role) ELSE d.box END
	WHERE d.content_key IS NULL OR (d.bal_id, d.content_key) IN (SELECT bal_id, content_key FROM fresh)
), need AS (
	SELECT mailbox_id, count(*) AS n, sum(size)::bigint AS size, count(*) FILTER (WHERE flags & 1 = 0) AS unseen
	FROM todo GROUP BY mailbox_id
), locked AS (
	SELECT m.id FROM mailbox m WHERE m.id IN (SELECT mailbox_id FROM need) ORDER BY m.id FOR UPDATE
), up AS (
	UPDATE mailbox m SET uidnext = m.uidnext + need.n, modseq = m.modseq + 1, messages = m.messages + need.n,
		unseen = m.unseen + need.unseen, size = m.size + need.size
	FROM need, locked WHERE need.mailbox_id = locked.id AND m.id = locked.id
	RETURNING m.id, m.uidvalidity, m.uidnext - need.n AS first, m.modseq
), placed AS (
	SELECT todo.*, up.uidvalidity, up.modseq, up.first + row_number() OVER (PARTITION BY todo.mailbox_id ORDER BY todo.n) - 1 AS uid
	FROM todo JOIN up ON up.id = todo.mailbox_id
), ins AS (
	INSERT INTO message (mailbox_id, uid, modseq, letter_id, generation, packet, flags, keywords, size,
		message_id_key, thread_key, received_at)
	SELECT mailbox_id, uid, modseq, letter_id, generation, packet, flags, string_to_array(keywords, ' '), size,
		message_id_key, thread_key, received_at FROM placed
)
SELECT d.n, COALESCE(p.mailbox_id, 0), COALESCE(p.uidvalidity, 0), COALESCE(p.uid, 0),
	d.content_key IS NOT NULL AND (d.bal_id, d.content_key) NOT IN (SELECT bal_id, content_key FROM fresh),
	COALESCE((SELECT sum(x.size) FROM mailbox x WHERE x.bal_id = d.bal_id), 0)::bigint
FROM d LEFT JOIN placed p ON p.n = d.n ORDER BY d.n`

// DepositTx appends one message to a mailbox. See DepositAllTx.
func (s *Store) DepositTx(ctx context.Context, tx *pg.Tx, d Deposit) (Placed, error) {
	ps, err := s.DepositAllTx(ctx, tx, []Deposit{d})
	if err != nil {
		return Placed{}, err
	}
	return ps[0], nil
}

// DepositAllTx appends messages to mailboxes, in one round trip, and answers in the
// order of ds. The letters must be in already (InsertLetterTx).
//
// It locks the mailbox rows by ascending id until tx ends, so UIDs only rise
// (RFC 9051 §2.3.1.1) and MODSEQ rises by one per mailbox (RFC 7162 §3.1). A repeat
// of a ContentKey comes back as Duplicate and writes nothing. It wakes nobody: the
// caller does, after commit.
//
// Errors, which all want a rollback: fault.NotFound (no such mailbox in that BAL),
// fault.Quota.
func (s *Store) DepositAllTx(ctx context.Context, tx *pg.Tx, ds []Deposit) ([]Placed, error) {
	const op = "mailstore.DepositAllTx"
	if len(ds) == 0 {
		return nil, nil
	}
	ds, again := withoutRepeats(ds)
	rows, err := tx.Query(ctx, deposit, depositArgs(ds)...)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	type result struct {
		Placed
		used int64
	}
	got, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r result, err error) {
		var n int64
		err = row.Scan(&n, &r.Mailbox, &r.UIDValidity, &r.UID, &r.Duplicate, &r.used)
		return r, err
	})
	if err != nil {
		return nil, pg.Error(op, err)
	}
	added := make(map[id.BAL]int64)
	placed := make([]Placed, len(got))
	for i, r := range got {
		d := ds[i]
		switch {
		case r.Duplicate:
		case r.Mailbox == 0:
			return nil, fault.New(fault.NotFound, op, "no-mailbox")
		default:
			if added[d.BAL] += d.Size; d.QuotaSize > 0 && r.used+added[d.BAL] > d.QuotaSize {
				return nil, fault.New(fault.Quota, op, "over-quota")
			}
		}
		placed[i] = r.Placed
	}
	return again(placed), nil
}

func depositArgs(ds []Deposit) []any {
	n := len(ds)
	var (
		bal, box, size   = make([]int64, n), make([]int64, n), make([]int64, n)
		role, keywords   = make([]string, n), make([]string, n)
		letter           = make([][16]byte, n)
		generation, flag = make([]int32, n), make([]int32, n)
		packet, messages = make([][]byte, n), make([][]byte, n)
		threads, content = make([][]byte, n), make([][]byte, n)
		received         = make([]time.Time, n)
	)
	for i, d := range ds {
		bal[i], box[i], size[i] = int64(d.BAL), int64(d.Mailbox), d.Size
		if role[i] = string(d.Role); d.Role == "" {
			role[i] = string(mail.Inbox)
		}
		letter[i], generation[i], packet[i] = d.Letter, int32(d.Generation), d.Packet
		flag[i], keywords[i] = int32(d.Flags), strings.Join(cleanKeywords(d.Keywords), " ")
		messages[i], threads[i], content[i] = d.MessageIDKey, d.ThreadKey, d.ContentKey
		received[i] = d.ReceivedAt
	}
	return []any{bal, role, box, letter, generation, packet, size, flag, keywords, messages, threads, content, received}
}

// withoutRepeats drops the deposits that repeat a content key within ds: the
// statement could not tell them apart. The function it returns puts the answers
// back in the order of ds, repeats as duplicates.
func withoutRepeats(ds []Deposit) ([]Deposit, func([]Placed) []Placed) {
	type key struct {
		bal     id.BAL
		content string
	}
	seen := make(map[key]bool, len(ds))
	kept, repeat := make([]Deposit, 0, len(ds)), make([]bool, len(ds))
	for i, d := range ds {
		k := key{d.BAL, string(d.ContentKey)}
		if len(d.ContentKey) > 0 && seen[k] {
			repeat[i] = true
			continue
		}
		if len(d.ContentKey) == 0 {
			d.ContentKey = nil
		}
		seen[k] = true
		kept = append(kept, d)
	}
	return kept, func(ps []Placed) []Placed {
		if len(kept) == len(ds) {
			return ps
		}
		all := make([]Placed, 0, len(ds))
		for i := range ds {
			if repeat[i] {
				all = append(all, Placed{Duplicate: true})
				continue
			}
			all, ps = append(all, ps[0]), ps[1:]
		}
		return all
	}
}

const usedSize = `SELECT COALESCE(sum(size), 0)::bigint FROM mailbox WHERE bal_id = $1`

// UsedSize is the octets of all messages of a BAL, as received (before sealing).
func (s *Store) UsedSize(ctx context.Context, q pg.Querier, bal id.BAL) (int64, error) {
	var n int64
	err := q.QueryRow(ctx, usedSize, int64(bal)).Scan(&n)
	return n, pg.Error("mailstore.UsedSize", err)
}
