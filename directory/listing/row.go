package listing

import (
	"strings"
	"time"
)

// Columns are the columns of listing_own, listing_a and listing_b, in the order of Row.
var Columns = []string{
	"key", "bal_id", "kind", "address", "pp_type", "pp", "place_type", "place", "civility", "family_name", "given_name",
	"category", "category_label", "profession", "profession_label", "know_how", "know_how_label", "display_name",
	"service", "description", "hours", "structure", "trade_name", "sector", "complement", "street", "postal_code", "city",
	"department", "country", "paperless", "open_to_patients", "rank", "since_at", "changed_at", "seen_at",
	"f_name", "f_given", "f_address", "f_city", "words",
}

// Row gives the values of Columns: the key as 16 octets, a BAL that is not ours as nil,
// instants in UTC, and the words as text in the syntax that tsvector reads.
func (l *Listing) Row() []any {
	var bal any
	if l.BAL != 0 {
		bal = int64(l.BAL)
	}
	name, given := l.folded()
	return []any{
		l.Key[:], bal, string(l.Kind), FoldAddress(l.Address), l.PPType, l.PP, l.PlaceType, l.Place, l.Civility, l.FamilyName,
		l.GivenName, l.Category, l.CategoryLabel, l.Profession, l.ProfessionLabel, l.KnowHow, l.KnowHowLabel, l.DisplayName,
		l.Service, l.Description, l.Hours, l.Structure, l.TradeName, l.Sector, l.Complement, l.Street, l.PostalCode, l.City,
		l.Department, l.Country, l.Paperless, l.OpenToPatients, int32(max(l.Rank, 1)), l.SinceAt.UTC(), l.ChangedAt.UTC(), l.SeenAt.UTC(),
		name, given, FoldAddress(l.Address), FoldCity(l.City), l.vector(),
	}
}

// folded gives f_name and f_given: the full name from the family's side and from the
// given one's, or the name of the service and nothing. A listing without any name goes
// by its address.
func (l *Listing) folded() (name, given string) {
	if l.Person() {
		name = Fold(l.FamilyName + " " + l.GivenName)
		if Fold(l.GivenName) != "" {
			given = Fold(l.GivenName + " " + l.FamilyName)
		}
	} else {
		name = Fold(l.serviceName())
	}
	if name == "" {
		name = Fold(l.Address)
	}
	return name, given
}

// Weights of words: A names, B structure, service and address, C place, D profession.
const (
	weightA = 1 << iota
	weightB
	weightC
	weightD
)

const maxWord = 60 // octets of a word that are kept; nobody types more

// weighed calls f with each word of the listing, repeated as it comes.
func (l *Listing) weighed(f func(word string, weight int)) {
	each := func(s string, weight int) {
		for w := range strings.FieldsSeq(s) {
			f(CutWord(w), weight)
		}
	}
	name, _ := l.folded()
	each(name, weightA)
	each(Fold(l.DisplayName), weightA)
	each(Fold(l.Structure), weightB)
	each(Fold(l.TradeName), weightB)
	each(Fold(l.Service), weightB)
	each(Fold(l.Description), weightB)
	each(Fold(l.City), weightC)
	each(FoldCity(l.City), weightC)
	each(Fold(l.PostalCode), weightC)
	each(Fold(l.Department), weightC)
	each(Fold(l.ProfessionLabel), weightD)
	each(Fold(l.KnowHowLabel), weightD)
	each(Fold(titles[l.KnowHow]), weightD)
	each(Fold(l.Address), weightB)
}

// CutWord is a folded word as it is kept: its first 60 octets, on a letter's edge.
func CutWord(w string) string {
	if len(w) <= maxWord {
		return w
	}
	n := maxWord
	for n > 0 && w[n]&0xc0 == 0x80 {
		n--
	}
	return w[:n]
}

// vector writes the words as tsvector reads them. A word has one position per weight,
// the same everywhere: nobody asks for phrases, and rows stay small.
func (l *Listing) vector() string {
	type seen struct {
		word    string
		weights int
	}
	all := make([]seen, 0, 32)
	l.weighed(func(word string, weight int) {
		for i := range all {
			if all[i].word == word {
				all[i].weights |= weight
				return
			}
		}
		all = append(all, seen{word, weight})
	})
	var b strings.Builder
	b.Grow(16 * len(all))
	for i, s := range all {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteByte('\'')
		b.WriteString(s.word)
		b.WriteByte('\'')
		sep := byte(':')
		for n, letter := range []byte("ABCD") {
			if s.weights&(1<<n) != 0 {
				b.WriteByte(sep)
				b.WriteByte('1' + byte(n))
				b.WriteByte(letter)
				sep = ','
			}
		}
	}
	return b.String()
}

