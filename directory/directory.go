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
	Profession string    // TRE_G15
	KnowHow    string    // TRE_R38 and following
	EndedAt    time.Time // zero while he exercises
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
	Department string
	Country    string
	// Presentation says who they are, Preparation how to prepare an admission. Read by
	// StructureByID only.
	Presentation, Preparation string
}

// BAL is a health-mail account.
type BAL struct {
	ID             id.BAL
	Address        mail.Address // zero for a patient, unless it was the question
	Kind           health.BALKind
	State          health.BALState
	StateAt        time.Time
	StateCause     string // why: a code
	Holder         id.Holder
	Person         *Person
	Structure      *Structure
	DisplayName    string
	Service        string
	Description    string
	Responsible    string
	Hours          string       // opening hours, as shown
	Replacement    mail.Address // that the structure names in place of a closed one
	Unlisted       bool         // on the liste rouge
	OpenToPatients bool
	Rank           int    // 1 is the preferred BAL of its holder
	QuotaSize      int64  // octets; 0 is the operator's default
	TermsVersion   string // of the conditions of use (CGU) accepted
	TermsAt        time.Time
	CreatedAt      time.Time
	UsedAt         time.Time // last opened or written from, to the day; zero is not yet
	NoticedAt      time.Time // told that it sleeps; zero while it does not
	UnpublishedAt  time.Time // taken out of the directory because it sleeps
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
	Hours          string
	Unlisted       bool
	OpenToPatients bool
	Rank           int // 0 is after the others of its holder
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
	plugs   Plugs
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
