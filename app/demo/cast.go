package demo

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"pli/directory"
	"pli/health"
)

// operator is one of the two operators of the demo.
type operator struct {
	name          string // short: folder, certificate files
	title         string
	domain        string
	patientDomain string
	finess        string
	cast          []person
}

// person is somebody of the cast. All are invented; numbers are made for tests.
type person struct {
	key  string // names the secrets of this person
	kind health.BALKind
	// local part of the address; a patient's is the INS.
	local     string
	name      string
	who       *directory.Person
	place     *directory.Structure
	service   string
	open      bool // to patients who write first
	ins       string
	traits    health.Traits
	login     string
	clientKey string // client certificate, by its name in the demo PKI
	note      string // for the list of who is who
}

// operators gives both operators and their people.
func operators() []operator {
	practice := &directory.Structure{FINESS: "990000019", Name: "CABINET MÉDICAL DES LILAS", Sector: "SA05", Street: "4 rue des Lilas", PostalCode: "75019", City: "PARIS", Country: "FR"}
	pharmacy := &directory.Structure{FINESS: "990000027", Name: "PHARMACIE DES HALLES", Sector: "SA33", Street: "12 rue des Halles", PostalCode: "75001", City: "PARIS", Country: "FR"}
	laboratory := &directory.Structure{FINESS: "990000035", Name: "LABORATOIRE DES HALLES", Sector: "SA25", Street: "14 rue des Halles", PostalCode: "75001", City: "PARIS", Country: "FR"}
	hospital := &directory.Structure{FINESS: "990000043", Name: "CENTRE HOSPITALIER SAINT-EXEMPLE", Sector: "SA01", Street: "1 avenue de l'Hôpital", PostalCode: "69003", City: "LYON", Country: "FR"}
	return []operator{
		{name: "a", title: "Opérateur A", domain: "mss-a.example", patientDomain: "patient.mss-a.example", finess: "990000050", cast: []person{
			{key: "haddad", kind: health.PER, local: "karim.haddad", name: "Dr Karim Haddad", login: "karim.haddad", place: practice, note: "médecin généraliste",
				who: &directory.Person{RPPS: "89970000017", Civility: "DR", FamilyName: "HADDAD", GivenName: "Karim", Profession: "10", KnowHow: "SM54"}},
			{key: "morel", kind: health.PER, local: "claire.morel", name: "Claire Morel", login: "claire.morel", place: pharmacy, note: "pharmacienne",
				who: &directory.Person{RPPS: "89970000025", Civility: "MME", FamilyName: "MOREL", GivenName: "Claire", Profession: "21"}},
			{key: "pharmacie", kind: health.ORG, local: "pharmacie-halles", name: "Pharmacie des Halles", place: pharmacy, service: "Comptoir", open: true, note: "boîte ouverte aux patients"},
			{key: "labo", kind: health.APP, local: "labo-halles", name: "Laboratoire des Halles", place: laboratory, service: "Résultats", clientKey: "labo", note: "logiciel de laboratoire, certificat client"},
			{key: "jeanne", kind: health.Patient, ins: "258039999904220", name: "Jeanne Petit", login: "jeanne.petit", note: "patiente",
				traits: health.Traits{BirthName: "PETIT", FirstBirthName: "JEANNE", GivenNames: "JEANNE MARIE", Sex: "F", BirthDate: "19580312", BirthPlace: "99999"}},
			{key: "dominique", kind: health.Patient, ins: "279035121518989", name: "Dominique PAT-TROIS", login: "dominique.pat-trois", note: "patiente, matricule de test publié",
				traits: health.Traits{BirthName: "PAT-TROIS", FirstBirthName: "DOMINIQUE", GivenNames: "DOMINIQUE", Sex: "F", BirthDate: "19790328", BirthPlace: "51215"}},
			{key: "sofia", kind: health.Patient, ins: "291069999901728", name: "Sofia Marchetti", login: "sofia.marchetti", note: "patiente, personne ne lui a encore écrit",
				traits: health.Traits{BirthName: "MARCHETTI", FirstBirthName: "SOFIA", GivenNames: "SOFIA", Sex: "F", BirthDate: "19910621", BirthPlace: "99999"}},
		}},
		{name: "b", title: "Opérateur B", domain: "mss-b.example", finess: "990000068", cast: []person{
			{key: "roy", kind: health.PER, local: "alice.roy", name: "Dr Alice Roy", login: "alice.roy", place: hospital, note: "cardiologue",
				who: &directory.Person{RPPS: "89970000033", Civility: "DR", FamilyName: "ROY", GivenName: "Alice", Profession: "10", KnowHow: "SM04"}},
			{key: "preadmission", kind: health.ORG, local: "preadmission-chirurgie", name: "Préadmission chirurgie", place: hospital, service: "Préadmission chirurgie", note: "boîte de service"},
		}},
	}
}

// address of a person at an operator.
func (p person) address(op operator) string {
	if p.kind == health.Patient {
		return p.ins + "@" + op.patientDomain
	}
	return p.local + "@" + op.domain
}

// secret is what a person signs in with, kept so that the next start has the same.
type secret struct {
	Password string `json:"password,omitempty"` // a patient's for the web, a professional's for mail programs
	Web      string `json:"web,omitempty"`      // a professional's for the web
	TOTP     string `json:"totp,omitempty"`
}

// loadSecrets reads the secrets and adds those that are missing, before anybody is
// given one: a start that was cut short finds them again.
func loadSecrets(path string, ops []operator) (map[string]secret, error) {
	all := map[string]secret{}
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &all); err != nil {
			return nil, err
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	for _, op := range ops {
		for _, p := range op.cast {
			if _, ok := all[p.key]; !ok {
				all[p.key] = newSecret(p)
			}
		}
	}
	if b, err = json.MarshalIndent(all, "", " "); err != nil {
		return nil, err
	}
	return all, writeFile(path, append(b, '\n'), 0o600)
}

func newSecret(p person) secret {
	if p.kind == health.APP {
		return secret{}
	}
	var s secret
	t := strings.ToLower(rand.Text()) // 26 characters of 5 bits
	s.Password = t[:5] + "-" + t[5:10] + "-" + t[10:15]
	if p.kind != health.Patient {
		s.Password += "-" + t[15:20]
	}
	if p.login == "" {
		return s
	}
	b := make([]byte, 20)
	rand.Read(b)
	s.TOTP = base32.StdEncoding.EncodeToString(b)
	if p.kind != health.Patient {
		w := strings.ToLower(rand.Text())
		s.Web = w[:5] + "-" + w[5:10] + "-" + w[10:15]
	}
	return s
}
