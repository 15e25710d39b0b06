package listing

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"pli/fault"
)

// KeyOf is the key of a listing: SHA-256 of its parts, each with its length before it,
// cut to 16 octets. The address is compared without case, the service folded.
func KeyOf(address, pp, place, service string) Key {
	return Key(hash(FoldAddress(address), pp, place, Fold(service)))
}

// String writes the key as 32 hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// ParseKey reads what String writes. Errors: fault.Invalid.
func ParseKey(s string) (Key, error) {
	var k Key
	if len(s) != 2*len(k) {
		return Key{}, fault.New(fault.Invalid, "listing.ParseKey", "not-a-key")
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return Key{}, fault.New(fault.Invalid, "listing.ParseKey", "not-a-key")
	}
	return k, nil
}

// PractitionerID is the FHIR id of a professional: rpps-…, adeli-…, or a hash when the
// identifier is of another type or could not be written in an id.
func PractitionerID(ppType, pp string) string {
	switch {
	case pp == "":
		return ""
	case ppType == "8" && writable(pp):
		return "rpps-" + pp
	case ppType == "0" && writable(pp):
		return "adeli-" + pp
	default:
		return "pp-" + short(ppType, pp)
	}
}

// OrganizationID is the FHIR id of a structure: the first of what identifies it, "" when
// nothing does.
func OrganizationID(finess, siret, siren, technical string) string {
	switch {
	case writable(finess):
		return "finess-" + finess
	case writable(siret):
		return "siret-" + siret
	case finess+siret+siren+technical == "":
		return ""
	default:
		return "st-" + short(finess, siret, siren, technical)
	}
}

// RoleID is the FHIR id of an exercise.
func RoleID(practitioner, organization, profession, knowHow, mode, function string) string {
	return "ro-" + short(practitioner, organization, profession, knowHow, mode, function)
}

// writable reports whether an identifier fits in a FHIR id (64 letters, digits, - and .).
func writable(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

func short(parts ...string) string {
	h := hash(parts...)
	return hex.EncodeToString(h[:])
}

func hash(parts ...string) (k [16]byte) {
	h := sha256.New()
	var size [4]byte
	for _, p := range parts {
		binary.BigEndian.PutUint32(size[:], uint32(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	copy(k[:], h.Sum(nil))
	return k
}
