package dossier

import (
	"bytes"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
)

// Codes of the faults by which FileTx, Check and DeleteTx refuse (dmp.md §2.3, §4.5).
const (
	NotLatest   = "not-latest-version"
	NotAuthor   = "not-the-author"
	SameVersion = "same-version"
	SameID      = "same-id-other-content"
	Unknown     = "unknown-document"
)

// IntegrationCode is what an MDN says of a refusal by version rules; 0 for any other
// error, which is no refusal but a failure.
func IntegrationCode(err error) health.IntegrationCode {
	switch fault.CodeOf(err) {
	case NotLatest:
		return health.NotLatestVersion
	case NotAuthor:
		return health.NotTheAuthor
	case SameVersion, SameID, Unknown:
		return health.OtherError
	}
	return 0
}

// held is a document already in the dossier, as the version rules see it.
type held struct {
	id          id.Document
	unique, set []byte
	replaces    []byte
	version     int
	size        int64
	status      Status
	author, org []byte
}

const heldDocuments = `
SELECT id, unique_key, set_key, replaces_key, version, size, status, author_key, organisation_key FROM document
WHERE patient_id = $1 AND (unique_key = $2 OR unique_key = $3 OR replaces_key = $2 OR set_key = $4
	OR set_key = (SELECT p.set_key FROM document p WHERE p.patient_id = $1 AND p.unique_key = $3))`

func (d *Dossier) held(ctx context.Context, q pg.Querier, n NewDocument) ([]held, error) {
	const op = "dossier.held"
	set := n.SetKey
	if set == nil {
		set = n.UniqueKey
	}
	rows, err := q.Query(ctx, heldDocuments, n.Patient, n.UniqueKey, n.ReplacesKey, set)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	hs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (held, error) {
		var h held
		err := row.Scan(&h.id, &h.unique, &h.set, &h.replaces, &h.version, &h.size, &h.status, &h.author, &h.org)
		return h, err
	})
	return hs, pg.Error(op, err)
}

// plan is what the version rules say of a document.
type plan struct {
	filed     Filed
	set       []byte
	deprecate []id.Document
	unflag    id.Document // the one that waited for this document, which it replaces
}

// decide applies dmp.md §2.3: the same id is a duplicate, unless its version or its size
// shows that it is another document, which is refused; the same set and version under
// another id is refused; every version is kept and the highest is the current
// one. A replacement aims at the latest version and comes from its author or his
// structure (§4.5); one that aims at what is not here is kept and flagged.
func decide(n NewDocument, hs []held) (plan, error) {
	const op = "dossier.FileTx"
	if h := find(hs, n.UniqueKey); h != nil {
		if n.Version != 0 && n.Version != h.version || n.Size != 0 && n.Size != h.size {
			return plan{}, fault.New(fault.Conflict, op, SameID)
		}
		return plan{filed: Filed{ID: h.id, Version: h.version, Status: h.status, Duplicate: true}}, nil
	}
	parent := find(hs, n.ReplacesKey)
	p := plan{filed: Filed{ID: n.ID, Version: n.Version, Status: Approved}, set: n.SetKey}
	if p.set == nil && parent != nil {
		p.set = parent.set
	}
	if next := successor(n, hs); next != nil { // its replacement came first
		p.filed.Status, p.unflag = Deprecated, next.id
		if p.set == nil {
			p.set = next.set
		}
	}
	if p.set == nil {
		p.set = n.UniqueKey
	}
	p.filed.Flagged = n.ReplacesKey != nil && parent == nil
	latest := newest(hs, p.set)
	if p.filed.Version == 0 {
		p.filed.Version = 1
		if parent != nil && latest != nil {
			p.filed.Version = latest.version + 1
		}
	}
	if parent != nil {
		if newest(hs, parent.set) != parent || parent.status == Deleted || latest == parent && p.filed.Version < parent.version {
			return plan{}, fault.New(fault.Conflict, op, NotLatest)
		}
		if !sameAuthor(n, parent) {
			return plan{}, fault.New(fault.Conflict, op, NotAuthor)
		}
	}
	return p.among(n, hs, parent, latest)
}

// among finds the document's place among the versions of its set.
func (p plan) among(n NewDocument, hs []held, parent, latest *held) (plan, error) {
	const op = "dossier.FileTx"
	for i := range hs {
		h := &hs[i]
		if !bytes.Equal(h.set, p.set) {
			continue
		}
		if h.version == p.filed.Version {
			return plan{}, fault.New(fault.Conflict, op, SameVersion)
		}
		if h.version > p.filed.Version {
			p.filed.Status = Deprecated
		}
	}
	if latest != nil && !sameAuthor(n, latest) {
		return plan{}, fault.New(fault.Conflict, op, NotAuthor)
	}
	for i := range hs {
		h := &hs[i]
		inSet := bytes.Equal(h.set, p.set) && h.version < p.filed.Version
		if (inSet || h == parent) && h.status == Approved {
			p.deprecate = append(p.deprecate, h.id)
		}
	}
	return p, nil
}

func find(hs []held, unique []byte) *held {
	for i := range hs {
		if unique != nil && bytes.Equal(hs[i].unique, unique) {
			return &hs[i]
		}
	}
	return nil
}

func successor(n NewDocument, hs []held) *held {
	for i := range hs {
		if bytes.Equal(hs[i].replaces, n.UniqueKey) && sameAuthor(n, &hs[i]) {
			return &hs[i]
		}
	}
	return nil
}

func newest(hs []held, set []byte) *held {
	var top *held
	for i := range hs {
		if bytes.Equal(hs[i].set, set) && (top == nil || hs[i].version > top.version) {
			top = &hs[i]
		}
	}
	return top
}

