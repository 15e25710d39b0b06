package publication

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/codec/extraction"
	"pli/directory"
	"pli/fault"
	"pli/health"
	"pli/internal/job"
	"pli/internal/pg"
)

// dailyJob makes the day's file when it is time.
type dailyJob struct{}

func (dailyJob) Kind() string { return "publication.daily" }

// reportsJob reads the reports that came.
type reportsJob struct{}

func (reportsJob) Kind() string { return "publication.reports" }

const (
	dailyEvery   = time.Hour
	reportsEvery = 10 * time.Minute
	filesKept    = 30 * 24 * time.Hour
	fileMode     = 0o640 // whoever carries it to the national directory is of our group
)

func (p *Publisher) handleFiles(w *job.Workers) {
	job.Handle(w, 30*time.Minute, func(ctx context.Context, _ dailyJob) error { return p.daily(ctx) })
	job.Handle(w, 10*time.Minute, func(ctx context.Context, _ reportsJob) error {
		_, err := p.ReadReports(ctx)
		return err
	})
	if p.cfg.Folder != "" {
		w.Every(dailyJob{}, dailyEvery)
	}
	if p.cfg.Reports != "" {
		w.Every(reportsJob{}, reportsEvery)
	}
}

const (
	sqlLastPlaced = `SELECT max(made_at) FROM publication_file WHERE placed_at IS NOT NULL`

	sqlUnplaced = `DELETE FROM publication_file WHERE placed_at IS NULL RETURNING name`

	sqlForgetFiles = `DELETE FROM publication_file WHERE made_at < $1`

	sqlNewFile = `INSERT INTO publication_file (name, made_at, sha256, lines) VALUES ($1, $2, $3, $4) RETURNING id`

	sqlPlaced = `UPDATE publication_file SET placed_at = $2 WHERE id = $1`
)

var paris = func() *time.Location {
	l, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		return time.UTC // tzdata is embedded by codec/extraction: not reached
	}
	return l
}()

// daily makes the file of the day once its hour has come, and forgets old ones.
func (p *Publisher) daily(ctx context.Context) error {
	const op = "publication.daily"
	now := p.d.Now()
	var last *time.Time
	if err := p.d.DB.QueryRow(ctx, sqlLastPlaced).Scan(&last); err != nil {
		return pg.Error(op, err)
	}
	today := now.In(paris)
	if today.Hour() < p.cfg.Hour || last != nil && last.In(paris).Format(time.DateOnly) == today.Format(time.DateOnly) {
		return nil
	}
	if _, err := p.WriteDaily(ctx); err != nil {
		return err
	}
	_, err := p.d.DB.Exec(ctx, sqlForgetFiles, now.Add(-filesKept))
	return pg.Error(op, err)
}

// File is a daily file.
type File struct {
	Name  string // of the ZIP, in Config.Folder
	Lines int
}

// WriteDaily writes all that is published of our BAL of PER, ORG and CAB, in the shape of
// the extraction, to a ZIP that appears in the folder when it is whole. One that was left
// half made is made again.
//
// Errors: fault.Invalid without a folder; those of the file system and of the database.
func (p *Publisher) WriteDaily(ctx context.Context) (f File, err error) {
	const op = "publication.WriteDaily"
	if p.cfg.Folder == "" {
		return f, fault.New(fault.Invalid, op, "no-folder")
	}
	if err := p.dropUnplaced(ctx); err != nil {
		return f, pg.Error(op, err)
	}
	now := p.d.Now()
	text := extraction.FileName(extraction.Correspondances, now)
	f.Name = strings.TrimSuffix(text, ".txt") + ".zip"
	tmp, err := os.CreateTemp(p.cfg.Folder, ".publication-*")
	if err != nil {
		return f, unfiled(op, err)
	}
	defer os.Remove(tmp.Name()) // after the rename there is none of that name
	defer tmp.Close()
	sum := sha256.New()
	bals, err := p.write(ctx, io.MultiWriter(tmp, sum), text, now)
	if err != nil {
		return f, err
	}
	if err := errors.Join(tmp.Chmod(fileMode), tmp.Sync(), tmp.Close()); err != nil {
		return f, unfiled(op, err)
	}
	f.Lines = len(bals)
	number, err := p.record(ctx, f, now, sum.Sum(nil), bals)
	if err != nil {
		return f, err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(p.cfg.Folder, f.Name)); err != nil {
		return f, unfiled(op, err)
	}
	if err := syncFolder(p.cfg.Folder); err != nil {
		return f, unfiled(op, err)
	}
	if _, err := p.d.DB.Exec(ctx, sqlPlaced, number, p.d.Now()); err != nil {
		return f, pg.Error(op, err)
	}
	p.metrics.lines.WithLabelValues("written").Add(float64(f.Lines))
	p.d.Log.Info("publication: daily file", "file", number, "lines", f.Lines, "ms", p.d.Now().Sub(now).Milliseconds())
	return f, nil
}

