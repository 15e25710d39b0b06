package cda

import (
	"io"
	"strconv"
	"strings"

	"pli/codec/xmlsafe"
	"pli/fault"
	"pli/health"
)

// maxSize bounds a document without its embedded files, in octets.
const maxSize = 8 << 20

// Read reads a document: everything but its embedded files (see Extract) and its coded
// entries. A file whose CDA stands inside a style sheet or a signature is read too.
//
// Errors: fault.InvalidContent with code no-clinical-document, doctype, depth,
// elements, too-large, markup-too-long, xml or no-id; those of r come out as they are.
func Read(r io.Reader) (*Document, error) {
	cut := newCutter(r, nil)
	rd := &reader{x: xmlsafe.NewDecoder(cut, xmlsafe.Limits{Size: maxSize}), cut: cut}
	root, e, err := rd.document()
	if err != nil {
		return nil, err
	}
	d := header(e)
	d.Root, d.Media = root, rd.media
	for i, m := range d.Media {
		if m.Ordinal < len(cut.sizes) {
			d.Media[i].Size = cut.sizes[m.Ordinal]
		}
	}
	d.body(e)
	if d.ID.IsZero() {
		return nil, fault.New(fault.InvalidContent, "cda.Read", "no-id")
	}
	return d, nil
}

func header(e *elem) *Document {
	d := &Document{
		ID: identifier(e.at("id")), SetID: identifier(e.at("setId")),
		Type: code(e.at("code")), Title: clip(e.at("title").words()),
		Created:         hl7Time(e.at("effectiveTime")),
		Confidentiality: e.at("confidentialityCode").attr("code"),
		Language:        e.at("languageCode").attr("code"),
		Patient:         patient(e.at("recordTarget", "patientRole")),
		Custodian:       organisation(e.at("custodian", "assignedCustodian", "representedCustodianOrganization")),
	}
	if v, err := strconv.ParseInt(e.at("versionNumber").attr("value"), 10, 31); err == nil && v > 0 {
		d.Version = int(v)
	}
	for _, t := range e.all("templateId") {
		d.Templates = append(d.Templates, t.attr("root"))
	}
	for _, a := range e.all("author") {
		d.Authors = append(d.Authors, author(a, a.at("assignedAuthor")))
	}
	if l := e.at("legalAuthenticator"); l != nil {
		d.Authenticator = author(l, l.at("assignedEntity"))
	}
	for _, o := range e.all("documentationOf") {
		d.Services = append(d.Services, service(o.at("serviceEvent")))
	}
	for _, rel := range e.all("relatedDocument") {
		d.Related = append(d.Related, Related{Kind: rel.attr("typeCode"), IDs: identifiers(rel.at("parentDocument").all("id"))})
	}
	d.Encounter = encounter(e.at("componentOf", "encompassingEncounter"))
	return d
}

// clip bounds a title: 128 characters by the rules, leniently 500 here.
func clip(s string) string {
	if r := []rune(s); len(r) > 500 {
		return string(r[:500])
	}
	return s
}

func identifier(e *elem) Identifier {
	if e.attr("nullFlavor") != "" {
		return Identifier{}
	}
	return Identifier{Root: e.attr("root"), Extension: e.attr("extension")}
}

func identifiers(es []*elem) []Identifier {
	var ids []Identifier
	for _, e := range es {
		if id := identifier(e); !id.IsZero() {
			ids = append(ids, id)
		}
	}
	return ids
}

func code(e *elem) Code {
	return Code{Code: e.attr("code"), System: e.attr("codeSystem"), Label: e.attr("displayName")}
}

const insArc = "1.2.250.1.213.1.4."

func patient(role *elem) Patient {
	var p Patient
	for _, id := range identifiers(role.all("id")) {
		class, isINS := health.ClassOfOID(id.Root)
		switch {
		case isINS:
			number, err := health.ParseINS(id.Extension)
			if err != nil {
				number = health.INS{} // its shape is wrong: incomplete (dmp.md §4.5)
			}
			p.INS = append(p.INS, PatientID{OID: id.Root, Class: class, Number: number})
		case strings.HasPrefix(id.Root, insArc):
			p.Unknown = append(p.Unknown, id)
		default:
			p.Local = append(p.Local, id)
		}
	}
	p.Traits = traits(role.at("patient"))
	return p
}

