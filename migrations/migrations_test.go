package migrations_test

import (
	"sync"
	"testing"

	"pli/fault"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/migrations"
)

func TestSeveralStartersMeetAtTheLock(t *testing.T) {
	dsn := pgtest.DSN(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := migrations.Up(t.Context(), dsn); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestAServerRefusesASchemaItDoesNotKnow(t *testing.T) {
	for name, change := range map[string]string{
		"older":   `DELETE FROM schema_step WHERE version = (SELECT max(version) FROM schema_step)`,
		"newer":   `INSERT INTO schema_step (version, sum) VALUES (9999, 'x')`,
		"altered": `UPDATE schema_step SET sum = 'x' WHERE version = 1`,
		"absent":  `DROP TABLE schema_step`,
	} {
		t.Run(name, func(t *testing.T) {
			db, err := pg.Open(t.Context(), pg.Config{DSN: pgtest.DSN(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := migrations.Check(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			if err := migrations.Check(t.Context(), db); !fault.Is(err, fault.Unavailable) {
				t.Errorf("accepted: %v", err)
			}
		})
	}
}

func TestATraceIsNeverChanged(t *testing.T) {
	db := pgtest.DB(t)
	if _, err := db.Exec(t.Context(), `INSERT INTO trace (chain, seq, at, actor, action, object, effect, rules, rulebook, mac)
		VALUES ('house', 1, now(), 'house', 'x', 'y', 'permit', '{}', '', '')`); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{`UPDATE trace SET actor = 'z'`, `DELETE FROM trace`, `TRUNCATE trace`} {
		if _, err := db.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s was let through", sql)
		}
	}
}
