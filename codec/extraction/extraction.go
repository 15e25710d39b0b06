// Package extraction reads and writes the published files of the national directory
// (mssante.md §4.2): Extraction_Correspondance_MSSante, one line per BAL with its
// professional and its structure, and PS_LibreAcces_Personne_activite, one line per
// exercise of a professional.
//
// A file is text in UTF-8 with a header line, its fields separated by a bar, in a ZIP.
// Nothing is quoted: a quotation mark is a character like any other. Columns are found
// by name, so one that is added or moved breaks nothing. A line that cannot be used is
// told by its number and the reading goes on; what is cut short is told too. The
// package keeps no line and decides nothing about what a line means.
package extraction

import (
	"errors"
	"fmt"
	"strings"

	"pli/fault"
)

// Dataset is one of the published files.
type Dataset string

const (
	Correspondances Dataset = "correspondance" // Extraction_Correspondance_MSSante
	Activities      Dataset = "activite"       // PS_LibreAcces_Personne_activite
)

// prefix is how the names of the files of a dataset begin, folded.
func (d Dataset) prefix() string {
	if d == Activities {
		return "pslibreaccespersonneactivite"
	}
	return "extractioncorrespondancemssante"
}

// Correspondance is a line of Extraction_Correspondance_MSSante: a BAL as published.
// Kind and Address are checked and put in their one case; the rest is as published but
// for white space at both ends and characters that do not print.
type Correspondance struct {
	Kind            string // PER or ORG; APP and CAB are read too
	Address         string // lower case
	PPType          string // 8 RPPS, 0 ADELI, or the word
	PP              string
	PPNational      string // type and identifier together
	PlaceType       string // 1 FINESS, 2 SIREN, 3 SIRET, or the word
	Place           string
	Service         string
	Civility        string
	FamilyName      string
	GivenName       string
	Category        string
	CategoryLabel   string
	Profession      string
	ProfessionLabel string
	KnowHow         string
	KnowHowLabel    string
	Paperless       string // O or N; see Yes
	Structure       string
	TradeName       string
	Location        string // L2: building, entrance
	Distribution    string // L3
	StreetNumber    string
	StreetRepeat    string // bis, ter
	StreetKind      string // R, AV, BD
	StreetName      string
	Locality        string // L5
	Routing         string // L6: postal code and city
	PostalCode      string
	Department      string
	Country         string
}

// Activity is a line of PS_LibreAcces_Personne_activite: an exercise of a professional.
type Activity struct {
	PPType                string
	PP                    string
	PPNational            string
	ExerciseCivility      string // DR, PR
	ExerciseCivilityLabel string
	Civility              string // M, MME
	CivilityLabel         string
	FamilyName            string
	GivenName             string
	Profession            string
	ProfessionLabel       string
	Category              string // C civil, M military, E student
	CategoryLabel         string
	KnowHowType           string // S, CEX, PAC, …
	KnowHowTypeLabel      string
	KnowHow               string
	KnowHowLabel          string
	Mode                  string // L, S, B
	ModeLabel             string
	SIRET                 string
	SIREN                 string
	FINESS                string // of the site (EG)
	FINESSEJ              string
	Technical             string // identifiant technique de la structure
	Structure             string
	TradeName             string
	Complement            string // recipient
	Point                 string // building, entrance
	StreetNumber          string
	StreetRepeat          string
	StreetKind            string
	StreetKindLabel       string
	StreetName            string
	Mention               string
	Cedex                 string // postal code and city, as on an envelope
	PostalCode            string
	Commune               string // INSEE code
	City                  string
	Country               string
	CountryLabel          string
	Phone                 string
	Phone2                string
	Fax                   string
	Email                 string
	Department            string
	DepartmentLabel       string
	FormerID              string // of the structure
	Registrar             string
	Sector                string // SA…
	SectorLabel           string
	Section               string // of the pharmacists' roll
	SectionLabel          string
	Function              string // rôle, fonction
	FunctionLabel         string
	Genre                 string // genre d'activité
	GenreLabel            string
}

// ErrTruncated says that the file stops before its end: it must not be taken for the
// whole of what is published.
var ErrTruncated = errors.New("extraction: the file is cut short")

// LineError is a line that cannot be used. Reading goes on after it.
//
// Causes: fields (not as many as columns), encoding (not UTF-8), too-long, address,
// kind, no-identifier.
type LineError struct {
	Line  int64 // 1 is the header
	Cause string
}

func (e *LineError) Error() string { return fmt.Sprintf("extraction: line %d: %s", e.Line, e.Cause) }

// MissingError names the columns without which a file cannot be used.
type MissingError struct{ Columns []string }

func (e *MissingError) Error() string {
	return "extraction: columns missing: " + strings.Join(e.Columns, ", ")
}

func refuse(op, code string, err error) error {
	if err == nil {
		return fault.New(fault.InvalidContent, op, code)
	}
	return fault.Wrap(fault.InvalidContent, op, code, err)
}

// Yes reads O, Oui, True, 1 of a published flag.
func Yes(s string) bool {
	switch strings.ToLower(s) {
	case "o", "oui", "true", "vrai", "1":
		return true
	}
	return false
}
