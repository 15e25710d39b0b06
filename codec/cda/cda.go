// Package cda reads clinical documents (HL7 CDA R2 as the CI-SIS uses it, dmp.md §2):
// the header fields the product needs, the narrative of each section, and the embedded
// file, which is streamed and never held in memory. It renders the narrative as safe
// HTML. It never runs a sender's style sheet, never resolves an entity or a link, and
// does no I/O of its own.
package cda

import (
	"fmt"
	"time"

	"pli/health"
)

// Code is a coded value with its system's OID and the label the sender gave.
type Code struct{ Code, System, Label string }

// Identifier is an HL7 II: an OID or UUID, and an extension or none.
type Identifier struct{ Root, Extension string }

// String is root, or root^extension (dmp.md §2.2): the form of an XDS uniqueId.
func (i Identifier) String() string {
	if i.Extension == "" {
		return i.Root
	}
	return i.Root + "^" + i.Extension
}

// IsZero reports whether there is no identifier.
func (i Identifier) IsZero() bool { return i == Identifier{} }

// Document is what was read of a clinical document. It tells about a person: it
// redacts itself when printed.
type Document struct {
	Root            string // local name of the file's root: ClinicalDocument, stylesheet, Signature…
	ID              Identifier
	SetID           Identifier // zero when missing
	Version         int        // 0 when missing
	Templates       []string   // model ids
	Type            Code
	Title           string
	Created         Time
	Confidentiality string // N, R, V; "" when missing
	Language        string
	Patient         Patient
	Authors         []Author
	Custodian       Organisation
	Authenticator   Author // legal authenticator
	Services        []Service
	Encounter       Encounter
	Related         []Related
	Body            Body
	Sections        []Section
	Media           []Media
}

func (d *Document) String() string             { return "[cda]" }
func (d *Document) GoString() string           { return "[cda]" }
func (d *Document) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[cda]") }

// Time is an HL7 ts: an instant, how much of it was written, and whether the offset was.
type Time struct {
	At      time.Time // UTC; without an offset the text is taken as Europe/Paris (dmp.md §2.3)
	Digits  int       // 4, 6, 8, 10, 12 or 14 digits written; 0 when there is no time
	Zoned   bool
	Literal string // as written
}

// IsZero reports whether no time could be read.
func (t Time) IsZero() bool { return t.Digits == 0 }

// Patient is the record target.
type Patient struct {
	INS     []PatientID // identifiers under an OID of the INS
	Local   []Identifier
	Unknown []Identifier // under 1.2.250.1.213.1.4 but not an INS: retired or unknown (dmp.md §1.1)
	Traits  health.Traits
}

// PatientID is an INS as written: Number is zero when its shape is wrong.
type PatientID struct {
	OID    string
	Class  health.INSClass
	Number health.INS
}

// Author is a person, a device or a patient who wrote or validated.
type Author struct {
	IDs          []Identifier
	Family       string
	Given        string
	Prefix       string
	Device       string // software or model, when it is not a person
	Specialty    Code   // JDV_J01, e.g. G15_10/SM26; zero when missing
	Function     Code
	Organisation Organisation
	At           Time
}

// Name is « NOM Prénom », or the device's name.
func (a Author) Name() string {
	switch {
	case a.Family != "" && a.Given != "":
		return a.Family + " " + a.Given
	case a.Family != "" || a.Given != "":
		return a.Family + a.Given
	}
	return a.Device
}

// OIDs of the national identifiers of persons and structures (dmp.md §2.2).
const (
	OIDPerson    = "1.2.250.1.71.4.2.1"
	OIDStructure = "1.2.250.1.71.4.2.2"
	OIDHealthID  = "1.2.250.1.215.300.5" // N°AM
)

// Organisation is a structure.
type Organisation struct {
	IDs    []Identifier
	Name   string
	Sector Code // standardIndustryClassCode
}

// Service is an act the document is about.
type Service struct {
	Code         Code
	Start, Stop  Time
	HasPerformer bool
	Setting      Code // JDV_J04, of the performer's structure
}

// Encounter is the contact or stay.
type Encounter struct {
	IDs         []Identifier
	Code        Code
	Start, Stop Time
	Facility    Code // JDV_J02
}

// Related is another document this one replaces (RPLC) or transforms (XFRM).
type Related struct {
	Kind string
	IDs  []Identifier
}

// Body tells how the content is given.
type Body struct {
	Level     int    // 1 unstructured, 3 structured; 0 when there is no body
	MediaType string // level 1
}

// Media is an embedded file: the Ordinal-th element with representation="B64".
type Media struct {
	Ordinal   int
	MediaType string
	ID        string // of its observationMedia or observation, what referencedObject names
	Copy      bool   // in the section « Copie du document » (1.2.250.1.213.1.1.2.243)
	Body      bool   // the body of a level 1 document
	Size      int64  // octets of base64 as written
}

// Section is a titled part of a structured body.
type Section struct {
	Title     string
	Code      Code
	Copy      bool // it only holds the PDF copy of the whole document
	Narrative []Node
	Sections  []Section
}

// Node is an element of the narrative, or a run of text when Name is empty.
type Node struct {
	Name     string // local name
	Text     string
	Attrs    map[string]string // those of the narrative schema only
	Children []Node
}

// MainService is the act of the document: the first with a performer, else the first
// (dmp.md §2.2).
func (d *Document) MainService() Service {
	for _, s := range d.Services {
		if s.HasPerformer {
			return s
		}
	}
	if len(d.Services) > 0 {
		return d.Services[0]
	}
	return Service{}
}

// Replaces is the document this one replaces; zero when it replaces none.
func (d *Document) Replaces() Identifier {
	for _, r := range d.Related {
		if r.Kind == "RPLC" && len(r.IDs) > 0 {
			return r.IDs[0]
		}
	}
	return Identifier{}
}

// Printable is the file a person reads first: the body of a level 1 document, or the
// PDF copy of a structured one. False when the document has none.
func (d *Document) Printable() (Media, bool) {
	for _, m := range d.Media {
		if m.Body {
			return m, true
		}
	}
	for _, m := range d.Media {
		if m.Copy && m.MediaType == "application/pdf" {
			return m, true
		}
	}
	return Media{}, false
}
