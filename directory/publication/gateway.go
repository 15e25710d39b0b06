package publication

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"pli/codec/fhir"
	"pli/fault"
)

// Gateway is the national directory's FHIR interface (mssante.md §4.3, §9), as far as the
// guide announces it. It says nothing of a URL in its errors: identifiers are in it.
type Gateway struct {
	base   *url.URL
	header string
	key    string
	http   *http.Client
}

const (
	answerSize = 1 << 20 // octets read of an answer
	longestAsk = 24 * time.Hour
)

// NewGateway reads the key and the roots.
//
// Errors: fault.Invalid with code url, key-file, roots-file.
func NewGateway(c Config) (*Gateway, error) {
	const op = "publication.NewGateway"
	c = c.withDefaults()
	base, err := baseURL(c.URL)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, "url")
	}
	key, err := os.ReadFile(c.KeyFile)
	secret := strings.TrimSpace(string(key))
	if err != nil || secret == "" || strings.ContainsAny(secret, "\r\n") {
		return nil, fault.New(fault.Invalid, op, "key-file").Say(
			"Le fichier de la clé d'API de l'annuaire national (publication.key_file) est absent ou vide.",
			"The file of the national directory's API key (publication.key_file) is missing or empty.")
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.RootsFile != "" {
		roots, err := os.ReadFile(c.RootsFile)
		trust.RootCAs = x509.NewCertPool()
		if err != nil || !trust.RootCAs.AppendCertsFromPEM(roots) {
			return nil, fault.New(fault.Invalid, op, "roots-file").Say(
				"Le fichier publication.roots_file ne contient aucun certificat.", "The file publication.roots_file holds no certificate.")
		}
	}
	return &Gateway{base: base, header: c.KeyHeader, key: secret, http: &http.Client{
		Timeout: c.Timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 4, MaxConnsPerHost: 8, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the key goes nowhere else
	}}, nil
}

// baseURL reads an https address; http is for this machine only.
func baseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(s, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Invalid, "publication.baseURL", "url")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && !(u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())) {
		return nil, fault.New(fault.Invalid, "publication.baseURL", "url")
	}
	return u, nil
}

// Patch implements Channel by a conditional PATCH.
func (g *Gateway) Patch(ctx context.Context, t Target, ops []fhir.Operation) error {
	_, err := g.do(ctx, "publication.Patch", http.MethodPatch, t, nil, fhir.Patch(ops...))
	return err
}

// Read implements Channel by a search on the identifier.
func (g *Gateway) Read(ctx context.Context, t Target, address string) (fhir.Announced, bool, error) {
	const op = "publication.Read"
	b, err := g.do(ctx, op, http.MethodGet, t, url.Values{"_elements": {"identifier,telecom"}}, nil)
	if err != nil {
		return fhir.Announced{}, false, err
	}
	var bundle struct {
		Entry []struct {
			Resource struct {
				ResourceType string            `json:"resourceType"`
				Telecom      []json.RawMessage `json:"telecom"`
			} `json:"resource"`
		} `json:"entry"`
	}
	if json.Unmarshal(b, &bundle) != nil {
		return fhir.Announced{}, false, fault.New(fault.Unavailable, op, "not-a-bundle")
	}
	for _, e := range bundle.Entry {
		if e.Resource.ResourceType != t.Resource {
			continue
		}
		for _, raw := range e.Resource.Telecom {
			if a, unlisted, ok := fhir.ParseAnnounced(raw); ok && !unlisted && strings.EqualFold(a.Address, address) {
				return a, true, nil
			}
		}
	}
	return fhir.Announced{}, false, nil
}

// do asks, and turns what is not 200 into the errors of Channel.
func (g *Gateway) do(ctx context.Context, op, method string, t Target, more url.Values, body []byte) ([]byte, error) {
	u := *g.base
	u.Path += "/" + t.Resource
	q := url.Values{"identifier": {t.System + "|" + t.Value}}
	for k, v := range more {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fault.New(fault.Internal, op, "request")
	}
	req.Header.Set(g.header, g.key)
	req.Header.Set("Accept", fhir.MediaType)
	if body != nil {
		req.Header.Set("Content-Type", fhir.MediaType)
	}
	res, err := g.http.Do(req)
	if err != nil {
		return nil, unreached(op, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, answerSize+1))
	if err != nil {
		return nil, unreached(op, err)
	}
	return b, answered(op, res, b)
}

// unreached tells why there was no answer, without the URL.
func unreached(op string, err error) error {
	var timeout net.Error
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &verify):
		return fault.New(fault.Untrusted, op, "certificate")
	case errors.As(err, &timeout) && timeout.Timeout():
		return fault.New(fault.Timeout, op, "timeout")
	}
	return fault.New(fault.Unavailable, op, "no-answer")
}

// answered reads an answer as the Channel tells it.
func answered(op string, res *http.Response, b []byte) error {
	switch s := res.StatusCode; {
	case s == http.StatusOK, s == http.StatusCreated, s == http.StatusNoContent:
		if len(b) > answerSize {
			return fault.New(fault.Unavailable, op, "answer-too-large")
		}
		return nil
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return fault.New(fault.Unauthenticated, op, "key-refused")
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		return &Pause{For: retryAfter(res.Header.Get("Retry-After")), Status: s}
	case s >= 500, s == http.StatusRequestTimeout, s == http.StatusTooEarly:
		return &Pause{Status: s}
	case s >= 400:
		return refusal(s, b)
	}
	return fault.New(fault.Unavailable, op, "unexpected-status")
}

func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 {
		return min(time.Duration(min(n, 1<<20))*time.Second, longestAsk)
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, min(time.Until(at), longestAsk))
	}
	return 0
}

// refusal reads the OperationOutcome of an answer: the first issue that is an error.
func refusal(status int, b []byte) *Refusal {
	r := &Refusal{Status: status, Code: "status"}
	var out struct {
		ResourceType string `json:"resourceType"`
		Issue        []struct {
			Severity    string `json:"severity"`
			Code        string `json:"code"`
			Diagnostics string `json:"diagnostics"`
			Details     struct {
				Text   string `json:"text"`
				Coding []struct {
					Code    string `json:"code"`
					Display string `json:"display"`
				} `json:"coding"`
			} `json:"details"`
		} `json:"issue"`
	}
	if json.Unmarshal(b, &out) != nil || out.ResourceType != "OperationOutcome" {
		return r
	}
	for _, i := range out.Issue {
		if i.Severity != "error" && i.Severity != "fatal" {
			continue
		}
		r.Code = code(i.Code, "status")
		r.Text = firstOf(i.Details.Text, i.Diagnostics)
		if r.Text == "" && len(i.Details.Coding) > 0 {
			r.Text = firstOf(i.Details.Coding[0].Display, i.Details.Coding[0].Code)
		}
		r.Text = plain(r.Text, 200)
		break
	}
	return r
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// code keeps a code from outside only when it looks like one.
func code(s, otherwise string) string {
	if s == "" || len(s) > 40 {
		return otherwise
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return otherwise
		}
	}
	return s
}

// plain keeps n characters of a text from outside, on one line.
func plain(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, " "))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		s = string(r[:n])
	}
	return s
}
