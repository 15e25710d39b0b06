package national

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pli/codec/extraction"
	"pli/internal/invent"
	"pli/internal/pg"
	"pli/internal/pgserver"
	"pli/migrations"
)

// BenchmarkImport imports files of PLI_NATIONAL_SIZE BAL (60,000) on a server of its own
// with PostgreSQL's settings as they come, and reports seconds, seconds of processor, and
// the peak of memory that is private to us and to the server's processes. Once is enough:
//
//	PLI_NATIONAL_SIZE=600000 go test ./directory/national -run '^$' -bench Import -benchtime 1x -v
func BenchmarkImport(b *testing.B) {
	size := 60_000
	if n, err := strconv.Atoi(os.Getenv("PLI_NATIONAL_SIZE")); err == nil && n > 0 {
		size = n
	}
	db, server := benchServer(b)
	im := on(db)
	files := map[string]string{}
	for name, o := range map[string]invent.Options{"first": {}, "next": {Day: 1}} {
		o.Seed, o.Size, o.Others = 1, size, size/3
		files[name] = published(b, extraction.Correspondances, o)
		files[name+" activite"] = published(b, extraction.Activities, o)
	}
	debug.FreeOSMemory()
	for _, step := range []struct {
		name, file string
		dataset    extraction.Dataset
	}{
		{"correspondance, empty house", "first", extraction.Correspondances},
		{"activite, after it", "first activite", extraction.Activities},
		{"correspondance, the day after", "next", extraction.Correspondances},
		{"activite, the day after", "next activite", extraction.Activities},
	} {
		b.Run(step.name, func(b *testing.B) {
			for range b.N {
				m := watch(server)
				start, last, worked := time.Now(), time.Now(), m.work()
				var mu sync.Mutex
				var steps []string
				im.step = func(s string) {
					mu.Lock()
					defer mu.Unlock()
					if s != "index" {
						ours, theirs := m.now()
						steps = append(steps, fmt.Sprintf("%s %.1fs (%d+%d MB)", s, time.Since(last).Seconds(), ours>>10, theirs>>10))
						last = time.Now()
					}
				}
				r, err := im.Import(b.Context(), step.dataset, files[step.file], Options{Force: true})
				if err != nil {
					b.Fatal(err)
				}
				took, worked := time.Since(start), m.work()-worked
				ours, theirs, both := m.end()
				b.ReportMetric(float64(r.Lines), "lines")
				b.ReportMetric(took.Seconds(), "s")
				b.ReportMetric(worked, "cpu-s")
				b.ReportMetric(float64(ours), "MB-go")
				b.ReportMetric(float64(theirs), "MB-pg")
				b.ReportMetric(float64(both), "MB-both")
				b.Logf("%s: kept %d, added %d, changed %d, gone %d; %s, swap %.1fs", step.name, r.Kept, r.Added, r.Changed, r.Gone,
					strings.Join(steps, ", "), time.Since(last).Seconds())
			}
		})
	}
}

func benchServer(b *testing.B) (*pg.DB, *pgserver.Server) {
	b.Helper()
	dir, err := os.MkdirTemp("", "pli-national")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(dir, "data"), Settings: strings.Fields(os.Getenv("PLI_NATIONAL_SETTINGS"))})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Stop)
	if err := s.EnsureDatabase(ctx, "pli"); err != nil {
		b.Fatal(err)
	}
	if err := migrations.Up(ctx, s.DSN("pli")); err != nil {
		b.Fatal(err)
	}
	db, err := pg.Open(ctx, pg.Config{DSN: s.DSN("pli")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	return db, s
}

// memory watches what is resident and private, in MB: ours and the server's.
type memory struct {
	server             *pgserver.Server
	done               chan struct{}
	wg                 sync.WaitGroup
	ours, theirs, both int64
}

func watch(s *pgserver.Server) *memory {
	m := &memory{server: s, done: make(chan struct{})}
	m.wg.Go(func() {
		for {
			ours, theirs := m.now()
			m.ours, m.theirs, m.both = max(m.ours, ours), max(m.theirs, theirs), max(m.both, ours+theirs)
			select {
			case <-m.done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return m
}

// now is in KB.
func (m *memory) now() (ours, theirs int64) {
	for _, pid := range family(m.server.PID()) {
		theirs += anonymous(pid)
	}
	return anonymous(strconv.Itoa(os.Getpid())), theirs
}

func (m *memory) end() (ours, theirs, both int64) {
	close(m.done)
	m.wg.Wait()
	return m.ours >> 10, m.theirs >> 10, m.both >> 10
}

// anonymous is RssAnon of a process, in KB.
func anonymous(pid string) int64 {
	b, _ := os.ReadFile("/proc/" + pid + "/status")
	_, rest, _ := strings.Cut(string(b), "RssAnon:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(f[0], 10, 64)
	return n
}

// work is the processor time spent so far, ours and the server's, in seconds.
func (m *memory) work() (seconds float64) {
	for _, pid := range append(family(m.server.PID()), strconv.Itoa(os.Getpid())) {
		b, _ := os.ReadFile("/proc/" + pid + "/stat")
		end := strings.LastIndexByte(string(b), ')')
		if f := strings.Fields(string(b)[end+1:]); len(f) > 12 {
			user, _ := strconv.ParseFloat(f[11], 64)
			system, _ := strconv.ParseFloat(f[12], 64)
			seconds += (user + system) / 100
		}
	}
	return seconds
}

// family is a process and its children.
func family(pid int) []string {
	parent := strconv.Itoa(pid)
	b, _ := os.ReadFile("/proc/" + parent + "/task/" + parent + "/children")
	return append(strings.Fields(string(b)), parent)
}
