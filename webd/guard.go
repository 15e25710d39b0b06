package webd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pli/fault"
)

const (
	sessionCookie = "__Host-pli"
	langCookie    = "__Host-langue"
)

// pagePolicy is the content policy of every page: our own style sheet and images, our
// own frames and forms, and no script at all.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// bodySize bounds what a form other than the reply may bring, in octets: a kept text of a
// reply, percent-encoded, fits.
const bodySize = 768 << 10

// pageTime bounds the work for one public page.
const pageTime = 60 * time.Second

// fileTime bounds an upload or a download: 25 MB over a slow phone line.
const fileTime = 10 * time.Minute

// guard is around everything: headers, other sites' forms refused, panics caught, and
// one event per request.
func (s *Server) guard(next http.Handler) http.Handler {
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, fault.New(fault.Forbidden, "webd.guard", "cross-origin"))
	}))
	inner := foreign.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.Now()
		rec := &recorder{ResponseWriter: w}
		setHeaders(w.Header())
		note := &note{}
		r = r.WithContext(context.WithValue(r.Context(), noteKey{}, note))
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler { //nolint:errorlint // the very value
					panic(v)
				}
				s.fail(rec, r, fmt.Errorf("webd: panic: %T", v))
			}
			s.report(r, rec, note, s.Now().Sub(began))
		}()
		inner.ServeHTTP(rec, r)
	})
}

func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), interest-cohort=()")
	h.Set("Cache-Control", "no-store")
}

// note carries what the event of a request says beyond its route.
type note struct {
	code string // shown to the person, 8 characters
	err  error
}

type noteKey struct{}

func noteOf(r *http.Request) *note {
	n, _ := r.Context().Value(noteKey{}).(*note)
	if n == nil {
		n = &note{}
	}
	return n
}

// report writes the one event of a request. The route is the pattern, never the path.
func (s *Server) report(r *http.Request, rec *recorder, n *note, took time.Duration) {
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	s.seconds.WithLabelValues(route, fmt.Sprintf("%dxx", rec.status/100)).Observe(took.Seconds())
	attrs := []slog.Attr{slog.String("route", route), slog.Int("status", rec.status),
		slog.Duration("took", took), slog.Int64("size", rec.size)}
	level := slog.LevelInfo
	if n.err != nil {
		attrs = append(attrs, slog.String("code", n.code), slog.String("kind", fault.KindOf(n.err).String()), slog.Any("error", n.err))
	}
	if rec.status >= 500 {
		level = slog.LevelError
	}
	s.Log.LogAttrs(context.WithoutCancel(r.Context()), level, "web request", attrs...)
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

// page handler: an error becomes the right error page.
type handler func(w http.ResponseWriter, r *http.Request) error

// public answers anybody. A form it takes is small and comes at once.
func (s *Server) public(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodySize)
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(pageTime)) // the server's own is for large files
		ctx, cancel := context.WithTimeout(r.Context(), pageTime)
		defer cancel()
		r = r.WithContext(ctx)
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// audience says whom a page is for.
type audience uint8

const (
	patients audience = 1 << iota
	professionals
	everybody = patients | professionals
)

func audienceOf(s Session) audience {
	if s.Professional {
		return professionals
	}
	return patients
}

// private answers a signed-in patient, practice a professional, shared both; others are
// led to the sign-in page.
func (s *Server) private(h handler) http.Handler  { return s.inside(patients, s.agreed(h)) }
func (s *Server) practice(h handler) http.Handler { return s.inside(professionals, s.agreed(h)) }
func (s *Server) shared(h handler) http.Handler   { return s.inside(everybody, s.agreed(h)) }

