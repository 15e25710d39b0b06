package obs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/mail"
)

// What must never be printed: every value below holds one of the marks.
const (
	markAddress = "canari.exemple@mss-a.example"
	markINS     = "279035121518989"
	markName    = "CANARIEXEMPLE"
)

func ins(t *testing.T) health.INS {
	t.Helper()
	i, err := health.ParseINS(markINS)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func mustNotTell(t *testing.T, what, out string) {
	t.Helper()
	flat := strings.NewReplacer(" ", "", "\u00a0", "", "-", "", ".", "", `\u00a0`, "").Replace(out)
	for _, mark := range []string{"canari", markINS, markINS[:13]} {
		if strings.Contains(strings.ToLower(out), mark) || strings.Contains(strings.ToLower(flat), mark) {
			t.Errorf("%s tells: %s", what, out)
		}
	}
}

func TestLoggerNeverTellsAPerson(t *testing.T) {
	address, number := mail.MustAddress(markAddress), ins(t)
	traits := health.Traits{BirthName: markName, GivenNames: markName, BirthDate: "19790312"}
	type inner struct {
		Address mail.Address
		hidden  mail.Address
		INS     health.INS
		Traits  health.Traits
		Text    string
	}
	nested := inner{address, address, number, traits, markName}
	_ = nested.hidden
	envelope := mail.Envelope{ReversePath: address, EnvelopeID: markName,
		Recipients: []mail.Recipient{{Address: address, Original: markAddress}}}
	values := map[string]any{
		"address": address, "ins": number, "traits": traits, "pointer": &traits, "nested": nested,
		"deep": struct{ In *inner }{&nested}, "envelope": envelope, "list": []mail.Address{address},
		"list of traits": []health.Traits{traits}, "lists": [][]mail.Address{{address}},
		"any list": []any{address, traits, nested, markAddress}, "map": map[string]any{markName: address},
		"octets": []byte(markName), "raw json": json.RawMessage(`"` + markName + `"`),
		"error":       fmt.Errorf("550 <%s> unknown", markAddress),
		"fault":       fault.Wrap(fault.NotFound, "test.Op", "no-box", fmt.Errorf("no %s", markName)),
		"text":        "to <" + markAddress + ">: refused",
		"accented":    "à mme.canari-éé@hôpital.example,",
		"ins text":    "patient " + markINS + " seen",
		"ins grouped": "patient " + number.Grouped() + ".",
		"spaced":      "2 79 03 51 215 189 89",
		"func":        func() string { return markName },
		"header":      http.Header{"Subject": {markName}},
		"values":      slog.GroupValue(slog.Any("in", nested), slog.String("a", markAddress)),
		"valuer":      valuer{},
	}
	for name, v := range values {
		for form, write := range map[string]func(*slog.Logger){
			"attr":    func(l *slog.Logger) { l.Info("event", "v", v) },
			"any":     func(l *slog.Logger) { l.LogAttrs(t.Context(), slog.LevelWarn, "event", slog.Any("v", v)) },
			"group":   func(l *slog.Logger) { l.Info("event", slog.Group("g", slog.Group("h", "v", v))) },
			"with":    func(l *slog.Logger) { l.With("v", v).Info("event") },
			"grouped": func(l *slog.Logger) { l.WithGroup("g").With("v", v).Error("event", "v", v) },
		} {
			var out bytes.Buffer
			write(NewLogger(&out, slog.LevelInfo))
			if !json.Valid(out.Bytes()) || !strings.Contains(out.String(), `"msg":"event"`) {
				t.Errorf("%s as %s: %s", name, form, out.String())
			}
			mustNotTell(t, name+" as "+form, out.String())
		}
	}
	var out bytes.Buffer
	NewLogger(&out, slog.LevelInfo).Info("a text that should be constant: " + markAddress)
	mustNotTell(t, "the event's text", out.String())
}

// valuer gives a struct when asked for its value.
type valuer struct{}

func (valuer) LogValue() slog.Value {
	return slog.AnyValue(struct {
		A mail.Address
		S string
	}{mail.MustAddress(markAddress), markName})
}

type role string

func TestLoggerTellsWhatMayBeTold(t *testing.T) {
	box, letter := id.BAL(41), id.New()
	var out bytes.Buffer
	NewLogger(&out, slog.LevelInfo).Info("event",
		"bal", box, "letter", letter, "size", int64(1<<40), "took", 3*time.Millisecond, "ok", true,
		"kind", fault.Quota, "rules", []string{"R-MASK-02", "R-READ-01"}, "roles", []role{"smtp", "imap"},
		"ip", netip.MustParseAddr("127.0.0.1"), "bals", []id.BAL{1, 2}, "letters", []id.Letter{letter},
		"err", fault.Wrap(fault.Unavailable, "blob.Commit", "sync", &os.PathError{Op: "sync", Path: "/" + markName, Err: os.ErrPermission}),
		"module", "github.com/emersion/go-imap/v2@v2.0.0-beta.8/imapserver/conn.go:12")
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"level": "INFO", "msg": "event", "bal": "41", "letter": letter.String(), "size": "1.099511627776e+12",
		"took": "3e+06", "ok": "true", "kind": "quota", "rules": "[R-MASK-02 R-READ-01]", "roles": "[smtp imap]",
		"ip": "127.0.0.1", "bals": "[1 2]", "letters": "[" + letter.String() + "]",
		"err":    "blob.Commit: unavailable [sync]: *fs.PathError",
		"module": "github.com/emersion/go-imap/v2@v2.0.0-beta.8/imapserver/conn.go:12",
	} {
		if s := fmt.Sprint(got[key]); s != want {
			t.Errorf("%s: %s, want %s", key, s, want)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got["time"])); err != nil {
		t.Error(err)
	}
	out.Reset()
	NewLogger(&out, slog.LevelWarn).Info("event")
	if out.Len() != 0 {
		t.Error("an event below the level is written")
	}
}

