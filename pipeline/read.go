package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pli/codec/message"
	"pli/directory"
	"pli/fault"
	"pli/gate"
	"pli/identity"
	"pli/internal/blob"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
	"pli/mailstore"
	"pli/policy"
	"pli/seal"
)

// ReaderGate decides and traces the opening of a BAL (gate.Gate).
type ReaderGate interface {
	Ask(ctx context.Context, q policy.Question) (policy.Decision, error)
	Do(ctx context.Context, qs []policy.Question, act func(ctx context.Context, tx *pg.Tx, ds []policy.Decision) error) error
}

// ReaderBoxes finds a BAL (directory.Directory).
type ReaderBoxes interface {
	ByID(ctx context.Context, q pg.Querier, b id.BAL) (directory.BAL, error)
}

// ReaderDeps is what a Reader needs. Every field but SpoolDir, QuotaSize and Usage is
// required; Now is, with Usage.
type ReaderDeps struct {
	DB    *pg.DB
	Mail  *mailstore.Store
	Gate  ReaderGate
	Boxes ReaderBoxes
	Seal  *seal.Service
	Blobs blob.Store
	// SpoolDir holds temporary sealed files; empty means the system's.
	SpoolDir string
	// QuotaSize is that of a BAL that has none of its own, in octets; 0 is no bound.
	QuotaSize int64
	Usage     Usage // nil: nobody counts when a BAL was used
	Now       func() time.Time
	Log       *slog.Logger
}

// Reader opens BAL for those who may read them.
type Reader struct{ d ReaderDeps }

// NewReader makes a reader.
func NewReader(d ReaderDeps) *Reader { return &Reader{d: d} }

