package national

import (
	"crypto/x509"
	"os"
	"testing"
	"time"

	"pli/codec/extraction"
	"pli/fault"
	"pli/internal/invent"
	"pli/internal/job"
)

func TestWhenItIsTime(t *testing.T) {
	night := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC) // 4 in Paris
	h := func(n float64) time.Time { return night.Add(time.Duration(n * float64(time.Hour))) }
	for name, c := range map[string]struct {
		now, checked, imported time.Time
		failures               int
		want                   bool
	}{
		"never":                       {h(5), time.Time{}, time.Time{}, 0, true},
		"before the hour":             {h(-0.1), h(-23), h(-23), 0, false},
		"after the hour":              {h(0.1), h(-23), h(-23), 0, true},
		"done this night":             {h(5), h(0.1), h(0.2), 0, false},
		"nothing new, a day old":      {h(5), h(4.5), h(-30), 0, false},
		"an hour later":               {h(5), h(3.9), h(-30), 0, true},
		"a night that was missed":     {h(9), h(-20), h(-20), 0, true},
		"failed once":                 {h(0.4), h(0.1), h(-23), 1, true},
		"failed once, a moment ago":   {h(0.2), h(0.1), h(-23), 1, false},
		"failed often":                {h(3), h(0.1), h(-23), 9, false},
		"failed often, hours ago":     {h(5), h(0.1), h(-23), 9, true},
		"the night the clocks change": {time.Date(2026, 10, 25, 3, 5, 0, 0, time.UTC), time.Date(2026, 10, 25, 2, 30, 0, 0, time.UTC), time.Date(2026, 10, 24, 2, 30, 0, 0, time.UTC), 0, true},
	} {
		im := New(Deps{Config: Config{Hour: 4}, Now: func() time.Time { return c.now }})
		if got := im.due(Fresh{CheckedAt: c.checked, ImportedAt: c.imported, Failures: c.failures}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestUpdateFetchesAndImports(t *testing.T) {
	bal, err := os.ReadFile(published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 300, At: time.Now()}))
	if err != nil {
		t.Fatal(err)
	}
	a := newAnnuaire(t, bal)
	im := house(t)
	now := time.Now()
	im.Now = func() time.Time { return now }
	im.pause = time.Millisecond
	im.Config.Dir, im.Config.Roots = t.TempDir(), x509.NewCertPool()
	im.Config.Roots.AddCert(a.Certificate())
	im.Config.Correspondance = a.URL + "/x"
	im.Config.Activite = published(t, extraction.Activities, invent.Options{Seed: 1, Size: 300})
	im.Handle(job.NewWorkers())

	fresh := func() (bal, act Fresh) {
		t.Helper()
		all, err := im.Freshness(t.Context())
		if err != nil || len(all) != 2 {
			t.Fatal(all, err)
		}
		return all[0], all[1]
	}
	if b, act := fresh(); !b.Stale(now) || !act.Stale(now) {
		t.Fatal("what never came is fresh")
	}
	a.fail = 100
	if err := im.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, activity := fresh()
	if b.Failures != 1 || !b.ImportedAt.IsZero() || activity.ImportedAt.IsZero() || activity.Failures != 0 {
		t.Fatalf("%+v %+v", b, activity)
	}
	a.fail = 0
	asked := len(a.asked)
	if err := im.Update(t.Context()); err != nil || len(a.asked) != asked {
		t.Fatal("asked again at once", err)
	}
	now = now.Add(time.Hour)
	if err := im.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, _ = fresh(); b.Failures != 0 || b.ImportedAt.IsZero() || b.Lines == 0 || b.Stale(now) || !b.Stale(now.Add(11*24*time.Hour)) {
		t.Fatalf("%+v", b)
	}
	if im.age(extraction.Correspondances) < 0 {
		t.Fatal("no age")
	}

	// A file that is refused is not looked at again all day long.
	a.content, a.etag = []byte("PK, not really"), `"2"`
	for range 3 {
		now = now.Add(25 * time.Hour)
		if err := im.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Hour)
		if err := im.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := one[int64](t, im, `SELECT count(*) FROM national_import WHERE dataset = 'correspondance' AND state = 'refused'`); n != 3 {
		t.Fatalf("refused %d times in three days", n)
	}
	if _, err := im.Import(t.Context(), "autre", im.Config.Activite, Options{}); !fault.Is(err, fault.Invalid) {
		t.Fatal(err)
	}
	if _, err := im.Import(t.Context(), extraction.Activities, "/nowhere", Options{}); !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
}
