package imapd

import (
	"strings"
	"testing"
	"time"

	"pli/fault"
)

// A connection on which nothing happens loses its right like any other: in IDLE without
// a mailbox, after sign-in without a word, with a mailbox and no word (DIR-07). Nothing
// is asked of the client, and nothing happens in its BAL: only the clock goes on.
func TestRightLostWhereNothingHappens(t *testing.T) {
	h := newHouse(t)
	mute, selected, idle, waiting := h.login(), h.inbox(), h.login(), h.inbox()
	idle.send("a IDLE\r\n")
	idle.line()
	waiting.send("a IDLE\r\n")
	waiting.line()
	stranger := h.dial() // has not signed in: has no right to lose
	h.suspended.Store(true)
	h.later.Store(int64(askAgain - time.Minute))
	time.Sleep(4 * h.server.watchEvery)
	mute.ok("NOOP") // too early
	h.later.Store(int64(askAgain))
	for name, w := range map[string]*wire{"mute": mute, "selected": selected, "idle": idle, "waiting": waiting} {
		got := w.rest()
		if !strings.HasPrefix(got, "* BYE Votre inscription à l'annuaire n'est plus active : votre boîte passe en lecture seule.") || strings.Count(got, "\r\n") != 1 {
			t.Errorf("%s: %q", name, got)
		}
	}
	stranger.ok("NOOP")
	if askAgain+watchEvery+askTimeout > 15*time.Minute {
		t.Error("more than 15 minutes")
	}
	h.readOnly = true
	w := h.login()
	lines, tagged := w.do("SELECT INBOX")
	if !strings.HasPrefix(tagged, "OK [READ-ONLY] ") || !strings.Contains(strings.Join(lines, "\n"), "[PERMANENTFLAGS ()]") {
		t.Error(lines, tagged)
	}
	h.later.Store(int64(3 * askAgain)) // it reads on, and the gate agrees
	time.Sleep(4 * h.server.watchEvery)
	w.ok("FETCH 1:* FLAGS")
}

// A gate that cannot answer ends nothing; once it can, its answer counts.
func TestRightNotAskedAgain(t *testing.T) {
	h := newHouse(t)
	w := h.inbox()
	h.unable.Store(true)
	h.later.Store(int64(askAgain))
	time.Sleep(4 * h.server.watchEvery)
	w.ok("NOOP")
	h.deny.Store(fault.New(fault.Closed, "gate", ""))
	h.unable.Store(false)
	if got := w.rest(); !strings.HasPrefix(got, "* BYE ") {
		t.Errorf("%q", got)
	}
}

// Nothing is said in the middle of a message.
func TestEndInsideAMessage(t *testing.T) {
	g := &guard{raw: true}
	g.sayBye(restarting)
	if len(g.w) != 0 || !g.isDead() {
		t.Errorf("%q, dead %v", g.w, g.isDead())
	}
}

// A mailbox of a BAL that is not suspended opens for writing, and EXAMINE for reading.
func TestSelectSaysWhatItOpensFor(t *testing.T) {
	h := newHouse(t)
	w := h.login()
	for _, c := range []struct{ command, want string }{
		{"SELECT INBOX", "OK [READ-WRITE] "}, {"EXAMINE INBOX", "OK [READ-ONLY] "}, {"SELECT INBOX", "OK [READ-WRITE] "},
	} {
		if _, tagged := w.do("%s", c.command); !strings.HasPrefix(tagged, c.want) {
			t.Errorf("%s: %s", c.command, tagged)
		}
	}
}
