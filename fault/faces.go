package fault

// SMTPReply is a reply code with its enhanced status code (RFC 5321 §4.2, RFC 3463).
type SMTPReply struct {
	Code     int
	Enhanced [3]int
}

// Temporary reports whether the peer should keep the message and try again.
func (r SMTPReply) Temporary() bool { return r.Code/100 == 4 }

// SMTP gives the reply of a kind. Withheld shows the face of NotFound, and whatever
// was not foreseen is temporary: a permanent reply is a decision, never an accident.
func (k Kind) SMTP() SMTPReply {
	switch k {
	case Invalid:
		return SMTPReply{501, [3]int{5, 5, 4}}
	case InvalidAddress:
		return SMTPReply{553, [3]int{5, 1, 3}}
	case InvalidContent:
		return SMTPReply{550, [3]int{5, 6, 0}}
	case Unauthenticated:
		return SMTPReply{530, [3]int{5, 7, 0}}
	case WrongSecret:
		return SMTPReply{535, [3]int{5, 7, 8}}
	case Forbidden:
		return SMTPReply{550, [3]int{5, 7, 1}}
	case NotFound, Withheld:
		return SMTPReply{550, [3]int{5, 1, 1}}
	case Closed:
		return SMTPReply{550, [3]int{5, 2, 1}}
	case TooLarge:
		return SMTPReply{552, [3]int{5, 3, 4}}
	case Quota:
		return SMTPReply{452, [3]int{4, 2, 2}}
	case RateLimited:
		return SMTPReply{450, [3]int{4, 7, 1}}
	case Untrusted:
		return SMTPReply{554, [3]int{5, 7, 1}}
	case Infected:
		return SMTPReply{554, [3]int{5, 7, 0}}
	default: // Conflict, Unavailable, Timeout, Corrupt, Internal, unknown
		return SMTPReply{451, [3]int{4, 3, 0}}
	}
}

// IMAP gives the response code of a NO (RFC 5530, RFC 9051 §7.1).
func (k Kind) IMAP() string {
	switch k {
	case Invalid, InvalidAddress, InvalidContent, Infected:
		return "CANNOT"
	case Unauthenticated, WrongSecret:
		return "AUTHENTICATIONFAILED"
	case Forbidden, Closed:
		return "NOPERM"
	case NotFound, Withheld:
		return "NONEXISTENT"
	case Conflict:
		return "ALREADYEXISTS"
	case TooLarge:
		return "TOOBIG"
	case Quota:
		return "OVERQUOTA"
	case RateLimited:
		return "LIMIT"
	case Untrusted:
		return "PRIVACYREQUIRED"
	case Unavailable, Timeout:
		return "UNAVAILABLE"
	case Corrupt:
		return "CORRUPTION"
	default:
		return "SERVERBUG"
	}
}

// HTTP gives the status of a kind.
func (k Kind) HTTP() int {
	switch k {
	case Invalid, InvalidAddress, InvalidContent:
		return 400
	case Unauthenticated, WrongSecret:
		return 401
	case Forbidden, Untrusted:
		return 403
	case NotFound, Withheld:
		return 404
	case Closed:
		return 410
	case Conflict:
		return 409
	case TooLarge:
		return 413
	case Quota, Infected:
		return 422
	case RateLimited:
		return 429
	case Unavailable:
		return 503
	case Timeout:
		return 504
	default:
		return 500
	}
}

// Text is what a person reads when the fault itself says nothing more precise.
func (k Kind) Text() Text {
	switch k {
	case Invalid:
		return Text{"Cette commande n'est pas valable.", "This command is not valid."}
	case InvalidAddress:
		return Text{"Cette adresse n'est pas valable.", "This address is not valid."}
	case InvalidContent:
		return Text{"Ce message n'est pas conforme et n'a pas été accepté.", "This message is malformed and was not accepted."}
	case Unauthenticated:
		return Text{"Connectez-vous d'abord, sur une liaison chiffrée.", "Sign in first, over an encrypted connection."}
	case WrongSecret:
		return Text{"Identifiant ou mot de passe d'application refusé.", "Name or app password refused."}
	case Forbidden:
		return Text{"Cet envoi n'est pas autorisé.", "This is not allowed."}
	case NotFound, Withheld:
		return Text{"Cette adresse n'existe pas (ou plus).", "This address does not exist (any more)."}
	case Closed:
		return Text{"Cette boîte est fermée.", "This mailbox is closed."}
	case Conflict:
		return Text{"Une autre action vient de modifier ceci. Réessayez.", "Something else has just changed this. Try again."}
	case TooLarge:
		return Text{"Ce message dépasse la taille acceptée.", "This message exceeds the accepted size."}
	case Quota:
		return Text{"La boîte de votre correspondant est pleine.", "The recipient's mailbox is full."}
	case RateLimited:
		return Text{"Trop de demandes. Réessayez dans quelques minutes.", "Too many requests. Try again in a few minutes."}
	case Untrusted:
		return Text{"Ce domaine ou ce serveur ne fait pas partie de l'espace de confiance.", "This domain or server is not part of the trusted circle."}
	case Infected:
		return Text{"Ce message contient un programme dangereux. Il n'a pas été envoyé.", "This message contains malware. It was not sent."}
	case Unavailable, Timeout:
		return Text{"Service momentanément indisponible. Réessayez dans quelques minutes.", "Service temporarily unavailable. Try again in a few minutes."}
	default:
		return Text{"Un problème vient de notre côté. Réessayez dans quelques minutes.", "Something went wrong on our side. Try again in a few minutes."}
	}
}
