package fhir

import "slices"

// Kind is how the value of a search parameter is read (R4 §3.1.1.4).
type Kind string

// Kinds of parameters that are read.
const (
	Token     Kind = "token"
	String    Kind = "string"
	Reference Kind = "reference"
	Date      Kind = "date"
)

// Modifiers of parameters.
const (
	Exact      = "exact"
	Contains   = "contains"
	Missing    = "missing"
	Identifier = "identifier"
)

// Param is a search parameter of a type of resource: what is announced of it is what is
// read of it.
type Param struct {
	Name       string
	Kind       Kind
	Definition string   // canonical URL; "" when nobody has given it one
	Doc        string   // French
	Modifiers  []string // taken
	Targets    []string // of a reference: types
	Chained    []string // of a reference: parameters of the target that may follow a dot
}

// Spec is what may be asked of a type of resource.
type Spec struct {
	Type        string
	Profile     string
	Supported   []string // profiles claimed by each resource
	Params      []Param
	Includes    []string
	RevIncludes []string
	Summary     []string // elements that _summary=true keeps
	Mandatory   []string // elements that every answer keeps
}

// Catalogue is what a door serves, in order.
type Catalogue []Spec

// Of finds the spec of a type, or nil.
func (c Catalogue) Of(resource string) *Spec {
	i := slices.IndexFunc(c, func(s Spec) bool { return s.Type == resource })
	if i < 0 {
		return nil
	}
	return &c[i]
}

// Param finds a parameter, or nil.
func (s *Spec) Param(name string) *Param {
	i := slices.IndexFunc(s.Params, func(p Param) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Params[i]
}
