package search

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"pli/directory/listing"
	"pli/health"
)

// crowd invents listings, the same for the same seed: a few names are borne by many and
// most by few, as everywhere.
type crowd struct {
	r        *rand.Rand
	families []string
	givens   []string
	towns    []town
	n        int
	taken    map[string]int // addresses given, and how often
}

type town struct{ name, postal string }

var (
	families = strings.Fields(`Martin Bernard Thomas Petit Robert Richard Durand Dubois Moreau Laurent Simon Michel Lefebvre
		Leroy Roux David Bertrand Morel Fournier Girard Bonnet Dupont Lambert Fontaine Rousseau Vincent Muller Lefèvre Faure
		André Mercier Blanc Guérin Boyer Garnier Chevalier François Legrand Gauthier Garcia Perrin Robin Clément Morin Nicolas
		Henry Roussel Mathieu Gautier Masson Marchand Duval Denis Dumont Marie Lemaire Noël Meyer Dufour Meunier Brun Blanchard
		Giraud Joly Rivière Lucas Brunet Gaillard Barbier Arnaud Martinez Gérard Roche Renard Schmitt Roy Leroux Colin Vidal
		Caron Picard Roger Fabre Aubert Lemoine Renaud Dumas Lacroix Olivier Philippe Bourgeois Pierre Benoît Rey Leclerc Payet
		Rolland Leclercq Guillaume Lecomte Lopez Jean Dupuy Guillot Hubert Berger Carpentier Sanchez Dupuis Moulin Louis Deschamps
		Huet Vasseur Perez Boucher Fleury Royer Klein Jacquet Adam Paris Poirier Marty Aubry Guyot Carré Charles Renault Charpentier
		Ménard Maillard Baron Bertin Bailly Hervé Schneider Fernandez Le_Gall Collet Léger Bouvier Julien Prévost Millet Perrot
		Daniel Le_Roux Cousin Germain Breton Besson Langlois Rémy Le_Goff Pelletier Lévêque Perrier Leblanc Barré Lebrun Marchal
		Weber Mallet Hamon Boulanger Jacob Monnier Michaud Rodriguez Guichard Gillet Étienne Grondin Poulain Tessier Chevallier
		Collin Chauvin Bouchet Gay Lemaître Bénard Maréchal Humbert Reynaud Antoine Hoarau Perret Barthélemy Cordier Pichon Lejeune
		Gilbert Lamy Delaunay Pasquier Carlier Laporte Haddad De_La_Tour D'Aubigné L'Hermite`)
	givens = strings.Fields(`Marie Jean Pierre Michel Nathalie Philippe Isabelle Sylvie Catherine Alain Françoise Patrick Nicolas
		Christophe Martine Stéphanie Frédéric Laurent Sophie Céline Julien David Stéphane Sandrine Valérie Olivier Christine
		Thomas Julie Anne Sébastien Camille Claire Éric Pascal Bernard Alexandre Monique Véronique Thierry Brigitte Daniel
		Emmanuel Hélène Karine Léa Manon Antoine Guillaume Maxime Lucas Hugo Chloé Emma Karim Fatima Mohamed Yasmine Jean-Pierre
		Marie-Claude Anne-Sophie Jean-Baptiste Éléonore Gaëlle Maëlle Noémie Zoé`)
	bigTowns = []town{{"PARIS", "75019"}, {"PARIS", "75013"}, {"MARSEILLE", "13008"}, {"LYON", "69003"}, {"LYON CEDEX 08", "69373"},
		{"TOULOUSE", "31000"}, {"NICE", "06000"}, {"NANTES", "44000"}, {"STRASBOURG", "67000"}, {"BORDEAUX", "33000"},
		{"LILLE", "59000"}, {"RENNES", "35000"}, {"REIMS", "51100"}, {"SAINT-ÉTIENNE", "42000"}, {"BREST", "29200"}}
	syllables = strings.Fields(`ba be bi bo bou bra bre char che cla co cou da de di do du fa fe fi fla fo ga ge gi go gra gue
		ha jo ju ka la le li lo lu ma me mi mo mou na ne no pa pe pi pla po pra qui ra re ri ro rou sa se si so sou ta te ti to
		tou tra va ve vi vo zan zi`)
	endings     = strings.Fields(`rd nd lle ux t ier on eau in ot et ac ez an ault y sse let oin`)
	professions = []struct{ code, label, skill, skillLabel, domain string }{
		{"10", "Médecin", "SM54", "Médecine générale", "medecin"},
		{"10", "Médecin", "SM04", "Cardiologie et maladies vasculaires", "medecin"},
		{"10", "Médecin", "SM38", "Ophtalmologie", "medecin"},
		{"10", "Médecin", "SM40", "Pédiatrie", "medecin"},
		{"60", "Infirmier", "", "", "infirmier"},
		{"60", "Infirmier", "", "", "infirmier"},
		{"70", "Masseur-Kinésithérapeute", "", "", "kine"},
		{"21", "Pharmacien", "", "", "pharmacien"},
		{"40", "Chirurgien-Dentiste", "", "", "dentiste"},
		{"50", "Sage-Femme", "", "", "sage-femme"},
		{"91", "Orthophoniste", "", "", "orthophoniste"},
		{"999", "Profession de demain", "", "", "autre"},
	}
	crews = strings.Fields(`Cardiologie Urgences Secrétariat_médical Chirurgie_viscérale Préadmission Imagerie Laboratoire
		Pédiatrie Maternité Gériatrie Oncologie Consultations_externes`)
)

