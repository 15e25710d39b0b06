package app

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"pli/directory"
	"pli/fault"
	"pli/health"
	"pli/internal/pg"
	"pli/mail"
)

// Outcome is what became of a line.
type Outcome string

const (
	LineCreated   Outcome = "créée"
	LineUpdated   Outcome = "modifiée"
	LineUnchanged Outcome = "inchangée"
	LineRefused   Outcome = "refusée"
)

// LineReport tells what became of one line, and why it was refused or what changed.
type LineReport struct {
	Line    int      `json:"line"`
	Address string   `json:"address"`
	Outcome Outcome  `json:"outcome"`
	Cause   string   `json:"cause,omitempty"`  // in French, with what to do
	Fields  []string `json:"fields,omitempty"` // what changed
}

// ImportReport tells what became of a sheet.
type ImportReport struct {
	Lines []LineReport    `json:"lines"`
	Count map[Outcome]int `json:"count"`
	// Applied is false when nothing was kept: a dry run, or one refusal in an atomic one.
	Applied bool `json:"applied"`
}

// ImportOptions say how to carry a sheet in.
type ImportOptions struct {
	DryRun bool // keep nothing
	Atomic bool // keep nothing unless every line can be
}

// errNotKept ends a transaction whose result was only looked at.
var errNotKept = fault.New(fault.Conflict, "app.ImportRegister", "not-kept")

// ImportRegister makes and changes the BAL of a sheet, line by line. A line that is
// refused leaves no trace; the others are carried out. Again is fine.
//
// Errors: fault.Invalid, with a text, when the sheet cannot be read at all.
func (r *Rooms) ImportRegister(ctx context.Context, sheet io.Reader, o ImportOptions) (ImportReport, error) {
	lines, bad, err := readSheet(sheet)
	if err != nil {
		return ImportReport{}, err
	}
	refuseRepeats(lines, bad)
	rep := ImportReport{Applied: !o.DryRun}
	if !o.DryRun && !o.Atomic {
		for _, l := range lines {
			if bad[l.n] != nil {
				continue
			}
			var one LineReport
			err := r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) (err error) {
				one, err = r.lineTx(ctx, tx, l)
				return err
			})
			if err := rep.add(l, one, err); err != nil {
				return rep, err
			}
		}
		rep.finish(bad)
		return rep, nil
	}
	err = r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		rep.Lines = nil
		for _, l := range lines {
			if bad[l.n] != nil {
				continue
			}
			one, err := r.aloneTx(ctx, tx, l)
			if err := rep.add(l, one, err); err != nil {
				return err
			}
		}
		rep.finish(bad)
		if rep.Applied = !o.DryRun && rep.Count[LineRefused] == 0; !rep.Applied {
			return errNotKept
		}
		return nil
	})
	if errors.Is(err, errNotKept) {
		err = nil
	}
	return rep, err
}

// aloneTx carries out a line so that a refusal leaves the transaction as it was.
func (r *Rooms) aloneTx(ctx context.Context, tx *pg.Tx, l sheetLine) (one LineReport, err error) {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return one, err
	}
	if one, err = r.lineTx(ctx, &pg.Tx{Tx: inner}, l); err != nil {
		if back := inner.Rollback(ctx); back != nil {
			return one, back
		}
		return one, err
	}
	return one, inner.Commit(ctx)
}

// add notes what became of a line; an error that is no refusal comes out.
func (rep *ImportReport) add(l sheetLine, one LineReport, err error) error {
	if err != nil && !Refusal(err) {
		return err
	}
	one.Line, one.Address = l.n, l.cell("adresse")
	if err != nil {
		one.Outcome, one.Cause, one.Fields = LineRefused, fault.TextOf(err).FR, nil
	}
	rep.Lines = append(rep.Lines, one)
	return nil
}

