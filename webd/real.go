package webd

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"pli/codec/message"
	"pli/consent"
	"pli/directory"
	"pli/directory/listing"
	"pli/directory/search"
	"pli/dossier"
	"pli/fault"
	"pli/gate"
	"pli/health"
	"pli/identity"
	"pli/internal/id"
	"pli/internal/limit"
	"pli/internal/pg"
	"pli/mail"
	"pli/mailstore"
	"pli/pipeline"
	"pli/policy"
	"pli/seal"
)

// House is what the door needs of a running house. It plays every part of rooms.go.
type House struct {
	DB        *pg.DB
	Identity  *identity.Service
	Directory *directory.Directory
	Consent   *consent.Service
	Mail      *mailstore.Store
	Gate      *gate.Gate
	Reader    *pipeline.Reader
	Pipeline  *pipeline.Pipeline
	Record    *pipeline.Record
	// Search asks the published directory; nil: there are no pages for it. With it come
	// TicketSecret (16 or 32 octets, of webd's tickets alone) and Limit.
	Search       Searcher
	TicketSecret []byte
	Limit        Limiter
	Turns        *limit.Turns // nil: webd's own
	SpoolDir     string       // of sealed temporary files; "" is the system's
	Hostname     string       // in receipts
	Log          *slog.Logger
	Now          func() time.Time
}

// Searcher asks the published directory (search.Searcher).
type Searcher interface {
	Search(ctx context.Context, q search.Query) (search.Page, error)
	ByKey(ctx context.Context, k listing.Key) (listing.Listing, error)
	StructureByID(ctx context.Context, organization string) (search.Establishment, error)
}

// Deps plugs the house into the door.
func (h *House) Deps(c Config) Deps {
	d := Deps{
		Config: c, SignIn: houseSignIn{h}, Letterbox: houseLetterbox{h}, Record: houseRecord{h}, Exchanges: houseExchanges{h},
		Cards: houseCards{h}, Submit: houseSubmit{h}, Practice: housePractice{h}, Log: h.Log, Now: h.Now,
		Spool: func() (Spool, error) { return seal.NewSpool(h.SpoolDir) },
	}
	if h.Search != nil {
		d.Listings, d.TicketSecret, d.Limit = houseListings{h}, h.TicketSecret, h.Limit
		d.Turns = h.Turns
	}
	return d
}

func (s Session) signIn() identity.SignIn {
	who := identity.SignIn{Account: s.Account, BAL: s.BAL, Kind: identity.Patient, Means: identity.ByWeb}
	if s.Professional {
		who.Kind = identity.Professional
	}
	return who
}

// box is the id of the session's BAL as the directory is asked for it.
func (s Session) box() string { return strconv.FormatInt(int64(s.BAL), 10) }

type houseSignIn struct{ h *House }

func (a houseSignIn) Password(ctx context.Context, login, password, remote string) (string, error) {
	return a.h.Identity.Password(ctx, login, password, remote)
}

func (a houseSignIn) SecondFactor(ctx context.Context, token, code, _ string) (string, error) {
	return a.h.Identity.SecondFactor(ctx, token, code)
}

// Session is that of a patient or of a professional: there are no pages for others, so an
// account of another kind is nobody here.
func (a houseSignIn) Session(ctx context.Context, token string) (Session, error) {
	s, err := a.h.Identity.Session(ctx, token)
	if err != nil {
		return Session{}, err
	}
	full := s.Level == identity.LevelTwoFactor // only then does identity tell the dossier
	patient := s.Kind == identity.Patient && (s.Patient != 0 || !full)
	professional := s.Kind == identity.Professional && s.Patient == 0
	if s.BAL == 0 || !patient && !professional {
		return Session{}, fault.New(fault.Unauthenticated, "webd.Session", "no-space")
	}
	return sessionOf(s), nil
}

func sessionOf(s identity.Session) Session {
	return Session{Account: s.Account, Patient: s.Patient, BAL: s.BAL, Professional: s.Kind == identity.Professional,
		Full: s.Level == identity.LevelTwoFactor, CreatedAt: s.CreatedAt, SeenAt: s.SeenAt}
}

func (a houseSignIn) Sessions(ctx context.Context, s Session) ([]Session, error) {
	list, err := a.h.Identity.Sessions(ctx, s.Account)
	if err != nil {
		return nil, err
	}
	out := make([]Session, 0, len(list))
	for _, v := range list {
		out = append(out, sessionOf(v))
	}
	return out, nil
}

func (a houseSignIn) EndAll(ctx context.Context, s Session) error {
	return a.h.Identity.EndAll(ctx, s.Account)
}

func (a houseSignIn) End(ctx context.Context, token string) error {
	return a.h.Identity.End(ctx, token)
}

