package policy

import (
	"slices"
	"strings"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
)

// Rules about who writes to whom.

var (
	reaching = []Action{Submit, Reply, Receive}
	fromPeer = []Action{Receive}

	// An unknown matricule, a wrong key, a closed space and an opposition read the same
	// (mssante.md §6.3 rule 5), and like any address that does not exist.
	unknownAddress = fault.Text{FR: "Cette adresse n'existe pas (ou plus).", EN: "This address does not exist (any more)."}
	notOperator    = fault.Text{FR: "Votre certificat n'est pas celui d'un opérateur de l'espace de confiance.", EN: "Your certificate is not that of an operator of the trusted circle."}
)

// PharmacySectors are the sectors of activity (TRE_R02) whose ORG BAL take patients'
// messages always (mssante.md §6.3 rule 1).
func PharmacySectors() []string { return []string{"SA33", "SA38", "SA39", "SA65"} }

var mailRules = []Rule{
	{
		ID: "R-PEER-01", Actions: fromPeer,
		Meaning: "The peer's certificate is in the white list, with at least one domain.",
		Source:  "mssante.md §2, §12.2",
		Fault:   fault.Untrusted, Text: notOperator,
		check: func(q Question, _ Facts) verdict { return denyIf(len(q.Actor.Peer.Domains) == 0) },
	},
	{
		ID: "R-PEER-02", Actions: fromPeer,
		Meaning: "The reverse-path is empty or in a domain that the peer's certificate may send for.",
		Source:  "mssante.md §12.2; RFC 5321 §4.5.5",
		Fault:   fault.Untrusted,
		Text: fault.Text{FR: "Ce certificat n'envoie pas pour le domaine de l'expéditeur.",
			EN: "This certificate does not send for the domain of the sender."},
		check: func(q Question, _ Facts) verdict { return denyIf(!ownsReversePath(q)) },
	},
	{
		ID: "R-RELAY-01", Actions: fromPeer,
		Meaning: "A peer brings messages for our own domains.",
		Source:  "mssante.md §12.2",
		Fault:   fault.Forbidden,
		Text:    fault.Text{FR: "Relais refusé : ce domaine n'est pas chez nous.", EN: "Relay denied: this domain is not ours."},
		check: func(_ Question, f Facts) verdict {
			if f.Destination == nil || f.Destination.Place == Nowhere {
				return missing
			}
			return denyIf(f.Destination.Place != Here)
		},
	},
	{
		ID: "R-DOM-01", Actions: writing,
		Meaning: "Mail leaves for domains of the white list only.",
		Source:  "mssante.md §3.3, §12.2; ux.md §6.6",
		Fault:   fault.Untrusted,
		Text: fault.Text{FR: "{domain} ne fait pas partie de l'espace de confiance. Rien n'a été envoyé.",
			EN: "{domain} is not part of the trusted circle. Nothing was sent."},
		check: func(_ Question, f Facts) verdict {
			if f.Destination == nil || f.Destination.Place == Nowhere {
				return missing
			}
			if f.Destination.Place == Here {
				return silent
			}
			return need(f.Destination.Trusted)
		},
	},
	{
		ID: "R-PAT-01", Actions: writing,
		Meaning: "A patient does not write to a patient.",
		Source:  "mssante.md §6.1",
		Fault:   fault.Forbidden,
		Text: fault.Text{FR: "Un message de votre espace va à un soignant, jamais à un autre patient.",
			EN: "A message from your space goes to a carer, never to another patient."},
		check: func(q Question, f Facts) verdict {
			if !patientWrites(q, f) || f.Destination == nil {
				return silent
			}
			return forbid(f.Destination.ForPatient)
		},
	},
	{
		ID: "R-PAT-02", Actions: fromPeer,
		Meaning: "A patient of another operator does not write to a patient here; a notice (empty reverse-path) comes in.",
		Source:  "mssante.md §6.1",
		Fault:   fault.Forbidden,
		Text: fault.Text{FR: "Un patient ne reçoit de messages que de soignants.",
			EN: "A patient receives messages from carers only."},
		check: func(q Question, f Facts) verdict {
			if f.Destination == nil || q.Object.From.IsZero() || f.Destination.ForPatient == No {
				return silent
			}
			if f.Destination.ForPatient == Unknown {
				return missing
			}
			return forbid(f.FromPatient) // whether that patient exists or not
		},
	},
	{
		ID: "R-ADDR-01", Actions: reaching,
		Meaning: "A BAL of ours bears the address.",
		Source:  "mssante.md §12.2, §6.3 rule 5",
		Fault:   fault.NotFound, Text: unknownAddress,
		check: func(_ Question, f Facts) verdict {
			if f.Destination == nil {
				return missing
			}
			if f.Destination.Place != Here {
				return silent
			}
			if f.Destination.Exists == Yes && f.Destination.Box == nil {
				return missing
			}
			if b := f.Destination.Box; b != nil && b.Kind != health.Patient && (b.State == health.Pending || b.State == health.Purged) {
				return denies
			}
			return need(f.Destination.Exists)
		},
	},
	{
		ID: "R-ADDR-02", Actions: reaching,
		Meaning: "A patient's BAL receives while it is active and the dossier is open; otherwise it reads as unknown.",
		Source:  "mssante.md §6.3 rule 5",
		Fault:   fault.Withheld, Text: unknownAddress,
		check: func(_ Question, f Facts) verdict {
			if !toPatientHere(f) {
				return silent
			}
			if f.Destination.Box.State != health.Active || f.Destination.Patient == nil {
				return denies
			}
			return need(f.Destination.Patient.Open)
		},
	},
	{
		ID: "R-ADDR-03", Actions: reaching,
		Meaning: "A suspended or closed BAL receives nothing.",
		Source:  "mssante.md §3.4, §12.2; ux.md §6.6",
		Fault:   fault.Closed,
		Text: fault.Text{FR: "Cette boîte est fermée et ne reçoit plus de messages.",
			EN: "This mailbox is closed and receives no more messages."},
		Dated: fault.Text{FR: "La boîte est fermée depuis le {since}.", EN: "The mailbox has been closed since {since}."},
		check: func(_ Question, f Facts) verdict {
			b := boxHere(f)
			return denyIf(b != nil && b.Kind != health.Patient && (b.State == health.Suspended || b.State == health.Closed))
		},
	},
	{
		ID: "R-PAT-03", Actions: writing,
		Meaning: "A patient does not answer in an exchange that the service has ended, unless the box is always open to patients.",
		Source:  "mssante.md §6.1, §6.3 rules 1 and 2; ux.md §6.6",
		Fault:   fault.Forbidden,
		Text:    fault.Text{FR: "Cet échange a été terminé par le service.", EN: "This exchange was ended by the service."},
		check: func(q Question, f Facts) verdict {
			if !patientWrites(q, f) || openBox(f) {
				return silent
			}
			return denyIf(f.Exchange == ExchangeEnded)
		},
	},
	{
		ID: "R-PAT-04", Actions: writing,
		Meaning: "A patient does not write first, except to a box open to patients.",
		Source:  "mssante.md §6.1, §6.3 rules 1 and 2",
		Fault:   fault.Forbidden,
		Text: fault.Text{FR: "Vous pouvez écrire aux soignants qui vous ont déjà écrit, et aux pharmacies.",
			EN: "You may write to carers who have already written to you, and to pharmacies."},
		check: func(q Question, f Facts) verdict {
			if !patientWrites(q, f) || openBox(f) {
				return silent
			}
			switch f.Exchange {
			case ExchangeOpen, ExchangeEnded:
				return silent
			case NoExchange:
				return denies
			}
			return missing
		},
	},
	{
		ID: "R-WRITE-01", Actions: writing, Grants: true,
		Meaning: "A professional BAL writes to any BAL of the house.",
		Source:  "mssante.md §3.1",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict {
			b := boxHere(f)
			return grantIf(professionalWrites(q, f) && b != nil && b.Kind.Professional())
		},
	},
	{
		ID: "R-WRITE-02", Actions: writing, Grants: true,
		Meaning: "A professional BAL writes to any address of the trusted circle.",
		Source:  "mssante.md §3.3",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict { return grantIf(professionalWrites(q, f) && trustedAway(f)) },
	},
	{
		ID: "R-WRITE-03", Actions: writing, Grants: true,
		Meaning: "A professional BAL (PER, ORG, APP, CAB) starts an exchange with a patient.",
		Source:  "mssante.md §6.1",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict { return grantIf(professionalWrites(q, f) && toPatientHere(f)) },
	},
	{
		ID: "R-WRITE-04", Actions: writing, Grants: true,
		Meaning: "A patient answers a professional, here or at another operator, while the exchange is open.",
		Source:  "mssante.md §6.1, §6.3 rule 1",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict {
			b := boxHere(f)
			professional := b != nil && b.Kind.Professional() || trustedAway(f)
			return grantIf(patientWrites(q, f) && f.Exchange == ExchangeOpen && professional && f.Destination.ForPatient == No)
		},
	},
	{
		ID: "R-WRITE-05", Actions: writing, Grants: true,
		Meaning: "A patient writes first to the ORG BAL of a pharmacy (SA33, SA38, SA39, SA65) or to a BAL declared open to patients; never to an APP BAL.",
		Source:  "mssante.md §6.1, §6.3 rule 1",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict { return grantIf(patientWrites(q, f) && openBox(f)) },
	},
	{
		ID: "R-WRITE-06", Actions: []Action{Submit}, Grants: true,
		Meaning: "The house sends its notices (DSN, MDN) to BAL of its own and to the trusted circle.",
		Source:  "RFC 3464 §2; RFC 8098 §3",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict {
			return grantIf(q.Actor.House && (boxHere(f) != nil || trustedAway(f)))
		},
	},
	{
		ID: "R-RECV-01", Actions: fromPeer, Grants: true,
		Meaning: "A trusted peer delivers to a BAL of ours.",
		Source:  "mssante.md §12.2",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict { return grantIf(ownsReversePath(q) && boxHere(f) != nil) },
	},
}

