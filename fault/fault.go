// Package fault is the house's one vocabulary of failure.
//
// A room returns a fault carrying a Kind, the operation and a stable code; a door
// turns the Kind into its protocol's reply exactly once (see faces.go). The error
// text holds the operation, the code and opaque ids only, so a chain of %w is safe
// to log. What a person may read is kept apart, in Text.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what sort of failure happened. The zero Kind is Internal: what nobody
// foresaw is temporary on the wire and permanent nowhere.
type Kind uint8

const (
	Internal        Kind = iota
	Invalid              // the request is malformed
	InvalidAddress       // an address in the request is malformed
	InvalidContent       // the message or document is malformed
	Unauthenticated      // no proof of identity was given
	WrongSecret          // proof was given and is wrong
	Forbidden            // a rule denies
	NotFound
	Withheld // exists, must not be told: every face shows it as NotFound
	Closed   // a BAL that exists and receives nothing
	Conflict
	TooLarge
	Quota
	RateLimited
	Untrusted // peer, domain or TLS outside the trusted circle
	Infected  // malware found
	Unavailable
	Timeout
	Corrupt
	kinds // count
)

// Kinds lists every kind, for table tests.
func Kinds() []Kind {
	ks := make([]Kind, 0, kinds)
	for k := Internal; k < kinds; k++ {
		ks = append(ks, k)
	}
	return ks
}

var kindNames = [kinds]string{
	"internal", "invalid", "invalid-address", "invalid-content", "unauthenticated",
	"wrong-secret", "forbidden", "not-found", "withheld", "closed", "conflict",
	"too-large", "quota", "rate-limited", "untrusted", "infected", "unavailable",
	"timeout", "corrupt",
}

func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return "unknown"
}

// Text is what the person at the other end may read: French first, then English.
// Neither may hold a name, a subject, an INS or an address that the reader did not
// give in this very exchange, but for what the directory publishes of professionals.
type Text struct{ FR, EN string }

// Error is a failure with a kind. Op is "room.Function"; Code is a stable, constant
// identifier such as "unknown-bal".
type Error struct {
	Kind Kind
	Op   string
	Code string
	Text Text
	Err  error
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Kind.String()
	if e.Code != "" {
		s += " [" + e.Code + "]"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// New makes a fault that has no cause below it.
func New(k Kind, op, code string) *Error { return &Error{Kind: k, Op: op, Code: code} }

// Wrap gives err a kind and a place. A nil err stays nil.
func Wrap(k Kind, op, code string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: k, Op: op, Code: code, Err: err}
}

// Say returns a copy of e that carries text for the person at the other end.
func (e *Error) Say(fr, en string) *Error {
	c := *e
	c.Text = Text{FR: fr, EN: en}
	return &c
}

// KindOf finds the kind of err: the outermost fault in the chain speaks; a context
// error is a Timeout; anything else is Internal.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Timeout
	default:
		return Internal
	}
}

// CodeOf returns the stable code of the outermost fault that has one, or "".
func CodeOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Code != "" {
			return e.Code
		}
		err = e.Err
	}
	return ""
}

// TextOf returns the text meant for a person, or the kind's default text.
func TextOf(err error) Text {
	for e := err; e != nil; {
		var f *Error
		if !errors.As(e, &f) {
			break
		}
		if f.Text != (Text{}) {
			return f.Text
		}
		e = f.Err
	}
	return KindOf(err).Text()
}

// Is reports whether err is of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// Panic turns a recovered value into an Internal fault without its text: a panic
// message may quote a person's data.
func Panic(op string, v any) error {
	return &Error{Kind: Internal, Op: op, Code: fmt.Sprintf("panic-%T", v)}
}
