package publication

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/pg"
)

// ReportFormat reads the report of a daily file (compte rendu d'alimentation, mssante.md
// §3.4). Its official layout is not published; put it in here when it is.
type ReportFormat interface {
	// FileOf gives the name of the daily file that a report of this name is about; ok is
	// false for a file that is no report.
	FileOf(name string) (file string, ok bool)
	// Read gives its lines in turn.
	//
	// Errors: ErrUnfinished for one that is not there whole yet; fault.InvalidContent; those
	// of each.
	Read(r io.Reader, each func(ReportLine) error) error
}

// ReportLine is what became of a line.
type ReportLine struct {
	Line     int // of the daily file; 1 is its header
	Address  string
	Accepted bool
	Code     string
	Text     string
}

// ErrUnfinished says that a report is still being written.
var ErrUnfinished = errors.New("publication: the report is not finished")

// PipeReport is our own layout: the name of the daily file with _CR.txt for .zip; a header
// line; then number of line, address, A or R, code and text, separated by bars; at the end
// FIN and how many lines there are before it.
type PipeReport struct{}

const (
	reportHeader = "Ligne|Adresse BAL|Statut|Code|Libellé"
	reportLines  = 5_000_000
)

// FileOf implements ReportFormat.
func (PipeReport) FileOf(name string) (string, bool) {
	base, ok := strings.CutSuffix(name, "_CR.txt")
	if !ok || base == "" || strings.HasPrefix(base, ".") {
		return "", false
	}
	return base + ".zip", true
}

// Read implements ReportFormat.
func (PipeReport) Read(r io.Reader, each func(ReportLine) error) error {
	bad := func(code string) error { return fault.New(fault.InvalidContent, "publication.PipeReport", code) }
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 4096), 64<<10)
	if !in.Scan() {
		if in.Err() != nil {
			return bad("line-too-long")
		}
		return ErrUnfinished
	}
	if strings.TrimPrefix(strings.TrimSpace(in.Text()), "\ufeff") != reportHeader {
		return bad("header")
	}
	for n := 0; in.Scan(); n++ {
		f := strings.Split(strings.TrimRight(in.Text(), "\r"), "|")
		if f[0] == "FIN" {
			if len(f) != 2 || f[1] != strconv.Itoa(n) {
				return bad("count")
			}
			return nil
		}
		if n == reportLines {
			return bad("too-many-lines")
		}
		if len(f) != 5 {
			return bad("fields")
		}
		line, err := strconv.Atoi(f[0])
		if err != nil || line < 2 || f[2] != "A" && f[2] != "R" {
			return bad("line")
		}
		if err := each(ReportLine{line, strings.ToLower(strings.TrimSpace(f[1])), f[2] == "A", code(f[3], ""), plain(f[4], 200)}); err != nil {
			return err
		}
	}
	if in.Err() != nil {
		return bad("line-too-long")
	}
	return ErrUnfinished
}

const (
	reportSize      = 512 << 20 // octets read of a report
	unfinishedAfter = time.Hour // a report that stays unfinished for so long never will be
	doneFolder      = "lus"
	asideFolder     = "ecartes"
	reportBatch     = 5000

	sqlFileByName = `SELECT id FROM publication_file WHERE name = $1 FOR UPDATE`

	sqlReported = `
UPDATE publication_line l SET outcome = CASE WHEN r.accepted THEN 'accepted' ELSE 'refused' END, cause = r.code, cause_text = r.said
FROM unnest($2::int[], $3::text[], $4::boolean[], $5::text[], $6::text[]) AS r (line, address, accepted, code, said), bal b
WHERE l.file_id = $1 AND l.line = r.line AND b.id = l.bal_id AND b.address = r.address`

	sqlReportedAt = `
UPDATE publication_file f SET reported_at = $2,
       accepted = (SELECT count(*) FROM publication_line l WHERE l.file_id = f.id AND l.outcome = 'accepted'),
       refused = (SELECT count(*) FROM publication_line l WHERE l.file_id = f.id AND l.outcome = 'refused')
WHERE f.id = $1 RETURNING accepted, refused, lines`
)

