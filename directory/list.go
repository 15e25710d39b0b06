package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
)

// Filter says which BAL of the register to list; what is empty asks nothing.
type Filter struct {
	Kinds    []health.BALKind
	States   []health.BALState
	RPPS     string
	Place    string // FINESS or SIRET of the structure
	Unlisted *bool
	Text     string // in the address, the names, the service or the structure, as written
	After    id.BAL // continues after this one
	Limit    int    // 0 is 500
}

const (
	listBALs = selectBAL + `
WHERE b.kind <> 'PATIENT' AND b.id > $1
  AND (cardinality($2::text[]) = 0 OR b.kind = ANY($2::text[]))
  AND (cardinality($3::text[]) = 0 OR b.state = ANY($3::text[]))
  AND ($4 = '' OR p.rpps = $4)
  AND ($5 = '' OR s.finess = $5 OR s.siret = $5)
  AND ($6::boolean IS NULL OR b.unlisted = $6)
  AND ($7 = '' OR position(lower($7) IN lower(concat_ws(' ', b.address, b.display_name, b.service, p.family_name,
       p.given_name, s.name, s.trade_name))) > 0)
ORDER BY b.id LIMIT $8`

	listLimit = 500
)

// List lists professional BAL of the register, oldest first, purged ones too when they
// are asked for by their state. Patients are not in it.
func (d *Directory) List(ctx context.Context, q pg.Querier, f Filter) ([]BAL, error) {
	const op = "directory.List"
	kinds, states := make([]string, len(f.Kinds)), make([]string, len(f.States))
	for i, k := range f.Kinds {
		kinds[i] = string(k)
	}
	for i, s := range f.States {
		states[i] = string(s)
	}
	if len(states) == 0 {
		states = []string{string(health.Pending), string(health.Active), string(health.Suspended), string(health.Closed)}
	}
	limit := f.Limit
	if limit <= 0 {
		limit = listLimit
	}
	rows, err := q.Query(ctx, listBALs, f.After, kinds, states, f.RPPS, f.Place, f.Unlisted, f.Text, limit)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	found, err := pgx.CollectRows(rows, scanBAL)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	bals := make([]BAL, len(found))
	for i, r := range found {
		bals[i] = r.BAL
	}
	return bals, nil
}

const updateMode = `
UPDATE situation SET mode = $3 WHERE person_id = $1 AND structure_id = $2 AND ended_at IS NULL AND mode <> $3`

// Mode is how a person exercises in a structure (mode d'exercice: L, S, B), "" when he
// does not or nobody said.
func (d *Directory) Mode(ctx context.Context, q pg.Querier, p PersonID, s StructureID) (mode string, err error) {
	err = q.QueryRow(ctx, findMode, p, s).Scan(&mode)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return mode, pg.Error("directory.Mode", err)
}

// UpdateModeTx changes how a person exercises in a structure, and reports whether that
// was otherwise.
func (d *Directory) UpdateModeTx(ctx context.Context, tx *pg.Tx, p PersonID, s StructureID, mode string, by Author, at time.Time) (bool, error) {
	if err := d.lockTx(ctx, tx); err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, updateMode, p, s, mode)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	bals, err := balsBy(ctx, tx, balsHeldBy, p)
	if err != nil {
		return false, err
	}
	var acts []Act
	for _, b := range bals {
		acts = append(acts, Act{BAL: b, Author: by, Action: "update-person", Object: fmt.Sprintf("person:%d", int64(p)), Fields: []string{"mode"}, At: at})
	}
	if err := d.publishTx(ctx, tx, at, true, bals...); err != nil {
		return false, err
	}
	return true, d.traceTx(ctx, tx, acts...)
}
