package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/id"
	"pli/mail"
)

// maxHops is how many Received fields tell a message that goes round in circles
// (RFC 5321 §6.3).
const maxHops = 50

// checkHeader refuses a header that would let a message say who it is from in two ways,
// and returns the author.
//
// Errors: fault.InvalidContent.
func checkHeader(raw []byte, f *message.Fields) (author message.Person, err error) {
	const op = "pipeline.checkHeader"
	if len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\t') { // it would continue our own field
		return author, fault.New(fault.InvalidContent, op, "begins-folded")
	}
	for _, name := range []string{"From", "Sender", "Reply-To", "X-MSS-MES"} {
		if f.Count(name) > 1 {
			return author, fault.New(fault.InvalidContent, op, "field-twice").Say(
				"Ce message indique deux fois "+name+".", "This message states "+name+" twice.")
		}
	}
	if f.Count("Received") > maxHops {
		return author, fault.New(fault.InvalidContent, op, "loop").Say(
			"Ce message tourne en rond.", "This message goes round in circles.")
	}
	from := f.From()
	if len(from) != 1 || from[0].Mail().IsZero() || f.Grouped("From") {
		return author, fault.New(fault.InvalidContent, op, "from").Say(
			"Ce message n'indique pas, ou mal, de qui il vient (From).",
			"This message does not state, or states badly, who it is from (From).")
	}
	if feigns(from[0]) {
		return author, fault.New(fault.Forbidden, op, "feigned-name").Say(
			"Le nom affiché de l'expéditeur imite une autre adresse.",
			"The displayed name of the sender imitates another address.")
	}
	return from[0], nil
}

// feigns reports whether the displayed name shows an address that is not the real one.
func feigns(p message.Person) bool {
	for _, word := range strings.FieldsFunc(p.Shown(), func(r rune) bool { return strings.ContainsRune(" \t\u00a0<>()[]\"',;:", r) }) {
		shown, err := mail.ParseAddress(strings.Trim(word, "."))
		if err == nil && shown != p.Mail() {
			return true
		}
	}
	return false
}

// fromPeer checks the header of a message that a peer brings: its author is of a domain
// that the peer's certificate may send for (mssante.md §12.2).
func (p *Pipeline) fromPeer(peer Peer) func(id.Letter, time.Time, []byte) ([]byte, error) {
	return func(letter id.Letter, at time.Time, raw []byte) ([]byte, error) {
		f := message.ParseFields(raw)
		author, err := checkHeader(raw, f)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(peer.Domains, author.Mail().Domain()) {
			return nil, fault.New(fault.Forbidden, "pipeline.fromPeer", "from-domain").Say(
				"L'adresse From n'est pas d'un domaine que ce serveur peut représenter.",
				"The From address is not of a domain that this server may send for.")
		}
		trace := p.received(fmt.Sprintf("from %s ([%s])", hostWord(peer.Name), hostWord(peer.Address)), "ESMTPS", peer.TLS, letter, at)
		// A Return-Path is ours to write, at final delivery (RFC 5321 §4.4).
		return append([]byte(trace), message.WithoutFields(raw, "Return-Path")...), nil
	}
}

// received writes our trace field (RFC 5321 §4.4, RFC 3848). It names no recipient:
// all share the letter.
func (p *Pipeline) received(from, protocol, tls string, letter id.Letter, at time.Time) string {
	s := "Received: "
	if from != "" {
		s += from + "\r\n\t"
	}
	s += "by " + hostWord(p.d.Config.Hostname) + " with " + protocol + " id " + letter.String()
	if tls != "" {
		s += "\r\n\t(" + hostWord(tls) + ")"
	}
	return s + ";\r\n\t" + at.In(p.d.Zone).Format(dateLayout) + "\r\n"
}

const dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"

// hostWord keeps what a host name, an address or a TLS suite is made of, so that nothing
// a peer says in EHLO can begin a field of its own.
func hostWord(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_:[]", r) {
			return r
		}
		return -1
	}, s[:min(len(s), 255)])
	if s == "" {
		return "unknown"
	}
	return s
}

// fromSender checks the header of a message that one of our people sends, and completes
// it (RFC 6409 §8): own says whether an address is the sender's.
func (p *Pipeline) fromSender(protocol string, own func(mail.Address) (bool, error)) func(id.Letter, time.Time, []byte) ([]byte, error) {
	return func(letter id.Letter, at time.Time, raw []byte) ([]byte, error) {
		f := message.ParseFields(raw)
		author, err := checkHeader(raw, f)
		if err != nil {
			return nil, err
		}
		for _, person := range append(f.Sender(), author) {
			if mine, err := own(person.Mail()); err != nil {
				return nil, err
			} else if !mine {
				return nil, notYours()
			}
		}
		trace := p.received("", protocol, "", letter, at)
		if !f.Has("Date") {
			trace += "Date: " + at.In(p.d.Zone).Format(dateLayout) + "\r\n"
		}
		if !f.Has("Message-ID") {
			trace += "Message-ID: <" + message.NewMessageID(author.Mail().Domain()) + ">\r\n"
		}
		// All recipients get the same letter: nobody is to read who else got it in secret
		// (RFC 5322 §3.6.3).
		return append([]byte(trace), message.WithoutFields(raw, "Bcc", "Resent-Bcc", "Return-Path")...), nil
	}
}

func notYours() error {
	return fault.New(fault.Forbidden, "pipeline.fromSender", "not-your-address").Say(
		"L'adresse d'expéditeur n'est pas celle de votre boîte.",
		"The sender's address is not that of your mailbox.")
}

// asItIs keeps a header block as it came.
func asItIs(_ id.Letter, _ time.Time, raw []byte) ([]byte, error) { return raw, nil }
