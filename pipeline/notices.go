package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/clamav"
	"pli/mail"
	"pli/outbound"
	"pli/policy"
)

// Notice is a message of the house itself, a DSN or an MDN, already built.
type Notice struct {
	From mail.Address // reverse-path; zero is <>, as it is for every DSN and MDN
	To   mail.Address
	Body io.Reader
	// Key makes the notice once, however often a job makes it again; "" does not.
	Key string
}

// noticeSize is what a notice may add to the message that it gives back whole, in octets.
const noticeSize = 1 << 20

// Notice deposits a notice with a BAL of ours, or queues it for another operator. It is
// not scanned again: what it quotes was. A full BAL takes it all the same.
//
// Errors: those of the rules when the recipient may get none; fault.InvalidContent.
func (p *Pipeline) Notice(ctx context.Context, n Notice) error {
	return p.walk("notice", func() error { return p.notice(ctx, n) })
}

func (p *Pipeline) notice(ctx context.Context, n Notice) error {
	if n.To.IsZero() { // nobody is told about what nobody sent (RFC 5321 §6.1)
		return nil
	}
	l, err := p.take(ctx, n.Body, intake{reverse: n.From, scanner: clamav.None{}, max: p.maxSize() + noticeSize, header: asItIs})
	if err != nil {
		return err
	}
	pl := &plan{}
	return p.settle(ctx, pl, p.planNotice(ctx, pl, l, n), p.carryOut)
}

func (p *Pipeline) planNotice(ctx context.Context, pl *plan, l *letter, n Notice) error {
	if err := pl.add(l); err != nil {
		return err
	}
	pl.questions = []policy.Question{{
		Action: policy.Submit, Actor: policy.Actor{House: true, Means: "job"},
		Object: policy.Object{To: n.To, Letter: l.id},
	}}
	var key []byte
	if n.Key != "" {
		key = p.d.Index.Key("content", "notice", n.Key)
	}
	return p.placeNotice(ctx, pl, l, n.From, n.To, key)
}

// placeNotice prepares the deposit of a notice here, or its way out.
func (p *Pipeline) placeNotice(ctx context.Context, pl *plan, l *letter, from, to mail.Address, key []byte) error {
	if !p.d.Directory.Local(to.Domain()) {
		items, err := p.itemsFor(ctx, l, 0, mail.Envelope{ReversePath: from}, []mail.Recipient{{Address: to, Notify: mail.NotifyNever}})
		for _, it := range items {
			it.own = true
			pl.items = append(pl.items, it)
		}
		return err
	}
	found, err := p.findBoxes(ctx, to)
	if err != nil {
		return err
	}
	b, ok := found[to]
	if !ok {
		pl.missing = true // the gate says so, with its text
		return nil
	}
	pc, err := p.placeFor(ctx, l, b, mail.Inbox)
	pc.own, pc.QuotaSize, pc.ContentKey = true, 0, key
	pl.places = append(pl.places, pc)
	return err
}

// DSN builds a delivery report and deposits it with the sender (outbound.Notices). A
// sender who may get none, because his BAL is closed, is not an error.
func (p *Pipeline) DSN(ctx context.Context, r outbound.Report) error {
	return p.walk("dsn", func() error {
		if r.To.IsZero() {
			return nil
		}
		err := p.dsn(ctx, r)
		switch fault.KindOf(err) {
		case fault.NotFound, fault.Withheld, fault.Closed, fault.Forbidden, fault.Untrusted:
			p.d.Log.InfoContext(ctx, "report without a reader", "letter", r.Letter.String(), "code", fault.CodeOf(err))
			return nil
		}
		return err
	})
}

// returned is how much of the original a report gives back.
type returned int

const (
	nothing returned = iota
	headerOnly
	whole
)

// dsn gives back what it may of the original, and less when the report could not be
// taken in with it, or when it cannot be read any more: that a message was lost is told
// in any case.
func (p *Pipeline) dsn(ctx context.Context, r outbound.Report) (err error) {
	give := headerOnly
	if r.Full && r.Action == outbound.Failed {
		give = whole
	}
	for ; give >= nothing; give-- {
		err = p.dsnWith(ctx, r, give)
		switch fault.KindOf(err) {
		case fault.InvalidContent, fault.TooLarge, fault.Corrupt:
			p.d.Log.WarnContext(ctx, "report with less of its original", "letter", r.Letter.String(), "code", fault.CodeOf(err))
		default:
			return err
		}
	}
	return err
}

