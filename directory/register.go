package directory

import (
	"context"
	"log/slog"
	"time"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// Means of a change of the register.
const (
	ByCommand = "command" // the operator's
	ByWeb     = "web"     // the holder, signed in
	ByUse     = "use"     // the holder, who opened his BAL again
	ByJob     = "job"     // the calendar
	ByImport  = "import"  // the national directory
)

// Author is who changes the register, and how: both go into the trace.
type Author struct {
	Account id.Account // 0 is the house
	Means   string     // ByCommand, ByWeb, ByJob, ByImport
}

// Act is one change of the register, as it is traced: opaque ids and constants only.
type Act struct {
	BAL    id.BAL // whose chain; 0 is the house's
	Author Author
	Action string   // "set-state-suspended", "update-bal"…
	Object string   // "bal:12", "structure:4"
	Cause  string   // a code; "" when there is none
	Fields []string // what changed, never what it was
	At     time.Time
}

// Traces keeps acts, in the transaction of the act.
type Traces interface {
	TraceTx(ctx context.Context, tx *pg.Tx, acts ...Act) error
}

// Outlet is told, in the transaction of the change, that a BAL of PER, ORG, APP or CAB
// changed in the register: made, altered, moved, gone from the directory. What it is now
// is read from the register.
type Outlet interface {
	ChangedTx(ctx context.Context, tx *pg.Tx, b id.BAL) error
}

// Sessions ends what is open on a BAL that stops being active (identity.Service).
type Sessions interface {
	EndSessionsTx(ctx context.Context, tx *pg.Tx, b id.BAL, at time.Time) error
}

// Letters tells a holder that his BAL sleeps: unused since a day, suspended on another
// unless it is opened (zero: never). The same for the same days is told once.
type Letters interface {
	Sleeping(ctx context.Context, to mail.Address, since, suspended time.Time) error
}

// Plugs are what the register needs of other rooms. Without Traces nothing of it
// changes; the others may be absent.
type Plugs struct {
	Traces   Traces
	Outlet   Outlet
	Sessions Sessions
	Letters  Letters // without it nobody sleeps long enough to be suspended
	Calendar *Calendar
	Now      func() time.Time
	Log      *slog.Logger
}

// Plug fills in what p has and leaves the rest as it was. Before use only.
func (d *Directory) Plug(p Plugs) {
	if p.Traces != nil {
		d.plugs.Traces = p.Traces
	}
	if p.Outlet != nil {
		d.plugs.Outlet = p.Outlet
	}
	if p.Sessions != nil {
		d.plugs.Sessions = p.Sessions
	}
	if p.Letters != nil {
		d.plugs.Letters = p.Letters
	}
	if p.Calendar != nil {
		d.plugs.Calendar = p.Calendar
	}
	if p.Now != nil {
		d.plugs.Now = p.Now
	}
	if p.Log != nil {
		d.plugs.Log = p.Log
	}
}

// traceTx keeps acts. Errors: fault.Internal without a trace store: no trace, no act.
func (d *Directory) traceTx(ctx context.Context, tx *pg.Tx, acts ...Act) error {
	if len(acts) == 0 {
		return nil
	}
	if d.plugs.Traces == nil {
		return fault.New(fault.Internal, "directory.traceTx", "no-traces")
	}
	return d.plugs.Traces.TraceTx(ctx, tx, acts...)
}

// Whoever changes the register does it alone, until he commits: a professional shown by
// two BAL must not outlive both because two hands took one away each. Taken before any
// row, so that nobody waits for somebody who waits for him.
const lockRegister = `SELECT pg_advisory_xact_lock(hashtextextended('pli register', 0))`

func (d *Directory) lockTx(ctx context.Context, tx *pg.Tx) error {
	_, err := tx.Exec(ctx, lockRegister)
	return err
}