// traits reads the five strict traits and the used names (dmp.md §1.3).
func traits(e *elem) health.Traits {
	t := health.Traits{
		Sex:        strings.ToUpper(e.at("administrativeGenderCode").attr("code")),
		BirthPlace: strings.ToUpper(e.at("birthplace", "place", "addr", "county").words()),
	}
	if v := e.at("birthTime").attr("value"); len(v) >= 8 && onlyDigits(v[:8]) {
		t.BirthDate = v[:8]
	}
	for _, name := range e.all("name") {
		for _, f := range name.all("family") {
			switch f.attr("qualifier") {
			case "BR":
				t.BirthName = first(t.BirthName, f)
			case "CL":
				t.UsedName = first(t.UsedName, f)
			}
		}
		for _, g := range name.all("given") {
			switch g.attr("qualifier") {
			case "BR":
				t.FirstBirthName = first(t.FirstBirthName, g)
			case "CL":
				t.UsedFirstName = first(t.UsedFirstName, g)
			case "":
				t.GivenNames = first(t.GivenNames, g)
			}
		}
	}
	return t
}

// first keeps what was found before, else the words of e.
func first(have string, e *elem) string {
	if have != "" {
		return have
	}
	return clip(e.words())
}

func author(outer, assigned *elem) Author {
	a := Author{
		IDs: identifiers(assigned.all("id")), Specialty: code(assigned.at("code")),
		Function: code(outer.at("functionCode")), At: hl7Time(outer.at("time")),
		Organisation: organisation(assigned.at("representedOrganization")),
	}
	name := assigned.at("assignedPerson", "name")
	a.Family, a.Given = clip(name.at("family").words()), clip(name.at("given").words())
	a.Prefix = clip(name.at("prefix").words())
	if a.Family == "" && a.Given == "" && len(name.all("family"))+len(name.all("given")) == 0 {
		a.Family = clip(name.words()) // a name written as mere text
	}
	if device := assigned.at("assignedAuthoringDevice"); device != nil {
		a.Device = clip(device.at("softwareName").words())
		if a.Device == "" {
			a.Device = clip(device.at("manufacturerModelName").words())
		}
	}
	return a
}

func organisation(e *elem) Organisation {
	return Organisation{IDs: identifiers(e.all("id")), Name: clip(e.at("name").words()), Sector: code(e.at("standardIndustryClassCode"))}
}

func service(e *elem) Service {
	s := Service{Code: code(e.at("code"))}
	s.Start, s.Stop = interval(e.at("effectiveTime"))
	for _, p := range e.all("performer") {
		s.HasPerformer = true
		if s.Setting == (Code{}) {
			s.Setting = code(p.at("assignedEntity", "representedOrganization", "standardIndustryClassCode"))
		}
	}
	return s
}

func encounter(e *elem) Encounter {
	en := Encounter{IDs: identifiers(e.all("id")), Code: code(e.at("code")), Facility: code(e.at("location", "healthCareFacility", "code"))}
	en.Start, en.Stop = interval(e.at("effectiveTime"))
	return en
}

func interval(e *elem) (start, stop Time) {
	start, stop = hl7Time(e.at("low")), hl7Time(e.at("high"))
	if start.IsZero() {
		start = hl7Time(e)
	}
	return start, stop
}

// body reads the sections, or the text of a level 1 document that is written in clear.
func (d *Document) body(e *elem) {
	component := e.at("component")
	if text := component.at("nonXMLBody", "text"); text != nil {
		d.Body = Body{Level: 1, MediaType: strings.ToLower(text.attr("mediaType"))}
		if text.attr("representation") != "B64" && text.words() != "" {
			d.Sections = []Section{{Narrative: nodes(text)}}
		}
		return
	}
	if structured := component.at("structuredBody"); structured != nil {
		d.Body = Body{Level: 3}
		d.Sections = sections(structured)
	}
}

func sections(e *elem) []Section {
	var found []Section
	for _, c := range e.all("component") {
		for _, s := range c.all("section") {
			sec := Section{Copy: s.copied, Title: clip(s.at("title").words()), Code: code(s.at("code")), Narrative: nodes(s.at("text")), Sections: sections(s)}
			found = append(found, sec)
		}
	}
	return found
}

// nodes turns the children of e into narrative.
func nodes(e *elem) []Node {
	if e == nil {
		return nil
	}
	var found []Node
	for _, k := range e.kids {
		n := Node{Name: k.name, Text: string(k.text)}
		if k.name != "" {
			n.Children = nodes(k)
		}
		for _, a := range k.attrs {
			if narrativeAttr[a.Name.Local] && a.Name.Space == "" {
				if n.Attrs == nil {
					n.Attrs = map[string]string{}
				}
				n.Attrs[a.Name.Local] = a.Value
			}
		}
		found = append(found, n)
	}
	return found
}

var narrativeAttr = map[string]bool{
	"styleCode": true, "listType": true, "colspan": true, "rowspan": true, "scope": true,
	"align": true, "referencedObject": true, "href": true, "revised": true,
}
