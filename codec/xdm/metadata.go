package xdm

import (
	"encoding/xml"
	"io"
	"strconv"
	"strings"

	"pli/codec/xmlsafe"
	"pli/fault"
)

const rim = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"

// Schemes of classifications and external identifiers (dmp.md §3.1).
const (
	ssAuthor      = "a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d"
	ssContentType = "aa543740-bdda-424e-8c96-df4873be8500"
	ssPatientID   = "6b5aea1a-874d-4603-a4bc-96a0a7b38446"
	ssSourceID    = "554ac39e-e3fe-47fe-b233-965d2a147832"
	ssUniqueID    = "96fdda7c-d067-4183-912e-bf5ee74998a8"
	deAuthor      = "93606bcf-9494-43ec-9b4e-a7748d1a838d"
	deClass       = "41a5887f-8865-4c09-adf7-e362475b143a"
	deConfid      = "f4f85eac-e6cb-4883-b524-f2705394840f"
	deFormat      = "a09d5840-386c-46f2-b5ad-9c3699a4309d"
	deFacility    = "f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1"
	dePractice    = "cccf5598-8b07-4b77-a05e-ae952c785ead"
	deType        = "f0306f51-975f-434e-a61c-c59651d33983"
	dePatientID   = "58a6f841-87b3-4a3e-92fd-a8ffeff98427"
	deUniqueID    = "2e82c1f6-a085-4c72-9da3-8640a32e42ab"
)

type metadata struct {
	submissions []Submission
	entries     []Entry
}

// element is one element of a METADATA.XML, which is bounded: 4 MB in all.
type element struct {
	space, local string
	attrs        []xml.Attr
	text         []byte
	children     []*element
}

func readMetadata(r io.Reader, size int64) (metadata, error) {
	root, err := readTree(xmlsafe.NewDecoder(r, xmlsafe.Limits{Size: size}))
	if err != nil {
		return metadata{}, err
	}
	t := tree{strict: root.has(rim)}
	var m metadata
	replaces := map[string]string{}
	t.walk(root, func(e *element) {
		switch e.local {
		case "RegistryPackage":
			m.submissions = append(m.submissions, t.submission(e))
		case "ExtrinsicObject":
			m.entries = append(m.entries, t.entry(e))
		case "Association":
			if strings.HasSuffix(e.attr("associationType"), ":RPLC") {
				replaces[e.attr("sourceObject")] = e.attr("targetObject")
			}
		}
	})
	if len(m.entries) == 0 {
		return metadata{}, refuse("xdm.Open", "no-document")
	}
	for i := range m.entries {
		m.entries[i].Replaces = replaces[m.entries[i].EntryUUID]
		if m.entries[i].Action == Create && len(m.submissions) == 1 {
			m.entries[i].Action = m.submissions[0].Action
		}
	}
	return m, nil
}

func readTree(d *xmlsafe.Decoder) (*element, error) {
	top := &element{}
	stack := []*element{top}
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return top, nil
		}
		if err != nil {
			if fault.Is(err, fault.InvalidContent) {
				return nil, fault.Wrap(fault.InvalidContent, "xdm.Open", "metadata-xml", err)
			}
			return nil, refuse("xdm.Open", "metadata-xml") // the ZIP's own check failed under it
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			e := &element{space: tok.Name.Space, local: tok.Name.Local, attrs: tok.Attr}
			parent := stack[len(stack)-1]
			parent.children = append(parent.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			last := stack[len(stack)-1]
			last.text = append(last.text, tok...)
		}
	}
}

func (e *element) has(space string) bool {
	if e.space == space {
		return true
	}
	for _, c := range e.children {
		if c.has(space) {
			return true
		}
	}
	return false
}

