package demo

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pli/app"
	"pli/fault"
	"pli/health"
	"pli/internal/child"
	"pli/internal/pgserver"
	"pli/mail"
	"pli/migrations"
)

// postgres is sized for a demonstration.
var postgres = []string{"shared_buffers=128MB", "max_wal_size=32MB", "min_wal_size=32MB", "wal_compression=on", "synchronous_commit=on",
	"max_connections=120", "log_min_messages=warning", "log_statement=none", "log_min_error_statement=panic", "log_parameter_max_length=0",
	"log_parameter_max_length_on_error=0", "log_error_verbosity=terse"}

func (d *demo) databasePart(i int) (*part, error) {
	op := &d.ops[i]
	name, err := systemUser("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w; on Debian: apt-get install postgresql", err)
	}
	dir, err := d.data(name, op.name, "postgres")
	if err != nil {
		return nil, err
	}
	return &part{name: "PostgreSQL " + op.name, pidFile: d.at(op.name, "postgres.pid"), start: func(ctx context.Context) (running, error) {
		s, err := pgserver.Start(ctx, pgserver.Options{Dir: dir, Socket: filepath.Join(d.sockets, op.name), User: name, Settings: postgres, Log: d.log("postgres-" + op.name)})
		if err != nil {
			return nil, err
		}
		return s, nil
	}}, nil
}

func (d *demo) databaseDir(op operator) string {
	name, _ := systemUser("postgres")
	dir, _ := d.data(name, op.name, "postgres")
	return dir
}

