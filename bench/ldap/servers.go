package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pli/codec/extraction"
	"pli/directory/listing"
	"pli/directory/national"
	"pli/directory/search"
	"pli/fault"
	"pli/identity"
	"pli/internal/invent"
	"pli/internal/limit"
	"pli/internal/pg"
	"pli/internal/pgserver"
	"pli/internal/ticket"
	"pli/ldapd"
	"pli/migrations"
)

const (
	address  = "banc@mss-a.example"
	password = "banc-essai-7q2m-k9xd-4wtr"
)

// server is one of the two.
type server struct {
	name  string
	addr  string // of its LDAPS
	bind  bool
	tls   *tls.Config
	pids  []int // of what it runs in, with all below
	stops []func()
}

func (s *server) stop() {
	for i := len(s.stops) - 1; i >= 0; i-- {
		s.stops[i]()
	}
}

func note(format string, args ...any) {
	fmt.Printf("# %s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}

// startOurs fills a PostgreSQL, writes what is in it for the other, and starts the door.
func startOurs(ctx context.Context, o options) (*server, error) {
	s := &server{name: "Pli", bind: true}
	fresh := !exists(filepath.Join(o.dir, "entries.ldif"))
	db, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(o.dir, "postgres"), Settings: []string{
		"shared_buffers=1GB", "work_mem=16MB", "maintenance_work_mem=512MB", "max_wal_size=4GB", "effective_cache_size=4GB", "random_page_cost=1.1"}})
	if err != nil {
		return nil, err
	}
	s.stops = append(s.stops, db.Stop)
	if fresh {
		if err := fill(ctx, o, db); err != nil {
			s.stop()
			return nil, err
		}
	}
	if s.tls, err = certificate(o.dir); err != nil {
		s.stop()
		return nil, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "-serve", db.DSN("bench"), "-dir", o.dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.stop()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		s.stop()
		return nil, err
	}
	s.pids = []int{db.PID(), cmd.Process.Pid}
	s.stops = append(s.stops, func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	s.addr, err = bufio.NewReader(out).ReadString('\n')
	if s.addr = strings.TrimSpace(s.addr); err != nil {
		s.stop()
		return nil, errors.New("the door did not open")
	}
	return s, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func fill(ctx context.Context, o options, server *pgserver.Server) error {
	if err := server.EnsureDatabase(ctx, "bench"); err != nil {
		return err
	}
	if err := migrations.Up(ctx, server.DSN("bench")); err != nil {
		return err
	}
	db, err := pg.Open(ctx, pg.Config{DSN: server.DSN("bench")})
	if err != nil {
		return err
	}
	defer db.Close()
	note("inventing %d entries", o.n)
	files, err := invent.WriteFiles(o.dir, invent.Options{Seed: 3, Size: o.n})
	if err != nil {
		return err
	}
	none := func(string) bool { return false }
	im := national.New(national.Deps{DB: db, Local: none, Patient: none, Config: national.Config{Dir: o.dir},
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	r, err := im.Import(ctx, extraction.Correspondances, files[0], national.Options{Force: true})
	if err != nil {
		return err
	}
	note("Pli: %d entries imported in %s", r.Kept, r.Took().Round(time.Second))
	for _, f := range files {
		_ = os.Remove(f)
	}
	return export(ctx, db, o.dir)
}

// export writes the entries for slapadd, as the door shows them, and the names to ask for.
func export(ctx context.Context, db *pg.DB, dir string) error {
	var part string
	if err := db.QueryRow(ctx, "SELECT part FROM national_part").Scan(&part); err != nil {
		return err
	}
	rows, err := db.Query(ctx, `SELECT key, kind, address, pp, family_name, given_name, profession_label, know_how, know_how_label, display_name,
		service, description, structure, trade_name, street, postal_code, city, department FROM listing_`+part)
	if err != nil {
		return err
	}
	defer rows.Close()
	ldif, err := os.Create(filepath.Join(dir, "entries.part"))
	if err != nil {
		return err
	}
	defer ldif.Close()
	names, err := os.Create(filepath.Join(dir, "names"))
	if err != nil {
		return err
	}
	defer names.Close()
	w, nw := bufio.NewWriterSize(ldif, 1<<20), bufio.NewWriter(names)
	fmt.Fprintf(w, "dn: c=fr\nobjectClass: country\nc: fr\n\ndn: o=mssante,c=fr\nobjectClass: organization\no: mssante\n\n"+
		"dn: %s\nobjectClass: organizationalUnit\nou: annuaire\n\n", ldapd.DefaultBase)
	for i := 0; rows.Next(); i++ {
		var l listing.Listing
		var key []byte
		if err := rows.Scan(&key, &l.Kind, &l.Address, &l.PP, &l.FamilyName, &l.GivenName, &l.ProfessionLabel, &l.KnowHow, &l.KnowHowLabel, &l.DisplayName,
			&l.Service, &l.Description, &l.Structure, &l.TradeName, &l.Street, &l.PostalCode, &l.City, &l.Department); err != nil {
			return err
		}
		copy(l.Key[:], key)
		writeEntry(w, &l)
		if i%7 == 0 && l.Person() {
			fmt.Fprintf(nw, "%s\t%s\n", l.FamilyName, l.GivenName)
		}
	}
	if err := errors.Join(rows.Err(), w.Flush(), nw.Flush()); err != nil {
		return err
	}
	return os.Rename(ldif.Name(), filepath.Join(dir, "entries.ldif"))
}

func writeEntry(w *bufio.Writer, l *listing.Listing) {
	line := func(attr string, values ...string) {
		seen := map[string]bool{}
		for _, v := range values {
			if v = strings.TrimSpace(v); v == "" || seen[strings.ToLower(v)] {
				continue
			}
			seen[strings.ToLower(v)] = true
			fmt.Fprintf(w, "%s:: %s\n", attr, base64.StdEncoding.EncodeToString([]byte(v)))
		}
	}
	fmt.Fprintf(w, "dn: uid=%s,%s\nobjectClass: inetOrgPerson\n", l.Key, ldapd.DefaultBase)
	line("uid", l.Key.String())
	line("cn", l.Display(), l.Name())
	if l.FamilyName != "" {
		line("sn", l.FamilyName)
	} else {
		line("sn", l.Name())
	}
	line("givenName", l.GivenName)
	line("displayName", l.Display())
	line("mail", l.Address)
	line("title", l.Title(), l.ProfessionLabel)
	line("o", l.TradeName, l.Structure)
	line("ou", l.Service)
	line("street", l.Street)
	line("postalCode", l.PostalCode)
	line("l", l.City)
	line("st", l.Department)
	line("employeeNumber", l.PP)
	line("businessCategory", string(l.Kind))
	line("description", l.Description)
	_ = w.WriteByte('\n')
}

// certificate makes, or finds, the one that both servers show, and trusts it.
func certificate(dir string) (*tls.Config, error) {
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if !exists(certFile) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 30),
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			return nil, err
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		err = errors.Join(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600),
			os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
		if err != nil {
			return nil, err
		}
	}
	b, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b)
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}, nil
}

