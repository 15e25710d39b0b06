package national

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/codec/extraction"
	"pli/fault"
	"pli/internal/invent"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

// house is an importer on its own database.
func house(t testing.TB) *Importer {
	t.Helper()
	return on(pgtest.DB(t))
}

func on(db *pg.DB) *Importer {
	return New(Deps{
		DB:      db,
		Local:   func(d string) bool { return d == "mss-a.example" },
		Patient: func(d string) bool { return d == "patient.example" },
		Config:  Config{Grace: time.Nanosecond},
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
}

// published writes a made-up file of a dataset.
func published(t testing.TB, d extraction.Dataset, o invent.Options) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), string(d)+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	write := invent.ZIPCorrespondances
	if d == extraction.Activities {
		write = invent.ZIPActivities
	}
	if err := errors.Join(write(f, o), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// file writes a published file of these lines.
func file[T any](t testing.TB, d extraction.Dataset, at time.Time, write func(io.Writer) *extraction.Writer[T], lines ...T) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), string(d)+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	text, err := z.Create(extraction.FileName(d, at))
	if err != nil {
		t.Fatal(err)
	}
	w := write(text)
	for i := range lines {
		if err := w.Write(&lines[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

var day0 = time.Date(2026, 8, 26, 6, 13, 0, 0, time.UTC)

func bals(t testing.TB, day int, lines ...extraction.Correspondance) string {
	return file(t, extraction.Correspondances, day0.AddDate(0, 0, day), extraction.NewCorrespondanceWriter, lines...)
}

func exercisesFile(t testing.TB, day int, lines ...extraction.Activity) string {
	return file(t, extraction.Activities, day0.AddDate(0, 0, day), extraction.NewActivityWriter, lines...)
}

func doImport(t testing.TB, im *Importer, d extraction.Dataset, path string) Report {
	t.Helper()
	r, err := im.Import(t.Context(), d, path, Options{})
	if err != nil {
		t.Fatalf("import: %v", err)
	}
	if r.State != Done {
		t.Fatalf("import: %+v", r)
	}
	return r
}

func part(t testing.TB, im *Importer) (p string, edition int64) {
	t.Helper()
	if err := im.DB.QueryRow(t.Context(), `SELECT part, edition FROM national_part`).Scan(&p, &edition); err != nil {
		t.Fatal(err)
	}
	return p, edition
}

// column reads one column, in order; {p} is the part that is read.
func column[T any](t testing.TB, im *Importer, sql string, args ...any) []T {
	t.Helper()
	p, _ := part(t, im)
	rows, err := im.DB.Query(t.Context(), strings.ReplaceAll(sql, "{p}", p), args...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func one[T any](t testing.TB, im *Importer, sql string, args ...any) T {
	t.Helper()
	all := column[T](t, im, sql, args...)
	if len(all) != 1 {
		t.Fatalf("%d rows: %s", len(all), sql)
	}
	return all[0]
}

func per(address, rpps, family, given, finess string) extraction.Correspondance {
	return extraction.Correspondance{Kind: "PER", Address: address, PPType: "8", PP: rpps, PPNational: "8" + rpps, PlaceType: "1", Place: finess,
		FamilyName: family, GivenName: given, Profession: "10", ProfessionLabel: "Médecin", Structure: "Cabinet " + finess,
		PostalCode: "75019", Routing: "75019 PARIS", Paperless: "O"}
}

func act(rpps, family, given, finess string) extraction.Activity {
	return extraction.Activity{PPType: "8", PP: rpps, PPNational: "8" + rpps, FamilyName: family, GivenName: given, Profession: "10",
		ProfessionLabel: "Médecin", Mode: "L", FINESS: finess, SIRET: "99000000" + finess[len(finess)-6:], Structure: "Cabinet " + finess,
		PostalCode: "75019", City: "Paris", Phone: "0100000000"}
}

func TestADayAfterAnother(t *testing.T) {
	im := house(t)
	r := doImport(t, im, extraction.Correspondances, published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 4000, Broken: 8}))
	if r.Kept == 0 || r.Added != r.Kept || r.Changed+r.Gone != 0 || r.Refused != 8 || r.Lines != r.Kept+r.Refused+r.Repeated+r.Ours {
		t.Fatalf("first: %+v", r)
	}
	p, edition := part(t, im)
	if p != "b" || edition != 1 {
		t.Fatalf("part %s, edition %d", p, edition)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM listing_{p}`); n != r.Kept {
		t.Fatalf("%d listings of %d", n, r.Kept)
	}
	if refusals, err := im.Refusals(t.Context(), r.ID); err != nil || len(refusals) != 8 {
		t.Fatalf("refusals: %v, %v", refusals, err)
	}
	type when struct {
		Key            []byte
		Since, Changed time.Time
	}
	before := map[string]when{}
	for _, w := range rowsOf[when](t, im, `SELECT key, since_at, changed_at FROM listing_{p}`) {
		before[string(w.Key)] = w
	}

	r2 := doImport(t, im, extraction.Correspondances, published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 4000, Day: 5}))
	if r2.Kept != r.Kept+r2.Added-r2.Gone || r2.Gone == 0 || r2.Added == 0 {
		t.Fatalf("second: %+v", r2)
	}
	var kept, changed, added int64
	for _, w := range rowsOf[when](t, im, `SELECT key, since_at, changed_at FROM listing_{p}`) {
		was, ok := before[string(w.Key)]
		switch {
		case !ok:
			added++
		case !w.Since.Equal(was.Since):
			t.Fatal("since_at was not kept")
		case !w.Changed.Equal(was.Changed):
			changed++
		default:
			kept++
		}
	}
	if added != r2.Added || changed != r2.Changed || kept != r2.Kept-added-changed {
		t.Fatalf("added %d, changed %d, kept %d: %+v", added, changed, kept, r2)
	}
	if n := one[int64](t, im, `SELECT count(DISTINCT address) FROM departed`); n == 0 || n > r2.Gone {
		t.Fatalf("%d departed of %d gone", n, r2.Gone)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM departed d JOIN listing_{p} l ON l.f_address = d.address`); n != 0 {
		t.Fatalf("%d departed are there", n)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM listing_{p} WHERE seen_at <> $1`, r2.ExtractedAt); n != 0 {
		t.Fatalf("%d listings are not fresh", n)
	}
}

func rowsOf[T any](t testing.TB, im *Importer, sql string) []T {
	t.Helper()
	p, _ := part(t, im)
	rows, err := im.DB.Query(t.Context(), strings.ReplaceAll(sql, "{p}", p))
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What is built has every index, constraint and column of the part that defines them.
func TestThePartBuiltIsShapedLikeItsOwn(t *testing.T) {
	im := house(t)
	for range 2 { // each part in turn
		doImport(t, im, extraction.Correspondances, published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 200, Day: int(one[int64](t, im, `SELECT edition FROM national_part`))}))
	}
	for _, s := range sheets {
		own, err := indexesOf(t.Context(), im.DB, s.table("own"))
		if err != nil || len(own) == 0 {
			t.Fatal(own, err)
		}
		for _, p := range []string{"a", "b"} {
			built, err := indexesOf(t.Context(), im.DB, s.table(p))
			if err != nil {
				t.Fatal(err)
			}
			shape := func(xs []index) (out []string) {
				for _, x := range xs {
					out = append(out, fmt.Sprint(x.primary, x.unique, x.using))
				}
				slices.Sort(out)
				return out
			}
			if a, b := shape(own), shape(built); !slices.Equal(a, b) {
				t.Errorf("%s:\n%s\n%s", s.table(p), strings.Join(a, "\n"), strings.Join(b, "\n"))
			}
			columns := `SELECT attname || ' ' || atttypid::regtype || ' ' || attnotnull || ' ' || attcollation || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
				FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
				WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`
			if a, b := column[string](t, im, columns, s.table("own")), column[string](t, im, columns, s.table(p)); !slices.Equal(a, b) {
				t.Errorf("%s: columns\n%v\n%v", s.table(p), a, b)
			}
		}
	}
	if n := one[int64](t, im, `SELECT count(*) FROM pg_index WHERE NOT indisvalid`); n != 0 {
		t.Errorf("%d invalid indexes", n)
	}
}

func TestBothFilesMakeOneEdition(t *testing.T) {
	im := house(t)
	doImport(t, im, extraction.Correspondances, bals(t, 0,
		per("karim.haddad@medecin.example", "89970000017", "HADDAD", "Karim", "990000019"),
		per("alice.martin@medecin.example", "89970000025", "MARTIN", "Alice", "990000027"),
		extraction.Correspondance{Kind: "ORG", Address: "accueil@ch.example", PlaceType: "SIRET", Place: "99000000000035", Service: "Accueil", Structure: "CH des Lilas"},
	))
	practitioners := func() []string { return column[string](t, im, `SELECT id FROM practitioner_{p} ORDER BY id`) }
	if got := practitioners(); !slices.Equal(got, []string{"rpps-89970000017", "rpps-89970000025"}) {
		t.Fatal(got)
	}
	hospital := act("89970000033", "DUPONT", "Zoé", "990000035")
	hospital.SIRET = "99000000000035"
	activities := []extraction.Activity{act("89970000017", "HADDAD", "Karim", "990000019"), hospital, hospital}
	r := doImport(t, im, extraction.Activities, exercisesFile(t, 0, activities...))
	if r.Kept != 2 || r.Repeated != 1 || r.Added != 2 {
		t.Fatalf("%+v", r)
	}
	check := func() {
		t.Helper()
		if got := practitioners(); !slices.Equal(got, []string{"rpps-89970000017", "rpps-89970000025", "rpps-89970000033"}) {
			t.Fatal(got)
		}
		// The hospital of the BAL is the one that the activity file knows by its FINESS.
		if got := column[string](t, im, `SELECT id || ' ' || from_activity FROM organization_{p} ORDER BY id`); !slices.Equal(got,
			[]string{"finess-990000019 true", "finess-990000027 false", "finess-990000035 true"}) {
			t.Fatal(got)
		}
		if got := column[string](t, im, `SELECT practitioner || ' ' || organization || ' ' || from_activity FROM role_{p} ORDER BY 1`); !slices.Equal(got, []string{
			"rpps-89970000017 finess-990000019 true", "rpps-89970000025 finess-990000027 false", "rpps-89970000033 finess-990000035 true"}) {
			t.Fatal(got)
		}
		if n := one[int64](t, im, `SELECT count(*) FROM listing_{p}`); n != 3 {
			t.Fatal(n)
		}
		if n := one[int64](t, im, `SELECT count(*) FROM word_{p} WHERE word IN ('haddad', 'karim', 'lilas')`); n != 3 {
			t.Fatal(n)
		}
	}
	check()
	was := one[time.Time](t, im, `SELECT changed_at FROM role_{p} WHERE practitioner = 'rpps-89970000017'`)
	doImport(t, im, extraction.Correspondances, bals(t, 1,
		per("karim.haddad@medecin.example", "89970000017", "HADDAD", "Karim", "990000019"),
		per("alice.martin@medecin.example", "89970000025", "MARTIN", "Alice", "990000027"),
		extraction.Correspondance{Kind: "ORG", Address: "accueil@ch.example", PlaceType: "SIRET", Place: "99000000000035", Service: "Accueil", Structure: "CH des Lilas"},
	))
	check()
	activities[1].Phone = "0200000000"
	r = doImport(t, im, extraction.Activities, exercisesFile(t, 1, activities...))
	check()
	if r.Added+r.Changed+r.Gone != 0 {
		t.Fatalf("%+v", r)
	}
	if now := one[time.Time](t, im, `SELECT changed_at FROM role_{p} WHERE practitioner = 'rpps-89970000017'`); !now.Equal(was) {
		t.Fatal("a role that did not change is said to have")
	}
}

func TestWhatAFileMayNotBringIn(t *testing.T) {
	im := house(t)
	odd := per("x.y@medecin.example", "89970000041", `O\'NEIL	"le |petit"`, "Élodie", "990000043")
	odd.Profession, odd.ProfessionLabel = "ZZ9", "Profession nouvelle"
	twice := per("karim.haddad@medecin.example", "89970000017", "HADDAD", "Karim", "990000027")
	lines := []extraction.Correspondance{
		per("karim.haddad@medecin.example", "89970000017", "HADDAD", "Karim", "990000019"), twice, twice, odd,
		per("moi@mss-a.example", "89970000058", "NOTRE", "Homme", "990000019"),
	}
	for range 200 {
		lines = append(lines, per(fmt.Sprintf("p%d@medecin.example", len(lines)), "89970000066", "MARTIN", "Léa", "990000019"))
	}
	lines = append(lines, per("277076322082910@patient.mssante.fr", "89970000074", "PATIENT", "Un", "990000019"),
		per("277076322082910@patient.example", "89970000074", "PATIENT", "Deux", "990000019"))
	r := doImport(t, im, extraction.Correspondances, bals(t, 0, lines...))
	if r.Ours != 1 || r.Refused != 2 || r.Repeated != 1 || r.Kept != 203 {
		t.Fatalf("%+v", r)
	}
	refusals, err := im.Refusals(t.Context(), r.ID)
	if err != nil || len(refusals) != 2 || refusals[0] != (Refusal{Line: 207, Cause: "patient"}) {
		t.Fatal(refusals, err)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM listing_{p} WHERE address LIKE '%patient%' OR address LIKE '%mss-a%' OR family_name = 'PATIENT'`); n != 0 {
		t.Fatal(n)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM practitioner_{p} WHERE family_name IN ('PATIENT', 'NOTRE')`); n != 0 {
		t.Fatal(n)
	}
	if n := one[int64](t, im, `SELECT count(*) FROM listing_{p} WHERE address = 'karim.haddad@medecin.example'`); n != 2 {
		t.Fatal(n)
	}
	if got := one[string](t, im, `SELECT family_name || '/' || profession || '/' || profession_label FROM listing_{p} WHERE pp = '89970000041'`); got != `O\'NEIL "le  petit"/ZZ9/Profession nouvelle` {
		t.Fatalf("%q", got)
	}
	// A line that no index could hold is refused, not the whole file.
	for range 200 {
		lines = append(lines, per(fmt.Sprintf("q%d@medecin.example", len(lines)), "89970000066", "MARTIN", "Léa", "990000019"))
	}
	lines = append(lines, per("a.b@medecin.example", "89970000066", strings.Repeat("ab3Xz9", 500), "Léa", "990000019"),
		per("a.c@medecin.example", "89970000066", strings.Repeat("\ufdfa", 100), "Léa", "990000019"))
	if r := doImport(t, im, extraction.Correspondances, bals(t, 1, lines...)); r.Refused != 4 {
		t.Fatalf("%+v", r)
	}
	// The same again, carried and not read.
	exercises := []extraction.Activity{act("89970000017", "HADDAD", "Karim", "990000019")}
	for i := range 300 {
		exercises = append(exercises, act(rppsOf(5000+i), "MARTIN", "Léa", "990000019"))
	}
	exercises = append(exercises, act(rppsOf(301), strings.Repeat("\ufdfa", 100), "Léa", "990000019"), act(rppsOf(302), "X", strings.Repeat("k7", 600), "990000019"))
	if r := doImport(t, im, extraction.Activities, exercisesFile(t, 0, exercises...)); r.Refused != 2 {
		t.Fatalf("%+v", r)
	}
	if got := one[string](t, im, `SELECT family_name FROM practitioner_{p} WHERE pp = '89970000041'`); got != `O\'NEIL "le  petit"` {
		t.Fatalf("%q", got)
	}
}

func TestASameFileIsImportedOnce(t *testing.T) {
	im := house(t)
	path := published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 100})
	first := doImport(t, im, extraction.Correspondances, path)
	again := doImport(t, im, extraction.Correspondances, path)
	if !again.Already || again.ID != first.ID {
		t.Fatalf("%+v", again)
	}
	if _, edition := part(t, im); edition != 1 {
		t.Fatal(edition)
	}
	forced, err := im.Import(t.Context(), extraction.Correspondances, path, Options{Force: true})
	if err != nil || forced.Already || !forced.Forced || forced.Added+forced.Changed+forced.Gone != 0 {
		t.Fatalf("%+v, %v", forced, err)
	}
	if _, edition := part(t, im); edition != 2 {
		t.Fatal(edition)
	}
	all, err := im.Reports(t.Context(), 10)
	if err != nil || len(all) != 2 || all[0].ID != forced.ID {
		t.Fatal(all, err)
	}
}

func TestAFileThatIsRefusedChangesNothing(t *testing.T) {
	im := house(t)
	good := published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 2000, Day: 3})
	doImport(t, im, extraction.Correspondances, good)
	raw, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	text := func(lines int, end string) []byte {
		var b strings.Builder
		if err := invent.WriteCorrespondances(&b, invent.Options{Seed: 1, Size: 2000, Day: 3}); err != nil {
			t.Fatal(err)
		}
		all := strings.SplitAfter(b.String(), "\n")
		return []byte(strings.TrimSuffix(strings.Join(all[:min(lines, len(all))], ""), "\n") + end)
	}
	damaged := slices.Clone(raw)
	damaged[len(damaged)/2] ^= 0xff
	for name, c := range map[string]struct {
		file    string
		content []byte
		cause   string
	}{
		"cut":        {"x.zip", raw[:len(raw)*2/3], "not-zip"},
		"damaged":    {"x.zip", damaged, ""},
		"half a row": {"x.txt", append(text(1500, "\n"), []byte("PER|a@b.exa")...), "truncated"},
		"no end":     {"x.txt", text(1<<20, ""), "truncated"},
		"too short":  {"x.txt", text(1500, "\n"), "too-many-gone"},
		"empty":      {"x.txt", text(1, "\n"), "empty"},
		"nothing":    {"x.txt", nil, "no-header"},
		"columns":    {"x.txt", []byte("a|b|c\n1|2|3\n"), "columns"},
		"broken":     {"x.txt", append(text(1<<20, "\n"), []byte(strings.Repeat("PER|x|y\n", 200))...), "too-many-refused"},
		"older":      {filepath.Base(published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 2000})), nil, "older"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.file)
			if name == "older" {
				path = published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 2000})
			} else if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := im.Import(t.Context(), extraction.Correspondances, path, Options{})
			if !fault.Is(err, fault.InvalidContent) || r.State != Refused || (c.cause != "" && r.Cause != c.cause) {
				t.Fatalf("%+v, %v", r, err)
			}
			if _, edition := part(t, im); edition != 1 {
				t.Fatal("swapped")
			}
			if n := one[int64](t, im, `SELECT count(*) FROM listing_{p}`); n < 1900 {
				t.Fatal(n)
			}
		})
	}
	all, err := im.Reports(t.Context(), 100)
	if err != nil || all[0].State != Refused || all[0].Cause == "" || all[0].FinishedAt.IsZero() {
		t.Fatalf("%+v, %v", all[0], err)
	}
	path := filepath.Join(t.TempDir(), "x.txt")
	if err := os.WriteFile(path, text(1500, "\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := im.Import(t.Context(), extraction.Correspondances, path, Options{Force: true}); err != nil || r.Gone < 400 {
		t.Fatalf("forced: %+v, %v", r, err)
	}
}

