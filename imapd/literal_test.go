package imapd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// body is what a stranger might write in a mail, hoping that it is run.
const body = "x1 NOOP\r\nx2 CAPABILITY\r\nx3 CREATE Pris\r\n"

// A literal that is refused while its octets are on the way ends the connection: none
// of them is ever run as a command.
func TestRefusedLiteralIsNeverRun(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]struct {
		signedIn bool
		head     string
	}{
		"append too large":            {true, "a APPEND INBOX {200000000+}"},
		"append beyond counting":      {true, "a APPEND INBOX {99999999999999999999999+}"},
		"append before sign-in":       {false, "a APPEND INBOX {41+}"},
		"append large before sign-in": {false, "a APPEND INBOX {5000000+}"},
		"mailbox name too large":      {true, "a SELECT {5000+}"},
		"append to a large name":      {true, "a APPEND {5000+}"},
		"unknown command":             {true, "a XYZZY {41+}"},
		"after a flag that is none":   {true, "a APPEND INBOX (\\Seen {41+}"},
		"after a date that is none":   {true, "a APPEND INBOX \"hier\" {41+}"},
		"where none belongs":          {true, "a NOOP {41+}"},
		"in a fetch":                  {true, "a FETCH 1 {41+}"},
		"with a space after it":       {true, "a XYZZY {41+} "},
		"literal8":                    {true, "a APPEND INBOX UTF8 {41+}"},
		"second message":              {true, "a APPEND INBOX {5+}\r\nhello {41+}"},
		"a tag that is none":          {true, "a* APPEND INBOX (x {41+}"},
		"no tag":                      {true, "{41+}"},
		"instead of DONE":             {true, "a IDLE\r\nb APPEND INBOX {41+}"},
		"instead of an answer":        {false, "a AUTHENTICATE PLAIN\r\nb LOGIN {41+}"},
		"inside quotes":               {true, "a SELECT \"x\r\ny z {41+}"},
	} {
		w := h.dial()
		if c.signedIn {
			w.ok("LOGIN %s %s", address, password)
		}
		w.send(c.head + "\r\n" + body)
		got := w.rest()
		if strings.Contains(got, "x1 ") || strings.Contains(got, "x2 ") || !strings.Contains(got, "* BYE ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if l := h.login().ok(`LIST "" "Pris"`); len(l) != 0 {
		t.Errorf("a line of a body was run: %v", l)
	}
}

// A client that waits is told so, nothing is asked of it, and it goes on.
func TestRefusedSynchronisingLiteral(t *testing.T) {
	h := newHouse(t)
	w := h.dial()
	if _, tagged := w.do("APPEND INBOX {41}"); !strings.HasPrefix(tagged, "BAD [CLIENTBUG] ") {
		t.Errorf("before sign-in: %s", tagged)
	}
	w.ok("LOGIN %s %s", address, password)
	if _, tagged := w.do("APPEND INBOX {200000000}"); !strings.HasPrefix(tagged, "NO [TOOBIG] Ce message ") {
		t.Errorf("too large: %s", tagged)
	}
	if _, tagged := w.do("SELECT {5000}"); !strings.HasPrefix(tagged, "NO [TOOBIG] ") {
		t.Errorf("name too large: %s", tagged)
	}
	if _, tagged := w.do("XYZZY {5}"); !strings.HasPrefix(tagged, "BAD") {
		t.Errorf("unknown: %s", tagged)
	}
	w.ok("NOOP")
}

func TestAcceptedLiterals(t *testing.T) {
	h := newHouse(t)
	w := h.dial()
	w.send(fmt.Sprintf("a LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n", len(address), address, len(password), password))
	if _, tagged := w.until("a"); !strings.HasPrefix(tagged, "OK") {
		t.Fatal(tagged)
	}
	// Not synchronised, larger than LITERAL- allows, with another command behind it.
	long := "Subject: long\r\n\r\n" + strings.Repeat(body, 300)
	w.send(fmt.Sprintf("b APPEND {5+}\r\nINBOX (\\Seen $label4) \"20-Nov-2026 10:00:00 +0100\" {%d+}\r\n%s\r\nc NOOP\r\n", len(long), long))
	if untagged, tagged := w.until("b"); !strings.HasPrefix(tagged, "OK [APPENDUID ") || len(untagged) != 0 {
		t.Fatal(untagged, tagged)
	}
	if untagged, tagged := w.until("c"); !strings.HasPrefix(tagged, "OK") || len(untagged) != 0 {
		t.Fatal(untagged, tagged)
	}
	w.send("d APPEND INBOX {21}\r\n")
	if l := w.line(); !strings.HasPrefix(l, "+ ") {
		t.Fatal(l)
	}
	w.send("Subject: court\r\n\r\nab\n\r\n")
	if _, tagged := w.until("d"); !strings.HasPrefix(tagged, "OK [APPENDUID ") {
		t.Fatal(tagged)
	}
	for _, form := range []string{"UTF8 (~{21+}\r\nSubject: court\r\n\r\nab\n)", "~{21+}\r\nSubject: court\r\n\r\nab\n"} {
		if _, tagged := w.do("APPEND INBOX %s", form); !strings.HasPrefix(tagged, "OK [APPENDUID ") {
			t.Fatal(form, tagged)
		}
	}
	w.ok("SELECT INBOX")
	got := w.ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
	want := fmt.Sprintf("* 1 FETCH (FLAGS (\\Seen $label4) INTERNALDATE \"20-Nov-2026 09:00:00 +0000\" RFC822.SIZE %d BODY[] {%d}\r\n%s)", len(long), len(long), long)
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %.200q", got)
	}
}