// Refusal reports whether an error is about what was asked, and not about the house: a rule, a
// value, a conflict that says what to do.
func Refusal(err error) bool {
	var f *fault.Error
	if !errors.As(err, &f) {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.InvalidAddress, fault.Forbidden, fault.NotFound, fault.TooLarge:
		return true
	case fault.Conflict:
		return !strings.HasPrefix(fault.CodeOf(err), "sqlstate-")
	}
	return false
}

func (rep *ImportReport) finish(bad map[int]error) {
	for n, err := range bad {
		rep.Lines = append(rep.Lines, LineReport{Line: n, Outcome: LineRefused, Cause: fault.TextOf(err).FR})
	}
	slices.SortStableFunc(rep.Lines, func(a, b LineReport) int { return a.Line - b.Line })
	rep.Count = map[Outcome]int{}
	for _, l := range rep.Lines {
		rep.Count[l.Outcome]++
	}
}

var (
	personColumns    = []string{"civilite", "nom", "prenom", "profession", "savoir_faire"}
	structureColumns = []string{"structure", "enseigne", "secteur", "voie", "code_postal", "ville", "departement", "pays", "presentation", "preparation"}
)

// refuseRepeats refuses an address that is there twice, and a line that says otherwise
// than a former one about the same person or structure: the last would win, and importing
// again would change things back and forth.
func refuseRepeats(lines []sheetLine, bad map[int]error) {
	type said struct {
		line  int
		about string
	}
	before := map[string]said{}
	for _, l := range lines {
		if bad[l.n] != nil {
			continue
		}
		for _, about := range []struct {
			key     string
			columns []string
			fr, en  string
		}{
			{"a" + strings.ToLower(l.cell("adresse")), []string{"adresse"}, "Cette adresse est déjà", "This address is already"},
			{"p" + l.cell("rpps"), personColumns, "Ce titulaire est décrit autrement", "This holder is described otherwise"},
			{"f" + l.cell("finess"), structureColumns, "Cette structure est décrite autrement", "This structure is described otherwise"},
			{"s" + l.cell("siret"), structureColumns, "Cette structure est décrite autrement", "This structure is described otherwise"},
		} {
			if len(about.key) == 1 {
				continue
			}
			var b strings.Builder
			for _, c := range about.columns {
				fmt.Fprintf(&b, "%q", l.cell(c))
			}
			was, known := before[about.key]
			if known && (about.key[0] == 'a' || was.about != b.String()) {
				bad[l.n] = sheetFault("contradiction", fmt.Sprintf("%s à la ligne %d. Gardez une seule des deux.", about.fr, was.line),
					fmt.Sprintf("%s on line %d. Keep one of them.", about.en, was.line))
				break
			}
			if !known {
				before[about.key] = said{l.n, b.String()}
			}
		}
	}
}

// lineTx makes or changes the BAL of a line.
func (r *Rooms) lineTx(ctx context.Context, tx *pg.Tx, l sheetLine) (one LineReport, err error) {
	a, err := mail.ParseAddress(l.cell("adresse"))
	if err != nil {
		return one, badAddress()
	}
	b, err := r.Directory.Find(ctx, tx, a)
	if fault.Is(err, fault.NotFound) {
		if err := r.createLineTx(ctx, tx, a, l); err != nil {
			return one, err
		}
		one.Outcome = LineCreated
		if b, err = r.Directory.Find(ctx, tx, a); err != nil {
			return one, err
		}
	}
	if err != nil {
		return one, err
	}
	if err := l.same(b); err != nil {
		return one, err
	}
	changed, err := r.changeLineTx(ctx, tx, b, l)
	switch {
	case err != nil || one.Outcome == LineCreated:
	case len(changed) > 0:
		one.Outcome, one.Fields = LineUpdated, changed
	default:
		one.Outcome = LineUnchanged
	}
	return one, err
}

