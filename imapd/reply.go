package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"pli/fault"
)

// reply turns a failure into the tagged answer of a command: the one place where a
// fault meets IMAP (RFC 9051 §7.1, RFC 5530). Every session method returns through it.
func reply(err error) error {
	if err == nil {
		return nil
	}
	code := imap.ResponseCode(fault.KindOf(err).IMAP())
	if fault.CodeOf(err) == "has-children" {
		code = imap.ResponseCodeHasChildren
	}
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: textOf(err)}
}

// replyTarget is reply for a command that names a mailbox to put something in: one
// that is missing may be made first (RFC 9051 §6.3.12).
func replyTarget(err error) error {
	if fault.Is(err, fault.NotFound) {
		return &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeTryCreate, Text: textOf(err)}
	}
	return reply(err)
}

// textOf is what the client shows. The general texts of fault are about sending mail;
// at this door some speak of folders.
func textOf(err error) string {
	t := fault.TextOf(err)
	if t == fault.KindOf(err).Text() {
		switch fault.KindOf(err) {
		case fault.NotFound, fault.Withheld:
			t = fault.Text{FR: "Ce dossier n'existe pas (ou plus).", EN: "This folder does not exist (any more)."}
		case fault.Forbidden:
			t = fault.Text{FR: "Cette action n'est pas autorisée ici.", EN: "This is not allowed here."}
		case fault.Quota:
			t = fault.Text{FR: "Votre boîte est pleine.", EN: "Your mailbox is full."}
		case fault.Conflict:
			if fault.CodeOf(err) == "mailbox-exists" {
				t = fault.Text{FR: "Ce dossier existe déjà.", EN: "This folder already exists."}
			}
		}
	}
	return bilingual(t)
}

// bilingual puts both languages on one line.
func bilingual(t fault.Text) string {
	s := t.FR
	if t.EN != "" {
		s += " / " + t.EN
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// restarting is said to whoever is connected at a stop.
var restarting = fault.Text{FR: "Le service redémarre. Reconnectez-vous.", EN: "The service restarts. Please reconnect."}

// readOnly is the refusal of a change where only reading is possible.
func readOnly(op string) error {
	return fault.New(fault.Forbidden, op, "read-only").Say("Ce dossier est ouvert en lecture seule.", "This folder is open for reading only.")
}

// suspended is the refusal of any change in a BAL that opens for reading only.
func suspended(op string) error {
	return fault.New(fault.Forbidden, op, "read-only-bal").Say("Votre boîte est suspendue : elle se lit et s'exporte, rien n'y change.",
		"Your mailbox is suspended: it may be read and exported, nothing in it changes.")
}
