package migrations_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/directory"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/migrations"
)

// The house of step 1, with a BAL of each sort, as its rows were.
const houseOfStep1 = `
INSERT INTO seal_holder (purpose) SELECT 'bal' FROM generate_series(1, 7);
INSERT INTO structure (finess, name, city) VALUES ('990000019', 'Cabinet des Lilas', 'Paris');
INSERT INTO person (rpps, family_name, given_name, profession) VALUES ('89970000017', 'HADDAD', 'Karim', '10'), ('89970000025', 'ROY', 'Anne', '60');
INSERT INTO situation (person_id, structure_id, mode) VALUES (1, 1, 'L');
UPDATE person SET ended_at = '2026-01-01' WHERE id = 2;
INSERT INTO bal (address_key, address, kind, state, holder_id, person_id, structure_id, unlisted, cgu_version, cgu_at, created_at) VALUES
 ('1', 'karim.haddad@mss-a.example', 'PER', 'active', 1, 1, NULL, false, '1', '2024-01-01', '2024-01-01'),
 ('2', 'secret@mss-a.example', 'PER', 'active', 2, 1, NULL, true, '1', '2024-01-01', '2024-01-01'),
 ('3', 'accueil@mss-a.example', 'ORG', 'active', 3, NULL, 1, false, '1', '2024-01-01', '2024-01-01'),
 ('4', 'labo@mss-a.example', 'APP', 'active', 4, NULL, 1, false, '1', '2024-01-01', '2024-01-01'),
 ('5', 'ferme@mss-a.example', 'ORG', 'closed', 5, NULL, 1, false, '1', '2024-01-01', '2024-01-01'),
 ('6', 'anne.roy@mss-a.example', 'PER', 'active', 6, 2, NULL, false, '1', '2024-01-01', '2024-01-01'),
 ('7', NULL, 'PATIENT', 'active', 7, NULL, NULL, false, '1', '2024-01-01', '2024-01-01');`

type index struct{}

func (index) Key(domain string, parts ...string) []byte {
	h := hmac.New(sha256.New, []byte(domain))
	h.Write([]byte(strings.Join(parts, "|")))
	return h.Sum(nil)[:16]
}

// A house that has mail since before the directory is brought up, shows what may be
// shown, and suspends nobody for use that was not counted.
func TestAHouseOfStep1IsBroughtUp(t *testing.T) {
	dsn := pgtest.DSN(t)
	first, err := os.ReadFile("0001_house.sql")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(first)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{`DROP SCHEMA public CASCADE; DROP SCHEMA ` + migrations.JobSchema + ` CASCADE; CREATE SCHEMA public`,
		string(first), houseOfStep1,
		`CREATE TABLE schema_step (version int PRIMARY KEY, sum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`,
		`INSERT INTO schema_step (version, sum) VALUES (1, '` + hex.EncodeToString(sum[:]) + `')`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close(context.Background())
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	db, err := pg.Open(t.Context(), pg.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := migrations.Check(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	d := directory.New(db, index{}, directory.Config{Domains: []string{"mss-a.example"}})
	now := time.Now()
	if err := d.EnsurePublished(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sql  string
		want []string
	}{
		"listings":      {`SELECT address FROM listing_own ORDER BY 1`, []string{"accueil@mss-a.example", "karim.haddad@mss-a.example"}},
		"professionals": {`SELECT id FROM practitioner_own`, []string{"rpps-89970000017"}},
		"structures":    {`SELECT id FROM organization_own`, []string{"finess-990000019"}},
		"never used":    {`SELECT kind FROM bal WHERE used_at IS NULL`, []string{"PATIENT"}},
	} {
		rows, err := db.Query(t.Context(), c.sql)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if n, err := d.RunCalendar(t.Context(), now); err != nil || n != (directory.Night{}) {
		t.Errorf("the first night: %+v, %v", n, err)
	}
}
