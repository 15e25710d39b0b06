// Package keyfile reads and makes files that hold one secret of 32 random octets. It
// refuses a file that another user could read. It never prints what it reads.
package keyfile

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pli/fault"
)

// Size is the length of a secret, in octets.
const Size = 32

// Create writes a new random secret to path, mode 0400, in base64 and a line end. It
// never overwrites: fault.Conflict when path exists. The secret is on disk when
// Create returns.
func Create(path string) error {
	const op = "keyfile.Create"
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Conflict, op, "exists")
	}
	if err != nil {
		return fault.Wrap(fault.Internal, op, "create", err)
	}
	secret := make([]byte, Size)
	defer clear(secret)
	rand.Read(secret) // never fails (crypto/rand)
	line := append(base64.StdEncoding.AppendEncode(nil, secret), '\n')
	defer clear(line)
	_, err = f.Write(line)
	err = errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
	if err != nil {
		_ = os.Remove(path)
	}
	return fault.Wrap(fault.Internal, op, "write", err)
}

// Read returns the secret in path: 32 raw octets, or their base64 with or without
// white space around it. fault.Invalid when the file may be read or written by its
// group or by others, or holds something else; fault.NotFound when there is none.
func Read(path string) ([]byte, error) {
	const op = "keyfile.Read"
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.NotFound, op, "no-key-file", err)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, "open", err)
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, fault.Wrap(fault.Internal, op, "stat", err)
	case !st.Mode().IsRegular():
		return nil, fault.New(fault.Invalid, op, "not-a-regular-file")
	case st.Mode().Perm()&0o077 != 0:
		return nil, fault.New(fault.Invalid, op, "readable-by-others")
	case st.Size() > 1024:
		return nil, fault.New(fault.Invalid, op, "not-a-key")
	}
	raw := make([]byte, st.Size())
	if _, err := f.ReadAt(raw, 0); err != nil {
		return nil, fault.Wrap(fault.Internal, op, "read", err)
	}
	if len(raw) == Size {
		return raw, nil
	}
	defer clear(raw)
	secret, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(raw)))
	if err != nil || len(secret) != Size {
		return nil, fault.New(fault.Invalid, op, "not-a-key") // the cause quotes octets
	}
	return secret, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
