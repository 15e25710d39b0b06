// Package mail holds the words of mail: addresses, envelopes, UIDs and flags. It
// reads and prints them and does no I/O.
package mail

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unique"

	"pli/fault"
)

// Address is a mail address, lower-cased, ASCII, local@domain. Printing it shows
// "[address]": the text is had by Reveal only, so that a search for that word lists
// every use. Two equal addresses compare equal with ==. The zero Address is none.
type Address struct{ text unique.Handle[string] }

var none unique.Handle[string]

// ParseAddress reads local@domain. The local part has 1 to 64 octets of letters,
// digits and . - _ + ' (mssante.md §3.3 and what peers really use); the domain has
// at least two labels of letters, digits and hyphens, 253 octets in all.
func ParseAddress(s string) (Address, error) {
	const op = "mail.ParseAddress"
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > 64 || len(s)-at-1 > 253 {
		return Address{}, fault.New(fault.InvalidAddress, op, "shape")
	}
	s = strings.ToLower(s)
	local, domain := s[:at], s[at+1:]
	for i := 0; i < len(local); i++ {
		if c := local[i]; !letterOrDigit(c) && !strings.ContainsRune(".-_+'=", rune(c)) {
			return Address{}, fault.New(fault.InvalidAddress, op, "local-part")
		}
	}
	if local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return Address{}, fault.New(fault.InvalidAddress, op, "local-part")
	}
	if !ValidDomain(domain) {
		return Address{}, fault.New(fault.InvalidAddress, op, "domain")
	}
	return Address{unique.Make(s)}, nil
}

// MustAddress is ParseAddress for constants and tests.
func MustAddress(s string) Address {
	a, err := ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// ValidDomain reports whether s is a host name of at least two labels
// (RFC 1123 §2.1), lower case.
func ValidDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	if len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for i := 0; i < len(l); i++ {
			if !letterOrDigit(l[i]) && l[i] != '-' {
				return false
			}
		}
	}
	return true
}

func letterOrDigit(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// IsZero reports whether there is no address.
func (a Address) IsZero() bool { return a.text == none }

// Reveal returns the text. Do not log, measure or put in a URL what it returns.
func (a Address) Reveal() string {
	if a.IsZero() {
		return ""
	}
	return a.text.Value()
}

// Local returns the part before the @. It tells about a person: treat it as Reveal.
func (a Address) Local() string {
	s := a.Reveal()
	return s[:max(0, strings.LastIndexByte(s, '@'))]
}

// Domain returns the part after the @.
func (a Address) Domain() string {
	s := a.Reveal()
	return s[strings.LastIndexByte(s, '@')+1:]
}

func (a Address) String() string             { return "[address]" }
func (a Address) GoString() string           { return "[address]" }
func (a Address) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[address]") }
func (a Address) LogValue() slog.Value       { return slog.StringValue("[address]") }

// UID, UIDValidity and ModSeq are those of RFC 9051 §2.3.1.1 and RFC 7162 §3.1.
type (
	UID         uint32
	UIDValidity uint32
	ModSeq      uint64
)

// Envelope is what MAIL and RCPT said (RFC 5321 §2.3.1). A zero ReversePath is <>.
type Envelope struct {
	ReversePath Address
	Recipients  []Recipient
	Return      Return // RET (RFC 3461 §4.3)
	EnvelopeID  string // ENVID (RFC 3461 §4.4), decoded
}

// Recipient is one RCPT with its DSN wishes (RFC 3461 §4.1, §4.2).
type Recipient struct {
	Address  Address
	Notify   Notify
	Original string // ORCPT address, decoded; "" when not given
}

// Return says how much of the message a failure DSN carries back. The zero value is
// HDRS: health content is not copied around without being asked for.
type Return uint8

const (
	ReturnHeaders Return = iota
	ReturnFull
)

// Notify is the set of events a sender wants to be told of (RFC 3461 §4.1). The zero
// value is the default: failures and delays.
type Notify uint8

const (
	NotifyDefault Notify = 0
	NotifyNever   Notify = 1 << (iota - 1)
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Wants reports whether the sender is to be told of event.
func (n Notify) Wants(event Notify) bool {
	if n == NotifyDefault {
		return event == NotifyFailure || event == NotifyDelay
	}
	return n&NotifyNever == 0 && n&event != 0
}

// Role is what a standard mailbox is for (RFC 6154). User-made mailboxes have none.
type Role string

const (
	Inbox   Role = "inbox"
	Drafts  Role = "drafts"
	Sent    Role = "sent"
	Archive Role = "archive"
	Junk    Role = "junk"
	Trash   Role = "trash"
)

// Roles lists the standard mailboxes in the order they are made and shown.
func Roles() []Role { return []Role{Inbox, Drafts, Sent, Archive, Junk, Trash} }

// MaxFuture bounds a client's claimed dates: beyond it they are taken as now.
const MaxFuture = 24 * time.Hour
