package national

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pli/codec/extraction"
	"pli/internal/invent"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

// Those who search while an import swaps see one edition or the other, whole, and never
// wait for it.
func TestReadersAreNotDisturbed(t *testing.T) {
	im := house(t)
	im.Config.Grace = 300 * time.Millisecond // longer than a reader below thinks
	doImport(t, im, extraction.Correspondances, published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 2000}))
	doImport(t, im, extraction.Activities, published(t, extraction.Activities, invent.Options{Seed: 1, Size: 2000}))
	done := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var asked int
	var longest time.Duration
	for reader := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				var p string
				if err := im.DB.QueryRow(t.Context(), `SELECT part FROM national_part`).Scan(&p); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Duration(n%5*reader) * time.Millisecond)
				start := time.Now()
				var listings, editions, words, practitioners int64
				err := im.DB.QueryRow(t.Context(), fmt.Sprintf(`
					/* reader */ SELECT (SELECT count(*) FROM listing_%[1]s), (SELECT count(DISTINCT seen_at) FROM listing_%[1]s),
					       (SELECT count(*) FROM word_%[1]s), (SELECT count(*) FROM practitioner_%[1]s p WHERE p.f_family > '')`, p)).
					Scan(&listings, &editions, &words, &practitioners)
				took := time.Since(start)
				mu.Lock()
				asked, longest = asked+1, max(longest, took)
				mu.Unlock()
				if err != nil || listings < 1900 || editions != 1 || words < 100 || practitioners < 1000 {
					t.Errorf("%d listings of %d editions, %d words, %d practitioners, %v", listings, editions, words, practitioners, err)
					return
				}
			}
		})
	}
	var waits int64
	wg.Go(func() { // whoever waits for a lock is seen waiting, now or then
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			var n int64
			if err := im.DB.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%/* reader */%' AND pid <> pg_backend_pid()`).Scan(&n); err != nil {
				t.Error(err)
				return
			}
			waits += n
		}
	})
	for day := 1; day <= 4; day++ {
		doImport(t, im, extraction.Correspondances, published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 2000, Day: day}))
		doImport(t, im, extraction.Activities, published(t, extraction.Activities, invent.Options{Seed: 1, Size: 2000, Day: day}))
	}
	close(done)
	wg.Wait()
	t.Logf("%d questions during 8 imports, the longest took %v", asked, longest)
	if waits > 0 {
		t.Errorf("readers were seen waiting for a lock %d times", waits)
	}
}

func pool(t *testing.T, dsn string) *pg.DB {
	t.Helper()
	db, err := pg.Open(t.Context(), pg.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// The server cuts every connection of ours, at each step.
func TestConnectionsThatAreCut(t *testing.T) {
	for _, step := range []string{"staging", "read", "staged", "index", "built", "swap"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.DSN(t)
			im, victim := on(pool(t, dsn)), on(pool(t, dsn+" application_name=victim"))
			doImport(t, im, extraction.Correspondances, published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 300}))
			path := published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 300, Day: 3})
			var once sync.Once
			victim.step = func(s string) {
				if s != step {
					return
				}
				once.Do(func() {
					if _, err := im.DB.Exec(t.Context(), `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'victim'`); err != nil {
						t.Error(err)
					}
				})
			}
			r, err := victim.Import(t.Context(), extraction.Correspondances, path, Options{})
			p, edition := part(t, im)
			if (err == nil) != (edition == 2) || (err == nil) != (p == "a") {
				t.Fatalf("%+v, %v, edition %d", r, err, edition)
			}
			if err != nil {
				r = doImport(t, im, extraction.Correspondances, path)
			}
			if n := one[int64](t, im, `SELECT count(*) FROM listing_{p}`); n != r.Kept || r.Gone == 0 && r.Added == 0 {
				t.Fatalf("%d: %+v", n, r)
			}
		})
	}
}
