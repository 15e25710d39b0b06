package fhir

// Systems of identifiers (ans.fhir.fr.annuaire 1.1.0, hl7.fhir.fr.core 2.1).
const (
	SystemPP      = "urn:oid:1.2.250.1.71.4.2.1" // of a professional, with its type before it
	SystemRPPS    = "https://rpps.esante.gouv.fr"
	SystemPlace   = "urn:oid:1.2.250.1.71.4.2.2" // of a structure, with its type before it
	SystemFINESS  = "https://finess.esante.gouv.fr"
	SystemSIRENE  = "https://sirene.fr"                  // SIREN and SIRET
	SystemInternT = "http://rpps.interne.esante.gouv.fr" // of a structure that has no other

	SystemIdentifierType   = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203" // IDNPS, RPPS, IDNST, FINEG, FINEJ, SIREN, SIRET, INTRN
	SystemOrganizationType = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-3307" // LEGAL-ENTITY, GEOGRAPHICAL-ENTITY
)

const mos = "https://mos.esante.gouv.fr/NOS/"

// Systems of codes (NOS).
const (
	SystemProfession    = mos + "TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
	SystemSocial        = mos + "TRE_R94-ProfessionSocial/FHIR/TRE-R94-ProfessionSocial"
	SystemTitle         = mos + "TRE_R95-UsagerTitre/FHIR/TRE-R95-UsagerTitre"
	SystemCategory      = mos + "TRE_R09-CategorieProfessionnelle/FHIR/TRE-R09-CategorieProfessionnelle"
	SystemKnowHowType   = mos + "TRE_R04-TypeSavoirFaire/FHIR/TRE-R04-TypeSavoirFaire"
	SystemSpecialty     = mos + "TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
	SystemSkill         = mos + "TRE_R39-Competence/FHIR/TRE-R39-Competence"
	SystemSkillOnly     = mos + "TRE_R40-CompetenceExclusive/FHIR/TRE-R40-CompetenceExclusive"
	SystemDESC          = mos + "TRE_R42-DESCnonQualifiant/FHIR/TRE-R42-DESCnonQualifiant"
	SystemCapacity      = mos + "TRE_R43-CapaciteSavoirFaire/FHIR/TRE-R43-CapaciteSavoirFaire"
	SystemPAC           = mos + "TRE_R44-QualificationPAC/FHIR/TRE-R44-QualificationPAC"
	SystemQualified     = mos + "TRE_R45-FonctionQualifiee/FHIR/TRE-R45-FonctionQualifiee"
	SystemComplementary = mos + "TRE_R97-DroitExerciceCompl/FHIR/TRE-R97-DroitExerciceCompl"
	SystemOrientation   = mos + "TRE_G13-OrientationParticuliere/FHIR/TRE-G13-OrientationParticuliere"
	SystemMode          = mos + "TRE_R23-ModeExercice/FHIR/TRE-R23-ModeExercice"
	SystemFunction      = mos + "TRE_R21-Fonction/FHIR/TRE-R21-Fonction"
	SystemSector        = mos + "TRE_R02-SecteurActivite/FHIR/TRE-R02-SecteurActivite"
	SystemMailKind      = mos + "TRE_R256-TypeMessagerie/FHIR/TRE-R256-TypeMessagerie" // MSSANTE
	SystemBALKind       = mos + "TRE_R257-TypeBAL/FHIR/TRE-R257-TypeBAL"               // PER, ORG, APP, CAB
)

// Profiles and extensions.
const (
	core     = "https://hl7.fr/ig/fhir/core/StructureDefinition/"
	annuaire = "https://interop.esante.gouv.fr/ig/fhir/annuaire/"

	ProfileCorePractitioner     = core + "fr-core-practitioner"
	ProfileCorePractitionerRole = core + "fr-core-practitioner-role"
	ProfileCoreOrganization     = core + "fr-core-organization"
	ProfilePractitioner         = annuaire + "StructureDefinition/as-practitioner"
	ProfilePractitionerRole     = annuaire + "StructureDefinition/as-practitionerrole"
	ProfileOrganization         = annuaire + "StructureDefinition/as-organization"

	ExtensionMailKind         = core + "fr-core-contact-point-email-type"
	ExtensionMailbox          = annuaire + "StructureDefinition/as-ext-mailbox-mss-metadata"
	ExtensionOrganizationType = annuaire + "StructureDefinition/as-ext-organization-types"

	// SearchParameters is where the guide of the directory defines its own.
	SearchParameters = annuaire + "SearchParameter/"
)
