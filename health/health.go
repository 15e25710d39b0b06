// Package health holds the identifiers of French health care: INS, RPPS, FINESS, the
// kinds of BAL, patient traits and document visibility. It reads, checks and prints
// them and does no I/O. Values that tell about a person redact themselves.
package health

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unique"

	"golang.org/x/text/unicode/norm"

	"pli/fault"
)

// OIDs of the assigning authorities of an INS (dmp.md §1.1).
const (
	OIDNIR  = "1.2.250.1.213.1.4.8"
	OIDNIA  = "1.2.250.1.213.1.4.9"
	OIDTest = "1.2.250.1.213.1.4.10"
	OIDDemo = "1.2.250.1.213.1.4.11"
)

// INSClass tells real identities from those made for tests and demonstrations. The
// two are never mixed: a house in production files nothing under a test INS.
type INSClass string

const (
	RealINS INSClass = "real"
	TestINS INSClass = "test"
)

// INS is a matricule of 15 characters: 13 and a key. It prints as "[INS]".
type INS struct{ text unique.Handle[string] }

var noText unique.Handle[string]

// ParseINS reads 15 characters, spaces and hyphens ignored. It checks the shape, not
// the key: official test documents carry wrong keys (dmp.md §1.2), so the caller
// decides with KeyValid.
func ParseINS(s string) (INS, error) {
	const op = "health.ParseINS"
	s = strings.ToUpper(strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '\u00a0' || r == '\u202f' {
			return -1
		}
		return r
	}, s))
	if len(s) != 15 || !strings.Contains("123478", s[:1]) {
		return INS{}, fault.New(fault.Invalid, op, "ins-shape")
	}
	for i := 0; i < len(s); i++ {
		corsica := i == 6 && (s[i] == 'A' || s[i] == 'B') && s[5] == '2'
		if (s[i] < '0' || s[i] > '9') && !corsica {
			return INS{}, fault.New(fault.Invalid, op, "ins-shape")
		}
	}
	return INS{unique.Make(s)}, nil
}

// KeyValid reports whether the last two characters are 97 - (n mod 97), with 2A
// counted as 19 and 2B as 18 (dmp.md §1.2).
func (i INS) KeyValid() bool {
	if i.IsZero() {
		return false
	}
	s := i.text.Value()
	n13 := s[:13]
	switch n13[5:7] {
	case "2A":
		n13 = n13[:5] + "19" + n13[7:]
	case "2B":
		n13 = n13[:5] + "18" + n13[7:]
	}
	n, err := strconv.ParseInt(n13, 10, 64)
	key, err2 := strconv.Atoi(s[13:])
	return err == nil && err2 == nil && key == 97-int(n%97)
}

func (i INS) IsZero() bool { return i.text == noText }

// Reveal returns the 15 characters. Do not log them.
func (i INS) Reveal() string {
	if i.IsZero() {
		return ""
	}
	return i.text.Value()
}

// Grouped returns the INS as people read it, 2 79 03 51 215 189 89, with no-break
// spaces.
func (i INS) Grouped() string {
	s := i.Reveal()
	if len(s) != 15 {
		return ""
	}
	return strings.Join([]string{s[:1], s[1:3], s[3:5], s[5:7], s[7:10], s[10:13], s[13:]}, "\u00a0")
}

func (i INS) String() string             { return "[INS]" }
func (i INS) GoString() string           { return "[INS]" }
func (i INS) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[INS]") }
func (i INS) LogValue() slog.Value       { return slog.StringValue("[INS]") }

// ClassOfOID says whether an assigning authority is one of the INS and which class.
func ClassOfOID(oid string) (INSClass, bool) {
	switch oid {
	case OIDNIR, OIDNIA:
		return RealINS, true
	case OIDTest, OIDDemo:
		return TestINS, true
	}
	return "", false
}

// Traits are the strict traits that go with an INS (dmp.md §1.3). They redact
// themselves; compare them with Match.
type Traits struct {
	BirthName      string // nom de naissance
	FirstBirthName string // premier prénom de l'acte
	GivenNames     string // all first names, space separated
	Sex            string // F, M, UN
	BirthDate      string // AAAAMMJJ
	BirthPlace     string // code COG, 5 characters
	UsedName       string // nom utilisé, optional
	UsedFirstName  string // prénom utilisé, optional
}

func (t Traits) String() string             { return "[traits]" }
func (t Traits) GoString() string           { return "[traits]" }
func (t Traits) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[traits]") }
func (t Traits) LogValue() slog.Value       { return slog.StringValue("[traits]") }

// Complete reports whether the five strict traits are there (dmp.md §1.3).
func (t Traits) Complete() bool {
	return t.BirthName != "" && (t.FirstBirthName != "" || t.GivenNames != "") && t.Sex != "" && t.BirthDate != "" && t.BirthPlace != ""
}

