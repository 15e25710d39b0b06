package seal

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"pli/fault"
)

// Everything is compressed before it is sealed: sealed octets no longer compress, and
// the cipher is the slower of the two. OpenPGP's own compression is never used (four
// times slower, libraries.md §3). Nothing secret of ours is ever sealed beside text
// that an attacker repeats at will and measures, so lengths tell no more than sizes.
const (
	window     = 256 << 10 // octets of history: memory per letter in hand is under 1 MiB
	maxWindow  = 1 << 20   // what we agree to read
	maxValue   = 8 << 20   // octets of one value; an outline has 1 MiB of header at most
	worthwhile = 96        // octets under which packing is not tried
)

const (
	packedPlain = 0
	packedZstd  = 1
)

// Scratch space only: what these pools hold has no meaning between two uses.
var (
	encoders = sync.Pool{New: func() any {
		e, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true),
			zstd.WithAllLitEntropyCompression(true), // base64 has no repeats and still shrinks by a quarter
			zstd.WithEncoderCRC(false))              // OpenPGP's integrity check covers it
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	}}
	decoders  = sync.Pool{New: func() any { return newDecoder(maxWindow) }}
	unpackers = sync.Pool{New: func() any { return newDecoder(maxValue) }}
)

func newDecoder(memory uint64) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(memory))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}

// pack compresses a value when that makes it smaller. The first octet says which.
func pack(b []byte) []byte {
	if len(b) >= worthwhile {
		e := encoders.Get().(*zstd.Encoder)
		defer encoders.Put(e)
		out := make([]byte, 1, len(b)+16)
		out[0] = packedZstd
		if out = e.EncodeAll(b, out); len(out) <= len(b) {
			return out
		}
	}
	return append([]byte{packedPlain}, b...)
}

// unpack undoes pack, at most maxValue octets.
func unpack(b []byte) ([]byte, error) {
	const op = "seal.unpack"
	if len(b) == 0 {
		return nil, fault.New(fault.Corrupt, op, "value-empty")
	}
	switch b[0] {
	case packedPlain:
		return b[1:], nil
	case packedZstd:
		d := unpackers.Get().(*zstd.Decoder)
		defer unpackers.Put(d)
		out, err := d.DecodeAll(b[1:], nil)
		if err != nil {
			return nil, fault.New(fault.Corrupt, op, "value-does-not-unpack")
		}
		return out, nil
	default:
		return nil, fault.New(fault.Corrupt, op, "value-form")
	}
}

func getEncoder(w io.Writer) *zstd.Encoder {
	e := encoders.Get().(*zstd.Encoder)
	e.Reset(w)
	return e
}

func putEncoder(e *zstd.Encoder) {
	e.Reset(nil)
	encoders.Put(e)
}

func getDecoder(r io.Reader) (*zstd.Decoder, error) {
	d := decoders.Get().(*zstd.Decoder)
	return d, d.Reset(r)
}

func putDecoder(d *zstd.Decoder) {
	if d.Reset(nil) == nil {
		decoders.Put(d)
	}
}
