package app

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"time"

	"pli/audit"
	"pli/codec/message"
	"pli/directory"
	"pli/fault"
	"pli/health"
	"pli/internal/pg"
	"pli/mail"
	"pli/pipeline"
)

// plugRegister gives the register what it needs of other rooms, and publishes what a
// house that is older than the directory has.
func (r *Rooms) plugRegister(ctx context.Context) error {
	c := r.Config.Register
	r.Directory.Plug(directory.Plugs{
		Traces: registerTraces{r.Audit}, Sessions: r.Identity, Now: r.now, Log: r.log,
		Calendar: &directory.Calendar{NoticeAfter: time.Duration(c.NoticeAfter), SuspendAfter: time.Duration(c.SuspendAfter),
			UnpublishAfter: time.Duration(c.UnpublishAfter)},
	})
	return r.Directory.EnsurePublished(ctx, r.now())
}

// plugLetters lets the register write to those whose BAL sleeps.
func (h *House) plugLetters(zone *time.Location) {
	cfg := h.Config.Operator
	from := message.Person{Name: cmp.Or(cfg.Name, cfg.Hostname), Address: cmp.Or(cfg.Contact, "postmaster@"+cfg.Hostname)}
	h.Directory.Plug(directory.Plugs{Letters: sleepLetters{h.Pipeline, from, cfg.Contact, zone, h.now}})
}

// registerTraces keeps the acts of the register in the audit chains: a cause and the
// fields that changed stand among the rules.
type registerTraces struct{ log *audit.Log }

// what speaks for a change, by its means
var registerRules = map[string]string{
	directory.ByCommand: "operator-command", directory.ByWeb: "holder", directory.ByUse: "holder",
	directory.ByJob: "inactivity-calendar", directory.ByImport: "national-directory",
}

func (t registerTraces) TraceTx(ctx context.Context, tx *pg.Tx, acts ...directory.Act) error {
	entries := make([]audit.Entry, len(acts))
	for i, a := range acts {
		e := audit.Entry{Chain: audit.House, Actor: "house", Action: a.Action, Object: a.Object, Permit: true,
			Rules: []string{registerRules[a.Author.Means]}, Means: a.Author.Means, At: a.At}
		if a.BAL != 0 {
			e.Chain = audit.BALChain(a.BAL)
		}
		if a.Author.Account != 0 {
			e.Actor = fmt.Sprintf("account:%d", int64(a.Author.Account))
		}
		if a.Cause != "" {
			e.Rules = append(e.Rules, "cause:"+a.Cause)
		}
		for _, f := range a.Fields {
			e.Rules = append(e.Rules, "field:"+f)
		}
		entries[i] = e
	}
	return t.log.AppendTx(ctx, tx, entries...)
}

// sleepLetters writes to those whose BAL sleeps (directory.Letters).
type sleepLetters struct {
	pipeline interface {
		Notice(ctx context.Context, n pipeline.Notice) error
	}
	from    message.Person
	contact string
	zone    *time.Location
	now     func() time.Time
}

// Sleeping deposits the letter in the BAL that sleeps, once for the same day of last use.
// A BAL that may get none any more is not an error.
func (s sleepLetters) Sleeping(ctx context.Context, to mail.Address, since, suspended time.Time) error {
	var b bytes.Buffer
	err := message.Compose(&b, message.Draft{From: s.from, To: []message.Person{{Address: to.Reveal()}}, At: s.now().In(s.zone),
		Subject: "Votre boîte n'est plus utilisée – Your mailbox is not used any more", Text: s.text(since, suspended)})
	if err != nil {
		return err
	}
	err = s.pipeline.Notice(ctx, pipeline.Notice{To: to, Body: &b, Key: "sleeping|" + to.Reveal() + "|" + since.Format(time.DateOnly)})
	switch fault.KindOf(err) {
	case fault.Closed, fault.NotFound, fault.Withheld:
		return nil
	}
	return err
}

func (s sleepLetters) text(since, suspended time.Time) string {
	day := func(t time.Time) string { return t.In(s.zone).Format("02/01/2006") }
	fr := "Bonjour,\n\nVotre boîte n'a pas été ouverte depuis le " + day(since) + ".\n"
	en := "Hello,\n\nYour mailbox has not been opened since " + day(since) + " (day/month/year).\n"
	if !suspended.IsZero() {
		fr += "Si vous ne l'ouvrez pas, elle sera suspendue le " + day(suspended) + " : elle ne recevra plus de messages.\n"
		en += "Unless you open it, it will be suspended on " + day(suspended) + ": it will receive no more messages.\n"
	}
	fr += "\nPour la garder, ouvrez-la simplement, ou écrivez un message.\n"
	en += "\nTo keep it, simply open it, or write a message.\n"
	if s.contact != "" {
		fr += "Si elle ne vous sert plus, demandez sa fermeture à " + s.contact + ".\n"
		en += "If you need it no more, ask " + s.contact + " to close it.\n"
	}
	return fr + "\n\n" + en
}

// operator is who types commands.
var operator = directory.Author{Means: directory.ByCommand}

// SetState moves a BAL along its life. Staying where it is is fine.
func (r *Rooms) SetState(ctx context.Context, a mail.Address, to health.BALState) error {
	_, err := r.Move(ctx, a, directory.Move{To: to, Cause: directory.CauseOperator})
	return err
}

// Move moves a BAL along its life, by the operator's hand, and reports whether it was
// elsewhere. Errors: those of directory.MoveTx.
func (r *Rooms) Move(ctx context.Context, a mail.Address, m directory.Move) (moved bool, err error) {
	m.Author, m.At = operator, r.now()
	err = r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		b, err := r.findTx(ctx, tx, a)
		if err != nil {
			return err
		}
		moved, err = r.Directory.MoveTx(ctx, tx, b.ID, m)
		return err
	})
	return moved, err
}

