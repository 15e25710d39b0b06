package fhir

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"pli/fault"
)

// FHIRPath Patch (R4 §3.1.0.5.2): a Parameters that holds operations, carried out in
// order. Of the five types the national directory announces three (mssante.md §9), and
// these are what is written and read here.

// PatchType is what an operation does.
type PatchType string

const (
	Insert  PatchType = "insert"
	Replace PatchType = "replace"
	Delete  PatchType = "delete"
)

// Operation is one change of a resource.
type Operation struct {
	Type  PatchType
	Path  Path
	Index int        // Insert: where in the list; 0 is first
	Value PatchValue // Insert, Replace
}

// PatchValue is a typed value: {"ContactPoint", {…}} is written valueContactPoint.
type PatchValue struct {
	Type string
	JSON json.RawMessage
}

// StringValue, BooleanValue and CodeValue are values of those types.
func StringValue(s string) PatchValue { return valueOf("String", s) }
func BooleanValue(b bool) PatchValue  { return valueOf("Boolean", b) }
func CodeValue(s string) PatchValue   { return valueOf("Code", s) }

func valueOf(kind string, v any) PatchValue {
	b, _ := json.Marshal(v) // our own types: cannot fail
	return PatchValue{kind, b}
}

// Limits of a patch from outside.
const (
	patchOperations = 100
	pathSize        = 2000
	pathSteps       = 20
)

type parameters struct {
	ResourceType string      `json:"resourceType"`
	Parameter    []parameter `json:"parameter"`
}

type parameter struct {
	Name string            `json:"name"`
	Part []json.RawMessage `json:"part"`
}

// Patch writes operations as a Parameters.
func Patch(ops ...Operation) []byte {
	out := parameters{ResourceType: "Parameters", Parameter: []parameter{}}
	for _, op := range ops {
		p := parameter{Name: "operation"}
		add := func(name string, v PatchValue) {
			n, _ := json.Marshal(name)
			part := append([]byte(`{"name":`), n...)
			part = append(part, `,"value`+v.Type+`":`...)
			p.Part = append(p.Part, append(append(part, v.JSON...), '}'))
		}
		add("type", CodeValue(string(op.Type)))
		add("path", StringValue(op.Path.String()))
		if op.Type == Insert {
			add("index", valueOf("Integer", op.Index))
		}
		if op.Type != Delete {
			add("value", op.Value)
		}
		out.Parameter = append(out.Parameter, p)
	}
	b, _ := json.Marshal(out) // values are JSON already
	return b
}

// ParsePatch reads the operations of a Parameters.
//
// Errors: fault.Invalid with code not-parameters, no-operation, too-many-operations,
// operation, patch-type, path, index or value.
func ParsePatch(b []byte) ([]Operation, error) {
	const op = "fhir.ParsePatch"
	bad := func(code string) error { return fault.New(fault.Invalid, op, code) }
	var in parameters
	if json.Unmarshal(b, &in) != nil || in.ResourceType != "Parameters" {
		return nil, bad("not-parameters")
	}
	switch {
	case len(in.Parameter) == 0:
		return nil, bad("no-operation")
	case len(in.Parameter) > patchOperations:
		return nil, bad("too-many-operations")
	}
	ops := make([]Operation, 0, len(in.Parameter))
	for _, p := range in.Parameter {
		if p.Name != "operation" {
			return nil, bad("operation")
		}
		parts, err := partsOf(p.Part)
		if err != nil {
			return nil, bad("operation")
		}
		o, code := operationOf(parts)
		if code != "" {
			return nil, bad(code)
		}
		ops = append(ops, o)
	}
	return ops, nil
}

// partsOf reads {"name": …, "value…": …} into values by name.
func partsOf(raw []json.RawMessage) (map[string]PatchValue, error) {
	parts := map[string]PatchValue{}
	for _, r := range raw {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(r, &fields); err != nil {
			return nil, err
		}
		var name string
		if err := json.Unmarshal(fields["name"], &name); err != nil {
			return nil, err
		}
		if _, twice := parts[name]; twice {
			return nil, fault.New(fault.Invalid, "fhir.partsOf", "part-twice")
		}
		var v PatchValue
		for field, value := range fields {
			if kind, ok := strings.CutPrefix(field, "value"); ok && kind != "" {
				if v.Type != "" {
					return nil, fault.New(fault.Invalid, "fhir.partsOf", "two-values")
				}
				v = PatchValue{kind, value}
			}
		}
		parts[name] = v
	}
	return parts, nil
}

func operationOf(parts map[string]PatchValue) (o Operation, code string) {
	var kind, path string
	if json.Unmarshal(parts["type"].JSON, &kind) != nil {
		return o, "patch-type"
	}
	switch o.Type = PatchType(kind); o.Type {
	case Insert, Replace, Delete:
	default:
		return o, "patch-type"
	}
	if json.Unmarshal(parts["path"].JSON, &path) != nil {
		return o, "path"
	}
	var err error
	if o.Path, err = ParsePath(path); err != nil {
		return o, "path"
	}
	if o.Type == Insert {
		if json.Unmarshal(parts["index"].JSON, &o.Index) != nil || o.Index < 0 {
			return o, "index"
		}
	}
	if o.Type != Delete {
		if o.Value = parts["value"]; o.Value.Type == "" || bytes.Equal(o.Value.JSON, []byte("null")) {
			return o, "value"
		}
	}
	return o, ""
}

