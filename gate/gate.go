// Package gate stands between whoever wants to act and the act: it gathers the facts,
// asks policy, keeps the traces and lets the act run, all in one transaction. No trace,
// no act. It holds no rule and caches no decision.
//
// A message enters at Ask, once per RCPT, and at Do, once when it is deposited.
package gate

import (
	"context"
	"log/slog"
	"time"

	"pli/fault"
	"pli/health"
	"pli/identity"
	"pli/internal/pg"
	"pli/policy"
)

// Deps is what a gate needs. Every field but Log and Zone is required.
type Deps struct {
	DB       *pg.DB
	Boxes    Boxes    // directory
	Accounts Accounts // identity
	Consent  Consent  // consent
	Dossier  Dossier  // dossier
	Trust    Trust    // certs
	Audit    Audit    // audit
	Class    health.INSClass
	Now      func() time.Time
	Zone     *time.Location // of the dates that people read in refusals; nil is UTC
	Log      *slog.Logger
}

// Gate is the one way from a wish to an act. It may be used from anywhere at once.
type Gate struct{ d Deps }

// New makes a gate. It panics when a room is missing: without facts or traces the house
// does not start.
func New(d Deps) *Gate {
	if d.DB == nil || d.Boxes == nil || d.Accounts == nil || d.Consent == nil || d.Dossier == nil ||
		d.Trust == nil || d.Audit == nil || d.Now == nil {
		panic("gate.New: a room is missing")
	}
	if d.Zone == nil {
		d.Zone = time.UTC
	}
	if d.Log != nil {
		d.Log.Info("rule book", "hash", policy.RuleBookHash(), "rules", len(policy.RuleBook()))
	}
	return &Gate{d: d}
}

// Ask decides now, outside any transaction, as at RCPT or to draw a page. A refusal is
// traced in a transaction of its own, unless it only tells whether there is a reply
// button; a permission is not, since nothing is done yet. A denial is not an error:
// turn it into one with Refusal.
func (g *Gate) Ask(ctx context.Context, q policy.Question) (policy.Decision, error) {
	ds, err := g.AskAll(ctx, []policy.Question{q})
	if err != nil {
		return policy.Decision{}, err
	}
	return ds[0], nil
}

// AskAll is Ask for several questions at the cost of one.
func (g *Gate) AskAll(ctx context.Context, qs []policy.Question) ([]policy.Decision, error) {
	as, err := g.answer(ctx, g.d.DB, qs)
	if err != nil {
		return nil, pg.Error("gate.Ask", err)
	}
	var refused []answer
	for _, a := range as {
		if !a.decision.Permits() && a.question.Action != policy.Reply {
			refused = append(refused, a)
		}
	}
	if len(refused) > 0 {
		err := g.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error { return g.trace(ctx, tx, refused) })
		if err != nil {
			return nil, err
		}
	}
	return decisions(as), nil
}

// Do decides every question, runs act and traces every decision in one transaction. If
// one denies, the traces are committed, act is not run, and the first denial comes back
// as Refusal makes it. act touches the database only and may run again when the
// transaction has to (pg.DB.InTx). Chains are locked after act's own rows, which keeps
// to the lock order of the house: mailboxes, then the rest.
func (g *Gate) Do(ctx context.Context, qs []policy.Question, act func(ctx context.Context, tx *pg.Tx, ds []policy.Decision) error) error {
	if len(qs) == 0 {
		return fault.New(fault.Internal, "gate.Do", "no-question")
	}
	var refusal error
	err := g.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		refusal = nil
		as, err := g.answer(ctx, tx, qs)
		if err != nil {
			return err
		}
		for _, a := range as {
			if refusal = Refusal(a.decision); refusal != nil {
				return g.trace(ctx, tx, as)
			}
		}
		if err := act(ctx, tx, decisions(as)); err != nil {
			return err
		}
		return g.trace(ctx, tx, as)
	})
	if err != nil {
		return err
	}
	return refusal
}

// answer is a question with what was decided of it.
type answer struct {
	question policy.Question
	facts    policy.Facts
	decision policy.Decision
}

func decisions(as []answer) []policy.Decision {
	ds := make([]policy.Decision, len(as))
	for i, a := range as {
		ds[i] = a.decision
	}
	return ds
}

func (g *Gate) answer(ctx context.Context, q pg.Querier, qs []policy.Question) ([]answer, error) {
	facts, err := g.facts(ctx, q, qs)
	if err != nil {
		return nil, err
	}
	as := make([]answer, len(qs))
	for i := range qs {
		as[i] = answer{question: qs[i], facts: facts[i], decision: policy.Decide(qs[i], facts[i])}
		if err := carried(as[i].decision); err != nil {
			return nil, err
		}
	}
	return as, nil
}

// carried refuses a decision that owes what nobody here knows how to carry out. Trace is
// the gate's own; ReadOnly is handed to the act with the decision.
func carried(d policy.Decision) error {
	for _, o := range d.Obligations {
		switch o {
		case policy.Trace, policy.ReadOnly:
		default:
			return fault.New(fault.Internal, "gate", "unknown-obligation")
		}
	}
	if !d.Owes(policy.Trace) {
		return fault.New(fault.Internal, "gate", "decision-without-trace")
	}
	return nil
}

// Refusal turns a denial into the fault of the rule that denied, with its text; its code
// is the id of the rule. When only facts were missing it is fault.Unavailable, temporary
// at every door. A permission is nil.
func Refusal(d policy.Decision) error {
	r, denied := d.Denial()
	if !denied {
		return nil
	}
	text := r.Text()
	return fault.New(r.Kind(), "gate", r.Rule).Say(text.FR, text.EN)
}

// Actor makes the actor of a signed-in account. door is "smtp", "imap", "web", "ldap",
// "fhir" or "carddav"; the dossier is set by the caller when it is of the question.
func Actor(who identity.SignIn, door string) policy.Actor {
	return policy.Actor{Account: who.Account, BAL: who.BAL, Proof: who.Means, Means: door}
}
