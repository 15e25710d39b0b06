package gate

import (
	"context"

	"pli/audit"
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
	// Facts finds BAL by id and by address in one query; those not found are absent.
	Facts(ctx context.Context, q pg.Querier, ids []id.BAL, as []mail.Address) (directory.Found, error)
}

// Accounts is identity, as the gate needs it.
type Accounts interface {
	// AccountFacts tells whether an account is enabled and which of the BAL it may open.
	AccountFacts(ctx context.Context, q pg.Querier, a id.Account, bals []id.BAL) (enabled bool, linked map[id.BAL]bool, err error)
}

// Consent is the consent room, as the gate needs it.
type Consent interface {
	// States answers in the order asked.
	States(ctx context.Context, q pg.Querier, pairs []consent.Pair) ([]consent.State, error)
}

// Dossier is the dossier room, as the gate needs it. Rows that do not exist are absent.
type Dossier interface {
	PatientFacts(ctx context.Context, q pg.Querier, bals []id.BAL, patients []id.Patient) ([]policy.Patient, error)
	DocumentFacts(ctx context.Context, q pg.Querier, docs []id.Document) ([]policy.Stored, error)
}

// Trust is the trust store (certs). A domain that is not trusted while Check fails is
// not known to be untrusted.
type Trust interface {
	Trusted(domain string) bool
	Check() error
}

// Audit is where traces go (audit).
type Audit interface {
	AppendTx(ctx context.Context, tx *pg.Tx, entries ...audit.Entry) error
}
