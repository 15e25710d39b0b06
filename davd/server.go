package davd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"pli/fault"
	"pli/identity"
	"pli/internal/limit"
)

const (
	requestTime = 20 * time.Second
	writeTime   = 2 * time.Minute
	stopTimeout = 20 * time.Second
)

// Serve answers over HTTPS on a listener until ctx is done, then finishes the requests in
// hand and returns.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler: s, TLSConfig: s.d.TLS, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: requestTime, WriteTimeout: writeTime,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(quiet{s.d.Log.Handler()}, slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		done <- srv.Shutdown(stop)
	}()
	err := srv.ServeTLS(limit.Listener(ln, s.c.MaxConns, s.c.MaxConnsPerHost, s.metrics.refused.Inc), "", "")
	if errors.Is(err, http.ErrServerClosed) {
		err = <-done
	}
	if ctx.Err() != nil {
		return nil
	}
	return fault.Wrap(fault.Unavailable, "davd.Serve", "listener", err)
}

// quiet keeps net/http's own lines out of the log but for their count: they carry remote
// addresses and octets of requests.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	return q.Handler.Handle(ctx, slog.NewRecord(r.Time, slog.LevelDebug, "davd connection error", 0))
}

// asker is one request.
type asker struct {
	*Server
	ctx     context.Context
	w       *answer
	r       *http.Request
	who     identity.SignIn
	res     resource
	minimal bool // absent properties are not told (RFC 8144; older Apple: Brief)
	book    *establishment
	given   int // cards
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// methods are those that are known; the others count as one.
var methods = map[string]bool{"OPTIONS": true, "GET": true, "HEAD": true, "PROPFIND": true, "REPORT": true, "PUT": true, "DELETE": true, "MKCOL": true,
	"PROPPATCH": true, "MOVE": true, "COPY": true, "LOCK": true, "UNLOCK": true, "POST": true, "PATCH": true, "ACL": true, "MKCALENDAR": true}

// changing are the methods that would change something.
var changing = map[string]bool{"PUT": true, "DELETE": true, "MKCOL": true, "PROPPATCH": true, "MOVE": true, "COPY": true, "POST": true, "PATCH": true,
	"ACL": true, "MKCALENDAR": true}

const allowed = "OPTIONS, GET, HEAD, PROPFIND, REPORT"

// ServeHTTP answers one request, with one event at its end.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), requestTime)
	defer cancel()
	a := &asker{Server: s, ctx: ctx, w: &answer{ResponseWriter: w}, r: r, res: locate(r.URL.Path)}
	method := r.Method
	if !methods[method] {
		method = "other"
	}
	var err error
	defer func() {
		if v := recover(); v != nil {
			err = fault.Panic("davd.ServeHTTP", v)
			s.d.Log.Error("carddav panic", "error", err, "stack", string(debug.Stack()))
			a.fail(err)
		}
		a.report(method, err, time.Since(began))
	}()
	if err = a.serve(); err != nil {
		a.fail(err)
	}
	// Over HTTP/2 an answer that comes before the end of the request breaks some clients.
	_, _ = io.Copy(io.Discard, a.r.Body)
}

