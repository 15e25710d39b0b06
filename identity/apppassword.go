package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

const (
	// A secret is looked up by its keyed hash, so a name that exists and one that does
	// not cost the same.
	findAppPassword = `
SELECT p.id, p.account_id, p.bal_id, p.revoked_at, a.kind, a.disabled_at IS NULL
FROM app_password p JOIN account a ON a.id = p.account_id
WHERE p.secret_mac = ANY($1::bytea[])`

	touchAppPassword = `UPDATE app_password SET last_at = $2 WHERE id = $1 AND (last_at IS NULL OR last_at < $3)`

	insertAppPassword = `
INSERT INTO app_password (account_id, bal_id, label, secret_mac, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (secret_mac) DO NOTHING`

	listAppPasswords = `
SELECT id, bal_id, label, created_at, last_at, revoked_at FROM app_password
WHERE account_id = $1 ORDER BY created_at DESC, id DESC`

	revokeAppPassword = `UPDATE app_password SET revoked_at = coalesce(revoked_at, $3) WHERE account_id = $1 AND id = $2`

	findCertificate = `
SELECT c.account_id, c.bal_id, a.kind FROM client_certificate c JOIN account a ON a.id = c.account_id
WHERE c.fingerprint = $1 AND c.revoked_at IS NULL AND a.disabled_at IS NULL`

	insertCertificate = `
INSERT INTO client_certificate (fingerprint, account_id, bal_id, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (fingerprint) DO NOTHING`

	revokeCertificate = `UPDATE client_certificate SET revoked_at = coalesce(revoked_at, $2) WHERE fingerprint = $1`
)

const (
	alphabet       = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's base 32
	madeLength     = 20                                 // characters of a secret we make: 100 bits
	minGivenLength = 20
	maxSecretSize  = 256 // octets; nobody types more
	touchEvery     = time.Minute
)

// newSecret makes 4 groups of 5 characters.
func newSecret() string {
	b := make([]byte, madeLength)
	rand.Read(b) // never fails (crypto/rand)
	var s strings.Builder
	for i, v := range b {
		if i > 0 && i%5 == 0 {
			s.WriteByte('-')
		}
		s.WriteByte(alphabet[v&31])
	}
	return s.String()
}

// normal folds a secret of ours as people type it: case, spaces, hyphens, and the
// letters that Crockford reads as digits. It is "" when s is not of our form.
func normal(s string) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(s) {
		switch r {
		case ' ', '-', '\u00a0', '\u202f', '\u2010', '\u2011', '\t':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		if !strings.ContainsRune(alphabet, r) {
			return ""
		}
		b.WriteRune(r)
	}
	if b.Len() != madeLength {
		return ""
	}
	return b.String()
}

// mac is the keyed hash under which a BAL's secret is kept. The BAL is in it, so that one
// secret on two BALs looks like two, and nobody learns that another has the same.
func (s *Service) mac(b id.BAL, form, secret string) []byte {
	return s.d.Index.Key("app-password", strconv.FormatInt(int64(b), 10), form, secret)
}

// macs are those under which a typed secret may be kept: always two, so that every try
// costs the same.
func (s *Service) macs(b id.BAL, secret string) [][]byte {
	if len(secret) > maxSecretSize {
		secret = ""
	}
	return [][]byte{s.mac(b, "given", secret), s.mac(b, "made", normal(secret))}
}

// AppPassword signs in a mail program. remote is the host it calls from, with or without
// a port. An unknown address and a wrong secret take the same time and look the same.
//
// Errors: fault.WrongSecret (with a text when the secret was revoked), fault.RateLimited.
func (s *Service) AppPassword(ctx context.Context, address, secret, remote string) (SignIn, error) {
	const op = "identity.AppPassword"
	// A name is counted per host: wrong tries from elsewhere must not shut its owner out,
	// and nobody guesses 100 bits.
	name, host := s.limitKey("name", loginOf(address)+" "+hostOf(remote)), s.limitKey("remote", hostOf(remote))
	okName, _ := s.d.Limit.Peek(ctx, name, failuresPerName)
	okHost, _ := s.d.Limit.Peek(ctx, host, failuresPerRemote)
	if !okName || !okHost {
		return SignIn{}, limited(op)
	}
	who, err := s.appPassword(ctx, address, secret)
	if fault.Is(err, fault.WrongSecret) {
		s.d.Limit.Allow(ctx, name, failuresPerName)
		s.d.Limit.Allow(ctx, host, failuresPerRemote)
	}
	return who, err
}

