package identity

import (
	"context"

	"pli/internal/id"
	"pli/internal/pg"
)

const balsOf = `SELECT account_id, bal_id FROM account_bal WHERE account_id = ANY($1::bigint[]) ORDER BY account_id, bal_id`

// BALsOf tells which BAL each account opens, oldest first: by them a history names who
// acted. Accounts without a BAL are absent.
func (s *Service) BALsOf(ctx context.Context, q pg.Querier, accounts []id.Account) (map[id.Account][]id.BAL, error) {
	const op = "identity.BALsOf"
	rows, err := q.Query(ctx, balsOf, accounts)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	defer rows.Close()
	found := map[id.Account][]id.BAL{}
	for rows.Next() {
		var a id.Account
		var b id.BAL
		if err := rows.Scan(&a, &b); err != nil {
			return nil, pg.Error(op, err)
		}
		found[a] = append(found[a], b)
	}
	return found, pg.Error(op, rows.Err())
}
