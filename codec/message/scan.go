package message

import (
	"bytes"
	"io"
	"strings"

	"pli/fault"
)

// Scan reads a message once, to its end, and returns its outline.
//
// Errors: fault.InvalidContent when a limit is passed, and those of r.
func Scan(r io.Reader, lim Limits) (*Outline, error) {
	s := NewScanner(lim)
	if _, err := io.Copy(s, r); err != nil {
		return nil, err
	}
	return s.Finish()
}

// Scanner is Scan for a message that is written to it piece by piece, as when the same
// bytes go elsewhere too. It holds the current header block and a line, not more, and
// takes time in proportion to the octets, however they are nested.
type Scanner struct {
	lim  Limits
	root *Outline
	err  error // first fault; sticks

	off, lf int64  // octets and line feeds taken so far
	held    []byte // beginning of a line that is not complete yet
	middle  bool   // the next octets continue a line that was passed on already
	eol     int64  // octets of the last line's ending: 0, 1 or 2
	last    byte   // last octet taken

	stack   []frame
	header  []byte // block being read, while inBlock
	inBlock bool
	parts   int // found so far
	headers int // octets of all header blocks

	plain, html capture
	taking      *capture // of the leaf on top of the stack; nil for none
}

// frame is a part that is open: the octets being read are inside it.
type frame struct {
	part     *Part
	embedded *Outline // when part is the root of a message; nil otherwise
	boundary string   // of a multipart that still awaits parts; "" otherwise
	lfBody   int64    // line feeds before its body
}

const (
	maxHeld     = 512 // octets; no delimiter line is longer
	maxBoundary = 256 // octets; RFC 2046 §5.1.1 allows 70
)

// NewScanner starts reading a message.
func NewScanner(lim Limits) *Scanner {
	s := &Scanner{lim: lim.withDefaults(), root: &Outline{}, held: make([]byte, 0, maxHeld)}
	s.plain.max, s.html.max = 4<<10, 64<<10
	s.begin(s.root, "text", "plain")
	return s
}

// Write takes the next octets of the message. It fails once a limit is passed.
func (s *Scanner) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && s.err == nil {
		i := bytes.IndexByte(p, '\n') + 1
		complete := i > 0
		if !complete {
			i = len(p)
		}
		s.take(p[:i], complete)
		p = p[i:]
	}
	if s.err != nil {
		return n - len(p), s.err
	}
	return n, nil
}

// take receives octets with no line feed but at their end. The beginning of a line is
// held back until the line is complete, or too long to be a delimiter.
func (s *Scanner) take(b []byte, complete bool) {
	switch {
	case s.middle:
		s.line(b, false, false)
		s.middle = !complete
	case complete && len(s.held) == 0:
		s.line(b, true, len(b) <= maxHeld)
	case len(s.held)+len(b) <= maxHeld:
		s.held = append(s.held, b...)
		if complete {
			s.flush()
		}
	default:
		if len(s.held) > 0 {
			s.line(s.held, true, false)
			s.held = s.held[:0]
			s.line(b, false, false)
		} else {
			s.line(b, true, false)
		}
		s.middle = !complete
	}
}

func (s *Scanner) flush() {
	if len(s.held) > 0 {
		s.line(s.held, true, true)
		s.held = s.held[:0]
	}
}

// Finish says that the message ended and returns its outline.
func (s *Scanner) Finish() (*Outline, error) {
	if s.err == nil {
		s.flush()
	}
	for s.err == nil && s.inBlock {
		s.endHeader()
	}
	if s.err != nil {
		return nil, s.err
	}
	for len(s.stack) > 0 {
		s.close(s.off, s.lf)
	}
	s.root.Size = s.off
	s.root.Preview = preview(&s.plain, &s.html)
	return s.root, nil
}

