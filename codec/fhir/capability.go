package fhir

import (
	"encoding/json"
	"strings"
	"time"

	models "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"pli/fault"
)

// Server is what a CapabilityStatement says of who serves it.
type Server struct {
	Name    string // of the operator
	Version string // of the software
	URL     string // the base; "" when it is not known
	Since   time.Time
}

// Capability writes the CapabilityStatement of a catalogue: what is announced is read off
// the very table that searches are read with.
func Capability(cat Catalogue, s Server) ([]byte, error) {
	rest := models.CapabilityStatementRest{
		Mode: models.RestfulCapabilityModeServer,
		Security: &models.CapabilityStatementRestSecurity{
			Cors: Ptr(false),
			Service: []models.CodeableConcept{
				security("Basic", "Adresse de la boîte et mot de passe d'application"),
				security("Certificates", "Certificat client de l'IGC-Santé")},
			Description: Ptr("TLS, puis adresse et mot de passe d'application, ou certificat client."),
		},
	}
	for i := range cat {
		rest.Resource = append(rest.Resource, resource(&cat[i]))
	}
	c := models.CapabilityStatement{
		Id:          Ptr("annuaire"),
		Name:        Ptr("AnnuaireMSSante"),
		Title:       Ptr("Annuaire des messageries sécurisées de santé"),
		Status:      models.PublicationStatusActive,
		Date:        s.Since.UTC().Format("2006-01-02"),
		Publisher:   Ptr(s.Name),
		Description: Ptr("Lecture de l'annuaire : professionnels, situations d'exercice, structures et leurs boîtes MSSanté publiées. Aucun nombre de résultats n'est donné."),
		Kind:        models.CapabilityStatementKindInstance,
		Software:    &models.CapabilityStatementSoftware{Name: "Pli", Version: Ptr(s.Version)},
		Implementation: &models.CapabilityStatementImplementation{
			Description: "Annuaire de l'opérateur : ses boîtes et l'extraction nationale", Url: Ptr(s.URL)},
		FhirVersion: models.FHIRVersion4_0_1,
		Format:      []string{MediaType, "json"},
		Rest:        []models.CapabilityStatementRest{rest},
	}
	b, err := json.Marshal(c)
	return b, fault.Wrap(fault.Internal, "fhir.Capability", "", err)
}

func security(code, text string) models.CodeableConcept {
	return models.CodeableConcept{Text: &text, Coding: []models.Coding{{
		System: Ptr("http://terminology.hl7.org/CodeSystem/restful-security-service"), Code: &code}}}
}

const pagesDoc = "Pages : _count (50, au plus 200) et lien next. Réponse : _elements, _summary (sauf count), _format. " +
	"Prefer: handling=strict refuse les paramètres inconnus, sinon ignorés avec un avertissement."

func resource(s *Spec) models.CapabilityStatementRestResource {
	out := models.CapabilityStatementRestResource{
		Profile: Ptr(s.Profile), SupportedProfile: s.Supported, Documentation: Ptr(pagesDoc),
		Interaction: []models.CapabilityStatementRestResourceInteraction{
			{Code: models.TypeRestfulInteractionRead}, {Code: models.TypeRestfulInteractionSearchType}},
		Versioning:       Ptr(models.ResourceVersionPolicyVersioned),
		ReadHistory:      Ptr(false),
		ConditionalRead:  Ptr(models.ConditionalReadStatusFullSupport),
		SearchInclude:    s.Includes,
		SearchRevInclude: s.RevIncludes,
	}
	_ = out.Type.UnmarshalJSON([]byte(`"` + s.Type + `"`)) // a constant of ours
	for _, p := range s.Params {
		out.SearchParam = append(out.SearchParam, models.CapabilityStatementRestResourceSearchParam{
			Name: p.Name, Definition: Ptr(p.Definition), Type: searchType(p.Kind), Documentation: Ptr(document(p))})
	}
	return out
}

func document(p Param) string {
	doc := p.Doc
	if len(p.Modifiers) > 0 {
		doc += " Modificateurs : :" + strings.Join(p.Modifiers, ", :") + "."
	}
	if len(p.Chained) > 0 {
		doc += " Chaînages : " + p.Name + "." + strings.Join(p.Chained, ", "+p.Name+".") + "."
	}
	if p.Kind == Date {
		doc += " Préfixes : " + strings.Join(comparisons, ", ") + "."
	}
	return doc
}

func searchType(k Kind) models.SearchParamType {
	switch k {
	case String:
		return models.SearchParamTypeString
	case Reference:
		return models.SearchParamTypeReference
	case Date:
		return models.SearchParamTypeDate
	default:
		return models.SearchParamTypeToken
	}
}
