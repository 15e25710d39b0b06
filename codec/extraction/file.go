package extraction

import (
	"archive/zip"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // names of files are in the hour of Paris, wherever we run
)

// Limits of a file; a zero field means the default.
type Limits struct {
	TextSize int64 // octets expanded: 4 GB
	Ratio    int64 // expansion: 200
}

func (l Limits) orDefault() Limits {
	if l.TextSize == 0 {
		l.TextSize = 4 << 30
	}
	if l.Ratio == 0 {
		l.Ratio = 200
	}
	return l
}

// File is the text of a published file, being read.
type File struct {
	io.Reader
	Name string // of the text, without its folder
	Size int64  // of the text, in octets, as declared

	close []io.Closer
}

// Close ends the reading.
func (f *File) Close() error {
	var first error
	for _, c := range f.close {
		if err := c.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Open opens a published file: the ZIP as the national service gives it, of which it
// takes the one text of the dataset, or that text alone.
//
// Errors: fault.InvalidContent with code not-zip, no-entry, several-entries, encrypted,
// too-large or ratio; those of the file system.
func Open(name string, d Dataset, l Limits) (*File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	opened, err := open(f, d, l.orDefault())
	if err != nil {
		f.Close()
		return nil, err
	}
	opened.close = append(opened.close, f)
	return opened, nil
}

func open(f *os.File, d Dataset, l Limits) (*File, error) {
	const op = "extraction.Open"
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil && err != io.EOF {
		return nil, err
	}
	if string(magic[:2]) != "PK" {
		if !strings.HasSuffix(strings.ToLower(info.Name()), ".txt") {
			return nil, refuse(op, "not-zip", nil)
		}
		if info.Size() > l.TextSize {
			return nil, refuse(op, "too-large", nil)
		}
		return &File{Reader: io.LimitReader(f, l.TextSize), Name: info.Name(), Size: info.Size()}, nil
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, refuse(op, "not-zip", err)
	}
	entry, err := pick(archive, d)
	if err != nil {
		return nil, err
	}
	switch size := entry.UncompressedSize64; {
	case entry.Flags&1 != 0:
		return nil, refuse(op, "encrypted", nil)
	case size > uint64(l.TextSize):
		return nil, refuse(op, "too-large", nil)
	case size > 1<<20 && size/max(1, entry.CompressedSize64) > uint64(l.Ratio):
		return nil, refuse(op, "ratio", nil)
	}
	text, err := entry.Open()
	if err != nil {
		return nil, refuse(op, "not-zip", err)
	}
	return &File{
		Reader: &bounded{text, int64(entry.UncompressedSize64)},
		Name:   path.Base(entry.Name), Size: int64(entry.UncompressedSize64), close: []io.Closer{text},
	}, nil
}

// pick finds the text of the dataset: the only one that has its name, or the only text.
func pick(archive *zip.Reader, d Dataset) (*zip.File, error) {
	var named, texts []*zip.File
	for _, f := range archive.File {
		base := strings.ToLower(path.Base(strings.ReplaceAll(f.Name, `\`, "/")))
		if f.FileInfo().IsDir() || !strings.HasSuffix(base, ".txt") {
			continue
		}
		texts = append(texts, f)
		if strings.HasPrefix(foldName(base), d.prefix()) {
			named = append(named, f)
		}
	}
	if len(named) == 0 && d == Correspondances {
		named = texts
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		return nil, refuse("extraction.Open", "no-entry", nil)
	}
	return nil, refuse("extraction.Open", "several-entries", nil)
}

// bounded gives no more than the declared size.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, zip.ErrFormat
	}
	return n, err
}

var paris = func() *time.Location {
	l, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		return time.UTC // tzdata is embedded: not reached
	}
	return l
}()

// ExtractedAt reads AAAAMMJJhhmm at the end of a file's name, in the hour of Paris.
func ExtractedAt(fileName string) (time.Time, bool) {
	base := path.Base(strings.ReplaceAll(fileName, `\`, "/"))
	base = strings.TrimSuffix(base, path.Ext(base))
	at := strings.LastIndexByte(base, '_')
	stamp := base[at+1:]
	if len(stamp) != 12 {
		return time.Time{}, false
	}
	if _, err := strconv.ParseUint(stamp, 10, 64); err != nil {
		return time.Time{}, false
	}
	t, err := time.ParseInLocation("200601021504", stamp, paris)
	if err != nil {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// FileName is the name of the text of a dataset extracted at an instant.
func FileName(d Dataset, at time.Time) string {
	name := "Extraction_Correspondance_MSSante_"
	if d == Activities {
		name = "PS_LibreAcces_Personne_activite_"
	}
	return name + at.In(paris).Format("200601021504") + ".txt"
}
