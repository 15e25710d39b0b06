package identity

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

const (
	insertAccount = `
INSERT INTO account (kind, login_key, created_at) VALUES ($1, $2, $3) ON CONFLICT (login_key) DO NOTHING RETURNING id`

	linkBAL = `INSERT INTO account_bal (account_id, bal_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`

	// The account whose own BAL it is comes first.
	accountOf = `SELECT account_id FROM account_bal WHERE bal_id = $1 ORDER BY account_id LIMIT 1`

	accountFacts = `
SELECT a.disabled_at IS NULL, ARRAY(SELECT b.bal_id FROM account_bal b WHERE b.account_id = a.id AND b.bal_id = ANY($2::bigint[]))
FROM account a WHERE a.id = $1`

	disableAccount = `UPDATE account SET disabled_at = coalesce(disabled_at, $2) WHERE id = $1`
	enableAccount  = `UPDATE account SET disabled_at = NULL WHERE id = $1`
)

// NewAccount is what it takes to make an account.
type NewAccount struct {
	Kind  string
	Login string   // what a person types on the web; "" for software
	BALs  []id.BAL // that it may open; its own has the lowest id
}

// CreateAccountTx makes an account.
// Errors: fault.Invalid, fault.Conflict when the login is taken.
func (s *Service) CreateAccountTx(ctx context.Context, tx *pg.Tx, n NewAccount) (id.Account, error) {
	const op = "identity.CreateAccountTx"
	switch n.Kind {
	case Professional, Patient, Application, Operator:
	default:
		return 0, fault.New(fault.Invalid, op, "kind")
	}
	var key []byte
	if loginOf(n.Login) != "" {
		key = s.loginKey(n.Login)
	}
	var a id.Account
	err := tx.QueryRow(ctx, insertAccount, n.Kind, key, s.d.Now().UTC()).Scan(&a)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fault.New(fault.Conflict, op, "login-taken")
	}
	if err != nil {
		return 0, err
	}
	for _, b := range n.BALs {
		if err := s.LinkTx(ctx, tx, a, b); err != nil {
			return 0, err
		}
	}
	return a, nil
}

// LinkTx lets an account open a further BAL; again is fine.
func (s *Service) LinkTx(ctx context.Context, tx *pg.Tx, a id.Account, b id.BAL) error {
	_, err := tx.Exec(ctx, linkBAL, a, b)
	return err
}

// AccountOf returns the account that opens a BAL, the oldest when there are several.
// Errors: fault.NotFound.
func (s *Service) AccountOf(ctx context.Context, q pg.Querier, b id.BAL) (id.Account, error) {
	var a id.Account
	err := q.QueryRow(ctx, accountOf, b).Scan(&a)
	return a, pg.Error("identity.AccountOf", err)
}

// AccountFacts tells whether an account is enabled and which of the BAL it may open. An
// account that does not exist is not enabled.
func (s *Service) AccountFacts(ctx context.Context, q pg.Querier, a id.Account, bals []id.BAL) (enabled bool, linked map[id.BAL]bool, err error) {
	numbers := make([]int64, len(bals))
	for i, b := range bals {
		numbers[i] = int64(b)
	}
	var found []int64
	err = q.QueryRow(ctx, accountFacts, a, numbers).Scan(&enabled, &found)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil, nil
	}
	linked = make(map[id.BAL]bool, len(found))
	for _, b := range found {
		linked[id.BAL(b)] = true
	}
	return enabled, linked, err
}

// DisableAccount shuts an account out and ends its sessions. Errors: fault.NotFound.
func (s *Service) DisableAccount(ctx context.Context, a id.Account) error {
	const op = "identity.DisableAccount"
	return s.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		now := s.d.Now().UTC()
		tag, err := tx.Exec(ctx, disableAccount, a, now)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fault.New(fault.NotFound, op, "account")
		}
		_, err = tx.Exec(ctx, endSessionsOf, a, now)
		return err
	})
}

// EnableAccount lets a disabled account in again. Errors: fault.NotFound.
func (s *Service) EnableAccount(ctx context.Context, a id.Account) error {
	const op = "identity.EnableAccount"
	tag, err := s.d.DB.Exec(ctx, enableAccount, a)
	if err == nil && tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, op, "account")
	}
	return pg.Error(op, err)
}

func accountText(a id.Account) string { return strconv.FormatInt(int64(a), 10) }
