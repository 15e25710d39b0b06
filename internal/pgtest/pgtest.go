// Package pgtest gives each test its own database, cloned from one that was migrated
// once per test binary. PLI_TEST_DSN names a server to use; without it a private
// PostgreSQL is started and ends with the test binary.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/pg"
	"pli/internal/pgserver"
	"pli/migrations"
)

const template = "pli_template"

var (
	once   sync.Once
	admin  string // DSN without a database name
	prefix string
	failed error
	count  atomic.Int64
)

// DB returns a pool on a fresh, migrated database, dropped when the test ends.
func DB(t testing.TB) *pg.DB {
	t.Helper()
	db, err := pg.Open(t.Context(), pg.Config{DSN: DSN(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// DSN is the connection string of a fresh, migrated database.
func DSN(t testing.TB) string {
	t.Helper()
	once.Do(func() { failed = start() })
	if failed != nil {
		t.Fatalf("pgtest: %v", failed)
	}
	name := fmt.Sprintf("%s_%d", prefix, count.Add(1))
	run(t, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s STRATEGY wal_log", name, prefix))
	t.Cleanup(func() { run(t, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return admin + " dbname=" + name
}

func run(t testing.TB, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := exec(ctx, sql); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

func exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, admin+" dbname=postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// sweep removes what former runs left: a server ends with its test binary, its folder
// stays. One whose server still lives, or that was made within the hour, is let be.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), "pli-pg*"))
	for _, dir := range dirs {
		st, err := os.Stat(dir)
		if err != nil || time.Since(st.ModTime()) < time.Hour {
			continue
		}
		sockets, _ := filepath.Glob(filepath.Join(dir, ".s.PGSQL.*"))
		_, err = os.Stat(filepath.Join(dir, "data", "postmaster.pid"))
		if err != nil && len(sockets) == 0 {
			_ = os.RemoveAll(dir)
		}
	}
}

func start() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	prefix = fmt.Sprintf("%s_%d", template, os.Getpid())
	if admin = os.Getenv("PLI_TEST_DSN"); admin == "" {
		sweep()
		dir, err := os.MkdirTemp("", "pli-pgtest")
		if err != nil {
			return err
		}
		// The folder is under the system's temporary one and the server user must enter it.
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
		s, err := pgserver.Start(ctx, pgserver.Options{Dir: dir + "/data", Scratch: true})
		if err != nil {
			return err
		}
		// The server ends with this process; its folder is swept by the next run.
		admin = strings.TrimSuffix(s.DSN(""), " dbname= sslmode=disable") + " sslmode=disable"
	}
	if err := exec(ctx, "CREATE DATABASE "+prefix); err != nil {
		return err
	}
	return migrations.Up(ctx, admin+" dbname="+prefix)
}
