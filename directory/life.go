package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// Why a BAL is in its state. An operator may give codes of his own.
const (
	CauseOperator  = "operator"        // decided by the operator
	CauseTerms     = "terms-accepted"  // the holder accepted the conditions of use
	CauseSituation = "situation-ended" // the holder exercises no more
	CauseRestored  = "situation-back"  // and does again
	CauseInactive  = "inactive"        // nobody opened it for long
	CauseUsed      = "used-again"      // the holder came back
	CauseHolder    = "holder-left"     // the holder asked, or left
	CauseReopened  = "reopened"        // by the same identity
)

const (
	lockBAL = `
SELECT b.kind, b.state, b.state_cause, b.cgu_version, p.ended_at
FROM bal b LEFT JOIN person p ON p.id = b.person_id WHERE b.id = $1 FOR UPDATE OF b`

	// Use begins anew when a BAL becomes active. A purged one keeps its address, its kind,
	// whose it was, and the address that takes its place.
	setState = `
UPDATE bal SET state = $2, state_at = $3, state_cause = $4,
       replacement    = CASE WHEN $2 = 'active' THEN '' WHEN $5 = '' THEN replacement ELSE $5 END,
       used_at        = CASE WHEN $2 = 'active' THEN date_trunc('day', $3::timestamptz) ELSE used_at END,
       noticed_at     = CASE WHEN $2 = 'active' THEN NULL ELSE noticed_at END,
       unpublished_at = CASE WHEN $2 = 'active' THEN NULL ELSE unpublished_at END,
       display_name   = CASE WHEN $2 = 'purged' THEN '' ELSE display_name END,
       service        = CASE WHEN $2 = 'purged' THEN '' ELSE service END,
       description    = CASE WHEN $2 = 'purged' THEN '' ELSE description END,
       responsible    = CASE WHEN $2 = 'purged' THEN '' ELSE responsible END,
       hours          = CASE WHEN $2 = 'purged' THEN '' ELSE hours END
WHERE id = $1`

	setCause = `UPDATE bal SET state_cause = $2 WHERE id = $1`

	acceptTerms = `UPDATE bal SET cgu_version = $2, cgu_at = $3 WHERE id = $1`

	findTerms = `SELECT cgu_version = '' OR cgu_at IS NULL FROM bal WHERE id = $1`
)

// moves are the steps a BAL may take. A closed one may be opened again by the same
// identity, since the row keeps it; a purged one is a tombstone for ever.
var moves = map[health.BALState][]health.BALState{
	health.Pending:   {health.Active, health.Closed},
	health.Active:    {health.Suspended, health.Closed},
	health.Suspended: {health.Active, health.Closed},
	health.Closed:    {health.Active, health.Purged},
}

// MayMove reports whether a BAL may go from one state to another.
func MayMove(from, to health.BALState) bool {
	for _, s := range moves[from] {
		if s == to {
			return true
		}
	}
	return false
}

// Move is a step in the life of a BAL.
type Move struct {
	To    health.BALState
	Cause string // a code: CauseOperator and its like, or one of the operator's own
	// Replacement is the address that the structure names instead, when it closes.
	Replacement mail.Address
	Author      Author
	At          time.Time
}

// MoveTx moves a BAL along its life (mssante.md §3.4), publishes what that changes, ends
// what is open on one that stops being active, and keeps the trace. Staying where it is
// is fine, and nothing is then done; but what the operator suspends while it is suspended
// for a cause that ends by itself stays so until he says otherwise. Purging drops what
// describes the box and keeps its address, so that it is never given again. Locks the
// register.
//
// Errors: fault.NotFound; fault.Conflict, with a text, when the move is not allowed;
// fault.Invalid for a cause that is no code.
func (d *Directory) MoveTx(ctx context.Context, tx *pg.Tx, b id.BAL, m Move) (moved bool, err error) {
	const op = "directory.MoveTx"
	if !ValidCause(m.Cause) || m.At.IsZero() {
		return false, fault.New(fault.Invalid, op, "cause").Say(
			"La cause est un mot de lettres minuscules, chiffres et tirets, par exemple « depart-retraite ».",
			"A cause is a word of lower-case letters, digits and hyphens.")
	}
	if err := d.lockTx(ctx, tx); err != nil {
		return false, err
	}
	if moved, err = d.moveTx(ctx, tx, op, b, m); err != nil || !moved {
		return false, err
	}
	return true, d.traceTx(ctx, tx, Act{BAL: b, Author: m.Author, Action: "set-state-" + string(m.To), Object: objectBAL(b), Cause: m.Cause, At: m.At})
}

func objectBAL(b id.BAL) string { return fmt.Sprintf("bal:%d", int64(b)) }

// ValidCause reports whether s is a code: 1 to 40 lower-case letters, digits, hyphens.
func ValidCause(s string) bool {
	if s == "" || len(s) > 40 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// locked is the row of a BAL under lock.
type locked struct {
	Kind    health.BALKind
	State   health.BALState
	Cause   string
	Terms   string
	EndedAt *time.Time
}

func (d *Directory) lockBALTx(ctx context.Context, tx *pg.Tx, op string, b id.BAL) (l locked, err error) {
	err = tx.QueryRow(ctx, lockBAL, b).Scan(&l.Kind, &l.State, &l.Cause, &l.Terms, &l.EndedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		err = unknown(op)
	}
	return l, err
}

func unknown(op string) error {
	return fault.New(fault.NotFound, op, "unknown-bal").Say(
		"Aucune boîte n'a cette adresse ici. « pli bal list » montre celles qui existent.",
		"No mailbox has this address here. \"pli bal list\" shows those that exist.")
}

func (d *Directory) moveTx(ctx context.Context, tx *pg.Tx, op string, b id.BAL, m Move) (moved bool, err error) {
	l, err := d.lockBALTx(ctx, tx, op, b)
	if err != nil {
		return false, err
	}
	if l.State == m.To {
		if m.Author.Means != ByCommand || m.To != health.Suspended || l.Cause != CauseInactive && l.Cause != CauseSituation {
			return false, nil
		}
		_, err := tx.Exec(ctx, setCause, b, m.Cause)
		return err == nil, err
	}
	if err := l.mayMove(op, m.To); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, setState, b, m.To, m.At, m.Cause, m.Replacement.Reveal()); err != nil {
		return false, err
	}
	if m.To != health.Active && d.plugs.Sessions != nil {
		if err := d.plugs.Sessions.EndSessionsTx(ctx, tx, b, m.At); err != nil {
			return false, err
		}
	}
	return true, d.publishTx(ctx, tx, m.At, true, b)
}

