// Package identity knows who signs in, with what, and to which BAL: accounts, app
// passwords, client certificates, passwords with a second factor, and web sessions. It
// proves who somebody is; what he may do is for policy.
package identity

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

// Kinds of account.
const (
	Professional = "professional"
	Patient      = "patient"
	Application  = "application"
	Operator     = "operator"
)

// Means of signing in, kept in SignIn and in traces.
const (
	ByAppPassword = "app-password"
	ByCertificate = "certificate"
	ByWeb         = "web"
)

// Levels of a web session.
const (
	LevelPassword  = "password"   // waits for the second factor: opens nothing
	LevelTwoFactor = "two-factor" // signed in
)

// SignIn is a proven identity and the BAL it opened.
type SignIn struct {
	Account id.Account
	BAL     id.BAL
	Kind    string // of the account
	Means   string
}

// Session is a web session.
type Session struct {
	Account   id.Account
	Kind      string
	Patient   id.Patient // 0 when the account holds no dossier
	BAL       id.BAL     // the account's BAL; 0 when it has none
	Level     string
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time
}

// SignIn gives the session the shape that the corridors take.
func (s Session) SignIn() SignIn {
	return SignIn{Account: s.Account, BAL: s.BAL, Kind: s.Kind, Means: ByWeb}
}

// Index makes keyed hashes (seal.Index).
type Index interface {
	Key(domain string, parts ...string) []byte
}

// Boxes finds the BAL of an address (directory, by an adapter of app).
type Boxes interface {
	// BALOf returns fault.NotFound when there is none.
	BALOf(ctx context.Context, q pg.Querier, a mail.Address) (id.BAL, health.BALKind, error)
}

// Patients finds the dossier that an account holds (dossier, by an adapter of app).
type Patients interface {
	// PatientOf returns 0 and no error when the account holds none.
	PatientOf(ctx context.Context, q pg.Querier, a id.Account) (id.Patient, error)
}

// Register seals small secrets for the house's register (seal, by an adapter of app).
type Register interface {
	Seal(ctx context.Context, value []byte) ([]byte, error)
	Open(ctx context.Context, sealed []byte) ([]byte, error)
}

// Limiter counts tries (internal/limit).
type Limiter interface {
	Allow(ctx context.Context, key string, perMinute int) (ok bool, retryAfter time.Duration)
	AllowIn(ctx context.Context, key string, n int, period time.Duration) (ok bool, retryAfter time.Duration)
	Peek(ctx context.Context, key string, perMinute int) (ok bool, retryAfter time.Duration)
}

// Deps is what the room needs. Every field but Log and Patients is required.
type Deps struct {
	DB       *pg.DB
	Index    Index
	Boxes    Boxes
	Patients Patients
	Register Register
	Limit    Limiter
	Now      func() time.Time
	Log      *slog.Logger
}

// Service is the room. It may be used from anywhere at once.
type Service struct {
	d      Deps
	hashes chan struct{} // as many password hashes at once as there are cores
}

// New makes the room.
func New(d Deps) *Service {
	return &Service{d: d, hashes: make(chan struct{}, max(runtime.GOMAXPROCS(0), 1))}
}

// Failures allowed a minute, and second-factor codes an hour. App passwords count
// failures only: a practice behind one address signs in often.
const (
	failuresPerName   = 30 // from one host
	failuresPerRemote = 60
	signInsPerName    = 10 // on the web, good or bad
	signInsPerRemote  = 60
	codesPerHour      = 20
)

// limitKey is the pseudonym under which a name or a remote host is counted.
func (s *Service) limitKey(what, v string) string {
	return "signin:" + what + ":" + hex.EncodeToString(s.d.Index.Key("limit", what, v))
}

// hostOf cuts a remote down to what is counted together: an IPv4 address, or the /64 of
// an IPv6 one. What is not an address is counted as it is.
func hostOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		remote = host
	}
	a, err := netip.ParseAddr(remote)
	if err != nil {
		return remote
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64) // 64 is in range for IPv6
	return p.Masked().String()
}

func limited(op string) error { return fault.New(fault.RateLimited, op, "too-many-tries") }

// login folds what people type as their name.
func loginOf(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func (s *Service) loginKey(login string) []byte { return s.d.Index.Key("login", loginOf(login)) }
