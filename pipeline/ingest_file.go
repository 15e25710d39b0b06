package pipeline

import (
	"context"
	"io"
	"strings"

	"pli/codec/cda"
	"pli/codec/xdm"
	"pli/dossier"
	"pli/fault"
	"pli/health"
	"pli/internal/blob"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/policy"
	"pli/seal"
)

// file decides, seals and files one report.
func (g *Ingester) file(ctx context.Context, l *openLetter, r *report) (outcome, error) {
	n := newDocument(g.d.Keys, r.doc, r.entry)
	n.Patient, n.AuthorBAL, n.Size = r.patient.ID, l.sender, r.content.Size()
	if r.patient.ID != 0 {
		held, err := g.checkVersion(ctx, r, &n)
		if err != nil && dossier.IntegrationCode(err) == health.OtherError {
			return g.refuse(ctx, l, r.where, health.OtherError, fault.CodeOf(err))
		}
		if err != nil {
			return outcome{}, err
		}
		// The same report for several recipients is filed once, but only where it may be.
		if held.Duplicate && r.reading.TraitsMatch == policy.Yes && r.entry.Action != xdm.Delete {
			return outcome{}, nil
		}
	}
	q := policy.Question{
		Action: policy.FileDocument, Actor: policy.Actor{House: true, BAL: l.in.BAL, Means: "job"},
		Object: policy.Object{Patient: r.patient.ID, Document: n.ID, Letter: l.in.Letter}, Reading: &r.reading,
	}
	decision, err := g.d.Gate.Ask(ctx, q)
	if err != nil {
		return outcome{}, err
	}
	if !decision.Permits() {
		return g.denied(ctx, l, r, decision)
	}
	if r.entry.Action == xdm.Delete {
		return g.act(ctx, l, r, q, func(ctx context.Context, tx *pg.Tx) error {
			_, err := g.d.Dossier.DeleteTx(ctx, tx, n)
			return err
		})
	}
	if err := g.seal(ctx, l, r, &n); err != nil {
		return outcome{}, err
	}
	return g.act(ctx, l, r, q, func(ctx context.Context, tx *pg.Tx) error {
		_, err := g.d.Dossier.FileTx(ctx, tx, n)
		return err
	})
}

// checkVersion asks the dossier beforehand and tells policy what it said; a document to
// withdraw gets the id it has. An error that is a refusal no rule speaks of comes out.
func (g *Ingester) checkVersion(ctx context.Context, r *report, n *dossier.NewDocument) (filed dossier.Filed, err error) {
	if r.entry.Action == xdm.Delete {
		var held id.Document
		if held, err = g.d.Dossier.CheckDelete(ctx, g.d.DB, *n); err == nil {
			n.ID = held
		}
	} else {
		filed, err = g.d.Dossier.Check(ctx, g.d.DB, *n)
	}
	switch dossier.IntegrationCode(err) {
	case health.NotLatestVersion:
		r.reading.Latest, err = policy.No, nil
	case health.NotTheAuthor:
		r.reading.Author, err = policy.No, nil
	}
	return filed, err
}

// denied puts a document that the rules refuse in quarantine. The gate has traced it. A
// refusal for want of a fact is our failing: the job runs again.
func (g *Ingester) denied(ctx context.Context, l *openLetter, r *report, d policy.Decision) (outcome, error) {
	reason, _ := d.Denial()
	if reason.Missing {
		return outcome{}, fault.New(fault.Unavailable, "pipeline.Ingest", reason.Rule)
	}
	o := outcome{code: d.Code(), cause: reason.Rule}
	return o, g.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		_, err := g.quarantine(ctx, tx, l, r.where, o)
		return err
	})
}

// act decides once more, files and traces in one transaction. What somebody else filed
// since the check may refuse it.
func (g *Ingester) act(ctx context.Context, l *openLetter, r *report, q policy.Question, do func(context.Context, *pg.Tx) error) (outcome, error) {
	err := g.d.Gate.Do(ctx, []policy.Question{q}, func(ctx context.Context, tx *pg.Tx, _ []policy.Decision) error { return do(ctx, tx) })
	if code := dossier.IntegrationCode(err); code != 0 {
		return g.refuse(ctx, l, r.where, code, fault.CodeOf(err))
	}
	if err != nil {
		return outcome{}, err // also a rule that denies only now: the next run finds out
	}
	return outcome{}, nil
}

