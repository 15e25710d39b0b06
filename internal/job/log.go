package job

import (
	"context"
	"log/slog"
)

// libraryLogger lets through river's warnings, with the attributes that hold numbers
// and constants: its error texts quote the database, which quotes values.
func libraryLogger(log *slog.Logger) *slog.Logger {
	return slog.New(&libraryHandler{log.Handler()})
}

type libraryHandler struct{ to slog.Handler }

var libraryAttrs = map[string]bool{
	"job_id": true, "job_kind": true, "kind": true, "queue": true, "attempt": true,
	"num_jobs": true, "sleep_duration": true, "timeout": true, "error_count": true, "num_errors": true,
}

func (h *libraryHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.to.Enabled(ctx, l)
}

func (h *libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, "job library", r.PC)
	out.AddAttrs(slog.String("event", r.Message)) // its messages are constants
	r.Attrs(func(a slog.Attr) bool {
		if libraryAttrs[a.Key] {
			out.AddAttrs(a)
		}
		return true
	})
	return h.to.Handle(ctx, out)
}

func (h *libraryHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *libraryHandler) WithGroup(string) slog.Handler      { return h }
