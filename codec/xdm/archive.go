package xdm

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"pli/fault"
)

// Archive is an archive that passed the checks of its names and sizes and whose
// metadata could be read.
type Archive struct {
	Submissions []Submission // one per subset that has one
	Entries     []Entry

	files map[string]*zip.File // by folded name
	src   *readerAt
}

// Limits of an archive (mssante.md §7.1); a zero field means the default.
type Limits struct {
	Entries      int   // files, and documents that the metadata describe: 1,000 of each
	TotalSize    int64 // octets expanded, 200 MB; of the files, and of the documents described
	Ratio        int64 // expansion, 100
	MetadataSize int64 // octets of all METADATA.XML together, 4 MB
}

func (l Limits) orDefault() Limits {
	if l.Entries == 0 {
		l.Entries = 1000
	}
	if l.TotalSize == 0 {
		l.TotalSize = 200_000_000
	}
	if l.Ratio == 0 {
		l.Ratio = 100
	}
	if l.MetadataSize == 0 {
		l.MetadataSize = 4_000_000
	}
	return l
}

func refuse(op, code string) error { return fault.New(fault.InvalidContent, op, code) }

// Open reads the names and the metadata of an archive of size octets. Nothing else is
// expanded: each document is read and checked by Document.
//
// Errors: fault.InvalidContent with a stable code: not-zip, too-many-entries,
// unsafe-name, duplicate-name, link, encrypted, method, nested-archive, ratio,
// too-large, no-metadata, metadata-xml. An error of r comes out as it is.
func Open(r io.ReaderAt, size int64, lim Limits) (*Archive, error) {
	const op = "xdm.Open"
	lim = lim.orDefault()
	src := &readerAt{r: r, size: size}
	if err := checkDirectory(src, size, lim); err != nil {
		return nil, src.or(err)
	}
	z, err := zip.NewReader(src, size)
	if err != nil {
		return nil, src.or(refuse(op, "not-zip"))
	}
	a := &Archive{src: src}
	if a.files, err = checkFiles(z.File, size, lim); err != nil {
		return nil, err
	}
	if err := a.readMetadata(lim); err != nil {
		return nil, src.or(err)
	}
	return a, nil
}

// readerAt remembers an error of what is below, so that a failing disk is never taken
// for a bad archive.
type readerAt struct {
	r    io.ReaderAt
	size int64
	err  error
}

func (s *readerAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > s.size {
		return 0, io.EOF // an offset that the archive made up
	}
	n, err := s.r.ReadAt(p, off)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *readerAt) or(err error) error {
	if s.err != nil {
		return s.err
	}
	return err
}

// checkDirectory bounds the central directory before archive/zip reads it whole into
// memory: it looks at the end record (APPNOTE 4.3.16) as archive/zip will.
func checkDirectory(r io.ReaderAt, size int64, lim Limits) error {
	const op, recordSize = "xdm.Open", 22
	tail := make([]byte, min(size, 65535+recordSize))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return err
	}
	for i := len(tail) - recordSize; i >= 0; i-- {
		rec := tail[i:]
		if !bytes.HasPrefix(rec, []byte("PK\x05\x06")) || int(binary.LittleEndian.Uint16(rec[20:]))+recordSize > len(rec) {
			continue
		}
		entries, dirSize := binary.LittleEndian.Uint16(rec[10:]), binary.LittleEndian.Uint32(rec[12:])
		if int(entries) > lim.Entries || dirSize > uint32(lim.Entries*1024) {
			return refuse(op, "too-many-entries") // ZIP64 says 0xffff here and is refused too
		}
		return nil
	}
	return refuse(op, "not-zip")
}

func checkFiles(files []*zip.File, size int64, lim Limits) (map[string]*zip.File, error) {
	const op = "xdm.Open"
	if len(files) > lim.Entries {
		return nil, refuse(op, "too-many-entries")
	}
	byName, total := make(map[string]*zip.File, len(files)), uint64(0)
	for _, f := range files {
		name, err := safeName(f.Name)
		if err != nil {
			return nil, err
		}
		if err := checkFile(f, name, lim); err != nil {
			return nil, err
		}
		if total += f.UncompressedSize64; total > uint64(lim.TotalSize) {
			return nil, refuse(op, "too-large")
		}
		if strings.HasSuffix(name, "/") {
			continue // a folder
		}
		if byName[name] != nil {
			return nil, refuse(op, "duplicate-name")
		}
		byName[name] = f
	}
	if total > uint64(size)*uint64(lim.Ratio) {
		return nil, refuse(op, "ratio")
	}
	return byName, nil
}

// smallSize is below what expansion can hurt: a short text of one letter repeated may
// pass the ratio by itself.
const smallSize = 64 << 10

func checkFile(f *zip.File, name string, lim Limits) error {
	const op = "xdm.Open"
	switch mode := f.Mode(); {
	case mode&(fs.ModeSymlink|fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket|fs.ModeIrregular) != 0:
		return refuse(op, "link")
	case f.Flags&1 != 0:
		return refuse(op, "encrypted")
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return refuse(op, "method")
	case f.UncompressedSize64 > uint64(lim.TotalSize):
		return refuse(op, "too-large")
	case f.UncompressedSize64 > smallSize && f.UncompressedSize64/uint64(lim.Ratio) > f.CompressedSize64:
		return refuse(op, "ratio")
	}
	switch path.Ext(name) {
	case ".zip", ".jar", ".7z", ".rar", ".gz", ".tar", ".tgz", ".xz", ".bz2":
		return refuse(op, "nested-archive")
	}
	return nil
}

