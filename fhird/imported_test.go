package fhird

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pli/codec/extraction"
	"pli/directory/national"
	"pli/internal/invent"
)

// What comes from the published files, as odd as they are, is valid FHIR R4 too; and every
// BAL of the file is on a resource.
func TestAnImportedDirectoryIsValid(t *testing.T) {
	h := newHouse(t, nil)
	nobody := func(string) bool { return false }
	im := national.New(national.Deps{DB: h.db, Local: nobody, Patient: nobody})
	o := invent.Options{Seed: 7, Size: 600, Others: 100}
	var addresses []string
	for line := range invent.Correspondances(o) {
		addresses = append(addresses, strings.ToLower(line.Address))
	}
	files, err := invent.WriteFiles(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		dataset := extraction.Correspondances
		if strings.HasPrefix(filepath.Base(file), "PS_LibreAcces") {
			dataset = extraction.Activities
		}
		if _, err := im.Import(t.Context(), dataset, file, national.Options{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string][]byte{}
	var everything strings.Builder
	for _, kind := range []string{"Practitioner", "PractitionerRole", "Organization"} {
		next, n := h.url+"/"+kind+"?_count=200", 0
		for next != "" {
			a := h.get(next)
			b := a.bundle(t)
			if len(b.Entry) == 0 {
				t.Errorf("no %s", kind)
			}
			if n++; n == 1 {
				all[kind] = a.body
			}
			everything.Write(a.body)
			next = b.link("next")
		}
	}
	for _, a := range addresses {
		if !strings.Contains(everything.String(), `"value":"`+a+`"`) {
			t.Errorf("%s is on no resource", a)
		}
	}
	for name, problems := range validate(t, all) {
		if len(problems) > 0 {
			t.Errorf("%s: %d problems, such as\n\t%s", name, len(problems), strings.Join(problems[:min(5, len(problems))], "\n\t"))
		}
	}
	if dir := os.Getenv("PLI_FHIR_ANSWERS"); dir != "" { // to look at them
		for kind, body := range all {
			_ = os.WriteFile(filepath.Join(dir, kind+".json"), body, 0o600)
		}
	}
}
