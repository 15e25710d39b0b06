package national

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"pli/directory/listing"
	"pli/fault"
)

// sheet is a published table, without its part, and its columns in the order that the
// import writes them: what is published, what is computed from it, and a tail with the
// fingerprint and the instants.
type sheet struct {
	name      string
	published []int // places in the row
	computed  []int
	columns   []string
	dated     bool // has since_at
}

var (
	listings      = newSheet("listing", listing.Columns, true)
	practitioners = newSheet("practitioner", listing.PractitionerColumns, false)
	organizations = newSheet("organization", listing.OrganizationColumns, false)
	roles         = newSheet("role", listing.RoleColumns, false)
	words         = sheet{name: "word", columns: []string{"word"}}

	sheets = []sheet{listings, practitioners, organizations, roles, words}
)

// newSheet sorts the columns of a row.
func newSheet(name string, columns []string, dated bool) sheet {
	s := sheet{name: name, dated: dated}
	tail := []string{"sum", "seen_at", "changed_at"}
	if dated {
		tail = append(tail, "since_at")
	} else {
		tail = append(tail, "from_activity")
	}
	for i, c := range columns {
		switch {
		case slices.Contains(tail, c):
		case strings.HasPrefix(c, "f_") || c == "words":
			s.computed = append(s.computed, i)
		default:
			s.published = append(s.published, i)
		}
	}
	for _, i := range append(slices.Clone(s.published), s.computed...) {
		s.columns = append(s.columns, columns[i])
	}
	s.columns = append(s.columns, tail...)
	return s
}

// table is the sheet's table in a part ("own", "a", "b").
func (s sheet) table(part string) string { return s.name + "_" + part }

// at is the place of a column in what is written.
func (s sheet) at(column string) int { return slices.Index(s.columns, column) }

// encode appends a row without its tail, in the text format of COPY, and returns the
// fingerprint of what is published.
func (s sheet) encode(b []byte, row []any) ([]byte, int64) {
	from := len(b)
	for n, i := range s.published {
		if n > 0 {
			b = append(b, '\t')
		}
		b = appendValue(b, row[i])
	}
	sum := sha256.Sum256(b[from:])
	for _, i := range s.computed {
		b = appendValue(append(b, '\t'), row[i])
	}
	return b, int64(binary.BigEndian.Uint64(sum[:8]))
}

// appendValue writes a value in the text format of COPY.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, `\N`...)
	case string:
		return appendText(b, v)
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	case int32:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case []byte:
		return hex.AppendEncode(append(b, `\\x`...), v)
	case time.Time:
		return appendTime(b, v)
	default:
		panic(fmt.Sprintf("national: a row with a %T", v))
	}
}

func appendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02 15:04:05.000000Z")
}

// appendText escapes what COPY would take for its own marks.
func appendText(b []byte, s string) []byte {
	if strings.IndexByte(s, '\\') < 0 && strings.IndexFunc(s, func(r rune) bool { return r < ' ' }) < 0 {
		return append(b, s...)
	}
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\':
			b = append(b, `\\`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case 0: // PostgreSQL keeps none
		default:
			b = append(b, c)
		}
	}
	return b
}

// readText undoes appendText, as PostgreSQL writes it.
func readText(b []byte) string {
	if !slices.Contains(b, '\\') {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		switch b[i] {
		case 't':
			out = append(out, '\t')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'v':
			out = append(out, '\v')
		default:
			out = append(out, b[i])
		}
	}
	return string(out)
}

// load is a COPY into a table of the idle part, in a transaction of its own that also
// emptied it: the rows are frozen as they are written.
type load struct {
	sheet sheet
	part  string
	conn  *pgxpool.Conn
	tx    pgx.Tx
	pipe  *io.PipeWriter
	out   *bufio.Writer
	ended chan error
}

const loadBuffer = 256 << 10 // octets

var errGivenUp = errors.New("national: given up")

