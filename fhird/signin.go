package fhird

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"pli/fault"
	"pli/identity"
)

const (
	minuteOfWork = time.Minute
	hourOfWork   = time.Hour
)

// open asks the gate for who was proven; it decides and traces.
func (s *Server) open(ctx context.Context, who identity.SignIn) error {
	return s.d.Reader.OpenDirectory(ctx, who, door)
}

// asked counts a sign-in.
func (s *Server) asked(means string, _ identity.SignIn, err error) {
	result := "ok"
	if err != nil {
		result = fault.KindOf(err).String()
	}
	s.metrics.signIns.WithLabelValues(means, result).Inc()
}

// signIn proves who asks and that he may; it counts his requests.
func (s *Server) signIn(r *http.Request) (identity.SignIn, error) {
	who, err := s.known.Enter(r)
	if err != nil {
		return identity.SignIn{}, err
	}
	noteOf(r).who = who
	return who, s.allow(r.Context(), who, "requests", s.c.MaxRequestsPerMinute, minuteOfWork, 1)
}

// limited is a refusal with how long to wait.
type limited struct {
	error
	wait time.Duration
}

func (l limited) Unwrap() error { return l.error }

func (s *Server) allow(ctx context.Context, who identity.SignIn, what string, n int, period time.Duration, take int) error {
	ok, wait := s.d.Limit.AllowN(ctx, "fhir-"+what+"-"+number(who), n, period, min(take, n))
	if ok {
		return nil
	}
	return limited{fault.New(fault.RateLimited, "fhird.allow", what), wait}
}

// inTurn asks the store once others of the account leave room. What is found is written
// afterwards: a client that reads slowly keeps no turn.
func (s *Server) inTurn(ctx context.Context, who identity.SignIn, ask func() error) error {
	leave, err := s.d.Turns.Take(ctx, who.Account)
	if err != nil {
		return limited{err, time.Second}
	}
	defer leave()
	return ask()
}

// number is how an account is named to limits and tickets.
func number(who identity.SignIn) string { return strconv.FormatInt(int64(who.Account), 10) }
