// Package national brings the published extractions of the national directory
// (mssante.md §4.2) into the tables that everybody reads.
//
// A file is read as a stream, checked, and written with its consequences into the part
// that nobody reads; indexes follow; one short transaction then makes it the part that
// is read. Until that instant nothing has changed, and a process that is killed at any
// moment leaves either the former edition or the new one. What the other file said is
// carried over from the part that is read, so each import makes a whole edition.
//
// The register is the truth for our own domains: their lines are left out. No patient
// is ever let in, whatever a file says.
package national

import (
	"context"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/codec/extraction"
	"pli/internal/pg"
)

// Ended is what follows for our own people when the national directory says that their
// exercise ended, or that it goes on after all. It runs in the transaction of the swap.
type Ended interface {
	EndedTx(ctx context.Context, tx *pg.Tx, person int64, at time.Time) error
	BackTx(ctx context.Context, tx *pg.Tx, person int64, at time.Time) error
	// MovedTx: situations of these persons ended or go on, the persons themselves do.
	// Called with nobody it only takes the register's lock.
	MovedTx(ctx context.Context, tx *pg.Tx, persons []int64, at time.Time) error
}

// Config says where the extractions come from.
type Config struct {
	// Correspondance and Activite are an https URL or the path of a file; "" is none.
	Correspondance string
	Activite       string
	// Dir keeps the files fetched.
	Dir string
	// Roots are the authorities of the server; nil is the system's.
	Roots *x509.CertPool
	// Hour of the nightly import, in Paris, 0 to 23.
	Hour int
	// MaxLoss is the part of the lines that a new file may lack; 0 is 0.05.
	MaxLoss float64
	// MaxSize of a file fetched, in octets; 0 is 1 GiB.
	MaxSize int64
	// Grace is how long the part left at a swap is not written: longer than any question
	// that may still read it. 0 is 10 seconds.
	Grace time.Duration
}

// Deps are what the room needs. Local, Patient and DB must be set.
type Deps struct {
	DB      *pg.DB
	Ended   Ended                    // nil: nobody of ours is ended
	Local   func(domain string) bool // a domain of ours: the register knows better
	Patient func(domain string) bool // a domain of patients, here or elsewhere
	Config  Config
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: none
	Now     func() time.Time      // nil: time.Now
}

// Options of one import.
type Options struct {
	Force   bool    // put the guards aside, and import the same file again
	MaxLoss float64 // part of the present lines that may be gone; 0 is Config.MaxLoss
}

// State of an import.
type State string

const (
	Staging State = "staging" // the idle part is being written
	Staged  State = "staged"  // written; it waits for its indexes and its turn
	Done    State = "done"
	Refused State = "refused" // nothing changed
)

// Report is what one import did.
type Report struct {
	ID          int64
	Dataset     extraction.Dataset
	File        string // name of the text in the archive
	SHA256      []byte // of the file as given
	Size        int64  // of it, in octets
	ExtractedAt time.Time
	StartedAt   time.Time
	FinishedAt  time.Time
	State       State
	Cause       string // of a refusal: a code
	Forced      bool

	Lines    int64 // read, without the header
	Kept     int64
	Added    int64
	Changed  int64
	Gone     int64
	Refused  int64 // lines that cannot be used; the first 1,000 are kept with their cause
	Repeated int64 // lines whose key had come before: the first is kept
	Ours     int64 // lines of our own domains

	Ended    int64 // persons of the register whose exercise ended
	Restored int64 // persons of the register who are back
	Unknown  int64 // persons of the register never seen in the activity file

	Already bool // the same file was imported before: nothing was done
}

// Took is how long the import ran.
func (r Report) Took() time.Duration {
	if r.FinishedAt.IsZero() {
		return 0
	}
	return r.FinishedAt.Sub(r.StartedAt)
}

// Refusal is a line that could not be used. Its content is not kept.
type Refusal struct {
	Line  int64 // 1 is the header
	Cause string
}

// Importer is the part of the directory that imports.
type Importer struct {
	Deps
	metrics metrics
	step    func(string)  // tests look on, or end the process there
	pause   time.Duration // before a transfer is tried again
}

// New makes it. It starts nothing.
func New(d Deps) *Importer {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Config.MaxLoss == 0 {
		d.Config.MaxLoss = 0.05
	}
	if d.Config.MaxSize == 0 {
		d.Config.MaxSize = 1 << 30
	}
	if d.Config.Grace == 0 {
		d.Config.Grace = 10 * time.Second
	}
	im := &Importer{Deps: d, step: func(string) {}, pause: fetchPause}
	im.metrics = im.newMetrics(d.Metrics)
	return im
}

// now is cut to the grain of PostgreSQL.
func (im *Importer) now() time.Time { return im.Now().UTC().Truncate(time.Microsecond) }
