package webd

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed *.html
var templateFiles embed.FS

//go:embed static/*
var staticFiles embed.FS

// pageSet holds the templates of one language, each joined with the frame.
type pageSet struct {
	words *Words
	by    map[string]*template.Template
}

// page is what the frame shows around the content.
type page struct {
	Title   string // of the page alone; the frame adds the person and the service
	Lang    Lang
	Error   bool   // the title says « Erreur : »
	Nav     string // entry of the menu that is current; "" outside the space
	Owner   *Owner // nil before signing in
	Pending bool   // waits for an agreement: no menu yet
	Listed  bool   // there is a directory to search
	Path    string // where the language switch comes back to; "" leads to the home page
	Service string
	Config  Config
	Now     time.Time
	Data    any
}

func loadPages(w *Words, as *assets, now func() time.Time) (*pageSet, error) {
	funcs := template.FuncMap{
		"t": w.T, "n": w.N, "day": w.Day, "when": w.When, "date": w.Date, "clock": w.Clock, "month": w.Month,
		"short": func(t time.Time) string { return w.Short(t, now()) }, "birthday": w.BirthDay,
		"size": w.Size, "number": w.Number, "asset": as.url, "icon": icon,
		"iso":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"dict": dict, "known": w.Has,
	}
	shared, err := template.New("").Funcs(funcs).ParseFS(templateFiles, "frame.html", "parts.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(templateFiles, "*.html")
	if err != nil {
		return nil, err
	}
	ps := &pageSet{words: w, by: map[string]*template.Template{}}
	for _, n := range names {
		if n == "frame.html" || n == "parts.html" {
			continue
		}
		t, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		if ps.by[strings.TrimSuffix(n, ".html")], err = t.ParseFS(templateFiles, n); err != nil {
			return nil, err
		}
	}
	return ps, nil
}

// dict makes a map for a template that needs several values.
func dict(kv ...any) (map[string]any, error) {
	if len(kv)%2 != 0 {
		return nil, fmt.Errorf("dict: odd number of values")
	}
	m := make(map[string]any, len(kv)/2)
	for i := 0; i < len(kv); i += 2 {
		k, ok := kv[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: key %d is no text", i)
		}
		m[k] = kv[i+1]
	}
	return m, nil
}

// render writes a whole page, or nothing: a template that fails half-way never leaves
// half a page. status is that of the answer.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) error {
	p.Lang = langOf(r)
	p.Service, p.Config, p.Now, p.Listed = s.Config.Service, s.Config, s.Now(), s.Listings != nil
	if p.Path == "" && r.Method == http.MethodGet {
		p.Path = r.URL.RequestURI()
	}
	if p.Owner == nil {
		if v := visitOf(r); v != nil {
			p.Owner = v.owner
		}
	}
	t := s.pages[p.Lang].by[name]
	if t == nil {
		return fmt.Errorf("webd.render: no page %q", name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "frame", p); err != nil {
		return fmt.Errorf("webd.render %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", string(p.Lang))
	send(w, r, status, b.Bytes())
	return nil
}

// send writes b, gzipped when the browser takes it.
func send(w http.ResponseWriter, r *http.Request, status int, b []byte) {
	w.Header().Add("Vary", "Accept-Encoding")
	if len(b) > 1000 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		b = zip(b)
	}
	w.WriteHeader(status)
	w.Write(b) //nolint:errcheck // the browser left
}

func zip(b []byte) []byte {
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	g.Write(b) //nolint:errcheck // a buffer takes everything
	g.Close()  //nolint:errcheck
	return z.Bytes()
}

// langOf is the language chosen with the switch; French when none was.
func langOf(r *http.Request) Lang {
	if c, err := r.Cookie(langCookie); err == nil && c.Value == string(English) {
		return English
	}
	return French
}

func (s *Server) words(r *http.Request) *Words { return s.pages[langOf(r)].words }

// assets serves the style sheet and the icon under names that carry their hash, so
// that they are kept a year.
type assets struct {
	urls  map[string]string
	files map[string]asset
}

type asset struct {
	mediaType   string
	plain, gzip []byte
}

func loadAssets() (*assets, error) {
	a := &assets{urls: map[string]string{}, files: map[string]asset{}}
	names, err := fs.Glob(staticFiles, "static/*")
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		b, err := staticFiles.ReadFile(n)
		if err != nil {
			return nil, err
		}
		ext := path.Ext(n)
		sum := sha256.Sum256(b)
		name := strings.TrimSuffix(path.Base(n), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.urls[path.Base(n)] = "/static/" + name
		a.files[name] = asset{mediaType: mime.TypeByExtension(ext), plain: b, gzip: zip(b)}
	}
	return a, nil
}

func (a *assets) url(name string) (string, error) {
	u, ok := a.urls[name]
	if !ok {
		return "", fmt.Errorf("no asset %q", name)
	}
	return u, nil
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[r.PathValue("file")]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.mediaType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // the frame of an HTML body has no origin
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		w.Write(f.gzip) //nolint:errcheck // the browser left
		return
	}
	w.Write(f.plain) //nolint:errcheck
}
