package ldapd

import (
	"strings"

	"pli/fault"
)

// Result codes that this door gives of itself (RFC 4511 §4.1.9); the others come from
// the kinds of fault.
const (
	success                      = 0
	operationsError              = 1
	protocolError                = 2
	timeLimitExceeded            = 3
	sizeLimitExceeded            = 4
	compareFalse                 = 5
	compareTrue                  = 6
	authMethodNotSupported       = 7
	strongerAuthRequired         = 8
	adminLimitExceeded           = 11
	unavailableCriticalExtension = 12
	confidentialityRequired      = 13
	saslBindInProgress           = 14
	noSuchAttribute              = 16
	undefinedAttributeType       = 17
	noSuchObject                 = 32
	invalidDNSyntax              = 34
	inappropriateAuthentication  = 48
	invalidCredentials           = 49
	busy                         = 51
	unavailable                  = 52
	unwillingToPerform           = 53
)

// result is an LDAPResult (RFC 4511 §4.1.9) but for referrals, which there are none of.
type result struct {
	code    int
	matched string
	text    fault.Text
}

// names of results, for metrics: a closed set.
var resultNames = map[int]string{
	success: "ok", operationsError: "operations-error", protocolError: "protocol-error", timeLimitExceeded: "time-limit",
	sizeLimitExceeded: "size-limit", authMethodNotSupported: "method", strongerAuthRequired: "not-signed-in",
	adminLimitExceeded: "admin-limit", unavailableCriticalExtension: "critical", confidentialityRequired: "no-tls",
	saslBindInProgress: "in-progress", noSuchObject: "no-such-object", invalidDNSyntax: "name",
	inappropriateAuthentication: "no-certificate", invalidCredentials: "wrong-secret", 50: "forbidden", busy: "busy",
	unavailable: "unavailable", unwillingToPerform: "refused", 80: "internal",
}

func (r result) name() string {
	if n := resultNames[r.code]; n != "" {
		return n
	}
	return "other"
}

// failure is the only way a fault leaves this package.
func failure(err error) result {
	k, t := fault.KindOf(err), fault.TextOf(err)
	if t == k.Text() { // the general texts are about sending mail
		switch k {
		case fault.Forbidden:
			t = fault.Text{FR: "Vous ne pouvez pas consulter l'annuaire.", EN: "You may not ask the directory."}
		case fault.NotFound, fault.Withheld:
			t = textNoObject
		case fault.Invalid, fault.InvalidAddress, fault.InvalidContent:
			t = textFilter
		}
	}
	return result{code: k.LDAP(), text: t}
}

var (
	textRestarting = fault.Text{FR: "Le service redémarre. Reconnectez-vous.", EN: "The service restarts. Please reconnect."}
	textIdle       = fault.Text{FR: "Délai d'inactivité dépassé.", EN: "Idle for too long."}
	textMalformed  = fault.Text{FR: "Ce message n'est pas du LDAP.", EN: "This message is not LDAP."}
	textTooLarge   = fault.Text{FR: "Cette demande est trop longue.", EN: "This request is too long."}
	textNoTLS      = fault.Text{FR: "Chiffrez d'abord la liaison (StartTLS ou LDAPS).", EN: "Encrypt the connection first (StartTLS or LDAPS)."}
	textSignIn     = fault.Text{FR: "Connectez-vous d'abord : adresse et mot de passe d'application.", EN: "Sign in first: address and app password."}
	textNoPassword = fault.Text{FR: "Le mot de passe est vide.", EN: "The password is empty."}
	textReadOnly   = fault.Text{FR: "L'annuaire se consulte et ne se modifie pas ici.", EN: "The directory is read only here."}
	textUnknownOp  = fault.Text{FR: "Cette opération n'est pas connue ici.", EN: "This operation is not known here."}
	textControl    = fault.Text{FR: "Une extension demandée n'est pas connue ici.", EN: "A required control is not known here."}
	textNoObject   = fault.Text{FR: "Cette fiche n'existe pas (ou plus).", EN: "This entry does not exist (any more)."}
	textFilter     = fault.Text{FR: "Cette question ne peut pas être posée.", EN: "This question cannot be asked."}
	textName       = fault.Text{FR: "Ce nom n'est pas valable.", EN: "This name is not valid."}
	textMore       = fault.Text{FR: "Il y a d'autres fiches : précisez la recherche.", EN: "There are more entries: narrow the search."}
	textSlow       = fault.Text{FR: "Cette recherche prend trop de temps : précisez-la.", EN: "This search takes too long: narrow it."}
	textShare      = fault.Text{FR: "Vous avez consulté beaucoup de fiches. Réessayez plus tard.", EN: "You have read many entries. Try again later."}
	textCookie     = fault.Text{FR: "Cette suite n'est plus valable : recommencez la recherche.", EN: "This page is no longer valid: start again."}
	textBusyTLS    = fault.Text{FR: "Des opérations sont en cours.", EN: "Operations are in progress."}
	textTLSAlready = fault.Text{FR: "La liaison est déjà chiffrée.", EN: "The connection is encrypted already."}
	textMechanism  = fault.Text{FR: "Ce mode de connexion n'est pas proposé.", EN: "This way to sign in is not offered."}
	textNoCert     = fault.Text{FR: "Aucun certificat n'a été présenté.", EN: "No certificate was shown."}
	textVersion    = fault.Text{FR: "Seule la version 3 de LDAP est proposée.", EN: "Only LDAP version 3 is offered."}
)

// bilingual puts both languages on one line.
func bilingual(t fault.Text) string {
	s := t.FR
	if t.EN != "" {
		s += " / " + t.EN
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// appendResult writes the fields of an LDAPResult.
func appendResult(b []byte, r result) []byte {
	b = appendNumber(b, 0x0a, int64(r.code))
	b = appendString(b, 0x04, r.matched)
	return appendString(b, 0x04, bilingual(r.text))
}

// appendResponse writes a whole message: the result, what the operation adds after it,
// and the elements of its controls.
func appendResponse(b []byte, id int64, tag byte, r result, more, controls []byte) []byte {
	b, whole := begin(b, 0x30)
	b = appendNumber(b, 0x02, id)
	b, op := begin(b, tag)
	b = append(appendResult(b, r), more...)
	end(b, op)
	if len(controls) > 0 {
		b = appendString(b, 0xa0, controls)
	}
	end(b, whole)
	return b
}

// oidNotice names a Notice of Disconnection (RFC 4511 §4.4.1).
const oidNotice = "1.3.6.1.4.1.1466.20036"

func appendNotice(b []byte, code int, t fault.Text) []byte {
	return appendResponse(b, 0, tagExtendedResponse, result{code: code, text: t}, appendString(nil, 0x8a, oidNotice), nil)
}
