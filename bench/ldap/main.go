// Command ldap compares the directory's LDAP door with OpenLDAP: the same invented
// entries in both, on loopback, both under TLS, asked the same completions in turn.
//
//	ldap [-n 200000] [-time 10s] [-conns 1,8] [-rounds 3] [-slapd /usr/sbin] [-dir DIR] [-keep]
//
// OpenLDAP has indexes on cn, sn, givenName and mail (presence, equality, substrings) in
// an mdb database, loaded by slapadd -q. Pli has a PostgreSQL of its own, filled by the
// import of an extraction, and the door runs in a process of its own. run.sh installs
// slapd where it is missing.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	n      int
	time   time.Duration
	conns  []int
	rounds int
	slapd  string
	dir    string
}

func main() {
	var o options
	var conns, dsn string
	var keep bool
	flag.IntVar(&o.n, "n", 200_000, "entries")
	flag.DurationVar(&o.time, "time", 10*time.Second, "of each server's turn")
	flag.StringVar(&conns, "conns", "1,8", "connections, in turn")
	flag.IntVar(&o.rounds, "rounds", 3, "turns of each server")
	flag.StringVar(&o.slapd, "slapd", "/usr/sbin", "where slapd and slapadd are")
	flag.StringVar(&o.dir, "dir", "", "where to put the data; a fresh one when empty")
	flag.BoolVar(&keep, "keep", false, "leave the data there, to be used again by -dir")
	flag.StringVar(&dsn, "serve", "", "be the door, over this database (the program calls itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if dsn != "" {
		check(serve(ctx, dsn, o.dir))
		return
	}
	for c := range strings.SplitSeq(conns, ",") {
		n, err := strconv.Atoi(c)
		check(err)
		o.conns = append(o.conns, n)
	}
	if o.dir == "" {
		var err error
		o.dir, err = os.MkdirTemp("", "pli-bench-ldap.")
		check(err)
	}
	o.dir, _ = filepath.Abs(o.dir)
	check(os.MkdirAll(o.dir, 0o755))
	check(os.Chmod(o.dir, 0o755)) // PostgreSQL runs as somebody else
	err := run(ctx, o)
	if !keep {
		_ = os.RemoveAll(o.dir)
	}
	check(err)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "ldap:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	ours, err := startOurs(ctx, o)
	if err != nil {
		return fmt.Errorf("pli: %w", err)
	}
	defer ours.stop()
	theirs, err := startSlapd(ctx, o)
	if err != nil {
		return fmt.Errorf("slapd: %w", err)
	}
	defer theirs.stop()
	names, err := readNames(filepath.Join(o.dir, "names"))
	if err != nil {
		return err
	}
	questions := ask(names, 20_000)
	both := []*server{ours, theirs}
	for _, s := range both { // warm
		if _, err := load(ctx, s, questions, 4, min(o.time, 5*time.Second)); err != nil {
			return err
		}
	}
	for _, conns := range o.conns {
		sums := []*sample{{}, {}}
		for round := range o.rounds {
			for i := range both {
				i = (i + round) % 2
				got, err := load(ctx, both[i], questions[round*7919%len(questions):], conns, o.time)
				if err != nil {
					return err
				}
				sums[i].add(got)
			}
		}
		report(both, sums, conns)
	}
	return nil
}
