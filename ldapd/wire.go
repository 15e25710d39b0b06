package ldapd

import (
	"errors"
	"io"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// Tags of protocol operations (RFC 4511 §4.2 to §4.14), as they are on the wire.
const (
	tagBindRequest       = 0x60
	tagBindResponse      = 0x61
	tagUnbindRequest     = 0x42
	tagSearchRequest     = 0x63
	tagSearchResultEntry = 0x64
	tagSearchResultDone  = 0x65
	tagModifyRequest     = 0x66
	tagAddRequest        = 0x68
	tagDelRequest        = 0x4a
	tagModifyDNRequest   = 0x6c
	tagCompareRequest    = 0x6e
	tagAbandonRequest    = 0x50
	tagExtendedRequest   = 0x77
	tagExtendedResponse  = 0x78
)

// responseTag is the answer to each request that has one.
var responseTag = map[byte]byte{
	tagBindRequest: tagBindResponse, tagSearchRequest: tagSearchResultDone, tagModifyRequest: 0x67, tagAddRequest: 0x69,
	tagDelRequest: 0x6b, tagModifyDNRequest: 0x6d, tagCompareRequest: 0x6f, tagExtendedRequest: tagExtendedResponse,
}

const (
	maxMessage = 64 << 10 // octets of one message
	maxNesting = 60       // of anything in a message
	longForm   = 0x80
)

var (
	errMalformed = errors.New("ldapd: not a message")
	errTooLarge  = errors.New("ldapd: message too large")
	errTooDeep   = errors.New("ldapd: message too deep")
)

// message is an LDAPMessage (RFC 4511 §4.1.1) whose parts are known to be well formed.
type message struct {
	id       int64
	tag      byte   // of the operation
	op       []byte // the operation, whole
	controls []byte // the elements of the controls
}

// readMessage reads the content of one LDAPMessage. Its length is judged before its
// content is waited for: only a definite length of maxMessage at most is taken.
func readMessage(r interface {
	io.Reader
	io.ByteReader
}, first byte) ([]byte, error) {
	if first != 0x30 {
		return nil, errMalformed
	}
	n, err := readLength(r)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	return b, nil
}

func readLength(r io.ByteReader) (int, error) {
	b, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	if b < longForm {
		return int(b), nil
	}
	count := int(b &^ longForm)
	if count == 0 || count > 8 { // indefinite (RFC 4511 §5.1), or absurd
		return 0, errMalformed
	}
	n := 0
	for range count {
		if b, err = r.ReadByte(); err != nil {
			return 0, err
		}
		if n = n<<8 | int(b); n > maxMessage {
			return 0, errTooLarge
		}
	}
	return n, nil
}

// parseMessage takes the content of an LDAPMessage apart. With errTooDeep the message
// still has its id and tag, so that it can be answered.
func parseMessage(b []byte) (message, error) {
	var m message
	tag, content, rest, ok := element(b)
	if !ok || tag != 0x02 || len(content) == 0 || len(content) > 5 {
		return m, errMalformed
	}
	for _, c := range content {
		m.id = m.id<<8 | int64(c)
	}
	if content[0] >= 0x80 || m.id <= 0 || m.id > 1<<31-1 { // RFC 4511 §4.1.1.1; 0 is the server's
		return m, errMalformed
	}
	m.tag, _, b, ok = element(rest)
	if !ok {
		return m, errMalformed
	}
	m.op = rest[:len(rest)-len(b)]
	if len(b) > 0 {
		tag, content, rest, ok = element(b)
		if !ok || tag != 0xa0 || len(rest) > 0 {
			return m, errMalformed
		}
		m.controls = content
	}
	for _, part := range [][]byte{m.op, m.controls} {
		if err := check(part, maxNesting); err != nil {
			return m, err
		}
	}
	return m, nil
}

// element cuts the first element off b. Only what LDAP uses of BER passes: tags of one
// octet, definite lengths (RFC 4511 §5.1).
func element(b []byte) (tag byte, content, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, nil, false
	}
	tag, n, b := b[0], int(b[1]), b[2:]
	if n >= longForm {
		count := n &^ longForm
		if count == 0 || count > 4 || count > len(b) {
			return 0, nil, nil, false
		}
		n = 0
		for _, c := range b[:count] {
			n = n<<8 | int(c)
		}
		b = b[count:]
	}
	if n > len(b) {
		return 0, nil, nil, false
	}
	return tag, b[:n], b[n:], true
}

