package invent

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"pli/codec/extraction"
)

// Shares and rates of the real directory (mssante.md §10).
const (
	nationalSize = 535_357 // published BAL on 25/08/2026
	orgShare     = 0.15
	dailyCreated = 340.0 / nationalSize
	dailyGone    = 480.0 / nationalSize
	dailyChanged = 220.0 / nationalSize
	twiceShare   = 169.0 / nationalSize // addresses that appear more than once
	unknownShare = 0.002
	namelessRate = 0.02 // professionals known to their structure only
	adeliShare   = 0.04
	secondShare  = 0.08 // BAL whose holder has another
)

// others is the number of the first professional without a BAL.
const others = 1 << 40

// What a die is thrown for: each has its own sequence.
const (
	forKind = iota + 1
	forPerson
	forLife
	forOffice
	forDomain
	forAddress
	forTwice
	forExercise
	forChange
	forPlace
	forOwner
	forNumber
)

// die gives numbers that depend on the seed, on what they are for and on whom.
type die uint64

func (d *die) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (d *die) below(n int) int         { return int(d.next() % uint64(max(1, n))) }
func (d *die) share() float64          { return float64(d.next()>>11) / (1 << 53) }
func (d *die) chance(p float64) bool   { return d.share() < p }
func (d *die) days(rate float64) int   { return 1 + int(-math.Log(1-d.share())/rate) }
func (d *die) of(shares []float64) int { return pick(shares, d.share()) }

type domain struct {
	name       string
	profession int  // of the only profession it is for; -1 for others
	region     bool // of an operator open to all: its people have their own offices
	house      int  // kind of structure it belongs to
	city       int
	sites      int
}

type population struct {
	o           Options
	seed        uint64
	domains     []domain
	size        []float64 // of domains, cumulated
	org         float64   // share of ORG where they may be
	offices     int
	family      []name
	female      []name
	male        []name
	cities      []city
	streets     []string
	services    []string
	byFamily    []float64
	byGiven     []float64
	byCity      []float64
	byService   []float64
	byWork      []float64
	bySpecialty []float64
}

func newPopulation(o Options) *population {
	p := &population{
		o: o, seed: uint64(o.Seed)*0x2545f4914f6cdd1d + 0x1234567, offices: max(4, o.Size/50),
		family: names("family"), female: names("female"), male: names("male"), cities: cities(),
		streets: list("streets", ";"), services: list("services", ";"),
	}
	p.byFamily, p.byGiven = zipf(len(p.family), .8), zipf(min(len(p.female), len(p.male)), .7)
	p.byCity, p.byService = zipf(len(p.cities), .55), zipf(len(p.services), .6)
	var work, specialty []float64
	for _, w := range professions {
		work = append(work, w.weight)
	}
	for _, s := range specialities {
		specialty = append(specialty, s.weight)
	}
	p.byWork, p.bySpecialty = cumulate(work), cumulate(specialty)
	p.makeDomains()
	return p
}

func (p *population) die(what int, who int) die {
	d := die(p.seed ^ uint64(what)*0xd6e8feb86659fd93 ^ uint64(who)*0xa0761d6478bd642f)
	d.next()
	return d
}

// heads are the largest domains: of one profession, or open to all.
var heads = []struct{ name, profession string }{
	{"medecin", "10"}, {"pro", ""}, {"infirmier", "60"}, {"sud", ""}, {"pharmacien", "21"},
	{"kine", "70"}, {"ouest", ""}, {"chirurgien-dentiste", "40"}, {"est", ""}, {"nord", ""},
	{"sage-femme", "50"}, {"orthophoniste", "91"}, {"centre", ""}, {"pedicure-podologue", "80"}, {"ile-de-france", ""},
	{"psychologue", "93"}, {"outre-mer", ""}, {"montagne", ""}, {"littoral", ""}, {"cabinets", ""},
}

