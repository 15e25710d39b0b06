// Package obs is what the house tells its operator: JSON events without a person's
// data, keyed pseudonyms, and a private listener for health and metrics.
//
// Metrics are named pli_<package>_<what>_<unit>; their labels come from closed sets
// declared in code, never from a peer or a person. A constructor that has metrics
// takes a prometheus.Registerer.
package obs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pli/fault"
)

// NewLogger writes one JSON object per event to w, from level upwards.
//
// It lets numbers, times, opaque ids, constants and fault texts through; a value it
// does not know is shown as its type. Nothing turns that off. The text of an event is
// a constant; as a second guard, what looks like a mail address or an INS in any text
// is masked.
func NewLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: replace}))
}

// Pseudonym is a keyed hash of v, 16 hexadecimal digits, to follow one person through
// the log without naming them. A new key makes new pseudonyms.
func Pseudonym(key []byte, v string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("pli pseudonym\x00"))
	m.Write([]byte(v))
	return hex.EncodeToString(m.Sum(nil)[:8])
}

const (
	readyTimeout = 5 * time.Second
	stopTimeout  = 2 * time.Second
)

// Serve answers on ln until ctx is done: /livez (the process runs), /readyz (ready
// returned nil; 503 and its cause otherwise), /metrics. ln is for the operator's own
// network: nothing here asks who calls.
func Serve(ctx context.Context, ln net.Listener, reg *prometheus.Registry, ready func(context.Context) error) error {
	const op = "obs.Serve"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := ready(ctx); err != nil {
			answer(w, http.StatusServiceUnavailable, ErrorText(err))
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
		ErrorLog: log.New(io.Discard, "", 0), // it would quote what the caller sent
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fault.Wrap(fault.Unavailable, op, "listener", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		_ = srv.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fault.Wrap(fault.Unavailable, op, "listener", err)
	}
	return nil
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
