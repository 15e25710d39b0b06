package identity

import (
	"context"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

const (
	findTOTP = `SELECT totp_sealed FROM account WHERE id = $1 AND totp_sealed IS NOT NULL`
	// A step is taken once, whichever process sees it first.
	takeStep   = `UPDATE account SET totp_last_step = $2 WHERE id = $1 AND totp_last_step < $2`
	enrolTOTP  = `UPDATE account SET totp_sealed = $2, totp_last_step = 0 WHERE id = $1`
	liveLevel  = `UPDATE web_session SET ended_at = $2 WHERE token_mac = $1 AND ended_at IS NULL AND level = 'password'`
	totpPeriod = 30 // seconds (RFC 6238 §4)
	totpSkew   = 1  // steps either side: clocks drift (RFC 6238 §5.2)
)

var hotpOpts = hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}

// parseCode reads six digits as people type them: "123 456", "123-456".
func parseCode(s string) (string, bool) {
	if len(s) > 32 {
		return "", false
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == ' ' || r == '-' || r == '.' || r == '\u00a0' || r == '\u202f' || r == '\t':
		default:
			return "", false
		}
	}
	return b.String(), b.Len() == 6
}

// matchStep returns the time step whose code is code, the newest when there are several.
// Every step is computed, whatever the first says.
func matchStep(secret, code string, now time.Time) (step int64, ok bool) {
	current := now.Unix() / totpPeriod
	for n := current - totpSkew; n <= current+totpSkew; n++ {
		good, err := hotp.ValidateCustom(code, uint64(n), secret, hotpOpts) // compares in constant time
		if good && err == nil {
			step, ok = n, true
		}
	}
	return step, ok
}

func wrongCode(op string) error {
	return fault.New(fault.WrongSecret, op, "wrong-code").Say("Ce code ne correspond pas.", "This code does not match.")
}

// SecondFactor checks a TOTP code and returns the token of a full session; the first
// token ends. A code is taken once.
//
// Errors: fault.WrongSecret, fault.Unauthenticated when the session is over or is
// already a full one, fault.RateLimited.
func (s *Service) SecondFactor(ctx context.Context, token, code string) (newToken string, err error) {
	const op = "identity.SecondFactor"
	v, mac, err := s.find(ctx, op, token)
	if err != nil {
		return "", err
	}
	if v.Level != LevelPassword {
		return "", over(op)
	}
	who := s.limitKey("code", accountText(v.Account))
	if ok, _ := s.d.Limit.AllowIn(ctx, who, codesPerHour, time.Hour); !ok {
		return "", limited(op)
	}
	digits, ok := parseCode(code)
	if !ok {
		return "", wrongCode(op)
	}
	secret, err := s.totpSecret(ctx, v.Account)
	if err != nil {
		return "", err
	}
	step, ok := matchStep(secret, digits, s.d.Now())
	if secret == "" || !ok {
		return "", wrongCode(op)
	}
	err = s.d.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		newToken, err = s.promoteTx(ctx, tx, v.Account, mac, step)
		return err
	})
	return newToken, err
}

// promoteTx takes the step, ends the first session and starts the full one.
func (s *Service) promoteTx(ctx context.Context, tx *pg.Tx, a id.Account, mac []byte, step int64) (string, error) {
	const op = "identity.SecondFactor"
	tag, err := tx.Exec(ctx, takeStep, a, step)
	if err != nil {
		return "", err
	}
	if tag.RowsAffected() == 0 {
		return "", fault.New(fault.WrongSecret, op, "code-used").Say(
			"Ce code a déjà servi. Attendez le suivant.", "This code was used already. Wait for the next one.")
	}
	if tag, err = tx.Exec(ctx, liveLevel, mac, s.d.Now().UTC()); err != nil {
		return "", err
	}
	if tag.RowsAffected() == 0 {
		return "", over(op)
	}
	return s.start(ctx, tx, a, LevelTwoFactor)
}

// totpSecret opens the secret of an account, "" when it has none.
func (s *Service) totpSecret(ctx context.Context, a id.Account) (string, error) {
	var sealed []byte
	err := s.d.DB.QueryRow(ctx, findTOTP, a).Scan(&sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", pg.Error("identity.totpSecret", err)
	}
	secret, err := s.d.Register.Open(ctx, sealed)
	return string(secret), err
}

// EnrolTOTPTx gives the account a second factor and returns its secret (base32) and the
// otpauth URL, which both are for the person alone. given is empty to have a secret of
// 160 bits made; a given one has 128 or more.
//
// Errors: fault.Invalid, fault.NotFound.
func (s *Service) EnrolTOTPTx(ctx context.Context, tx *pg.Tx, a id.Account, issuer, name, given string) (secret, url string, err error) {
	const op = "identity.EnrolTOTPTx"
	opts := totp.GenerateOpts{Issuer: issuer, AccountName: name, SecretSize: 20}
	if given != "" {
		given = strings.ToUpper(strings.ReplaceAll(strings.TrimRight(given, "="), " ", ""))
		raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(given)
		if err != nil || len(raw) < 16 {
			return "", "", fault.New(fault.Invalid, op, "totp-secret")
		}
		opts.Secret = raw
	}
	key, err := totp.Generate(opts)
	if err != nil {
		return "", "", fault.New(fault.Invalid, op, "totp-name") // the cause says nothing more
	}
	sealed, err := s.d.Register.Seal(ctx, []byte(key.Secret()))
	if err != nil {
		return "", "", err
	}
	tag, err := tx.Exec(ctx, enrolTOTP, a, sealed)
	if err != nil {
		return "", "", err
	}
	if tag.RowsAffected() == 0 {
		return "", "", fault.New(fault.NotFound, op, "account")
	}
	return key.Secret(), key.URL(), nil
}
