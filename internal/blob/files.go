package blob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pli/fault"
	"pli/internal/id"
)

// Files keeps blobs in a folder: ab/<uuid>, by the first two digits of the name. A
// blob is written under tmp/, synced, linked to its name, and its folder synced: it is
// either whole or not there, and never overwritten. Safe for concurrent use, also by
// several processes.
type Files struct {
	dir  string
	fans sync.Map // fan-out folders known to be there and synced
}

const tmpDir = "tmp"

// OpenFiles opens, and makes if need be, a store in dir, mode 0700.
func OpenFiles(dir string) (*Files, error) {
	const op = "blob.OpenFiles"
	if err := os.MkdirAll(filepath.Join(dir, tmpDir), 0o700); err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "folder", err)
	}
	if err := errors.Join(syncDir(filepath.Dir(dir)), syncDir(dir)); err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "sync", err)
	}
	return &Files{dir: dir}, nil
}

func (f *Files) fan(name id.ID) string { return filepath.Join(f.dir, name.String()[:2]) }

func (f *Files) path(name id.ID) string { return filepath.Join(f.fan(name), name.String()) }

// Create implements Store.
func (f *Files) Create(ctx context.Context, name id.ID) (Writer, error) {
	const op = "blob.Files.Create"
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Timeout, op, "", err)
	}
	if _, err := os.Lstat(f.path(name)); err == nil {
		return nil, fault.New(fault.Conflict, op, "exists")
	}
	tmp, err := os.CreateTemp(filepath.Join(f.dir, tmpDir), name.String()+"-")
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "create", err)
	}
	return &fileWriter{store: f, name: name, tmp: tmp}, nil
}

type fileWriter struct {
	store *Files
	name  id.ID
	tmp   *os.File // nil once committed or aborted
	err   error    // of a write: such a blob is never committed
}

func (w *fileWriter) Write(p []byte) (int, error) {
	if w.tmp == nil {
		return 0, fault.New(fault.Internal, "blob.Files.Write", "writer-is-closed")
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.tmp.Write(p)
	w.err = fault.Wrap(fault.Unavailable, "blob.Files.Write", "write", err)
	return n, w.err
}

// Commit implements Writer: two syncs of the disk, of the file and of its folder.
func (w *fileWriter) Commit() error {
	const op = "blob.Files.Commit"
	if w.tmp == nil {
		return fault.New(fault.Internal, op, "writer-is-closed")
	}
	defer w.Abort() // removes the temporary name in every case
	if w.err != nil {
		return w.err
	}
	if err := w.tmp.Sync(); err != nil {
		return fault.Wrap(fault.Unavailable, op, "sync", err)
	}
	fan := w.store.fan(w.name)
	if err := w.store.makeFan(fan); err != nil {
		return fault.Wrap(fault.Unavailable, op, "folder", err)
	}
	// A link refuses a name that is taken; a rename would overwrite it.
	err := os.Link(w.tmp.Name(), w.store.path(w.name))
	switch {
	case errors.Is(err, fs.ErrExist):
		return fault.New(fault.Conflict, op, "exists")
	case err != nil:
		return fault.Wrap(fault.Unavailable, op, "name", err)
	}
	if err := syncDir(fan); err != nil {
		_ = os.Remove(w.store.path(w.name))
		return fault.Wrap(fault.Unavailable, op, "sync-folder", err)
	}
	return nil
}

// Abort implements Writer.
func (w *fileWriter) Abort() {
	if w.tmp == nil {
		return
	}
	_ = w.tmp.Close()
	_ = os.Remove(w.tmp.Name()) // SweepTemporary finds what stays
	w.tmp = nil
}

// makeFan makes a fan-out folder durable, once per process.
func (f *Files) makeFan(dir string) error {
	if _, ok := f.fans.Load(dir); ok {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(f.dir); err != nil {
		return err
	}
	f.fans.Store(dir, true)
	return nil
}

// Open implements Store.
func (f *Files) Open(ctx context.Context, name id.ID) (io.ReadCloser, error) {
	const op = "blob.Files.Open"
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Timeout, op, "", err)
	}
	file, err := os.Open(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, op, "no-blob")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "open", err)
	}
	return file, nil
}

// Delete implements Store.
func (f *Files) Delete(ctx context.Context, name id.ID) error {
	const op = "blob.Files.Delete"
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.Timeout, op, "", err)
	}
	err := os.Remove(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fault.Wrap(fault.Unavailable, op, "remove", err)
}

// Each implements Store. What is being written, and what is no blob, is passed over.
func (f *Files) Each(ctx context.Context, fn func(name id.ID, size int64, modified time.Time) error) error {
	const op = "blob.Files.Each"
	fans, err := os.ReadDir(f.dir)
	if err != nil {
		return fault.Wrap(fault.Unavailable, op, "list", err)
	}
	for _, fan := range fans {
		if len(fan.Name()) != 2 || !fan.IsDir() {
			continue
		}
		if err := f.eachOf(ctx, fan.Name(), fn); err != nil {
			return err
		}
	}
	return nil
}

func (f *Files) eachOf(ctx context.Context, fan string, fn func(id.ID, int64, time.Time) error) error {
	const op = "blob.Files.Each"
	entries, err := os.ReadDir(filepath.Join(f.dir, fan))
	if err != nil {
		return fault.Wrap(fault.Unavailable, op, "list", err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(fault.Timeout, op, "", err)
		}
		name, err := id.Parse(e.Name())
		if err != nil || !strings.HasPrefix(name.String(), fan) || !e.Type().IsRegular() {
			continue
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return fault.Wrap(fault.Unavailable, op, "stat", err)
		}
		if err := fn(name, st.Size(), st.ModTime()); err != nil {
			return err
		}
	}
	return nil
}

// SweepTemporary removes what a process that died was writing: temporary files last
// written before olderThan. It returns how many.
func (f *Files) SweepTemporary(olderThan time.Time) (n int, err error) {
	const op = "blob.Files.SweepTemporary"
	dir := filepath.Join(f.dir, tmpDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, op, "list", err)
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil || !st.Mode().IsRegular() || !st.ModTime().Before(olderThan) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return n, fault.Wrap(fault.Unavailable, op, "remove", err)
		}
		n++
	}
	return n, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
