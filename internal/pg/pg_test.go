package pg_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pli/fault"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

func TestAnErrorOfTheDatabaseKeepsItsValuesToItself(t *testing.T) {
	db := pgtest.DB(t)
	ctx := t.Context()
	const insert = `INSERT INTO structure (finess, name) VALUES ('750712184', 'Jeanne Petit')`
	if _, err := db.Exec(ctx, insert); err != nil {
		t.Fatal(err)
	}
	_, err := db.Exec(ctx, insert)
	got := pg.Error("directory.CreateStructureTx", err)
	if !fault.Is(got, fault.Conflict) {
		t.Fatalf("a duplicate is %v", got)
	}
	if strings.Contains(got.Error(), "750712184") || !strings.Contains(got.Error(), "structure_finess_key") {
		t.Errorf("want the constraint and no value: %v", got)
	}
	var pe *pgconn.PgError
	if errors.As(got, &pe) {
		t.Error("the driver's error, with its values, is still in the chain")
	}
}

func TestInTx(t *testing.T) {
	db := pgtest.DB(t)
	ctx := t.Context()
	count := func() (n int) {
		if err := db.QueryRow(ctx, `SELECT count(*) FROM structure`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	insert := func(ctx context.Context, tx *pg.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO structure (name) VALUES ('x')`)
		return err
	}
	told := 0
	err := db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		tx.AfterCommit(func(context.Context) { told = count() })
		return insert(ctx, tx)
	})
	if err != nil || told != 1 {
		t.Fatalf("committed and told after: %v, %d", err, told)
	}
	stop := fault.New(fault.Forbidden, "gate.Do", "no")
	err = db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		tx.AfterCommit(func(context.Context) { t.Error("told of what did not happen") })
		if err := insert(ctx, tx); err != nil {
			return err
		}
		return stop
	})
	if err != error(stop) || count() != 1 {
		t.Fatalf("an error must roll back and come out as it is: %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error { _ = insert(ctx, tx); panic("step") })
	}()
	if count() != 1 {
		t.Error("a panic committed")
	}
}

func TestInTxTriesAgainAfterADeadlock(t *testing.T) {
	db := pgtest.DB(t)
	tries := 0
	err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		tries++
		if tries < 3 {
			_, err := tx.Exec(ctx, `DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$`)
			return err
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Fatalf("%d tries, %v", tries, err)
	}
}

func TestOpenSaysNothingOfThePassword(t *testing.T) {
	_, err := pg.Open(t.Context(), pg.Config{DSN: "postgres://u:sesame@[::1"})
	if err == nil || strings.Contains(err.Error(), "sesame") {
		t.Error(err)
	}
}
