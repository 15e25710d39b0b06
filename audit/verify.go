package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/jackc/pgx/v5"

	"pli/internal/pg"
)

// Fault is one place where a chain does not hold.
type Fault struct {
	Chain string
	Seq   int64  // the first trace concerned
	What  string // constant words
}

// What a fault says.
const (
	Altered  = "altered"             // a field, the order or the MAC is not what was written
	Missing  = "missing"             // traces from here to the next are gone
	CutOff   = "cut off"             // the newest traces are gone
	BadHead  = "head does not match" // the chain ends elsewhere than its head says
	NoHead   = "head is missing"     // traces of a chain that has none
	mostKept = 1000                  // faults reported; more would tell nothing new
)

// Report is what Verify found. Digest is a hash of where every chain ends: kept outside
// the house, it shows later that nothing was put back to an earlier state.
type Report struct {
	Chains, Traces int
	Faults         []Fault
	Digest         string
}

const (
	sqlChains = `SELECT id, seq, mac FROM trace_chain WHERE id > $1 ORDER BY id LIMIT 500`
	sqlWalk   = `SELECT chain, seq, at, actor, action, object, effect, rules, rulebook, means, mac
		FROM trace WHERE chain = ANY($1) ORDER BY chain, seq`
	sqlOrphans = `SELECT chain, min(seq) FROM trace t
		WHERE NOT EXISTS (SELECT 1 FROM trace_chain c WHERE c.id = t.chain) GROUP BY chain ORDER BY chain LIMIT 1000`
)

// Verify walks every chain as it stood at one instant, beside a working house. Memory
// does not depend on how many traces there are; a million take some seconds.
func (l *Log) Verify(ctx context.Context) (Report, error) {
	const op = "audit.Verify"
	v := &verifier{log: l, digest: sha256.New()}
	tx, err := l.db.Pool().BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Report{}, pg.Error(op, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	for last := ""; ; {
		heads, err := collect[head](ctx, tx, sqlChains, last)
		if err != nil {
			return v.report, pg.Error(op, err)
		}
		if len(heads) == 0 {
			break
		}
		if err := v.walk(ctx, tx, heads); err != nil {
			return v.report, pg.Error(op, err)
		}
		last = heads[len(heads)-1].Chain
	}
	type orphan struct {
		Chain string
		Seq   int64
	}
	orphans, err := collect[orphan](ctx, tx, sqlOrphans)
	if err != nil {
		return v.report, pg.Error(op, err)
	}
	for _, o := range orphans {
		v.fault(o.Chain, o.Seq, NoHead)
	}
	v.report.Digest = hex.EncodeToString(v.digest.Sum(nil))
	return v.report, nil
}

func collect[T any](ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

type verifier struct {
	log    *Log
	report Report
	digest hash.Hash
}

func (v *verifier) fault(chain string, seq int64, what string) {
	if len(v.report.Faults) < mostKept {
		v.report.Faults = append(v.report.Faults, Fault{chain, seq, what})
	}
}

// walk checks the traces of some chains against each other and against their heads.
func (v *verifier) walk(ctx context.Context, tx pgx.Tx, heads []head) error {
	chains := make([]string, len(heads))
	ends := map[string]*head{} // as the traces tell
	for i, h := range heads {
		chains[i] = h.Chain
		ends[h.Chain] = &head{Chain: h.Chain}
	}
	rows, err := tx.Query(ctx, sqlWalk, chains)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r, mac, err := scan(rows)
		if err != nil {
			return err
		}
		v.step(ends[r.Chain], r, mac)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, h := range heads {
		v.end(h, ends[h.Chain])
	}
	return nil
}

// step checks one trace against the one before.
func (v *verifier) step(end *head, r Row, mac []byte) {
	v.report.Traces++
	switch {
	case r.Seq > end.Seq+1:
		// What the first trace after a hole is bound to is gone: it cannot be checked.
		v.fault(r.Chain, end.Seq+1, Missing)
	case r.Seq < 1 || !hmac.Equal(mac, v.log.mac(r, end.MAC)):
		v.fault(r.Chain, r.Seq, Altered)
	}
	end.Seq, end.MAC = r.Seq, mac
}

// end compares where a chain's traces end with its head.
func (v *verifier) end(h head, end *head) {
	v.report.Chains++
	switch {
	case end.Seq < h.Seq:
		v.fault(h.Chain, end.Seq+1, CutOff)
	case end.Seq > h.Seq || !hmac.Equal(end.MAC, h.MAC):
		v.fault(h.Chain, end.Seq, BadHead)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(h.Chain)))
	b = append(b, h.Chain...)
	b = binary.BigEndian.AppendUint64(b, uint64(end.Seq))
	v.digest.Write(append(b, end.MAC...))
}
