package pipeline

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"slices"
	"time"

	"pli/audit"
	"pli/dossier"
	"pli/fault"
	"pli/health"
	"pli/internal/blob"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/policy"
	"pli/seal"
)

// RecordAudit reads traces (audit.Log).
type RecordAudit interface {
	Read(ctx context.Context, chain string, before int64, limit int) ([]audit.Row, error)
}

// RecordAccounts tells which BAL accounts open (identity.Service).
type RecordAccounts interface {
	BALsOf(ctx context.Context, q pg.Querier, accounts []id.Account) (map[id.Account][]id.BAL, error)
}

// RecordDeps is what a Record needs. Every field but SpoolDir is required.
type RecordDeps struct {
	DB       *pg.DB
	Seal     *seal.Service
	Blobs    blob.Store
	Keys     Keys
	Dossier  *dossier.Dossier
	Boxes    ReaderBoxes
	Accounts RecordAccounts
	Gate     IngestGate
	Audit    RecordAudit
	SpoolDir string // of temporary sealed files; empty means the system's
	Now      func() time.Time
	Log      *slog.Logger
}

// Record is the corridor by which a patient reads the record, keeps files in it and
// sees who opened what. Each call opens the dossier's key once. Safe for concurrent use.
type Record struct{ d RecordDeps }

// NewRecord makes a record.
func NewRecord(d RecordDeps) *Record { return &Record{d: d} }

// Viewer is the patient's web session as the record needs it.
type Viewer struct {
	Account id.Account
	BAL     id.BAL // the patient's own
	Means   string // "web"
}

// RecordItem is a document of the patient's record, as a list shows it.
type RecordItem struct {
	ID         id.Document
	Meta       dossier.Meta
	Version    int
	Versions   int // how many versions are held, this one included
	Status     dossier.Status
	Visibility []string
	Origin     dossier.Origin
	Flagged    bool // says it replaces a document that is not here
	Size       int64
	FiledAt    time.Time
	New        bool // the patient has not opened it
}

// OpenDocument is a document being read. Close it.
type OpenDocument struct {
	RecordItem
	Others  []RecordItem // its other versions, newest first
	Content ReadSeeker   // the stored file as received, in clear, for as long as it is open

	spool *seal.Spool
}

// ReadSeeker gives random access to a file in clear: a spool.
type ReadSeeker interface {
	io.ReaderAt
	Size() int64
}

// Close forgets the content.
func (o *OpenDocument) Close() error { return o.spool.Close() }

// actor is the viewer as policy sees him.
func (v Viewer) actor(p id.Patient) policy.Actor {
	return policy.Actor{Account: v.Account, BAL: v.BAL, Patient: p, Proof: v.Means, Means: v.Means}
}

var errNoRecord = fault.New(fault.NotFound, "pipeline.Record", "no-dossier").
	Say("Vous n'avez pas de dossier ici.", "You have no record here.")

// patient finds the viewer's own dossier.
func (r *Record) patient(ctx context.Context, who Viewer) (dossier.Patient, error) {
	if who.Account == 0 {
		return dossier.Patient{}, errNoRecord
	}
	p, err := r.d.Dossier.PatientByAccount(ctx, r.d.DB, who.Account)
	if fault.Is(err, fault.NotFound) {
		return dossier.Patient{}, errNoRecord
	}
	return p, err
}

// enter finds the viewer's own dossier and asks whether he may see what is in it.
func (r *Record) enter(ctx context.Context, who Viewer) (dossier.Patient, error) {
	p, err := r.patient(ctx, who)
	if err != nil {
		return p, err
	}
	d, err := r.d.Gate.Ask(ctx, policy.Question{Action: policy.ReadDossier, Actor: who.actor(p.ID), Object: policy.Object{Patient: p.ID}})
	if err == nil && !d.Permits() {
		err = refusalOf(d)
	}
	return p, err
}

// Owner is who the register says that the dossier is of.
func (r *Record) Owner(ctx context.Context, who Viewer) (dossier.Identity, error) {
	p, err := r.patient(ctx, who)
	if err != nil {
		return dossier.Identity{}, err
	}
	return registered(ctx, r.d.Seal, p)
}

// List gives the record, newest document first: one item per set, the highest version
// that the patient may see.
//
// Errors: fault.NotFound without a dossier, fault.Closed.
func (r *Record) List(ctx context.Context, who Viewer) ([]RecordItem, error) {
	p, err := r.enter(ctx, who)
	if err != nil {
		return nil, err
	}
	docs, err := r.visible(ctx, p)
	if err != nil {
		return nil, err
	}
	return current(docs), nil
}

// shown is a document that the patient may see, its meta open.
type shown struct {
	dossier.Document
	meta dossier.Meta
}

// visible opens the metas of the documents that the patient may see.
func (r *Record) visible(ctx context.Context, p dossier.Patient) ([]shown, error) {
	docs, err := r.d.Dossier.List(ctx, r.d.DB, p.ID)
	if err != nil {
		return nil, err
	}
	docs = slices.DeleteFunc(docs, func(d dossier.Document) bool { return slices.Contains(d.Visibility, health.HiddenToPatient) })
	if len(docs) == 0 {
		return nil, nil
	}
	u, err := r.d.Seal.Unlock(ctx, p.Holder)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return r.metas(ctx, u, docs), nil
}

