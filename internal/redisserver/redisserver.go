// Package redisserver runs a private Redis for the demo and for tests: Debian's
// redis-server as a child on a Unix socket when it is installed, else miniredis in
// this process. Redis only wakes and counts here, so neither keeps anything on disk.
package redisserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/alicebob/miniredis/v2"

	"pli/internal/child"
)

// Options say how Redis is kept.
type Options struct {
	// Dir holds the socket. Its path must be short (107 octets with the name), and the
	// user must be able to enter the folders above it.
	Dir string
	// User to run under when we are root.
	User string
	// Addr and Password are those of the stand-in, on loopback. An empty password is
	// made at random.
	Addr, Password string
	// BuiltIn asks for the stand-in even where redis-server is installed.
	BuiltIn bool
	// Output takes what redis-server prints.
	Output io.Writer
}

// Server is a running Redis.
type Server struct {
	url     string
	process *child.Process
	mini    *miniredis.Miniredis
	stop    context.CancelFunc
	done    chan struct{}
}

// Find returns the path of redis-server, empty when there is none.
func Find() string {
	for _, p := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	return ""
}

// Start runs a Redis, ready to be asked when it returns.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin := Find()
	if o.BuiltIn || bin == "" {
		return startMini(o)
	}
	if err := child.Give(o.Dir, o.User); err != nil {
		return nil, err
	}
	socket := filepath.Join(o.Dir, "redis.sock")
	p, err := child.Start(child.Options{User: o.User, Output: o.Output, Argv: []string{bin, "--port", "0", "--unixsocket", socket,
		"--unixsocketperm", "700", "--save", "", "--appendonly", "no", "--dir", o.Dir, "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"}})
	if err != nil {
		return nil, err
	}
	s := &Server{url: "unix://" + socket + "?db=0", process: p}
	if err := answers(ctx, p, socket); err != nil {
		p.Stop()
		return nil, err
	}
	return s, nil
}

// answers waits for a PONG on the socket.
func answers(ctx context.Context, p *child.Process, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if ping(socket) == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("redisserver: redis-server ended before it was ready: %w", p.Err())
		case <-ctx.Done():
			return errors.New("redisserver: redis-server does not answer")
		case <-time.After(15 * time.Millisecond):
		}
	}
}

func ping(socket string) error {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	b := make([]byte, 7)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "+PONG\r\n" {
		return errors.New("no pong")
	}
	return nil
}

func startMini(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Password == "" {
		o.Password = rand.Text()
	}
	m := miniredis.NewMiniRedis()
	m.RequireAuth(o.Password)
	if err := m.StartAddr(o.Addr); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{url: "redis://:" + o.Password + "@" + m.Addr() + "/0", mini: m, stop: cancel, done: make(chan struct{})}
	go s.tick(ctx)
	return s, nil
}

// tick makes keys expire: miniredis never does it by itself.
func (s *Server) tick(ctx context.Context) {
	defer close(s.done)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mini.Close()
			return
		case <-t.C:
			s.mini.FastForward(time.Second)
		}
	}
}

// URL of this Redis, for go-redis.
func (s *Server) URL() string { return s.url }

// BuiltIn reports whether this is the stand-in.
func (s *Server) BuiltIn() bool { return s.mini != nil }

// PID of redis-server; zero for the stand-in.
func (s *Server) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.PID()
}

// Done is closed when Redis has ended.
func (s *Server) Done() <-chan struct{} {
	if s.process == nil {
		return s.done
	}
	return s.process.Done()
}

// Stop ends it.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.Stop()
		return
	}
	s.stop()
	<-s.done
}
