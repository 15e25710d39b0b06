// Package seal keeps what is stored unreadable without a holder's key: OpenPGP for
// letters and values, slots for private keys, keyed hashes for what must be looked
// up, sealed temporary files for what must be re-read.
//
// A holder has an x25519 OpenPGP pair per generation. Depositing needs its public
// half only. The private halves are locked with the holder's secret, 32 random
// octets held in slots; the house's slot is wrapped by the operator's key, which a
// Custodian guards: one custodian operation per opened holder, none per letter.
//
// A letter enters by SessionKey.SealTo and comes back by SessionKey.OpenFrom; the
// packets made by PacketFor say who may open it. Seal never decides who may open what
// (gate does), never logs, and its errors hold constant words only.
package seal

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/ProtonMail/gopenpgp/v2/crypto"
	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

// Purpose says what a holder is for. Relay, ingest and register are the house's own
// duties and have one holder each.
type Purpose string

const (
	PurposeBAL      Purpose = "bal"      // one per BAL: its letters
	PurposeDossier  Purpose = "dossier"  // one per patient: filed documents
	PurposeRelay    Purpose = "relay"    // outgoing mail
	PurposeIngest   Purpose = "ingest"   // the document job
	PurposeRegister Purpose = "register" // patients' traits, second factors
)

// housePurposes are those with one holder, made by EnsureHouse.
func housePurposes() []Purpose { return []Purpose{PurposeRelay, PurposeIngest, PurposeRegister} }

const (
	publicTTL   = 30 * time.Second // how long a rotation may stay unseen by a depositor
	publicsKept = 4096             // parsed public keys kept, some 4 KiB each
)

// Service makes, finds and opens holders. Safe for concurrent use.
type Service struct {
	db        *pg.DB
	custodian Custodian
	now       func() time.Time

	mu      sync.Mutex
	publics map[id.Holder]cachedPublic
	house   map[Purpose]id.Holder
}

type cachedPublic struct {
	public Public
	serial []byte // as stored
	until  time.Time
}

// New returns the service on its tables (seal_holder, seal_key, seal_slot).
func New(db *pg.DB, c Custodian) *Service {
	return &Service{
		db: db, custodian: c, now: time.Now,
		publics: map[id.Holder]cachedPublic{}, house: map[Purpose]id.Holder{},
	}
}

// Public is the public half of a holder's newest key, ready to make packets.
type Public struct {
	Holder     id.Holder
	Generation int
	ring       *crypto.KeyRing
}

const sqlPublic = `SELECT generation, public FROM seal_key
	WHERE holder_id = $1 AND retired_at IS NULL ORDER BY generation DESC LIMIT 1`

// Public returns the public half of the holder's newest key, at most 30 seconds old.
// Errors: fault.NotFound, fault.Corrupt, those of the database.
func (s *Service) Public(ctx context.Context, holder id.Holder) (Public, error) {
	const op = "seal.Public"
	if p, ok := s.cached(holder); ok {
		return p, nil
	}
	var generation int
	var serial []byte
	if err := s.db.QueryRow(ctx, sqlPublic, holder).Scan(&generation, &serial); err != nil {
		return Public{}, pg.Error(op, err)
	}
	return s.keepPublic(holder, generation, serial)
}

func (s *Service) cached(holder id.Holder) (Public, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.publics[holder]
	return c.public, ok && s.now().Before(c.until)
}

// keepPublic parses a stored public key, unless the same octets were parsed before.
func (s *Service) keepPublic(holder id.Holder, generation int, serial []byte) (Public, error) {
	s.mu.Lock()
	old, ok := s.publics[holder]
	s.mu.Unlock()
	p := old.public
	if !ok || p.Generation != generation || !bytes.Equal(old.serial, serial) {
		ring, err := readRing(serial)
		if err != nil {
			return Public{}, err
		}
		p = Public{Holder: holder, Generation: generation, ring: ring}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.publics[holder]; !ok && len(s.publics) >= publicsKept {
		for other := range s.publics { // any one: map order is as good as chance
			delete(s.publics, other)
			break
		}
	}
	s.publics[holder] = cachedPublic{public: p, serial: serial, until: s.now().Add(publicTTL)}
	return p, nil
}

func (s *Service) forgetPublic(holder id.Holder) {
	s.mu.Lock()
	delete(s.publics, holder)
	s.mu.Unlock()
}

// readRing parses one stored key, public or unlocked. The library checks the binding
// of its subkey, about 0.2 ms.
func readRing(serial []byte) (*crypto.KeyRing, error) {
	key, err := crypto.NewKey(serial)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "seal.readRing", "key-unreadable")
	}
	ring, err := crypto.NewKeyRing(key)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "seal.readRing", "key-unusable")
	}
	return ring, nil
}

const sqlHouse = `SELECT id FROM seal_holder WHERE purpose = $1`

// House returns the holder of one of the house's own duties. fault.NotFound before
// EnsureHouse was ever run.
func (s *Service) House(ctx context.Context, p Purpose) (id.Holder, error) {
	s.mu.Lock()
	h, ok := s.house[p]
	s.mu.Unlock()
	if ok {
		return h, nil
	}
	if p == PurposeBAL || p == PurposeDossier {
		return 0, fault.New(fault.Internal, "seal.House", "not-a-house-duty")
	}
	if err := s.db.QueryRow(ctx, sqlHouse, p).Scan(&h); err != nil {
		return 0, pg.Error("seal.House", err)
	}
	s.mu.Lock()
	s.house[p] = h
	s.mu.Unlock()
	return h, nil
}

// houseLock is the advisory lock under which two starting processes make the house's
// holders.
const houseLock = 0x7365616c // "seal"

const (
	sqlHouseLock = `SELECT pg_advisory_xact_lock($1)`
	sqlHouseAll  = `SELECT purpose FROM seal_holder WHERE purpose = ANY($1)`
)

// EnsureHouse makes the house's holders that are missing. Any number of processes may
// call it at once.
func (s *Service) EnsureHouse(ctx context.Context) error {
	const op = "seal.EnsureHouse"
	return s.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		if _, err := tx.Exec(ctx, sqlHouseLock, houseLock); err != nil {
			return pg.Error(op, err)
		}
		rows, err := tx.Query(ctx, sqlHouseAll, housePurposes())
		if err != nil {
			return pg.Error(op, err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[Purpose])
		if err != nil {
			return pg.Error(op, err)
		}
		have := map[Purpose]bool{}
		for _, p := range found {
			have[p] = true
		}
		for _, p := range housePurposes() {
			if have[p] {
				continue
			}
			if _, err := s.CreateHolderTx(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	})
}
