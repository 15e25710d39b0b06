package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"pli/certs"
	"pli/fault"
	"pli/gate"
	"pli/internal/obs"
	"pli/internal/wake"
	"pli/migrations"
	"pli/outbound"
	"pli/pipeline"
	"pli/policy"
)

// House is a whole operator in one process: rooms, corridors, and the doors of the
// roles it was asked for.
type House struct {
	*Rooms
	Trust    *certs.Trust
	Wake     *wake.Bus
	Gate     *gate.Gate
	Outbound *outbound.Queue
	Pipeline *pipeline.Pipeline
	Ingester *pipeline.Ingester
	Reader   *pipeline.Reader
	Record   *pipeline.Record

	zone    *time.Location // of the dates that people read
	metrics *prometheus.Registry
	roles   []string
	doors   []door
	private net.Listener // for the operator alone; nil when not asked for
	ready   atomic.Bool
}

// door is one listener and what answers on it.
type door struct {
	name  string // the setting that opens it
	addr  string
	serve func(ctx context.Context, ln net.Listener) error
	ln    net.Listener
}

// New builds a house from its configuration: rooms, then corridors, then doors. It
// listens nowhere yet.
func New(ctx context.Context, cfg Config, roles []string, log *slog.Logger) (*House, error) {
	metrics := prometheus.NewRegistry()
	var counts prometheus.Registerer
	if slices.Contains(roles, "worker") { // it imports
		counts = metrics
	}
	rooms, err := openRooms(ctx, cfg, log, counts)
	if err != nil {
		return nil, err
	}
	h := &House{Rooms: rooms, roles: roles, metrics: metrics}
	h.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := h.build(ctx); err != nil {
		h.Close()
		return nil, err
	}
	log.Info("built", "roles", roles, "rulebook", policy.RuleBookHash())
	return h, nil
}

func (h *House) build(ctx context.Context) (err error) {
	cfg := h.Config
	if cfg.Blobs.SpoolDir != "" {
		if err := os.MkdirAll(cfg.Blobs.SpoolDir, 0o700); err != nil {
			return err
		}
	}
	if h.Trust, err = certs.Open(cfg.Certs.config(), h.log, h.now); err != nil {
		return err
	}
	url, err := cfg.RedisURL()
	if err != nil {
		return err
	}
	if h.Wake, err = wake.Open(ctx, wake.Config{URL: url}, h.log); err != nil {
		return err
	}
	if err := h.corridors(); err != nil {
		return err
	}
	for _, r := range roles {
		if r.doors == nil || !slices.Contains(h.roles, r.name) {
			continue
		}
		ds, err := r.doors(h)
		if err != nil {
			return fmt.Errorf("role %s: %w", r.name, err)
		}
		for _, d := range ds {
			if d.addr != "" {
				h.doors = append(h.doors, d)
			}
		}
	}
	return nil
}

// Listen opens every door; nobody is answered before Run.
func (h *House) Listen() error {
	for i := range h.doors {
		ln, err := net.Listen("tcp", h.doors[i].addr)
		if err != nil {
			return fmt.Errorf("%s: %w", h.doors[i].name, err)
		}
		h.doors[i].ln = ln
	}
	if h.Config.Private.Listen == "" {
		return nil
	}
	ln, err := net.Listen("tcp", h.Config.Private.Listen)
	if err != nil {
		return fmt.Errorf("private.listen: %w", err)
	}
	h.private = ln
	return nil
}

// Addr is where a door listens: "smtp.mx", "imap.imaps", "web.listen", "private.listen"…
func (h *House) Addr(name string) string {
	if name == "private.listen" && h.private != nil {
		return h.private.Addr().String()
	}
	for _, d := range h.doors {
		if d.name == name && d.ln != nil {
			return d.ln.Addr().String()
		}
	}
	return ""
}

// Run answers until ctx is done, then accepts no one, finishes what is in hand, and
// lets everything go. A door or the worker that fails ends the house.
func (h *House) Run(ctx context.Context) error {
	defer h.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	run := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	if h.private != nil {
		run("private.listen", func(ctx context.Context) error { return obs.Serve(ctx, h.private, h.metrics, h.Ready) })
	}
	run("certs", func(ctx context.Context) error { h.Trust.Watch(ctx, 10*time.Second); return nil })
	for _, d := range h.doors {
		run(d.name, func(ctx context.Context) error { return d.serve(ctx, d.ln) })
	}
	if slices.Contains(h.roles, "worker") {
		run("worker", h.work)
	}
	h.ready.Store(true)
	h.log.Info("serving", "roles", h.roles)
	<-ctx.Done()
	h.ready.Store(false)
	h.log.Info("stopping")
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Ready says whether this process can do its work: doors open, the schema the one we
// know, the trust store usable.
func (h *House) Ready(ctx context.Context) error {
	if !h.ready.Load() {
		return fault.New(fault.Unavailable, "app.Ready", "starting")
	}
	if err := migrations.Check(ctx, h.DB); err != nil {
		return err
	}
	return h.Trust.Check()
}

// Close lets everything go. Run does it by itself.
func (h *House) Close() {
	if h.private != nil {
		h.private.Close()
	}
	for _, d := range h.doors {
		if d.ln != nil {
			d.ln.Close()
		}
	}
	if h.Wake != nil {
		h.Wake.Close()
	}
	h.Rooms.Close()
}

// config is the same in the words of the certs room.
func (c CertsConfig) config() certs.Config {
	return certs.Config{Roots: c.Roots, Intermediates: c.Intermediates, CRLs: c.CRLs, WhiteList: c.WhiteList, WhiteListSigners: c.WhiteListSigners,
		WhiteListKept: c.WhiteListKept, WhiteListForce: c.WhiteListForce, ServerCert: c.ServerCert, ServerKey: c.ServerKey,
		ClientCert: c.ClientCert, ClientKey: c.ClientKey, PublicCert: c.PublicCert, PublicKey: c.PublicKey}
}

// Logger writes events as the configuration asks.
func (c PrivateConfig) Logger(w io.Writer) (*slog.Logger, error) {
	level := slog.LevelInfo
	if c.LogLevel != "" {
		if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
			return nil, fmt.Errorf("private.log_level: %w", err)
		}
	}
	return obs.NewLogger(w, level), nil
}