// maxLetters bounds what one mailbox gives to the list of conversations.
const maxLetters = 20_000

type houseLetterbox struct{ h *House }

func (a houseLetterbox) Open(ctx context.Context, s Session) (Letters, error) {
	o, err := a.h.Reader.Open(ctx, s.signIn())
	if err != nil {
		return nil, err
	}
	return &houseLetters{h: a.h, open: o, session: s}, nil
}

type houseLetters struct {
	h       *House
	open    *pipeline.OpenBAL
	session Session
}

func (a *houseLetters) List(ctx context.Context) ([]Letter, error) {
	boxes, err := a.h.Mail.Mailboxes(ctx, a.h.DB, a.session.BAL, nil)
	if err != nil {
		return nil, err
	}
	var out []Letter
	for _, mb := range boxes {
		if mb.Role == mail.Drafts || mb.Role == mail.Junk || mb.Role == mail.Trash || mb.Messages == 0 {
			continue
		}
		ms, err := a.h.Mail.Newest(ctx, a.h.DB, mb.ID, 0, maxLetters)
		if err != nil {
			return nil, err
		}
		outlines, err := a.open.Outlines(ctx, ms)
		if err != nil {
			return nil, err
		}
		for i, m := range ms {
			if outlines[i] == nil || m.Flags&(mailstore.Deleted|mailstore.Draft) != 0 {
				continue // one that does not open was told of by the reader
			}
			out = append(out, Letter{ID: m.Letter, Mailbox: m.Mailbox, UID: m.UID, Sent: mb.Role == mail.Sent,
				Seen: m.Flags&mailstore.Seen != 0, ReceivedAt: m.ReceivedAt, Size: m.Size, Outline: outlines[i]})
		}
	}
	return out, nil
}

func (a *houseLetters) message(ctx context.Context, l Letter) (mailstore.Message, error) {
	return a.h.Mail.Message(ctx, a.h.DB, l.Mailbox, l.UID)
}

func (a *houseLetters) Part(ctx context.Context, l Letter, path []int) (io.ReadCloser, *message.Part, error) {
	m, err := a.message(ctx, l)
	if err != nil {
		return nil, nil, err
	}
	return a.open.Part(ctx, m, path)
}

// receiptSent is the keyword of a letter whose receipt has left (RFC 3503).
const receiptSent = "$MDNSent"

// MarkSeen sets \Seen. The first time, a receipt that was asked for leaves: the
// citizen's server sends it without asking, and the page says so (mssante.md §6.3).
func (a *houseLetters) MarkSeen(ctx context.Context, l Letter) error {
	to := receiptTo(l.Outline.Fields())
	store := mailstore.FlagStore{Op: mailstore.AddFlags, Flags: mailstore.Seen}
	if !to.IsZero() {
		store.Keywords = []string{receiptSent}
	}
	var owed bool
	err := a.h.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		before, err := a.h.Mail.Message(ctx, tx, l.Mailbox, l.UID)
		if err != nil {
			return err
		}
		changed, _, err := a.h.Mail.StoreFlagsTx(ctx, tx, l.Mailbox, []mail.UID{l.UID}, store)
		owed = len(changed) > 0 && !to.IsZero() && before.Flags&mailstore.Seen == 0 && !slices.Contains(before.Keywords, receiptSent)
		return err
	})
	if err != nil || !owed {
		return err
	}
	if err := a.receipt(ctx, l, to); err != nil { // the reading stands; the sender can ask again
		a.h.Log.WarnContext(ctx, "receipt not sent", "letter", l.ID.String(), "error", err)
	}
	return nil
}

// receiptTo is where the receipt of a letter goes: the address asked for when it is the
// author's own or the reverse-path, else none (RFC 8098 §2.1).
func receiptTo(f *message.Fields) mail.Address {
	asked := f.DispositionNotificationTo()
	if len(asked) != 1 || f.Get("Auto-Submitted") != "" && !strings.EqualFold(f.Get("Auto-Submitted"), "no") {
		return mail.Address{}
	}
	to := asked[0].Mail()
	if from := f.From(); to == f.ReturnPath() || len(from) == 1 && to == from[0].Mail() {
		return to
	}
	return mail.Address{}
}

func (a *houseLetters) receipt(ctx context.Context, l Letter, to mail.Address) error {
	o, err := houseRecord{a.h}.Owner(ctx, a.session)
	if err != nil {
		return err
	}
	f := l.Outline.Fields()
	body, err := message.BuildMDN(message.MDN{
		From: message.Person{Name: o.Name(), Address: o.Address.Reveal()}, To: to, At: a.h.Now(), ReportingUA: a.h.Hostname, Final: o.Address,
		OriginalID: f.MessageID(), References: f.References(), OriginalSubject: f.Subject(), Displayed: true, Header: l.Outline.Header})
	if err != nil {
		return err
	}
	return a.h.Pipeline.Notice(ctx, pipeline.Notice{To: to, Body: body})
}