// Kinds of house that own a domain.
const (
	hospital = iota
	clinic
	nursing
	laboratory
	group
)

// makeDomains lays out the domains so that their sizes fall as the real ones do: for
// 535,357 BAL in 5,018 domains, the median is 4, the 90th centile 87, the 99th 1,193,
// the largest 62,151, and the ten largest hold 46 %.
func (p *population) makeDomains() {
	k := float64(max(p.o.Size, 1)) / nationalSize
	tail := k
	if k < 1 {
		tail = math.Pow(k, .7)
	}
	count := max(3, int(5018*tail))
	points := [][2]float64{{1, 62151 * k}, {10, 12400 * k}, {11, 8000 * k}, {50, 1193 * math.Max(k, math.Pow(k, 1.1))}}
	for _, q := range [][2]float64{{50, 1193}, {502, 87}, {2509, 4}, {5018, 1}} {
		if rank := q[0] * tail; rank > points[len(points)-1][0] {
			points = append(points, [2]float64{rank, math.Min(q[1], points[len(points)-1][1])})
		}
	}
	weights := make([]float64, count)
	taken := map[string]bool{}
	only := 0.0
	total := 0.0
	for i := range weights {
		weights[i] = between(points, float64(i+1))
		total += weights[i]
		p.domains = append(p.domains, p.makeDomain(i, weights[i], taken))
		if p.domains[i].profession >= 0 {
			only += weights[i]
		}
	}
	p.size = cumulate(weights)
	p.org = math.Min(1, orgShare/math.Max(.01, 1-only/total))
}

// between reads a value between points, on logarithmic scales.
func between(points [][2]float64, x float64) float64 {
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		if x <= b[0] {
			t := math.Log(x/a[0]) / math.Log(b[0]/a[0])
			return math.Exp(math.Log(a[1])*(1-t) + math.Log(b[1])*t)
		}
	}
	return points[len(points)-1][1]
}

func (p *population) makeDomain(rank int, size float64, taken map[string]bool) domain {
	d := p.die(forDomain, rank)
	out := domain{profession: -1, city: d.of(p.byCity), sites: 1 + min(7, int(size/400))}
	var label string
	if rank < len(heads) {
		label, out.region = heads[rank].name, true
		for i, w := range professions {
			if w.code == heads[rank].profession {
				out.profession = i
			}
		}
	} else {
		town := slug(p.cities[out.city].name)
		switch at := d.share(); {
		case size > 400 || at < .15:
			out.house, label = hospital, "ch-"+town
			if size > 800 {
				label = "chu-" + town
			}
		case at < .35:
			out.house, label = clinic, "clinique-"+slug(p.female[d.below(len(p.female))].shown)+"-"+town
		case at < .65:
			out.house, label = nursing, "ehpad-"+slug(lastWord(p.streets[d.below(len(p.streets))]))+"-"+town
		case at < .75:
			out.house, label = laboratory, "labo-"+town
		default:
			out.house, label = group, "msp-"+town
		}
	}
	base := label
	for n := 2; taken[label]; n++ {
		label = base + strconv.Itoa(n)
	}
	taken[label] = true
	out.name = label + ".mssante.example"
	return out
}

func lastWord(s string) string { return s[strings.LastIndexAny(s, " '")+1:] }

// born is the day on which a BAL is published; those of before are of day 0.
func (p *population) born(slot int) int {
	if slot < p.o.Size {
		return 0
	}
	if p.o.Size == 0 {
		return math.MaxInt
	}
	return 1 + int(float64(slot-p.o.Size)/(dailyCreated*float64(p.o.Size)))
}

// gone is the day on which it is no more.
func (p *population) gone(slot int) int {
	d := p.die(forLife, slot)
	return p.born(slot) + d.days(dailyGone)
}

// changed tells how many times a BAL's holder has moved by now: 0 or 1.
func (p *population) changed(who int) int {
	d := p.die(forChange, who)
	if d.days(dailyChanged) <= p.o.Day {
		return 1
	}
	return 0
}

