package resource

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	models "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"pli/codec/fhir"
	"pli/fault"
	"pli/health"
)

// nationalSource is where resources of the extraction come from.
const nationalSource = "https://annuaire.esante.gouv.fr"

// mailbox is a BAL with whom and where it is published for.
type mailbox struct {
	fhir.Mailbox
	ppType, pp       string
	placeType, place string
	changedAt        time.Time

	familyName, givenName string
}

// ofPlace reports whether a BAL is carried by the structure it is published for.
func (m *mailbox) ofPlace() bool { return m.Kind == health.ORG || m.Kind == health.APP || m.pp == "" }

// at reports whether the BAL is published for this structure.
func (m *mailbox) at(o *organizationRow) bool {
	switch m.placeType {
	case "FINESS":
		return o.FINESS == m.place
	case "SIRET":
		return o.SIRET == m.place
	case "SIREN":
		return o.SIREN == m.place && o.FINESS == "" && o.SIRET == ""
	default:
		return o.Technical == m.place
	}
}

// legal reports whether a structure is an entité juridique.
func (o *organizationRow) legal() bool {
	return o.FINESS != "" && o.FINESS == o.FINESSEJ || o.FINESS == "" && o.SIRET == "" && o.SIREN != ""
}

// partOf is the id of the entité juridique of a structure, "" for itself or none.
func (o *organizationRow) partOf() string {
	if o.FINESSEJ == "" || o.FINESSEJ == o.FINESS {
		return ""
	}
	return "finess-" + o.FINESSEJ
}

// numbers are those that a BAL may name the structure by.
func (o *organizationRow) numbers() []string {
	return []string{o.FINESS, o.SIRET, o.SIREN, o.Technical}
}

// telecoms writes BAL, one per address, the preferred first, and tells when the last of
// them changed.
func telecoms(boxes []mailbox, changed *time.Time) []models.ContactPoint {
	var out []models.ContactPoint
	for i := range boxes {
		if slices.ContainsFunc(boxes[:i], func(m mailbox) bool { return m.Address == boxes[i].Address }) {
			continue
		}
		out = append(out, boxes[i].ContactPoint())
	}
	for i := range boxes {
		if boxes[i].changedAt.After(*changed) {
			*changed = boxes[i].changedAt
		}
	}
	return out
}

func (s *surroundings) practitioner(row *practitionerRow) (Resource, error) {
	changed := row.ChangedAt
	boxes := slices.Clone(s.byPerson[person{row.PPType, row.PP}])
	if row.PP == "" {
		boxes = nil
	}
	boxes = slices.DeleteFunc(boxes, func(m mailbox) bool { return m.Kind != health.PER && m.Kind != health.CAB })
	p := models.Practitioner{
		Id: &row.ID, Language: fhir.Ptr("fr"),
		Identifier: personIdentifiers(row.PPType, row.PP),
		Active:     &row.Active,
		Name: []models.HumanName{{Use: fhir.Ptr(models.NameUseUsual), Family: fhir.Ptr(row.FamilyName),
			Given: list(row.GivenName), Prefix: list(row.Civility)}},
		Telecom:       telecoms(boxes, &changed),
		Qualification: s.qualifications(row),
	}
	p.Meta = s.meta(changed, row.own, fhir.ProfileCorePractitioner, fhir.ProfilePractitioner)
	return written(Practitioner, row.ID, changed, models.OtherPractitioner(p))
}

