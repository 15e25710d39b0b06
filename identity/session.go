package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

const (
	insertSession = `
INSERT INTO web_session (token_mac, account_id, level, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $4, $4, $5)`

	selectSession = `
SELECT w.account_id, a.kind, w.level, w.created_at, w.seen_at, w.expires_at,
       coalesce((SELECT min(b.bal_id) FROM account_bal b WHERE b.account_id = a.id), 0)
FROM web_session w JOIN account a ON a.id = w.account_id
WHERE w.ended_at IS NULL AND w.expires_at > $2 AND w.seen_at > $3 AND a.disabled_at IS NULL`

	findSession   = selectSession + ` AND w.token_mac = $1`
	listSessions  = selectSession + ` AND w.account_id = $1 AND w.level = 'two-factor' ORDER BY w.created_at DESC`
	touchSession  = `UPDATE web_session SET seen_at = $2 WHERE token_mac = $1 AND ended_at IS NULL AND seen_at < $2`
	endSession    = `UPDATE web_session SET ended_at = $2 WHERE token_mac = $1 AND ended_at IS NULL`
	endSessionsOf = `UPDATE web_session SET ended_at = $2 WHERE account_id = $1 AND ended_at IS NULL`
	endSessionsAt = `
UPDATE web_session SET ended_at = $2
WHERE ended_at IS NULL AND account_id IN (SELECT account_id FROM account_bal WHERE bal_id = $1)`
	sweepSessions = `DELETE FROM web_session WHERE expires_at < $1 OR ended_at < $1`
)

// How long a session lives (ux.md §7.4: 30 minutes without a move).
const (
	idleTime     = 30 * time.Minute
	fullTime     = 12 * time.Hour
	passwordTime = 10 * time.Minute // to type the second factor
	seenGrain    = time.Minute      // seen_at is written no more often
)

const tokenSize = 32 // octets

func newToken() string {
	b := make([]byte, tokenSize)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// tokenMAC is under what a token is kept; ok is false for what no token looks like.
func (s *Service) tokenMAC(token string) (mac []byte, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenSize {
		return nil, false
	}
	return s.d.Index.Key("web-session", string(b)), true
}

// start opens a session and returns its token, which is not kept.
func (s *Service) start(ctx context.Context, q pg.Querier, a id.Account, level string) (string, error) {
	token := newToken()
	mac, _ := s.tokenMAC(token)
	now := s.d.Now().UTC()
	life := fullTime
	if level == LevelPassword {
		life = passwordTime
	}
	_, err := q.Exec(ctx, insertSession, mac, a, level, now, now.Add(life))
	return token, pg.Error("identity.start", err)
}

func over(op string) error {
	return fault.New(fault.Unauthenticated, op, "session-over").Say(
		"Votre session est terminée. Reconnectez-vous.", "Your session is over. Sign in again.")
}

func scanSession(row pgx.CollectableRow) (Session, error) {
	var v Session
	err := row.Scan(&v.Account, &v.Kind, &v.Level, &v.CreatedAt, &v.SeenAt, &v.ExpiresAt, &v.BAL)
	v.CreatedAt, v.SeenAt, v.ExpiresAt = v.CreatedAt.UTC(), v.SeenAt.UTC(), v.ExpiresAt.UTC()
	return v, err
}

// find returns a living session of any level.
func (s *Service) find(ctx context.Context, op, token string) (Session, []byte, error) {
	mac, ok := s.tokenMAC(token)
	if !ok {
		return Session{}, nil, over(op)
	}
	now := s.d.Now().UTC()
	rows, err := s.d.DB.Query(ctx, findSession, mac, now, now.Add(-idleTime))
	if err != nil {
		return Session{}, nil, pg.Error(op, err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, scanSession)
	if errors.Is(err, pgx.ErrNoRows) {
		return Session{}, nil, over(op)
	}
	return v, mac, pg.Error(op, err)
}

// Session returns a living session, of either level, and marks it seen. It dies after 30
// minutes unseen and 12 hours in all.
//
// Errors: fault.Unauthenticated.
func (s *Service) Session(ctx context.Context, token string) (Session, error) {
	const op = "identity.Session"
	v, mac, err := s.find(ctx, op, token)
	if err != nil {
		return Session{}, err
	}
	if s.d.Patients != nil && v.Level == LevelTwoFactor {
		if v.Patient, err = s.d.Patients.PatientOf(ctx, s.d.DB, v.Account); err != nil {
			return Session{}, err
		}
	}
	if now := s.d.Now().UTC(); now.Sub(v.SeenAt) >= seenGrain {
		if _, err := s.d.DB.Exec(ctx, touchSession, mac, now); err != nil {
			return Session{}, pg.Error(op, err)
		}
		v.SeenAt = now
	}
	return v, nil
}

// End ends a session; one that is over already is fine.
func (s *Service) End(ctx context.Context, token string) error {
	mac, ok := s.tokenMAC(token)
	if !ok {
		return nil
	}
	_, err := s.d.DB.Exec(ctx, endSession, mac, s.d.Now().UTC())
	return pg.Error("identity.End", err)
}

// EndAll ends every session of an account.
func (s *Service) EndAll(ctx context.Context, a id.Account) error {
	_, err := s.d.DB.Exec(ctx, endSessionsOf, a, s.d.Now().UTC())
	return pg.Error("identity.EndAll", err)
}

// EndSessionsTx ends every session of the accounts that open a BAL, in the transaction
// that takes something from it: a situation that ended, a suspension. Connections by
// other doors ask again by themselves (imapd), or at each message (smtpd).
func (s *Service) EndSessionsTx(ctx context.Context, tx *pg.Tx, b id.BAL, at time.Time) error {
	_, err := tx.Exec(ctx, endSessionsAt, b, at)
	return pg.Error("identity.EndSessionsTx", err)
}

// Sessions lists the full, living sessions of an account, the newest first.
func (s *Service) Sessions(ctx context.Context, a id.Account) ([]Session, error) {
	const op = "identity.Sessions"
	now := s.d.Now().UTC()
	rows, err := s.d.DB.Query(ctx, listSessions, a, now, now.Add(-idleTime))
	if err != nil {
		return nil, pg.Error(op, err)
	}
	list, err := pgx.CollectRows(rows, scanSession)
	return list, pg.Error(op, err)
}

// Sweep deletes the rows of sessions that ended more than a day ago.
func (s *Service) Sweep(ctx context.Context) error {
	_, err := s.d.DB.Exec(ctx, sweepSessions, s.d.Now().UTC().Add(-24*time.Hour))
	return pg.Error("identity.Sweep", err)
}
