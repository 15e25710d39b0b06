package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"pli/codec/message"
	"pli/directory/search"
	"pli/fault"
	"pli/identity"
	"pli/internal/id"
	"pli/mail"
	"pli/outbound"
	"pli/policy"
)

// Suggester names present addresses in place of one that is unknown, closed or gone
// (directory/search.Searcher): at most three, none on the liste rouge, none for a
// patient's.
type Suggester interface {
	Suggest(ctx context.Context, a mail.Address) ([]search.Suggestion, error)
}

// Usage keeps the day on which a BAL was last used (directory.Directory).
type Usage interface {
	Touch(ctx context.Context, bal id.BAL, at time.Time) error
}

// A suggestion is a favour: it never delays a reply by more than this, a search that
// takes longer is given up, and a house that is asked about many unknown addresses at a
// time answers plainly.
const (
	suggestTimeout    = 200 * time.Millisecond // of a refusal
	suggestDSNTimeout = 2 * time.Second        // of a report, in a job
	suggestAtOnce     = 4
	touchTimeout      = time.Second
)

// suggested asks for present addresses in place of a, which whoever asks may be told
// of. Nothing is asked about the domains of patients: whatever the address, the answer is
// the same and costs the same (mssante.md §6.3 rule 5). What fails is nothing.
func (p *Pipeline) suggested(ctx context.Context, a mail.Address, budget time.Duration) (found []search.Suggestion) {
	if p.d.Suggest == nil || a.IsZero() || p.d.Directory.ForPatients(a.Domain()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if !p.mySuggestion(ctx, budget) {
		return nil
	}
	defer func() {
		<-p.suggesting
		if v := recover(); v != nil {
			p.d.Log.ErrorContext(ctx, "no suggestion", "cause", fault.Panic("pipeline.suggested", v))
			found = nil
		}
	}()
	all, err := p.d.Suggest.Suggest(ctx, a)
	if err != nil {
		p.d.Log.InfoContext(ctx, "no suggestion", "kind", fault.KindOf(err).String())
		return nil
	}
	for _, s := range all {
		if present, err := mail.ParseAddress(s.Listing.Address); err == nil && present != a && !p.d.Directory.ForPatients(present.Domain()) {
			found = append(found, s)
		}
	}
	return found
}

// mySuggestion takes a turn: a report waits for one, a refusal does not.
func (p *Pipeline) mySuggestion(ctx context.Context, budget time.Duration) bool {
	select {
	case p.suggesting <- struct{}{}:
		return true
	default:
	}
	if budget <= suggestTimeout {
		return false
	}
	select {
	case p.suggesting <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// withSuggestion adds to the refusal of a recipient the address at which he is found now.
// Patients are not offered any: they could not write to it first.
func (p *Pipeline) withSuggestion(ctx context.Context, q policy.Question, patient bool, refusal error) error {
	var f *fault.Error
	if !errors.As(refusal, &f) || f.Kind != fault.NotFound && f.Kind != fault.Closed || patient {
		return refusal
	}
	if f.Code != "R-ADDR-01" && f.Code != "R-ADDR-03" { // it is not the recipient that is refused
		return refusal
	}
	found := p.suggested(ctx, q.Object.To, suggestTimeout)
	if len(found) == 0 {
		return refusal
	}
	text := fault.TextOf(refusal)
	shown := shownAddress(found[0])
	if found[0].Why == "near" {
		return f.Say(text.FR+" Adresse voisine dans l'annuaire, à vérifier : "+shown+".",
			text.EN+" A similar address in the directory, please check: "+shown+".")
	}
	return f.Say(text.FR+" Adresse actuelle trouvée dans l'annuaire : "+shown+".",
		text.EN+" Present address found in the directory: "+shown+".")
}

// shownAddress is « x@y (NOM Prénom, ville) ».
func shownAddress(s search.Suggestion) string {
	if who := shownHolder(s); who != "" {
		return s.Listing.Address + " (" + who + ")"
	}
	return s.Listing.Address
}

// shownHolder is « NOM Prénom, ville ».
func shownHolder(s search.Suggestion) string {
	var parts []string
	for _, v := range []string{s.Listing.Name(), s.Listing.Town()} {
		if v = short(v); v != "" && v != s.Listing.Address {
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, ", ")
}

// short bounds what others published, in characters, so that a refusal stays a line.
func short(s string) string {
	const most = 60
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// maxSuggestedIn is for how many recipients of one report addresses are looked for.
const maxSuggestedIn = 10

// present are the addresses that a report offers its reader for a recipient that did not
// get the message: those whose address or BAL is at fault, when the reader may write first.
func (p *Pipeline) present(ctx context.Context, to mail.Address, action outbound.Action, r outbound.ReportRecipient) (out []message.DSNPresent) {
	if action != outbound.Failed || p.d.Directory.ForPatients(to.Domain()) || !strings.HasPrefix(r.Status, "5.1.") && r.Status != "5.2.1" {
		return nil
	}
	for _, s := range p.suggested(ctx, r.Final, suggestDSNTimeout) {
		out = append(out, message.DSNPresent{Address: s.Listing.Address, Who: shownHolder(s), Why: s.Why})
	}
	return out
}

// touch notes that a BAL is used, which nothing waits for or fails with.
func touch(ctx context.Context, u Usage, log *slog.Logger, bal id.BAL, at time.Time) {
	if u == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), touchTimeout)
	defer cancel()
	if err := u.Touch(ctx, bal, at); err != nil {
		log.WarnContext(ctx, "use not noted", "bal", bal, "cause", err)
	}
}

// isPatient reports whether a patient writes.
func isPatient(who identity.SignIn) bool { return who.Kind == identity.Patient }
