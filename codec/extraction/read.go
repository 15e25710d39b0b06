package extraction

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// lineSize is the longest line that is read, in octets.
const lineSize = 64 << 10

// Reader reads the lines of a file one by one. T is Correspondance or Activity. It
// belongs to one goroutine.
type Reader[T any] struct {
	in     *bufio.Reader
	fields []func(*T) *string // by place in the file; nil is a column of no use here
	check  func(*T) string    // the cause of a refusal, or none
	line   int64
	err    error // that ended the reading
}

// NewCorrespondances reads the header of an Extraction_Correspondance_MSSante.
//
// Errors: fault.InvalidContent with code no-header, or columns around a *MissingError;
// ErrTruncated; those of r.
func NewCorrespondances(r io.Reader) (*Reader[Correspondance], error) {
	return newReader(r, correspondanceColumns, checkCorrespondance)
}

// NewActivities reads the header of a PS_LibreAcces_Personne_activite. Errors as
// NewCorrespondances.
func NewActivities(r io.Reader) (*Reader[Activity], error) {
	return newReader(r, activityColumns, checkActivity)
}

func newReader[T any](r io.Reader, columns []column[T], check func(*T) string) (*Reader[T], error) {
	const op = "extraction.NewReader"
	in := &Reader[T]{in: bufio.NewReaderSize(r, lineSize), check: check}
	raw, ended, err := in.next()
	if err != nil {
		if errors.Is(err, io.EOF) || errors.As(err, new(*LineError)) {
			return nil, refuse(op, "no-header", nil)
		}
		return nil, err
	}
	header := strings.Split(strings.TrimPrefix(string(raw), "\ufeff"), "|")
	if in.fields, err = place(header, columns); err != nil {
		if !ended {
			return nil, ErrTruncated
		}
		return nil, refuse(op, "columns", err)
	}
	return in, nil
}

// place finds the columns in a header.
func place[T any](header []string, columns []column[T]) ([]func(*T) *string, error) {
	if n := len(header); n > 1 && strings.TrimSpace(header[n-1]) == "" {
		header = header[:n-1]
	}
	at := make(map[string]int, len(header))
	for i, name := range header {
		if _, twice := at[foldName(name)]; !twice {
			at[foldName(name)] = i
		}
	}
	fields := make([]func(*T) *string, len(header))
	var missing []string
	for _, c := range columns {
		i, ok := at[foldName(c.name)]
		for k := 0; !ok && k < len(c.aliases); k++ {
			i, ok = at[foldName(c.aliases[k])]
		}
		switch {
		case ok:
			fields[i] = c.field
		case c.required:
			missing = append(missing, c.name)
		}
	}
	if missing != nil {
		return nil, &MissingError{missing}
	}
	return fields, nil
}

// Line is the number of the line last read; the header is 1.
func (r *Reader[T]) Line() int64 { return r.line }

// Next reads the next line into v, whose former content is overwritten. Empty lines are
// passed over.
//
// Errors: io.EOF at the end; *LineError for a line that cannot be used, after which Next
// goes on; ErrTruncated when the file stops before its end; those of the reader given.
// All but *LineError end the reading.
func (r *Reader[T]) Next(v *T) error {
	if r.err != nil {
		return r.err
	}
	raw, ended, err := r.next()
	if err != nil {
		if !errors.As(err, new(*LineError)) {
			r.err = err
		}
		return err
	}
	if cause := r.parse(v, raw); cause != "" {
		if !ended { // the last line, without its end
			r.err = ErrTruncated
			return r.err
		}
		return &LineError{r.line, cause}
	}
	return nil
}

// parse fills v from a line and says why it cannot.
func (r *Reader[T]) parse(v *T, raw []byte) (cause string) {
	plain, valid := look(raw)
	if !valid {
		return "encoding"
	}
	var line string // one allocation for all its fields
	if plain {
		line = string(raw)
	} else {
		line = tidy(raw)
	}
	var zero T
	*v = zero
	for i, field := range r.fields {
		value := line
		bar := strings.IndexByte(line, '|')
		if bar < 0 && i != len(r.fields)-1 {
			return "fields"
		}
		if bar >= 0 {
			value, line = line[:bar], line[bar+1:]
		} else {
			line = ""
		}
		if field != nil && value != "" {
			*field(v) = trim(value)
		}
	}
	if line != "" { // past the last column; one bar at the end is nothing
		return "fields"
	}
	return r.check(v)
}

