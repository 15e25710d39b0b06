package pipeline

import (
	"context"
	"io"

	"pli/fault"
	"pli/gate"
	"pli/health"
	"pli/identity"
	"pli/internal/id"
	"pli/mail"
	"pli/mailstore"
	"pli/policy"
)

// SubmitRecipient answers RCPT on the submission listener: may who write to that
// address? size is as in InboundRecipient.
//
// Errors: those of the rules, with their text, and the present address of a professional
// whose address is unknown or closed; fault.Quota when the BAL has no room.
func (p *Pipeline) SubmitRecipient(ctx context.Context, who identity.SignIn, to mail.Address, size int64) error {
	return p.walk("submit-recipient", func() error {
		return p.askRecipient(ctx, policy.Question{
			Action: policy.Submit, Actor: gate.Actor(who, door(who)), Object: policy.Object{To: to},
		}, size, isPatient(who))
	})
}

// door is by which door somebody submits, for the trace.
func door(who identity.SignIn) string {
	if who.Means == identity.ByWeb {
		return "web"
	}
	return "smtp"
}

// Submit takes a message that one of our people sends: to colleagues here and to other
// operators, with one copy in Sent, in one transaction. The author must be the sender's
// own address; Date and Message-ID are added where they are missing, Bcc is taken out.
//
// Errors: those of the rules; fault.Forbidden for an address that is not the sender's;
// fault.InvalidContent, fault.TooLarge, fault.Infected, fault.Quota; whatever is not
// foreseen is temporary.
func (p *Pipeline) Submit(ctx context.Context, who identity.SignIn, env mail.Envelope, r io.Reader) (rec Receipt, err error) {
	err = p.walk("submit", func() error {
		rec, err = p.submit(ctx, who, env, r)
		return err
	})
	return rec, err
}

func (p *Pipeline) submit(ctx context.Context, who identity.SignIn, env mail.Envelope, r io.Reader) (Receipt, error) {
	env.Recipients = withoutRepeats(env.Recipients)
	from, err := p.sender(ctx, who, env.ReversePath)
	if err != nil {
		return Receipt{}, err
	}
	protocol := "ESMTPSA"
	if door(who) == "web" {
		protocol = "HTTPS"
	}
	l, err := p.take(ctx, r, intake{
		reverse: env.ReversePath, scanner: p.d.Scanner, max: p.maxSize(),
		header: p.fromSender(protocol, func(a mail.Address) (bool, error) { return p.owns(ctx, from, a) }),
	})
	if err != nil {
		return Receipt{}, err
	}
	pl := &plan{}
	err = p.planSubmit(ctx, pl, l, who, from, env)
	if err := p.settle(ctx, pl, err, p.carryOut); err != nil {
		return Receipt{}, err
	}
	touch(ctx, p.d.Usage, p.d.Log, who.BAL, l.at)
	return pl.receipt(), nil
}

// sender is the BAL that somebody writes from.
type sender struct {
	box
	address mail.Address // zero for a patient: it is not kept, and looked up instead
}

// sender finds the BAL that somebody writes from, and checks that the reverse-path is
// its address; <> is for the reports of a mail program (RFC 8098 §3), whose author is
// checked all the same.
func (p *Pipeline) sender(ctx context.Context, who identity.SignIn, reverse mail.Address) (from sender, err error) {
	if from.box, from.address, err = p.boxByID(ctx, who.BAL); err != nil {
		return from, err
	}
	if !reverse.IsZero() {
		if own, err := p.owns(ctx, from, reverse); err != nil {
			return from, err
		} else if !own {
			return from, notYours()
		}
	}
	full, err := p.full(ctx, from.box, 0)
	if err == nil && full {
		err = fault.New(fault.Quota, "pipeline.submit", "sender-over-quota").Say(
			"Votre boîte est pleine. Supprimez des messages, puis renvoyez celui-ci.",
			"Your mailbox is full. Delete some messages, then send this one again.")
	}
	return from, err
}

// owns reports whether a is the address of the sender.
func (p *Pipeline) owns(ctx context.Context, from sender, a mail.Address) (bool, error) {
	if a.IsZero() || a == from.address {
		return !a.IsZero(), nil
	}
	if from.kind != health.Patient {
		return false, nil
	}
	found, err := p.findBoxes(ctx, a)
	return err == nil && found[a].id == from.id, err
}

func (p *Pipeline) planSubmit(ctx context.Context, pl *plan, l *letter, who identity.SignIn, from sender, env mail.Envelope) error {
	if err := pl.add(l); err != nil {
		return err
	}
	if env.ReversePath.IsZero() && !l.outline.IsReport() {
		return notYours()
	}
	var away []mail.Recipient
	for _, rcpt := range env.Recipients {
		pl.questions = append(pl.questions, policy.Question{
			Action: policy.Submit, Actor: gate.Actor(who, door(who)),
			Object: policy.Object{To: rcpt.Address, Letter: l.id},
		})
		if !p.d.Directory.Local(rcpt.Address.Domain()) {
			away = append(away, rcpt)
		}
	}
	here, err := p.planHere(ctx, pl, l, env.Recipients)
	if err != nil {
		return err
	}
	if from.kind == health.Patient {
		for i := range pl.places {
			pl.places[i].exchanges = nil // patients open nothing
		}
	}
	if pl.items, err = p.itemsFor(ctx, l, from.id, env, away); err != nil {
		return err
	}
	if err := p.planSent(ctx, pl, l, from.box); err != nil {
		return err
	}
	return p.planSuccess(ctx, pl, l, env, here)
}

// planSent prepares the sender's copy, unless a mail program filed one already. Reports
// leave no copy.
func (p *Pipeline) planSent(ctx context.Context, pl *plan, l *letter, from box) error {
	if l.outline.IsReport() {
		return nil
	}
	if l.named {
		_, found, err := p.inSent(ctx, from.id, l.fields.MessageID())
		if err != nil || found {
			return err
		}
	}
	pc, err := p.placeFor(ctx, l, from, mail.Sent)
	if err != nil {
		return err
	}
	pc.own, pc.Flags, pc.QuotaSize = true, mailstore.Seen, 0 // it was checked at the start
	pc.ContentKey = p.contentKey(l, "sent")
	pl.places = append(pl.places, pc)
	return nil
}

// inSent looks for a message in the Sent folder of a BAL by its Message-ID, received in
// the last hours.
func (p *Pipeline) inSent(ctx context.Context, bal id.BAL, messageID string) (mailstore.Placed, bool, error) {
	placed, at, err := p.d.Mail.PlaceOf(ctx, p.d.DB, bal, mail.Sent, p.messageIDKey(bal, messageID))
	switch {
	case fault.Is(err, fault.NotFound):
		return mailstore.Placed{}, false, nil
	case err != nil:
		return mailstore.Placed{}, false, err
	}
	return placed, p.now().Sub(at) <= sentAgain, nil
}
