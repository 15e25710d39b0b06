package fhird

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// validators names the folder of those that scripts/fhir-validate.sh fetches: change it
// with their versions.
const validators = "fhir-validate-1"

var fetched = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "pli", validators)
	if _, err := os.Stat(filepath.Join(dir, "whole")); err == nil {
		return dir, nil
	}
	if out, err := exec.Command("../scripts/fhir-validate.sh", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/fhir-validate.sh: %w\n%s", err, out)
	}
	return dir, os.WriteFile(filepath.Join(dir, "whole"), nil, 0o600)
})

// validate gives resources by name to the validators, and returns the problems of each.
func validate(t *testing.T, all map[string][]byte) map[string][]string {
	t.Helper()
	dir, err := fetched()
	if err != nil {
		if os.Getenv("PLI_E2E") == "" {
			t.Skipf("FHIR validators cannot be fetched: %v", err)
		}
		t.Fatal(err)
	}
	var in bytes.Buffer
	for name, body := range all {
		line, err := json.Marshal(map[string]any{"name": name, "resource": json.RawMessage(body)})
		if err != nil {
			t.Fatalf("%s is no JSON: %v", name, err)
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.Command("node", "../scripts/fhir-validate.cjs", dir)
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.String())
	}
	found := map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r struct {
			Name     string
			Problems []string
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		found[r.Name] = r.Problems
	}
	if len(found) != len(all) {
		t.Fatalf("%d of %d were checked", len(found), len(all))
	}
	return found
}

// Every kind of answer is valid FHIR R4 to validators that are not ours.
func TestAnswersAreValid(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(60)
	all := map[string][]byte{}
	for _, path := range []string{
		"/metadata", "/Practitioner/rpps-89970000000", "/Practitioner/adeli-999000017", "/Organization/finess-990000017",
		"/Organization/finess-990000090", "/Organization/siret-99000000000017", "/Practitioner/rpps-1", "/Patient/1", "/Practitioner?family:nope=x&_count=a",
		"/Practitioner?", "/Practitioner?_count=3&_sort=family", "/Practitioner?family=zzz", "/PractitionerRole?_count=5&_include=*",
		"/PractitionerRole?role=ZZ9", "/Organization?_revinclude=PractitionerRole:organization&_include=Organization:partof",
		"/Organization?_elements=telecom", "/Organization?_summary=true", "/Organization?_summary=text", "/PractitionerRole?_summary=true",
		"/Practitioner?_elements=name,telecom", "/Practitioner/rpps-89970000000?_elements=identifier",
	} {
		all["GET "+path] = h.get(path).body
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
		all[method] = h.do(method, "/Practitioner/rpps-89970000000", "{}").body
	}
	all["anonymous"] = h.get("/Practitioner", "Authorization", "").body
	all["xml"] = h.get("/Practitioner?_format=xml").body
	all["operation"] = h.get("/Practitioner/$everything").body
	all["search by POST"] = h.do(http.MethodPost, "/Organization/_search", "name=ch").body
	var page bundle
	if err := json.Unmarshal(all["GET /Practitioner?_count=3&_sort=family"], &page); err != nil {
		t.Fatal(err)
	}
	all["next page"] = h.get(page.link("next")).body
	for name, problems := range validate(t, all) {
		if len(problems) > 0 {
			t.Errorf("%s:\n\t%s\n%.1500s", name, strings.Join(problems, "\n\t"), all[name])
		}
	}
}

// The validators see what is wrong, so their silence means something.
func TestValidatorsSeeFaults(t *testing.T) {
	h := newHouse(t, nil)
	h.publish(2)
	whole := string(h.get("/Practitioner/rpps-89970000000").body)
	place := string(h.get("/Organization/finess-990000017").body)
	search := string(h.get("/Practitioner").body)
	capability := string(h.get("/metadata").body)
	outcome := string(h.get("/Practitioner/none").body)
	all, changed := map[string][]byte{}, func(from, old, by string) []byte {
		if !strings.Contains(from, old) {
			t.Fatalf("no %q in %s", old, from)
		}
		return []byte(strings.Replace(from, old, by, 1))
	}
	all["an element there is not"] = changed(whole, `"active":`, `"actif":`)
	all["a boolean in quotes"] = changed(whole, `"active":true`, `"active":"true"`)
	all["a code there is not"] = changed(whole, `"system":"email"`, `"system":"courriel"`)
	all["one value for a list"] = changed(whole, `"given":["Élodie"]`, `"given":"Élodie"`)
	all["an empty value"] = changed(whole, `"family":"DUPONT-0"`, `"family":""`)
	all["an instant without a zone"] = changed(whole, `08:30:00.000Z`, `08:30:00`)
	all["a value and extensions at once"] = changed(place, `"valueString":"Urgences"`, `"valueString":"Urgences","extension":[{"url":"a","valueString":"b"}]`)
	all["a contact without a system"] = changed(place, `"system":"phone",`, ``)
	all["a rank of none"] = changed(whole, `"rank":1`, `"rank":0`)
	all["an entry without a resource"] = changed(search, `"type":"searchset"`, `"type":"searchset","total":-1`)
	all["a fault inside a Bundle"] = changed(search, `"active":`, `"actif":`)
	all["a type of parameter there is not"] = changed(capability, `"type":"token"`, `"type":"jeton"`)
	all["a kind missing"] = changed(capability, `"kind":"instance",`, ``)
	all["an issue code there is not"] = changed(outcome, `"code":"not-found"`, `"code":"introuvable"`)
	for name, problems := range validate(t, all) {
		if len(problems) == 0 {
			t.Errorf("%s was not seen", name)
		}
	}
}
