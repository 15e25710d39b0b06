// Package directory knows the professionals, the structures and the BAL of this house,
// in the shape of the national directory (mssante.md §3, §4.2). A patient's address is
// kept as a keyed hash only. It never decides who may write to whom.
package directory

import (
	"context"
	"time"

	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// Index makes the keyed hash of an address (seal.Index).
type Index interface {
	Key(domain string, parts ...string) []byte
}

// Config names the domains of the house.
type Config struct {
	// Domains are the domains of professionals, such as "mss-a.example".
	Domains []string `toml:"domains"`
	// PatientDomain is the domain of patients' addresses here; "" when there are none.
	PatientDomain string `toml:"patient_domain"`
	// ForeignPatientDomains are the domains of patients at other operators.
	ForeignPatientDomains []string `toml:"foreign_patient_domains"`
}

// PersonID and StructureID are row numbers of the directory.
type (
	PersonID    int64
	StructureID int64
)

// Person is a professional.
type Person struct {
	ID         PersonID
	RPPS       health.RPPS
	Civility   string
	FamilyName string
	GivenName  string
	Profession string // TRE_G15
	KnowHow    string // TRE_R38 and following
}

// Structure is a place of care.
type Structure struct {
	ID         StructureID
	FINESS     health.FINESS
	SIRET      string
	Name       string
	TradeName  string
	Sector     string // TRE_R02, SA…
	Street     string
	PostalCode string
	City       string
	Country    string
}

// BAL is a health-mail account.
type BAL struct {
	ID             id.BAL
	Address        mail.Address // zero for a patient, unless it was the question
	Kind           health.BALKind
	State          health.BALState
	StateAt        time.Time
	Holder         id.Holder
	Person         *Person
	Structure      *Structure
	DisplayName    string
	Service        string
	Description    string
	Responsible    string
	Unlisted       bool
	OpenToPatients bool
	Rank           int
	QuotaSize      int64  // octets; 0 is the operator's default
	TermsVersion   string // of the conditions of use (CGU) accepted
	TermsAt        time.Time
}

// NewBAL is what it takes to make a BAL. Holder must exist (seal.CreateHolderTx).
type NewBAL struct {
	Address        mail.Address
	Kind           health.BALKind
	State          health.BALState // "" is pending
	Holder         id.Holder
	Person         PersonID    // 0 is none
	Structure      StructureID // 0 is none
	DisplayName    string
	Service        string
	Description    string
	Responsible    string
	Unlisted       bool
	OpenToPatients bool
	Rank           int // 0 is 1
	QuotaSize      int64
	TermsVersion   string // set when the CGU were accepted at creation
	At             time.Time
}

// Directory is the room.
type Directory struct {
	db  *pg.DB
	ix  Index
	cfg Config
}

// New makes the room.
func New(db *pg.DB, ix Index, cfg Config) *Directory { return &Directory{db: db, ix: ix, cfg: cfg} }

// Local reports whether a domain is ours, patients' included.
func (d *Directory) Local(domain string) bool { panic("soon") }

// PatientDomain is the domain of patients' addresses here, "" when there are none.
func (d *Directory) PatientDomain() string { return d.cfg.PatientDomain }

// ForPatients reports whether a domain is one of patients' addresses, here or away.
func (d *Directory) ForPatients(domain string) bool { panic("soon") }

// Find returns the BAL that bears an address, closed ones too; purged ones are not
// found. Errors: fault.NotFound, the same for an unknown matricule and a wrong key.
func (d *Directory) Find(ctx context.Context, q pg.Querier, a mail.Address) (BAL, error) {
	panic("soon")
}

// Found is what Facts found.
type Found struct {
	ByID      map[id.BAL]BAL
	ByAddress map[mail.Address]BAL
}

// Facts finds BAL by id and by address, in one query; those not found are absent.
func (d *Directory) Facts(ctx context.Context, q pg.Querier, ids []id.BAL, as []mail.Address) (Found, error) {
	panic("soon")
}

// BALOf returns the id and kind of the BAL that bears an address. Errors: fault.NotFound.
func (d *Directory) BALOf(ctx context.Context, q pg.Querier, a mail.Address) (id.BAL, health.BALKind, error) {
	panic("soon")
}

// FindMany returns the BAL of several addresses in one query, by address; those that are
// not found are absent.
func (d *Directory) FindMany(ctx context.Context, q pg.Querier, as []mail.Address) (map[mail.Address]BAL, error) {
	panic("soon")
}

// ByID returns a BAL. Errors: fault.NotFound.
func (d *Directory) ByID(ctx context.Context, q pg.Querier, b id.BAL) (BAL, error) { panic("soon") }

// CreateBALTx makes a BAL. Errors: fault.Conflict when the address was ever used.
func (d *Directory) CreateBALTx(ctx context.Context, tx *pg.Tx, n NewBAL) (id.BAL, error) {
	panic("soon")
}

// CreatePersonTx makes a person; an RPPS that is known gives the person it has.
func (d *Directory) CreatePersonTx(ctx context.Context, tx *pg.Tx, p Person) (PersonID, error) {
	panic("soon")
}

// CreateStructureTx makes a structure; a FINESS or SIRET that is known gives the one it has.
func (d *Directory) CreateStructureTx(ctx context.Context, tx *pg.Tx, s Structure) (StructureID, error) {
	panic("soon")
}

// CreateSituationTx ties a person to a structure. mode is L, S or B (mode d'exercice).
func (d *Directory) CreateSituationTx(ctx context.Context, tx *pg.Tx, p PersonID, s StructureID, mode string, from time.Time) error {
	panic("soon")
}

// AcceptTermsTx records that the holder accepted the conditions of use (CGU).
func (d *Directory) AcceptTermsTx(ctx context.Context, tx *pg.Tx, b id.BAL, version string, at time.Time) error {
	panic("soon")
}

// SetStateTx moves a BAL along its life (mssante.md §3.4).
// Errors: fault.NotFound, fault.Conflict when the move is not allowed.
func (d *Directory) SetStateTx(ctx context.Context, tx *pg.Tx, b id.BAL, to health.BALState, at time.Time) error {
	panic("soon")
}

// Card is how a BAL is shown: « NOM Prénom, profession, structure, ville », in parts.
// A patient's card holds no name: the directory does not know it.
type Card struct {
	BAL            id.BAL
	Address        mail.Address
	Kind           health.BALKind
	State          health.BALState
	Name           string // NOM Prénom, or the display name of a service
	Profession     string // French label of TRE_G15
	Service        string
	Structure      string
	City           string
	OpenToPatients bool
}

// Line writes the card on one line, its empty parts left out.
func (c Card) Line() string { panic("soon") }

// Card returns the card of a BAL. Errors: fault.NotFound.
func (d *Directory) Card(ctx context.Context, q pg.Querier, b id.BAL) (Card, error) { panic("soon") }

// Cards returns the cards of several addresses of ours, in one query; those that are not
// found, and patients, are absent.
func (d *Directory) Cards(ctx context.Context, q pg.Querier, as []mail.Address) (map[mail.Address]Card, error) {
	panic("soon")
}

// OpenToPatients lists the listed, active boxes that a patient may write to first.
func (d *Directory) OpenToPatients(ctx context.Context, q pg.Querier) ([]Card, error) { panic("soon") }
