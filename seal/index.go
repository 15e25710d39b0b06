package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"pli/internal/keyfile"
)

// Index makes keyed hashes of values that must be found again without being kept: an
// address, an INS, a Message-ID. Whoever holds the database alone can test nothing.
type Index struct{ key []byte }

// NewIndexFile makes an index key file at path, mode 0400. Losing it loses every
// look-up: it is kept with the operator's key. fault.Conflict when there is one.
func NewIndexFile(path string) error { return keyfile.Create(path) }

// OpenIndex reads an index key file. A file that others may read is refused.
func OpenIndex(path string) (*Index, error) {
	key, err := keyfile.Read(path)
	if err != nil {
		return nil, err
	}
	return &Index{key: key}, nil
}

// indexSize is enough for equality: 2^64 values before two are likely to meet.
const indexSize = 16

// Key hashes parts under domain: HMAC-SHA-256 cut to 16 octets. Domains never meet,
// and ("ab", "c") differs from ("a", "bc"): every piece carries its length.
func (ix *Index) Key(domain string, parts ...string) []byte {
	size := 4 + len(domain)
	for _, p := range parts {
		size += 4 + len(p)
	}
	b := appendPiece(make([]byte, 0, size), domain)
	for _, p := range parts {
		b = appendPiece(b, p)
	}
	m := hmac.New(sha256.New, ix.key)
	m.Write(b)
	clear(b)
	return m.Sum(nil)[:indexSize]
}

func appendPiece(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
