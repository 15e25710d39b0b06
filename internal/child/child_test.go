package child_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pli/internal/child"
)

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestStopEndsTheProgramInOrder(t *testing.T) {
	var out bytes.Buffer
	p, err := child.Start(child.Options{Argv: []string{"/bin/sh", "-c", `trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done`}, Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	if !child.Alive(p.PID()) {
		t.Fatal("not running")
	}
	time.Sleep(100 * time.Millisecond) // let it set its trap
	p.Stop()
	if out.String() != "bye\n" || child.Alive(p.PID()) {
		t.Fatalf("printed %q", out.String())
	}
}

func TestStopKillsWhatWillNotEnd(t *testing.T) {
	p, err := child.Start(child.Options{Argv: []string{"/bin/sh", "-c", `trap '' TERM; while :; do sleep 0.05; done`}, StopWithin: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	p.Stop()
	if child.Alive(p.PID()) {
		t.Fatal("still alive")
	}
}

func TestKillOfTheProgramIsSeen(t *testing.T) {
	p, err := child.Start(child.Options{Argv: []string{"sleep", "60"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("Done is not closed")
	}
	if p.Err() == nil {
		t.Fatal("a killed program ended well?")
	}
}

// TestProgramEndsWithItsParent kills the parent (this test binary, run again) and
// looks for what it left.
func TestProgramEndsWithItsParent(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	if os.Getenv("CHILD_TEST_PARENT") != "" {
		p, err := child.Start(child.Options{Argv: []string{"sleep", "60"}})
		if err != nil {
			t.Fatal(err)
		}
		_ = os.WriteFile(os.Getenv("CHILD_TEST_PARENT"), []byte(strconv.Itoa(p.PID())), 0o600)
		select {}
	}
	parent := exec.Command(os.Args[0], "-test.run", "^TestProgramEndsWithItsParent$")
	parent.Env = append(os.Environ(), "CHILD_TEST_PARENT="+pidFile)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	eventually(t, "the program starts", func() bool {
		b, _ := os.ReadFile(pidFile)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return pid > 0 && child.Alive(pid)
	})
	_ = parent.Process.Kill()
	_ = parent.Wait()
	eventually(t, "the program ends", func() bool { return !child.Alive(pid) })
}

func TestMayEnter(t *testing.T) {
	if os.Getuid() != 0 {
		if !child.MayEnter("/anywhere/else", "nobody") {
			t.Fatal("we are the program: nothing to enter as another")
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "in")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if child.MayEnter(filepath.Join(dir, "x"), "nobody") {
		t.Fatal("nobody enters a 0700 folder of root's")
	}
	if !child.MayEnter("/usr/x", "nobody") {
		t.Fatal("anybody enters /usr")
	}
}
