package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"pli/app"
	"pli/directory"
	"pli/fault"
	"pli/health"
	"pli/mail"
)

// balCmd is the operator's register.
type balCmd struct {
	Create struct {
		PER createPER `cmd:"" name:"per" help:"A professional's own BAL."`
		ORG createORG `cmd:"" name:"org" help:"A service's BAL."`
		APP createAPP `cmd:"" name:"app" help:"A software's BAL; never in the directory."`
		CAB createCAB `cmd:"" name:"cab" help:"A practice's shared BAL."`
	} `cmd:"" help:"Make a BAL. It waits for its holder to accept the conditions of use, unless they are signed."`
	List        balListCmd   `cmd:"" help:"List BAL."`
	Show        balShowCmd   `cmd:"" help:"Show all that is kept of a BAL, and its history."`
	Set         balSetCmd    `cmd:"" help:"Change what describes a BAL, its holder or its structure."`
	Suspend     balMoveCmd   `cmd:"" help:"Stop a BAL: it receives and sends nothing, and stays readable for 90 days."`
	Resume      balResumeCmd `cmd:"" help:"Make a suspended BAL active again."`
	Close       balCloseCmd  `cmd:"" help:"Close a BAL. Its address is never given to anybody else."`
	Reopen      balReopenCmd `cmd:"" help:"Open a closed BAL again, for the same holder."`
	Purge       balPurgeCmd  `cmd:"" help:"Forget what describes a closed BAL; its address stays taken for ever."`
	AcceptTerms balTermsCmd  `cmd:"" help:"Record that the holder signed the conditions of use."`
	Import      balImportCmd `cmd:"" help:"Make and change many BAL from a CSV file."`
	Export      balExportCmd `cmd:"" help:"Write BAL as a CSV file, which import takes back."`
}

// cells gathers the columns of a sheet that a command gives.
type cells map[string]string

func (c cells) put(column string, v *string) {
	if v != nil {
		c[column] = *v
	}
}

func (c cells) yes(column string, v *bool) {
	if v != nil {
		c[column] = map[bool]string{true: "oui", false: "non"}[*v]
	}
}

// boxSettings are those of every kind.
type boxSettings struct {
	Name        *string `help:"Display name."`
	Hours       *string `help:"Opening hours."`
	Unlisted    *bool   `help:"On the liste rouge: in no directory." negatable:""`
	Rank        *string `help:"1 is the holder's preferred BAL."`
	Open        *bool   `help:"Open to patients who write first." negatable:""`
	Quota       *string `help:"Octets; 0 is the operator's default."`
	Replacement *string `help:"Address that takes its place once it is closed; empty for none."`
}

func (s boxSettings) into(c cells) {
	c.put("nom_affiche", s.Name)
	c.put("horaires", s.Hours)
	c.yes("liste_rouge", s.Unlisted)
	c.put("rang", s.Rank)
	c.yes("ouverte_aux_patients", s.Open)
	c.put("quota_octets", s.Quota)
	c.put("remplacement", s.Replacement)
}

// serviceSettings are those of ORG and APP.
type serviceSettings struct {
	Service     *string `help:"Service that the BAL belongs to."`
	Description *string `help:"What the BAL is for."`
	Responsible *string `help:"Who answers for it."`
}

func (s serviceSettings) into(c cells) {
	c.put("service", s.Service)
	c.put("description", s.Description)
	c.put("responsable", s.Responsible)
}

// personSettings are those of a holder.
type personSettings struct {
	Civility   *string `help:"Civility: M, MME, DR, PR…"`
	Family     *string `help:"Family name."`
	Given      *string `help:"Given name."`
	Profession *string `help:"Profession (TRE_G15)."`
	KnowHow    *string `help:"Savoir-faire (TRE_R38)." name:"know-how"`
	Mode       *string `help:"How the holder exercises in the structure: L, S or B."`
}

func (s personSettings) into(c cells) {
	c.put("civilite", s.Civility)
	c.put("nom", s.Family)
	c.put("prenom", s.Given)
	c.put("profession", s.Profession)
	c.put("savoir_faire", s.KnowHow)
	c.put("mode", s.Mode)
}