// house signs one account in; the rest of the house is not measured here.
type house struct{}

func (house) AppPassword(_ context.Context, a, secret, _ string) (identity.SignIn, error) {
	if a != address || secret != password {
		return identity.SignIn{}, fault.New(fault.WrongSecret, "bench", "")
	}
	return identity.SignIn{Account: 1, BAL: 1, Means: identity.ByAppPassword}, nil
}

func (house) Certificate(context.Context, string, *x509.Certificate) (identity.SignIn, error) {
	return identity.SignIn{}, fault.New(fault.WrongSecret, "bench", "")
}
func (house) OpenDirectory(context.Context, identity.SignIn, string) error         { return nil }
func (house) DirectoryStillAllowed(context.Context, identity.SignIn, string) error { return nil }
func (house) ForPatients(string) bool                                              { return false }

// serve is the door, in its own process. It prints where it is.
func serve(ctx context.Context, dsn, dir string) error {
	db, err := pg.Open(ctx, pg.Config{DSN: dsn, MaxConns: 10, Search: 2 * time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	tickets, err := ticket.New([]byte("0123456789abcdef"))
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return err
	}
	s, err := ldapd.New(ldapd.Deps{SignIn: house{}, Reader: house{}, Search: search.New(db, house{}), Limit: limit.New(nil), Tickets: tickets,
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}, ldapd.Config{MaxEntriesPerHour: 1 << 30})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	return s.ServeTLS(ctx, ln)
}

// slapdConf has no more than the comparison needs; anybody may read.
const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/slapd.pid
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
sizelimit 100
timelimit 3
tool-threads 2
database mdb
envflags nosync writemap
maxsize 17179869184
suffix "c=fr"
directory %[1]s/slapd
index objectClass eq
index cn,sn,givenName,mail pres,eq,sub
access to * by * read
`

func startSlapd(ctx context.Context, o options) (*server, error) {
	s := &server{name: "OpenLDAP"}
	conf, data := filepath.Join(o.dir, "slapd.conf"), filepath.Join(o.dir, "slapd")
	if err := os.WriteFile(conf, fmt.Appendf(nil, slapdConf, o.dir), 0o600); err != nil {
		return nil, err
	}
	if !exists(data) {
		if err := os.Mkdir(data, 0o700); err != nil {
			return nil, err
		}
		started := time.Now()
		out, err := exec.CommandContext(ctx, filepath.Join(o.slapd, "slapadd"), "-q", "-f", conf, "-b", "c=fr", "-l", filepath.Join(o.dir, "entries.ldif")).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("slapadd: %w\n%s", err, out)
		}
		note("OpenLDAP: loaded by slapadd -q in %s", time.Since(started).Round(time.Second))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.addr = ln.Addr().String()
	_ = ln.Close()
	if s.tls, err = certificate(o.dir); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.slapd, "slapd"), "-f", conf, "-h", "ldaps://"+s.addr, "-d", "0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.pids = []int{cmd.Process.Pid}
	s.stops = append(s.stops, func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = c.Close()
			return s, nil
		}
		if time.Now().After(end) {
			s.stop()
			return nil, err
		}
	}
}

// cpu is the time that a server's processes have worked: what a question costs even
// where others use the machine too.
func (s *server) cpu() time.Duration {
	const tick = time.Second / 100 // USER_HZ
	below := map[int][]int{}
	worked := map[int]time.Duration{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		var pid int
		_, _ = fmt.Sscan(string(b), &pid)
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(fields) < 15 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		below[parent] = append(below[parent], pid)
		for _, i := range []int{11, 12} { // utime, stime
			n, _ := strconv.Atoi(fields[i])
			worked[pid] += time.Duration(n) * tick
		}
	}
	var sum time.Duration
	for todo := slices.Clone(s.pids); len(todo) > 0; {
		pid := todo[0]
		todo = append(todo[1:], below[pid]...)
		sum += worked[pid]
	}
	return sum
}
