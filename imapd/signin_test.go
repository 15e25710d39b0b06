package imapd

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bufio"

	"pli/fault"
)

func plainAnswer(authzid, authcid, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte(authzid + "\x00" + authcid + "\x00" + secret))
}

func TestSignIn(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]struct{ command, want string }{
		"login":            {fmt.Sprintf("LOGIN %s %s", address, password), "OK [CAPABILITY "},
		"quoted":           {fmt.Sprintf("LOGIN %q %q", address, password), "OK [CAPABILITY "},
		"wrong secret":     {"LOGIN " + address + " x", "NO [AUTHENTICATIONFAILED] Identifiant ou mot de passe d'application refusé. / Name"},
		"too often":        {"LOGIN " + address + " too-often", "NO [LIMIT] Trop de demandes."},
		"plain":            {"AUTHENTICATE PLAIN " + plainAnswer("", address, password), "OK [CAPABILITY "},
		"plain, authzid":   {"AUTHENTICATE PLAIN " + plainAnswer(address, address, password), "OK [CAPABILITY "},
		"for another":      {"AUTHENTICATE PLAIN " + plainAnswer("other@mss-a.example", address, password), "NO [AUTHORIZATIONFAILED]"},
		"plain, wrong":     {"AUTHENTICATE PLAIN " + plainAnswer("", address, "x"), "NO [AUTHENTICATIONFAILED] Identifiant"},
		"plain, malformed": {"AUTHENTICATE PLAIN " + base64.StdEncoding.EncodeToString([]byte("nothing")), "NO [AUTHENTICATIONFAILED] Identifiant"},
		"not base64":       {"AUTHENTICATE PLAIN ****", "BAD "},
		"unknown":          {"AUTHENTICATE CRAM-MD5", "NO [CANNOT] Ce mode"},
		"external without": {"AUTHENTICATE EXTERNAL =", "NO [AUTHENTICATIONFAILED] Identifiant"},
	} {
		w := h.dial()
		if _, tagged := w.do("%s", c.command); !strings.HasPrefix(tagged, c.want) {
			t.Errorf("%s: %s", name, tagged)
		}
	}
	w := h.dial()
	w.send("a AUTHENTICATE PLAIN\r\n")
	if l := w.line(); l != "+ " {
		t.Errorf("the empty challenge is %q", l)
	}
	w.send(plainAnswer("", address, password) + "\r\n")
	if _, tagged := w.until("a"); !strings.HasPrefix(tagged, "OK") {
		t.Error(tagged)
	}
	w = h.dial()
	w.send("a AUTHENTICATE PLAIN\r\n")
	w.line()
	w.send("*\r\n")
	if _, tagged := w.until("a"); !strings.HasPrefix(tagged, "BAD") {
		t.Error(tagged)
	}
}

func TestSignInByCertificate(t *testing.T) {
	h := newHouse(t)
	labo, err := selfSigned("labo")
	h.check(err)
	stranger, err := selfSigned("stranger")
	h.check(err)
	w := h.dial(labo)
	if caps := w.ok("CAPABILITY"); !strings.Contains(caps[0], "AUTH=EXTERNAL AUTH=PLAIN") {
		t.Error(caps)
	}
	w.ok("AUTHENTICATE EXTERNAL =")
	h.dial(labo).ok("AUTHENTICATE EXTERNAL %s", base64.StdEncoding.EncodeToString([]byte(address)))
	h.dial(labo).refused("NO [AUTHENTICATIONFAILED]", "AUTHENTICATE EXTERNAL %s", base64.StdEncoding.EncodeToString([]byte("other@mss-a.example")))
	h.dial(stranger).refused("NO [AUTHENTICATIONFAILED]", "AUTHENTICATE EXTERNAL =")
	if caps := h.dial().ok("CAPABILITY"); strings.Contains(caps[0], "EXTERNAL") {
		t.Error("EXTERNAL is offered to one without a certificate")
	}
}

// The gate decides on opening the BAL, and its words reach the client.
func TestDeniedBAL(t *testing.T) {
	h := newHouse(t)
	h.deny.Store(fault.New(fault.Closed, "gate.Do", "R-OPEN-01").Say("Cette boîte est fermée depuis hier.", "This mailbox was closed yesterday."))
	h.dial().refused("NO [NOPERM] Cette boîte est fermée depuis hier. / This", "LOGIN %s %s", address, password)
}

