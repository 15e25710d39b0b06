package fhird

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"pli/fault"
	"pli/identity"
)

// note is what the event of a request says, gathered on its way.
type note struct {
	id        string
	route     string // a constant of route.go, never the path
	who       identity.SignIn
	err       error
	resources int
}

type noteKey struct{}

func noteOf(r *http.Request) *note {
	n, _ := r.Context().Value(noteKey{}).(*note)
	if n == nil {
		n = &note{}
	}
	return n
}

// guard is around everything: headers, time, panics caught, one event per request.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		n := &note{id: newID(), route: routeNone}
		rec := &recorder{ResponseWriter: w}
		h := rec.Header()
		h.Set("X-Request-Id", n.id)
		h.Set("Cache-Control", "private, no-cache")
		h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), noteKey{}, n), requestTime)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(rec, r.Body, bodySize)
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler { //nolint:errorlint // the very value
					panic(v)
				}
				s.fail(rec, r, fault.Panic("fhird", v))
			}
			s.report(r, rec, n, time.Since(began))
		}()
		next.ServeHTTP(rec, r)
	})
}

func newID() string {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// report writes the one event of a request: its route, never its path or what it sought.
func (s *Server) report(r *http.Request, rec *recorder, n *note, took time.Duration) {
	s.metrics.seconds.WithLabelValues(n.route, fmt.Sprintf("%dxx", rec.status/100)).Observe(took.Seconds())
	attrs := []slog.Attr{slog.String("route", n.route), slog.Int("status", rec.status), slog.Duration("took", took),
		slog.Int64("size", rec.size), slog.String("id", n.id)}
	if n.who.Account != 0 {
		attrs = append(attrs, slog.Any("account", n.who.Account), slog.Any("bal", n.who.BAL), slog.Int("resources", n.resources))
	}
	level := slog.LevelInfo
	if n.err != nil {
		attrs = append(attrs, slog.String("kind", fault.KindOf(n.err).String()), slog.Any("error", n.err))
	}
	if rec.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	s.d.Log.LogAttrs(context.WithoutCancel(r.Context()), level, "fhir request", attrs...)
}

// recorder remembers the status and counts the octets.
type recorder struct {
	http.ResponseWriter
	status int
	size   int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.size += int64(n)
	return n, err
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
