package mailstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// snapshot reads the mailbox row and its messages under one snapshot. The first row
// is the mailbox itself, so an empty mailbox still gives its MODSEQ.
const snapshot = `
SELECT 0::bigint, b.modseq, 0, NULL::text[], b.uidvalidity, b.uidnext FROM mailbox b WHERE b.id = $1
UNION ALL
(SELECT uid, modseq, flags, keywords, 0, 0 FROM message WHERE mailbox_id = $1 ORDER BY uid)`

// Snapshot is the mailbox with all its places, by ascending UID, at one instant. Of
// the mailbox it fills ID, UIDValidity, UIDNext, ModSeq and Messages. fault.NotFound.
func (s *Store) Snapshot(ctx context.Context, q pg.Querier, mb id.Mailbox) (Mailbox, []Place, error) {
	const op = "mailstore.Snapshot"
	rows, err := q.Query(ctx, snapshot, int64(mb))
	if err != nil {
		return Mailbox{}, nil, pg.Error(op, err)
	}
	var (
		box    = Mailbox{ID: mb}
		places []Place
		p      Place
		v, n   int64
	)
	_, err = pgx.ForEachRow(rows, []any{&p.UID, &p.ModSeq, &p.Flags, &p.Keywords, &v, &n}, func() error {
		if p.UID == 0 {
			box.ModSeq, box.UIDValidity, box.UIDNext = p.ModSeq, mail.UIDValidity(v), mail.UID(n)
			return nil
		}
		places = append(places, p)
		p.Keywords = nil
		return nil
	})
	if err != nil {
		return Mailbox{}, nil, pg.Error(op, err)
	}
	if box.UIDNext == 0 {
		return Mailbox{}, nil, fault.New(fault.NotFound, op, "no-mailbox")
	}
	box.Messages = int64(len(places))
	return box, places, nil
}

// changesSince reads what came, changed and went under one snapshot. As a MODSEQ is
// given under the mailbox lock, which is held until commit, whoever has seen MODSEQ n
// has seen all below it.
const changesSince = `
SELECT uid, modseq, flags, keywords, false AS gone FROM message WHERE mailbox_id = $1 AND modseq > $2
UNION ALL
SELECT uid, modseq, 0, NULL, true FROM expunged WHERE mailbox_id = $1 AND modseq > $2
ORDER BY modseq, uid`

// ChangesSince lists what changed after since, by ascending MODSEQ, at one instant.
func (s *Store) ChangesSince(ctx context.Context, q pg.Querier, mb id.Mailbox, since mail.ModSeq) ([]Change, error) {
	rows, err := q.Query(ctx, changesSince, int64(mb), int64(since))
	if err != nil {
		return nil, pg.Error("mailstore.ChangesSince", err)
	}
	cs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Change, err error) {
		err = row.Scan(&c.UID, &c.ModSeq, &c.Flags, &c.Keywords, &c.Expunged)
		return c, err
	})
	return cs, pg.Error("mailstore.ChangesSince", err)
}

const places = `
SELECT uid, modseq, flags, keywords FROM message
WHERE mailbox_id = $1 AND uid = ANY($2) ORDER BY uid`

// Places reads flags and MODSEQ of the given UIDs, by ascending UID.
func (s *Store) Places(ctx context.Context, q pg.Querier, mb id.Mailbox, uids []mail.UID) ([]Place, error) {
	rows, err := q.Query(ctx, places, int64(mb), int64s(uids))
	if err != nil {
		return nil, pg.Error("mailstore.Places", err)
	}
	ps, err := pgx.CollectRows(rows, scanPlace)
	return ps, pg.Error("mailstore.Places", err)
}

func scanPlace(row pgx.CollectableRow) (p Place, err error) {
	err = row.Scan(&p.UID, &p.ModSeq, &p.Flags, &p.Keywords)
	return p, err
}

// The letter's outline is looked up only for a message that has no view yet.
const messageColumns = `m.mailbox_id, m.uid, m.modseq, m.letter_id, m.generation, m.packet, m.view,
	CASE WHEN m.view IS NULL THEN (SELECT l.outline FROM letter l WHERE l.id = m.letter_id) END,
	m.flags, m.keywords, m.size, m.message_id_key, m.thread_key, m.received_at`

func scanMessage(row pgx.CollectableRow) (m Message, err error) {
	err = row.Scan(&m.Mailbox, &m.UID, &m.ModSeq, (*[16]byte)(&m.Letter), &m.Generation, &m.Packet, &m.View,
		&m.Outline, &m.Flags, &m.Keywords, &m.Size, &m.MessageIDKey, &m.ThreadKey, &m.ReceivedAt)
	m.ReceivedAt = m.ReceivedAt.UTC()
	return m, err
}

func collect(op string, rows pgx.Rows, err error) ([]Message, error) {
	if err != nil {
		return nil, pg.Error(op, err)
	}
	ms, err := pgx.CollectRows(rows, scanMessage)
	return ms, pg.Error(op, err)
}

