package seal

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/ProtonMail/gopenpgp/v2/crypto"
	"github.com/klauspost/compress/zstd"

	"pli/fault"
)

const bufferSize = 32 << 10

// BodyWriter seals a stream: compressed (zstd), then OpenPGP with its integrity check
// (RFC 4880 §5.13). Close ends it; it does not close what it writes to. For one
// goroutine. Memory is some 1 MiB whatever the length.
type BodyWriter struct {
	zip  *zstd.Encoder
	pgp  io.WriteCloser
	out  *bufio.Writer
	sum  hash.Hash
	size int64
	err  error // sticky; errWriterClosed after Close
}

var errWriterClosed = errors.New("seal: the body is closed")

// SealTo begins a sealed body on w.
func (k *SessionKey) SealTo(w io.Writer) (*BodyWriter, error) {
	b := &BodyWriter{sum: sha256.New()}
	b.out = bufio.NewWriterSize(&tally{b, w}, bufferSize)
	pgp, err := k.key.EncryptStream(b.out, &crypto.PlainMessageMetadata{IsBinary: true}, nil)
	if err != nil {
		return nil, fault.New(fault.Internal, "seal.SealTo", "encrypt")
	}
	b.pgp = pgp
	b.zip = getEncoder(pgp)
	return b, nil
}

// tally passes sealed octets on and counts them.
type tally struct {
	b *BodyWriter
	w io.Writer
}

func (t *tally) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	t.b.sum.Write(p[:n])
	t.b.size += int64(n)
	return n, err
}

// Write seals p. Errors are those of the writer below.
func (b *BodyWriter) Write(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.zip.Write(p)
	b.err = err
	return n, err
}

// Close writes what is held back and the integrity check. Nothing that was sealed
// opens without it. A second call does nothing.
func (b *BodyWriter) Close() error {
	if b.err != nil {
		if b.err == errWriterClosed {
			return nil
		}
		return b.err
	}
	b.err = errors.Join(b.zip.Close(), b.pgp.Close(), b.out.Flush())
	if b.err != nil {
		return b.err
	}
	putEncoder(b.zip)
	b.zip, b.err = nil, errWriterClosed
	return nil
}

// Size is the number of sealed octets written, once Close has returned nil.
func (b *BodyWriter) Size() int64 { return b.size }

// Sum is the SHA-256 of the sealed octets, once Close has returned nil.
func (b *BodyWriter) Sum() []byte { return b.sum.Sum(nil) }

// OpenFrom opens a sealed body as it streams in.
//
// OpenPGP's check comes last: what is read before io.EOF is not yet known to be
// genuine, and a reader that stops earlier has checked nothing. The end of the stream
// is io.EOF only when the body is whole, unaltered, and followed by nothing;
// otherwise it is fault.Corrupt. An error of r itself comes out as fault.Unavailable.
// Close closes nothing below.
func (k *SessionKey) OpenFrom(r io.Reader) (io.ReadCloser, error) {
	src := &source{r: bufio.NewReaderSize(r, bufferSize)}
	o := &openBody{src: src}
	err := guard(func() error {
		first, err := src.r.Peek(1)
		if err != nil {
			src.note(err)
			return errBody
		}
		if first[0] != packetTag {
			return errBody
		}
		pgp, err := k.key.DecryptStream(src, nil, 0)
		if err != nil {
			return errBody
		}
		o.pgp = &checked{r: pgp}
		o.zip, err = getDecoder(o.pgp)
		return err
	})
	if err != nil {
		return nil, o.fail()
	}
	return o, nil
}

var errBody = errors.New("seal: not a sealed body")

// source remembers an error of the reader below, which the library swallows.
type source struct {
	r   *bufio.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.note(err)
	return n, err
}

func (s *source) note(err error) {
	if err != nil && err != io.EOF {
		s.err = err
	}
}

// checked remembers whether the library reached the end and found the check right.
type checked struct {
	r    io.Reader
	done bool
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done = c.done || err == io.EOF
	return n, err
}

type openBody struct {
	src *source
	pgp *checked
	zip *zstd.Decoder
	err error // sticky
}

func (o *openBody) Read(p []byte) (n int, err error) {
	if o.err != nil {
		return 0, o.err
	}
	err = guard(func() (err error) {
		n, err = o.zip.Read(p)
		return err
	})
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF && o.pgp.done && o.src.atEnd():
		o.err = io.EOF
	default:
		o.err = o.fail()
	}
	return n, o.err
}

// atEnd reports whether nothing follows the packet.
func (s *source) atEnd() bool {
	_, err := s.r.Peek(1)
	s.note(err)
	return err == io.EOF
}

func (o *openBody) fail() error {
	if o.src.err != nil {
		return fault.Wrap(fault.Unavailable, "seal.OpenFrom", "body-unreadable", o.src.err)
	}
	return fault.New(fault.Corrupt, "seal.OpenFrom", "body-does-not-open")
}

// Close ends the reading and gives the buffers back.
func (o *openBody) Close() error {
	if o.zip != nil {
		putDecoder(o.zip)
		o.zip = nil
	}
	if o.err == nil {
		o.err = fault.New(fault.Internal, "seal.OpenFrom", "body-is-closed")
	}
	return nil
}

// guard turns a panic into an error: the libraries below read stored octets, which may
// have been altered by whoever holds the disk.
func guard(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errBody
		}
	}()
	return f()
}