// metas opens metas, those seen before by the view key, and keeps the others under it.
// One that does not open is left out, and an event says so.
func (r *Record) metas(ctx context.Context, u *seal.Unlocked, docs []dossier.Document) []shown {
	all := make([]shown, 0, len(docs))
	var fresh []id.Document
	var views [][]byte
	for _, d := range docs {
		plain, err := metaText(u, d)
		var m dossier.Meta
		if err == nil {
			m, err = dossier.ReadMeta(plain)
		}
		if err != nil {
			r.d.Log.Error("meta does not open", "document", d.ID.String(), "cause", err)
			continue
		}
		if d.View == nil {
			fresh, views = append(fresh, d.ID), append(views, u.SealView(metaView(d.ID), plain))
		}
		all = append(all, shown{d, m})
	}
	if len(fresh) > 0 {
		if err := r.d.Dossier.KeepViews(ctx, r.d.DB, fresh, views); err != nil {
			r.d.Log.Warn("views not kept", "cause", err) // the next sight does it again
		}
	}
	return all
}

func metaView(d id.Document) string { return "document-meta|" + d.String() }

func metaText(u *seal.Unlocked, d dossier.Document) ([]byte, error) {
	if d.View != nil {
		return u.OpenView(metaView(d.ID), d.View)
	}
	key, err := u.SessionKey(seal.Packet{Generation: d.Generation, Bytes: d.Packet})
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	return key.OpenValue(d.Meta)
}

func (s shown) item(versions int) RecordItem {
	return RecordItem{
		ID: s.ID, Meta: s.meta, Version: s.Version, Versions: versions, Status: s.Status, Visibility: s.Visibility, Origin: s.Origin,
		Flagged: s.Flagged, Size: s.Size, FiledAt: s.FiledAt, New: s.SeenAt.IsZero() && s.Origin != dossier.ByPatient,
	}
}

// current keeps one document per set, and not one that another set has replaced.
func current(docs []shown) []RecordItem {
	top, count := map[string]shown{}, map[string]int{}
	replaced := map[string]bool{}
	for _, d := range docs {
		set := string(d.SetKey)
		count[set]++
		if t, ok := top[set]; !ok || d.Version > t.Version {
			top[set] = d
		}
		if d.Replaces != nil {
			replaced[string(d.Replaces)] = true
		}
	}
	items := make([]RecordItem, 0, len(top))
	for set, d := range top {
		if d.Status != dossier.Deprecated || !replaced[string(d.UniqueKey)] {
			items = append(items, d.item(count[set]))
		}
	}
	slices.SortFunc(items, func(a, b RecordItem) int {
		return cmp.Or(b.Meta.CreatedAt.Compare(a.Meta.CreatedAt), b.FiledAt.Compare(a.FiledAt), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return items
}

// others are the other versions of a document, newest first.
func others(docs []shown, d dossier.Document) []RecordItem {
	var items []RecordItem
	for _, o := range docs {
		if o.ID != d.ID && string(o.SetKey) == string(d.SetKey) {
			items = append(items, o.item(0))
		}
	}
	slices.SortFunc(items, func(a, b RecordItem) int { return b.Version - a.Version })
	for i := range items {
		items[i].Versions = len(items) + 1
	}
	return items
}

// Open opens a document: decided and traced as "read-document", and marked as seen,
// before anything of it is in clear.
//
// Errors: fault.NotFound or fault.Withheld for what is not in this record or must not be
// seen; fault.Corrupt when what is stored is not what was sealed.
func (r *Record) Open(ctx context.Context, who Viewer, doc id.Document) (*OpenDocument, error) {
	p, err := r.patient(ctx, who)
	if err != nil {
		return nil, err
	}
	var d dossier.Document
	q := policy.Question{Action: policy.ReadDocument, Actor: who.actor(p.ID), Object: policy.Object{Patient: p.ID, Document: doc}}
	err = r.d.Gate.Do(ctx, []policy.Question{q}, func(ctx context.Context, tx *pg.Tx, _ []policy.Decision) error {
		var err error
		if d, err = r.d.Dossier.Get(ctx, tx, p.ID, doc); err != nil {
			return err
		}
		return r.d.Dossier.MarkSeenTx(ctx, tx, doc, r.d.Now())
	})
	if err != nil {
		return nil, err
	}
	return r.open(ctx, p, d)
}

func (r *Record) open(ctx context.Context, p dossier.Patient, d dossier.Document) (*OpenDocument, error) {
	docs, err := r.d.Dossier.List(ctx, r.d.DB, p.ID)
	if err != nil {
		return nil, err
	}
	docs = slices.DeleteFunc(docs, func(o dossier.Document) bool {
		return string(o.SetKey) != string(d.SetKey) || slices.Contains(o.Visibility, health.HiddenToPatient)
	})
	u, err := r.d.Seal.Unlock(ctx, p.Holder)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	versions := r.metas(ctx, u, docs)
	i := slices.IndexFunc(versions, func(s shown) bool { return s.ID == d.ID })
	if i < 0 {
		return nil, fault.New(fault.Corrupt, "pipeline.Record", "meta")
	}
	o := &OpenDocument{RecordItem: versions[i].item(len(versions)), Others: others(versions, d)}
	if o.spool, err = r.content(ctx, u, d); err != nil {
		return nil, err
	}
	o.Content = o.spool
	return o, nil
}

// content opens the stored file into a sealed temporary one, checked whole.
func (r *Record) content(ctx context.Context, u *seal.Unlocked, d dossier.Document) (*seal.Spool, error) {
	key, err := u.SessionKey(seal.Packet{Generation: d.Generation, Bytes: d.Packet})
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	sealed, err := r.d.Blobs.Open(ctx, d.Blob)
	if err != nil {
		if fault.Is(err, fault.NotFound) { // a row without its blob is damage, not absence
			err = fault.Wrap(fault.Corrupt, "pipeline.Record", "blob-missing", err)
		}
		return nil, err
	}
	defer sealed.Close()
	plain, err := key.OpenFrom(sealed)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	return fillSpool(r.d.SpoolDir, plain)
}
