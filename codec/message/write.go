package message

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode"

	gomail "github.com/emersion/go-message/mail"
	"golang.org/x/text/unicode/norm"

	"pli/fault"
	"pli/mail"
)

// NewMessageID makes a Message-ID under domain, without angle brackets.
func NewMessageID(domain string) string { return randomHex() + "@" + domain }

func newBoundary() string { return "pli-" + randomHex() }

func randomHex() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// field is one header field, already encoded; one without a value is left out.
type field struct{ name, value string }

// headerBlock writes fields in their order with the empty line that ends them. Values
// lose line breaks: none can begin a field of its own.
func headerBlock(fields ...field) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		if v := oneLine(f.value); v != "" {
			b.WriteString(fold(f.name + ": " + v))
			b.WriteString("\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// fold breaks a field at its spaces so that lines keep to 76 octets where they can
// (RFC 5322 §2.2.3, RFC 2047 §2).
func fold(s string) string {
	const width = 76
	var b strings.Builder
	for len(s) > width {
		i := strings.LastIndexByte(s[:width+1], ' ')
		if strings.TrimSpace(s[:max(i, 0)]) == "" || strings.HasSuffix(s[:i], ":") && b.Len() == 0 {
			// The next space, then: what comes before it cannot be broken.
			j := strings.IndexByte(s[width:], ' ')
			if j < 0 {
				break
			}
			i = width + j
		}
		b.WriteString(s[:i])
		b.WriteString("\r\n")
		s = s[i:]
	}
	return b.String() + s
}

// oneLine turns control characters into spaces.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

// encodeText is unstructured text as a header holds it (RFC 2047).
func encodeText(s string) string { return mime.QEncoding.Encode("utf-8", oneLine(s)) }

func encodePeople(ps ...Person) string {
	var out []string
	for _, p := range ps {
		if !p.Mail().IsZero() {
			out = append(out, (&gomail.Address{Name: oneLine(p.Name), Address: p.Address}).String())
		}
	}
	return strings.Join(out, ", ")
}

func bracket(ids ...string) string {
	var out []string
	for _, id := range ids {
		if id = printable(id); id != "" && !strings.ContainsAny(id, "<> ") {
			out = append(out, "<"+id+">")
		}
	}
	return strings.Join(out, " ")
}

// printable is s in ASCII: accents dropped, what is left that ASCII lacks as "?".
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r == '’':
			return '\''
		case r < ' ' || r == 0x7f:
			return ' '
		case r > '~':
			return '?'
		}
		return r
	}, norm.NFD.String(s))
}

func address(a mail.Address) string {
	if a.IsZero() {
		return ""
	}
	return "rfc822; " + a.Reveal()
}

// date is an instant as a header holds it (RFC 5322 §3.3); "" for the zero instant.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("Mon, 02 Jan 2006 15:04:05 -0700")
}

// textPart is a part of UTF-8 text, with its header.
func textPart(text string) []byte {
	var b bytes.Buffer
	b.Write(headerBlock(
		field{"Content-Type", "text/plain; charset=utf-8"},
		field{"Content-Transfer-Encoding", "quoted-printable"},
	))
	_ = writeQP(&b, text)
	return b.Bytes()
}

func writeQP(w io.Writer, text string) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, strings.ReplaceAll(text, "\r\n", "\n")); err != nil {
		return err
	}
	return q.Close()
}

// writeBase64 streams r in lines of 76 characters (RFC 2045 §6.8).
func writeBase64(w io.Writer, r io.Reader) error {
	enc := base64.NewEncoder(base64.StdEncoding, &wrapper{w: w})
	if _, err := io.Copy(enc, r); err != nil {
		return err
	}
	return enc.Close()
}

type wrapper struct {
	w   io.Writer
	col int
}