const linesByUID = `
SELECT m.mailbox_id, m.uid, m.modseq, m.letter_id, m.generation, m.packet, NULL::bytea, NULL::bytea, m.flags, m.keywords, m.size,
	NULL::bytea, m.thread_key, m.received_at FROM message m WHERE m.mailbox_id = $1 AND m.uid = ANY($2) ORDER BY m.uid`

// Lines is Messages without their outlines: enough for flags, sizes, dates, bodies.
func (s *Store) Lines(ctx context.Context, q pg.Querier, mb id.Mailbox, uids []mail.UID) ([]Message, error) {
	rows, err := q.Query(ctx, linesByUID, int64(mb), int64s(uids))
	return collect("mailstore.Lines", rows, err)
}

const messagesByUID = `SELECT ` + messageColumns + ` FROM message m
WHERE m.mailbox_id = $1 AND m.uid = ANY($2) ORDER BY m.uid`

// Messages reads the messages of the given UIDs, by ascending UID. UIDs that are gone
// are left out.
func (s *Store) Messages(ctx context.Context, q pg.Querier, mb id.Mailbox, uids []mail.UID) ([]Message, error) {
	rows, err := q.Query(ctx, messagesByUID, int64(mb), int64s(uids))
	return collect("mailstore.Messages", rows, err)
}

// Message reads one message. fault.NotFound.
func (s *Store) Message(ctx context.Context, q pg.Querier, mb id.Mailbox, uid mail.UID) (Message, error) {
	ms, err := s.Messages(ctx, q, mb, []mail.UID{uid})
	if err == nil && len(ms) == 0 {
		err = fault.New(fault.NotFound, "mailstore.Message", "no-message")
	}
	if err != nil {
		return Message{}, err
	}
	return ms[0], nil
}

const newest = `SELECT ` + messageColumns + ` FROM message m
WHERE m.mailbox_id = $1 AND m.uid < $2 ORDER BY m.uid DESC LIMIT $3`

// Newest reads up to limit messages with a UID below before (0: from the newest), by
// descending UID.
func (s *Store) Newest(ctx context.Context, q pg.Querier, mb id.Mailbox, before mail.UID, limit int) ([]Message, error) {
	top := int64(before)
	if top == 0 {
		top = 1 << 32
	}
	rows, err := q.Query(ctx, newest, int64(mb), top, limit)
	return collect("mailstore.Newest", rows, err)
}

const byMessageID = `SELECT ` + messageColumns + ` FROM message m
WHERE m.mailbox_id = $1 AND m.message_id_key = $2 ORDER BY m.uid DESC LIMIT 1`

// ByMessageID finds the newest message of a mailbox that bears a Message-ID key.
// fault.NotFound.
func (s *Store) ByMessageID(ctx context.Context, q pg.Querier, mb id.Mailbox, key []byte) (Message, error) {
	rows, err := q.Query(ctx, byMessageID, int64(mb), key)
	ms, err := collect("mailstore.ByMessageID", rows, err)
	if err == nil && len(ms) == 0 {
		err = fault.New(fault.NotFound, "mailstore.ByMessageID", "no-message")
	}
	if err != nil {
		return Message{}, err
	}
	return ms[0], nil
}

const countDeleted = `SELECT count(*), COALESCE(sum(size), 0)::bigint FROM message WHERE mailbox_id = $1 AND flags & 8 <> 0`

// CountDeleted counts the messages marked \Deleted and their octets.
func (s *Store) CountDeleted(ctx context.Context, q pg.Querier, mb id.Mailbox) (n, size int64, err error) {
	err = q.QueryRow(ctx, countDeleted, int64(mb)).Scan(&n, &size)
	return n, size, pg.Error("mailstore.CountDeleted", err)
}

const keepViews = `
UPDATE message m SET view = v.view FROM (
	SELECT m.uid, v.view FROM message m JOIN unnest($2::bigint[], $3::bytea[]) AS v (uid, view) ON v.uid = m.uid
	WHERE m.mailbox_id = $1 AND m.view IS NULL FOR UPDATE OF m SKIP LOCKED
) v WHERE m.mailbox_id = $1 AND m.uid = v.uid`

// KeepViews keeps outlines resealed under the view key. It changes nothing that a
// client can see, waits for nobody, and may leave some for the next time.
func (s *Store) KeepViews(ctx context.Context, mb id.Mailbox, views map[mail.UID][]byte) error {
	if len(views) == 0 {
		return nil
	}
	uids, vs := make([]int64, 0, len(views)), make([][]byte, 0, len(views))
	for u, v := range views {
		uids, vs = append(uids, int64(u)), append(vs, v)
	}
	_, err := s.db.Exec(ctx, keepViews, int64(mb), uids, vs)
	return pg.Error("mailstore.KeepViews", err)
}

func int64s(uids []mail.UID) []int64 {
	out := make([]int64, len(uids))
	for i, u := range uids {
		out[i] = int64(u)
	}
	return out
}
