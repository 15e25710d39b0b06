// Package gate stands between whoever wants to act and the act: it gathers the facts,
// asks policy, keeps the traces and lets the act run, all in one transaction. No trace,
// no act. It holds no rule and caches no decision.
package gate

import (
	"context"
	"log/slog"
	"time"

	"pli/health"
	"pli/identity"
	"pli/internal/pg"
	"pli/policy"
)

// Deps is what a gate needs. Every field but Log is required.
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
	Log      *slog.Logger
}

// Gate is the one way from a wish to an act.
type Gate struct{ d Deps }

// New makes a gate.
func New(d Deps) *Gate { return &Gate{d: d} }

// Ask decides now, outside any transaction, as at RCPT or to draw a page. A refusal is
// traced in a transaction of its own; a permission is not, since nothing is done yet.
func (g *Gate) Ask(ctx context.Context, q policy.Question) (policy.Decision, error) {
	panic("soon")
}

// Do decides every question, traces every decision and runs act in one transaction. If
// one denies, the traces are committed, act is not run, and the first denial comes back
// as Refusal makes it.
func (g *Gate) Do(ctx context.Context, qs []policy.Question, act func(ctx context.Context, tx *pg.Tx, ds []policy.Decision) error) error {
	panic("soon")
}

// Refusal turns a denial into the fault of the rule that denied, with its text. When a
// fact was missing it is fault.Unavailable, temporary at every door. A permission is nil.
func Refusal(d policy.Decision) error { panic("soon") }

// Actor makes the actor of a signed-in account. door is "smtp", "imap" or "web"; the
// dossier is set by the caller when it is of the question.
func Actor(who identity.SignIn, door string) policy.Actor {
	return policy.Actor{Account: who.Account, BAL: who.BAL, Proof: who.Means, Means: door}
}