// line receives a piece of the message: start says that it begins a line, whole that it
// is a line short enough to be a delimiter.
func (s *Scanner) line(b []byte, start, whole bool) {
	if s.err != nil {
		return
	}
	if whole && bytes.HasPrefix(b, []byte("--")) && s.delimiter(b) {
		s.count(b)
		if s.inBlock { // a part begins after this line
			s.stack[len(s.stack)-1].part.HeaderStart = s.off
		}
		return
	}
	if s.inBlock {
		s.headerLine(b, start)
		return
	}
	if s.taking != nil {
		s.taking.add(b)
	}
	s.count(b)
}

func (s *Scanner) count(b []byte) {
	s.off += int64(len(b))
	if b[len(b)-1] == '\n' {
		s.lf++
		s.eol = 1
		if len(b) > 1 && b[len(b)-2] == '\r' || len(b) == 1 && s.last == '\r' {
			s.eol = 2
		}
	} else {
		s.eol = 0
	}
	s.last = b[len(b)-1]
}

func (s *Scanner) headerLine(b []byte, start bool) {
	if len(s.header)+len(b) > s.lim.HeaderSize {
		s.fail("header-too-long")
		return
	}
	if s.headers += len(b); s.headers > s.lim.HeadersSum {
		s.fail("headers-too-long")
		return
	}
	s.header = append(s.header, b...)
	s.count(b)
	if start && isEmptyLine(b) {
		s.endHeader()
	}
}

func (s *Scanner) fail(code string) {
	s.err = fault.New(fault.InvalidContent, "message.Scan", code)
}

// delimiter handles a line that delimits the parts of an open multipart (RFC 2046
// §5.1.1), the innermost first, and reports whether it was one.
func (s *Scanner) delimiter(b []byte) bool {
	text := bytes.TrimRight(b, " \t\r\n")[2:]
	for i := len(s.stack) - 1; i >= 0; i-- {
		d := s.stack[i].boundary
		if d == "" || len(text) < len(d) || string(text[:len(d)]) != d {
			continue
		}
		switch rest := text[len(d):]; {
		case len(rest) == 0:
			s.closeAbove(i)
			s.beginPart()
		case string(rest) == "--":
			s.closeAbove(i)
			s.stack[i].boundary = "" // what follows is its epilogue
		default:
			continue
		}
		return true
	}
	return false
}

// closeAbove ends every part inside the multipart at stack[i]. The line break before
// the delimiter belongs to the delimiter, unless it ended the header of a part.
func (s *Scanner) closeAbove(i int) {
	for s.inBlock && s.err == nil {
		s.endHeader()
	}
	end, lf := s.off-s.eol, s.lf-1
	if end < s.stack[len(s.stack)-1].part.BodyStart {
		end, lf = s.off, s.lf
	}
	for len(s.stack) > i+1 && s.err == nil {
		s.close(end, lf)
	}
}

// close ends the innermost part.
func (s *Scanner) close(end, lf int64) {
	f := s.stack[len(s.stack)-1]
	s.stack = s.stack[:len(s.stack)-1]
	f.part.End, f.part.Lines = end, lf-f.lfBody
	if f.embedded != nil {
		f.embedded.Size = end - f.part.HeaderStart
	}
	if f.part.MediaType == "multipart" && len(f.part.Children) == 0 {
		// Nothing delimits it: it is shown as the text that it is.
		f.part.MediaType, f.part.Subtype, f.part.Params = "text", "plain", nil
		f.part.Filename = filename(f.part)
	}
	s.taking = nil
}

// begin opens the root of a message, whose header comes next.
func (s *Scanner) begin(o *Outline, mediaType, subtype string) {
	o.Root = &Part{MediaType: mediaType, Subtype: subtype, HeaderStart: s.off}
	s.push(frame{part: o.Root, embedded: o})
}

// beginPart opens a new part of the multipart on top of the stack.
func (s *Scanner) beginPart() {
	if s.err != nil {
		return
	}
	parent := s.stack[len(s.stack)-1].part
	p := &Part{MediaType: "text", Subtype: "plain", HeaderStart: s.off}
	if parent.Subtype == "digest" { // RFC 2046 §5.1.5
		p.MediaType, p.Subtype = "message", "rfc822"
	}
	parent.Children = append(parent.Children, p)
	s.push(frame{part: p})
}