// report emits the one event of a request. It says neither who nor what was looked for.
func (a *asker) report(method string, err error, took time.Duration) {
	a.metrics.done(method, kindNames[a.res.kind], a.w.status, took)
	level := slog.LevelDebug
	if k := fault.KindOf(err); err != nil && (k == fault.Internal || k == fault.Corrupt || k == fault.Unavailable) && a.r.Context().Err() == nil {
		level = slog.LevelError
	}
	var refused *refusal
	if errors.As(err, &refused) {
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{slog.String("method", method), slog.String("place", kindNames[a.res.kind]), slog.Int("status", a.w.status),
		slog.Int64("bal", int64(a.who.BAL)), slog.Int("cards", a.given), slog.Duration("took", took)}
	if err != nil {
		attrs = append(attrs, slog.String("kind", fault.KindOf(err).String()), slog.String("code", fault.CodeOf(err)), slog.Any("cause", err))
	}
	a.d.Log.LogAttrs(a.ctx, level, "carddav request", attrs...)
}

func (a *asker) serve() (err error) {
	h := a.w.Header()
	h.Set("DAV", "1, 3, access-control, addressbook")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Authorization, Prefer, Brief")
	h.Set("X-Content-Type-Options", "nosniff")
	a.r.Body = http.MaxBytesReader(a.w, a.r.Body, maxBody+1)
	if strings.TrimSuffix(a.r.URL.Path, "/") == "/.well-known/carddav" { // RFC 6764 §5
		h.Set("Location", rootPath)
		a.w.WriteHeader(http.StatusMovedPermanently)
		return nil
	}
	if a.who, err = a.proven.Enter(a.r.WithContext(a.ctx)); err != nil {
		return err
	}
	a.minimal = strings.Contains(a.r.Header.Get("Prefer"), "return=minimal") || strings.EqualFold(a.r.Header.Get("Brief"), "t")
	if a.res.kind == nothing && !changing[a.r.Method] {
		return notFound("serve", "path")
	}
	switch a.r.Method {
	case http.MethodOptions:
		h.Set("Allow", allowed)
		a.w.WriteHeader(http.StatusNoContent)
		return nil
	case http.MethodGet, http.MethodHead:
		return a.get()
	case "PROPFIND":
		return a.propfind()
	case "REPORT":
		return a.reportOn()
	}
	if changing[a.r.Method] { // RFC 3744 §7.1.1
		return &refusal{status: http.StatusForbidden, name: "D:need-privileges", text: "<D:resource><D:href>" + escaped(a.r.URL.EscapedPath()) +
			"</D:href><D:privilege><D:write/></D:privilege></D:resource>"}
	}
	h.Set("Allow", allowed)
	a.w.WriteHeader(http.StatusMethodNotAllowed)
	return nil
}

func notFound(op, code string) error { return fault.New(fault.NotFound, "davd."+op, code) }

// get gives one card.
func (a *asker) get() error {
	if a.res.kind != card {
		a.w.Header().Set("Allow", "OPTIONS, PROPFIND, REPORT")
		a.plain(http.StatusMethodNotAllowed, fault.Text{FR: "Cette adresse est à donner à votre téléphone ou à votre logiciel de contacts.",
			EN: "Give this address to your phone or to your contacts program."})
		return nil
	}
	e, err := a.card(a.res)
	if err != nil {
		return err
	}
	a.given++
	h := a.w.Header()
	h.Set("ETag", `"`+e.etag+`"`)
	h.Set("Last-Modified", e.l.ChangedAt.UTC().Format(http.TimeFormat))
	if matches(a.r.Header.Get("If-None-Match"), e.etag) {
		a.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	version := vcard3
	if strings.Contains(a.r.Header.Get("Accept"), "version=4.0") || strings.Contains(a.r.Header.Get("Accept"), `version="4.0"`) {
		version = vcard4
	}
	b, err := encode(a.makeCard(e.l, e.name, version), nil)
	if err != nil {
		return err
	}
	h.Set("Content-Type", "text/vcard; charset=utf-8; version="+version)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	a.w.WriteHeader(http.StatusOK)
	if a.r.Method == http.MethodHead {
		return nil
	}
	_, err = a.w.Write(b)
	return left(err)
}

func matches(header, etag string) bool {
	for t := range strings.SplitSeq(header, ",") {
		if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == `"`+etag+`"` {
			return true
		}
	}
	return false
}

// left marks a failure to write: the client has gone, and nothing is wrong with us.
func left(err error) error { return fault.Wrap(fault.Timeout, "davd.write", "client-gone", err) }

// card finds a card in its book. Errors: fault.NotFound.
func (a *asker) card(res resource) (entry, error) {
	if res.in == gateway {
		return a.gatewayCard(res)
	}
	b, err := a.establishment()
	if err != nil {
		return entry{}, err
	}
	if e, ok := b.find(res.key); ok {
		return e, nil
	}
	return entry{}, notFound("card", "card")
}

func (a *asker) gatewayCard(res resource) (entry, error) {
	l, err := a.byKey(res.key)
	if err != nil {
		return entry{}, err
	}
	if err := a.take(1); err != nil {
		return entry{}, err
	}
	return a.makeEntry(l, l.Display())
}

// take counts what an account takes of everybody's cards. Errors: fault.RateLimited.
func (a *asker) take(n int) error {
	if n == 0 {
		return nil
	}
	key := "carddav-cards:" + strconv.FormatInt(int64(a.who.Account), 10)
	if ok, after := a.d.Limit.AllowN(a.ctx, key, a.c.MaxFoundPerHour, time.Hour, n); !ok {
		a.w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())+1))
		return fault.New(fault.RateLimited, "davd.take", "too-many-cards")
	}
	return nil
}

