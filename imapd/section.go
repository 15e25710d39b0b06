package imapd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"pli/codec/message"
	"pli/fault"
	"pli/pipeline"
)

// bodySource gives pieces of one message: from memory when it is small, from the
// session's sealed temporary file when it is not, or as one stream.
type bodySource struct {
	ctx   context.Context
	bal   *pipeline.OpenBAL
	f     *fetched
	at    io.ReaderAt
	close func()
}

// prepare has the body opened and found genuine, unless it is to be streamed.
func (b *bodySource) prepare(stream bool) error {
	if o := b.f.body; o != nil {
		select {
		case <-o.done:
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
		b.at = bytes.NewReader(o.data)
		return o.err
	}
	if stream {
		return nil
	}
	w, err := b.bal.At(b.ctx, b.f.m)
	if err != nil {
		return err
	}
	b.at, b.close = w, func() { _ = w.Close() }
	return nil
}

// piece is a run of octets of the message, or a header of our own cutting.
type piece struct {
	start, end int64
	text       []byte // instead, when not nil
}

func (p piece) size() int64 {
	if p.text != nil {
		return int64(len(p.text))
	}
	return p.end - p.start
}

// cut takes a partial range of a piece (RFC 9051 §6.4.5, <offset.size>).
func (p piece) cut(r *imap.SectionPartial) piece {
	if r == nil {
		return p
	}
	from := min(max(r.Offset, 0), p.size())
	to := from + min(max(r.Size, 0), p.size()-from)
	if p.text != nil {
		return piece{text: p.text[from:to:to]}
	}
	return piece{start: p.start + from, end: p.start + to}
}

var nothing = piece{text: []byte{}}

// pieceOf finds a section. A part that is not there is empty.
func pieceOf(f *fetched, s *imap.FetchItemBodySection) piece {
	if len(s.Part) == 0 {
		switch s.Specifier {
		case imap.PartSpecifierNone:
			return piece{end: f.m.Size}
		case imap.PartSpecifierHeader:
			return piece{text: headerFields(f.out.Header, s)}
		case imap.PartSpecifierText:
			return piece{start: min(int64(len(f.out.Header)), f.m.Size), end: f.m.Size}
		}
		return nothing
	}
	p := f.out.Part(s.Part...)
	if p == nil {
		return nothing
	}
	switch s.Specifier {
	case imap.PartSpecifierNone:
		return piece{start: p.BodyStart, end: p.End}
	case imap.PartSpecifierMIME:
		return piece{start: p.HeaderStart, end: p.BodyStart}
	case imap.PartSpecifierHeader:
		if p.Embedded != nil {
			return piece{text: headerFields(p.Embedded.Header, s)}
		}
	case imap.PartSpecifierText:
		if p.Embedded != nil {
			return piece{start: min(p.BodyStart+int64(len(p.Embedded.Header)), p.End), end: p.End}
		}
	}
	return nothing
}

// headerFields picks fields of a raw header block, as they are written there, with the
// empty line at the end.
func headerFields(raw []byte, s *imap.FetchItemBodySection) []byte {
	if len(s.HeaderFields) == 0 && len(s.HeaderFieldsNot) == 0 {
		if raw == nil {
			return []byte{}
		}
		return raw
	}
	names, keep := s.HeaderFields, true
	if len(names) == 0 {
		names, keep = s.HeaderFieldsNot, false
	}
	wanted := make(map[string]bool, len(names))
	for _, n := range names {
		wanted[strings.ToLower(n)] = true
	}
	out := make([]byte, 0, 256)
	copying := false
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n') + 1
		if end == 0 {
			end = len(raw)
		}
		line := raw[:end]
		raw = raw[end:]
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, ok := bytes.Cut(line, []byte(":"))
			copying = ok && wanted[strings.ToLower(string(bytes.TrimRight(name, " \t")))] == keep
		}
		if copying {
			out = append(out, line...)
		}
	}
	return append(out, '\r', '\n')
}

