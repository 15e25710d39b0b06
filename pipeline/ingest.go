package pipeline

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"pli/audit"
	"pli/codec/message"
	"pli/directory"
	"pli/dossier"
	"pli/fault"
	"pli/health"
	"pli/internal/blob"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/pg"
	"pli/mail"
	"pli/policy"
	"pli/seal"
)

// IngestJob asks for the archive of a letter to be read and its reports filed. One per
// recipient; running it twice files once.
type IngestJob struct {
	Letter id.Letter `json:"letter"`
	BAL    id.BAL    `json:"bal"`
}

// Kind names the job (internal/job).
func (IngestJob) Kind() string { return "ingest" }

// IngestGate decides and traces what is filed (gate.Gate).
type IngestGate interface {
	Ask(ctx context.Context, q policy.Question) (policy.Decision, error)
	Do(ctx context.Context, qs []policy.Question, act func(ctx context.Context, tx *pg.Tx, ds []policy.Decision) error) error
}

// IngestBoxes finds BAL (directory.Directory).
type IngestBoxes interface {
	Find(ctx context.Context, q pg.Querier, a mail.Address) (directory.BAL, error)
	ByID(ctx context.Context, q pg.Querier, b id.BAL) (directory.BAL, error)
	PatientDomain() string
}

// IngestAudit keeps the traces of what never reached a decision (audit.Log).
type IngestAudit interface {
	AppendTx(ctx context.Context, tx *pg.Tx, entries ...audit.Entry) error
}

// Keys makes blind keys (seal.Index).
type Keys interface {
	Key(domain string, parts ...string) []byte
}

// Notifier deposits a notice of the house (Pipeline).
type Notifier interface {
	Notice(ctx context.Context, n Notice) error
}

// IngestDeps is what an Ingester needs. Every field but SpoolDir is required.
type IngestDeps struct {
	DB       *pg.DB
	Seal     *seal.Service
	Blobs    blob.Store
	Keys     Keys
	Dossier  *dossier.Dossier
	Boxes    IngestBoxes
	Gate     IngestGate
	Audit    IngestAudit
	Notices  Notifier
	Class    health.INSClass // INS that this house files: real in production, else test
	Hostname string          // of the reporting server, in MDN
	SpoolDir string          // of temporary sealed files; empty means the system's
	Now      func() time.Time
	Log      *slog.Logger
}

// Ingester files attached reports: it opens the letter with the document job's own
// key, reads the archive and each document, finds the patient, asks the gate, and seals
// what is filed for the patient's dossier. What fails is put in quarantine with its
// cause and never filed; the letter stays where it is.
type Ingester struct{ d IngestDeps }

// NewIngester makes an ingester.
func NewIngester(d IngestDeps) *Ingester { return &Ingester{d: d} }

// outcome is what became of one document, or of a whole archive.
type outcome struct {
	code    health.IntegrationCode // 0: filed, held already, or withdrawn as asked
	cause   string                 // constant words, when refused
	skipped bool                   // a part of the lot that is no document
}

// Ingest is the handler of IngestJob. It may run any number of times: what was filed is
// found filed, what was refused is refused alike, and the state of the job ends once. An
// MDN to another operator may go out a second time, if the process dies right after it.
//
// Errors: anything that may pass comes out and the job runs again; a letter that does
// not open is parked.
func (g *Ingester) Ingest(ctx context.Context, j IngestJob) error {
	started := g.d.Now()
	in, err := g.d.Dossier.Ingestion(ctx, g.d.DB, j.Letter, j.BAL)
	if fault.Is(err, fault.NotFound) || err == nil && in.Done {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := g.open(ctx, in)
	if fault.Is(err, fault.Corrupt) {
		return job.Park(err)
	}
	if err != nil {
		return err
	}
	defer l.close()
	outcomes, err := g.archives(ctx, l)
	if err != nil {
		return err
	}
	if err := g.answer(ctx, l, outcomes); err != nil {
		return err
	}
	filed, refused := count(outcomes)
	err = g.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		return g.d.Dossier.FinishIngestionTx(ctx, tx, j.Letter, j.BAL, filed, refused, g.d.Now())
	})
	g.d.Log.Info("ingest", "letter", j.Letter.String(), "bal", int64(j.BAL), "filed", filed, "refused", refused, "code", int(worst(outcomes).code),
		"cause", worst(outcomes).cause, "took", g.d.Now().Sub(started))
	return err
}

