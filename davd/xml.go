package davd

import (
	"bufio"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"pli/codec/xmlsafe"
	"pli/fault"
)

// Namespaces, and the prefixes that our answers give them.
const (
	nsDAV  = "DAV:"
	nsCard = "urn:ietf:params:xml:ns:carddav"
	nsCS   = "http://calendarserver.org/ns/"
)

var prefixes = map[string]string{nsDAV: "D", nsCard: "C", nsCS: "CS"}

// Bounds of a body. A phone asks for some thirty properties, and names the cards it wants.
const (
	maxBody     = 256 << 10 // octets
	maxDepth    = 16
	maxElements = 12_000
	maxProps    = 64
)

// elem is an element of a request.
type elem struct {
	name xml.Name
	attr []xml.Attr
	data []byte // its own character data, all pieces together
	kids []*elem
}

func (e *elem) text() string {
	if e == nil {
		return ""
	}
	return strings.TrimSpace(string(e.data))
}

// readXML reads a body; nil when it is empty. Errors: fault.TooLarge, fault.Invalid.
func readXML(r io.Reader) (*elem, error) {
	br := bufio.NewReader(r)
	if _, err := br.Peek(1); err == io.EOF {
		return nil, nil
	}
	d := xmlsafe.NewDecoder(br, xmlsafe.Limits{Depth: maxDepth, Elements: maxElements, Size: maxBody})
	var stack []*elem
	var top *elem
	for {
		t, err := d.Token()
		switch {
		case err == io.EOF:
			return top, nil
		case err != nil:
			return nil, bodyFault(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			e := &elem{name: t.Name, attr: t.Attr}
			if len(stack) == 0 {
				top = e
			} else {
				parent := stack[len(stack)-1]
				parent.kids = append(parent.kids, e)
			}
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if n := len(stack); n > 0 {
				stack[n-1].data = append(stack[n-1].data, t...)
			}
		}
	}
}

func bodyFault(err error) error {
	const op = "davd.readXML"
	var f *fault.Error
	switch {
	case !errors.As(err, &f):
		return fault.Wrap(fault.Timeout, op, "body-short", err)
	case f.Code == "too-large" || f.Code == "elements":
		return fault.New(fault.TooLarge, op, f.Code)
	}
	return fault.New(fault.Invalid, op, f.Code)
}

func (e *elem) is(space, local string) bool {
	return e != nil && e.name.Space == space && e.name.Local == local
}

// child is the first of that name, or nil.
func (e *elem) child(space, local string) *elem {
	if e == nil {
		return nil
	}
	for _, k := range e.kids {
		if k.is(space, local) {
			return k
		}
	}
	return nil
}

// attribute is one without a namespace, "" when it is absent.
func (e *elem) attribute(local string) string {
	for _, a := range e.attr {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}

// writer writes XML. Its first failure is kept: the client has left.
type writer struct {
	b   *bufio.Writer
	err error
}

func (w *writer) raw(parts ...string) {
	for _, s := range parts {
		if w.err == nil {
			_, w.err = w.b.WriteString(s)
		}
	}
}

// text writes character data. encoding/xml puts what XML cannot hold right.
func (w *writer) text(s string) {
	if w.err == nil {
		w.err = xml.EscapeText(w.b, []byte(s))
	}
}

// open begins an element of one of our namespaces, named with its prefix: "D:href".
func (w *writer) open(name string)  { w.raw("<", name, ">") }
func (w *writer) shut(name string)  { w.raw("</", name, ">") }
func (w *writer) empty(name string) { w.raw("<", name, "/>") }

func (w *writer) leaf(name, text string) {
	w.open(name)
	w.text(text)
	w.shut(name)
}

func (w *writer) href(path string) { w.leaf("D:href", path) }

// named writes an empty element of any name that a client gave.
func (w *writer) named(n xml.Name) {
	if p, ok := prefixes[n.Space]; ok {
		w.empty(p + ":" + n.Local)
		return
	}
	w.raw("<", n.Local, ` xmlns="`)
	w.text(n.Space)
	w.raw(`"/>`)
}

const (
	xmlHead = `<?xml version="1.0" encoding="utf-8"?>` + "\n"
	spaces  = ` xmlns:D="` + nsDAV + `" xmlns:C="` + nsCard + `" xmlns:CS="` + nsCS + `"`
)
