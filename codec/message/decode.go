package message

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Decode reads the body of a part, given as it lies in the message, through its
// transfer encoding; text comes out in UTF-8, whatever its charset was. Text in an
// unknown charset comes out as it is, octets that are no UTF-8 replaced. Errors come
// from reading: a body cut short in base64 gives io.ErrUnexpectedEOF at its end.
func Decode(p *Part, r io.Reader) io.Reader {
	switch p.Encoding {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, &alphabet{r: r})
	case "quoted-printable":
		r = &qpReader{br: bufio.NewReader(r)}
	}
	if p.MediaType != "text" {
		return r
	}
	return toUTF8(p.Params["charset"], r)
}

// toUTF8 converts text. Undeclared text is taken for UTF-8 when its first octets are,
// for windows-1252 otherwise: that is what old software sends.
func toUTF8(name string, r io.Reader) io.Reader {
	switch name = strings.ToLower(strings.TrimSpace(name)); name {
	case "utf-8", "utf8":
	case "", "us-ascii", "ascii":
		br := bufio.NewReaderSize(r, 4096)
		if first, err := br.Peek(4096); !validStart(first, err != nil) {
			return charmap.Windows1252.NewDecoder().Reader(br)
		}
		r = br
	default:
		if conv, err := charset.Reader(name, r); err == nil {
			return conv
		}
	}
	return transform.NewReader(r, unicode.UTF8.NewDecoder())
}

// alphabet passes on the characters of base64 and their padding, nothing else
// (RFC 2045 §6.8 tells decoders to ignore the rest). What follows padding is dropped.
type alphabet struct {
	r    io.Reader
	n    int // characters of the current group of four
	over bool
}

func (a *alphabet) Read(p []byte) (int, error) {
	for {
		if a.over {
			return 0, io.EOF
		}
		n, err := a.r.Read(p)
		kept := a.keep(p[:n])
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}

func (a *alphabet) keep(p []byte) int {
	kept := 0
	for _, c := range p {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
		case c == '=' && a.n%4 >= 2:
			if a.n%4 == 3 {
				a.over = true
			}
		default:
			continue
		}
		p[kept] = c
		kept++
		a.n++
		if a.over {
			break
		}
	}
	return kept
}

// qpReader decodes quoted-printable (RFC 2045 §6.7). A malformed sequence comes out as
// it is written: losing the rest of a letter would be worse.
type qpReader struct {
	br   *bufio.Reader
	rest []byte // decoded, not yet read
	cut  []byte // "=" or "=X" at the end of a piece of a long line
	err  error
}

func (q *qpReader) Read(p []byte) (int, error) {
	for len(q.rest) == 0 && q.err == nil {
		piece, err := q.br.ReadSlice('\n')
		if err != bufio.ErrBufferFull {
			q.err = err
		}
		q.decode(append(q.cut, piece...), err == bufio.ErrBufferFull)
	}
	n := copy(p, q.rest)
	q.rest = q.rest[n:]
	if n == 0 && len(p) > 0 {
		return 0, q.err
	}
	return n, nil
}

// decode handles a line, or a piece of one when more of it follows.
func (q *qpReader) decode(line []byte, more bool) {
	q.rest, q.cut = q.rest[:0], nil
	ending := ""
	if !more {
		text := bytes.TrimRight(line, "\r\n")
		ending = string(line[len(text):])
		line = bytes.TrimRight(text, " \t")
		if bytes.HasSuffix(line, []byte("=")) { // soft line break
			line, ending = line[:len(line)-1], ""
		}
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '=' && i+2 < len(line) && isHex(line[i+1]) && isHex(line[i+2]):
			c = unhex(line[i+1])<<4 | unhex(line[i+2])
			i += 2
		case c == '=' && more && i+2 >= len(line):
			q.cut = bytes.Clone(line[i:])
			return
		}
		q.rest = append(q.rest, c)
	}
	q.rest = append(q.rest, ending...)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// validStart reports whether b, the beginning of a text or the whole of it, is UTF-8.
func validStart(b []byte, whole bool) bool {
	for i := 0; !whole && i < utf8.UTFMax-1 && len(b) > 0 && !utf8.Valid(b); i++ {
		b = b[:len(b)-1] // a character may be cut
	}
	return utf8.Valid(b)
}
