package app_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pli/app"
	"pli/audit"
	"pli/directory"
	"pli/fault"
	"pli/health"
	"pli/internal/house"
	"pli/mail"
)

const sheet = `adresse;type;cgu;liste_rouge;rang;rpps;nom;prenom;profession;mode;finess;structure;code_postal;ville;service;description;nom_affiche;etat;remplacement
karim.haddad@mss-a.example;PER;2026-11;non;1;89970000017;HADDAD;Karim;10;L;990000019;CABINET DES LILAS;75019;PARIS;;;Dr Haddad;;
secret@mss-a.example;PER;2026-11;oui;2;89970000017;HADDAD;Karim;10;L;990000019;CABINET DES LILAS;75019;PARIS;;;;;
accueil@mss-a.example;ORG;2026-11;;;;;;;;990000019;CABINET DES LILAS;75019;PARIS;Accueil;=cmd|' /C calc'!A0;;;
labo@mss-a.example;APP;2026-11;;;;;;;;990000035;LABORATOIRE DES HALLES;;;Résultats;;;;
attente@mss-a.example;CAB;;;;89970000025;MOREL;Claire;21;S;990000027;PHARMACIE;;;;;Secrétariat;attente;
ferme@mss-a.example;ORG;2026-11;;;;;;;;990000027;PHARMACIE;;;Garde;;;fermee;accueil@mss-a.example
`

func outcomes(rep app.ImportReport) string {
	var out []string
	for _, l := range rep.Lines {
		out = append(out, fmt.Sprintf("%d:%s", l.Line, l.Outcome))
	}
	return strings.Join(out, " ")
}

