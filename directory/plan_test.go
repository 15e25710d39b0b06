package directory

import (
	"strings"
	"testing"

	"pli/mail"
)

// With many BAL the facts of a message are still found by index.
func TestFactsUseIndexes(t *testing.T) {
	d, db := open(t)
	seed(t, d, db)
	for _, sql := range []string{
		`INSERT INTO bal (address_key, address, kind, state, holder_id, person_id)
		 SELECT sha256(n::text::bytea), n || '@mss-a.example', 'PER', 'active', 1, 1 FROM generate_series(1, 20000) n`,
		`ANALYZE bal`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	key, _ := d.key(mail.MustAddress("claire.aubepine@mss-a.example"))
	rows, err := db.Query(t.Context(), "EXPLAIN "+findBALs, []int64{1}, [][]byte{key})
	if err != nil {
		t.Fatal(err)
	}
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if rows.Err() != nil || strings.Contains(plan.String(), "Seq Scan on bal") {
		t.Errorf("%v\n%s", rows.Err(), plan.String())
	}
	t.Log(plan.String())
}