type appPasswordRow struct {
	ID      int64
	Account id.Account
	BAL     id.BAL
	Revoked *time.Time
	Kind    string
	Enabled bool
}

func (s *Service) appPassword(ctx context.Context, address, secret string) (SignIn, error) {
	const op = "identity.AppPassword"
	wrong := fault.New(fault.WrongSecret, op, "wrong-secret")
	bal, err := s.balOf(ctx, address)
	if err != nil {
		return SignIn{}, err
	}
	rows, err := s.d.DB.Query(ctx, findAppPassword, s.macs(bal, secret))
	if err != nil {
		return SignIn{}, pg.Error(op, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[appPasswordRow])
	if err != nil {
		return SignIn{}, pg.Error(op, err)
	}
	for _, p := range found {
		if bal == 0 || p.BAL != bal || !p.Enabled {
			continue
		}
		if p.Revoked != nil {
			return SignIn{}, revoked(wrong, *p.Revoked, s.d.Now())
		}
		now := s.d.Now().UTC()
		if _, err := s.d.DB.Exec(ctx, touchAppPassword, p.ID, now, now.Add(-touchEvery)); err != nil {
			return SignIn{}, pg.Error(op, err)
		}
		return SignIn{Account: p.Account, BAL: p.BAL, Kind: p.Kind, Means: ByAppPassword}, nil
	}
	return SignIn{}, wrong
}

// balOf returns the BAL of what was typed as an address, 0 when there is none.
func (s *Service) balOf(ctx context.Context, address string) (id.BAL, error) {
	a, err := mail.ParseAddress(strings.TrimSpace(address))
	if err != nil {
		return 0, nil
	}
	b, _, err := s.d.Boxes.BALOf(ctx, s.d.DB, a)
	if fault.Is(err, fault.NotFound) {
		return 0, nil
	}
	return b, err
}

// revoked tells the one who holds a revoked secret that it was revoked, and when.
func revoked(e *fault.Error, at, now time.Time) error {
	c := *e
	c.Code = "revoked"
	return c.Say("Mot de passe d'application révoqué le "+dayFR(at, now)+". Créez-en un nouveau : Réglages › Sécurité.",
		"App password revoked on "+dayEN(at, now)+". Make a new one: Settings › Security.")
}

var monthsFR = [...]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}

func dayFR(at, now time.Time) string {
	at, now = inParis(at), inParis(now)
	day := fmt.Sprint(at.Day())
	if at.Day() == 1 {
		day = "1er"
	}
	s := day + " " + monthsFR[at.Month()-1]
	if at.Year() != now.Year() {
		s += fmt.Sprintf(" %d", at.Year())
	}
	return s
}

func dayEN(at, now time.Time) string {
	at, now = inParis(at), inParis(now)
	if at.Year() != now.Year() {
		return at.Format("2 January 2006")
	}
	return at.Format("2 January")
}

func inParis(t time.Time) time.Time {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		return t.UTC() // no time zones on this machine: the day may be off by one near midnight
	}
	return t.In(paris)
}

// NewAppPasswordTx gives the account a password for mail programs on one BAL and returns
// it; it is not kept. given is empty to have one made, or an operator's secret of 20
// characters or more.
//
// Errors: fault.Invalid when given is too short or too long, fault.Conflict when given
// is one of this BAL's already.
func (s *Service) NewAppPasswordTx(ctx context.Context, tx *pg.Tx, a id.Account, b id.BAL, label, given string) (secret string, err error) {
	const op = "identity.NewAppPasswordTx"
	secret, form := given, "given"
	if given == "" {
		secret, form = newSecret(), "made"
	} else if len([]rune(given)) < minGivenLength || len(given) > maxSecretSize {
		return "", fault.New(fault.Invalid, op, "secret-length")
	}
	kept := secret
	if n := normal(secret); n != "" {
		form, kept = "made", n
	}
	tag, err := tx.Exec(ctx, insertAppPassword, a, b, label, s.mac(b, form, kept), s.d.Now().UTC())
	if err != nil {
		return "", err
	}
	if tag.RowsAffected() == 0 {
		return "", fault.New(fault.Conflict, op, "secret-used")
	}
	return secret, nil
}

