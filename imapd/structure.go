package imapd

import (
	netmail "net/mail"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"pli/codec/message"
)

// envelope makes an ENVELOPE of header fields (RFC 9051 §7.5.2).
func envelope(f *message.Fields) *imap.Envelope {
	e := &imap.Envelope{
		Date: sentAt(f), Subject: oneLine(f.Subject()), MessageID: f.MessageID(), InReplyTo: f.InReplyTo(),
		From: addresses(f.From()), Sender: addresses(f.Sender()), ReplyTo: addresses(f.ReplyTo()),
		To: addresses(f.To()), Cc: addresses(f.Cc()), Bcc: addresses(f.Bcc()),
	}
	return e
}

// sentAt is the Date field with the sender's own time zone; zero when it says nothing
// readable.
func sentAt(f *message.Fields) time.Time {
	written := f.Get("Date")
	if d, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", written); err == nil { // as nearly all are
		return d
	}
	if d, err := netmail.ParseDate(written); err == nil {
		return d
	}
	return f.Date()
}

// addresses is nil when there is none: the sender and where to reply are then taken
// from From.
func addresses(ps []message.Person) []imap.Address {
	var out []imap.Address
	for _, p := range ps {
		at := strings.LastIndexByte(p.Address, '@')
		if at < 0 {
			// An address that cannot be read still shows its text; NIL here would
			// mean the bounds of a group.
			out = append(out, imap.Address{Name: oneLine(p.Name), Mailbox: "adresse-illisible", Host: "invalid"})
			continue
		}
		out = append(out, imap.Address{Name: oneLine(p.Name), Mailbox: p.Address[:at], Host: p.Address[at+1:]})
	}
	return out
}

// oneLine keeps control characters out of quoted strings.
func oneLine(s string) string {
	if strings.IndexFunc(s, control) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if control(r) {
			return ' '
		}
		return r
	}, s)
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// structure makes a BODYSTRUCTURE of a part and those in it (RFC 9051 §7.5.2). The
// scan bounded their depth and number.
func structure(p *message.Part) imap.BodyStructure {
	if p.MediaType == "multipart" {
		m := &imap.BodyStructureMultiPart{
			Subtype: subtype(p, "mixed"),
			Extended: &imap.BodyStructureMultiPartExt{
				Params: p.Params, Disposition: disposition(p), Language: p.Language, Location: p.Location,
			},
		}
		for _, c := range p.Children {
			m.Children = append(m.Children, structure(c))
		}
		if len(m.Children) == 0 { // the grammar wants one
			m.Children = append(m.Children, structure(&message.Part{MediaType: "text", Subtype: "plain"}))
		}
		return m
	}
	s := &imap.BodyStructureSinglePart{
		Type: p.MediaType, Subtype: subtype(p, "octet-stream"), Params: p.Params, ID: p.ContentID,
		Description: oneLine(p.Description), Encoding: p.Encoding, Size: uint32(min(p.Size(), 1<<32-1)),
		Extended: &imap.BodyStructureSinglePartExt{Disposition: disposition(p), Language: p.Language, Location: p.Location},
	}
	switch {
	case p.Is("message/rfc822") && p.Embedded != nil && p.Embedded.Root != nil:
		s.MessageRFC822 = &imap.BodyStructureMessageRFC822{
			Envelope: envelope(p.Embedded.Fields()), BodyStructure: structure(p.Embedded.Root), NumLines: p.Lines,
		}
	case p.Is("message/rfc822"): // encoded, or too deep: what is in it is not told
		s.Type = "application"
		s.Subtype = "octet-stream"
	case p.MediaType == "text":
		s.Text = &imap.BodyStructureText{NumLines: p.Lines}
	}
	return s
}

func subtype(p *message.Part, or string) string {
	if p.Subtype == "" {
		return or
	}
	return p.Subtype
}

func disposition(p *message.Part) *imap.BodyStructureDisposition {
	if p.Disposition == "" {
		return nil
	}
	return &imap.BodyStructureDisposition{Value: p.Disposition, Params: p.DispositionParams}
}
