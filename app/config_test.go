package app

import (
	"os"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := t.TempDir() + "/pli.toml"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadRefusesUnknownKeys(t *testing.T) {
	_, err := Load(write(t, "[smtp]\nmx = \":25\"\nmxx = \":26\"\n"), nil)
	if err == nil || !strings.Contains(err.Error(), "mxx") {
		t.Fatalf("err = %v", err)
	}
	_, err = Load(write(t, ""), []string{"PLI_SMTP_MXX=:26"})
	if err == nil || !strings.Contains(err.Error(), "smtp.mxx") {
		t.Fatalf("err = %v", err)
	}
}

func TestEnvironmentIsLaidOverTheFile(t *testing.T) {
	c, err := Load(write(t, "[smtp]\nmx = \":25\"\n[keys]\nindex = \"k/index.key\"\n"), []string{
		"PLI_SMTP_MX=127.0.0.1:2525", "PLI_SMTP_MAX_SIZE=1000", "PLI_OPERATOR_DOMAINS=a.example, b.example",
		"PLI_OUTBOUND_ROUTES=b.example=127.0.0.1:25", "PLI_OUTBOUND_RETRY_FIRST=2s", "PLI_SCANNER_OFF=true", "PLI_DEMO_DIR=/x",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.SMTP.MX != "127.0.0.1:2525" || c.SMTP.MaxSize != 1000 || len(c.Operator.Domains) != 2 || !c.Scanner.Off ||
		c.Outbound.Routes["b.example"] != "127.0.0.1:25" || time.Duration(c.Outbound.RetryFirst) != 2*time.Second {
		t.Fatalf("read %+v", c)
	}
	if !strings.HasSuffix(c.Keys.Index, "/k/index.key") || c.Keys.Index[0] != '/' {
		t.Fatalf("index path %q is not rebased on the file's folder", c.Keys.Index)
	}
}

func TestCheckListsEveryProblemAtOnce(t *testing.T) {
	var c Config
	c.SMTP.MX, c.IMAP.IMAP, c.Web.Listen = "127.0.0.1:25", "127.0.0.1:25", "nowhere"
	c.Database.MaxConns = 6 // an import would wait for itself
	var all strings.Builder
	for _, e := range c.Check() {
		all.WriteString(e.Error() + "\n")
	}
	for _, want := range []string{"operator.hostname", "operator.domains", "database.dsn", "database.max_conns", "blobs.dir", "keys.operator", "keys.index",
		"certs.roots", "scanner.address", "same address", "not host:port"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("%q is not reported in:\n%s", want, all.String())
		}
	}
}