// Path is where an operation works: the part of FHIRPath that names one element by its
// place or by what it holds.
type Path struct {
	Resource string
	Steps    []Step
}

// Step goes into an element. Where keeps the items whose field holds a text; an
// extension is named by its url. Index keeps one.
type Step struct {
	Name  string
	Where *Where
	Index *int
}

// Where is a condition on an item of a list.
type Where struct{ Field, Value string }

// String writes the path as the guide does: Practitioner.telecom.where(value = 'a@b').
func (p Path) String() string {
	var b strings.Builder
	b.WriteString(p.Resource)
	for _, s := range p.Steps {
		b.WriteByte('.')
		b.WriteString(s.Name)
		switch {
		case s.Where != nil && s.Name == "extension" && s.Where.Field == "url":
			b.WriteString("('" + quote.Replace(s.Where.Value) + "')")
		case s.Where != nil:
			b.WriteString(".where(" + s.Where.Field + " = '" + quote.Replace(s.Where.Value) + "')")
		}
		if s.Index != nil {
			b.WriteString("[" + strconv.Itoa(*s.Index) + "]")
		}
	}
	return b.String()
}

var quote = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// ParsePath reads a path: names with dots, extension('url'), where(field = 'text') and
// [0]. Errors: fault.Invalid with code path.
func ParsePath(s string) (Path, error) {
	in := pathReader{s: s}
	if len(s) > pathSize || !utf8.ValidString(s) {
		in.bad = true
	}
	p := Path{Resource: in.name()}
	for !in.bad && !in.end() {
		if len(p.Steps) > pathSteps {
			in.bad = true
			break
		}
		in.step(&p)
	}
	if in.bad || len(p.Steps) == 0 {
		return Path{}, fault.New(fault.Invalid, "fhir.ParsePath", "path")
	}
	return p, nil
}

type pathReader struct {
	s   string
	bad bool
}

func (r *pathReader) spaces()   { r.s = strings.TrimLeft(r.s, " \t") }
func (r *pathReader) end() bool { r.spaces(); return r.s == "" }

// take goes past a sign, if it is next.
func (r *pathReader) take(sign string) bool {
	r.spaces()
	rest, ok := strings.CutPrefix(r.s, sign)
	if ok {
		r.s = rest
	}
	return ok
}

func (r *pathReader) must(sign string) {
	if !r.take(sign) {
		r.bad = true
	}
}

func (r *pathReader) name() string {
	r.spaces()
	n := 0
	for n < len(r.s) && (r.s[n] >= 'a' && r.s[n] <= 'z' || r.s[n] >= 'A' && r.s[n] <= 'Z' || n > 0 && r.s[n] >= '0' && r.s[n] <= '9') {
		n++
	}
	if n == 0 {
		r.bad = true
	}
	name := r.s[:n]
	r.s = r.s[n:]
	return name
}

func (r *pathReader) step(p *Path) {
	if r.take("[") {
		end := strings.IndexByte(r.s, ']')
		if end < 0 || len(p.Steps) == 0 || p.Steps[len(p.Steps)-1].Index != nil {
			r.bad = true
			return
		}
		n, err := strconv.ParseUint(strings.TrimSpace(r.s[:end]), 10, 16)
		r.bad = r.bad || err != nil
		i := int(n)
		p.Steps[len(p.Steps)-1].Index = &i
		r.s = r.s[end+1:]
		return
	}
	r.must(".")
	name := r.name()
	switch {
	case r.bad:
	case name == "where" && r.take("("):
		if len(p.Steps) == 0 || p.Steps[len(p.Steps)-1].Where != nil || p.Steps[len(p.Steps)-1].Index != nil {
			r.bad = true
			return
		}
		w := &Where{Field: r.name()}
		r.must("=")
		w.Value = r.text()
		r.must(")")
		p.Steps[len(p.Steps)-1].Where = w
	case name == "extension" && r.take("("):
		p.Steps = append(p.Steps, Step{Name: name, Where: &Where{"url", r.text()}})
		r.must(")")
	default:
		p.Steps = append(p.Steps, Step{Name: name})
	}
}

// text reads a FHIRPath string.
func (r *pathReader) text() string {
	r.must("'")
	var b strings.Builder
	for i := 0; i < len(r.s) && !r.bad; i++ {
		switch c := r.s[i]; c {
		case '\'':
			r.s = r.s[i+1:]
			return b.String()
		case '\\':
			if i++; i == len(r.s) {
				r.bad = true
				return ""
			}
			switch e := r.s[i]; e {
			case '\'', '\\', '"', '`', '/':
				b.WriteByte(e)
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			default:
				r.bad = true
			}
		default:
			b.WriteByte(c)
		}
	}
	r.bad = true
	return ""
}