// furnish brings an operator's database, keys, configuration and people up to date.
func (d *demo) furnish(ctx context.Context, i int) error {
	op := d.ops[i]
	dsn := "host=" + filepath.Join(d.sockets, op.name) + " user=postgres sslmode=disable dbname="
	if err := ensureDatabase(ctx, dsn); err != nil {
		return err
	}
	if err := migrations.Up(ctx, dsn+"pli"); err != nil {
		return err
	}
	cfg := d.config(i, dsn+"pli")
	if err := os.MkdirAll(filepath.Dir(cfg.Keys.Index), 0o700); err != nil {
		return err
	}
	if _, err := app.NewKeys(cfg.Keys); err != nil {
		return err
	}
	b, err := cfg.Marshal()
	if err != nil {
		return err
	}
	if err := writeFile(d.at(op.name, "pli.toml"), b, 0o600); err != nil {
		return err
	}
	if problems := cfg.Check(); len(problems) > 0 {
		return errors.Join(problems...)
	}
	rooms, err := app.OpenRooms(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer rooms.Close()
	for _, p := range op.cast {
		if err := d.engage(ctx, rooms, op, p); err != nil {
			return fmt.Errorf("%s: %w", p.key, err)
		}
	}
	return d.importAnnuaire(ctx, rooms)
}

func ensureDatabase(ctx context.Context, dsn string) error {
	return pgserver.EnsureDatabase(ctx, dsn+"postgres", "pli")
}

// config is the configuration of one operator.
func (d *demo) config(i int, dsn string) app.Config {
	op, p := d.ops[i], d.ports(i)
	at := func(parts ...string) string { return d.at(append([]string{op.name}, parts...)...) }
	mine := d.pki.Operators[op.name]
	c := app.Config{
		Operator: app.OperatorConfig{Name: op.title, Hostname: "mx." + op.domain, Domains: []string{op.domain}, PatientDomain: op.patientDomain,
			INSClass: string(health.TestINS), Contact: "postmaster@" + op.domain},
		Database: app.DatabaseConfig{DSN: dsn},
		Redis:    app.RedisConfig{URL: d.redis},
		Blobs:    app.BlobsConfig{Dir: at("blobs"), SpoolDir: at("spool")},
		Keys:     app.KeysConfig{Operator: []string{at("keys", "operator.key")}, Index: at("keys", "index.key"), Audit: at("keys", "audit.key")},
		Certs: app.CertsConfig{Roots: d.pki.Roots, Intermediates: d.pki.Intermediates, CRLs: d.pki.CRLs, WhiteList: d.pki.WhiteList,
			WhiteListSigners: []string{d.pki.WhiteListSigner}, WhiteListKept: at("listeblanche.kept"), ServerCert: mine.ServerCert, ServerKey: mine.ServerKey,
			PublicCert: d.pki.WebCert, PublicKey: d.pki.WebKey},
		SMTP:     app.SMTPConfig{MX: addr(p.mx), Submission: addr(p.submission), Submissions: addr(p.submissions)},
		IMAP:     app.IMAPConfig{IMAP: addr(p.imap), IMAPS: addr(p.imaps)},
		Web:      app.WebConfig{Listen: addr(p.web)},
		LDAP:     app.LDAPConfig{LDAP: addr(p.ldap), LDAPS: addr(p.ldaps)},
		FHIR:     app.FHIRConfig{Listen: addr(p.fhir)},
		DAV:      app.DAVConfig{Listen: addr(p.dav)},
		National: app.NationalConfig{Correspondance: d.correspondancePath(), Activite: d.activitePath(), Dir: at("annuaire"), Hour: 4},
		Scanner:  app.ScannerConfig{Network: "unix", Address: d.scanner, Off: d.scanner == ""},
		Outbound: app.OutboundConfig{Routes: map[string]string{}, RetryFirst: app.Duration(5 * time.Second)},
		Private:  app.PrivateConfig{Listen: addr(p.metrics)},
	}
	for j, other := range d.ops {
		if j == i {
			continue
		}
		c.Outbound.Routes[other.domain] = addr(d.ports(j).mx)
		if other.patientDomain != "" {
			c.Outbound.Routes[other.patientDomain] = addr(d.ports(j).mx)
			c.Operator.ForeignPatientDomains = append(c.Operator.ForeignPatientDomains, other.patientDomain)
		}
	}
	return c
}

// engage makes a person's BAL, once.
func (d *demo) engage(ctx context.Context, rooms *app.Rooms, op operator, p person) error {
	a, err := mail.ParseAddress(p.address(op))
	if err != nil {
		return err
	}
	if _, err := rooms.Directory.Find(ctx, rooms.DB, a); fault.KindOf(err) != fault.NotFound || err == nil {
		return err
	}
	sec := d.secrets[p.key]
	n := app.NewBox{Kind: p.kind, Address: a, Person: p.who, Structure: p.place, Service: p.service, OpenToPatients: p.open}
	switch p.kind {
	case health.Patient:
		if n.INS, err = health.ParseINS(p.ins); err != nil {
			return err
		}
		n.OID, n.Traits, n.Login, n.Password, n.TOTPSecret = health.OIDTest, p.traits, p.login, sec.Password, sec.TOTP
	case health.APP:
		if n.Certificate, err = readCertificate(d.pki.Operators[op.name].Clients[p.clientKey].Cert); err != nil {
			return err
		}
		n.DisplayName = p.name
	default:
		n.DisplayName, n.AppPassword = p.name, sec.Password
		n.Login, n.Password, n.TOTPSecret = p.login, sec.Web, sec.TOTP
	}
	_, err = rooms.CreateBox(ctx, n)
	return err
}

func readCertificate(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM certificate", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

// process is one pli of an operator: all roles, or one.
type process struct {
	roles   string // empty is all
	metrics int
}

func (d *demo) processes(i int) []process {
	p := d.ports(i)
	if !slices.Contains(d.Split, d.ops[i].name) {
		return []process{{"", p.metrics}}
	}
	var out []process
	for n, role := range app.RoleNames() {
		out = append(out, process{role, p.metrics + n})
	}
	return out
}

func (d *demo) pidFile(op operator, p process) string {
	if p.roles == "" {
		return d.at(op.name, "pli.pid")
	}
	return d.at(op.name, "pli-"+p.roles+".pid")
}

func (d *demo) serverParts(i int) []*part {
	op := d.ops[i]
	var out []*part
	for _, p := range d.processes(i) {
		name := strings.TrimSpace("pli " + op.name + " " + p.roles)
		logTo := d.log(strings.ReplaceAll(name, " ", "-"))
		argv := []string{d.Binary, "--config", d.at(op.name, "pli.toml"), "serve"}
		if p.roles != "" {
			argv = append(argv, "--roles", p.roles)
		}
		out = append(out, &part{name: name, pidFile: d.pidFile(op, p), start: func(ctx context.Context) (running, error) {
			return startServer(ctx, argv, p.metrics, logTo)
		}})
	}
	return out
}

// startServer runs a pli and waits until it says that it is ready.
func startServer(ctx context.Context, argv []string, metrics int, logTo io.Writer) (running, error) {
	p, err := child.Start(child.Options{Argv: argv, Env: []string{"PLI_PRIVATE_LISTEN=" + addr(metrics)}, Output: logTo, StopWithin: 40 * time.Second})
	if err != nil {
		return nil, err
	}
	deadline := time.After(time.Minute)
	for {
		if ready(ctx, metrics) == nil {
			return p, nil
		}
		select {
		case <-ctx.Done():
			p.Stop()
			return nil, ctx.Err()
		case <-p.Done():
			return nil, fmt.Errorf("ended before it was ready (%v); see the log folder", p.Err())
		case <-deadline:
			p.Stop()
			return nil, errors.New("not ready after a minute; see the log folder")
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// allReady reports whether every server says that it is ready.
func (d *demo) allReady() bool {
	for i := range d.ops {
		for _, p := range d.processes(i) {
			if ready(context.Background(), p.metrics) != nil {
				return false
			}
		}
	}
	return true
}

func ready(ctx context.Context, metrics int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr(metrics)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", resp.Status)
	}
	return nil
}

// end waits for a process that should be ending, and ends it when it is not.
func end(ctx context.Context, pid int) error {
	for try := 0; child.Alive(pid); try++ {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case try == 40: // two seconds
			_ = syscall.Kill(pid, syscall.SIGINT)
		case try == 800:
			_ = syscall.Kill(pid, syscall.SIGKILL)
		case try > 1000:
			return fmt.Errorf("process %d of a former demo does not end", pid)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}
