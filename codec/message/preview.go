package message

import (
	"bytes"
	"html"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// previewLength is in characters.
const previewLength = 160

// capture keeps the first octets of a leaf.
type capture struct {
	part *Part
	buf  []byte
	max  int
}

func (c *capture) add(b []byte) {
	if room := c.max - len(c.buf); room > 0 {
		c.buf = append(c.buf, b[:min(room, len(b))]...)
	}
}

// text decodes what was kept; the cut at its end may lose the last character.
func (c *capture) text() string {
	if c.part == nil {
		return ""
	}
	b, _ := io.ReadAll(Decode(c.part, bytes.NewReader(c.buf)))
	for i := 0; i < utf8.UTFMax && len(b) > 0; i++ {
		if r, n := utf8.DecodeLastRune(b); r != utf8.RuneError || n == 0 {
			break
		}
		b = b[:len(b)-1]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// preview is the first words of the text, or of the HTML where there is no text.
func preview(plain, rich *capture) string {
	if p := firstWords(plain.text()); p != "" {
		return p
	}
	return firstWords(stripHTML(rich.text()))
}

// firstWords collapses white space and cuts at previewLength characters. Characters
// that show nothing or turn the writing direction around are dropped.
func firstWords(s string) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = n > 0
			continue
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			continue
		}
		if space {
			b.WriteByte(' ')
			n++
		}
		if n >= previewLength {
			break
		}
		b.WriteRune(r)
		n, space = n+1, false
	}
	return strings.TrimRight(b.String(), " ")
}

// stripHTML keeps the text of a page, roughly: for a line in a list, never for display
// as HTML.
func stripHTML(s string) string {
	var b strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		b.WriteByte(' ')
		s = skipTag(s[i:])
	}
	return html.UnescapeString(b.String())
}

// skipTag drops the tag that s begins with, and the content of an element that is not
// read.
func skipTag(s string) string {
	if strings.HasPrefix(s, "<!--") {
		return after(s, "-->")
	}
	for _, name := range []string{"style", "script", "title", "head"} {
		if len(s) > len(name)+1 && strings.EqualFold(s[1:len(name)+1], name) && !letter(s[len(name)+1]) {
			return after(skipTo(s, "</"+name), ">")
		}
	}
	return after(s, ">")
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// skipTo drops what comes before mark, case ignored; everything when it never comes.
func skipTo(s, mark string) string {
	for i := 0; i+len(mark) <= len(s); i++ {
		if s[i] == '<' && strings.EqualFold(s[i:i+len(mark)], mark) {
			return s[i:]
		}
	}
	return ""
}

func after(s, mark string) string {
	if i := strings.Index(s, mark); i >= 0 {
		return s[i+len(mark):]
	}
	return ""
}
