// Package audit keeps who did what to which record, under which rule. Traces are only
// ever added, in the transaction of the act they tell about: no trace, no act. Each is
// bound by a keyed hash to the one before it in its chain, so that Verify finds one
// that was changed, added, taken out or cut off, and says where. A trace holds opaque
// ids and constants only.
//
// What it cannot see alone: a database put back as a whole to an earlier state. For
// that, Verify gives a digest of where every chain ends, to be kept elsewhere.
package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/keyfile"
	"pli/internal/pg"
)

// House is the chain of what concerns no BAL and no patient. Its head is one row that
// every append locks until commit: nothing that happens per letter belongs there.
const House = "house"

// BALChain is the chain of one BAL.
func BALChain(b id.BAL) string { return fmt.Sprintf("bal:%d", int64(b)) }

// PatientChain is the chain of one patient's dossier.
func PatientChain(p id.Patient) string { return fmt.Sprintf("patient:%d", int64(p)) }

// Entry is one trace.
type Entry struct {
	Chain    string    // BALChain, PatientChain or House
	Actor    string    // "account:5", "peer:<domain>", "house"
	Action   string    // a policy.Action
	Object   string    // "document:<uuid>", "letter:<uuid>"
	Permit   bool      // false: the act was refused
	Rules    []string  // ids of the rules that spoke
	Rulebook string    // hash of the rule book
	Means    string    // "imap", "web", "smtp", "job"
	At       time.Time // UTC, cut to the microsecond
}

// Row is a stored trace. Seq starts at 1 in each chain and has no holes.
type Row struct {
	Seq int64
	Entry
}

// Log appends, reads and verifies traces. Safe for concurrent use.
type Log struct {
	db  *pg.DB
	key []byte
}

// NewKeyFile makes a trace key file at path, mode 0400. Without it traces stay
// readable and are no longer verifiable. fault.Conflict when there is one.
func NewKeyFile(path string) error { return keyfile.Create(path) }

// New returns the log on its tables (trace, trace_chain). A key file that others may
// read is refused.
func New(db *pg.DB, keyFile string) (*Log, error) {
	key, err := keyfile.Read(keyFile)
	if err != nil {
		return nil, err
	}
	return &Log{db: db, key: key}, nil
}

// head is where a chain ends. Seq 0 and no MAC: it has not begun.
type head struct {
	Chain string
	Seq   int64
	MAC   []byte
}

const (
	sqlHeads = `SELECT id, seq, mac FROM trace_chain WHERE id = ANY($1) ORDER BY id FOR UPDATE`
	sqlBegin = `INSERT INTO trace_chain (id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING`
	sqlTrace = `INSERT INTO trace (chain, seq, at, actor, action, object, effect, rules, rulebook, means, mac)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
	sqlAdvance = `UPDATE trace_chain SET seq = $2, mac = $3 WHERE id = $1`
)

// AppendTx adds entries, in the order given, to their chains. Two round trips, and two
// more the first time a chain is used. It locks the heads of the chains, in the order
// of their names, until tx ends: call it last. Append all of a transaction in one call,
// or two transactions may wait for each other (InTx runs one of them again).
func (l *Log) AppendTx(ctx context.Context, tx *pg.Tx, entries ...Entry) error {
	const op = "audit.AppendTx"
	if len(entries) == 0 {
		return nil
	}
	for _, e := range entries {
		if e.Chain == "" || e.Actor == "" || e.Action == "" || e.At.IsZero() {
			return fault.New(fault.Internal, op, "incomplete-entry")
		}
	}
	heads, err := lockHeads(ctx, tx, entries)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	for _, e := range entries {
		h := heads[e.Chain]
		h.Seq++
		row := Row{Seq: h.Seq, Entry: e.normal()}
		h.MAC = l.mac(row, h.MAC)
		b.Queue(sqlTrace, row.Chain, row.Seq, row.At, row.Actor, row.Action, row.Object, effect(row.Permit),
			row.Rules, row.Rulebook, row.Means, h.MAC)
	}
	for chain, h := range heads {
		b.Queue(sqlAdvance, chain, h.Seq, h.MAC)
	}
	return pg.Error(op, tx.SendBatch(ctx, b).Close())
}

// lockHeads locks the heads of the entries' chains, beginning chains that are new.
func lockHeads(ctx context.Context, tx *pg.Tx, entries []Entry) (map[string]*head, error) {
	const op = "audit.lockHeads"
	var chains []string
	for _, e := range entries {
		chains = append(chains, e.Chain)
	}
	slices.Sort(chains)
	chains = slices.Compact(chains)
	for try := 0; ; try++ {
		rows, err := tx.Query(ctx, sqlHeads, chains)
		if err != nil {
			return nil, pg.Error(op, err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByPos[head])
		if err != nil {
			return nil, pg.Error(op, err)
		}
		if len(found) == len(chains) {
			heads := map[string]*head{}
			for _, h := range found {
				heads[h.Chain] = h
			}
			return heads, nil
		}
		if try > 0 {
			return nil, fault.New(fault.Internal, op, "chain-does-not-begin")
		}
		if _, err := tx.Exec(ctx, sqlBegin, chains); err != nil {
			return nil, pg.Error(op, err)
		}
	}
}

// normal is the entry as the database gives it back.
func (e Entry) normal() Entry {
	e.At = e.At.UTC().Truncate(time.Microsecond)
	if e.Rules == nil {
		e.Rules = []string{}
	}
	return e
}

func effect(permit bool) string {
	if permit {
		return "permit"
	}
	return "deny"
}

// mac binds a row to its place, its fields and the row before. Every piece carries its
// length, so that no two rows have the same encoding.
func (l *Log) mac(r Row, before []byte) []byte {
	b := make([]byte, 0, 512)
	piece := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	piece("pli trace 1")
	piece(r.Chain)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixMicro()))
	for _, s := range []string{r.Actor, r.Action, r.Object, effect(r.Permit), r.Rulebook, r.Means} {
		piece(s)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Rules)))
	for _, s := range r.Rules {
		piece(s)
	}
	piece(string(before))
	m := hmac.New(sha256.New, l.key)
	m.Write(b)
	return m.Sum(nil)
}

const sqlRead = `SELECT chain, seq, at, actor, action, object, effect, rules, rulebook, means, mac
	FROM trace WHERE chain = $1 AND ($2::bigint = 0 OR seq < $2) ORDER BY seq DESC LIMIT $3`

// Read returns the newest traces of a chain first, at most limit, those with a Seq
// below before only; before 0 starts at the newest.
func (l *Log) Read(ctx context.Context, chain string, before int64, limit int) ([]Row, error) {
	const op = "audit.Read"
	rows, err := l.db.Query(ctx, sqlRead, chain, before, limit)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Row, error) {
		r, _, err := scan(row)
		return r, err
	})
	return out, pg.Error(op, err)
}

// scan reads one row of sqlRead's or sqlWalk's columns.
func scan(row pgx.CollectableRow) (r Row, mac []byte, err error) {
	var effect string
	err = row.Scan(&r.Chain, &r.Seq, &r.At, &r.Actor, &r.Action, &r.Object, &effect, &r.Rules,
		&r.Rulebook, &r.Means, &mac)
	r.At = r.At.UTC()
	r.Permit = effect == "permit"
	return r, mac, err
}