// Match reports whether two sets of strict traits are equal once folded (upper case,
// no accents, apostrophes and hyphens as spaces). The first name of the birth
// certificate is compared; the list of all first names stands in where it is missing.
func (t Traits) Match(o Traits) bool {
	return Fold(t.BirthName) == Fold(o.BirthName) &&
		t.first() == o.first() && t.first() != "" &&
		t.Sex == o.Sex && t.BirthDate == o.BirthDate &&
		strings.EqualFold(t.BirthPlace, o.BirthPlace)
}

func (t Traits) first() string {
	if t.FirstBirthName != "" {
		return Fold(t.FirstBirthName)
	}
	return Fold(firstWord(t.GivenNames))
}

func firstWord(s string) string { w, _, _ := strings.Cut(strings.TrimSpace(s), " "); return w }

// Fold makes names comparable: upper case, accents dropped, apostrophes and hyphens
// turned into single spaces (dmp.md §1.3).
func Fold(s string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(strings.ToUpper(s)) {
		switch {
		case unicode.Is(unicode.Mn, r):
		case r == '\'' || r == '’' || r == '-' || r == '\u2010' || r == '\u2011' || unicode.IsSpace(r):
			b.WriteByte(' ')
		case r == 'Œ':
			b.WriteString("OE")
		case r == 'Æ':
			b.WriteString("AE")
		default:
			b.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// RPPS is the national number of a professional: 11 digits ending with a Luhn digit.
type RPPS string

func ParseRPPS(s string) (RPPS, error) {
	if len(s) != 11 || !luhn(s) {
		return "", fault.New(fault.Invalid, "health.ParseRPPS", "rpps-shape")
	}
	return RPPS(s), nil
}

// NationalID is the RPPS as PS_IdNat writes it: 8 and the number (dmp.md §2.2).
func (r RPPS) NationalID() string { return "8" + string(r) }

// FINESS is the number of an établissement: 9 characters. The Luhn digit is not
// required: official samples fail it (dmp.md §10.4).
type FINESS string

func ParseFINESS(s string) (FINESS, error) {
	s = strings.ToUpper(s)
	if len(s) != 9 {
		return "", fault.New(fault.Invalid, "health.ParseFINESS", "finess-shape")
	}
	for i := 0; i < len(s); i++ {
		if (s[i] < '0' || s[i] > '9') && !(i == 1 && (s[i] == 'A' || s[i] == 'B')) {
			return "", fault.New(fault.Invalid, "health.ParseFINESS", "finess-shape")
		}
	}
	return FINESS(s), nil
}

// NationalID is the FINESS as Struct_IdNat writes it: 1 and the number.
func (f FINESS) NationalID() string { return "1" + string(f) }

// luhn checks digits only, mod 10.
func luhn(s string) bool {
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if d < 0 || d > 9 {
			return false
		}
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// BALKind is the type of a BAL (TRE_R257), and Patient for the citizen's box.
type BALKind string

const (
	PER     BALKind = "PER"
	ORG     BALKind = "ORG"
	APP     BALKind = "APP"
	CAB     BALKind = "CAB"
	Patient BALKind = "PATIENT"
)

// Professional reports whether the kind is one of TRE_R257.
func (k BALKind) Professional() bool { return k == PER || k == ORG || k == APP || k == CAB }

// BALState is a stage in the life of a BAL (mssante.md §3.4).
type BALState string

const (
	Pending   BALState = "pending"
	Active    BALState = "active"
	Suspended BALState = "suspended"
	Closed    BALState = "closed"
	Purged    BALState = "purged"
)

// Confidentiality codes beside N, R and V (dmp.md §3.5, TRE_A07).
const (
	Normal          = "N"
	Restricted      = "R"
	VeryRestricted  = "V"
	MaskedToPros    = "MASQUE_PS"
	HiddenToPatient = "INVISIBLE_PATIENT"
	HiddenToParents = "INVISIBLE_REPRESENTANTS_LEGAUX"
)

// IntegrationCode is the outcome of reading a structured document (mssante.md §7.3).
// Zero is success.
type IntegrationCode int

const (
	NotLatestVersion IntegrationCode = 900
	NotTheAuthor     IntegrationCode = 901
	PatientUnknown   IntegrationCode = 902
	NoINS            IntegrationCode = 903
	INSMismatch      IntegrationCode = 904
	INSIncomplete    IntegrationCode = 905
	OtherError       IntegrationCode = 906
)

// Label is the French text that goes with a code.
func (c IntegrationCode) Label() string {
	switch c {
	case NotLatestVersion:
		return "La version visée n'est pas la dernière"
	case NotTheAuthor:
		return "L'émetteur ne peut ni remplacer ni supprimer ce document"
	case PatientUnknown:
		return "Identifiant de patient inconnu"
	case NoINS:
		return "Pas d'INS dans le document"
	case INSMismatch:
		return "L'INS ou les traits ne correspondent pas"
	case INSIncomplete:
		return "INS incomplète"
	case OtherError:
		return "Autre erreur"
	}
	return ""
}
