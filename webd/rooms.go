package webd

import (
	"context"
	"io"
	"time"

	"pli/codec/message"
	"pli/directory/listing"
	"pli/directory/search"
	"pli/health"
	"pli/internal/id"
	"pli/mail"
)

// SignIn is what the door needs of the identity room. Errors: fault.WrongSecret,
// fault.RateLimited; Session also fault.Unauthenticated for a session that is over.
type SignIn interface {
	// Password is the first step; the token it gives opens nothing but the second.
	Password(ctx context.Context, login, password, remote string) (token string, err error)
	SecondFactor(ctx context.Context, token, code, remote string) (newToken string, err error)
	Session(ctx context.Context, token string) (Session, error)
	End(ctx context.Context, token string) error
	// Sessions lists the person's living sessions, the newest first.
	Sessions(ctx context.Context, s Session) ([]Session, error)
	// EndAll ends them all, this one too.
	EndAll(ctx context.Context, s Session) error
}

// Session is one signed-in person: a patient, or a professional. Full is false between
// password and code.
type Session struct {
	Account      id.Account
	Patient      id.Patient // 0 for a professional
	BAL          id.BAL
	Professional bool
	Full         bool
	CreatedAt    time.Time
	SeenAt       time.Time
}

// Letterbox opens a person's letters. The gate decides and traces inside Open, so a
// door opens once per visit, not once per page.
type Letterbox interface {
	Open(ctx context.Context, s Session) (Letters, error)
}

// Letters is an opened letterbox, safe for concurrent use.
type Letters interface {
	// List gives every letter that belongs to a conversation: received, sent,
	// archived; no draft, junk or thrown away. Any order.
	List(ctx context.Context) ([]Letter, error)
	// Part gives the decoded content of one part: text as UTF-8, files as they were.
	Part(ctx context.Context, l Letter, path []int) (io.ReadCloser, *message.Part, error)
	// MarkSeen sets \Seen, traces the reading and lets the receipt leave.
	MarkSeen(ctx context.Context, l Letter) error
	Close()
}

// Letter is one message of the letterbox. ID is opaque and may stand in a URL.
type Letter struct {
	ID         id.Letter
	Mailbox    id.Mailbox
	UID        mail.UID
	Sent       bool // by the person
	Seen       bool
	ReceivedAt time.Time
	Size       int64
	Outline    *message.Outline
}

// Record is a person's own dossier.
type Record interface {
	// Owner is whose space this is.
	Owner(ctx context.Context, s Session) (Owner, error)
	// List gives the current version of each document, newest first.
	List(ctx context.Context, s Session) ([]Document, error)
	// Open decides, traces, marks as seen and gives the content. Close it.
	Open(ctx context.Context, s Session, doc id.Document) (*OpenedDocument, error)
	// Keep files a document of a letter, once: again gives the one already held.
	Keep(ctx context.Context, s Session, f File) (id.Document, error)
	// History gives lines newest first, from before on; the zero time is now.
	History(ctx context.Context, s Session, before time.Time, limit int) ([]Event, error)
}

// File is a document of a letter that the person keeps.
type File struct {
	Letter    id.Letter
	Name      string
	MediaType string
	From      string // the sender in words
	Content   io.Reader
}

// OpenedDocument is a document being read.
type OpenedDocument struct {
	Document
	Others  []Document // its other versions, newest first
	Content Content
	Close   func() error
}

// Content is a file in clear with random access, for as long as it is open.
type Content interface {
	io.ReaderAt
	Size() int64
}

// Owner is the person of a space.
type Owner struct {
	GivenName, FamilyName string
	BirthDate             string // AAAAMMJJ
	Address               mail.Address
	INS                   string // grouped, for print and the profile; "" when not shown
	Professional          bool   // FamilyName is then « NOM Prénom », or the name of a service
}

// Name is « Prénom NOM » for a patient, « NOM Prénom » for a professional (ux.md §7.3).
func (o Owner) Name() string {
	if o.Professional {
		return o.FamilyName
	}
	if o.FamilyName == "" {
		return o.GivenName
	}
	return o.GivenName + " " + o.FamilyName
}

// Document is one version of one document of a dossier.
type Document struct {
	ID         id.Document
	UniqueID   string // of the CDA, or as the record made it
	Title      string
	Category   Category
	Type       string // words of the document type
	Author     string // « NOM Prénom, profession, structure »
	DocumentAt time.Time
	FiledAt    time.Time
	MediaType  string
	Size       int64
	Version    int
	Versions   int
	State      DocumentState
	New        bool // never opened by the person
	ByPatient  bool // filed by the person
	Masked     bool // from professionals
	CDA        bool
}