// unfiled is an error of the file system without the name of the file.
func unfiled(op string, err error) error {
	var path *os.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return fault.Wrap(fault.Unavailable, op, "file", err)
}

// dropUnplaced forgets a file that never came whole into the folder, and takes out what
// may be there of it.
func (p *Publisher) dropUnplaced(ctx context.Context) error {
	rows, err := p.d.DB.Query(ctx, sqlUnplaced)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range names {
		_ = os.Remove(filepath.Join(p.cfg.Folder, filepath.Base(name))) // most often there is none
	}
	return err
}

// write streams the ZIP, and tells which BAL is on each line, from line 2 on.
func (p *Publisher) write(ctx context.Context, w io.Writer, name string, now time.Time) (bals []int64, err error) {
	const op = "publication.write"
	archive := zip.NewWriter(w)
	entry, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: now})
	if err != nil {
		return nil, unfiled(op, err)
	}
	out := extraction.NewCorrespondanceWriter(entry)
	filter := directory.Filter{
		Kinds:  []health.BALKind{health.PER, health.ORG, health.CAB},
		States: []health.BALState{health.Active, health.Suspended},
	}
	for {
		page, err := p.d.Register.List(ctx, p.d.DB, filter)
		if err != nil {
			return nil, err
		}
		for _, b := range page {
			filter.After = b.ID
			if yes, leave := p.may(b, now); !yes && !leave {
				continue
			}
			line := correspondance(b, now)
			if err := out.Write(&line); err != nil {
				return nil, unfiled(op, err)
			}
			bals = append(bals, int64(b.ID))
		}
		if len(page) == 0 {
			break
		}
	}
	return bals, unfiled(op, errors.Join(out.Flush(), archive.Close()))
}

func correspondance(b directory.BAL, now time.Time) extraction.Correspondance {
	l := b.Listing(now)
	c := extraction.Correspondance{
		Kind: string(l.Kind), Address: l.Address, PPType: l.PPType, PP: l.PP, PlaceType: l.PlaceType, Service: l.Service,
		Profession: l.Profession, ProfessionLabel: l.ProfessionLabel, KnowHow: l.KnowHow, KnowHowLabel: l.KnowHowLabel,
		Paperless: "N", Structure: l.Structure, TradeName: l.TradeName, StreetName: l.Street, PostalCode: l.PostalCode,
		Department: l.Department, Country: l.Country,
	}
	if l.PP != "" {
		c.PPNational = l.PPType + l.PP
	}
	if l.Kind == health.PER || l.Kind == health.CAB {
		c.Civility, c.FamilyName, c.GivenName = l.Civility, l.FamilyName, l.GivenName
	}
	switch {
	case l.Place == "":
	case l.PlaceType == "FINESS":
		c.Place = "1" + l.Place
	case l.PlaceType == "SIRET":
		c.Place = "3" + l.Place
	}
	if l.Country == "FR" {
		c.Country = "FRANCE"
	}
	c.Routing = strings.TrimSpace(l.PostalCode + " " + strings.ToUpper(l.City))
	return c
}

// record keeps which BAL is on which line.
func (p *Publisher) record(ctx context.Context, f File, now time.Time, sum []byte, bals []int64) (number int64, err error) {
	err = p.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		if err := tx.QueryRow(ctx, sqlNewFile, f.Name, now, sum, f.Lines).Scan(&number); err != nil {
			return err
		}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"publication_line"}, []string{"file_id", "line", "bal_id"},
			pgx.CopyFromSlice(len(bals), func(i int) ([]any, error) { return []any{number, i + 2, bals[i]}, nil }))
		return err
	})
	return number, err
}

func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
