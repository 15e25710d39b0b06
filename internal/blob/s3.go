package blob

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"pli/fault"
	"pli/internal/id"
)

// S3Config says where an S3 store is.
type S3Config struct {
	Endpoint   string `toml:"endpoint"`    // host or host:port
	Region     string `toml:"region"`      // may be empty
	Bucket     string `toml:"bucket"`      // made when missing, if the credentials allow it
	AccessFile string `toml:"access_file"` // file that holds the access key
	SecretFile string `toml:"secret_file"` // file that holds the secret key
	Insecure   bool   `toml:"insecure"`    // HTTP, for a store on the same machine
}

// S3 keeps blobs as objects named by their UUID. Safe for concurrent use.
type S3 struct {
	core   minio.Core
	bucket string
}

const (
	partSize  = 5 << 20   // octets; the least S3 allows, and what one upload keeps in memory
	smallSize = 256 << 10 // up to here a blob goes in one request, of known length
)

// OpenS3 connects, and makes the bucket if it is not there.
func OpenS3(ctx context.Context, c S3Config) (*S3, error) {
	const op = "blob.OpenS3"
	access, err := readCredential(c.AccessFile)
	if err != nil {
		return nil, err
	}
	secret, err := readCredential(c.SecretFile)
	if err != nil {
		return nil, err
	}
	core, err := minio.NewCore(c.Endpoint, &minio.Options{
		Creds:  credentials.NewStaticV4(access, secret, ""),
		Secure: !c.Insecure, Region: c.Region, MaxRetries: 3,
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, op, "endpoint")
	}
	s := &S3{core: *core, bucket: c.Bucket}
	there, err := s.core.BucketExists(ctx, c.Bucket)
	if err != nil {
		return nil, s3Error(op, err)
	}
	if !there {
		if err := s.core.MakeBucket(ctx, c.Bucket, minio.MakeBucketOptions{Region: c.Region}); err != nil {
			return nil, s3Error(op, err)
		}
	}
	return s, nil
}

func readCredential(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "blob.OpenS3", "credential-file", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// s3Error keeps the store's code and drops its message.
func s3Error(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, op, "", err)
	}
	r := minio.ToErrorResponse(err)
	switch {
	case r.Code == minio.NoSuchKey:
		return fault.New(fault.NotFound, op, "no-blob")
	case r.StatusCode == http.StatusPreconditionFailed, r.Code == minio.PreconditionFailed,
		r.Code == "ConditionalRequestConflict":
		return fault.New(fault.Conflict, op, "exists")
	case r.Code == minio.AccessDenied, r.Code == "InvalidAccessKeyId", r.Code == "SignatureDoesNotMatch":
		return fault.New(fault.Unavailable, op, "s3-refuses-our-credentials")
	default:
		return fault.New(fault.Unavailable, op, "s3")
	}
}

// Create implements Store. The name is checked at Commit.
func (s *S3) Create(ctx context.Context, name id.ID) (Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Timeout, "blob.S3.Create", "", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	return &s3Writer{store: s, name: name.String(), ctx: ctx, cancel: cancel}, nil
}

// s3Writer holds a small blob back, to send it in one request, and streams a larger
// one through a pipe to a multipart upload, 5 MiB at a time.
type s3Writer struct {
	store  *S3
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	held   bytes.Buffer
	pipe   *io.PipeWriter // nil while the blob is small
	result chan error     // of the upload behind the pipe, once
	closed bool
}

func (w *s3Writer) Write(p []byte) (int, error) {
	const op = "blob.S3.Write"
	if w.closed {
		return 0, fault.New(fault.Internal, op, "writer-is-closed")
	}
	if w.pipe == nil {
		if w.held.Len()+len(p) <= smallSize {
			return w.held.Write(p)
		}
		w.stream()
	}
	n, err := w.pipe.Write(p)
	return n, s3Error(op, err)
}

// stream starts the upload; what is held goes first.
func (w *s3Writer) stream() {
	r, pipe := io.Pipe()
	w.pipe, w.result = pipe, make(chan error, 1)
	held := bytes.NewReader(w.held.Bytes())
	go func() {
		err := w.store.put(w.ctx, w.name, io.MultiReader(held, r), -1)
		if err != nil {
			_ = r.CloseWithError(err) // the writer must not wait for a reader that is gone
		}
		w.result <- err
	}()
}

func (s *S3) put(ctx context.Context, name string, r io.Reader, size int64) error {
	opts := minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: partSize, NumThreads: 1, DisableMultipart: size >= 0,
	}
	opts.SetMatchETagExcept("*") // create only
	_, err := s.core.Client.PutObject(ctx, s.bucket, name, r, size, opts)
	return err
}

// Commit implements Writer: the store has answered that it keeps the object.
func (w *s3Writer) Commit() error {
	const op = "blob.S3.Commit"
	if w.closed {
		return fault.New(fault.Internal, op, "writer-is-closed")
	}
	w.closed = true
	defer w.cancel()
	if w.pipe == nil {
		b := w.held.Bytes()
		return s3Error(op, w.store.put(w.ctx, w.name, bytes.NewReader(b), int64(len(b))))
	}
	_ = w.pipe.Close()
	return s3Error(op, <-w.result)
}

// Abort implements Writer.
func (w *s3Writer) Abort() {
	if w.closed {
		return
	}
	w.closed = true
	w.cancel()
	if w.pipe != nil {
		_ = w.pipe.CloseWithError(context.Canceled)
		<-w.result
	}
}

// Open implements Store: one request.
func (s *S3) Open(ctx context.Context, name id.ID) (io.ReadCloser, error) {
	r, _, _, err := s.core.GetObject(ctx, s.bucket, name.String(), minio.GetObjectOptions{})
	if err != nil {
		return nil, s3Error("blob.S3.Open", err)
	}
	return s3Reader{r}, nil
}

// s3Reader keeps the library's error texts in.
type s3Reader struct{ io.ReadCloser }

func (r s3Reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = s3Error("blob.S3.Read", err)
	}
	return n, err
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, name id.ID) error {
	err := s3Error("blob.S3.Delete", s.core.RemoveObject(ctx, s.bucket, name.String(), minio.RemoveObjectOptions{}))
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Each implements Store.
func (s *S3) Each(ctx context.Context, fn func(name id.ID, size int64, modified time.Time) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing when fn stops it
	for o := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return s3Error("blob.S3.Each", o.Err)
		}
		name, err := id.Parse(o.Key)
		if err != nil {
			continue // not ours
		}
		if err := fn(name, o.Size, o.LastModified); err != nil {
			return err
		}
	}
	return nil
}