// placeSettings are those of a structure.
type placeSettings struct {
	Structure    *string `help:"Name of the structure."`
	TradeName    *string `help:"Trade name (enseigne)." name:"trade-name"`
	Sector       *string `help:"Sector of activity (TRE_R02)."`
	Street       *string `help:"Number and street."`
	PostalCode   *string `help:"Postal code." name:"postal-code"`
	City         *string `help:"City."`
	Department   *string `help:"Department; that of the postal code when absent."`
	Country      *string `help:"Country code."`
	Presentation *string `help:"Page of the structure: who we are."`
	Preparation  *string `help:"Page of the structure: how to prepare an admission."`
}

func (s placeSettings) into(c cells) {
	c.put("structure", s.Structure)
	c.put("enseigne", s.TradeName)
	c.put("secteur", s.Sector)
	c.put("voie", s.Street)
	c.put("code_postal", s.PostalCode)
	c.put("ville", s.City)
	c.put("departement", s.Department)
	c.put("pays", s.Country)
	c.put("presentation", s.Presentation)
	c.put("preparation", s.Preparation)
}

// newBAL is what every new BAL may have.
type newBAL struct {
	Address     string  `arg:"" help:"Address of the BAL; it never changes."`
	TermsSigned bool    `help:"The holder signed the conditions of use: the BAL is active at once." name:"terms-signed"`
	FINESS      *string `help:"FINESS of the structure." name:"finess"`
	SIRET       *string `help:"SIRET of the structure." name:"siret"`
}

func (n newBAL) into(c cells, kind health.BALKind) {
	c["adresse"], c["type"] = n.Address, string(kind)
	c.put("finess", n.FINESS)
	c.put("siret", n.SIRET)
	if n.TermsSigned {
		c["cgu"] = app.TermsVersion
	}
}

type createPersonal struct {
	newBAL
	RPPS *string `help:"National number of the holder." name:"rpps"`
	personSettings
	placeSettings
	boxSettings
}

func (p createPersonal) run(ctx context.Context, c *cli, kind health.BALKind) error {
	v := cells{}
	p.newBAL.into(v, kind)
	v.put("rpps", p.RPPS)
	p.personSettings.into(v)
	p.placeSettings.into(v)
	p.boxSettings.into(v)
	return makeBAL(ctx, c, v)
}

type createPlace struct {
	newBAL
	serviceSettings
	placeSettings
	boxSettings
}

func (p createPlace) run(ctx context.Context, c *cli, kind health.BALKind) error {
	v := cells{}
	p.newBAL.into(v, kind)
	p.serviceSettings.into(v)
	p.placeSettings.into(v)
	p.boxSettings.into(v)
	return makeBAL(ctx, c, v)
}

type (
	createPER struct{ createPersonal }
	createCAB struct{ createPersonal }
	createORG struct{ createPlace }
	createAPP struct{ createPlace }
)

func (p createPER) Run(ctx context.Context, c *cli) error { return p.run(ctx, c, health.PER) }
func (p createCAB) Run(ctx context.Context, c *cli) error { return p.run(ctx, c, health.CAB) }
func (p createORG) Run(ctx context.Context, c *cli) error { return p.run(ctx, c, health.ORG) }
func (p createAPP) Run(ctx context.Context, c *cli) error { return p.run(ctx, c, health.APP) }

func makeBAL(ctx context.Context, c *cli, v cells) error {
	return withRooms(ctx, c, func(r *app.Rooms) error {
		if _, err := r.Create(ctx, v); err != nil {
			return told(err)
		}
		fmt.Println("Boîte créée.")
		if v["cgu"] == "" {
			fmt.Println("Elle s'ouvrira quand son titulaire aura accepté les conditions d'utilisation (pli bal accept-terms, s'il les a signées).")
		}
		fmt.Println("Pour l'ouvrir dans un logiciel de messagerie : pli account app-password new", v["adresse"])
		return nil
	})
}

// withRooms opens the rooms for a command.
func withRooms(ctx context.Context, c *cli, f func(*app.Rooms) error) error {
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	return f(r)
}

// told gives a refusal the words that say what to do; other errors stay as they are.
func told(err error) error {
	if err == nil || !app.Refusal(err) {
		return err
	}
	return errors.New(fault.TextOf(err).FR)
}

type balFilter struct {
	Kind     []string `help:"Kinds: PER, ORG, APP, CAB." placeholder:"KIND"`
	State    []string `help:"States: pending, active, suspended, closed, purged. All but purged when absent." placeholder:"STATE"`
	RPPS     string   `help:"RPPS of the holder." name:"rpps"`
	Place    string   `help:"FINESS or SIRET of the structure."`
	Unlisted *bool    `help:"On the liste rouge, or not." negatable:""`
	Text     string   `help:"Text in the address, the names, the service or the structure."`
}

