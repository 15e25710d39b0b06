// Package demo runs Pli whole on one machine, for a look and for tests with real
// clients: two operators, each with its own PostgreSQL and its own pli process, one
// Redis and one clamd between them, a demo PKI, and a cast of invented people. It
// starts again whatever dies, and ends whatever it started, however it ends.
//
// Nothing here is fit for real mail: keys lie beside the data, and the scanner knows
// one test virus.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pli/certs/demopki"
	"pli/internal/child"
	"pli/internal/clamserver"
	"pli/internal/redisserver"
)

// Options say where the demo lives.
type Options struct {
	Dir    string   // folder of everything; .demo when empty
	Port   int      // first port; 14000 when zero
	Split  []string // operators that run one process per role
	Binary string   // the pli to run; this program when empty
	Out    io.Writer
}

// FromEnvironment fills what is not set from PLI_DEMO_DIR, PLI_DEMO_PORT and
// PLI_DEMO_SPLIT (names of operators, parted by commas).
func (o Options) FromEnvironment() (Options, error) {
	if o.Dir == "" {
		o.Dir = os.Getenv("PLI_DEMO_DIR")
	}
	if p := os.Getenv("PLI_DEMO_PORT"); o.Port == 0 && p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65000 {
			return o, fmt.Errorf("PLI_DEMO_PORT=%s is no port", p)
		}
		o.Port = n
	}
	if s := os.Getenv("PLI_DEMO_SPLIT"); len(o.Split) == 0 && s != "" {
		o.Split = strings.Split(s, ",")
	}
	return o, nil
}

// demo is one run.
type demo struct {
	Options
	layout
	ops      []operator
	secrets  map[string]secret
	pki      demopki.Paths
	redis    string // URL
	scanner  string // socket; empty when no clamd is installed
	services []*part
	servers  []*part
	started  time.Time
}

