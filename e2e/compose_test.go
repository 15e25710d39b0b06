package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pli/app"
	"pli/internal/pgserver"
)

// composeService is what docker-compose.yml says of a service of ours.
type composeService struct {
	name    string
	command []string
}

// readCompose picks our services and their common environment out of
// docker-compose.yml, which is written for it: one list per line.
func readCompose(t *testing.T) (services []composeService, env []string, health []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`"([^"]*)"`)
	words := func(s string) (out []string) {
		for _, m := range list.FindAllStringSubmatch(s, -1) {
			out = append(out, m[1])
		}
		return out
	}
	service := ""
	ours := false
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimSpace(line)
		switch {
		case regexp.MustCompile(`^  [a-z0-9]+:$`).MatchString(line):
			service, ours = strings.TrimSuffix(text, ":"), false
		case text == "<<: *pli":
			ours = true
		case ours && strings.HasPrefix(text, "command:"):
			services = append(services, composeService{service, words(text)})
		case strings.HasPrefix(text, "PLI_"):
			k, v, _ := strings.Cut(text, ":")
			env = append(env, k+"="+strings.Trim(strings.TrimSpace(v), `"`))
		case health == nil && strings.Contains(text, `"/pli"`) && strings.HasPrefix(text, "test:"):
			health = words(text)[1:] // without CMD
		}
	}
	return services, env, health
}

// TestComposeServicesRun does without a container engine what docker-compose.yml asks:
// each service of ours runs its own command, with the same settings pointed at services
// of this machine, until its own health check is content.
func TestComposeServicesRun(t *testing.T) {
	services, env, health := readCompose(t)
	if len(services) < 4 || len(env) < 4 || len(health) < 3 {
		t.Fatalf("docker-compose.yml as read: %v, %v, %v", services, env, health)
	}
	if _, err := app.Load("", env); err != nil {
		t.Errorf("the environment of docker-compose.yml: %v", err)
	}
	cfg := house.config(t, 1)
	dsn := strings.Replace(cfg.Database.DSN, "dbname=pli", "dbname=", 1)
	if err := pgserver.EnsureDatabase(t.Context(), dsn+"postgres", "compose"); err != nil {
		t.Fatal(err)
	}
	first := freePorts(20)
	port := func(n int) string { return fmt.Sprintf("127.0.0.1:%d", first+n) }
	cfg.SMTP.MX, cfg.SMTP.Submission, cfg.SMTP.Submissions = port(0), port(1), port(2)
	cfg.IMAP.IMAP, cfg.IMAP.IMAPS, cfg.Web.Listen = port(3), port(4), port(5)
	cfg.LDAP.LDAP, cfg.LDAP.LDAPS, cfg.FHIR.Listen, cfg.DAV.Listen = port(6), port(7), port(8), port(9)
	cfg.Certs.WhiteListKept = filepath.Join(t.TempDir(), "kept")
	cfg.Database.DSN, cfg.Scanner.Network, cfg.Scanner.Address = "", "", "" // given by the environment, as in compose
	b, err := cfg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pli.toml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	scanner := house.config(t, 1).Scanner
	local := []string{"PLI_DATABASE_DSN=" + dsn + "compose", "PLI_SCANNER_NETWORK=" + scanner.Network, "PLI_SCANNER_ADDRESS=" + scanner.Address}
	for n, s := range services {
		args := withConfig(s.command, file)
		environ := append(append(os.Environ(), local...), "PLI_PRIVATE_LISTEN="+port(10+n))
		if s.name == "migrate" {
			cmd := exec.CommandContext(t.Context(), binary, args...)
			cmd.Env = environ
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", s.name, err, out)
			}
			continue
		}
		t.Run(s.name, func(t *testing.T) { serveUntilHealthy(t, args, withConfig(health[1:], file), environ) })
	}
}

// withConfig points a command of compose at another configuration file.
func withConfig(command []string, file string) []string {
	out := append([]string(nil), command...)
	for i, a := range out {
		if a == "/etc/pli/pli.toml" {
			out[i] = file
		}
	}
	return out
}

func serveUntilHealthy(t *testing.T, args, health, environ []string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Stderr = environ, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	healthy := false
	for deadline := time.Now().Add(time.Minute); !healthy && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // compose's own
		ask := exec.CommandContext(ctx, binary, health...)
		ask.Env = environ
		healthy = ask.Run() == nil
		cancel()
		select {
		case err := <-ended:
			t.Fatalf("pli %v ended: %v\n%s", args, err, out.String())
		default:
		}
	}
	if !healthy {
		t.Errorf("pli %v never healthy", args)
	}
	// As a container engine stops it.
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("pli %v after SIGTERM: %v\n%s", args, err, out.String())
		}
	case <-time.After(40 * time.Second):
		_ = cmd.Process.Kill()
		t.Error(errors.New("does not end on SIGTERM"))
	}
}
