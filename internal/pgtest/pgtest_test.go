package pgtest_test

import (
	"testing"

	"pli/internal/pgtest"
	"pli/migrations"
)

func TestEachTestHasItsOwnMigratedDatabase(t *testing.T) {
	a, b := pgtest.DB(t), pgtest.DB(t)
	if err := migrations.Check(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Exec(t.Context(), `INSERT INTO structure (name) VALUES ('x')`); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := b.QueryRow(t.Context(), `SELECT count(*) FROM structure`).Scan(&n); err != nil || n != 0 {
		t.Fatalf("rows leak between tests: %d, %v", n, err)
	}
}
