package smtpd

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"pli/fault"
)

// TestFace is the table of mssante.md §12.2 where it departs from fault's own.
func TestFace(t *testing.T) {
	wrap := func(err error) error { return fault.Wrap(fault.KindOf(err), "pipeline.Inbound", "", err) }
	for _, c := range []struct {
		name string
		mode Mode
		at   stage
		err  error
		want string
	}{
		{"unknown authority", MX, atMail, fault.New(fault.Untrusted, "certs.verify", "peer-unknown-authority"), "550 5.7.1"},
		{"not listed", MX, atMail, fault.New(fault.Untrusted, "certs.PeerDomains", "peer-not-listed"), "550 5.7.1"},
		{"sender's domain", MX, atMail, fault.New(fault.Untrusted, "smtpd.Mail", "sender-domain"), "550 5.7.1"},
		{"From after DATA", MX, atData, fault.New(fault.Untrusted, "pipeline", "from"), "550 5.7.1"},
		{"white list stale", MX, atMail, fault.New(fault.Unavailable, "certs", "white-list-stale"), "451 4.7.1"},
		{"revocation lists stale", MX, atMail, fault.New(fault.Unavailable, "certs", "revocation-unusable"), "451 4.7.1"},
		{"scanner away", MX, atData, wrap(fault.New(fault.Unavailable, "clamav", "connect")), "451 4.7.1"},
		{"database away", MX, atData, wrap(fault.New(fault.Unavailable, "pg.InTx", "database")), "451 4.3.0"},
		{"relaying", MX, atRcpt, fault.New(fault.Forbidden, "gate", "R-RELAY-01"), "550 5.7.1"},
		{"domain not trusted", Submission, atRcpt, fault.New(fault.Untrusted, "gate", "R-DOM-01"), "550 5.1.2"},
		{"unknown BAL", MX, atRcpt, fault.New(fault.NotFound, "gate", "R-ADDR-01"), "550 5.1.1"},
		{"withheld BAL", MX, atRcpt, fault.New(fault.Withheld, "gate", "x"), "550 5.1.1"},
		{"closed BAL", MX, atRcpt, fault.New(fault.Closed, "gate", "x"), "550 5.2.1"},
		{"full BAL", MX, atData, fault.New(fault.Quota, "mailstore", "x"), "452 4.2.2"},
		{"malware", Submission, atData, fault.New(fault.Infected, "clamav", "x"), "554 5.7.0"},
		{"too large", Submission, atData, wrap(fmt.Errorf("read: %w", smtp.ErrDataTooLarge)), "552 5.3.4"},
		{"wrong secret", Submission, atAuth, fault.New(fault.WrongSecret, "identity", "x"), "535 5.7.8"},
		{"accounts away", Submission, atAuth, fault.New(fault.Unavailable, "identity", "x"), "454 4.7.0"},
		{"unknown", Submission, atAuth, errors.New("x"), "454 4.7.0"},
		{"stopping", MX, atMail, fault.New(fault.Unavailable, "smtpd", codeStopping), "421 4.3.2"},
	} {
		r, _ := face(c.mode, c.at, c.err)
		if got := fmt.Sprintf("%d %d.%d.%d", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2]); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A refusal that names a present address may need two lines; each has the enhanced code,
// and none is longer than the protocol allows (RFC 5321 §4.5.3.1.5, RFC 2034 §4).
func TestReplyOnTwoLines(t *testing.T) {
	short := fault.New(fault.NotFound, "x", "").Say("Non. Adresse actuelle : a@b (É).", "No. Present address: a@b (É).")
	long := fault.New(fault.NotFound, "x", "").Say("Non. "+strings.Repeat("é", 240), "No. "+strings.Repeat("è", 240))
	endless := fault.New(fault.NotFound, "x", "").Say(strings.Repeat("é\r\n", 900), strings.Repeat("è\n", 900))
	for _, c := range []struct {
		err  error
		n    int
		utf8 bool
	}{{short, 1, false}, {long, 2, false}, {long, 2, true}, {endless, 2, true}, {endless, 2, false}} {
		e, ok := reply(MX, atRcpt, c.err, c.utf8, "0123abcd").(*smtp.SMTPError)
		if !ok {
			t.Fatal("not the library's error")
		}
		ls := strings.Split(e.Message, "\n")
		if len(ls) != c.n || !strings.HasSuffix(ls[len(ls)-1], " [0123abcd]") || c.n == 2 && !strings.HasPrefix(ls[0], "5.1.1 ") {
			t.Errorf("%q", ls)
		}
		for i, l := range ls {
			if whole := "550-" + l + "\r\n"; i < len(ls)-1 && len(whole) > 512 {
				t.Errorf("%d octets", len(whole))
			}
			if whole := "550 5.1.1 " + l + "\r\n"; len(whole) > 512 || strings.ContainsAny(l, "\r\n") {
				t.Errorf("%d octets: %q", len(whole), l)
			}
		}
	}
}

func TestReplyLinesFitAndAreASCII(t *testing.T) {
	long := fault.Text{FR: strings.Repeat("é→œ ", 200), EN: "x\r\n250 forged"}
	for _, utf8 := range []bool{false, true} {
		l := line(long, "0123abcd", utf8)
		if len(l) > maxReplyText || strings.ContainsAny(l, "\r\n") || !strings.HasSuffix(l, " [0123abcd]") {
			t.Errorf("%d octets: %q", len(l), l)
		}
		for _, r := range l {
			if !utf8 && r > 0x7e {
				t.Errorf("%q in ASCII", r)
			}
		}
	}
	if got := line(fault.Text{FR: "a\r\nb", EN: "c"}, "", false); got != "a  b / c" {
		t.Errorf("%q", got)
	}
	for _, k := range fault.Kinds() {
		if l := line(k.Text(), "0123abcd", false); len(l) > 400 || strings.Contains(l, "?") && !strings.Contains(k.Text().FR, "?") {
			t.Errorf("%s: %q", k, l)
		}
	}
}