func newCrowd(seed uint64, names int) *crowd {
	c := &crowd{r: rand.New(rand.NewPCG(seed, seed)), givens: givens, taken: map[string]int{}}
	c.families = append(c.families, families...)
	for len(c.families) < names {
		var b strings.Builder
		for range 1 + c.r.IntN(3) {
			b.WriteString(c.pick(syllables))
		}
		b.WriteString(c.pick(endings))
		name := b.String()
		c.families = append(c.families, strings.ToUpper(name[:1])+name[1:])
	}
	c.towns = append(c.towns, bigTowns...)
	for i := len(c.towns); i < max(20, names/20); i++ {
		name := strings.ToUpper(c.pick(syllables) + c.pick(syllables) + c.pick(endings))
		switch c.r.IntN(5) {
		case 0:
			name = "SAINT-" + name
		case 1:
			name += " SUR " + strings.ToUpper(c.pick(syllables)+c.pick(endings))
		}
		c.towns = append(c.towns, town{name, fmt.Sprintf("%02d%03d", 1+c.r.IntN(95), 10*c.r.IntN(100))})
	}
	return c
}

func (c *crowd) pick(from []string) string {
	return strings.ReplaceAll(from[c.r.IntN(len(from))], "_", " ")
}

// few picks an index below n, small ones more often; even is how many of the first are
// about as frequent as each other.
func (c *crowd) few(n, even int) int {
	q := float64(even)
	return min(n-1, int(q*math.Pow((float64(n)+q)/q, c.r.Float64())-q))
}

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func (c *crowd) next() listing.Listing {
	c.n++
	place := c.few(200_000, 500)
	there := rand.New(rand.NewPCG(uint64(place), 1))
	t := c.towns[(&crowd{r: there}).few(len(c.towns), 8)]
	l := listing.Listing{
		Kind: health.PER, PlaceType: "FINESS", Place: fmt.Sprintf("99%07d", place), City: t.name, PostalCode: t.postal,
		Department: t.postal[:2], Country: "FR", Rank: 1, SinceAt: noon, ChangedAt: noon, SeenAt: noon,
		Street: fmt.Sprintf("%d rue de la Paix", 1+c.r.IntN(99)),
	}
	townWord := strings.ReplaceAll(listing.FoldCity(t.name), " ", "-")
	switch {
	case place%3 == 0:
		l.Structure, l.Sector = "CENTRE HOSPITALIER DE "+t.name, "SA01"
	case place%3 == 1:
		l.Structure, l.Sector = fmt.Sprintf("CABINET DU DR %s", strings.ToUpper(c.families[place%len(c.families)])), "SA07"
	default:
		l.Structure, l.TradeName, l.Sector = "SELARL "+strings.ToUpper(c.families[place%len(c.families)]), "Pharmacie de la Gare", "SA33"
	}
	l.Structure = strings.ReplaceAll(l.Structure, "_", " ")
	if c.r.IntN(12) == 0 {
		l.Kind, l.Service = health.ORG, c.pick(crews)
		if c.r.IntN(2) == 0 {
			l.Description = "Pour les " + strings.ToLower(c.pick(crews))
		}
		local := strings.ReplaceAll(listing.Fold(l.Service), " ", "-")
		l.Address = c.address(local, "ch-"+townWord)
		l.Key = listing.KeyOf(l.Address, "", l.Place, l.Service)
		return l
	}
	p := professions[c.r.IntN(len(professions))]
	l.FamilyName = strings.ReplaceAll(c.families[c.few(len(c.families), 30)], "_", " ")
	l.GivenName = c.givens[c.few(len(c.givens), 20)]
	l.PPType, l.PP = "8", fmt.Sprintf("8997%07d", c.n)
	l.Profession, l.ProfessionLabel, l.KnowHow, l.KnowHowLabel = p.code, p.label, p.skill, p.skillLabel
	l.Category, l.CategoryLabel = "C", "Civil"
	if c.r.IntN(15) == 0 {
		l.Rank = 2
	}
	domain := p.domain
	if c.r.IntN(3) == 0 {
		domain = "ch-" + townWord
	}
	dash := func(s string) string { return strings.ReplaceAll(listing.Fold(s), " ", "-") }
	l.Address = c.address(dash(l.GivenName)+"."+dash(l.FamilyName), domain)
	l.Key = listing.KeyOf(l.Address, l.PP, l.Place, "")
	return l
}

// address gives each address once: a number tells homonyms apart, as operators do.
func (c *crowd) address(local, domain string) string {
	whole := local + "@" + domain
	c.taken[whole]++
	if n := c.taken[whole]; n > 1 {
		local = fmt.Sprintf("%s%d", local, n)
	}
	return local + "@" + domain + ".mssante.example"
}