// used is the BAL that the actor uses.
func used(q Question) id.BAL {
	if q.Action == OpenBAL {
		return q.Object.BAL
	}
	return q.Actor.BAL
}

func known(b *Box, want id.BAL) bool { return b != nil && want != 0 && b.ID == want }

// rightActor reports whether the actor is one, and of a kind that may ask this at all.
func rightActor(q Question) bool {
	a := q.Actor
	account, peer, house := a.Account != 0, a.Peer.Name != "" || len(a.Peer.Domains) > 0, a.House
	switch q.Action {
	case Receive:
		return peer && !account && !house
	case Submit:
		return !peer && account != house
	case FileDocument:
		return house && !account && !peer
	default:
		return account && !peer && !house
	}
}

func ownsReversePath(q Question) bool {
	domains := q.Actor.Peer.Domains
	if q.Object.From.IsZero() {
		return len(domains) > 0
	}
	return slices.ContainsFunc(domains, func(d string) bool { return strings.EqualFold(d, q.Object.From.Domain()) })
}

func patientWrites(q Question, f Facts) bool {
	return !q.Actor.House && known(f.Sender, q.Actor.BAL) && f.Sender.Kind == health.Patient
}

func professionalWrites(q Question, f Facts) bool {
	return !q.Actor.House && known(f.Sender, q.Actor.BAL) && f.Sender.Kind.Professional()
}

// boxHere is the recipient's BAL when it is ours and exists.
func boxHere(f Facts) *Box {
	if d := f.Destination; d != nil && d.Place == Here && d.Exists == Yes {
		return d.Box
	}
	return nil
}

func toPatientHere(f Facts) bool {
	b := boxHere(f)
	return b != nil && b.Kind == health.Patient
}

func trustedAway(f Facts) bool {
	return f.Destination != nil && f.Destination.Place == Away && f.Destination.Trusted == Yes
}

// openBox reports whether the recipient takes a patient's first message.
func openBox(f Facts) bool {
	b := boxHere(f)
	if b == nil || !b.Kind.Professional() || b.Kind == health.APP {
		return false
	}
	return b.OpenToPatients == Yes || b.Kind == health.ORG && slices.Contains(PharmacySectors(), b.Sector)
}
