package pgserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"pli/internal/child"
	"pli/internal/pgserver"
)

// folder is a data directory whose parents the server's user may enter.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pli-pgserver")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "data")
}

func start(t *testing.T, o pgserver.Options) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func TestKilledServerComesBackWithItsData(t *testing.T) {
	o := pgserver.Options{Dir: folder(t), Settings: []string{"shared_buffers=16MB"}}
	s := start(t, o)
	if err := s.EnsureDatabase(t.Context(), "pli"); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), s.DSN("pli"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `CREATE TABLE kept AS SELECT 42 AS n`); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	// Its backends may take a moment to see that their parent is gone.
	var again *pgserver.Server
	for try := 0; again == nil && try < 50; try++ {
		again, err = pgserver.Start(t.Context(), o)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Stop)
	conn, err = pgx.Connect(t.Context(), again.DSN("pli"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), `SELECT n FROM kept`).Scan(&n); err != nil || n != 42 {
		t.Fatalf("n = %d, %v", n, err)
	}
}

func TestSecondOwnerTakesOver(t *testing.T) {
	o := pgserver.Options{Dir: folder(t), Scratch: true}
	first := start(t, o)
	second := start(t, o)
	if child.Alive(first.PID()) {
		t.Fatal("two servers on one data directory")
	}
	if !child.Alive(second.PID()) {
		t.Fatal("the second does not run")
	}
}

func TestOtherMajorIsRefusedWithAWayOut(t *testing.T) {
	dir := folder(t)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := pgserver.Start(t.Context(), pgserver.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "dump with it and restore") {
		t.Fatalf("err = %v", err)
	}
}
