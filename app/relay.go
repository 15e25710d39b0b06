package app

import (
	"context"
	"errors"
	"io"

	"pli/internal/blob"
	"pli/internal/id"
	"pli/outbound"
	"pli/seal"
)

// relayLetters opens letters of the outgoing queue with the relay holder's key.
type relayLetters struct {
	seal  *seal.Service
	blobs blob.Store
}

// Open unlocks one letter: one custodian operation.
func (r relayLetters) Open(ctx context.Context, letter id.Letter, generation int, packet []byte) (outbound.Letter, error) {
	h, err := r.seal.House(ctx, seal.PurposeRelay)
	if err != nil {
		return nil, err
	}
	u, err := r.seal.Unlock(ctx, h)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	key, err := u.SessionKey(seal.Packet{Generation: generation, Bytes: packet})
	if err != nil {
		return nil, err
	}
	return &relayLetter{key: key, id: letter, blobs: r.blobs}, nil
}

// relayLetter is one opened letter.
type relayLetter struct {
	key   *seal.SessionKey
	id    id.Letter
	blobs blob.Store
}

func (l *relayLetter) OpenValue(b []byte) ([]byte, error) { return l.key.OpenValue(b) }
func (l *relayLetter) SealValue(b []byte) ([]byte, error) { return l.key.SealValue(b) }
func (l *relayLetter) Close()                             { l.key.Clear() }

// Size is not known without reading: the peer is told none.
func (l *relayLetter) Size() int64 { return 0 }

// Content streams the message in clear; a failed integrity check is the last error.
func (l *relayLetter) Content(ctx context.Context) (io.ReadCloser, error) {
	rc, err := l.blobs.Open(ctx, l.id)
	if err != nil {
		return nil, err
	}
	clear, err := l.key.OpenFrom(rc)
	if err != nil {
		rc.Close()
		return nil, err
	}
	return both{clear, rc}, nil
}

// both reads the first and closes the two.
type both struct {
	io.ReadCloser
	under io.Closer
}

func (b both) Close() error { return errors.Join(b.ReadCloser.Close(), b.under.Close()) }
