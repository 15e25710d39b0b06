package search

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"pli/directory/listing"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

// fill copies listings and their words into one part of the directory.
func fill(t testing.TB, db *pg.DB, part string, next func() (listing.Listing, bool)) {
	t.Helper()
	ctx := context.Background()
	words := map[string]bool{}
	err := db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"listing_" + part}, listing.Columns, pgx.CopyFromFunc(func() ([]any, error) {
			l, more := next()
			if !more {
				return nil, nil
			}
			l.Vocabulary(func(w string) { words[w] = true })
			return l.Row(), nil
		}))
		if err != nil {
			return err
		}
		rows := [][]any{}
		for w := range words {
			rows = append(rows, []any{w})
		}
		if _, err := tx.Exec(ctx, "CREATE TEMP TABLE new_words (word text) ON COMMIT DROP"); err != nil {
			return err
		}
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"new_words"}, []string{"word"}, pgx.CopyFromRows(rows)); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO word_"+part+" SELECT word FROM new_words ORDER BY word ON CONFLICT DO NOTHING")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"listing_", "word_"} {
		if _, err := db.Exec(ctx, "ANALYZE "+table+part); err != nil {
			t.Fatal(err)
		}
	}
}

// times yields n listings of a crowd.
func (c *crowd) times(n int) func() (listing.Listing, bool) {
	return func() (listing.Listing, bool) {
		if n--; n < 0 {
			return listing.Listing{}, false
		}
		return c.next(), true
	}
}

// TestFillForBench puts a million listings where PLI_BENCH_DSN says, once: its tables
// are those of a migrated database.
func TestFillForBench(t *testing.T) {
	dsn := os.Getenv("PLI_BENCH_DSN")
	if dsn == "" || os.Getenv("PLI_BENCH_FILL") == "" {
		t.Skip("only with PLI_BENCH_DSN and PLI_BENCH_FILL")
	}
	db, err := pg.Open(t.Context(), pg.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var defs []string
	rows, _ := db.Query(t.Context(), "SELECT indexdef FROM pg_indexes WHERE tablename = 'listing_a' AND indexname <> 'listing_a_pkey'")
	defs, err = pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	rows, _ = db.Query(t.Context(), "SELECT indexname::text FROM pg_indexes WHERE tablename = 'listing_a' AND indexname <> 'listing_a_pkey'")
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(names) > 0 {
		if _, err := db.Exec(t.Context(), "DROP INDEX "+strings.Join(names, ", ")); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, db, "a", newCrowd(1, 60_000).times(1_000_000))
	for _, def := range defs {
		if _, err := db.Exec(t.Context(), def); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(t.Context(), "VACUUM ANALYZE listing_a"); err != nil {
		t.Fatal(err)
	}
}

// small is a database with a few hundred listings, and a pool as the doors have it.
func small(t testing.TB) (*pg.DB, *pg.DB) {
	dsn := pgtest.DSN(t)
	return open(t, pg.Config{DSN: dsn}), open(t, pg.Config{DSN: dsn, Search: searchTime})
}

func open(t testing.TB, c pg.Config) *pg.DB {
	t.Helper()
	db, err := pg.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

const searchTime = 2_000_000_000 // 2 s, as the house sets it
