package imapd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"pli/codec/message"
	"pli/fault"
)

// folding takes accents and letter case off, as a stream: é, É and e are one.
func folding() transform.Transformer {
	return transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)), runes.Map(unicode.ToLower))
}

func fold(s string) string {
	out, _, err := transform.String(folding(), s)
	if err != nil {
		return strings.ToLower(s)
	}
	return out
}

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
		if strings.Contains(fold(name+": "+value), needle) {
			return yes
		}
	}
	return no
}

// readTexts searches the bodies of messages: as many at a time, over all connections,
// as there are cores. A message that does not open holds no word, and an event says so.
func (s *session) readTexts(ctx context.Context, xs []*candidate, needles []string) error {
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
			found, err := s.searchBody(ctx, x, needles)
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
func (s *session) searchBody(ctx context.Context, x *candidate, needles []string) (map[string]bool, error) {
	h := newHay(needles)
	if x.out.Root == nil {
		return h.found, nil
	}
	var at io.ReaderAt
	if x.m.Size <= smallSize {
		data, err := readWhole(ctx, s.bal, x.m)
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
	folded := transform.NewReader(r, folding())
	buf := make([]byte, 16<<10)
	for len(h.needles) > 0 {
		n, err := folded.Read(buf)
		for _, c := range buf[:n] {
			if c == '\r' {
				continue
			}
			if c == '\n' {
				c = ' '
			}
			h.tail = append(h.tail, c)
		}
		h.needles = slices.DeleteFunc(h.needles, func(needle string) bool {
			hit := bytes.Contains(h.tail, []byte(needle))
			h.found[needle] = h.found[needle] || hit
			return hit
		})
		h.tail = append(h.tail[:0], h.tail[max(0, len(h.tail)-h.longest):]...)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
