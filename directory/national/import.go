package national

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"pli/codec/extraction"
	"pli/fault"
	"pli/internal/pg"
)

// lockKey is the advisory lock that importing processes meet at.
const lockKey = 0x706c69_01

// Import brings in a published file, the ZIP or its text, and makes it what everybody
// reads. The same file again is nothing to do (Already); one that was staged and not
// published goes on from there.
//
// A file that is refused comes back with its report and an error of fault.InvalidContent
// whose code is the cause: truncated, columns, no-header, not-zip, older, empty,
// too-many-refused, too-many-gone, mass-endings… Nothing has changed then.
//
// Errors besides: fault.Invalid for an unknown dataset, fault.Conflict (import-runs, file-changed),
// fault.NotFound (no-file), those of the database.
func (im *Importer) Import(ctx context.Context, d extraction.Dataset, path string, o Options) (Report, error) {
	const op = "national.Import"
	if d != extraction.Correspondances && d != extraction.Activities {
		return Report{}, fault.New(fault.Invalid, op, "dataset")
	}
	if o.MaxLoss == 0 {
		o.MaxLoss = im.Config.MaxLoss
	}
	sum, is, err := digest(ctx, path)
	if err != nil {
		return Report{}, err
	}
	unlock, err := im.lock(ctx)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	if r, err := im.latest(ctx, d, Done); err == nil && !o.Force && string(r.SHA256) == string(sum) {
		r.Already = true
		return r, nil
	} else if err != nil && !fault.Is(err, fault.NotFound) {
		return Report{}, err
	}
	r, err := im.run(ctx, d, path, sum, is, o)
	im.tell(ctx, r, err)
	return r, err
}

func (im *Importer) run(ctx context.Context, d extraction.Dataset, path string, sum []byte, is os.FileInfo, o Options) (Report, error) {
	r, err := im.begin(ctx, d, sum, is.Size(), o)
	if err != nil {
		return r, err
	}
	err = im.steps(ctx, &r, path, is, o)
	code := cause(err)
	if code == "" {
		return r, pg.Error("national.Import", err)
	}
	r.State, r.Cause, r.FinishedAt = Refused, code, im.now()
	if err := im.keepRefused(ctx, r); err != nil {
		return r, pg.Error("national.Import", err)
	}
	return r, fault.Wrap(fault.InvalidContent, "national.Import", code, err)
}

// steps stages the file unless it is staged, then builds the part and swaps.
func (im *Importer) steps(ctx context.Context, r *Report, path string, is os.FileInfo, o Options) error {
	owner := []byte(rand.Text())
	into, err := im.resume(ctx, *r, owner)
	if err != nil {
		return err
	}
	if into == "" {
		if into, err = im.stage(ctx, r, path, is, owner, o); err != nil {
			return err
		}
	}
	debug.FreeOSMemory() // what staging remembered, before the server sorts
	im.step("staged")
	if err := im.build(ctx, into); err != nil {
		return err
	}
	im.step("built")
	return im.swap(ctx, r, owner, o)
}

// digest is the SHA-256 of a file, and what the file is. Errors: fault.NotFound.
func digest(ctx context.Context, path string) ([]byte, os.FileInfo, error) {
	const op = "national.Import"
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil, fault.New(fault.NotFound, op, "no-file")
		}
		return nil, nil, fault.New(fault.Unavailable, op, "unreadable-file") // the cause would say the path
	}
	defer f.Close()
	is, err := f.Stat()
	if err != nil {
		return nil, nil, fault.New(fault.Unavailable, op, "unreadable-file")
	}
	h := sha256.New()
	for {
		_, err := io.CopyN(h, f, 8<<20)
		switch {
		case errors.Is(err, io.EOF):
			return h.Sum(nil), is, nil
		case err != nil:
			return nil, nil, fault.New(fault.Unavailable, op, "unreadable-file")
		case ctx.Err() != nil:
			return nil, nil, fault.Wrap(fault.Timeout, op, "", ctx.Err())
		}
	}
}

// same reports whether a path still leads to the file whose sum was taken.
func same(path string, is os.FileInfo) bool {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(is, now) && now.Size() == is.Size() && now.ModTime().Equal(is.ModTime())
}

// lock lets one import run at a time in the whole house. Errors: fault.Conflict.
func (im *Importer) lock(ctx context.Context) (unlock func(), err error) {
	const op = "national.lock"
	conn, err := im.DB.Pool().Acquire(ctx)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	var got bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, lockKey).Scan(&got); err != nil {
		conn.Release()
		return nil, pg.Error(op, err)
	}
	if !got {
		conn.Release()
		return nil, fault.New(fault.Conflict, op, "import-runs")
	}
	return func() { unlock1(conn) }, nil
}

