package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pli/internal/child"
)

// separate starts a demo of its own for a test that stops or kills.
func separate(t *testing.T, env ...string) *demo {
	t.Helper()
	dir, err := os.MkdirTemp("", "pli-e2e")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := startDemo(filepath.Join(dir, "demo"), env...)
	t.Cleanup(func() { d.stop(); os.RemoveAll(dir) })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDemoStopsStartsAndForgets follows one demo through its life: Ctrl-C ends every
// process, a second start keeps people, passwords and mail, a killed supervisor leaves
// nothing that the next start minds, and reset forgets everything.
func TestDemoStopsStartsAndForgets(t *testing.T) {
	d := separate(t)
	karim := d.who(t, "karim.haddad")
	m := mark("memoire")
	if out, code := d.swaks(t, karim, karim.Address, "--h-Subject", m); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	before := d.pids()
	if len(before) < 4 {
		t.Fatalf("only %d processes named in demo.json", len(before))
	}
	d.stop()
	for _, pid := range before {
		if child.Alive(pid) {
			t.Errorf("process %d is alive after Ctrl-C", pid)
		}
	}
	if _, err := os.Stat(d.file()); err == nil {
		t.Error("demo.json is there after the stop")
	}

	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	if again := d.who(t, "karim.haddad"); again != karim {
		t.Error("the second start gave other passwords")
	}
	if uids := d.find(t, karim, "INBOX", m); len(uids) != 1 {
		t.Errorf("the message is there %d times after a restart", len(uids))
	}

	before = d.pids()
	if err := syscall.Kill(d.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "demo.json goes when the supervisor is killed", func() bool { _, err := os.Stat(d.file()); return err != nil })
	for _, pid := range before {
		eventually(t, "every process ends when the supervisor is killed", func() bool { return !child.Alive(pid) })
	}
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	if uids := d.find(t, karim, "INBOX", m); len(uids) != 1 {
		t.Errorf("the message is there %d times after a kill", len(uids))
	}
	d.stop()

	cmd := d.command("demo", "--reset")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left, _ := os.ReadDir(d.dir); len(left) != 0 {
		t.Errorf("left after reset: %v", left)
	}
}

// TestKilledPartsComeBack kills each process that demo.json names, once.
func TestKilledPartsComeBack(t *testing.T) {
	d := separate(t)
	karim := d.who(t, "karim.haddad")
	for _, op := range d.Operators {
		for _, file := range op.PIDs {
			pid, err := readPID(d.path(file))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			eventually(t, file+" comes back", func() bool {
				now, err := readPID(d.path(file))
				_, statErr := os.Stat(d.file())
				return err == nil && now != pid && child.Alive(now) && statErr == nil
			})
		}
	}
	eventually(t, "mail flows again", func() bool {
		_, code := d.swaks(t, karim, karim.Address)
		return code == 0
	})
}

// TestSecondSupervisorIsRefused keeps two demos out of one folder.
func TestSecondSupervisorIsRefused(t *testing.T) {
	out, err := house.command("demo").CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("PLI_DEMO_DIR")) {
		t.Fatalf("err = %v\n%s", err, out)
	}
}

// TestOperatorsCommands asks the commands an operator has.
func TestOperatorsCommands(t *testing.T) {
	if out, code := house.pli(t, 0, "check"); code != 0 || out != "" {
		t.Errorf("check: exit %d\n%s", code, out)
	}
	if out, code := house.pli(t, 1, "doctor"); code != 0 || !strings.Contains(out, "Tout va bien.") {
		t.Errorf("doctor: exit %d\n%s", code, out)
	}
	if out, code := house.pli(t, 1, "doctor", "--ready"); code != 0 {
		t.Errorf("doctor --ready: exit %d\n%s", code, out)
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if out, code := tool(t, "", "curl", "-sS", "-f", "-o", "/dev/null", "-w", "%{http_code}", house.Operators[1].Metrics+path); code != 0 || out != "200" {
			t.Errorf("%s: exit %d, %s", path, code, out)
		}
	}
	if out, code := house.pli(t, 0, "audit", "verify"); code != 0 || !strings.Contains(out, " 0 faults") {
		t.Errorf("audit verify: exit %d\n%s", code, out)
	}
	box := newBox(t, mark("mots."))
	if out, code := house.pli(t, 0, "account", "app-password", "revoke", box.Address, "1"); code == 0 {
		t.Errorf("revoked somebody else's app password:\n%s", out)
	}
	if out, code := house.swaks(t, box, box.Address, "--h-Subject", "avant"); code != 0 {
		t.Errorf("before the rotation: exit %d\n%s", code, out)
	}
	for _, args := range [][]string{{"keys", "rotate", box.Address}, {"keys", "rewrap"}} {
		if out, code := house.pli(t, 0, args...); code != 0 {
			t.Errorf("%v: exit %d\n%s", args, code, out)
		}
	}
	if out, code := house.swaks(t, box, box.Address, "--h-Subject", "apres"); code != 0 {
		t.Errorf("after the rotation: exit %d\n%s", code, out)
	}
	for _, subject := range []string{"avant", "apres"} {
		uids := house.find(t, box, "INBOX", subject)
		if len(uids) != 1 {
			t.Fatalf("%s: %v", subject, uids)
		}
		if got := house.fetch(t, box, "INBOX", uids[0]); !strings.Contains(got, "Subject: "+subject) {
			t.Errorf("%s cannot be read after the rotation", subject)
		}
	}
}
