package webd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/id"
	"pli/internal/sample"
	"pli/mail"
)

// house is a whole small house in memory: one patient, a few correspondents.
type house struct {
	mu        sync.Mutex
	now       time.Time
	owner     Owner
	sessions  map[string]Session
	letters   []*heldLetter
	docs      []heldDocument
	exchanges map[mail.Address]Exchange
	cards     map[mail.Address]Card
	events    []Event
	sent      [][]byte
	opened    int
	tries     int

	listings   *fakeListings
	doctor     Box // the professional's
	pages      map[string]int
	agreements []string

	failMail, failRecord, failHistory error
	failSubmit, failTerms             error
}

type heldLetter struct {
	Letter
	raw []byte
}

type heldDocument struct {
	Document
	content []byte
}

const (
	testLogin    = "aline.ormelune"
	testPassword = "une phrase de passe bien longue"
	testCode     = "123456"
)

var testNow = time.Date(2026, 3, 10, 14, 5, 0, 0, time.UTC)

func (h *house) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// SignIn

func (h *house) Password(_ context.Context, login, password, _ string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tries++; h.tries > 20 {
		return "", fault.New(fault.RateLimited, "fake.Password", "often")
	}
	t := fmt.Sprintf("half-%d", len(h.sessions))
	switch {
	case login == testLogin && password == testPassword:
		h.sessions[t] = Session{Account: 7, Patient: 3, BAL: 5}
	case login == doctorLogin && password == doctorPassword:
		h.sessions[t] = doctorSession
	default:
		return "", fault.New(fault.WrongSecret, "fake.Password", "wrong")
	}
	return t, nil
}

func (h *house) SecondFactor(_ context.Context, token, code, _ string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ses, ok := h.sessions[token]
	if !ok {
		return "", fault.New(fault.Unauthenticated, "fake.SecondFactor", "no-session")
	}
	if code != testCode {
		return "", fault.New(fault.WrongSecret, "fake.SecondFactor", "wrong")
	}
	delete(h.sessions, token)
	ses.Full, ses.CreatedAt, ses.SeenAt = true, h.now.Add(-time.Duration(len(h.sessions))*time.Hour), h.now
	t := fmt.Sprintf("full-%d", len(h.sessions)+100)
	h.sessions[t] = ses
	return t, nil
}

func (h *house) Session(_ context.Context, token string) (Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ses, ok := h.sessions[token]
	if !ok {
		return Session{}, fault.New(fault.Unauthenticated, "fake.Session", "no-session")
	}
	return ses, nil
}

func (h *house) End(_ context.Context, token string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, token)
	return nil
}

func (h *house) Sessions(_ context.Context, s Session) ([]Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Session
	for _, v := range h.sessions {
		if v.Full && v.Account == s.Account {
			out = append(out, v)
		}
	}
	return out, nil
}

func (h *house) EndAll(_ context.Context, s Session) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.sessions, func(_ string, v Session) bool { return v.Account == s.Account })
	return nil
}

// Letterbox

func (h *house) Open(context.Context, Session) (Letters, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failMail != nil {
		return nil, h.failMail
	}
	h.opened++
	return h.box(), nil
}

type box struct{ h *house }

func (h *house) box() box { return box{h} }

func (b box) List(context.Context) ([]Letter, error) {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	if b.h.failMail != nil {
		return nil, b.h.failMail
	}
	var out []Letter
	for _, l := range b.h.letters {
		out = append(out, l.Letter)
	}
	return out, nil
}

func (b box) Part(_ context.Context, l Letter, path []int) (io.ReadCloser, *message.Part, error) {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	for _, held := range b.h.letters {
		if held.ID == l.ID {
			p := held.Outline.Part(path...)
			if p == nil {
				return nil, nil, fault.New(fault.NotFound, "fake.Part", "no-part")
			}
			return io.NopCloser(message.Decode(p, bytes.NewReader(held.raw[p.BodyStart:p.End]))), p, nil
		}
	}
	return nil, nil, fault.New(fault.NotFound, "fake.Part", "no-letter")
}

