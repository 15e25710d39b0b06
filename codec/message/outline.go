// Package message turns the bytes of a mail message (RFC 5322, MIME) into an Outline
// and back, decodes its parts, and writes the messages that Pli itself sends: DSN,
// MDN and replies.
//
// Scan reads a message once, in bounded memory, and keeps its header and the place of
// every part; bodies are never kept. An Outline is stored sealed beside the message,
// so that an envelope, a structure, a preview or one part can be had later without
// reading the whole again. The package does no I/O of its own and knows nobody.
package message

import (
	"fmt"
	"log/slog"
	"strings"

	"pli/mail"
)

// Limits bound what Scan accepts. A zero field means its default.
type Limits struct {
	HeaderSize int // octets of one header block; 256 KiB
	Depth      int // multiparts and embedded messages inside one another; 50
	Parts      int // parts of every kind, containers included; 1,000
	HeadersSum int // octets of all header blocks together; 1 MiB
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.HeaderSize, 256<<10)
	set(&l.Depth, 50)
	set(&l.Parts, 1000)
	set(&l.HeadersSum, 1<<20)
	return l
}

// Outline is what Scan keeps of a message: its header block as it is, the tree of its
// parts, its size and the first words of its text. It prints as "[outline]".
type Outline struct {
	Header  []byte // raw header block with the empty line that ends it
	Root    *Part
	Size    int64  // octets of the whole message; for an embedded message, of that one
	Preview string // up to 160 characters of readable text, UTF-8; "" in an embedded message

	// ReversePath is that of the envelope the message came in. Scan does not know it:
	// whoever took the message in sets it. "" is <>, or a message that came in none.
	ReversePath string
}

// Part is one entity of a message: a leaf, a multipart with Children, or a
// message/rfc822 with what is Embedded in it. All offsets count octets from the start
// of the outermost message.
//
// HeaderStart ≤ BodyStart ≤ End. The bytes from HeaderStart to BodyStart are the
// part's own header with its empty line, those from BodyStart to End its body; the
// line break before a boundary belongs to the boundary (RFC 2046 §5.1.1).
type Part struct {
	MediaType string            // lower case: "text", "multipart", "message"…
	Subtype   string            // lower case: "plain", "mixed", "rfc822"…
	Params    map[string]string // of Content-Type, decoded (RFC 2047, 2231); names in lower case

	Disposition       string // lower case: "", "inline", "attachment"
	DispositionParams map[string]string
	Filename          string // decoded; from Content-Disposition, else the name of Content-Type
	ContentID         string // with its angle brackets, as written
	Description       string // decoded
	Encoding          string // lower case; "" when not said, meaning 7bit
	MD5               string
	Language          []string
	Location          string

	HeaderStart, BodyStart, End int64
	Lines                       int64 // line feeds between BodyStart and End

	Children []*Part  // of a multipart
	Embedded *Outline // of a message/rfc822 that is not itself encoded; its Root starts at BodyStart
}

// Size is the length of the body in octets, still encoded.
func (p *Part) Size() int64 { return p.End - p.BodyStart }

// Type is "text/plain" and the like.
func (p *Part) Type() string { return p.MediaType + "/" + p.Subtype }

// Is reports whether the part is of that type ("text/plain"), in lower case.
func (p *Part) Is(mediaType string) bool { return p.Type() == mediaType }

// Attached reports whether the part is something to open rather than to read in place:
// a leaf that has a file name, is marked as an attachment, or is not text.
func (p *Part) Attached() bool {
	if p.MediaType == "multipart" {
		return false
	}
	return p.Filename != "" || p.Disposition == "attachment" || p.MediaType != "text"
}

func (o *Outline) String() string             { return "[outline]" }
func (o *Outline) GoString() string           { return "[outline]" }
func (o *Outline) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[outline]") }
func (o *Outline) LogValue() slog.Value       { return slog.StringValue("[outline]") }
func (p *Part) String() string                { return "[part]" }
func (p *Part) GoString() string              { return "[part]" }
func (p *Part) Format(f fmt.State, _ rune)    { fmt.Fprint(f, "[part]") }
func (p *Part) LogValue() slog.Value          { return slog.StringValue("[part]") }

// Part finds a part by its IMAP path (RFC 9051 §6.4.5.1): [2, 1] is the first child of
// the second; [1] of a message that is no multipart is its only part; a path goes on
// into an embedded message. An empty path is the root. It is nil where there is none.
func (o *Outline) Part(path ...int) *Part {
	p := o.Root
	for i, n := range path {
		first := i == 0 // whether n counts from the root of a message
		if i > 0 && p.MediaType != "multipart" && p.Embedded != nil {
			p, first = p.Embedded.Root, true
		}
		switch {
		case p.MediaType == "multipart" && n >= 1 && n <= len(p.Children):
			p = p.Children[n-1]
		case p.MediaType != "multipart" && first && n == 1: // the only part of its message
		default:
			return nil
		}
	}
	return p
}