func (s *Scanner) push(f frame) {
	if s.parts++; s.parts > s.lim.Parts {
		s.fail("too-many-parts")
		return
	}
	if len(s.stack) > s.lim.Depth {
		s.fail("too-deep")
		return
	}
	s.stack = append(s.stack, f)
	s.header, s.inBlock, s.taking = s.header[:0], true, nil
}

// endHeader reads the header block of the part on top of the stack: its body begins.
func (s *Scanner) endHeader() {
	f := &s.stack[len(s.stack)-1]
	s.inBlock = false
	if f.embedded != nil {
		f.embedded.Header = bytes.Clone(s.header)
	}
	f.part.BodyStart, f.lfBody = s.off, s.lf
	describe(f.part, s.header)
	switch {
	case f.part.MediaType == "multipart":
		if d := f.part.Params["boundary"]; len(d) <= maxBoundary {
			f.boundary = strings.TrimRight(d, " \t")
		}
	case f.part.embeds():
		f.part.Embedded = &Outline{}
		s.begin(f.part.Embedded, "text", "plain")
	default:
		s.choose(f.part)
	}
}

// embeds reports whether the body is a message that can be read as it lies there.
func (p *Part) embeds() bool {
	plain := p.Encoding == "" || p.Encoding == "7bit" || p.Encoding == "8bit" || p.Encoding == "binary"
	return plain && (p.Is("message/rfc822") || p.Is("message/global"))
}

// choose begins to keep the first octets of a leaf for the preview: of the first text
// to read in each form, outside embedded messages.
func (s *Scanner) choose(p *Part) {
	for _, f := range s.stack[1:] {
		if f.embedded != nil {
			return
		}
	}
	switch {
	case p.Attached():
	case p.Is("text/plain") && s.plain.part == nil:
		s.taking = &s.plain
	case p.Is("text/html") && s.html.part == nil:
		s.taking = &s.html
	}
	if s.taking != nil {
		s.taking.part = p
	}
}

// describe fills a part from its header block.
func describe(p *Part, raw []byte) {
	h := parseHeader(raw)
	if v := h.Get("Content-Type"); v != "" {
		kind, params := parseParams(v)
		major, minor, ok := strings.Cut(strings.ToLower(kind), "/")
		if ok && isToken(major) && isToken(minor) {
			p.MediaType, p.Subtype, p.Params = major, minor, params
		} else {
			p.MediaType, p.Subtype, p.Params = "application", "octet-stream", params
		}
	}
	if v := h.Get("Content-Disposition"); v != "" {
		p.Disposition, p.DispositionParams = parseParams(v)
		if p.Disposition = strings.ToLower(p.Disposition); !isToken(p.Disposition) {
			p.Disposition = "attachment" // RFC 2183 §2.8
		}
	}
	p.Filename = filename(p)
	p.ContentID = strings.ToValidUTF8(strings.TrimSpace(h.Get("Content-Id")), "")
	p.Description = decodeWords(strings.TrimSpace(h.Get("Content-Description")))
	p.Encoding = transferEncoding(h.Get("Content-Transfer-Encoding"))
	p.MD5 = strings.ToValidUTF8(strings.TrimSpace(h.Get("Content-Md5")), "")
	p.Location = strings.ToValidUTF8(strings.TrimSpace(h.Get("Content-Location")), "")
	for l := range strings.SplitSeq(h.Get("Content-Language"), ",") {
		if l = strings.TrimSpace(l); isToken(l) {
			p.Language = append(p.Language, l)
		}
	}
}

func filename(p *Part) string {
	if name := p.DispositionParams["filename"]; name != "" {
		return name
	}
	return p.Params["name"]
}

// transferEncoding keeps the first word of the field: some senders add a comment.
func transferEncoding(v string) string {
	v = strings.ToLower(strings.TrimSpace(v))
	if i := strings.IndexAny(v, " \t;("); i >= 0 {
		v = v[:i]
	}
	if !isToken(v) {
		return ""
	}
	return v
}

// isToken reports whether s is a token of RFC 2045 §5.1.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
