package health

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"
)

func TestCodes(t *testing.T) {
	for code, want := range map[string]DocumentType{
		"11502-2": {"11502-2", "10", "CR d'examens biologiques"},
		"SYNTH":   {"SYNTH", "11", "Synthèse"},
		"REMB":    {"REMB", "60", "Données de remboursement"},
		"28617-9": {"28617-9", "", "Bilan bucco-dentaire"},
	} {
		if got, ok := TypeOf(code); !ok || got != want {
			t.Errorf("TypeOf(%s) = %v, %v", code, got, ok)
		}
	}
	if _, ok := TypeOf("00000-0"); ok {
		t.Error("an unknown type is known")
	}
	for _, typ := range codes().types {
		if typ.Class != "" && ClassLabel(typ.Class) == "" {
			t.Errorf("type %s has class %s, which has no label", typ.Code, typ.Class)
		}
	}
	for code, want := range map[string]string{
		"G15_10/SM03": "Médecin, Biologie médicale",
		"G15_21/G":    "Pharmacien biologiste",
		"G15_10/ZZ99": "Médecin",
		"G15_60":      "Infirmier",
		"ALIM_AM":     "Alimentation automatique à partir du Système d'Information de l'Assurance Maladie",
		"":            "",
	} {
		if got := AuthorLabel(code); got != want {
			t.Errorf("AuthorLabel(%q) = %q, want %q", code, got, want)
		}
	}
	if got := ProfessionLabel("40"); got != "Chirurgien-Dentiste" {
		t.Errorf("ProfessionLabel(40) = %q", got)
	}
}

func TestProfessionLabelsAreThoseOfTheTerminology(t *testing.T) {
	if ProfessionLabel("10") != "Médecin" || ProfessionLabel("00") != "" {
		t.Fatal("labels")
	}
	f, err := os.Open(filepath.Join("..", "..", "shared", "data", "professions.csv"))
	if err != nil {
		t.Skip("../shared is not beside the checkout")
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r[0] == "profession" && ProfessionLabel(r[1]) != r[4] {
			t.Errorf("profession %s: %q, want %q", r[1], ProfessionLabel(r[1]), r[4])
		}
	}
}
