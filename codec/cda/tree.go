package cda

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"

	"pli/codec/xmlsafe"
	"pli/fault"
)

const hl7 = "urn:hl7-org:v3"

// elem is an element of the header or the narrative; one without a name is a run of
// text. Coded entries are passed over, so a tree stays small.
type elem struct {
	space, name string
	attrs       []xml.Attr
	text        []byte
	kids        []*elem
	copied      bool // a section whose templateId is that of a copy
}

func (e *elem) attr(name string) string {
	if e == nil {
		return ""
	}
	for _, a := range e.attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}

// at follows a path of HL7 elements, the first of each name; nil when one is missing.
func (e *elem) at(path ...string) *elem {
	for _, name := range path {
		if e == nil {
			return nil
		}
		i := slices.IndexFunc(e.kids, func(k *elem) bool { return k.name == name && k.space == hl7 })
		if i < 0 {
			return nil
		}
		e = e.kids[i]
	}
	return e
}

func (e *elem) all(name string) []*elem {
	var found []*elem
	if e == nil {
		return nil
	}
	for _, k := range e.kids {
		if k.name == name && k.space == hl7 {
			found = append(found, k)
		}
	}
	return found
}

// words is the text under e, white space folded.
func (e *elem) words() string {
	if e == nil {
		return ""
	}
	var b strings.Builder
	e.write(&b)
	return strings.Join(strings.Fields(b.String()), " ")
}

func (e *elem) write(b *strings.Builder) {
	b.Write(e.text)
	for _, k := range e.kids {
		k.write(b)
	}
}

// reader builds the tree.
type reader struct {
	x     *xmlsafe.Decoder
	cut   *cutter
	files int // elements with representation="B64" met so far
	media []Media
}

// token gives the next token and counts embedded files, wherever they stand.
func (r *reader) token() (xml.Token, error) {
	t, err := r.x.Token()
	if s, ok := t.(xml.StartElement); ok && startAttr(s, "representation") == "B64" {
		r.files++
	}
	return t, err
}

func startAttr(s xml.StartElement, name string) string {
	for _, a := range s.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// document finds the first ClinicalDocument, under whatever root (dmp.md §2.1), and
// reads it.
func (r *reader) document() (root string, d *elem, err error) {
	const op = "cda.Read"
	for {
		t, err := r.token()
		if err == io.EOF {
			return root, nil, fault.New(fault.InvalidContent, op, "no-clinical-document")
		}
		if err != nil {
			return root, nil, err
		}
		s, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		if root == "" {
			root = s.Name.Local
		}
		if s.Name.Local == "ClinicalDocument" && s.Name.Space == hl7 {
			d, err := r.element(s, place{})
			return root, d, err
		}
	}
}

// place is where an element stands, as far as its reading depends on it.
type place struct {
	body      bool // under the document's component
	narrative bool // under the text of a section
	entry     bool // under an entry: nothing is kept
	copied    bool // under the section « Copie du document »
	id        string
}

const copySection = "1.2.250.1.213.1.1.2.243"

func (r *reader) element(s xml.StartElement, p place) (*elem, error) {
	e := &elem{space: s.Name.Space, name: s.Name.Local, attrs: slices.Clone(s.Attr)}
	r.file(s, &p)
	for {
		t, err := r.token()
		if err == io.EOF {
			return nil, fault.New(fault.InvalidContent, "cda.Read", "xml")
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			kid, err := r.element(t, r.below(e, t, p))
			if err != nil {
				return nil, err
			}
			if !p.entry {
				e.kids = append(e.kids, kid)
			}
			e.copied = e.copied || kid.name == "templateId" && kid.attr("root") == copySection
		case xml.CharData:
			e.addText(t, p)
		case xml.EndElement:
			return e, nil
		}
	}
}

// below says where the element s, a child of e, stands.
func (r *reader) below(e *elem, s xml.StartElement, p place) place {
	switch s.Name.Local {
	case "component":
		p.body = true
	case "section":
		p.copied = false
	case "text":
		p.narrative = p.narrative || p.body && e.name == "section"
	case "entry":
		if p.entry || !p.body || e.name != "section" {
			break
		}
		p.entry = true
		p.copied = e.copied
	}
	return p
}

// maxMedia bounds the embedded files that are remembered.
const maxMedia = 1000

// file remembers an embedded file.
func (r *reader) file(s xml.StartElement, p *place) {
	if id := startAttr(s, "ID"); id != "" {
		p.id = id
	}
	if startAttr(s, "representation") != "B64" || startAttr(s, "compression") != "" || !p.body || len(r.media) == maxMedia {
		return
	}
	media, _, _ := strings.Cut(strings.ToLower(startAttr(s, "mediaType")), ";")
	r.media = append(r.media, Media{
		Ordinal: r.files - 1, MediaType: strings.TrimSpace(media), ID: p.id,
		Copy: p.copied, Body: !p.entry && !p.narrative,
	})
}

// addText keeps text: all of it in a narrative, elsewhere what is not mere layout.
func (e *elem) addText(t xml.CharData, p place) {
	if p.entry || !p.narrative && len(strings.TrimSpace(string(t))) == 0 {
		return
	}
	if n := len(e.kids); n > 0 && e.kids[n-1].name == "" {
		e.kids[n-1].text = append(e.kids[n-1].text, t...)
		return
	}
	e.kids = append(e.kids, &elem{text: slices.Clone(t)})
}
