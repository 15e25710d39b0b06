package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pli/app"
	"pli/internal/house"
)

// settings gives the configuration of a house to the commands, by the environment.
func settings(t *testing.T, c app.Config) {
	t.Helper()
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		section, name := v.Field(i), v.Type().Field(i).Tag.Get("toml")
		for j := range section.NumField() {
			f, key := section.Field(j), section.Type().Field(j).Tag.Get("toml")
			text := fmt.Sprint(f.Interface())
			switch f.Kind() {
			case reflect.Slice:
				text = strings.Join(f.Interface().([]string), ",")
			case reflect.Map:
				continue
			case reflect.Int64:
				if d, ok := f.Interface().(app.Duration); ok {
					b, _ := d.MarshalText()
					text = string(b)
				}
			}
			if !f.IsZero() {
				t.Setenv("PLI_"+strings.ToUpper(name+"_"+key), text)
			}
		}
	}
}

// pli runs a command and returns what it printed.
func pli(t *testing.T, args ...string) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string)
	go func() { b, _ := io.ReadAll(r); out <- string(b) }()
	screen := os.Stdout
	os.Stdout = w
	err = run(t.Context(), args)
	os.Stdout = screen
	w.Close()
	return <-out, err
}

func TestTheRegisterByCommand(t *testing.T) {
	h := house.Start(t, house.Options{})
	settings(t, h.Config)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("une phrase assez longue pour entrer"), 0o600); err != nil {
		t.Fatal(err)
	}
	sheet := filepath.Join(dir, "boites.csv")
	karim, desk := "karim.haddad@mss-a.example", "accueil@mss-a.example"
	for _, c := range []struct {
		args string   // parted by spaces; ~ stands for a space
		out  []string // all of these are printed
		err  string   // the refusal has this
	}{
		{args: "bal create per " + karim + " --family HADDAD --given Karim --rpps 89970000017 --profession 10 --finess 990000019 --structure LES~LILAS --city PARIS --terms-signed",
			out: []string{"Boîte créée.", "app-password new " + karim}},
		{args: "bal create per " + karim + " --family HADDAD --rpps 89970000017", err: "pli bal set"},
		{args: "bal create org " + desk + " --finess 990000019 --structure LES~LILAS --service Accueil --responsible Mme~Roy", out: []string{"aura accepté"}},
		{args: "bal create org x@mss-a.example --service Accueil", err: "FINESS ou son SIRET"},
		{args: "bal create app labo@mss-a.example --siret 12345678901234 --structure LABO --terms-signed", out: []string{"Boîte créée."}},
		{args: "bal create cab cab@mss-a.example --family MOREL --rpps 89970000025 --unlisted --terms-signed", out: []string{"Boîte créée."}},
		{args: "bal resume " + desk, err: "pli bal accept-terms"},
		{args: "bal accept-terms " + desk, out: []string{"Conditions acceptées."}},
		{args: "bal set " + desk, err: "rien à changer"},
		{args: "bal set " + desk + " --hours 9~h~–~17~h --rank 1 --open", out: []string{"modifiée. hours, open-to-patients"}},
		{args: "bal set " + desk + " --replacement nulle~part", err: "remplacement"},
		{args: "bal list", out: []string{"ADRESSE", karim, "HADDAD Karim", "liste rouge", "4 boîte(s)"}},
		{args: "bal list --kind org --state active --text accu", out: []string{desk, "1 boîte(s)"}},
		{args: "bal list --kind zzz", err: "PER, ORG, APP, CAB"},
		{args: "bal list --csv --rpps 89970000017", out: []string{"adresse;type;etat", karim + ";PER;active"}},
		{args: "bal show " + desk, out: []string{"horaires", "9 h – 17 h", "dans l'annuaire", "update-bal", "field:hours"}},
		{args: "bal suspend " + karim + " --cause conge-long", out: []string{"Boîte suspendue."}},
		{args: "bal suspend " + karim, out: []string{"Rien à faire"}},
		{args: "bal resume " + karim, out: []string{"Boîte active."}},
		{args: "bal close " + karim + " --replacement " + karim, err: "elle-même"},
		{args: "bal close " + karim + " --replacement " + desk, out: []string{"Boîte fermée."}},
		{args: "bal resume " + karim, err: "pli bal reopen"},
		{args: "bal reopen " + karim + " --rpps 89970000025", err: "même titulaire"},
		{args: "bal reopen " + karim + " --rpps 89970000017", out: []string{"Boîte active."}},
		{args: "bal purge cab@mss-a.example", err: "--yes"},
		{args: "bal purge cab@mss-a.example --yes", err: "pli bal close"},
		{args: "bal close cab@mss-a.example", out: []string{"Boîte fermée."}},
		{args: "bal purge cab@mss-a.example --yes", out: []string{"Boîte supprimée."}},
		{args: "bal create cab cab@mss-a.example --family MOREL --rpps 89970000025", err: "déjà servi"},
		{args: "bal show personne@mss-a.example", err: "adresse"},
		{args: "bal export " + sheet},
		{args: "bal import " + sheet, out: []string{"0 créée(s), 0 modifiée(s), 3 inchangée(s), 0 refusée(s)"}},
		{args: "bal import --all " + sheet, out: []string{"ligne 2", "inchangée"}},
		{args: "bal import " + secret, err: "en-tête"},
		{args: "bal import /nulle/part.csv", err: "no such file"},
		{args: "account create professional morel@mss-a.example --family MOREL --given Claire --rpps 89970000025 --login claire.morel", err: "go together"},
		{args: "account create professional morel@mss-a.example --family MOREL --given Claire --rpps 89970000025 --login claire.morel --password " + secret,
			out: []string{"app password ", "totp secret ", "totp url "}},
		{args: "account state morel@mss-a.example suspended"},
		{args: "account state morel@mss-a.example active"},
		{args: "account state cab@mss-a.example active", err: "adresse"},
		{args: "audit verify", out: []string{" 0 faults"}},
	} {
		args := strings.Fields(c.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "~", " ")
		}
		out, err := pli(t, args...)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Fatalf("pli %s: %v, want %q\n%s", c.args, err, c.err, out)
		}
		for _, want := range c.out {
			if !strings.Contains(out, want) {
				t.Errorf("pli %s printed\n%s\nwithout %q", c.args, out, want)
			}
		}
	}
	out, err := pli(t, "bal", "list", "--json", "--text", "HADDAD")
	var cells map[string]string
	if err = errors.Join(err, json.Unmarshal([]byte(out), &cells)); err != nil || cells["adresse"] != karim || cells["rpps"] != "89970000017" {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
}
