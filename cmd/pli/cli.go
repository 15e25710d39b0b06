package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"pli/app"
	"pli/migrations"
)

// cli is the tree of commands.
type cli struct {
	Config string `help:"Configuration file." type:"path" env:"PLI_CONFIG" placeholder:"FILE"`

	Migrate   migrateCmd `cmd:"" help:"Bring the database to the shape this binary knows."`
	Check     checkCmd   `cmd:"" help:"List every problem of the configuration at once."`
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

type sampleCmd struct{}

func (sampleCmd) Run() error {
	fmt.Print(app.Sample)
	return nil
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

type checkCmd struct{}

func (checkCmd) Run(c *cli) error {
	_, err := c.load()
	return err
}
