// Package ticket seals small values that a stranger carries back to us: page cookies,
// search forms. What is in a ticket can be neither read nor made by others.
package ticket

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"time"

	"pli/fault"
)

// Office makes and reads tickets of one kind. It may be used from anywhere at once.
type Office struct{ aead cipher.AEAD }

// New makes an office from a secret of 16 or 32 octets, of this kind of tickets alone.
func New(secret []byte) (*Office, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fault.New(fault.Invalid, "ticket.New", "secret")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "ticket.New", "", err)
	}
	return &Office{aead}, nil
}

const timeSize = 8

// Seal makes a ticket that is good until a time, for whoever bearer names.
func (o *Office) Seal(value []byte, bearer string, until time.Time) string {
	b := make([]byte, o.aead.NonceSize(), o.aead.NonceSize()+timeSize+len(value)+o.aead.Overhead())
	rand.Read(b) // never fails (crypto/rand)
	plain := binary.BigEndian.AppendUint64(make([]byte, 0, timeSize+len(value)), uint64(until.Unix()))
	plain = append(plain, value...)
	return base64.RawURLEncoding.EncodeToString(o.aead.Seal(b, b, plain, []byte(bearer)))
}

// Open reads a ticket. Errors: fault.Invalid, the same for one that is forged, another
// bearer's or too old.
func (o *Office) Open(ticket, bearer string, now time.Time) ([]byte, error) {
	bad := fault.New(fault.Invalid, "ticket.Open", "ticket")
	b, err := base64.RawURLEncoding.DecodeString(ticket)
	n := o.aead.NonceSize()
	if err != nil || len(b) < n {
		return nil, bad
	}
	plain, err := o.aead.Open(nil, b[:n], b[n:], []byte(bearer))
	if err != nil || len(plain) < timeSize || now.Unix() > int64(binary.BigEndian.Uint64(plain)) {
		return nil, bad
	}
	return plain[timeSize:], nil
}
