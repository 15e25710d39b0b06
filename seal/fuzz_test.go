package seal

import (
	"bytes"
	"io"
	"testing"

	"github.com/ProtonMail/gopenpgp/v2/crypto"

	"pli/fault"
)

// fuzzKey is constant, so that a saved input means the same tomorrow.
func fuzzKey() *SessionKey {
	return &SessionKey{key: crypto.NewSessionKeyFromToken(bytes.Repeat([]byte{9}, sessionKeySize), "aes256")}
}

func FuzzOpenFrom(f *testing.F) {
	k := fuzzKey()
	var out bytes.Buffer
	for _, body := range [][]byte{nil, []byte(marked), text(3000)} {
		out.Reset()
		w, err := k.SealTo(&out)
		if err != nil {
			f.Fatal(err)
		}
		_, _ = w.Write(body)
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(out.Bytes()))
		f.Add(bytes.Clone(out.Bytes()[:out.Len()/2]))
	}
	f.Add([]byte{packetTag, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0xcb, 6, 'b', 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := k.OpenFrom(bytes.NewReader(b))
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			_ = r.Close()
		}
		if err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatalf("%v", err)
		}
	})
}

func FuzzOpenValue(f *testing.F) {
	k := fuzzKey()
	for _, v := range [][]byte{nil, []byte(marked), text(3000)} {
		sealed, err := k.SealValue(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
	}
	f.Add([]byte{packetTag, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := k.OpenValue(b); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatalf("%v", err)
		}
	})
}

// FuzzUnpack reaches behind the cipher, which random octets never pass.
func FuzzUnpack(f *testing.F) {
	f.Add(pack(text(3000)))
	f.Add(pack([]byte("x")))
	f.Add([]byte{packedZstd, 0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := unpack(b)
		if err != nil && !fault.Is(err, fault.Corrupt) || len(out) > maxValue {
			t.Fatalf("%d octets, %v", len(out), err)
		}
	})
}

func FuzzOpenSealed(f *testing.F) {
	secret := bytes.Repeat([]byte{5}, secretSize)
	public, private, err := newPair(secret)
	if err != nil {
		f.Fatal(err)
	}
	s := New(nil, nil)
	u, err := s.open(1, secret, []storedKey{{Generation: 1, Public: public, Private: private}})
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range [][]byte{nil, []byte(marked), text(3000)} {
		sealed, err := u.Public().Seal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
		f.Add(sealed[:len(sealed)/2])
	}
	f.Add([]byte{sealedVersion, 0, 0, 0, 1, 0, 3, 0xc1, 1, 3})
	f.Add([]byte{sealedVersion, 0, 0, 0, 1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := u.OpenSealed(b); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatalf("%v", err)
		}
	})
}