func count(os []outcome) (filed, refused int) {
	for _, o := range os {
		switch {
		case o.skipped:
		case o.code == 0:
			filed++
		default:
			refused++
		}
	}
	return filed, refused
}

// worst is the first refusal, or the zero outcome.
func worst(os []outcome) outcome {
	for _, o := range os {
		if o.code != 0 {
			return o
		}
	}
	return outcome{}
}

// openLetter is a letter in clear, in a sealed temporary file, while its job runs.
type openLetter struct {
	in      dossier.Ingestion
	body    *seal.Spool
	outline *message.Outline
	fields  *message.Fields
	reverse mail.Address // zero is <>
	sender  id.BAL       // of the reverse-path, when it is one of ours
}

func (l *openLetter) close() { _ = l.body.Close() } // a temporary file: nothing is lost

// open opens a letter with the key of the document job.
func (g *Ingester) open(ctx context.Context, in dossier.Ingestion) (*openLetter, error) {
	holder, err := g.d.Seal.House(ctx, seal.PurposeIngest)
	if err != nil {
		return nil, err
	}
	u, err := g.d.Seal.Unlock(ctx, holder)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	key, err := u.SessionKey(seal.Packet{Generation: in.Generation, Bytes: in.Packet})
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	l := &openLetter{in: in}
	reverse, err := key.OpenValue(in.ReversePath)
	if err != nil {
		return nil, err
	}
	if len(reverse) > 0 {
		if l.reverse, err = mail.ParseAddress(string(reverse)); err != nil {
			return nil, fault.Wrap(fault.Corrupt, "pipeline.Ingest", "reverse-path", err)
		}
		box, err := g.d.Boxes.Find(ctx, g.d.DB, l.reverse)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		l.sender = box.ID
	}
	return l, g.spool(ctx, l, key)
}

// spool copies the letter in clear to a sealed temporary file and finds its parts on
// the way.
func (g *Ingester) spool(ctx context.Context, l *openLetter, key *seal.SessionKey) error {
	sealed, err := g.d.Blobs.Open(ctx, l.in.Letter)
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(fault.Corrupt, "pipeline.Ingest", "blob-missing", err)
	}
	if err != nil {
		return err
	}
	defer sealed.Close()
	plain, err := key.OpenFrom(sealed)
	if err != nil {
		return err
	}
	defer plain.Close()
	scan := message.NewScanner(message.Limits{})
	if l.body, err = g.fill(io.TeeReader(plain, scan)); err != nil {
		return err
	}
	if l.outline, err = scan.Finish(); err != nil {
		l.close()
		return fault.Wrap(fault.Corrupt, "pipeline.Ingest", "outline", err) // it was read when it came in
	}
	l.fields = l.outline.Fields()
	return nil
}

func (g *Ingester) fill(r io.Reader) (*seal.Spool, error) { return fillSpool(g.d.SpoolDir, r) }

// fillSpool makes a finished spool of r.
func fillSpool(dir string, r io.Reader) (*seal.Spool, error) {
	s, err := seal.NewSpool(dir)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(s, r); err == nil {
		err = s.Finish()
	}
	if err != nil {
		_ = s.Close() // the error at hand says more
		return nil, err
	}
	return s, nil
}

// maxReturned bounds the original that an MDN gives back whole, in octets: beyond it,
// the notice would be refused by the next server, and the header goes alone.
const maxReturned = 30 << 20

