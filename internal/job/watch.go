package job

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"pli/internal/obs"
	"pli/internal/pg"
	"pli/migrations"
)

// A process that dies leaves its jobs marked as running. River gives them back after
// RescueStuckJobsAfter, which must be longer than the longest job; a letter cannot
// wait that long. So each process holds an advisory lock under its own name while it
// works, on a connection of its own, and each gives back the jobs of names that hold
// none. After a restart of the database everybody has lost its lock: nobody gives
// anything back before having held its own for a while.
const (
	lockClass  = 0x6a6f62 // "job"
	watchEvery = 2 * time.Second
	patience   = 4 * time.Second
)

const sqlHold = `SELECT pg_try_advisory_lock($1::int, hashtext($2))`

// sqlGiveBack returns the jobs of dead processes. One that was the job's last attempt
// is left to river, which parks it: it may be what killed the process.
const sqlGiveBack = `UPDATE ` + migrations.JobSchema + `.river_job j
	SET state = 'available', scheduled_at = now()
	WHERE j.state = 'running' AND j.attempt < j.max_attempts
	AND j.attempted_at < now() - make_interval(secs => $2)
	AND NOT EXISTS (SELECT 1 FROM pg_locks l
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = $1::int::oid
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.objid = hashtext(j.attempted_by[array_upper(j.attempted_by, 1)])::oid)`

// sqlMine finds jobs that the row says we run.
const sqlMine = `SELECT id FROM ` + migrations.JobSchema + `.river_job
	WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1
	AND attempted_at < now() - make_interval(secs => $2)`

const sqlGiveBackOne = `UPDATE ` + migrations.JobSchema + `.river_job
	SET state = 'available', scheduled_at = now()
	WHERE id = $1 AND state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $2`

// watch holds our lock and gives back what dead processes left, until ctx is done. It
// closes held when the lock is ours for the first time.
func (q *Queue) watch(ctx context.Context, r *run, held chan struct{}) {
	for first := true; ctx.Err() == nil; {
		conn, err := q.db.Pool().Acquire(ctx)
		if err == nil {
			if err = hold(ctx, conn, r.client); err == nil {
				if first {
					close(held)
					first = false
				}
				err = q.rounds(ctx, conn, r)
			}
			drop(conn)
		}
		if ctx.Err() == nil {
			r.log.LogAttrs(ctx, slog.LevelWarn, "job watch lost its connection",
				slog.String("error", obs.ErrorText(pg.Error("job.watch", err))))
			pause(ctx, 500*time.Millisecond)
		}
	}
}

func hold(ctx context.Context, conn *pgxpool.Conn, client string) error {
	for {
		var ours bool
		if err := conn.QueryRow(ctx, sqlHold, lockClass, client).Scan(&ours); err != nil {
			return err
		}
		if ours {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil { // the server still buries our former connection
			return err
		}
	}
}

// drop closes the connection rather than lending it on with our lock.
func drop(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Hijack().Close(ctx)
}

// rounds gives back every so often; it returns when the connection fails or ctx ends.
func (q *Queue) rounds(ctx context.Context, conn *pgxpool.Conn, r *run) error {
	heldSince := time.Now()
	for {
		if err := pause(ctx, watchEvery); err != nil {
			return err
		}
		if time.Since(heldSince) < patience {
			if err := conn.Ping(ctx); err != nil {
				return err
			}
			continue
		}
		tag, err := conn.Exec(ctx, sqlGiveBack, lockClass, patience.Seconds())
		if err != nil {
			return err
		}
		mine, err := giveBackMine(ctx, conn, r)
		if err != nil {
			return err
		}
		if n := tag.RowsAffected() + mine; n > 0 {
			r.log.LogAttrs(ctx, slog.LevelWarn, "jobs given back", slog.Int64("jobs", n), slog.Int64("ours", mine))
		}
	}
}

// giveBackMine returns jobs that we ended, or never began, without the row saying so:
// the database was away at that moment for longer than the library insists.
func giveBackMine(ctx context.Context, conn *pgxpool.Conn, r *run) (n int64, err error) {
	rows, err := conn.Query(ctx, sqlMine, r.client, justEnded.Seconds())
	if err != nil {
		return 0, err
	}
	jobs, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, err
	}
	for _, job := range jobs {
		if r.holds(job) {
			continue
		}
		tag, err := conn.Exec(ctx, sqlGiveBackOne, job, r.client)
		if err != nil {
			return n, err
		}
		n += tag.RowsAffected()
	}
	return n, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