func carry(t *testing.T, h *house.House, sheet string, o app.ImportOptions) app.ImportReport {
	t.Helper()
	rep, err := h.ImportRegister(t.Context(), strings.NewReader(sheet), o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func count(t *testing.T, h *house.House, sql string, args ...any) (n int) {
	t.Helper()
	if err := h.DB.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func export(t *testing.T, h *house.House) string {
	t.Helper()
	var b bytes.Buffer
	if err := h.ExportRegister(t.Context(), &b, directory.Filter{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func actions(t *testing.T, h *house.House, address string) (out []string) {
	t.Helper()
	b, err := h.Directory.Find(t.Context(), h.DB, mail.MustAddress(address))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := h.History(t.Context(), b, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		out = append(out, r.Action+" "+strings.Join(r.Rules, " "))
	}
	slices.Reverse(out)
	return out
}

func TestTheRegisterInAndOut(t *testing.T) {
	h := house.Start(t, house.Options{})
	all := "2:créée 3:créée 4:créée 5:créée 6:créée 7:créée"

	// A dry run, and an atomic one with a line that cannot be, keep nothing.
	rep := carry(t, h, sheet, app.ImportOptions{DryRun: true})
	if outcomes(rep) != all || rep.Applied || count(t, h, `SELECT count(*) FROM bal`) != 0 {
		t.Fatalf("dry run: %s, applied %v", outcomes(rep), rep.Applied)
	}
	rep = carry(t, h, sheet+"x@mss-a.example;PER;;;;89970000018;X;;;;;;;;;;;;\n", app.ImportOptions{Atomic: true})
	if outcomes(rep) != all+" 8:refusée" || rep.Applied || count(t, h, `SELECT count(*) FROM bal`) != 0 ||
		count(t, h, `SELECT count(*) FROM listing_own`)+count(t, h, `SELECT count(*) FROM seal_holder WHERE purpose = 'bal'`) != 0 {
		t.Fatalf("atomic: %s, applied %v", outcomes(rep), rep.Applied)
	}

	// In, again, out, in again.
	if rep = carry(t, h, sheet, app.ImportOptions{Atomic: true}); outcomes(rep) != all || !rep.Applied {
		t.Fatalf("first: %s\n%+v", outcomes(rep), rep.Lines)
	}
	if rep = carry(t, h, sheet, app.ImportOptions{}); rep.Count[app.LineUnchanged] != 6 {
		t.Errorf("again: %s\n%+v", outcomes(rep), rep.Lines)
	}
	traces := count(t, h, `SELECT count(*) FROM trace`)
	out := export(t, h)
	if rep = carry(t, h, out, app.ImportOptions{}); rep.Count[app.LineUnchanged] != 6 {
		t.Errorf("what went out: %s\n%+v", outcomes(rep), rep.Lines)
	}
	if again := export(t, h); again != out {
		t.Errorf("the sheet changed by a round trip:\n%s\n%s", out, again)
	}
	if n := count(t, h, `SELECT count(*) FROM trace`); n != traces {
		t.Errorf("a round trip left %d traces", n-traces)
	}
	if strings.Contains(out, ";=cmd") || !strings.Contains(out, ";'=cmd") {
		t.Error("a formula goes out")
	}

	// What is shown.
	if n := count(t, h, `SELECT count(*) FROM listing_own WHERE address IN ('karim.haddad@mss-a.example', 'accueil@mss-a.example')`); n != 2 {
		t.Errorf("%d of 2 are shown", n)
	}
	if n := count(t, h, `SELECT count(*) FROM listing_own`); n != 2 {
		t.Errorf("%d listings: liste rouge, APP, pending or closed are shown", n)
	}
	if got := actions(t, h, "ferme@mss-a.example"); !slices.Equal(got, []string{"create-bal operator-command",
		"update-bal operator-command field:replacement", "set-state-closed operator-command cause:operator"}) {
		t.Errorf("traces of a closed BAL: %q", got)
	}

	// What changes, and the rest stays.
	rep = carry(t, h, "adresse,liste_rouge,horaires\nsecret@mss-a.example,non,\nkarim.haddad@mss-a.example,,9 h\n", app.ImportOptions{})
	if outcomes(rep) != "2:modifiée 3:modifiée" || !slices.Equal(rep.Lines[0].Fields, []string{"unlisted"}) || !slices.Equal(rep.Lines[1].Fields, []string{"hours"}) {
		t.Errorf("%+v", rep.Lines)
	}
	b, err := h.Directory.Find(t.Context(), h.DB, mail.MustAddress("karim.haddad@mss-a.example"))
	if err != nil || b.Unlisted || b.DisplayName != "Dr Haddad" || b.Hours != "9 h" {
		t.Errorf("%v, hours %q", err, b.Hours)
	}
	if r, err := h.Audit.Verify(t.Context()); err != nil || len(r.Faults) > 0 {
		t.Errorf("the traces do not hold: %v, %v", r.Faults, err)
	}
	refusals(t, h)
}

// refusals are lines that cannot be; each says why, and leaves the register as it was.
func refusals(t *testing.T, h *house.House) {
	if err := purge(t.Context(), h, "ferme@mss-a.example"); err != nil {
		t.Fatal(err)
	}
	before := export(t, h)
	for name, c := range map[string]struct{ sheet, says string }{
		"no address":             {"adresse;type\n;ORG\n", "adresse"},
		"no such address":        {"adresse;type\n=1+1;ORG\n", "adresse"},
		"another operator":       {"adresse;type;finess;structure\na@mss-b.example;ORG;990000019;CABINET DES LILAS\n", "operator.domains"},
		"patients":               {"adresse;type;finess;structure\n258039999904220@patient.mss-a.example;ORG;990000019;CABINET DES LILAS\n", "patients"},
		"kind":                   {"adresse;type\nn@mss-a.example;PATIENT\n", "PER, ORG, APP ou CAB"},
		"no kind":                {"adresse\nn@mss-a.example\n", "PER, ORG, APP ou CAB"},
		"rpps":                   {"adresse;type;rpps;nom\nn@mss-a.example;PER;89970000018;X\n", "RPPS"},
		"finess":                 {"adresse;type;finess;structure\nn@mss-a.example;ORG;99;X\n", "FINESS"},
		"siret":                  {"adresse;type;siret;structure\nn@mss-a.example;ORG;12;X\n", "SIRET"},
		"no number":              {"adresse;type;nom\nn@mss-a.example;PER;X\n", "RPPS"},
		"no name":                {"adresse;type;rpps\nn@mss-a.example;PER;89970000017\n", "nom"},
		"structure by name":      {"adresse;type;structure\nn@mss-a.example;ORG;X\n", "FINESS"},
		"a service's person":     {"adresse;type;finess;structure;nom\nn@mss-a.example;ORG;990000019;CABINET DES LILAS;X\n", "titulaire"},
		"a doctor's service":     {"adresse;service\nkarim.haddad@mss-a.example;Cardiologie\n", "ORG ou APP"},
		"another kind":           {"adresse;type\nkarim.haddad@mss-a.example;ORG\n", "type"},
		"another holder":         {"adresse;rpps\nkarim.haddad@mss-a.example;89970000025\n", "rpps"},
		"another structure":      {"adresse;finess\naccueil@mss-a.example;990000035\n", "finess"},
		"a tombstone":            {"adresse;type;finess;structure\nferme@mss-a.example;ORG;990000027;PHARMACIE\n", "déjà servi"},
		"back to pending":        {"adresse;etat\nkarim.haddad@mss-a.example;attente\n", "attente"},
		"purge":                  {"adresse;etat\nkarim.haddad@mss-a.example;supprimee\n", "pli bal purge"},
		"unsigned":               {"adresse;etat\nattente@mss-a.example;active\n", "conditions"},
		"state":                  {"adresse;etat\nkarim.haddad@mss-a.example;ouverte\n", "état"},
		"cause":                  {"adresse;etat;cause\nkarim.haddad@mss-a.example;suspendue;Parti !\n", "cause"},
		"yes or no":              {"adresse;liste_rouge\nkarim.haddad@mss-a.example;peut-être\n", "oui ou non"},
		"rank":                   {"adresse;rang\nkarim.haddad@mss-a.example;0\n", "rang"},
		"quota":                  {"adresse;quota_octets\nkarim.haddad@mss-a.example;-3\n", "quota"},
		"mode":                   {"adresse;mode\nkarim.haddad@mss-a.example;Z\n", "mode"},
		"replacement":            {"adresse;remplacement\nkarim.haddad@mss-a.example;nulle part\n", "remplacement"},
		"replaces itself":        {"adresse;remplacement\nkarim.haddad@mss-a.example;karim.haddad@mss-a.example\n", "elle-même"},
		"a control in a name":    {"adresse;nom_affiche\nkarim.haddad@mss-a.example;a\x1b[2Jb\n", "invisible"},
		"a name too long":        {"adresse;nom_affiche\nkarim.haddad@mss-a.example;" + strings.Repeat("x", 300) + "\n", "200"},
		"open application":       {"adresse;ouverte_aux_patients\nlabo@mss-a.example;oui\n", "patients"},
		"person without a place": {"adresse;mode;ville\naccueil@mss-a.example;;LYON\naccueil@mss-a.example;;NICE\n", "déjà à la ligne 2"},
	} {
		for _, o := range []app.ImportOptions{{DryRun: true}, {}} {
			if name == "person without a place" { // its first line is fine
				o.DryRun = true
			}
			rep := carry(t, h, c.sheet, o)
			last := rep.Lines[len(rep.Lines)-1]
			if last.Outcome != app.LineRefused || !strings.Contains(last.Cause, c.says) {
				t.Errorf("%s: %s %q, want a refusal that says %q", name, last.Outcome, last.Cause, c.says)
			}
		}
	}
	if after := export(t, h); after != before {
		t.Errorf("refusals changed the register:\n%s\n%s", before, after)
	}
}

func purge(ctx context.Context, h *house.House, address string) error {
	_, err := h.Move(ctx, mail.MustAddress(address), directory.Move{To: health.Purged, Cause: directory.CauseOperator})
	return err
}

func TestReopenForTheSameIdentityOnly(t *testing.T) {
	h := house.Start(t, house.Options{})
	carry(t, h, sheet, app.ImportOptions{})
	close := func(address string) {
		t.Helper()
		if _, err := h.Move(t.Context(), mail.MustAddress(address), directory.Move{To: health.Closed, Cause: directory.CauseHolder}); err != nil {
			t.Fatal(err)
		}
	}
	karim, desk := "karim.haddad@mss-a.example", "accueil@mss-a.example"
	reopen := func(address string, who app.Holder) string {
		return fault.CodeOf(h.Reopen(t.Context(), mail.MustAddress(address), who))
	}
	if code := reopen(karim, app.Holder{RPPS: "89970000017"}); code != "not-closed" {
		t.Errorf("open: %q", code)
	}
	close(karim)
	close(desk)
	for _, c := range []struct {
		address string
		who     app.Holder
		code    string
	}{
		{karim, app.Holder{}, "other-identity"}, {karim, app.Holder{RPPS: "89970000025"}, "other-identity"},
		{karim, app.Holder{Place: "990000019"}, "other-identity"}, {karim, app.Holder{RPPS: "89970000017"}, ""},
		{desk, app.Holder{}, "other-identity"}, {desk, app.Holder{Place: "990000027"}, "other-identity"}, {desk, app.Holder{Place: "990000019"}, ""},
		{"personne@mss-a.example", app.Holder{}, "unknown-bal"},
	} {
		if code := reopen(c.address, c.who); code != c.code {
			t.Errorf("%s by %+v: %q, want %q", c.address, c.who, code, c.code)
		}
	}
	if got := actions(t, h, karim); got[len(got)-1] != "set-state-active operator-command cause:reopened" {
		t.Errorf("%q", got)
	}
}

// The command that makes one BAL, and those that change it, have the sheet's own rules.
func TestCreateAndSet(t *testing.T) {
	h := house.Start(t, house.Options{})
	cells := map[string]string{"adresse": "Urgences@mss-a.example", "type": "ORG", "finess": "990000043", "structure": "CH", "service": "Urgences"}
	if one, err := h.Create(t.Context(), cells); err != nil || one.Outcome != app.LineCreated {
		t.Fatalf("%+v, %v", one, err)
	}
	if _, err := h.Create(t.Context(), cells); fault.CodeOf(err) != "address-taken" {
		t.Errorf("made twice: %v", err)
	}
	address := mail.MustAddress("urgences@mss-a.example")
	b, err := h.Directory.Find(t.Context(), h.DB, address)
	if err != nil || b.State != health.Pending || b.Published() {
		t.Fatalf("%s, %v", b.State, err)
	}
	if _, err := h.NewAppPassword(t.Context(), address, "poste", ""); err != nil {
		t.Errorf("nobody opens it: %v", err)
	}
	if err := h.AcceptTerms(t.Context(), address, app.TermsVersion); err != nil {
		t.Fatal(err)
	}
	if one, err := h.Set(t.Context(), map[string]string{"adresse": "urgences@mss-a.example", "presentation": "Ouvert jour et nuit", "rang": "2"}); err != nil ||
		!slices.Equal(one.Fields, []string{"presentation", "rank"}) {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := h.Set(t.Context(), map[string]string{"adresse": "x@mss-a.example", "rang": "2"}); fault.CodeOf(err) != "unknown-bal" {
		t.Errorf("unknown: %v", err)
	}
	if n := count(t, h, `SELECT count(*) FROM organization_own WHERE presentation <> ''`); n != 1 {
		t.Error("the structure's page is not shown")
	}
	rows, err := h.Audit.Read(t.Context(), audit.House, 0, 5)
	if err != nil || len(rows) == 0 || rows[0].Action != "update-structure" || !slices.Contains(rows[0].Rules, "field:presentation") {
		t.Errorf("%+v, %v", rows, err)
	}
}

// A BAL that nobody opens gets one letter, in its own inbox.
func TestTheLetterToASleeper(t *testing.T) {
	h := house.Start(t, house.Options{})
	carry(t, h, sheet, app.ImportOptions{})
	slept := time.Now().UTC().AddDate(0, -13, 0)
	if _, err := h.DB.Exec(t.Context(), `UPDATE bal SET used_at = $1 WHERE address = 'karim.haddad@mss-a.example'`, slept); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 0, 1} {
		if i == 2 { // the letter was deposited, and the note of it lost
			if _, err := h.DB.Exec(t.Context(), `UPDATE bal SET noticed_at = NULL`); err != nil {
				t.Fatal(err)
			}
		}
		n, err := h.Directory.RunCalendar(t.Context(), time.Now())
		if err != nil || n.Noticed != want || n.Suspended != 0 {
			t.Fatalf("night %d: %+v, %v", i, n, err)
		}
		if got := count(t, h, `SELECT count(*) FROM message m JOIN mailbox x ON x.id = m.mailbox_id JOIN bal b ON b.id = x.bal_id
			WHERE b.address = 'karim.haddad@mss-a.example' AND x.role = 'inbox'`); got != 1 {
			t.Fatalf("night %d: %d letters", i, got)
		}
	}
	if n := count(t, h, `SELECT count(*) FROM message`); n != 1 {
		t.Errorf("%d letters in the house", n)
	}
}

// A suspended BAL's sessions end in the same transaction.
func TestSessionsEndWithTheSituation(t *testing.T) {
	h := house.Start(t, house.Options{})
	m, err := h.CreateBox(t.Context(), app.NewBox{Kind: health.PER, Address: mail.MustAddress("roy@mss-a.example"),
		Person: &directory.Person{RPPS: "89970000033", FamilyName: "ROY", GivenName: "Alice", Profession: "10"},
		Login:  "alice.roy", Password: "une phrase assez longue pour entrer"})
	if err != nil || m.TOTPSecret == "" {
		t.Fatalf("a professional's web login: %v", err)
	}
	if _, err := h.DB.Exec(t.Context(), `INSERT INTO web_session (token_mac, account_id, level, expires_at) VALUES ('x', $1, 'two-factor', now() + interval '1 hour')`, m.Account); err != nil {
		t.Fatal(err)
	}
	if err := h.SetState(t.Context(), mail.MustAddress("roy@mss-a.example"), health.Suspended); err != nil {
		t.Fatal(err)
	}
	if n := count(t, h, `SELECT count(*) FROM web_session WHERE ended_at IS NULL`); n != 0 {
		t.Error("a session goes on")
	}
}

func TestNonIsNoEditionOfTheTerms(t *testing.T) {
	h := house.Start(t, house.Options{})
	line := "adresse;type;cgu;rpps;nom;prenom\nkarim.haddad@mss-a.example;PER;%s;89970000017;HADDAD;Karim\n"
	for _, bad := range []string{"non", "oui", "NON ", "2026 11", "-"} {
		rep := carry(t, h, fmt.Sprintf(line, bad), app.ImportOptions{})
		if outcomes(rep) != "2:refusée" || rep.Lines[0].Cause == "" {
			t.Errorf("%q made: %s", bad, outcomes(rep))
		}
	}
	if rep := carry(t, h, fmt.Sprintf(line, ""), app.ImportOptions{}); outcomes(rep) != "2:créée" {
		t.Fatal(outcomes(rep))
	}
	if rep := carry(t, h, fmt.Sprintf(line, "non"), app.ImportOptions{}); outcomes(rep) != "2:refusée" {
		t.Errorf("accepted: %s", outcomes(rep))
	}
	if n := count(t, h, `SELECT count(*) FROM bal WHERE cgu_version <> '' OR state <> 'pending'`); n != 0 {
		t.Error("terms that nobody accepted are")
	}
}
