package imapd

import "bytes"

// splitPlain parts the message of SASL PLAIN (RFC 4616 §2).
func splitPlain(b []byte) (authzid, authcid, password string, ok bool) {
	parts := bytes.Split(b, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || len(b) > maxAnswer {
		return "", "", "", false
	}
	return string(parts[0]), string(parts[1]), string(parts[2]), true
}
