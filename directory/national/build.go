package national

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"pli/fault"
	"pli/internal/pg"
)

// index is one of a table.
type index struct {
	name    string
	primary bool
	unique  bool
	using   string // from USING on: method, columns, predicate, options
}

const selectIndexes = `
SELECT c.relname, i.indisprimary, i.indisunique, pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass($1) AND i.indisvalid
ORDER BY c.relname`

var fromUsing = regexp.MustCompile(`^CREATE (?:UNIQUE )?INDEX .*? ON (?:ONLY )?\S+ (USING .*)$`)

func indexesOf(ctx context.Context, q interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, table string) ([]index, error) {
	rows, err := q.Query(ctx, selectIndexes, table)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (x index, err error) {
		var def string
		if err = row.Scan(&x.name, &x.primary, &x.unique, &def); err != nil {
			return x, err
		}
		m := fromUsing.FindStringSubmatch(def)
		if m == nil {
			return x, fault.New(fault.Internal, "national.indexesOf", "definition")
		}
		x.using = m[1]
		return x, nil
	})
}

// missing are the indexes that a part of a sheet lacks: those of its own part are the
// one definition.
func (im *Importer) missing(ctx context.Context, s sheet, part string) ([]index, error) {
	wanted, err := indexesOf(ctx, im.DB, s.table("own"))
	if err != nil {
		return nil, err
	}
	present, err := indexesOf(ctx, im.DB, s.table(part))
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, x := range present {
		have[uniqueness(x)+x.using] = true
	}
	var out []index
	for _, x := range wanted {
		if !have[uniqueness(x)+x.using] {
			name := strings.Replace(x.name, s.table("own"), s.table(part), 1)
			if name == x.name {
				name += "_" + part
			}
			x.name = name
			out = append(out, x)
		}
	}
	return out, nil
}

func uniqueness(x index) string {
	if x.unique {
		return "unique "
	}
	return ""
}

const (
	indexMemory = "64MB" // of one build
	indexBuilds = 2      // at once
)

// build makes the indexes that the part lacks, the longest first, then the keys.
func (im *Importer) build(ctx context.Context, part string) error {
	const op = "national.build"
	type task struct{ table, sql string }
	var first, rest []task
	for _, s := range sheets {
		missing, err := im.missing(ctx, s, part)
		if err != nil {
			return pg.Error(op, err)
		}
		for _, x := range missing {
			create := "CREATE INDEX "
			if x.unique {
				create = "CREATE UNIQUE INDEX "
			}
			t := task{s.table(part), create + x.name + " ON " + s.table(part) + " " + x.using}
			if strings.HasPrefix(x.using, "USING gin") {
				first = append(first, t)
			} else {
				rest = append(rest, t)
			}
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(indexBuilds)
	for _, t := range append(first, rest...) {
		g.Go(func() error {
			im.step("index")
			return im.DB.InTx(gctx, func(ctx context.Context, tx *pg.Tx) error {
				if _, err := tx.Exec(ctx, `SELECT set_config('maintenance_work_mem', $1, true), set_config('max_parallel_maintenance_workers', '0', true)`, indexMemory); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, t.sql)
				return err
			})
		})
	}
	if err := g.Wait(); err != nil {
		return pg.Error(op, err)
	}
	return pg.Error(op, im.keys(ctx, part))
}

// keys makes primary keys of the unique indexes that stand for one.
func (im *Importer) keys(ctx context.Context, part string) error {
	return im.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		for _, s := range sheets {
			wanted, err := indexesOf(ctx, tx, s.table("own"))
			if err != nil {
				return err
			}
			present, err := indexesOf(ctx, tx, s.table(part))
			if err != nil {
				return err
			}
			for _, w := range wanted {
				for _, x := range present {
					if !w.primary || x.primary || w.using != x.using || !x.unique {
						continue
					}
					if _, err := tx.Exec(ctx, "ALTER TABLE "+s.table(part)+" ADD CONSTRAINT "+x.name+" PRIMARY KEY USING INDEX "+x.name); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// sqlState is the SQLSTATE of an error, "" when it has none or has been translated to a
// kind that tells enough.
func sqlState(err error) string {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code
	}
	var fe *fault.Error
	if errors.As(err, &fe) && strings.HasPrefix(fe.Code, "sqlstate-") && len(fe.Code) >= 14 {
		return fe.Code[9:14]
	}
	return ""
}
