// Package consent keeps the choices about who may write to whom between a patient and
// professionals: the exchanges of mssante.md §6.3. It never decides; policy does.
package consent

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
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

const (
	findStates = `
SELECT a.n, e.state FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS a(bal, peer, n)
JOIN exchange e ON e.patient_bal_id = a.bal AND e.peer_key = a.peer`

	// A change that is older than what is kept comes late and changes nothing.
	setState = `
INSERT INTO exchange (patient_bal_id, peer_key, peer_sealed, state, state_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (patient_bal_id, peer_key) DO UPDATE
SET state = excluded.state, state_at = excluded.state_at, peer_sealed = excluded.peer_sealed
WHERE exchange.state_at <= excluded.state_at`

	listExchanges = `
SELECT peer_key, peer_sealed, state, state_at FROM exchange WHERE patient_bal_id = $1
ORDER BY state_at DESC, peer_key`
)

// Key is the keyed hash under which a correspondent is kept.
func (s *Service) Key(peer mail.Address) []byte { return s.ix.Key("exchange-peer", peer.Reveal()) }

// State tells the state of one exchange.
func (s *Service) State(ctx context.Context, q pg.Querier, patient id.BAL, peer mail.Address) (State, error) {
	states, err := s.States(ctx, q, []Pair{{patient, peer}})
	if err != nil {
		return None, pg.Error("consent.State", err)
	}
	return states[0], nil
}

// States tells the states of several exchanges, in one query, in the order asked.
func (s *Service) States(ctx context.Context, q pg.Querier, pairs []Pair) ([]State, error) {
	states := make([]State, len(pairs))
	if len(pairs) == 0 {
		return states, nil
	}
	patients, peers := make([]int64, len(pairs)), make([][]byte, len(pairs))
	for i, p := range pairs {
		patients[i], peers[i] = int64(p.Patient), s.Key(p.Peer)
	}
	rows, err := q.Query(ctx, findStates, patients, peers)
	if err != nil {
		return nil, err
	}
	var n int
	var word string
	_, err = pgx.ForEachRow(rows, []any{&n, &word}, func() error {
		st, err := parseState(word)
		states[n-1] = st
		return err
	})
	return states, err
}

func parseState(word string) (State, error) {
	switch word {
	case "open":
		return Open, nil
	case "ended":
		return Ended, nil
	}
	return None, fault.New(fault.Corrupt, "consent", "state")
}

// OpenTx opens the exchange, or opens it again. sealed is the address and name as shown
// to the patient, sealed for the patient's holder. A change older than the last one
// kept does nothing.
func (s *Service) OpenTx(ctx context.Context, tx *pg.Tx, patient id.BAL, peer mail.Address, sealed []byte, at time.Time) error {
	return s.set(ctx, tx, patient, peer, sealed, "open", at)
}

// EndTx ends the exchange, for all earlier messages too (mssante.md §6.1); one that
// never was is kept as ended. sealed and at are as in OpenTx.
func (s *Service) EndTx(ctx context.Context, tx *pg.Tx, patient id.BAL, peer mail.Address, sealed []byte, at time.Time) error {
	return s.set(ctx, tx, patient, peer, sealed, "ended", at)
}

func (s *Service) set(ctx context.Context, tx *pg.Tx, patient id.BAL, peer mail.Address, sealed []byte, state string, at time.Time) error {
	const op = "consent.set"
	if patient == 0 || peer.IsZero() || len(sealed) == 0 || at.IsZero() {
		return fault.New(fault.Invalid, op, "not-whole")
	}
	_, err := tx.Exec(ctx, setState, patient, s.Key(peer), sealed, state, at.UTC().Truncate(time.Microsecond))
	return err
}

// List tells all correspondents of a patient, the newest change first.
func (s *Service) List(ctx context.Context, patient id.BAL) ([]Exchange, error) {
	const op = "consent.List"
	rows, err := s.db.Query(ctx, listExchanges, patient)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Exchange, error) {
		var e Exchange
		var word string
		if err := row.Scan(&e.PeerKey, &e.PeerSealed, &word, &e.At); err != nil {
			return e, err
		}
		var err error
		e.At = e.At.UTC()
		e.State, err = parseState(word)
		return e, err
	})
	return list, pg.Error(op, err)
}