// newDocument fills in what the version rules need.
func newDocument(keys Keys, d *cda.Document, e *xdm.Entry) dossier.NewDocument {
	n := dossier.NewDocument{
		ID: id.New(), UniqueKey: documentKey(keys, d.ID.String()), Version: d.Version, Origin: dossier.ByIngest,
	}
	if !d.SetID.IsZero() {
		n.SetKey = keys.Key("document-set", strings.ToLower(d.SetID.String()))
	}
	person, structure := author(d)
	if person != "" {
		n.AuthorKey = keys.Key("document-author", person)
	}
	if structure != "" {
		n.OrganisationKey = keys.Key("document-structure", structure)
	}
	if old := replaced(d, e); old != "" {
		n.ReplacesKey = documentKey(keys, old)
	}
	if e != nil {
		for _, c := range e.Confidentiality {
			n.Visibility = append(n.Visibility, c.Code)
		}
	}
	return n
}

func documentKey(keys Keys, uniqueID string) []byte {
	return keys.Key("document", strings.ToLower(uniqueID))
}

// replaced is what the document replaces: its own word first, else the metadata's.
func replaced(d *cda.Document, e *xdm.Entry) string {
	if old := d.Replaces(); !old.IsZero() {
		return old.String()
	}
	if e == nil {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(e.Replaces, "urn:oid:"), "urn:uuid:")
}

// seal seals the report for the patient's dossier, as a blob of its own.
func (g *Ingester) seal(ctx context.Context, l *openLetter, r *report, n *dossier.NewDocument) error {
	m := metaOf(r.doc)
	m.Replaces, m.SentBy, m.MediaType = replaced(r.doc, r.entry), l.reverse.Reveal(), mediaType(r.entry.MimeType)
	n.FiledAt = g.d.Now()
	return sealDocument(ctx, g.d.Seal, g.d.Blobs, r.patient.Holder, io.NewSectionReader(r.content, 0, r.content.Size()), r.content.Size(), m, n)
}

// mediaType is what the metadata say of a CDA, among the two that are right.
func mediaType(s string) string {
	if s == "application/xslt+xml" {
		return s
	}
	return "text/xml"
}

// sealDocument seals content and meta for a dossier's holder: the content as a blob,
// the rest into n.
func sealDocument(ctx context.Context, s *seal.Service, blobs blob.Store, holder id.Holder, content io.Reader, size int64, m dossier.Meta, n *dossier.NewDocument) error {
	public, err := s.Public(ctx, holder)
	if err != nil {
		return err
	}
	key, err := seal.NewSessionKey()
	if err != nil {
		return err
	}
	defer key.Clear()
	packet, err := key.PacketFor(public)
	if err != nil {
		return err
	}
	if n.Meta, err = key.SealValue(m.Marshal()); err != nil {
		return err
	}
	n.Generation, n.Packet, n.Blob, n.Size = packet.Generation, packet.Bytes, id.New(), size
	w, err := blobs.Create(ctx, n.Blob)
	if err != nil {
		return err
	}
	defer w.Abort()
	body, err := key.SealTo(w)
	if err != nil {
		return err
	}
	if _, err := io.Copy(body, content); err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	n.SealedSize, n.SealedSHA256 = body.Size(), body.Sum()
	return w.Commit()
}

// metaOf is what a list shows of a clinical document.
func metaOf(d *cda.Document) dossier.Meta {
	m := dossier.Meta{
		UniqueID: d.ID.String(), SetID: d.SetID.String(), Title: d.Title, TypeCode: d.Type.Code, TypeLabel: d.Type.Label,
		CreatedAt: d.Created.At, ActAt: d.MainService().Start.At, PatientName: patientName(d.Patient.Traits),
		MediaType: "text/xml", CDA: true, Level: d.Body.Level, Language: d.Language,
	}
	if t, ok := health.TypeOf(d.Type.Code); ok {
		m.TypeLabel, m.ClassCode, m.ClassLabel = t.Label, t.Class, health.ClassLabel(t.Class)
	}
	if m.Title == "" {
		m.Title = m.TypeLabel
	}
	if len(d.Authors) > 0 {
		a := d.Authors[0]
		m.AuthorName, m.Organisation = a.Name(), a.Organisation.Name
		if m.AuthorRole = health.AuthorLabel(a.Specialty.Code); m.AuthorRole == "" {
			m.AuthorRole = a.Specialty.Label
		}
	}
	if p, ok := d.Printable(); ok {
		m.Embedded = p.MediaType
	}
	return m
}

// patientName is « NOM Prénom », the used name first.
func patientName(t health.Traits) string {
	name, first := t.UsedName, t.UsedFirstName
	if name == "" {
		name = t.BirthName
	}
	if first == "" {
		first = t.FirstBirthName
	}
	if first == "" {
		first = t.GivenNames
	}
	return strings.TrimSpace(name + " " + first)
}
