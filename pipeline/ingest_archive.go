package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pli/audit"
	"pli/codec/cda"
	"pli/codec/message"
	"pli/codec/xdm"
	"pli/dossier"
	"pli/fault"
	"pli/health"
	"pli/internal/pg"
	"pli/policy"
	"pli/seal"
)

// archives reads every archive of the letter.
func (g *Ingester) archives(ctx context.Context, l *openLetter) ([]outcome, error) {
	found := l.outline.XDM()
	if len(found) == 0 {
		o, err := g.refuse(ctx, l, "", health.OtherError, "no-archive")
		return []outcome{o}, err
	}
	var all []outcome
	for i, a := range found {
		os, err := g.archive(ctx, l, fmt.Sprint(i+1), a.Part)
		if err != nil {
			return nil, err
		}
		all = append(all, os...)
	}
	return all, nil
}

// archive reads one archive: its names and metadata, then each document.
func (g *Ingester) archive(ctx context.Context, l *openLetter, where string, part *message.Part) ([]outcome, error) {
	whole := func(err error) ([]outcome, error) {
		cause, bad := badContent(err)
		if !bad {
			return nil, err
		}
		o, err := g.refuse(ctx, l, where, health.OtherError, cause)
		return []outcome{o}, err
	}
	body, err := g.fill(message.Decode(part, io.NewSectionReader(l.body, part.BodyStart, part.Size())))
	if err != nil {
		return whole(err)
	}
	defer body.Close()
	a, err := xdm.Open(body, body.Size(), xdm.Limits{})
	if err != nil {
		return whole(err)
	}
	if err := onePatient(a); err != nil {
		return whole(err)
	}
	var all []outcome
	real := 0
	for i := range a.Entries {
		o, err := g.entry(ctx, l, fmt.Sprintf("%s/%d", where, i+1), a, &a.Entries[i])
		if err != nil {
			return nil, err
		}
		if !o.skipped {
			real++
		}
		all = append(all, o)
	}
	if real == 0 {
		return whole(fault.New(fault.InvalidContent, "pipeline.Ingest", "no-document"))
	}
	return all, nil
}

// badContent tells what is wrong with the content from what went wrong with the house:
// only the first is a refusal, the second is tried again.
func badContent(err error) (cause string, bad bool) {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return fault.CodeOf(err), fault.Is(err, fault.InvalidContent)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "", false
	}
	return "damaged", true // base64 that ends too soon, or is none
}

// onePatient holds an archive to one patient (mssante.md §7.1).
func onePatient(a *xdm.Archive) error {
	var first xdm.CX
	for _, e := range a.Entries {
		cx := xdm.ParseCX(e.PatientID)
		if _, ins := health.ClassOfOID(cx.OID); !ins {
			continue
		}
		if first != (xdm.CX{}) && (cx.ID != first.ID || cx.OID != first.OID) {
			return fault.New(fault.InvalidContent, "pipeline.Ingest", "several-patients")
		}
		first = cx
	}
	return nil
}

// beside reports whether an entry only goes with the documents: the lot's signature or
// style sheet (dmp.md §3.5 rule 5), or a PDF for human eyes (§4.2). It is no document to
// file, and no failing either as long as there is one.
func beside(e *xdm.Entry) bool {
	if e.Type.Code == "E1762" || e.Type.Code == "FEUILLE-DE-STYLE" {
		return true
	}
	media, _, _ := strings.Cut(strings.ToLower(e.MimeType), ";")
	switch strings.TrimSpace(media) {
	case "", "text/xml", "application/xml", "application/xslt+xml", "application/hl7-v3+xml", "text/xsl":
		return false
	}
	return true
}

// entry reads one document of an archive and files it, or says why not.
func (g *Ingester) entry(ctx context.Context, l *openLetter, where string, a *xdm.Archive, e *xdm.Entry) (outcome, error) {
	if beside(e) {
		return outcome{skipped: true}, nil
	}
	r, err := g.read(a, e)
	if err != nil {
		cause, bad := badContent(err)
		if !bad {
			return outcome{}, err
		}
		return g.refuse(ctx, l, where, health.OtherError, cause)
	}
	defer r.content.Close()
	r.where = where
	if cx := xdm.ParseCX(e.PatientID); r.otherPatient(cx) {
		return g.refuse(ctx, l, where, health.INSMismatch, "metadata-patient-differs")
	}
	if err := g.identify(ctx, l, r); err != nil {
		return outcome{}, err
	}
	return g.file(ctx, l, r)
}

// report is a document of an archive, read and checked, on its way to a dossier.
type report struct {
	where   string // in the archive
	entry   *xdm.Entry
	doc     *cda.Document
	content *seal.Spool // the file as received
	ins     cda.PatientID
	patient dossier.Patient // zero ID when nobody here has this INS
	reading policy.Reading
}

// read takes a document out of the archive, checks its size and hash, and reads it.
func (g *Ingester) read(a *xdm.Archive, e *xdm.Entry) (*report, error) {
	rc, err := a.Document(e)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	content, err := g.fill(rc)
	if err != nil {
		return nil, err
	}
	doc, err := cda.Read(io.NewSectionReader(content, 0, content.Size()))
	if err != nil {
		_ = content.Close() // the error at hand says more
		return nil, err
	}
	return &report{entry: e, doc: doc, content: content}, nil
}