// safeName folds a name to lower case and forward slashes (dmp.md §4.2 tells what to
// expect) and refuses what could leave a folder.
func safeName(s string) (string, error) {
	const op = "xdm.Open"
	name := strings.ToLower(strings.ReplaceAll(s, `\`, "/"))
	for strings.HasPrefix(name, "./") {
		name = name[2:]
	}
	if name == "" || len(name) > 255 || name[0] == '/' || len(name) > 1 && name[1] == ':' {
		return "", refuse(op, "unsafe-name")
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return "", refuse(op, "unsafe-name")
		}
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return "", refuse(op, "unsafe-name")
		}
	}
	return name, nil
}

const metadataName = "metadata.xml"

// subsets finds the prefixes of names under which a METADATA.XML stands. The slash
// after the subset's name may be missing (dmp.md §4.2).
func (a *Archive) subsets() []string {
	var found []string
	for name := range a.files {
		prefix, ok := strings.CutSuffix(name, metadataName)
		if ok && (strings.HasPrefix(prefix, "ihe_xdm/") || strings.Contains(prefix, "/ihe_xdm/")) {
			found = append(found, prefix)
		}
	}
	return found
}

func (a *Archive) readMetadata(lim Limits) error {
	const op = "xdm.Open"
	subsets, left := a.subsets(), lim.MetadataSize
	if len(subsets) == 0 {
		return refuse(op, "no-metadata")
	}
	slices.Sort(subsets)
	for _, prefix := range subsets {
		f := a.files[prefix+metadataName]
		if left -= int64(f.UncompressedSize64); left < 0 {
			return refuse(op, "too-large")
		}
		rc, err := f.Open()
		if err != nil {
			return refuse(op, "not-zip")
		}
		m, err := readMetadata(rc, int64(f.UncompressedSize64))
		_ = rc.Close() // only read from
		if err != nil {
			return err
		}
		for i := range m.entries {
			m.entries[i].prefix = prefix
		}
		a.Submissions = append(a.Submissions, m.submissions...)
		a.Entries = append(a.Entries, m.entries...)
	}
	return a.checkEntries(lim)
}

// checkEntries bounds what reading every document costs: the metadata may describe one
// file any number of times.
func (a *Archive) checkEntries(lim Limits) error {
	const op = "xdm.Open"
	if len(a.Entries) > lim.Entries {
		return refuse(op, "too-many-entries")
	}
	left := lim.TotalSize
	for _, e := range a.Entries {
		if left -= max(e.Size, 0); left < 0 {
			return refuse(op, "too-large")
		}
	}
	return nil
}

// find looks for the file of an entry: its URI within the subset, then its last part.
func (a *Archive) find(e *Entry) *zip.File {
	uri, err := safeName(e.URI)
	if err != nil {
		return nil
	}
	for _, name := range []string{e.prefix + uri, e.prefix + path.Base(uri), uri} {
		if f := a.files[name]; f != nil && strings.HasPrefix(name, e.prefix) && name != e.prefix+metadataName {
			return f
		}
	}
	return nil
}

// Document opens the file of an entry. The reader counts and hashes as it goes: what
// it gave may be used only once it has ended with io.EOF.
//
// Errors: fault.InvalidContent with code missing-file, no-size, no-hash, size-mismatch,
// hash-mismatch, nested-archive or damaged (dmp.md §4.3: 906).
func (a *Archive) Document(e *Entry) (io.ReadCloser, error) {
	const op = "xdm.Document"
	f := a.find(e)
	switch {
	case f == nil:
		return nil, refuse(op, "missing-file")
	case e.Size < 0:
		return nil, refuse(op, "no-size")
	case e.Hash == "":
		return nil, refuse(op, "no-hash")
	case f.UncompressedSize64 != uint64(e.Size):
		return nil, refuse(op, "size-mismatch")
	}
	rc, err := f.Open()
	if err != nil {
		return nil, a.src.or(refuse(op, "damaged"))
	}
	return &document{src: a.src, rc: rc, left: e.Size, want: e.Hash, sum: sha1.New()}, nil
}

// document gives a file's octets and says at the end whether they are the announced
// ones.
type document struct {
	src  *readerAt
	rc   io.ReadCloser
	left int64
	want string
	sum  hash.Hash // SHA-1 is what XDS metadata holds (dmp.md §3.2): a check, no proof
	head []byte
	err  error
}

func (d *document) Read(p []byte) (int, error) {
	const op = "xdm.Document"
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.rc.Read(p)
	if d.left -= int64(n); d.left < 0 {
		d.err = refuse(op, "size-mismatch")
		return 0, d.err
	}
	_, _ = d.sum.Write(p[:n]) // a hash never fails
	if len(d.head) < 4 {
		d.head = append(d.head, p[:min(n, 4-len(d.head))]...)
		if bytes.Equal(d.head, []byte("PK\x03\x04")) {
			d.err = refuse(op, "nested-archive")
			return 0, d.err
		}
	}
	switch {
	case err == io.EOF && d.left > 0:
		d.err = refuse(op, "size-mismatch")
	case err == io.EOF && hex.EncodeToString(d.sum.Sum(nil)) != d.want:
		d.err = refuse(op, "hash-mismatch")
	case err == io.EOF:
		d.err = io.EOF
	case err != nil:
		d.err = d.src.or(refuse(op, "damaged"))
	}
	return n, d.err
}

func (d *document) Close() error { return d.rc.Close() }
