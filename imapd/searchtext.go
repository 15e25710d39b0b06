package imapd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/text/unicode/norm"

	"pli/codec/message"
	"pli/fault"
	"pli/mailstore"
	"pli/pipeline"
)

// fold takes accents and letter case off: é, É and e are one.
func fold(s string) string { return string(appendFold(nil, []byte(s))) }

// appendFold appends the folded form of text, octet for octet where it is ASCII: that
// is nearly all there is, and search reads a great deal of it.
func appendFold(dst, text []byte) []byte {
	latin := foldedLatin()
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		i += n
		if int(r) < len(latin) {
			dst = append(dst, latin[r]...)
		} else {
			dst = append(dst, foldRune(r)...)
		}
	}
	return dst
}

func foldRune(r rune) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(string(r)))
}

// foldedLatin is foldRune of every letter that Western languages write.
var foldedLatin = sync.OnceValue(func() []string {
	t := make([]string, 0x250)
	for r := range t {
		t[r] = foldRune(rune(r))
	}
	return t
})

// needlesOf collects, folded, the words that are searched for in bodies.
func needlesOf(c *imap.SearchCriteria, out []string) []string {
	for _, w := range slices.Concat(c.Body, c.Text) {
		if f := fold(w); !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	for i := range c.Not {
		out = needlesOf(&c.Not[i], out)
	}
	for i := range c.Or {
		out = needlesOf(&c.Or[i][1], needlesOf(&c.Or[i][0], out))
	}
	return out
}

// textMatches answers BODY and TEXT keys; TEXT looks in the header too.
func (x *candidate) textMatches(c *imap.SearchCriteria) verdict {
	r := yes
	for _, w := range c.Body {
		r = both(r, x.inBody(fold(w)))
	}
	for _, w := range c.Text {
		needle := fold(w)
		r = both(r, max(x.inHeader(needle), x.inBody(needle)))
	}
	return r
}

func (x *candidate) inBody(needle string) verdict {
	if x.found == nil {
		return unknown
	}
	return verdictOf(x.found[needle])
}

func (x *candidate) inHeader(needle string) verdict {
	if x.fields == nil {
		return unknown
	}
	for name, value := range fieldsOf(x.out.Header) {
		if strings.Contains(fold(name+": "+value()), needle) {
			return yes
		}
	}
	return no
}

// readTexts searches the bodies of messages: as many at a time, over all connections,
// as there are cores. A message that does not open holds no word, and an event says so.
func (s *session) readTexts(ctx context.Context, xs []*candidate, needles []string) error {
	for some := range slices.Chunk(xs, gatherBatch) {
		ms := make([]mailstore.Message, len(some))
		for i, x := range some {
			ms[i] = x.m
		}
		near, err := s.bal.Gather(ctx, ms)
		if err == nil {
			err = s.readSome(ctx, some, near, needles)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) readSome(ctx context.Context, xs []*candidate, near pipeline.Gathered, needles []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cap(s.srv.searching))
	for _, x := range xs {
		g.Go(func() (err error) {
			select {
			case s.srv.searching <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			defer func() { <-s.srv.searching }()
			defer func() {
				if v := recover(); v != nil {
					err = fault.Panic("imapd.Search", v)
				}
			}()
			found, err := s.searchBody(ctx, near, x, needles)
			if err != nil && ctx.Err() == nil {
				s.srv.d.Log.Error("message not searched", "mailbox", x.m.Mailbox, "uid", x.uid, "cause", err)
				found, err = map[string]bool{}, nil
			}
			x.found = found
			return err
		})
	}
	return g.Wait()
}

// searchBody looks for needles in every text part of one message, decoded.
func (s *session) searchBody(ctx context.Context, near pipeline.Gathered, x *candidate, needles []string) (map[string]bool, error) {
	h := newHay(needles)
	if x.out.Root == nil {
		return h.found, nil
	}
	var at io.ReaderAt
	if x.m.Size <= smallSize {
		data, err := readWhole(ctx, s.bal, near, x.m)
		if err != nil {
			return nil, err
		}
		at = bytes.NewReader(data)
	} else {
		w, err := s.bal.At(ctx, x.m)
		if err != nil {
			return nil, err
		}
		defer w.Close()
		at = w
	}
	return h.found, h.part(x.out.Root, at)
}

// hay is one text after another, searched for needles as it streams by.
type hay struct {
	needles []string // not found yet
	longest int
	found   map[string]bool
	tail    []byte
}

func newHay(needles []string) *hay {
	h := &hay{needles: slices.Clone(needles), found: make(map[string]bool, len(needles))}
	for _, n := range needles {
		h.longest = max(h.longest, len(n))
		h.found[n] = n == ""
	}
	return h
}

// part searches a part and those in it.
func (h *hay) part(p *message.Part, at io.ReaderAt) error {
	for _, c := range p.Children {
		if err := h.part(c, at); err != nil {
			return err
		}
	}
	if p.Embedded != nil && p.Embedded.Root != nil {
		if err := h.stream(bytes.NewReader(p.Embedded.Header)); err != nil {
			return err
		}
		return h.part(p.Embedded.Root, at)
	}
	if p.MediaType != "text" || len(h.needles) == 0 {
		return nil
	}
	return h.stream(message.Decode(p, io.NewSectionReader(at, p.BodyStart, p.Size())))
}

// stream searches one text. Line breaks count as spaces, so that a phrase is found
// across them.
func (h *hay) stream(r io.Reader) error {
	h.tail = h.tail[:0]
	buf := make([]byte, 16<<10)
	kept := 0 // octets of a character cut in two by the last read
	for len(h.needles) > 0 {
		n, err := r.Read(buf[kept:])
		whole := wholeRunes(buf[:kept+n])
		from := len(h.tail)
		h.tail = appendFold(h.tail, whole)
		h.tail = h.tail[:from+len(spaced(h.tail[from:]))]
		h.needles = slices.DeleteFunc(h.needles, func(needle string) bool {
			hit := bytes.Contains(h.tail, []byte(needle))
			h.found[needle] = h.found[needle] || hit
			return hit
		})
		h.tail = append(h.tail[:0], h.tail[max(0, len(h.tail)-h.longest):]...)
		kept = copy(buf, buf[len(whole):kept+n])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// spaced turns line breaks into spaces, in place: a line feed becomes one, a carriage
// return goes.
func spaced(b []byte) []byte {
	out := b[:0]
	for _, c := range b {
		switch c {
		case '\r':
		case '\n':
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out
}

// wholeRunes cuts off a character that is not whole yet at the end.
func wholeRunes(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
