package davd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pli/directory"
	"pli/health"
	"pli/internal/pg"
)

// A client that we did not write keeps the book: it discovers it, copies it, follows what
// changes and goes, and gets nowhere when it writes.
func TestVdirsyncer(t *testing.T) {
	if _, err := exec.LookPath("vdirsyncer"); err != nil {
		if os.Getenv("PLI_E2E") != "" {
			t.Fatal("PLI_E2E is set and there is no vdirsyncer")
		}
		t.Skip("vdirsyncer is not installed")
	}
	h := newHouse(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	h.need(os.WriteFile(config, fmt.Appendf(nil, `[general]
status_path = "%[1]s/status/"
[pair p]
a = "here"
b = "phone"
collections = ["from b"]
conflict_resolution = "b wins"
[storage here]
type = "filesystem"
path = "%[1]s/cards/"
fileext = ".vcf"
[storage phone]
type = "carddav"
url = "%[2]s/"
username = "%[3]s"
password = "%[4]s"
verify = "%[5]s"
`, dir, h.url, hamdi, secret, h.ca), 0o600))
	run := func(stdin string, args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), "vdirsyncer", append([]string{"--config", config}, args...)...)
		c.Stdin, c.Env = strings.NewReader(stdin), append(os.Environ(), "HOME="+dir)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := run(strings.Repeat("y\n", 10), "discover"); err != nil || !strings.Contains(out, "etablissement") {
		t.Fatalf("%v\n%s", err, out)
	}
	cards := func() (all []string) {
		files, err := filepath.Glob(filepath.Join(dir, "cards", "etablissement", "*.vcf"))
		h.need(err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			h.need(err)
			all = append(all, string(b))
		}
		return all
	}
	if out, err := run("", "sync"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := strings.Join(cards(), "")
	if len(cards()) != 3 || !strings.Contains(got, hamdi) || strings.Contains(got, "rouge@") || strings.Contains(got, "karim") {
		t.Fatalf("%d cards\n%s", len(cards()), got)
	}
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := h.dir.MoveTx(ctx, tx, h.bals["paul.sorbier@mss-a.example"], directory.Move{To: health.Closed, Cause: directory.CauseOperator, At: noon})
		return err
	})
	h.later.Store(int64(keptTime))
	if out, err := run("", "sync"); err != nil || len(cards()) != 2 {
		t.Fatalf("%v, %d cards\n%s", err, len(cards()), out)
	}
	h.need(os.WriteFile(filepath.Join(dir, "cards", "etablissement", "x.vcf"), []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:X\r\nN:X;;;;\r\nUID:x\r\nEND:VCARD\r\n"), 0o600))
	if out, err := run("", "sync"); err == nil || !strings.Contains(out, "403") {
		t.Errorf("a card was put: %v\n%s", err, out)
	}
	if got := h.sync("", "").hrefs(); len(got) != 2 {
		t.Error(got)
	}
}
