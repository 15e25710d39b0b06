package mailstore

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"pli/fault"
	"pli/mail"
)

// Separator parts the levels of a mailbox name.
const Separator = '/'

// maxNameSize bounds a mailbox name, in octets of UTF-8.
const maxNameSize = 400

// StandardName is the visible name of a standard mailbox.
func StandardName(r mail.Role) string {
	switch r {
	case mail.Inbox:
		return "INBOX"
	case mail.Drafts:
		return "Brouillons"
	case mail.Sent:
		return "Envoyés"
	case mail.Archive:
		return "Archives"
	case mail.Junk:
		return "Indésirables"
	case mail.Trash:
		return "Corbeille"
	}
	return ""
}

// RoleOf says which standard mailbox a name means: its own name, or one of those that
// mail clients invent in English and French (imapwiki.org, SpecialUse). Letter case
// and accents do not count. Such a name never makes a second mailbox.
func RoleOf(name string) (mail.Role, bool) {
	switch fold(name) {
	case "inbox", "boite de reception", "courrier entrant":
		return mail.Inbox, true
	case "brouillons", "brouillon", "drafts", "draft":
		return mail.Drafts, true
	case "envoyes", "envoye", "elements envoyes", "messages envoyes", "courrier envoye", "courriers envoyes",
		"sent", "sent items", "sent messages", "sent mail", "sent-mail", "sentbox", "outgoing":
		return mail.Sent, true
	case "archives", "archive", "archived", "archived messages", "messages archives":
		return mail.Archive, true
	case "indesirables", "indesirable", "courrier indesirable", "courriers indesirables", "pourriels", "pourriel",
		"junk", "spam", "junk e-mail", "junk email", "junk mail", "bulk mail", "bulk":
		return mail.Junk, true
	case "corbeille", "elements supprimes", "messages supprimes", "courrier supprime", "trash", "bin",
		"deleted", "deleted items", "deleted messages", "deleted mail":
		return mail.Trash, true
	}
	return "", false
}

// fold lowers case and takes accents off.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(s))
}

// Canonical gives the one spelling of a mailbox name: NFC, no separator at the end,
// and the standard name where the first level is an alias of it. fault.Invalid when
// the name cannot be one.
func Canonical(name string) (string, error) {
	const op = "mailstore.Canonical"
	name = norm.NFC.String(strings.TrimSuffix(name, string(Separator)))
	if name == "" || len(name) > maxNameSize || !utf8.ValidString(name) {
		return "", fault.New(fault.Invalid, op, "mailbox-name")
	}
	levels := strings.Split(name, string(Separator))
	if len(levels) > 10 {
		return "", fault.New(fault.Invalid, op, "mailbox-depth")
	}
	for _, l := range levels {
		if l == "" || strings.TrimSpace(l) != l || strings.ContainsFunc(l, forbidden) {
			return "", fault.New(fault.Invalid, op, "mailbox-name")
		}
	}
	if r, ok := RoleOf(levels[0]); ok {
		levels[0] = StandardName(r)
	}
	return strings.Join(levels, string(Separator)), nil
}

func forbidden(r rune) bool {
	return r == '*' || r == '%' || r == utf8.RuneError || unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// cleanKeywords drops empty and repeated keywords and those with a space in them.
func cleanKeywords(ks []string) []string {
	seen := make(map[string]bool, len(ks))
	var out []string
	for _, k := range ks {
		l := strings.ToLower(k)
		if k == "" || strings.ContainsAny(k, " \t\r\n") || seen[l] {
			continue
		}
		seen[l] = true
		out = append(out, k)
	}
	return out
}
