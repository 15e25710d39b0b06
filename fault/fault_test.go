package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"pli/fault"
)

// Each kind has one face per protocol; this is the table of the house, spelled again.
func TestFaces(t *testing.T) {
	type face struct {
		smtp string
		imap string
		http int
	}
	want := map[fault.Kind]face{
		fault.Internal:        {"451 4.3.0", "SERVERBUG", 500},
		fault.Invalid:         {"501 5.5.4", "CANNOT", 400},
		fault.InvalidAddress:  {"553 5.1.3", "CANNOT", 400},
		fault.InvalidContent:  {"550 5.6.0", "CANNOT", 400},
		fault.Unauthenticated: {"530 5.7.0", "AUTHENTICATIONFAILED", 401},
		fault.WrongSecret:     {"535 5.7.8", "AUTHENTICATIONFAILED", 401},
		fault.Forbidden:       {"550 5.7.1", "NOPERM", 403},
		fault.NotFound:        {"550 5.1.1", "NONEXISTENT", 404},
		fault.Withheld:        {"550 5.1.1", "NONEXISTENT", 404},
		fault.Closed:          {"550 5.2.1", "NOPERM", 410},
		fault.Conflict:        {"451 4.3.0", "ALREADYEXISTS", 409},
		fault.TooLarge:        {"552 5.3.4", "TOOBIG", 413},
		fault.Quota:           {"452 4.2.2", "OVERQUOTA", 422},
		fault.RateLimited:     {"450 4.7.1", "LIMIT", 429},
		fault.Untrusted:       {"554 5.7.1", "PRIVACYREQUIRED", 403},
		fault.Infected:        {"554 5.7.0", "CANNOT", 422},
		fault.Unavailable:     {"451 4.3.0", "UNAVAILABLE", 503},
		fault.Timeout:         {"451 4.3.0", "UNAVAILABLE", 504},
		fault.Corrupt:         {"451 4.3.0", "CORRUPTION", 500},
	}
	for _, k := range fault.Kinds() {
		w, ok := want[k]
		if !ok {
			t.Errorf("%v has no row in this table", k)
			continue
		}
		r := k.SMTP()
		got := face{fmt.Sprintf("%d %d.%d.%d", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2]), k.IMAP(), k.HTTP()}
		if got != w {
			t.Errorf("%v: %v, want %v", k, got, w)
		}
		if r.Code/100 != r.Enhanced[0] {
			t.Errorf("%v: %d and %v disagree on permanence", k, r.Code, r.Enhanced)
		}
		if x := k.Text(); x.FR == "" || x.EN == "" {
			t.Errorf("%v has no text for people", k)
		}
	}
}

func TestWhatMustNotBeToldLooksLikeNotFound(t *testing.T) {
	a, b := fault.Withheld, fault.NotFound
	if a.SMTP() != b.SMTP() || a.IMAP() != b.IMAP() || a.HTTP() != b.HTTP() || a.Text() != b.Text() {
		t.Error("Withheld can be told from NotFound")
	}
}

func TestKindOf(t *testing.T) {
	inner := fault.New(fault.Quota, "mailstore.DepositTx", "over-quota").Say("Pleine.", "Full.")
	outer := fmt.Errorf("pipeline: %w", fault.Wrap(fault.Forbidden, "gate.Do", "", inner))
	for _, c := range []struct {
		err  error
		kind fault.Kind
		code string
	}{
		{inner, fault.Quota, "over-quota"},
		{outer, fault.Forbidden, "over-quota"},
		{io.ErrUnexpectedEOF, fault.Internal, ""},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), fault.Timeout, ""},
	} {
		if got := fault.KindOf(c.err); got != c.kind {
			t.Errorf("KindOf(%v) = %v, want %v", c.err, got, c.kind)
		}
		if got := fault.CodeOf(c.err); got != c.code {
			t.Errorf("CodeOf(%v) = %q, want %q", c.err, got, c.code)
		}
	}
	if got := fault.TextOf(outer).FR; got != "Pleine." {
		t.Errorf("the text is lost under a wrap: %q", got)
	}
	if fault.Wrap(fault.Quota, "x", "", nil) != nil {
		t.Error("Wrap(nil) is an error")
	}
	if fault.Is(nil, fault.Internal) {
		t.Error("no error has no kind")
	}
}

func TestAPanicKeepsItsTextToItself(t *testing.T) {
	err := fault.Panic("smtpd.data", errors.New("Jeanne Petit"))
	if got := err.Error(); got != "smtpd.data: internal [panic-*errors.errorString]" {
		t.Error(got)
	}
}
