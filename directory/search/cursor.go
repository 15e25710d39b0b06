package search

import (
	"encoding/base64"
	"encoding/binary"
	"unicode/utf8"

	"pli/directory/listing"
)

// Modes of a search: by arms, one after the other; through a set of rows that an index
// gives; or by walking the listings in the order of names.
const (
	byArms byte = 1 + iota
	bySet
	byWalk
)

// place is where a page ended: a position in the order, not in an edition, so that it
// stays good when the national part is renewed.
type place struct {
	mode  byte
	round byte // of other spellings
	step  byte // the arm, or the tier of a set
	rank  int32
	key   listing.Key
	sort  string
}

const (
	cursorVersion = 1
	cursorHead    = 1 + 3 + 4 + 16
	maxSort       = 2_000 // octets
)

func (p place) String() string {
	if p.mode == 0 {
		return ""
	}
	b := []byte{cursorVersion, p.mode, p.round, p.step}
	b = binary.BigEndian.AppendUint32(b, uint32(p.rank))
	b = append(b, p.key[:]...)
	b = append(b, p.sort...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// parsePlace reads what String writes. Errors: fault.Invalid.
func parsePlace(s string) (place, error) {
	if s == "" {
		return place{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < cursorHead || len(b) > cursorHead+maxSort || b[0] != cursorVersion || !utf8.Valid(b[cursorHead:]) {
		return place{}, invalid("page")
	}
	p := place{mode: b[1], round: b[2], step: b[3], rank: int32(binary.BigEndian.Uint32(b[4:])), sort: string(b[cursorHead:])}
	copy(p.key[:], b[8:])
	ok := p.mode >= byArms && p.mode <= byWalk && p.round <= maxRounds
	for _, c := range b[cursorHead:] {
		ok = ok && c != 0
	}
	if !ok {
		return place{}, invalid("page")
	}
	return p, nil
}
