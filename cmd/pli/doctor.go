package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"pli/app"
)

// checkCmd is for scripts: silent when all is well, every fault otherwise.
type checkCmd struct{}

func (checkCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := app.Load(c.Config, os.Environ())
	if err != nil {
		return err
	}
	var all []error
	for _, f := range app.Examine(ctx, cfg) {
		if f.Err != nil {
			all = append(all, fmt.Errorf("%s: %w", f.What, f.Err))
		}
	}
	return errors.Join(all...)
}

// doctorCmd is for people.
type doctorCmd struct {
	Ready bool `help:"Only ask the running process whether it is ready: for health checks."`
}

func (d doctorCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := app.Load(c.Config, os.Environ())
	if err != nil {
		return err
	}
	if d.Ready {
		return app.AskReady(ctx, cfg)
	}
	findings := app.Examine(ctx, cfg)
	ready := app.Finding{What: "Le service", Detail: "répond et se dit prêt", Err: app.AskReady(ctx, cfg)}
	bad := 0
	for _, f := range append(findings, ready) {
		if f.Err == nil {
			fmt.Printf("  bien   %s : %s\n", f.What, f.Detail)
			continue
		}
		bad++
		fmt.Printf("À VOIR   %s : %v\n", f.What, f.Err)
	}
	if bad > 0 {
		return fmt.Errorf("%d point(s) à voir", bad)
	}
	fmt.Println("Tout va bien.")
	return nil
}
