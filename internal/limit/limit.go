// Package limit counts tries. Redis counts for all processes together; when it is away
// each process counts alone, so there is never no limit. Keys are pseudonymous: callers
// pass keyed hashes, never a name or an address.
package limit

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Limiter allows so many tries a minute under a key.
type Limiter struct{ rdb *redis.Client }

// Open connects to Redis at url; "" counts in this process only. It does not wait for
// Redis: while Redis is away the local count holds.
func Open(url string) (*Limiter, error) { panic("soon") }

// New makes a limiter on a client; nil counts in this process only.
func New(rdb *redis.Client) *Limiter { return &Limiter{rdb: rdb} }

// Allow takes one try under key and says whether it is within perMinute a minute
// (bursts up to perMinute), or how long to wait.
func (l *Limiter) Allow(ctx context.Context, key string, perMinute int) (bool, time.Duration) {
	panic("soon")
}

// Close lets the connection go if Open made it.
func (l *Limiter) Close() error { panic("soon") }
