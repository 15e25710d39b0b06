package webd

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"mime"
	"regexp"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const (
	htmlSize   = 2 << 20 // of an HTML body that is shown, in octets
	imageSize  = 1 << 20 // of one image inside a body
	imagesSize = 4 << 20 // of all of them
)

// mailPolicy is what an HTML body may hold: words, lists, tables, links that leave no
// trace of the reader, images already turned into data:. No style, no class, no id, no
// form, nothing remote.
var mailPolicy = func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "hr", "div", "span", "blockquote", "pre", "code", "b", "strong", "i", "em", "u", "s", "small", "sub", "sup",
		"ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "center",
		"table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th", "a", "img")
	p.AllowAttrs("colspan", "rowspan").Matching(bluemonday.Integer).OnElements("td", "th")
	p.AllowAttrs("align").Matching(bluemonday.CellAlign).OnElements("td", "th", "tr", "p", "div", "table")
	p.AllowAttrs("lang", "dir").Matching(regexp.MustCompile(`^[a-zA-Z-]{1,20}$`)).Globally()
	p.AllowAttrs("href").Matching(regexp.MustCompile(`^https?://`)).OnElements("a")
	p.AllowURLSchemes("https", "http")
	p.AllowDataURIImages()
	p.AllowAttrs("src").Matching(regexp.MustCompile(`^data:image/(png|jpeg|gif);base64,`)).OnElements("img")
	p.AllowAttrs("alt").OnElements("img")
	p.RequireNoReferrerOnLinks(true)
	p.RequireNoFollowOnLinks(true)
	p.AddTargetBlankToFullyQualifiedLinks(true)
	return p
}()

// cleanMail makes an HTML body safe to show. image turns the Content-ID of an image of
// the same letter into a data: URL, "" to leave it out; every other image goes.
func cleanMail(r io.Reader, image func(cid string) string) (string, error) {
	doc, err := html.Parse(r)
	if err != nil {
		return "", err
	}
	var visit func(n *html.Node)
	visit = func(n *html.Node) {
		for c := n.FirstChild; c != nil; {
			next := c.NextSibling
			if c.DataAtom == atom.Img {
				embedImage(c, image)
			}
			visit(c)
			c = next
		}
	}
	visit(doc)
	var b bytes.Buffer
	if err := html.Render(&b, doc); err != nil {
		return "", err
	}
	return mailPolicy.Sanitize(b.String()), nil
}

// embedImage replaces the source of a cid: image, and drops any other image but its words.
func embedImage(n *html.Node, image func(string) string) {
	src, alt := "", ""
	for _, a := range n.Attr {
		switch a.Key {
		case "src":
			src = a.Val
		case "alt":
			alt = a.Val
		}
	}
	cid, ok := strings.CutPrefix(src, "cid:")
	if ok {
		src = image(cid)
	}
	if !ok || src == "" {
		*n = html.Node{Type: html.TextNode, Data: alt, Parent: n.Parent, PrevSibling: n.PrevSibling, NextSibling: n.NextSibling}
		return
	}
	n.Attr = []html.Attribute{{Key: "src", Val: src}, {Key: "alt", Val: alt}}
}

// images gives the images of a letter to its body by their Content-ID: each is read once,
// and what they take in the page all together, repeats included, is bounded.
func images(ctx context.Context, box Letters, it item) func(cid string) string {
	known := map[string]string{}
	left := imagesSize * 4 / 3 // in base64
	return func(cid string) string {
		src, ok := known[cid]
		if !ok {
			src = inlineImage(ctx, box, it, cid)
			known[cid] = src
		}
		if len(src) > left {
			return ""
		}
		left -= len(src)
		return src
	}
}

// inlineImage reads the image of a letter that bears a Content-ID.
func inlineImage(ctx context.Context, box Letters, it item, cid string) string {
	for _, a := range it.Outline.Attachments() {
		if strings.Trim(a.Part.ContentID, "<> ") != cid || a.Part.End-a.Part.BodyStart > 2*imageSize {
			continue
		}
		mt := a.Part.MediaType + "/" + a.Part.Subtype
		if mt != "image/png" && mt != "image/jpeg" && mt != "image/gif" {
			return ""
		}
		rc, _, err := box.Part(ctx, it.Letter, a.Path)
		if err != nil {
			return ""
		}
		defer rc.Close()
		b, err := io.ReadAll(io.LimitReader(rc, imageSize+1))
		if err != nil || len(b) > imageSize || !isImage(mt, b) {
			return ""
		}
		return "data:" + mt + ";base64," + base64.StdEncoding.EncodeToString(b)
	}
	return ""
}

