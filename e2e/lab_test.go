package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pli/internal/sample"
)

// labReport writes a message of the laboratory to a file and returns its path.
func labReport(t *testing.T, lab, to account, doc sample.CDA, archive []byte) (path, subject string) {
	t.Helper()
	m := sample.ReportMail(lab.Address, to.Address, archive, doc)
	m.Receipt = lab.Address // asks for the MDN
	m.MessageID = mark("rapport") + "@" + "labo.example"
	path = filepath.Join(t.TempDir(), "rapport.eml")
	if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, m.Subject
}

// patientOf is the sample person that a patient of the cast is.
func patientOf(a account) sample.Person {
	switch a.Login {
	case "jeanne.petit":
		return sample.Person{INS: a.INS, OID: "1.2.250.1.213.1.4.10", BirthName: "PETIT", FirstName: "JEANNE", GivenNames: "JEANNE MARIE", Sex: "F", BirthDate: "19580312", BirthPlace: "99999"}
	default:
		return sample.Person{INS: a.INS, OID: "1.2.250.1.213.1.4.10", BirthName: "PAT-TROIS", FirstName: "DOMINIQUE", GivenNames: "DOMINIQUE", Sex: "F", BirthDate: "19790328", BirthPlace: "51215"}
	}
}

func report(p sample.Person, title string) sample.CDA {
	return sample.CDA{ID: "1.2.250.1.213.1.1.1." + title, SetID: "1.2.250.1.213.1.1.2." + title, Version: 1, Type: "11502-2",
		TypeLabel: "CR d'examens biologiques", Title: "Compte rendu d'examens biologiques", Created: time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC),
		Confid: "N", Patient: p, Author: sample.Biologist()}
}

// imapLab reads the laboratory's mailbox with its client certificate.
func (d *demo) imapLab(t *testing.T, lab account, command string) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(d.Operators[lab.Operator].IMAPS)
	out, code := d.curl(t, "--cert", d.path(lab.ClientCert), "--key", d.path(lab.ClientKey), "--user", lab.Address+":", "--login-options", "AUTH=EXTERNAL",
		"imaps://localhost:"+port+"/INBOX", "-X", command)
	if code != 0 {
		t.Fatalf("curl with a client certificate: exit %d\n%s", code, out)
	}
	return out
}

// mdn waits for the laboratory's MDN about a message and returns it whole.
func (d *demo) mdn(t *testing.T, lab account, before int) string {
	t.Helper()
	var uids []string
	eventually(t, "the laboratory is told", func() bool {
		uids = mdns(d.imapLab(t, lab, "UID SEARCH ALL"))
		return len(uids) > before
	})
	_, port, _ := net.SplitHostPort(d.Operators[lab.Operator].IMAPS)
	out, code := d.curl(t, "--cert", d.path(lab.ClientCert), "--key", d.path(lab.ClientKey), "--user", lab.Address+":", "--login-options", "AUTH=EXTERNAL",
		"imaps://localhost:"+port+"/INBOX;UID="+uids[len(uids)-1])
	if code != 0 {
		t.Fatalf("fetch of the MDN: exit %d\n%s", code, out)
	}
	return out
}

func mdns(answer string) []string {
	for line := range strings.Lines(answer) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "* SEARCH"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// TestLaboratoryReports submits reports with a client certificate: a good one, and
// those that must not be filed, each with the code the laboratory is told.
func TestLaboratoryReports(t *testing.T) {
	lab, dominique := house.who(t, "labo-halles"), house.who(t, "dominique")
	me := patientOf(dominique)
	stranger := me
	stranger.BirthDate = "19790329" // the matricule of one, the birth date of another
	good := report(me, "77")
	for _, c := range []struct {
		name string
		doc  sample.CDA
		zip  func(sample.CDA) []byte
		want string // in the MDN; empty: filed
	}{
		{"good", good, func(c sample.CDA) []byte { return sample.ArchiveOf(c) }, ""},
		{"again", good, func(c sample.CDA) []byte { return sample.ArchiveOf(c) }, ""},
		{"traits of somebody else", report(stranger, "78"), func(c sample.CDA) []byte { return sample.ArchiveOf(c) }, "904"},
		{"no archive at all", report(me, "79"), func(sample.CDA) []byte { return []byte("PK\x03\x04 not a zip") }, "906"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(mdns(house.imapLab(t, lab, "UID SEARCH ALL")))
			path, _ := labReport(t, lab, dominique, c.doc, c.zip(c.doc))
			if out, code := house.upload(t, lab, dominique.Address, path); code != 0 {
				t.Fatalf("exit %d\n%.3000s", code, out)
			}
			mdn := house.mdn(t, lab, before)
			if !strings.Contains(mdn, "disposition-notification") {
				t.Fatalf("no MDN:\n%.3000s", mdn)
			}
			if c.want != "" && !strings.Contains(mdn, c.want) {
				t.Errorf("the MDN does not say %s:\n%.3000s", c.want, mdn)
			}
			if c.want == "" && strings.Contains(mdn, "/error") {
				t.Errorf("a good report is told as an error:\n%.3000s", mdn)
			}
		})
	}
}
