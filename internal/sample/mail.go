package sample

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"strings"
	"time"
)

// Mail is a message of health mail.
type Mail struct {
	From, To    string // addresses
	FromName    string
	ReplyTo     string
	Subject     string
	Text        string
	MessageID   string // without brackets; made from the subject and date when empty
	Date        time.Time
	Receipt     string   // Disposition-Notification-To
	Header      []string // further fields: "X-MSS-MES: FIN"
	Attachments []File
}

// File is an attachment.
type File struct {
	Name, MediaType string
	Content         []byte
}

// Bytes writes the message with CRLF line ends.
func (m Mail) Bytes() []byte {
	const boundary = "=_pli-echantillon_="
	var b bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	if m.Date.IsZero() {
		m.Date = time.Date(2026, 3, 4, 10, 5, 0, 0, time.UTC)
	}
	if m.MessageID == "" {
		m.MessageID = fmt.Sprintf("%d.%d@mss-a.example", m.Date.UnixNano(), len(m.Subject))
	}
	from := m.From
	if m.FromName != "" {
		from = mime.QEncoding.Encode("utf-8", m.FromName) + " <" + m.From + ">"
	}
	field("From", from)
	field("To", m.To)
	field("Reply-To", m.ReplyTo)
	field("Subject", mime.QEncoding.Encode("utf-8", m.Subject))
	field("Date", m.Date.Format(time.RFC1123Z))
	field("Message-ID", "<"+m.MessageID+">")
	field("Disposition-Notification-To", m.Receipt)
	for _, h := range m.Header {
		b.WriteString(h + "\r\n")
	}
	field("MIME-Version", "1.0")
	if len(m.Attachments) == 0 {
		field("Content-Type", "text/plain; charset=utf-8")
		field("Content-Transfer-Encoding", "base64")
		b.WriteString("\r\n")
		writeBase64(&b, []byte(m.Text))
		return b.Bytes()
	}
	field("Content-Type", `multipart/mixed; boundary="`+boundary+`"`)
	fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary)
	writeBase64(&b, []byte(m.Text))
	for _, f := range m.Attachments {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: %s\r\n\r\n", boundary,
			mime.FormatMediaType(f.MediaType, map[string]string{"name": f.Name}), mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
		writeBase64(&b, f.Content)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes()
}

func writeBase64(b *bytes.Buffer, p []byte) {
	s := base64.StdEncoding.EncodeToString(p)
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	b.WriteString(s + "\r\n")
}

// ReportMail is the mail of a laboratory: archive, PDF for human eyes, and the subject
// of mssante.md §7.1.
func ReportMail(from, to string, archive []byte, c CDA) Mail {
	name, date := c.Patient.BirthName, c.Patient.BirthDate
	if c.Patient.UsedName != "" {
		name = c.Patient.UsedName
	}
	pdf := c.PDF
	if pdf == nil {
		pdf = PDF(c.Title, "Document fictif.")
	}
	return Mail{
		From: from, To: to, FromName: c.Author.Structure,
		Subject: fmt.Sprintf("XDM/1.0/DDM+%s %s %s %s/%s/%s", strings.ToUpper(c.Title), name, c.Patient.FirstName, date[6:8], date[4:6], date[:4]),
		Text:    "Bonjour,\r\n\r\nVeuillez trouver ci-joint : " + c.Title + ".\r\n\r\n" + c.Author.Structure + "\r\n",
		Attachments: []File{
			{"IHE_XDM.ZIP", "application/zip", archive},
			{"compte-rendu.pdf", "application/pdf", pdf},
		},
	}
}
