package gate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pli/audit"
	"pli/health"
	"pli/internal/pg"
	"pli/policy"
)

// trace appends one trace per decision, and a second one for a patient who is written
// to by a BAL of the house, so that his own history is whole.
func (g *Gate) trace(ctx context.Context, tx *pg.Tx, as []answer) error {
	at := g.d.Now().UTC().Truncate(time.Microsecond)
	entries := make([]audit.Entry, 0, len(as))
	for _, a := range as {
		for _, chain := range chains(a) {
			entries = append(entries, audit.Entry{
				Chain: chain, Actor: actor(a.question.Actor), Action: string(a.question.Action), Object: object(a),
				Permit: a.decision.Permits(), Rules: a.decision.Rules(), Rulebook: policy.RuleBookHash(),
				Means: a.question.Actor.Means, At: at,
			})
		}
	}
	return g.d.Audit.AppendTx(ctx, tx, entries...)
}

// chains names where the trace of a decision goes: the BAL concerned, the dossier for
// what touches one, the house for the rest.
func chains(a answer) []string {
	q, f := a.question, a.facts
	switch q.Action {
	case policy.FileDocument, policy.KeepDocument, policy.ReadDocument, policy.ReadDossier:
		if f.Patient != nil {
			return []string{audit.PatientChain(f.Patient.ID)}
		}
		if f.Sender != nil {
			return []string{audit.BALChain(f.Sender.ID)}
		}
		if q.Actor.House && q.Object.BAL != 0 { // what the document job could not file stays in this BAL
			return []string{audit.BALChain(q.Object.BAL)}
		}
	case policy.OpenBAL, policy.OpenDirectory:
		if f.Sender != nil {
			return []string{audit.BALChain(f.Sender.ID)}
		}
	case policy.Submit, policy.Reply:
		if f.Sender == nil {
			return recipientChain(f)
		}
		own := []string{audit.BALChain(f.Sender.ID)}
		if d := f.Destination; a.decision.Permits() && d != nil && d.Box != nil && d.Box.Kind == health.Patient {
			own = append(own, audit.BALChain(d.Box.ID))
		}
		return own
	case policy.Receive:
		return recipientChain(f)
	}
	return []string{audit.House}
}

func recipientChain(f policy.Facts) []string {
	if f.Destination != nil && f.Destination.Box != nil {
		return []string{audit.BALChain(f.Destination.Box.ID)}
	}
	return []string{audit.House}
}

func actor(a policy.Actor) string {
	switch {
	case a.Account != 0:
		return fmt.Sprintf("account:%d", int64(a.Account))
	case a.Peer.Name != "":
		return "peer:" + a.Peer.Name
	case a.House:
		return "house"
	}
	return "nobody"
}

// object names what the act is about by opaque ids, space separated: the letter or the
// document, then the BAL or the domain at the other end. An address of ours that nobody
// bears shows its domain only.
func object(a answer) string {
	q, f := a.question, a.facts
	var parts []string
	if !q.Object.Letter.IsZero() {
		parts = append(parts, "letter:"+q.Object.Letter.String())
	}
	if !q.Object.Document.IsZero() {
		parts = append(parts, "document:"+q.Object.Document.String())
	}
	switch {
	case f.Destination != nil && f.Destination.Box != nil:
		parts = append(parts, fmt.Sprintf("bal:%d", int64(f.Destination.Box.ID)))
	case f.Destination != nil:
		parts = append(parts, "domain:"+f.Destination.Domain)
	case q.Action == policy.OpenDirectory:
		parts = append(parts, "directory")
	case q.Action == policy.OpenBAL:
		parts = append(parts, fmt.Sprintf("bal:%d", int64(q.Object.BAL)))
	case q.Object.Patient != 0:
		parts = append(parts, fmt.Sprintf("patient:%d", int64(q.Object.Patient)))
	}
	return strings.Join(parts, " ")
}