// answer sends the MDN, when one was asked for and the address asked for is that of the
// reverse-path: anything else could make two servers answer each other for ever
// (mssante.md §7.3). A laboratory's software that says what it is in Auto-Submitted is
// answered all the same: it is whom these reports are for, and an MDN, which comes from
// <>, is never answered.
func (g *Ingester) answer(ctx context.Context, l *openLetter, os []outcome) error {
	asked := l.fields.DispositionNotificationTo()
	if len(asked) != 1 || l.reverse.IsZero() || asked[0].Mail() != l.reverse {
		return nil
	}
	from, err := g.address(ctx, l.in.BAL)
	if err != nil || from.IsZero() {
		return err
	}
	filed, refused := count(os)
	n := message.MDN{
		From: message.Person{Address: from.Reveal()}, To: l.reverse, At: g.d.Now(), ReportingUA: g.d.Hostname, Final: from,
		OriginalID: l.fields.MessageID(), References: l.fields.References(), OriginalSubject: l.fields.Subject(),
		Code: worst(os).code,
	}
	if filed > 0 && refused > 0 {
		n.Detail = fmt.Sprintf("Documents rangés : %d. Documents refusés : %d.", filed, refused)
	}
	n.Header = l.outline.Header
	if l.body.Size() <= maxReturned {
		whole := n
		whole.Header, whole.Original = nil, io.NewSectionReader(l.body, 0, l.body.Size())
		if err = g.notify(ctx, l, whole); !fault.Is(err, fault.InvalidContent) {
			return err
		}
	} // what is too deep to be given back whole is told with its header
	if err = g.notify(ctx, l, n); fault.Is(err, fault.InvalidContent) {
		g.d.Log.Warn("MDN not taken in", "letter", l.in.Letter.String(), "code", fault.CodeOf(err))
		return nil
	}
	return err
}

// notify deposits an MDN. A reader who may get none is not an error.
func (g *Ingester) notify(ctx context.Context, l *openLetter, n message.MDN) error {
	body, err := message.BuildMDN(n)
	if err != nil {
		return err
	}
	err = g.d.Notices.Notice(ctx, Notice{To: l.reverse, Body: body, Key: "mdn|" + l.in.Letter.String() + "|" + fmt.Sprint(int64(l.in.BAL))})
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Withheld, fault.Closed, fault.Forbidden, fault.Untrusted:
		g.d.Log.Info("MDN without a reader", "letter", l.in.Letter.String(), "code", fault.CodeOf(err))
		return nil
	}
	return err
}

// address is that of a BAL; a patient's is made from the register.
func (g *Ingester) address(ctx context.Context, b id.BAL) (mail.Address, error) {
	box, err := g.d.Boxes.ByID(ctx, g.d.DB, b)
	if err != nil || !box.Address.IsZero() {
		return box.Address, err
	}
	p, err := g.d.Dossier.PatientByBAL(ctx, g.d.DB, b)
	if fault.Is(err, fault.NotFound) {
		return mail.Address{}, nil // a patient's BAL without a dossier: nobody to speak for
	}
	if err != nil {
		return mail.Address{}, err
	}
	who, err := registered(ctx, g.d.Seal, p)
	if err != nil {
		return mail.Address{}, err
	}
	return mail.ParseAddress(who.INS + "@" + g.d.Boxes.PatientDomain())
}

// registered opens what the register knows of a patient: one custodian operation.
func registered(ctx context.Context, s *seal.Service, p dossier.Patient) (dossier.Identity, error) {
	holder, err := s.House(ctx, seal.PurposeRegister)
	if err != nil {
		return dossier.Identity{}, err
	}
	u, err := s.Unlock(ctx, holder)
	if err != nil {
		return dossier.Identity{}, err
	}
	defer u.Close()
	plain, err := u.OpenSealed(p.TraitsSealed)
	if err != nil {
		return dossier.Identity{}, err
	}
	defer clear(plain)
	return dossier.ReadIdentity(plain)
}