// findTx finds the BAL of a command, purged ones not.
func (r *Rooms) findTx(ctx context.Context, q pg.Querier, a mail.Address) (directory.BAL, error) {
	b, err := r.Directory.Find(ctx, q, a)
	if fault.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "app.findTx", "unknown-bal").Say(
			"Aucune boîte n'a cette adresse. « pli bal list » montre celles qui existent.",
			"No mailbox has this address. \"pli bal list\" shows those that exist.")
	}
	return b, err
}

// Holder proves who a BAL is opened again for: the number it was made under.
type Holder struct {
	RPPS  string // of a PER or CAB
	Place string // FINESS or SIRET, of an ORG or APP
}

// Reopen makes a closed BAL active again, for the same identity only (mssante.md §3.4).
func (r *Rooms) Reopen(ctx context.Context, a mail.Address, h Holder) error {
	const op = "app.Reopen"
	return r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		b, err := r.findTx(ctx, tx, a)
		if err != nil {
			return err
		}
		if b.State != health.Closed {
			return fault.New(fault.Conflict, op, "not-closed").Say(
				"Cette boîte n'est pas fermée. Pour une boîte suspendue : pli bal resume ADRESSE.",
				"This mailbox is not closed. For a suspended one: pli bal resume ADDRESS.")
		}
		if !h.holds(b) {
			return fault.New(fault.Forbidden, op, "other-identity").Say(
				"Une boîte fermée ne se rouvre qu'au même titulaire : donnez son RPPS (--rpps), ou le FINESS ou SIRET de la structure (--place).",
				"A closed mailbox opens again for the same holder only: give the RPPS (--rpps), or the FINESS or SIRET of the structure (--place).")
		}
		_, err = r.Directory.MoveTx(ctx, tx, b.ID, directory.Move{To: health.Active, Cause: directory.CauseReopened, Author: operator, At: r.now()})
		return err
	})
}

// holds reports whether a BAL was made under this number. One made without a number has
// only its row to tell whose it is.
func (h Holder) holds(b directory.BAL) bool {
	if p := b.Person; p != nil && p.RPPS != "" {
		return string(p.RPPS) == h.RPPS
	}
	if s := b.Structure; s != nil && (s.FINESS != "" || s.SIRET != "") {
		return h.Place != "" && (string(s.FINESS) == h.Place || s.SIRET == h.Place)
	}
	return true
}

// AcceptTerms records that a holder signed the conditions of use on paper.
func (r *Rooms) AcceptTerms(ctx context.Context, a mail.Address, version string) error {
	return r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		b, err := r.findTx(ctx, tx, a)
		if err != nil {
			return err
		}
		return r.Directory.AcceptTermsTx(ctx, tx, b.ID, version, operator, r.now())
	})
}

// Alteration is what the operator changes about a BAL, its holder and its structure.
type Alteration struct {
	BAL       directory.Changes
	Person    directory.PersonChanges
	Structure directory.StructureChanges
	Mode      *string // mode d'exercice of the person in the structure
}

// Alter changes a BAL, its holder and its structure, in one transaction, and returns the
// names of the fields that changed.
func (r *Rooms) Alter(ctx context.Context, a mail.Address, c Alteration) (changed []string, err error) {
	err = r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		b, err := r.findTx(ctx, tx, a)
		if err != nil {
			return err
		}
		changed, err = r.alterTx(ctx, tx, b, c)
		return err
	})
	return changed, err
}

func (r *Rooms) alterTx(ctx context.Context, tx *pg.Tx, b directory.BAL, c Alteration) (changed []string, err error) {
	const op = "app.alterTx"
	if c.Person != (directory.PersonChanges{}) {
		if b.Person == nil {
			return nil, fault.New(fault.Invalid, op, "no-person").Say(
				"Cette boîte n'a pas de titulaire en personne : nom, profession et civilité ne s'y règlent pas.",
				"This mailbox has no person: name, profession and civility cannot be set on it.")
		}
		if changed, err = r.Directory.UpdatePersonTx(ctx, tx, b.Person.ID, c.Person, operator, r.now()); err != nil {
			return nil, err
		}
	}
	if c.Structure != (directory.StructureChanges{}) || c.Mode != nil {
		more, err := r.alterPlaceTx(ctx, tx, b, c)
		if err != nil {
			return nil, err
		}
		changed = append(changed, more...)
	}
	more, err := r.Directory.UpdateBALTx(ctx, tx, b.ID, c.BAL, operator, r.now())
	return append(changed, more...), err
}

func (r *Rooms) alterPlaceTx(ctx context.Context, tx *pg.Tx, b directory.BAL, c Alteration) (changed []string, err error) {
	if b.Structure == nil {
		return nil, fault.New(fault.Invalid, "app.alterTx", "no-structure").Say(
			"Cette boîte n'a pas de structure : créez une boîte rattachée à elle.",
			"This mailbox has no structure: make a mailbox that belongs to it.")
	}
	if changed, err = r.Directory.UpdateStructureTx(ctx, tx, b.Structure.ID, c.Structure, operator, r.now()); err != nil {
		return nil, err
	}
	if c.Mode != nil && b.Person != nil {
		differs, err := r.Directory.UpdateModeTx(ctx, tx, b.Person.ID, b.Structure.ID, *c.Mode, operator, r.now())
		if err != nil {
			return nil, err
		}
		if differs {
			changed = append(changed, "mode")
		}
	}
	return changed, nil
}

// History is the newest traces of a BAL, at most limit.
func (r *Rooms) History(ctx context.Context, b directory.BAL, limit int) ([]audit.Row, error) {
	return r.Audit.Read(ctx, audit.BALChain(b.ID), 0, limit)
}
