// Package xmlsafe reads XML from strangers: token by token, with bounds on size, depth
// and number of elements, no document type, no entity but XML's own five, and four
// character sets. Nothing is resolved and nothing is fetched.
package xmlsafe

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"golang.org/x/text/encoding/charmap"

	"pli/fault"
)

// Limits of a document; a zero field means the default.
type Limits struct {
	Depth    int   // 100
	Elements int   // 200,000
	Size     int64 // octets, 32 MiB
}

func (l Limits) orDefault() Limits {
	if l.Depth == 0 {
		l.Depth = 100
	}
	if l.Elements == 0 {
		l.Elements = 200_000
	}
	if l.Size == 0 {
		l.Size = 32 << 20
	}
	return l
}

// Decoder gives the tokens of one document.
type Decoder struct {
	x               *xml.Decoder
	lim             Limits
	depth, elements int
	src             *limited
}

// NewDecoder reads r, whose byte order mark, if any, is dropped.
func NewDecoder(r io.Reader, lim Limits) *Decoder {
	d := &Decoder{lim: lim.orDefault()}
	d.src = &limited{r: r, left: d.lim.Size}
	br := bufio.NewReader(d.src)
	if head, _ := br.Peek(3); bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		_, _ = br.Discard(3) // three octets were just seen
	}
	d.x = xml.NewDecoder(br)
	d.x.CharsetReader = charset
	return d
}

var errTooLarge = errors.New("too large")

// limited fails, where io.LimitReader would end quietly.
type limited struct {
	r    io.Reader
	left int64
	err  error
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, errTooLarge
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	l.left -= int64(n)
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}

func charset(label string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "utf-8", "utf8", "us-ascii":
		return r, nil
	case "iso-8859-1", "latin1":
		return charmap.ISO8859_1.NewDecoder().Reader(r), nil
	case "iso-8859-15":
		return charmap.ISO8859_15.NewDecoder().Reader(r), nil
	case "windows-1252", "cp1252":
		return charmap.Windows1252.NewDecoder().Reader(r), nil
	}
	return nil, errors.New("character set not read here")
}

// Token gives the next start, end or text token, copied where it would not last, and
// io.EOF after the root's end. Text outside the root, comments and processing
// instructions are passed over.
//
// Errors: fault.InvalidContent with code doctype, depth, elements, too-large or xml;
// an error of the underlying reader comes out as it is.
func (d *Decoder) Token() (xml.Token, error) {
	const op = "xmlsafe.Token"
	for {
		t, err := d.x.Token()
		if err != nil {
			return nil, d.fail(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			d.depth++
			d.elements++
			if d.depth > d.lim.Depth {
				return nil, fault.New(fault.InvalidContent, op, "depth")
			}
			if d.elements > d.lim.Elements {
				return nil, fault.New(fault.InvalidContent, op, "elements")
			}
			return t, nil
		case xml.EndElement:
			d.depth--
			return t, nil
		case xml.CharData:
			if d.depth > 0 {
				return t, nil
			}
		case xml.Directive:
			return nil, fault.New(fault.InvalidContent, op, "doctype")
		}
	}
}

// fail translates: the decoder's errors quote the document.
func (d *Decoder) fail(err error) error {
	const op = "xmlsafe.Token"
	switch {
	case d.src.err != nil:
		return d.src.err
	case d.src.left < 0:
		return fault.New(fault.InvalidContent, op, "too-large")
	case err == io.EOF && d.elements > 0 && d.depth == 0:
		return io.EOF
	}
	return fault.New(fault.InvalidContent, op, "xml")
}
