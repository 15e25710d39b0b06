package search

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pli/directory/listing"
	"pli/internal/pg"
)

// asked are the questions of address books and of the web page, made from what people
// type.
var asked = []struct {
	name  string
	limit int
	make  func(typed) Cond
}{
	{"thunderbird-prefix", 100, func(v typed) Cond {
		return Or{Prefix{Name, v.start}, Prefix{Address, v.start}, Prefix{Family, v.start}, Prefix{Given, v.start}}
	}},
	{"thunderbird-contains", 100, func(v typed) Cond {
		return Or{Contains{Address, v.start}, Contains{Name, v.start}, Contains{Given, v.start}, Contains{Family, v.start}}
	}},
	{"thunderbird-contains-10", 10, func(v typed) Cond {
		return Or{Contains{Address, v.start}, Contains{Name, v.start}, Contains{Given, v.start}, Contains{Family, v.start}}
	}},
	{"thunderbird-two-words", 100, func(v typed) Cond {
		w := v.given + " " + v.start
		return Or{And{Prefix{Name, v.given}, Contains{Name, v.start}}, Prefix{Address, w}, Prefix{Family, w}}
	}},
	{"outlook", 100, func(v typed) Cond {
		return And{Prefix{Address, ""}, Or{Prefix{Address, v.start}, Or{Prefix{Name, v.start}, Or{Prefix{Family, v.start}, Or{Prefix{Given, v.start}, Prefix{Name, v.start}}}}}}
	}},
	{"apple", 100, func(v typed) Cond {
		return Or{Contains{Given, v.start}, Contains{Family, v.start}, Contains{Name, v.start}, Contains{Address, v.start}}
	}},
	{"apple-two-words", 100, func(v typed) Cond {
		one := func(w string) Cond {
			return Or{Contains{Given, w}, Contains{Family, w}, Contains{Name, w}, Contains{Address, w}}
		}
		return And{one(v.given), one(v.start)}
	}},
	{"one-letter", 100, func(v typed) Cond {
		return Or{Prefix{Name, v.start[:1]}, Prefix{Address, v.start[:1]}, Prefix{Family, v.start[:1]}, Prefix{Given, v.start[:1]}}
	}},
	{"two-letters-inside", 100, func(v typed) Cond {
		return Or{Contains{Address, v.start[1:3]}, Contains{Name, v.start[1:3]}}
	}},
	{"name-and-town", 100, func(v typed) Cond { return Words{Any, v.family + " " + v.town} }},
	{"name-starts-and-town", 100, func(v typed) Cond { return Words{Any, v.start + " " + v.town[:3]} }},
	{"exact-address", 10, func(v typed) Cond { return Equal{Address, v.address} }},
	{"exact-family-and-given", 100, func(v typed) Cond { return And{Equal{Family, v.family}, Prefix{Given, v.given[:2]}} }},
	{"web-one-word", 25, func(v typed) Cond { return Words{Any, v.start} }},
	{"web-trade-and-town", 25, func(v typed) Cond { return Words{Any, v.trade + " " + v.town} }},
	{"web-trade-town-name", 25, func(v typed) Cond { return Words{Any, v.trade + " " + v.town + " " + v.start} }},
	{"web-code-and-town", 25, func(v typed) Cond {
		return And{Equal{Profession, v.code}, Or{Words{City, v.town}, Words{Structure, v.town}, Words{Department, v.town}}, Equal{Kind, "PER"}}
	}},
	{"web-service-and-town", 25, func(v typed) Cond { return And{Words{Service, v.service}, Words{City, v.town}} }},
	{"nobody", 100, func(v typed) Cond {
		return Or{Contains{Address, "zq" + v.start}, Contains{Name, "zq" + v.start}}
	}},
}

// typed is what somebody types.
type typed struct{ start, family, given, town, address, trade, code, service string }