// ReadReports reads the reports in the folder, and moves each to "lus", or to "ecartes"
// when it is none of a file of ours or cannot be read. The same report again changes
// nothing.
func (p *Publisher) ReadReports(ctx context.Context) (read int, err error) {
	const op = "publication.ReadReports"
	if p.cfg.Reports == "" {
		return 0, nil
	}
	entries, err := os.ReadDir(p.cfg.Reports)
	if err != nil {
		return 0, unfiled(op, err)
	}
	for _, e := range entries {
		file, ok := p.d.Format.FileOf(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		to := doneFolder
		switch err := p.readReport(ctx, filepath.Join(p.cfg.Reports, e.Name()), file); {
		case errors.Is(err, ErrUnfinished):
			info, err := e.Info()
			if err != nil || p.d.Now().Sub(info.ModTime()) < unfinishedAfter {
				continue
			}
			p.d.Log.Error("publication: a report never ended")
			to = asideFolder
		case fault.Is(err, fault.InvalidContent), fault.Is(err, fault.NotFound):
			p.d.Log.Error("publication: a report cannot be used", "code", fault.CodeOf(err))
			to = asideFolder
		case err != nil:
			return read, err
		default:
			read++
		}
		if err := move(p.cfg.Reports, e.Name(), to); err != nil {
			return read, unfiled(op, err)
		}
	}
	return read, nil
}

func move(folder, name, to string) error {
	if err := os.MkdirAll(filepath.Join(folder, to), 0o750); err != nil {
		return err
	}
	return os.Rename(filepath.Join(folder, name), filepath.Join(folder, to, name))
}

// readReport applies one report, all or nothing.
func (p *Publisher) readReport(ctx context.Context, path, file string) error {
	const op = "publication.readReport"
	f, err := os.Open(path)
	if err != nil {
		return unfiled(op, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > reportSize {
		return fault.New(fault.InvalidContent, op, "too-large")
	}
	if err := p.d.Format.Read(f, func(ReportLine) error { return nil }); err != nil { // whole and sound?
		return err
	}
	var unknown int64
	var accepted, refused, lines int
	err = p.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		unknown = 0
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return unfiled(op, err)
		}
		var number int64
		err := tx.QueryRow(ctx, sqlFileByName, file).Scan(&number)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New(fault.NotFound, op, "not-a-file-of-ours")
		}
		if err != nil {
			return err
		}
		if unknown, err = p.apply(ctx, tx, number, f); err != nil {
			return err
		}
		return tx.QueryRow(ctx, sqlReportedAt, number, p.d.Now()).Scan(&accepted, &refused, &lines)
	})
	if err != nil {
		return err
	}
	p.metrics.lines.WithLabelValues("accepted").Add(float64(accepted))
	p.metrics.lines.WithLabelValues("refused").Add(float64(refused))
	p.d.Log.Info("publication: report", "accepted", accepted, "refused", refused, "silent", lines-accepted-refused, "unknown", unknown)
	return nil
}

// apply writes the lines of a report, and counts those that are of no line of ours.
func (p *Publisher) apply(ctx context.Context, tx *pg.Tx, number int64, r io.Reader) (unknown int64, err error) {
	var batch struct {
		lines       []int
		addresses   []string
		accepted    []bool
		codes, said []string
	}
	flush := func() error {
		tag, err := tx.Exec(ctx, sqlReported, number, batch.lines, batch.addresses, batch.accepted, batch.codes, batch.said)
		unknown += int64(len(batch.lines)) - tag.RowsAffected()
		batch.lines, batch.addresses, batch.accepted = batch.lines[:0], batch.addresses[:0], batch.accepted[:0]
		batch.codes, batch.said = batch.codes[:0], batch.said[:0]
		return err
	}
	err = p.d.Format.Read(r, func(l ReportLine) error {
		batch.lines, batch.addresses = append(batch.lines, l.Line), append(batch.addresses, l.Address)
		batch.accepted, batch.codes, batch.said = append(batch.accepted, l.Accepted), append(batch.codes, l.Code), append(batch.said, l.Text)
		if len(batch.lines) == reportBatch {
			return flush()
		}
		return nil
	})
	if err == nil && len(batch.lines) > 0 {
		err = flush()
	}
	return unknown, err
}
