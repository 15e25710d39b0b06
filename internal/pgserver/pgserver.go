// Package pgserver runs a private PostgreSQL: it finds installed binaries, makes the
// data directory, starts the server on a Unix socket only, and stops it. As root the
// server runs under its own system user, for PostgreSQL refuses to be root.
//
// The server hangs on a pipe of ours: when this process ends, however it ends, the
// server is stopped in order (SIGINT, the fast shutdown).
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// MinMajor is the oldest PostgreSQL that Pli runs on.
const MinMajor = 15

// Options say how the server is kept.
type Options struct {
	Dir      string    // data directory, made when missing
	Bin      string    // directory of the binaries; found when empty
	User     string    // system user to run under when we are root
	Settings []string  // more postgresql.conf settings, "name=value"
	Scratch  bool      // a test database: no fsync, lost at a crash
	Log      io.Writer // what the server prints; nil drops it
}

// Server is a running PostgreSQL.
type Server struct {
	opt    Options
	socket string
	cmd    *exec.Cmd
	pipe   io.WriteCloser
	done   chan struct{}
	err    error
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
// be asked when it returns.
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
	cred, err := credential(opt.User)
	if err != nil {
		return nil, err
	}
	s := &Server{opt: opt, done: make(chan struct{})}
	if err := s.initialise(ctx, cred); err != nil {
		return nil, err
	}
	// A socket path has at most 107 octets: keep it short and out of the data folder.
	if s.socket, err = os.MkdirTemp("", "pli-pg"); err != nil {
		return nil, err
	}
	if err := give(s.socket, cred); err != nil {
		return nil, err
	}
	if err := s.launch(cred); err != nil {
		return nil, err
	}
	if err := s.wait(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// credential is the system user that the server runs under; nil when we are not root.
func credential(name string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	if name == "" {
		name = "postgres"
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("pgserver: PostgreSQL refuses to run as root and there is no system user %q: %w", name, err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func give(dir string, cred *syscall.Credential) error {
	if cred == nil {
		return nil
	}
	return os.Chown(dir, int(cred.Uid), int(cred.Gid))
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
	if err := os.MkdirAll(s.opt.Dir, 0o700); err != nil {
		return err
	}
	if err := give(s.opt.Dir, cred); err != nil {
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

// The shell waits for the end of its standard input, which we hold open, and then
// stops the server; it also ends when the server ends by itself.
const keeper = `"$@" </dev/null & P=$!
trap 'kill -INT $P 2>/dev/null' TERM INT HUP
( while read -r _; do :; done; kill -INT $P 2>/dev/null ) <&3 &
W=$!
wait $P; R=$?
while kill -0 $P 2>/dev/null; do wait $P; R=$?; done
kill $W 2>/dev/null
exit $R`

func (s *Server) launch(cred *syscall.Credential) error {
	args := []string{"-c", keeper, "sh", filepath.Join(s.opt.Bin, "postgres"), "-D", s.opt.Dir,
		"-c", "listen_addresses=", "-c", "unix_socket_directories=" + s.socket, "-c", "unix_socket_permissions=0700"}
	settings := s.opt.Settings
	if s.opt.Scratch {
		settings = append([]string{"fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300"}, settings...)
	}
	for _, set := range settings {
		args = append(args, "-c", set)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	s.cmd = exec.Command("/bin/sh", args...)
	s.cmd.Dir = "/"
	s.cmd.ExtraFiles = []*os.File{r} // descriptor 3
	s.cmd.Stdout, s.cmd.Stderr = s.opt.Log, s.opt.Log
	// Its own process group: a Ctrl-C at the terminal is for us to pass on, in order.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	r.Close()
	s.pipe = w
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	return nil
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
		case <-s.done:
			return fmt.Errorf("pgserver: the server ended before it was ready: %w", s.err)
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

// PIDFile is where the server writes its process id, on the first line.
func (s *Server) PIDFile() string { return filepath.Join(s.opt.Dir, "postmaster.pid") }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop ends the server in order and waits for it.
func (s *Server) Stop() {
	s.pipe.Close()
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	os.RemoveAll(s.socket)
}

// EnsureDatabase makes a database when it is missing.
func (s *Server) EnsureDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
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
