package outbound

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/job"
	"pli/internal/pg"
	"pli/mail"
)

// relayJob is one item's walk, from its first attempt to its last report.
type relayJob struct {
	Outbound int64 `json:"outbound"`
}

func (relayJob) Kind() string { return "outbound.relay" }

// sweepJob looks for items whose job was lost, and forgets old ones.
type sweepJob struct{}

func (sweepJob) Kind() string { return "outbound.sweep" }

const (
	attemptTimeout = 45 * time.Minute // of one job: a large message over a slow line
	leaseTime      = 15 * time.Second
	leaseRenew     = 5 * time.Second
	sweepEvery     = 5 * time.Minute
	stuckAfter     = 10 * time.Minute
	forgetAfter    = 7 * 24 * time.Hour
)

// Handle tells the workers how to run the queue's jobs.
func (q *Queue) Handle(w *job.Workers) {
	job.Handle(w, attemptTimeout, q.run)
	job.Handle(w, time.Minute, q.sweep)
	w.Every(sweepJob{}, sweepEvery)
}

// run takes one item as far as it goes now: attempt what is due, write what came of it,
// report, finish. Every step may be repeated: a crash between the peer's 250 and our
// commit sends again, which the peer recognises; one between a report and its mark
// reports again under the same ID.
func (q *Queue) run(ctx context.Context, j relayJob) error {
	const op = "outbound.run"
	it, wait, err := q.claim(ctx, j.Outbound)
	switch {
	case err != nil:
		return pg.Error(op, err)
	case it == nil && wait == 0:
		return nil // done
	case it == nil:
		return job.Again(wait)
	}
	ctx, release := q.lease(ctx, it.id)
	defer release()
	letter, err := q.d.Letters.Open(ctx, it.letter, it.generation, it.packet)
	if err != nil {
		return fault.Wrap(fault.KindOf(err), op, "letter", err)
	}
	defer letter.Close()
	env, err := open(it, letter)
	if err != nil {
		return fault.Wrap(fault.Corrupt, op, "envelope", err)
	}
	if err := q.attempt(ctx, it, env, letter); err != nil {
		return pg.Error(op, err)
	}
	if err := q.tell(ctx, it, env, letter); err != nil {
		return fault.Wrap(fault.KindOf(err), op, "report", err)
	}
	return q.finish(ctx, it)
}

// claim takes an item in hand; nil and a pause when another has it or it is not due,
// nil and zero when it is done.
func (q *Queue) claim(ctx context.Context, n int64) (*item, time.Duration, error) {
	now := q.d.Now()
	it := &item{id: n}
	err := q.d.DB.QueryRow(ctx, sqlClaim, n, now, leaseTime).Scan(&it.letter, &it.packet, &it.generation, &it.sender, &it.domain,
		&it.reversePath, &it.envelopeID, &it.full, &it.size, &it.queuedAt, &it.expiresAt, &it.nextAt, &it.attempts)
	if errors.Is(err, pgx.ErrNoRows) {
		var done bool
		err := q.d.DB.QueryRow(ctx, sqlIsDone, n).Scan(&done)
		if errors.Is(err, pgx.ErrNoRows) || done {
			return nil, 0, nil
		}
		return nil, leaseRenew, err
	}
	if err != nil {
		return nil, 0, err
	}
	it.recipients, err = q.recipients(ctx, n)
	return it, 0, err
}

// lease keeps an item in hand until release, and ends ctx when it cannot.
func (q *Queue) lease(ctx context.Context, n int64) (held context.Context, release func()) {
	held, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(leaseRenew)
		defer tick.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-tick.C:
				if _, err := q.d.DB.Exec(held, sqlRenew, n, q.d.Now(), leaseTime); err != nil && held.Err() == nil {
					cancel() // the database is away: another may take the item
					return
				}
			}
		}
	}()
	return held, func() {
		cancel()
		<-done
		last, end := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer end()
		_, _ = q.d.DB.Exec(last, sqlRelease, n) // best effort: the lease ends by itself
	}
}

// envelope is an item's words, opened.
type envelope struct {
	from       mail.Address // zero is <>
	id         string
	full       bool
	recipients []forwardPath // beside item.recipients
}

type forwardPath struct {
	address  mail.Address
	original string
}

func open(it *item, l Letter) (*envelope, error) {
	text := func(sealed []byte) (string, error) {
		if len(sealed) == 0 {
			return "", nil
		}
		b, err := l.OpenValue(sealed)
		return string(b), err
	}
	address := func(sealed []byte) (mail.Address, error) {
		s, err := text(sealed)
		if err != nil || s == "" {
			return mail.Address{}, err
		}
		return mail.ParseAddress(s)
	}
	env := &envelope{full: it.full}
	var err error
	if env.from, err = address(it.reversePath); err != nil {
		return nil, err
	}
	if env.id, err = text(it.envelopeID); err != nil {
		return nil, err
	}
	for _, r := range it.recipients {
		var p forwardPath
		if p.address, err = address(r.address); err != nil {
			return nil, err
		}
		if p.original, err = text(r.original); err != nil {
			return nil, err
		}
		env.recipients = append(env.recipients, p)
	}
	return env, nil
}

