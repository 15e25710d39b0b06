// Package pipeline is the walk of a message through the house: in from another operator
// (inbound.go), out from one of our people (submit.go), into a folder (store.go), back
// as a notice (notices.go), into the record (ingest.go), and to the eyes of the one it
// is for (read.go, record.go).
//
// A message is read once, from the socket to the sealed blob, by one.go: limits, shape,
// malware scan, hash and sealing happen on the way, and never more than a few buffers
// of it are in memory. Then one transaction decides (gate), traces, deposits, queues
// and plans jobs; only after it has committed does the caller answer 250. Whatever
// fails before leaves nothing behind; whatever panics is a temporary refusal.
package pipeline

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/consent"
	"pli/directory"
	"pli/dossier"
	"pli/fault"
	"pli/gate"
	"pli/internal/blob"
	"pli/internal/clamav"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/pg"
	"pli/mail"
	"pli/mailstore"
	"pli/outbound"
	"pli/seal"
)

// Waker tells the sessions of a BAL that something came (wake.Bus).
type Waker interface {
	Wake(ctx context.Context, topic string)
}

// Deps is what the walk needs. Every field is required but Wake, Suggest, Usage, Zone and
// Metrics.
type Deps struct {
	DB        *pg.DB
	Seal      *seal.Service
	Index     *seal.Index
	Blobs     blob.Store
	Scanner   clamav.Scanner // clamav.None scans nothing
	Gate      *gate.Gate
	Directory *directory.Directory
	Consent   *consent.Service
	Mail      *mailstore.Store
	Outbound  *outbound.Queue
	Dossier   *dossier.Dossier
	Jobs      *job.Queue
	Wake      Waker
	Suggest   Suggester // nil: refusals and reports offer no other address
	Usage     Usage     // nil: nobody counts when a BAL was used
	Config    Config
	Zone      *time.Location // of the dates that people read; nil is UTC
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	Now       func() time.Time
}

// Pipeline walks messages. It is safe for concurrent use.
type Pipeline struct {
	d          Deps
	metrics    *metrics
	boxes      boxes
	suggesting chan struct{} // bounds suggestions at one time
}

// New makes a pipeline. It panics when a room is missing: a message must not get half
// way.
func New(d Deps) *Pipeline {
	if d.DB == nil || d.Seal == nil || d.Index == nil || d.Blobs == nil || d.Scanner == nil || d.Gate == nil || d.Directory == nil ||
		d.Consent == nil || d.Mail == nil || d.Outbound == nil || d.Dossier == nil || d.Jobs == nil || d.Log == nil || d.Now == nil {
		panic("pipeline.New: a room is missing")
	}
	if d.Zone == nil {
		d.Zone = time.UTC
	}
	return &Pipeline{d: d, metrics: newMetrics(d.Metrics), suggesting: make(chan struct{}, suggestAtOnce)}
}

func (p *Pipeline) now() time.Time { return p.d.Now() }

func (p *Pipeline) maxSize() int64 {
	if p.d.Config.MaxSize > 0 {
		return p.d.Config.MaxSize
	}
	return DefaultMaxSize
}

// walk runs one step of a door: it counts and times it, and turns a panic into a
// temporary refusal.
func (p *Pipeline) walk(way string, f func() error) (err error) {
	began := time.Now()
	defer func() {
		if v := recover(); v != nil {
			err = fault.Panic("pipeline."+way, v)
			p.d.Log.Error("panic", "way", way, "error", err, "stack", string(debug.Stack()))
		}
		p.metrics.observe(way, err, time.Since(began))
	}()
	return f()
}

// metrics count messages by the way they go and what became of them.
type metrics struct {
	messages *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pli_pipeline_messages_total", Help: "Messages by way and outcome.",
		}, []string{"way", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pli_pipeline_message_seconds", Help: "Time from the first octet asked for to the commit.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
		}, []string{"way"}),
	}
	if r != nil {
		r.MustRegister(m.messages, m.seconds)
	}
	return m
}

func (m *metrics) observe(way string, err error, took time.Duration) {
	outcome := "accepted"
	if err != nil {
		outcome = fault.KindOf(err).String()
	}
	m.messages.WithLabelValues(way, outcome).Inc()
	m.seconds.WithLabelValues(way).Observe(took.Seconds())
}

// Peer is an operator at the other end of an MX connection, as smtpd authenticated it.
type Peer struct {
	Domains []string // domains its certificate may send for, lower case
	Name    string   // what it said in EHLO
	Address string   // network address, host only
	TLS     string   // version and suite, for the Received field: "TLS1.3:TLS_AES_128_GCM_SHA256"
}

// Receipt is what became of a message answered with 250.
type Receipt struct {
	Letter     id.Letter
	Local      int // messages deposited for recipients of this house
	Remote     int // recipients put in the outgoing queue
	Duplicates int // recipients who had it already; nothing was done for them
}

// StoreRequest is a message to file as it is (IMAP APPEND). Mailbox names the target;
// when zero, Role does. Size is what the client announced, in octets.
type StoreRequest struct {
	BAL        id.BAL
	Mailbox    id.Mailbox
	Role       mail.Role
	Flags      mailstore.Flags
	Keywords   []string
	ReceivedAt time.Time // INTERNALDATE; zero is now
	Size       int64
}

// Config tunes the walk. The zero value is for production.
type Config struct {
	// Hostname is ours in Received fields and DSN.
	Hostname string `toml:"hostname"`
	// Operator is the name people know us by, in DSN. Empty means Hostname.
	Operator string `toml:"operator"`
	// MaxSize is the largest message accepted, in octets on the wire. Zero means
	// 36,700,160: 25 MiB of content once in base64 (mssante.md §5.5).
	MaxSize int64 `toml:"max_size"`
	// Postmaster is the address that DSN come from. Empty means postmaster@ the host
	// name.
	Postmaster string `toml:"postmaster"`
	// QuotaSize is what a BAL may hold when the directory sets no bound of its own, in
	// octets. Zero means no bound.
	QuotaSize int64 `toml:"quota_size"`
}

// DefaultMaxSize is Config.MaxSize when it says nothing.
const DefaultMaxSize = 36_700_160