// otherPatient reports whether the metadata name another INS than the document does.
func (r *report) otherPatient(cx xdm.CX) bool {
	if _, ins := health.ClassOfOID(cx.OID); !ins || len(r.doc.Patient.INS) == 0 {
		return false
	}
	for _, p := range r.doc.Patient.INS {
		if p.OID == cx.OID && p.Number.Reveal() == cx.ID {
			return false
		}
	}
	return true
}

// identify finds the patient (dmp.md §1.5) and says what policy needs to know of the
// document. A wrong key under a test INS is an event and no more (§1.2).
func (g *Ingester) identify(ctx context.Context, l *openLetter, r *report) error {
	d := r.doc
	r.reading = readingOf(d, r.entry, l.fields.MSS().INS)
	if len(d.Patient.INS) == 0 {
		return nil
	}
	r.ins = d.Patient.INS[0]
	for _, p := range d.Patient.INS {
		if p.Class == g.d.Class {
			r.ins = p
			break
		}
	}
	valid := r.ins.Number.KeyValid()
	r.reading.Class, r.reading.KeyValid = r.ins.Class, policy.Is(valid)
	if r.ins.Number.IsZero() {
		r.reading.Complete, r.reading.KeyValid = policy.No, policy.No
		return nil
	}
	if !valid {
		g.d.Log.Warn("INS key is wrong", "letter", l.in.Letter.String(), "class", r.ins.Class)
	}
	p, err := g.d.Dossier.PatientByINS(ctx, g.d.DB, g.d.Keys.Key("ins", string(r.ins.Class), r.ins.Number.Reveal()))
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	known, err := registered(ctx, g.d.Seal, p)
	if err != nil {
		return err
	}
	r.patient = p
	r.reading.PatientFound, r.reading.TraitsMatch = policy.Yes, policy.Is(known.Traits.Match(d.Patient.Traits))
	return nil
}

// readingOf is what a document says by itself. X-MSS-INS: N takes the vouching back
// that an INS with its traits is by the rules of the CDA (dmp.md §1.4, mssante.md §5.3).
func readingOf(d *cda.Document, e *xdm.Entry, mssINS string) policy.Reading {
	t, known := health.TypeOf(d.Type.Code)
	author, structure := author(d)
	codes := []string{d.Confidentiality}
	for _, c := range e.Confidentiality {
		codes = append(codes, c.Code)
	}
	if d.Confidentiality == "" && len(e.Confidentiality) == 0 {
		codes = []string{health.Normal} // by default (dmp.md §2.2)
	}
	return policy.Reading{
		HasINS: policy.Is(len(d.Patient.INS) > 0), Complete: policy.Is(d.Patient.Traits.Complete()),
		SenderQualified: policy.Is(mssINS != "N"), PatientFound: policy.No,
		TypeKnown: policy.Is(known && t.Class != ""), Confidentiality: codes,
		AuthorIdentified: policy.Is(author != "" && structure != ""), Archive: policy.Yes,
		Latest: policy.Yes, Author: policy.Yes,
	}
}

// author gives the national identifiers of the first identified author and of his
// structure, or of the custodian (dmp.md §2.2); "" when there is none.
func author(d *cda.Document) (person, structure string) {
	for _, a := range d.Authors {
		if person == "" {
			person = national(a.IDs, cda.OIDPerson, cda.OIDHealthID)
		}
		if structure == "" {
			structure = national(a.Organisation.IDs, cda.OIDStructure)
		}
	}
	if structure == "" {
		structure = national(d.Custodian.IDs, cda.OIDStructure)
	}
	return person, structure
}

func national(ids []cda.Identifier, roots ...string) string {
	for _, id := range ids {
		for _, root := range roots {
			if id.Root == root && id.Extension != "" {
				return id.String()
			}
		}
	}
	return ""
}

// refuse puts a document, or a whole archive, in quarantine and leaves a trace: for
// what failed before there was anything to decide.
func (g *Ingester) refuse(ctx context.Context, l *openLetter, where string, code health.IntegrationCode, cause string) (outcome, error) {
	o := outcome{code: code, cause: cause}
	at := g.d.Now()
	return o, g.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		fresh, err := g.quarantine(ctx, tx, l, where, o)
		if err != nil || !fresh {
			return err
		}
		return g.d.Audit.AppendTx(ctx, tx, audit.Entry{
			Chain: audit.BALChain(l.in.BAL), Actor: "house", Action: string(policy.FileDocument), Object: "letter:" + l.in.Letter.String(),
			Rules: []string{fmt.Sprintf("integration-%d", code), cause}, Rulebook: policy.RuleBookHash(), Means: "job", At: at,
		})
	})
}

func (g *Ingester) quarantine(ctx context.Context, tx *pg.Tx, l *openLetter, where string, o outcome) (fresh bool, err error) {
	q := dossier.Quarantined{
		Letter: l.in.Letter, BAL: l.in.BAL, Mailbox: l.in.Mailbox, UID: l.in.UID, Code: o.code, Cause: o.cause, CreatedAt: g.d.Now(),
	}
	if where != "" {
		q.DocumentKey = g.d.Keys.Key("quarantine", l.in.Letter.String(), where)
	}
	return g.d.Dossier.QuarantineTx(ctx, tx, q)
}
