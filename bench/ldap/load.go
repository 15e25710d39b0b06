package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"pli/ldapd"
)

// kinds of question, and how many in ten.
const (
	begins   = iota // what Outlook and others send: 3 to 8 letters of a name
	contains        // what Thunderbird sends
	absent          // a name that nobody has
	kinds
)

var kindNames = [kinds]string{"begins", "contains", "nobody"}

type question struct {
	kind   int
	filter string
}

type fullName struct{ family, given string }

func readNames(path string) ([]fullName, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ns []fullName
	for s := bufio.NewScanner(f); s.Scan(); {
		family, given, _ := strings.Cut(s.Text(), "\t")
		if len([]rune(family)) >= 3 && len([]rune(given)) >= 3 {
			ns = append(ns, fullName{family, given})
		}
	}
	if len(ns) < 100 {
		return nil, errors.New("too few names")
	}
	return ns, nil
}

// ask makes questions of what people type: always the same.
func ask(names []fullName, n int) []question {
	r := rand.New(rand.NewPCG(1, 2))
	start := func(s string) string {
		rs := []rune(s)
		return ldap.EscapeFilter(string(rs[:min(len(rs), 3+r.IntN(6))]))
	}
	qs := make([]question, 0, n)
	for range n {
		name := names[r.IntN(len(names))]
		typed := start(name.family)
		switch r.IntN(10) {
		case 0, 1:
			typed = start(name.given)
		case 2, 3:
			typed = ldap.EscapeFilter(name.family) + " " + start(name.given)
		}
		switch r.IntN(10) {
		case 0:
			qs = append(qs, question{contains, fmt.Sprintf("(|(cn=*%[1]s*)(mail=*%[1]s*)(givenName=*%[1]s*)(sn=*%[1]s*))", typed)})
		case 1:
			typed = fmt.Sprintf("%sxzq%c", typed, 'a'+rune(r.IntN(26)))
			qs = append(qs, question{absent, fmt.Sprintf("(|(cn=%[1]s*)(mail=%[1]s*)(sn=%[1]s*)(givenName=%[1]s*))", typed)})
		default:
			qs = append(qs, question{begins, fmt.Sprintf("(|(cn=%[1]s*)(mail=%[1]s*)(sn=%[1]s*)(givenName=%[1]s*))", typed)})
		}
	}
	return qs
}

// sample is what was measured.
type sample struct {
	took    [kinds][]time.Duration
	entries [kinds]int
	slow    int // beyond the time limit
	wall    time.Duration
	cpu     time.Duration // of the server
}

func (s *sample) add(o *sample) {
	for k := range kinds {
		s.took[k] = append(s.took[k], o.took[k]...)
		s.entries[k] += o.entries[k]
	}
	s.slow += o.slow
	s.wall += o.wall
	s.cpu += o.cpu
}

// load asks over so many connections for so long, each one question after the other, ten
// entries at most, as completion does.
func load(ctx context.Context, s *server, qs []question, conns int, d time.Duration) (*sample, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	all := &sample{}
	started, worked := time.Now(), s.cpu()
	for i := range conns {
		wg.Go(func() {
			got, err := one(ctx, s, qs, i*len(qs)/conns)
			mu.Lock()
			defer mu.Unlock()
			all.add(got)
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	all.wall, all.cpu = time.Since(started), s.cpu()-worked
	return all, failed
}

func one(ctx context.Context, s *server, qs []question, at int) (*sample, error) {
	got := &sample{}
	c, err := ldap.DialURL("ldaps://"+s.addr, ldap.DialWithTLSConfig(s.tls))
	if err != nil {
		return got, err
	}
	defer c.Close()
	if s.bind {
		if err := c.Bind("mail="+address+","+ldapd.DefaultBase, password); err != nil {
			return got, err
		}
	}
	for ; ctx.Err() == nil; at++ {
		q := qs[at%len(qs)]
		req := ldap.NewSearchRequest(ldapd.DefaultBase, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 10, 0, false, q.filter,
			[]string{"cn", "sn", "givenName", "mail", "title", "o", "l"}, nil)
		started := time.Now()
		r, err := c.Search(req)
		switch {
		case ldap.IsErrorWithCode(err, ldap.LDAPResultTimeLimitExceeded):
			got.slow++
		case err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
			return got, fmt.Errorf("%s: %w", q.filter, err)
		}
		got.took[q.kind] = append(got.took[q.kind], time.Since(started))
		if r != nil {
			got.entries[q.kind] += len(r.Entries)
		}
	}
	return got, nil
}

// report prints both beside each other.
func report(servers []*server, sums []*sample, conns int) {
	fmt.Printf("\n%d connection(s)\n%-10s %-10s %8s %9s %9s %9s %9s %8s\n", conns, "question", "server", "asked", "per s", "p50 ms", "p95 ms", "p99 ms", "entries")
	line := func(name string, s *server, sum *sample, took []time.Duration, entries int, rate float64) {
		if len(took) == 0 {
			return
		}
		slices.Sort(took)
		at := func(p float64) float64 { return float64(took[int(p*float64(len(took)-1))].Microseconds()) / 1000 }
		fmt.Printf("%-10s %-10s %8d %9.0f %9.2f %9.2f %9.2f %8.1f\n", name, s.name, len(took), rate, at(0.5), at(0.95), at(0.99), float64(entries)/float64(len(took)))
	}
	for k := range kinds {
		for i, s := range servers {
			sum := sums[i]
			line(kindNames[k], s, sum, sum.took[k], sum.entries[k], float64(len(sum.took[k]))/sum.wall.Seconds())
		}
	}
	for i, s := range servers {
		sum := sums[i]
		var took []time.Duration
		entries := 0
		for k := range kinds {
			took, entries = append(took, sum.took[k]...), entries+sum.entries[k]
		}
		line("all", s, sum, took, entries, float64(len(took))/sum.wall.Seconds())
		fmt.Printf("%21s %.2f ms of processor a question\n", s.name, sum.cpu.Seconds()*1000/float64(max(1, len(took))))
		if sum.slow > 0 {
			fmt.Printf("%21s %d beyond the time limit\n", s.name, sum.slow)
		}
	}
}
