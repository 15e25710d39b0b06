package blob

import (
	"bytes"
	"context"
	"io"
	"time"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

// DefaultShortSize is the longest blob, in octets, that Short keeps itself unless told
// otherwise: most letters without an attachment, and small reports.
const DefaultShortSize = 16 << 10

// Short keeps short blobs in the database and hands longer ones to another store. A
// short letter then costs no file, whose last block is half empty, and one wait for the
// disk in place of two, shared with all that commits at that moment.
//
// A name is looked for in the database first. Names are random: whether a short blob's
// is taken in the other store is not asked.
type Short struct {
	db    *pg.DB
	long  Store
	limit int
}

// NewShort puts the database in front of long for blobs of up to limit octets.
func NewShort(db *pg.DB, long Store, limit int) *Short {
	return &Short{db: db, long: long, limit: limit}
}

const (
	insertShort = `INSERT INTO blob_short (name, octets, made_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	hasShort    = `SELECT EXISTS (SELECT FROM blob_short WHERE name = $1)`
	selectShort = `SELECT octets FROM blob_short WHERE name = $1`
	gatherShort = `SELECT name, octets FROM blob_short WHERE name = ANY($1::uuid[])`
	deleteShort = `DELETE FROM blob_short WHERE name = $1`
	listShort   = `SELECT name, length(octets), made_at FROM blob_short WHERE name > $1 ORDER BY name LIMIT 1000`
)

// Create begins a blob, in memory until it proves longer than the limit.
func (s *Short) Create(ctx context.Context, name id.ID) (Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Timeout, "blob.Create", "", err)
	}
	return &shortWriter{ctx: ctx, store: s, name: name, held: []byte{}}, nil
}

type shortWriter struct {
	ctx   context.Context
	store *Short
	name  id.ID
	held  []byte
	long  Writer // once the blob is too long to hold
	done  bool
}

func (w *shortWriter) Write(b []byte) (int, error) {
	if w.done {
		return 0, fault.New(fault.Internal, "blob.Write", "after-the-end")
	}
	if w.long == nil && len(w.held)+len(b) <= w.store.limit {
		w.held = append(w.held, b...)
		return len(b), nil
	}
	if err := w.spill(); err != nil {
		return 0, err
	}
	return w.long.Write(b)
}

// spill moves what is held to the other store.
func (w *shortWriter) spill() (err error) {
	if w.long != nil {
		return nil
	}
	taken, err := w.store.has(w.ctx, w.name)
	if err != nil {
		return err
	}
	if taken {
		return fault.New(fault.Conflict, "blob.Create", "name-taken")
	}
	if w.long, err = w.store.long.Create(w.ctx, w.name); err != nil {
		return err
	}
	_, err = w.long.Write(w.held)
	w.held = nil
	return err
}

func (w *shortWriter) Commit() error {
	if w.done {
		return fault.New(fault.Internal, "blob.Commit", "after-the-end")
	}
	w.done = true
	if w.long != nil {
		return w.long.Commit()
	}
	tag, err := w.store.db.Exec(w.ctx, insertShort, [16]byte(w.name), w.held, time.Now().UTC())
	if err != nil {
		return pg.Error("blob.Commit", err)
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.Conflict, "blob.Commit", "name-taken")
	}
	return nil
}

func (w *shortWriter) Abort() {
	if w.long != nil {
		w.long.Abort()
	}
	w.done, w.held = true, nil
}

// Open reads a blob from wherever it is.
func (s *Short) Open(ctx context.Context, name id.ID) (io.ReadCloser, error) {
	var octets []byte
	err := pg.Error("blob.Open", s.db.QueryRow(ctx, selectShort, [16]byte(name)).Scan(&octets))
	switch {
	case err == nil:
		return io.NopCloser(bytes.NewReader(octets)), nil
	case fault.Is(err, fault.NotFound):
		return s.long.Open(ctx, name)
	}
	return nil, err
}

// Gather reads the short ones among names in one query.
func (s *Short) Gather(ctx context.Context, names []id.ID) (map[id.ID][]byte, error) {
	asked := make([][16]byte, len(names))
	for i, n := range names {
		asked[i] = n
	}
	rows, err := s.db.Query(ctx, gatherShort, asked)
	if err != nil {
		return nil, pg.Error("blob.Gather", err)
	}
	defer rows.Close()
	found := make(map[id.ID][]byte, len(names))
	for rows.Next() {
		var name id.ID
		var octets []byte
		if err := rows.Scan((*[16]byte)(&name), &octets); err != nil {
			return nil, pg.Error("blob.Gather", err)
		}
		found[name] = octets
	}
	return found, pg.Error("blob.Gather", rows.Err())
}

func (s *Short) has(ctx context.Context, name id.ID) (there bool, err error) {
	err = s.db.QueryRow(ctx, hasShort, [16]byte(name)).Scan(&there)
	return there, pg.Error("blob.Create", err)
}

// Delete removes a blob from wherever it is.
func (s *Short) Delete(ctx context.Context, name id.ID) error {
	tag, err := s.db.Exec(ctx, deleteShort, [16]byte(name))
	if err != nil || tag.RowsAffected() > 0 {
		return pg.Error("blob.Delete", err)
	}
	return s.long.Delete(ctx, name)
}

// Each calls f for the short blobs, a thousand at a time, then for the others.
func (s *Short) Each(ctx context.Context, f func(name id.ID, size int64, modified time.Time) error) error {
	for last, more := (id.ID{}), true; more; {
		batch, err := s.list(ctx, last)
		if err != nil {
			return err
		}
		for _, b := range batch {
			if err := f(b.name, b.size, b.madeAt); err != nil {
				return err
			}
			last = b.name
		}
		more = len(batch) > 0
	}
	return s.long.Each(ctx, f)
}

type shortBlob struct {
	name   id.ID
	size   int64
	madeAt time.Time
}

func (s *Short) list(ctx context.Context, after id.ID) (batch []shortBlob, err error) {
	rows, err := s.db.Query(ctx, listShort, [16]byte(after))
	if err != nil {
		return nil, pg.Error("blob.Each", err)
	}
	defer rows.Close()
	for rows.Next() {
		var b shortBlob
		if err := rows.Scan((*[16]byte)(&b.name), &b.size, &b.madeAt); err != nil {
			return nil, pg.Error("blob.Each", err)
		}
		batch = append(batch, b)
	}
	return batch, pg.Error("blob.Each", rows.Err())
}

// SweepTemporary removes what writers that died left in the other store before a time.
func (s *Short) SweepTemporary(before time.Time) (int, error) {
	if long, ok := s.long.(interface {
		SweepTemporary(before time.Time) (int, error)
	}); ok {
		return long.SweepTemporary(before)
	}
	return 0, nil
}
