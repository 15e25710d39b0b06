package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pli/audit"
	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/policy"
)

// RecordEvent is a line of the activity history.
type RecordEvent struct {
	At     time.Time
	Who    string // « Vous », « NOM Prénom, profession, structure », a peer's domain, or « Pli »
	Kind   string // "patient", "professional" or "house"
	Action string // stable: read-document, file-document, keep-document, open-bal, submit, receive…
	What   string // in French: « a ouvert le document »
	Title  string // of the document, when it is in the record
	Doc    id.Document
	Denied bool
	Ground string // in French: why it was allowed, or why not
	Means  string
}

// historyPage is how many traces are read at a time.
const historyPage = 200

// History gives who opened, filed, kept, wrote or was refused what, and when, newest
// first, over the patient's dossier and BAL. before is the zero time for the newest; an
// event on a document that must not be told of is left out.
func (r *Record) History(ctx context.Context, who Viewer, before time.Time, limit int) ([]RecordEvent, error) {
	p, err := r.enter(ctx, who)
	if err != nil {
		return nil, err
	}
	docs, err := r.visible(ctx, p)
	if err != nil {
		return nil, err
	}
	titles := map[id.Document]string{}
	for _, d := range docs {
		titles[d.ID] = d.meta.Title
	}
	var rows []audit.Row
	chains := []string{audit.PatientChain(p.ID)}
	if who.BAL != 0 {
		chains = append(chains, audit.BALChain(who.BAL))
	}
	for _, chain := range chains {
		some, err := r.traces(ctx, chain, before, limit, func(row audit.Row) bool { return told(row, titles) })
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	slices.SortStableFunc(rows, func(a, b audit.Row) int { return b.At.Compare(a.At) })
	rows = rows[:min(limit, len(rows))]
	names, err := r.names(ctx, who, rows)
	if err != nil {
		return nil, err
	}
	events := make([]RecordEvent, len(rows))
	for i, row := range rows {
		events[i] = event(row, who, names, titles)
	}
	return events, nil
}

// traces reads a chain back from before, up to limit traces that keep keeps.
func (r *Record) traces(ctx context.Context, chain string, before time.Time, limit int, keep func(audit.Row) bool) ([]audit.Row, error) {
	var kept []audit.Row
	for seq := int64(0); len(kept) < limit; {
		rows, err := r.d.Audit.Read(ctx, chain, seq, historyPage)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			seq = row.Seq
			if (before.IsZero() || row.At.Before(before)) && keep(row) && len(kept) < limit {
				kept = append(kept, row)
			}
		}
		if len(rows) < historyPage {
			break
		}
	}
	return kept, nil
}

// told reports whether the patient is told of a trace: not of documents hidden from him
// or never filed.
func told(row audit.Row, titles map[id.Document]string) bool {
	switch policy.Action(row.Action) {
	case policy.FileDocument:
		_, known := titles[documentOf(row.Object)]
		return row.Permit && known
	case policy.ReadDocument, policy.KeepDocument:
		_, known := titles[documentOf(row.Object)]
		return known
	}
	return true
}

func documentOf(object string) id.Document {
	for part := range strings.FieldsSeq(object) {
		if s, ok := strings.CutPrefix(part, "document:"); ok {
			if d, err := id.Parse(s); err == nil {
				return d
			}
		}
	}
	return id.Document{}
}