// Run starts everything, says who and where, and keeps it until ctx is done.
func Run(ctx context.Context, o Options) error {
	if o.Dir == "" {
		o.Dir = ".demo"
	}
	if o.Port == 0 {
		o.Port = 14000
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Binary == "" {
		var err error
		if o.Binary, err = os.Executable(); err != nil {
			return err
		}
	}
	d := &demo{Options: o, ops: operators(), started: time.Now()}
	var err error
	if d.layout, err = newLayout(o); err != nil {
		return err
	}
	if err := d.layout.make(); err != nil {
		return err
	}
	lock, err := d.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	return d.run(ctx)
}

func (d *demo) run(ctx context.Context) error {
	d.hide()
	if err := d.endLeftovers(ctx); err != nil {
		return err
	}
	if err := d.checkPorts(len(d.ops)); err != nil {
		return err
	}
	if err := d.prepare(); err != nil {
		return err
	}
	stopJanitor, err := d.janitor()
	if err != nil {
		return err
	}
	defer stopJanitor()
	s := &state{down: map[*part]bool{}, ready: d.allReady, show: d.show, hide: d.hide, print: d.say}
	// Servers stop before the services they need.
	under, stopUnder := context.WithCancel(context.WithoutCancel(ctx))
	var services, servers sync.WaitGroup
	defer func() {
		s.close()
		servers.Wait()
		stopUnder()
		services.Wait()
		d.say("Tout est arrêté. Les données restent dans %s ; make demo-reset les efface.", d.shown(d.dir))
	}()
	if err := d.startServices(ctx, under, &services, s); err != nil {
		return quiet(ctx, err)
	}
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	if err := d.startServers(ctx, serving, &servers, s); err != nil {
		return quiet(ctx, err)
	}
	s.open()
	d.welcome()
	<-ctx.Done()
	d.say("\nArrêt…")
	return nil
}

// quiet forgets an error that only says that we were asked to stop.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// prepare makes secrets, certificates and configuration.
func (d *demo) prepare() (err error) {
	if d.secrets, err = loadSecrets(d.at("secrets.json"), d.ops); err != nil {
		return err
	}
	if d.pki, err = demopki.Write(d.at("pki"), d.pkiOperators(), time.Now()); err != nil {
		return err
	}
	ca, err := os.ReadFile(d.pki.CA)
	if err != nil {
		return err
	}
	if err := writeFile(d.at("ca.pem"), ca, 0o644); err != nil {
		return err
	}
	return d.publishAnnuaire()
}

func (d *demo) pkiOperators() []demopki.Operator {
	var out []demopki.Operator
	for _, op := range d.ops {
		o := demopki.Operator{Name: op.name, Organisation: strings.ToUpper("OPERATEUR EXEMPLE " + op.name), FINESS: op.finess, Host: "mx." + op.domain,
			Domains: []string{op.domain}}
		if op.patientDomain != "" {
			o.Domains = append(o.Domains, op.patientDomain)
		}
		for _, p := range op.cast {
			if p.clientKey != "" {
				o.Clients = append(o.Clients, demopki.Client{Name: p.clientKey, Organisation: p.place.Name, FINESS: string(p.place.FINESS), Host: p.local + "." + op.domain})
			}
		}
		out = append(out, o)
	}
	return out
}

// startServices brings up Redis, clamd and every PostgreSQL, all at once.
func (d *demo) startServices(ctx, under context.Context, wg *sync.WaitGroup, s *state) error {
	for _, make := range []func() (*part, error){d.redisPart, d.scannerPart} {
		p, err := make()
		if err != nil {
			return err
		}
		if p != nil {
			d.services = append(d.services, p)
		}
	}
	for i := range d.ops {
		p, err := d.databasePart(i)
		if err != nil {
			return err
		}
		d.services = append(d.services, p)
	}
	return d.startAll(ctx, under, d.services, wg, s)
}

// startServers migrates, makes the cast, and brings up every pli.
func (d *demo) startServers(ctx, serving context.Context, wg *sync.WaitGroup, s *state) error {
	errs := make([]error, len(d.ops))
	var prepared sync.WaitGroup
	for i := range d.ops {
		prepared.Go(func() { errs[i] = d.furnish(ctx, i) })
	}
	prepared.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i := range d.ops {
		d.servers = append(d.servers, d.serverParts(i)...)
	}
	return d.startAll(ctx, serving, d.servers, wg, s)
}

// startAll brings parts up at once; those that came up are kept until keep is done,
// even when another failed.
func (d *demo) startAll(ctx, keep context.Context, parts []*part, wg *sync.WaitGroup, s *state) error {
	errs := make([]error, len(parts))
	var starting sync.WaitGroup
	for i, p := range parts {
		starting.Go(func() {
			if errs[i] = p.first(ctx); errs[i] == nil {
				wg.Go(func() { p.keep(keep, s) })
			}
		})
	}
	starting.Wait()
	return errors.Join(errs...)
}

func (d *demo) redisPart() (*part, error) {
	name, err := systemUser("redis", "valkey", "postgres")
	if err != nil {
		return nil, err
	}
	o := redisserver.Options{Dir: filepath.Join(d.sockets, "redis"), User: name, Addr: addr(d.redisPort(len(d.ops))), Output: d.log("redis")}
	p := &part{name: "Redis", pidFile: d.at("redis.pid"), start: func(ctx context.Context) (running, error) {
		s, err := redisserver.Start(ctx, o)
		if err != nil {
			return nil, err
		}
		if s.BuiltIn() {
			d.say("Redis : redis-server n'est pas installé, remplaçant intégré.")
		}
		d.redis = s.URL()
		return s, nil
	}}
	return p, nil
}

func (d *demo) scannerPart() (*part, error) {
	if off, _ := strconv.ParseBool(os.Getenv("PLI_SCANNER_OFF")); off {
		d.say("ATTENTION : PLI_SCANNER_OFF. Les messages NE SONT PAS analysés.")
		return nil, nil
	}
	if clamserver.Find() == "" {
		d.say("ATTENTION : clamd n'est pas installé (paquet clamav-daemon). Les messages NE SONT PAS analysés.")
		return nil, nil
	}
	name, err := systemUser("clamav", "postgres")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(d.sockets, "clamd")
	d.scanner = filepath.Join(dir, "clamd.sock")
	return &part{name: "clamd", pidFile: d.at("clamd.pid"), start: func(ctx context.Context) (running, error) {
		return clamserver.Start(ctx, clamserver.Options{Dir: dir, User: name, Output: d.log("clamd")})
	}}, nil
}

// log opens a log file for what a part prints; its folder is ours alone.
func (d *demo) log(name string) io.Writer {
	f, err := os.OpenFile(d.at("log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return io.Discard
	}
	return f
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.Out, format+"\n", args...) }

// janitor removes demo.json should this process be killed: the file is there only
// while everything is ready.
func (d *demo) janitor() (stop func(), err error) {
	p, err := child.Start(child.Options{Argv: []string{"/bin/sh", "-c", `trap 'rm -f "$1"; kill $! 2>/dev/null; exit 0' TERM; while :; do sleep 3600 & wait; done`, "sh", d.at("demo.json")}})
	if err != nil {
		return nil, err
	}
	return p.Stop, nil
}

// endLeftovers ends what a killed supervisor left; mostly it waits for what is ending.
func (d *demo) endLeftovers(ctx context.Context) error {
	files, err := filepath.Glob(d.at("*.pid"))
	if err != nil {
		return err
	}
	more, _ := filepath.Glob(d.at("*", "*.pid"))
	for _, f := range slices.Concat(files, more) {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err == nil && d.ours(pid) {
			if err := end(ctx, pid); err != nil {
				return err
			}
		}
		_ = os.Remove(f)
	}
	return nil
}

// ours reports whether a process is one that a demo in this folder started: its
// command line names the folder or its sockets. The number may since be another's.
func (d *demo) ours(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return false
	}
	line := string(b)
	return strings.Contains(line, d.dir+"/") || strings.Contains(line, d.sockets+"/") || strings.Contains(line, d.apart+"/")
}

// Reset forgets everything of the demo. It must not be running.
func Reset(ctx context.Context, o Options) error {
	if o.Dir == "" {
		o.Dir = ".demo"
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	l, err := newLayout(o)
	if err != nil {
		return err
	}
	if _, err := os.Stat(l.at("lock")); err != nil {
		fmt.Fprintf(o.Out, "Il n'y a pas de démonstration dans %s.\n", o.Dir)
		return nil
	}
	lock, err := l.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	d := &demo{Options: o, layout: l, ops: operators()}
	if err := d.endLeftovers(ctx); err != nil {
		return err
	}
	// What a demo made, and nothing else that may lie in the folder.
	for _, name := range []string{"demo.json", "ca.pem", "secrets.json", "pki", "annuaire", "log", "a", "b", "redis.pid", "clamd.pid"} {
		if err := os.RemoveAll(l.at(name)); err != nil {
			return err
		}
	}
	for _, dir := range []string{l.apart, l.sockets} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	_ = os.Remove(l.at("lock"))
	_ = os.Remove(l.dir) // only when empty
	fmt.Fprintf(o.Out, "La démonstration de %s est effacée.\n", o.Dir)
	return nil
}
