package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

const (
	findLogin    = `SELECT id, coalesce(password_hash, ''), disabled_at IS NULL FROM account WHERE login_key = $1`
	setPassword  = `UPDATE account SET password_hash = $2 WHERE id = $1`
	swapPassword = `UPDATE account SET password_hash = $3 WHERE id = $1 AND password_hash = $2`
)

// The cost of a hash: 19 MiB, 2 passes, 1 lane (OWASP's first choice for argon2id).
var cost = params{memory: 19 * 1024, time: 2, threads: 1, keySize: 32}

const (
	saltSize        = 16
	minPassword     = 12   // characters
	maxPasswordSize = 1024 // octets
)

// dummy is the hash that is computed for a login that does not exist. No password has it.
const dummy = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// params are those of argon2id; memory is in KiB, keySize in octets.
type params struct {
	memory, time uint32
	threads      uint8
	keySize      uint32
}

// phc is a hash as a PHC string holds it.
type phc struct {
	params
	salt, key []byte
}

func (h phc) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads, b64(h.salt), b64(h.key))
}

// parsePHC reads what String writes, within bounds: a row must not cost a machine.
func parsePHC(s string) (phc, error) {
	var h phc
	bad := fault.New(fault.Corrupt, "identity", "password-hash")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, bad
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil {
		return h, bad
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 16 || len(h.key) > 64 ||
		h.memory < 8 || h.memory > 256*1024 || h.time < 1 || h.time > 10 || h.threads < 1 || h.threads > 8 {
		return phc{}, bad
	}
	h.keySize = uint32(len(h.key))
	if h.String() != s {
		return phc{}, bad
	}
	return h, nil
}

func (p params) derive(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(norm.NFC.String(password)), salt, p.time, p.memory, p.threads, p.keySize)
}

// slot waits for a free core.
func (s *Service) slot(ctx context.Context) (release func(), err error) {
	select {
	case s.hashes <- struct{}{}:
		return func() { <-s.hashes }, nil
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Timeout, "identity", "hash", ctx.Err())
	}
}

func (s *Service) hash(ctx context.Context, password string) (string, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails (crypto/rand)
	return phc{params: cost, salt: salt, key: cost.derive(password, salt)}.String(), nil
}

func (s *Service) verify(ctx context.Context, h phc, password string) (bool, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	return subtle.ConstantTimeCompare(h.derive(password, h.salt), h.key) == 1, nil
}

func wrongPassword(op string) error {
	return fault.New(fault.WrongSecret, op, "wrong-secret").Say("Identifiant ou mot de passe refusé.", "Name or password refused.")
}

// Password is the first step on the web: it returns the token of a session of level
// "password", which lasts 10 minutes and opens nothing but SecondFactor. An unknown
// login costs as much as a wrong password.
//
// Errors: fault.WrongSecret, fault.RateLimited.
func (s *Service) Password(ctx context.Context, login, password, remote string) (token string, err error) {
	const op = "identity.Password"
	okName, _ := s.d.Limit.Allow(ctx, s.limitKey("login", loginOf(login)), signInsPerName)
	okHost, _ := s.d.Limit.Allow(ctx, s.limitKey("web", hostOf(remote)), signInsPerRemote)
	if !okName || !okHost {
		return "", limited(op)
	}
	if len(password) > maxPasswordSize {
		password = ""
	}
	var a id.Account
	var stored string
	enabled := false
	err = s.d.DB.QueryRow(ctx, findLogin, s.loginKey(login)).Scan(&a, &stored, &enabled)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", pg.Error(op, err)
	}
	usable := stored != "" && enabled
	if stored == "" {
		stored = dummy
	}
	h, err := parsePHC(stored)
	if err != nil {
		return "", err
	}
	ok, err := s.verify(ctx, h, password)
	if err != nil {
		return "", err
	}
	if !ok || !usable {
		return "", wrongPassword(op)
	}
	if h.params != cost {
		s.strengthen(ctx, a, stored, password)
	}
	return s.start(ctx, s.d.DB, a, LevelPassword)
}

// strengthen stores the hash anew at today's cost. The sign-in does not hang on it.
func (s *Service) strengthen(ctx context.Context, a id.Account, old, password string) {
	h, err := s.hash(ctx, password)
	if err == nil {
		_, err = s.d.DB.Exec(ctx, swapPassword, a, old, h)
	}
	if err != nil && s.d.Log != nil {
		s.d.Log.Warn("identity: hash not renewed", "account", int64(a), "error", pg.Error("identity.strengthen", err))
	}
}

// SetPasswordTx sets a web password and ends the account's sessions.
//
// Errors: fault.Invalid, with a text, when it is too short or among the common ones;
// fault.NotFound.
func (s *Service) SetPasswordTx(ctx context.Context, tx *pg.Tx, a id.Account, password string) error {
	const op = "identity.SetPasswordTx"
	if err := checkPassword(op, password); err != nil {
		return err
	}
	h, err := s.hash(ctx, password)
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, setPassword, a, h)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, op, "account")
	}
	_, err = tx.Exec(ctx, endSessionsOf, a, s.d.Now().UTC())
	return err
}

//go:embed common.txt
var commonText string

// common are passwords that everybody tries first, folded.
var common = func() map[string]bool {
	m := map[string]bool{}
	for line := range strings.Lines(commonText) {
		if w := strings.TrimSpace(line); w != "" && w[0] != '#' {
			m[foldPassword(w)] = true
		}
	}
	return m
}()

// foldPassword drops what people add to a common word: case, accents, digits and signs
// at the end.
func foldPassword(p string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(strings.ToLower(p)) {
		if !unicode.Is(unicode.Mn, r) && !unicode.IsSpace(r) {
			b.WriteRune(r)
		}
	}
	whole := b.String()
	word := strings.TrimRightFunc(whole, func(r rune) bool { return !unicode.IsLetter(r) })
	if word == "" {
		return whole
	}
	return word
}

func checkPassword(op, p string) error {
	if n := utf8.RuneCountInString(norm.NFC.String(p)); n < minPassword {
		return fault.New(fault.Invalid, op, "password-short").Say(
			"Votre mot de passe est trop court : 12 caractères au moins. Une phrase est facile à retenir.",
			"Your password is too short: at least 12 characters. A sentence is easy to remember.")
	}
	if len(p) > maxPasswordSize || !utf8.ValidString(p) {
		return fault.New(fault.Invalid, op, "password-long").Say("Votre mot de passe est trop long.", "Your password is too long.")
	}
	if common[foldPassword(p)] || monotonous(p) {
		return fault.New(fault.Invalid, op, "password-common").Say(
			"Ce mot de passe est trop courant. Choisissez-en un que vous seul connaissez.",
			"This password is too common. Choose one that only you know.")
	}
	return nil
}

// monotonous reports whether a password is a few characters again and again, or a run
// such as 123456789012 or abcdefghijkl.
func monotonous(p string) bool {
	rs := []rune(strings.ToLower(p))
	distinct := map[rune]bool{}
	steps := 0
	for i, r := range rs {
		distinct[r] = true
		if i > 0 && (r-rs[i-1] == 1 || r-rs[i-1] == -1 || rs[i-1] == '9' && r == '0') {
			steps++
		}
	}
	return len(distinct) < 5 || steps >= len(rs)-2
}
