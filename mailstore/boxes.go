package mailstore

import (
	"context"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// maxMailboxes bounds the mailboxes of one BAL.
const maxMailboxes = 1000

// nameAAD ties a sealed mailbox name to its use.
const nameAAD = "mailbox-name"

func (s *Store) nameKey(bal id.BAL, canonical string) []byte {
	return s.ix.Key("mailbox-name", strconv.FormatInt(int64(bal), 10), canonical)
}

// The identity of the row is also its UIDVALIDITY: it rises and is never given twice,
// so a mailbox made again under an old name has a greater one (RFC 9051 §2.3.1.1).
const createMailbox = `
WITH next AS (SELECT nextval(pg_get_serial_sequence('mailbox', 'id')) AS id)
INSERT INTO mailbox (id, bal_id, role, name_key, name_sealed, uidvalidity, created_at) OVERRIDING SYSTEM VALUE
SELECT next.id, $1, NULLIF($2, ''), $3, $4, next.id, $5 FROM next
ON CONFLICT DO NOTHING
RETURNING ` + mailboxColumns

const mailboxColumns = `id, bal_id, COALESCE(role, ''), name_sealed, uidvalidity, uidnext, modseq, messages, unseen, size, subscribed`

func scanMailbox(row pgx.CollectableRow) (m Mailbox, err error) {
	err = row.Scan(&m.ID, &m.BAL, (*string)(&m.Role), &m.NameSealed, &m.UIDValidity, &m.UIDNext, &m.ModSeq,
		&m.Messages, &m.Unseen, &m.Size, &m.Subscribed)
	m.Name = StandardName(m.Role)
	return m, err
}

// CreateStandardTx makes the six standard mailboxes of a new BAL.
func (s *Store) CreateStandardTx(ctx context.Context, tx *pg.Tx, bal id.BAL, now time.Time) error {
	var b pgx.Batch
	for _, r := range mail.Roles() {
		b.Queue(createMailbox, int64(bal), string(r), s.nameKey(bal, StandardName(r)), []byte(nil), now)
	}
	return pg.Error("mailstore.CreateStandardTx", tx.SendBatch(ctx, &b).Close())
}

const listMailboxes = `SELECT ` + mailboxColumns + ` FROM mailbox WHERE bal_id = $1 ORDER BY id`

// Mailboxes lists the BAL's mailboxes: the standard ones in their order, then the
// person's own by name. Without v (nil) the names of the latter stay "".
func (s *Store) Mailboxes(ctx context.Context, q pg.Querier, bal id.BAL, v ViewKey) ([]Mailbox, error) {
	const op = "mailstore.Mailboxes"
	rows, err := q.Query(ctx, listMailboxes, int64(bal))
	if err != nil {
		return nil, pg.Error(op, err)
	}
	ms, err := pgx.CollectRows(rows, scanMailbox)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	for i := range ms {
		if ms[i].Role == "" && v != nil {
			name, err := v.OpenView(nameAAD, ms[i].NameSealed)
			if err != nil {
				return nil, fault.Wrap(fault.Corrupt, op, "mailbox-name", err)
			}
			ms[i].Name = string(name)
		}
	}
	rank := make(map[mail.Role]int)
	for i, r := range mail.Roles() {
		rank[r] = i - len(mail.Roles())
	}
	sort.SliceStable(ms, func(i, j int) bool {
		if a, b := rank[ms[i].Role], rank[ms[j].Role]; a != b {
			return a < b
		}
		return ms[i].Name < ms[j].Name
	})
	return ms, nil
}

const mailboxByName = `SELECT ` + mailboxColumns + ` FROM mailbox WHERE bal_id = $1 AND name_key = $2`

// Resolve finds a mailbox of the BAL by its name or an alias of it. fault.NotFound.
func (s *Store) Resolve(ctx context.Context, q pg.Querier, bal id.BAL, name string) (Mailbox, error) {
	c, err := Canonical(name)
	if err != nil {
		return Mailbox{}, fault.Wrap(fault.NotFound, "mailstore.Resolve", "no-mailbox", err)
	}
	m, err := s.one(ctx, q, "mailstore.Resolve", mailboxByName, int64(bal), s.nameKey(bal, c))
	m.Name = c
	return m, err
}

const mailboxByRole = `SELECT ` + mailboxColumns + ` FROM mailbox WHERE bal_id = $1 AND role = $2`

// ByRole finds a standard mailbox. fault.NotFound.
func (s *Store) ByRole(ctx context.Context, q pg.Querier, bal id.BAL, role mail.Role) (Mailbox, error) {
	return s.one(ctx, q, "mailstore.ByRole", mailboxByRole, int64(bal), string(role))
}

const mailboxByID = `SELECT ` + mailboxColumns + ` FROM mailbox WHERE id = $1`

// ByID finds a mailbox. fault.NotFound.
func (s *Store) ByID(ctx context.Context, q pg.Querier, mb id.Mailbox) (Mailbox, error) {
	return s.one(ctx, q, "mailstore.ByID", mailboxByID, int64(mb))
}

func (s *Store) one(ctx context.Context, q pg.Querier, op, sql string, args ...any) (Mailbox, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return Mailbox{}, pg.Error(op, err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, scanMailbox)
	return m, pg.Error(op, err)
}

// CreateTx makes a person's own mailbox, and those above it that are missing.
//
// Errors: fault.Conflict when the name, or what it is an alias of, exists;
// fault.Invalid; fault.Quota when the BAL has too many mailboxes.
func (s *Store) CreateTx(ctx context.Context, tx *pg.Tx, bal id.BAL, name string, v ViewKey, now time.Time) (Mailbox, error) {
	const op = "mailstore.CreateTx"
	c, err := Canonical(name)
	if err != nil {
		return Mailbox{}, err
	}
	if r, ok := RoleOf(c); ok {
		return Mailbox{}, exists(op, StandardName(r))
	}
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM mailbox WHERE bal_id = $1`, int64(bal)).Scan(&n); err != nil {
		return Mailbox{}, pg.Error(op, err)
	}
	if n >= maxMailboxes {
		return Mailbox{}, fault.New(fault.Quota, op, "too-many-mailboxes").
			Say("Cette boîte a trop de dossiers.", "This mailbox has too many folders.")
	}
	levels := strings.Split(c, string(Separator))
	for i := 1; i < len(levels); i++ {
		if _, err := s.create(ctx, tx, bal, strings.Join(levels[:i], string(Separator)), v, now); err != nil && !fault.Is(err, fault.Conflict) {
			return Mailbox{}, err
		}
	}
	return s.create(ctx, tx, bal, c, v, now)
}

func (s *Store) create(ctx context.Context, tx *pg.Tx, bal id.BAL, c string, v ViewKey, now time.Time) (Mailbox, error) {
	const op = "mailstore.CreateTx"
	sealed := v.SealView(nameAAD, []byte(c))
	m, err := s.one(ctx, tx, op, createMailbox, int64(bal), "", s.nameKey(bal, c), sealed, now)
	if fault.Is(err, fault.NotFound) { // nothing inserted
		return Mailbox{}, exists(op, c)
	}
	m.Name = c
	return m, err
}

// exists names the mailbox back to the person who has just named it.
func exists(op, name string) error {
	return fault.New(fault.Conflict, op, "mailbox-exists").
		Say("Ce dossier existe déjà : "+name, "This folder already exists: "+name)
}

func standard(op string) error {
	return fault.New(fault.Forbidden, op, "standard-mailbox").
		Say("Ce dossier fait partie de la boîte et reste en place.", "This folder is part of the mailbox and stays.")
}

const renameMailbox = `UPDATE mailbox SET name_key = $2, name_sealed = $3 WHERE id = $1`

// RenameTx renames a person's own mailbox and the ones below it. Standard mailboxes
// stay (fault.Forbidden). Errors also: fault.NotFound, fault.Conflict, fault.Invalid.
func (s *Store) RenameTx(ctx context.Context, tx *pg.Tx, bal id.BAL, from, to string, v ViewKey, now time.Time) error {
	const op = "mailstore.RenameTx"
	old, err := s.own(ctx, tx, op, bal, from)
	if err != nil {
		return err
	}
	c, err := Canonical(to)
	if err != nil {
		return err
	}
	if strings.HasPrefix(c, old.Name+string(Separator)) {
		return fault.New(fault.Invalid, op, "below-itself")
	}
	// Make the target as CREATE would: it checks the name and makes what is above.
	made, err := s.CreateTx(ctx, tx, bal, c, v, now)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, deleteMailbox, int64(made.ID)); err != nil {
		return pg.Error(op, err)
	}
	all, err := s.Mailboxes(ctx, tx, bal, v)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.Role != "" || m.Name != old.Name && !strings.HasPrefix(m.Name, old.Name+string(Separator)) {
			continue
		}
		name := c + strings.TrimPrefix(m.Name, old.Name)
		_, err := tx.Exec(ctx, renameMailbox, int64(m.ID), s.nameKey(bal, name), v.SealView(nameAAD, []byte(name)))
		if err != nil {
			return pg.Error(op, err)
		}
	}
	return nil
}

// own resolves a mailbox that the person made.
func (s *Store) own(ctx context.Context, q pg.Querier, op string, bal id.BAL, name string) (Mailbox, error) {
	m, err := s.Resolve(ctx, q, bal, name)
	if err == nil && m.Role != "" {
		err = standard(op)
	}
	return m, err
}

const (
	lockMailbox    = `SELECT ` + mailboxColumns + ` FROM mailbox WHERE id = $1 FOR UPDATE`
	deleteMessages = `DELETE FROM message WHERE mailbox_id = $1`
	deleteMailbox  = `DELETE FROM mailbox WHERE id = $1`
)

// DeleteTx removes a person's own mailbox with its messages. Errors: fault.NotFound,
// fault.Forbidden for a standard mailbox, fault.Conflict [has-children].
func (s *Store) DeleteTx(ctx context.Context, tx *pg.Tx, bal id.BAL, name string, v ViewKey) error {
	const op = "mailstore.DeleteTx"
	m, err := s.own(ctx, tx, op, bal, name)
	if err != nil {
		return err
	}
	all, err := s.Mailboxes(ctx, tx, bal, v)
	if err != nil {
		return err
	}
	for _, x := range all {
		if strings.HasPrefix(x.Name, m.Name+string(Separator)) {
			return fault.New(fault.Conflict, op, "has-children").
				Say("Ce dossier contient d'autres dossiers.", "This folder contains other folders.")
		}
	}
	if _, err := s.one(ctx, tx, op, lockMailbox, int64(m.ID)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, deleteMessages, int64(m.ID)); err != nil {
		return pg.Error(op, err)
	}
	_, err = tx.Exec(ctx, deleteMailbox, int64(m.ID))
	return pg.Error(op, err)
}

const subscribe = `UPDATE mailbox SET subscribed = $2 WHERE id = $1`

// Subscribe sets or clears the subscription.
func (s *Store) Subscribe(ctx context.Context, mb id.Mailbox, on bool) error {
	_, err := s.db.Exec(ctx, subscribe, int64(mb), on)
	return pg.Error("mailstore.Subscribe", err)
}
