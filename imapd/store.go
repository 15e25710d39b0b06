package imapd

import (
	"context"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"pli/fault"
	"pli/internal/pg"
	"pli/mail"
	"pli/mailstore"
	"pli/pipeline"
)

// Store changes flags and, unless it is silent, tells the new ones.
func (s *session) Store(w *imapserver.FetchWriter, set imap.NumSet, f *imap.StoreFlags, _ *imap.StoreOptions) error {
	return reply(s.run("STORE", func(ctx context.Context) error {
		if err := s.wantWritable("imapd.Store"); err != nil {
			return err
		}
		todo := s.targets(set)
		if len(todo) == 0 {
			return nil
		}
		ask := mailstore.FlagStore{Op: storeOp(f.Op)}
		ask.Flags, ask.Keywords = parseFlags(f.Flags)
		d, v := s.srv.d, s.sel
		var changed []mailstore.Place
		err := d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) (err error) {
			changed, _, err = d.Mail.StoreFlagsTx(ctx, tx, v.box.ID, uidsOf(todo), ask)
			return err
		})
		if err != nil {
			return err
		}
		for _, p := range changed {
			v.own[p.UID] = p.ModSeq
		}
		if len(changed) > 0 {
			s.tellOthers(ctx)
		}
		if f.Silent {
			return nil
		}
		return s.tellFlags(ctx, w, todo)
	}))
}

func storeOp(o imap.StoreFlagsOp) mailstore.FlagOp {
	switch o {
	case imap.StoreFlagsAdd:
		return mailstore.AddFlags
	case imap.StoreFlagsDel:
		return mailstore.RemoveFlags
	default:
		return mailstore.SetFlags
	}
}

// tellFlags writes the flags of messages as they are now, changed or not
// (RFC 9051 §6.4.6).
func (s *session) tellFlags(ctx context.Context, w *imapserver.FetchWriter, todo []numbered) error {
	places, err := s.srv.d.Mail.Places(ctx, s.srv.d.DB, s.sel.box.ID, uidsOf(todo))
	if err != nil {
		return err
	}
	for _, p := range places {
		r := w.CreateMessage(s.sel.seqOf(p.UID))
		r.WriteUID(imap.UID(p.UID))
		r.WriteFlags(flagList(p.Flags, p.Keywords))
		if err := r.Close(); err != nil {
			return gone(err)
		}
	}
	return nil
}

// Copy copies messages. It is all or nothing (RFC 9051 §6.4.7).
func (s *session) Copy(set imap.NumSet, dest string) (data *imap.CopyData, err error) {
	err = s.run("COPY", func(ctx context.Context) error {
		if s.bal.ReadOnly {
			return suspended("imapd.Copy")
		}
		to, copied, err := s.transfer(ctx, set, dest, func(ctx context.Context, tx *pg.Tx, to mailstore.Mailbox, uids []mail.UID) ([]mailstore.Copied, error) {
			return s.srv.d.Mail.CopyTx(ctx, tx, s.sel.box.ID, to.ID, uids, s.bal.QuotaSize)
		})
		data = copyData(to, copied)
		return err
	})
	return data, replyTarget(err)
}

// Move moves messages (RFC 6851).
func (s *session) Move(w *imapserver.MoveWriter, set imap.NumSet, dest string) error {
	return replyTarget(s.run("MOVE", func(ctx context.Context) error {
		if err := s.wantWritable("imapd.Move"); err != nil {
			return err
		}
		to, copied, err := s.transfer(ctx, set, dest, func(ctx context.Context, tx *pg.Tx, to mailstore.Mailbox, uids []mail.UID) ([]mailstore.Copied, error) {
			return s.srv.d.Mail.MoveTx(ctx, tx, s.sel.box.ID, to.ID, uids)
		})
		if err != nil || len(copied) == 0 {
			return err
		}
		if err := w.WriteCopyData(copyData(to, copied)); err != nil {
			return gone(err)
		}
		for _, c := range copied {
			s.sel.pending[c.Source] = true
		}
		return gone(s.sel.tellExpunged(w.WriteExpunge))
	}))
}

