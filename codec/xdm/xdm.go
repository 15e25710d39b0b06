// Package xdm reads IHE_XDM.ZIP archives: the ZIP with its hygiene (mssante.md §7.1,
// dmp.md §4.2), METADATA.XML (ebRIM, dmp.md §3), and each document against its size
// and hash. It never writes a path of an archive to disk and holds no document in
// memory.
package xdm

import "fmt"

// Code is a coded value: nodeRepresentation, codingScheme and Name of a Classification.
type Code struct{ Code, System, Label string }

// Action is what the sender asks for (mssante.md §7.1).
type Action string

const (
	Create Action = ""
	Change Action = "C"
	Delete Action = "D"
)

// Author is one author classification; values are HL7 XCN, XON and CE texts.
type Author struct {
	Person      string
	Institution []string
	Specialty   []string
	Role        []string
}

// Submission is a lot de soumission.
type Submission struct {
	UniqueID, SourceID string
	PatientID          string // CX
	ContentType        Code
	Title, Time        string
	Authors            []Author
	Action             Action
}

// Entry is a fiche: what METADATA.XML says of one document. It tells about a person
// and redacts itself when printed.
type Entry struct {
	EntryUUID       string
	UniqueID        string
	PatientID       string // CX
	SourcePatientID string
	Hash            string // SHA-1, lower-case hexadecimal
	Size            int64  // octets; -1 when not written
	URI             string
	MimeType        string
	Type            Code
	Class           Code
	FormatCode      Code
	Facility        Code
	Practice        Code
	Confidentiality []Code
	Title           string
	Comments        string
	Language        string
	CreationTime    string // as written, UTC
	ServiceStart    string
	ServiceStop     string
	Authors         []Author
	Authenticator   string // XCN
	Replaces        string // target of a RPLC association: entryUUID, or what the sender wrote
	Action          Action

	prefix string // of the names in its subset, folded
}

func (e Entry) String() string             { return "[xdm entry]" }
func (e Entry) GoString() string           { return "[xdm entry]" }
func (e Entry) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[xdm entry]") }