func TestErrorText(t *testing.T) {
	_, noFile := os.Open("/nowhere/" + markName)
	for want, err := range map[string]error{
		"":                                    nil,
		"a.B: quota: c.D: not-found [no-box]": fault.Wrap(fault.Quota, "a.B", "", fmt.Errorf("%s: %w", markName, fault.New(fault.NotFound, "c.D", "no-box"))),
		"*errors.errorString":                 errors.New(markName),
		"*fs.PathError (no such file or directory)": noFile,
	} {
		if got := ErrorText(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add("a@b.fr", "x")
	f.Add("é.è+1@x-y.example", "(")
	f.Fuzz(func(t *testing.T, around, more string) {
		a, err := mail.ParseAddress(strings.TrimSpace(around))
		if err != nil || !letters(a.Domain()) {
			return
		}
		if out := mask(more + " <" + a.Reveal() + "> " + more); strings.Contains(out, "<"+a.Reveal()+">") {
			t.Fatalf("%q", out)
		}
	})
}

// letters reports whether the last label of a domain is one of the real world.
func letters(domain string) bool {
	top := domain[strings.LastIndexByte(domain, '.')+1:]
	return len(top) >= 2 && strings.Trim(top, "abcdefghijklmnopqrstuvwxyz") == ""
}

func TestPseudonym(t *testing.T) {
	a := Pseudonym([]byte("key one"), markAddress)
	if len(a) != 16 || a != Pseudonym([]byte("key one"), markAddress) {
		t.Fatalf("%q", a)
	}
	if a == Pseudonym([]byte("key two"), markAddress) || a == Pseudonym([]byte("key one"), markName) {
		t.Fatal("another key or value gives the same pseudonym")
	}
}

func TestServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	hits := prometheus.NewCounter(prometheus.CounterOpts{Name: "pli_obs_hits_total", Help: "For the test."})
	reg.MustRegister(hits)
	hits.Inc()
	notReady := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, ln, reg, func(context.Context) error {
			select {
			case err := <-notReady:
				return err
			default:
				return nil
			}
		})
	}()
	get := func(path string) (int, string) {
		res, err := http.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	for path, want := range map[string]string{"/livez": "ok\n", "/readyz": "ok\n", "/metrics": "pli_obs_hits_total 1\n"} {
		if status, body := get(path); status != 200 || !strings.HasSuffix(body, want) {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if status, _ := get("/"); status != 404 {
		t.Errorf("/: %d", status)
	}
	notReady <- fault.Wrap(fault.Unavailable, "pg.Open", "database-unreachable", errors.New(markName))
	status, body := get("/readyz")
	if status != 503 || body != "pg.Open: unavailable [database-unreachable]: *errors.errorString\n" {
		t.Errorf("/readyz: %d %q", status, body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
