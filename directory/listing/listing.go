// Package listing is what the directory publishes of a BAL: the words that the import,
// the register and the search share. It does no I/O.
package listing

import (
	"time"

	"pli/health"
	"pli/internal/id"
)

// Key names a listing for ever: a hash of address, professional, structure and service.
type Key [16]byte

// Listing is one published BAL: an address with the professional and the structure that
// it is published for (mssante.md §3.2, §4.2). A professional who exercises in two places
// has two.
type Listing struct {
	Key             Key
	BAL             id.BAL // of ours; 0 for the others
	Kind            health.BALKind
	Address         string // lower case
	PPType          string // 8 RPPS, 0 ADELI (TRE_G08)
	PP              string // the identifier without its type
	PlaceType       string // FINESS, SIRET, SIREN, or as published
	Place           string
	Civility        string
	FamilyName      string
	GivenName       string
	Category        string // TRE_R09
	CategoryLabel   string
	Profession      string // TRE_G15, or any other code as published
	ProfessionLabel string
	KnowHow         string
	KnowHowLabel    string
	DisplayName     string
	Service         string
	Description     string
	Hours           string
	Structure       string // raison sociale
	TradeName       string // enseigne commerciale
	Sector          string // TRE_R02
	Complement      string
	Street          string
	PostalCode      string
	City            string
	Department      string
	Country         string
	Paperless       bool
	OpenToPatients  bool
	Rank            int // 1 is the preferred BAL of its holder
	SinceAt         time.Time
	ChangedAt       time.Time
	SeenAt          time.Time // last confirmed by its source: the freshness shown
}
