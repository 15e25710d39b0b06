package pipeline

import (
	"context"
	"errors"
	"io"
	"time"

	"pli/dossier"
	"pli/internal/id"
)

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
}

// ReadSeeker gives random access to a file in clear: a spool.
type ReadSeeker interface {
	io.ReaderAt
	Size() int64
}

// Close forgets the content.
func (o *OpenDocument) Close() error { return nil }

// Attachment is a file of a message that the patient keeps in the record.
type Attachment struct {
	Letter    id.Letter // where it came from
	Name      string
	MediaType string    // as the message declared it; the content decides
	From      string    // display name or address of the sender, shown in the record
	Content   io.Reader // decoded
}

// RecordEvent is a line of the activity history, in parts for a page to put in words.
type RecordEvent struct {
	At     time.Time
	Who    string // « Vous », « NOM Prénom, profession », a structure, a domain, or « Pli »
	You    bool
	Action string // stable: read-document, file-document, keep-document, open-bal, receive…
	What   string // in French: « a ouvert le document »
	Object string // title of the document, when it is still in the record
	Doc    id.Document
	Denied bool
	Ground string // in French: the rules that spoke
	Means  string
}

// Record is the corridor for reading the record. Each call opens the dossier's key once.
type Record struct{}

// List gives the record, newest document first: one item per set, the current version.
func (r *Record) List(ctx context.Context, who Viewer) ([]RecordItem, error) {
	return nil, errors.ErrUnsupported
}

// Open opens a document: decided and traced as "read-document", marked as seen.
//
// Errors: fault.NotFound for what is not in this record or must not be seen.
func (r *Record) Open(ctx context.Context, who Viewer, doc id.Document) (*OpenDocument, error) {
	return nil, errors.ErrUnsupported
}

// Keep files an attachment in the record, once: pdf, txt, rtf, jpg, png, tiff or CDA,
// 25 MB at most. The patient decides; traced as "keep-document".
//
// Errors: fault.InvalidContent, fault.TooLarge, fault.Closed.
func (r *Record) Keep(ctx context.Context, who Viewer, a Attachment) (id.Document, error) {
	return id.Document{}, errors.ErrUnsupported
}

// History gives who opened what and when, newest first, over the patient's record and
// BAL. before is the zero time for the newest.
func (r *Record) History(ctx context.Context, who Viewer, before time.Time, limit int) ([]RecordEvent, error) {
	return nil, errors.ErrUnsupported
}