func (p *Pipeline) dsnWith(ctx context.Context, r outbound.Report, give returned) error {
	d := message.DSN{
		From: p.postmaster(), To: r.To, At: r.At.In(p.d.Zone), Action: message.DSNAction(r.Action),
		ReportingMTA: p.d.Config.Hostname, EnvelopeID: r.EnvelopeID, ArrivedAt: r.QueuedAt.In(p.d.Zone),
		NextAt: r.RetryAt, RetryUntil: r.GiveUpAt,
	}
	for i, rcpt := range r.Recipients {
		d.Recipients = append(d.Recipients, message.DSNRecipient{
			Final: rcpt.Final, Original: rcpt.Original, Status: rcpt.Status, RemoteMTA: rcpt.RemoteMTA,
			Diagnostic: rcpt.Diagnostic, TriedAt: rcpt.LastTryAt.In(p.d.Zone),
		})
		if i < maxSuggestedIn {
			d.Recipients[i].Present = p.present(ctx, r.To, r.Action, rcpt)
		}
	}
	if give > nothing {
		original, err := r.Original(ctx)
		if fault.Is(err, fault.NotFound) { // of the letter, which is damage; not of a reader
			err = fault.Wrap(fault.Corrupt, "pipeline.dsn", "letter-missing", err)
		}
		if err != nil {
			return err
		}
		defer original.Close()
		if d.Header, d.Original, err = quote(original, give == whole); err != nil {
			return err
		}
	}
	body, err := message.BuildDSN(d)
	if err != nil {
		return err
	}
	return p.notice(ctx, Notice{To: r.To, Body: body, Key: r.ID})
}

// postmaster is whom DSN come from.
func (p *Pipeline) postmaster() message.Person {
	name := p.d.Config.Operator
	if name == "" {
		name = p.d.Config.Hostname
	}
	for _, a := range []string{p.d.Config.Postmaster, "postmaster@" + p.d.Config.Hostname} {
		if person := (message.Person{Name: name, Address: a}); !person.Mail().IsZero() {
			return person
		}
	}
	return message.Person{Name: name, Address: "postmaster@pli.invalid"} // RFC 2606 §2
}

// planSuccess adds the success report that a sender asked for about recipients of ours
// (RFC 3461 §5.2.2), in the same transaction as their deposits. Headers alone are
// returned (RFC 3461 §4.3).
func (p *Pipeline) planSuccess(ctx context.Context, pl *plan, l *letter, env mail.Envelope, here []mail.Recipient) error {
	d := message.DSN{
		From: p.postmaster(), To: env.ReversePath, At: l.at.In(p.d.Zone), Action: message.Delivered,
		ReportingMTA: p.d.Config.Hostname, EnvelopeID: env.EnvelopeID, ArrivedAt: l.at.In(p.d.Zone), Header: l.outline.Header,
	}
	for _, rcpt := range here {
		if rcpt.Notify.Wants(mail.NotifySuccess) {
			d.Recipients = append(d.Recipients, message.DSNRecipient{
				Final: rcpt.Address, Original: rcpt.Original, Status: "2.1.5", TriedAt: l.at.In(p.d.Zone),
			})
		}
	}
	if d.To.IsZero() || len(d.Recipients) == 0 || pl.missing {
		return nil
	}
	body, err := message.BuildDSN(d)
	if err != nil {
		return err
	}
	report, err := p.take(ctx, body, intake{scanner: clamav.None{}, max: p.maxSize() + noticeSize, header: asItIs})
	if err != nil {
		return err
	}
	if err := pl.add(report); err != nil {
		return err
	}
	return p.placeNotice(ctx, pl, report, mail.Address{}, d.To, p.contentKey(l, "delivered"))
}

// quote reads the header block of a message that a report gives back, and, when it is to
// be given back whole, all of it.
func quote(r io.Reader, whole bool) (header []byte, all io.Reader, err error) {
	br := bufio.NewReader(r)
	if header, err = message.ReadHeader(br, maxHeader); err != nil || !whole {
		return header, nil, err
	}
	return header, io.MultiReader(bytes.NewReader(header), br), nil
}
