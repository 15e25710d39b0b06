package extraction

import "testing"

func TestDatasetOf(t *testing.T) {
	for name, want := range map[string]Dataset{
		"Extraction_Correspondance_MSSante_202611200412.zip":           Correspondances,
		"/var/lib/pli/extraction_correspondance_mssante.txt":           Correspondances,
		"PS_LibreAcces_202611200412.zip":                               Activities,
		`C:\annuaire\PS_LibreAcces_Personne_activite_202611200412.txt`: Activities,
		"Porteurs_CPS_CPF.zip":                                         "",
		"":                                                             "",
	} {
		if got, ok := DatasetOf(name); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %v", name, got, ok)
		}
	}
}