// DocumentState is where a document stands.
type DocumentState string

const (
	Current   DocumentState = "current"
	Replaced  DocumentState = "replaced"
	Withdrawn DocumentState = "withdrawn"
)

// Category is one of the families a dossier is shown by (ux.md §5.3).
type Category string

// Categories lists the families in the order they are shown.
func Categories() []Category {
	return []Category{"prescriptions", "analyses", "imaging", "stays", "visits", "vaccines",
		"prevention", "certificates", "wishes", "refunds", "others"}
}

// Event is one line of the history: who, what, when, on what ground.
type Event struct {
	At       time.Time
	Who      string // « NOM Prénom, profession, structure »; "" when Kind says it all
	Operator string // the domain, when it is all that is known of who acted
	Kind     ActorKind
	Action   string // stable; the catalogue has words for each under history.action
	What     string // in French, for an action the catalogue does not know
	Document id.Document
	Title    string // of the document, "" when none
	Ground   string // the rules that spoke, in French; "" when none
	Denied   bool
}

// ActorKind says whose act a line tells of.
type ActorKind string

const (
	ByPatient      ActorKind = "patient"
	ByProfessional ActorKind = "professional"
	ByHouse        ActorKind = "house"
)

// Exchanges says whom the person may answer (mssante.md §6.3).
type Exchanges interface {
	// Exchanges answers for each peer; one that is absent may not be written to.
	Exchanges(ctx context.Context, s Session, peers []mail.Address) (map[mail.Address]Exchange, error)
}

// Exchange is the state between the person and one correspondent.
type Exchange struct {
	Open  bool
	Ended bool // by the correspondent, at At
	At    time.Time
	Gone  bool // the correspondent's BAL is closed
}

// Cards turns addresses into words: « NOM Prénom, profession, structure, ville ».
type Cards interface {
	// Cards leaves out the addresses that the directory does not know.
	Cards(ctx context.Context, as []mail.Address) (map[mail.Address]Card, error)
}

// Card is a correspondent in words.
type Card struct {
	Name       string // « HADDAD Karim » or the service's name
	Profession string
	Structure  string
	City       string
	Service    bool // an ORG, APP or CAB box rather than one person
}

// Submit takes a message on its way, as the person (pipeline.Submit).
type Submit interface {
	Submit(ctx context.Context, s Session, env mail.Envelope, r io.Reader) (Receipt, error)
}

// Receipt says where a message stands when Submit returns.
type Receipt struct {
	At        time.Time
	Delivered bool // in the recipient's letterbox; false: queued for its operator
}

// Listings is the published directory, for everybody who is signed in (directory/search).
// No patient is in it, and nobody on the liste rouge.
type Listings interface {
	// OpenDirectory decides and traces, once per visit, that the person asks the
	// directory. Errors: those of the gate, with their text.
	OpenDirectory(ctx context.Context, s Session) error
	// DirectoryStillAllowed decides anew for a visit that lasts, and traces a refusal.
	DirectoryStillAllowed(ctx context.Context, s Session) error
	// Search, ByKey: as search.Searcher.
	Search(ctx context.Context, q search.Query) (search.Page, error)
	ByKey(ctx context.Context, k listing.Key) (listing.Listing, error)
	// Structure is a structure with its boxes, by its id (listing.OrganizationID).
	// Errors: fault.NotFound.
	Structure(ctx context.Context, id string) (search.Establishment, error)
}

// Limiter counts what one account asks (internal/limit).
type Limiter interface {
	AllowIn(ctx context.Context, key string, n int, period time.Duration) (ok bool, retryAfter time.Duration)
}

// Practice is what the house keeps of a professional's own box.
type Practice interface {
	// Box is the box that the session opens, as the register has it now.
	Box(ctx context.Context, s Session) (Box, error)
	// AcceptTerms records and traces that the holder accepted an edition of the
	// conditions of use.
	AcceptTerms(ctx context.Context, s Session, version string) error
}

// Box is a professional's own box.
type Box struct {
	Name           string // « NOM Prénom », or the name of a service
	Address        mail.Address
	Kind           health.BALKind
	State          health.BALState
	StateAt        time.Time
	ReadUntil      time.Time // until when a suspended one is read; zero for the others
	Unlisted       bool      // on the liste rouge
	OpenToPatients bool
	TermsVersion   string // accepted last; "" when none was
	TermsAt        time.Time
}
