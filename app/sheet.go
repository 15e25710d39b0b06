package app

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"pli/fault"
	"pli/health"
)

// The register as a sheet: one BAL per line, in and out. What goes out and comes in again
// changes nothing.

// RegisterColumn is a column of the sheet.
type RegisterColumn struct{ Name, Means string }

// RegisterColumns lists the columns in the order in which they go out. In, they come in
// any order; adresse is needed, a column that is absent leaves things as they are, and an
// empty cell empties what may be empty.
func RegisterColumns() []RegisterColumn { return slices.Clone(registerColumns) }

var registerColumns = []RegisterColumn{
	{"adresse", "adresse de la boîte ; ne change jamais"},
	{"type", "PER, ORG, APP ou CAB ; ne change jamais"},
	{"etat", "attente, active, suspendue ou fermée ; vide : inchangé"},
	{"cause", "pourquoi l'état change : lettres minuscules, chiffres, tirets"},
	{"liste_rouge", "oui ou non"},
	{"rang", "1 : boîte préférée du titulaire"},
	{"nom_affiche", "nom affiché"},
	{"service", "service de rattachement (ORG, APP)"},
	{"description", "à quoi sert la boîte (ORG, APP)"},
	{"responsable", "qui en répond (ORG, APP)"},
	{"horaires", "horaires d'ouverture"},
	{"ouverte_aux_patients", "oui : un patient peut y écrire le premier"},
	{"remplacement", "adresse à utiliser à la place d'une boîte fermée"},
	{"quota_octets", "0 : celui de l'opérateur"},
	{"cgu", "version des conditions d'utilisation acceptée par le titulaire"},
	{"rpps", "numéro RPPS du titulaire (PER, CAB) ; ne change jamais"},
	{"civilite", "M, MME, DR, PR…"},
	{"nom", "nom d'exercice"},
	{"prenom", "prénom d'exercice"},
	{"profession", "code profession (TRE_G15)"},
	{"savoir_faire", "code savoir-faire (TRE_R38 et suivantes)"},
	{"mode", "mode d'exercice dans la structure : L, S ou B"},
	{"finess", "FINESS de la structure ; ne change jamais"},
	{"siret", "SIRET de la structure ; ne change jamais"},
	{"structure", "raison sociale"},
	{"enseigne", "enseigne commerciale"},
	{"secteur", "secteur d'activité (TRE_R02)"},
	{"voie", "numéro et voie"},
	{"code_postal", "code postal"},
	{"ville", "commune"},
	{"departement", "département ; vide : celui du code postal"},
	{"pays", "code du pays"},
	{"presentation", "page de la structure : qui nous sommes"},
	{"preparation", "page de la structure : préparer sa venue"},
}

const (
	maxSheetSize  = 64 << 20 // octets
	maxSheetLines = 200_000
	maxCell       = 10_000 // characters
)

// sheetLine is one line of a sheet: its cells by column, those of absent columns absent.
type sheetLine struct {
	n     int // where it begins in the file, from 1
	cells map[string]string
}

func (l sheetLine) cell(name string) string { return l.cells[name] }

// given returns the cell of a column, nil when the sheet has no such column.
func (l sheetLine) given(name string) *string {
	if v, ok := l.cells[name]; ok {
		return &v
	}
	return nil
}

// filled is given, for what is never emptied.
func (l sheetLine) filled(name string) *string {
	if v := l.cells[name]; v != "" {
		return &v
	}
	return nil
}

func sheetFault(code, fr, en string) *fault.Error {
	return fault.New(fault.Invalid, "app.readSheet", code).Say(fr, en)
}

// readSheet reads a sheet: UTF-8 with or without a mark, or Windows-1252 as French
// spreadsheets write it; parted by ; or , or tabs. A line that cannot be one is in bad,
// with why; the sheet as a whole is refused when its header is not understood.
func readSheet(r io.Reader) (lines []sheetLine, bad map[int]error, err error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSheetSize+1))
	if err != nil {
		return nil, nil, err
	}
	if len(b) > maxSheetSize {
		return nil, nil, sheetFault("too-large", "Ce fichier dépasse 64 Mio. Coupez-le en plusieurs.", "This file is larger than 64 MiB. Split it.")
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if !utf8.Valid(b) {
		if b, err = charmap.Windows1252.NewDecoder().Bytes(b); err != nil {
			return nil, nil, sheetFault("not-text", "Ce fichier n'est pas du texte. Enregistrez-le en CSV UTF-8.", "This file is no text. Save it as CSV UTF-8.")
		}
	}
	c := csv.NewReader(bytes.NewReader(b))
	c.Comma = separator(b)
	c.FieldsPerRecord = -1
	names, err := c.Read()
	if err != nil {
		return nil, nil, sheetFault("no-header", "La première ligne doit nommer les colonnes : adresse;type;… (voir pli bal import --help).",
			"The first line must name the columns: adresse;type;… (see pli bal import --help).")
	}
	if err := checkHeader(names); err != nil {
		return nil, nil, err
	}
	return readLines(c, names)
}

// separator is the one of ; , and tab that the header has most of; ; when it has none.
func separator(b []byte) rune {
	head, _, _ := bytes.Cut(b, []byte("\n"))
	best := ';'
	for _, s := range []rune{',', '\t'} {
		if bytes.Count(head, []byte(string(s))) > bytes.Count(head, []byte(string(best))) {
			best = s
		}
	}
	return best
}