// domainOf spreads BAL over the domains by their sizes, evenly.
func (p *population) domainOf(slot int) int {
	const golden = 0.6180339887498949
	d := die(p.seed)
	_, at := math.Modf(float64(slot+1)*golden + d.share())
	return pick(p.size, at)
}

// personal tells PER from ORG.
func (p *population) personal(slot int) bool {
	if p.domains[p.domainOf(slot)].profession >= 0 {
		return true
	}
	d := p.die(forKind, slot)
	return !d.chance(p.org)
}

// owner is the number of the professional who holds a BAL: that of his first one.
func (p *population) owner(slot int) int {
	if !p.second(slot) {
		return slot
	}
	d := p.die(forOwner, slot)
	for range 8 {
		if c := slot - 1 - d.below(997); c >= 0 && p.personal(c) && !p.second(c) {
			return c
		}
	}
	return slot
}

// second tells whether a BAL may be one more of somebody who has one.
func (p *population) second(slot int) bool {
	if p.domains[p.domainOf(slot)].profession >= 0 {
		return false
	}
	d := p.die(forOwner, slot)
	d.next()
	return die(d.next()).half(secondShare)
}

func (d die) half(share float64) bool { return float64(uint64(d)>>11)/(1<<53) < share }

func (p *population) twice(slot int) bool {
	d := p.die(forTwice, slot)
	return d.chance(twiceShare) && p.personal(slot)
}

// national tells whether a professional has an identifier of his own.
func (p *population) national(who int) bool {
	d := p.die(forPlace, who)
	return who >= others || !d.chance(namelessRate)
}

// exercises is how many places a professional works in.
func (p *population) exercises(who int) int {
	d := p.die(forExercise, who)
	switch at := d.share(); {
	case at < .85:
		return 1
	case at < .96:
		return 2
	}
	return 3
}

// ended is the day on which an exercise ends.
func (p *population) ended(who, k int) int {
	d := p.die(forExercise, who+(k+1)*7_000_003)
	day := d.days(dailyGone / 2)
	if who < others && d.chance(.5) {
		day = min(day, p.gone(who))
	}
	return day
}

// person is a professional.
type person struct {
	woman         bool
	family, given name
	work          profession
	knowHow       knowHow
	ppType, pp    string
	category      string
	domain        int // of his first BAL
	kind          string
}

func (p *population) person(who int) person {
	d := p.die(forPerson, who)
	out := person{woman: d.chance(.58), category: "C", domain: -1}
	given := p.male
	if out.woman {
		given = p.female
	}
	out.given = given[d.of(p.byGiven)]
	out.family = p.surname(&d)
	if p.o.Day > 0 && out.woman && p.changed(who) == 1 && d.chance(.1) { // marries
		out.family = p.surname(&d)
	}
	at := d.of(p.byWork)
	if who < others {
		out.domain = p.domainOf(who)
		if only := p.domains[out.domain].profession; only >= 0 {
			at = only
		}
	}
	out.work = professions[at]
	if d.chance(unknownShare) {
		out.work = unknown[d.below(len(unknown))]
	}
	if out.work.code == "10" {
		out.knowHow = specialities[d.of(p.bySpecialty)]
	}
	switch at := d.share(); {
	case at < .01:
		out.category = "M"
	case at < .02:
		out.category = "E"
	}
	if p.national(who) {
		out.ppType, out.pp = "8", p.rpps(who)
		if d.chance(adeliShare) && out.work.code != "10" && who < others {
			out.ppType, out.pp = "0", fmt.Sprintf("99%07d", who%10_000_000)
		}
	}
	return out
}