// inside answers the signed-in people that a page is for.
func (s *Server) inside(who audience, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, session, err := s.session(r)
		if err != nil || !session.Full {
			s.turnAway(w, r, token, err)
			return
		}
		v := s.visits.enter(token, session)
		defer v.leave()
		ctx, cancel := context.WithTimeout(r.Context(), fileTime)
		defer cancel()
		r = r.WithContext(context.WithValue(ctx, visitKey{}, v))
		if err = s.greet(r.Context(), v); err == nil {
			err = admit(who, session)
		}
		if err == nil {
			err = h(w, r)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// admit refuses a page that is not for this kind of person.
func admit(who audience, ses Session) error {
	mine := audienceOf(ses)
	if who&mine != 0 {
		return nil
	}
	e := fault.New(fault.Forbidden, "webd.admit", "for-patients").Say(
		"Cette page est celle des patients. Vous êtes dans un espace de professionnel.",
		"This page is for patients. You are in a professional's space.")
	if who == professionals {
		e = fault.New(fault.Forbidden, "webd.admit", "for-professionals").Say(
			"Cette page est celle des professionnels. Vous êtes dans un espace de patient.",
			"This page is for professionals. You are in a patient's space.")
	}
	return e
}

// agreed leads a professional to the conditions of use until they are accepted.
func (s *Server) agreed(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if v := visitOf(r); v.session.Professional && !v.agreed() {
			http.Redirect(w, r, "/ps/conditions", http.StatusSeeOther)
			return nil
		}
		return h(w, r)
	}
}

// session reads the cookie. A missing one is fault.Unauthenticated.
func (s *Server) session(r *http.Request) (token string, ses Session, err error) {
	c, err := r.Cookie(sessionCookie)
	if err != nil || c.Value == "" || len(c.Value) > 200 {
		return "", Session{}, fault.New(fault.Unauthenticated, "webd.session", "no-cookie")
	}
	ses, err = s.SignIn.Session(r.Context(), c.Value)
	return c.Value, ses, err
}

// turnAway leads to the right step of signing in, and back here afterwards.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, token string, err error) {
	if err != nil && fault.KindOf(err) != fault.Unauthenticated && fault.KindOf(err) != fault.NotFound {
		s.fail(w, r, err)
		return
	}
	if token != "" {
		s.visits.end(token)
	}
	if s.keepText(w, r) {
		return
	}
	to := "/connexion"
	q := url.Values{}
	switch {
	case err == nil: // the password is done, the code is not
		to = "/connexion/code"
	case token != "":
		clearCookie(w)
		q.Set("etat", "fin")
	}
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		q.Set("retour", r.URL.RequestURI())
	case r.Pattern == "POST /annuaire":
		q.Set("retour", "/annuaire")
	}
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func setSession(w http.ResponseWriter, token string) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: token, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func clearCookie(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// back is a local path to return to, or the home page: never another site.
func back(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") {
		return "/"
	}
	return s
}

// remote is the host the request comes from, for the limits on sign-in.
func remote(r *http.Request) string {
	h, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return h
}

// supportCode is what a person can quote and the operator can find: 8 characters
// without those that look alike.
func supportCode() string {
	const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	for i := range b {
		b[i] = letters[b[i]&31]
	}
	return string(b[:4]) + "-" + string(b[4:])
}

// fail shows the error page of a fault; the detail stays in the event.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	n := noteOf(r)
	n.err, n.code = err, supportCode()
	kind := fault.KindOf(err)
	if errors.Is(err, context.DeadlineExceeded) {
		kind = fault.Timeout
	}
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		kind = fault.TooLarge
	}
	if rec, ok := w.(*recorder); ok && rec.status != 0 {
		return // the answer had begun
	}
	d := errorPage{Code: n.code, Key: errorKey(kind)}
	if v := visitOf(r); v != nil {
		d.SignedIn, d.Professional = true, v.session.Professional
	}
	if d.Key == "forbidden" {
		d.Say = said(err)
	}
	h := w.Header()
	for _, name := range []string{"Content-Disposition", "Content-Length", "Content-Encoding", "Content-Type"} {
		h.Del(name)
	}
	h.Set("Content-Security-Policy", pagePolicy)
	words := s.words(r)
	if err := s.render(w, r, kind.HTTP(), "error", page{Title: words.T("error." + d.Key + ".title"), Error: true, Path: "/", Data: d}); err != nil {
		n.err = errors.Join(n.err, err)
		http.Error(w, d.Code, http.StatusInternalServerError)
	}
}

type errorPage struct {
	Code, Key    string
	Say          fault.Text // what a rule said of its refusal, in place of the words of Key
	SignedIn     bool
	Professional bool
}

// said is the text that a refusal carries of its own, none when it is that of its kind.
func said(err error) fault.Text {
	if t := fault.TextOf(err); t != fault.KindOf(err).Text() {
		return t
	}
	return fault.Text{}
}

// errorKey is the group of texts a kind is told with.
func errorKey(k fault.Kind) string {
	if k == fault.Closed {
		return "forbidden"
	}
	switch k.HTTP() {
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusNotFound, http.StatusGone:
		return "missing"
	case http.StatusBadRequest:
		return "invalid"
	case http.StatusRequestEntityTooLarge:
		return "large"
	case http.StatusTooManyRequests:
		return "often"
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "away"
	}
	return "ours"
}

// nowhere is the page of addresses that do not exist.
func (s *Server) nowhere(http.ResponseWriter, *http.Request) error {
	return fault.New(fault.NotFound, "webd.nowhere", "no-page")
}

// language keeps the choice of the switch and comes back.
func (s *Server) language(w http.ResponseWriter, r *http.Request) error {
	lang := French
	if r.PostFormValue("langue") == string(English) {
		lang = English
	}
	http.SetCookie(w, &http.Cookie{Name: langCookie, Value: string(lang), Path: "/", MaxAge: 365 * 24 * 3600, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, back(r.PostFormValue("retour")), http.StatusSeeOther)
	return nil
}
