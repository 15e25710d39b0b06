package outbound

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"pli/mail"
)

// tell makes the reports that are due: ends first, then delays, one report for all the
// recipients of the same fate. A report is marked once the notices have it.
func (q *Queue) tell(ctx context.Context, it *item, env *envelope, l Letter) error {
	if env.from.IsZero() {
		return nil
	}
	now := q.d.Now()
	fates := map[Action][]int{}
	for i, r := range it.recipients {
		switch {
		case r.state == string(failed) && !r.endTold:
			fates[Failed] = append(fates[Failed], i)
		case r.state == string(delivered) && !r.endTold:
			fates[Relayed] = append(fates[Relayed], i)
		case r.state == string(queued) && !r.delayTold && r.triedAt != nil && now.Sub(it.queuedAt) >= q.cfg.DelayAfter && r.notify.Wants(mail.NotifyDelay):
			fates[Delayed] = append(fates[Delayed], i)
		}
	}
	for _, action := range []Action{Failed, Relayed, Delayed} {
		if err := q.report(ctx, it, env, l, action, fates[action]); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) report(ctx context.Context, it *item, env *envelope, l Letter, action Action, which []int) error {
	if len(which) == 0 {
		return nil
	}
	r := Report{
		Action: action, Letter: it.letter, Sender: it.sender, To: env.from, EnvelopeID: env.id, Full: env.full,
		QueuedAt: it.queuedAt, At: q.d.Now(),
		Original: func(ctx context.Context) (io.ReadCloser, error) { return l.Content(ctx) },
	}
	if action == Delayed {
		r.RetryAt, r.GiveUpAt = it.nextAt, it.expiresAt
	}
	var ns []int
	for _, i := range which {
		rec := it.recipients[i]
		text, err := l.OpenValue(rec.text)
		if err != nil {
			return err
		}
		r.Recipients = append(r.Recipients, ReportRecipient{Final: env.recipients[i].address, Original: env.recipients[i].original,
			Status: status(action, rec.enhanced), Diagnostic: diagnostic(rec.code, rec.enhanced, string(text)), RemoteMTA: rec.mta, LastTryAt: timeOf(rec.triedAt)})
		ns = append(ns, rec.n)
	}
	// All are in the ID: a report made again with one more is another.
	r.ID = fmt.Sprintf("%s.%d.%s.%v", it.letter, it.id, action, ns)
	if err := q.d.Notices.DSN(ctx, r); err != nil {
		return err
	}
	mark := sqlEndTold
	if action == Delayed {
		mark = sqlDelayTold
	}
	_, err := q.d.DB.Exec(ctx, mark, it.id, ns)
	return err
}

// status is the Status field (RFC 3464 §2.3.4): its class agrees with the action.
func status(action Action, enhanced string) string {
	class := map[Action]string{Failed: "5", Delayed: "4", Relayed: "2"}[action]
	if strings.HasPrefix(enhanced, class+".") {
		return enhanced
	}
	return class + ".0.0"
}

// diagnostic writes a reply as the peer gave it; ours, given by no peer, has no code.
func diagnostic(code int, enhanced, text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if code == 0 {
		return text
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", code, enhanced, text))
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
