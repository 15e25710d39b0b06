package invent

import (
	"embed"
	"math"
	"slices"
	"strings"
)

//go:embed words/*.txt
var files embed.FS

func text(name string) string {
	b, err := files.ReadFile("words/" + name + ".txt")
	if err != nil {
		panic(err) // embedded: the build has it
	}
	return string(b)
}

func list(name, separator string) []string {
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(text(name)), "\n") {
		for _, w := range strings.Split(line, separator) {
			if w = strings.TrimSpace(w); w != "" {
				out = append(out, w)
			}
		}
	}
	return out
}

// name is a word of a person's name, and as it is written in an address.
type name struct{ shown, plain string }

func names(file string) []name {
	var out []name
	for _, w := range list(file, " ") {
		out = append(out, name{w, slug(w)})
	}
	return out
}

var unaccent = strings.NewReplacer("à", "a", "á", "a", "â", "a", "ã", "a", "ä", "a", "ç", "c", "é", "e", "è", "e", "ê", "e", "ë", "e",
	"í", "i", "î", "i", "ï", "i", "ñ", "n", "ó", "o", "ô", "o", "ö", "o", "ù", "u", "û", "u", "ü", "u", "ÿ", "y", "œ", "oe", "æ", "ae",
	"'", "", "’", "", " ", "-")

// slug is a word as it is written in an address.
func slug(s string) string { return unaccent.Replace(strings.ToLower(s)) }

type city struct {
	department, label, postal, name string
	arrondissements                 int
}

func cities() []city {
	labels := map[string]string{}
	for _, d := range list("departments", ";") {
		code, label, _ := strings.Cut(d, " ")
		labels[code] = label
	}
	var out []city
	for _, line := range strings.Split(strings.TrimSpace(text("cities")), "\n") {
		f := strings.Split(line, "|")
		c := city{department: f[0], label: labels[f[0]], name: f[1], postal: f[2]}
		if len(f) > 3 {
			for _, ch := range f[3] {
				c.arrondissements = c.arrondissements*10 + int(ch-'0')
			}
		}
		out = append(out, c)
	}
	return out
}

// zipf gives the cumulated shares of n things whose weight falls with their rank.
func zipf(n int, exponent float64) []float64 {
	weights := make([]float64, n)
	for i := range weights {
		weights[i] = math.Pow(float64(i)+2, -exponent)
	}
	return cumulate(weights)
}

// cumulate turns weights into cumulated shares; the last is 1.
func cumulate(weights []float64) []float64 {
	total, sum := 0.0, 0.0
	for _, w := range weights {
		total += w
	}
	out := make([]float64, len(weights))
	for i, w := range weights {
		sum += w
		out[i] = sum / total
	}
	out[len(out)-1] = 1
	return out
}

// pick finds the thing at a point between 0 and 1.
func pick(shares []float64, at float64) int {
	i, _ := slices.BinarySearch(shares, at)
	return min(i, len(shares)-1)
}

var (
	syllables1 = strings.Fields("Bar Bel Ber Bon Bou Bru Cam Can Car Cas Cha Clo Cor Cou Dar Del Dor Dur Fal Fer Fon Gal Gar Gau Gir Gou Gra Gui Hau Jar Jol Lan Lar Lav Lou Mal Mar Mau Mer Mon Mor Mou Nav Nor Pal Par Pel Per Pin Pla Pou Pra Quin Ran Ray Ren Rib Riv Roc Ros Rou Sal San Sar Ser Sou Tal Tar Tour Val Var Ver Vig Vil")
	syllables2 = append([]string{""}, strings.Fields("be bi ca de di do ga go la le li lo ma mi mo na ne no ra ri ro sa so ta te ti to va vi")...)
	syllables3 = strings.Fields("beau bert champ court doux du fort gnac lard laud let lier lin lot mard mel mont nard naud net neau nier pied quet rand rat raud ret rier rin roy sac saut seau sin tard teau tel tier ton val veau vert ville vin")
)

// profession is a code of TRE_G15 with its share among the BAL of people.
type profession struct {
	code, label string
	weight      float64
	offices     string // kinds of office, by the digit they end with
	doctor      bool   // bears the title
}