func (e *element) attr(local string) string {
	for _, a := range e.attrs {
		if a.Name.Local == local {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}

// tree matches elements by namespace, and by local name alone when the document holds
// no element of the right namespace (dmp.md §3.1: prefixes and namespaces vary).
type tree struct{ strict bool }

func (t tree) is(e *element, local string) bool {
	return e.local == local && (!t.strict || e.space == rim)
}

func (t tree) walk(e *element, f func(*element)) {
	if !t.strict || e.space == rim {
		f(e)
	}
	for _, c := range e.children {
		t.walk(c, f)
	}
}

func (t tree) slot(e *element, name string) []string {
	var values []string
	for _, s := range e.children {
		if !t.is(s, "Slot") || !strings.EqualFold(s.attr("name"), name) {
			continue
		}
		for _, l := range s.children {
			if !t.is(l, "ValueList") {
				continue
			}
			for _, v := range l.children {
				if t.is(v, "Value") {
					values = append(values, strings.TrimSpace(string(v.text)))
				}
			}
		}
	}
	return values
}

func (t tree) slot1(e *element, name string) string {
	if v := t.slot(e, name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// named gives the text of Name or Description.
func (t tree) named(e *element, local string) string {
	for _, n := range e.children {
		if !t.is(n, local) {
			continue
		}
		for _, s := range n.children {
			if t.is(s, "LocalizedString") {
				return s.attr("value")
			}
		}
	}
	return ""
}

func scheme(s string) string { return strings.TrimPrefix(strings.ToLower(s), "urn:uuid:") }

func (t tree) classified(e *element, uuid string) []*element {
	var found []*element
	for _, c := range e.children {
		if t.is(c, "Classification") && scheme(c.attr("classificationScheme")) == uuid {
			found = append(found, c)
		}
	}
	return found
}

func (t tree) codes(e *element, uuid string) []Code {
	var found []Code
	for _, c := range t.classified(e, uuid) {
		found = append(found, Code{Code: c.attr("nodeRepresentation"), System: t.slot1(c, "codingScheme"), Label: t.named(c, "Name")})
	}
	return found
}

func (t tree) code(e *element, uuid string) Code {
	if c := t.codes(e, uuid); len(c) > 0 {
		return c[0]
	}
	return Code{}
}

func (t tree) external(e *element, uuid string) string {
	for _, c := range e.children {
		if t.is(c, "ExternalIdentifier") && scheme(c.attr("identificationScheme")) == uuid {
			return c.attr("value")
		}
	}
	return ""
}

func (t tree) authors(e *element, uuid string) []Author {
	var found []Author
	for _, c := range t.classified(e, uuid) {
		found = append(found, Author{
			Person: t.slot1(c, "authorPerson"), Institution: t.slot(c, "authorInstitution"),
			Specialty: t.slot(c, "authorSpecialty"), Role: t.slot(c, "authorRole"),
		})
	}
	return found
}

// action reads the extra metadata of a change or deletion (mssante.md §7.1).
func (t tree) action(e *element) Action {
	switch a := Action(strings.ToUpper(t.slot1(e, "action"))); a {
	case Change, Delete:
		return a
	}
	return Create
}

func (t tree) submission(e *element) Submission {
	return Submission{
		UniqueID: t.external(e, ssUniqueID), SourceID: t.external(e, ssSourceID),
		PatientID: t.external(e, ssPatientID), ContentType: t.code(e, ssContentType),
		Title: t.named(e, "Name"), Time: t.slot1(e, "submissionTime"),
		Authors: t.authors(e, ssAuthor), Action: t.action(e),
	}
}

func (t tree) entry(e *element) Entry {
	size, err := strconv.ParseInt(t.slot1(e, "size"), 10, 64)
	if err != nil || size < 0 {
		size = -1
	}
	return Entry{
		EntryUUID: e.attr("id"), UniqueID: t.external(e, deUniqueID), PatientID: t.external(e, dePatientID),
		SourcePatientID: t.slot1(e, "sourcePatientId"),
		Hash:            strings.ToLower(t.slot1(e, "hash")), Size: size, URI: t.slot1(e, "URI"),
		MimeType: e.attr("mimeType"),
		Type:     t.code(e, deType), Class: t.code(e, deClass), FormatCode: t.code(e, deFormat),
		Facility: t.code(e, deFacility), Practice: t.code(e, dePractice),
		Confidentiality: t.codes(e, deConfid),
		Title:           t.named(e, "Name"), Comments: t.named(e, "Description"), Language: t.slot1(e, "languageCode"),
		CreationTime: t.slot1(e, "creationTime"),
		ServiceStart: t.slot1(e, "serviceStartTime"), ServiceStop: t.slot1(e, "serviceStopTime"),
		Authors: t.authors(e, deAuthor), Authenticator: t.slot1(e, "legalAuthenticator"),
		Action: t.action(e),
	}
}