// names turns the accounts of traces into « NOM Prénom, profession, structure ».
func (r *Record) names(ctx context.Context, who Viewer, rows []audit.Row) (map[string]string, error) {
	var accounts []id.Account
	for _, row := range rows {
		var a id.Account
		if n, err := fmt.Sscanf(row.Actor, "account:%d", &a); n == 1 && err == nil && a != who.Account && !slices.Contains(accounts, a) {
			accounts = append(accounts, a)
		}
	}
	names := map[string]string{}
	if len(accounts) == 0 {
		return names, nil
	}
	bals, err := r.d.Accounts.BALsOf(ctx, r.d.DB, accounts)
	if err != nil {
		return nil, err
	}
	for a, bs := range bals {
		for _, b := range bs {
			box, err := r.d.Boxes.ByID(ctx, r.d.DB, b)
			if fault.Is(err, fault.NotFound) || box.Kind == health.Patient {
				continue // purged, or nobody's to name
			}
			if err != nil {
				return nil, err
			}
			names[fmt.Sprintf("account:%d", int64(a))] = box.Card().Line()
			break
		}
	}
	return names, nil
}

func event(row audit.Row, who Viewer, names map[string]string, titles map[id.Document]string) RecordEvent {
	e := RecordEvent{At: row.At, Action: row.Action, Means: row.Means, Denied: !row.Permit, Doc: documentOf(row.Object)}
	e.Title = titles[e.Doc]
	domain, peer := strings.CutPrefix(row.Actor, "peer:")
	switch {
	case row.Actor == fmt.Sprintf("account:%d", int64(who.Account)):
		e.Who, e.Kind = "Vous", "patient"
	case row.Actor == "house":
		e.Who, e.Kind = "Pli", "house"
	case peer:
		e.Who, e.Kind = domain, "professional"
	default:
		e.Kind = "professional"
		if e.Who = names[row.Actor]; e.Who == "" {
			e.Who = "Un compte qui n'existe plus"
		}
	}
	e.What, e.Ground = what(row, e.Kind), ground(row)
	return e
}

// what puts an act in words that follow the actor's name.
func what(row audit.Row, kind string) string {
	self := kind == "patient"
	verb := func(you, other string) string {
		if self {
			return you
		}
		return other
	}
	var s string
	switch policy.Action(row.Action) {
	case policy.ReadDocument:
		s = verb("avez ouvert le document", "a ouvert le document")
	case policy.FileDocument:
		s = verb("avez rangé le document dans le dossier", "a rangé le document dans le dossier")
	case policy.KeepDocument:
		s = verb("avez rangé le document dans le dossier", "a rangé le document dans le dossier")
	case policy.ReadDossier:
		s = verb("avez consulté le dossier", "a consulté le dossier")
	case policy.OpenBAL:
		s = verb("avez ouvert votre messagerie", "a ouvert votre messagerie")
	case policy.OpenDirectory:
		s = verb("avez consulté l'annuaire", "a consulté l'annuaire")
	case policy.Submit:
		s = verb("avez envoyé un message", "vous a envoyé un message")
	case policy.Receive:
		s = "vous a envoyé un message"
	default:
		s = verb("avez agi sur votre dossier", "a agi sur votre dossier")
	}
	if !row.Permit {
		return s + " : refusé"
	}
	return s
}

// grounds says in words why a rule permits; the rule book holds the sources.
var grounds = map[string]string{
	"R-READ-04": "Droit de lire son propre dossier (code de la santé publique, art. L. 1111-19)",
	"R-FILE-17": "Un professionnel alimente le dossier de son patient (code de la santé publique, art. L. 1111-15)",
	"R-KEEP-02": "À votre demande",
	"R-OPEN-01": "Connexion du titulaire",
	"R-OPEN-02": "Connexion du titulaire, en lecture seule",
	"R-DIR-02":  "L'annuaire est ouvert aux patients sur le web",
	"R-RECV-01": "Message venu d'un opérateur de l'espace de confiance",
}

// ground tells on what ground an act was allowed, or the text of the rule that refused.
func ground(row audit.Row) string {
	for _, id := range row.Rules {
		if row.Permit && grounds[id] != "" {
			return grounds[id]
		}
	}
	if row.Permit {
		return ""
	}
	for _, id := range row.Rules {
		if rule, ok := policy.FindRule(id); ok && !rule.Grants {
			return rule.Text.FR
		}
	}
	return ""
}