// surname throws for a name: one in two is a frequent one.
func (p *population) surname(d *die) name {
	one := func() name {
		if d.chance(.55) {
			return p.family[d.of(p.byFamily)]
		}
		s := syllables1[d.below(len(syllables1))] + syllables2[d.below(len(syllables2))] + syllables3[d.below(len(syllables3))]
		return name{s, strings.ToLower(s)}
	}
	n := one()
	switch at := d.share(); {
	case at < .03:
		m := one()
		n = name{n.shown + "-" + m.shown, n.plain + "-" + m.plain}
	case at < .04:
		m := one()
		n = name{n.shown + " " + m.shown, n.plain + "-" + m.plain}
	case at < .05:
		n = name{"de " + n.shown, "de-" + n.plain}
	case at < .055:
		n = name{"Le " + n.shown, "le-" + n.plain}
	}
	return n
}

// rpps numbers professionals: 8997 and six digits that look drawn, then the key. Past
// a million the fourth digit goes down.
func (p *population) rpps(who int) string {
	const free = 990_000 // the first 10,000 are left to tests and to the demo
	n := who
	if who >= others {
		if n = who - others; int(1.2*float64(p.o.Size))+p.o.Others <= free {
			n = free - 1 - n
		} else {
			n += free * (2 + int(1.2*float64(p.o.Size))/free)
		}
	}
	serial := 10_000 + n%free*7919%free
	return withKey(fmt.Sprintf("899%d%06d", 7-n/free%7, serial))
}