func sameAuthor(n NewDocument, h *held) bool {
	same := func(a, b []byte) bool { return len(a) > 0 && bytes.Equal(a, b) }
	return same(n.AuthorKey, h.author) || same(n.OrganisationKey, h.org)
}

// Check tells beforehand what FileTx would do, by the keys, version, size and author of n.
//
// Errors: as FileTx.
func (d *Dossier) Check(ctx context.Context, q pg.Querier, n NewDocument) (Filed, error) {
	hs, err := d.held(ctx, q, n)
	if err != nil {
		return Filed{}, err
	}
	p, err := decide(n, hs)
	return p.filed, err
}

const (
	lockPatient    = `SELECT id FROM patient WHERE id = $1 FOR UPDATE`
	insertDocument = `
INSERT INTO document (id, patient_id, unique_key, set_key, version, status, visibility, origin, author_bal_id, author_key,
	organisation_key, replaces_key, flagged, blob_id, size, sealed_size, sealed_sha256, generation, packet, meta, filed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, nullif($9::bigint, 0), $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`
	deprecateDocuments = `UPDATE document SET status = 'deprecated' WHERE id = ANY($1::uuid[])`
	unflagDocument     = `UPDATE document SET flagged = false WHERE id = $1`
)

// FileTx files a document, once: the same unique id again changes nothing and says so.
// Locks the patient's row until tx ends, so that versions are decided one at a time.
//
// Errors: fault.NotFound when there is no such dossier; fault.Conflict with code
// NotLatest, NotAuthor, SameVersion or SameID when the version rules refuse.
func (d *Dossier) FileTx(ctx context.Context, tx *pg.Tx, n NewDocument) (Filed, error) {
	const op = "dossier.FileTx"
	var locked id.Patient
	if err := tx.QueryRow(ctx, lockPatient, n.Patient).Scan(&locked); err != nil {
		return Filed{}, pg.Error(op, err)
	}
	hs, err := d.held(ctx, tx, n)
	if err != nil {
		return Filed{}, err
	}
	p, err := decide(n, hs)
	if err != nil || p.filed.Duplicate {
		return p.filed, err
	}
	if len(p.deprecate) > 0 {
		if _, err := tx.Exec(ctx, deprecateDocuments, p.deprecate); err != nil {
			return Filed{}, pg.Error(op, err)
		}
	}
	if !p.unflag.IsZero() {
		if _, err := tx.Exec(ctx, unflagDocument, p.unflag); err != nil {
			return Filed{}, pg.Error(op, err)
		}
	}
	_, err = tx.Exec(ctx, insertDocument, n.ID, n.Patient, n.UniqueKey, p.set, p.filed.Version, p.filed.Status, visibility(n.Visibility),
		n.Origin, n.AuthorBAL, n.AuthorKey, n.OrganisationKey, n.ReplacesKey, p.filed.Flagged, n.Blob, n.Size, n.SealedSize,
		n.SealedSHA256, n.Generation, n.Packet, n.Meta, utc(n.FiledAt))
	return p.filed, pg.Error(op, err)
}

const deleteDocument = `UPDATE document SET status = 'deleted' WHERE id = $1`

// DeleteTx marks a document as deleted at its author's request (dmp.md §3.4: nothing is
// ever erased); again is fine. n names the document by UniqueKey, and who asks.
//
// Errors: fault.NotFound with code Unknown; fault.Conflict with code NotLatest or
// NotAuthor.
func (d *Dossier) DeleteTx(ctx context.Context, tx *pg.Tx, n NewDocument) (id.Document, error) {
	const op = "dossier.DeleteTx"
	var locked id.Patient
	if err := tx.QueryRow(ctx, lockPatient, n.Patient).Scan(&locked); err != nil {
		return id.Document{}, pg.Error(op, err)
	}
	hs, err := d.held(ctx, tx, NewDocument{Patient: n.Patient, UniqueKey: n.UniqueKey, ReplacesKey: n.UniqueKey})
	if err != nil {
		return id.Document{}, err
	}
	h, err := mayDelete(n, hs)
	if err != nil {
		return id.Document{}, err
	}
	_, err = tx.Exec(ctx, deleteDocument, h.id)
	return h.id, pg.Error(op, err)
}

// CheckDelete tells beforehand what DeleteTx would do, and which document is meant.
func (d *Dossier) CheckDelete(ctx context.Context, q pg.Querier, n NewDocument) (id.Document, error) {
	hs, err := d.held(ctx, q, NewDocument{Patient: n.Patient, UniqueKey: n.UniqueKey, ReplacesKey: n.UniqueKey})
	if err != nil {
		return id.Document{}, err
	}
	h, err := mayDelete(n, hs)
	if err != nil {
		return id.Document{}, err
	}
	return h.id, nil
}

func mayDelete(n NewDocument, hs []held) (*held, error) {
	const op = "dossier.DeleteTx"
	h := find(hs, n.UniqueKey)
	switch {
	case h == nil:
		return nil, fault.New(fault.NotFound, op, Unknown)
	case newest(hs, h.set) != h:
		return nil, fault.New(fault.Conflict, op, NotLatest)
	case !sameAuthor(n, h):
		return nil, fault.New(fault.Conflict, op, NotAuthor)
	}
	return h, nil
}

const markSeen = `UPDATE document SET seen_at = $2 WHERE id = $1 AND seen_at IS NULL`

// MarkSeenTx remembers when the patient first opened a document.
func (d *Dossier) MarkSeenTx(ctx context.Context, tx *pg.Tx, doc id.Document, at time.Time) error {
	_, err := tx.Exec(ctx, markSeen, doc, utc(at))
	return pg.Error("dossier.MarkSeenTx", err)
}