func typing(c *crowd) typed {
	var l listing.Listing
	for l.FamilyName == "" || l.GivenName == "" {
		l = c.next()
	}
	family := []rune(strings.ReplaceAll(listing.Fold(l.FamilyName), " ", ""))
	p := professions[c.r.IntN(len(professions)-1)]
	trade := []string{p.label, p.label, p.skillLabel}[c.r.IntN(3)]
	v := typed{
		start: string(family[:min(len(family), 3+c.r.IntN(4))]), family: listing.Fold(l.FamilyName), given: listing.WordsOf(l.GivenName)[0],
		town: listing.FoldCity(l.City), address: l.Address, trade: listing.Fold(trade), code: p.code, service: listing.WordsOf(c.pick(crews))[0],
	}
	for len(v.start) < 3 {
		v.start += "a"
	}
	for len(v.town) < 3 {
		v.town += "a"
	}
	return v
}

// TestAnswersInTime asks a million listings (PLI_BENCH_DSN, filled by TestFillForBench)
// what address books and people ask, and prints how long answers take: half of them, 95
// and 99 of a hundred, and the longest; and for how long PostgreSQL worked. PLI_BENCH_ROUNDS is how often each is asked.
func TestAnswersInTime(t *testing.T) {
	dsn := os.Getenv("PLI_BENCH_DSN")
	if dsn == "" {
		t.Skip("only with PLI_BENCH_DSN")
	}
	rounds := 200
	fmt.Sscan(os.Getenv("PLI_BENCH_ROUNDS"), &rounds)
	only := os.Getenv("PLI_BENCH_ONLY")
	db := open(t, pg.Config{DSN: dsn, Search: searchTime, MaxConns: 1})
	var backend int
	if err := db.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		t.Fatal(err)
	}
	s := New(db, nobody{})
	c := newCrowd(1, 60_000)
	c.r = rand.New(rand.NewPCG(99, 99)) // other people than the first of the million
	t.Logf("%-26s %8s %8s %8s %8s %8s %8s %8s %7s %s", "question", "p50", "p95", "p99", "max", "cpu p50", "cpu p95", "cpu p99", "found", "most work")
	for _, a := range asked {
		if only != "" && !strings.Contains(a.name, only) {
			continue
		}
		var took, worked []time.Duration
		found, slow := 0, typed{}
		var worst time.Duration
		for range rounds {
			v := typing(c)
			at, before := time.Now(), runTime(backend)
			p, err := s.Search(t.Context(), Query{Where: a.make(v), Limit: a.limit})
			d := time.Since(at)
			if err != nil {
				t.Errorf("%s: %v", a.name, err)
			}
			work := runTime(backend) - before
			if found += len(p.Listings); work > worst {
				worst, slow = work, v
			}
			took, worked = append(took, d), append(worked, work)
		}
		slices.Sort(took)
		slices.Sort(worked)
		at := func(of []time.Duration, share float64) time.Duration {
			return of[min(len(of)-1, int(share*float64(len(of))))].Round(10 * time.Microsecond)
		}
		t.Logf("%-26s %8v %8v %8v %8v %8v %8v %8v %7.1f %s/%s/%s", a.name, at(took, .5), at(took, .95), at(took, .99), at(took, 1),
			at(worked, .5), at(worked, .95), at(worked, .99), float64(found)/float64(rounds), slow.given, slow.start, slow.town)
	}
}

// runTime is how long a process of this machine has run on a processor: what a busy
// neighbour does not change. 0 when it is not told.
func runTime(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	var ns int64
	if err == nil {
		fmt.Sscan(string(b), &ns)
	}
	return time.Duration(ns)
}

// BenchmarkCompletion is the mix of completion over a million listings (PLI_BENCH_DSN).
func BenchmarkCompletion(b *testing.B) {
	dsn := os.Getenv("PLI_BENCH_DSN")
	if dsn == "" {
		b.Skip("only with PLI_BENCH_DSN")
	}
	s := New(open(b, pg.Config{DSN: dsn, Search: searchTime}), nobody{})
	c := newCrowd(1, 60_000)
	for i := 0; b.Loop(); i++ {
		if _, err := s.Search(b.Context(), Query{Where: asked[i%6].make(typing(c)), Limit: 10}); err != nil {
			b.Fatal(err)
		}
	}
}