func (f balFilter) filter() (directory.Filter, error) {
	out := directory.Filter{RPPS: f.RPPS, Place: f.Place, Unlisted: f.Unlisted, Text: f.Text}
	for _, k := range f.Kind {
		kind := health.BALKind(strings.ToUpper(k))
		if !kind.Professional() {
			return out, fmt.Errorf("--kind : %s n'est pas un type ; il y a PER, ORG, APP, CAB", k)
		}
		out.Kinds = append(out.Kinds, kind)
	}
	for _, s := range f.State {
		switch state := health.BALState(strings.ToLower(s)); state {
		case health.Pending, health.Active, health.Suspended, health.Closed, health.Purged:
			out.States = append(out.States, state)
		default:
			return out, fmt.Errorf("--state : %s n'est pas un état ; il y a pending, active, suspended, closed, purged", s)
		}
	}
	return out, nil
}

type balListCmd struct {
	balFilter
	CSV  bool `help:"As a CSV file." name:"csv" xor:"form"`
	JSON bool `help:"As JSON." name:"json" xor:"form"`
}

func (l balListCmd) Run(ctx context.Context, c *cli) error {
	f, err := l.filter()
	if err != nil {
		return err
	}
	return withRooms(ctx, c, func(r *app.Rooms) error {
		switch {
		case l.CSV:
			return r.ExportRegister(ctx, os.Stdout, f)
		case l.JSON:
			texts := map[directory.StructureID]directory.Structure{}
			out := json.NewEncoder(os.Stdout)
			return r.ListBoxes(ctx, f, func(b directory.BAL) error {
				v, err := r.Cells(ctx, b, texts)
				if err != nil {
					return err
				}
				return out.Encode(v)
			})
		}
		return listTable(ctx, r, os.Stdout, f)
	})
}

func listTable(ctx context.Context, r *app.Rooms, out io.Writer, f directory.Filter) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ADRESSE\tTYPE\tÉTAT\tRANG\tANNUAIRE\tTITULAIRE OU SERVICE\tSTRUCTURE\tVILLE\tUTILISÉE")
	n := 0
	err := r.ListBoxes(ctx, f, func(b directory.BAL) error {
		n++
		card := b.Card()
		_, err := fmt.Fprintln(w, strings.Join([]string{b.Address.Reveal(), string(b.Kind), app.StateWord(b.State), fmt.Sprint(b.Rank),
			shownWord(b), plain(card.Name), plain(card.Structure), plain(card.City), onDay(b.UsedAt)}, "\t"))
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	fmt.Fprintf(out, "%d boîte(s)\n", n)
	return err
}

func shownWord(b directory.BAL) string {
	switch {
	case b.Unlisted:
		return "liste rouge"
	case b.Published():
		return "oui"
	}
	return "non"
}

// plain keeps a text on its line of a table, and from moving the cursor.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func onDay(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Format(time.DateOnly)
}

type balShowCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	JSON    bool   `help:"As JSON." name:"json"`
	History int    `help:"How many of the newest traces to show." default:"20"`
}

func (s balShowCmd) Run(ctx context.Context, c *cli) error {
	return withBox(ctx, c, s.Address, func(r *app.Rooms, a mail.Address) error {
		b, err := r.Directory.Find(ctx, r.DB, a)
		if err != nil {
			return told(err)
		}
		if !b.Kind.Professional() {
			return errors.New("c'est une boîte de patient : le registre n'en montre rien")
		}
		v, err := r.Cells(ctx, b, map[directory.StructureID]directory.Structure{})
		if err != nil {
			return err
		}
		if s.JSON {
			return json.NewEncoder(os.Stdout).Encode(v)
		}
		return showBAL(ctx, r, os.Stdout, b, v, s.History)
	})
}