// open empties the table and begins to write it. The table is locked until commit or
// abandon: it is of the idle part.
func (im *Importer) open(ctx context.Context, s sheet, part string) (*load, error) {
	conn, err := im.DB.Pool().Acquire(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := im.clear(ctx, conn, s, part)
	if err != nil {
		conn.Release()
		return nil, err
	}
	reader, writer := io.Pipe()
	l := &load{sheet: s, part: part, conn: conn, tx: tx, pipe: writer, out: bufio.NewWriterSize(writer, loadBuffer), ended: make(chan error, 1)}
	sql := "COPY " + s.table(part) + " (" + strings.Join(s.columns, ", ") + ") FROM STDIN (FREEZE)"
	go func() {
		_, err := tx.Conn().PgConn().CopyFrom(ctx, reader, sql)
		reader.CloseWithError(cmpErr(err, errGivenUp))
		l.ended <- err
	}()
	return l, nil
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// row writes a row: what encode gave, and its tail.
func (l *load) row(text []byte, sum int64, seen, changed, since []byte, fromActivity bool) error {
	var n [24]byte
	w := l.out
	w.Write(text) // a bufio.Writer keeps its first error
	w.WriteByte('\t')
	w.Write(strconv.AppendInt(n[:0], sum, 10))
	w.WriteByte('\t')
	w.Write(seen)
	w.WriteByte('\t')
	w.Write(changed)
	w.WriteByte('\t')
	switch {
	case l.sheet.dated:
		w.Write(since)
	case fromActivity:
		w.WriteByte('t')
	default:
		w.WriteByte('f')
	}
	return w.WriteByte('\n')
}

// finish ends the COPY and has the planner know the table. The transaction stays open.
func (l *load) finish(ctx context.Context) error {
	err := l.out.Flush()
	l.pipe.Close()
	if ended := <-l.ended; ended != nil {
		err = ended
	}
	l.ended <- nil
	if err != nil {
		return err
	}
	_, err = l.tx.Exec(ctx, "ANALYZE "+l.sheet.table(l.part))
	return err
}

func (l *load) commit(ctx context.Context) error { return l.tx.Commit(ctx) }

// abandon leaves the table as it was; after commit it only gives the connection back.
func (l *load) abandon() {
	l.pipe.CloseWithError(errGivenUp)
	<-l.ended
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = l.tx.Rollback(ctx)
	l.conn.Release()
}

const (
	clearTries   = 600 // with their waits: some twenty minutes
	lockBriefly  = "200ms"
	lockPatient  = "1500ms" // longer than deadlock_timeout: a vacuum then steps aside
	clearPause   = time.Second
	lockNotAvail = "55P03"
)

// clear takes the indexes and the rows out of a table of the idle part, in a transaction
// that it leaves open. A statement that began before the last swap may still read it:
// we step aside and come back.
func (im *Importer) clear(ctx context.Context, conn *pgxpool.Conn, s sheet, part string) (pgx.Tx, error) {
	for try := 1; ; try++ {
		tx, err := clearOnce(ctx, conn, s, part, try)
		if err == nil {
			return tx, nil
		}
		if sqlState(err) != lockNotAvail {
			return nil, err
		}
		if try == clearTries {
			return nil, fault.New(fault.Unavailable, "national.clear", "idle-part-in-use")
		}
		im.step("locked-out")
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(clearPause):
		}
	}
}

func clearOnce(ctx context.Context, conn *pgxpool.Conn, s sheet, part string, try int) (_ pgx.Tx, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback(context.WithoutCancel(ctx))
		}
	}()
	wait := lockBriefly
	if try%5 == 0 {
		wait = lockPatient
	}
	table := s.table(part)
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+wait+"'"); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return nil, err
	}
	present, err := indexesOf(ctx, tx, table)
	if err != nil {
		return nil, err
	}
	for _, x := range present {
		sql := "DROP INDEX " + x.name
		if x.primary {
			sql = "ALTER TABLE " + table + " DROP CONSTRAINT " + x.name
		}
		if _, err := tx.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	_, err = tx.Exec(ctx, "TRUNCATE "+table)
	return tx, err
}
