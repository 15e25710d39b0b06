package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"pli/app"
	"pli/app/demo"
	"pli/migrations"
)

// cli is the tree of commands.
type cli struct {
	Config string `help:"Configuration file." type:"path" env:"PLI_CONFIG" placeholder:"FILE"`

	Serve     serveCmd     `cmd:"" help:"Serve mail: all roles, or some."`
	Migrate   migrateCmd   `cmd:"" help:"Bring the database to the shape this binary knows."`
	Demo      demoCmd      `cmd:"" help:"Run two whole operators on this machine, with invented people."`
	BAL       balCmd       `cmd:"" name:"bal" help:"The register: BAL of professionals and services, their life, what the directory shows of them."`
	Account   accountCmd   `cmd:"" help:"Make BAL with what opens them: app passwords, certificates, second factors."`
	Directory directoryCmd `cmd:"" help:"About the directory: imports, reports, searches."`
	Check     checkCmd     `cmd:"" help:"List every problem at once: settings, files, certificates, schema, keys, blobs."`
	Doctor    doctorCmd    `cmd:"" help:"Tell how this house is doing, in words."`
	Audit     auditCmd     `cmd:"" help:"About the traces."`
	Keys      keysCmd      `cmd:"" help:"About the operator's keys and those of the BAL."`
	ConfigCmd struct {
		Sample sampleCmd `cmd:"" help:"Print a commented configuration file."`
	} `cmd:"" name:"config" help:"About the configuration."`
}

// load reads the configuration, and refuses one with problems.
func (c *cli) load() (app.Config, error) {
	cfg, err := app.Load(c.Config, os.Environ())
	if err != nil {
		return cfg, err
	}
	return cfg, errors.Join(cfg.Check()...)
}

// rooms opens the rooms for a command; its events go nowhere.
func (c *cli) rooms(ctx context.Context) (*app.Rooms, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	return app.OpenRooms(ctx, cfg, slog.New(slog.DiscardHandler))
}

type serveCmd struct {
	Roles string `help:"Roles of this process, parted by commas: smtp, imap, web, worker. All when empty." placeholder:"ROLES"`
}

func (s serveCmd) Run(ctx context.Context, c *cli) error {
	roles, err := app.ParseRoles(s.Roles)
	if err != nil {
		return err
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	log, err := cfg.Private.Logger(os.Stderr)
	if err != nil {
		return err
	}
	h, err := app.New(ctx, cfg, roles, log)
	if err != nil {
		return err
	}
	if err := h.Listen(); err != nil {
		h.Close()
		return err
	}
	return h.Run(ctx)
}

type migrateCmd struct{}

func (migrateCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := app.Load(c.Config, os.Environ())
	if err != nil {
		return err
	}
	if cfg.Database.DSN == "" {
		return errors.New("database.dsn is missing")
	}
	return migrations.Up(ctx, cfg.Database.DSN)
}

type demoCmd struct {
	Reset bool     `help:"Forget the demo: data, people, passwords."`
	Split []string `help:"Operators (a, b) that run one process per role."`
}

func (d demoCmd) Run(ctx context.Context) error {
	o, err := demo.Options{Split: d.Split}.FromEnvironment()
	if err != nil {
		return err
	}
	if d.Reset {
		return demo.Reset(ctx, o)
	}
	return demo.Run(ctx, o)
}

type sampleCmd struct{}

func (sampleCmd) Run() error {
	fmt.Print(app.Sample)
	return nil
}

type keysCmd struct {
	New    keysNewCmd    `cmd:"" help:"Make the key files of the configuration that are missing."`
	Rotate keysRotateCmd `cmd:"" help:"Give a BAL a new key pair; what it holds stays readable."`
	Rewrap keysRewrapCmd `cmd:"" help:"Wrap every holder's secret again with the first operator key."`
}

type keysNewCmd struct{}

func (keysNewCmd) Run(c *cli) error {
	cfg, err := app.Load(c.Config, os.Environ())
	if err != nil {
		return err
	}
	made, err := app.NewKeys(cfg.Keys)
	for _, m := range made {
		fmt.Println("made", m)
	}
	return err
}

type keysRotateCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
}

func (k keysRotateCmd) Run(ctx context.Context, c *cli) error {
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	return r.RotateBox(ctx, k.Address)
}

type keysRewrapCmd struct{}

func (keysRewrapCmd) Run(ctx context.Context, c *cli) error {
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := r.Seal.RewrapAll(ctx)
	fmt.Println(n, "secrets wrapped again")
	return err
}

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check every chain of traces."`
}

type auditVerifyCmd struct{}

func (auditVerifyCmd) Run(ctx context.Context, c *cli) error {
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	report, err := r.Audit.Verify(ctx)
	if err != nil {
		return err
	}
	for _, f := range report.Faults {
		fmt.Printf("%s #%d: %s\n", f.Chain, f.Seq, f.What)
	}
	fmt.Printf("%d chains, %d traces, %d faults\n", report.Chains, report.Traces, len(report.Faults))
	if len(report.Faults) > 0 {
		return errors.New("the traces do not hold")
	}
	return nil
}
