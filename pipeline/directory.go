package pipeline

import (
	"context"

	"pli/gate"
	"pli/identity"
	"pli/internal/pg"
	"pli/policy"
)

// OpenDirectory decides and traces that who asks the directory by a door, "ldap",
// "fhir", "carddav" or "web": once per bind or sign-in, never per search. What is
// searched for is in no trace. Errors: those of the gate, with their text.
func (r *Reader) OpenDirectory(ctx context.Context, who identity.SignIn, door string) error {
	q := directoryQuestion(who, door)
	return r.d.Gate.Do(ctx, []policy.Question{q}, func(context.Context, *pg.Tx, []policy.Decision) error { return nil })
}

// DirectoryStillAllowed asks the gate again, for a session that lasts: a BAL may have
// been closed, an account disabled. A permission leaves no trace, a refusal does.
// Errors: those of the gate.
func (r *Reader) DirectoryStillAllowed(ctx context.Context, who identity.SignIn, door string) error {
	d, err := r.d.Gate.Ask(ctx, directoryQuestion(who, door))
	if err != nil {
		return err
	}
	return gate.Refusal(d)
}

func directoryQuestion(who identity.SignIn, door string) policy.Question {
	return policy.Question{Action: policy.OpenDirectory, Actor: gate.Actor(who, door)}
}
