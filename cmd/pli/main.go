// Command pli is the whole house in one binary: it serves mail, migrates the
// database, keeps accounts, checks itself, and runs the demo.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // dates are shown in the time of Paris, on any machine

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pli:", err)
		os.Exit(1)
	}
}

// run carries out one command.
func run(ctx context.Context, args []string) error {
	var cli cli
	p, err := kong.New(&cli, kong.Name("pli"), kong.Description("Pli, secure health mail."), kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	k, err := p.Parse(args)
	if err != nil {
		var pe *kong.ParseError
		if errors.As(err, &pe) {
			_ = pe.Context.PrintUsage(true)
		}
		return err
	}
	return k.Run(&cli)
}