// mayMove says why a BAL may not go to a state, and what to do instead.
func (l locked) mayMove(op string, to health.BALState) error {
	switch {
	case l.State == health.Purged:
		return fault.New(fault.Conflict, op, "purged").Say(
			"Cette boîte a été supprimée. Son adresse ne sera plus jamais donnée : créez une boîte sous une autre adresse.",
			"This mailbox was purged. Its address is never given again: make a mailbox under another address.")
	case to == health.Purged:
		if l.State != health.Closed {
			return fault.New(fault.Conflict, op, "close-first").Say(
				"Fermez d'abord cette boîte : pli bal close ADRESSE.", "Close this mailbox first: pli bal close ADDRESS.")
		}
	case to == health.Active && l.EndedAt != nil:
		return fault.New(fault.Conflict, op, "situation-ended").Say(
			"Ce professionnel n'exerce plus selon l'annuaire national. La boîte se rouvrira d'elle-même à son retour dans l'annuaire.",
			"This professional exercises no more, says the national directory. The mailbox opens again by itself when he is back there.")
	case to == health.Active && (l.State == health.Pending || l.State == health.Closed) && l.Terms == "":
		return fault.New(fault.Conflict, op, "terms-not-accepted").Say(
			"Les conditions d'utilisation ne sont pas encore acceptées. Si le titulaire les a signées : pli bal accept-terms ADRESSE.",
			"The conditions of use are not accepted yet. If the holder signed them: pli bal accept-terms ADDRESS.")
	case !MayMove(l.State, to):
		return l.cannot(op, to)
	}
	return nil
}

func (l locked) cannot(op string, to health.BALState) error {
	e := fault.New(fault.Conflict, op, "move-not-allowed")
	switch {
	case to == health.Pending:
		return e.Say("Une boîte ne revient jamais en attente. Pour l'arrêter : pli bal suspend ADRESSE.",
			"A mailbox never goes back to pending. To stop it: pli bal suspend ADDRESS.")
	case l.State == health.Pending:
		return e.Say("Cette boîte n'a pas encore servi. Pour l'écarter : pli bal close ADRESSE.",
			"This mailbox was never used. To drop it: pli bal close ADDRESS.")
	}
	return e.Say("Cette boîte est fermée. Pour la rouvrir au même titulaire : pli bal reopen ADRESSE.",
		"This mailbox is closed. To open it again for the same holder: pli bal reopen ADDRESS.")
}

// AcceptTermsTx records that the holder accepted the conditions of use (CGU). A BAL that
// waited for it becomes active, unless its holder exercises no more. Again for the same
// version is fine, and nothing is then done.
//
// Errors: fault.NotFound; fault.Conflict for a purged BAL.
func (d *Directory) AcceptTermsTx(ctx context.Context, tx *pg.Tx, b id.BAL, version string, by Author, at time.Time) error {
	const op = "directory.AcceptTermsTx"
	if version == "" || at.IsZero() {
		return fault.New(fault.Invalid, op, "no-version")
	}
	if err := d.lockTx(ctx, tx); err != nil {
		return err
	}
	l, err := d.lockBALTx(ctx, tx, op, b)
	if err != nil {
		return err
	}
	acts := []Act{}
	if l.Terms != version {
		if l.State == health.Purged {
			return l.mayMove(op, health.Active)
		}
		if _, err := tx.Exec(ctx, acceptTerms, b, version, at); err != nil {
			return err
		}
		acts = append(acts, Act{BAL: b, Author: by, Action: "accept-terms", Object: objectBAL(b), Cause: "", At: at})
	}
	if l.State == health.Pending && l.EndedAt == nil {
		if _, err := d.moveTx(ctx, tx, op, b, Move{To: health.Active, Cause: CauseTerms, At: at}); err != nil {
			return err
		}
		acts = append(acts, Act{BAL: b, Author: by, Action: "set-state-active", Object: objectBAL(b), Cause: CauseTerms, At: at})
	}
	return d.traceTx(ctx, tx, acts...)
}

// AcceptTerms is AcceptTermsTx for the holder, signed in on the web.
func (d *Directory) AcceptTerms(ctx context.Context, b id.BAL, version string, at time.Time, account id.Account) error {
	return d.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		return d.AcceptTermsTx(ctx, tx, b, version, Author{Account: account, Means: ByWeb}, at)
	})
}

// TermsPending reports whether nobody has accepted the conditions of use of a BAL yet.
// Errors: fault.NotFound.
func (d *Directory) TermsPending(ctx context.Context, b id.BAL) (pending bool, err error) {
	err = d.db.QueryRow(ctx, findTerms, b).Scan(&pending)
	if errors.Is(err, pgx.ErrNoRows) {
		err = unknown("directory.TermsPending")
	}
	return pending, pg.Error("directory.TermsPending", err)
}
