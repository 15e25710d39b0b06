package pipeline

import (
	"context"
	"io"
	"time"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
	"pli/mailstore"
)

// sentAgain is for how long a message that a mail program files in Sent is known to be
// the copy that Submit made.
const sentAgain = 24 * time.Hour

// Store files a message as it is in a folder of its BAL (IMAP APPEND). Nothing is
// decided here: the session that opened the BAL was. Line endings are put right. A
// message that is in Sent already, because Submit filed it, is not filed twice: its
// place comes back, and r is read to its end all the same.
//
// Errors: fault.NotFound for a folder that is not of this BAL, fault.Quota,
// fault.InvalidContent, fault.TooLarge, fault.Infected, fault.Unavailable.
func (p *Pipeline) Store(ctx context.Context, req StoreRequest, r io.Reader) (placed mailstore.Placed, err error) {
	err = p.walk("store", func() error {
		placed, err = p.store(ctx, req, r)
		return err
	})
	return placed, err
}

func (p *Pipeline) store(ctx context.Context, req StoreRequest, r io.Reader) (mailstore.Placed, error) {
	if req.Size > p.maxSize() {
		return mailstore.Placed{}, tooLarge(p.maxSize())
	}
	target, err := p.target(ctx, req)
	if err != nil {
		return mailstore.Placed{}, err
	}
	r = &mended{r: r}
	var filed *alreadyFiled
	header := asItIs
	if target.Role == mail.Sent {
		header = func(letter id.Letter, at time.Time, raw []byte) ([]byte, error) {
			place, found, err := p.sentBefore(ctx, req.BAL, raw)
			if found {
				err = &alreadyFiled{place}
			}
			return raw, err
		}
	}
	l, err := p.take(ctx, r, intake{scanner: p.d.Scanner, max: p.maxSize(), header: header})
	if asFiled(err, &filed) {
		_, err := io.Copy(io.Discard, io.LimitReader(r, p.maxSize()))
		return filed.place, err
	}
	if err != nil {
		return mailstore.Placed{}, err
	}
	pl := &plan{}
	if err := p.settle(ctx, pl, p.planFile(ctx, pl, req, target, l), p.file); err != nil {
		return mailstore.Placed{}, err
	}
	return pl.placed[0], nil
}

// alreadyFiled stops the taking in of a message that is there.
type alreadyFiled struct{ place mailstore.Placed }

func (*alreadyFiled) Error() string { return "pipeline.Store: filed already" }

func asFiled(err error, to **alreadyFiled) bool {
	f, ok := err.(*alreadyFiled)
	*to = f
	return ok
}

func (p *Pipeline) sentBefore(ctx context.Context, bal id.BAL, raw []byte) (mailstore.Placed, bool, error) {
	messageID := message.ParseFields(raw).MessageID()
	if messageID == "" {
		return mailstore.Placed{}, false, nil
	}
	return p.inSent(ctx, bal, messageID)
}

// target finds the folder and checks that it is of this BAL.
func (p *Pipeline) target(ctx context.Context, req StoreRequest) (mailstore.Mailbox, error) {
	if req.Mailbox == 0 {
		return p.d.Mail.ByRole(ctx, p.d.DB, req.BAL, req.Role)
	}
	target, err := p.d.Mail.ByID(ctx, p.d.DB, req.Mailbox)
	if err == nil && target.BAL != req.BAL {
		err = fault.New(fault.NotFound, "pipeline.Store", "no-mailbox")
	}
	return target, err
}

// file writes a plan that needs no decision.
func (p *Pipeline) file(ctx context.Context, pl *plan) error {
	return p.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		if err := p.write(ctx, tx, pl); err != nil {
			return err
		}
		pl.acted = true
		return nil
	})
}

func (p *Pipeline) planFile(ctx context.Context, pl *plan, req StoreRequest, target mailstore.Mailbox, l *letter) error {
	if err := pl.add(l); err != nil {
		return err
	}
	b, _, err := p.boxByID(ctx, req.BAL)
	if err != nil {
		return err
	}
	pc, err := p.placeFor(ctx, l, b, "")
	if err != nil {
		return err
	}
	pc.own, pc.Mailbox, pc.Flags, pc.Keywords = true, target.ID, req.Flags, req.Keywords
	if !req.ReceivedAt.IsZero() {
		pc.ReceivedAt = req.ReceivedAt.UTC().Truncate(time.Microsecond)
	}
	pl.places = []place{pc}
	return nil
}
