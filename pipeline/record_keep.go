package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"pli/codec/cda"
	"pli/dossier"
	"pli/fault"
	"pli/gate"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/policy"
	"pli/seal"
)

func refusalOf(d policy.Decision) error { return gate.Refusal(d) }

// Attachment is a file of a message that the patient keeps in the record.
type Attachment struct {
	Letter    id.Letter // where it came from
	Name      string
	MediaType string    // as the message declared it; the content decides
	From      string    // display name or address of the sender, shown in the record
	Content   io.Reader // decoded
}

// MaxKeptSize bounds a file that a patient keeps, in octets.
const MaxKeptSize = 25 << 20

// Keep files an attachment in the record, once: pdf, txt, rtf, jpg, png, tiff or CDA,
// 25 MB at most. The patient decides; traced as "keep-document". A file already in the
// record gives the document already there.
//
// Errors: fault.InvalidContent for another type, for a clinical document that is about
// somebody else or that the version rules refuse; fault.TooLarge; fault.Closed.
func (r *Record) Keep(ctx context.Context, who Viewer, a Attachment) (id.Document, error) {
	p, err := r.patient(ctx, who)
	if err != nil {
		return id.Document{}, err
	}
	content, sum, err := r.take(a.Content)
	if err != nil {
		return id.Document{}, err
	}
	defer content.Close()
	n, m, err := r.describe(ctx, p, a, content, sum)
	if err != nil {
		return id.Document{}, err
	}
	held, err := r.d.Dossier.Check(ctx, r.d.DB, n)
	if err != nil {
		return id.Document{}, asContent(err)
	}
	if held.Duplicate {
		return held.ID, nil
	}
	n.FiledAt = r.d.Now()
	if err := sealDocument(ctx, r.d.Seal, r.d.Blobs, p.Holder, io.NewSectionReader(content, 0, content.Size()), content.Size(), m, &n); err != nil {
		return id.Document{}, err
	}
	q := policy.Question{Action: policy.KeepDocument, Actor: who.actor(p.ID), Object: policy.Object{BAL: who.BAL, Patient: p.ID, Document: n.ID, Letter: a.Letter}}
	var filed dossier.Filed
	err = r.d.Gate.Do(ctx, []policy.Question{q}, func(ctx context.Context, tx *pg.Tx, _ []policy.Decision) error {
		var err error
		filed, err = r.d.Dossier.FileTx(ctx, tx, n)
		return err
	})
	return filed.ID, asContent(err)
}

// asContent turns a refusal by version rules into words for the patient.
func asContent(err error) error {
	if dossier.IntegrationCode(err) == 0 {
		return err
	}
	return fault.New(fault.InvalidContent, "pipeline.Keep", fault.CodeOf(err)).Say(
		"Une autre version de ce document est déjà dans votre dossier.", "Another version of this document is already in your record.")
}

// take copies the file to a sealed temporary one and hashes it.
func (r *Record) take(content io.Reader) (*seal.Spool, string, error) {
	h := sha256.New()
	s, err := fillSpool(r.d.SpoolDir, io.TeeReader(io.LimitReader(content, MaxKeptSize+1), h))
	if err != nil {
		if cause, bad := badContent(err); bad {
			return nil, "", fault.New(fault.InvalidContent, "pipeline.Keep", cause)
		}
		return nil, "", err
	}
	if s.Size() > MaxKeptSize {
		_ = s.Close() // the size is the error
		return nil, "", fault.New(fault.TooLarge, "pipeline.Keep", "too-large").Say(
			"Ce fichier dépasse 25 Mo et ne peut pas être rangé dans le dossier.", "This file exceeds 25 MB and cannot be kept in the record.")
	}
	return s, hex.EncodeToString(h.Sum(nil)), nil
}

