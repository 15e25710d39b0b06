package imapd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pli/internal/pg"
	"pli/mail"
	"pli/mailstore"
)

// Another process deposits, changes and removes; a client in IDLE is told at once, in
// an order that keeps its numbers right.
func TestIdleAcrossProcesses(t *testing.T) {
	h := newHouse(t)
	for i := range 3 {
		h.put(fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	w, other := h.inbox(), h.inbox()
	w.send("a IDLE\r\n")
	if l := w.line(); l != "+ idling" {
		t.Fatal(l)
	}
	h.put("Subject: nouveau\r\n\r\n")
	if l := w.line(); l != "* 4 EXISTS" {
		t.Error(l)
	}
	other.ok("STORE 2 +FLAGS (\\Flagged)")
	if l := w.line(); l != "* 2 FETCH (UID 2 FLAGS (\\Flagged))" {
		t.Error(l)
	}
	other.ok("STORE 1,3 +FLAGS.SILENT (\\Deleted)")
	if got := []string{w.line(), w.line()}; !slices.Equal(got, []string{"* 1 FETCH (UID 1 FLAGS (\\Deleted))", "* 3 FETCH (UID 3 FLAGS (\\Deleted))"}) {
		t.Error(got)
	}
	other.ok("EXPUNGE")
	if got := []string{w.line(), w.line()}; !slices.Equal(got, []string{"* 3 EXPUNGE", "* 1 EXPUNGE"}) {
		t.Error(got)
	}
	other.ok("APPEND INBOX (\\Seen) {21+}\r\nSubject: brouil\r\n\r\na\n")
	if l := w.line(); l != "* 3 EXISTS" {
		t.Error(l)
	}
	w.send("DONE\r\n")
	if untagged, tagged := w.until("a"); len(untagged) != 0 || !strings.HasPrefix(tagged, "OK") {
		t.Error(untagged, tagged)
	}
	if got := w.ok("FETCH 1:* (UID FLAGS)"); !slices.Equal(got, []string{"* 1 FETCH (UID 2 FLAGS (\\Flagged))", "* 2 FETCH (UID 4 FLAGS ())", "* 3 FETCH (UID 5 FLAGS (\\Seen))"}) {
		t.Error(got)
	}
}

// Without Redis the client still learns of new mail, only later.
func TestIdleWithoutRedis(t *testing.T) {
	h := newHouse(t)
	w := h.inbox()
	w.send("a IDLE\r\n")
	w.line()
	h.redis.Close()
	if _, err := h.file("Subject: nouveau\r\n\r\n", mailstore.Deposit{BAL: h.bal}); err != nil {
		t.Fatal(err)
	}
	if l := w.line(); l != "* 1 EXISTS" {
		t.Error(l)
	}
}

func TestIdleWithoutMailboxAndCutShort(t *testing.T) {
	h := newHouse(t)
	w := h.login()
	w.send("a IDLE\r\n")
	w.line()
	w.send("done\r\n")
	if _, tagged := w.until("a"); !strings.HasPrefix(tagged, "OK") {
		t.Error(tagged)
	}
	w.send("b IDLE\r\n")
	w.line()
	_ = w.c.Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		h.server.mu.Lock()
		left := h.server.total
		h.server.mu.Unlock()
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a session outlives its connection")
		}
	}
}

// Numbers stay as the client knows them until a command after which they may change.
func TestNoExpungeWhileNumbersAreInUse(t *testing.T) {
	h := newHouse(t)
	for i := range 3 {
		h.put(fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	a, b := h.inbox(), h.inbox()
	b.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
	b.ok("EXPUNGE")
	h.put("Subject: nouveau\r\n\r\n")
	if d := cmp.Diff([]string{"* 2 FETCH (UID 2)", "* 4 EXISTS"}, a.ok("FETCH 2 UID")); d != "" {
		t.Error(d)
	}
	if got := a.ok("STORE 3 +FLAGS (\\Seen)"); !slices.Equal(got, []string{"* 3 FETCH (UID 3 FLAGS (\\Seen))"}) {
		t.Error(got)
	}
	if got := a.ok("SEARCH ALL"); !slices.Equal(got, []string{"* SEARCH 2 3 4"}) {
		t.Error(got)
	}
	if got := a.ok("NOOP"); !slices.Equal(got, []string{"* 1 EXPUNGE", "* 3 EXISTS"}) && !slices.Equal(got, []string{"* 1 EXPUNGE"}) {
		t.Error(got)
	}
	if got := a.ok("FETCH 1:* UID"); !slices.Equal(got, []string{"* 1 FETCH (UID 2)", "* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)"}) {
		t.Error(got)
	}
}

// Two clients that change the same mailbox at the same time end with the same view.
func TestSessionsConverge(t *testing.T) {
	h := newHouse(t)
	for i := range 20 {
		h.put(fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	a, b := h.inbox(), h.inbox()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 10 {
			a.ok("STORE %d +FLAGS ($label%d)", 1+i%5, 1+i%5)
			a.ok("UID STORE %d +FLAGS.SILENT (\\Deleted)", 2*i+1)
			a.ok("EXPUNGE")
		}
	}()
	for i := range 10 {
		b.ok("UID FETCH 1:* FLAGS")
		b.ok("UID STORE %d +FLAGS.SILENT (\\Seen)", 2*i+2)
		h.put("Subject: entre\r\n\r\n")
		b.ok("NOOP")
	}
	<-done
	a.ok("NOOP")
	b.ok("NOOP")
	got, want := a.ok("FETCH 1:* (UID FLAGS)"), b.ok("FETCH 1:* (UID FLAGS)")
	if d := cmp.Diff(want, got); d != "" || len(got) != 20 {
		t.Errorf("%d messages, %s", len(got), d)
	}
	fresh := h.inbox().ok("FETCH 1:* (UID FLAGS)")
	if d := cmp.Diff(fresh, got); d != "" {
		t.Error(d)
	}
}

// A mailbox that somebody deletes while it is selected goes quietly.
func TestDeletedWhileSelected(t *testing.T) {
	h := newHouse(t)
	w := h.login()
	w.ok("CREATE Cabinet")
	w.ok("SELECT Cabinet")
	h.login().ok("DELETE Cabinet")
	w.ok("NOOP")
	w.refused("NO [NONEXISTENT] ", "EXPUNGE")
	w.ok("SELECT INBOX")
}

func (h *house) flag(mb mailstore.Mailbox, uid mail.UID, f mailstore.Flags) {
	h.t.Helper()
	h.in(func(ctx context.Context, tx *pg.Tx) error {
		_, _, err := h.mail.StoreFlagsTx(ctx, tx, mb.ID, []mail.UID{uid}, mailstore.FlagStore{Op: mailstore.AddFlags, Flags: f})
		return err
	})
}

// Flags set by the webmail show between two commands.
func TestFlagsSetElsewhere(t *testing.T) {
	h := newHouse(t)
	h.put("Subject: x\r\n\r\n")
	w := h.inbox()
	h.flag(h.box(mail.Inbox), 1, mailstore.Answered)
	if got := w.ok("NOOP"); !slices.Equal(got, []string{"* 1 FETCH (UID 1 FLAGS (\\Answered))"}) {
		t.Error(got)
	}
}
