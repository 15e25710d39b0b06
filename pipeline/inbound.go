package pipeline

import (
	"context"
	"io"

	"pli/fault"
	"pli/gate"
	"pli/health"
	"pli/mail"
	"pli/policy"
)

// InboundRecipient answers RCPT on the MX listener: may this peer bring a message from
// that reverse-path (zero is <>) to this recipient? size is what SIZE announced
// (RFC 1870), in octets; 0 when it did not.
//
// Errors: those of the rules, with their text, and the present address of a professional
// whose address is unknown or closed; fault.Quota when the BAL has no room.
func (p *Pipeline) InboundRecipient(ctx context.Context, peer Peer, from, to mail.Address, size int64) error {
	return p.walk("inbound-recipient", func() error {
		return p.askRecipient(ctx, policy.Question{
			Action: policy.Receive, Actor: peerActor(peer), Object: policy.Object{From: from, To: to},
		}, size, p.d.Directory.ForPatients(from.Domain()))
	})
}

func peerActor(peer Peer) policy.Actor {
	a := policy.Actor{Peer: policy.Peer{Domains: peer.Domains}, Means: "smtp"}
	if len(peer.Domains) > 0 {
		a.Peer.Name = peer.Domains[0]
	}
	return a
}

// askRecipient decides about one recipient now, and says so when a BAL of ours has no
// room: at DATA it would be too late to refuse one recipient of several, and none would
// get the message. patient says that a patient writes.
func (p *Pipeline) askRecipient(ctx context.Context, q policy.Question, size int64, patient bool) error {
	d, err := p.d.Gate.Ask(ctx, q)
	if err != nil {
		return err
	}
	if err := gate.Refusal(d); err != nil {
		return p.withSuggestion(ctx, q, patient, err)
	}
	if !p.d.Directory.Local(q.Object.To.Domain()) {
		return nil
	}
	found, err := p.findBoxes(ctx, q.Object.To)
	if err != nil {
		return err
	}
	full, err := p.full(ctx, found[q.Object.To], size)
	if err == nil && full {
		err = fault.New(fault.Quota, "pipeline.recipient", "over-quota")
	}
	return err
}

// fieldsSize is what our own fields may add to a message, in octets.
const fieldsSize = 2 << 10

// full reports whether a BAL holds all that it may, or would with a message of size
// octets; 0 is not known.
func (p *Pipeline) full(ctx context.Context, b box, size int64) (bool, error) {
	if b.quota == 0 {
		return false, nil
	}
	used, err := p.d.Mail.UsedSize(ctx, p.d.DB, b.id)
	if size > 0 {
		size += fieldsSize
	}
	return used >= b.quota || used+size > b.quota, err
}

// Inbound takes a message that a peer brings. When it returns without an error, the
// message is read to its end, sealed, durable, deposited with every recipient and
// committed. Recipients who had it already, because our answer was lost, are left as
// they are.
//
// Errors: those of the rules; fault.InvalidContent, fault.TooLarge, fault.Infected,
// fault.Quota; whatever is not foreseen is temporary.
func (p *Pipeline) Inbound(ctx context.Context, peer Peer, env mail.Envelope, r io.Reader) (rec Receipt, err error) {
	err = p.walk("inbound", func() error {
		rec, err = p.inbound(ctx, peer, env, r)
		return err
	})
	return rec, err
}

func (p *Pipeline) inbound(ctx context.Context, peer Peer, env mail.Envelope, r io.Reader) (Receipt, error) {
	env.Recipients = withoutRepeats(env.Recipients)
	l, err := p.take(ctx, r, intake{reverse: env.ReversePath, scanner: p.d.Scanner, max: p.maxSize(), header: p.fromPeer(peer)})
	if err != nil {
		return Receipt{}, err
	}
	pl := &plan{}
	err = p.planInbound(ctx, pl, l, peer, env)
	if err := p.settle(ctx, pl, err, p.carryOut); err != nil {
		return Receipt{}, err
	}
	return pl.receipt(), nil
}

func (p *Pipeline) planInbound(ctx context.Context, pl *plan, l *letter, peer Peer, env mail.Envelope) error {
	if err := pl.add(l); err != nil {
		return err
	}
	for _, rcpt := range env.Recipients {
		pl.questions = append(pl.questions, policy.Question{
			Action: policy.Receive, Actor: peerActor(peer),
			Object: policy.Object{From: p.broughtFrom(l, env.ReversePath), To: rcpt.Address, Letter: l.id},
		})
	}
	here, err := p.planHere(ctx, pl, l, env.Recipients)
	if err != nil {
		return err
	}
	return p.planSuccess(ctx, pl, l, env, here)
}

// broughtFrom is whom the rules take a message from: its reverse-path, but the author when
// that is a patient who writes under another reverse-path, or under <> what is no report.
func (p *Pipeline) broughtFrom(l *letter, reverse mail.Address) mail.Address {
	from := l.fields.From()
	if l.outline.IsReport() || len(from) != 1 || !p.d.Directory.ForPatients(from[0].Mail().Domain()) {
		return reverse
	}
	return from[0].Mail()
}

// planHere prepares the deposits for the recipients of ours, and returns those.
func (p *Pipeline) planHere(ctx context.Context, pl *plan, l *letter, rcpts []mail.Recipient) ([]mail.Recipient, error) {
	var here []mail.Recipient
	var as []mail.Address
	for _, rcpt := range rcpts {
		if p.d.Directory.Local(rcpt.Address.Domain()) {
			here, as = append(here, rcpt), append(as, rcpt.Address)
		}
	}
	found, err := p.findBoxes(ctx, as...)
	if err != nil {
		return nil, err
	}
	for _, rcpt := range here {
		b, ok := found[rcpt.Address]
		if !ok {
			pl.missing = true // the gate says so, with its text
			continue
		}
		pc, err := p.planRecipient(ctx, l, b)
		if err != nil {
			return nil, err
		}
		pl.places = append(pl.places, pc)
	}
	return here, nil
}

func (p *Pipeline) planRecipient(ctx context.Context, l *letter, b box) (place, error) {
	pc, err := p.placeFor(ctx, l, b, mail.Inbox)
	if err != nil {
		return pc, err
	}
	pc.ContentKey = p.contentKey(l)
	if l.outline.HasXDM() {
		if pc.ingest, err = p.ingestion(ctx, l, b.id); err != nil {
			return pc, err
		}
	}
	if b.kind == health.Patient {
		pc.exchanges, err = p.exchangesFor(ctx, l, b)
	}
	return pc, err
}

// withoutRepeats keeps one of each recipient, with the DSN wishes of all its mentions.
func withoutRepeats(rcpts []mail.Recipient) []mail.Recipient {
	at := map[mail.Address]int{}
	var out []mail.Recipient
	for _, r := range rcpts {
		if i, ok := at[r.Address]; ok {
			out[i].Notify |= r.Notify
			continue
		}
		at[r.Address] = len(out)
		out = append(out, r)
	}
	return out
}
