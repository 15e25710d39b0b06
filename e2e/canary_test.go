package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"pli/app"
	"pli/internal/pgserver"
)

// config reads the configuration of an operator of the demo.
func (d *demo) config(t *testing.T, operator int) app.Config {
	t.Helper()
	cfg, err := app.Load(filepath.Join(d.dir, string(rune('a'+operator)), "pli.toml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestNothingStoredTellsAboutAPerson sends marked words in every place a message has,
// to every kind of recipient, and then looks for them in all that is kept: database
// dump, data files and journal, blobs, Redis, logs, metrics, temporary files.
func TestNothingStoredTellsAboutAPerson(t *testing.T) {
	karim, jeanne := house.who(t, "karim.haddad"), house.who(t, "jeanne")
	words := map[string]string{}
	for _, place := range []string{"sujet", "texte", "fichier", "contenu", "nom", "champ"} {
		words[place] = mark("canari" + place)
	}
	file := filepath.Join(t.TempDir(), words["fichier"]+".txt")
	if err := os.WriteFile(file, []byte(strings.Repeat("La phrase "+words["contenu"]+" est dans la pièce jointe.\n", 50)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"claire.morel@mss-a.example", "alice.roy@mss-b.example", jeanne.Address, "inconnu." + words["nom"] + "@mss-b.example"} {
		out, code := house.swaks(t, karim, to, "--h-Subject", "Au sujet de "+words["sujet"], "--body", "Le malade "+words["texte"]+" va mieux.",
			"--h-From", fmt.Sprintf("%q <%s>", words["nom"], karim.Address), "--add-header", "X-Essai: "+words["champ"],
			"--attach-type", "text/plain", "--attach-name", filepath.Base(file), "--attach", "@"+file)
		if code != 0 {
			t.Fatalf("exit %d\n%s", code, out)
		}
	}
	alice := house.who(t, "alice.roy")
	eventually(t, "the marked message arrives", func() bool { return len(house.find(t, alice, "INBOX", words["sujet"])) == 1 })
	// Read it too: reading writes views, flags and traces.
	uid := house.find(t, alice, "INBOX", words["sujet"])[0]
	if got := house.fetch(t, alice, "INBOX", uid); !strings.Contains(got, words["texte"]) {
		t.Fatal("the marked sentence cannot be read: nothing is tested")
	}
	house.browseAsPatient(t, jeanne)
	eventually(t, "the failure is told", func() bool { return len(house.find(t, karim, "INBOX", "Undelivered")) > 0 || house.anyNew(t, karim) })

	marks := map[string][]byte{"INS": []byte(jeanne.INS), "domain address of a patient": []byte(jeanne.Address)}
	for place, w := range words {
		marks[place] = []byte(w)
	}
	// A dump writes bytea in hexadecimal.
	for place, m := range maps.Clone(marks) {
		marks[place+", in hexadecimal"] = []byte(hex.EncodeToString(m))
	}
	look := func(where string, text []byte) {
		for place, m := range marks {
			if i := bytes.Index(text, m); i >= 0 {
				t.Errorf("%s: the mark of the %s is there: …%q…", where, place, text[max(0, i-40):min(len(text), i+60)])
			}
		}
	}
	for i := range house.Operators {
		house.lookInDatabase(t, i, look)
		house.lookInMetrics(t, i, look)
	}
	house.lookInRedis(t, look)
	house.lookInFiles(t, look)
}

// anyNew reports whether a DSN came.
func (d *demo) anyNew(t *testing.T, a account) bool {
	out := d.imap(t, a, "INBOX", "UID SEARCH HEADER Content-Type multipart/report")
	return strings.Contains(out, "* SEARCH ")
}

func (d *demo) lookInDatabase(t *testing.T, i int, look func(string, []byte)) {
	t.Helper()
	dsn := d.config(t, i).Database.DSN
	bin, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	dump := exec.Command(filepath.Join(bin, "pg_dump"), "--dbname", strings.TrimSpace(dsn))
	out, err := dump.Output()
	if err != nil {
		// Debian has pg_dump in the same folder; others may not ship it.
		t.Fatalf("pg_dump: %v", err)
	}
	if !bytes.Contains(out, []byte("CREATE TABLE public.letter")) {
		t.Fatal("the dump holds no letters")
	}
	look("database "+d.Operators[i].Domain, out)
	// bytea goes out as hexadecimal in a dump: look at the values as they are, too.
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
}

func (d *demo) lookInMetrics(t *testing.T, i int, look func(string, []byte)) {
	t.Helper()
	resp, err := http.Get(d.Operators[i].Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(b, []byte("pli_")) {
		t.Errorf("metrics: %v, %d octets, none of ours", err, len(b))
	}
	look("metrics", b)
}

func (d *demo) lookInRedis(t *testing.T, look func(string, []byte)) {
	t.Helper()
	opt, err := redis.ParseURL(d.config(t, 0).Redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opt)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	look("redis keys", []byte(strings.Join(keys, "\n")))
	for _, k := range keys {
		v, err := c.Dump(ctx, k).Result()
		if err == nil {
			look("redis value", []byte(v))
		}
	}
}

// lookInFiles reads every file that the demo wrote: the database's own files and its
// journal, blobs, logs, spools; and the system's temporary folder.
func (d *demo) lookInFiles(t *testing.T, look func(string, []byte)) {
	t.Helper()
	dirs := []string{d.dir}
	for _, op := range d.Operators {
		for _, p := range op.Data {
			if p = d.path(p); !strings.HasPrefix(p, d.dir) {
				dirs = append(dirs, p)
			}
		}
	}
	temporary, _ := filepath.Glob(filepath.Join(os.TempDir(), "pli-[0-9]*"))
	files := 0
	for _, dir := range append(dirs, temporary...) {
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil {
				if os.IsNotExist(err) {
					return nil
				}
				return err
			}
			name := filepath.Base(path)
			if !e.Type().IsRegular() || name == "secrets.json" || name == "demo.json" {
				return nil // those two are for people: they name the cast
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return nil // gone meanwhile
			}
			files++
			look(path, b)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 100 {
		t.Fatalf("only %d files looked at", files)
	}
}