// A session does not outlive the right it was opened with.
func TestRightLostLater(t *testing.T) {
	h := newHouse(t)
	busy, idle := h.inbox(), h.inbox()
	idle.send("a IDLE\r\n")
	idle.line()
	h.later.Store(int64(askAgain))
	busy.ok("FETCH 1:* FLAGS")
	h.deny.Store(fault.New(fault.Closed, "gate", ""))
	busy.ok("FETCH 1:* FLAGS")
	h.later.Store(int64(2 * askAgain))
	busy.send("b FETCH 1:* FLAGS\r\n")
	h.put("Subject: trop tard\r\n\r\n")
	for name, w := range map[string]*wire{"busy": busy, "idle": idle} {
		if got := w.rest(); !strings.HasPrefix(got, "* BYE ") || strings.Contains(got, "EXISTS") || strings.Contains(got, "OK") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestReadOnlyBAL(t *testing.T) {
	h := newHouse(t)
	h.put("Subject: x\r\n\r\nx\r\n")
	h.readOnly = true
	w := h.inbox()
	for _, c := range []string{"STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 Trash", "COPY 1 Trash", "CREATE a", "DELETE a", "RENAME a b", "SUBSCRIBE Sent", "APPEND INBOX {2+}\r\nx\n"} {
		w.refused("NO [NOPERM] ", "%s", c)
	}
	w.ok("FETCH 1 BODY[]")
	if l := w.ok("FETCH 1 FLAGS"); l[0] != "* 1 FETCH (FLAGS ())" {
		t.Error(l)
	}
}

func (h *house) dialClear() *wire {
	h.t.Helper()
	c, err := net.Dial("tcp", h.clear)
	h.check(err)
	h.t.Cleanup(func() { _ = c.Close() })
	w := &wire{t: h.t, c: c, br: bufio.NewReader(c)}
	if l := w.line(); !strings.Contains(l, " STARTTLS LOGINDISABLED] ") {
		h.t.Fatal(l)
	}
	return w
}

func TestStartTLS(t *testing.T) {
	h := newHouse(t)
	w := h.dialClear()
	w.refused("NO [PRIVACYREQUIRED] ", "LOGIN %s %s", address, password)
	w.refused("NO [PRIVACYREQUIRED] ", "AUTHENTICATE PLAIN %s", plainAnswer("", address, password))
	w.refused("BAD ", "SELECT INBOX")
	w.ok("NOOP")
	w.ok("CAPABILITY")
	w.ok("STARTTLS")
	tc := tls.Client(w.c, clientTLS(t))
	w = &wire{t: t, c: tc, br: bufio.NewReader(tc)}
	caps := w.ok("CAPABILITY") // a second greeting would be the first line here
	if len(caps) != 1 || !strings.HasPrefix(caps[0], "* CAPABILITY ") || strings.Contains(caps[0], "STARTTLS") || strings.Contains(caps[0], "LOGINDISABLED") {
		t.Error(caps)
	}
	w.ok("LOGIN %s %s", address, password)
	w.ok("SELECT INBOX")
}

// What is sent in clear behind STARTTLS is never taken for something said under TLS.
func TestStartTLSInjection(t *testing.T) {
	h := newHouse(t)
	w := h.dialClear()
	w.send(fmt.Sprintf("a STARTTLS\r\nb LOGIN %s %s\r\n", address, password))
	if got := w.rest(); strings.Contains(got, "OK") || !strings.Contains(got, "* BYE ") {
		t.Errorf("%q", got)
	}
	w = h.dialClear()
	w.send("a LOGIN {5+}\r\nb STARTTLS\r\n")
	if got := w.rest(); strings.Contains(got, "b ") || !strings.Contains(got, "* BYE ") {
		t.Errorf("%q", got)
	}
	w = h.dialClear()
	w.ok("LOGOUT")
	if got := w.rest(); got != "" {
		t.Errorf("%q", got)
	}
}

func TestCapabilities(t *testing.T) {
	h := newHouse(t)
	caps := " " + strings.TrimPrefix(h.login().ok("CAPABILITY")[0], "* CAPABILITY ") + " "
	for _, want := range []string{"IMAP4rev2", "IMAP4rev1", "SASL-IR", "IDLE", "UIDPLUS", "MOVE", "SPECIAL-USE", "NAMESPACE", "UNSELECT", "ENABLE", "ESEARCH",
		"LIST-EXTENDED", "LIST-STATUS", "LITERAL+", "UTF8=ACCEPT", "CHILDREN", "STATUS=SIZE", "BINARY", "APPENDLIMIT=36700160"} {
		if !strings.Contains(caps, " "+want+" ") {
			t.Errorf("%s is missing: %s", want, caps)
		}
	}
	for _, not := range []string{"QUOTA", "CONDSTORE", "STARTTLS", "AUTH="} {
		if strings.Contains(caps, not) {
			t.Errorf("%s is announced: %s", not, caps)
		}
	}
}

func TestConnectionCap(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxConnsPerHost = 2 })
	a, b := h.dial(), h.dial()
	c, err := net.Dial("tcp", h.clear)
	h.check(err)
	w := &wire{t: t, c: c, br: bufio.NewReader(c)}
	if got := w.rest(); !strings.HasPrefix(got, "* BYE Trop de demandes.") {
		t.Errorf("%q", got)
	}
	_ = a.c.Close()
	b.ok("NOOP")
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		c, err := tls.Dial("tcp", h.secure, clientTLS(t))
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a connection that ended still counts")
		}
	}
}

