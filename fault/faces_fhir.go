package fault

// FHIR gives the code of an OperationOutcome's issue (R4, value set issue-type).
func (k Kind) FHIR() string {
	switch k {
	case Invalid, InvalidAddress, InvalidContent:
		return "invalid"
	case Unauthenticated, WrongSecret:
		return "login"
	case Forbidden:
		return "forbidden"
	case NotFound, Withheld:
		return "not-found"
	case Closed:
		return "deleted"
	case Conflict:
		return "conflict"
	case TooLarge:
		return "too-long"
	case Quota, Infected:
		return "business-rule"
	case RateLimited:
		return "throttled"
	case Untrusted:
		return "security"
	case Unavailable:
		return "transient"
	case Timeout:
		return "timeout"
	default: // Corrupt, Internal, unknown
		return "exception"
	}
}