// Walk calls f for every part, parents first, with its IMAP path; what is embedded in a
// message/rfc822 is left out. The root of a message that is no multipart has the path
// [1], a multipart root has none. The path is f's to keep.
func (o *Outline) Walk(f func(path []int, p *Part)) {
	if o.Root == nil {
		return
	}
	if o.Root.MediaType != "multipart" {
		f([]int{1}, o.Root)
		return
	}
	walk(nil, o.Root, f)
}

func walk(path []int, p *Part, f func([]int, *Part)) {
	f(path, p)
	for i, c := range p.Children {
		walk(append(path[:len(path):len(path)], i+1), c, f)
	}
}

// Attachment is an attached part and its IMAP path.
type Attachment struct {
	Path []int
	Part *Part
}

// Attachments lists the attached parts in order (see Part.Attached). An attached
// message counts as one.
func (o *Outline) Attachments() []Attachment {
	var as []Attachment
	o.Walk(func(path []int, p *Part) {
		if p.Attached() {
			as = append(as, Attachment{path, p})
		}
	})
	return as
}

// Text finds the first readable part of type text/plain, and HTML of type text/html,
// that are not attached. Both are nil where there is none.
func (o *Outline) Text() *Attachment { return o.readable("plain") }

// HTML: see Text.
func (o *Outline) HTML() *Attachment { return o.readable("html") }

func (o *Outline) readable(subtype string) *Attachment {
	var found *Attachment
	o.Walk(func(path []int, p *Part) {
		if found == nil && p.MediaType == "text" && p.Subtype == subtype && !p.Attached() {
			found = &Attachment{path, p}
		}
	})
	return found
}

// XDMSubject begins the subject of a mail that carries documents (mssante.md §7.1).
const XDMSubject = "XDM/1.0/DDM"

// IsXDM reports whether a part is an IHE_XDM archive: it bears that file name, case
// ignored, or it is a ZIP in a message whose subject says so (mssante.md §7.1).
func (o *Outline) IsXDM(p *Part) bool {
	if strings.EqualFold(p.Filename, "IHE_XDM.ZIP") {
		return true
	}
	zip := p.Is("application/zip") || p.Is("application/x-zip-compressed") ||
		strings.HasSuffix(strings.ToLower(p.Filename), ".zip")
	return zip && strings.HasPrefix(o.Fields().Subject(), XDMSubject)
}

// XDM lists the archives of a message. A report (DSN, MDN) that gives a document mail
// back carries none: its documents were sent before.
func (o *Outline) XDM() []Attachment {
	if o.IsReport() {
		return nil
	}
	var as []Attachment
	for _, a := range o.Attachments() {
		if o.IsXDM(a.Part) {
			as = append(as, a)
		}
	}
	return as
}

// HasXDM reports whether the message is a document mail: it carries an archive, or its
// subject says that it does (mssante.md §7.1, detection rule).
func (o *Outline) HasXDM() bool {
	if o.IsReport() {
		return false
	}
	return len(o.XDM()) > 0 || strings.HasPrefix(o.Fields().Subject(), XDMSubject)
}

// IsReport reports whether the message is a multipart/report (RFC 6522): a DSN, an MDN.
func (o *Outline) IsReport() bool {
	return o.Root != nil && o.Root.Is("multipart/report")
}

// ReceiptTo is whom an MDN may be sent to without asking anybody: the one address that
// the message asks to be told at, when it is the reverse-path it came from, and when no
// machine wrote it. Otherwise it is zero: two servers must not answer each other for
// ever (mssante.md §7.3; RFC 8098 §2.1).
func (o *Outline) ReceiptTo() mail.Address {
	f := o.Fields()
	asked := f.DispositionNotificationTo()
	auto := f.Get("Auto-Submitted")
	if len(asked) != 1 || o.ReversePath == "" || o.IsReport() || auto != "" && !strings.EqualFold(auto, "no") {
		return mail.Address{}
	}
	to := asked[0].Mail()
	if to != (Person{Address: o.ReversePath}).Mail() {
		return mail.Address{}
	}
	return to
}

// HumanSubject is a subject as people should read it, without XDM/1.0/DDM+ (ECO.3.1.3).
func HumanSubject(s string) string {
	for _, prefix := range []string{XDMSubject + "+", XDMSubject} {
		if i := strings.Index(s, prefix); i >= 0 {
			return strings.TrimSpace(s[:i] + strings.TrimLeft(s[i+len(prefix):], " "))
		}
	}
	return s
}
