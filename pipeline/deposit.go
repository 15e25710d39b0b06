package pipeline

import (
	"context"
	"encoding/json"
	"time"

	"pli/dossier"
	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/wake"
	"pli/mail"
	"pli/mailstore"
	"pli/outbound"
	"pli/policy"
	"pli/seal"
)

// plan is what one transaction writes once every recipient has been decided. It is
// made before, since nothing but the database may be touched inside (pg.DB.InTx).
type plan struct {
	taken     []*letter // what the plan deposits; settle forgets their keys
	questions []policy.Question
	letters   []mailstore.Letter
	places    []place
	items     []item
	missing   bool // a recipient of ours was not found when the plan was made
	acted     bool // the transaction came to its commit: what became of it may be unknown
	placed    []mailstore.Placed
	fresh     int // recipients away that were queued
	repeated  int // recipients away that were queued before
}

// place is one deposit and what follows from it.
type place struct {
	mailstore.Deposit
	own       bool // the sender's copy, or a report: not a recipient of the message
	ingest    *dossier.Ingestion
	exchanges []exchange
}

// item is what leaves for one domain. keys, one per recipient, recognise repeats; nil
// when there are none. own: a report, not the message itself.
type item struct {
	outbound.Item
	own  bool
	keys [][]byte
}

// exchange is a change in who may answer whom.
type exchange struct {
	peer   mail.Address
	sealed []byte
	ends   bool
}

// add makes l one of the letters that the plan deposits.
func (pl *plan) add(l *letter) error {
	pl.taken = append(pl.taken, l)
	row, err := l.row()
	pl.letters = append(pl.letters, row)
	return err
}

// carryOut decides, traces and writes, all or nothing.
//
// Errors: those of the gate, fault.Quota, fault.Unavailable and those of the rooms.
func (p *Pipeline) carryOut(ctx context.Context, pl *plan) error {
	if len(pl.questions) == 0 {
		return fault.New(fault.Invalid, "pipeline.carryOut", "no-recipient")
	}
	return p.d.Gate.Do(ctx, pl.questions, func(ctx context.Context, tx *pg.Tx, _ []policy.Decision) error {
		if pl.missing { // found by the gate, not by us: it was made in between
			return fault.New(fault.Unavailable, "pipeline.carryOut", "recipient-just-made")
		}
		if err := p.write(ctx, tx, pl); err != nil {
			return err
		}
		pl.acted = true
		return nil
	})
}

func (p *Pipeline) write(ctx context.Context, tx *pg.Tx, pl *plan) (err error) {
	for _, l := range pl.letters {
		if err := p.d.Mail.InsertLetterTx(ctx, tx, l); err != nil {
			return err
		}
	}
	deposits := make([]mailstore.Deposit, len(pl.places))
	for i, pc := range pl.places {
		deposits[i] = pc.Deposit
	}
	if pl.placed, err = p.d.Mail.DepositAllTx(ctx, tx, deposits); err != nil {
		return err
	}
	for i, pc := range pl.places {
		if pl.placed[i].Duplicate {
			continue
		}
		if err := p.follow(ctx, tx, pc, pl.placed[i]); err != nil {
			return err
		}
	}
	pl.fresh, pl.repeated = 0, 0
	for _, it := range pl.items {
		if err := p.queue(ctx, tx, pl, it); err != nil {
			return err
		}
	}
	tx.AfterCommit(func(ctx context.Context) { p.wakeAll(ctx, pl) })
	return nil
}

// follow writes what a deposit entails: the document job, the exchanges.
func (p *Pipeline) follow(ctx context.Context, tx *pg.Tx, pc place, at mailstore.Placed) error {
	for _, x := range pc.exchanges {
		change := p.d.Consent.OpenTx
		if x.ends {
			change = p.d.Consent.EndTx
		}
		if err := change(ctx, tx, pc.BAL, x.peer, x.sealed, pc.ReceivedAt); err != nil {
			return err
		}
	}
	if pc.ingest == nil {
		return nil
	}
	in := *pc.ingest
	in.Mailbox, in.UID = at.Mailbox, int64(at.UID)
	if err := p.d.Dossier.InsertIngestionTx(ctx, tx, in); err != nil {
		return err
	}
	return p.d.Jobs.EnqueueTx(ctx, tx, IngestJob{Letter: in.Letter, BAL: in.BAL})
}

// leavesAgain is for how long the same message of the same sender to the same recipient
// away is a second try of a mail program that lost our answer. After that it is meant:
// the first may have come back.
const leavesAgain = 15 * time.Minute