// unlock1 gives the lock back; a connection that cannot is closed, which does the same.
func unlock1(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_unlock($1)`, lockKey); err != nil {
		_ = conn.Hijack().Close(ctx)
		return
	}
	conn.Release()
}

const (
	giveUpOthers = `
UPDATE national_import SET state = 'refused', cause = 'abandoned', finished_at = $3
WHERE dataset = $1 AND state IN ('staging', 'staged') AND file_sha256 <> $2`

	findBegun = `
SELECT ` + reportColumns + ` FROM national_import
WHERE dataset = $1 AND state IN ('staging', 'staged') AND file_sha256 = $2 ORDER BY id DESC LIMIT 1`

	restart = `UPDATE national_import SET started_at = $2, forced = $3 WHERE id = $1`

	insertImport = `
INSERT INTO national_import (dataset, file_name, file_sha256, file_size, started_at, state, forced)
VALUES ($1, $2, $3, $4, $5, 'staging', $6) RETURNING id`
)

// begin finds the row of an import of this file that was cut off, or writes a new one.
// What was begun of another file of the dataset is given up.
func (im *Importer) begin(ctx context.Context, d extraction.Dataset, sum []byte, size int64, o Options) (r Report, err error) {
	now := im.now()
	err = im.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		if _, err := tx.Exec(ctx, giveUpOthers, d, sum, now); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, findBegun, d, sum)
		if err != nil {
			return err
		}
		r, err = pgx.CollectExactlyOneRow(rows, scanReport)
		if err == nil {
			r.Forced = o.Force
			if r.State == Staging {
				r = Report{ID: r.ID, Dataset: d, File: r.File, SHA256: sum, Size: size, State: Staging, Forced: o.Force}
				r.StartedAt = now
			}
			_, err = tx.Exec(ctx, restart, r.ID, r.StartedAt, r.Forced)
			return err
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		r = Report{Dataset: d, SHA256: sum, Size: size, StartedAt: now, State: Staging, Forced: o.Force}
		return tx.QueryRow(ctx, insertImport, d, "", sum, size, now, o.Force).Scan(&r.ID)
	})
	return r, pg.Error("national.begin", err)
}

const (
	takeStage = `
UPDATE national_stage s SET owner = $2 FROM national_part p
WHERE s.import_id = $1 AND s.staged AND s.edition = p.edition AND s.part <> p.part RETURNING s.part`

	claimStage = `
INSERT INTO national_stage (import_id, owner, part, edition) VALUES ($1, $2, $3, $4)
ON CONFLICT (one) DO UPDATE SET import_id = $1, owner = $2, part = $3, edition = $4, staged = false`

	ownStage = `SELECT import_id FROM national_stage WHERE owner = $1 FOR UPDATE`

	markStaged = `UPDATE national_stage SET staged = true WHERE owner = $1`

	keepStaged = `
UPDATE national_import SET state = 'staged', file_name = $2, extracted_at = $3, lines = $4, kept = $5, added = $6,
       changed = $7, gone = $8, refused = $9, repeated = $10, ours = $11
WHERE id = $1`

	// whether the last import whose file told its date had a younger one
	findYounger = `
SELECT extracted_at > $2 FROM national_import WHERE dataset = $1 AND state = 'done' AND extracted_at IS NOT NULL
ORDER BY finished_at DESC, id DESC LIMIT 1`

	selectPart = `SELECT part, edition, swapped_at FROM national_part`
)

// resume takes over what an import that was cut off had staged, and returns its part;
// "" when there is nothing to take.
func (im *Importer) resume(ctx context.Context, r Report, owner []byte) (part string, err error) {
	if r.State != Staged {
		return "", nil
	}
	err = im.DB.QueryRow(ctx, takeStage, r.ID, owner).Scan(&part)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return part, err
}

// stage reads the file into the idle part.
func (im *Importer) stage(ctx context.Context, r *Report, path string, is os.FileInfo, owner []byte, o Options) (into string, err error) {
	r.reset()
	file, err := extraction.Open(path, r.Dataset, extraction.Limits{})
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := im.name(ctx, r, file.Name, o); err != nil {
		return "", err
	}
	from, err := im.claim(ctx, r.ID, owner)
	if err != nil {
		return "", err
	}
	s := im.newStager(r, from, other(from))
	defer s.abandon()
	if err := s.open(ctx); err != nil {
		return "", err
	}
	text := &ending{r: file}
	if err := s.read(ctx, text); err != nil {
		return "", err
	}
	if text.last != '\n' && strings.HasSuffix(strings.ToLower(path), ".txt") { // a ZIP has its sum
		return "", extraction.ErrTruncated
	}
	if err := s.finish(ctx); err != nil {
		return "", err
	}
	if !same(path, is) {
		return "", fault.New(fault.Conflict, "national.stage", "file-changed")
	}
	err = s.guard(o.MaxLoss)
	if err != nil && (!o.Force || r.Kept == 0) {
		return "", errors.Join(err, im.keepRefusals(ctx, r.ID, s.refusals))
	}
	im.step("read")
	return s.into, s.keep(ctx, owner)
}

// reset forgets what was counted by a run that was cut off.
func (r *Report) reset() {
	*r = Report{ID: r.ID, Dataset: r.Dataset, SHA256: r.SHA256, Size: r.Size, StartedAt: r.StartedAt, State: Staging, Forced: r.Forced}
}

func other(part string) string {
	if part == "a" {
		return "b"
	}
	return "a"
}

// ahead is how far a file's name may be ahead of our clock. One further is not believed:
// every other file would be older than a file of next year.
const ahead = 24 * time.Hour

// name reads when the file was extracted, and refuses one older than the present one.
func (im *Importer) name(ctx context.Context, r *Report, name string, o Options) error {
	r.File = name
	if r.ExtractedAt, _ = extraction.ExtractedAt(name); r.ExtractedAt.After(im.now().Add(ahead)) {
		r.ExtractedAt = time.Time{}
	}
	if o.Force || r.ExtractedAt.IsZero() {
		return nil
	}
	var older bool
	if err := im.DB.QueryRow(ctx, findYounger, r.Dataset, r.ExtractedAt).Scan(&older); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return pg.Error("national.name", err)
	}
	if older {
		return fault.New(fault.InvalidContent, "national.name", "older")
	}
	return nil
}

// claim says that the idle part is ours to write, once nobody can read it any more: a
// question that asked which part is read before the last swap has been answered.
func (im *Importer) claim(ctx context.Context, importID int64, owner []byte) (from string, err error) {
	var edition int64
	var swapped *time.Time
	if err := im.DB.QueryRow(ctx, selectPart).Scan(&from, &edition, &swapped); err != nil {
		return "", err
	}
	if swapped != nil {
		if wait := swapped.Add(im.Config.Grace).Sub(im.Now()); wait > 0 {
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(min(wait, im.Config.Grace)):
			}
		}
	}
	_, err = im.DB.Exec(ctx, claimStage, importID, owner, other(from), edition)
	return from, err
}

// ending remembers the last octet read.
type ending struct {
	r    io.Reader
	last byte
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if n > 0 {
		e.last = p[n-1]
	}
	return n, err
}

// read walks the file.
func (s *stager) read(ctx context.Context, file io.Reader) error {
	if s.r.Dataset == extraction.Activities {
		in, err := extraction.NewActivities(file)
		if err != nil {
			return err
		}
		return s.activities(ctx, in)
	}
	in, err := extraction.NewCorrespondances(file)
	if err != nil {
		return err
	}
	return s.correspondances(ctx, in)
}

// keep commits what was staged, and says so last: without that word it is written anew.
func (s *stager) keep(ctx context.Context, owner []byte) error {
	var mine int64
	err := s.im.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		return tx.QueryRow(ctx, ownStage, owner).Scan(&mine)
	})
	if err != nil {
		return err
	}
	for _, l := range s.loads() {
		if err := l.commit(ctx); err != nil {
			return err
		}
	}
	s.im.step("committed")
	r := s.r
	err = s.im.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		tag, err := tx.Exec(ctx, markStaged, owner)
		if err != nil {
			return err
		}
		if tag.RowsAffected() != 1 {
			return fault.New(fault.Conflict, "national.keep", "import-runs")
		}
		if err := keepRefusalsTx(ctx, tx, r.ID, s.refusals); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, keepStaged, r.ID, r.File, instantOrNull(r.ExtractedAt), r.Lines, r.Kept, r.Added, r.Changed, r.Gone, r.Refused, r.Repeated, r.Ours)
		return err
	})
	if err == nil {
		r.State = Staged
	}
	return err
}

func instantOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
