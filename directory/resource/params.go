package resource

import (
	"slices"
	"strings"

	"pli/codec/fhir"
)

// asked is a search parameter with its condition: what is announced is what is done.
type asked struct {
	fhir.Param
	where func(*builder, fhir.Filter) (string, error)
}

const hl7 = "http://hl7.org/fhir/SearchParameter/"

func asString(name, definition, doc string, where func(*builder, fhir.Filter) (string, error)) asked {
	return asked{fhir.Param{Name: name, Kind: fhir.String, Definition: definition, Doc: doc,
		Modifiers: []string{fhir.Exact, fhir.Contains, fhir.Missing}}, where}
}

func asToken(name, definition, doc string, where func(*builder, fhir.Filter) (string, error)) asked {
	return asked{fhir.Param{Name: name, Kind: fhir.Token, Definition: definition, Doc: doc}, where}
}

// shared are the parameters of every type.
func shared(kind, activeDefinition string) []asked {
	return []asked{
		asToken("_id", hl7+"Resource-id", "Identifiant technique de la ressource.", isID),
		{fhir.Param{Name: "_lastUpdated", Kind: fhir.Date, Definition: hl7 + "Resource-lastUpdated",
			Doc: "Dernier changement de la ressource ou d'une de ses boîtes."}, lastUpdated(kind)},
		asToken("active", activeDefinition, "En activité : true ou false.", active),
		asString("mailbox-mss", fhir.SearchParameters+"as-sp-mailbox-mss", "Adresse MSSanté, par son début.", mailboxAddress(kind)),
		asToken("mailbox-mss-type", fhir.SearchParameters+"as-sp-mailbox-mss-type", "Type de boîte : PER, ORG, APP ou CAB.", mailboxKind(kind)),
	}
}

func practitionerParams() []asked {
	return append(shared(Practitioner, hl7+"Practitioner-active"),
		asToken("identifier", hl7+"Practitioner-identifier", "Identifiant national du professionnel, ou RPPS.", personIdentifier),
		asToken("identifier-type", "", "Type d'identifiant : IDNPS ou RPPS.", personIdentifierType),
		asString("name", hl7+"Practitioner-name", "Nom ou prénom d'exercice par son début, ou nom complet.", personName),
		asString("family", hl7+"individual-family", "Nom d'exercice, par son début.", text(familyColumn)),
		asString("given", hl7+"individual-given", "Prénom d'exercice, par son début.", text(givenColumn)),
		asToken("qualification-code", fhir.SearchParameters+"as-sp-qualification-code", "Profession, catégorie professionnelle ou savoir-faire.", qualification),
	)
}

func roleParams() []asked {
	return append(shared(PractitionerRole, hl7+"PractitionerRole-active"),
		asked{fhir.Param{Name: "practitioner", Kind: fhir.Reference, Definition: hl7 + "PractitionerRole-practitioner",
			Doc: "Professionnel.", Modifiers: []string{fhir.Identifier}, Targets: []string{Practitioner},
			Chained: []string{"identifier", "name", "family", "given", "active"}}, reference("practitioner", Practitioner)},
		asked{fhir.Param{Name: "organization", Kind: fhir.Reference, Definition: hl7 + "PractitionerRole-organization",
			Doc: "Structure d'exercice.", Modifiers: []string{fhir.Identifier, fhir.Missing}, Targets: []string{Organization},
			Chained: []string{"identifier", "name", "address-city", "address-postalcode", "type", "active"}}, reference("organization", Organization)},
		asToken("role", hl7+"PractitionerRole-role", "Profession, mode d'exercice ou fonction.", func(b *builder, f fhir.Filter) (string, error) {
			return anyOf(f, func(v fhir.Value) string { return b.coded(v, professionCode, modeCode, functionCode) })
		}),
		asToken("specialty", hl7+"PractitionerRole-specialty", "Savoir-faire.", func(b *builder, f fhir.Filter) (string, error) {
			return anyOf(f, func(v fhir.Value) string { return b.knowHow(v, "t") })
		}),
	)
}

func organizationParams() []asked {
	return append(shared(Organization, hl7+"Organization-active"),
		asToken("identifier", hl7+"Organization-identifier", "Identification nationale, FINESS, SIRET ou SIREN.", placeIdentifier),
		asToken("identifier-type", "", "Type d'identifiant : IDNST, FINEG, FINEJ, SIRET, SIREN ou INTRN.", placeIdentifierType),
		asString("name", hl7+"Organization-name", "Raison sociale ou enseigne, par son début.", text(nameColumn, tradeColumn)),
		asked{fhir.Param{Name: "address", Kind: fhir.String, Definition: hl7 + "Organization-address",
			Doc: "Commune ou voie par son début, ou code postal."}, address},
		asString("address-city", hl7+"Organization-address-city", "Commune, par son début.", text(cityColumn)),
		asked{fhir.Param{Name: "address-postalcode", Kind: fhir.String, Definition: hl7 + "Organization-address-postalcode",
			Doc: "Code postal, ou son début.", Modifiers: []string{fhir.Exact, fhir.Missing}}, postalCode},
		asToken("type", hl7+"Organization-type", "Secteur d'activité, ou entité juridique ou géographique.", placeType),
		asked{fhir.Param{Name: "partof", Kind: fhir.Reference, Definition: hl7 + "Organization-partof",
			Doc: "Entité juridique de rattachement.", Modifiers: []string{fhir.Identifier, fhir.Missing}, Targets: []string{Organization}}, partOf},
	)
}

func paramsOf(kind string) []asked {
	switch kind {
	case Practitioner:
		return practitionerParams()
	case PractitionerRole:
		return roleParams()
	default:
		return organizationParams()
	}
}

func paramOf(kind, name string) *asked {
	ps := paramsOf(kind)
	i := slices.IndexFunc(ps, func(p asked) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &ps[i]
}

// Inclusions.
const (
	rolePractitioner = "PractitionerRole:practitioner"
	roleOrganization = "PractitionerRole:organization"
	placePartOf      = "Organization:partof"
)

// Catalogue is what may be asked, for fhir.Parse and the CapabilityStatement.
func Catalogue() fhir.Catalogue {
	params := func(kind string) []fhir.Param {
		all := paramsOf(kind)
		out := make([]fhir.Param, 0, len(all))
		for _, p := range all {
			out = append(out, p.Param)
		}
		slices.SortFunc(out, func(a, b fhir.Param) int { return strings.Compare(a.Name, b.Name) })
		return out
	}
	return fhir.Catalogue{
		{Type: Practitioner, Profile: fhir.ProfilePractitioner, Supported: []string{fhir.ProfileCorePractitioner}, Params: params(Practitioner),
			RevIncludes: []string{rolePractitioner},
			Summary:     []string{"identifier", "active", "name", "telecom", "address", "gender", "birthDate"}},
		{Type: PractitionerRole, Profile: fhir.ProfilePractitionerRole, Supported: []string{fhir.ProfileCorePractitionerRole}, Params: params(PractitionerRole),
			Includes: []string{rolePractitioner, roleOrganization},
			Summary:  []string{"identifier", "active", "period", "practitioner", "organization", "code", "specialty", "location", "healthcareService", "telecom"}},
		{Type: Organization, Profile: fhir.ProfileOrganization, Supported: []string{fhir.ProfileCoreOrganization}, Params: params(Organization),
			Includes: []string{placePartOf}, RevIncludes: []string{roleOrganization},
			Summary: []string{"identifier", "active", "type", "name", "partOf"},
			// A structure has a name or an identifier (invariant org-1).
			Mandatory: []string{"name"}},
	}
}
