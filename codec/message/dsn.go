package message

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"pli/fault"
	"pli/mail"
)

// DSNAction is what became of a message for one recipient (RFC 3464 §2.3.3).
type DSNAction string

const (
	Failed    DSNAction = "failed"
	Delayed   DSNAction = "delayed"
	Delivered DSNAction = "delivered"
	Relayed   DSNAction = "relayed" // to a server that makes no success report
)

// DSN is a delivery status notification to build (RFC 3464, RFC 3461 §6, ux.md §6.6).
// All its recipients share one Action.
type DSN struct {
	MessageID    string // without angle brackets; made when empty, under the domain of From
	From         Person // who the header says it comes from: the operator's postmaster
	To           mail.Address
	At           time.Time // in the time zone that the text for people uses
	Action       DSNAction
	ReportingMTA string // our host name
	EnvelopeID   string // ENVID of the original; "" when it had none
	ArrivedAt    time.Time
	Recipients   []DSNRecipient
	NextAt       time.Time // of a delay: the next attempt
	RetryUntil   time.Time // of a delay: when we give up
	Header       []byte    // raw header block of the original
	Original     io.Reader // the whole original, when RET=FULL asked for it; nil for the header only
}

// DSNRecipient is the outcome for one recipient (RFC 3464 §2.3).
type DSNRecipient struct {
	Final      mail.Address
	Original   string // ORCPT; "" when not given
	Status     string // enhanced code, "5.1.1"
	RemoteMTA  string // "" when none was reached
	Diagnostic string // the SMTP reply, "550 5.1.1 …"; "" when there is none
	TriedAt    time.Time
	Present    []DSNPresent // where to write instead, the best first
}

// DSNPresent is a published address offered in place of one that failed.
type DSNPresent struct {
	Address string
	Who     string // « NOM Prénom, ville »; "" when nothing is known
	Why     string // "replacement", "same-professional", "same-structure" or "near"
}

// BuildDSN gives a DSN as a message to read: a text in French then English, the report,
// and the header of the original, or the whole of it when Original is there.
//
// Errors: fault.Invalid when there is nobody to report to or about.
func BuildDSN(d DSN) (io.Reader, error) {
	if d.To.IsZero() || len(d.Recipients) == 0 {
		return nil, fault.New(fault.Invalid, "message.BuildDSN", "nobody")
	}
	if d.MessageID == "" {
		d.MessageID = NewMessageID(d.From.Mail().Domain())
	}
	original := ParseFields(d.Header)
	boundary := newBoundary()
	head := headerBlock(
		field{"From", encodePeople(d.From)},
		field{"To", encodePeople(Person{Address: d.To.Reveal()})},
		field{"Subject", encodeText(d.subject(original.Subject()))},
		field{"Date", date(d.At)},
		field{"Message-ID", bracket(d.MessageID)},
		field{"In-Reply-To", bracket(original.MessageID())},
		field{"References", bracket(lastFew(append(original.References(), original.MessageID()))...)},
		field{"Auto-Submitted", "auto-replied"},
		field{"MIME-Version", "1.0"},
		field{"Content-Type", `multipart/report; report-type=delivery-status; boundary="` + boundary + `"`},
		field{"Content-Transfer-Encoding", "8bit"}, // of the original
	)
	report := append([]byte("Content-Type: message/delivery-status\r\n\r\n"), d.status()...)
	return joinReport(head, boundary, textPart(d.text()), report, d.Header, d.Original), nil
}

// joinReport streams a multipart/report (RFC 6522): text, report, and what is returned
// of the original.
func joinReport(head []byte, boundary string, text, report, header []byte, original io.Reader) io.Reader {
	var b bytes.Buffer
	b.Write(head)
	for _, part := range [][]byte{text, report} {
		fmt.Fprintf(&b, "--%s\r\n%s\r\n", boundary, part)
	}
	fmt.Fprintf(&b, "--%s\r\n", boundary)
	switch {
	case original != nil:
		b.WriteString("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
	default:
		b.WriteString("Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
		original = bytes.NewReader(bytes.TrimRight(header, "\r\n"))
	}
	return io.MultiReader(&b, original, strings.NewReader("\r\n--"+boundary+"--\r\n"))
}

// status is the machine's part (RFC 3464 §2.1).
func (d DSN) status() []byte {
	var b bytes.Buffer
	b.Write(headerBlock(
		field{"Reporting-MTA", "dns; " + printable(d.ReportingMTA)},
		field{"Original-Envelope-Id", printable(d.EnvelopeID)},
		field{"Arrival-Date", date(d.ArrivedAt)},
	))
	for _, r := range d.Recipients {
		b.Write(headerBlock(
			field{"Original-Recipient", prefixed("rfc822; ", printable(r.Original))},
			field{"Final-Recipient", address(r.Final)},
			field{"Action", string(d.Action)},
			field{"Status", printable(r.Status)},
			field{"Remote-MTA", prefixed("dns; ", printable(r.RemoteMTA))},
			field{"Diagnostic-Code", prefixed("smtp; ", printable(r.Diagnostic))},
			field{"Last-Attempt-Date", date(r.TriedAt)},
			field{"Will-Retry-Until", date(d.RetryUntil)},
		))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\r\n"))
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// subject is « Non remis : sujet → destinataire » (ux.md §6.6).
func (d DSN) subject(original string) string {
	word := map[DSNAction]string{Failed: "Non remis", Delayed: "Pas encore remis"}[d.Action]
	if word == "" {
		word = "Remis"
	}
	if original = HumanSubject(original); original == "" {
		original = "(sans objet)"
	}
	to := d.Recipients[0].Final.Reveal()
	if n := len(d.Recipients) - 1; n > 0 {
		to += fmt.Sprintf(" (+%d)", n)
	}
	return word + " : " + original + " → " + to
}

// text is the people's part: what happened, what to do, then who and the technical
// answer below a rule; French first.
func (d DSN) text() string {
	var b strings.Builder
	if d.Action == Failed {
		b.WriteString("Message non distribué\n\n") // mssante.md §6.3
	}
	said := map[[2]string]bool{}
	for _, r := range d.Recipients {
		c := explain(d, r)
		if key := [2]string{c.fr, c.fixFR}; !said[key] {
			said[key] = true
			fmt.Fprintf(&b, "%s\n%s\n", c.fr, c.fixFR)
		}
		fmt.Fprintf(&b, "→ %s\n\n", r.Final.Reveal())
	}
	b.WriteString("--\nEnglish\n\n")
	if d.Action == Failed {
		b.WriteString("Message not delivered\n\n")
	}
	for _, r := range d.Recipients {
		c := explain(d, r)
		fmt.Fprintf(&b, "%s\n%s\n→ %s\n\n", c.en, c.fixEN, r.Final.Reveal())
	}
	b.WriteString("--------------------------------------------------\n")
	for _, r := range d.Recipients {
		fmt.Fprintf(&b, "%s : %s %s", r.Final.Reveal(), r.Status, oneLine(r.Diagnostic))
		if r.RemoteMTA != "" {
			fmt.Fprintf(&b, " (%s)", oneLine(r.RemoteMTA))
		}
		b.WriteString("\n")
	}
	return b.String()
}
