package cda

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"pli/fault"
)

// cutter takes embedded files out of a document before the XML decoder sees it, so
// that twenty megabytes of base64 are neither held in memory nor tokenised. The
// elements stay, empty. It works on octets: base64 and markup are ASCII in every
// character set read here.
type cutter struct {
	r     io.Reader
	sink  func(ordinal int) io.Writer // nil, or returns nil, to drop the file
	in    []byte                      // read and not looked at
	out   []byte                      // kept and not given
	bufs  [2][]byte                   // what in and out are cut from
	err   error
	state cutState
	quote byte    // inside a tag
	mark  []byte  // the markup being read, from its '<'
	sizes []int64 // octets of each file as written
	file  bool    // inside a file's element
	to    io.Writer
}

type cutState uint8

const (
	inText cutState = iota
	inMarkup
	inComment
	inCDATA
	inInstruction
)

// maxMarkup bounds one tag or one run of markup, in octets.
const maxMarkup = 256 << 10

const cutChunk = 32 << 10

func newCutter(r io.Reader, sink func(int) io.Writer) *cutter { return &cutter{r: r, sink: sink} }

func (c *cutter) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.fill()
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

func (c *cutter) fill() {
	if c.bufs[0] == nil {
		c.bufs[0], c.bufs[1] = make([]byte, cutChunk), make([]byte, 0, 2*cutChunk)
	}
	n, err := c.r.Read(c.bufs[0])
	c.in, c.out = c.bufs[0][:n], c.bufs[1][:0]
	for len(c.in) > 0 && c.err == nil {
		c.step()
	}
	if c.err == nil {
		c.err = err
	}
}

// step handles what comes up to the next change of state, or all there is.
func (c *cutter) step() {
	switch c.state {
	case inText:
		i := bytes.IndexByte(c.in, '<')
		if i < 0 {
			i = len(c.in)
		} else {
			c.state, c.mark = inMarkup, c.mark[:0]
		}
		c.text(c.in[:i])
		c.in = c.in[i:]
	case inMarkup:
		c.markup()
	case inComment:
		c.until("-->", c.keep)
	case inInstruction:
		c.until("?>", c.keep)
	case inCDATA:
		c.until("]]>", c.text)
	}
}

func (c *cutter) keep(p []byte) { c.out = append(c.out, p...) }

func (c *cutter) text(p []byte) {
	if !c.file {
		c.keep(p)
		return
	}
	c.sizes[len(c.sizes)-1] += int64(len(p))
	if c.to != nil {
		if _, err := c.to.Write(p); err != nil {
			c.err = err
		}
	}
}

// until passes octets to f until end has been seen; end itself is kept. mark holds the
// last octets, which may be the start of end.
func (c *cutter) until(end string, f func([]byte)) {
	c.mark = append(c.mark, c.in[0])
	c.in = c.in[1:]
	if bytes.HasSuffix(c.mark, []byte(end)) {
		f(c.mark[:len(c.mark)-len(end)])
		c.keep([]byte(end))
		c.state, c.mark = inText, c.mark[:0]
		return
	}
	if len(c.mark) >= cutChunk { // give what cannot be part of end
		n := len(c.mark) - len(end) + 1
		f(c.mark[:n])
		c.mark = append(c.mark[:0], c.mark[n:]...)
	}
}

// markup reads one octet of a tag, or finds out that it is no tag.
func (c *cutter) markup() {
	b := c.in[0]
	c.in = c.in[1:]
	c.mark = append(c.mark, b)
	switch s := string(c.mark[:min(len(c.mark), 9)]); {
	case s == "<!--":
		c.enter(inComment)
		return
	case s == "<![CDATA[":
		c.enter(inCDATA)
		return
	case s == "<?":
		c.enter(inInstruction)
		return
	}
	switch {
	case len(c.mark) > maxMarkup:
		c.err = fault.New(fault.InvalidContent, "cda.Read", "markup-too-long")
	case c.quote != 0:
		if b == c.quote {
			c.quote = 0
		}
	case b == '"' || b == '\'':
		c.quote = b
	case b == '>':
		c.tag()
	}
}