// Create makes one BAL from what its line of a sheet would hold, by column.
//
// Errors: those of a refused line, with a text; fault.Conflict when the address is taken.
func (r *Rooms) Create(ctx context.Context, cells map[string]string) (one LineReport, err error) {
	err = r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) (err error) {
		if one, err = r.lineTx(ctx, tx, sheetLine{cells: cells}); err == nil && one.Outcome != LineCreated {
			return fault.New(fault.Conflict, "app.Create", "address-taken").Say(
				"Cette boîte existe déjà. Pour la modifier : pli bal set ADRESSE.", "This mailbox is there already. To change it: pli bal set ADDRESS.")
		}
		return err
	})
	return one, err
}

// Set changes one BAL as a line of a sheet with these columns would.
//
// Errors: those of a refused line, with a text; fault.NotFound.
func (r *Rooms) Set(ctx context.Context, cells map[string]string) (one LineReport, err error) {
	err = r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		a, err := mail.ParseAddress(cells["adresse"])
		if err != nil {
			return badAddress()
		}
		if _, err := r.findTx(ctx, tx, a); err != nil {
			return err
		}
		one, err = r.lineTx(ctx, tx, sheetLine{cells: cells})
		return err
	})
	return one, err
}

func badAddress() error {
	return sheetFault("address", "Cette adresse ne peut pas exister : une partie locale, @, un domaine.", "This address cannot be: a local part, @, a domain.")
}

// same refuses a line about another kind or holder than the BAL's: these never change.
func (l sheetLine) same(b directory.BAL) error {
	differs := func(column, is string) error {
		v := l.filled(column)
		if v == nil || strings.EqualFold(*v, is) {
			return nil
		}
		return sheetFault("other-"+column, "La colonne « "+column+" » ne change jamais, et cette boîte en a une autre. Créez une boîte sous une autre adresse.",
			"Column \""+column+"\" never changes, and this mailbox has another. Make a mailbox under another address.")
	}
	if b.Kind == health.Patient {
		return sheetFault("patient", "Une boîte de patient ne s'importe pas. Voyez pli account create patient.", "A patient's mailbox is not imported. See pli account create patient.")
	}
	var rpps, finess, siret string
	if b.Person != nil {
		rpps = string(b.Person.RPPS)
	}
	if b.Structure != nil {
		finess, siret = string(b.Structure.FINESS), b.Structure.SIRET
	}
	return firstError(differs("type", string(b.Kind)), differs("rpps", rpps), differs("finess", finess), differs("siret", siret))
}

// firstError is the first that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Rooms) createLineTx(ctx context.Context, tx *pg.Tx, a mail.Address, l sheetLine) error {
	n, err := l.box(a)
	if err != nil {
		return err
	}
	_, err = r.createBoxTx(ctx, tx, n, nil)
	return err
}

// box is the BAL that a line makes; the rest of the line is then applied to it.
func (l sheetLine) box(a mail.Address) (NewBox, error) {
	version, err := terms(l.cell("cgu"))
	if err != nil {
		return NewBox{}, err
	}
	n := NewBox{Kind: health.BALKind(strings.ToUpper(l.cell("type"))), Address: a, Service: l.cell("service"), Mode: l.cell("mode"),
		TermsVersion: version, Pending: version == ""}
	if n.Person, n.Structure, err = Holding(n.Kind, directory.Person{RPPS: health.RPPS(l.cell("rpps")), Civility: l.cell("civilite"),
		FamilyName: l.cell("nom"), GivenName: l.cell("prenom"), Profession: l.cell("profession"), KnowHow: l.cell("savoir_faire")},
		directory.Structure{FINESS: health.FINESS(l.cell("finess")), SIRET: l.cell("siret"), Name: l.cell("structure"), TradeName: l.cell("enseigne"),
			Sector: l.cell("secteur"), Street: l.cell("voie"), PostalCode: l.cell("code_postal"), City: l.cell("ville"),
			Department: l.cell("departement"), Country: l.cell("pays"), Presentation: l.cell("presentation"), Preparation: l.cell("preparation")}); err != nil {
		return n, err
	}
	// Made unlisted at once: not even for the time of the transaction is it shown.
	if n.Unlisted, _, err = yesNo("liste_rouge", l.cell("liste_rouge")); err != nil {
		return n, err
	}
	return n, nil // its rank comes with the rest: it pushes others back
}