func (b box) MarkSeen(_ context.Context, l Letter) error {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	for _, held := range b.h.letters {
		if held.ID == l.ID {
			held.Seen = true
		}
	}
	return nil
}

func (b box) Close() {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	b.h.opened--
}

// record is the Record side of a house: its Open has another shape.
type fakeRecord struct{ *house }

func (r fakeRecord) Owner(context.Context, Session) (Owner, error) { return r.owner, nil }

func (r fakeRecord) List(context.Context, Session) ([]Document, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failRecord != nil {
		return nil, r.failRecord
	}
	var out []Document
	for _, d := range r.docs {
		if d.State != Replaced {
			out = append(out, d.Document)
		}
	}
	return out, nil
}

func (r fakeRecord) Open(_ context.Context, _ Session, doc id.Document) (*OpenedDocument, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.docs {
		if r.docs[i].ID != doc {
			continue
		}
		o := &OpenedDocument{Document: r.docs[i].Document, Content: memory{bytes.NewReader(r.docs[i].content)}, Close: func() error { return nil }}
		r.docs[i].New = false
		for _, d := range r.docs {
			if d.ID != doc && d.Title == o.Title {
				o.Others = append(o.Others, d.Document)
			}
		}
		return o, nil
	}
	return nil, fault.New(fault.NotFound, "fake.Open", "no-document")
}