// queue hands an item to outbound, without the recipients it was queued for before.
func (p *Pipeline) queue(ctx context.Context, tx *pg.Tx, pl *plan, it item) error {
	if it.keys != nil {
		fresh, err := p.d.Mail.FreshTx(ctx, tx, it.Sender, it.keys, it.At, leavesAgain)
		if err != nil {
			return err
		}
		var left []outbound.ItemRecipient
		for i, r := range it.Recipients {
			if fresh[i] {
				left = append(left, r)
			}
		}
		pl.repeated += len(it.Recipients) - len(left)
		if it.Recipients = left; len(left) == 0 {
			return nil
		}
	}
	if !it.own {
		pl.fresh += len(it.Recipients)
	}
	return p.d.Outbound.EnqueueTx(ctx, tx, it.Item)
}

// wakeAll tells the sessions of each BAL that got something.
func (p *Pipeline) wakeAll(ctx context.Context, pl *plan) {
	if p.d.Wake == nil {
		return
	}
	woken := map[id.BAL]bool{}
	for i, pc := range pl.places {
		if !pl.placed[i].Duplicate && !woken[pc.BAL] {
			woken[pc.BAL] = true
			p.d.Wake.Wake(ctx, wake.BAL(pc.BAL))
		}
	}
}

// settle ends a walk: it carries the plan out, unless making it failed with err, and
// forgets the letters' keys. The blob of a letter that nobody got is deleted at once
// when that is sure, and left to the sweeper when the database may have committed
// without our knowing.
func (p *Pipeline) settle(ctx context.Context, pl *plan, err error, carry func(context.Context, *plan) error) error {
	if err == nil {
		err = carry(ctx, pl)
	}
	for _, l := range pl.taken {
		l.close()
		if err != nil && !pl.acted {
			p.discard(ctx, l)
		}
	}
	return err
}

func (p *Pipeline) discard(ctx context.Context, l *letter) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := p.d.Blobs.Delete(ctx, l.id); err != nil {
		p.d.Log.WarnContext(ctx, "blob left to the sweeper", "letter", l.id.String(), "error", err)
	}
}

// receipt counts what became of the recipients of the first letter.
func (pl *plan) receipt() Receipt {
	r := Receipt{Letter: pl.taken[0].id, Remote: pl.fresh, Duplicates: pl.repeated}
	for i, pc := range pl.places {
		switch {
		case pc.own:
		case pl.placed[i].Duplicate:
			r.Duplicates++
		default:
			r.Local++
		}
	}
	return r
}

// placeFor prepares a deposit of l for one BAL of ours.
func (p *Pipeline) placeFor(ctx context.Context, l *letter, b box, role mail.Role) (place, error) {
	public, err := p.d.Seal.Public(ctx, b.holder)
	if err != nil {
		return place{}, err
	}
	packet, err := l.key.PacketFor(public)
	if err != nil {
		return place{}, err
	}
	return place{Deposit: mailstore.Deposit{
		BAL: b.id, Role: role, Letter: l.id, Generation: packet.Generation, Packet: packet.Bytes, Size: l.size,
		QuotaSize: b.quota, MessageIDKey: p.messageIDKey(b.id, l.fields.MessageID()), ThreadKey: p.threadKey(b.id, l),
		ReceivedAt: l.at,
	}}, nil
}

// ingestion prepares the document job for one deposit.
func (p *Pipeline) ingestion(ctx context.Context, l *letter, bal id.BAL) (*dossier.Ingestion, error) {
	packet, err := p.housePacket(ctx, l, seal.PurposeIngest)
	if err != nil {
		return nil, err
	}
	reverse, err := l.key.SealValue([]byte(l.reverse.Reveal()))
	if err != nil {
		return nil, err
	}
	return &dossier.Ingestion{
		Letter: l.id, BAL: bal, Generation: packet.Generation, Packet: packet.Bytes, ReversePath: reverse,
	}, nil
}

func (p *Pipeline) housePacket(ctx context.Context, l *letter, purpose seal.Purpose) (seal.Packet, error) {
	holder, err := p.d.Seal.House(ctx, purpose)
	if err != nil {
		return seal.Packet{}, err
	}
	public, err := p.d.Seal.Public(ctx, holder)
	if err != nil {
		return seal.Packet{}, err
	}
	return l.key.PacketFor(public)
}

