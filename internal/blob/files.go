package blob

import (
	"context"
	"io"
	"time"

	"pli/fault"
	"pli/internal/id"
)

var errStub = fault.New(fault.Internal, "blob", "not-yet")

// Files keeps blobs in a folder.
type Files struct{}

func OpenFiles(dir string) (*Files, error)                                   { return nil, errStub }
func (f *Files) Create(ctx context.Context, name id.ID) (Writer, error)      { return nil, errStub }
func (f *Files) Open(ctx context.Context, name id.ID) (io.ReadCloser, error) { return nil, errStub }
func (f *Files) Delete(ctx context.Context, name id.ID) error                { return errStub }
func (f *Files) Each(ctx context.Context, fn func(name id.ID, size int64, modified time.Time) error) error {
	return errStub
}
func (f *Files) SweepTemporary(olderThan time.Time) (n int, err error) { return 0, errStub }

// S3Config says where an S3 store is.
type S3Config struct {
	Endpoint   string `toml:"endpoint"`
	Region     string `toml:"region"`
	Bucket     string `toml:"bucket"`
	AccessFile string `toml:"access_file"`
	SecretFile string `toml:"secret_file"`
	Insecure   bool   `toml:"insecure"`
}

type S3 struct{}

func OpenS3(ctx context.Context, c S3Config) (*S3, error)                 { return nil, errStub }
func (s *S3) Create(ctx context.Context, name id.ID) (Writer, error)      { return nil, errStub }
func (s *S3) Open(ctx context.Context, name id.ID) (io.ReadCloser, error) { return nil, errStub }
func (s *S3) Delete(ctx context.Context, name id.ID) error                { return errStub }
func (s *S3) Each(ctx context.Context, fn func(name id.ID, size int64, modified time.Time) error) error {
	return errStub
}
