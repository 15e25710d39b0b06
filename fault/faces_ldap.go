package fault

// LDAP gives the result code of a kind (RFC 4511 §4.1.9, appendix A). Withheld shows the
// face of NotFound; what was not foreseen is other(80).
func (k Kind) LDAP() int {
	switch k {
	case Invalid, InvalidAddress, InvalidContent:
		return 21 // invalidAttributeSyntax
	case Unauthenticated, WrongSecret:
		return 49 // invalidCredentials
	case Forbidden:
		return 50 // insufficientAccessRights
	case NotFound, Withheld:
		return 32 // noSuchObject
	case Conflict:
		return 68 // entryAlreadyExists
	case TooLarge, Quota:
		return 11 // adminLimitExceeded
	case RateLimited:
		return 51 // busy
	case Untrusted:
		return 13 // confidentialityRequired
	case Closed, Infected:
		return 53 // unwillingToPerform
	case Unavailable, Timeout:
		return 52 // unavailable
	default: // Corrupt, Internal, unknown
		return 80 // other
	}
}
