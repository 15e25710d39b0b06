package extraction

import "strings"

// column is a published column and the field of a line it fills.
type column[T any] struct {
	name     string
	required bool
	field    func(*T) *string
	aliases  []string // other names it has had
}

// correspondanceColumns are the 31 columns, in the order published (mssante.md §4.2).
var correspondanceColumns = []column[Correspondance]{
	{"Type de BAL", true, func(c *Correspondance) *string { return &c.Kind }, nil},
	{"Adresse BAL", true, func(c *Correspondance) *string { return &c.Address }, nil},
	{"Type Identifiant PP", true, func(c *Correspondance) *string { return &c.PPType }, []string{"Type d'identifiant PP"}},
	{"Identifiant PP", true, func(c *Correspondance) *string { return &c.PP }, nil},
	{"Identification nationale PP", false, func(c *Correspondance) *string { return &c.PPNational }, nil},
	{"Type identifiant structure", true, func(c *Correspondance) *string { return &c.PlaceType }, nil},
	{"Identification Structure", true, func(c *Correspondance) *string { return &c.Place }, []string{"Identifiant structure"}},
	{"Service de rattachement", true, func(c *Correspondance) *string { return &c.Service }, nil},
	{"Civilité d'exercice", false, func(c *Correspondance) *string { return &c.Civility }, nil},
	{"Nom d'exercice", true, func(c *Correspondance) *string { return &c.FamilyName }, nil},
	{"Prénom d'exercice", true, func(c *Correspondance) *string { return &c.GivenName }, nil},
	{"Catégorie profession", false, func(c *Correspondance) *string { return &c.Category }, nil},
	{"Libellé de catégorie profession", false, func(c *Correspondance) *string { return &c.CategoryLabel }, []string{"Libellé catégorie profession"}},
	{"Code Profession", true, func(c *Correspondance) *string { return &c.Profession }, nil},
	{"Libellé Profession", false, func(c *Correspondance) *string { return &c.ProfessionLabel }, nil},
	{"Code savoir-faire", true, func(c *Correspondance) *string { return &c.KnowHow }, nil},
	{"Libellé savoir-faire", false, func(c *Correspondance) *string { return &c.KnowHowLabel }, nil},
	{"Dématérialisation", false, func(c *Correspondance) *string { return &c.Paperless }, nil},
	{"Raison Sociale structure BAL", true, func(c *Correspondance) *string { return &c.Structure }, nil},
	{"Enseigne commerciale structure BAL", false, func(c *Correspondance) *string { return &c.TradeName }, nil},
	{"L2COMPLEMENTLOCALISATION structure BAL", false, func(c *Correspondance) *string { return &c.Location }, nil},
	{"L3COMPLEMENTDISTRIBUTION structure BAL", false, func(c *Correspondance) *string { return &c.Distribution }, nil},
	{"L4NUMEROVOIE structure BAL", false, func(c *Correspondance) *string { return &c.StreetNumber }, nil},
	{"L4COMPLEMENTNUMEROVOIE structure BAL", false, func(c *Correspondance) *string { return &c.StreetRepeat }, nil},
	{"NL4TYPEVOIE structure BAL", false, func(c *Correspondance) *string { return &c.StreetKind }, []string{"L4TYPEVOIE structure BAL"}},
	{"L4LIBELLEVOIE structure BAL", false, func(c *Correspondance) *string { return &c.StreetName }, nil},
	{"L5LIEUDITMENTION structure BAL", false, func(c *Correspondance) *string { return &c.Locality }, nil},
	{"L6LIGNEACHEMINEMENT structure BAL", false, func(c *Correspondance) *string { return &c.Routing }, nil},
	{"Code postal structure BAL", true, func(c *Correspondance) *string { return &c.PostalCode }, nil},
	{"Département structure BAL", false, func(c *Correspondance) *string { return &c.Department }, nil},
	{"Pays structure BAL", false, func(c *Correspondance) *string { return &c.Country }, nil},
}

