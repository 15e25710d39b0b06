package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestTenLargeMessagesStayOutOfMemory submits ten messages of 25 MB of content at once
// and looks at the most that the processes which take them in ever held.
func TestTenLargeMessagesStayOutOfMemory(t *testing.T) {
	d := separate(t, "PLI_DEMO_SPLIT=a")
	karim, claire := d.who(t, "karim.haddad"), d.who(t, "claire.morel")
	// Warm: a first message fills caches and buffers that stay.
	path, _ := big(t, karim.Address, claire.Address, "un", 25_000_000)
	if out, code := d.upload(t, karim, claire.Address, path); code != 0 {
		t.Fatalf("exit %d\n%.2000s", code, out)
	}
	before := d.peak(t)
	var wg sync.WaitGroup
	errs := make([]string, 10)
	for i := range errs {
		path, _ := big(t, karim.Address, claire.Address, fmt.Sprintf("gros %d", i), 25_000_000)
		wg.Go(func() {
			if out, code := d.upload(t, karim, claire.Address, path); code != 0 {
				errs[i] = fmt.Sprintf("exit %d\n%.2000s", code, out)
			}
		})
	}
	wg.Wait()
	for _, e := range errs {
		if e != "" {
			t.Fatal(e)
		}
	}
	if grown := d.peak(t) - before; grown > 100<<20 {
		t.Errorf("ten messages of 25 MB at once took %d MB more", grown>>20)
	} else {
		t.Logf("ten messages of 25 MB at once took %d MB more", grown>>20)
	}
	if uids := d.find(t, claire, "INBOX", "gros"); len(uids) != 10 {
		t.Errorf("%d of 10 arrived", len(uids))
	}
}

// peak sums the largest resident sets that operator a's pli processes ever had.
func (d *demo) peak(t *testing.T) int64 {
	t.Helper()
	var sum int64
	for _, f := range d.Operators[0].PIDs {
		if !strings.HasPrefix(filepath.Base(f), "pli") {
			continue
		}
		pid, err := readPID(d.path(f))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
		if err != nil || m == nil {
			t.Fatalf("no peak of process %d: %v", pid, err)
		}
		kb, _ := strconv.ParseInt(string(m[1]), 10, 64)
		sum += kb << 10
	}
	return sum
}
