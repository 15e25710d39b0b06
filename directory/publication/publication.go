// Package publication tells the national directory what the register says of our BAL
// (mssante.md §3.4, §9): a FHIRPath Patch for each change as it happens, and each day a
// file of all that is published, whose report is read back.
//
// The register says in its own transaction that a BAL changed (ChangedTx); a worker then
// compares what the directory has with what it should have and sends the difference. A
// BAL is sent by one hand at a time, so its changes arrive in order. What was sent without
// an answer is read back before anything else is, so nothing is published twice and
// nothing stays published that should not. A BAL on the liste rouge, closed, or suspended
// for long is taken out; it is never announced as such. PUT is never used.
//
// The official channel is behind the interface Channel, and the report's format behind
// ReportFormat, so that what the ANS will open can be put in.
package publication

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/codec/fhir"
	"pli/directory"
	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/pg"
)

// Target is the resource that carries a BAL, found by an identifier.
type Target struct {
	Resource string `json:"resource"` // Practitioner, PractitionerRole, Organization
	System   string `json:"system"`
	Value    string `json:"value"`
}

// Channel is the way to the national directory.
//
// Errors of both: *Refusal for what will not pass as it is; fault.Unauthenticated when
// we are not let in; *Pause when it asks to wait; any other is temporary.
type Channel interface {
	// Patch carries out operations on a resource, all or none.
	Patch(ctx context.Context, t Target, ops []fhir.Operation) error
	// Read gives the BAL that a resource carries under an address; ok is false for none,
	// for no such resource, and for one on the liste rouge.
	Read(ctx context.Context, t Target, address string) (a fhir.Announced, ok bool, err error)
}

// Refusal is a lasting answer of the national directory.
type Refusal struct {
	Status int
	Code   string // of the OperationOutcome (issue-type), or "status"
	Text   string // what it says, 200 characters at most; not for logs
}

func (r *Refusal) Error() string { return fmt.Sprintf("publication: refused: %d %s", r.Status, r.Code) }

// Pause is the national directory asking to be left alone.
type Pause struct {
	For    time.Duration
	Status int
}

func (p *Pause) Error() string { return fmt.Sprintf("publication: asked to wait: %d", p.Status) }

// Config says where and how. The zero value publishes nothing.
type Config struct {
	// URL is the base of the national directory's FHIR interface that takes publication,
	// such as "https://gateway.api.esante.gouv.fr/fhir/v2". Empty: changes are not sent.
	URL string `toml:"url"`
	// KeyFile holds the API key of this operator, on one line.
	KeyFile string `toml:"key_file"`
	// KeyHeader is the header that carries it. Empty means ESANTE-API-KEY.
	KeyHeader string `toml:"key_header"`
	// RootsFile holds the certificates (PEM) that the server's must lead to. Empty: those
	// of this machine.
	RootsFile string `toml:"roots_file"`
	// Timeout bounds one request. Zero means 40 seconds: the service gives up after 30.
	Timeout time.Duration `toml:"timeout"`
	// FirstRetry is the pause after a first failure; it doubles up to MaxRetry. Zero means
	// 1 minute and 6 hours.
	FirstRetry time.Duration `toml:"first_retry"`
	MaxRetry   time.Duration `toml:"max_retry"`
	// SuspendedFor is how long a suspended BAL stays announced. Zero means 183 days.
	SuspendedFor time.Duration `toml:"suspended_for"`
	// KindAs writes the type of a BAL as "code" or as "concept". Empty means code.
	KindAs string `toml:"kind_as"`
	// Folder is where the daily file is written. Empty: none is made.
	Folder string `toml:"folder"`
	// Reports is where reports of daily files are put for us to read; once read they go
	// into its folder "lus". Empty: none is read.
	Reports string `toml:"reports"`
	// Hour is the hour of Paris after which the day's file is made. Zero means 1.
	Hour int `toml:"hour"`
}