// Holding checks who holds a new BAL of a kind: a person with a name, and an RPPS or the
// structure that answers for him; or a structure with a FINESS or a SIRET (mssante.md
// §3.1). What is empty comes back nil.
func Holding(kind health.BALKind, p directory.Person, s directory.Structure) (*directory.Person, *directory.Structure, error) {
	refuse := func(code, fr, en string) (*directory.Person, *directory.Structure, error) {
		return nil, nil, fault.New(fault.Invalid, "app.Holding", code).Say(fr, en)
	}
	var err error
	if p.RPPS != "" {
		if p.RPPS, err = health.ParseRPPS(string(p.RPPS)); err != nil {
			return refuse("rpps", "Un RPPS a 11 chiffres, dont le dernier est une clé. Vérifiez-le.", "An RPPS has 11 digits, the last of which is a key. Check it.")
		}
	}
	if s.FINESS != "" {
		if s.FINESS, err = health.ParseFINESS(string(s.FINESS)); err != nil {
			return refuse("finess", "Un FINESS a 9 caractères. Vérifiez-le.", "A FINESS has 9 characters. Check it.")
		}
	}
	if s.SIRET != "" && (len(s.SIRET) != 14 || strings.Trim(s.SIRET, "0123456789") != "") {
		return refuse("siret", "Un SIRET a 14 chiffres. Vérifiez-le.", "A SIRET has 14 digits. Check it.")
	}
	placed := s.FINESS != "" || s.SIRET != ""
	if placed && s.Name == "" {
		return refuse("structure-name", "Donnez la raison sociale de la structure (structure).", "Give the name of the structure (structure).")
	}
	if !placed && s != (directory.Structure{Country: s.Country}) {
		return refuse("structure-number", "Une structure se donne avec son FINESS ou son SIRET.", "A structure is given with its FINESS or its SIRET.")
	}
	person, structure := &p, &s
	if !placed {
		structure = nil
	}
	switch kind {
	case health.PER, health.CAB:
		if p.FamilyName == "" {
			return refuse("no-name", "Donnez le nom du titulaire (nom), et son prénom.", "Give the holder's name (nom), and the given name.")
		}
		if p.RPPS == "" && !placed {
			return refuse("no-number", "Donnez le RPPS du titulaire, ou la structure qui répond de lui (finess ou siret).",
				"Give the holder's RPPS, or the structure that answers for him (finess or siret).")
		}
		return person, structure, nil
	case health.ORG, health.APP:
		if !placed {
			return refuse("no-structure", "Une boîte ORG ou APP appartient à une structure : donnez son FINESS ou son SIRET.",
				"An ORG or APP mailbox belongs to a structure: give its FINESS or SIRET.")
		}
		if p != (directory.Person{}) {
			return refuse("person", "Une boîte ORG ou APP n'a pas de titulaire en personne. Videz rpps, nom, prénom, civilité, profession, savoir-faire.",
				"An ORG or APP mailbox has no person. Empty rpps, names, civility, profession, know-how.")
		}
		return nil, structure, nil
	}
	return refuse("kind", "Le type est PER, ORG, APP ou CAB.", "The kind is PER, ORG, APP or CAB.")
}

