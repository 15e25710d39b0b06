// Package pgserver runs a private PostgreSQL: it finds installed binaries, makes the
// data directory, starts the server on a Unix socket only, and stops it. As root the
// server runs under its own system user, for PostgreSQL refuses to be root.
//
// When this process ends, however it ends, the server is stopped in order (internal/child).
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/internal/child"
)

// MinMajor is the oldest PostgreSQL that Pli runs on.
const MinMajor = 15

// Options say how the server is kept.
type Options struct {
	Dir      string    // data directory, made when missing
	Bin      string    // directory of the binaries; found when empty
	Socket   string    // directory of the socket; a fresh temporary one when empty
	User     string    // system user to run under when we are root
	Settings []string  // more postgresql.conf settings, "name=value"
	Scratch  bool      // a test database: no fsync, lost at a crash
	Log      io.Writer // what the server prints; nil drops it
}

// Server is a running PostgreSQL.
type Server struct {
	opt     Options
	socket  string
	process *child.Process
}

// Find returns the directory of the newest PostgreSQL binaries of major MinMajor or
// later: PLI_POSTGRES_BIN, then Debian's versioned folders, then Homebrew's, then the
// PATH.
func Find() (string, error) {
	if dir := os.Getenv("PLI_POSTGRES_BIN"); dir != "" {
		return dir, nil
	}
	var found []string
	for _, g := range []string{"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin", "/usr/pgsql-*/bin"} {
		m, _ := filepath.Glob(g)
		found = append(found, m...)
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			found = append(found, filepath.Dir(p))
		}
	}
	best, bestMajor := "", 0
	for _, dir := range found {
		if major := majorOf(dir); major >= MinMajor && major > bestMajor && executable(filepath.Join(dir, "initdb")) {
			best, bestMajor = dir, major
		}
	}
	if best == "" {
		return "", fmt.Errorf("pgserver: no PostgreSQL %d or later found; on Debian: apt-get install postgresql", MinMajor)
	}
	return best, nil
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&0o111 != 0
}

func majorOf(dir string) int {
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	f := strings.Fields(string(out)) // postgres (PostgreSQL) 15.18 (Debian …)
	if len(f) < 3 {
		return 0
	}
	v, _, _ := strings.Cut(f[2], ".")
	n, _ := strconv.Atoi(v)
	return n
}

// Start makes the data directory when it is missing and starts the server, ready to
// be asked when it returns. A server that a killed parent left on the same data
// directory is stopped first.
func Start(ctx context.Context, opt Options) (*Server, error) {
	if opt.Bin == "" {
		dir, err := Find()
		if err != nil {
			return nil, err
		}
		opt.Bin = dir
	}
	abs, err := filepath.Abs(opt.Dir)
	if err != nil {
		return nil, err
	}
	opt.Dir = abs
	if opt.User == "" {
		opt.User = "postgres"
	}
	cred, err := child.Credential(opt.User)
	if err != nil {
		return nil, fmt.Errorf("pgserver: PostgreSQL refuses to run as root: %w", err)
	}
	s := &Server{opt: opt}
	if err := s.initialise(ctx, cred); err != nil {
		return nil, err
	}
	if err := takeOver(opt.Dir); err != nil {
		return nil, err
	}
	// A socket path has at most 107 octets: keep it short and out of the data folder.
	if s.socket = opt.Socket; s.socket == "" {
		if s.socket, err = os.MkdirTemp("", "pli-pg"); err != nil {
			return nil, err
		}
	}
	if err := child.Give(s.socket, opt.User); err != nil {
		return nil, err
	}
	if err := s.launch(); err != nil {
		return nil, err
	}
	if err := s.wait(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// takeOver waits for the end of a postmaster that still holds the data directory. Its
// process id may since belong to another program: the one found must work in dir.
func takeOver(dir string) error {
	path := filepath.Join(dir, "postmaster.pid")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil // no server
		}
		line, _, _ := strings.Cut(string(b), "\n")
		pid, _ := strconv.Atoi(strings.TrimSpace(line))
		if cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd"); err != nil || cwd != dir || !child.Alive(pid) {
			return nil // stale: the server itself removes the file
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("pgserver: another server (process %d) holds %s and does not end", pid, dir)
		}
		_ = syscall.Kill(pid, syscall.SIGINT)
	}
}

func (s *Server) initialise(ctx context.Context, cred *syscall.Credential) error {
	version, err := os.ReadFile(filepath.Join(s.opt.Dir, "PG_VERSION"))
	if err == nil {
		have, want := strings.TrimSpace(string(version)), majorOf(s.opt.Bin)
		if have != strconv.Itoa(want) {
			return fmt.Errorf("pgserver: %s was made by PostgreSQL %s and the binaries in %s are %d: install PostgreSQL %s, or dump with it and restore into a new folder", s.opt.Dir, have, s.opt.Bin, want, have)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := child.Give(s.opt.Dir, s.opt.User); err != nil {
		return err
	}
	args := []string{"-D", s.opt.Dir, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--data-checksums"}
	if s.opt.Scratch {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.opt.Bin, "initdb"), args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgserver: initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) launch() (err error) {
	argv := []string{filepath.Join(s.opt.Bin, "postgres"), "-D", s.opt.Dir,
		"-c", "listen_addresses=", "-c", "unix_socket_directories=" + s.socket, "-c", "unix_socket_permissions=0700"}
	settings := s.opt.Settings
	if s.opt.Scratch {
		settings = append([]string{"fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300"}, settings...)
	}
	for _, set := range settings {
		argv = append(argv, "-c", set)
	}
	// SIGINT is the fast shutdown: sessions are cut, nothing committed is lost.
	s.process, err = child.Start(child.Options{Argv: argv, User: s.opt.User, StopSignal: "INT", Output: s.opt.Log})
	return err
}

func (s *Server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("pgserver: the server ended before it was ready: %w", s.process.Err())
		case <-ctx.Done():
			return fmt.Errorf("pgserver: not ready: %w", err)
		case <-time.After(15 * time.Millisecond):
		}
	}
}

// DSN is the connection string of one database of this server, as its superuser.
func (s *Server) DSN(database string) string {
	return "host=" + s.socket + " user=postgres dbname=" + database + " sslmode=disable"
}

// Socket is the directory of the server's socket.
func (s *Server) Socket() string { return s.socket }

// PID of the postmaster.
func (s *Server) PID() int { return s.process.PID() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Stop ends the server in order and waits for it.
func (s *Server) Stop() {
	s.process.Stop()
	if s.opt.Socket == "" {
		os.RemoveAll(s.socket)
	}
}

// EnsureDatabase makes a database when it is missing.
func (s *Server) EnsureDatabase(ctx context.Context, name string) error {
	return EnsureDatabase(ctx, s.DSN("postgres"), name)
}

// EnsureDatabase makes a database when it is missing, on the server of dsn.
func EnsureDatabase(ctx context.Context, dsn, name string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&there); err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return err
}
