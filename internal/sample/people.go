// Package sample makes fictitious health documents and the messages that carry them:
// CDA files, XDM archives and mails, right or wrong in one named way. Tests of every
// package, the demo and the load run use it. Nobody in it exists: the matricules carry
// a commune of birth that no register knows, under the OID made for tests.
package sample

import (
	"fmt"
	"strconv"

	"pli/health"
)

// Person is a fictitious patient.
type Person struct {
	INS        string // 15 characters
	OID        string // of the INS
	BirthName  string
	FirstName  string // first name of the birth certificate
	GivenNames string // all of them
	UsedName   string // nom utilisé; may be empty
	Sex        string
	BirthDate  string // AAAAMMJJ
	BirthPlace string // COG
}

// Traits gives the strict traits as health compares them.
func (p Person) Traits() health.Traits {
	return health.Traits{
		BirthName: p.BirthName, FirstBirthName: p.FirstName, GivenNames: p.GivenNames, Sex: p.Sex,
		BirthDate: p.BirthDate, BirthPlace: p.BirthPlace, UsedName: p.UsedName,
	}
}

// Address is the person's mailbox at the operator of the domain.
func (p Person) Address(domain string) string { return p.INS + "@" + domain }

// TestINS completes 13 characters with their key.
func TestINS(n13 string) string {
	n, err := strconv.ParseInt(n13, 10, 64)
	if err != nil || len(n13) != 13 {
		panic("sample.TestINS: 13 digits are needed")
	}
	return fmt.Sprintf("%s%02d", n13, 97-n%97)
}

// People returns the fictitious patients, always the same, each under OIDTest.
func People() []Person {
	make := func(n13, birthName, first, given, used, sex, date string) Person {
		return Person{
			INS: TestINS(n13), OID: health.OIDTest, BirthName: birthName, FirstName: first, GivenNames: given,
			UsedName: used, Sex: sex, BirthDate: date, BirthPlace: "99999",
		}
	}
	return []Person{
		make("2850699999001", "CHAMPFLEURY", "ALINE", "ALINE ROSE", "ORMELUNE", "F", "19850612"),
		make("1520399999002", "D'ÉTANG-NEUF", "RENÉ", "RENÉ AUGUSTE", "", "M", "19520305"),
		make("2990199999003", "SAULEPLEUREUR", "INÈS", "INÈS LOUISE ADA", "", "F", "19990117"),
		make("1781199999004", "TROISPORTES", "CÔME", "CÔME", "", "M", "19781130"),
	}
}

// Professional is a fictitious author with the structure he or she works in.
type Professional struct {
	RPPS           string
	Family, Given  string
	Specialty      string // JDV_J01
	SpecialtyLabel string
	FINESS         string
	Structure      string
	Sector         string // standardIndustryClassCode, JDV_J04
	Facility       string // JDV_J02
}

// TestRPPS completes 10 digits with their Luhn digit.
func TestRPPS(n10 string) string {
	for d := '0'; d <= '9'; d++ {
		if r, err := health.ParseRPPS(n10 + string(d)); err == nil {
			return string(r)
		}
	}
	panic("sample.TestRPPS: 10 digits are needed")
}

// Doctor, Biologist and Radiologist are the authors of the samples.
func Doctor() Professional {
	return Professional{
		RPPS: TestRPPS("9990000001"), Family: "VERDIER-LALANDE", Given: "Basile", Specialty: "G15_10/SM26",
		SpecialtyLabel: "Médecin - Qualifié en médecine générale (SM)", FINESS: "990000014",
		Structure: "Cabinet médical du Vieux Moulin", Sector: "AMBULATOIRE", Facility: "SA07",
	}
}

// Biologist signs the laboratory reports.
func Biologist() Professional {
	return Professional{
		RPPS: TestRPPS("9990000002"), Family: "ORVALNOIR", Given: "Judith", Specialty: "G15_10/SM03",
		SpecialtyLabel: "Médecin - Biologie médicale (SM)", FINESS: "990000022",
		Structure: "Laboratoire des Trois Ponts", Sector: "AMBULATOIRE", Facility: "SA25",
	}
}

// Radiologist signs the imaging reports.
func Radiologist() Professional {
	return Professional{
		RPPS: TestRPPS("9990000003"), Family: "PAMPELONNE", Given: "Gaspard", Specialty: "G15_10/SM44",
		SpecialtyLabel: "Médecin - Radio-diagnostic (SM)", FINESS: "990000030",
		Structure: "Imagerie de la Halle aux Grains", Sector: "AMBULATOIRE", Facility: "SA08",
	}
}