// next gives the octets of the next line that is not empty, without its end; they are
// good until the next call. ended says that its newline was there.
func (r *Reader[T]) next() (raw []byte, ended bool, err error) {
	for {
		raw, err = r.in.ReadSlice('\n')
		if len(raw) == 0 && err == io.EOF {
			return nil, false, io.EOF
		}
		r.line++
		switch {
		case err == nil:
			ended = true
		case err == io.EOF:
		case errors.Is(err, bufio.ErrBufferFull):
			if err := r.skip(); err != nil {
				return nil, false, err
			}
			return nil, true, &LineError{r.line, "too-long"}
		default:
			return nil, false, cut(err)
		}
		raw = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
		if len(raw) > 0 {
			return raw, ended, nil
		}
	}
}

// skip goes past the end of a line that is too long.
func (r *Reader[T]) skip() error {
	for {
		switch _, err := r.in.ReadSlice('\n'); {
		case err == nil:
			return nil
		case err == io.EOF:
			return ErrTruncated
		case !errors.Is(err, bufio.ErrBufferFull):
			return cut(err)
		}
	}
}

// cut turns what a damaged or shortened archive says into ErrTruncated.
func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat) {
		return ErrTruncated
	}
	return err
}

// look says whether every character of a line is fit as it is, and whether it is UTF-8.
func look(raw []byte) (plain, valid bool) {
	plain = true
	for i := 0; i < len(raw); {
		c := raw[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				plain = false
			}
			i++
			continue
		}
		ch, n := utf8.DecodeRune(raw[i:])
		if ch == utf8.RuneError && n <= 1 {
			return false, false
		}
		if unfit(ch) {
			plain = false
		}
		i += n
	}
	return plain, true
}

// unfit are characters that print nothing, or that change what is around them.
func unfit(ch rune) bool {
	return ch < ' ' || ch >= 0x7f && ch <= 0xa0 || ch >= 0x200b && ch <= 0x200f || ch >= 0x2028 && ch <= 0x202f ||
		ch >= 0x2060 && ch <= 0x206f || ch == 0xfeff || ch == utf8.RuneError
}

// tidy puts a space where a character is unfit.
func tidy(raw []byte) string {
	return strings.Map(func(ch rune) rune {
		if unfit(ch) {
			return ' '
		}
		return ch
	}, string(raw))
}

// trim is strings.TrimSpace for what tidy leaves.
func trim(s string) string {
	for s != "" && s[0] == ' ' {
		s = s[1:]
	}
	for s != "" && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	return s
}

func checkCorrespondance(c *Correspondance) string {
	switch c.Kind {
	case "PER", "ORG", "APP", "CAB":
	default:
		c.Kind = strings.ToUpper(c.Kind)
		if c.Kind != "PER" && c.Kind != "ORG" && c.Kind != "APP" && c.Kind != "CAB" {
			return "kind"
		}
	}
	if !addressLike(c.Address) {
		return "address"
	}
	c.Address = strings.ToLower(c.Address)
	return ""
}

func checkActivity(a *Activity) string {
	if a.PP == "" && a.PPNational == "" {
		return "no-identifier"
	}
	return ""
}

// addressLike asks for local@domain.tld in printable ASCII, the domain written in its one
// form: a dot at its end would make another of it for whoever compares.
func addressLike(s string) bool {
	at := strings.IndexByte(s, '@')
	if at < 1 || at > 64 {
		return false
	}
	for i := range at {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == ',' || c == ';' || c == '"' || c == '\\' || c == '(' || c == ')':
			return false
		}
	}
	return domainLike(s[at+1:])
}

// domainLike asks for two labels or more, of letters, digits, hyphens and underscores.
func domainLike(s string) bool {
	label, dots := 0, 0 // octets of the label so far
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && label == 0:
			return false
		case c == '.':
			label, dots = 0, dots+1
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_':
			label++
		default:
			return false
		}
	}
	return dots > 0 && label > 0 && len(s) <= 253
}
