// Package search answers questions about the published directory: the house's own BAL
// and the national ones, one answer. It never sees a patient, nor a BAL on the liste
// rouge, since neither is in what it reads.
package search

import (
	"pli/directory/listing"
	"pli/internal/pg"
)

// Field is what a condition looks at.
type Field uint8

// Fields. Name is a professional's full name in either order, or a service's; Any is
// every word of a listing.
const (
	Any Field = iota
	Name
	Family
	Given
	Address
	PP         // RPPS or ADELI, exact
	Place      // FINESS or SIRET, exact
	Structure  // raison sociale or enseigne
	Service    // service or description
	City       //
	PostalCode // prefix or exact
	Department // code or words
	Profession // TRE_G15 code, exact; or words of its label
	KnowHow    // code, exact; or words of its label
	Kind       // PER, ORG, APP, CAB
	Key        // hex of a listing's key, exact
	BAL        // decimal id, exact; never asked by a stranger
	fields
)

// Cond is a condition: And, Or, Not, Equal, Prefix, Contains, Words or All.
type Cond interface{ cond() }

type (
	// And holds when each does; empty, it always does.
	And []Cond
	// Or holds when one does; empty, it never does.
	Or []Cond
	// Not holds when the other does not.
	Not struct{ Cond Cond }
	// Equal compares whole values, folded.
	Equal struct {
		Field Field
		Value string
	}
	// Prefix is about the beginning of the value, or of the full name in either order.
	Prefix struct {
		Field Field
		Value string
	}
	// Contains is about any place in the value.
	Contains struct {
		Field Field
		Value string
	}
	// Words holds when every word of Value begins a word of the field.
	Words struct {
		Field Field
		Value string
	}
)

func (And) cond()      {}
func (Or) cond()       {}
func (Not) cond()      {}
func (Equal) cond()    {}
func (Prefix) cond()   {}
func (Contains) cond() {}
func (Words) cond()    {}

// Query is a question.
type Query struct {
	Where Cond
	// Limit is how many listings to return at most; 0 is 100, more than 1,000 is 1,000.
	Limit int
	// After continues a page: Page.Next of the one before, as it came.
	After string
	// Fuzzy looks for words that are spelt nearly so when nothing is found.
	Fuzzy bool
}

// Page is an answer, in the order of preference: exact names first, then by name, the
// preferred BAL of a holder before his others.
type Page struct {
	Listings []listing.Listing
	Next     string // "" when there is nothing more
	Fuzzy    bool   // found by another spelling
}

// Suggestion is a present address in place of one that does not answer.
type Suggestion struct {
	Listing listing.Listing
	// Why is "replacement" (named by the structure), "same-professional",
	// "same-structure" (same service there) or "near" (an address spelt nearly so).
	Why string
}

// Domains tells which domains are of patients' addresses: nothing is suggested there.
type Domains interface {
	ForPatients(domain string) bool
}

// Searcher answers. Its DB plans each statement for its values, reads only, and stops
// statements that last (pg.Config.Search).
type Searcher struct {
	db       *pg.DB
	domains  Domains
	editions editions
}

// New makes the searcher.
func New(db *pg.DB, d Domains) *Searcher { return &Searcher{db: db, domains: d} }

// Establishment is a structure with its listings: its page.
type Establishment struct {
	Organization listing.Organization
	Teams        []Team // by name; listings without a service come first, under ""
	More         bool   // there were more listings than are shown
}

// Team is a service of a structure.
type Team struct {
	Name     string
	Listings []listing.Listing // services' own BAL first, then people by name
}
