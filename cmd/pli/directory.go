package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"pli/app"
	"pli/codec/extraction"
	"pli/directory/national"
	"pli/directory/search"
	"pli/internal/id"
	"pli/internal/invent"
)

type directoryCmd struct {
	Import      directoryImportCmd      `cmd:"" help:"Bring in a published extraction (ZIP), now."`
	Reports     directoryReportsCmd     `cmd:"" help:"What the last imports did."`
	Refusals    directoryRefusalsCmd    `cmd:"" help:"Lines of an import that could not be used, with their cause."`
	Publication directoryPublicationCmd `cmd:"" help:"What of ours the national directory was told, and what it refused."`
	Search      directorySearchCmd      `cmd:"" help:"Ask the directory, as an address book would."`
	Invent      directoryInventCmd      `cmd:"" help:"Write extractions of invented professionals, of any size."`
}

type directoryImportCmd struct {
	File    string `arg:"" type:"existingfile" help:"Extraction_Correspondance_MSSante or PS_LibreAcces, ZIP or its text."`
	Dataset string `enum:"correspondance,activite," default:"" help:"correspondance or activite; read in the file's name when absent."`
	Force   bool   `help:"Put the guards aside: an older file, many lines gone, the same file again."`
}

func (d directoryImportCmd) Run(ctx context.Context, c *cli) error {
	set := extraction.Dataset(d.Dataset)
	if d.Dataset == "" {
		var ok bool
		if set, ok = extraction.DatasetOf(filepath.Base(d.File)); !ok {
			return errors.New("the name of the file does not say what it is: give --dataset correspondance or activite")
		}
	}
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	report, err := r.National.Import(ctx, set, d.File, national.Options{Force: d.Force})
	if report.ID != 0 {
		printReports(os.Stdout, []national.Report{report})
	}
	if report.Already {
		fmt.Println("this very file was imported before: nothing was done (--force does it again)")
	}
	return err
}

type directoryReportsCmd struct {
	N int `default:"10" help:"How many."`
}

func (d directoryReportsCmd) Run(ctx context.Context, c *cli) error {
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	reports, err := r.National.Reports(ctx, d.N)
	if err != nil {
		return err
	}
	printReports(os.Stdout, reports)
	return nil
}

func printReports(w io.Writer, reports []national.Report) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tDATASET\tEXTRACTED\tSTATE\tTOOK\tLINES\tKEPT\tADDED\tCHANGED\tGONE\tREFUSED\tREPEATED\tOURS\tENDED\tBACK\tCAUSE")
	for _, r := range reports {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", r.ID, r.Dataset, day(r.ExtractedAt), r.State,
			r.Took().Round(10*time.Millisecond), r.Lines, r.Kept, r.Added, r.Changed, r.Gone, r.Refused, r.Repeated, r.Ours, r.Ended, r.Restored, r.Cause)
	}
	t.Flush()
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

type directoryRefusalsCmd struct {
	Import int64 `arg:"" help:"Number of the import, as reports shows it."`
}

func (d directoryRefusalsCmd) Run(ctx context.Context, c *cli) error {
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	refusals, err := r.National.Refusals(ctx, d.Import)
	if err != nil {
		return err
	}
	for _, f := range refusals {
		fmt.Printf("line %d: %s\n", f.Line, f.Cause)
	}
	fmt.Println(len(refusals), "lines (the first 1,000 are kept)")
	return nil
}

type directoryPublicationCmd struct {
	Retry bool `help:"Send again what was refused."`
}

func (d directoryPublicationCmd) Run(ctx context.Context, c *cli) error {
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if !r.Publication.Sends() {
		fmt.Println("publication.url is not set: changes are kept and not sent")
	}
	if d.Retry {
		n, err := r.Publication.Retry(ctx, 0)
		fmt.Println(n, "BAL will be sent again")
		return err
	}
	waiting, parked, since, err := r.Publication.Counts(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d BAL wait, %d were refused\n", waiting, parked)
	if waiting > 0 {
		fmt.Println("the oldest waits since", since.Format(time.DateTime))
	}
	return printRefused(ctx, r)
}

// printRefused lists every BAL that the national directory refuses, some at a time.
func printRefused(ctx context.Context, r *app.Rooms) error {
	const some = 500
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer t.Flush()
	for after := id.BAL(0); ; {
		refused, err := r.Publication.Refusals(ctx, after, some)
		if err != nil {
			return err
		}
		for _, f := range refused {
			fmt.Fprintf(t, "bal %d\t%s\t%d\t%s\t%s\t%s\n", f.BAL, f.Way, f.HTTP, f.Code, f.Text, day(f.At))
		}
		if len(refused) < some {
			return nil
		}
		after = refused[len(refused)-1].BAL
	}
}

type directorySearchCmd struct {
	Words []string `arg:"" help:"Name, profession, place, structure, service."`
	Limit int      `default:"20" help:"How many."`
}

func (d directorySearchCmd) Run(ctx context.Context, c *cli) error {
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	var where search.And
	for _, w := range d.Words {
		where = append(where, search.Words{Field: search.Any, Value: w})
	}
	page, err := r.Search.Search(ctx, search.Query{Where: where, Limit: d.Limit, Fuzzy: true})
	if err != nil {
		return err
	}
	switch {
	case len(page.Listings) == 0:
		fmt.Println("nobody is found")
	case page.Fuzzy:
		fmt.Println("nothing is spelt so; nearly so:")
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, l := range page.Listings {
		fmt.Fprintf(t, "%s\t%s\t%s\n", l.Kind, l.Address, l.Display())
	}
	return t.Flush()
}

type directoryInventCmd struct {
	Dir    string `arg:"" help:"Folder to write to." type:"path"`
	Size   int    `default:"10000" help:"Published BAL."`
	Others int    `default:"0" help:"Professionals without a BAL."`
	Day    int    `default:"0" help:"The same people, so many days later."`
	Broken int    `default:"0" help:"Lines that are wrong on purpose."`
	Seed   int64  `default:"1" help:"Other seeds, other people."`
}

func (d directoryInventCmd) Run() error {
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return err
	}
	o := invent.Options{Seed: d.Seed, Size: d.Size, Others: d.Others, Day: d.Day, Broken: d.Broken}
	paths, err := invent.WriteFiles(d.Dir, o)
	for _, p := range paths {
		fmt.Println(p)
	}
	return err
}
