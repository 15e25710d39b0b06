package mailstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/id"
	"pli/internal/pg"
)

// contentKeysKept is how long a repeated deposit is recognised.
const contentKeysKept = 7 * 24 * time.Hour

// Deleter is the part of the blob store that Sweep needs.
type Deleter interface {
	Delete(ctx context.Context, name id.ID) error
	Each(ctx context.Context, f func(name id.ID, size int64, modified time.Time) error) error
}

// Swept counts what a sweep removed.
type Swept struct{ Letters, Blobs, Keys int }

// The two statements below are the only ones of this room that name tables of others:
// what outbound, the document job and the dossiers still hold must not be swept, and
// only one statement can know it and delete without a gap. They read, no more.
const sweepLetters = `
DELETE FROM letter l WHERE l.id IN (
	SELECT l.id FROM letter l WHERE l.created_at < $1
		AND NOT EXISTS (SELECT FROM message m WHERE m.letter_id = l.id)
		AND NOT EXISTS (SELECT FROM outbound o WHERE o.letter_id = l.id)
		AND NOT EXISTS (SELECT FROM ingestion i WHERE i.letter_id = l.id AND i.done_at IS NULL)
	LIMIT $2 FOR UPDATE OF l SKIP LOCKED
) RETURNING l.id`

const orphans = `
SELECT b.id FROM unnest($1::uuid[]) AS b (id)
WHERE NOT EXISTS (SELECT FROM letter l WHERE l.id = b.id)
	AND NOT EXISTS (SELECT FROM document d WHERE d.blob_id = b.id)`

const sweepKeys = `DELETE FROM deposited WHERE deposited_at < $1`

const sweepBatch = 500

// Sweep removes letters and blobs that nobody refers to and that are older than
// olderThan (a younger one may belong to a transaction that has not committed), and
// forgets content keys after seven days. A blob is deleted after its row: a crash
// between the two leaves an orphan for the next sweep.
func (s *Store) Sweep(ctx context.Context, blobs Deleter, now time.Time, olderThan time.Duration) (Swept, error) {
	const op = "mailstore.Sweep"
	var n Swept
	before := now.Add(-olderThan)
	for {
		rows, err := s.db.Query(ctx, sweepLetters, before, sweepBatch)
		ids, err := collectIDs(op, rows, err)
		if err != nil {
			return n, err
		}
		n.Letters += len(ids)
		for _, x := range ids {
			if err := blobs.Delete(ctx, x); err != nil {
				return n, err
			}
			n.Blobs++
		}
		if len(ids) < sweepBatch {
			break
		}
	}
	if err := s.sweepBlobs(ctx, blobs, before, &n); err != nil {
		return n, err
	}
	tag, err := s.db.Exec(ctx, sweepKeys, now.Add(-contentKeysKept))
	n.Keys = int(tag.RowsAffected())
	return n, pg.Error(op, err)
}

// sweepBlobs deletes blobs that no row names.
func (s *Store) sweepBlobs(ctx context.Context, blobs Deleter, before time.Time, n *Swept) error {
	const op = "mailstore.Sweep"
	var batch [][16]byte
	flush := func() error {
		rows, err := s.db.Query(ctx, orphans, batch)
		ids, err := collectIDs(op, rows, err)
		if err != nil {
			return err
		}
		for _, x := range ids {
			if err := blobs.Delete(ctx, x); err != nil {
				return err
			}
			n.Blobs++
		}
		batch = batch[:0]
		return nil
	}
	err := blobs.Each(ctx, func(name id.ID, _ int64, modified time.Time) error {
		if !modified.Before(before) {
			return nil
		}
		if batch = append(batch, name); len(batch) < sweepBatch {
			return nil
		}
		return flush()
	})
	if err != nil || len(batch) == 0 {
		return err
	}
	return flush()
}

func collectIDs(op string, rows pgx.Rows, err error) ([]id.ID, error) {
	if err != nil {
		return nil, pg.Error(op, err)
	}
	ids, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (x id.ID, err error) {
		err = row.Scan((*[16]byte)(&x))
		return x, err
	})
	return ids, pg.Error(op, err)
}
