// Package policy decides who may do what: who writes to whom, who opens a BAL, what
// is filed in a dossier and who reads it. It holds the rules and nothing else: no I/O,
// no clock, no chance. The gate brings the facts and keeps the traces.
//
// A question goes into Decide with the facts; a decision comes out with every rule that
// spoke. The rules are in rules_*.go, the table of them in RULES.md.
package policy

import (
	"time"

	"pli/health"
	"pli/internal/id"
	"pli/mail"
)

// Action is what somebody wants to do. The set is closed: an action no rule knows is
// denied.
type Action string

const (
	Submit       Action = "submit"        // a BAL of ours writes to one recipient
	Reply        Action = "reply"         // the same, asked beforehand: is there a reply button?
	Receive      Action = "receive"       // a peer operator brings a message for one recipient
	OpenBAL      Action = "open-bal"      // sign in to a BAL and read it
	FileDocument Action = "file-document" // the ingest job files a document in a dossier
	KeepDocument Action = "keep-document" // the patient files an attachment of a message of his
	ReadDocument Action = "read-document" // somebody opens a document of a dossier
	ReadDossier  Action = "read-dossier"  // somebody sees the list of documents or the history

	OpenDirectory Action = "open-directory" // a session begins to ask the directory
)

// Actions lists every action, for tests and tables.
func Actions() []Action {
	return []Action{Submit, Reply, Receive, OpenBAL, FileDocument, KeepDocument, ReadDocument, ReadDossier, OpenDirectory}
}

// Actor is who asks. Exactly one of Account, Peer and House speaks for him.
type Actor struct {
	Account id.Account // a signed-in account; BAL is the one it uses
	BAL     id.BAL
	Patient id.Patient // the dossier that the signed-in patient holds
	Peer    Peer       // an operator, known by its certificate
	House   bool       // a job or a notice of the house itself
	Proof   string     // how the account signed in: "app-password", "certificate", "web"
	Means   string     // the door, "smtp", "imap", "web", "ldap", "fhir", "carddav", or "job": kept in the trace, no rule reads it
}

// Peer is an operator whose certificate was checked.
type Peer struct {
	Name    string   // its first domain, kept in the trace
	Domains []string // domains its certificate may send for (white list)
}

// Object is what the act is about. Addresses are those the actor gave.
type Object struct {
	BAL      id.BAL       // open-bal, keep-document: the BAL meant
	From     mail.Address // receive: the reverse-path; zero is <>
	To       mail.Address // submit, reply, receive: the recipient
	Patient  id.Patient   // dossier acts
	Document id.Document  // dossier acts; zero for a whole dossier
	Letter   id.Letter    // the message, once it has an id; kept in the trace
}

// Question is one act that somebody wants to do. Reading carries what the caller itself
// read in the document that it wants to file; other questions leave it nil.
type Question struct {
	Action  Action
	Actor   Actor
	Object  Object
	Reading *Reading
}

// Fact is a truth that may be missing. The zero value is Unknown, and a rule that needs
// an unknown fact denies.
type Fact uint8

const (
	Unknown Fact = iota
	No
	Yes
)

// Is turns a bool into a known fact.
func Is(b bool) Fact {
	if b {
		return Yes
	}
	return No
}

func (f Fact) String() string {
	switch f {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "unknown"
}

// Facts is what the rules may know. Everything is optional: what is missing denies.
type Facts struct {
	Now         time.Time
	Class       health.INSClass // the INS class this house files; "" is unknown
	Account     *Account        // of the actor
	Sender      *Box            // the BAL that the actor uses, or that he wants to open
	Destination *Destination    // where the message goes
	FromPatient Fact            // receive: the reverse-path is in a domain of patients' addresses
	Exchange    Exchange        // between the patient who writes and the recipient
	Patient     *Patient        // the dossier concerned
	Reading     *Reading        // the document to file, as read
	Stored      *Stored         // the document to open
}

// Account is what is known of a signed-in account.
type Account struct {
	ID      id.Account
	Enabled Fact
	Linked  Fact // to the BAL of the question
}

// Box is what is known of a BAL of ours.
type Box struct {
	ID             id.BAL
	Kind           health.BALKind
	State          health.BALState
	StateAt        time.Time // in the zone of the dates that people read
	Terms          Fact      // conditions of use (CGU) accepted
	OpenToPatients Fact      // declared open to patients
	Sector         string    // of activity of its structure (TRE_R02), "" is none
}

// Place says whose a domain is.
type Place uint8

const (
	Nowhere Place = iota // unknown
	Here                 // one of our domains
	Away                 // another operator's
)

// Destination is what is known of a recipient's address.
type Destination struct {
	Domain     string // as given by the sender
	Place      Place
	Trusted    Fact // the domain is in the white list (Away)
	ForPatient Fact // the domain is one of patients' addresses
	Exists     Fact // a BAL bears this address (Here)
	Box        *Box // nil unless it exists (Here)
	Patient    *Patient
}

// Exchange is the state of the right to write between a patient and an address.
type Exchange uint8

const (
	ExchangeUnknown Exchange = iota
	NoExchange
	ExchangeOpen
	ExchangeEnded
)

// Patient is what is known of a dossier.
type Patient struct {
	ID             id.Patient
	BAL            id.BAL // 0 when the patient has none
	Account        id.Account
	Class          health.INSClass
	Open           Fact
	Qualified      Fact
	FeedingOpposed Fact
}

// Reading is what the ingest corridor read in one document (dmp.md §4.4).
type Reading struct {
	HasINS           Fact
	Class            health.INSClass // of the OID of the document's INS
	KeyValid         Fact            // asked of real INS only
	Complete         Fact            // the five strict traits are there
	SenderQualified  Fact            // X-MSS-INS: O, or a CDA whose sender vouches for the INS
	PatientFound     Fact            // somebody here has this INS
	TraitsMatch      Fact
	TypeKnown        Fact     // in JDV_J07, and its class known
	Confidentiality  []string // codes; at least one
	AuthorIdentified Fact     // by a national identifier, and his structure
	Archive          Fact     // came in an XDM archive: a bare CDA or a PDF is not filed without the patient
	Latest           Fact     // replaces nothing, or the latest version
	Author           Fact     // replaces nothing, or a document of the same author or structure
}

// Stored is what is known of a document of a dossier.
type Stored struct {
	ID         id.Document
	Patient    id.Patient
	Deleted    Fact
	Visibility []string // confidentiality codes; at least one
}
