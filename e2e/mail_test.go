package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// swaks sends one message from an account through the submission door and returns the
// transcript and the exit code.
func (d *demo) swaks(t *testing.T, from account, to string, more ...string) (string, int) {
	t.Helper()
	args := []string{"--server", d.Operators[from.Operator].Submissions, "--tlsc", "--tls-verify", "--tls-ca-path", d.path(d.CA),
		"--tls-verify-target", "localhost", "--auth", "PLAIN", "--auth-user", from.Address, "--auth-password", from.Password,
		"--from", from.Address, "--to", to, "--ehlo", "poste.example", "--timeout", "60"}
	host, port, _ := net.SplitHostPort(d.Operators[from.Operator].Submissions)
	args[1] = host
	args = append(args, "--port", port)
	return tool(t, "", "swaks", append(without(args, "--tls-verify", "--tls-verify-target", "localhost", "--tls-ca-path", d.path(d.CA)), more...)...)
}

// without drops arguments; the swaks of Debian 12 knows no --tls-verify-target, and
// curl checks the chain in the other tests.
func without(args []string, drop ...string) []string {
	var out []string
	for _, a := range args {
		keep := true
		for _, d := range drop {
			keep = keep && a != d
		}
		if keep {
			out = append(out, a)
		}
	}
	return out
}

// curl runs curl against a mail door with the demo's authority.
func (d *demo) curl(t *testing.T, args ...string) (string, int) {
	t.Helper()
	return tool(t, "", "curl", append([]string{"-sS", "--max-time", "120", "--cacert", d.path(d.CA)}, args...)...)
}

func signIn(a account) []string {
	return []string{"--user", a.Address + ":" + a.Password}
}

// imap runs one IMAP command by curl and returns the answer.
func (d *demo) imap(t *testing.T, a account, mailbox, command string) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(d.Operators[a.Operator].IMAPS)
	args := append(signIn(a), "imaps://localhost:"+port+"/"+mailbox)
	if command != "" {
		args = append(args, "-X", command)
	}
	out, code := d.curl(t, args...)
	if code != 0 {
		t.Fatalf("curl imaps %s: exit %d\n%s", command, code, out)
	}
	return out
}

// find returns the UIDs in a mailbox whose subject holds text.
func (d *demo) find(t *testing.T, a account, mailbox, text string) []string {
	t.Helper()
	out := d.imap(t, a, mailbox, "UID SEARCH SUBJECT "+text)
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "* SEARCH"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// fetch returns a whole message.
func (d *demo) fetch(t *testing.T, a account, mailbox, uid string) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(d.Operators[a.Operator].IMAPS)
	out, code := d.curl(t, append(signIn(a), "imaps://localhost:"+port+"/"+mailbox+";UID="+uid)...)
	if code != 0 {
		t.Fatalf("curl fetch: exit %d\n%s", code, out)
	}
	return out
}

// mark is a word that was never written before.
func mark(prefix string) string { return prefix + strings.ToLower(rand.Text()[:10]) }

func TestDoctorWritesToAColleague(t *testing.T) {
	karim, claire := house.who(t, "karim.haddad"), house.who(t, "claire.morel")
	m := mark("collegue")
	out, code := house.swaks(t, karim, claire.Address, "--h-Subject", "Avis "+m, "--body", "Bonjour Claire.")
	if code != 0 {
		t.Fatalf("swaks: exit %d\n%s", code, out)
	}
	uids := house.find(t, claire, "INBOX", m)
	if len(uids) != 1 {
		t.Fatalf("in the colleague's INBOX: %v", uids)
	}
	if body := house.fetch(t, claire, "INBOX", uids[0]); !strings.Contains(body, "Bonjour Claire.") || !strings.Contains(body, "Received: ") {
		t.Errorf("the message as read:\n%s", body)
	}
	if sent := house.find(t, karim, sentName(t, karim), m); len(sent) != 1 {
		t.Errorf("in the sender's Sent: %v", sent)
	}
}

// sentName finds the mailbox that says it is for sent mail (RFC 6154).
func sentName(t *testing.T, a account) string {
	t.Helper()
	list := house.imap(t, a, "", `LIST "" "*"`)
	m := regexp.MustCompile(`(?m)^\* LIST \([^)]*\\Sent[^)]*\) "[^"]*" "?([^"\r\n]+)"?\r?$`).FindStringSubmatch(list)
	if m == nil {
		t.Fatalf("no mailbox is \\Sent:\n%s", list)
	}
	return strings.ReplaceAll(m[1], " ", "%20")
}

func TestStandardMailboxesAreFrench(t *testing.T) {
	list := house.imap(t, house.who(t, "claire.morel"), "", `LIST "" "*"`)
	for _, use := range []string{`\Drafts`, `\Sent`, `\Archive`, `\Junk`, `\Trash`} {
		if strings.Count(list, use) != 1 {
			t.Errorf("%s is not there exactly once:\n%s", use, list)
		}
	}
	if strings.Count(list, "* LIST") != 6 {
		t.Errorf("not six mailboxes:\n%s", list)
	}
}

