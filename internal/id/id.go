// Package id holds the opaque identifiers of the house, each its own type so that the
// compiler catches a swap. None tells anything about a person; all may be logged.
package id

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// Row numbers given by PostgreSQL.
type (
	BAL     int64
	Account int64
	Holder  int64 // of a sealing key
	Mailbox int64
	Patient int64
)

// Letter names one sealed message body, and its blob.
type Letter = ID

// Document names one document of a dossier.
type Document = ID

// ID is 16 random octets, printed as a UUID (version 4).
type ID [16]byte

// New returns a random ID.
func New() ID {
	var v ID
	rand.Read(v[:]) // never fails (crypto/rand)
	v[6] = v[6]&0x0f | 0x40
	v[8] = v[8]&0x3f | 0x80
	return v
}

func (v ID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", v[:4], v[4:6], v[6:8], v[8:10], v[10:])
}

// IsZero reports whether there is no ID.
func (v ID) IsZero() bool { return v == ID{} }

// Parse reads the form that String writes.
func Parse(s string) (ID, error) {
	var v ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, fmt.Errorf("id.Parse: not an identifier")
	}
	if _, err := hex.Decode(v[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:])); err != nil {
		return ID{}, fmt.Errorf("id.Parse: not an identifier")
	}
	return v, nil
}