func isImage(mediaType string, b []byte) bool {
	return sniff(b) == mediaType || mediaType == "image/gif" && bytes.HasPrefix(b, []byte("GIF8"))
}

// documentPolicy is the second wall around a rendered CDA: the renderer already writes
// safe HTML, and this lets nothing else through.
var documentPolicy = func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "hr", "div", "span", "section", "header", "article", "blockquote", "pre", "b", "strong", "i", "em", "u", "s", "del", "ins",
		"small", "sub", "sup", "mark", "ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "figure", "figcaption",
		"table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "td", "th", "abbr", "time", "img")
	p.AllowAttrs("colspan", "rowspan").Matching(bluemonday.Integer).OnElements("td", "th")
	p.AllowAttrs("scope").Matching(regexp.MustCompile(`^(row|col|rowgroup|colgroup)$`)).OnElements("th")
	p.AllowAttrs("lang").Matching(regexp.MustCompile(`^[a-zA-Z-]{1,20}$`)).Globally()
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^[a-z][a-z0-9 -]{0,60}$`)).Globally()
	p.AllowAttrs("datetime").OnElements("time", "del", "ins")
	p.AllowAttrs("title").OnElements("abbr")
	p.AllowAttrs("alt").OnElements("img")
	return p
}()

// cleanDocument passes a rendered CDA through the policy, puts its headings below the
// page's own without a skipped level, and lets wide tables scroll by themselves.
func cleanDocument(fragment, tableLabel string) (string, error) {
	body := &html.Node{Type: html.ElementNode, DataAtom: atom.Body, Data: "body"}
	nodes, err := html.ParseFragment(strings.NewReader(documentPolicy.Sanitize(fragment)), body)
	if err != nil {
		return "", err
	}
	var open []int // levels of the sender's headings that are open
	var fix func(n *html.Node)
	fix = func(n *html.Node) {
		switch n.DataAtom {
		case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
			level := int(n.Data[1] - '0')
			for len(open) > 0 && open[len(open)-1] >= level {
				open = open[:len(open)-1]
			}
			open = append(open, level)
			n.Data = "h" + string(rune('0'+min(1+len(open), 6)))
			n.DataAtom = atom.Lookup([]byte(n.Data))
		case atom.Th:
			scopeHeader(n)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			fix(c)
		}
	}
	var b bytes.Buffer
	for _, n := range nodes {
		body.AppendChild(n)
	}
	fix(body)
	wrapTables(body, tableLabel)
	for c := body.FirstChild; c != nil; c = c.NextSibling {
		if err := html.Render(&b, c); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// scopeHeader says what a header cell is the header of, when the sender did not.
func scopeHeader(n *html.Node) {
	for _, a := range n.Attr {
		if a.Key == "scope" {
			return
		}
	}
	scope := "row"
	for p := n.Parent; p != nil; p = p.Parent {
		if p.DataAtom == atom.Thead {
			scope = "col"
		}
	}
	n.Attr = append(n.Attr, html.Attribute{Key: "scope", Val: scope})
}

// wrapTables puts each outer table in a region that scrolls and can be reached with
// the keyboard, so that a page never scrolls sideways as a whole.
func wrapTables(n *html.Node, label string) {
	for c := n.FirstChild; c != nil; {
		next := c.NextSibling
		if c.DataAtom == atom.Table {
			box := &html.Node{Type: html.ElementNode, DataAtom: atom.Div, Data: "div", Attr: []html.Attribute{
				{Key: "class", Val: "wide"}, {Key: "tabindex", Val: "0"}, {Key: "role", Val: "group"}, {Key: "aria-label", Val: label}}}
			n.InsertBefore(box, c)
			n.RemoveChild(c)
			box.AppendChild(c)
		} else {
			wrapTables(c, label)
		}
		c = next
	}
}

// disposition is a Content-Disposition with a name that no header can be broken with.
func disposition(kind, name string) string {
	if v := mime.FormatMediaType(kind, map[string]string{"filename": name}); v != "" {
		return v
	}
	return kind
}