// A client that stops in the middle of a message leaves nothing behind.
func TestBrokenAppendLeavesNothing(t *testing.T) {
	h := newHouse(t)
	w := h.login()
	w.send("a APPEND INBOX {5000+}\r\nSubject: moitié\r\n")
	_ = w.c.Close()
	v := h.login()
	for range 20 {
		if l := v.ok("STATUS INBOX (MESSAGES)"); l[0] != "* STATUS INBOX (MESSAGES 0)" {
			t.Fatal(l)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLongLines(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]struct {
		signedIn bool
		send     string
	}{
		"a command without end":  {true, "a SEARCH SUBJECT " + strings.Repeat("x", 100_000)},
		"before sign-in":         {false, "a LOGIN " + strings.Repeat("x", 100_000)},
		"many before sign-in":    {false, strings.Repeat("a NOOP\r\n", 20_000)},
		"an answer without end":  {false, "a AUTHENTICATE PLAIN\r\n" + strings.Repeat("QUFB", 2000) + "\r\nx1 NOOP\r\n"},
		"instead of DONE":        {true, "a IDLE\r\n" + strings.Repeat("x", 5000) + "\r\nx1 NOOP\r\n"},
		"a message in the clear": {true, strings.Repeat("x", 200_000) + "\r\nx1 NOOP\r\n"},
	} {
		w := h.dial()
		if c.signedIn {
			w.ok("LOGIN %s %s", address, password)
		}
		go func() { _, _ = io.WriteString(w.c, c.send+"\r\n") }()
		if got := w.rest(); !strings.Contains(got, "* BYE ") || strings.Contains(got, "x1 ") {
			t.Errorf("%s: %.300q", name, got)
		}
	}
}

func TestLiteralAtEnd(t *testing.T) {
	for line, want := range map[string]string{
		"a b {5}\r\n": "5 false", "a {05+}\n": "5 true", "a ~{7}\r\n": "7 false", "a {5} \r\n": "5 false", "a {5\r\n": "", "a {+}\r\n": "",
		"a {x}\r\n": "", "a \"{5}\"\r\n": "", "a {-1}\r\n": "", "a }\r\n": "", "a {99999999999999999999}\r\n": "9223372036854775807 false", "": "",
	} {
		got := ""
		if n, nonSync, ok := literalAtEnd([]byte(line)); ok {
			got = fmt.Sprint(n, nonSync)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// FuzzGuard plays a client and an engine of moods on both sides of a guard. Octets of
// literals all carry a mark; the engine must see it only where it asked for a literal.
func FuzzGuard(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, uint64(0))
	f.Add([]byte{3, 3, 8, 200, 17, 5, 5}, ^uint64(0))
	f.Add([]byte{2, 6, 10, 4, 4, 4, 9, 1}, uint64(0xAAAA))
	f.Fuzz(func(t *testing.T, script []byte, mood uint64) {
		if len(script) > 40 {
			script = script[:40]
		}
		var client strings.Builder
		for i, b := range script {
			client.WriteString(piecesOfClient(i, b))
		}
		near, far := net.Pipe()
		defer far.Close()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		go func() {
			_, _ = io.WriteString(far, client.String())
			_ = far.Close()
		}()
		g := newGuard(near, guardLimits{append: 300}, false)
		g.signIn()
		playEngine(t, g, mood)
		_ = g.Close()
	})
}

const mark = "LITERAL OCTETS\r\n"

func piecesOfClient(i int, b byte) string {
	n := int(b>>3)%4 + 1
	lit := strings.Repeat(mark, n)
	plus := "+"
	if b&4 != 0 {
		plus = ""
	}
	verb := []string{"APPEND INBOX", "SELECT", "APPEND INBOX (", "LOGIN"}[b&3]
	head := fmt.Sprintf("t%d %s {%d%s}\r\n%s", i, verb, len(lit), plus, lit)
	if b&128 != 0 {
		return head + " more\r\n"
	}
	return head + "\r\n"
}

// playEngine reads commands as go-imap's server does: line by line, asking for
// literals or refusing them as its mood goes.
func playEngine(t *testing.T, g *guard, mood uint64) {
	br := bufio.NewReader(g)
	refusedSync := false
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		if strings.Contains(line, "+}") {
			t.Fatalf("a literal that does not wait: %q", line)
		}
		if strings.Contains(line, "LITERAL") && !refusedSync {
			t.Fatalf("octets of a literal as a line: %q", line)
		}
		n, _, ok := literalAtEnd([]byte(line))
		if !ok {
			continue
		}
		asks := mood&1 == 1
		mood = mood>>1 | mood<<63
		if !asks {
			// A client of the script does not wait even when it should: after that,
			// its octets are its own commands.
			_, _ = io.WriteString(g, "t NO\r\n")
			refusedSync = true
			continue
		}
		_, _ = io.WriteString(g, "+ go\r\n")
		if _, err := io.CopyN(io.Discard, br, n); err != nil {
			return
		}
	}
}