// Check lists what is wrong in the configuration, in words.
func (c Config) Check() (problems []string) {
	if c.URL != "" {
		if _, err := baseURL(c.URL); err != nil {
			problems = append(problems, "url: an https address is expected (http on this machine only)")
		}
		if c.KeyFile == "" {
			problems = append(problems, "key_file: the API key is missing")
		}
	}
	if c.KindAs != "" && c.KindAs != string(fhir.AsCode) && c.KindAs != string(fhir.AsConcept) {
		problems = append(problems, "kind_as: code or concept")
	}
	if c.Hour < 0 || c.Hour > 23 {
		problems = append(problems, "hour: 0 to 23")
	}
	if c.Reports != "" && c.Folder == "" {
		problems = append(problems, "reports: there are none without a folder for daily files")
	}
	return problems
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.Timeout, 40*time.Second)
	set(&c.FirstRetry, time.Minute)
	set(&c.MaxRetry, 6*time.Hour)
	set(&c.SuspendedFor, 183*24*time.Hour)
	if c.KindAs == "" {
		c.KindAs = string(fhir.AsCode)
	}
	if c.KeyHeader == "" {
		c.KeyHeader = "ESANTE-API-KEY"
	}
	if c.Hour == 0 {
		c.Hour = 1
	}
	return c
}

// Deps are what the publisher works with.
type Deps struct {
	DB       *pg.DB
	Jobs     *job.Queue
	Register *directory.Directory
	// Channel is where changes are sent; nil: NewGateway(Config) when it has a URL, else
	// nowhere.
	Channel Channel
	// Format reads reports; nil is PipeReport.
	Format ReportFormat
	// Exercise gives the national identifier of the exercise (idSituationExercice) that a
	// BAL is published for, "" for the professional himself. nil: always "".
	Exercise func(ctx context.Context, b directory.BAL) (string, error)
	Config   Config
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil: none
	Now      func() time.Time
}

// Publisher tells the national directory. It is the register's Outlet.
type Publisher struct {
	d       Deps
	cfg     Config
	metrics *metrics
	paused  atomic.Int64 // until when nothing is sent, in Unix nanoseconds
}

var _ directory.Outlet = (*Publisher)(nil)

// New makes the publisher. Call Handle before the jobs run.
//
// Errors: those of NewGateway.
func New(d Deps) (*Publisher, error) {
	cfg := d.Config.withDefaults()
	if d.Channel == nil && cfg.URL != "" {
		g, err := NewGateway(d.Config)
		if err != nil {
			return nil, err
		}
		d.Channel = g
	}
	if d.Format == nil {
		d.Format = PipeReport{}
	}
	return &Publisher{d: d, cfg: cfg, metrics: newMetrics(d.Metrics)}, nil
}

// Sends reports whether changes are sent at all.
func (p *Publisher) Sends() bool { return p.d.Channel != nil }

const sqlChanged = `
INSERT INTO publication AS p (bal_id, state, next_at, changed_at) VALUES ($1, 'waiting', $2, $2)
ON CONFLICT (bal_id) DO UPDATE SET revision = p.revision + 1, state = 'waiting', attempts = 0, next_at = $2, changed_at = $2
RETURNING revision`

const sqlChangedUnsent = `
UPDATE publication SET revision = revision + 1, state = 'waiting', attempts = 0, next_at = $2, changed_at = $2 WHERE bal_id = $1`

// ChangedTx notes that a BAL changed and has it sent after the commit. A BAL that was
// parked is tried again. Where there is no channel it waits for a process that has one,
// when the directory was told of it before: it may have to be taken out.
func (p *Publisher) ChangedTx(ctx context.Context, tx *pg.Tx, b id.BAL) error {
	if p.d.Channel == nil {
		_, err := tx.Exec(ctx, sqlChangedUnsent, b, p.d.Now())
		return pg.Error("publication.ChangedTx", err)
	}
	var revision int64
	if err := tx.QueryRow(ctx, sqlChanged, b, p.d.Now()).Scan(&revision); err != nil {
		return pg.Error("publication.ChangedTx", err)
	}
	return p.d.Jobs.EnqueueTx(ctx, tx, sendJob{int64(b), revision}, job.Unique())
}

