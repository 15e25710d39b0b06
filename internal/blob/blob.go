// Package blob keeps sealed octets under random names: on local files or in an S3 store,
// with short ones in the database. What it is given is sealed already; it knows nothing of keys or people.
package blob

import (
	"context"
	"io"
	"time"

	"pli/internal/id"
)

// Store keeps blobs. Every implementation passes blobtest.Run.
type Store interface {
	// Create begins a blob. Nothing is to be seen under name before Commit returns.
	// fault.Conflict (at Create or at Commit) when the name is taken.
	Create(ctx context.Context, name id.ID) (Writer, error)
	// Open reads a blob. fault.NotFound when there is none.
	Open(ctx context.Context, name id.ID) (io.ReadCloser, error)
	// Delete removes a blob; a missing one is no error.
	Delete(ctx context.Context, name id.ID) error
	// Each calls f for every committed blob, in no order, and stops at f's first error.
	Each(ctx context.Context, f func(name id.ID, size int64, modified time.Time) error) error
}

// Writer receives one blob. It is used by one goroutine.
type Writer interface {
	io.Writer
	// Commit makes the blob durable and visible: it survives a power cut once Commit
	// has returned nil. After an error nothing is kept.
	Commit() error
	// Abort forgets what was written. After Commit it does nothing.
	Abort()
}

// Gatherer is a store that reads several short blobs at the cost of one.
type Gatherer interface {
	// Gather returns those of the named blobs that are short; the others, and those that
	// are missing, are left out.
	Gather(ctx context.Context, names []id.ID) (map[id.ID][]byte, error)
}
