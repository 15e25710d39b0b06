package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"

	"pli/fault"
	"pli/internal/keyfile"
)

// Custodian guards the operator's key, under which holders' secrets are wrapped. It
// is a key file today; a PKCS#11 token or a KMS fits behind the same two calls.
// Implementations are safe for concurrent use.
type Custodian interface {
	// Wrap seals secret, bound to aad, under the present key, and names that key.
	Wrap(ctx context.Context, aad, secret []byte) (keyID string, wrapped []byte, err error)
	// Unwrap opens what Wrap made. fault.Corrupt when it does not open under that key
	// and aad; fault.Unavailable when the key is not at hand. The caller clears what
	// it gets.
	Unwrap(ctx context.Context, keyID string, aad, wrapped []byte) ([]byte, error)
}

// KeyFiles is a Custodian over files of 32 random octets, AES-256-GCM with a random
// nonce. A key's id is derived from the key, so a file may be moved and renamed.
type KeyFiles struct {
	current string
	keys    map[string]cipher.AEAD
}

// NewKeyFile makes an operator key file at path, mode 0400. fault.Conflict when
// there is one.
func NewKeyFile(path string) error { return keyfile.Create(path) }

// OpenKeyFiles reads operator keys. The first wraps; all unwrap, so that an older key
// stays usable until RewrapAll has run. A file that others may read is refused.
func OpenKeyFiles(paths ...string) (*KeyFiles, error) {
	if len(paths) == 0 {
		return nil, fault.New(fault.Invalid, "seal.OpenKeyFiles", "no-key-file")
	}
	k := &KeyFiles{keys: map[string]cipher.AEAD{}}
	for _, path := range paths {
		secret, err := keyfile.Read(path)
		if err != nil {
			return nil, err
		}
		keyID := keyID(secret)
		k.keys[keyID] = newGCM(secret)
		clear(secret)
		if k.current == "" {
			k.current = keyID
		}
	}
	return k, nil
}

// keyID names a key without telling anything about it: it has 256 bits of chance.
func keyID(secret []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("pli operator key id"))
	return "file-" + hex.EncodeToString(m.Sum(nil)[:8])
}

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length is ours
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size that GCM asks for
	}
	return gcm
}

// Wrap implements Custodian.
func (k *KeyFiles) Wrap(_ context.Context, aad, secret []byte) (string, []byte, error) {
	return k.current, k.keys[k.current].Seal(nil, nil, secret, aad), nil
}

// Unwrap implements Custodian.
func (k *KeyFiles) Unwrap(_ context.Context, keyID string, aad, wrapped []byte) ([]byte, error) {
	gcm, ok := k.keys[keyID]
	if !ok {
		return nil, fault.New(fault.Unavailable, "seal.Unwrap", "operator-key-not-at-hand")
	}
	secret, err := gcm.Open(nil, nil, wrapped, aad)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "seal.Unwrap", "slot-does-not-open")
	}
	return secret, nil
}

// randomSecret returns 32 random octets.
func randomSecret() []byte {
	b := make([]byte, secretSize)
	rand.Read(b) // never fails (crypto/rand)
	return b
}
