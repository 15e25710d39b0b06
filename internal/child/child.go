// Package child runs one process of another program's, so that it ends when we do,
// however we end: it hangs on a pipe of ours, and a small shell beside it sends it its
// stop signal when the pipe closes. Nothing is left behind by a kill -9 of the parent.
package child

import (
	"bufio"
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
)

// Options say what to run and as whom.
type Options struct {
	Argv []string
	Env  []string // added to ours
	// User to run under when we are root; empty is ourselves.
	User string
	// StopSignal ends the program in order: TERM (the default), INT.
	StopSignal string
	// StopWithin is how long Stop waits before it kills. Zero means 30 s.
	StopWithin time.Duration
	// Output takes what the program prints; nil drops it.
	Output io.Writer
}

// Process is a running program.
type Process struct {
	cmd    *exec.Cmd
	pipe   *os.File
	pid    int
	within time.Duration
	done   chan struct{}
	err    error
}

// The shell starts the program, says its process id on descriptor 4, and waits for it.
// A second shell waits for the end of descriptor 3, which our parent holds open, and
// stops the program then, even when the first shell was killed.
const keeper = `S=$1; shift
"$@" 3<&- 4>&- </dev/null & P=$!
echo $P >&4; exec 4>&-
trap 'kill -$S $P 2>/dev/null' TERM INT HUP
( trap '' TERM INT HUP; while read -r _; do :; done; kill -$S $P 2>/dev/null ) <&3 >/dev/null 2>&1 &
W=$!
exec 3<&-
wait $P; R=$?
while kill -0 $P 2>/dev/null; do wait $P; R=$?; done
kill -9 $W 2>/dev/null
exit $R`

// Start runs the program. It may not be ready yet when Start returns.
func Start(o Options) (*Process, error) {
	cred, err := Credential(o.User)
	if err != nil {
		return nil, err
	}
	if o.StopSignal == "" {
		o.StopSignal = "TERM"
	}
	if o.StopWithin == 0 {
		o.StopWithin = 30 * time.Second
	}
	hold, pipe, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &Process{pipe: pipe, within: o.StopWithin, done: make(chan struct{})}
	p.cmd = exec.Command("/bin/sh", append([]string{"-c", keeper, "sh", o.StopSignal}, o.Argv...)...)
	p.cmd.Dir = "/" // a folder that any user may enter
	p.cmd.Env = append(os.Environ(), o.Env...)
	p.cmd.ExtraFiles = []*os.File{hold, tell}
	p.cmd.Stdout, p.cmd.Stderr = o.Output, o.Output
	// Its own process group: a Ctrl-C at the terminal is for us to pass on, in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setpgid: true}
	err = p.cmd.Start()
	hold.Close()
	tell.Close()
	if err != nil {
		pipe.Close()
		told.Close()
		return nil, err
	}
	line, _ := bufio.NewReader(told).ReadString('\n')
	told.Close()
	p.pid, _ = strconv.Atoi(strings.TrimSpace(line))
	go p.wait()
	return p, nil
}

func (p *Process) wait() {
	p.err = p.cmd.Wait()
	// Should the keeper alone have been killed, its helper now stops the program.
	p.pipe.Close()
	for deadline := time.Now().Add(p.within); Alive(p.pid) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	close(p.done)
}

// PID is the program's own process id, not its keeper's.
func (p *Process) PID() int { return p.pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the program ended, once Done is closed.
func (p *Process) Err() error { return p.err }

// Stop ends the program in order and waits for it; after StopWithin it is killed.
func (p *Process) Stop() {
	p.pipe.Close()
	select {
	case <-p.done:
		return
	case <-time.After(p.within):
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Alive reports whether a process runs (a zombie does not).
func Alive(pid int) bool {
	if pid <= 0 || syscall.Kill(pid, 0) == syscall.ESRCH {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return !os.IsNotExist(err) || !dirExists("/proc/self")
	}
	// pid (name) state …: the name may hold anything, the state follows the last ')'.
	_, after, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	return !strings.HasPrefix(after, "Z")
}

func dirExists(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// Credential is the system user a program runs under; nil when we are not root, or
// when no name is given.
func Credential(name string) (*syscall.Credential, error) {
	if os.Getuid() != 0 || name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("child: there is no system user %q: %w", name, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// Give makes a folder (mode 0700) that belongs to the user a program runs under.
func Give(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cred, err := Credential(name)
	if err != nil || cred == nil {
		return err
	}
	return os.Chown(dir, int(cred.Uid), int(cred.Gid))
}

// MayEnter reports whether a system user may enter every folder above path, going by
// owner, group and mode. Always true when we are not root: the program is then us.
func MayEnter(path, name string) bool {
	cred, err := Credential(name)
	if err != nil {
		return false
	}
	if cred == nil {
		return true
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err == nil && !enters(st, cred) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

func enters(st os.FileInfo, cred *syscall.Credential) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	switch {
	case sys.Uid == cred.Uid:
		return st.Mode()&0o100 != 0
	case sys.Gid == cred.Gid:
		return st.Mode()&0o010 != 0
	default:
		return st.Mode()&0o001 != 0
	}
}
