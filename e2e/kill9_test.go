package e2e

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	submitters = 6
	underFire  = 90 * time.Second // at most, for 500 messages
)

// letters is how many messages are submitted under fire: 500, or what scripts/kill9.sh
// asks for.
var letters = func() int {
	if n, err := strconv.Atoi(os.Getenv("PLI_KILL9_LETTERS")); err == nil && n > 0 {
		return n
	}
	return 500
}()

// TestKill9 kills -9 processes at random, PostgreSQL's too, while messages are
// submitted, half of them to the other operator. A submitter tries a message again
// until it is answered 250, as mail programs do. Afterwards every message is in its
// recipient's INBOX exactly once, and in the sender's Sent exactly once.
func TestKill9(t *testing.T) {
	need(t, "mbsync")
	d := separate(t)
	karim := d.who(t, "karim.haddad")
	recipients := []account{d.who(t, "claire.morel"), d.who(t, "alice.roy")}
	run := mark("feu")
	var answered, kills atomic.Int64
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() { d.kill(t, stop, &kills) })
	work := make(chan int)
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			for n := range work {
				if d.insist(t, karim, recipients[n%2].Address, run, n) {
					answered.Add(1)
				}
			}
		})
	}
	for n := range letters {
		work <- n
		time.Sleep(30 * time.Millisecond) // so that a fast machine is shot at as often
	}
	close(work)
	wg.Wait()
	close(stop)
	killer.Wait()
	t.Logf("%d messages answered 250, %d processes killed", answered.Load(), kills.Load())
	if n := int(answered.Load()); n != letters {
		t.Errorf("%d of %d messages were never accepted", letters-n, letters)
	}
	if kills.Load() < 5 {
		t.Errorf("only %d processes were killed: too quiet to show anything", kills.Load())
	}
	eventually(t, "everything is back", func() bool { return d.load() == nil })
	for i, to := range recipients {
		d.expectOnce(t, to, "INBOX", run, func(n int) bool { return n%2 == i })
	}
	d.expectOnce(t, karim, "", run, func(int) bool { return true })
	if out, code := d.pli(t, 0, "audit", "verify"); code != 0 {
		t.Errorf("the traces do not hold after the kills: %s", out)
	}
}

// kill shoots one process every while, until stop or the end of the time.
func (d *demo) kill(t *testing.T, stop <-chan struct{}, kills *atomic.Int64) {
	end := time.After(underFire * time.Duration(1+letters/500))
	for {
		select {
		case <-stop:
			return
		case <-end:
			return
		case <-time.After(time.Duration(200+mathrand.IntN(1300)) * time.Millisecond):
		}
		files, _ := filepath.Glob(filepath.Join(d.dir, "*", "*.pid"))
		shared, _ := filepath.Glob(filepath.Join(d.dir, "*.pid"))
		files = append(files, shared...)
		if len(files) == 0 {
			continue
		}
		pid, err := readPID(files[mathrand.IntN(len(files))])
		if err != nil {
			continue
		}
		if strings.Contains(cmdline(pid), "postgres") && mathrand.IntN(2) == 0 {
			pid = anyChild(pid) // a backend: PostgreSQL then recovers by itself
		}
		if pid > 1 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			kills.Add(1)
		}
	}
}

func cmdline(pid int) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return string(b)
}

// anyChild picks a child of a process, or the process itself.
func anyChild(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	f := strings.Fields(string(b))
	if len(f) == 0 {
		return pid
	}
	n, _ := strconv.Atoi(f[mathrand.IntN(len(f))])
	return n
}

// insist submits message n until it is answered 250, for a bounded time.
func (d *demo) insist(t *testing.T, from account, to, run string, n int) bool {
	message := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s n%d.\r\nMessage-ID: <%s.%d@poste.example>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0100\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n", from.Address, to, run, n, run, n, strings.Repeat(rand.Text()+"\r\n", 150))
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(150 * time.Millisecond) {
		err := d.submit(from, to, message)
		if err == nil {
			return true
		}
		if strings.HasPrefix(err.Error(), "5") {
			t.Errorf("message %d: a permanent refusal under fire: %v", n, err)
			return false
		}
	}
	return false
}

// submit sends one message over TLS; nil is a 250.
func (d *demo) submit(from account, to, message string) error {
	pem, err := os.ReadFile(d.path(d.CA))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	op := d.Operators[from.Operator]
	conn, err := tls.Dial("tcp", op.Submissions, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(45 * time.Second))
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		return err
	}
	if err := errors.Join(c.Auth(smtp.PlainAuth("", from.Address, from.Password, "localhost"))); err != nil {
		return err
	}
	if err := c.Mail(from.Address); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(message)); err != nil {
		return err
	}
	return w.Close()
}

// expectOnce waits until every message n that is wanted is in a folder, and then
// checks that each is there exactly once. An empty folder is any but INBOX.
func (d *demo) expectOnce(t *testing.T, a account, folder, run string, wanted func(int) bool) {
	t.Helper()
	var seen map[int]int
	subject := regexp.MustCompile(`(?m)^Subject: ` + run + ` n(\d+)\.\r?$`)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Second) {
		seen = map[int]int{}
		dir := t.TempDir()
		d.mbsync(t, a, dir)
		for path, text := range maildir(t, dir) {
			if strings.HasPrefix(path, filepath.Join(dir, "INBOX")+"/") != (folder == "INBOX") {
				continue
			}
			if m := subject.FindStringSubmatch(text); m != nil {
				n, _ := strconv.Atoi(m[1])
				seen[n]++
			}
		}
		missing := 0
		for n := range letters {
			if wanted(n) && seen[n] == 0 {
				missing++
			}
		}
		if missing == 0 {
			break
		}
		t.Logf("%s: %d not yet there", a.Address, missing)
	}
	for n := range letters {
		if wanted(n) && seen[n] != 1 {
			t.Errorf("message %d is there %d times", n, seen[n])
		}
	}
}
