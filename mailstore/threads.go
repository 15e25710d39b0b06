package mailstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/id"
	"pli/internal/pg"
)

// Thread is one conversation of a BAL: its newest message and its counts over all
// mailboxes but drafts, junk and trash.
type Thread struct {
	Key      []byte
	Newest   Message
	Messages int
	Unseen   int
}

// threadBoxes are the mailboxes whose messages make conversations. They are asked for
// first, so that what follows goes straight to their rows.
const threadBoxes = `SELECT id FROM mailbox WHERE bal_id = $1 AND COALESCE(role, '') NOT IN ('drafts', 'junk', 'trash')`

func (s *Store) threadBoxes(ctx context.Context, q pg.Querier, bal id.BAL) ([]int64, error) {
	rows, err := q.Query(ctx, threadBoxes, int64(bal))
	if err != nil {
		return nil, pg.Error("mailstore.Threads", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	return ids, pg.Error("mailstore.Threads", err)
}

const threads = `
WITH t AS (
	SELECT thread_key, count(*) AS n, count(*) FILTER (WHERE flags & 1 = 0) AS unseen, max(received_at) AS at
	FROM message WHERE mailbox_id = ANY($1) AND thread_key IS NOT NULL
	GROUP BY thread_key HAVING max(received_at) < $2 ORDER BY max(received_at) DESC, thread_key LIMIT $3
)
SELECT ` + messageColumns + `, t.n, t.unseen
FROM t CROSS JOIN LATERAL (
	SELECT * FROM message x WHERE x.thread_key = t.thread_key AND x.received_at = t.at
		AND x.mailbox_id = ANY($1) ORDER BY x.mailbox_id, x.uid DESC LIMIT 1
) m ORDER BY t.at DESC, t.thread_key`

// Threads lists conversations by descending date of their newest message, older than
// before (zero: from the newest).
func (s *Store) Threads(ctx context.Context, q pg.Querier, bal id.BAL, before time.Time, limit int) ([]Thread, error) {
	const op = "mailstore.Threads"
	if before.IsZero() {
		before = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	boxes, err := s.threadBoxes(ctx, q, bal)
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, threads, boxes, before, limit)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	ts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Thread, err error) {
		t.Newest, err = scanMessageAnd(row, &t.Messages, &t.Unseen)
		t.Key = t.Newest.ThreadKey
		return t, err
	})
	return ts, pg.Error(op, err)
}

const threadMessages = `SELECT ` + messageColumns + ` FROM message m
WHERE m.thread_key = $2 AND m.mailbox_id = ANY($1) ORDER BY m.received_at, m.mailbox_id, m.uid`

// ThreadMessages reads the messages of one conversation by ascending date.
func (s *Store) ThreadMessages(ctx context.Context, q pg.Querier, bal id.BAL, key []byte) ([]Message, error) {
	boxes, err := s.threadBoxes(ctx, q, bal)
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, threadMessages, boxes, key)
	return collect("mailstore.ThreadMessages", rows, err)
}