func (a *houseLetters) Close() { a.open.Close() }

type houseRecord struct{ h *House }

func (s Session) viewer() pipeline.Viewer {
	return pipeline.Viewer{Account: s.Account, BAL: s.BAL, Means: "web"}
}

func (a houseRecord) Owner(ctx context.Context, s Session) (Owner, error) {
	who, err := a.h.Record.Owner(ctx, s.viewer())
	if err != nil {
		return Owner{}, err
	}
	return a.owner(who)
}

func (a houseRecord) owner(who dossier.Identity) (Owner, error) {
	ins, err := health.ParseINS(who.INS)
	if err != nil {
		return Owner{}, err
	}
	address, err := mail.ParseAddress(strings.ToLower(ins.Reveal()) + "@" + a.h.Directory.PatientDomain())
	if err != nil {
		return Owner{}, err
	}
	t := who.Traits
	o := Owner{FamilyName: first(t.UsedName, t.BirthName), GivenName: capital(first(t.UsedFirstName, t.FirstBirthName, firstWord(t.GivenNames))),
		BirthDate: t.BirthDate, Address: address, INS: ins.Grouped()}
	return o, nil
}

func first(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

func firstWord(s string) string {
	w, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return w
}

// capital writes a given name as people read it: MARIE-ANNE is « Marie-Anne ». One that
// is not all in capitals is left alone.
func capital(s string) string {
	if s != strings.ToUpper(s) {
		return s
	}
	rs := []rune(strings.ToLower(s))
	for i, r := range rs {
		if i == 0 || rs[i-1] == '-' || rs[i-1] == ' ' || rs[i-1] == '\'' || rs[i-1] == '’' {
			rs[i] = []rune(strings.ToUpper(string(r)))[0]
		}
	}
	return string(rs)
}

func (a houseRecord) List(ctx context.Context, s Session) ([]Document, error) {
	items, err := a.h.Record.List(ctx, s.viewer())
	if err != nil {
		return nil, err
	}
	return documents(items), nil
}

func documents(items []pipeline.RecordItem) []Document {
	docs := make([]Document, 0, len(items))
	for _, it := range items {
		docs = append(docs, documentOf(it))
	}
	return docs
}

func documentOf(it pipeline.RecordItem) Document {
	m := it.Meta
	d := Document{
		ID: it.ID, UniqueID: m.UniqueID, Title: m.Title, Category: categoryOf(m), Type: m.TypeLabel, Author: authorOf(m),
		DocumentAt: m.CreatedAt, FiledAt: it.FiledAt, MediaType: m.MediaType, Size: it.Size, Version: it.Version, Versions: it.Versions,
		State: Current, New: it.New, ByPatient: it.Origin == dossier.ByPatient, Masked: slices.Contains(it.Visibility, health.MaskedToPros), CDA: m.CDA,
	}
	switch it.Status {
	case dossier.Deprecated:
		d.State = Replaced
	case dossier.Deleted:
		d.State = Withdrawn
	}
	if d.DocumentAt.IsZero() {
		d.DocumentAt = it.FiledAt
	}
	d.Title = first(d.Title, m.Filename, m.TypeLabel)
	return d
}

func authorOf(m dossier.Meta) string {
	var parts []string
	for _, s := range []string{m.AuthorName, m.AuthorRole, m.Organisation} {
		if s != "" && !slices.Contains(parts, s) {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

func (a houseRecord) Open(ctx context.Context, s Session, doc id.Document) (*OpenedDocument, error) {
	o, err := a.h.Record.Open(ctx, s.viewer(), doc)
	if err != nil {
		return nil, err
	}
	return &OpenedDocument{Document: documentOf(o.RecordItem), Others: documents(o.Others), Content: o.Content, Close: o.Close}, nil
}

func (a houseRecord) Keep(ctx context.Context, s Session, f File) (id.Document, error) {
	return a.h.Record.Keep(ctx, s.viewer(), pipeline.Attachment{Letter: f.Letter, Name: f.Name, MediaType: f.MediaType, From: f.From, Content: f.Content})
}

func (a houseRecord) History(ctx context.Context, s Session, before time.Time, limit int) ([]Event, error) {
	lines, err := a.h.Record.History(ctx, s.viewer(), before, limit)
	if err != nil {
		return nil, err
	}
	events := make([]Event, 0, len(lines))
	for _, l := range lines {
		e := Event{At: l.At, Who: l.Who, Kind: ActorKind(l.Kind), Action: l.Action, What: l.What, Document: l.Doc, Title: l.Title, Ground: l.Ground, Denied: l.Denied}
		switch {
		case e.Kind == ByHouse:
			e.Who = "" // the page has its own word for the house
		case mail.ValidDomain(e.Who):
			e.Who, e.Operator = "", e.Who
		}
		events = append(events, e)
	}
	return events, nil
}

type houseExchanges struct{ h *House }

// Exchanges asks the rules whether there is a reply button, and the consents since when
// there is none.
func (a houseExchanges) Exchanges(ctx context.Context, s Session, peers []mail.Address) (map[mail.Address]Exchange, error) {
	qs := make([]policy.Question, len(peers))
	for i, p := range peers {
		actor := gate.Actor(s.signIn(), "web")
		actor.Patient = s.Patient
		qs[i] = policy.Question{Action: policy.Reply, Actor: actor, Object: policy.Object{To: p}}
	}
	ds, err := a.h.Gate.AskAll(ctx, qs)
	if err != nil {
		return nil, err
	}
	kept, err := a.h.Consent.List(ctx, s.BAL)
	if err != nil {
		return nil, err
	}
	byKey := make(map[string]consent.Exchange, len(kept))
	for _, e := range kept {
		byKey[string(e.PeerKey)] = e
	}
	out := make(map[mail.Address]Exchange, len(peers))
	for i, p := range peers {
		e := Exchange{Open: ds[i].Permits()}
		if k, ok := byKey[string(a.h.Consent.Key(p))]; ok && !e.Open {
			e.Ended, e.At = k.State == consent.Ended, k.At
			e.Gone = k.State == consent.Open // the consent stands, another rule refuses
		}
		out[p] = e
	}
	return out, nil
}

type houseCards struct{ h *House }

func (a houseCards) Cards(ctx context.Context, as []mail.Address) (map[mail.Address]Card, error) {
	found, err := a.h.Directory.Cards(ctx, a.h.DB, slices.DeleteFunc(slices.Clone(as), mail.Address.IsZero))
	if err != nil {
		return nil, err
	}
	out := make(map[mail.Address]Card, len(found))
	for k, c := range found {
		card := Card{Name: c.Name, Profession: c.Profession, Structure: c.Structure, City: c.City, Service: c.Kind != health.PER}
		if c.Service != "" && c.Service != c.Name {
			card.Name = first(c.Name, c.Service)
		}
		out[k] = card
	}
	return out, nil
}

type houseSubmit struct{ h *House }

func (a houseSubmit) Submit(ctx context.Context, s Session, env mail.Envelope, r io.Reader) (Receipt, error) {
	rc, err := a.h.Pipeline.Submit(ctx, s.signIn(), env, r)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{At: a.h.Now(), Delivered: rc.Remote == 0}, nil
}

type houseListings struct{ h *House }

func (a houseListings) OpenDirectory(ctx context.Context, s Session) error {
	return a.h.Reader.OpenDirectory(ctx, s.signIn(), "web")
}

func (a houseListings) DirectoryStillAllowed(ctx context.Context, s Session) error {
	return a.h.Reader.DirectoryStillAllowed(ctx, s.signIn(), "web")
}

func (a houseListings) Search(ctx context.Context, q search.Query) (search.Page, error) {
	return a.h.Search.Search(ctx, q)
}

func (a houseListings) ByKey(ctx context.Context, k listing.Key) (listing.Listing, error) {
	return a.h.Search.ByKey(ctx, k)
}

func (a houseListings) Structure(ctx context.Context, id string) (search.Establishment, error) {
	return a.h.Search.StructureByID(ctx, id)
}

type housePractice struct{ h *House }

// suspendedTime is how long a suspended box is still read (rule R-OPEN-02).
const suspendedTime = 90 * 24 * time.Hour

func (a housePractice) Box(ctx context.Context, s Session) (Box, error) {
	b, err := a.h.Directory.ByID(ctx, a.h.DB, s.BAL)
	if err != nil {
		return Box{}, err
	}
	if !b.Kind.Professional() {
		return Box{}, fault.New(fault.Forbidden, "webd.Box", "not-a-professional-box")
	}
	c := b.Card()
	out := Box{Name: first(c.Name, b.Address.Reveal()), Address: b.Address, Kind: b.Kind, State: b.State, StateAt: b.StateAt, Unlisted: b.Unlisted,
		OpenToPatients: b.TakesPatients(), TermsVersion: b.TermsVersion, TermsAt: b.TermsAt}
	if b.State == health.Suspended {
		out.ReadUntil = b.StateAt.Add(suspendedTime)
	}
	return out, nil
}

func (a housePractice) AcceptTerms(ctx context.Context, s Session, version string) error {
	return a.h.Directory.AcceptTerms(ctx, s.BAL, version, a.h.Now(), s.Account)
}
