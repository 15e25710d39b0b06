// Package mailstore is where mail is stored: mailboxes, letters, messages, UIDs,
// MODSEQs, flags and quota.
//
// A letter is one sealed body and its sealed outline; a message is its place in one
// mailbox, with the packet that opens it for the mailbox's holder. A message enters
// by DepositAllTx and leaves by ExpungeTx; Sweep then removes letters and blobs that
// nobody refers to. The package never sees a plaintext and never opens a key: names
// of people's own mailboxes pass through the session's view key (ViewKey).
package mailstore

import (
	"time"

	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// Index makes the blind keys (seal.Index).
type Index interface {
	Key(domain string, parts ...string) []byte
}

// ViewKey seals and opens the names of a BAL's own mailboxes (seal.Unlocked).
type ViewKey interface {
	SealView(aad string, b []byte) []byte
	OpenView(aad string, b []byte) ([]byte, error)
}

// Store keeps mail. It is safe for concurrent use.
type Store struct {
	db *pg.DB
	ix Index
}

// New returns a store on db.
func New(db *pg.DB, ix Index) *Store { return &Store{db: db, ix: ix} }

// Flags is the set of system flags of a message (RFC 9051 §2.3.2).
type Flags uint8

// The bits are what the database holds: never renumber them.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

// Letter is one sealed body, kept once for all its holders. Size is in octets as
// received, trace fields included; SealedSize and SealedSHA256 are those of the blob;
// Outline is sealed with the letter's session key.
type Letter struct {
	ID               id.Letter
	Size, SealedSize int64
	SealedSHA256     []byte
	Outline          []byte
}

// Deposit asks for one message. Mailbox names the target; when zero, Role does (Inbox
// when empty). ContentKey, when given, makes the deposit happen once per BAL in seven
// days. QuotaSize is in octets for the whole BAL; zero means no bound.
type Deposit struct {
	BAL          id.BAL
	Role         mail.Role
	Mailbox      id.Mailbox
	Letter       id.Letter
	Generation   int
	Packet       []byte
	Size         int64
	QuotaSize    int64
	Flags        Flags
	Keywords     []string
	MessageIDKey []byte
	ThreadKey    []byte
	ContentKey   []byte
	ReceivedAt   time.Time
}

// Placed says where a deposit went. For a Duplicate nothing was written and the
// other fields are zero.
type Placed struct {
	Mailbox     id.Mailbox
	UIDValidity mail.UIDValidity
	UID         mail.UID
	Duplicate   bool
}

// Mailbox is one IMAP mailbox (folder) of a BAL with its counters.
type Mailbox struct {
	ID          id.Mailbox
	BAL         id.BAL
	Role        mail.Role // "" for a mailbox the person made
	Name        string    // as shown; "" when no ViewKey was at hand and Role is ""
	NameSealed  []byte
	UIDValidity mail.UIDValidity
	UIDNext     mail.UID
	ModSeq      mail.ModSeq
	Messages    int64
	Unseen      int64
	Size        int64 // octets, of all messages
	Subscribed  bool
}

// Message is one row: a letter's place in a mailbox. View is the outline under the
// holder's view key, nil until first sight; Outline is the letter's own, read only
// when View is nil.
type Message struct {
	Mailbox      id.Mailbox
	UID          mail.UID
	ModSeq       mail.ModSeq
	Letter       id.Letter
	Generation   int
	Packet       []byte
	View         []byte
	Outline      []byte
	Flags        Flags
	Keywords     []string
	Size         int64
	MessageIDKey []byte
	ThreadKey    []byte
	ReceivedAt   time.Time
}

// Place is a message without what it takes to open it: one line of a snapshot.
type Place struct {
	UID      mail.UID
	ModSeq   mail.ModSeq
	Flags    Flags
	Keywords []string
}

// Change is what happened to one message since a MODSEQ.
type Change struct {
	Place
	Expunged bool
}

// Copied pairs a message with its copy (COPYUID, RFC 4315 §3).
type Copied struct{ Source, Copy mail.UID }

// FlagOp says what a flag store does with the given flags.
type FlagOp uint8

const (
	SetFlags FlagOp = iota
	AddFlags
	RemoveFlags
)

// FlagStore is one STORE. UnchangedSince, when not zero, leaves alone the messages
// that changed after it (RFC 7162 §3.1.3).
type FlagStore struct {
	Op             FlagOp
	Flags          Flags
	Keywords       []string
	UnchangedSince mail.ModSeq
}