// list is one text as FHIR lists it: no empty values.
func list(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func (s *surroundings) meta(changed time.Time, own bool, profiles ...string) *models.Meta {
	source := nationalSource
	if own {
		source = s.source
	}
	return &models.Meta{LastUpdated: fhir.Ptr(fhir.Instant(changed)), Source: fhir.Ptr(source), Profile: profiles}
}

// written writes a resource. It is one of the library's types without their own way to
// JSON, which would put the type last.
func written(kind, id string, changed time.Time, resource any) (Resource, error) {
	b, err := json.Marshal(resource)
	if err != nil {
		return Resource{}, fault.New(fault.Internal, "resource.written", "marshal") // the cause may quote a value
	}
	b, version := fhir.Versioned(append([]byte(`{"resourceType":"`+kind+`",`), b[1:]...))
	return Resource{Type: kind, ID: id, Version: version, UpdatedAt: changed, JSON: b}, nil
}

func identifier(system, kind, kindSystem, value string) models.Identifier {
	return models.Identifier{Use: fhir.Ptr(models.IdentifierUseOfficial), System: &system, Value: &value,
		Type: &models.CodeableConcept{Coding: []models.Coding{{System: &kindSystem, Code: &kind}}}}
}

func personIdentifiers(kind, number string) []models.Identifier {
	if number == "" {
		return nil
	}
	out := []models.Identifier{identifier(fhir.SystemPP, "IDNPS", fhir.SystemIdentifierType, kind+number)}
	if kind == "8" {
		out = append(out, identifier(fhir.SystemRPPS, "RPPS", fhir.SystemIdentifierType, number))
	}
	return out
}

func concept(system, code, label string) models.CodeableConcept {
	c := models.CodeableConcept{}
	if system != "" && code != "" {
		c.Coding = []models.Coding{{System: &system, Code: &code, Display: fhir.Ptr(label)}}
		return c
	}
	if label == "" {
		label = code
	}
	c.Text = &label
	return c
}

// qualifications are the professions and savoir-faire of a professional's exercises.
func (s *surroundings) qualifications(row *practitionerRow) []models.PractitionerQualification {
	var out []models.PractitionerQualification
	seen := map[string]bool{}
	for _, r := range s.exercises[row.ID] {
		if key := "p" + r.Profession; !seen[key] && r.Profession+r.ProfessionLabel != "" {
			seen[key] = true
			c := concept(professionSystem(r.Profession), r.Profession, r.ProfessionLabel)
			if row.Category != "" {
				c.Coding = append(c.Coding, models.Coding{System: fhir.Ptr(fhir.SystemCategory), Code: &row.Category, Display: fhir.Ptr(row.CategoryLabel)})
			}
			out = append(out, models.PractitionerQualification{Code: c})
		}
		if key := "k" + r.KnowHowType + " " + r.KnowHow; !seen[key] && r.KnowHow+r.KnowHowLabel != "" {
			seen[key] = true
			out = append(out, models.PractitionerQualification{Code: knowHowConcept(r)})
		}
	}
	if len(out) == 0 && row.Category != "" {
		out = append(out, models.PractitionerQualification{Code: concept(fhir.SystemCategory, row.Category, row.CategoryLabel)})
	}
	return out
}

func knowHowConcept(r *roleRow) models.CodeableConcept {
	c := concept(knowHowSystem(r.KnowHowType, r.KnowHow), r.KnowHow, r.KnowHowLabel)
	if r.KnowHowType != "" {
		c.Coding = append(c.Coding, models.Coding{System: fhir.Ptr(fhir.SystemKnowHowType), Code: &r.KnowHowType})
	}
	return c
}

func (s *surroundings) role(row *roleRow) (Resource, error) {
	changed := row.ChangedAt
	var boxes []mailbox
	who, where := s.people[row.Practitioner], s.places[row.Organization]
	if who != nil && where != nil && who.PP != "" {
		for _, m := range s.byPerson[person{who.PPType, who.PP}] {
			if m.Kind == health.PER && m.place != "" && m.at(where) {
				boxes = append(boxes, m)
			}
		}
	}
	r := models.PractitionerRole{
		Id: &row.ID, Language: fhir.Ptr("fr"), Active: &row.Active,
		Practitioner: &models.Reference{Reference: fhir.Ptr(Practitioner + "/" + row.Practitioner)},
		Telecom:      telecoms(boxes, &changed),
	}
	if row.Organization != "" {
		r.Organization = &models.Reference{Reference: fhir.Ptr(Organization + "/" + row.Organization)}
	}
	if row.Profession+row.ProfessionLabel != "" {
		r.Code = append(r.Code, concept(professionSystem(row.Profession), row.Profession, row.ProfessionLabel))
	}
	if row.Mode != "" {
		r.Code = append(r.Code, concept(fhir.SystemMode, row.Mode, row.ModeLabel))
	}
	if row.Function+row.FunctionLabel != "" {
		r.Code = append(r.Code, concept(functionSystem(row.Function), row.Function, row.FunctionLabel))
	}
	if row.KnowHow+row.KnowHowLabel != "" {
		r.Specialty = append(r.Specialty, knowHowConcept(row))
	}
	r.Meta = s.meta(changed, row.own, fhir.ProfileCorePractitionerRole, fhir.ProfilePractitionerRole)
	return written(PractitionerRole, row.ID, changed, models.OtherPractitionerRole(r))
}

func (s *surroundings) organization(row *organizationRow) (Resource, error) {
	changed := row.ChangedAt
	var boxes []mailbox
	for _, number := range nonempty(row.numbers()) {
		for _, m := range s.byPlace[number] {
			if !m.ofPlace() || !m.at(row) {
				continue
			}
			if m.Kind == health.PER && m.Description == "" { // no resource says who it is
				m.Description = strings.TrimSpace(m.familyName + " " + m.givenName)
			}
			boxes = append(boxes, m)
		}
	}
	o := models.Organization{
		Id: &row.ID, Language: fhir.Ptr("fr"), Active: &row.Active,
		Identifier: placeIdentifiers(row), Type: placeTypes(row),
		Name: fhir.Ptr(row.Name), Alias: list(row.TradeName),
		Telecom: append(phones(row), telecoms(boxes, &changed)...),
		Address: placeAddress(row),
	}
	if id := row.partOf(); id != "" {
		i := identifier(fhir.SystemFINESS, "FINEJ", fhir.SystemIdentifierType, row.FINESSEJ)
		o.PartOf = &models.Reference{Identifier: &i}
		if s.legalEntities[id] {
			o.PartOf.Reference = fhir.Ptr(Organization + "/" + id)
		}
	}
	o.Meta = s.meta(changed, row.own, fhir.ProfileCoreOrganization, fhir.ProfileOrganization)
	return written(Organization, row.ID, changed, models.OtherOrganization(o))
}

func placeIdentifiers(o *organizationRow) []models.Identifier {
	national := func(kind, number string) models.Identifier {
		return identifier(fhir.SystemPlace, "IDNST", fhir.SystemIdentifierType, kind+number)
	}
	var out []models.Identifier
	switch {
	case o.FINESS != "":
		out = append(out, national(nationalFINESS, o.FINESS))
	case o.SIRET != "":
		out = append(out, national(nationalSIRET, o.SIRET))
	case o.SIREN != "":
		out = append(out, national(nationalSIREN, o.SIREN), identifier(fhir.SystemSIRENE, "SIREN", fhir.SystemIdentifierType, o.SIREN))
	case o.Technical != "":
		out = append(out, national(nationalTechnical, o.Technical), identifier(fhir.SystemInternT, "INTRN", fhir.SystemIdentifierType, o.Technical))
	}
	if o.FINESS != "" {
		kind := "FINEG"
		if o.legal() {
			kind = "FINEJ"
		}
		out = append(out, identifier(fhir.SystemFINESS, kind, fhir.SystemIdentifierType, o.FINESS))
	}
	if o.SIRET != "" {
		out = append(out, identifier(fhir.SystemSIRENE, "SIRET", fhir.SystemIdentifierType, o.SIRET))
	}
	return out
}

func placeTypes(o *organizationRow) []models.CodeableConcept {
	marked := func(kind string, c models.CodeableConcept) models.CodeableConcept {
		c.Extension = []models.Extension{{Url: fhir.ExtensionOrganizationType, ValueCode: &kind}}
		return c
	}
	var out []models.CodeableConcept
	switch {
	case o.legal():
		out = append(out, marked("organizationType", concept(fhir.SystemOrganizationType, legal, "")))
	case o.FINESSEJ != "" || o.SIRET != "":
		out = append(out, marked("organizationType", concept(fhir.SystemOrganizationType, geographical, "")))
	}
	if o.Sector != "" {
		out = append(out, marked("secteurActiviteRASS", concept(fhir.SystemSector, o.Sector, o.SectorLabel)))
	}
	return out
}

func phones(o *organizationRow) []models.ContactPoint {
	var out []models.ContactPoint
	if o.Phone != "" {
		out = append(out, models.ContactPoint{System: fhir.Ptr(models.ContactPointSystemPhone), Value: &o.Phone})
	}
	if o.Fax != "" {
		out = append(out, models.ContactPoint{System: fhir.Ptr(models.ContactPointSystemFax), Value: &o.Fax})
	}
	return out
}

func placeAddress(o *organizationRow) []models.Address {
	a := models.Address{City: fhir.Ptr(o.City), District: fhir.Ptr(o.Department), PostalCode: fhir.Ptr(o.PostalCode), Country: fhir.Ptr(o.Country)}
	for _, line := range []string{o.Complement, o.Street} {
		a.Line = append(a.Line, list(strings.TrimSpace(line))...)
	}
	if a.City == nil && a.PostalCode == nil && a.Line == nil {
		return nil
	}
	return []models.Address{a}
}
