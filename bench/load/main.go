// Command load measures a running demo: messages of several sizes over several
// connections, how long until IDLE tells, and how fast a mailbox is read. It is bounded
// in count and time, talks to loopback only, and prints one line per measure.
//
//	load [-demo .demo/demo.json] [-conns 20] [-scale 1]
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// target is what demo.json says of the first operator.
type target struct {
	CA        string
	Operators []struct {
		Submissions, IMAPS string
		Data, PIDs         []string
	}
	Accounts []struct {
		Operator                int
		Kind, Address, Password string
	}
}

type person struct{ address, password string }

func main() {
	file := flag.String("demo", ".demo/demo.json", "demo.json of a running demo")
	conns := flag.Int("conns", 20, "connections")
	scale := flag.Float64("scale", 1, "multiplies the counts of messages")
	flag.Parse()
	if err := run(*file, *conns, *scale); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(file string, conns int, scale float64) error {
	t, err := open(file)
	if err != nil {
		return err
	}
	people := t.people()
	if len(people) < 2 {
		return fmt.Errorf("two mailboxes with a password are needed")
	}
	from, to := people[0], people[1]
	d, err := newDialer(t.CA)
	if err != nil {
		return err
	}
	m := meter{pids: t.Operators[0].PIDs, dirs: t.Operators[0].Data}
	fmt.Printf("%-22s %s\n", "at rest", m.memory())
	for _, s := range []struct {
		name     string
		size     int
		messages int
		conns    int
	}{{"5 KB", 5_000, 1000, conns}, {"100 KB", 100_000, 300, conns}, {"10 MB", 10_000_000, 10, min(conns, 2)}} {
		n := max(int(float64(s.messages)*scale), s.conns)
		if err := submitAll(d, t.Operators[0].Submissions, people, s.name, s.size, n, s.conns, &m); err != nil {
			return err
		}
	}
	if err := idle(d, t.Operators[0].Submissions, t.Operators[0].IMAPS, from, to, max(int(60*scale), 5)); err != nil {
		return err
	}
	if err := fetchAll(d, t.Operators[0].IMAPS, to, &m); err != nil {
		return err
	}
	fmt.Printf("%-22s %s\n", "after", m.memory())
	return nil
}

// open reads demo.json; its paths start from the checkout, which is where we run.
func open(file string) (*target, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w (is the demo running?)", err)
	}
	var t target
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, err
	}
	for _, op := range t.Operators {
		if host, _, _ := net.SplitHostPort(op.Submissions); host != "127.0.0.1" {
			return nil, fmt.Errorf("%s is not on loopback", op.Submissions)
		}
	}
	return &t, nil
}

// people are those of the first operator who sign in with an app password.
func (t *target) people() []person {
	var out []person
	for _, a := range t.Accounts {
		if a.Operator == 0 && a.Password != "" && (a.Kind == "PER" || a.Kind == "ORG") {
			out = append(out, person{a.Address, a.Password})
		}
	}
	return out
}

// submitAll sends n messages of one size over some connections, from one person to the
// next, and prints the rate, the latencies, the cost.
func submitAll(d *dialer, addr string, people []person, name string, size, n, conns int, m *meter) error {
	body := attachment(size)
	cpu, disk, start := m.cpu(), m.disk(), time.Now()
	var next atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			lat, err := submitSome(d, addr, people[i%len(people)], people[(i+1)%len(people)], body, func() int {
				if k := int(next.Add(1)); k <= n && time.Since(start) < 2*time.Minute {
					return k
				}
				return 0
			})
			mu.Lock()
			defer mu.Unlock()
			took = append(took, lat...)
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	wall, done := time.Since(start).Seconds(), float64(len(took))
	cpu = m.cpu() - cpu
	time.Sleep(time.Second) // let the database write what it holds
	fmt.Printf("%-22s %7.1f msg/s   %s   %.2f ms CPU/message   %.0f bytes on disk/message (%d of content)   %s\n",
		fmt.Sprintf("submit %s ×%d, %d c.", name, len(took), conns), done/wall, percentiles(took), cpu*1000/done, float64(m.disk()-disk)/done, size, m.memory())
	return nil
}

func percentiles(l []time.Duration) string {
	if len(l) == 0 {
		return "no sample"
	}
	slices.Sort(l)
	at := func(p float64) float64 { return l[min(int(p*float64(len(l))), len(l)-1)].Seconds() * 1000 }
	return fmt.Sprintf("p50 %.1f p95 %.1f p99 %.1f ms", at(0.50), at(0.95), at(0.99))
}

// attachment is size octets that do not compress, as a scan or a PDF is, in base64 lines.
func attachment(size int) string {
	raw := make([]byte, size)
	rand.Read(raw) // never fails (crypto/rand)
	enc := base64.StdEncoding.EncodeToString(raw)
	var b strings.Builder
	b.Grow(len(enc) + len(enc)/38 + 2)
	for len(enc) > 76 {
		b.WriteString(enc[:76] + "\r\n")
		enc = enc[76:]
	}
	b.WriteString(enc + "\r\n")
	return b.String()
}

// paths resolves the relative paths of demo.json.
func paths(files []string) []string {
	var out []string
	for _, f := range files {
		p, err := filepath.Abs(f)
		if err == nil {
			out = append(out, p)
		}
	}
	return out
}