// Killed at each step, the import leaves what was read as it was, and comes to its end
// when it is run again.
func TestAnImportThatIsCutOffGoesOn(t *testing.T) {
	for _, step := range []string{"staging", "read", "committed", "staged", "index", "built", "swap"} {
		for _, d := range []extraction.Dataset{extraction.Correspondances, extraction.Activities} {
			t.Run(step+" "+string(d), func(t *testing.T) {
				t.Parallel()
				im := house(t)
				for _, d := range []extraction.Dataset{extraction.Correspondances, extraction.Activities} {
					doImport(t, im, d, published(t, d, invent.Options{Seed: 1, Size: 300}))
				}
				path := published(t, d, invent.Options{Seed: 1, Size: 300, Day: 30})
				before := one[int64](t, im, `SELECT sum(hashtextextended(l::text, 0))::bigint FROM (SELECT sum(hashtextextended(x::text, 0)) FROM listing_{p} x) l`)
				ctx, cancel := context.WithCancel(t.Context())
				im.step = func(s string) {
					if s == step {
						cancel()
					}
				}
				o := Options{MaxLoss: 1}
				if _, err := im.Import(ctx, d, path, o); err == nil {
					t.Fatal("not cut off")
				}
				if _, edition := part(t, im); edition != 2 {
					t.Fatal("swapped")
				}
				if after := one[int64](t, im, `SELECT sum(hashtextextended(l::text, 0))::bigint FROM (SELECT sum(hashtextextended(x::text, 0)) FROM listing_{p} x) l`); after != before {
					t.Fatal("what is read changed")
				}
				reads := 0
				im.step = func(s string) {
					if s == "staging" {
						reads++
					}
				}
				r, err := im.Import(t.Context(), d, path, o)
				if err != nil || r.State != Done {
					t.Fatalf("%+v, %v", r, err)
				}
				if staged := step != "staging" && step != "read" && step != "committed"; staged && reads != 0 {
					t.Error("the file was read again")
				}
				if _, edition := part(t, im); edition != 3 {
					t.Fatal(edition)
				}
				table := "listing_{p}"
				if d == extraction.Activities {
					table = "role_{p} WHERE from_activity"
				}
				if n := one[int64](t, im, `SELECT count(*) FROM `+table); n != r.Kept || r.Added == 0 || r.Gone == 0 {
					t.Fatalf("%d: %+v", n, r)
				}
				all, err := im.Reports(t.Context(), 10)
				if err != nil || len(all) != 3 {
					t.Fatalf("%d reports, %v", len(all), err)
				}
			})
		}
	}
}

