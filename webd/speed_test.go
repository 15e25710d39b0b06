package webd_test

import (
	"context"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pli/app"
	"pli/codec/extraction"
	"pli/directory/national"
	"pli/internal/house"
	"pli/internal/invent"
)

var entries = flag.Int("entries", 0, "publish so many invented BAL and tell how long the pages of the directory take")

// TestDirectorySpeed tells how long a person waits for an answer, over HTTPS, with the gate,
// the session and the page: go test ./webd -run Speed -v -entries 1000000. The aim is a
// 95th percentile below 200 ms (ux.md §9.1, features.md DIR-02).
func TestDirectorySpeed(t *testing.T) {
	if *entries == 0 {
		t.Skip("-entries asks for none")
	}
	h := house.Start(t, house.Options{})
	doctor, patient := people(t, h)
	file := filepath.Join(t.TempDir(), "Extraction_Correspondance_MSSante_202611210400.txt")
	f, err := os.Create(file)
	if err == nil {
		err = invent.WriteCorrespondances(f, invent.Options{Seed: 1, Size: *entries})
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := h.National.Import(t.Context(), extraction.Correspondances, file, national.Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	t.Logf("imported in %v", time.Since(began).Round(time.Second))
	qs := questions(t, h)
	c := browse(t, h)
	c.signIn("aline", phrase, patient.TOTPSecret)
	c.time("the first time", qs)
	c = browse(t, h)
	c.signIn("karim.z", phrase, doctor.TOTPSecret)
	c.post("/ps/conditions", url.Values{"edition": {app.TermsVersion}})
	c.time("again", qs)
}

// time asks each question, opens what it finds first, and tells how long that took: the
// form, where it leads and the answer count as one.
func (p *person) time(when string, qs [][2]string) {
	p.Helper()
	var took []time.Duration
	measure := func(what string, f func() (int, string, string)) string {
		began := time.Now()
		status, _, body := f()
		d := time.Since(began)
		if took = append(took, d); status != 200 || d > 200*time.Millisecond {
			p.Logf("%s: %v %d %s", when, d.Round(time.Millisecond), status, what)
		}
		return body
	}
	for _, q := range qs {
		body := measure(q[0]+" | "+q[1], func() (int, string, string) { return p.post("/annuaire", url.Values{"qui": {q[0]}, "ou": {q[1]}}) })
		if m := hits.FindStringSubmatch(body); m != nil {
			measure("its page", func() (int, string, string) { return p.open(m[1]) })
		}
	}
	slices.Sort(took)
	p.Logf("%s: %d answers, median %v, 95th percentile %v, longest %v", when, len(took), took[len(took)/2], took[len(took)*95/100], took[len(took)-1])
}

// questions are what people ask, taken from who is there.
func questions(t *testing.T, h *house.House) (qs [][2]string) {
	t.Helper()
	var family, given, city, structure string
	rows, err := h.DB.Query(context.Background(), `SELECT family_name, given_name, city, structure FROM listing_b TABLESAMPLE SYSTEM (1) WHERE family_name <> '' LIMIT 24`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&family, &given, &city, &structure); err != nil {
			t.Fatal(err)
		}
		misspelt := family
		if len(family) > 4 {
			misspelt = family[:2] + family[3:]
		}
		word := strings.Join(strings.Fields(structure)[:min(2, len(strings.Fields(structure)))], " ")
		qs = append(qs, [2]string{family, ""}, [2]string{family + " " + given, ""}, [2]string{family, city}, [2]string{"médecin", city}, [2]string{misspelt, ""})
		if place := strings.TrimSpace(word + " " + city); place != "" {
			qs = append(qs, [2]string{"", place})
		}
	}
	return append(qs, [2]string{"martin", ""}, [2]string{"ma", ""}, [2]string{"médecin", ""}, [2]string{"cardiologue", "Lyon"}, [2]string{"", "Paris"}, [2]string{"infirmier", "Paris 19"}, [2]string{"pharmacie", "75"}, [2]string{"zzyzx", ""})
}
