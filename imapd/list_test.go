package imapd

import (
	"strings"
	"testing"

	"pli/mail"
	"pli/mailstore"
)

// A pattern of 48 KB, tried on a thousand mailboxes, kept a core busy for ten seconds.
func TestLongPatternNamesNothing(t *testing.T) {
	box := mailstore.Mailbox{Name: "INBOX", Role: mail.Inbox}
	if _, ok := nameFor(box, "", []string{strings.Repeat("%", 48<<10)}); ok {
		t.Error("it was tried")
	}
	if name, ok := nameFor(box, "", []string{strings.Repeat("%", 48<<10), "%"}); !ok || name != "INBOX" {
		t.Error("the other pattern was not")
	}
}