func (l *wrapper) Write(p []byte) (int, error) {
	var line [4 << 10]byte
	out := line[:0]
	for _, c := range p {
		if l.col == 76 {
			out = append(out, '\r', '\n')
			l.col = 0
		}
		out = append(out, c)
		l.col++
		if len(out) > len(line)-4 {
			if _, err := l.w.Write(out); err != nil {
				return 0, err
			}
			out = line[:0]
		}
	}
	if _, err := l.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Draft is a message that Pli composes for a person.
type Draft struct {
	From       Person
	To, Cc     []Person
	ReplyTo    []Person
	Subject    string
	At         time.Time
	MessageID  string   // without angle brackets; made when empty, under the domain of From
	InReplyTo  string   // Message-ID of the message answered; "" for none
	References []string // of the message answered, oldest first, itself included
	Text       string   // UTF-8
	Files      []File
	MSS        MSS
	// NotificationTo asks for an MDN when it is not zero.
	NotificationTo mail.Address
}

// File is an attachment to compose; Content is read once, while the message is written.
type File struct {
	Name      string
	MediaType string // "application/pdf"; "" is application/octet-stream
	Content   io.Reader
}

// Compose writes a draft as a message: text in UTF-8, files streamed in base64.
//
// Errors: fault.InvalidAddress when From is no address, and those of w and the files.
func Compose(w io.Writer, d Draft) error {
	from := d.From.Mail()
	if from.IsZero() {
		return fault.New(fault.InvalidAddress, "message.Compose", "from")
	}
	if d.MessageID == "" {
		d.MessageID = NewMessageID(from.Domain())
	}
	fields := []field{
		{"From", encodePeople(d.From)},
		{"To", encodePeople(d.To...)},
		{"Cc", encodePeople(d.Cc...)},
		{"Reply-To", encodePeople(d.ReplyTo...)},
		{"Subject", encodeText(d.Subject)},
		{"Date", date(d.At)},
		{"Message-ID", bracket(d.MessageID)},
		{"In-Reply-To", bracket(d.InReplyTo)},
		{"References", bracket(lastFew(d.References)...)},
		{"Disposition-Notification-To", encodePeople(Person{Address: d.NotificationTo.Reveal()})},
		{"X-MSS-MES", d.MSS.MES},
		{"X-MSS-INS", d.MSS.INS},
		{"X-MSS-CODECDA", strings.Join(d.MSS.CodeCDA, ",")},
		{"X-MSS-NIL", d.MSS.NIL},
		{"MIME-Version", "1.0"},
	}
	if len(d.Files) == 0 {
		fields = append(fields, field{"Content-Type", "text/plain; charset=utf-8"},
			field{"Content-Transfer-Encoding", "quoted-printable"})
		if _, err := w.Write(headerBlock(fields...)); err != nil {
			return err
		}
		return writeQP(w, endLine(d.Text))
	}
	return composeMixed(w, fields, d)
}

func composeMixed(w io.Writer, fields []field, d Draft) error {
	boundary := newBoundary()
	fields = append(fields, field{"Content-Type", `multipart/mixed; boundary="` + boundary + `"`})
	head := append(headerBlock(fields...), "--"+boundary+"\r\n"...)
	if _, err := w.Write(append(head, textPart(endLine(d.Text))...)); err != nil {
		return err
	}
	for _, f := range d.Files {
		head := append([]byte("\r\n--"+boundary+"\r\n"), fileHeader(f)...)
		if _, err := w.Write(head); err != nil {
			return err
		}
		if err := writeBase64(w, f.Content); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "\r\n--"+boundary+"--\r\n")
	return err
}

func fileHeader(f File) []byte {
	name := oneLine(f.Name)
	kind := f.MediaType
	if major, minor, ok := strings.Cut(kind, "/"); !ok || !isToken(major) || !isToken(minor) ||
		major == "multipart" || major == "message" { // these may not be in base64 (RFC 2046 §5)
		kind = "application/octet-stream"
	}
	return headerBlock(
		field{"Content-Type", mime.FormatMediaType(kind, param("name", name))},
		field{"Content-Disposition", mime.FormatMediaType("attachment", param("filename", name))},
		field{"Content-Transfer-Encoding", "base64"},
	)
}

func param(k, v string) map[string]string {
	if v == "" {
		return nil
	}
	return map[string]string{k: v}
}

func endLine(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

// lastFew bounds References: the first, which names the thread, and the newest.
func lastFew(ids []string) []string {
	const most = 50
	if len(ids) <= most {
		return ids
	}
	return append(ids[:1:1], ids[len(ids)-most+1:]...)
}
