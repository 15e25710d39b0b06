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

// partSize is the least S3 allows, in octets, and the most one writer keeps in memory.
const partSize = 5 << 20

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

// Create implements Store. Whether the name is free is known at Commit.
func (s *S3) Create(ctx context.Context, name id.ID) (Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Timeout, "blob.S3.Create", "", err)
	}
	return &s3Writer{store: s, name: name.String(), ctx: ctx}, nil
}

// s3Writer sends a blob of up to 5 MiB in one request at Commit, and a larger one in
// parts. The parts are ours to drive: the library's own multipart upload forgets, when
// it completes one, that it must not overwrite.
type s3Writer struct {
	store  *S3
	name   string
	ctx    context.Context
	part   []byte               // octets not yet sent, at most partSize
	upload string               // id of the multipart upload, once there is one
	sent   []minio.CompletePart // in order
	err    error                // of a write: such a blob is never committed
	closed bool
}

func (w *s3Writer) Write(p []byte) (n int, err error) {
	if w.closed {
		return 0, fault.New(fault.Internal, "blob.S3.Write", "writer-is-closed")
	}
	for len(p) > 0 && w.err == nil {
		if len(w.part) == partSize {
			w.err = w.send()
			continue
		}
		k := min(partSize-len(w.part), len(p))
		w.part = append(w.part, p[:k]...)
		p, n = p[k:], n+k
	}
	return n, w.err
}

// send sends the part in hand, beginning the multipart upload if it is the first.
func (w *s3Writer) send() error {
	const op = "blob.S3.send"
	core, bucket := w.store.core, w.store.bucket
	if w.upload == "" {
		id, err := core.NewMultipartUpload(w.ctx, bucket, w.name, createOnly())
		if err != nil {
			return s3Error(op, err)
		}
		w.upload = id
	}
	part, err := core.PutObjectPart(w.ctx, bucket, w.name, w.upload, len(w.sent)+1,
		bytes.NewReader(w.part), int64(len(w.part)), minio.PutObjectPartOptions{})
	if err != nil {
		return s3Error(op, err)
	}
	w.sent = append(w.sent, minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag})
	w.part = w.part[:0]
	return nil
}

func createOnly() minio.PutObjectOptions {
	opts := minio.PutObjectOptions{ContentType: "application/octet-stream", DisableMultipart: true}
	opts.SetMatchETagExcept("*")
	return opts
}

// Commit implements Writer: the store has answered that it keeps the object.
func (w *s3Writer) Commit() error {
	const op = "blob.S3.Commit"
	if w.closed {
		return fault.New(fault.Internal, op, "writer-is-closed")
	}
	core, bucket := w.store.core, w.store.bucket
	err := w.err
	switch {
	case err != nil:
	case w.upload == "":
		_, err = core.Client.PutObject(w.ctx, bucket, w.name, bytes.NewReader(w.part), int64(len(w.part)), createOnly())
		err = s3Error(op, err)
	default:
		if err = w.send(); err == nil {
			_, err = core.CompleteMultipartUpload(w.ctx, bucket, w.name, w.upload, w.sent, createOnly())
			err = s3Error(op, err)
		}
	}
	if err != nil {
		w.Abort()
	}
	w.closed, w.part = true, nil
	return err
}

const abortTimeout = 10 * time.Second

// Abort implements Writer. Parts that were sent are taken back, best effort: a store
// should also be told to drop unfinished uploads after a day.
func (w *s3Writer) Abort() {
	if w.closed {
		return
	}
	w.closed, w.part = true, nil
	if w.upload != "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), abortTimeout)
		defer cancel()
		_ = w.store.core.AbortMultipartUpload(ctx, w.store.bucket, w.name, w.upload)
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