// Vocabulary calls f with each word of the listing that table word_ must hold, some of
// them more than once.
func (l *Listing) Vocabulary(f func(word string)) {
	l.weighed(func(word string, _ int) { f(word) })
}

// Practitioner is a row of practitioner_own, practitioner_a or practitioner_b.
type Practitioner struct {
	ID            string // PractitionerID
	PPType        string
	PP            string
	Civility      string
	FamilyName    string
	GivenName     string
	Category      string
	CategoryLabel string
	Active        bool
	ChangedAt     time.Time
	SeenAt        time.Time
}

// PractitionerColumns are in the order of Practitioner.Row.
var PractitionerColumns = []string{
	"id", "pp_type", "pp", "civility", "family_name", "given_name", "category", "category_label", "active",
	"changed_at", "seen_at", "f_family", "f_given",
}

// Row gives the values of PractitionerColumns.
func (p *Practitioner) Row() []any {
	return []any{
		p.ID, p.PPType, p.PP, p.Civility, p.FamilyName, p.GivenName, p.Category, p.CategoryLabel, p.Active,
		p.ChangedAt.UTC(), p.SeenAt.UTC(), Fold(p.FamilyName), Fold(p.GivenName),
	}
}

// Organization is a row of organization_own, organization_a or organization_b.
type Organization struct {
	ID           string // OrganizationID
	FINESS       string
	FINESSEJ     string // of its legal entity
	SIRET        string
	SIREN        string
	Technical    string
	Name         string
	TradeName    string
	Sector       string // TRE_R02
	SectorLabel  string
	Complement   string
	Street       string
	PostalCode   string
	City         string
	Department   string
	Country      string
	Phone        string
	Fax          string
	Presentation string // who we are; ours only
	Preparation  string // how to prepare an admission; ours only
	Active       bool
	ChangedAt    time.Time
	SeenAt       time.Time
}

// OrganizationColumns are in the order of Organization.Row.
var OrganizationColumns = []string{
	"id", "finess", "finess_ej", "siret", "siren", "technical", "name", "trade_name", "sector", "sector_label",
	"complement", "street", "postal_code", "city", "department", "country", "phone", "fax", "presentation",
	"preparation", "active", "changed_at", "seen_at", "f_name", "f_trade", "f_city",
}

// Row gives the values of OrganizationColumns.
func (o *Organization) Row() []any {
	return []any{
		o.ID, o.FINESS, o.FINESSEJ, o.SIRET, o.SIREN, o.Technical, o.Name, o.TradeName, o.Sector, o.SectorLabel,
		o.Complement, o.Street, o.PostalCode, o.City, o.Department, o.Country, o.Phone, o.Fax, o.Presentation,
		o.Preparation, o.Active, o.ChangedAt.UTC(), o.SeenAt.UTC(), Fold(o.Name), Fold(o.TradeName), FoldCity(o.City),
	}
}

// Role is a row of role_own, role_a or role_b: an exercise of a professional.
type Role struct {
	ID              string // RoleID
	Practitioner    string
	Organization    string // "" when the place is not told
	Profession      string
	ProfessionLabel string
	KnowHowType     string
	KnowHow         string
	KnowHowLabel    string
	Mode            string // mode d'exercice: L, S, B
	ModeLabel       string
	Function        string // rôle
	FunctionLabel   string
	Active          bool
	ChangedAt       time.Time
	SeenAt          time.Time
	FamilyName      string // of the professional; kept folded only
	GivenName       string
}

// RoleColumns are in the order of Role.Row.
var RoleColumns = []string{
	"id", "practitioner", "organization", "profession", "profession_label", "know_how_type", "know_how",
	"know_how_label", "mode", "mode_label", "function", "function_label", "active", "changed_at", "seen_at",
	"f_family", "f_given",
}

// Row gives the values of RoleColumns.
func (r *Role) Row() []any {
	return []any{
		r.ID, r.Practitioner, r.Organization, r.Profession, r.ProfessionLabel, r.KnowHowType, r.KnowHow,
		r.KnowHowLabel, r.Mode, r.ModeLabel, r.Function, r.FunctionLabel, r.Active, r.ChangedAt.UTC(), r.SeenAt.UTC(),
		Fold(r.FamilyName), Fold(r.GivenName),
	}
}