// changeLineTx applies a line to a BAL that is there.
func (r *Rooms) changeLineTx(ctx context.Context, tx *pg.Tx, b directory.BAL, l sheetLine) (changed []string, err error) {
	c, err := l.alteration(b)
	if err != nil {
		return nil, err
	}
	if changed, err = r.alterTx(ctx, tx, b, c); err != nil {
		return nil, err
	}
	if v := l.cell("cgu"); v != "" && v != b.TermsVersion {
		if v, err = terms(v); err != nil {
			return nil, err
		}
		if err := r.Directory.AcceptTermsTx(ctx, tx, b.ID, v, operator, r.now()); err != nil {
			return nil, err
		}
		changed = append(changed, "terms")
		if b.State == health.Pending {
			b.State = health.Active
		}
	}
	to, err := stateOf(l.cell("etat"))
	if err != nil || to == "" || to == b.State {
		return changed, err
	}
	if to == health.Purged {
		return nil, sheetFault("purge", "Une boîte ne se supprime pas par un fichier. Utilisez pli bal purge ADRESSE.", "A mailbox is not purged by a file. Use pli bal purge ADDRESS.")
	}
	m := directory.Move{To: to, Cause: directory.CauseOperator, Author: operator, At: r.now()}
	if v := l.cell("cause"); v != "" && v != b.StateCause {
		m.Cause = v
	}
	if b.State == health.Closed {
		m.Cause = directory.CauseReopened
	}
	if _, err := r.Directory.MoveTx(ctx, tx, b.ID, m); err != nil {
		return nil, err
	}
	return append(changed, "state"), nil
}

// alteration is what a line says of a BAL beyond its state.
func (l sheetLine) alteration(b directory.BAL) (c Alteration, err error) {
	c.BAL = directory.Changes{DisplayName: l.given("nom_affiche"), Service: l.given("service"), Description: l.given("description"),
		Responsible: l.given("responsable"), Hours: l.given("horaires")}
	if b.Person != nil {
		c.Person = directory.PersonChanges{Civility: l.given("civilite"), FamilyName: l.filled("nom"), GivenName: l.given("prenom"),
			Profession: l.given("profession"), KnowHow: l.given("savoir_faire")}
		if b.Structure != nil {
			c.Mode = l.filled("mode")
		}
	} else if err := l.none("person", personColumns); err != nil {
		return c, err
	}
	if b.Structure != nil {
		c.Structure = directory.StructureChanges{Name: l.filled("structure"), TradeName: l.given("enseigne"), Sector: l.given("secteur"),
			Street: l.given("voie"), PostalCode: l.given("code_postal"), City: l.given("ville"), Department: l.given("departement"),
			Country: l.filled("pays"), Presentation: l.given("presentation"), Preparation: l.given("preparation")}
	} else if err := l.none("structure", structureColumns); err != nil {
		return c, err
	}
	if m := c.Mode; m != nil && !slices.Contains([]string{"L", "S", "B"}, *m) {
		return c, sheetFault("mode", "Le mode d'exercice est L, S ou B.", "The mode is L, S or B.")
	}
	return c, l.values(&c.BAL)
}

// none refuses cells about what a BAL has not.
func (l sheetLine) none(what string, columns []string) error {
	for _, c := range columns {
		if l.cell(c) != "" {
			return sheetFault("no-"+what, "Cette boîte n'a pas de quoi remplir la colonne « "+c+" ». Videz-la.", "This mailbox has nothing for column \""+c+"\". Empty it.")
		}
	}
	return nil
}

// values reads the cells that are no text.
func (l sheetLine) values(c *directory.Changes) error {
	for _, f := range []struct {
		column string
		to     **bool
	}{{"liste_rouge", &c.Unlisted}, {"ouverte_aux_patients", &c.OpenToPatients}} {
		v, given, err := yesNo(f.column, l.cell(f.column))
		if err != nil {
			return err
		}
		if given {
			*f.to = &v
		}
	}
	if v := l.cell("rang"); v != "" {
		n, err := rank(v)
		if err != nil {
			return err
		}
		c.Rank = &n
	}
	if v := l.cell("quota_octets"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return sheetFault("quota", "Le quota est un nombre d'octets, 0 pour celui de l'opérateur.", "The quota is a number of octets, 0 for the operator's.")
		}
		c.QuotaSize = &n
	}
	if v := l.given("remplacement"); v != nil {
		var a mail.Address
		if *v != "" {
			var err error
			if a, err = mail.ParseAddress(*v); err != nil {
				return sheetFault("replacement", "L'adresse de remplacement ne peut pas exister. Corrigez-la ou videz la case.", "The replacement cannot be an address. Mend it or empty the cell.")
			}
		}
		c.Replacement = &a
	}
	return nil
}

