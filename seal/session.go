package seal

import (
	"context"
	"encoding/binary"

	"github.com/ProtonMail/gopenpgp/v2/crypto"

	"pli/fault"
	"pli/internal/id"
)

const sessionKeySize = 32 // octets: AES-256

// Packet is a session key sealed for one holder under one generation of its keys: an
// OpenPGP packet of some 96 octets (RFC 4880 §5.1).
type Packet struct {
	Generation int
	Bytes      []byte
}

// SessionKey is the random key of one letter or document: it seals the body and the
// values that go with it. Whoever holds a packet of it may open them. Safe for
// concurrent use until Clear.
type SessionKey struct{ key *crypto.SessionKey }

// NewSessionKey makes a random AES-256 key. The caller clears it.
func NewSessionKey() (*SessionKey, error) {
	key, err := crypto.GenerateSessionKey()
	if err != nil {
		return nil, fault.New(fault.Internal, "seal.NewSessionKey", "no-randomness")
	}
	return &SessionKey{key: key}, nil
}

// PacketFor seals the key for one holder, about 0.1 ms.
func (k *SessionKey) PacketFor(p Public) (Packet, error) {
	const op = "seal.PacketFor"
	if p.ring == nil {
		return Packet{}, fault.New(fault.Internal, op, "no-public-key")
	}
	b, err := p.ring.EncryptSessionKey(k.key)
	if err != nil {
		return Packet{}, fault.New(fault.Internal, op, "encrypt")
	}
	return Packet{Generation: p.Generation, Bytes: b}, nil
}

// Clear forgets the key.
func (k *SessionKey) Clear() {
	if k != nil && k.key != nil {
		k.key.Clear()
	}
}

// SealValue seals a small value (an outline, an address) with the session key: one
// OpenPGP packet with its integrity check (RFC 4880 §5.13), some 55 octets more than
// the value, less when it compresses. fault.TooLarge above 8 MiB.
func (k *SessionKey) SealValue(b []byte) ([]byte, error) {
	if len(b) > maxValue {
		return nil, fault.New(fault.TooLarge, "seal.SealValue", "value-size")
	}
	packed := pack(b)
	sealed, err := k.key.Encrypt(&crypto.PlainMessage{Data: packed})
	clear(packed)
	if err != nil {
		return nil, fault.New(fault.Internal, "seal.SealValue", "encrypt")
	}
	return sealed, nil
}

// OpenValue opens what SealValue made with this key. fault.Corrupt when it was
// altered, cut, lengthened or made with another.
func (k *SessionKey) OpenValue(b []byte) (value []byte, err error) {
	const op = "seal.OpenValue"
	defer func() { // the library was not written for hostile input
		if recover() != nil {
			value, err = nil, fault.New(fault.Corrupt, op, "value-panics")
		}
	}()
	if !wholePacket(b) {
		return nil, fault.New(fault.Corrupt, op, "value-frame")
	}
	message, err := k.key.Decrypt(b)
	if err != nil {
		return nil, fault.New(fault.Corrupt, op, "value-does-not-open")
	}
	return unpack(message.Data)
}

// wholePacket reports whether b is one sealed-data packet in the new format (tag 18,
// RFC 4880 §4.2.2) and nothing after it: the library does not look behind the packet.
func wholePacket(b []byte) bool {
	if len(b) == 0 || b[0] != packetTag {
		return false
	}
	b = b[1:]
	for {
		if len(b) == 0 {
			return false
		}
		var head, size int
		partial := false
		switch c := int(b[0]); {
		case c < 192:
			head, size = 1, c
		case c < 224 && len(b) >= 2:
			head, size = 2, (c-192)<<8+int(b[1])+192
		case c == 255 && len(b) >= 5:
			head, size = 5, int(binary.BigEndian.Uint32(b[1:]))
		case c >= 224 && c < 255:
			head, size, partial = 1, 1<<(c&0x1f), true
		default:
			return false
		}
		if len(b)-head < size {
			return false
		}
		if b = b[head+size:]; !partial {
			return len(b) == 0
		}
	}
}

// packetTag starts every body and value: Sym. Encrypted and Integrity Protected Data,
// new format (RFC 4880 §4.2, §5.13).
const packetTag = 0xC0 | 18

// A value sealed for a holder is: 1, the generation (4 octets), the packet's length
// (2), the packet, the value sealed with the packet's key.
const sealedVersion = 1

// SealFor seals a small value for one holder, with its public half only. What comes
// out tells the generation, so nothing else need be kept.
func (s *Service) SealFor(ctx context.Context, holder id.Holder, value []byte) ([]byte, error) {
	public, err := s.Public(ctx, holder)
	if err != nil {
		return nil, err
	}
	return public.Seal(value)
}

// Seal is SealFor with a public half at hand, for many values in a row.
func (p Public) Seal(value []byte) ([]byte, error) {
	key, err := NewSessionKey()
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	packet, err := key.PacketFor(p)
	if err != nil {
		return nil, err
	}
	sealed, err := key.SealValue(value)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 7+len(packet.Bytes)+len(sealed))
	b = append(b, sealedVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(packet.Generation))
	b = binary.BigEndian.AppendUint16(b, uint16(len(packet.Bytes)))
	return append(append(b, packet.Bytes...), sealed...), nil
}

func splitSealed(b []byte) (Packet, []byte, error) {
	if len(b) < 7 || b[0] != sealedVersion {
		return Packet{}, nil, fault.New(fault.Corrupt, "seal.splitSealed", "value-frame")
	}
	size := int(binary.BigEndian.Uint16(b[5:]))
	if len(b)-7 < size {
		return Packet{}, nil, fault.New(fault.Corrupt, "seal.splitSealed", "value-frame")
	}
	p := Packet{Generation: int(binary.BigEndian.Uint32(b[1:])), Bytes: b[7 : 7+size]}
	return p, b[7+size:], nil
}
