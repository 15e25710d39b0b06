package message

import (
	"encoding/binary"
	"maps"
	"slices"

	"pli/fault"
)

// version begins every stored outline. The list of words below belongs to it: a change
// to either needs a new version, read beside the old one.
const version = 1

// common are the words that most outlines hold; they are stored by their number.
var common = []string{
	"", "text", "plain", "html", "multipart", "mixed", "alternative", "related", "application", "pdf",
	"zip", "octet-stream", "image", "jpeg", "png", "message", "rfc822", "report", "charset", "utf-8",
	"boundary", "name", "format", "flowed", "filename", "size", "attachment", "inline", "base64", "quoted-printable",
	"7bit", "8bit", "us-ascii", "iso-8859-1", "windows-1252", "IHE_XDM.ZIP", "IHE_XDM.zip", "report-type", "delivery-status",
	"disposition-notification", "rfc822-headers", "type", "text/html", "fr", "en", "UTF-8", "binary", "digest", "delsp", "yes",
}

var commonNumber = func() map[string]int {
	m := map[string]int{}
	for i, w := range common {
		m[w] = i
	}
	return m
}()

// Marshal writes the outline in the compact form that Unmarshal reads: its header, and
// about 40 octets a part.
func (o *Outline) Marshal() []byte {
	w := make(writer, 0, len(o.Header)+len(o.Preview)+64)
	w = append(w, version)
	w.number(o.Size)
	w.word(o.Preview)
	w.word(o.ReversePath)
	w.outline(o, 0)
	return w
}

type writer []byte

func (w *writer) number(n int64) { *w = binary.AppendUvarint(*w, uint64(n)) }

func (w *writer) word(s string) {
	if n, ok := commonNumber[s]; ok {
		w.number(int64(n)<<1 | 1)
		return
	}
	w.number(int64(len(s)) << 1)
	*w = append(*w, s...)
}

func (w *writer) params(m map[string]string) {
	w.number(int64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		w.word(k)
		w.word(m[k])
	}
}

// outline writes a message that begins at from.
func (w *writer) outline(o *Outline, from int64) {
	w.number(int64(len(o.Header)))
	*w = append(*w, o.Header...)
	w.part(o.Root, from)
}

// part writes a part whose header begins at or after from.
func (w *writer) part(p *Part, from int64) {
	w.number(p.HeaderStart - from)
	w.number(p.BodyStart - p.HeaderStart)
	w.number(p.End - p.BodyStart)
	w.number(p.Lines)
	w.word(p.MediaType)
	w.word(p.Subtype)
	w.params(p.Params)
	w.word(p.Disposition)
	w.params(p.DispositionParams)
	for _, s := range []string{p.Encoding, p.ContentID, p.Description, p.MD5, p.Location} {
		w.word(s)
	}
	w.number(int64(len(p.Language)))
	for _, l := range p.Language {
		w.word(l)
	}
	w.number(int64(len(p.Children)))
	for _, c := range p.Children {
		w.part(c, p.BodyStart)
	}
	if p.Embedded == nil {
		w.number(0)
		return
	}
	w.number(1)
	w.outline(p.Embedded, p.BodyStart)
}

// Unmarshal reads what Marshal wrote. Errors: fault.Corrupt.
func Unmarshal(b []byte) (*Outline, error) {
	r := reader{b: b}
	if len(b) == 0 || b[0] != version {
		return nil, fault.New(fault.Corrupt, "message.Unmarshal", "version")
	}
	r.b = b[1:]
	size := r.number()
	preview, reverse := r.word(), r.word()
	o := r.outline(0, 0)
	if r.bad || len(r.b) > 0 {
		return nil, fault.New(fault.Corrupt, "message.Unmarshal", "shape")
	}
	o.Size, o.Preview, o.ReversePath = size, preview, reverse
	return o, nil
}

// reader takes an outline apart; bad sticks once something does not fit.
type reader struct {
	b     []byte
	parts int
	bad   bool
}

const (
	maxNumber = 1 << 50
	maxParts  = 10_000
	maxDepth  = 1000
)

func (r *reader) number() int64 {
	n, used := binary.Uvarint(r.b)
	if used <= 0 || n > maxNumber {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[used:]
	return int64(n)
}

func (r *reader) bytes(n int64) []byte {
	if n > int64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) word() string {
	n := r.number()
	if n&1 == 0 {
		return string(r.bytes(n >> 1))
	}
	if n>>1 >= int64(len(common)) {
		r.bad = true
		return ""
	}
	return common[n>>1]
}

// count reads how many items follow; each takes an octet at least.
func (r *reader) count() int {
	n := r.number()
	if n > int64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) params() map[string]string {
	n := r.count()
	if n == 0 {
		return nil
	}
	m := make(map[string]string, min(n, 64))
	for range n {
		k := r.word()
		m[k] = r.word()
	}
	return m
}

func (r *reader) outline(from int64, depth int) *Outline {
	o := &Outline{Header: r.bytes(r.number())}
	o.Root = r.part(from, depth)
	o.Size = o.Root.End - o.Root.HeaderStart
	return o
}

func (r *reader) part(from int64, depth int) *Part {
	p := &Part{}
	if r.parts++; r.parts > maxParts || depth > maxDepth || r.bad {
		r.bad, r.b = true, nil
		return p
	}
	p.HeaderStart = from + r.number()
	p.BodyStart = p.HeaderStart + r.number()
	p.End = p.BodyStart + r.number()
	p.Lines = r.number()
	p.MediaType, p.Subtype = r.word(), r.word()
	p.Params = r.params()
	p.Disposition = r.word()
	p.DispositionParams = r.params()
	for _, s := range []*string{&p.Encoding, &p.ContentID, &p.Description, &p.MD5, &p.Location} {
		*s = r.word()
	}
	p.Filename = filename(p)
	for range r.count() {
		p.Language = append(p.Language, r.word())
	}
	for range r.count() {
		p.Children = append(p.Children, r.part(p.BodyStart, depth+1))
	}
	if r.number() == 1 {
		p.Embedded = r.outline(p.BodyStart, depth+1)
	}
	return p
}