// attempt tries the recipients that wait, when it is time, and writes what came of it.
func (q *Queue) attempt(ctx context.Context, it *item, env *envelope, l Letter) error {
	now := q.d.Now()
	var waiting []int
	for i, r := range it.recipients {
		if r.state == "queued" {
			waiting = append(waiting, i)
		}
	}
	if len(waiting) == 0 || now.Before(it.nextAt) {
		return nil
	}
	results := make([]result, 0, len(waiting))
	if now.Before(it.expiresAt) {
		start := time.Now()
		results = q.relay(ctx, it, env, l, waiting)
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), q.keepDelivered(ctx, it, env, l, waiting, results))
		}
		q.observe(it, results, time.Since(start))
	} else {
		for _, i := range waiting {
			results = append(results, expired(&it.recipients[i], l))
		}
		q.observe(it, results, 0)
	}
	return q.settle(ctx, it, env, l, waiting, results)
}

// keepDelivered writes what an attempt had delivered when we were stopped or lost the
// lease: the peer has it, and it must not go out again. The rest is no attempt.
func (q *Queue) keepDelivered(ctx context.Context, it *item, env *envelope, l Letter, waiting []int, results []result) error {
	var taken []int
	var kept []result
	for k, r := range results {
		if r.state == delivered {
			taken, kept = append(taken, waiting[k]), append(kept, r)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return q.settle(ctx, it, env, l, taken, kept)
}

// expired gives up on a recipient: the last reply says why, where it says something the
// sender can act upon (ux.md §6.6); else 5.4.7.
func expired(r *recipient, l Letter) result {
	out := result{state: failed, code: r.code, enhanced: "5.4.7", mta: r.mta, text: "delai de remise depasse / delivery time expired"}
	switch r.enhanced {
	case "4.7.10":
		out.enhanced = "5.7.10"
	case "4.2.2":
		out.enhanced = "5.2.2"
	}
	if b, err := l.OpenValue(r.text); len(r.text) > 0 && err == nil {
		out.text = string(b)
	}
	return out
}

// settle writes the results of one attempt and when the next one is.
func (q *Queue) settle(ctx context.Context, it *item, env *envelope, l Letter, waiting []int, results []result) error {
	now := q.d.Now().UTC().Truncate(time.Microsecond)
	texts := make([][]byte, len(results))
	soon, progress := false, false // what makes no progress waits, or it would go on for ever
	for k, r := range results {
		var err error
		if texts[k], err = l.SealValue([]byte(r.text)); err != nil {
			return err
		}
		soon, progress = soon || r.soon, progress || r.state != queued
	}
	next := now.Add(q.pause(it.attempts + 1))
	if soon && progress {
		next = now
	}
	if next.After(it.expiresAt) {
		next = it.expiresAt
	}
	err := q.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		b := &pgx.Batch{}
		for k, i := range waiting {
			r := results[k]
			b.Queue(sqlSettleRecipient, it.id, it.recipients[i].n, string(r.state), now, nothingToTell(env, it.recipients[i], r),
				r.code, r.enhanced, texts[k], r.mta)
		}
		b.Queue(sqlSettle, it.id, next)
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return err
	}
	for k, i := range waiting {
		r, rec := results[k], &it.recipients[i]
		rec.state, rec.triedAt, rec.endTold = string(r.state), &now, nothingToTell(env, *rec, r)
		rec.code, rec.enhanced, rec.text, rec.mta = r.code, r.enhanced, texts[k], r.mta
	}
	it.nextAt = next
	return nil
}

// nothingToTell reports whether a recipient's end needs no report: nobody to tell
// (RFC 5321 §4.5.5), not asked for, or the peer tells (RFC 3461 §5.2.2).
func nothingToTell(env *envelope, rec recipient, r result) bool {
	switch {
	case r.state == queued:
		return false
	case env.from.IsZero():
		return true
	case r.state == delivered:
		return !rec.notify.Wants(mail.NotifySuccess) || r.peerTells
	}
	return !rec.notify.Wants(mail.NotifyFailure)
}

// pause before the attempt that follows the n-th: doubling, bounded, give or take a
// tenth so that what failed together does not come back together.
func (q *Queue) pause(n int) time.Duration {
	d := q.cfg.MaxRetry
	if n < 20 {
		d = min(d, q.cfg.FirstRetry<<(n-1))
	}
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// finish ends the item when nothing is left to do; else it comes back.
func (q *Queue) finish(ctx context.Context, it *item) error {
	tag, err := q.d.DB.Exec(ctx, sqlFinish, it.id, q.d.Now())
	if err != nil {
		return pg.Error("outbound.finish", err)
	}
	if tag.RowsAffected() == 1 {
		return nil
	}
	return job.Again(max(it.nextAt.Sub(q.d.Now()), time.Millisecond))
}

// sweep enqueues again what lost its job, and forgets what ended a week ago.
func (q *Queue) sweep(ctx context.Context, _ sweepJob) error {
	const op = "outbound.sweep"
	now := q.d.Now()
	rows, err := q.d.DB.Query(ctx, sqlStuck, now.Add(-stuckAfter))
	if err != nil {
		return pg.Error(op, err)
	}
	stuck, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return pg.Error(op, err)
	}
	return q.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		for _, n := range stuck {
			if err := q.d.Jobs.EnqueueTx(ctx, tx, relayJob{n}, job.Unique()); err != nil {
				return err
			}
		}
		for _, sql := range []string{sqlForgetRecipients, sqlForget} {
			if _, err := tx.Exec(ctx, sql, now.Add(-forgetAfter)); err != nil {
				return err
			}
		}
		return nil
	})
}
