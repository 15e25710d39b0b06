package national

import (
	"bytes"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pli/codec/extraction"
	"pli/fault"
)

// annuaire is a server of extractions that may be told to misbehave.
type annuaire struct {
	*httptest.Server
	content []byte
	etag    string
	cut     int // octets after which the connection is cut, once
	fail    int // answers of 503 to come
	noRange bool
	asked   []http.Header
}

func newAnnuaire(t *testing.T, content []byte) *annuaire {
	a := &annuaire{content: content, etag: `"1"`}
	a.Server = httptest.NewUnstartedServer(a)
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func (a *annuaire) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked = append(a.asked, r.Header.Clone())
	if a.fail > 0 {
		a.fail--
		http.Error(w, "", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("ETag", a.etag)
	if a.noRange {
		r.Header.Del("Range")
	}
	if a.cut > 0 {
		cut := a.cut
		a.cut = 0
		w.Header().Set("Content-Length", strconv.Itoa(len(a.content)))
		_, _ = w.Write(a.content[:cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Date(2026, 8, 26, 6, 0, 0, 0, time.UTC), bytes.NewReader(a.content))
}

func fetcher(t *testing.T, a *annuaire) *Importer {
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	im := New(Deps{Config: Config{Dir: t.TempDir(), Roots: roots, MaxSize: 1 << 20}})
	im.pause = time.Millisecond
	return im
}

func fetch(t *testing.T, im *Importer, a *annuaire) Fetched {
	t.Helper()
	f, err := im.Fetch(t.Context(), extraction.Correspondances, a.URL+"/x")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(f.Path); err != nil || !bytes.Equal(got, a.content) {
		t.Fatalf("%d octets, %v", len(got), err)
	}
	return f
}

func TestFetch(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
	t.Run("what did not change is not fetched again", func(t *testing.T) {
		a := newAnnuaire(t, content)
		im := fetcher(t, a)
		if f := fetch(t, im, a); !f.New {
			t.Fatal("not new")
		}
		if f := fetch(t, im, a); f.New {
			t.Fatal("fetched again")
		}
		if last := a.asked[1]; last.Get("If-None-Match") != a.etag || last.Get("If-Modified-Since") == "" {
			t.Fatal(last)
		}
		a.content, a.etag = append([]byte("new"), content...), `"2"`
		if f := fetch(t, im, a); !f.New {
			t.Fatal("not new")
		}
	})
	t.Run("what was cut off goes on", func(t *testing.T) {
		a := newAnnuaire(t, content)
		a.cut = len(content) / 2
		im := fetcher(t, a)
		fetch(t, im, a)
		if len(a.asked) != 2 || a.asked[1].Get("Range") != "bytes="+strconv.Itoa(len(content)/2)+"-" || a.asked[1].Get("If-Range") != `"1"` {
			t.Fatal(a.asked)
		}
	})
	t.Run("unless it changed meanwhile", func(t *testing.T) {
		a := newAnnuaire(t, content)
		a.cut = len(content) / 2
		im := fetcher(t, a)
		im.step = func(string) { a.etag, a.content = `"2"`, bytes.ToUpper(content) }
		fetch(t, im, a)
	})
	t.Run("or the server knows no ranges", func(t *testing.T) {
		a := newAnnuaire(t, content)
		a.cut, a.noRange = len(content)/2, true
		fetch(t, fetcher(t, a), a)
	})
	t.Run("in the next call too", func(t *testing.T) {
		a := newAnnuaire(t, content)
		im := fetcher(t, a)
		for _, cut := range []int{1000, 500} {
			a.cut, a.fail = cut, 0
			im.step = func(string) { a.fail = 100 }
			if _, err := im.Fetch(t.Context(), extraction.Correspondances, a.URL+"/x"); !fault.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(im.Config.Dir, "correspondance.zip")); err == nil {
				t.Fatal("half a file in place of the whole")
			}
		}
		a.fail = 0
		fetch(t, im, a)
	})
	t.Run("a server that is ill is asked again", func(t *testing.T) {
		a := newAnnuaire(t, content)
		a.fail = 3
		fetch(t, fetcher(t, a), a)
		if len(a.asked) != 4 {
			t.Fatal(len(a.asked))
		}
	})
}

func TestFetchRefuses(t *testing.T) {
	a := newAnnuaire(t, make([]byte, 2<<20))
	im := fetcher(t, a)
	if _, err := im.Fetch(t.Context(), extraction.Correspondances, a.URL+"/x"); !fault.Is(err, fault.TooLarge) {
		t.Errorf("too large: %v", err)
	}
	for _, u := range []string{"http://annuaire.example/x", "ftp://x", "/etc/passwd", "https://", "::"} {
		if _, err := im.Fetch(t.Context(), extraction.Correspondances, u); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", u, err)
		}
	}
	strange := New(Deps{Config: Config{Dir: t.TempDir(), Roots: x509.NewCertPool()}})
	if _, err := strange.Fetch(t.Context(), extraction.Correspondances, a.URL+"/x"); !fault.Is(err, fault.Untrusted) {
		t.Errorf("a certificate of nobody: %v", err)
	}
	unlock, err := lockFolder(im.Config.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := im.Fetch(t.Context(), extraction.Correspondances, a.URL+"/x"); !fault.Is(err, fault.Conflict) {
		t.Errorf("two at once: %v", err)
	}
	unlock()
	plain := httptest.NewServer(a)
	defer plain.Close()
	away := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer away.Close()
	im.Config.Roots.AddCert(away.Certificate())
	if _, err := im.Fetch(t.Context(), extraction.Correspondances, away.URL); !fault.Is(err, fault.Untrusted) {
		t.Errorf("out of TLS: %v", err)
	}
}
