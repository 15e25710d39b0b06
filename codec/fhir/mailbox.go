package fhir

import (
	models "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"pli/health"
)

// Mailbox is a BAL as the national directory writes it: a telecom of the resource that
// carries it (mssante.md §4.3). Who answers for it, its telephone and the liste rouge are
// not of open access, and have no place here.
type Mailbox struct {
	Address     string
	Kind        health.BALKind
	Description string
	Service     string
	Rank        int // 1 is the preferred; 0 is not told
}

// ContactPoint writes the BAL.
func (m Mailbox) ContactPoint() models.ContactPoint {
	inner := []models.Extension{{Url: "type", ValueCodeableConcept: &models.CodeableConcept{
		Coding: []models.Coding{{System: Ptr(SystemBALKind), Code: Ptr(string(m.Kind))}}}}}
	if m.Description != "" {
		inner = append(inner, models.Extension{Url: "description", ValueString: &m.Description})
	}
	if m.Service != "" {
		inner = append(inner, models.Extension{Url: "service", ValueString: &m.Service})
	}
	c := models.ContactPoint{
		Extension: []models.Extension{
			{Url: ExtensionMailKind, ValueCoding: &models.Coding{System: Ptr(SystemMailKind), Code: Ptr("MSSANTE")}},
			{Url: ExtensionMailbox, Extension: inner},
		},
		System: Ptr(models.ContactPointSystemEmail),
		Value:  &m.Address,
	}
	if m.Rank > 0 {
		c.Rank = &m.Rank
	}
	return c
}

// Ptr is the address of v, or nil for a zero string: FHIR knows no empty value.
func Ptr[T comparable](v T) *T {
	if s, ok := any(v).(string); ok && s == "" {
		return nil
	}
	return &v
}