// withKey adds the Luhn digit.
func withKey(s string) string {
	sum := 0
	for i := range len(s) {
		v := int(s[len(s)-1-i] - '0')
		if i%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return s + string(rune('0'+(10-sum%10)%10))
}

// structure is a place of care.
type structure struct {
	name, trade         string
	finess, ej, siret   string
	technical           string
	sector, sectorLabel string
	location, number    string
	repeat              string
	way                 [2]string
	street, mention     string
	postal, town        string
	city                *city
}

// house is a site of the structure that owns a domain.
func (p *population) house(rank, site int) structure {
	dom := p.domains[rank]
	d := p.die(forOffice, -1-rank*8-site)
	var s structure
	p.lay(&s, &d, dom.city)
	town := strings.ToUpper(p.cities[dom.city].name)
	saint := strings.ToUpper(p.female[d.below(len(p.female))].shown)
	switch dom.house {
	case hospital:
		s.name, s.sector, s.sectorLabel = "CENTRE HOSPITALIER DE "+town, "SA01", "Etablissement public de santé"
		if strings.HasPrefix(dom.name, "chu-") {
			s.name = "CHU DE " + town
		}
		if site > 0 {
			s.trade = "HÔPITAL SAINTE-" + saint
		}
	case clinic:
		s.name, s.sector, s.sectorLabel = "CLINIQUE SAINTE-"+saint, "SA04", "Etablissement privé non PSPH"
	case nursing:
		s.name, s.sector, s.sectorLabel = "EHPAD RÉSIDENCE "+strings.ToUpper(p.streets[d.below(len(p.streets))]), "SA17", "Etablissement pour personnes âgées"
	case laboratory:
		s.name, s.sector, s.sectorLabel = "LABORATOIRE DE BIOLOGIE MÉDICALE DE "+town, "SA25", "Laboratoire d'analyses de biologie médicale"
	default:
		s.name, s.sector, s.sectorLabel = "MAISON DE SANTÉ PLURIPROFESSIONNELLE DE "+town, "SA05", "Centre de santé"
	}
	p.number(&s, rank*8+site, true)
	s.ej = withKey(fmt.Sprintf("99%06d", 900_000+rank%100_000))
	return s
}

// office is a private practice. Its kind is the last digit of its number.
func (p *population) office(n int) structure {
	d := p.die(forOffice, n)
	var s structure
	p.lay(&s, &d, d.of(p.byCity))
	who := strings.ToUpper(p.surname(&d).shown)
	where := strings.ToUpper(p.streets[d.below(len(p.streets))])
	s.sector, s.sectorLabel = "SA07", "Cabinet individuel"
	finess := false
	switch n % 10 {
	case 0, 1:
		s.name = "CABINET DU DR " + who
	case 2:
		s.name, s.trade = "SCM "+who, "CABINET MÉDICAL "+where
		s.sector, s.sectorLabel = "SA08", "Cabinet de groupe"
	case 3:
		s.name = "CABINET MÉDICAL " + where
		s.sector, s.sectorLabel = "SA08", "Cabinet de groupe"
	case 4:
		s.name = "CABINET INFIRMIER " + who
	case 5:
		s.name = "CABINET INFIRMIER " + where
		s.sector, s.sectorLabel = "SA08", "Cabinet de groupe"
	case 6:
		s.name, s.trade = "SELARL PHARMACIE "+who, "PHARMACIE "+where
		s.sector, s.sectorLabel, finess = "SA33", "Pharmacie d'officine", true
	case 7:
		s.name = "CABINET " + who
	case 8:
		s.name = "MAISON DE SANTÉ " + where
		s.sector, s.sectorLabel, finess = "SA05", "Centre de santé", true
	default:
		s.name = "CENTRE DE SANTÉ " + where
		s.sector, s.sectorLabel, finess = "SA05", "Centre de santé", true
	}
	p.number(&s, 90_000+n, finess)
	return s
}

// lay gives a structure its address.
func (p *population) lay(s *structure, d *die, at int) {
	s.city = &p.cities[at]
	s.postal, s.town = s.city.postal, s.city.name
	if n := s.city.arrondissements; n > 0 {
		a := 1 + d.below(n)
		s.postal = strings.TrimRight(s.city.postal, "A")
		s.postal += fmt.Sprintf("%0*d", 5-len(s.postal), a)
		s.town = fmt.Sprintf("%s %02d", s.city.name, a)
	}
	s.number = strconv.Itoa(1 + d.below(150))
	if d.chance(.05) {
		s.repeat = []string{"BIS", "TER", "A", "B"}[d.below(4)]
	}
	s.way = ways[min(d.below(len(ways)), d.below(len(ways)))]
	s.street = strings.ToUpper(p.streets[d.below(len(p.streets))])
	if d.chance(.08) {
		s.location = "BÂTIMENT " + string(rune('A'+d.below(6)))
	}
	if d.chance(.1) {
		s.mention = "BP " + strconv.Itoa(10+d.below(990))
	}
}

// number gives a structure its identifiers.
func (p *population) number(s *structure, n int, finess bool) {
	serial := n % 900_000
	siren := withKey(fmt.Sprintf("99%06d", serial*7919%1_000_000))
	s.siret = withKey(siren + fmt.Sprintf("%04d", 1+n%9))
	s.technical = "C" + s.siret
	if finess {
		s.finess = withKey(fmt.Sprintf("99%06d", serial))
		s.technical = "F" + s.finess
	}
}

// placeOf is where a professional works: k is the number of the exercise.
func (p *population) placeOf(who, k int, one *person) structure {
	d := p.die(forPlace, who*4+k+p.changed(who)*2_000_000_011)
	d.next()
	if one.domain >= 0 && !p.domains[one.domain].region && k == 0 {
		return p.house(one.domain, d.below(p.domains[one.domain].sites))
	}
	if d.chance(.25) && !p.small() { // works for a house that has its own domain
		rank := len(heads) + d.below(len(p.domains)-len(heads))
		return p.house(rank, d.below(p.domains[rank].sites))
	}
	digit := int(one.work.offices[d.below(len(one.work.offices))] - '0')
	return p.office(d.below(p.offices)*10 + digit)
}

// small populations have no house with a domain.
func (p *population) small() bool { return len(p.domains) <= len(heads) }

// address is local part and domain, as wished.
func (p *population) address(slot int) (local, at string) {
	rank := p.domainOf(slot)
	at = p.domains[rank].name
	d := p.die(forAddress, slot)
	if !p.personal(slot) {
		local = strings.ReplaceAll(slug(p.service(slot)), "-", ".")
		if p.domains[rank].region { // of many structures
			d.next()
			local += "." + slug(p.cities[d.of(p.byCity)].name)
		}
		return local, at
	}
	one := p.person(p.owner(slot))
	if p.o.Day > 0 { // an address does not follow a marriage
		calm := *p
		calm.o.Day = 0
		one = calm.person(p.owner(slot))
	}
	switch at2 := d.share(); {
	case at2 < .9:
		return one.given.plain + "." + one.family.plain, at
	case at2 < .95:
		return one.family.plain + "." + one.given.plain, at
	}
	return "dr." + one.family.plain, at
}

// service is what an ORG is for.
func (p *population) service(slot int) string {
	d := p.die(forAddress, slot)
	if p.domains[p.domainOf(slot)].region {
		return []string{"Secrétariat médical", "Secrétariat de direction", "Coordination des soins", "Infirmerie", "Service social"}[d.below(5)]
	}
	return p.services[d.of(p.byService)]
}

func (p *population) correspondance(c *extraction.Correspondance, slot int, address string, again bool) {
	*c = extraction.Correspondance{Kind: "PER", Address: address, Paperless: "N", Country: "FRANCE"}
	d := p.die(forKind, slot)
	d.next()
	if d.chance(.35) {
		c.Paperless = "O"
	}
	var s structure
	if p.personal(slot) {
		who := p.owner(slot)
		one := p.person(who)
		k := 0
		if again {
			k = 3
		}
		s = p.placeOf(who, k, &one)
		p.sign(c, &one)
		if !d.chance(.93) && !again && one.pp != "" { // known by his number alone
			return
		}
	} else {
		c.Kind = "ORG"
		rank := p.domainOf(slot)
		c.Service = p.service(slot)
		if p.domains[rank].region {
			s = p.office(d.below(p.offices)*10 + 8 + d.below(2))
		} else {
			s = p.house(rank, d.below(p.domains[rank].sites))
		}
		if p.changed(slot) == 1 {
			c.Paperless = "O"
			c.Service += " (nouveau)"
		}
	}
	c.PlaceType, c.Place = "FINESS", "1"+s.finess
	if s.finess == "" {
		c.PlaceType, c.Place = "SIRET", "3"+s.siret
	}
	c.Structure, c.TradeName = s.name, s.trade
	c.Location, c.StreetNumber, c.StreetRepeat, c.StreetKind, c.StreetName, c.Locality = s.location, s.number, s.repeat, s.way[0], s.street, s.mention
	c.PostalCode, c.Department = s.postal, s.city.label
	c.Routing = s.postal + " " + strings.ToUpper(s.town)
}

func (p *population) sign(c *extraction.Correspondance, one *person) {
	c.PPType, c.PP = one.ppType, one.pp
	if one.pp != "" {
		c.PPNational = one.ppType + one.pp
	}
	c.Civility = civility(one)
	c.FamilyName, c.GivenName = strings.ToUpper(spaced(one.family.shown)), one.given.shown
	c.Category, c.CategoryLabel = one.category, categoryLabel(one.category)
	c.Profession, c.ProfessionLabel = one.work.code, one.work.label
	c.KnowHow, c.KnowHowLabel = one.knowHow.code, one.knowHow.label
}

// spaced writes the hyphens of the list that stand for spaces of a name.
func spaced(s string) string {
	for _, particle := range []string{"Le-", "De-La-", "De-", "Da-", "Du-", "Des-", "Ben-"} {
		if rest, ok := strings.CutPrefix(s, particle); ok {
			return strings.ReplaceAll(particle, "-", " ") + rest
		}
	}
	return s
}

func civility(one *person) string {
	switch {
	case one.work.doctor:
		return "DR"
	case one.woman:
		return "MME"
	}
	return "M"
}

func categoryLabel(code string) string {
	switch code {
	case "M":
		return "Militaire"
	case "E":
		return "Etudiant"
	}
	return "Civil"
}

func (p *population) activity(a *extraction.Activity, who, k int) {
	one := p.person(who)
	s := p.placeOf(who, k, &one)
	*a = extraction.Activity{
		PPType: one.ppType, PP: one.pp, PPNational: one.ppType + one.pp,
		Civility: "M", CivilityLabel: "Monsieur",
		FamilyName: strings.ToUpper(spaced(one.family.shown)), GivenName: one.given.shown,
		Profession: one.work.code, ProfessionLabel: one.work.label,
		Category: one.category, CategoryLabel: categoryLabel(one.category),
		KnowHow: one.knowHow.code, KnowHowLabel: one.knowHow.label,
		Mode: "L", ModeLabel: "Libéral", SIRET: s.siret, FINESS: s.finess, FINESSEJ: s.ej, Technical: s.technical,
		Structure: s.name, TradeName: s.trade, Complement: s.name, Point: s.location,
		StreetNumber: s.number, StreetRepeat: s.repeat, StreetKind: s.way[0], StreetKindLabel: s.way[1], StreetName: s.street, Mention: s.mention,
		Cedex: s.postal + " " + strings.ToUpper(s.town), PostalCode: s.postal, City: s.town,
		Department: s.city.department, DepartmentLabel: s.city.label,
		Registrar: "CNOM/CNOM/CNOM", Sector: s.sector, SectorLabel: s.sectorLabel,
		Function: "FON-01", FunctionLabel: "Titulaire de cabinet", Genre: "GENR01", GenreLabel: "Activité standard de soin ou de pharmacien",
	}
	if one.woman {
		a.Civility, a.CivilityLabel = "MME", "Madame"
	}
	if one.work.doctor {
		a.ExerciseCivility, a.ExerciseCivilityLabel = "DR", "Docteur"
	}
	if one.knowHow.code != "" {
		a.KnowHowType, a.KnowHowTypeLabel = "S", "Spécialité ordinale"
	}
	if one.work.code == "21" {
		a.Section, a.SectionLabel = "A", "Pharmacien titulaire d'officine"
	}
	if s.ej != "" || s.sector == "SA05" {
		a.Mode, a.ModeLabel = "S", "Salarié"
		a.Function, a.FunctionLabel = "FON-03", "Salarié"
	}
	d := p.die(forPlace, who*4+k)
	a.Phone = fmt.Sprintf("0%d99%06d", 1+d.below(5), d.below(1_000_000))
}

// addresses keeps a number per address given, so that none is given twice.
type addresses struct {
	slots []uint64
	used  int
}

func newAddresses(size int) *addresses {
	n := 1024
	for n < size*2 {
		n *= 2
	}
	return &addresses{slots: make([]uint64, n)}
}

// unique adds a number to the local part until nobody has it: the more have the name, the
// longer the number.
func (a *addresses) unique(d die, local, domain string) string {
	address := local + "@" + domain
	for most := 10; !a.add(address); most = min(4*most, 1_000_000_000) {
		address = local + strconv.Itoa(2+d.below(most)) + "@" + domain
	}
	return address
}

func (a *addresses) add(s string) bool {
	if a.used*4 > len(a.slots)*3 {
		old := a.slots
		a.slots, a.used = make([]uint64, 2*len(old)), 0
		for _, h := range old {
			if h != 0 {
				a.put(h)
			}
		}
	}
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return a.put(h | 1)
}

func (a *addresses) put(h uint64) bool {
	mask := uint64(len(a.slots) - 1)
	for i := (h ^ h>>29) & mask; ; i = (i + 1) & mask {
		switch a.slots[i] {
		case h:
			return false
		case 0:
			a.slots[i] = h
			a.used++
			return true
		}
	}
}
