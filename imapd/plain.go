package imapd

import (
	"bufio"
	"io"
	"net"
	"strings"
	"time"

	"pli/fault"
)

// plainPhase speaks with a client before TLS: nothing but CAPABILITY, NOOP, LOGOUT and
// STARTTLS means anything there, and no secret is ever asked for. It returns true once
// the client may begin its handshake. What a client sent after STARTTLS in clear ends
// the connection, so that nothing from outside TLS is taken for something from inside
// (RFC 9051 §6.2.1).
func plainPhase(conn net.Conn, ready func() bool) bool {
	const maxLine, maxCommands = 1024, 20
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	br := bufio.NewReaderSize(conn, maxLine)
	say := func(s string) bool {
		_, err := io.WriteString(conn, s+"\r\n")
		return err == nil
	}
	const capability = "CAPABILITY IMAP4rev2 IMAP4rev1 SASL-IR LITERAL- STARTTLS LOGINDISABLED"
	if !say("* OK [" + capability + "] Pli") {
		return false
	}
	for range maxCommands {
		line, err := br.ReadSlice('\n')
		if err != nil {
			if !ready() {
				say("* BYE " + bilingual(restarting))
			}
			return false
		}
		tag, verb, ok := tagAndVerb(line)
		_, _, literal := literalAtEnd(line)
		switch {
		case !ready():
			say("* BYE " + bilingual(restarting))
			return false
		case !ok:
			say("* BAD " + bilingual(fault.Invalid.Text()))
		case literal: // its octets would come next, in clear
			say("* BYE " + bilingual(fault.Unauthenticated.Text()))
			return false
		case verb == "CAPABILITY":
			say("* " + capability)
			say(tag + " OK CAPABILITY")
		case verb == "NOOP":
			say(tag + " OK NOOP")
		case verb == "LOGOUT":
			say("* BYE LOGOUT")
			say(tag + " OK LOGOUT")
			return false
		case verb == "STARTTLS":
			if br.Buffered() > 0 {
				say("* BYE " + bilingual(fault.Invalid.Text()))
				return false
			}
			if !say(tag + " OK STARTTLS") {
				return false
			}
			_ = conn.SetDeadline(time.Time{})
			return true
		case verb == "LOGIN", verb == "AUTHENTICATE":
			say(tag + " NO [PRIVACYREQUIRED] " + bilingual(fault.Unauthenticated.Text()))
		default:
			say(tag + " BAD " + bilingual(fault.Unauthenticated.Text()))
		}
	}
	say("* BYE " + bilingual(fault.RateLimited.Text()))
	return false
}

// tagAndVerb reads the first two words of a command line; the verb in upper case.
func tagAndVerb(line []byte) (tag, verb string, ok bool) {
	words := strings.Fields(string(line[:min(len(line), 200)]))
	if len(words) < 2 || !isTag(words[0]) {
		return "", "", false
	}
	return words[0], strings.ToUpper(words[1]), true
}

// isTag reports whether s may be a tag (RFC 9051 §9): it comes back in a reply, so it
// holds nothing that would start something there.
func isTag(s string) bool {
	if s == "" || len(s) > 100 || s == "*" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\+`, c) >= 0 {
			return false
		}
	}
	return true
}
