// Package consent keeps the choices about who may write to whom between a patient and
// professionals: the exchanges of mssante.md §6.3. It never decides; policy does.
package consent

import (
	"context"
	"time"

	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// State is the state of the exchange between a patient and a professional address.
type State int

const (
	None State = iota // nobody wrote yet
	Open
	Ended
)

// Index makes the keyed hash of an address (seal.Index).
type Index interface {
	Key(domain string, parts ...string) []byte
}

// Service is the room.
type Service struct {
	db *pg.DB
	ix Index
}

// New makes the room.
func New(db *pg.DB, ix Index) *Service { return &Service{db: db, ix: ix} }

// Exchange is one correspondent of a patient.
type Exchange struct {
	PeerSealed []byte // address and name, for the patient's holder
	PeerKey    []byte // keyed hash of the address
	State      State
	At         time.Time
}

// Pair is a patient's BAL and a professional address.
type Pair struct {
	Patient id.BAL
	Peer    mail.Address
}

// State tells the state of one exchange.
func (s *Service) State(ctx context.Context, q pg.Querier, patient id.BAL, peer mail.Address) (State, error) {
	panic("soon")
}

// States tells the states of several exchanges, in one query, in the order asked.
func (s *Service) States(ctx context.Context, q pg.Querier, pairs []Pair) ([]State, error) {
	panic("soon")
}

// OpenTx opens or reopens the exchange. sealed is the address and name as shown to the
// patient, sealed for the patient's holder.
func (s *Service) OpenTx(ctx context.Context, tx *pg.Tx, patient id.BAL, peer mail.Address, sealed []byte, at time.Time) error {
	panic("soon")
}

// EndTx ends the exchange; one that never was is recorded as ended too, with sealed.
func (s *Service) EndTx(ctx context.Context, tx *pg.Tx, patient id.BAL, peer mail.Address, sealed []byte, at time.Time) error {
	panic("soon")
}

// List tells all correspondents of a patient, the newest change first.
func (s *Service) List(ctx context.Context, patient id.BAL) ([]Exchange, error) {
	panic("soon")
}
