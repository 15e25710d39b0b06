package seal

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ProtonMail/gopenpgp/v2/crypto"
	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

const (
	secretSize  = 32 // octets of a holder's secret
	slotServer  = "server"
	slotVersion = 1
)

// slotAAD binds a wrapped secret to its holder and kind of slot: a row moved to
// another holder does not open. It names no key, so that rewrapping keeps it.
func slotAAD(holder id.Holder, kind string) []byte {
	return fmt.Appendf(nil, "pli slot|%d|%s|%d", holder, kind, slotVersion)
}

const (
	sqlNewHolder = `INSERT INTO seal_holder (purpose) VALUES ($1) RETURNING id`
	sqlNewKey    = `INSERT INTO seal_key (holder_id, generation, public, private) VALUES ($1, $2, $3, $4)`
	sqlNewSlot   = `INSERT INTO seal_slot (holder_id, kind, wrap_key, wrapped) VALUES ($1, $2, $3, $4)`
)

// CreateHolderTx makes a holder with its first pair of keys and its slot under the
// operator's key. About 2 ms with a key file.
//
// Errors: fault.Conflict for a house duty that has its holder; those of the Custodian.
func (s *Service) CreateHolderTx(ctx context.Context, tx *pg.Tx, p Purpose) (id.Holder, error) {
	const op = "seal.CreateHolderTx"
	var holder id.Holder
	if err := tx.QueryRow(ctx, sqlNewHolder, p).Scan(&holder); err != nil {
		return 0, pg.Error(op, err)
	}
	secret := randomSecret()
	defer clear(secret)
	public, private, err := newPair(secret)
	if err != nil {
		return 0, err
	}
	wrapKey, wrapped, err := s.custodian.Wrap(ctx, slotAAD(holder, slotServer), secret)
	if err != nil {
		return 0, err
	}
	b := &pgx.Batch{}
	b.Queue(sqlNewKey, holder, 1, public, private)
	b.Queue(sqlNewSlot, holder, slotServer, wrapKey, wrapped)
	return holder, pg.Error(op, tx.SendBatch(ctx, b).Close())
}

// newPair makes an x25519 pair and returns both halves serialised, the private one
// locked with secret. The user id says nothing: it must only be there (RFC 4880 §11.1).
func newPair(secret []byte) (public, private []byte, err error) {
	const op = "seal.newPair"
	key, err := crypto.GenerateKey("pli", "", "x25519", 0)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, op, "generate")
	}
	defer key.ClearPrivateParams()
	if public, err = key.GetPublicKey(); err != nil {
		return nil, nil, fault.New(fault.Internal, op, "public")
	}
	locked, err := key.Lock(secret)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, op, "lock")
	}
	if private, err = locked.Serialize(); err != nil {
		return nil, nil, fault.New(fault.Internal, op, "serialise")
	}
	return public, private, nil
}

const (
	sqlSlot = `SELECT wrap_key, wrapped FROM seal_slot WHERE holder_id = $1 AND kind = $2 AND ref = ''`
	sqlKeys = `SELECT generation, public, private, retired_at IS NOT NULL AS retired FROM seal_key
		WHERE holder_id = $1 ORDER BY generation`
)

type storedKey struct {
	Generation int
	Public     []byte
	Private    []byte
	Retired    bool
}

// Unlock opens a holder through the operator's key: one custodian operation and one
// round trip to the database. The caller has asked gate, and closes what it gets.
//
// Errors: fault.NotFound for no such holder; fault.Corrupt when the slot does not
// open; fault.Unavailable when the operator's key it needs is not at hand.
func (s *Service) Unlock(ctx context.Context, holder id.Holder) (*Unlocked, error) {
	const op = "seal.Unlock"
	var wrapKey string
	var wrapped []byte
	var keys []storedKey
	b := &pgx.Batch{}
	b.Queue(sqlSlot, holder, slotServer).QueryRow(func(row pgx.Row) error {
		return row.Scan(&wrapKey, &wrapped)
	})
	b.Queue(sqlKeys, holder).Query(func(rows pgx.Rows) (err error) {
		keys, err = pgx.CollectRows(rows, pgx.RowToStructByPos[storedKey])
		return err
	})
	if err := s.db.SendBatch(ctx, b).Close(); err != nil {
		return nil, pg.Error(op, err)
	}
	secret, err := s.custodian.Unwrap(ctx, wrapKey, slotAAD(holder, slotServer), wrapped)
	if err != nil {
		return nil, err
	}
	return s.open(holder, secret, keys)
}

