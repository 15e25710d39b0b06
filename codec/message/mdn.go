package message

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"pli/fault"
	"pli/health"
	"pli/mail"
)

// MDN is a message disposition notification to build (RFC 8098, mssante.md §7.3). Whoever
// builds one has checked that the original asked for it, and that the address asked for
// is the reverse-path (loop guard).
type MDN struct {
	MessageID         string // without angle brackets; made when empty, under the domain of From
	From              Person // the BAL that reports
	To                mail.Address
	At                time.Time
	ReportingUA       string // host name of the reporting server; "" is left out
	Final             mail.Address
	OriginalRecipient string                 // as the original envelope had it; "" when not known
	OriginalID        string                 // Message-ID of the original, without angle brackets
	References        []string               // of the original, oldest first, itself left out
	OriginalSubject   string                 // decoded
	Displayed         bool                   // a person opened it; otherwise the house processed it
	Manual            bool                   // a person agreed to send it
	Code              health.IntegrationCode // when processed: 0 is success
	Detail            string                 // more for people, one sentence; "" for none
	Original          io.Reader              // the whole original, streamed; nil leaves part 3 out
	Header            []byte                 // returned instead when Original is nil; nil leaves part 3 out
}

// BuildMDN gives an MDN as a message to read: a text in French then English with the
// code and its label, the notification, and the original as one message/rfc822.
//
// Errors: fault.Invalid when an address is missing.
func BuildMDN(m MDN) (io.Reader, error) {
	if m.To.IsZero() || m.Final.IsZero() || m.From.Mail().IsZero() {
		return nil, fault.New(fault.Invalid, "message.BuildMDN", "nobody")
	}
	if m.MessageID == "" {
		m.MessageID = NewMessageID(m.From.Mail().Domain())
	}
	boundary := newBoundary()
	head := headerBlock(
		field{"From", encodePeople(m.From)},
		field{"To", encodePeople(Person{Address: m.To.Reveal()})},
		field{"Subject", encodeText(m.subject())},
		field{"Date", date(m.At)},
		field{"Message-ID", bracket(m.MessageID)},
		field{"In-Reply-To", bracket(m.OriginalID)},
		field{"References", bracket(lastFew(append(slices.Clone(m.References), m.OriginalID))...)},
		field{"Auto-Submitted", "auto-replied"},
		field{"MIME-Version", "1.0"},
		field{"Content-Type", `multipart/report; report-type=disposition-notification; boundary="` + boundary + `"`},
		field{"Content-Transfer-Encoding", "8bit"}, // of the original
	)
	report := append([]byte("Content-Type: message/disposition-notification\r\n\r\n"), m.notification()...)
	if m.Original == nil && m.Header == nil {
		return strings.NewReader(fmt.Sprintf("%s--%s\r\n%s\r\n--%s\r\n%s\r\n--%s--\r\n",
			head, boundary, textPart(m.text()), boundary, report, boundary)), nil
	}
	return joinReport(head, boundary, textPart(m.text()), report, m.Header, m.Original), nil
}

// notification is the machine's part (RFC 8098 §3.1).
func (m MDN) notification() []byte {
	b := headerBlock(
		field{"Reporting-UA", printable(m.ReportingUA)},
		field{"Original-Recipient", prefixed("rfc822; ", printable(m.OriginalRecipient))},
		field{"Final-Recipient", address(m.Final)},
		field{"Original-Message-ID", bracket(m.OriginalID)},
		field{"Disposition", m.disposition()},
	)
	return b[:len(b)-2]
}

func (m MDN) disposition() string {
	d := "automatic-action/MDN-sent-automatically; "
	if m.Manual {
		d = "manual-action/MDN-sent-manually; "
	}
	switch {
	case m.Displayed:
		return d + "displayed"
	case m.Code == 0:
		return d + "processed"
	}
	return d + "processed/Error: " + m.error()
}

// error is <code>^<label>, in ASCII as header fields are.
func (m MDN) error() string { return fmt.Sprintf("%d^%s", m.Code, printable(m.Code.Label())) }

func (m MDN) subject() string {
	switch {
	case m.Displayed:
		return "Lu : " + HumanSubject(m.OriginalSubject)
	case m.Code == 0:
		return m.OriginalSubject
	}
	return fmt.Sprintf("[KO Intégration système !][%d] %s", m.Code, m.OriginalSubject)
}

func (m MDN) text() string {
	var fr, en string
	switch {
	case m.Displayed:
		fr, en = "Votre message a été ouvert par son destinataire.", "Your message was opened by its recipient."
	case m.Code == 0:
		fr, en = "Les documents de votre message ont été rangés dans le dossier du patient.",
			"The documents of your message were filed in the patient's record."
	default:
		fr = fmt.Sprintf("Les documents de votre message n'ont pas été rangés dans le dossier du patient.\nErreur %d : %s.", m.Code, m.Code.Label())
		en = fmt.Sprintf("The documents of your message were not filed in the patient's record. Error %d.", m.Code)
		fr += "\nLe message reste dans la boîte de son destinataire. Corrigez le document et renvoyez-le."
		en += "\nThe message stays in the recipient's mailbox. Correct the document and send it again."
	}
	if m.Detail != "" {
		fr += "\n" + oneLine(m.Detail)
	}
	return fr + "\n→ " + m.Final.Reveal() + "\n\n--\nEnglish\n\n" + en + "\n"
}