func (c *cutter) enter(s cutState) {
	c.keep(c.mark)
	c.state, c.mark = s, c.mark[:0]
}

// tag has read a whole tag: it opens a file's element, or closes whatever was open.
func (c *cutter) tag() {
	c.keep(c.mark)
	c.file, c.to = false, nil
	if isFile(c.mark) {
		c.sizes = append(c.sizes, 0)
		c.file = c.mark[len(c.mark)-2] != '/'
		if c.file && c.sink != nil {
			c.to = c.sink(len(c.sizes) - 1)
		}
	}
	c.state, c.mark = inText, c.mark[:0]
}

// isFile tells whether a start tag has representation="B64".
func isFile(tag []byte) bool {
	rest, ok := tag, false
	if len(tag) < 2 || tag[1] == '/' || tag[1] == '!' {
		return false
	}
	for {
		if _, rest, ok = bytes.Cut(rest, []byte("representation")); !ok {
			return false
		}
		before := tag[len(tag)-len(rest)-len("representation")-1]
		value := bytes.TrimLeft(rest, " \t\r\n")
		if !isSpace(before) || len(value) == 0 || value[0] != '=' {
			continue
		}
		value = bytes.TrimLeft(value[1:], " \t\r\n")
		return bytes.HasPrefix(value, []byte(`"B64"`)) || bytes.HasPrefix(value, []byte(`'B64'`))
	}
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' }

// Extract writes the decoded embedded file m of the document r to w and reads no
// further than that file.
//
// Errors: fault.NotFound when there is no such file, fault.InvalidContent with code
// base64 when it cannot be decoded; those of r and w come out as they are.
func Extract(r io.Reader, m Media, w io.Writer) error {
	const op = "cda.Extract"
	dec := &base64Writer{w: w}
	c := newCutter(r, func(ordinal int) io.Writer {
		if ordinal == m.Ordinal {
			return dec
		}
		return nil
	})
	buf := make([]byte, cutChunk)
	for {
		_, err := c.Read(buf)
		if n := len(c.sizes); n > m.Ordinal+1 || n == m.Ordinal+1 && !c.file {
			return dec.Close()
		}
		if err == io.EOF {
			return fault.New(fault.NotFound, op, "no-such-media")
		}
		if err != nil {
			return err
		}
	}
}

// base64Writer decodes what is written to it, white space ignored.
type base64Writer struct {
	w    io.Writer
	rest []byte // fewer than four characters
	done bool   // padding was seen
}

var errBase64 = errors.New("not base64")

func (b *base64Writer) Write(p []byte) (int, error) {
	clean := make([]byte, 0, len(b.rest)+len(p))
	clean = append(clean, b.rest...)
	for _, ch := range p {
		if !isSpace(ch) {
			clean = append(clean, ch)
		}
	}
	n := len(clean) / 4 * 4
	if err := b.decode(clean[:n]); err != nil {
		return 0, err
	}
	b.rest = append(b.rest[:0], clean[n:]...)
	return len(p), nil
}

func (b *base64Writer) decode(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(p)))
	n, err := base64.StdEncoding.Decode(out, p)
	if err != nil || b.done {
		return fault.Wrap(fault.InvalidContent, "cda.Extract", "base64", errBase64)
	}
	b.done = p[len(p)-1] == '='
	_, err = b.w.Write(out[:n])
	return err
}

// Close decodes a last group whose padding was left out.
func (b *base64Writer) Close() error {
	switch len(b.rest) {
	case 0:
		return nil
	case 1:
		return fault.Wrap(fault.InvalidContent, "cda.Extract", "base64", errBase64)
	}
	return b.decode(append(b.rest, strings.Repeat("=", 4-len(b.rest))...))
}
