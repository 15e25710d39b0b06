// Package pg is the house's only way to PostgreSQL: a pool, transactions that retry
// what may be retried, and errors that never carry a row's values.
package pg

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"pli/fault"
)

// Config says where the database is.
type Config struct {
	// DSN is a PostgreSQL connection string or URL. A password is better given by
	// passfile or by a socket directory that only Pli's user may enter.
	DSN string `toml:"dsn"`
	// MaxConns bounds the pool of one process. Zero means 20.
	MaxConns int32 `toml:"max_conns"`
	// Search makes a pool for questions that strangers shape: read only, each statement
	// planned for its values and stopped after this long. Zero is an ordinary pool.
	Search time.Duration `toml:"-"`
}

// DB is a pool of connections.
type DB struct{ pool *pgxpool.Pool }

// Querier is what both DB and Tx can do. A function that only reads takes a Querier.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Tx is a transaction that remembers what to do after it commits.
type Tx struct {
	pgx.Tx
	after []func(context.Context)
}

// AfterCommit runs f once the transaction has committed, best effort: what must
// happen is a job row in the same transaction instead.
func (tx *Tx) AfterCommit(f func(context.Context)) { tx.after = append(tx.after, f) }

// Open connects and checks that the server answers.
func Open(ctx context.Context, c Config) (*DB, error) {
	pc, err := pgxpool.ParseConfig(c.DSN)
	if err != nil {
		return nil, fault.New(fault.Invalid, "pg.Open", "dsn") // the cause may quote a password
	}
	pc.MaxConns = 20
	if c.MaxConns > 0 {
		pc.MaxConns = c.MaxConns
	}
	pc.MaxConnIdleTime = 5 * time.Minute
	// Our statements are written by hand and reach their rows by index, whatever the
	// values: planning them again at each execution costs more than running them.
	pc.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	pc.ConnConfig.RuntimeParams["jit"] = "off"
	if c.Search > 0 {
		pc.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
		pc.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
		// Many ask at once: each keeps to one process, and to rows that it is led to.
		pc.ConnConfig.RuntimeParams["max_parallel_workers_per_gather"] = "0"
		pc.ConnConfig.RuntimeParams["random_page_cost"] = "1.1"
		pc.ConnConfig.RuntimeParams["work_mem"] = "16MB"
		pc.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(c.Search.Milliseconds(), 10)
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, Error("pg.Open", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, Error("pg.Open", err)
	}
	return &DB{pool: pool}, nil
}

// Pool lends the pool to a library that needs it (the job queue).
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// Close waits for connections in use and closes them all.
func (db *DB) Close() { db.pool.Close() }

func (db *DB) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return db.pool.Exec(ctx, sql, args...)
}
func (db *DB) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return db.pool.Query(ctx, sql, args...)
}
func (db *DB) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return db.pool.QueryRow(ctx, sql, args...)
}
func (db *DB) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return db.pool.SendBatch(ctx, b)
}

const maxTries = 8

// InTx runs f in one transaction and commits. Serialization failures and deadlocks
// (40001, 40P01) run f again, so f touches nothing but the database. An error from f
// rolls back and comes out as it is; an error of the database comes out translated.
func (db *DB) InTx(ctx context.Context, f func(ctx context.Context, tx *Tx) error) error {
	for try := 1; ; try++ {
		tx, err := db.once(ctx, f)
		if err == nil {
			for _, after := range tx.after {
				after(context.WithoutCancel(ctx))
			}
			return nil
		}
		if !retryable(err) || try == maxTries {
			return Error("pg.InTx", err)
		}
		select {
		case <-ctx.Done():
			return Error("pg.InTx", ctx.Err())
		case <-time.After(time.Duration(try*try) * 2 * time.Millisecond):
		}
	}
}

func (db *DB) once(ctx context.Context, f func(ctx context.Context, tx *Tx) error) (*Tx, error) {
	ptx, err := db.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	tx := &Tx{Tx: ptx}
	// A panic in f must not leave the connection in a transaction.
	defer func() { _ = ptx.Rollback(context.WithoutCancel(ctx)) }()
	if err := f(ctx, tx); err != nil {
		return nil, err
	}
	return tx, ptx.Commit(ctx)
}

// retryable also knows these two states once a room has translated them with Error.
func retryable(err error) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code == "40001" || pe.Code == "40P01"
	}
	for err != nil {
		var fe *fault.Error
		if !errors.As(err, &fe) {
			return false
		}
		if fe.Code == "sqlstate-40001" || fe.Code == "sqlstate-40P01" {
			return true
		}
		err = fe.Err
	}
	return false
}

// Error turns an error of the database into a fault: the SQLSTATE and the name of
// the constraint stay, Message and Detail, which quote values, do not. A fault, and
// nil, come out as they are.
func Error(op string, err error) error {
	if err == nil {
		return nil
	}
	var fe *fault.Error
	if errors.As(err, &fe) {
		return err
	}
	var pe *pgconn.PgError
	var ce *pgconn.ConnectError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.NotFound, op, "no-row")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Timeout, op, "", err)
	case errors.As(err, &pe):
		return fault.New(kindOfState(pe.Code), op, "sqlstate-"+pe.Code+constraint(pe))
	case errors.As(err, &ce):
		return fault.New(fault.Unavailable, op, "database-unreachable")
	case pgconn.SafeToRetry(err):
		return fault.New(fault.Unavailable, op, "database-connection")
	default:
		return fault.New(fault.Internal, op, "database")
	}
}

func constraint(pe *pgconn.PgError) string {
	if pe.ConstraintName == "" {
		return ""
	}
	return "-" + pe.ConstraintName
}

func kindOfState(code string) fault.Kind {
	switch {
	case code == "23505", code == "40001", code == "40P01":
		return fault.Conflict
	case code == "57014":
		return fault.Timeout
	case code[:2] == "08", code[:2] == "53", code[:2] == "57":
		return fault.Unavailable
	default:
		return fault.Internal
	}
}
