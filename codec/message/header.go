package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"slices"
	"strings"

	gomessage "github.com/emersion/go-message"
	"github.com/emersion/go-message/charset"
	"github.com/emersion/go-message/textproto"

	"pli/fault"
)

// ReadHeader reads a header block up to and with the empty line that ends it, of max
// octets at most. A message that ends inside its header is returned as it is, without
// that line. Errors: fault.InvalidContent when it is longer, and those of the reader.
func ReadHeader(br *bufio.Reader, max int) (raw []byte, err error) {
	start := true // of a line
	for {
		piece, err := br.ReadSlice('\n')
		if len(raw)+len(piece) > max {
			return nil, fault.New(fault.InvalidContent, "message.ReadHeader", "header-too-long")
		}
		raw = append(raw, piece...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF:
			return raw, nil
		case err != nil:
			return nil, err
		case start && isEmptyLine(piece):
			return raw, nil
		}
		start = err == nil
	}
}

// WithoutFields returns a header block without the fields of these names, its other
// octets as they were.
func WithoutFields(raw []byte, names ...string) []byte {
	out := make([]byte, 0, len(raw))
	dropping := false
	for len(raw) > 0 {
		line := cutLine(&raw)
		if isEmptyLine(line) {
			return append(append(out, line...), raw...)
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, ok := bytes.Cut(line, []byte(":"))
			dropping = ok && slices.ContainsFunc(names, func(n string) bool {
				return strings.EqualFold(n, string(bytes.TrimRight(name, " \t")))
			})
		}
		if !dropping {
			out = append(out, line...)
		}
	}
	return out
}

func isEmptyLine(b []byte) bool { return string(b) == "\r\n" || string(b) == "\n" }

// parseHeader reads the fields of a header block. A line that is no field is left out
// rather than failing the whole: the block itself is kept as it came.
func parseHeader(raw []byte) textproto.Header {
	var fields [][]byte
	for len(raw) > 0 {
		line := cutLine(&raw)
		if isEmptyLine(line) {
			break
		}
		if (line[0] == ' ' || line[0] == '\t') && len(fields) > 0 {
			last := &fields[len(fields)-1]
			*last = (*last)[:len(*last)+len(line)] // lines of one field touch in raw
			continue
		}
		fields = append(fields, line)
	}
	var h textproto.Header
	for i := len(fields) - 1; i >= 0; i-- { // AddRaw puts on top
		if f := fields[i]; wellFormed(f) {
			h.AddRaw(withCRLF(f))
		}
	}
	return h
}

func cutLine(raw *[]byte) []byte {
	i := bytes.IndexByte(*raw, '\n')
	if i < 0 {
		i = len(*raw) - 1
	}
	line := (*raw)[:i+1]
	*raw = (*raw)[i+1:]
	return line
}

// withCRLF gives a field the ending that go-message expects, without touching the
// bytes that follow it in the block.
func withCRLF(f []byte) []byte {
	if bytes.HasSuffix(f, []byte("\r\n")) {
		return f
	}
	f = bytes.TrimRight(f, "\r\n")
	return append(f[:len(f):len(f)], "\r\n"...)
}

// wellFormed reports whether f is "name:…" with a name of printable ASCII
// (RFC 5322 §2.2).
func wellFormed(f []byte) bool {
	i := bytes.IndexByte(f, ':')
	if i < 1 {
		return false
	}
	for _, c := range bytes.TrimRight(f[:i], " \t") {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(bytes.TrimRight(f[:i], " \t")) > 0
}

var words = mime.WordDecoder{CharsetReader: charset.Reader}

// decodeWords decodes the encoded words of s (RFC 2047); text in an unknown charset
// stays as it is written.
func decodeWords(s string) string {
	d, err := words.DecodeHeader(s)
	if err != nil {
		d = s
	}
	return strings.ToValidUTF8(d, "\uFFFD")
}

// parseParams reads a Content-Type or Content-Disposition. What cannot be read gives ""
// and the parameters that could.
func parseParams(value string) (kind string, params map[string]string) {
	var h gomessage.Header
	h.Set("Content-Type", value)
	kind, params, err := h.ContentType()
	if err != nil {
		kind, params = looseParams(value)
	}
	for k, v := range params {
		params[k] = strings.ToValidUTF8(v, "\uFFFD")
	}
	return kind, params
}

// looseParams reads what mime.ParseMediaType refuses: file names with raw accents,
// repeated or empty parameters. The first of each name is kept.
func looseParams(value string) (string, map[string]string) {
	pieces := splitOutside(value, ';')
	params := map[string]string{}
	for _, p := range pieces[1:] {
		k, v, ok := strings.Cut(p, "=")
		k = strings.ToLower(strings.TrimSpace(k))
		if _, again := params[k]; !ok || k == "" || again {
			continue
		}
		params[k] = decodeWords(unquote(strings.TrimSpace(v)))
	}
	return strings.ToLower(strings.TrimSpace(pieces[0])), params
}

// splitOutside splits s at sep where sep is not inside quotes, angle brackets or a
// comment.
func splitOutside(s string, sep byte) []string {
	var out []string
	var quoted bool
	var depth, from int
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(' || c == '<':
			depth++
		case (c == ')' || c == '>') && depth > 0:
			depth--
		case c == sep && depth == 0:
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i < len(s)-2 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