// A stop says BYE to who waits, even in IDLE, and lets a command in hand finish.
func TestStop(t *testing.T) {
	h := newHouse(t)
	idle, waiting, early, plain := h.inbox(), h.login(), h.dial(), h.dialClear()
	idle.send("a IDLE\r\n")
	idle.line()
	half := h.login()
	half.send("b APPEND INBOX {21}\r\n")
	half.line()
	h.stop()
	for name, w := range map[string]*wire{"idle": idle, "waiting": waiting, "before sign-in": early, "before TLS": plain} {
		if got := w.rest(); !strings.HasPrefix(got, "* BYE Le service redémarre.") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q", name, got)
		}
	}
	half.send("Subject: court\r\n\r\nab\n\r\n")
	if got := half.rest(); !strings.HasPrefix(got, "b OK [APPENDUID ") || !strings.Contains(got, "* BYE ") {
		t.Errorf("in hand: %q", got)
	}
	for range 2 {
		if err := <-h.served; err != nil {
			t.Error(err)
		}
	}
	if _, err := net.Dial("tcp", h.clear); err == nil {
		t.Error("it still takes connections")
	}
	if n := len(h.server.conns); n != 0 || h.server.total != 0 {
		t.Errorf("%d connections left, %d counted", n, h.server.total)
	}
}

func TestReplies(t *testing.T) {
	for _, k := range fault.Kinds() {
		err := reply(fault.New(k, "test", "code"))
		got := strings.TrimPrefix(err.Error(), "imap: ")
		if !strings.HasPrefix(got, "NO ["+k.IMAP()+"] ") || !strings.Contains(got, " / ") {
			t.Errorf("%v: %s", k, got)
		}
	}
	if err := reply(io.ErrUnexpectedEOF); !strings.HasPrefix(err.Error(), "imap: NO [SERVERBUG] Un problème") {
		t.Errorf("unforeseen: %v", err)
	}
	if err := replyTarget(fault.New(fault.NotFound, "test", "")); !strings.HasPrefix(err.Error(), "imap: NO [TRYCREATE] Ce dossier") {
		t.Errorf("target: %v", err)
	}
	if reply(nil) != nil {
		t.Error("no failure is a refusal")
	}
	if got := bilingual(fault.Text{FR: "a\r\nb OK", EN: "c"}); got != "a  b OK / c" {
		t.Errorf("%q", got)
	}
}

// Nothing that a person wrote, and no secret, comes out in the log.
func TestLogIsSilent(t *testing.T) {
	h := newHouse(t)
	w := h.login()
	w.ok("CREATE CanariDossier")
	h.put("From: Canari <canari@mss-b.example>\r\nSubject: CanariSujet\r\n\r\nCanariTexte\r\n")
	w.ok("SELECT INBOX")
	w.ok("FETCH 1 (ENVELOPE BODY[])")
	w.ok("SEARCH TEXT CanariTexte")
	w.do("SELECT CanariAbsent")
	w.do("FETCH CanariArgument")
	h.dial().do("LOGIN canari@mss-a.example CanariSecret")
	w.ok("LOGOUT")
	w.rest()
	if log := h.log.String(); strings.Contains(strings.ToLower(log), "canari") || strings.Contains(log, password) || strings.Contains(log, address) {
		t.Error(log)
	}
}