// AppPasswordInfo is an app password without its secret.
type AppPasswordInfo struct {
	ID                           int64
	BAL                          id.BAL
	Label                        string
	CreatedAt, LastAt, RevokedAt time.Time // zero is never
}

// AppPasswords lists those of an account, the newest first.
func (s *Service) AppPasswords(ctx context.Context, a id.Account) ([]AppPasswordInfo, error) {
	const op = "identity.AppPasswords"
	rows, err := s.d.DB.Query(ctx, listAppPasswords, a)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (AppPasswordInfo, error) {
		var p AppPasswordInfo
		var last, revoked *time.Time
		err := row.Scan(&p.ID, &p.BAL, &p.Label, &p.CreatedAt, &last, &revoked)
		p.CreatedAt, p.LastAt, p.RevokedAt = p.CreatedAt.UTC(), utc(last), utc(revoked)
		return p, err
	})
	return list, pg.Error(op, err)
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// RevokeAppPassword ends one; the day of the first revocation stays. Errors: fault.NotFound.
func (s *Service) RevokeAppPassword(ctx context.Context, a id.Account, n int64) error {
	const op = "identity.RevokeAppPassword"
	tag, err := s.d.DB.Exec(ctx, revokeAppPassword, a, n, s.d.Now().UTC())
	if err == nil && tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, op, "app-password")
	}
	return pg.Error(op, err)
}

// Certificate signs in software by its client certificate, whose chain and revocation
// were checked at TLS. address may be empty: the certificate's own BAL is then taken.
//
// Errors: fault.WrongSecret.
func (s *Service) Certificate(ctx context.Context, address string, cert *x509.Certificate) (SignIn, error) {
	const op = "identity.Certificate"
	wrong := fault.New(fault.WrongSecret, op, "certificate-not-enrolled").Say(
		"Ce certificat n'ouvre pas cette boîte.", "This certificate does not open this mailbox.")
	if cert == nil || len(cert.Raw) == 0 || s.d.Now().After(cert.NotAfter) || s.d.Now().Before(cert.NotBefore) {
		return SignIn{}, wrong
	}
	who := SignIn{Means: ByCertificate}
	err := s.d.DB.QueryRow(ctx, findCertificate, fingerprint(cert)).Scan(&who.Account, &who.BAL, &who.Kind)
	if errors.Is(err, pgx.ErrNoRows) {
		return SignIn{}, wrong
	}
	if err != nil {
		return SignIn{}, pg.Error(op, err)
	}
	if address == "" {
		return who, nil
	}
	b, err := s.balOf(ctx, address)
	if err != nil {
		return SignIn{}, err
	}
	if b != who.BAL {
		return SignIn{}, wrong
	}
	return who, nil
}

func fingerprint(cert *x509.Certificate) []byte {
	sum := sha256.Sum256(cert.Raw)
	return sum[:]
}

// EnrolCertificateTx ties a client certificate to an account and a BAL.
// Errors: fault.Conflict when it was ever tied to one.
func (s *Service) EnrolCertificateTx(ctx context.Context, tx *pg.Tx, a id.Account, b id.BAL, cert *x509.Certificate) error {
	const op = "identity.EnrolCertificateTx"
	if cert == nil || len(cert.Raw) == 0 {
		return fault.New(fault.Invalid, op, "no-certificate")
	}
	tag, err := tx.Exec(ctx, insertCertificate, fingerprint(cert), a, b, s.d.Now().UTC())
	if err == nil && tag.RowsAffected() == 0 {
		return fault.New(fault.Conflict, op, "certificate-enrolled")
	}
	return err
}

// RevokeCertificate ends one. Errors: fault.NotFound.
func (s *Service) RevokeCertificate(ctx context.Context, cert *x509.Certificate) error {
	const op = "identity.RevokeCertificate"
	tag, err := s.d.DB.Exec(ctx, revokeCertificate, fingerprint(cert), s.d.Now().UTC())
	if err == nil && tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, op, "certificate")
	}
	return pg.Error(op, err)
}