// placed is a BAL as announced, and on what.
type placed struct {
	Target
	Address     string         `json:"address"`
	Kind        health.BALKind `json:"kind,omitempty"`
	Description string         `json:"description,omitempty"`
	Service     string         `json:"service,omitempty"`
	Responsible string         `json:"responsible,omitempty"`
	Rank        int            `json:"rank,omitempty"`
}

func place(t Target, a fhir.Announced) *placed {
	a = a.Allowed()
	return &placed{t, a.Address, a.Kind, a.Description, a.Service, a.Responsible, a.Rank}
}

func (p *placed) announced() *fhir.Announced {
	if p == nil {
		return nil
	}
	return &fhir.Announced{
		Mailbox:     fhir.Mailbox{Address: p.Address, Kind: p.Kind, Description: p.Description, Service: p.Service, Rank: p.Rank},
		Responsible: p.Responsible,
	}
}

// may says whether a BAL may be announced at all, and whether it is only left as it is:
// suspended, not yet for long (mssante.md §3.4).
func (p *Publisher) may(b directory.BAL, now time.Time) (yes, leave bool) {
	if !b.Kind.Professional() || b.Unlisted || b.Address.IsZero() || !b.UnpublishedAt.IsZero() {
		return false, false
	}
	if b.Person != nil && !b.Person.EndedAt.IsZero() {
		return false, false
	}
	switch b.State {
	case health.Active:
		return true, false
	case health.Suspended:
		return false, now.Sub(b.StateAt) < p.cfg.SuspendedFor
	}
	return false, false
}

// errNoCarrier says that nothing of the national directory can carry a BAL: its holder has
// no national identifier.
var errNoCarrier = fault.New(fault.Invalid, "publication.target", "no-national-identifier")

// target is the resource that carries a BAL (mssante.md §3.1, §9).
func (p *Publisher) target(ctx context.Context, b directory.BAL) (Target, error) {
	switch b.Kind {
	case health.PER, health.CAB:
		if b.Kind == health.PER && p.d.Exercise != nil {
			exercise, err := p.d.Exercise(ctx, b)
			if err != nil {
				return Target{}, err
			}
			if exercise != "" {
				return Target{"PractitionerRole", fhir.SystemRPPS, exercise}, nil
			}
		}
		if b.Person != nil && b.Person.RPPS != "" {
			return Target{"Practitioner", fhir.SystemPP, b.Person.RPPS.NationalID()}, nil
		}
	default:
		if s := b.Structure; s != nil && s.FINESS != "" {
			return Target{"Organization", fhir.SystemFINESS, string(s.FINESS)}, nil
		} else if s != nil && s.SIRET != "" {
			return Target{"Organization", fhir.SystemPlace, "3" + s.SIRET}, nil
		}
	}
	return Target{}, errNoCarrier
}

// wanted is what should be announced of a BAL, given what is.
func (p *Publisher) wanted(ctx context.Context, b directory.BAL, was *placed) (*placed, error) {
	yes, leave := p.may(b, p.d.Now())
	if leave {
		return was, nil
	}
	if !yes {
		return nil, nil
	}
	t, err := p.target(ctx, b)
	if err != nil {
		return nil, err
	}
	return place(t, fhir.Announced{
		Mailbox:     fhir.Mailbox{Address: b.Address.Reveal(), Kind: b.Kind, Description: b.Description, Service: b.Service, Rank: b.Rank},
		Responsible: b.Responsible,
	}), nil
}

// step is one request: operations on one resource, and what is announced after it.
type step struct {
	target Target
	ops    []fhir.Operation
	tried  *placed // what it inserts, replaces or deletes
	after  *placed
}

// next is the first step from what is announced to what should be; ok is false when there
// is none to take.
func (p *Publisher) next(was, is *placed) (s step, ok bool) {
	as := fhir.KindAs(p.cfg.KindAs)
	switch {
	case was != nil && (is == nil || was.Target != is.Target || was.Address != is.Address || was.Kind != is.Kind):
		s = step{was.Target, fhir.Changes(was.Resource, was.announced(), nil, as), was, nil}
	case is != nil:
		s = step{is.Target, fhir.Changes(is.Resource, was.announced(), is.announced(), as), is, is}
	}
	return s, len(s.ops) > 0
}
