package publication

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"pli/directory"
	"pli/internal/job"
	"pli/internal/pgtest"
)

// The daily file of an operator with 20,000 BAL.
func BenchmarkWriteDaily(b *testing.B) {
	db := pgtest.DB(b)
	for _, sql := range []string{
		`INSERT INTO seal_holder (purpose) VALUES ('bal')`,
		`INSERT INTO structure (finess, name, city, postal_code) SELECT '99' || to_char(n, 'FM0000000'), 'Cabinet ' || n, 'Lyon', '69003' FROM generate_series(1, 20000) n`,
		`INSERT INTO person (rpps, family_name, given_name, profession) SELECT '8997' || to_char(n, 'FM0000000'), 'Nom' || n, 'Prénom', '10' FROM generate_series(1, 20000) n`,
		`INSERT INTO situation (person_id, structure_id, mode) SELECT n, n, 'L' FROM generate_series(1, 20000) n`,
		`INSERT INTO bal (address_key, address, kind, state, holder_id, person_id)
		 SELECT sha256(n::text::bytea), 'a' || n || '@mss-a.example', 'PER', 'active', 1, n FROM generate_series(1, 20000) n`,
		`ANALYZE`,
	} {
		if _, err := db.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	at := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	p, err := New(Deps{DB: db, Jobs: job.New(db, log), Register: directory.New(db, testIndex{}, directory.Config{Domains: []string{"mss-a.example"}}),
		Config: Config{Folder: b.TempDir()}, Log: log, Now: func() time.Time { at = at.Add(time.Minute); return at }})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if f, err := p.WriteDaily(b.Context()); err != nil || f.Lines != 20_000 {
			b.Fatal(f, err)
		}
	}
}
