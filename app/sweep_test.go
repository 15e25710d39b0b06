package app

import (
	"log/slog"
	"testing"
	"time"

	"pli/identity"
	"pli/internal/blob"
	"pli/internal/pgtest"
	"pli/mailstore"
)

// Sessions that had ended were kept for ever: nobody called their room's sweep.
func TestSweepForgetsEndedSessions(t *testing.T) {
	db := pgtest.DB(t)
	blobs, err := blob.OpenFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &House{Rooms: &Rooms{DB: db, Blobs: blobs, Mail: mailstore.New(db, nil), now: time.Now, log: slog.New(slog.DiscardHandler),
		Identity: identity.New(identity.Deps{DB: db, Now: time.Now})}}
	const old = `WITH a AS (INSERT INTO account (kind) VALUES ('patient') RETURNING id)
		INSERT INTO web_session (token_mac, account_id, level, expires_at)
		SELECT n::text::bytea, a.id, 'two-factor', now() + make_interval(days => n) FROM a, unnest(ARRAY[-2, 2]) n`
	if _, err := db.Exec(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if err := h.sweep(t.Context(), sweep{}); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM web_session`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d sessions left, %v", n, err)
	}
}
