package fhird

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// curl asks as a developer would try the door out.
func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("PLI_E2E") == "" {
			t.Skip("no curl here")
		}
		t.Fatal(err)
	}
	h := newHouse(t, nil)
	h.publish(60)
	cert, _ := testCert()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	user := []string{"-u", address + ":" + password}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{h.url + "/metadata"}, []string{"HTTP/2 200", `"resourceType":"CapabilityStatement"`}},
		{[]string{"--http1.1", h.url + "/metadata"}, []string{"HTTP/1.1 200"}},
		{[]string{h.url + "/Practitioner"}, []string{"HTTP/2 401", "www-authenticate: Basic", `"code":"login"`}},
		{append(user, h.url+"/Practitioner?name=dupont&_count=2"), []string{"HTTP/2 200", "DUPONT-", `"relation":"next"`}},
		{append(user, "--compressed", h.url+"/Practitioner"), []string{"content-encoding: gzip", `"type":"searchset"`}},
		{append(user, "-G", "--data-urlencode", "identifier=https://finess.esante.gouv.fr|990000017", h.url+"/Organization"), []string{"CH DE VILLEFICTIVE", "urgences@ch.mss.example"}},
		{append(user, "--data-urlencode", "mailbox-mss=elodie.dupont@medecin.mss.example", h.url+"/Practitioner/_search"), []string{"HTTP/2 200", "rpps-89970000000", "cabinet.dupont@medecin.mss.example"}},
		{append(user, "-I", h.url+"/Practitioner/rpps-89970000000"), []string{"HTTP/2 200", `etag: W/"`, "last-modified: Mon, 02 Nov 2026", "content-length: "}},
		{append(user, "-X", "DELETE", h.url+"/Practitioner/rpps-89970000000"), []string{"HTTP/2 405", "allow: GET, HEAD", `"code":"not-supported"`}},
		{append(user, "-X", "PATCH", "-d", "{}", h.url+"/Practitioner/rpps-89970000000"), []string{"HTTP/2 405"}},
		{append(user, "-H", "Accept: application/fhir+xml", h.url+"/Practitioner"), []string{"HTTP/2 406", "application/fhir+json"}},
		{append(user, "-H", "Prefer: handling=strict", h.url+"/Practitioner?nom=x"), []string{"HTTP/2 400", `"expression":["http.nom"]`}},
		{append(user, "-H", "Origin: https://ailleurs.example", "-X", "OPTIONS", h.url+"/Practitioner"), []string{"HTTP/2 405"}},
		{[]string{"--tls-max", "1.1", h.url + "/metadata"}, []string{""}},
	} {
		out, err := exec.Command("curl", append([]string{"-s", "-i", "--cacert", ca}, c.args...)...).CombinedOutput()
		if err != nil && c.want[0] != "" {
			t.Errorf("curl %v: %v", c.args, err)
		}
		for _, w := range c.want {
			if !strings.Contains(string(out), w) {
				t.Errorf("curl %v: no %q in %.800s", c.args, w, out)
			}
		}
	}
}
