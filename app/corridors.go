package app

import (
	"cmp"
	"context"
	"time"

	"pli/gate"
	"pli/health"
	"pli/internal/clamav"
	"pli/internal/job"
	"pli/outbound"
	"pli/pipeline"
)

// corridors builds what messages walk through, each part once.
func (h *House) corridors() error {
	cfg := h.Config
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		return err
	}
	h.zone = paris
	class := health.INSClass(cfg.Operator.INSClass)
	h.Gate = gate.New(gate.Deps{DB: h.DB, Boxes: h.Directory, Accounts: h.Identity, Consent: h.Consent, Dossier: h.Dossier, Trust: h.Trust,
		Audit: h.Audit, Class: class, Zone: paris, Now: h.now, Log: h.log})
	h.Outbound = outbound.New(outbound.Deps{DB: h.DB, Jobs: h.Jobs, Letters: relayLetters{h.Seal, h.Blobs}, Trust: h.Trust, Config: outbound.Config{
		Hostname: cfg.Operator.Hostname, Routes: cfg.Outbound.Routes, FirstRetry: time.Duration(cfg.Outbound.RetryFirst),
		GiveUpAfter: time.Duration(cfg.Outbound.GiveUpAfter)}, Log: h.log, Metrics: h.metrics, Now: h.now})
	var scanner clamav.Scanner = clamav.None{}
	if !cfg.Scanner.Off {
		scanner = clamav.New(cfg.Scanner.Network, cfg.Scanner.Address)
	} else {
		h.log.Warn("mail is not scanned: scanner.off is set")
	}
	quota := cmp.Or(cfg.Operator.QuotaSize, 10<<30)
	h.Pipeline = pipeline.New(pipeline.Deps{DB: h.DB, Seal: h.Seal, Index: h.Index, Blobs: h.Blobs, Scanner: scanner, Gate: h.Gate,
		Directory: h.Directory, Consent: h.Consent, Mail: h.Mail, Outbound: h.Outbound, Dossier: h.Dossier, Jobs: h.Jobs, Wake: h.Wake, Suggest: h.Search, Usage: h.Directory,
		Config: pipeline.Config{Hostname: cfg.Operator.Hostname, Operator: cfg.Operator.Name, MaxSize: cfg.SMTP.MaxSize, QuotaSize: quota},
		Zone:   paris, Log: h.log, Metrics: h.metrics, Now: h.now})
	h.Outbound.SetNotices(h.Pipeline)
	h.plugLetters(paris)
	h.Reader = pipeline.NewReader(pipeline.ReaderDeps{DB: h.DB, Mail: h.Mail, Gate: h.Gate, Boxes: h.Directory, Seal: h.Seal, Blobs: h.Blobs,
		SpoolDir: cfg.Blobs.SpoolDir, QuotaSize: quota, Usage: h.Directory, Log: h.log, Now: h.now})
	h.Ingester = pipeline.NewIngester(pipeline.IngestDeps{DB: h.DB, Seal: h.Seal, Blobs: h.Blobs, Keys: h.Index, Dossier: h.Dossier,
		Boxes: h.Directory, Gate: h.Gate, Audit: h.Audit, Notices: h.Pipeline, Class: class, Hostname: cfg.Operator.Hostname,
		SpoolDir: cfg.Blobs.SpoolDir, Now: h.now, Log: h.log})
	h.Record = pipeline.NewRecord(pipeline.RecordDeps{DB: h.DB, Seal: h.Seal, Blobs: h.Blobs, Keys: h.Index, Dossier: h.Dossier, Boxes: h.Directory,
		Accounts: h.Identity, Gate: h.Gate, Audit: h.Audit, SpoolDir: cfg.Blobs.SpoolDir, Now: h.now, Log: h.log})
	return nil
}

const (
	ingestTimeout = 5 * time.Minute
	sweepEvery    = time.Hour
	// sweepAge is longer than any message takes from its blob to its row.
	sweepAge = 24 * time.Hour
)

// sweep asks for what nobody refers to any more to be removed.
type sweep struct{}

// Kind names the job.
func (sweep) Kind() string { return "sweep" }

// work runs the jobs until ctx is done, and then finishes those in hand.
func (h *House) work(ctx context.Context) error {
	w := job.NewWorkers()
	h.Outbound.Handle(w)
	job.Handle(w, ingestTimeout, h.Ingester.Ingest)
	job.Handle(w, sweepEvery, h.sweep)
	w.Every(sweep{}, sweepEvery)
	h.Directory.Handle(w)
	h.National.Handle(w)
	h.Publication.Handle(w)
	return h.Jobs.Run(ctx, w)
}

func (h *House) sweep(ctx context.Context, _ sweep) error {
	swept, err := h.Mail.Sweep(ctx, h.Blobs, h.now(), sweepAge)
	if err != nil {
		return err
	}
	if err := h.Identity.Sweep(ctx); err != nil {
		return err
	}
	temporary := 0
	if blobs, ok := h.Blobs.(interface {
		SweepTemporary(before time.Time) (int, error)
	}); ok {
		if temporary, err = blobs.SweepTemporary(h.now().Add(-sweepAge)); err != nil {
			return err
		}
	}
	h.log.Info("swept", "letters", swept.Letters, "blobs", swept.Blobs, "temporary", temporary)
	return nil
}