// Open decides and traces that who opens its BAL (once per session: what is read
// then needs no further decision), and unlocks it: one custodian operation. The caller
// closes what it gets. Errors: those of the gate, fault.Corrupt, fault.Unavailable.
func (r *Reader) Open(ctx context.Context, who identity.SignIn) (*OpenBAL, error) {
	door := "imap"
	if who.Means == identity.ByWeb {
		door = "web"
	}
	o := &OpenBAL{BAL: who.BAL, r: r, keeping: make(chan struct{}, 2)}
	var holder id.Holder
	o.question = policy.Question{Action: policy.OpenBAL, Actor: gate.Actor(who, door), Object: policy.Object{BAL: who.BAL}}
	err := r.d.Gate.Do(ctx, []policy.Question{o.question}, func(ctx context.Context, tx *pg.Tx, ds []policy.Decision) error {
		o.ReadOnly = ds[0].Owes(policy.ReadOnly)
		box, err := r.d.Boxes.ByID(ctx, tx, who.BAL)
		if err != nil {
			return err
		}
		holder = box.Holder
		if o.QuotaSize = box.QuotaSize; o.QuotaSize == 0 {
			o.QuotaSize = r.d.QuotaSize
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if o.key, err = r.d.Seal.Unlock(ctx, holder); err != nil {
		return nil, err
	}
	if r.d.Usage != nil {
		touch(ctx, r.d.Usage, r.d.Log, who.BAL, r.d.Now())
	}
	return o, nil
}

// OpenBAL is a BAL being read. It holds its key until Close. It is safe for
// concurrent use.
type OpenBAL struct {
	BAL       id.BAL
	QuotaSize int64 // octets; 0 is no bound
	ReadOnly  bool  // nothing may be filed or changed

	r        *Reader
	question policy.Question
	key      *seal.Unlocked
	keeping  chan struct{} // bounds the writing back of views
	jobs     sync.WaitGroup

	mu    sync.Mutex
	whole *wholeBody // the last message asked for by At
}

// StillAllowed asks the gate again, for a session that lasts: a BAL may have been
// closed, an account disabled. Errors: those of the gate; a refusal is traced.
func (o *OpenBAL) StillAllowed(ctx context.Context) error {
	d, err := o.r.d.Gate.Ask(ctx, o.question)
	if err != nil {
		return err
	}
	if err := gate.Refusal(d); err != nil {
		return err
	}
	if d.Owes(policy.ReadOnly) && !o.ReadOnly { // it opens for less than before
		return fault.New(fault.Closed, "pipeline.StillAllowed", "read-only-now").Say(
			"Votre inscription à l'annuaire n'est plus active : votre boîte passe en lecture seule. Reconnectez-vous pour la lire.",
			"Your entry in the directory is no longer active: your mailbox is read-only from now on. Sign in again to read it.")
	}
	return nil
}

// ViewKey seals and opens the names of the BAL's own mailboxes.
func (o *OpenBAL) ViewKey() mailstore.ViewKey { return o.key }

// Close forgets the key, once what was being written back is written.
func (o *OpenBAL) Close() {
	o.jobs.Wait()
	o.mu.Lock()
	w := o.whole
	o.whole = nil
	o.mu.Unlock()
	if w != nil {
		w.release()
	}
	o.key.Close()
}

// Outline opens the outline of one message. fault.Corrupt when it does not open.
func (o *OpenBAL) Outline(ctx context.Context, m mailstore.Message) (*message.Outline, error) {
	out, view, err := o.open(m)
	if err != nil {
		return nil, err
	}
	if view != nil {
		o.keep(ctx, map[id.Mailbox]map[mail.UID][]byte{m.Mailbox: {m.UID: view}})
	}
	return out, nil
}

// Outlines opens the outlines of messages, in their order, on all cores. Those that
// still lay under their letter's key are kept under the view key, in the background,
// so that the next time costs a microsecond each. One that does not open is nil, and
// an event says so.
func (o *OpenBAL) Outlines(ctx context.Context, ms []mailstore.Message) ([]*message.Outline, error) {
	outs, views := make([]*message.Outline, len(ms)), make([][]byte, len(ms))
	var g errgroup.Group
	workers := min(runtime.GOMAXPROCS(0), (len(ms)+15)/16)
	for w := range workers {
		g.Go(func() (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = fault.Panic("pipeline.Outlines", v)
				}
			}()
			for i := w; i < len(ms) && ctx.Err() == nil; i += workers {
				var failed error
				if outs[i], views[i], failed = o.open(ms[i]); failed != nil {
					o.r.d.Log.Error("outline does not open", "mailbox", ms[i].Mailbox, "uid", ms[i].UID, "cause", failed)
				}
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	fresh := make(map[id.Mailbox]map[mail.UID][]byte)
	for i, v := range views {
		if v == nil {
			continue
		}
		if fresh[ms[i].Mailbox] == nil {
			fresh[ms[i].Mailbox] = make(map[mail.UID][]byte)
		}
		fresh[ms[i].Mailbox][ms[i].UID] = v
	}
	o.keep(ctx, fresh)
	return outs, nil
}

// open opens one outline; view is its form under the view key when it had none yet.
func (o *OpenBAL) open(m mailstore.Message) (out *message.Outline, view []byte, err error) {
	const op = "pipeline.Outline"
	aad := "outline|" + m.Letter.String()
	var plain []byte
	if m.View != nil {
		plain, err = o.key.OpenView(aad, m.View)
	} else {
		plain, err = o.value(m)
	}
	if err != nil {
		return nil, nil, err
	}
	if out, err = message.Unmarshal(plain); err != nil {
		return nil, nil, fault.Wrap(fault.Corrupt, op, "outline", err)
	}
	if m.View == nil {
		view = o.key.SealView(aad, plain)
	}
	return out, view, nil
}

func (o *OpenBAL) value(m mailstore.Message) ([]byte, error) {
	k, err := o.session(m)
	if err != nil {
		return nil, err
	}
	defer k.Clear()
	return k.OpenValue(m.Outline)
}

func (o *OpenBAL) session(m mailstore.Message) (*seal.SessionKey, error) {
	return o.key.SessionKey(seal.Packet{Generation: m.Generation, Bytes: m.Packet})
}

// keep writes views back without making anybody wait. What fails is done again at the
// next sight.
func (o *OpenBAL) keep(ctx context.Context, views map[id.Mailbox]map[mail.UID][]byte) {
	if len(views) == 0 {
		return
	}
	o.keeping <- struct{}{}
	o.jobs.Go(func() {
		defer func() { <-o.keeping }()
		for mb, vs := range views {
			if err := o.r.d.Mail.KeepViews(context.WithoutCancel(ctx), mb, vs); err != nil {
				o.r.d.Log.Warn("views not kept", "mailbox", mb, "cause", err)
			}
		}
	})
}

// Body streams the message in clear. Reading fails with fault.Corrupt, before the end,
// when what is stored is not what was sealed: what was read until then is worth nothing.
func (o *OpenBAL) Body(ctx context.Context, m mailstore.Message) (io.ReadCloser, error) {
	sealed, err := o.r.d.Blobs.Open(ctx, m.Letter)
	if fault.Is(err, fault.NotFound) { // a row without its blob is damage, not absence
		err = fault.Wrap(fault.Corrupt, "pipeline.Body", "blob-missing", err)
	}
	if err != nil {
		return nil, err
	}
	return o.unseal(m, sealed)
}

func (o *OpenBAL) unseal(m mailstore.Message, sealed io.ReadCloser) (io.ReadCloser, error) {
	k, err := o.session(m)
	if err != nil {
		return nil, errors.Join(err, sealed.Close())
	}
	clear, err := k.OpenFrom(sealed)
	if err != nil {
		k.Clear()
		return nil, errors.Join(err, sealed.Close())
	}
	return &body{clear: clear, sealed: sealed, key: k, left: m.Size}, nil
}

// Gathered are sealed bodies read ahead, at the cost of one.
type Gathered map[id.Letter][]byte

// Gather reads ahead what is short of several messages, for BodyFrom.
func (o *OpenBAL) Gather(ctx context.Context, ms []mailstore.Message) (Gathered, error) {
	store, ok := o.r.d.Blobs.(blob.Gatherer)
	if !ok {
		return nil, nil
	}
	names := make([]id.ID, len(ms))
	for i, m := range ms {
		names[i] = m.Letter
	}
	return store.Gather(ctx, names)
}

// BodyFrom is Body, from what was gathered where that has it.
func (o *OpenBAL) BodyFrom(ctx context.Context, g Gathered, m mailstore.Message) (io.ReadCloser, error) {
	if sealed, ok := g[m.Letter]; ok {
		return o.unseal(m, io.NopCloser(bytes.NewReader(sealed)))
	}
	return o.Body(ctx, m)
}

// body is a message being read; its length is part of what must be right.
type body struct {
	clear, sealed io.ReadCloser
	key           *seal.SessionKey
	left          int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.clear.Read(p)
	if b.left -= int64(n); b.left < 0 || err == io.EOF && b.left != 0 {
		return n, fault.New(fault.Corrupt, "pipeline.Body", "body-length")
	}
	return n, err
}

func (b *body) Close() error {
	err := errors.Join(b.clear.Close(), b.sealed.Close())
	b.key.Clear()
	return err
}

// Whole is a message read to its end and found genuine, with random access. Close it.
type Whole interface {
	ReadSeeker
	io.Closer
}

// At gives random access to a message, checked whole. The last one is kept until
// another is asked for or the BAL is closed, so a client that fetches in pieces makes
// us open the message once. Memory is some 1 MiB; the rest is in a sealed temporary
// file. Errors: fault.Corrupt, fault.Unavailable.
func (o *OpenBAL) At(ctx context.Context, m mailstore.Message) (Whole, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.whole == nil || o.whole.letter != m.Letter {
		s, err := o.fill(ctx, m)
		if err != nil {
			return nil, err
		}
		if o.whole != nil {
			o.whole.release()
		}
		o.whole = &wholeBody{Spool: s, letter: m.Letter, holders: 1}
	}
	o.whole.hold()
	return &lentBody{wholeBody: o.whole}, nil
}

func (o *OpenBAL) fill(ctx context.Context, m mailstore.Message) (*seal.Spool, error) {
	r, err := o.Body(ctx, m)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s, err := seal.NewSpool(o.r.d.SpoolDir)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(s, r); err == nil {
		err = s.Finish()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// wholeBody is a spool that closes when nobody holds it any more.
type wholeBody struct {
	*seal.Spool
	letter  id.Letter
	mu      sync.Mutex
	holders int
}

func (w *wholeBody) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holders++
}

func (w *wholeBody) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holders--; w.holders == 0 {
		_ = w.Spool.Close()
	}
}

type lentBody struct {
	*wholeBody
	once sync.Once
}

func (l *lentBody) Close() error {
	l.once.Do(l.release)
	return nil
}

// Part opens one part of a message, its transfer encoding undone and, for text, turned
// into UTF-8. path is that of IMAP ([1], [1, 2]); empty is the root. The message is
// checked whole before the first octet comes out. Errors: fault.NotFound,
// fault.Corrupt, fault.Unavailable.
func (o *OpenBAL) Part(ctx context.Context, m mailstore.Message, path []int) (io.ReadCloser, *message.Part, error) {
	out, err := o.Outline(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	p := out.Part(path...)
	if p == nil {
		return nil, nil, fault.New(fault.NotFound, "pipeline.Part", fmt.Sprintf("no-part-at-depth-%d", len(path)))
	}
	w, err := o.At(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	return &partReader{message.Decode(p, io.NewSectionReader(w, p.BodyStart, p.Size())), w}, p, nil
}

type partReader struct {
	io.Reader
	io.Closer
}
