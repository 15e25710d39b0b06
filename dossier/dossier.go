// Package dossier keeps patients' shared records: who has one, the documents filed in
// it with their versions and visibility, what could not be filed, and the state of the
// job that files attached reports. Contents and what tells about a person arrive and
// leave sealed: the room holds no key and reads no document.
package dossier

import (
	"encoding/json"
	"fmt"
	"time"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
)

// Dossier is the room.
type Dossier struct{ db *pg.DB }

// New makes the room on a migrated database.
func New(db *pg.DB) *Dossier { return &Dossier{db: db} }

// State of a patient's dossier.
type State string

const (
	Open   State = "open"
	Closed State = "closed"
)

// Patient is a person who has a dossier here.
type Patient struct {
	ID             id.Patient
	Class          health.INSClass
	TraitsSealed   []byte // INS and traits (Traits), under the register's key
	Generation     int
	Qualified      bool
	Holder         id.Holder // of the dossier
	BAL            id.BAL    // 0 when none
	Account        id.Account
	State          State
	FeedingOpposed bool
	CreatedAt      time.Time
}

// NewPatient is a dossier to open.
type NewPatient struct {
	INSKey       []byte // seal.Index.Key("ins", class, ins)
	Class        health.INSClass
	TraitsSealed []byte
	Generation   int
	Qualified    bool
	Holder       id.Holder
	BAL          id.BAL     // 0 when none
	Account      id.Account // 0 when none
}

// Identity is what traits_sealed holds, as JSON (Marshal, ReadIdentity).
type Identity struct {
	INS    string
	OID    string
	Traits health.Traits
}

// Marshal gives the octets to seal.
func (i Identity) Marshal() []byte {
	b, err := json.Marshal(i)
	if err != nil {
		panic("dossier.Identity: plain texts cannot fail to marshal")
	}
	return b
}

// ReadIdentity reads what Marshal wrote. fault.Corrupt when it is something else.
func ReadIdentity(b []byte) (Identity, error) {
	var i Identity
	if json.Unmarshal(b, &i) != nil {
		return Identity{}, fault.New(fault.Corrupt, "dossier.ReadIdentity", "json")
	}
	return i, nil
}

func (Identity) String() string             { return "[identity]" }
func (Identity) GoString() string           { return "[identity]" }
func (Identity) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[identity]") }

// Status of a document (dmp.md §3.4).
type Status string

const (
	Approved   Status = "approved"
	Deprecated Status = "deprecated"
	Archived   Status = "archived"
	Deleted    Status = "deleted"
)

// Origin says who filed a document.
type Origin string

const (
	ByIngest  Origin = "ingest"
	ByPatient Origin = "patient"
)

// Meta is what a list shows of a document, sealed as JSON with the document's session
// key. It redacts itself when printed.
type Meta struct {
	UniqueID     string
	SetID        string
	Title        string
	TypeCode     string
	TypeLabel    string
	ClassCode    string
	ClassLabel   string
	CreatedAt    time.Time // of the document, UTC
	ActAt        time.Time // start of the main act; zero when unknown
	AuthorName   string
	AuthorRole   string // profession, in words
	Organisation string
	PatientName  string
	MediaType    string // of the stored file: text/xml for a CDA
	Filename     string // only of a file the patient kept
	CDA          bool
	Level        int    // 1 or 3 for a CDA
	Embedded     string // media type of the printable file inside a CDA; "" when none
	Language     string
	Replaces     string // unique id of the document it replaces
	SentBy       string // address of the BAL the message came from, when mail brought it
}

// Marshal gives the octets to seal.
func (m Meta) Marshal() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic("dossier.Meta: plain values cannot fail to marshal")
	}
	return b
}

// ReadMeta reads what Marshal wrote. fault.Corrupt when it is something else.
func ReadMeta(b []byte) (Meta, error) {
	var m Meta
	if json.Unmarshal(b, &m) != nil {
		return Meta{}, fault.New(fault.Corrupt, "dossier.ReadMeta", "json")
	}
	return m, nil
}

func (Meta) String() string             { return "[meta]" }
func (Meta) GoString() string           { return "[meta]" }
func (Meta) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[meta]") }

// Document is a document as stored.
type Document struct {
	ID           id.Document
	Patient      id.Patient
	UniqueKey    []byte
	SetKey       []byte
	Version      int
	Status       Status
	Visibility   []string
	Origin       Origin
	AuthorBAL    id.BAL // 0 when not ours
	Replaces     []byte // unique key of the document it says it replaces; nil when none
	Flagged      bool   // replaces a document that is not known here
	Blob         id.ID
	Size         int64
	SealedSize   int64
	SealedSHA256 []byte
	Generation   int
	Packet       []byte
	Meta         []byte // sealed by the session key in Packet
	View         []byte // resealed with the dossier's view key; nil until first seen
	FiledAt      time.Time
	SeenAt       time.Time // zero until the patient opened it
}

// NewDocument is a document to file.
type NewDocument struct {
	ID              id.Document
	Patient         id.Patient
	UniqueKey       []byte
	SetKey          []byte // nil when the document has no set
	Version         int    // 0 when not written
	Visibility      []string
	Origin          Origin
	AuthorBAL       id.BAL
	AuthorKey       []byte // nil when the author has no national identifier
	OrganisationKey []byte
	ReplacesKey     []byte // nil when it replaces nothing
	Blob            id.ID
	Size            int64
	SealedSize      int64
	SealedSHA256    []byte
	Generation      int
	Packet          []byte
	Meta            []byte
	FiledAt         time.Time
}

// Filed is what became of a document.
type Filed struct {
	ID        id.Document // of the one already held, when Duplicate
	Version   int
	Status    Status // Deprecated when a higher version was there already
	Duplicate bool   // same unique id already held: nothing was done
	Flagged   bool
}
