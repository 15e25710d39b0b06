// Package clamserver runs a private clamd for the demo and for tests, on a Unix
// socket, with a signature set of its own that knows EICAR and nothing else: it shows
// that mail is scanned; it protects nobody. A real installation points Pli at a clamd
// that freshclam feeds.
package clamserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"pli/internal/child"
)

// Options say how clamd is kept.
type Options struct {
	// Dir holds the configuration, the signatures and the socket. Its path must be
	// short, and the user must be able to enter the folders above it.
	Dir string
	// User to run under when we are root.
	User string
	// StreamMaxSize in octets; it must exceed the largest message. Zero means 64 MiB.
	StreamMaxSize int64
	// Output takes what clamd prints.
	Output io.Writer
}

// Server is a running clamd.
type Server struct {
	process *child.Process
	socket  string
}

// ErrMissing says that no clamd is installed.
var ErrMissing = errors.New("clamserver: no clamd found; on Debian: apt-get install clamav-daemon")

// Find returns the path of clamd, empty when there is none.
func Find() string {
	if path, err := exec.LookPath("clamd"); err == nil {
		return path
	}
	for _, path := range []string{"/usr/sbin/clamd", "/usr/local/sbin/clamd", "/opt/homebrew/sbin/clamd"} {
		if st, err := os.Stat(path); err == nil && st.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// eicar is the public test signature, written in hexadecimal so that no scanner stops
// at this very file.
const eicar = "Eicar-Test-Signature:0:*:58354f2150254041505b345c505a58353428505e2937434329377d2445494341522d5354414e444152442d414e544956495255532d544553542d46494c452124482b482a\n"

const configuration = `# Written by Pli at each start.
Foreground yes
LocalSocket %[1]s/clamd.sock
LocalSocketMode 666
FixStaleSocket yes
DatabaseDirectory %[1]s/db
TemporaryDirectory %[1]s/tmp
StreamMaxLength %[2]d
MaxScanSize %[3]d
MaxFileSize %[2]d
MaxThreads 4
MaxQueue 64
CommandReadTimeout 60
ReadTimeout 120
SelfCheck 0
OfficialDatabaseOnly no
ScanMail yes
ScanArchive yes
Debug no
`

// Start runs clamd, ready to be asked when it returns.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin := Find()
	if bin == "" {
		return nil, ErrMissing
	}
	if o.StreamMaxSize == 0 {
		o.StreamMaxSize = 64 << 20
	}
	if err := o.write(); err != nil {
		return nil, err
	}
	p, err := child.Start(child.Options{User: o.User, Output: o.Output, Argv: []string{bin, "--config-file=" + filepath.Join(o.Dir, "clamd.conf")}})
	if err != nil {
		return nil, err
	}
	s := &Server{process: p, socket: filepath.Join(o.Dir, "clamd.sock")}
	if err := s.answers(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return s, nil
}

func (o Options) write() error {
	for _, dir := range []string{o.Dir, filepath.Join(o.Dir, "db"), filepath.Join(o.Dir, "tmp")} {
		if err := child.Give(dir, o.User); err != nil {
			return err
		}
	}
	_ = os.Remove(filepath.Join(o.Dir, "clamd.sock")) // of a clamd that was killed
	if err := os.WriteFile(filepath.Join(o.Dir, "db", "pli-demo.ndb"), []byte(eicar), 0o644); err != nil {
		return err
	}
	conf := fmt.Sprintf(configuration, o.Dir, o.StreamMaxSize, 2*o.StreamMaxSize)
	return os.WriteFile(filepath.Join(o.Dir, "clamd.conf"), []byte(conf), 0o644)
}

func (s *Server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if ping(s.socket) == nil {
			return nil
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("clamserver: clamd ended before it was ready: %w", s.process.Err())
		case <-ctx.Done():
			return errors.New("clamserver: clamd does not answer")
		case <-time.After(25 * time.Millisecond):
		}
	}
}

func ping(socket string) error {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("zPING\x00")); err != nil {
		return err
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "PONG\x00" {
		return errors.New("no pong")
	}
	return nil
}

// Socket is the path of the Unix socket.
func (s *Server) Socket() string { return s.socket }

// PID of clamd.
func (s *Server) PID() int { return s.process.PID() }

// Done is closed when clamd has ended.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Stop ends it.
func (s *Server) Stop() { s.process.Stop() }