// itemsFor prepares what leaves: one item per domain, in the order of the recipients.
// sender is zero for a notice of the house.
func (p *Pipeline) itemsFor(ctx context.Context, l *letter, sender id.BAL, env mail.Envelope, away []mail.Recipient) ([]item, error) {
	if len(away) == 0 {
		return nil, nil
	}
	packet, err := p.housePacket(ctx, l, seal.PurposeRelay)
	if err != nil {
		return nil, err
	}
	var items []item
	at := map[string]int{}
	for _, rcpt := range away {
		domain := rcpt.Address.Domain()
		i, ok := at[domain]
		if !ok {
			i = len(items)
			at[domain] = i
			it, err := l.item(packet, sender, domain, env)
			if err != nil {
				return nil, err
			}
			items = append(items, item{Item: it})
		}
		if err := p.addRecipient(l, &items[i], rcpt); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func (l *letter) item(packet seal.Packet, sender id.BAL, domain string, env mail.Envelope) (outbound.Item, error) {
	it := outbound.Item{
		Letter: l.id, Generation: packet.Generation, Packet: packet.Bytes, Sender: sender,
		Domain: domain, Full: env.Return == mail.ReturnFull, Size: l.size, At: l.at,
	}
	var err error
	if it.ReversePath, err = l.key.SealValue([]byte(env.ReversePath.Reveal())); err != nil {
		return it, err
	}
	it.EnvelopeID, err = l.sealText(env.EnvelopeID)
	return it, err
}

func (p *Pipeline) addRecipient(l *letter, it *item, rcpt mail.Recipient) (err error) {
	r := outbound.ItemRecipient{Notify: rcpt.Notify}
	if r.Address, err = l.key.SealValue([]byte(rcpt.Address.Reveal())); err != nil {
		return err
	}
	if r.Original, err = l.sealText(rcpt.Original); err != nil {
		return err
	}
	it.Recipients = append(it.Recipients, r)
	if key := p.contentKey(l, "away", rcpt.Address.Reveal()); key != nil && it.Sender != 0 {
		it.keys = append(it.keys, key)
	}
	return nil
}

// sealText seals a text with the letter's key; nil for an empty one.
func (l *letter) sealText(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return l.key.SealValue([]byte(s))
}

// Correspondent is somebody a patient may answer, as kept sealed for the patient's
// holder in an exchange (consent.Exchange.PeerSealed).
type Correspondent struct {
	Address string `json:"address"`
	Name    string `json:"name,omitempty"`
}

func (Correspondent) String() string   { return "[correspondent]" }
func (Correspondent) GoString() string { return "[correspondent]" }

// ReadCorrespondent reads an exchange's peer once opened. Errors: fault.Corrupt.
func ReadCorrespondent(b []byte) (Correspondent, error) {
	var c Correspondent
	if json.Unmarshal(b, &c) != nil {
		return c, fault.New(fault.Corrupt, "pipeline.ReadCorrespondent", "shape")
	}
	return c, nil
}

// maxPeers bounds the correspondents that one message may open.
const maxPeers = 10

// exchangesFor says how a message from a professional changes who the patient may
// answer (mssante.md §6.3 rules 1 and 3): its Reply-To, else its From, is opened; an
// ending message ends both, the Reply-To of its author's own domain only: nobody ends
// what is between a patient and another's people.
func (p *Pipeline) exchangesFor(ctx context.Context, l *letter, patient box) ([]exchange, error) {
	from := l.fields.From()
	if len(from) == 0 || l.reverse.IsZero() || l.outline.IsReport() {
		return nil, nil // a notice opens nothing
	}
	ends := l.fields.EndsExchange()
	peers := l.fields.ReplyTo()
	if len(peers) == 0 || ends {
		peers = append(peers, from[0])
	}
	var out []exchange
	for _, person := range peers[:min(len(peers), maxPeers)] {
		address := person.Mail()
		if address.IsZero() || p.d.Directory.ForPatients(address.Domain()) ||
			ends && address.Domain() != from[0].Mail().Domain() {
			continue
		}
		name := person.Name
		if name == "" {
			name = from[0].Name
		}
		b, err := json.Marshal(Correspondent{Address: address.Reveal(), Name: name})
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "pipeline.exchangesFor", "json", err)
		}
		sealed, err := p.d.Seal.SealFor(ctx, patient.holder, b)
		if err != nil {
			return nil, err
		}
		out = append(out, exchange{peer: address, sealed: sealed, ends: ends})
	}
	return out, nil
}
