package seal

import (
	"bytes"
	"io"
	"testing"
)

// A letter for two holders: body, outline of 2 KB, two packets.
func benchmarkSeal(b *testing.B, size int) {
	body, outline := text(size), text(2000)
	one, two := benchHolder(b), benchHolder(b)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		k, err := NewSessionKey()
		if err != nil {
			b.Fatal(err)
		}
		w, err := k.SealTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = w.Write(body)
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		if _, err := k.SealValue(outline); err != nil {
			b.Fatal(err)
		}
		for _, u := range []*Unlocked{one, two} {
			if _, err := k.PacketFor(u.Public()); err != nil {
				b.Fatal(err)
			}
		}
		k.Clear()
	}
}

func BenchmarkSeal5KB(b *testing.B)   { benchmarkSeal(b, 5_000) }
func BenchmarkSeal100KB(b *testing.B) { benchmarkSeal(b, 100_000) }
func BenchmarkSeal10MB(b *testing.B)  { benchmarkSeal(b, 10_000_000) }

func benchHolder(b *testing.B) *Unlocked {
	secret := randomSecret()
	public, private, err := newPair(secret)
	if err != nil {
		b.Fatal(err)
	}
	u, err := New(nil, nil).open(1, secret, []storedKey{{Generation: 1, Public: public, Private: private}})
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// Packet and body.
func benchmarkOpen(b *testing.B, size int) {
	u := benchHolder(b)
	k := newKey(b)
	p, err := k.PacketFor(u.Public())
	if err != nil {
		b.Fatal(err)
	}
	sealed := sealBody(b, k, text(size))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		key, err := u.SessionKey(p)
		if err != nil {
			b.Fatal(err)
		}
		r, err := key.OpenFrom(bytes.NewReader(sealed))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
		key.Clear()
	}
}

func BenchmarkOpen5KB(b *testing.B)   { benchmarkOpen(b, 5_000) }
func BenchmarkOpen100KB(b *testing.B) { benchmarkOpen(b, 100_000) }
func BenchmarkOpen10MB(b *testing.B)  { benchmarkOpen(b, 10_000_000) }

func BenchmarkPacketFor(b *testing.B) {
	k, p := newKey(b), benchHolder(b).Public()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.PacketFor(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenView(b *testing.B) {
	u := benchHolder(b)
	view := u.SealView("m", text(2000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := u.OpenView("m", view); err != nil {
			b.Fatal(err)
		}
	}
}
