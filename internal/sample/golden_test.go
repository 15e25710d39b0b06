package sample

import (
	"archive/zip"
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pli/health"
)

var update = flag.Bool("update", false, "write /testdata anew")

// files are the samples kept under /testdata, for people and for other programs.
func files() map[string][]byte {
	p := People()
	report, letter := Report(p[0]), Letter(p[1])
	second := report
	second.ID, second.Version, second.Replaces, second.Title = report.ID+".2", 2, report.ID, "Compte rendu d'analyses de sang, corrigé"
	second.PDF = PDF(second.Title, "Leucocytes : 9,8.10^9/L")
	sheet, latin, unknown := report, report, report
	sheet.Stylesheet, latin.Latin1, latin.BOM = true, true, false
	unknown.Patient.INS = TestINS("2850699999777")
	bad := ItemOf(letter)
	bad.BadHash = true
	other := ItemOf(report)
	other.PatientID = CX(p[1])
	masked := ItemOf(report)
	masked.Visible = []string{health.MaskedToPros}
	good := Archive{Items: []Item{masked, ItemOf(report.with(letter))}}.Bytes()
	return map[string][]byte{
		"cda/report-n3.xml": report.Bytes(), "cda/report-n3-v2-with-copy.xml": second.Bytes(), "cda/letter-n1.xml": letter.Bytes(),
		"cda/report-in-stylesheet.xml": sheet.Bytes(), "cda/report-latin1.xml": latin.Bytes(),
		"xdm/valid.zip": good, "xdm/replacement.zip": ArchiveOf(second), "xdm/lower-case.zip": Archive{Items: []Item{masked}, Lower: true}.Bytes(),
		"xdm/backslashes.zip":   Archive{Items: []Item{masked}, Backslash: true}.Bytes(),
		"xdm/missing-slash.zip": Archive{Items: []Item{masked}, MissingSlash: true}.Bytes(),
		"xdm/bad-hash.zip":      Archive{Items: []Item{bad}}.Bytes(), "xdm/other-patient.zip": Archive{Items: []Item{other}}.Bytes(),
		"xdm/unknown-patient.zip": ArchiveOf(unknown),
		"xdm/leaves-folder.zip":   Archive{Items: []Item{masked}, Extra: []ZipEntry{{Name: "IHE_XDM/../../x", Content: []byte("x")}}}.Bytes(),
		"mail/plain.eml": Mail{From: "basile.verdier-lalande@mss-a.example", To: p[0].Address("patient.mss-a.example"), FromName: "Dr VERDIER-LALANDE",
			Subject: "Vos résultats", Text: "Bonjour,\r\n\r\nVos résultats sont bons.\r\n\r\nDr Verdier-Lalande\r\n"}.Bytes(),
		"mail/end-of-exchange.eml": Mail{From: "basile.verdier-lalande@mss-a.example", To: p[0].Address("patient.mss-a.example"), Subject: "Fin de suivi",
			Text: "Au revoir.\r\n", Header: []string{"X-MSS-MES: FIN"}, Date: time.Date(2026, 3, 5, 9, 0, 0, 0, time.UTC)}.Bytes(),
		"mail/report.eml": ReportMail("labo@mss-a.example", p[0].Address("patient.mss-a.example"), good, report).Bytes(),
	}
}

// with is the letter, for the patient of c: an archive holds one patient.
func (c CDA) with(letter CDA) CDA {
	letter.Patient = c.Patient
	return letter
}

// TestTestdata holds /testdata against what this package makes; -update writes it.
func TestTestdata(t *testing.T) {
	for name, want := range files() {
		path := filepath.Join("..", "..", "testdata", filepath.FromSlash(name))
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		switch filepath.Ext(name) {
		case ".zip":
			sameZip(t, name, got, want)
		case ".eml":
			// An archive inside depends on the compressor's version: the header does not.
			got, want = header(got), header(want)
			fallthrough
		default:
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what the package makes; run with -update", name)
			}
		}
	}
}

func header(b []byte) []byte { h, _, _ := bytes.Cut(b, []byte("\r\n\r\n")); return h }

func sameZip(t *testing.T, name string, got, want []byte) {
	t.Helper()
	a, b := entries(t, got), entries(t, want)
	if len(a) != len(b) {
		t.Errorf("%s: %d entries, want %d", name, len(a), len(b))
	}
	for n, content := range b {
		if !bytes.Equal(a[n], content) {
			t.Errorf("%s: %s is not what the package makes; run with -update", name, n)
		}
	}
}

func entries(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, f := range z.File {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if all[f.Name], err = io.ReadAll(rc); err != nil {
			t.Fatal(err)
		}
		_ = rc.Close()
	}
	return all
}

func TestPeopleAreFictitious(t *testing.T) {
	for _, p := range People() {
		ins, err := health.ParseINS(p.INS)
		if err != nil || !ins.KeyValid() || p.OID != health.OIDTest || p.INS[5:10] != "99999" || !p.Traits().Complete() {
			t.Errorf("%v: key %v", err, ins.KeyValid())
		}
	}
}