func TestAFileThatChangesWhileItIsRead(t *testing.T) {
	im := house(t)
	path := published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 100})
	im.step = func(s string) {
		if s == "staging" {
			if err := os.Rename(published(t, extraction.Correspondances, invent.Options{Seed: 2, Size: 100}), path); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := im.Import(t.Context(), extraction.Correspondances, path, Options{}); !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	im.step = func(string) {}
	doImport(t, im, extraction.Correspondances, path)
}

func TestOneImportAtATime(t *testing.T) {
	im, second := house(t), (*Importer)(nil)
	second = on(im.DB)
	path := published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 100})
	im.step = func(s string) {
		if s == "staged" {
			if _, err := second.Import(t.Context(), extraction.Correspondances, path, Options{}); !fault.Is(err, fault.Conflict) {
				t.Errorf("two at once: %v", err)
			}
		}
	}
	doImport(t, im, extraction.Correspondances, path)
}

// A question that began before the last swap still reads the idle part.
func TestTheIdlePartIsTakenWhenItIsFree(t *testing.T) {
	im := house(t)
	doImport(t, im, extraction.Correspondances, published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 100}))
	tx, err := im.DB.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), `SELECT count(*) FROM listing_a`); err != nil {
		t.Fatal(err)
	}
	waits := 0
	im.step = func(s string) {
		if s == "locked-out" {
			if waits++; waits == 2 {
				tx.Rollback(context.Background())
			}
		}
	}
	doImport(t, im, extraction.Correspondances, published(t, extraction.Correspondances, invent.Options{Seed: 1, Size: 100, Day: 1}))
	if waits != 2 {
		t.Fatal(waits)
	}
}
