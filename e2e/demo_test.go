package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pli/internal/child"
)

// demo is a running `pli demo` and what its demo.json says.
type demo struct {
	dir string
	cmd *exec.Cmd
	out *bytes.Buffer
	env []string
	mu  sync.Mutex

	CA        string
	Operators []struct {
		Domain, MX, Submission, Submissions, IMAP, IMAPS, Web, Metrics string
		LDAP, LDAPS, FHIR, DAV                                         string
		Data, PIDs                                                     []string
	}
	Accounts []account
}

type account struct {
	Operator            int
	Kind, Address, Name string
	Login, Password     string
	Web                 string `json:"web_password"` // a professional's
	TOTPSecret          string `json:"totp_secret"`
	ClientCert          string `json:"client_cert"`
	ClientKey           string `json:"client_key"`
	RPPS, FINESS, INS   string
}

var (
	binary string // the pli under test
	house  *demo  // shared by the tests that leave it as they found it
	root   string // of the checkout
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if root, err = filepath.Abs(".."); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "pli-e2e")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	// Services under their own users must be able to enter.
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "pli")
	if out, err := exec.Command("go", "build", "-o", binary, "pli/cmd/pli").CombinedOutput(); err != nil {
		fmt.Printf("build: %v\n%s", err, out)
		return 1
	}
	// Operator a runs one process per role, b all roles in one: one suite, two houses.
	if house, err = startDemo(filepath.Join(dir, "demo"), "PLI_DEMO_SPLIT=a", "PLI_LDAP_HOURLY_ENTRIES=10000000"); err != nil {
		fmt.Println(err)
		return 1
	}
	defer house.stop()
	return m.Run()
}

// startDemo runs a demo in a folder and waits until it is ready.
func startDemo(dir string, env ...string) (*demo, error) {
	d := &demo{dir: dir, out: &bytes.Buffer{}, env: append([]string{"PLI_DEMO_DIR=" + dir, "PLI_DEMO_PORT=" + strconv.Itoa(freePorts(45))}, env...)}
	return d, d.start()
}

// command runs the binary under test for this demo.
func (d *demo) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), d.env...)
	return cmd
}

func (d *demo) start() error {
	d.cmd = d.command("demo")
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = d.cmd.Wait(); close(ended) }()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if d.load() == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("pli demo ended:\n%s\n%s", d.out, d.logs())
		default:
		}
	}
	return fmt.Errorf("pli demo is not ready after two minutes:\n%s\n%s", d.out, d.logs())
}

// logs gives the end of every log file.
func (d *demo) logs() string {
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(d.dir, "log", "*"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		if len(text) > 3000 {
			text = text[len(text)-3000:]
		}
		fmt.Fprintf(&b, "== %s\n%s\n", filepath.Base(f), text)
	}
	return b.String()
}

func (d *demo) file() string { return filepath.Join(d.dir, "demo.json") }

func (d *demo) load() error {
	b, err := os.ReadFile(d.file())
	if err != nil {
		return err
	}
	return json.Unmarshal(b, d)
}

// path resolves a path of demo.json, which is relative to the checkout.
func (d *demo) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(root, p)
}

// pids are the processes that demo.json names, now.
func (d *demo) pids() []int {
	var out []int
	for _, op := range d.Operators {
		for _, f := range op.PIDs {
			if pid, err := readPID(d.path(f)); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

func readPID(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// stop is Ctrl-C.
func (d *demo) stop() {
	_ = d.cmd.Process.Signal(os.Interrupt)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if !child.Alive(d.cmd.Process.Pid) {
			return
		}
	}
	_ = d.cmd.Process.Kill()
}

// freePorts finds the first of n free ports in a row, below those that the system
// lends to outgoing connections.
func freePorts(n int) int {
	for first := 21000 + os.Getpid()%180*60; ; first += 60 {
		if first > 32000 {
			first = 16000
		}
		ok := true
		for p := first; p < first+n && ok; p++ {
			ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
			if ok = err == nil; ok {
				ln.Close()
			}
		}
		if ok {
			return first
		}
	}
}

// who finds an account of the cast by the start of its address or login.
func (d *demo) who(t *testing.T, start string) account {
	t.Helper()
	for _, a := range d.Accounts {
		if strings.HasPrefix(a.Address, start) || (a.Login != "" && strings.HasPrefix(a.Login, start)) {
			return a
		}
	}
	t.Fatalf("nobody called %s", start)
	return account{}
}

// need finds a tool. Where everything must be there (CI), a missing one is a failure.
func need(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err == nil {
		return path
	}
	if os.Getenv("PLI_E2E") != "" {
		t.Fatalf("%s is not installed: run scripts/ci-deps.sh", tool)
	}
	t.Skipf("%s is not installed", tool)
	return ""
}

// tool runs a program and returns what it printed and how it ended.
func tool(t *testing.T, stdin string, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// eventually waits for something that another process brings about.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("never: %s\n%s", what, house.logs())
}
