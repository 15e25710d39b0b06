package message

import (
	"bufio"
	"io"
	"time"

	"pli/health"
	"pli/mail"
)

// DSN is a delivery status notification to build (RFC 3464, ux.md §6.6).
type DSN struct {
	MessageID    string // without angle brackets; made when empty, with ReportingMTA as its domain
	From         Person // who the header says it comes from: the operator's postmaster
	To           mail.Address
	At           time.Time
	ReportingMTA string // our host name
	Operator     string // name of our operator, shown to people; the host name when empty
	EnvelopeID   string // ENVID of the original, "" when it had none
	ArrivedAt    time.Time
	Recipients   []DSNRecipient
	Header       []byte    // raw header block of the original
	Original     io.Reader // the whole original, streamed, when RET=FULL; nil for the header only (RET=HDRS)
}

// DSNRecipient is the outcome for one recipient (RFC 3464 §2.3).
type DSNRecipient struct {
	Address    mail.Address // final recipient
	Original   string       // ORCPT, "" when not given
	Action     DSNAction
	Status     string // enhanced code, "5.1.1"
	RemoteMTA  string // "" when we decided ourselves
	Diagnostic string // the SMTP reply, "550 5.1.1 …"; "" when there is none
	TriedAt    time.Time
	RetryUntil time.Time // of a delay: when we give up
	NextAt     time.Time // of a delay: the next attempt
}

// DSNAction is what became of a message for one recipient (RFC 3464 §2.3.3).
type DSNAction string

const (
	Failed    DSNAction = "failed"
	Delayed   DSNAction = "delayed"
	Delivered DSNAction = "delivered"
	Relayed   DSNAction = "relayed"
)

// MDN is a message disposition notification to build (RFC 8098, mssante.md §7.3).
type MDN struct {
	MessageID         string // without angle brackets; made when empty, with Reporter as its domain
	From              Person // the BAL that reports
	To                mail.Address
	At                time.Time
	Reporter          string // host name of the reporting server
	OriginalRecipient string // as the original envelope had it, "" when not known
	Final             mail.Address
	OriginalID        string                 // Message-ID of the original, without angle brackets
	OriginalSubject   string                 // as written, decoded
	Displayed         bool                   // a person opened it; otherwise it was processed by the record
	Manual            bool                   // asked of a person, who agreed
	Code              health.IntegrationCode // of "processed": 0 is success
	Detail            string                 // more for the human part, French; "" for none
	Original          io.Reader              // the whole original, streamed; nil leaves part 3 out
}

// BuildDSN writes a DSN as it is read (RFC 3464, RFC 6522).
func BuildDSN(d DSN) (io.Reader, error) { return nil, nil }

// BuildMDN writes an MDN as it is read (RFC 8098, mssante.md §7.3).
func BuildMDN(m MDN) (io.Reader, error) { return nil, nil }

// Draft is a message that Pli composes for a person.
type Draft struct {
	From                      Person
	To, Cc                    []Person
	ReplyTo                   []Person
	Subject                   string
	At                        time.Time
	MessageID                 string   // without angle brackets; see NewMessageID
	InReplyTo                 string   // Message-ID of the message answered, "" for none
	References                []string // of the message answered, oldest first, itself included
	Text                      string   // UTF-8
	Attachments               []File
	MSS                       MSS
	DispositionNotificationTo *Person
}

// File is an attachment to compose; Content is read once, while the message is written.
type File struct {
	Name      string
	MediaType string // "application/pdf"; "" is application/octet-stream
	Content   io.Reader
}

// Compose writes a draft as a message: text in UTF-8, attachments streamed in base64.
func Compose(w io.Writer, d Draft) error { return nil }

// NewMessageID makes a Message-ID under domain, without angle brackets.
func NewMessageID(domain string) string { return "" }

// Scan reads a message once and returns its outline.
//
// Errors: fault.InvalidContent when a limit is passed, and those of r.
func Scan(r io.Reader, lim Limits) (*Outline, error) { _ = bufio.NewReader(r); return nil, nil }

// Decode reads a part's body, given as it is in the message, through its transfer
// encoding; text comes out in UTF-8, whatever its charset was.
func Decode(p *Part, r io.Reader) io.Reader { return r }

// Marshal writes the outline in the compact form that Unmarshal reads.
func (o *Outline) Marshal() []byte { return nil }

// Unmarshal reads what Marshal wrote. Errors: fault.Corrupt.
func Unmarshal(b []byte) (*Outline, error) { return nil, nil }
