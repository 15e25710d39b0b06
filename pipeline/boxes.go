package pipeline

import (
	"context"
	"sync"
	"time"

	"pli/directory"
	"pli/health"
	"pli/internal/id"
	"pli/mail"
)

// box is what the walk needs of a BAL to seal and place a message. None of it decides
// anything, and all of it stays true: an address is never given to another BAL
// (mssante.md §3.4). Whether the BAL may receive is asked of the gate, every time.
type box struct {
	id     id.BAL
	kind   health.BALKind
	holder id.Holder
	quota  int64 // octets; 0 is no bound
}

// boxes remembers the BAL met lately, so that RCPT and DATA do not ask twice.
type boxes struct {
	mu sync.Mutex
	by map[mail.Address]keptBox
}

type keptBox struct {
	box
	until time.Time
}

const (
	boxTTL   = 30 * time.Second // a new quota counts after that
	maxBoxes = 10_000
)

func (b *boxes) get(a mail.Address, now time.Time) (box, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, ok := b.by[a]
	return k.box, ok && now.Before(k.until)
}

func (b *boxes) put(a mail.Address, x box, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by == nil || len(b.by) >= maxBoxes {
		b.by = map[mail.Address]keptBox{}
	}
	b.by[a] = keptBox{x, now.Add(boxTTL)}
}

// findBoxes finds the BAL of addresses of ours, in one query for those not known; those
// that do not exist are absent.
func (p *Pipeline) findBoxes(ctx context.Context, as ...mail.Address) (map[mail.Address]box, error) {
	now := p.now()
	found := make(map[mail.Address]box, len(as))
	var asked []mail.Address
	for _, a := range as {
		if x, ok := p.boxes.get(a, now); ok {
			found[a] = x
		} else {
			asked = append(asked, a)
		}
	}
	if len(asked) == 0 {
		return found, nil
	}
	rows, err := p.d.Directory.FindMany(ctx, p.d.DB, asked)
	if err != nil {
		return nil, err
	}
	for a, row := range rows {
		found[a] = p.boxOf(row)
		p.boxes.put(a, found[a], now)
	}
	return found, nil
}

// boxByID finds a BAL of ours by its number.
func (p *Pipeline) boxByID(ctx context.Context, b id.BAL) (box, mail.Address, error) {
	row, err := p.d.Directory.ByID(ctx, p.d.DB, b)
	if err != nil {
		return box{}, mail.Address{}, err
	}
	return p.boxOf(row), row.Address, nil
}

func (p *Pipeline) boxOf(row directory.BAL) box {
	x := box{id: row.ID, kind: row.Kind, holder: row.Holder, quota: row.QuotaSize}
	if x.quota == 0 {
		x.quota = p.d.Config.QuotaSize
	}
	return x
}