func TestStartTLSDoors(t *testing.T) {
	karim := house.who(t, "karim.haddad")
	m := mark("starttls")
	host, port, _ := net.SplitHostPort(house.Operators[0].Submission)
	out, code := tool(t, "", "swaks", "--server", host, "--port", port, "--tls", "--auth", "LOGIN", "--auth-user", karim.Address,
		"--auth-password", karim.Password, "--from", karim.Address, "--to", karim.Address, "--h-Subject", m)
	if code != 0 && strings.Contains(out, "LOGIN") { // PLAIN is what we promise
		out, code = tool(t, "", "swaks", "--server", host, "--port", port, "--tls", "--auth", "PLAIN", "--auth-user", karim.Address,
			"--auth-password", karim.Password, "--from", karim.Address, "--to", karim.Address, "--h-Subject", m)
	}
	if code != 0 {
		t.Fatalf("587: exit %d\n%s", code, out)
	}
	_, imapPort, _ := net.SplitHostPort(house.Operators[0].IMAP)
	got, code := house.curl(t, append(signIn(karim), "--ssl-reqd", "imap://localhost:"+imapPort+"/INBOX", "-X", "UID SEARCH SUBJECT "+m)...)
	if code != 0 || !regexp.MustCompile(`SEARCH \d+`).MatchString(got) {
		t.Fatalf("143: exit %d\n%s", code, got)
	}
	// No secret is asked for, or taken, in the clear.
	plain, _ := tool(t, "", "swaks", "--server", host, "--port", port, "--auth", "PLAIN", "--auth-user", karim.Address, "--auth-password", karim.Password,
		"--from", karim.Address, "--to", karim.Address)
	if strings.Contains(plain, " -> AUTH") || strings.Contains(plain, "<-  250 2") && strings.Contains(plain, "DATA") {
		t.Errorf("without TLS:\n%s", plain)
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	karim := house.who(t, "karim.haddad")
	karim.Password = "aaaaa-bbbbb-ccccc-ddddd"
	out, code := house.swaks(t, karim, karim.Address)
	if code == 0 || !strings.Contains(out, "535 5.7.8") {
		t.Fatalf("exit %d\n%s", code, out)
	}
}

func TestMailToTheOtherOperatorAndBack(t *testing.T) {
	karim, alice := house.who(t, "karim.haddad"), house.who(t, "alice.roy")
	for _, way := range []struct{ from, to account }{{karim, alice}, {alice, karim}} {
		m := mark("relais")
		out, code := house.swaks(t, way.from, way.to.Address, "--h-Subject", "Relais "+m, "--body", "D'un opérateur à l'autre.")
		if code != 0 {
			t.Fatalf("swaks: exit %d\n%s", code, out)
		}
		var uids []string
		eventually(t, "the message reaches the other operator", func() bool {
			uids = house.find(t, way.to, "INBOX", m)
			return len(uids) > 0
		})
		if len(uids) != 1 {
			t.Errorf("delivered %d times", len(uids))
		}
		if body := house.fetch(t, way.to, "INBOX", uids[0]); strings.Count(body, "Received: ") < 2 {
			t.Errorf("fewer than two Received fields:\n%.2000s", body)
		}
	}
}

func TestPatientMayBeWrittenTo(t *testing.T) {
	karim, jeanne := house.who(t, "karim.haddad"), house.who(t, "jeanne")
	if out, code := house.swaks(t, karim, jeanne.Address, "--h-Subject", mark("patiente")); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	// And from the other operator.
	alice := house.who(t, "alice.roy")
	if out, code := house.swaks(t, alice, jeanne.Address, "--h-Subject", mark("patiente")); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
}

// big writes a message with an attachment of n octets and returns its path and the
// base64 text of the attachment.
func big(t *testing.T, from, to, subject string, n int) (path string, sum [32]byte) {
	t.Helper()
	content := make([]byte, n)
	rand.Read(content)
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=limite\r\n\r\n"+
		"--limite\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nVoici l'image.\r\n--limite\r\nContent-Type: application/octet-stream; name=image.bin\r\n"+
		"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=image.bin\r\n\r\n", from, to, subject)
	text := base64.StdEncoding.EncodeToString(content)
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	b.WriteString(text + "\r\n--limite--\r\n")
	path = filepath.Join(t.TempDir(), "message.eml")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, sha256.Sum256(content)
}