// activityColumns are the 56 columns, in the order published. Where the words in
// brackets stand has changed over the years, so names are compared without them.
var activityColumns = []column[Activity]{
	{"Type d'identifiant PP", true, func(a *Activity) *string { return &a.PPType }, []string{"Type Identifiant PP"}},
	{"Identifiant PP", true, func(a *Activity) *string { return &a.PP }, nil},
	{"Identification nationale PP", false, func(a *Activity) *string { return &a.PPNational }, nil},
	{"Code civilité d'exercice", false, func(a *Activity) *string { return &a.ExerciseCivility }, nil},
	{"Libellé civilité d'exercice", false, func(a *Activity) *string { return &a.ExerciseCivilityLabel }, nil},
	{"Code civilité", false, func(a *Activity) *string { return &a.Civility }, nil},
	{"Libellé civilité", false, func(a *Activity) *string { return &a.CivilityLabel }, nil},
	{"Nom d'exercice", true, func(a *Activity) *string { return &a.FamilyName }, nil},
	{"Prénom d'exercice", true, func(a *Activity) *string { return &a.GivenName }, nil},
	{"Code profession", true, func(a *Activity) *string { return &a.Profession }, nil},
	{"Libellé profession", false, func(a *Activity) *string { return &a.ProfessionLabel }, nil},
	{"Code catégorie professionnelle", false, func(a *Activity) *string { return &a.Category }, nil},
	{"Libellé catégorie professionnelle", false, func(a *Activity) *string { return &a.CategoryLabel }, nil},
	{"Code type savoir-faire", false, func(a *Activity) *string { return &a.KnowHowType }, nil},
	{"Libellé type savoir-faire", false, func(a *Activity) *string { return &a.KnowHowTypeLabel }, nil},
	{"Code savoir-faire", true, func(a *Activity) *string { return &a.KnowHow }, nil},
	{"Libellé savoir-faire", false, func(a *Activity) *string { return &a.KnowHowLabel }, nil},
	{"Code mode exercice", false, func(a *Activity) *string { return &a.Mode }, nil},
	{"Libellé mode exercice", false, func(a *Activity) *string { return &a.ModeLabel }, nil},
	{"Numéro SIRET site", true, func(a *Activity) *string { return &a.SIRET }, nil},
	{"Numéro SIREN site", false, func(a *Activity) *string { return &a.SIREN }, nil},
	{"Numéro FINESS site", true, func(a *Activity) *string { return &a.FINESS }, nil},
	{"Numéro FINESS établissement juridique", false, func(a *Activity) *string { return &a.FINESSEJ }, nil},
	{"Identifiant technique de la structure", true, func(a *Activity) *string { return &a.Technical }, nil},
	{"Raison sociale site", true, func(a *Activity) *string { return &a.Structure }, nil},
	{"Enseigne commerciale site", false, func(a *Activity) *string { return &a.TradeName }, nil},
	{"Complément destinataire (coord. structure)", false, func(a *Activity) *string { return &a.Complement }, nil},
	{"Complément point géographique (coord. structure)", false, func(a *Activity) *string { return &a.Point }, nil},
	{"Numéro Voie (coord. structure)", false, func(a *Activity) *string { return &a.StreetNumber }, nil},
	{"Indice répétition voie (coord. structure)", false, func(a *Activity) *string { return &a.StreetRepeat }, nil},
	{"Code type de voie (coord. structure)", false, func(a *Activity) *string { return &a.StreetKind }, nil},
	{"Libellé type de voie (coord. structure)", false, func(a *Activity) *string { return &a.StreetKindLabel }, nil},
	{"Libellé Voie (coord. structure)", false, func(a *Activity) *string { return &a.StreetName }, nil},
	{"Mention distribution (coord. structure)", false, func(a *Activity) *string { return &a.Mention }, nil},
	{"Bureau cedex (coord. structure)", false, func(a *Activity) *string { return &a.Cedex }, nil},
	{"Code postal (coord. structure)", true, func(a *Activity) *string { return &a.PostalCode }, nil},
	{"Code commune (coord. structure)", false, func(a *Activity) *string { return &a.Commune }, nil},
	{"Libellé commune (coord. structure)", true, func(a *Activity) *string { return &a.City }, nil},
	{"Code pays (coord. structure)", false, func(a *Activity) *string { return &a.Country }, nil},
	{"Libellé pays (coord. structure)", false, func(a *Activity) *string { return &a.CountryLabel }, nil},
	{"Téléphone (coord. structure)", false, func(a *Activity) *string { return &a.Phone }, nil},
	{"Téléphone 2 (coord. structure)", false, func(a *Activity) *string { return &a.Phone2 }, nil},
	{"Télécopie (coord. structure)", false, func(a *Activity) *string { return &a.Fax }, nil},
	{"Adresse e-mail (coord. structure)", false, func(a *Activity) *string { return &a.Email }, nil},
	{"Code Département (structure)", false, func(a *Activity) *string { return &a.Department }, nil},
	{"Libellé Département (structure)", false, func(a *Activity) *string { return &a.DepartmentLabel }, nil},
	{"Ancien identifiant de la structure", false, func(a *Activity) *string { return &a.FormerID }, nil},
	{"Autorité d'enregistrement", false, func(a *Activity) *string { return &a.Registrar }, nil},
	{"Code secteur d'activité", false, func(a *Activity) *string { return &a.Sector }, nil},
	{"Libellé secteur d'activité", false, func(a *Activity) *string { return &a.SectorLabel }, nil},
	{"Code section tableau pharmaciens", false, func(a *Activity) *string { return &a.Section }, nil},
	{"Libellé section tableau pharmaciens", false, func(a *Activity) *string { return &a.SectionLabel }, nil},
	{"Code rôle", false, func(a *Activity) *string { return &a.Function }, []string{"Code fonction"}},
	{"Libellé rôle", false, func(a *Activity) *string { return &a.FunctionLabel }, []string{"Libellé fonction"}},
	{"Code genre activité", false, func(a *Activity) *string { return &a.Genre }, []string{"Code genre d'activité"}},
	{"Libellé genre activité", false, func(a *Activity) *string { return &a.GenreLabel }, []string{"Libellé genre d'activité"}},
}

var accents = strings.NewReplacer("à", "a", "â", "a", "ä", "a", "ç", "c", "é", "e", "è", "e", "ê", "e", "ë", "e",
	"î", "i", "ï", "i", "ô", "o", "ö", "o", "ù", "u", "û", "u", "ü", "u",
	"\u0300", "", "\u0301", "", "\u0302", "", "\u0308", "", "\u0327", "")

// foldName makes the names of columns comparable: no case, no accents, letters and
// digits only, without the d' of a name and without what is in brackets.
func foldName(s string) string {
	s = accents.Replace(strings.ToLower(s))
	if open := strings.IndexByte(s, '('); open > 0 {
		s = s[:open]
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "d'", ""), "d’", "")
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}
