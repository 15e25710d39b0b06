package national

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pli/codec/extraction"
	"pli/fault"
)

const (
	fetchTries   = 6
	fetchPause   = 2 * time.Second // before the second try; doubles
	fetchSilence = time.Minute     // without an octet
	maxRedirects = 3
)

// Fetched is a file that was fetched.
type Fetched struct {
	Path string
	New  bool // it is not the one fetched before
}

// kept is what we know of the file fetched, beside it.
type kept struct {
	URL      string `json:"url"`
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"last_modified,omitempty"`
}

// Fetch brings a published file into Config.Dir, under the name of its dataset. What the
// server says has not changed is not fetched again; a transfer that was cut off goes on
// where it stopped, in this call or the next. One transfer at a time in a folder.
//
// Errors: fault.Invalid for what is no https URL; fault.Conflict (fetch-runs);
// fault.TooLarge; fault.Unavailable for a server that does not give the file.
func (im *Importer) Fetch(ctx context.Context, d extraction.Dataset, address string) (Fetched, error) {
	const op = "national.Fetch"
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return Fetched{}, fault.New(fault.Invalid, op, "url") // the cause would quote it
	}
	if err := os.MkdirAll(im.Config.Dir, 0o750); err != nil {
		return Fetched{}, fault.New(fault.Unavailable, op, "folder")
	}
	unlock, err := lockFolder(im.Config.Dir)
	if err != nil {
		return Fetched{}, err
	}
	defer unlock()
	t := &transfer{im: im, url: u.String(), path: filepath.Join(im.Config.Dir, string(d)+".zip"), client: im.client()}
	defer t.client.CloseIdleConnections()
	pause := im.pause
	for try := 1; ; try++ {
		f, err := t.once(ctx)
		if err == nil || try == fetchTries || !worthAnother(err) {
			return f, err
		}
		im.step("again")
		select {
		case <-ctx.Done():
			return Fetched{}, fault.Wrap(fault.Timeout, op, "", ctx.Err())
		case <-time.After(pause):
		}
		pause *= 2
	}
}

func worthAnother(err error) bool {
	return fault.Is(err, fault.Unavailable) || fault.Is(err, fault.RateLimited)
}

// lockFolder keeps two processes from fetching into one folder.
func lockFolder(dir string) (unlock func(), err error) {
	const op = "national.Fetch"
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, "folder")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.New(fault.Conflict, op, "fetch-runs")
	}
	return func() { f.Close() }, nil
}

// client trusts the authorities configured, and nobody who would leave TLS.
func (im *Importer) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{RootCAs: im.Config.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: fetchSilence,
			DisableCompression: true, // a ZIP, in octets that may be counted
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Scheme != "https" || len(via) > maxRedirects {
				return errRedirect
			}
			return nil
		},
	}
}

var errRedirect = errors.New("national: redirected away")

// transfer is one file on its way: path is the file, path.part what has come so far,
// and beside each, in path.json and path.part.json, what the server said of it.
type transfer struct {
	im     *Importer
	url    string
	path   string
	client *http.Client
}

func (t *transfer) partial() string { return t.path + ".part" }

func (t *transfer) once(ctx context.Context) (Fetched, error) {
	const op = "national.Fetch"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return Fetched{}, fault.New(fault.Invalid, op, "url")
	}
	req.Header.Set("Accept", "application/zip, application/octet-stream")
	from := t.ask(req)
	resp, err := t.client.Do(req)
	if err != nil {
		return Fetched{}, netFault(ctx, op, "unreachable", err)
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusNotModified:
		return Fetched{Path: t.path}, nil
	case code == http.StatusOK:
		from = 0
	case code == http.StatusPartialContent && from > 0 && begins(resp.Header.Get("Content-Range"), from):
	case code == http.StatusRequestedRangeNotSatisfiable, code == http.StatusPartialContent:
		t.forget()
		return Fetched{}, fault.New(fault.Unavailable, op, "range")
	case code == http.StatusTooManyRequests:
		return Fetched{}, fault.New(fault.RateLimited, op, "status-429")
	default:
		kind := fault.NotFound
		if code >= 500 {
			kind = fault.Unavailable
		}
		return Fetched{}, fault.New(kind, op, "status-"+strconv.Itoa(code))
	}
	return t.receive(ctx, cancel, resp, from)
}

// ask makes the request conditional on what we have, and returns from which octet on it
// asks.
func (t *transfer) ask(req *http.Request) (from int64) {
	if k, ok := t.read(t.partial()); ok && k.URL == t.url && k.ETag+k.Modified != "" {
		if st, err := os.Stat(t.partial()); err == nil && st.Size() > 0 {
			req.Header.Set("Range", "bytes="+strconv.FormatInt(st.Size(), 10)+"-")
			req.Header.Set("If-Range", first(k.ETag, k.Modified))
			return st.Size()
		}
	}
	if k, ok := t.read(t.path); ok && k.URL == t.url {
		if k.ETag != "" {
			req.Header.Set("If-None-Match", k.ETag)
		}
		if k.Modified != "" {
			req.Header.Set("If-Modified-Since", k.Modified)
		}
	}
	return 0
}

// begins reads "bytes 100-199/200".
func begins(contentRange string, from int64) bool {
	rest, ok := strings.CutPrefix(contentRange, "bytes ")
	start, _, _ := strings.Cut(rest, "-")
	n, err := strconv.ParseInt(start, 10, 64)
	return ok && err == nil && n == from
}

// receive writes the body after what is there, and puts the file in its place once whole.
func (t *transfer) receive(ctx context.Context, cancel context.CancelFunc, resp *http.Response, from int64) (Fetched, error) {
	const op = "national.Fetch"
	k := kept{URL: t.url, ETag: resp.Header.Get("ETag"), Modified: resp.Header.Get("Last-Modified")}
	if strings.HasPrefix(k.ETag, "W/") && from == 0 && k.Modified != "" {
		k.ETag = "" // a weak one is no ground for a range (RFC 9110 §13.1.5)
	}
	most := t.im.Config.MaxSize
	if resp.ContentLength > most-from {
		return Fetched{}, fault.New(fault.TooLarge, op, "too-large")
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if from == 0 {
		t.forget()
		flags |= os.O_TRUNC
		if err := t.write(t.partial(), k); err != nil {
			return Fetched{}, fault.New(fault.Unavailable, op, "folder")
		}
	}
	f, err := os.OpenFile(t.partial(), flags, 0o640)
	if err != nil {
		return Fetched{}, fault.New(fault.Unavailable, op, "folder")
	}
	defer f.Close()
	quiet := time.AfterFunc(fetchSilence, cancel)
	defer quiet.Stop()
	n, err := io.Copy(f, io.LimitReader(&watched{resp.Body, quiet}, most-from+1))
	switch {
	case err != nil:
		return Fetched{}, netFault(ctx, op, "cut-off", err)
	case n > most-from:
		t.forget()
		return Fetched{}, fault.New(fault.TooLarge, op, "too-large")
	case resp.ContentLength >= 0 && n != resp.ContentLength:
		return Fetched{}, fault.New(fault.Unavailable, op, "cut-off")
	}
	if err := errors.Join(f.Sync(), f.Close(), os.Rename(t.partial(), t.path), t.write(t.path, k)); err != nil {
		return Fetched{}, fault.New(fault.Unavailable, op, "folder")
	}
	_ = os.Remove(t.partial() + ".json")
	return Fetched{Path: t.path, New: true}, nil
}

// watched puts off the silence at each read.
type watched struct {
	r     io.Reader
	quiet *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.quiet.Reset(fetchSilence)
	}
	return n, err
}

func (t *transfer) read(path string) (k kept, ok bool) {
	b, err := os.ReadFile(path + ".json")
	if err != nil || json.Unmarshal(b, &k) != nil {
		return kept{}, false
	}
	_, err = os.Stat(path)
	return k, err == nil
}

func (t *transfer) write(path string, k kept) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(path+".json", b, 0o640)
}

// forget drops what had come of a transfer.
func (t *transfer) forget() {
	_ = os.Remove(t.partial())
	_ = os.Remove(t.partial() + ".json")
}

// netFault says that the network failed, without the address that Go's errors quote.
func netFault(ctx context.Context, op, code string, err error) error {
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert):
		return fault.New(fault.Untrusted, op, "certificate")
	case errors.Is(err, errRedirect):
		return fault.New(fault.Untrusted, op, "redirected")
	case errors.Is(err, syscall.ENOSPC):
		return fault.New(fault.Quota, op, "disk-full")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(fault.Timeout, op, "")
	}
	return fault.New(fault.Unavailable, op, code)
}
