// Package wake tells other processes that something awaits, never what. A wake-up
// carries an opaque topic and no content; the listener re-reads rows. It goes over
// Redis pub/sub and may be lost at any moment: while Redis is away listeners tick by
// themselves, and nothing but speed is lost.
package wake

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"pli/fault"
	"pli/internal/id"
)

// Config says where Redis is.
type Config struct {
	// URL is redis://[:password@]host:port/db, rediss://… or unix:///path/to/socket.
	URL string `toml:"url"`
}

const (
	tickWhenAway = 5 * time.Second // how late a listener may be without Redis
	retryAfter   = time.Second
	quietPing    = 5 * time.Second // silence after which the connection is asked for a sign
	aliveTopic   = "pli:alive"     // nobody sends on it: it keeps the connection a subscriber
	queueLength  = 4096
)

// Bus sends and receives wake-ups, over one listening connection per process. It is
// safe for concurrent use.
type Bus struct {
	rdb  *redis.Client
	log  *slog.Logger
	stop context.CancelFunc
	done sync.WaitGroup
	out  chan string

	mu   sync.Mutex
	subs map[string]map[*listener]struct{}
	ps   *redis.PubSub // nil while Redis is away
}

type listener struct{ c chan struct{} }

func (l *listener) tick() {
	select {
	case l.c <- struct{}{}:
	default: // one is waiting already
	}
}

// Open returns a bus. Redis need not answer yet, or ever: the bus keeps trying until
// Close or until ctx is done. fault.Invalid when the URL is none.
func Open(ctx context.Context, c Config, log *slog.Logger) (*Bus, error) {
	opt, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, fault.New(fault.Invalid, "wake.Open", "url") // the cause may quote a password
	}
	quiet()
	opt.MaxRetries = -1
	opt.DialTimeout = 2 * time.Second
	opt.PoolSize, opt.MinIdleConns = 4, 0
	opt.DisableIdentity = true
	ctx, stop := context.WithCancel(ctx)
	b := &Bus{rdb: redis.NewClient(opt), log: log, stop: stop, out: make(chan string, queueLength), subs: make(map[string]map[*listener]struct{})}
	b.done.Go(func() { b.listen(ctx) })
	b.done.Go(func() { b.send(ctx) })
	return b, nil
}

// quiet keeps the library from writing to standard error by its own way: the bus says
// in the log what there is to say.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Close ends the bus and waits for its goroutines.
func (b *Bus) Close() error {
	b.stop()
	b.done.Wait()
	return b.rdb.Close()
}

// BAL is the topic of a BAL.
func BAL(b id.BAL) string { return "pli:bal:" + strconv.FormatInt(int64(b), 10) }

// Wake tells every listener of topic, best effort. It returns at once: listeners of
// this process hear it directly, those of others when Redis passes it on.
func (b *Bus) Wake(_ context.Context, topic string) {
	b.notify(topic)
	select {
	case b.out <- topic:
	default: // Redis is away or slow; listeners tick
	}
}

// Subscribe returns a channel that gets a value soon after each Wake of topic; several
// wake-ups may melt into one, and some come without a cause. It gets one as soon as
// wake-ups of other processes are heard, so what came before is not missed. cancel
// ends it.
func (b *Bus) Subscribe(topic string) (c <-chan struct{}, cancel func()) {
	l := &listener{c: make(chan struct{}, 1)}
	b.mu.Lock()
	first := b.subs[topic] == nil
	if first {
		b.subs[topic] = make(map[*listener]struct{})
	}
	b.subs[topic][l] = struct{}{}
	ps := b.ps
	b.mu.Unlock()
	if first && ps != nil {
		b.tell(func(ctx context.Context) error { return ps.Subscribe(ctx, topic) })
	} else {
		l.tick()
	}
	return l.c, func() { b.unsubscribe(topic, l) }
}

func (b *Bus) unsubscribe(topic string, l *listener) {
	b.mu.Lock()
	delete(b.subs[topic], l)
	last := b.subs[topic] != nil && len(b.subs[topic]) == 0
	if last {
		delete(b.subs, topic)
	}
	ps := b.ps
	b.mu.Unlock()
	if last && ps != nil {
		b.tell(func(ctx context.Context) error { return ps.Unsubscribe(ctx, topic) })
		b.mu.Lock()
		again := len(b.subs[topic]) > 0 // somebody subscribed meanwhile
		b.mu.Unlock()
		if again {
			b.tell(func(ctx context.Context) error { return ps.Subscribe(ctx, topic) })
		}
	}
}

// tell sends to Redis on the listening connection; a failure shows in listen.
func (b *Bus) tell(f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = f(ctx)
}

func (b *Bus) notify(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range b.subs[topic] {
		l.tick()
	}
}

func (b *Bus) notifyAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ls := range b.subs {
		for l := range ls {
			l.tick()
		}
	}
}

// send publishes what Wake queued, several in one round trip.
func (b *Bus) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case topic := <-b.out:
			p := b.rdb.Pipeline()
			p.Publish(ctx, topic, "")
			for n := len(b.out); n > 0; n-- {
				p.Publish(ctx, <-b.out, "")
			}
			_, _ = p.Exec(ctx)
		}
	}
}

// listen keeps one listening connection. It says once that Redis is away, and once
// that it is back.
func (b *Bus) listen(ctx context.Context) {
	away := false
	for ctx.Err() == nil {
		err := b.session(ctx, func() {
			if away {
				away = false
				b.log.Info("redis is back")
			}
		})
		if ctx.Err() != nil {
			return
		}
		if !away {
			away = true
			b.log.Warn("redis is away; listeners poll", "every", tickWhenAway.String(), "timeout", isTimeout(err))
		}
		b.pollUntilRetry(ctx)
	}
}

// pollUntilRetry ticks every listener now and then returns; while Redis stays away the
// next call comes after retryAfter and ticks again once tickWhenAway has passed.
func (b *Bus) pollUntilRetry(ctx context.Context) {
	deadline := time.Now().Add(tickWhenAway)
	b.notifyAll()
	for time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryAfter):
		}
		if b.rdb.Ping(ctx).Err() == nil {
			return
		}
	}
}

// session listens until the connection fails.
func (b *Bus) session(ctx context.Context, up func()) error {
	b.mu.Lock()
	topics := []string{aliveTopic}
	for t := range b.subs {
		topics = append(topics, t)
	}
	ps := b.rdb.Subscribe(ctx, topics...)
	b.ps = ps
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.ps = nil
		b.mu.Unlock()
		_ = ps.Close()
	}()
	stop := context.AfterFunc(ctx, func() { _ = ps.Close() })
	defer stop()
	asked := false
	for {
		msg, err := ps.ReceiveTimeout(ctx, quietPing)
		switch {
		case err == nil:
			asked = false
		case isTimeout(err) && !asked && ctx.Err() == nil:
			asked = true
			if err := ps.Ping(ctx); err != nil {
				return err
			}
		default:
			return err
		}
		switch m := msg.(type) {
		case *redis.Subscription:
			up()
			b.notify(m.Channel)
		case *redis.Message:
			b.notify(m.Channel)
		}
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