// check walks through elements, down to a depth.
func check(b []byte, depth int) error {
	for len(b) > 0 {
		tag, content, rest, ok := element(b)
		if !ok {
			return errMalformed
		}
		if b = rest; tag&0x20 == 0 {
			continue
		}
		if depth == 0 {
			return errTooDeep
		}
		if err := check(content, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// decode reads the operation of a message.
func (m message) decode() (*ber.Packet, error) {
	p, err := ber.DecodePacketErr(m.op)
	if err != nil {
		return nil, errMalformed
	}
	return p, nil
}

// text is the content of a primitive element.
func text(p *ber.Packet) string {
	if p.Data == nil {
		return ""
	}
	return p.Data.String()
}

// is reports whether p is a universal element of a kind.
func is(p *ber.Packet, tag ber.Tag) bool { return p.ClassType == ber.ClassUniversal && p.Tag == tag }

// number reads a universal INTEGER, ENUMERATED or BOOLEAN.
func number(p *ber.Packet, tag ber.Tag) (int64, bool) {
	if !is(p, tag) || p.TagType != ber.TypePrimitive {
		return 0, false
	}
	n, err := ber.ParseInt64(p.Data.Bytes())
	return n, err == nil && p.Data.Len() > 0
}

// octets reads a universal OCTET STRING.
func octets(p *ber.Packet) (string, bool) {
	return text(p), is(p, ber.TagOctetString) && p.TagType == ber.TypePrimitive
}

// control is a request control (RFC 4511 §4.1.11).
type control struct {
	oid      string
	critical bool
	value    []byte
}

func parseControls(b []byte) ([]control, error) {
	var cs []control
	for len(b) > 0 {
		tag, content, rest, ok := element(b)
		if !ok || tag != 0x30 {
			return nil, errMalformed
		}
		b = rest
		var c control
		tag, oid, content, ok := element(content)
		if !ok || tag != 0x04 {
			return nil, errMalformed
		}
		c.oid = string(oid)
		for len(content) > 0 {
			var v []byte
			if tag, v, content, ok = element(content); !ok {
				return nil, errMalformed
			}
			switch {
			case tag == 0x01 && len(v) == 1 && c.value == nil:
				c.critical = v[0] != 0
			case tag == 0x04 && c.value == nil:
				c.value = v
			default:
				return nil, errMalformed
			}
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// The writer below appends BER to a buffer. What holds others gets a length of four
// octets, set at its end: allowed, and nothing is built twice.

func appendLength(b []byte, n int) []byte {
	switch {
	case n < longForm:
		return append(b, byte(n))
	case n < 1<<8:
		return append(b, 0x81, byte(n))
	case n < 1<<16:
		return append(b, 0x82, byte(n>>8), byte(n))
	default:
		return append(b, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

func appendString[S ~string | ~[]byte](b []byte, tag byte, s S) []byte {
	b = appendLength(append(b, tag), len(s))
	return append(b, s...)
}

// appendNumber wants n of 0 or more.
func appendNumber(b []byte, tag byte, n int64) []byte {
	size := 1
	for v := n; v > 0x7f; v >>= 8 {
		size++
	}
	b = append(b, tag, byte(size))
	for i := size - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

func begin(b []byte, tag byte) ([]byte, int) {
	b = append(b, tag, 0x84, 0, 0, 0, 0)
	return b, len(b)
}

func end(b []byte, mark int) {
	n := len(b) - mark
	b[mark-4], b[mark-3], b[mark-2], b[mark-1] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
}
