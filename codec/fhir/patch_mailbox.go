package fhir

import (
	"encoding/json"

	"pli/health"
)

// Announced is a BAL as its operator tells it to the national directory: with who
// answers for it, which is not of open access.
type Announced struct {
	Mailbox
	Responsible string
}

// KindAs says how the type of a BAL is written: the guide shows both (mssante.md §4.3).
type KindAs string

const (
	AsCode    KindAs = "code"    // valueCode, as in its examples of PATCH
	AsConcept KindAs = "concept" // valueCodeableConcept, as in its resources
)

// Allowed leaves out what a kind of BAL does not have (mssante.md §3.2).
func (a Announced) Allowed() Announced {
	switch a.Kind {
	case health.ORG, health.APP:
	case health.CAB:
		a.Service = ""
	default:
		a.Description, a.Service, a.Responsible = "", "", ""
	}
	return a
}

type contactPoint struct {
	Extension []extension `json:"extension,omitempty"`
	System    string      `json:"system"`
	Value     string      `json:"value"`
	Rank      int         `json:"rank,omitempty"`
}

type extension struct {
	URL                  string           `json:"url"`
	Extension            []extension      `json:"extension,omitempty"`
	ValueString          *string          `json:"valueString,omitempty"`
	ValueCode            *string          `json:"valueCode,omitempty"`
	ValueBoolean         *bool            `json:"valueBoolean,omitempty"`
	ValueCoding          *coding          `json:"valueCoding,omitempty"`
	ValueCodeableConcept *codeableConcept `json:"valueCodeableConcept,omitempty"`
}

type coding struct {
	System string `json:"system,omitempty"`
	Code   string `json:"code,omitempty"`
}

type codeableConcept struct {
	Coding []coding `json:"coding"`
}

// Value writes the BAL as a ContactPoint. It says that the BAL is not on the liste
// rouge: one that is, is not announced.
func (a Announced) Value(as KindAs) PatchValue {
	a = a.Allowed()
	kind := extension{URL: "type"}
	code := string(a.Kind)
	if as == AsConcept {
		kind.ValueCodeableConcept = &codeableConcept{[]coding{{SystemBALKind, code}}}
	} else {
		kind.ValueCode = &code
	}
	no := false
	inner := []extension{kind, {URL: "listeRouge", ValueBoolean: &no}}
	for _, t := range a.texts() {
		if *t.text != "" {
			inner = append(inner, extension{URL: t.url, ValueString: t.text})
		}
	}
	return valueOf("ContactPoint", contactPoint{
		Extension: []extension{
			{URL: ExtensionMailKind, ValueCoding: &coding{SystemMailKind, "MSSANTE"}},
			{URL: ExtensionMailbox, Extension: inner},
		},
		System: "email", Value: a.Address, Rank: max(a.Rank, 0),
	})
}

type metadatum struct {
	url  string
	text *string
}

// texts are the sub-extensions that hold a text.
func (a *Announced) texts() []metadatum {
	return []metadatum{{"description", &a.Description}, {"service", &a.Service}, {"responsible", &a.Responsible}}
}

// ParseAnnounced reads a ContactPoint that is a BAL: its type as a code or as a concept.
// ok is false for what is none, unlisted true for one on the liste rouge.
func ParseAnnounced(raw []byte) (a Announced, unlisted, ok bool) {
	var c contactPoint
	if json.Unmarshal(raw, &c) != nil || c.System != "email" || c.Value == "" {
		return a, false, false
	}
	a.Address, a.Rank = c.Value, c.Rank
	for _, e := range c.Extension {
		if e.URL != ExtensionMailbox {
			continue
		}
		for _, sub := range e.Extension {
			switch {
			case sub.URL == "type" && sub.ValueCode != nil:
				a.Kind = health.BALKind(*sub.ValueCode)
			case sub.URL == "type" && sub.ValueCodeableConcept != nil && len(sub.ValueCodeableConcept.Coding) > 0:
				a.Kind = health.BALKind(sub.ValueCodeableConcept.Coding[0].Code)
			case sub.URL == "listeRouge" && sub.ValueBoolean != nil:
				unlisted = *sub.ValueBoolean
			}
			for _, t := range a.texts() {
				if t.url == sub.URL && sub.ValueString != nil {
					*t.text = *sub.ValueString
				}
			}
		}
	}
	return a, unlisted, a.Kind.Professional()
}

// TelecomsPath is where BAL are in a resource, TelecomPath one of them, MetadataPath the
// value of one of its metadata: description, service, responsible, listeRouge.
func TelecomsPath(resource string) Path {
	return Path{Resource: resource, Steps: []Step{{Name: "telecom"}}}
}

func TelecomPath(resource, address string) Path {
	return Path{Resource: resource, Steps: []Step{{Name: "telecom", Where: &Where{"value", address}}}}
}

func MetadataPath(resource, address, name string) Path {
	p := TelecomPath(resource, address)
	p.Steps = append(p.Steps, Step{Name: "extension", Where: &Where{"url", ExtensionMailbox}},
		Step{Name: "extension", Where: &Where{"url", name}}, Step{Name: "value"})
	return p
}

// Changes are the operations that turn what is announced into what is to be, on one
// resource; nil is no BAL. One text that changes is replaced alone, more of them with the
// whole ContactPoint. An address and a type are never changed (mssante.md §9): another
// one is a deletion, then an insertion.
func Changes(resource string, was, is *Announced, as KindAs) []Operation {
	if was != nil {
		w := was.Allowed()
		was = &w
	}
	if is != nil {
		i := is.Allowed()
		is = &i
	}
	insert := func() Operation { return Operation{Type: Insert, Path: TelecomsPath(resource), Value: is.Value(as)} }
	remove := func() Operation { return Operation{Type: Delete, Path: TelecomPath(resource, was.Address)} }
	switch {
	case was == nil && is == nil:
		return nil
	case was == nil:
		return []Operation{insert()}
	case is == nil:
		return []Operation{remove()}
	case was.Address != is.Address || was.Kind != is.Kind:
		return []Operation{remove(), insert()}
	case *was == *is:
		return nil
	}
	if name, text := oneText(was, is); name != "" {
		return []Operation{{Type: Replace, Path: MetadataPath(resource, is.Address, name), Value: StringValue(text)}}
	}
	return []Operation{{Type: Replace, Path: TelecomPath(resource, is.Address), Value: is.Value(as)}}
}

// oneText finds the only thing that changed, when it is a text that was there and stays.
func oneText(was, is *Announced) (name, text string) {
	same := *was
	for i, t := range is.texts() {
		from := same.texts()[i].text
		if *from == *t.text {
			continue
		}
		if *from == "" || *t.text == "" || name != "" {
			return "", ""
		}
		name, text = t.url, *t.text
		*from = *t.text
	}
	if same != *is {
		return "", ""
	}
	return name, text
}
