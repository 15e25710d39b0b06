// Package identity knows who signs in, with what, and to which BAL: accounts, app
// passwords, client certificates, passwords with a second factor, and web sessions. It
// proves who somebody is; what he may do is for policy.
package identity

import (
	"context"
	"crypto/x509"
	"log/slog"
	"time"

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

// Service is the room.
type Service struct{ d Deps }

// New makes the room.
func New(d Deps) *Service { return &Service{d: d} }

// AppPassword signs in a mail program. remote is the host it calls from. An unknown
// address and a wrong secret take the same time and look the same.
// Errors: fault.WrongSecret (with a text when the secret was revoked), fault.RateLimited.
func (s *Service) AppPassword(ctx context.Context, address, secret, remote string) (SignIn, error) {
	panic("soon")
}

// Certificate signs in software by its client certificate, whose chain and revocation
// were checked at TLS. address may be empty: the certificate's own BAL is then taken.
// Errors: fault.WrongSecret.
func (s *Service) Certificate(ctx context.Context, address string, cert *x509.Certificate) (SignIn, error) {
	panic("soon")
}

// Password is the first step on the web: it returns the token of a session of level
// "password", which opens nothing but SecondFactor. Errors: fault.WrongSecret,
// fault.RateLimited.
func (s *Service) Password(ctx context.Context, login, password, remote string) (token string, err error) {
	panic("soon")
}

// SecondFactor checks a TOTP code and returns the token of a full session; the first
// token ends. A code is taken once. Errors: fault.WrongSecret, fault.Unauthenticated
// when the session is over, fault.RateLimited.
func (s *Service) SecondFactor(ctx context.Context, token, code string) (newToken string, err error) {
	panic("soon")
}

// Session returns a living session and marks it seen. Errors: fault.Unauthenticated.
func (s *Service) Session(ctx context.Context, token string) (Session, error) { panic("soon") }

// End ends a session; one that is over already is fine.
func (s *Service) End(ctx context.Context, token string) error { panic("soon") }

// Sessions lists the living sessions of an account, the newest first.
func (s *Service) Sessions(ctx context.Context, a id.Account) ([]Session, error) { panic("soon") }

// NewAccount is what it takes to make an account.
type NewAccount struct {
	Kind  string
	Login string   // what a person types on the web; "" for software
	BALs  []id.BAL // the first is the account's own
}

// CreateAccountTx makes an account. Errors: fault.Conflict when the login is taken.
func (s *Service) CreateAccountTx(ctx context.Context, tx *pg.Tx, n NewAccount) (id.Account, error) {
	panic("soon")
}

// LinkTx lets an account open a further BAL.
func (s *Service) LinkTx(ctx context.Context, tx *pg.Tx, a id.Account, b id.BAL) error { panic("soon") }

// NewAppPasswordTx gives the account a password for mail programs on one BAL and returns
// it; it is not kept. given is empty to have one made, or an operator's secret of 20
// characters or more. Errors: fault.Invalid when given is too short.
func (s *Service) NewAppPasswordTx(ctx context.Context, tx *pg.Tx, a id.Account, b id.BAL, label, given string) (secret string, err error) {
	panic("soon")
}

// AccountFacts tells whether an account is enabled and which of the BAL it may open.
func (s *Service) AccountFacts(ctx context.Context, q pg.Querier, a id.Account, bals []id.BAL) (enabled bool, linked map[id.BAL]bool, err error) {
	panic("soon")
}

// AppPasswordInfo is an app password without its secret.
type AppPasswordInfo struct {
	ID                         int64
	BAL                        id.BAL
	Label                      string
	CreatedAt, LastAt, Revoked time.Time // zero is never
}

// AppPasswords lists those of an account, the newest first.
func (s *Service) AppPasswords(ctx context.Context, a id.Account) ([]AppPasswordInfo, error) {
	panic("soon")
}

// RevokeAppPassword ends one. Errors: fault.NotFound.
func (s *Service) RevokeAppPassword(ctx context.Context, a id.Account, n int64) error { panic("soon") }

// EnrolCertificateTx ties a client certificate to an account and a BAL.
func (s *Service) EnrolCertificateTx(ctx context.Context, tx *pg.Tx, a id.Account, b id.BAL, cert *x509.Certificate) error {
	panic("soon")
}

// SetPasswordTx sets a web password. Errors: fault.Invalid, with a text, when it is too
// short or among the common ones.
func (s *Service) SetPasswordTx(ctx context.Context, tx *pg.Tx, a id.Account, password string) error {
	panic("soon")
}

// EnrolTOTPTx gives the account a second factor and returns its secret (base32) and the
// otpauth URL. given is empty to have a secret made.
func (s *Service) EnrolTOTPTx(ctx context.Context, tx *pg.Tx, a id.Account, issuer, name, given string) (secret, url string, err error) {
	panic("soon")
}

// DisableAccount shuts an account out and ends its sessions. Errors: fault.NotFound.
func (s *Service) DisableAccount(ctx context.Context, a id.Account) error { panic("soon") }