func (r fakeRecord) Keep(_ context.Context, _ Session, f File) (id.Document, error) {
	b, err := io.ReadAll(f.Content)
	if err != nil {
		return id.Document{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if bytes.Contains(b, []byte("REFUSED")) {
		return id.Document{}, fault.New(fault.InvalidContent, "fake.Keep", "type")
	}
	for _, d := range r.docs {
		if bytes.Equal(d.content, b) {
			return d.ID, nil
		}
	}
	key, err := contentID(bytes.NewReader(b))
	if err != nil {
		return id.Document{}, err
	}
	d := Document{ID: id.New(), UniqueID: key, Title: f.Name, Category: "others", DocumentAt: r.now, FiledAt: r.now, MediaType: f.MediaType,
		Size: int64(len(b)), Version: 1, Versions: 1, State: Current, ByPatient: true}
	r.docs = append([]heldDocument{{d, b}}, r.docs...)
	return d.ID, nil
}

func (r fakeRecord) History(_ context.Context, _ Session, before time.Time, limit int) ([]Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failHistory != nil {
		return nil, r.failHistory
	}
	var out []Event
	for _, e := range r.events {
		if (before.IsZero() || e.At.Before(before)) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

// Exchanges, Cards, Submit

func (h *house) Exchanges(context.Context, Session, []mail.Address) (map[mail.Address]Exchange, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.exchanges), nil
}

func (h *house) Cards(_ context.Context, as []mail.Address) (map[mail.Address]Card, error) {
	out := map[mail.Address]Card{}
	for _, a := range as {
		if c, ok := h.cards[a]; ok {
			out[a] = c
		}
	}
	return out, nil
}

func (h *house) Submit(_ context.Context, _ Session, env mail.Envelope, r io.Reader) (Receipt, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return Receipt{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failSubmit != nil {
		return Receipt{}, h.failSubmit
	}
	h.sent = append(h.sent, b)
	h.hold(b, h.now, true, true)
	return Receipt{At: h.now, Delivered: env.Recipients[0].Address.Domain() == "mss-a.example"}, nil
}

// hold puts a message in the letterbox.
func (h *house) hold(raw []byte, at time.Time, sent, seen bool) id.Letter {
	o, err := message.Scan(bytes.NewReader(raw), message.Limits{})
	if err != nil {
		panic(err)
	}
	l := &heldLetter{Letter{ID: id.New(), Mailbox: 1, UID: mail.UID(len(h.letters) + 1), Sent: sent, Seen: seen, ReceivedAt: at, Size: int64(len(raw)), Outline: o}, raw}
	h.letters = append(h.letters, l)
	return l.ID
}

// memory is a Spool without a disk, and a Content.
type memory struct{ *bytes.Reader }

func (m memory) Size() int64 { return m.Reader.Size() }

type memorySpool struct {
	b      bytes.Buffer
	r      *bytes.Reader
	closed bool
}

func (m *memorySpool) Write(p []byte) (int, error) { return m.b.Write(p) }
func (m *memorySpool) Finish() error               { m.r = bytes.NewReader(m.b.Bytes()); return nil }
func (m *memorySpool) Size() int64                 { return int64(m.b.Len()) }
func (m *memorySpool) Close() error                { m.closed = true; return nil }
func (m *memorySpool) ReadAt(p []byte, off int64) (int, error) {
	if m.r == nil || m.closed {
		return 0, errors.New("spool is not open")
	}
	return m.r.ReadAt(p, off)
}

const (
	patientDomain = "patient.mss-a.example"
	haddad        = "karim.haddad@mss-a.example"
	preadmission  = "preadmission-chirurgie@mss-b.example"
	laboratory    = "labo-halles@mss-a.example"
	physio        = "paul.kerbrat@mss-b.example"
)

// newHouse is a house with the life of a patient in it.
func newHouse() *house {
	p := sample.People()[0]
	h := &house{now: testNow, sessions: map[string]Session{},
		owner: Owner{GivenName: "Aline", FamilyName: "ORMELUNE", BirthDate: p.BirthDate, Address: mail.MustAddress(p.Address(patientDomain))},
		exchanges: map[mail.Address]Exchange{
			mail.MustAddress(haddad):       {Open: true},
			mail.MustAddress(preadmission): {Open: true},
			mail.MustAddress(physio):       {Ended: true, At: testNow.AddDate(0, 0, -3)},
		},
		cards: map[mail.Address]Card{
			mail.MustAddress(haddad):     {Name: "HADDAD Karim", Profession: "Médecin généraliste", Structure: "Cabinet des Halles", City: "Lyon"},
			mail.MustAddress(laboratory): {Name: "Laboratoire des Halles", Structure: "Laboratoire des Halles", City: "Lyon", Service: true},
		},
	}
	h.doctor, h.listings = newDoctor(), newListings(h)
	h.fill(p)
	return h
}

func (h *house) fill(p sample.Person) {
	to := p.Address(patientDomain)
	ago := func(days, hour int) time.Time {
		return testNow.AddDate(0, 0, -days).Add(time.Duration(hour) * time.Hour)
	}
	report := sample.Report(p)
	arc := sample.Archive{Items: []sample.Item{sample.ItemOf(report)}}.Bytes()
	put := func(m sample.Mail, at time.Time, seen bool) {
		m.Date = at
		h.hold(m.Bytes(), at, strings.HasPrefix(m.From, p.INS), seen)
	}
	put(sample.Mail{From: haddad, To: to, FromName: "HADDAD Karim (médecin, Lyon)", MessageID: "h1@mss-a.example", Subject: "Suite de votre consultation",
		Text: "Bonjour Madame,\r\n\r\nComme convenu, je vous confirme l'arrêt du traitement à la fin du mois. Écrivez-moi si la douleur revient.\r\n\r\nDr K. Haddad\r\n"}, ago(20, 1), true)
	put(sample.Mail{From: to, To: haddad, FromName: "Aline ORMELUNE", MessageID: "h2@" + patientDomain, Subject: "Re: Suite de votre consultation",
		Header: []string{"In-Reply-To: <h1@mss-a.example>", "References: <h1@mss-a.example>"},
		Text:   "Bonjour Docteur,\r\n\r\nMerci. La douleur est revenue hier soir, surtout en marchant.\r\n\r\nAline Ormelune\r\n\r\nLe 18 février, HADDAD Karim a écrit :\r\n> Bonjour Madame,\r\n> Comme convenu, je vous confirme l'arrêt.\r\n"}, ago(8, -3), true)
	put(sample.Mail{From: haddad, To: to, FromName: "HADDAD Karim (médecin, Lyon)", MessageID: "h3@mss-a.example", Subject: "Re: Suite de votre consultation", Receipt: haddad,
		Header:      []string{"In-Reply-To: <h2@" + patientDomain + ">", "References: <h1@mss-a.example> <h2@" + patientDomain + ">"},
		Text:        "Bonjour Madame,\r\n\r\nJe vous joins une ordonnance et les exercices à faire. Passez me voir jeudi si cela ne va pas mieux.\r\n\r\nDr K. Haddad\r\n",
		Attachments: []sample.File{{Name: "ordonnance.pdf", MediaType: "application/pdf", Content: sample.PDF("Ordonnance", "Kinésithérapie, dix séances.")}, {Name: "exercices.docx", MediaType: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", Content: []byte("PK fictif")}}}, ago(0, -2), false)
	m := sample.ReportMail(laboratory, to, arc, report)
	m.MessageID = "l1@mss-a.example"
	put(m, ago(1, 2), false)
	put(sample.Mail{From: preadmission, To: to, FromName: "CH de Valfictif – préadmission", MessageID: "p1@mss-b.example", Subject: "Votre opération du genou : documents à envoyer",
		Text:        "Bonjour,\r\n\r\nVotre opération est prévue le 24 mars. Merci de nous envoyer votre carte de groupe sanguin et la liste de vos traitements avant le 17 mars.\r\n\r\nLe secrétariat de chirurgie\r\n",
		Attachments: []sample.File{{Name: "Préparer mon séjour.pdf", MediaType: "application/pdf", Content: sample.PDF("Préparer mon séjour", "À jeun dès minuit.")}, {Name: "IHE_XDM.ZIP", MediaType: "application/zip", Content: []byte("PK\x03\x04 coupé")}}}, ago(2, 0), false)
	put(sample.Mail{From: physio, To: to, FromName: "KERBRAT Paul", MessageID: "k1@mss-b.example", Subject: "Fin de votre rééducation",
		Header: []string{"X-MSS-MES: FIN"}, Text: "Bonjour,\r\n\r\nVotre rééducation est terminée, bravo. Pour toute question, appelez le cabinet.\r\n"}, ago(3, 0), true)
	h.holdHTML(to, ago(5, 0))
	for i := range 24 {
		put(sample.Mail{From: haddad, To: to, FromName: "HADDAD Karim", MessageID: fmt.Sprintf("old%d@mss-a.example", i), Subject: fmt.Sprintf("Compte rendu de visite no %d", i+1),
			Text: "Bonjour, tout va bien. À bientôt.\r\n"}, ago(40+i*9, 0), true)
	}
	h.fillRecord(p, report)
}

// holdHTML is a letter that has no plain text.
func (h *house) holdHTML(to string, at time.Time) {
	raw := strings.ReplaceAll(`From: "CH de Valfictif, lettre" <`+preadmission+`>
To: <`+to+`>
Subject: Bienvenue au CH de Valfictif
Message-ID: <html1@mss-b.example>
Date: `+at.Format(time.RFC1123Z)+`
MIME-Version: 1.0
Content-Type: multipart/related; boundary=b1

--b1
Content-Type: text/html; charset=utf-8

<html><body bgcolor="#ff0000"><h2>Bienvenue</h2><p style="color:red">Votre dossier est <b>ouvert</b>.</p><script>document.body.innerHTML="piraté"</script>
<table><tr><td>Service</td><td>Chirurgie</td></tr></table><img src="cid:logo" alt="Logo"><img src="https://pisteur.example/x.gif" alt="pisteur">
<p><a href="https://ch-valfictif.example/acces">Plan d'accès</a> <a href="javascript:alert(1)">piège</a></p><form action="/deconnexion" method="post"><button>Sortir</button></form></body></html>
--b1
Content-Type: image/png
Content-Transfer-Encoding: base64
Content-ID: <logo>

iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==
--b1--
`, "\n", "\r\n")
	h.hold([]byte(raw), at, false, true)
}

func (h *house) fillRecord(p sample.Person, report sample.CDA) {
	add := func(d Document, content []byte) Document {
		d.ID, d.Size = id.New(), int64(len(content))
		h.docs = append(h.docs, heldDocument{d, content})
		return d
	}
	letter := sample.Letter(p)
	lab := add(Document{UniqueID: report.ID, Title: report.Title, Category: "analyses", Type: "CR d'examens biologiques", Author: "CHANTERELLE Odile, Médecin, Biologie médicale, Laboratoire des Halles",
		DocumentAt: report.Created, FiledAt: testNow.AddDate(0, 0, -1), MediaType: "text/xml", Version: 1, Versions: 1, State: Current, New: true, CDA: true}, report.Bytes())
	x2 := letter
	x2.ID, x2.Version = "2.25.990042.2.2", 2
	add(Document{UniqueID: x2.ID, Title: letter.Title, Category: "imaging", Type: "CR d'imagerie médicale", Author: "LANTERNEAU Basile, Médecin, Radiologie",
		DocumentAt: letter.Created.AddDate(0, -1, 0), FiledAt: testNow.AddDate(0, -1, 3), MediaType: "text/xml", Version: 2, Versions: 2, State: Current, CDA: true}, x2.Bytes())
	add(Document{UniqueID: letter.ID, Title: letter.Title, Category: "imaging", Type: "CR d'imagerie médicale", Author: "LANTERNEAU Basile, Médecin, Radiologie",
		DocumentAt: letter.Created.AddDate(0, -1, 0), FiledAt: testNow.AddDate(0, -1, 0), MediaType: "text/xml", Version: 1, Versions: 2, State: Replaced, CDA: true}, letter.Bytes())
	mine := add(Document{Title: "Carte de groupe sanguin.pdf", Category: "others", DocumentAt: testNow.AddDate(0, -2, 0), FiledAt: testNow.AddDate(0, -2, 0),
		MediaType: "application/pdf", Version: 1, Versions: 1, State: Current, ByPatient: true}, sample.PDF("Groupe sanguin", "O positif"))
	add(Document{Title: "Radio 1998.tiff", Category: "imaging", DocumentAt: testNow.AddDate(0, -3, 0), FiledAt: testNow.AddDate(0, -2, 0),
		MediaType: "image/tiff", Version: 1, Versions: 1, State: Current, ByPatient: true, Masked: true}, []byte("II*\x00fictif"))
	k := "HADDAD Karim, Médecin généraliste, Cabinet des Halles, Lyon"
	h.events = []Event{
		{At: testNow.Add(-2 * time.Hour), Who: k, Kind: ByProfessional, Action: "read-document", Document: lab.ID, Title: lab.Title, Ground: "Médecin traitant déclaré"},
		{At: testNow.Add(-26 * time.Hour), Kind: ByHouse, Action: "file-document", Document: lab.ID, Title: lab.Title, Ground: "Compte rendu reconnu, patient identifié"},
		{At: testNow.Add(-26 * time.Hour), Who: "Laboratoire des Halles, Lyon", Kind: ByProfessional, Action: "receive", Ground: "Opérateur de l'espace de confiance"},
		{At: testNow.Add(-27 * time.Hour), Operator: "mss-b.example", Kind: ByProfessional, Action: "receive", Ground: "Opérateur de l'espace de confiance"},
		{At: testNow.Add(-48 * time.Hour), Kind: ByPatient, Action: "open-bal", Ground: "Titulaire de la boîte"},
		{At: testNow.Add(-49 * time.Hour), Kind: ByPatient, Action: "keep-document", Document: mine.ID, Title: mine.Title},
		{At: testNow.Add(-72 * time.Hour), Who: "LENOIR Ève, Pharmacienne, Nîmes", Kind: ByProfessional, Action: "read-document", Title: "Document", Ground: "Aucune relation de soin", Denied: true},
		{At: testNow.Add(-90 * time.Hour), Who: k, Kind: ByProfessional, Action: "something-new", What: "a fait quelque chose de nouveau"},
	}
}

// emptyHouse has nothing in it.
func emptyHouse() *house {
	h := newHouse()
	h.letters, h.docs, h.events = nil, nil, nil
	return h
}
