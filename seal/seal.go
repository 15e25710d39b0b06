// Package seal keeps what is stored unreadable without a holder's key: OpenPGP for
// letters and values, slots for private keys, keyed hashes for what must be looked
// up, sealed temporary files for what must be re-read.
//
// A holder has an x25519 OpenPGP pair per generation. Depositing needs its public
// half only. The private halves are locked with the holder's secret, 32 random
// octets held in slots; the house's slot is wrapped by the operator's key, which a
// Custodian guards: one custodian operation per opened holder, none per letter.
//
// It never decides who may open what (gate does) and never logs.
package seal

import (
	"context"
	"io"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

var errStub = fault.New(fault.Internal, "seal", "not-yet")

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

// Service makes, finds and opens holders.
type Service struct {
	db        *pg.DB
	custodian Custodian
}

// New returns the service on its tables (seal_holder, seal_key, seal_slot).
func New(db *pg.DB, c Custodian) *Service { return &Service{db: db, custodian: c} }

func (s *Service) CreateHolderTx(ctx context.Context, tx *pg.Tx, p Purpose) (id.Holder, error) {
	return 0, errStub
}
func (s *Service) EnsureHouse(ctx context.Context) error { return errStub }
func (s *Service) House(ctx context.Context, p Purpose) (id.Holder, error) {
	return 0, errStub
}

// Public is the public half of a holder's newest key.
type Public struct {
	Holder     id.Holder
	Generation int
}

func (s *Service) Public(ctx context.Context, holder id.Holder) (Public, error) {
	return Public{}, errStub
}

// Packet is a session key sealed for one holder under one generation of its keys.
type Packet struct {
	Generation int
	Bytes      []byte
}

// SessionKey is the random key of one letter or document.
type SessionKey struct{}

func NewSessionKey() (*SessionKey, error)                         { return nil, errStub }
func (k *SessionKey) PacketFor(p Public) (Packet, error)          { return Packet{}, errStub }
func (k *SessionKey) SealTo(w io.Writer) (*BodyWriter, error)     { return nil, errStub }
func (k *SessionKey) OpenFrom(r io.Reader) (io.ReadCloser, error) { return nil, errStub }
func (k *SessionKey) SealValue(b []byte) ([]byte, error)          { return nil, errStub }
func (k *SessionKey) OpenValue(b []byte) ([]byte, error)          { return nil, errStub }
func (k *SessionKey) Clear()                                      {}

// BodyWriter seals a stream. Close ends it; then Size and Sum hold.
type BodyWriter struct{}

func (b *BodyWriter) Write(p []byte) (int, error) { return 0, errStub }
func (b *BodyWriter) Close() error                { return errStub }
func (b *BodyWriter) Size() int64                 { return 0 }   // sealed octets
func (b *BodyWriter) Sum() []byte                 { return nil } // SHA-256 of the sealed octets

func (s *Service) SealFor(ctx context.Context, holder id.Holder, value []byte) ([]byte, error) {
	return nil, errStub
}
func (s *Service) Unlock(ctx context.Context, holder id.Holder) (*Unlocked, error) {
	return nil, errStub
}
func (s *Service) Rotate(ctx context.Context, holder id.Holder) error { return errStub }
func (s *Service) RewrapAll(ctx context.Context) (n int, err error)   { return 0, errStub }

// Unlocked is a holder whose keys are open. Safe for concurrent use until Close.
type Unlocked struct{}

func (u *Unlocked) Public() Public                                { return Public{} }
func (u *Unlocked) SessionKey(p Packet) (*SessionKey, error)      { return nil, errStub }
func (u *Unlocked) OpenSealed(b []byte) ([]byte, error)           { return nil, errStub }
func (u *Unlocked) SealView(aad string, b []byte) []byte          { return nil }
func (u *Unlocked) OpenView(aad string, b []byte) ([]byte, error) { return nil, errStub }
func (u *Unlocked) Close()                                        {}

// Custodian guards the operator's key.
type Custodian interface {
	Wrap(ctx context.Context, aad, secret []byte) (keyID string, wrapped []byte, err error)
	Unwrap(ctx context.Context, keyID string, aad, wrapped []byte) ([]byte, error)
}

// KeyFiles is a Custodian over files of 32 random octets.
type KeyFiles struct{}

func NewKeyFile(path string) error                    { return errStub }
func OpenKeyFiles(paths ...string) (*KeyFiles, error) { return nil, errStub }
func (k *KeyFiles) Wrap(ctx context.Context, aad, secret []byte) (string, []byte, error) {
	return "", nil, errStub
}
func (k *KeyFiles) Unwrap(ctx context.Context, keyID string, aad, wrapped []byte) ([]byte, error) {
	return nil, errStub
}

// Index makes keyed hashes of values that must be found again.
type Index struct{}

func NewIndexFile(path string) error                        { return errStub }
func OpenIndex(path string) (*Index, error)                 { return nil, errStub }
func (ix *Index) Key(domain string, parts ...string) []byte { return nil }

// Spool is a temporary file sealed with a throw-away key.
type Spool struct{}

func NewSpool(dir string) (*Spool, error)                { return nil, errStub }
func (s *Spool) Write(p []byte) (int, error)             { return 0, errStub }
func (s *Spool) Finish() error                           { return errStub }
func (s *Spool) Size() int64                             { return 0 }
func (s *Spool) ReadAt(p []byte, off int64) (int, error) { return 0, errStub }
func (s *Spool) Close() error                            { return nil }
