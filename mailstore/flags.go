package mailstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// maxKeywords bounds the keywords of one message.
const maxKeywords = 64

// storeFlags computes the new flags of each message, writes those that differ and
// gives them one new MODSEQ. Keywords compare without letter case (RFC 9051 §2.3.2)
// and keep the case they first came in.
const storeFlags = `
WITH old AS (
	SELECT uid, flags, keywords FROM message
	WHERE mailbox_id = $1 AND uid = ANY($2) AND ($6::bigint = 0 OR modseq <= $6)
), new AS (
	SELECT uid, flags AS was,
		CASE $3::int WHEN 0 THEN $4::int WHEN 1 THEN flags | $4::int ELSE flags & ~$4::int END AS flags,
		CASE $3::int
			WHEN 0 THEN $5::text[]
			WHEN 1 THEN keywords || ARRAY(SELECT k FROM unnest($5::text[]) k
				WHERE lower(k) NOT IN (SELECT lower(x) FROM unnest(keywords) x))
			ELSE ARRAY(SELECT k FROM unnest(keywords) WITH ORDINALITY AS x (k, n)
				WHERE lower(k) NOT IN (SELECT lower(x) FROM unnest($5::text[]) x) ORDER BY n)
		END AS keywords
	FROM old
)
UPDATE message m SET flags = new.flags, keywords = new.keywords, modseq = $7
FROM new WHERE m.mailbox_id = $1 AND m.uid = new.uid
	AND (m.flags <> new.flags OR m.keywords <> new.keywords)
RETURNING m.uid, m.modseq, m.flags, m.keywords, (m.flags & 1 = 0)::int - (new.was & 1 = 0)::int`

const (
	modifiedSince = `SELECT uid FROM message WHERE mailbox_id = $1 AND uid = ANY($2) AND modseq > $3 ORDER BY uid`
	bumpUnseen    = `UPDATE mailbox SET modseq = $2, unseen = unseen + $3 WHERE id = $1`
)

// StoreFlagsTx changes flags under the mailbox lock. It returns the messages that
// changed, with one new MODSEQ, and those left alone because of UnchangedSince.
//
// Errors: fault.NotFound (the mailbox is gone), fault.TooLarge (too many keywords).
func (s *Store) StoreFlagsTx(ctx context.Context, tx *pg.Tx, mb id.Mailbox, uids []mail.UID, f FlagStore) (changed []Place, modified []mail.UID, err error) {
	const op = "mailstore.StoreFlagsTx"
	box, err := s.one(ctx, tx, op, lockMailbox, int64(mb))
	if err != nil {
		return nil, nil, err
	}
	keywords := cleanKeywords(f.Keywords)
	if keywords == nil {
		keywords = []string{}
	}
	if f.UnchangedSince != 0 {
		rows, err := tx.Query(ctx, modifiedSince, int64(mb), int64s(uids), int64(f.UnchangedSince))
		if err != nil {
			return nil, nil, pg.Error(op, err)
		}
		if modified, err = pgx.CollectRows(rows, pgx.RowTo[mail.UID]); err != nil {
			return nil, nil, pg.Error(op, err)
		}
	}
	next := box.ModSeq + 1
	rows, err := tx.Query(ctx, storeFlags, int64(mb), int64s(uids), int(f.Op), int(f.Flags), keywords, int64(f.UnchangedSince), int64(next))
	if err != nil {
		return nil, nil, pg.Error(op, err)
	}
	var (
		unseen, delta int64
		p             Place
	)
	_, err = pgx.ForEachRow(rows, []any{&p.UID, &p.ModSeq, &p.Flags, &p.Keywords, &delta}, func() error {
		if len(p.Keywords) > maxKeywords {
			return fault.New(fault.TooLarge, op, "too-many-keywords")
		}
		unseen += delta
		changed = append(changed, p)
		p.Keywords = nil
		return nil
	})
	if err != nil || len(changed) == 0 {
		return nil, modified, pg.Error(op, err)
	}
	sortPlaces(changed)
	_, err = tx.Exec(ctx, bumpUnseen, int64(mb), int64(next), unseen)
	return changed, modified, pg.Error(op, err)
}