// establishment is the book of who asks, read once a request.
func (a *asker) establishment() (*establishment, error) {
	if a.book == nil {
		leave, err := a.d.Turns.Take(a.ctx, a.who.Account)
		if err != nil {
			return nil, err
		}
		defer leave()
		if a.book, err = a.load(a.ctx, a.who); err != nil {
			return nil, err
		}
	}
	return a.book, nil
}

// fail answers with what went wrong: the one place where a fault meets CardDAV.
func (a *asker) fail(err error) {
	if a.w.status != 0 {
		return // too late
	}
	var r *refusal
	if errors.As(err, &r) {
		a.refuse(r)
		return
	}
	text := fault.TextOf(err)
	status := fault.KindOf(err).HTTP()
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.WrongSecret:
		a.w.Header().Set("WWW-Authenticate", `Basic realm="Pli", charset="UTF-8"`)
	case fault.Closed:
		status = http.StatusForbidden // 410 makes phones forget all they have
	case fault.Forbidden:
		text = said(err, fault.Text{FR: "Vous ne pouvez pas consulter l'annuaire.", EN: "You may not ask the directory."})
	case fault.TooLarge:
		text = fault.Text{FR: "Cette demande est trop longue.", EN: "This request is too long."}
	case fault.NotFound:
		text = fault.Text{FR: "Cette fiche n'existe pas (ou plus).", EN: "This card does not exist (any more)."}
	case fault.RateLimited, fault.Unavailable:
		if a.w.Header().Get("Retry-After") == "" {
			a.w.Header().Set("Retry-After", "60")
		}
	}
	a.plain(status, text)
}

// said is the text that an error carries of its own, else another: those of its kind are
// about sending mail.
func said(err error, or fault.Text) fault.Text {
	if t := fault.TextOf(err); t != fault.KindOf(err).Text() {
		return t
	}
	return or
}

func (a *asker) plain(status int, t fault.Text) {
	h := a.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Del("Content-Length")
	a.w.WriteHeader(status)
	_, _ = fmt.Fprintf(a.w, "%s\n%s\n", t.FR, t.EN) // it has left, or has read the status
}

func (a *asker) refuse(r *refusal) {
	a.w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	a.w.WriteHeader(r.status)
	w := &writer{b: bufio.NewWriter(a.w)}
	w.raw(xmlHead, "<D:error", spaces, ">")
	if r.text == "" {
		w.empty(r.name)
	} else {
		w.open(r.name)
		w.raw(r.text)
		w.shut(r.name)
	}
	w.raw("</D:error>\n")
	_ = w.b.Flush() // as in plain
}

func escaped(s string) string {
	var b strings.Builder
	w := &writer{b: bufio.NewWriter(&b)}
	w.text(s)
	_ = w.b.Flush() // into memory
	return b.String()
}
