// Package migrations brings a database to the shape this binary knows: numbered SQL,
// forward only, one transaction each, under an advisory lock, with checksums kept.
package migrations

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"sort"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"pli/fault"
	"pli/internal/pg"
)

//go:embed *.sql
var files embed.FS

// lockKey is the advisory lock that two migrating processes meet at.
const lockKey = 0x706c69 // "pli"

type step struct {
	version int
	sql     string
	sum     string
}

func steps() ([]step, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var out []step
	for _, e := range entries {
		b, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		v, err := strconv.Atoi(e.Name()[:4])
		if err != nil {
			return nil, fmt.Errorf("migrations: %s: a name starts with four digits", e.Name())
		}
		sum := sha256.Sum256(b)
		out = append(out, step{v, string(b), hex.EncodeToString(sum[:])})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].version < out[j].version })
	return out, nil
}

// Up applies what is missing. Several processes may call it at once: one works, the
// others wait and find nothing to do.
func Up(ctx context.Context, dsn string) error {
	const op = "migrations.Up"
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return pg.Error(op, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, lockKey); err != nil {
		return pg.Error(op, err)
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, lockKey) }()
	if _, err := conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_step (
		version int PRIMARY KEY, sum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`); err != nil {
		return pg.Error(op, err)
	}
	all, err := steps()
	if err != nil {
		return err
	}
	applied, err := appliedSums(ctx, conn)
	if err != nil {
		return err
	}
	if err := check(all, applied); err != nil {
		return err
	}
	for _, s := range all {
		if _, done := applied[s.version]; done {
			continue
		}
		if err := apply(ctx, conn, s); err != nil {
			return fault.Wrap(fault.Internal, op, fmt.Sprintf("step-%04d", s.version), err)
		}
	}
	return jobs(ctx, dsn)
}

func apply(ctx context.Context, conn *pgx.Conn, s step) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, s.sql); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO schema_step (version, sum) VALUES ($1, $2)`, s.version, s.sum)
		return err
	})
}

// jobs brings the job queue's own tables up; they live in their own schema.
func jobs(ctx context.Context, dsn string) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return pg.Error("migrations.jobs", err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+JobSchema); err != nil {
		return pg.Error("migrations.jobs", err)
	}
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: JobSchema})
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// JobSchema holds the job queue's tables.
const JobSchema = "job"

// Check reports whether the database has exactly the shape this binary knows: a
// server refuses a schema that is older, newer or altered.
func Check(ctx context.Context, db *pg.DB) error {
	all, err := steps()
	if err != nil {
		return err
	}
	applied, err := appliedSums(ctx, db)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "migrations.Check", "not-migrated", err)
	}
	if err := check(all, applied); err != nil {
		return err
	}
	if len(applied) < len(all) {
		return fault.New(fault.Unavailable, "migrations.Check", "run-pli-migrate")
	}
	return nil
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func appliedSums(ctx context.Context, q querier) (map[int]string, error) {
	rows, err := q.Query(ctx, `SELECT version, sum FROM schema_step`)
	if err != nil {
		return nil, pg.Error("migrations.appliedSums", err)
	}
	out := map[int]string{}
	var v int
	var sum string
	_, err = pgx.ForEachRow(rows, []any{&v, &sum}, func() error { out[v] = sum; return nil })
	return out, pg.Error("migrations.appliedSums", err)
}

func check(all []step, applied map[int]string) error {
	known := map[int]string{}
	for _, s := range all {
		known[s.version] = s.sum
	}
	for v, sum := range applied {
		switch have, ok := known[v]; {
		case !ok:
			return fault.New(fault.Unavailable, "migrations.check", fmt.Sprintf("step-%04d-is-newer-than-this-binary", v))
		case have != sum:
			return fault.New(fault.Unavailable, "migrations.check", fmt.Sprintf("step-%04d-was-altered", v))
		}
	}
	return nil
}