func (s *Service) open(holder id.Holder, secret []byte, keys []storedKey) (*Unlocked, error) {
	const op = "seal.open"
	if len(secret) != secretSize {
		clear(secret)
		return nil, fault.New(fault.Corrupt, op, "secret-size")
	}
	u := &Unlocked{secret: secret, locked: map[int][]byte{}, rings: map[int]*crypto.KeyRing{}}
	var newest *storedKey
	for i, k := range keys {
		u.locked[k.Generation] = k.Private
		if !k.Retired {
			newest = &keys[i]
		}
	}
	if newest == nil {
		u.Close()
		return nil, fault.New(fault.Corrupt, op, "no-key-in-use")
	}
	var err error
	if u.public, err = s.keepPublic(holder, newest.Generation, newest.Public); err == nil {
		u.view, err = newView(secret)
	}
	if err != nil {
		u.Close()
		return nil, err
	}
	return u, nil
}

const (
	sqlLockHolder = `SELECT 1 FROM seal_holder WHERE id = $1 FOR UPDATE`
	sqlSlotTx     = sqlSlot + ` FOR UPDATE`
	sqlNewest     = `SELECT coalesce(max(generation), 0) FROM seal_key WHERE holder_id = $1`
	sqlRetire     = `UPDATE seal_key SET retired_at = now() WHERE holder_id = $1 AND retired_at IS NULL`
)

// Rotate gives the holder a new pair of keys: new letters use it within 30 seconds,
// older ones stay readable through the older halves, which are kept.
func (s *Service) Rotate(ctx context.Context, holder id.Holder) error {
	const op = "seal.Rotate"
	err := s.db.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		var one, newest int
		if err := tx.QueryRow(ctx, sqlLockHolder, holder).Scan(&one); err != nil {
			return pg.Error(op, err)
		}
		var wrapKey string
		var wrapped []byte
		if err := tx.QueryRow(ctx, sqlSlotTx, holder, slotServer).Scan(&wrapKey, &wrapped); err != nil {
			return pg.Error(op, err)
		}
		if err := tx.QueryRow(ctx, sqlNewest, holder).Scan(&newest); err != nil {
			return pg.Error(op, err)
		}
		secret, err := s.custodian.Unwrap(ctx, wrapKey, slotAAD(holder, slotServer), wrapped)
		if err != nil {
			return err
		}
		defer clear(secret)
		public, private, err := newPair(secret)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(sqlRetire, holder)
		b.Queue(sqlNewKey, holder, newest+1, public, private)
		return pg.Error(op, tx.SendBatch(ctx, b).Close())
	})
	s.forgetPublic(holder)
	return err
}

const (
	sqlStale = `SELECT holder_id, wrap_key, wrapped FROM seal_slot
		WHERE kind = $1 AND ref = '' AND wrap_key <> $2 AND holder_id > $3 ORDER BY holder_id LIMIT 500`
	sqlRewrap = `UPDATE seal_slot SET wrap_key = $1, wrapped = $2
		WHERE holder_id = $3 AND kind = $4 AND ref = '' AND wrapped = $5`
)

type staleSlot struct {
	Holder  id.Holder
	WrapKey string
	Wrapped []byte
}

// RewrapAll brings every slot of the house under the custodian's present key and
// returns how many it changed. It may be stopped and run again, and run beside a
// working house: each slot changes in one statement. Afterwards the older operator
// key may be taken away.
func (s *Service) RewrapAll(ctx context.Context) (n int, err error) {
	const op = "seal.RewrapAll"
	current, _, err := s.custodian.Wrap(ctx, []byte("pli probe"), make([]byte, secretSize))
	if err != nil {
		return 0, err
	}
	for last := id.Holder(0); ; {
		rows, err := s.db.Query(ctx, sqlStale, slotServer, current, last)
		if err != nil {
			return n, pg.Error(op, err)
		}
		page, err := pgx.CollectRows(rows, pgx.RowToStructByPos[staleSlot])
		if err != nil {
			return n, pg.Error(op, err)
		}
		if len(page) == 0 {
			return n, nil
		}
		for _, slot := range page {
			changed, err := s.rewrap(ctx, slot)
			if err != nil {
				return n, err
			}
			n += changed
			last = slot.Holder
		}
	}
}

func (s *Service) rewrap(ctx context.Context, slot staleSlot) (changed int, err error) {
	aad := slotAAD(slot.Holder, slotServer)
	secret, err := s.custodian.Unwrap(ctx, slot.WrapKey, aad, slot.Wrapped)
	if err != nil {
		return 0, err
	}
	defer clear(secret)
	wrapKey, wrapped, err := s.custodian.Wrap(ctx, aad, secret)
	if err != nil {
		return 0, err
	}
	// What we are about to store must open, or the holder's letters are lost.
	again, err := s.custodian.Unwrap(ctx, wrapKey, aad, wrapped)
	if err != nil {
		return 0, err
	}
	defer clear(again)
	if !bytes.Equal(again, secret) {
		return 0, fault.New(fault.Internal, "seal.rewrap", "custodian-does-not-give-back")
	}
	tag, err := s.db.Exec(ctx, sqlRewrap, wrapKey, wrapped, slot.Holder, slotServer, slot.Wrapped)
	return int(tag.RowsAffected()), pg.Error("seal.rewrap", err)
}
