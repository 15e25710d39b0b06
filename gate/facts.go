package gate

import (
	"context"

	"pli/consent"
	"pli/directory"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
	"pli/policy"
)

// wanted is what a batch of questions needs to know, each thing once.
type wanted struct {
	bals      []id.BAL
	addresses []mail.Address
	accounts  map[id.Account][]id.BAL
	patients  []id.Patient
	documents []id.Document
}

// known is what the rooms answered.
type known struct {
	boxes    directory.Found
	enabled  map[id.Account]bool
	linked   map[id.Account]map[id.BAL]bool
	patients map[id.Patient]*policy.Patient
	byBAL    map[id.BAL]*policy.Patient
	stored   map[id.Document]*policy.Stored
	exchange map[consent.Pair]policy.Exchange
}

// facts gathers the facts of all questions: one query per room concerned, however many
// questions there are.
func (g *Gate) facts(ctx context.Context, q pg.Querier, qs []policy.Question) ([]policy.Facts, error) {
	w := want(qs)
	k := known{
		enabled: map[id.Account]bool{}, linked: map[id.Account]map[id.BAL]bool{},
		patients: map[id.Patient]*policy.Patient{}, byBAL: map[id.BAL]*policy.Patient{},
		stored: map[id.Document]*policy.Stored{}, exchange: map[consent.Pair]policy.Exchange{},
	}
	var err error
	if len(w.bals) > 0 || len(w.addresses) > 0 {
		if k.boxes, err = g.d.Boxes.Facts(ctx, q, w.bals, w.addresses); err != nil {
			return nil, err
		}
	}
	for a, bals := range w.accounts {
		if k.enabled[a], k.linked[a], err = g.d.Accounts.AccountFacts(ctx, q, a, bals); err != nil {
			return nil, err
		}
	}
	if err := g.askDossier(ctx, q, w, &k); err != nil {
		return nil, err
	}
	if err := g.askConsent(ctx, q, qs, &k); err != nil {
		return nil, err
	}
	now := g.d.Now().UTC()
	facts := make([]policy.Facts, len(qs))
	for i := range qs {
		facts[i] = g.factsOf(qs[i], &k)
		facts[i].Now = now
	}
	return facts, nil
}

func want(qs []policy.Question) wanted {
	w := wanted{accounts: map[id.Account][]id.BAL{}}
	for _, q := range qs {
		b := box(q)
		if b != 0 {
			w.bals = append(w.bals, b)
		}
		if a := q.Actor.Account; a != 0 {
			w.accounts[a] = append(w.accounts[a], b)
		}
		if !q.Object.To.IsZero() {
			w.addresses = append(w.addresses, q.Object.To)
		}
		if q.Object.Patient != 0 {
			w.patients = append(w.patients, q.Object.Patient)
		}
		if q.Action == policy.ReadDocument && !q.Object.Document.IsZero() {
			w.documents = append(w.documents, q.Object.Document)
		}
	}
	return w
}

// box is the BAL that the actor uses or wants to open.
func box(q policy.Question) id.BAL {
	if q.Action == policy.OpenBAL {
		return q.Object.BAL
	}
	return q.Actor.BAL
}

// askDossier asks for the dossiers named, and for those of the patients written to.
func (g *Gate) askDossier(ctx context.Context, q pg.Querier, w wanted, k *known) error {
	var bals []id.BAL
	for _, b := range k.boxes.ByAddress {
		if b.Kind == health.Patient {
			bals = append(bals, b.ID)
		}
	}
	if len(bals) > 0 || len(w.patients) > 0 {
		rows, err := g.d.Dossier.PatientFacts(ctx, q, bals, w.patients)
		if err != nil {
			return err
		}
		for i := range rows {
			k.patients[rows[i].ID] = &rows[i]
			if rows[i].BAL != 0 {
				k.byBAL[rows[i].BAL] = &rows[i]
			}
		}
	}
	if len(w.documents) == 0 {
		return nil
	}
	rows, err := g.d.Dossier.DocumentFacts(ctx, q, w.documents)
	for i := range rows {
		k.stored[rows[i].ID] = &rows[i]
	}
	return err
}

// askConsent asks for the exchanges of the patients who write.
func (g *Gate) askConsent(ctx context.Context, q pg.Querier, qs []policy.Question, k *known) error {
	var pairs []consent.Pair
	for _, question := range qs {
		if p, ok := pair(question, k); ok {
			pairs = append(pairs, p)
		}
	}
	if len(pairs) == 0 {
		return nil
	}
	states, err := g.d.Consent.States(ctx, q, pairs)
	if err != nil {
		return err
	}
	for i, s := range states {
		switch s {
		case consent.None:
			k.exchange[pairs[i]] = policy.NoExchange
		case consent.Open:
			k.exchange[pairs[i]] = policy.ExchangeOpen
		case consent.Ended:
			k.exchange[pairs[i]] = policy.ExchangeEnded
		}
	}
	return nil
}

func pair(q policy.Question, k *known) (consent.Pair, bool) {
	b, ok := k.boxes.ByID[q.Actor.BAL]
	if !ok || b.Kind != health.Patient || q.Object.To.IsZero() {
		return consent.Pair{}, false
	}
	return consent.Pair{Patient: b.ID, Peer: q.Object.To}, true
}

// factsOf picks the facts of one question.
func (g *Gate) factsOf(q policy.Question, k *known) policy.Facts {
	f := policy.Facts{Class: g.d.Class, Reading: q.Reading}
	if a := q.Actor.Account; a != 0 {
		f.Account = &policy.Account{ID: a, Enabled: policy.Is(k.enabled[a]), Linked: policy.Is(k.linked[a][box(q)])}
	}
	if b, ok := k.boxes.ByID[box(q)]; ok {
		f.Sender = g.boxFacts(b)
	}
	if !q.Object.To.IsZero() {
		f.Destination = g.destination(q.Object.To, k)
	}
	if !q.Object.From.IsZero() {
		f.FromPatient = policy.Is(g.d.Boxes.ForPatients(q.Object.From.Domain()))
	}
	if p, ok := pair(q, k); ok {
		f.Exchange = k.exchange[p]
	}
	f.Patient = k.patients[q.Object.Patient]
	f.Stored = k.stored[q.Object.Document]
	return f
}

func (g *Gate) destination(to mail.Address, k *known) *policy.Destination {
	domain := to.Domain()
	d := &policy.Destination{Domain: domain, Place: policy.Away, ForPatient: policy.Is(g.d.Boxes.ForPatients(domain))}
	if !g.d.Boxes.Local(domain) {
		switch {
		case g.d.Trust.Trusted(domain):
			d.Trusted = policy.Yes
		case g.d.Trust.Check() == nil:
			d.Trusted = policy.No
		}
		return d
	}
	d.Place, d.Exists = policy.Here, policy.No
	if b, ok := k.boxes.ByAddress[to]; ok {
		d.Exists, d.Box = policy.Yes, g.boxFacts(b)
		d.Patient = k.byBAL[b.ID]
	}
	return d
}

func (g *Gate) boxFacts(b directory.BAL) *policy.Box {
	f := &policy.Box{ID: b.ID, Kind: b.Kind, State: b.State, StateAt: b.StateAt.In(g.d.Zone),
		Terms: policy.Is(b.TermsVersion != "" && !b.TermsAt.IsZero()), OpenToPatients: policy.Is(b.OpenToPatients)}
	if b.Structure != nil {
		f.Sector = b.Structure.Sector
	}
	return f
}
