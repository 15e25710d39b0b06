package resource

import (
	"slices"
	"strings"
	"unicode/utf8"

	"pli/codec/fhir"
)

// professions are the codes of the three tables that professions are published from
// (editions 2021-12-17). One that is in none is shown as text.
var professions = []struct {
	system string
	codes  []string
}{
	{fhir.SystemProfession, strings.Fields("10 21 26 28 31 32 35 36 37 38 39 40 50 60 69 70 80 81 82 83 84 85 86 91 92 93 94 95 96 98")},
	{fhir.SystemSocial, strings.Fields("41 42 43 44 45 46 47 48 49 51 52 53")},
	{fhir.SystemTitle, strings.Fields("71 72 73 97")},
}

func professionSystem(code string) string {
	for _, p := range professions {
		if slices.Contains(p.codes, code) {
			return p.system
		}
	}
	return ""
}

func professionCodes(system string) []string {
	for _, p := range professions {
		if p.system == system {
			return p.codes
		}
	}
	return nil
}

// knowHows are the types of savoir-faire (TRE_R04) and the table of each.
var knowHows = []struct{ kind, system string }{
	{"S", fhir.SystemSpecialty},
	{"C", fhir.SystemSkill},
	{"CEX", fhir.SystemSkillOnly},
	{"DNQ", fhir.SystemDESC},
	{"CAPA", fhir.SystemCapacity},
	{"PAC", fhir.SystemPAC},
	{"FQ", fhir.SystemQualified},
	{"DEC", fhir.SystemComplementary},
	{"OP", fhir.SystemOrientation},
}

// specialties begin the codes of TRE_R38 where the type is not published.
var specialties = []string{"SM", "SCD", "SI"}

// knowHowSystem is the table of a savoir-faire, "" when it cannot be told.
func knowHowSystem(kind, code string) string {
	for _, k := range knowHows {
		if k.kind == kind {
			return k.system
		}
	}
	if kind == "" && slices.ContainsFunc(specialties, func(p string) bool { return strings.HasPrefix(code, p) }) {
		return fhir.SystemSpecialty
	}
	return ""
}

func knowHowKind(system string) string {
	for _, k := range knowHows {
		if k.system == system {
			return k.kind
		}
	}
	return ""
}

// functionSystem is the table of a function: TRE_R21, whose codes begin so.
func functionSystem(code string) string {
	if code == "" || strings.HasPrefix(code, "FON") {
		return fhir.SystemFunction
	}
	return ""
}

var (
	professionCode = code{"profession", professionSystem, professionCodes}
	modeCode       = code{"mode", always(fhir.SystemMode), nil}
	functionCode   = code{"function", functionSystem, nil}
	categoryCode   = code{"category", always(fhir.SystemCategory), nil}
	sectorCode     = code{"sector", always(fhir.SystemSector), nil}
)

// knowHow is a condition on a savoir-faire of row r.
func (b *builder) knowHow(v fhir.Value, r string) string {
	var where string
	switch kind := knowHowKind(v.System); {
	case v.System == fhir.SystemKnowHowType && v.Code != "":
		where = b.is("know_how_type", v.Code)
	case v.System == fhir.SystemKnowHowType:
		where = "t.know_how_type <> ''"
	case !v.HasSystem:
		where = or(b.is("know_how", v.Code), b.is("know_how_type", v.Code))
	case kind == "":
		return "false"
	case v.Code != "" && knowHowSystem("", v.Code) == v.System:
		where = "(" + b.is("know_how", v.Code) + " AND t.know_how_type IN ('', " + b.arg(kind) + "))"
	case v.Code != "":
		where = "(" + b.is("know_how", v.Code) + " AND " + b.is("know_how_type", kind) + ")"
	default:
		where = b.is("know_how_type", kind)
	}
	return strings.ReplaceAll(where, "t.", r+".")
}

// qualification is the condition on what a professional is qualified for: his category,
// or a profession or savoir-faire of one of his exercises.
func qualification(b *builder, f fhir.Filter) (string, error) {
	about := func(b *builder) string { // of role r
		where, _ := anyOf(f, func(v fhir.Value) string {
			return or(strings.ReplaceAll(b.coded(v, professionCode), "t.", "r."), b.knowHow(v, "r"))
		})
		return where
	}
	a := b.aside()
	where := about(a)
	n := a.arg(few + 1)
	ids, all, err := b.found(strings.NewReplacer("%W", where, "%N", n).Replace(qualifiedBy), a.args...)
	if err != nil {
		return "", err
	}
	category, _ := anyOf(f, func(v fhir.Value) string { return b.coded(v, categoryCode) })
	if all {
		return or(category, "t.id = ANY("+b.arg(ids)+"::text[])"), nil
	}
	where = about(b)
	return or(category,
		"(SELECT 1 FROM role_own r WHERE r.practitioner = t.id AND "+where+" LIMIT 1) IS NOT NULL",
		"(SELECT 1 FROM role_part r WHERE r.practitioner = t.id AND "+where+" LIMIT 1) IS NOT NULL"), nil
}

