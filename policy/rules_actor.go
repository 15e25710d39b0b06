package policy

import (
	"time"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
)

// Rules about who asks.

var (
	usingBAL = []Action{Submit, Reply, OpenBAL, OpenDirectory}
	bySignIn = []Action{Submit, Reply, OpenBAL, KeepDocument, ReadDocument, ReadDossier, OpenDirectory}
	writing  = []Action{Submit, Reply}
	asking   = []Action{OpenDirectory}
)

// exportTime is how long a suspended BAL stays open for reading (mssante.md §3.4).
const exportTime = 90 * 24 * time.Hour

var actorRules = []Rule{
	{
		ID:      "R-ACTOR-01",
		Meaning: "Exactly one of a signed-in account, a peer operator and the house itself asks, and of the kind the act needs.",
		Source:  "style.md §8; mssante.md §12.2",
		Fault:   fault.Unauthenticated, Text: fault.Unauthenticated.Text(),
		check: func(q Question, _ Facts) verdict { return denyIf(!rightActor(q)) },
	},
	{
		ID: "R-ACCT-01", Actions: bySignIn,
		Meaning: "The account is enabled.",
		Source:  "mssante.md §3.4",
		Fault:   fault.Forbidden,
		Text: fault.Text{FR: "Votre compte est désactivé. Contactez votre opérateur de messagerie.",
			EN: "Your account is disabled. Contact your mail operator."},
		check: func(q Question, f Facts) verdict {
			if q.Actor.House {
				return silent
			}
			if f.Account == nil || f.Account.ID != q.Actor.Account {
				return missing
			}
			return need(f.Account.Enabled)
		},
	},
	{
		ID: "R-ACCT-02", Actions: usingBAL,
		Meaning: "The account is one of those that may open the BAL it uses.",
		Source:  "mssante.md §3.1",
		Fault:   fault.Forbidden,
		Text: fault.Text{FR: "Votre compte n'ouvre pas cette boîte.",
			EN: "Your account does not open this mailbox."},
		check: func(q Question, f Facts) verdict {
			if q.Actor.House {
				return silent
			}
			if f.Account == nil || f.Account.ID != q.Actor.Account {
				return missing
			}
			return need(f.Account.Linked)
		},
	},
	{
		ID: "R-BAL-01", Actions: writing,
		Meaning: "A BAL writes while it is active.",
		Source:  "mssante.md §3.4; ux.md §6.6",
		Fault:   fault.Forbidden,
		Text: fault.Text{FR: "Votre inscription à l'annuaire n'est plus active. Contactez votre opérateur de messagerie.",
			EN: "Your entry in the directory is no longer active. Contact your mail operator."},
		check: func(q Question, f Facts) verdict {
			if q.Actor.House {
				return silent
			}
			if !known(f.Sender, q.Actor.BAL) {
				return missing
			}
			return denyIf(f.Sender.State != health.Active)
		},
	},
	{
		ID: "R-CGU-01", Actions: usingBAL,
		Meaning: "The conditions of use were accepted before the first use of the BAL.",
		Source:  "mssante.md §3.4",
		Fault:   fault.Forbidden,
		Text: fault.Text{FR: "Acceptez d'abord les conditions d'utilisation de cette boîte.",
			EN: "Accept the conditions of use of this mailbox first."},
		check: func(q Question, f Facts) verdict {
			if q.Actor.House {
				return silent
			}
			if !known(f.Sender, used(q)) {
				return missing
			}
			return need(f.Sender.Terms)
		},
	},
	{
		ID: "R-APP-01", Actions: usingBAL,
		Meaning: "An APP BAL is used with a client certificate only.",
		Source:  "mssante.md §5.1, §12.1",
		Fault:   fault.Forbidden,
		Text: fault.Text{FR: "Une boîte applicative s'ouvre avec un certificat.",
			EN: "An application mailbox is opened with a certificate."},
		check: func(q Question, f Facts) verdict {
			if q.Actor.House {
				return silent
			}
			if !known(f.Sender, used(q)) {
				return missing
			}
			return denyIf(f.Sender.Kind == health.APP && q.Actor.Proof != "certificate")
		},
	},
	{
		ID: "R-OPEN-01", Actions: []Action{OpenBAL}, Grants: true,
		Meaning: "An active BAL opens.",
		Source:  "mssante.md §3.4",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict {
			return grantIf(known(f.Sender, q.Object.BAL) && f.Sender.State == health.Active)
		},
	},
	{
		ID: "R-OPEN-02", Actions: []Action{OpenBAL}, Grants: true, Owes: ReadOnly,
		Meaning: "A suspended BAL opens for reading and export during 90 days.",
		Source:  "mssante.md §3.4",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict {
			return grantIf(known(f.Sender, q.Object.BAL) && f.Sender.State == health.Suspended && exporting(f))
		},
	},
	{
		ID: "R-OPEN-03", Actions: []Action{OpenBAL},
		Meaning: "A BAL that is pending, closed, or suspended for more than 90 days does not open.",
		Source:  "mssante.md §3.4",
		Fault:   fault.Closed, Text: notOpen,
		check: func(q Question, f Facts) verdict { return readable(f, q.Object.BAL) },
	},
	{
		ID: "R-DIR-01", Actions: asking, Grants: true,
		Meaning: "A professional BAL (PER, ORG, APP, CAB) asks the directory, by any door.",
		Source:  "mssante.md §3.1, §4.2; features.md DIR-08",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict {
			return grantIf(professionalWrites(q, f) && readable(f, q.Actor.BAL) == silent)
		},
	},
	{
		ID: "R-DIR-02", Actions: asking, Grants: true,
		Meaning: "A patient asks the directory on the web.",
		Source:  "mssante.md §6.3 rule 1; features.md DIR-10",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict {
			return grantIf(patientWrites(q, f) && q.Actor.Proof == "web" && readable(f, q.Actor.BAL) == silent)
		},
	},
	{
		ID: "R-DIR-03", Actions: asking,
		Meaning: "A patient asks the directory on the web only.",
		Source:  "mssante.md §6.3 rule 1",
		Fault:   fault.Forbidden,
		Text: fault.Text{FR: "L'annuaire se consulte depuis votre espace, sur le web.",
			EN: "The directory is consulted in your space, on the web."},
		check: func(q Question, f Facts) verdict { return denyIf(patientWrites(q, f) && q.Actor.Proof != "web") },
	},
	{
		ID: "R-DIR-04", Actions: asking,
		Meaning: "A BAL that does not open any more does not ask the directory.",
		Source:  "mssante.md §3.4",
		Fault:   fault.Closed, Text: notOpen,
		check: func(q Question, f Facts) verdict { return readable(f, q.Actor.BAL) },
	},
}

var notOpen = fault.Text{FR: "Cette boîte n'est pas ouverte. Contactez votre opérateur de messagerie.",
	EN: "This mailbox is not open. Contact your mail operator."}

// readable is silent for a BAL that is active, or suspended within the time of reading.
func readable(f Facts, bal id.BAL) verdict {
	if !known(f.Sender, bal) {
		return missing
	}
	switch f.Sender.State {
	case health.Active:
		return silent
	case health.Suspended:
		if f.Now.IsZero() || f.Sender.StateAt.IsZero() {
			return missing
		}
		return denyIf(!exporting(f))
	}
	return denies
}

func exporting(f Facts) bool {
	return !f.Now.IsZero() && !f.Sender.StateAt.IsZero() && f.Now.Before(f.Sender.StateAt.Add(exportTime))
}
