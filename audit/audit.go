// Package audit keeps who did what to which record, under which rule. Traces are only
// ever added; each is bound to the one before it in its chain by a keyed hash, so that
// a changed, missing or cut-off trace is found by Verify. It holds opaque ids only.
package audit

import (
	"context"
	"fmt"
	"time"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

var errStub = fault.New(fault.Internal, "audit", "not-yet")

// House is the chain of what concerns no BAL and no patient.
const House = "house"

// BALChain is the chain of one BAL.
func BALChain(b id.BAL) string { return fmt.Sprintf("bal:%d", int64(b)) }

// PatientChain is the chain of one patient's dossier.
func PatientChain(p id.Patient) string { return fmt.Sprintf("patient:%d", int64(p)) }

// Entry is one trace.
type Entry struct {
	Chain    string    // BALChain, PatientChain or House
	Actor    string    // "account:5", "peer:<domain>", "house"
	Action   string    // a policy.Action
	Object   string    // "document:<uuid>", "letter:<uuid>"
	Permit   bool      // false: the act was refused
	Rules    []string  // ids of the rules that spoke
	Rulebook string    // hash of the rule book
	Means    string    // "imap", "web", "smtp", "job"
	At       time.Time // UTC, cut to the microsecond
}

// Row is a stored trace.
type Row struct {
	Seq int64
	Entry
}

// Log appends, reads and verifies traces.
type Log struct{ db *pg.DB }

func NewKeyFile(path string) error                { return errStub }
func New(db *pg.DB, keyFile string) (*Log, error) { return nil, errStub }

func (l *Log) AppendTx(ctx context.Context, tx *pg.Tx, entries ...Entry) error { return errStub }
func (l *Log) Read(ctx context.Context, chain string, before int64, limit int) ([]Row, error) {
	return nil, errStub
}
func (l *Log) Verify(ctx context.Context) (Report, error) { return Report{}, errStub }

// Fault is one place where a chain does not hold.
type Fault struct {
	Chain string
	Seq   int64
	What  string
}

// Report is what Verify found.
type Report struct {
	Chains, Traces int
	Faults         []Fault
}
