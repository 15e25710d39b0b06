// Package outbound is where mail leaves: a queue in PostgreSQL, one row per letter and
// destination domain, and a worker that relays to other operators over mutual TLS
// (mssante.md §2.3), tries again, gives up, and reports (RFC 3461, RFC 3464).
//
// It never relays in the clear, never to a domain outside the white list, and never
// sees a key that opens a mailbox: the letter's session key comes sealed for the relay
// holder, and is dropped from the row once every recipient is settled.
package outbound

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/pg"
	"pli/mail"
)

// Item is one letter for the recipients of one domain. Every []byte but Packet is a
// value sealed with the letter's session key (seal.SessionKey.SealValue).
type Item struct {
	Letter      id.Letter
	Generation  int    // of the relay holder's key
	Packet      []byte // the session key, for the relay holder
	Sender      id.BAL // zero for a DSN or MDN of the house
	Domain      string // destination, lower case
	ReversePath []byte // sealed address; sealed empty text is <>
	EnvelopeID  []byte // sealed ENVID; nil when not given
	Full        bool   // RET=FULL
	Size        int64  // octets of the message; 0 when not known
	Recipients  []ItemRecipient
	At          time.Time // when the house took charge of it
}

// ItemRecipient is one forward-path and its DSN wishes.
type ItemRecipient struct {
	Address  []byte // sealed address
	Original []byte // sealed ORCPT; nil when not given
	Notify   mail.Notify
}

// Letters opens letters of the queue. App plugs seal and blob in here.
type Letters interface {
	// Open unlocks the letter's session key with the relay holder's packet.
	Open(ctx context.Context, letter id.Letter, generation int, packet []byte) (Letter, error)
}

// Letter is an opened letter. Close forgets its key.
type Letter interface {
	OpenValue(sealed []byte) ([]byte, error)
	SealValue(value []byte) ([]byte, error)
	// Content streams the message, CRLF lines; an integrity failure comes as the last
	// read's error.
	Content(ctx context.Context) (io.ReadCloser, error)
	Close()
}

// Trust is what the relay needs of certs.
type Trust interface {
	// MayRelay is nil for a domain of the white list; fault.Untrusted for another;
	// fault.Unavailable while the list cannot serve.
	MayRelay(domain string) error
	Relay(domain string) *tls.Config
}

// Action is the fate of a recipient in a DSN (RFC 3464 §2.3.3).
type Action string

const (
	Failed  Action = "failed"
	Delayed Action = "delayed"
	Relayed Action = "relayed" // to a peer that makes no success report
)

// Report is all that a DSN needs. Notices builds the message and deposits it with the
// sender; the reports of one letter bear the same ID when they are made again after a
// crash, so that the deposit may recognise them.
type Report struct {
	ID         string // opaque, stable over a repeated report
	Action     Action // the same for all recipients of one report
	Letter     id.Letter
	Sender     id.BAL       // zero when the reverse-path is not one of ours
	To         mail.Address // the reverse-path, never zero
	EnvelopeID string
	Full       bool // the sender asked for the whole message back
	QueuedAt   time.Time
	At         time.Time
	RetryAt    time.Time // Delayed: next attempt
	GiveUpAt   time.Time // Delayed: when attempts end
	Recipients []ReportRecipient
	// Original streams the letter: its header block is to be quoted, or the whole when
	// Full and the action is Failed. The caller closes.
	Original func(ctx context.Context) (io.ReadCloser, error)
}

// ReportRecipient is one recipient's part (RFC 3464 §2.3).
type ReportRecipient struct {
	Final      mail.Address
	Original   string // ORCPT, "" when not given
	Status     string // 5.1.1, 4.4.1…
	Diagnostic string // the peer's reply "550 5.1.1 text", or ours; "" when none
	RemoteMTA  string // host name or address of the peer; "" when none was reached
	LastTryAt  time.Time
}

// Notices builds and deposits DSN. The pipeline implements it.
type Notices interface {
	DSN(ctx context.Context, r Report) error
}

// Config tunes the queue. The zero value is for production.
type Config struct {
	// Hostname is said in EHLO.
	Hostname string `toml:"hostname"`
	// Routes maps a destination domain to host:port and replaces DNS for it.
	Routes map[string]string `toml:"routes"`
	// FirstRetry is the pause after a first failed attempt; it doubles up to MaxRetry.
	// Zero means 1 minute and 1 hour.
	FirstRetry time.Duration `toml:"first_retry"`
	MaxRetry   time.Duration `toml:"max_retry"`
	// DelayAfter is when the sender is told that the message waits. Zero means 4 hours.
	DelayAfter time.Duration `toml:"delay_after"`
	// GiveUpAfter ends the attempts. Zero means 48 hours.
	GiveUpAfter time.Duration `toml:"give_up_after"`
	// Timeout bounds the dial, each command, and each quiet moment of a transfer. Zero
	// means 1 minute.
	Timeout time.Duration `toml:"timeout"`
}

// Resolver finds mail exchangers; net.DefaultResolver in the house.
type Resolver interface {
	LookupMX(ctx context.Context, domain string) ([]*net.MX, error)
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Deps is what the queue stands on.
type Deps struct {
	DB       *pg.DB
	Jobs     *job.Queue
	Letters  Letters
	Notices  Notices
	Trust    Trust
	Resolver Resolver // nil: net.DefaultResolver
	Config   Config
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil: none
	Now      func() time.Time
}

// Queue is the outgoing queue.
type Queue struct {
	d       Deps
	cfg     Config // with its defaults
	metrics *metrics
}

// New makes the queue. Call Handle before the jobs run.
func New(d Deps) *Queue {
	c := d.Config
	if c.Hostname == "" {
		c.Hostname = "localhost"
	}
	for v, or := range map[*time.Duration]time.Duration{&c.FirstRetry: time.Minute, &c.MaxRetry: time.Hour,
		&c.DelayAfter: 4 * time.Hour, &c.GiveUpAfter: 48 * time.Hour, &c.Timeout: time.Minute} {
		if *v <= 0 {
			*v = or
		}
	}
	if d.Resolver == nil {
		d.Resolver = net.DefaultResolver
	}
	return &Queue{d: d, cfg: c, metrics: newMetrics(d.Metrics)}
}

// SetNotices plugs in the maker of DSN after both were built, since the pipeline needs
// the queue to be there first. Call it before jobs run.
func (q *Queue) SetNotices(n Notices) { q.d.Notices = n }

// EnqueueTx puts an item in the queue and its first attempt among the jobs: it leaves
// if and only if tx commits.
func (q *Queue) EnqueueTx(ctx context.Context, tx *pg.Tx, it Item) error {
	const op = "outbound.EnqueueTx"
	if len(it.Recipients) == 0 || !mail.ValidDomain(it.Domain) {
		return fault.New(fault.Invalid, op, "item")
	}
	n, err := insertTx(ctx, tx, it, it.At.Add(q.cfg.GiveUpAfter))
	if err != nil {
		return pg.Error(op, err)
	}
	return q.d.Jobs.EnqueueTx(ctx, tx, relayJob{n}, job.Unique())
}

// Waiting counts the items not done: all, and those overdue by more than an hour.
func (q *Queue) Waiting(ctx context.Context) (all, overdue int, err error) {
	err = q.d.DB.QueryRow(ctx, sqlWaiting, q.d.Now().Add(-time.Hour)).Scan(&all, &overdue)
	return all, overdue, pg.Error("outbound.Waiting", err)
}