// upload submits a file by curl, which is quicker than swaks on large ones.
func (d *demo) upload(t *testing.T, from account, to, path string) (string, int) {
	t.Helper()
	_, port, _ := net.SplitHostPort(d.Operators[from.Operator].Submissions)
	args := append(signIn(from), "-v", "smtps://localhost:"+port+"/poste.example", "--mail-from", from.Address, "--mail-rcpt", to, "--upload-file", path)
	if from.ClientCert != "" {
		args = append(args[2:], "--cert", d.path(from.ClientCert), "--key", d.path(from.ClientKey), "--user", from.Address+":", "--login-options", "AUTH=EXTERNAL")
	}
	return d.curl(t, args...)
}

func TestTwentyFiveMegabytesGoThrough(t *testing.T) {
	karim, alice := house.who(t, "karim.haddad"), house.who(t, "alice.roy")
	m := mark("imagerie")
	path, sum := big(t, karim.Address, alice.Address, m, 25_000_000)
	if out, code := house.upload(t, karim, alice.Address, path); code != 0 {
		t.Fatalf("exit %d\n%.3000s", code, out)
	}
	var uids []string
	eventually(t, "25 MB reach the other operator", func() bool {
		uids = house.find(t, alice, "INBOX", m)
		return len(uids) == 1
	})
	got := house.fetch(t, alice, "INBOX", uids[0])
	_, rest, ok := strings.Cut(got, "filename=image.bin\r\n\r\n")
	text, _, ok2 := strings.Cut(rest, "\r\n--limite--")
	content, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\r\n", ""))
	if !ok || !ok2 || err != nil || sha256.Sum256(content) != sum {
		t.Fatalf("the attachment came out changed (%d octets, %v)", len(content), err)
	}
}

// eicar is in two halves, so that no scanner stops at this file.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD` + `-ANTIVIRUS-TEST-FILE!$H+H*`

func TestRefusalsAreClear(t *testing.T) {
	karim := house.who(t, "karim.haddad")
	closed := newBox(t, "ferme."+mark("x"))
	if out, code := house.pli(t, 0, "account", "state", closed.Address, "closed"); code != 0 {
		t.Fatalf("account state: %s", out)
	}
	virus := filepath.Join(t.TempDir(), "facture.com")
	if err := os.WriteFile(virus, []byte(eicar), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, to, want string
		more           []string
	}{
		{"unknown", "personne@mss-a.example", "550 5.1.1", nil},
		{"unknown patient", "299019999900699@patient.mss-a.example", "550 5.1.1", nil},
		{"outside the trusted circle", "quelquun@dehors.example", "550 5.1.2", nil},
		{"closed", closed.Address, "550 5.2.1", nil},
		{"infected", "claire.morel@mss-a.example", "554 5.7.0", []string{"--attach-type", "application/octet-stream", "--attach", "@" + virus}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, code := house.swaks(t, karim, c.to, c.more...)
			reply := refusal(out)
			if code == 0 || !strings.HasPrefix(reply, c.want) {
				t.Fatalf("exit %d, refusal %q\n%s", code, reply, out)
			}
			// French first, then English.
			if words := strings.Fields(reply); len(words) < 8 {
				t.Errorf("the refusal says too little: %q", reply)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		path, _ := big(t, karim.Address, karim.Address, "trop gros", 40_000_000)
		out, code := house.upload(t, karim, "claire.morel@mss-a.example", path)
		if code == 0 || !strings.Contains(out, "552 5.3.4") {
			t.Fatalf("exit %d\n%.3000s", code, out)
		}
	})
}

// refusal finds the first negative reply in a transcript of swaks, its lines joined.
func refusal(transcript string) string {
	var lines []string
	for _, m := range regexp.MustCompile(`(?m)^<~?\*\*?\s+([45]\d\d)[- ](.*?)\r?$`).FindAllStringSubmatch(transcript, -1) {
		if len(lines) == 0 {
			lines = append(lines, m[1])
		}
		lines = append(lines, m[2])
	}
	return strings.Join(lines, " ")
}

// pli runs a command of the binary under test with an operator's configuration.
func (d *demo) pli(t *testing.T, operator int, args ...string) (string, int) {
	t.Helper()
	config := filepath.Join(d.dir, string(rune('a'+operator)), "pli.toml")
	return tool(t, "", binary, append([]string{"--config", config}, args...)...)
}

// newBox makes a professional's BAL at operator a by command.
func newBox(t *testing.T, local string, more ...string) account {
	t.Helper()
	a := account{Kind: "PER", Address: local + "@" + house.Operators[0].Domain}
	out, code := house.pli(t, 0, append([]string{"account", "create", "professional", a.Address, "--family", "ESSAI", "--given", "Paul",
		"--name", "Paul Essai"}, more...)...)
	m := regexp.MustCompile(`(?m)^app password (\S+)$`).FindStringSubmatch(out)
	if code != 0 || m == nil {
		t.Fatalf("account create: exit %d\n%s", code, out)
	}
	a.Password = m[1]
	return a
}