// checkHeader folds the names in place.
func checkHeader(names []string) error {
	seen := map[string]bool{}
	for i, n := range names {
		n = strings.ReplaceAll(strings.ToLower(health.Fold(n)), " ", "_")
		if !slices.ContainsFunc(registerColumns, func(c RegisterColumn) bool { return c.Name == n }) {
			return sheetFault("unknown-column", fmt.Sprintf("La colonne %d de l'en-tête n'est pas connue. « pli bal import --help » donne les noms.", i+1),
				fmt.Sprintf("Column %d of the header is not known. \"pli bal import --help\" gives the names.", i+1))
		}
		if seen[n] {
			return sheetFault("repeated-column", "La colonne « "+n+" » est en double dans l'en-tête.", "Column \""+n+"\" is there twice in the header.")
		}
		names[i], seen[n] = n, true
	}
	if !seen["adresse"] {
		return sheetFault("no-address-column", "Il manque la colonne « adresse ».", "Column \"adresse\" is missing.")
	}
	return nil
}

func readLines(c *csv.Reader, names []string) (lines []sheetLine, bad map[int]error, err error) {
	bad = map[int]error{}
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return lines, bad, nil
		}
		if len(lines)+len(bad) >= maxSheetLines {
			return nil, nil, sheetFault("too-many-lines", "Ce fichier dépasse 200 000 lignes. Coupez-le en plusieurs.", "This file has more than 200,000 lines. Split it.")
		}
		if err != nil { // csv goes on after the line
			n := len(lines) + len(bad) + 2
			if pe := (*csv.ParseError)(nil); errors.As(err, &pe) {
				n = pe.StartLine
			}
			bad[n] = sheetFault("quotes", "Les guillemets de cette ligne ne se ferment pas bien. Doublez ceux qui sont dans un texte.",
				"The quotes of this line do not match. Double those inside a text.")
			continue
		}
		n, _ := c.FieldPos(0)
		l := sheetLine{n: n, cells: map[string]string{}}
		if err := l.fill(names, record); err != nil {
			bad[n] = err
			continue
		}
		if slices.ContainsFunc(record, func(s string) bool { return strings.TrimSpace(s) != "" }) {
			lines = append(lines, l)
		}
	}
}

func (l sheetLine) fill(names, record []string) error {
	if len(record) != len(names) {
		return sheetFault("cells", fmt.Sprintf("Cette ligne a %d colonnes au lieu de %d.", len(record), len(names)),
			fmt.Sprintf("This line has %d columns instead of %d.", len(record), len(names)))
	}
	for i, v := range record {
		if utf8.RuneCountInString(v) > maxCell || !utf8.ValidString(v) {
			return sheetFault("cell", "La colonne « "+names[i]+" » est trop longue.", "Column \""+names[i]+"\" is too long.")
		}
		l.cells[names[i]] = strings.TrimSpace(unguard(v))
	}
	return nil
}

// guard keeps a spreadsheet from taking a text for a formula: an apostrophe goes before
// what begins as one does, and before an apostrophe, so that unguard finds the text again.
func guard(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r'", rune(s[0])) {
		return "'" + s
	}
	return s
}

func unguard(s string) string {
	if len(s) > 1 && s[0] == '\'' && strings.ContainsRune("=+-@\t\r'", rune(s[1])) {
		return s[1:]
	}
	return s
}

func rank(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 1000 {
		return 0, sheetFault("rank", "Le rang est un nombre de 1 (préférée) à 1000.", "The rank is a number from 1 (preferred) to 1000.")
	}
	return n, nil
}

// terms reads the edition of the conditions of use that was accepted: « non » is none, and
// must not be taken for one.
func terms(v string) (string, error) {
	if v == "" || len(v) <= 40 && v[0] >= '0' && v[0] <= '9' && strings.Trim(v, "0123456789abcdefghijklmnopqrstuvwxyz.-") == "" {
		return v, nil
	}
	return "", sheetFault("terms", "La version des conditions d'utilisation commence par un chiffre, par exemple 2026-11 ; laissez vide si elles ne sont pas acceptées.",
		"The edition of the conditions of use begins with a digit, such as 2026-11; leave it empty when they are not accepted.")
}

func yesNo(column, v string) (yes, given bool, err error) {
	switch strings.ToLower(v) {
	case "":
		return false, false, nil
	case "oui", "o", "1", "vrai", "true", "yes", "x":
		return true, true, nil
	case "non", "n", "0", "faux", "false", "no":
		return false, true, nil
	}
	return false, false, sheetFault("yes-no", "La colonne « "+column+" » se remplit par oui ou non.", "Column \""+column+"\" takes oui or non.")
}

// states are the words of the sheet, those that go out first.
var states = []struct {
	word  string
	state health.BALState
}{
	{"attente", health.Pending}, {"active", health.Active}, {"suspendue", health.Suspended}, {"fermée", health.Closed}, {"supprimée", health.Purged},
	{"en attente", health.Pending}, {"pending", health.Pending}, {"suspended", health.Suspended}, {"closed", health.Closed}, {"purged", health.Purged},
}

// StateWord is how a state is called in French.
func StateWord(s health.BALState) string {
	for _, w := range states {
		if w.state == s {
			return w.word
		}
	}
	return string(s)
}

func stateOf(word string) (health.BALState, error) {
	if word = health.Fold(word); word == "" {
		return "", nil
	}
	for _, w := range states {
		if health.Fold(w.word) == word {
			return w.state, nil
		}
	}
	return "", sheetFault("state", "L'état est attente, active, suspendue ou fermée.", "The state is attente, active, suspendue or fermée.")
}