var professions = []profession{
	{"10", "Médecin", 33, "012389", true},
	{"60", "Infirmier", 21, "4589", false},
	{"70", "Masseur-Kinésithérapeute", 10.5, "789", false},
	{"21", "Pharmacien", 9.5, "6", true},
	{"40", "Chirurgien-Dentiste", 6.5, "379", true},
	{"91", "Orthophoniste", 3.6, "89", false},
	{"50", "Sage-Femme", 3.2, "389", false},
	{"80", "Pédicure-Podologue", 2.4, "789", false},
	{"93", "Psychologue", 2.2, "389", false},
	{"98", "Manipulateur ERM", 1.1, "9", false},
	{"94", "Ergothérapeute", .9, "89", false},
	{"95", "Diététicien", .8, "89", false},
	{"96", "Psychomotricien", .8, "89", false},
	{"92", "Orthoptiste", .7, "389", false},
	{"86", "Technicien de labo médical", .7, "9", false},
	{"39", "Préparateur en pharmacie", .5, "6", false},
	{"28", "Opticien-Lunetier", .4, "9", false},
	{"26", "Audioprothésiste", .4, "9", false},
	{"35", "Aide-soignant", .3, "9", false},
	{"38", "Préparateur en pharmacie hospitalière", .2, "9", false},
	{"37", "Auxiliaire de puériculture", .15, "9", false},
	{"31", "Assistant dentaire", .15, "7", false},
	{"36", "Ambulancier", .1, "9", false},
	{"32", "Physicien médical", .1, "9", false},
	{"81", "Orthoprothésiste", .1, "9", false},
	{"82", "Podo-Orthésiste", .08, "9", false},
	{"83", "Orthopédiste-Orthésiste", .08, "9", false},
	{"69", "Infirmier psychiatrique", .05, "9", false},
	{"84", "Oculariste", .02, "9", false},
	{"85", "Epithésiste", .02, "9", false},
}

// unknown are codes that no table of ours has: they come, and must be kept.
var unknown = []profession{
	{"41", "Assistant de service social", 1, "9", false},
	{"405", "Assistant médical", 1, "9", false},
	{"Z7", "", 1, "9", false},
}

type knowHow struct {
	code, label string
	weight      float64
}

var specialities = []knowHow{
	{"SM54", "Médecine générale (SM)", 30}, {"SM53", "Spécialiste en Médecine générale (SM)", 10}, {"SM26", "Qualifié en Médecine générale (SM)", 14},
	{"SM02", "Anesthésie-réanimation (SM)", 5}, {"SM04", "Cardiologie et Maladies vasculaires (SM)", 4}, {"SM42", "Psychiatrie (SM)", 4.5},
	{"SM40", "Pédiatrie (SM)", 3.5}, {"SM44", "Radio-diagnostic (SM)", 4}, {"SM20", "Gynécologie-obstétrique (SM)", 2.5}, {"SM38", "Ophtalmologie (SM)", 2.8},
	{"SM15", "Dermatologie et vénéréologie (SM)", 1.8}, {"SM24", "Gastro-entérologie et Hépatologie (SM)", 2}, {"SM41", "Pneumologie (SM)", 1.7},
	{"SM48", "Rhumatologie (SM)", 1.4}, {"SM32", "Neurologie (SM)", 1.5}, {"SM34", "ORL et Chirurgie cervico-faciale (SM)", 1.2},
	{"SM08", "Chirurgie orthopédique et Traumatologie (SM)", 1.8}, {"SM14", "Chirurgie viscérale et digestive (SM)", .9}, {"SM12", "Chirurgie urologique (SM)", .6},
	{"SM05", "Chirurgie générale (SM)", 1.2}, {"SM18", "Gériatrie (SM)", 1.2}, {"SM25", "Médecine du travail (SM)", 2.2}, {"SM27", "Médecine interne (SM)", .9},
	{"SM29", "Médecine physique et réadaptation (SM)", 1}, {"SM30", "Néphrologie (SM)", .8}, {"SM31", "Neuro-chirurgie (SM)", .3}, {"SM01", "Anatomie et Cytologie pathologiques (SM)", .7},
	{"SM03", "Biologie médicale (SM)", 1.3}, {"SM28", "Médecine nucléaire (SM)", .4}, {"SM49", "Santé publique et Médecine sociale (SM)", .7}, {"SM57", "Allergologie (SM)", .3},
	{"SM58", "Maladies infectieuses et tropicales (SM)", .3}, {"SM59", "Médecine d'urgence (SM)", 1.2}, {"SM61", "Médecine vasculaire (SM)", .5}, {"SM19", "Gynécologie médicale (SM)", .6},
}

var ways = [][2]string{{"R", "Rue"}, {"AV", "Avenue"}, {"BD", "Boulevard"}, {"PL", "Place"}, {"RTE", "Route"}, {"CHE", "Chemin"}, {"ALL", "Allée"}, {"IMP", "Impasse"}, {"QU", "Quai"}, {"CRS", "Cours"}}
