package dossier

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/id"
	"pli/internal/pg"
)

const documentColumns = `
SELECT id, patient_id, unique_key, set_key, version, status, visibility, origin, coalesce(author_bal_id, 0), replaces_key, flagged,
	blob_id, size, sealed_size, sealed_sha256, generation, packet, meta, view, filed_at, seen_at FROM document `

const (
	listDocuments = documentColumns + `WHERE patient_id = $1 AND status <> 'deleted' ORDER BY filed_at DESC, id`
	getDocument   = documentColumns + `WHERE patient_id = $1 AND id = $2`
)

func scanDocument(row pgx.CollectableRow) (Document, error) {
	var d Document
	var seen *time.Time
	err := row.Scan(&d.ID, &d.Patient, &d.UniqueKey, &d.SetKey, &d.Version, &d.Status, &d.Visibility, &d.Origin, &d.AuthorBAL, &d.Replaces,
		&d.Flagged, &d.Blob, &d.Size, &d.SealedSize, &d.SealedSHA256, &d.Generation, &d.Packet, &d.Meta, &d.View, &d.FiledAt, &seen)
	if seen != nil {
		d.SeenAt = *seen
	}
	return d, err
}

// List gives every document of a dossier but the deleted ones, last filed first, all
// versions included. Who may see which is for the gate and the caller.
func (d *Dossier) List(ctx context.Context, q pg.Querier, p id.Patient) ([]Document, error) {
	const op = "dossier.List"
	rows, err := q.Query(ctx, listDocuments, p)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	docs, err := pgx.CollectRows(rows, scanDocument)
	return docs, pg.Error(op, err)
}

// Get gives one document of a dossier, a deleted one too. fault.NotFound.
func (d *Dossier) Get(ctx context.Context, q pg.Querier, p id.Patient, doc id.Document) (Document, error) {
	const op = "dossier.Get"
	rows, err := q.Query(ctx, getDocument, p, doc)
	if err != nil {
		return Document{}, pg.Error(op, err)
	}
	one, err := pgx.CollectExactlyOneRow(rows, scanDocument)
	return one, pg.Error(op, err)
}

const keepViews = `
UPDATE document SET view = v.view FROM unnest($1::uuid[], $2::bytea[]) AS v (id, view) WHERE document.id = v.id`

// KeepViews stores metas resealed with the dossier's view key.
func (d *Dossier) KeepViews(ctx context.Context, q pg.Querier, docs []id.Document, views [][]byte) error {
	_, err := q.Exec(ctx, keepViews, docs, views)
	return pg.Error("dossier.KeepViews", err)
}
