package imapd

import (
	"context"
	"io"
	"runtime"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/pg"
	"pli/mail"
	"pli/mailstore"
	"pli/pipeline"
)

const (
	fetchBatch  = 500       // rows read in one query
	gatherBatch = 64        // messages whose short bodies are read in one query
	smallSize   = 256 << 10 // a message up to this many octets is opened whole, ahead of its turn
)

// fetchPlan says what a FETCH needs, so that no more is read than that: rows for flags
// and sizes, outlines for envelopes, structures and headers, bodies for the rest.
type fetchPlan struct {
	o        *imap.FetchOptions
	outlines bool
	body     bool
	whole    bool // BODY[] as it is and nothing else of the body: it may be streamed
	markSeen bool
}

func planFetch(o *imap.FetchOptions) fetchPlan {
	p := fetchPlan{o: o, outlines: o.Envelope || o.BodyStructure != nil}
	others := false
	for _, s := range o.BodySection {
		p.markSeen = p.markSeen || !s.Peek
		switch {
		case len(s.Part) == 0 && s.Specifier == imap.PartSpecifierHeader:
			p.outlines = true
		case len(s.Part) == 0 && s.Specifier == imap.PartSpecifierNone:
			p.body = true
			p.whole = p.whole || s.Partial == nil
			others = others || s.Partial != nil
		default:
			p.outlines, p.body, others = true, true, true
		}
	}
	for _, s := range o.BinarySection {
		p.markSeen = p.markSeen || !s.Peek
		p.outlines, p.body, others = true, true, true
	}
	if len(o.BinarySectionSize) > 0 {
		p.outlines, p.body, others = true, true, true
	}
	p.whole = p.whole && !others
	return p
}

// fetched is one message on its way to the client.
type fetched struct {
	seq   uint32
	m     mailstore.Message
	out   *message.Outline
	flags bool // tell the flags, asked for or not: \Seen has just been set
	body  *opening
}

// opening is a small message being opened whole by another goroutine.
type opening struct {
	done chan struct{}
	data []byte
	err  error
}

// Fetch sends what is asked of each message, in order. One goroutine reads rows in
// batches and opens bodies ahead while this one writes. A message that does not open
// is left out and the command ends with NO.
func (s *session) Fetch(w *imapserver.FetchWriter, set imap.NumSet, o *imap.FetchOptions) error {
	return reply(s.run("FETCH", func(ctx context.Context) error {
		plan := planFetch(o)
		if s.sel.readOnly {
			plan.markSeen = false
		}
		ctx, cancel := context.WithCancel(ctx)
		r := &fetchReader{s: s, plan: plan, bal: s.bal, v: s.sel, queue: make(chan *fetched, 64), held: make(chan struct{}, 2+runtime.GOMAXPROCS(0))}
		finished := make(chan error, 1)
		todo := s.targets(set)
		go func() { finished <- r.run(ctx, todo) }()
		s.conn.writing(true)
		err := s.writeAll(ctx, w, plan, r)
		s.conn.writing(false)
		cancel()
		for range r.queue { // what was on its way
		}
		if failed := <-finished; err == nil {
			err = failed
		}
		return err
	}))
}

// writeAll writes responses until the reader is done. It returns the first failure to
// open a message, or at once one to write.
func (s *session) writeAll(ctx context.Context, w *imapserver.FetchWriter, plan fetchPlan, r *fetchReader) error {
	var failed error
	for f := range r.queue {
		err := s.writeOne(ctx, w, plan, f)
		if f.body != nil {
			<-r.held
		}
		switch {
		case fault.Is(err, fault.Timeout):
			return err
		case err != nil:
			s.srv.d.Log.Error("message not fetched", "mailbox", f.m.Mailbox, "uid", f.m.UID, "letter", f.m.Letter.String(), "cause", err)
			if failed == nil {
				failed = err
			}
			if s.conn.isDead() {
				return failed
			}
		}
	}
	return failed
}

// fetchReader reads ahead of the writer. queue ends when all is read; held bounds the
// bodies in memory.
type fetchReader struct {
	s     *session
	plan  fetchPlan
	bal   *pipeline.OpenBAL
	v     *selected
	queue chan *fetched
	held  chan struct{}
}

func (r *fetchReader) run(ctx context.Context, todo []numbered) (err error) {
	defer close(r.queue)
	defer func() {
		if v := recover(); v != nil {
			err = fault.Panic("imapd.Fetch", v)
		}
	}()
	for len(todo) > 0 {
		n := min(fetchBatch, len(todo))
		if r.plan.body { // small steps first: the client waits for the first octet
			n = min(gatherBatch, n)
		}
		if err := r.batch(ctx, todo[:n]); err != nil {
			return err
		}
		todo = todo[n:]
	}
	return nil
}