type transferTx func(ctx context.Context, tx *pg.Tx, to mailstore.Mailbox, uids []mail.UID) ([]mailstore.Copied, error)

func (s *session) transfer(ctx context.Context, set imap.NumSet, dest string, do transferTx) (to mailstore.Mailbox, copied []mailstore.Copied, err error) {
	if to, err = s.resolve(ctx, dest); err != nil {
		return to, nil, err
	}
	todo := s.targets(set)
	if len(todo) == 0 {
		return to, nil, nil
	}
	err = s.srv.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) (err error) {
		copied, err = do(ctx, tx, to, uidsOf(todo))
		return err
	})
	if err == nil && len(copied) > 0 {
		s.tellOthers(ctx)
	}
	return to, copied, err
}

// copyData is COPYUID; nil when nothing was copied, as a set cannot be empty.
func copyData(to mailstore.Mailbox, copied []mailstore.Copied) *imap.CopyData {
	if len(copied) == 0 {
		return nil
	}
	d := &imap.CopyData{UIDValidity: uint32(to.UIDValidity)}
	for _, c := range copied {
		d.SourceUIDs.AddNum(imap.UID(c.Source))
		d.DestUIDs.AddNum(imap.UID(c.Copy))
	}
	return d
}

// Expunge removes messages marked \Deleted. CLOSE comes here too, with a writer that
// says nothing, and does nothing where only reading is possible (RFC 9051 §6.4.1).
func (s *session) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	return reply(s.run("EXPUNGE", func(ctx context.Context) error {
		if err := s.wantWritable("imapd.Expunge"); err != nil {
			if closing := *w == (imapserver.ExpungeWriter{}); closing {
				return nil
			}
			return err
		}
		var only []mail.UID
		if uids != nil {
			if only = uidsOf(s.targets(*uids)); len(only) == 0 {
				return nil
			}
		}
		d, v := s.srv.d, s.sel
		var removed []mail.UID
		err := d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) (err error) {
			removed, err = d.Mail.ExpungeTx(ctx, tx, v.box.ID, only)
			return err
		})
		if err != nil || len(removed) == 0 {
			return err
		}
		s.tellOthers(ctx)
		for _, u := range removed {
			v.pending[u] = true
		}
		return gone(v.tellExpunged(w.WriteExpunge))
	}))
}

// Append files a message through the pipeline, which scans and seals it as it comes.
func (s *session) Append(name string, r imap.LiteralReader, o *imap.AppendOptions) (data *imap.AppendData, err error) {
	err = s.run("APPEND", func(ctx context.Context) error {
		if s.bal.ReadOnly {
			return suspended("imapd.Append")
		}
		box, err := s.resolve(ctx, name)
		if err != nil {
			return err
		}
		ask := pipeline.StoreRequest{BAL: s.bal.BAL, Mailbox: box.ID, Role: box.Role, ReceivedAt: o.Time.UTC(), Size: r.Size()}
		ask.Flags, ask.Keywords = parseFlags(o.Flags)
		if limit := s.srv.d.Now().Add(mail.MaxFuture); o.Time.IsZero() || o.Time.After(limit) {
			ask.ReceivedAt = time.Time{}
		}
		placed, err := s.srv.d.Filer.Store(ctx, ask, &whole{ctx: ctx, r: r, left: r.Size()})
		if err != nil {
			return err
		}
		s.tellOthers(ctx)
		data = &imap.AppendData{UID: imap.UID(placed.UID), UIDValidity: uint32(placed.UIDValidity)}
		if placed.UID == 0 {
			data = nil
		}
		return nil
	})
	return data, replyTarget(err)
}

// whole fails when a literal breaks off: half a message is never filed.
type whole struct {
	ctx  context.Context
	r    imap.LiteralReader
	left int64
}

func (l *whole) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); err != nil && l.left > 0 {
		return n, fault.Wrap(fault.Timeout, "imapd.Append", "literal-short", err)
	}
	return n, err
}
