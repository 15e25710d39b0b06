package publication

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pli/codec/extraction"
	"pli/directory"
	"pli/fault"
	"pli/health"
)

func folders(t *testing.T) (folder, reports string, set func(*Config)) {
	folder, reports = t.TempDir(), t.TempDir()
	return folder, reports, func(c *Config) { c.Folder, c.Reports, c.Hour = folder, reports, 2 }
}

func names(t *testing.T, folder string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func addressesIn(t *testing.T, path string) (lines []extraction.Correspondance) {
	t.Helper()
	f, err := extraction.Open(path, extraction.Correspondances, extraction.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := extraction.NewCorrespondances(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var c extraction.Correspondance
		if err := in.Next(&c); err == io.EOF {
			return lines
		} else if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, c)
	}
}

func TestTheDailyFileAndItsReport(t *testing.T) {
	t.Parallel()
	folder, reports, set := folders(t)
	h := newHouse(t, set)
	doctor := h.bal(health.PER, doctorMail, rpps)
	org := h.bal(health.ORG, "org@mss-a.example", finess)
	for i, change := range []func(){
		func() {
			h.update(h.bal(health.ORG, "rouge@mss-a.example", finess), directory.Changes{Unlisted: ptr(true)})
		},
		func() { h.move(h.bal(health.ORG, "ferme@mss-a.example", finess), health.Closed) },
		func() { h.bal(health.APP, "app@mss-a.example", finess) },
		func() { h.move(h.bal(health.ORG, "suspendu@mss-a.example", finess), health.Suspended) },
	} {
		_ = i
		change()
	}
	f, err := h.p.WriteDaily(t.Context())
	if err != nil || f.Lines != 3 || f.Name != "Extraction_Correspondance_MSSante_202603031300.zip" {
		t.Fatalf("%+v %v", f, err)
	}
	if got := names(t, folder); len(got) != 1 || got[0] != f.Name {
		t.Errorf("%q", got)
	}
	lines := addressesIn(t, filepath.Join(folder, f.Name))
	var got []string
	for _, l := range lines {
		got = append(got, l.Address)
	}
	if strings.Join(got, " ") != doctorMail+" org@mss-a.example suspendu@mss-a.example" {
		t.Errorf("%q", got)
	}
	if l := lines[0]; l.Kind != "PER" || l.PPNational != "8"+rpps || l.FamilyName != "Canari" || l.ProfessionLabel != "Médecin" {
		t.Errorf("%+v", l)
	}
	if l := lines[1]; l.Kind != "ORG" || l.PlaceType != "FINESS" || l.Place != "1"+finess || l.Routing != "69003 LYON" || l.Country != "FRANCE" || l.Service != "Cardiologie" {
		t.Errorf("%+v", l)
	}

	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(reports, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report := strings.TrimSuffix(f.Name, ".zip") + "_CR.txt"
	put(report, reportHeader+"\n2|"+strings.ToUpper(doctorMail)+"|A||\n")
	read := func(want int) {
		t.Helper()
		if n, err := h.p.ReadReports(t.Context()); n != want || err != nil {
			t.Fatalf("%d reports read, want %d: %v", n, want, err)
		}
	}
	if err := os.Chtimes(filepath.Join(reports, report), h.now(), h.now()); err != nil {
		t.Fatal(err)
	}
	read(0) // not finished: it stays
	put(report, reportHeader+"\n2|"+strings.ToUpper(doctorMail)+"|A||\n3|org@mss-a.example|R|FINESS_INCONNU|Structure \x07inconnue\n4|another@mss-a.example|R|X|Not ours\nFIN|3\n")
	read(1)
	if got := names(t, filepath.Join(reports, doneFolder)); len(got) != 1 || got[0] != report {
		t.Errorf("%q", got)
	}
	if s := h.status(doctor).File; s == nil || s.Outcome != "accepted" || s.Name != f.Name || s.Line != 2 || s.ReportedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	if s := h.status(org).File; s == nil || s.Outcome != "refused" || s.Code != "FINESS_INCONNU" || s.Text != "Structure inconnue" {
		t.Errorf("%+v", s)
	}
	refused, err := h.p.Refusals(t.Context(), 0, 10)
	if err != nil || len(refused) != 1 || refused[0].BAL != org || refused[0].Way != "file" {
		t.Errorf("%+v %v", refused, err)
	}
	if log := h.log.String(); !strings.Contains(log, `"accepted":1,"refused":1,"silent":1,"unknown":1`) || strings.Contains(strings.ToLower(log), "canari") {
		t.Error(log)
	}

	// What is no report of ours is put aside; what is none at all is left.
	put("Extraction_Correspondance_MSSante_202001010000_CR.txt", reportHeader+"\nFIN|0\n")
	put("bad_CR.txt", "<html>")
	put("old_CR.txt", reportHeader+"\n")
	if err := os.Chtimes(filepath.Join(reports, "old_CR.txt"), noon.AddDate(0, 0, -1), noon.AddDate(0, 0, -1)); err != nil {
		t.Fatal(err)
	}
	put("lisez-moi.txt", "x")
	read(0)
	if got := names(t, filepath.Join(reports, asideFolder)); len(got) != 3 {
		t.Errorf("%q", got)
	}
	if got := names(t, reports); strings.Join(got, " ") != "ecartes lisez-moi.txt lus" {
		t.Errorf("%q", got)
	}
}

func TestOneFileADay(t *testing.T) {
	t.Parallel()
	folder, _, set := folders(t)
	h := newHouse(t, set)
	h.bal(health.ORG, "org@mss-a.example", finess)
	h.clock = time.Date(2026, 3, 4, 0, 30, 0, 0, time.UTC) // 1:30 in Paris
	count := func(want int) {
		t.Helper()
		if err := h.p.daily(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := names(t, folder); len(got) != want {
			t.Errorf("%q, want %d", got, want)
		}
	}
	count(0)
	h.later(time.Hour)
	count(1)
	h.later(time.Hour)
	count(1)
	h.later(24 * time.Hour)
	count(2)
	// A file that was never whole in its folder is made again.
	if _, err := h.db.Exec(t.Context(), `UPDATE publication_file SET placed_at = NULL WHERE id = (SELECT max(id) FROM publication_file)`); err != nil {
		t.Fatal(err)
	}
	h.later(time.Minute)
	count(2)
	h.later(40 * 24 * time.Hour)
	count(3)
	var kept int
	if err := h.db.QueryRow(t.Context(), `SELECT count(*) FROM publication_file`).Scan(&kept); err != nil || kept != 1 {
		t.Errorf("%d kept, %v", kept, err)
	}
}

func TestTheFolderIsAway(t *testing.T) {
	t.Parallel()
	folder, _, set := folders(t)
	h := newHouse(t, set)
	h.bal(health.ORG, "org@mss-a.example", finess)
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	_, err := h.p.WriteDaily(t.Context())
	if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), folder) {
		t.Errorf("%v", err)
	}
}

func TestPipeReport(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "unfinished",
		reportHeader:                 "unfinished",
		reportHeader + "\n2|a@b|A||": "unfinished",
		reportHeader + "\r\n2|a@b|A||\r\nFIN|1\r\n":        "",
		"\ufeff" + reportHeader + "\nFIN|0":                "",
		"Ligne\n":                                          "header",
		reportHeader + "\n2|a@b|A\nFIN|1":                  "fields",
		reportHeader + "\n1|a@b|A||\nFIN|1":                "line",
		reportHeader + "\nx|a@b|A||\nFIN|1":                "line",
		reportHeader + "\n2|a@b|?||\nFIN|1":                "line",
		reportHeader + "\n2|a@b|A||\nFIN|2":                "count",
		reportHeader + "\n" + strings.Repeat("x", 100_000): "line-too-long",
	} {
		err := PipeReport{}.Read(strings.NewReader(text), func(ReportLine) error { return nil })
		got := fault.CodeOf(err)
		if errors.Is(err, ErrUnfinished) {
			got = "unfinished"
		}
		if got != want || err == nil && want != "" {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	for name, want := range map[string]string{"a_CR.txt": "a.zip", "_CR.txt": "", ".a_CR.txt": "", "a.txt": "", "a_cr.txt": ""} {
		if file, ok := (PipeReport{}).FileOf(name); file != want || ok != (want != "") {
			t.Errorf("%s: %s", name, file)
		}
	}
}

func FuzzPipeReport(f *testing.F) {
	f.Add([]byte(reportHeader + "\n2|a@b.example|A||\n3|c@d.example|R|code|texte\nFIN|2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := PipeReport{}.Read(bytes.NewReader(b), func(l ReportLine) error {
			if l.Line < 2 || len(l.Code) > 40 || len([]rune(l.Text)) > 200 {
				return fmt.Errorf("let through: %+v", l)
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrUnfinished) && !fault.Is(err, fault.InvalidContent) {
			t.Fatal(err)
		}
	})
}

// What the national directory answers is text from outside.
func FuzzRefusal(f *testing.F) {
	f.Add([]byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"duplicate","details":{"text":"x"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r := refusal(400, b); r.Code == "" || len(r.Code) > 40 || len([]rune(r.Text)) > 200 || strings.ContainsAny(r.Text, "\n\x00") {
			t.Fatalf("%+v", r)
		}
	})
}
