package pipeline

import (
	"bytes"
	"fmt"
	"io"

	"pli/fault"
)

// wire is a message as it comes in: bounded, its lines ended by CRLF and by nothing
// else. A bare CR or LF is refused, since another server might read it as the end of
// the message (SMTP smuggling; RFC 5321 §2.3.8), and so is NUL, which no IMAP literal
// may hold (RFC 9051 §4.3).
type wire struct {
	r    io.Reader
	max  int64
	size int64 // octets so far
	cr   bool  // the last octet was CR
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.size += int64(n); w.size > w.max {
		return 0, tooLarge(w.max)
	}
	if !w.clean(p[:n]) || err == io.EOF && w.cr {
		return 0, fault.New(fault.InvalidContent, "pipeline.read", "bare-line-break").Say(
			"Ce message contient des fins de ligne non conformes.",
			"This message contains malformed line endings.")
	}
	return n, err
}

func (w *wire) clean(b []byte) bool {
	if bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	for len(b) > 0 {
		if w.cr {
			if b[0] != '\n' {
				return false
			}
			w.cr, b = false, b[1:]
			continue
		}
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			return bytes.IndexByte(b, '\n') < 0
		}
		if bytes.IndexByte(b[:i], '\n') >= 0 {
			return false
		}
		w.cr, b = true, b[i+1:]
	}
	return true
}

func tooLarge(max int64) error {
	content := max * 100 / 140 >> 20 // base64 and its line breaks take 37 % more
	return fault.New(fault.TooLarge, "pipeline.read", "too-large").Say(
		fmt.Sprintf("Ce message dépasse la taille acceptée : %d Mo de pièces jointes. Envoyez-le en plusieurs fois.", content),
		fmt.Sprintf("This message exceeds the accepted size: %d MB of attachments. Send it in several parts.", content))
}

// mended ends every line with CRLF, whatever ended it: a folder takes what a mail
// program kept in its own way.
type mended struct {
	r    io.Reader
	buf  [8 << 10]byte
	out  []byte // mended, not yet read
	room [16 << 10]byte
	cr   bool // the last octet was CR, and is out as CRLF
	err  error
}

func (m *mended) Read(p []byte) (int, error) {
	for len(m.out) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		var n int
		n, m.err = m.r.Read(m.buf[:])
		m.out = m.mend(m.buf[:n], m.room[:0])
	}
	n := copy(p, m.out)
	m.out = m.out[n:]
	return n, nil
}

func (m *mended) mend(in, out []byte) []byte {
	for _, c := range in {
		switch {
		case c == '\n' && m.cr:
		case c == '\n' || c == '\r':
			out = append(out, '\r', '\n')
		default:
			out = append(out, c)
		}
		m.cr = c == '\r'
	}
	return out
}