// writeSections writes the parts of a body. After an error the response cannot be
// finished.
func writeSections(r *imapserver.FetchResponseWriter, src *bodySource, o *imap.FetchOptions, sizes binaries) error {
	for _, s := range o.BodySection {
		p := pieceOf(src.f, s).cut(s.Partial)
		if err := src.copyTo(r.WriteBodySection(s, p.size()), p); err != nil {
			return err
		}
	}
	for _, s := range o.BinarySection {
		size := sizes.of(s.Part)
		from, to := int64(0), size
		if s.Partial != nil {
			from = min(max(s.Partial.Offset, 0), size)
			to = from + min(max(s.Partial.Size, 0), size-from)
		}
		decoded, err := src.decoded(s.Part)
		if err != nil {
			return err
		}
		if err := copyRange(r.WriteBinarySection(s, to-from), decoded, from, to-from); err != nil {
			return err
		}
	}
	for _, s := range o.BinarySectionSize {
		r.WriteBinarySectionSize(s, uint32(sizes.of(s.Part)))
	}
	return nil
}

func (b *bodySource) copyTo(w io.WriteCloser, p piece) error {
	switch {
	case p.text != nil:
		return copyRange(w, bytes.NewReader(p.text), 0, p.size())
	case b.at != nil:
		return copyRange(w, io.NewSectionReader(b.at, p.start, p.size()), 0, p.size())
	}
	body, err := b.bal.Body(b.ctx, b.f.m)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	defer body.Close()
	if err := copyRange(w, body, 0, p.size()); err != nil {
		return err
	}
	// The check comes after the last octet: nothing more may be said before it.
	var one [1]byte
	if n, err := io.ReadFull(body, one[:]); n != 0 || err != io.EOF {
		return errors.Join(err, fault.New(fault.Corrupt, "imapd.Fetch", "body-end"))
	}
	return nil
}

// copyRange writes size octets of r, from an offset on, and closes w.
func copyRange(w io.WriteCloser, r io.Reader, from, size int64) error {
	if _, err := io.CopyN(io.Discard, r, from); err != nil {
		return readFailure(err)
	}
	buf := make([]byte, min(32<<10, max(size, 1)))
	for left := size; left > 0; {
		n, err := r.Read(buf[:min(left, int64(len(buf)))])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return gone(err)
			}
			left -= int64(n)
		}
		if err != nil && left > 0 {
			return readFailure(err)
		}
	}
	return gone(w.Close())
}

func readFailure(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fault.Wrap(fault.Corrupt, "imapd.Fetch", "body-short", err)
	}
	return err
}

// decoded reads a part without its transfer encoding and leaves its charset alone
// (RFC 9051 §6.4.5.1, BINARY).
func (b *bodySource) decoded(path []int) (io.Reader, error) {
	if len(path) == 0 {
		return io.NewSectionReader(b.at, 0, b.f.m.Size), nil
	}
	p := b.f.out.Part(path...)
	if p == nil {
		return bytes.NewReader(nil), nil
	}
	raw := io.NewSectionReader(b.at, p.BodyStart, p.Size())
	switch p.Encoding {
	case "", "7bit", "8bit", "binary":
		return raw, nil
	case "base64", "quoted-printable":
		if p.MediaType == "multipart" {
			return raw, nil
		}
		plain := message.Part{MediaType: "application", Subtype: "octet-stream", Encoding: p.Encoding}
		return lenient{message.Decode(&plain, raw)}, nil
	}
	return nil, errUnknownEncoding
}

// lenient ends where an encoding breaks off: what there was is what there is.
type lenient struct{ r io.Reader }

func (l lenient) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

var errUnknownEncoding = fault.New(fault.InvalidContent, "imapd.Fetch", "unknown-encoding").
	Say("L'encodage de cette partie est inconnu.", "The encoding of this part is unknown.")

// binaries holds decoded sizes by path: they are told before the octets.
type binaries map[string]int64

func pathKey(path []int) string {
	b := make([]byte, 0, 2*len(path))
	for _, n := range path {
		b = append(b, byte(n>>8), byte(n))
	}
	return string(b)
}

func (b binaries) of(path []int) int64 { return b[pathKey(path)] }

// binarySizes decodes each BINARY part once, to measure it.
func binarySizes(src *bodySource, o *imap.FetchOptions) (binaries, error) {
	out := make(binaries)
	measure := func(path []int) error {
		if _, ok := out[pathKey(path)]; ok {
			return nil
		}
		r, err := src.decoded(path)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		out[pathKey(path)] = n
		return err
	}
	for _, s := range o.BinarySection {
		if err := measure(s.Part); err != nil {
			return nil, err
		}
	}
	for _, s := range o.BinarySectionSize {
		if err := measure(s.Part); err != nil {
			return nil, err
		}
	}
	return out, nil
}
