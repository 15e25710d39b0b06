package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"sync"

	"github.com/ProtonMail/gopenpgp/v2/crypto"

	"pli/fault"
)

// Unlocked is a holder whose private keys are at hand. Safe for concurrent use; after
// Close it opens nothing more.
type Unlocked struct {
	public Public
	view   cipher.AEAD

	mu     sync.RWMutex
	secret []byte
	locked map[int][]byte          // private halves as stored, by generation
	rings  map[int]*crypto.KeyRing // those unlocked so far
	closed bool
}

// newView derives the view key: it depends on the holder's secret alone, so that
// views outlive rotations.
func newView(secret []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "pli view key 1", 32)
	if err != nil {
		return nil, fault.New(fault.Internal, "seal.newView", "hkdf")
	}
	defer clear(key)
	return newGCM(key), nil
}

// Public returns the public half of the newest key.
func (u *Unlocked) Public() Public { return u.public }

// SessionKey opens a packet, about 0.1 ms; the first of a generation adds 0.8 ms.
// The caller clears it. fault.Corrupt when the packet is not for this holder and
// generation.
func (u *Unlocked) SessionKey(p Packet) (*SessionKey, error) {
	const op = "seal.Unlocked.SessionKey"
	if err := u.unlock(p.Generation); err != nil {
		return nil, err
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.closed {
		return nil, errClosed(op)
	}
	key, err := decryptSessionKey(u.rings[p.Generation], p.Bytes)
	if err != nil {
		return nil, err
	}
	return &SessionKey{key: key}, nil
}

// decryptSessionKey reads a packet with a library that was not written for hostile
// input: a panic inside it is a packet that does not open.
func decryptSessionKey(ring *crypto.KeyRing, packet []byte) (key *crypto.SessionKey, err error) {
	defer func() {
		if recover() != nil {
			key, err = nil, fault.New(fault.Corrupt, "seal.decryptSessionKey", "packet-panics")
		}
	}()
	key, err = ring.DecryptSessionKey(packet)
	if err != nil || key.V6 || len(key.Key) != sessionKeySize {
		return nil, fault.New(fault.Corrupt, "seal.decryptSessionKey", "packet-does-not-open")
	}
	return key, nil
}

// unlock makes sure that the keys of one generation are at hand.
func (u *Unlocked) unlock(generation int) error {
	const op = "seal.unlock"
	u.mu.RLock()
	ring, closed := u.rings[generation], u.closed
	u.mu.RUnlock()
	if ring != nil || closed {
		return nil // SessionKey reports closed
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || u.rings[generation] != nil {
		return nil
	}
	stored, ok := u.locked[generation]
	if !ok {
		return fault.New(fault.Corrupt, op, "no-such-generation")
	}
	locked, err := crypto.NewKey(stored)
	if err != nil {
		return fault.New(fault.Corrupt, op, "key-unreadable")
	}
	key, err := locked.Unlock(u.secret)
	if err != nil {
		return fault.New(fault.Corrupt, op, "key-does-not-unlock")
	}
	if ring, err = crypto.NewKeyRing(key); err != nil {
		return fault.New(fault.Corrupt, op, "key-unusable")
	}
	u.rings[generation] = ring
	return nil
}

// OpenSealed opens what Service.SealFor made for this holder, under any generation.
// fault.Corrupt when it was altered or made for somebody else.
func (u *Unlocked) OpenSealed(b []byte) ([]byte, error) {
	p, sealed, err := splitSealed(b)
	if err != nil {
		return nil, err
	}
	key, err := u.SessionKey(p)
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	return key.OpenValue(sealed)
}

// SealView seals b with the holder's view key, AES-256-GCM bound to aad: what was
// opened once with OpenPGP opens again in microseconds. After Close, and above 8 MiB, it
// returns nil: there is no view.
func (u *Unlocked) SealView(aad string, b []byte) []byte {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.closed || len(b) > maxValue {
		return nil
	}
	return u.view.Seal(nil, nil, pack(b), viewAAD(aad))
}

// OpenView opens what SealView made under the same aad. fault.Corrupt otherwise.
func (u *Unlocked) OpenView(aad string, b []byte) ([]byte, error) {
	const op = "seal.OpenView"
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.closed {
		return nil, errClosed(op)
	}
	packed, err := u.view.Open(nil, nil, b, viewAAD(aad))
	if err != nil {
		return nil, fault.New(fault.Corrupt, op, "view-does-not-open")
	}
	return unpack(packed)
}

func viewAAD(aad string) []byte { return append([]byte("pli view|"), aad...) }

func errClosed(op string) error { return fault.New(fault.Internal, op, "holder-is-closed") }

// Close forgets the keys. Calls in progress finish first.
func (u *Unlocked) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	clear(u.secret)
	for _, ring := range u.rings {
		ring.ClearPrivateParams()
	}
	u.secret, u.view = nil, nil
	clear(u.rings)
	clear(u.locked)
}
