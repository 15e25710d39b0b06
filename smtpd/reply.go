package smtpd

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/emersion/go-smtp"
	"golang.org/x/text/unicode/norm"

	"pli/fault"
)

// maxReplyText keeps a reply line within 512 octets (RFC 5321 §4.5.3.1.5).
const maxReplyText = 480

// stage is where in the dialogue a refusal happens: the same kind may wear another code.
type stage int

const (
	atMail stage = iota
	atRcpt
	atData
	atAuth
)

// newRef makes the opaque reference that ties a reply to our event.
func newRef() string {
	var b [4]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// reply is the only way an error leaves this package: go-smtp recognises nothing but an
// unwrapped *smtp.SMTPError and would answer anything else with a permanent code and
// the error's text. A nil error stays nil.
func reply(mode Mode, at stage, err error, utf8 bool, ref string) error {
	if err == nil {
		return nil
	}
	r, text := face(mode, at, err)
	return &smtp.SMTPError{Code: r.Code, EnhancedCode: r.Enhanced, Message: lines(r, text, ref, utf8)}
}

// lines is line, but for a text that is too long for one: it comes on two, French then
// English. go-smtp gives the enhanced code to the last line only; all have it
// (RFC 2034 §4).
func lines(r fault.SMTPReply, t fault.Text, ref string, utf8 bool) string {
	if whole := clean(t.FR+" / "+t.EN, utf8); t.EN == "" || len(whole)+len(ref)+len(" []") <= maxReplyText {
		return line(t, ref, utf8)
	}
	e := r.Enhanced
	return fmt.Sprintf("%d.%d.%d ", e[0], e[1], e[2]) + line(fault.Text{FR: t.FR}, "", utf8) + "\n" + line(fault.Text{FR: t.EN}, ref, utf8)
}

// face gives the code and text of an error: the table of fault, with the exceptions of
// mssante.md §12.2.
func face(mode Mode, at stage, err error) (fault.SMTPReply, fault.Text) {
	kind, code, text := fault.KindOf(err), fault.CodeOf(err), fault.TextOf(err)
	var refused *smtp.SMTPError // from the library's own reader
	switch {
	case errors.As(err, &refused) && refused.Code == 552:
		return fault.TooLarge.SMTP(), fault.TooLarge.Text()
	case code == codeStopping:
		return fault.SMTPReply{Code: 421, Enhanced: [3]int{4, 3, 2}}, textStopping
	case strings.HasPrefix(code, "peer-") && kind == fault.Untrusted:
		return fault.SMTPReply{Code: 550, Enhanced: [3]int{5, 7, 1}}, fault.Text{FR: "Certificat opérateur refusé.", EN: "Operator certificate refused."}
	case kind == fault.Unavailable && aboutTrust(err, code):
		return fault.SMTPReply{Code: 451, Enhanced: [3]int{4, 7, 1}}, text
	case code == codeNonASCII:
		return fault.SMTPReply{Code: 553, Enhanced: [3]int{5, 6, 7}}, text
	case kind == fault.Untrusted && mode == Submission && at == atRcpt:
		return fault.SMTPReply{Code: 550, Enhanced: [3]int{5, 1, 2}}, text
	case kind == fault.Untrusted:
		return fault.SMTPReply{Code: 550, Enhanced: [3]int{5, 7, 1}}, text
	case at == atAuth && !permanentAuth(kind):
		return fault.SMTPReply{Code: 454, Enhanced: [3]int{4, 7, 0}}, text
	}
	return kind.SMTP(), text
}

// aboutTrust reports whether what is unavailable is a check: the white list, revocation
// lists, or the malware scanner (mssante.md §12.2: 451 4.7.1).
func aboutTrust(err error, code string) bool {
	if strings.HasPrefix(code, "white-list-") || code == "revocation-unusable" {
		return true
	}
	for err != nil {
		var f *fault.Error
		if !errors.As(err, &f) {
			return false
		}
		if f.Op == "clamav" || strings.HasPrefix(f.Op, "clamav.") {
			return true
		}
		err = f.Err
	}
	return false
}

// permanentAuth tells the kinds that AUTH answers with their own code (RFC 4954 §6);
// the rest is 454, a temporary failure.
func permanentAuth(k fault.Kind) bool {
	switch k {
	case fault.WrongSecret, fault.Unauthenticated, fault.Forbidden, fault.Closed, fault.Invalid, fault.Untrusted, fault.RateLimited:
		return true
	}
	return false
}

// Codes and texts of our own.
const (
	codeStopping = "stopping"
	codeNonASCII = "non-ascii-address"
)

var (
	textStopping = fault.Text{FR: "Le service redémarre. Réessayez dans quelques instants.", EN: "The service is restarting. Try again in a moment."}
	textNonASCII = fault.Text{FR: "Les adresses de cet espace s'écrivent sans accents.", EN: "Addresses of this space are ASCII only."}
	textNoTLS    = fault.Text{FR: "Chiffrez d'abord la liaison (STARTTLS).", EN: "Encrypt the connection first (STARTTLS)."}
	textTooMany  = fault.Text{FR: "Trop de connexions. Réessayez dans quelques minutes.", EN: "Too many connections. Try again in a few minutes."}
	textIdle     = fault.Text{FR: "Délai d'inactivité dépassé.", EN: "Idle for too long."}
	textRcpts    = fault.Text{FR: "Trop de destinataires pour un seul message.", EN: "Too many recipients for one message."}
	textSender   = fault.Text{FR: "Ce domaine n'est pas servi par le certificat présenté.", EN: "This domain is not served by the certificate shown."}
	textTaken    = fault.Text{FR: "Message accepté.", EN: "Message accepted."}
)

// line writes French, then English, then the reference, on one line of at most
// maxReplyText octets: ASCII, unless the client announced SMTPUTF8 (RFC 6531 §3.7.4).
func line(t fault.Text, ref string, utf8 bool) string {
	s := t.FR
	if t.EN != "" {
		s += " / " + t.EN
	}
	tail := ""
	if ref != "" {
		tail = " [" + ref + "]"
	}
	s = clean(s, utf8)
	if room := maxReplyText - len(tail); len(s) > room {
		s = strings.ToValidUTF8(s[:room], "")
	}
	return s + tail
}

// clean takes out what would end the line, and what its reader cannot take.
func clean(s string, utf8 bool) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if !utf8 {
		return ascii(s)
	}
	return s
}

var typography = strings.NewReplacer("œ", "oe", "Œ", "OE", "æ", "ae", "Æ", "AE", "«\u00a0", `"`, "\u00a0»", `"`, "« ", `"`, " »", `"`,
	"«", `"`, "»", `"`, "’", "'", "‘", "'", "“", `"`, "”", `"`, "–", "-", "—", "-", "…", "...", "\u00a0", " ", "\u202f", " ", "→", "->", "·", "-")

// ascii drops accents and typography.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r > unicode.MaxASCII:
			return '?'
		}
		return r
	}, norm.NFD.String(typography.Replace(s)))
}