const exportBatch = 500

// ExportRegister writes the BAL of a filter as a sheet: UTF-8 with its mark, parted by
// semicolons, as French spreadsheets open it. Texts that a spreadsheet would take for a
// formula go out behind an apostrophe.
func (r *Rooms) ExportRegister(ctx context.Context, out io.Writer, f directory.Filter) error {
	if _, err := io.WriteString(out, "\ufeff"); err != nil {
		return err
	}
	w := csv.NewWriter(out)
	w.Comma = ';'
	names := make([]string, len(registerColumns))
	for i, c := range registerColumns {
		names[i] = c.Name
	}
	if err := w.Write(names); err != nil {
		return err
	}
	f.Limit = exportBatch
	texts := map[directory.StructureID]directory.Structure{}
	for {
		bals, err := r.Directory.List(ctx, r.DB, f)
		if err != nil {
			return err
		}
		for _, b := range bals {
			cells, err := r.Cells(ctx, b, texts)
			if err != nil {
				return err
			}
			record := make([]string, len(names))
			for i, n := range names {
				record[i] = guard(cells[n])
			}
			if err := w.Write(record); err != nil {
				return err
			}
			f.After = b.ID
		}
		if len(bals) < exportBatch {
			w.Flush()
			return w.Error()
		}
	}
}

// Cells is a BAL as a line of a sheet, by column. texts keeps the structures read.
func (r *Rooms) Cells(ctx context.Context, b directory.BAL, texts map[directory.StructureID]directory.Structure) (map[string]string, error) {
	word := map[bool]string{true: "oui", false: "non"}
	c := map[string]string{
		"adresse": b.Address.Reveal(), "type": string(b.Kind), "etat": StateWord(b.State), "cause": b.StateCause, "liste_rouge": word[b.Unlisted],
		"rang": strconv.Itoa(b.Rank), "nom_affiche": b.DisplayName, "service": b.Service, "description": b.Description, "responsable": b.Responsible,
		"horaires": b.Hours, "ouverte_aux_patients": word[b.OpenToPatients], "remplacement": b.Replacement.Reveal(),
		"quota_octets": strconv.FormatInt(b.QuotaSize, 10), "cgu": b.TermsVersion,
	}
	if p := b.Person; p != nil {
		c["rpps"], c["civilite"], c["nom"], c["prenom"] = string(p.RPPS), p.Civility, p.FamilyName, p.GivenName
		c["profession"], c["savoir_faire"] = p.Profession, p.KnowHow
	}
	if b.Structure == nil {
		return c, nil
	}
	s, ok := texts[b.Structure.ID]
	if !ok {
		var err error
		if s, err = r.Directory.StructureByID(ctx, r.DB, b.Structure.ID); err != nil {
			return nil, err
		}
		texts[s.ID] = s
	}
	c["finess"], c["siret"], c["structure"], c["enseigne"], c["secteur"] = string(s.FINESS), s.SIRET, s.Name, s.TradeName, s.Sector
	c["voie"], c["code_postal"], c["ville"], c["departement"], c["pays"] = s.Street, s.PostalCode, s.City, s.Department, s.Country
	c["presentation"], c["preparation"] = s.Presentation, s.Preparation
	if b.Person != nil {
		mode, err := r.Directory.Mode(ctx, r.DB, b.Person.ID, s.ID)
		if err != nil {
			return nil, err
		}
		c["mode"] = mode
	}
	return c, nil
}

// ListBoxes lists the BAL of a filter, all of them, in batches.
func (r *Rooms) ListBoxes(ctx context.Context, f directory.Filter, each func(directory.BAL) error) error {
	for f.Limit = exportBatch; ; {
		bals, err := r.Directory.List(ctx, r.DB, f)
		if err != nil {
			return err
		}
		for _, b := range bals {
			if err := each(b); err != nil {
				return err
			}
			f.After = b.ID
		}
		if len(bals) < exportBatch {
			return nil
		}
	}
}