func (r *fetchReader) batch(ctx context.Context, todo []numbered) error {
	d, uids := r.s.srv.d, uidsOf(todo)
	var seen map[mail.UID]mailstore.Place
	if r.plan.markSeen {
		var err error
		if seen, err = r.markSeen(ctx, uids); err != nil {
			return err
		}
	}
	read := d.Mail.Lines
	if r.plan.outlines {
		read = d.Mail.Messages
	}
	ms, err := read(ctx, d.DB, r.v.box.ID, uids)
	if err != nil {
		return err
	}
	outs := make([]*message.Outline, len(ms))
	if r.plan.outlines {
		if outs, err = r.bal.Outlines(ctx, ms); err != nil {
			return err
		}
	}
	var near pipeline.Gathered
	if r.plan.body {
		if near, err = r.bal.Gather(ctx, ms); err != nil {
			return err
		}
	}
	for i, j := 0, 0; i < len(ms); i++ {
		for todo[j].uid != ms[i].UID { // those between are gone
			j++
		}
		_, fresh := seen[ms[i].UID]
		f := &fetched{seq: todo[j].seq, m: ms[i], out: outs[i], flags: fresh}
		if r.plan.body && f.m.Size <= smallSize {
			if err := r.ahead(ctx, near, f); err != nil {
				return err
			}
		}
		select {
		case r.queue <- f:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// ahead begins to open a small message.
func (r *fetchReader) ahead(ctx context.Context, near pipeline.Gathered, f *fetched) error {
	select {
	case r.held <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.body = &opening{done: make(chan struct{})}
	go func(b *opening) {
		defer close(b.done)
		defer func() {
			if v := recover(); v != nil {
				b.err = fault.Panic("imapd.Fetch", v)
			}
		}()
		b.data, b.err = readWhole(ctx, r.bal, near, f.m)
	}(f.body)
	return nil
}

// readWhole reads a small message into memory, to its end: what it returns is genuine.
func readWhole(ctx context.Context, bal *pipeline.OpenBAL, near pipeline.Gathered, m mailstore.Message) ([]byte, error) {
	body, err := bal.BodyFrom(ctx, near, m)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data := make([]byte, m.Size+1) // the one more is for reading the end
	n, err := io.ReadFull(body, data)
	if err == io.ErrUnexpectedEOF {
		return data[:n], nil
	}
	if err == nil {
		err = fault.New(fault.Corrupt, "imapd.readWhole", "body-length")
	}
	return nil, err
}

// markSeen sets \Seen on the messages that have it not, and returns those.
func (r *fetchReader) markSeen(ctx context.Context, uids []mail.UID) (map[mail.UID]mailstore.Place, error) {
	d := r.s.srv.d
	ps, err := d.Mail.Places(ctx, d.DB, r.v.box.ID, uids)
	if err != nil {
		return nil, err
	}
	var unseen []mail.UID
	for _, p := range ps {
		if p.Flags&mailstore.Seen == 0 {
			unseen = append(unseen, p.UID)
		}
	}
	if len(unseen) == 0 {
		return nil, nil
	}
	changed := make(map[mail.UID]mailstore.Place, len(unseen))
	err = d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		ps, _, err := d.Mail.StoreFlagsTx(ctx, tx, r.v.box.ID, unseen, mailstore.FlagStore{Op: mailstore.AddFlags, Flags: mailstore.Seen})
		clear(changed)
		for _, p := range ps {
			changed[p.UID] = p
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for u, p := range changed {
		r.v.own[u] = p.ModSeq
	}
	r.s.tellOthers(ctx)
	return changed, nil
}

// writeOne writes the response for one message. What can fail is done before the first
// octet; only a large message, streamed, may fail after, and then the connection ends.
func (s *session) writeOne(ctx context.Context, w *imapserver.FetchWriter, plan fetchPlan, f *fetched) error {
	src := &bodySource{ctx: ctx, bal: s.bal, f: f, close: func() {}}
	defer func() { src.close() }()
	o := plan.o
	if plan.outlines && f.out == nil {
		return fault.New(fault.Corrupt, "imapd.Fetch", "outline")
	}
	if plan.body {
		if err := src.prepare(plan.whole); err != nil {
			return err
		}
	}
	sizes, err := binarySizes(src, o)
	if err != nil {
		return err
	}
	r := w.CreateMessage(f.seq)
	if o.UID {
		r.WriteUID(imap.UID(f.m.UID))
	}
	if o.Flags || f.flags {
		r.WriteFlags(flagList(f.m.Flags, f.m.Keywords))
	}
	if o.InternalDate {
		r.WriteInternalDate(f.m.ReceivedAt)
	}
	if o.RFC822Size {
		r.WriteRFC822Size(f.m.Size)
	}
	if o.Envelope {
		r.WriteEnvelope(envelope(f.out.Fields()))
	}
	if o.BodyStructure != nil {
		r.WriteBodyStructure(structure(f.out.Root))
	}
	err = writeSections(r, src, o, sizes)
	if err != nil {
		s.conn.kill() // the literal cannot be finished, and must not look finished
	}
	if closed := r.Close(); err == nil && closed != nil {
		return gone(closed)
	}
	return err
}
