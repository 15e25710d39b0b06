// Package directory knows the professionals, the structures and the BAL of this house,
// in the shape of the national directory (mssante.md §3, §4.2). A patient's address is
// kept as a keyed hash only. It never decides who may write to whom.
package directory

import (
	"slices"
	"strings"
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
	db      *pg.DB
	ix      Index
	cfg     Config
	domains map[string]bool
}

// New makes the room. Domains are compared without case.
func New(db *pg.DB, ix Index, cfg Config) *Directory {
	d := &Directory{db: db, ix: ix, cfg: cfg, domains: map[string]bool{}}
	d.cfg.PatientDomain = strings.ToLower(cfg.PatientDomain)
	for _, name := range cfg.Domains {
		d.domains[strings.ToLower(name)] = true
	}
	return d
}

// Local reports whether a domain is ours, patients' included.
func (d *Directory) Local(domain string) bool {
	domain = strings.ToLower(domain)
	return domain != "" && (d.domains[domain] || domain == d.cfg.PatientDomain)
}

// PatientDomain is the domain of patients' addresses here, "" when there are none.
func (d *Directory) PatientDomain() string { return d.cfg.PatientDomain }

// ForPatients reports whether a domain is one of patients' addresses, here or away.
func (d *Directory) ForPatients(domain string) bool {
	if domain == "" {
		return false
	}
	foreign := slices.ContainsFunc(d.cfg.ForeignPatientDomains, func(f string) bool { return strings.EqualFold(f, domain) })
	return foreign || strings.EqualFold(domain, d.cfg.PatientDomain)
}

// key returns the keyed hash under which an address is kept, and whether such an address
// may exist here at all: a patient's is a matricule with its right key, written as 15
// characters (mssante.md §3.3).
func (d *Directory) key(a mail.Address) ([]byte, bool) {
	if !d.Local(a.Domain()) {
		return nil, false
	}
	if a.Domain() == d.cfg.PatientDomain {
		ins, err := health.ParseINS(a.Local())
		if err != nil || len(a.Local()) != 15 || !ins.KeyValid() {
			return nil, false
		}
	}
	return d.ix.Key("bal-address", a.Reveal()), true
}