func showBAL(ctx context.Context, r *app.Rooms, out io.Writer, b directory.BAL, v cells, history int) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range app.RegisterColumns() {
		if v[c.Name] != "" {
			fmt.Fprintf(w, "%s\t%s\n", c.Name, plain(strings.ReplaceAll(v[c.Name], "\n", " / ")))
		}
	}
	for _, d := range []struct {
		name string
		at   time.Time
	}{{"créée le", b.CreatedAt}, {"état depuis le", b.StateAt}, {"CGU acceptées le", b.TermsAt}, {"utilisée le", b.UsedAt},
		{"prévenue le", b.NoticedAt}, {"retirée de l'annuaire le", b.UnpublishedAt}} {
		if !d.at.IsZero() {
			fmt.Fprintf(w, "%s\t%s\n", d.name, onDay(d.at))
		}
	}
	fmt.Fprintf(w, "dans l'annuaire\t%s\n", shownWord(b))
	if err := w.Flush(); err != nil {
		return err
	}
	rows, err := r.History(ctx, b, history)
	if err != nil || len(rows) == 0 {
		return err
	}
	fmt.Fprintln(out, "\nHistorique, du plus récent au plus ancien")
	for _, t := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.At.Format("2006-01-02 15:04"), t.Action, t.Actor, strings.Join(t.Rules, " "))
	}
	return w.Flush()
}

type balSetCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	serviceSettings
	personSettings
	placeSettings
	boxSettings
}

func (s balSetCmd) Run(ctx context.Context, c *cli) error {
	v := cells{"adresse": s.Address}
	s.serviceSettings.into(v)
	s.personSettings.into(v)
	s.placeSettings.into(v)
	s.boxSettings.into(v)
	if len(v) == 1 {
		return errors.New("rien à changer : « pli bal set --help » donne ce qui se règle")
	}
	return withRooms(ctx, c, func(r *app.Rooms) error {
		one, err := r.Set(ctx, v)
		if err != nil {
			return told(err)
		}
		fmt.Println("Boîte", string(one.Outcome)+".", strings.Join(one.Fields, ", "))
		return nil
	})
}

type balMoveCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	Cause   string `help:"Why: a word of lower-case letters, digits and hyphens." default:"operator"`
}

// move carries out a step and says what came of it.
func (m balMoveCmd) move(ctx context.Context, c *cli, to directory.Move) error {
	to.Cause = cmp.Or(m.Cause, directory.CauseOperator)
	return withBox(ctx, c, m.Address, func(r *app.Rooms, a mail.Address) error {
		moved, err := r.Move(ctx, a, to)
		if err != nil {
			return told(err)
		}
		if !moved {
			fmt.Println("Rien à faire : cette boîte est déjà", app.StateWord(to.To)+".")
			return nil
		}
		fmt.Println("Boîte", app.StateWord(to.To)+".")
		return nil
	})
}

func (m balMoveCmd) Run(ctx context.Context, c *cli) error {
	return m.move(ctx, c, directory.Move{To: health.Suspended})
}

type balResumeCmd struct{ balMoveCmd }

func (m balResumeCmd) Run(ctx context.Context, c *cli) error {
	return withBox(ctx, c, m.Address, func(r *app.Rooms, a mail.Address) error {
		b, err := r.Directory.Find(ctx, r.DB, a)
		if err == nil && b.State == health.Closed {
			return errors.New("cette boîte est fermée ; pour la rouvrir au même titulaire : pli bal reopen ADRESSE")
		}
		if _, err := r.Move(ctx, a, directory.Move{To: health.Active, Cause: m.Cause}); err != nil {
			return told(err)
		}
		fmt.Println("Boîte active.")
		return nil
	})
}

type balCloseCmd struct {
	balMoveCmd
	Replacement string `help:"Address that the structure names instead: senders are told it."`
}

func (m balCloseCmd) Run(ctx context.Context, c *cli) error {
	to := directory.Move{To: health.Closed}
	if m.Replacement != "" {
		var err error
		if to.Replacement, err = mail.ParseAddress(m.Replacement); err != nil {
			return errors.New("--replacement : cette adresse ne peut pas exister")
		}
		if strings.EqualFold(m.Replacement, m.Address) {
			return errors.New("--replacement : une boîte ne se remplace pas elle-même")
		}
	}
	return m.move(ctx, c, to)
}

type balReopenCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	RPPS    string `help:"RPPS of the holder." name:"rpps"`
	Place   string `help:"FINESS or SIRET of the structure."`
}

func (m balReopenCmd) Run(ctx context.Context, c *cli) error {
	return withBox(ctx, c, m.Address, func(r *app.Rooms, a mail.Address) error {
		if err := r.Reopen(ctx, a, app.Holder{RPPS: m.RPPS, Place: m.Place}); err != nil {
			return told(err)
		}
		fmt.Println("Boîte active.")
		return nil
	})
}

