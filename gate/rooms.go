package gate

import (
	"context"

	"pli/consent"
	"pli/directory"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
	"pli/policy"
)

// Boxes is the directory, as the gate needs it.
type Boxes interface {
	Local(domain string) bool
	ForPatients(domain string) bool
	// Facts finds BAL by id and by address in one query.
	Facts(ctx context.Context, q pg.Querier, ids []id.BAL, as []mail.Address) (directory.Found, error)
}

// Accounts is identity, as the gate needs it.
type Accounts interface {
	// AccountFacts tells whether an account is enabled and which of the BAL it may open.
	AccountFacts(ctx context.Context, q pg.Querier, a id.Account, bals []id.BAL) (enabled bool, linked map[id.BAL]bool, err error)
}

// Consent is the consent room, as the gate needs it.
type Consent interface {
	States(ctx context.Context, q pg.Querier, pairs []consent.Pair) ([]consent.State, error)
}

// Dossier is the dossier room, as the gate needs it. Rows that do not exist are absent.
type Dossier interface {
	PatientFacts(ctx context.Context, q pg.Querier, bals []id.BAL, patients []id.Patient) ([]policy.Patient, error)
	DocumentFacts(ctx context.Context, q pg.Querier, docs []id.Document) ([]policy.Stored, error)
}

// Trust is the white list (certs). Usable is false when the list is missing or too old:
// every question about a domain is then unknown.
type Trust interface {
	Trusted(domain string) bool
	Usable() bool
}

// Audit is where traces go.
type Audit interface {
}
