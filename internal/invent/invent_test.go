package invent

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pli/codec/extraction"
	"pli/health"
)

func TestTheSameOptionsGiveTheSameOctets(t *testing.T) {
	sum := func(o Options) [32]byte {
		h := sha256.New()
		if err := WriteCorrespondances(h, o); err != nil {
			t.Fatal(err)
		}
		if err := WriteActivities(h, o); err != nil {
			t.Fatal(err)
		}
		return [32]byte(h.Sum(nil))
	}
	o := Options{Seed: 7, Size: 5000, Others: 100, Broken: 5, Day: 3}
	if sum(o) != sum(o) {
		t.Error("two runs differ")
	}
	other := o
	other.Seed = 8
	if sum(o) == sum(other) {
		t.Error("two seeds give the same")
	}
}

// Proportions of the real directory (mssante.md §10), at half its size.
func TestProportions(t *testing.T) {
	const size = 250_000
	domains := map[string]int{}
	kinds := map[string]int{}
	seen := map[string]int{}
	names := map[string]bool{}
	lines := 0
	for c := range Correspondances(Options{Seed: 1, Size: size}) {
		lines++
		kinds[c.Kind]++
		if seen[c.Address]++; seen[c.Address] == 1 {
			_, domain, _ := strings.Cut(c.Address, "@")
			domains[domain]++
		}
		if c.Kind == "PER" {
			names[c.FamilyName] = true
			if c.PPType == "8" {
				if _, err := health.ParseRPPS(c.PP); err != nil || !strings.HasPrefix(c.PP, "899") {
					t.Fatalf("RPPS %q", c.PP)
				}
			}
		}
		if !strings.HasSuffix(c.Address, ".mssante.example") {
			t.Fatal("a domain that could exist")
		}
		if kind, place, known := extraction.Place(c.PlaceType, c.Place); c.PlaceType != "" && (!known || place[:2] != "99") {
			t.Fatalf("place %s %s", kind, c.Place)
		}
	}
	if share := float64(kinds["PER"]) / float64(lines); share < .83 || share > .87 {
		t.Errorf("PER are %.3f", share)
	}
	repeated := 0
	for _, n := range seen {
		if n > 1 {
			repeated++
		}
	}
	if repeated < 40 || repeated > 130 { // 169 of 535,357
		t.Errorf("%d addresses appear more than once", repeated)
	}
	var sizes []int
	for _, n := range domains {
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	slices.Reverse(sizes)
	head := 0
	for _, n := range sizes[:10] {
		head += n
	}
	t.Logf("%d lines, %d domains, median %d, p90 %d, p99 %d, largest %d, ten largest %.3f, %d family names",
		lines, len(sizes), sizes[len(sizes)/2], sizes[len(sizes)/10], sizes[len(sizes)/100], sizes[0], float64(head)/float64(len(seen)), len(names))
	if share := float64(head) / float64(len(seen)); share < .42 || share > .52 {
		t.Errorf("the ten largest domains hold %.3f", share)
	}
	if m := sizes[len(sizes)/2]; m < 2 || m > 8 {
		t.Errorf("median of %d addresses", m)
	}
}

func TestDaysGoBy(t *testing.T) {
	const size = 50_000
	on := func(day int) map[string]extraction.Correspondance {
		out := map[string]extraction.Correspondance{}
		for c := range Correspondances(Options{Seed: 1, Size: size, Day: day}) {
			if _, twice := out[c.Address]; !twice {
				out[c.Address] = *c
			}
		}
		return out
	}
	first, later := on(0), on(30)
	added, gone, changed := 0, 0, 0
	for a, c := range later {
		old, was := first[a]
		switch {
		case !was:
			added++
		case old != c:
			changed++
		}
	}
	for a := range first {
		if _, is := later[a]; !is {
			gone++
		}
	}
	t.Logf("in 30 days: %d added, %d gone, %d changed of %d", added, gone, changed, len(first))
	within := func(what string, n int, rate float64) {
		if want := rate * size * 30; float64(n) < want*.8 || float64(n) > want*1.2 {
			t.Errorf("%s: %d, about %.0f expected", what, n, want)
		}
	}
	within("added", added, dailyCreated)
	within("gone", gone, dailyGone)
	if changed == 0 || float64(changed) > dailyChanged*size*30*1.5 {
		t.Errorf("changed: %d", changed)
	}
}

func TestActivitiesAreOfTheSamePeople(t *testing.T) {
	o := Options{Seed: 3, Size: 20_000, Others: 500}
	people := map[string]string{}
	for c := range Correspondances(o) {
		if c.PP != "" {
			people[c.PPNational] = c.FamilyName + c.GivenName
		}
	}
	exercises, others := map[string]int{}, map[string]bool{}
	for a := range Activities(o) {
		exercises[a.PPNational]++
		who, has := people[a.PPNational]
		if !has {
			others[a.PPNational] = true
		} else if who != a.FamilyName+a.GivenName {
			t.Fatalf("%s has two names", a.PPNational)
		}
	}
	for pp := range people {
		if exercises[pp] == 0 {
			t.Fatalf("%s has a BAL and no exercise", pp)
		}
	}
	if len(others) != 500 {
		t.Errorf("%d professionals without a BAL", len(others))
	}
	several := 0
	for _, n := range exercises {
		if n > 1 {
			several++
		}
	}
	if share := float64(several) / float64(len(exercises)); share < .13 || share > .17 {
		t.Errorf("%.3f have several situations", share)
	}
}

func TestSmallSizes(t *testing.T) {
	for _, size := range []int{0, 1, 2, 10, 100, 1000} {
		var b bytes.Buffer
		if err := WriteCorrespondances(&b, Options{Size: size, Day: 5}); err != nil {
			t.Fatal(err)
		}
		if err := WriteActivities(io.Discard, Options{Size: size, Others: 3}); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b.Bytes(), []byte("\n")); n < size || n > size*11/10+3 {
			t.Errorf("size %d: %d lines", size, n)
		}
	}
}

// What is made up is read by the reader, and what is broken on purpose is all it refuses.
func TestRead(t *testing.T) {
	o := Options{Seed: 2, Size: 3000, Broken: 12}
	path := filepath.Join(t.TempDir(), "correspondances.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ZIPCorrespondances(f, o), f.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := extraction.Open(path, extraction.Correspondances, extraction.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if at, ok := extraction.ExtractedAt(file.Name); !ok || !at.Equal(o.ExtractedAt()) {
		t.Errorf("%s: %v", file.Name, at)
	}
	in, err := extraction.NewCorrespondances(file)
	if err != nil {
		t.Fatal(err)
	}
	var line extraction.Correspondance
	read, refused := 0, 0
	for {
		err := in.Next(&line)
		if err == io.EOF {
			break
		}
		if errors.As(err, new(*extraction.LineError)) {
			refused++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		read++
	}
	if read < 3000 || refused != 12 {
		t.Errorf("%d read, %d refused", read, refused)
	}
}

func BenchmarkCorrespondances(b *testing.B) {
	for b.Loop() {
		if err := WriteCorrespondances(io.Discard, Options{Seed: 1, Size: 1_000_000}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkActivities(b *testing.B) {
	for b.Loop() {
		if err := WriteActivities(io.Discard, Options{Seed: 1, Size: 1_000_000}); err != nil {
			b.Fatal(err)
		}
	}
}