type balPurgeCmd struct {
	balMoveCmd
	Yes bool `help:"Needed: it cannot be undone."`
}

func (m balPurgeCmd) Run(ctx context.Context, c *cli) error {
	if !m.Yes {
		return errors.New("une suppression ne se défait pas : ajoutez --yes")
	}
	return m.move(ctx, c, directory.Move{To: health.Purged})
}

type balTermsCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	Version string `help:"Edition that was signed; the present one when absent."`
}

func (m balTermsCmd) Run(ctx context.Context, c *cli) error {
	return withBox(ctx, c, m.Address, func(r *app.Rooms, a mail.Address) error {
		if err := r.AcceptTerms(ctx, a, cmp.Or(m.Version, app.TermsVersion)); err != nil {
			return told(err)
		}
		fmt.Println("Conditions acceptées.")
		return nil
	})
}

type balImportCmd struct {
	File   string `arg:"" help:"CSV file, or - for what is typed or piped." type:"path"`
	DryRun bool   `help:"Say what would be done, and do nothing." name:"dry-run"`
	Atomic bool   `help:"Do nothing unless every line can be done."`
	JSON   bool   `help:"Report as JSON." name:"json"`
	All    bool   `help:"Report unchanged lines too."`
}

// Help tells the form of the file.
func (balImportCmd) Help() string {
	var b strings.Builder
	b.WriteString("One BAL per line; the first line names the columns, in any order. UTF-8 (or Windows-1252), parted by ; or , or tabs. " +
		"A BAL that is not there is made, others are changed; a column that is absent leaves things as they are, an empty cell empties what may be empty. " +
		"What export writes and import reads again changes nothing.\n\n")
	for _, c := range app.RegisterColumns() {
		fmt.Fprintf(&b, "%s : %s\n\n", c.Name, c.Means)
	}
	return b.String()
}

func (i balImportCmd) Run(ctx context.Context, c *cli) error {
	in := io.Reader(os.Stdin)
	if i.File != "-" {
		f, err := os.Open(i.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	return withRooms(ctx, c, func(r *app.Rooms) error {
		rep, err := r.ImportRegister(ctx, in, app.ImportOptions{DryRun: i.DryRun, Atomic: i.Atomic})
		if err != nil {
			return told(err)
		}
		if i.JSON {
			if err := json.NewEncoder(os.Stdout).Encode(rep); err != nil {
				return err
			}
		} else if err := reportImport(os.Stdout, rep, i); err != nil {
			return err
		}
		if n := rep.Count[app.LineRefused]; n > 0 {
			return fmt.Errorf("%d ligne(s) refusée(s)", n)
		}
		return nil
	})
}

func reportImport(out io.Writer, rep app.ImportReport, i balImportCmd) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range rep.Lines {
		if l.Outcome == app.LineUnchanged && !i.All {
			continue
		}
		fmt.Fprintf(w, "ligne %d\t%s\t%s\t%s\n", l.Line, plain(l.Address), l.Outcome, cmp.Or(l.Cause, strings.Join(l.Fields, ", ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d créée(s), %d modifiée(s), %d inchangée(s), %d refusée(s)\n", rep.Count[app.LineCreated], rep.Count[app.LineUpdated],
		rep.Count[app.LineUnchanged], rep.Count[app.LineRefused])
	switch {
	case i.DryRun:
		fmt.Fprintln(out, "Essai seulement : rien n'a été changé.")
	case !rep.Applied:
		fmt.Fprintln(out, "Rien n'a été changé : corrigez les lignes refusées et recommencez.")
	}
	return nil
}

type balExportCmd struct {
	balFilter
	File string `arg:"" optional:"" help:"File to write, mode 0600; the screen when absent." type:"path"`
}

func (e balExportCmd) Run(ctx context.Context, c *cli) error {
	f, err := e.filter()
	if err != nil {
		return err
	}
	return withRooms(ctx, c, func(r *app.Rooms) (err error) {
		if e.File == "" {
			return r.ExportRegister(ctx, os.Stdout, f)
		}
		out, err := os.OpenFile(e.File, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, out.Close()) }()
		return r.ExportRegister(ctx, out, f)
	})
}
