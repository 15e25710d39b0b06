package obs

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"syscall"

	"pli/fault"
)

// replace is the logger's ReplaceAttr: deny by default.
func replace(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(mask(a.Value.String()))
	case slog.KindAny:
		a.Value = slog.AnyValue(safe(a.Value.Any(), 0))
	}
	return a
}

// told are packages whose types print opaque or technical values only.
var told = map[string]bool{
	"pli/internal/id": true, "pli/fault": true, "time": true, "log/slog": true, "net": true, "net/netip": true,
}

// safe is what may be shown of v: its value when that is a number, a masked text, an
// error without what it quotes, or a short list of those; else its type.
func safe(v any, depth int) any {
	switch v := v.(type) {
	case nil:
		return nil
	case error:
		return ErrorText(v)
	case slog.LogValuer:
		return safe(v.LogValue().Resolve().Any(), depth)
	}
	r := reflect.ValueOf(v)
	if s, ok := v.(fmt.Stringer); ok && (told[r.Type().PkgPath()] || r.Kind() == reflect.String) {
		return mask(s.String())
	}
	switch r.Kind() {
	case reflect.String:
		return mask(r.String())
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return v
	case reflect.Slice, reflect.Array:
		return safeList(r, depth)
	}
	return "[" + r.Type().String() + "]"
}

const mostListed = 50

func safeList(r reflect.Value, depth int) any {
	if r.Type().Elem().Kind() == reflect.Uint8 {
		return fmt.Sprintf("[%d octets]", r.Len())
	}
	if depth > 0 || r.Len() > mostListed {
		return fmt.Sprintf("[%d of %s]", r.Len(), r.Type())
	}
	list := make([]any, r.Len())
	for i := range list {
		list[i] = safe(r.Index(i).Interface(), depth+1)
	}
	return list
}

// What a person's data look like when they slip into a text: an address; 13 to 15
// characters of an INS, grouped or not.
var (
	addressLike = regexp.MustCompile(`[^\s@<>"(),;:/]+@(?:[\pL0-9-]+\.)+[\pL]{2,}`)
	insLike     = regexp.MustCompile(`\b[123478](?:[ \x{a0}\x{202f}.-]?\d{2}){2}[ \x{a0}\x{202f}.-]?\d[\dAB](?:[ \x{a0}\x{202f}.-]?\d{3}){2}(?:[ \x{a0}\x{202f}.-]?\d{2})?\b`)
)

func mask(s string) string {
	if len(s) < 6 {
		return s
	}
	return insLike.ReplaceAllString(addressLike.ReplaceAllString(s, "[address]"), "[number]")
}

// ErrorText is what may be kept or shown of an error: operation, kind and code of each
// fault in its chain, and of what lies below its type and the system's error number.
// Texts that other people's code and other people's servers wrote are left out.
func ErrorText(err error) string {
	s := ""
	for err != nil {
		var f *fault.Error
		if !errors.As(err, &f) {
			return s + foreign(err)
		}
		s += f.Op + ": " + f.Kind.String()
		if f.Code != "" {
			s += " [" + f.Code + "]"
		}
		if err = f.Err; err != nil {
			s += ": "
		}
	}
	return s
}

func foreign(err error) string {
	s := fmt.Sprintf("%T", err)
	var no syscall.Errno
	if errors.As(err, &no) {
		s += " (" + no.Error() + ")"
	}
	return s
}