// personIdentifier: the national identifier is the number with its type before it.
func personIdentifier(b *builder, f fhir.Filter) (string, error) {
	return anyOf(f, func(v fhir.Value) string {
		var parts []string
		if !v.HasSystem || v.System == fhir.SystemRPPS {
			parts = append(parts, "(t.pp_type = '8' AND "+filled(b, "pp", v.Code)+")")
		}
		if !v.HasSystem || v.System == fhir.SystemPP {
			if v.Code == "" {
				parts = append(parts, "t.pp <> ''")
			} else {
				_, n := utf8.DecodeRuneInString(v.Code)
				parts = append(parts, "("+b.is("pp_type", v.Code[:n])+" AND "+filled(b, "pp", v.Code[n:])+" AND t.pp <> '')")
			}
		}
		return or(parts...)
	})
}

// filled holds for a column with a value, or with any when none is said.
func filled(b *builder, column, value string) string {
	if value == "" {
		return "t." + column + " <> ''"
	}
	return b.is(column, value)
}

func personIdentifierType(b *builder, f fhir.Filter) (string, error) {
	return anyOf(f, func(v fhir.Value) string {
		switch {
		case v.HasSystem && v.System != fhir.SystemIdentifierType:
		case v.Code == "RPPS":
			return "(t.pp_type = '8' AND t.pp <> '')"
		case v.Code == "IDNPS", v.Code == "":
			return "t.pp <> ''"
		}
		return "false"
	})
}

// National identification of a structure: the number with its type before it.
const (
	nationalFINESS    = "1"
	nationalSIREN     = "2"
	nationalSIRET     = "3"
	nationalTechnical = "4"
)

// withoutNumber holds for a structure that has neither FINESS nor SIRET.
const withoutNumber = "t.finess = '' AND t.siret = ''"

func placeIdentifier(b *builder, f fhir.Filter) (string, error) {
	return anyOf(f, func(v fhir.Value) string {
		var parts []string
		if !v.HasSystem || v.System == fhir.SystemFINESS {
			parts = append(parts, filled(b, "finess", v.Code))
		}
		if !v.HasSystem || v.System == fhir.SystemSIRENE {
			parts = append(parts, filled(b, "siret", v.Code), "("+filled(b, "siren", v.Code)+" AND "+withoutNumber+")")
		}
		if !v.HasSystem || v.System == fhir.SystemInternT {
			parts = append(parts, "("+filled(b, "technical", v.Code)+" AND "+withoutNumber+" AND t.siren = '')")
		}
		if !v.HasSystem || v.System == fhir.SystemPlace {
			parts = append(parts, b.national(v.Code))
		}
		return or(parts...)
	})
}

// national is the condition on the national identification of a structure, which is made
// of the first number it has.
func (b *builder) national(value string) string {
	if value == "" {
		return "(t.finess <> '' OR t.siret <> '' OR t.siren <> '' OR t.technical <> '')"
	}
	kind, number := value[:1], value[1:]
	if number == "" {
		return "false"
	}
	switch kind {
	case nationalFINESS:
		return b.is("finess", number)
	case nationalSIRET:
		return "(" + b.is("siret", number) + " AND t.finess = '')"
	case nationalSIREN:
		return "(" + b.is("siren", number) + " AND " + withoutNumber + ")"
	case nationalTechnical:
		return "(" + b.is("technical", number) + " AND " + withoutNumber + " AND t.siren = '')"
	}
	return "false"
}

func placeIdentifierType(b *builder, f fhir.Filter) (string, error) {
	return anyOf(f, func(v fhir.Value) string {
		if v.HasSystem && v.System != fhir.SystemIdentifierType {
			return "false"
		}
		switch v.Code {
		case "IDNST":
			return b.national("")
		case "FINEJ":
			return "(t.finess <> '' AND t.finess = t.finess_ej)"
		case "FINEG":
			return "(t.finess <> '' AND t.finess <> t.finess_ej)"
		case "SIRET":
			return "t.siret <> ''"
		case "SIREN":
			return "(t.siren <> '' AND " + withoutNumber + ")"
		case "INTRN":
			return "(t.technical <> '' AND " + withoutNumber + " AND t.siren = '')"
		case "":
			return b.national("")
		}
		return "false"
	})
}

// Kinds of structures.
const (
	legal        = "LEGAL-ENTITY"
	geographical = "GEOGRAPHICAL-ENTITY"
)

func placeType(b *builder, f fhir.Filter) (string, error) {
	return anyOf(f, func(v fhir.Value) string {
		parts := []string{b.coded(v, sectorCode)}
		if !v.HasSystem || v.System == fhir.SystemOrganizationType {
			if v.Code == legal || v.Code == "" {
				parts = append(parts, legalEntity)
			}
			if v.Code == geographical || v.Code == "" {
				parts = append(parts, "((t.finess_ej <> '' OR t.siret <> '') AND NOT "+legalEntity+")")
			}
		}
		return or(parts...)
	})
}
