package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"crypto/aes"

	"pli/fault"
)

const (
	chunkSize  = 1 << 20        // octets of one sealed piece
	sealedSize = chunkSize + 16 // with its tag
)

// Spool keeps octets out of memory and unreadable on disk: a temporary file sealed
// with a throw-away AES-256-GCM key in pieces of 1 MiB, for what must be read more
// than once or at random. The first MiB stays in memory, so a small one has no file.
// The file has no name once made: it ends with the process, whatever happens.
//
// Write, then Finish, then ReadAt (safe for concurrent use), then Close.
type Spool struct {
	dir  string
	aead cipher.AEAD

	mu       sync.Mutex
	file     *os.File
	size     int64
	finished bool
	closed   bool
	piece    []byte // clear octets: of the piece being written, or last read
	pieceNo  int64
	sealed   []byte // scratch
}

// NewSpool makes an empty spool. Its file, if it comes to that, is made in dir; ""
// means the system's temporary folder.
func NewSpool(dir string) (*Spool, error) {
	key := randomSecret()
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "seal.NewSpool", "", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "seal.NewSpool", "", err)
	}
	return &Spool{dir: dir, aead: aead}, nil
}

// Write appends p.
func (s *Spool) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished || s.closed {
		return 0, fault.New(fault.Internal, "seal.Spool.Write", "spool-is-finished")
	}
	for len(p) > 0 {
		if len(s.piece) == chunkSize {
			if err := s.flush(); err != nil {
				return n, err
			}
		}
		k := min(chunkSize-len(s.piece), len(p))
		s.grow(k)
		s.piece = append(s.piece, p[:k]...)
		p, n, s.size = p[k:], n+k, s.size+int64(k)
	}
	return n, nil
}

// grow makes room for k octets more without leaving clear octets behind.
func (s *Spool) grow(k int) {
	if need := len(s.piece) + k; need > cap(s.piece) {
		bigger := make([]byte, len(s.piece), min(chunkSize, max(need, 2*cap(s.piece), 8<<10)))
		copy(bigger, s.piece)
		clear(s.piece)
		s.piece = bigger
	}
}

// flush seals the piece in hand to the file and starts the next.
func (s *Spool) flush() error {
	const op = "seal.Spool.flush"
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "pli-spool-")
		if err != nil {
			return fault.Wrap(fault.Unavailable, op, "create", err)
		}
		if err := os.Remove(f.Name()); err != nil {
			_ = f.Close()
			return fault.Wrap(fault.Internal, op, "unlink", err)
		}
		s.file = f
		s.sealed = make([]byte, 0, sealedSize)
	}
	s.sealed = s.aead.Seal(s.sealed[:0], nonce(s.pieceNo), s.piece, nil)
	if _, err := s.file.WriteAt(s.sealed, s.pieceNo*sealedSize); err != nil {
		return fault.Wrap(fault.Unavailable, op, "write", err)
	}
	s.piece = s.piece[:0]
	s.pieceNo++
	return nil
}

// nonce of a piece: its number. The key seals each number once.
func nonce(piece int64) []byte {
	var n [12]byte
	binary.BigEndian.PutUint64(n[4:], uint64(piece))
	return n[:]
}

// Finish ends the writing. Reading starts after it.
func (s *Spool) Finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished || s.closed {
		return fault.New(fault.Internal, "seal.Spool.Finish", "spool-is-finished")
	}
	s.finished = true
	if s.file == nil || len(s.piece) == 0 {
		return nil
	}
	last := len(s.piece)
	if err := s.flush(); err != nil {
		return err
	}
	s.piece, s.pieceNo = s.piece[:last], s.pieceNo-1 // still the clear octets of that piece
	return nil
}

// Size is the number of octets written.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// ReadAt implements io.ReaderAt. fault.Corrupt when the file was altered.
func (s *Spool) ReadAt(p []byte, off int64) (n int, err error) {
	const op = "seal.Spool.ReadAt"
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || !s.finished:
		return 0, fault.New(fault.Internal, op, "spool-is-not-readable")
	case off < 0:
		return 0, fault.New(fault.Internal, op, "negative-offset")
	}
	for len(p) > 0 && off < s.size {
		if err := s.load(off / chunkSize); err != nil {
			return n, err
		}
		k := copy(p, s.piece[off%chunkSize:])
		p, n, off = p[k:], n+k, off+int64(k)
	}
	if len(p) > 0 {
		return n, io.EOF
	}
	return n, nil
}

// load brings a piece into memory, unless it is there.
func (s *Spool) load(piece int64) error {
	const op = "seal.Spool.load"
	if s.file == nil || (piece == s.pieceNo && len(s.piece) > 0) {
		return nil
	}
	size := min(chunkSize, s.size-piece*chunkSize) + 16
	s.sealed = s.sealed[:size]
	if _, err := s.file.ReadAt(s.sealed, piece*sealedSize); err != nil && !errors.Is(err, io.EOF) {
		return fault.Wrap(fault.Unavailable, op, "read", err)
	}
	clearOctets, err := s.aead.Open(s.piece[:0], nonce(piece), s.sealed, nil)
	if err != nil {
		s.piece = s.piece[:0]
		return fault.New(fault.Corrupt, op, "spool-does-not-open")
	}
	s.piece, s.pieceNo = clearOctets, piece
	return nil
}

// Close forgets the key and the octets. A second call does nothing.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	clear(s.piece[:cap(s.piece)])
	s.piece, s.sealed, s.aead = nil, nil, nil
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