// describe makes the document and its meta from the content, whatever the message said
// of it.
func (r *Record) describe(ctx context.Context, p dossier.Patient, a Attachment, content *seal.Spool, sum string) (dossier.NewDocument, dossier.Meta, error) {
	doc, err := r.clinical(ctx, p, content)
	if err != nil {
		return dossier.NewDocument{}, dossier.Meta{}, err
	}
	if doc != nil {
		n, m := newDocument(r.d.Keys, doc, nil), metaOf(doc)
		n.Patient, n.Origin, n.Visibility, n.Size = p.ID, dossier.ByPatient, []string{health.Normal}, content.Size()
		m.Filename = a.Name
		return n, m, nil
	}
	kind, err := kindOfFile(content, a)
	if err != nil {
		return dossier.NewDocument{}, dossier.Meta{}, err
	}
	n := dossier.NewDocument{
		ID: id.New(), Patient: p.ID, UniqueKey: r.d.Keys.Key("kept", sum), Version: 1,
		Origin: dossier.ByPatient, Visibility: []string{health.Normal},
	}
	return n, dossier.Meta{
		UniqueID: "urn:sha256:" + sum, Title: title(a.Name), ClassCode: health.ClassOther, ClassLabel: health.ClassLabel(health.ClassOther),
		CreatedAt: r.d.Now().UTC(), AuthorName: a.From, MediaType: kind, Filename: a.Name,
	}, nil
}

// clinical reads a clinical document; nil when the file is none. One about somebody else
// is not for this record.
func (r *Record) clinical(ctx context.Context, p dossier.Patient, content *seal.Spool) (*cda.Document, error) {
	if !bytes.Contains(start(content), []byte("<")) || !looksLikeXML(start(content)) {
		return nil, nil
	}
	doc, err := cda.Read(io.NewSectionReader(content, 0, content.Size()))
	if fault.Is(err, fault.InvalidContent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	known, err := registered(ctx, r.d.Seal, p)
	if err != nil {
		return nil, err
	}
	for _, ins := range doc.Patient.INS {
		if ins.Class != p.Class || ins.Number.Reveal() != known.INS {
			return nil, fault.New(fault.InvalidContent, "pipeline.Keep", "another-patient").Say(
				"Ce document porte l'identité d'une autre personne. Il n'a pas été rangé dans votre dossier.",
				"This document bears another person's identity. It was not kept in your record.")
		}
	}
	return doc, nil
}

func looksLikeXML(b []byte) bool {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	return bytes.HasPrefix(b, []byte("<"))
}

// start is the first octets of a file.
func start(content io.ReaderAt) []byte {
	b := make([]byte, 4096)
	n, err := content.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil // what cannot be read is no type that we keep
	}
	return b[:n]
}

// kindOfFile tells the media type from the content; only plain text, which has no mark
// of its own, needs the name.
func kindOfFile(content *seal.Spool, a Attachment) (string, error) {
	b := start(content)
	for mark, kind := range map[string]string{
		"%PDF-": "application/pdf", "{\\rtf": "text/rtf", "\xff\xd8\xff": "image/jpeg", "\x89PNG\r\n\x1a\n": "image/png",
		"II*\x00": "image/tiff", "MM\x00*": "image/tiff",
	} {
		if bytes.HasPrefix(b, []byte(mark)) {
			return kind, nil
		}
	}
	text := strings.EqualFold(path.Ext(a.Name), ".txt") || strings.HasPrefix(strings.ToLower(a.MediaType), "text/plain")
	if text && len(b) > 0 && bytes.IndexByte(b, 0) < 0 && !looksLikeXML(b) && utf8.Valid(b[:len(b)-min(len(b)-1, 3)]) {
		return "text/plain", nil
	}
	return "", fault.New(fault.InvalidContent, "pipeline.Keep", "type").Say(
		"Ce type de fichier ne peut pas être rangé dans le dossier. Sont acceptés : PDF, texte, RTF, JPEG, PNG, TIFF et documents de santé (CDA).",
		"This type of file cannot be kept in the record. Accepted: PDF, text, RTF, JPEG, PNG, TIFF and health documents (CDA).")
}

// title is a file's name as people read it.
func title(name string) string {
	name = strings.TrimSpace(strings.TrimSuffix(path.Base("/"+strings.ReplaceAll(name, `\`, "/")), path.Ext(name)))
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ReplaceAll(name, "_", " "))
	if name == "" || name == "/" {
		return "Document"
	}
	if r := []rune(name); len(r) > 128 {
		return string(r[:128])
	}
	return name
}
