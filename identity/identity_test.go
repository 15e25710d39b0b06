package identity

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mail"
)

type testIndex struct{}

func (testIndex) Key(domain string, parts ...string) []byte {
	h := hmac.New(sha256.New, []byte("test"))
	fmt.Fprintf(h, "%q%q", domain, parts)
	return h.Sum(nil)[:16]
}

// fakeBoxes knows two addresses.
type fakeBoxes map[mail.Address]id.BAL

func (f fakeBoxes) BALOf(_ context.Context, _ pg.Querier, a mail.Address) (id.BAL, health.BALKind, error) {
	if b, ok := f[a]; ok {
		return b, health.PER, nil
	}
	return 0, "", fault.New(fault.NotFound, "test", "unknown-bal")
}

type fakeRegister struct{}

func (fakeRegister) Seal(_ context.Context, v []byte) ([]byte, error) {
	return append([]byte("sealed:"), reverse(v)...), nil
}

func (fakeRegister) Open(_ context.Context, v []byte) ([]byte, error) {
	return reverse(bytes.TrimPrefix(v, []byte("sealed:"))), nil
}

func reverse(v []byte) []byte {
	out := make([]byte, len(v))
	for i := range v {
		out[len(v)-1-i] = v[i]
	}
	return out
}

// fakeLimit counts without a clock.
type fakeLimit struct {
	counts map[string]int
	peeks  int
}

func (f *fakeLimit) AllowIn(_ context.Context, key string, n int, _ time.Duration) (bool, time.Duration) {
	f.counts[key]++
	return f.counts[key] <= n, time.Second
}

func (f *fakeLimit) Allow(ctx context.Context, key string, n int) (bool, time.Duration) {
	return f.AllowIn(ctx, key, n, time.Minute)
}

func (f *fakeLimit) Peek(_ context.Context, key string, n int) (bool, time.Duration) {
	f.peeks++
	return f.counts[key] < n, time.Second
}

type fakePatients struct{}

func (fakePatients) PatientOf(_ context.Context, _ pg.Querier, a id.Account) (id.Patient, error) {
	return id.Patient(a) + 1000, nil
}

const (
	doctorAddress  = "claire.aubepine@mss-a.example"
	patientAddress = "279035121518989@patient.mss-a.example"
	goodPassword   = "trois lilas près du pont"
)

// house is a room with a doctor, a laboratory and a patient.
type house struct {
	*Service
	t                    *testing.T
	db                   *pg.DB
	limit                *fakeLimit
	now                  time.Time
	doctorBAL, pBAL      id.BAL
	doctor, lab, patient id.Account
	secret, totp         string
}

func open(t *testing.T) *house {
	db := pgtest.DB(t)
	h := &house{t: t, db: db, limit: &fakeLimit{counts: map[string]int{}}, now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)}
	h.doctorBAL, h.pBAL = h.bal(1), h.bal(2)
	boxes := fakeBoxes{mail.MustAddress(doctorAddress): h.doctorBAL, mail.MustAddress(patientAddress): h.pBAL}
	h.Service = New(Deps{DB: db, Index: testIndex{}, Boxes: boxes, Patients: fakePatients{}, Register: fakeRegister{},
		Limit: h.limit, Now: func() time.Time { return h.now }})
	h.tx(func(ctx context.Context, tx *pg.Tx) (err error) {
		if h.doctor, err = h.CreateAccountTx(ctx, tx, NewAccount{Kind: Professional, BALs: []id.BAL{h.doctorBAL}}); err != nil {
			return err
		}
		if h.lab, err = h.CreateAccountTx(ctx, tx, NewAccount{Kind: Application, BALs: []id.BAL{h.doctorBAL}}); err != nil {
			return err
		}
		if h.patient, err = h.CreateAccountTx(ctx, tx, NewAccount{Kind: Patient, Login: "Lucie.M", BALs: []id.BAL{h.pBAL}}); err != nil {
			return err
		}
		if h.secret, err = h.NewAppPasswordTx(ctx, tx, h.doctor, h.doctorBAL, "téléphone", ""); err != nil {
			return err
		}
		if err = h.SetPasswordTx(ctx, tx, h.patient, goodPassword); err != nil {
			return err
		}
		h.totp, _, err = h.EnrolTOTPTx(ctx, tx, h.patient, "Pli", "Lucie.M", "")
		return err
	})
	return h
}

func (h *house) bal(key byte) (b id.BAL) {
	h.t.Helper()
	err := h.db.QueryRow(h.t.Context(), `WITH s AS (INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id)
INSERT INTO bal (address_key, kind, state, holder_id) SELECT $1, 'PATIENT', 'active', id FROM s RETURNING id`, []byte{key}).Scan(&b)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *house) tx(f func(ctx context.Context, tx *pg.Tx) error) {
	h.t.Helper()
	if err := h.db.InTx(h.t.Context(), f); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) code(at time.Time) string {
	h.t.Helper()
	c, err := totp.GenerateCode(h.totp, at)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// signIn goes through both steps.
func (h *house) signIn() (first, token string) {
	h.t.Helper()
	first, err := h.Password(h.t.Context(), "lucie.m", goodPassword, "192.0.2.1:5000")
	if err != nil {
		h.t.Fatal(err)
	}
	token, err = h.SecondFactor(h.t.Context(), first, h.code(h.now))
	if err != nil {
		h.t.Fatal(err)
	}
	return first, token
}

func want(t *testing.T, what string, err error, kind fault.Kind, code string) {
	t.Helper()
	if !fault.Is(err, kind) || fault.CodeOf(err) != code {
		t.Errorf("%s: %v, want %v [%s]", what, err, kind, code)
	}
}

func TestAppPassword(t *testing.T) {
	h := open(t)
	spoken := strings.ToLower(strings.ReplaceAll(h.secret, "-", " "))
	mistyped := strings.NewReplacer("0", "o", "1", "l").Replace(strings.ReplaceAll(h.secret, "-", ""))
	for _, secret := range []string{h.secret, spoken, mistyped} {
		who, err := h.AppPassword(t.Context(), " "+strings.ToUpper(doctorAddress), secret, "192.0.2.1:44")
		if err != nil || who != (SignIn{Account: h.doctor, BAL: h.doctorBAL, Kind: Professional, Means: ByAppPassword}) {
			t.Errorf("%+v, %v", who, err)
		}
	}
	for what, c := range map[string][2]string{
		"unknown name":     {"x@mss-a.example", h.secret},
		"another's name":   {patientAddress, h.secret},
		"no address":       {"claire", h.secret},
		"wrong secret":     {doctorAddress, newSecret()},
		"empty":            {doctorAddress, ""},
		"all but the last": {doctorAddress, h.secret[:len(h.secret)-1]},
		"endless":          {doctorAddress, strings.Repeat("x", 1<<20)},
	} {
		_, err := h.AppPassword(t.Context(), c[0], c[1], "192.0.2.1")
		want(t, what, err, fault.WrongSecret, "wrong-secret")
		if fault.TextOf(err) != fault.WrongSecret.Text() {
			t.Errorf("%s: text %q", what, fault.TextOf(err).FR)
		}
	}
}

func TestAppPasswordIsNotKept(t *testing.T) {
	h := open(t)
	var row string
	if err := h.db.QueryRow(t.Context(), `SELECT p::text FROM app_password p`).Scan(&row); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(row, h.secret) || strings.Contains(row, normal(h.secret)) {
		t.Error("the secret is in the row")
	}
}

func TestRevokedAppPasswordSaysSo(t *testing.T) {
	h := open(t)
	list, err := h.AppPasswords(t.Context(), h.doctor)
	if err != nil || len(list) != 1 || list[0].Label != "téléphone" || !list[0].RevokedAt.IsZero() {
		t.Fatalf("%+v, %v", list, err)
	}
	h.now = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	if err := h.RevokeAppPassword(t.Context(), h.doctor, list[0].ID); err != nil {
		t.Fatal(err)
	}
	h.now = h.now.AddDate(0, 0, 5)
	if err := h.RevokeAppPassword(t.Context(), h.doctor, list[0].ID); err != nil {
		t.Errorf("revoking again: %v", err)
	}
	_, err = h.AppPassword(t.Context(), doctorAddress, h.secret, "")
	want(t, "revoked", err, fault.WrongSecret, "revoked")
	if got, want := fault.TextOf(err).FR, "Mot de passe d'application révoqué le 3 mars. Créez-en un nouveau : Réglages › Sécurité."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	_, err = h.AppPassword(t.Context(), patientAddress, h.secret, "")
	want(t, "revoked, but another's name", err, fault.WrongSecret, "wrong-secret")
	want(t, "another's app password", h.RevokeAppPassword(t.Context(), h.patient, list[0].ID), fault.NotFound, "app-password")
}

func TestDays(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for at, want := range map[time.Time][2]string{
		now.AddDate(0, 0, -3):                         {"1er mars", "1 March"},
		now.AddDate(-1, 5, 0):                         {"4 août 2025", "4 August 2025"},
		time.Date(2026, 3, 2, 23, 30, 0, 0, time.UTC): {"3 mars", "3 March"}, // in Paris
	} {
		if dayFR(at, now) != want[0] || dayEN(at, now) != want[1] {
			t.Errorf("%s, %s, want %v", dayFR(at, now), dayEN(at, now), want)
		}
	}
}

func TestGivenSecrets(t *testing.T) {
	h := open(t)
	given := "Phrase d'opérateur, 28 signes"
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := h.NewAppPasswordTx(ctx, tx, h.doctor, h.doctorBAL, "banc", "trop court")
		want(t, "short", err, fault.Invalid, "secret-length")
		if s, err := h.NewAppPasswordTx(ctx, tx, h.doctor, h.doctorBAL, "banc", given); err != nil || s != given {
			t.Errorf("%q, %v", s, err)
		}
		_, err = h.NewAppPasswordTx(ctx, tx, h.doctor, h.doctorBAL, "banc", given)
		want(t, "used already", err, fault.Conflict, "secret-used")
		if _, err := h.NewAppPasswordTx(ctx, tx, h.patient, h.pBAL, "banc", given); err != nil {
			t.Errorf("that another has the same secret was told: %v", err)
		}
		_, err = h.NewAppPasswordTx(ctx, tx, h.doctor, h.doctorBAL, "sans tirets", "abcde 12345 fghjk 67890")
		return err
	})
	for _, secret := range []string{given, "ABCDE-12345-FGHJK-67890"} {
		if _, err := h.AppPassword(t.Context(), doctorAddress, secret, ""); err != nil {
			t.Errorf("%q: %v", secret, err)
		}
	}
	_, err := h.AppPassword(t.Context(), doctorAddress, strings.ToUpper(given), "")
	want(t, "a given secret keeps its case", err, fault.WrongSecret, "wrong-secret")
}

func TestAppPasswordLimits(t *testing.T) {
	h := open(t)
	for i := range failuresPerName {
		if _, err := h.AppPassword(t.Context(), doctorAddress, h.secret, "192.0.2.1"); err != nil {
			t.Fatalf("good try %d: %v", i, err)
		}
	}
	for i := range failuresPerName {
		_, err := h.AppPassword(t.Context(), doctorAddress, "wrong", "192.0.2.7")
		want(t, fmt.Sprintf("try %d", i), err, fault.WrongSecret, "wrong-secret")
	}
	_, err := h.AppPassword(t.Context(), doctorAddress, h.secret, "192.0.2.7")
	want(t, "one name, one host", err, fault.RateLimited, "too-many-tries")
	if _, err := h.AppPassword(t.Context(), doctorAddress, h.secret, "198.51.100.1"); err != nil {
		t.Errorf("wrong tries from elsewhere shut the owner out: %v", err)
	}
	for i := range failuresPerRemote {
		_, err = h.AppPassword(t.Context(), fmt.Sprintf("n%d@mss-a.example", i), "wrong", fmt.Sprintf("[2001:db8::%x]:99", i))
		want(t, fmt.Sprintf("name %d", i), err, fault.WrongSecret, "wrong-secret")
	}
	_, err = h.AppPassword(t.Context(), patientAddress, "wrong", "2001:db8::abcd")
	want(t, "many names, one host", err, fault.RateLimited, "too-many-tries")
	for key := range h.limit.counts {
		if strings.Contains(key, "@") || strings.Contains(key, "2001") || strings.Contains(key, "192.0") {
			t.Errorf("the key %q shows who it counts", key)
		}
	}
}

func TestCertificate(t *testing.T) {
	h := open(t)
	cert := &x509.Certificate{Raw: []byte("a certificate"), NotBefore: h.now.Add(-time.Hour), NotAfter: h.now.Add(time.Hour)}
	other := &x509.Certificate{Raw: []byte("another"), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		return h.EnrolCertificateTx(ctx, tx, h.lab, h.doctorBAL, cert)
	})
	for _, address := range []string{"", doctorAddress} {
		who, err := h.Certificate(t.Context(), address, cert)
		if err != nil || who != (SignIn{Account: h.lab, BAL: h.doctorBAL, Kind: Application, Means: ByCertificate}) {
			t.Errorf("%q: %+v, %v", address, who, err)
		}
	}
	refused := func(what, address string, c *x509.Certificate) {
		t.Helper()
		_, err := h.Certificate(t.Context(), address, c)
		want(t, what, err, fault.WrongSecret, "certificate-not-enrolled")
	}
	refused("none", doctorAddress, nil)
	refused("not enrolled", doctorAddress, other)
	refused("another's address", patientAddress, cert)
	refused("no address of ours", "x@y", cert)
	h.now = h.now.Add(2 * time.Hour)
	refused("expired", doctorAddress, cert)
	h.now = h.now.Add(-2 * time.Hour)
	if err := h.RevokeCertificate(t.Context(), cert); err != nil {
		t.Fatal(err)
	}
	refused("revoked", doctorAddress, cert)
	err := h.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		return h.EnrolCertificateTx(ctx, tx, h.lab, h.doctorBAL, cert)
	})
	want(t, "a revoked certificate enrolled again", err, fault.Conflict, "certificate-enrolled")
}

func TestWebSignIn(t *testing.T) {
	h := open(t)
	first, token := h.signIn()
	if first == token {
		t.Error("the token does not change after the second factor")
	}
	v, err := h.Session(t.Context(), token)
	if err != nil || v.Account != h.patient || v.BAL != h.pBAL || v.Patient != id.Patient(h.patient)+1000 || v.Level != LevelTwoFactor || v.Kind != Patient {
		t.Errorf("%+v, %v", v, err)
	}
	if v.SignIn() != (SignIn{Account: h.patient, BAL: h.pBAL, Kind: Patient, Means: ByWeb}) {
		t.Errorf("%+v", v.SignIn())
	}
	_, err = h.Session(t.Context(), first)
	want(t, "the first token", err, fault.Unauthenticated, "session-over")
	_, err = h.SecondFactor(t.Context(), token, h.code(h.now))
	want(t, "a second factor on a full session", err, fault.Unauthenticated, "session-over")
	if err := h.End(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	_, err = h.Session(t.Context(), token)
	want(t, "after End", err, fault.Unauthenticated, "session-over")
	if err := h.End(t.Context(), token); err != nil {
		t.Errorf("ending again: %v", err)
	}
	for _, bad := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 1<<20)} {
		_, err = h.Session(t.Context(), bad)
		want(t, "no token", err, fault.Unauthenticated, "session-over")
	}
}

func TestPasswordRefusals(t *testing.T) {
	h := open(t)
	for what, c := range map[string][2]string{
		"wrong password":  {"lucie.m", "pas le bon du tout"},
		"unknown login":   {"personne", goodPassword},
		"no login":        {"", goodPassword},
		"case":            {"lucie.m", strings.ToUpper(goodPassword)},
		"endless":         {"lucie.m", strings.Repeat("x", 1<<20)},
		"the dummy's own": {"personne", ""},
	} {
		_, err := h.Password(t.Context(), c[0], c[1], "192.0.2.1")
		want(t, what, err, fault.WrongSecret, "wrong-secret")
		if got := fault.TextOf(err).FR; got != "Identifiant ou mot de passe refusé." {
			t.Errorf("%s: %q", what, got)
		}
	}
	decomposed := strings.ReplaceAll(goodPassword, "è", "e\u0300")
	if _, err := h.Password(t.Context(), "  LUCIE.M ", decomposed, "192.0.2.2"); err != nil {
		t.Errorf("the same password from another keyboard: %v", err)
	}
	if err := h.DisableAccount(t.Context(), h.patient); err != nil {
		t.Fatal(err)
	}
	_, err := h.Password(t.Context(), "lucie.m", goodPassword, "192.0.2.3")
	want(t, "disabled", err, fault.WrongSecret, "wrong-secret")
}

func TestWebLimits(t *testing.T) {
	h := open(t)
	for range signInsPerName {
		h.Password(t.Context(), "personne", "x", "192.0.2.1")
	}
	_, err := h.Password(t.Context(), "personne", "x", "192.0.2.2")
	want(t, "one login", err, fault.RateLimited, "too-many-tries")
	if _, err := h.Password(t.Context(), "lucie.m", goodPassword, "192.0.2.1"); err != nil {
		t.Errorf("another login: %v", err)
	}
	first, _ := h.Password(t.Context(), "lucie.m", goodPassword, "192.0.2.1")
	for range codesPerHour {
		h.SecondFactor(t.Context(), first, "000000")
	}
	_, err = h.SecondFactor(t.Context(), first, h.code(h.now))
	want(t, "codes", err, fault.RateLimited, "too-many-tries")
}

// The unknown login must be as dear as the known one: same parameters, same work.
func TestTheDummyCostsWhatARealHashCosts(t *testing.T) {
	h, err := parsePHC(dummy)
	if err != nil || h.params != cost || len(h.salt) != saltSize {
		t.Errorf("%+v, %v, want %+v", h.params, err, cost)
	}
}

func TestSecondFactor(t *testing.T) {
	h := open(t)
	first := func() string {
		t.Helper()
		token, err := h.Password(t.Context(), "lucie.m", goodPassword, "")
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	token := first()
	for _, bad := range []string{"", "12345", "1234567", "abcdef", h.code(h.now.Add(-2 * time.Minute)), h.code(h.now.Add(2 * time.Minute))} {
		_, err := h.SecondFactor(t.Context(), token, bad)
		want(t, "code "+bad, err, fault.WrongSecret, "wrong-code")
	}
	good := h.code(h.now)
	if _, err := h.SecondFactor(t.Context(), token, good[:3]+" "+good[3:]); err != nil {
		t.Fatalf("the code in two groups: %v", err)
	}
	_, err := h.SecondFactor(t.Context(), first(), good)
	want(t, "the same code twice", err, fault.WrongSecret, "code-used")
	_, err = h.SecondFactor(t.Context(), first(), h.code(h.now.Add(-30*time.Second)))
	want(t, "an older code", err, fault.WrongSecret, "code-used")
	if _, err := h.SecondFactor(t.Context(), first(), h.code(h.now.Add(30*time.Second))); err != nil {
		t.Errorf("a clock that is ahead: %v", err)
	}
	token = first()
	h.now = h.now.Add(11 * time.Minute)
	_, err = h.SecondFactor(t.Context(), token, h.code(h.now))
	want(t, "too late", err, fault.Unauthenticated, "session-over")
}

func TestOneCodeOneSession(t *testing.T) {
	h := open(t)
	tokens := make([]string, 4)
	for i := range tokens {
		var err error
		if tokens[i], err = h.Password(t.Context(), "lucie.m", goodPassword, ""); err != nil {
			t.Fatal(err)
		}
	}
	code := h.code(h.now)
	// The limiter of this test is not made for several at once.
	h.d.Limit = freeLimit{}
	done := make(chan error, len(tokens))
	for _, token := range tokens {
		go func() { _, err := h.SecondFactor(context.Background(), token, code); done <- err }()
	}
	good := 0
	for range tokens {
		if err := <-done; err == nil {
			good++
		} else {
			want(t, "loser", err, fault.WrongSecret, "code-used")
		}
	}
	if good != 1 {
		t.Errorf("one code opened %d sessions", good)
	}
}

type freeLimit struct{}

func (freeLimit) Allow(context.Context, string, int) (bool, time.Duration) { return true, 0 }
func (freeLimit) Peek(context.Context, string, int) (bool, time.Duration)  { return true, 0 }
func (freeLimit) AllowIn(context.Context, string, int, time.Duration) (bool, time.Duration) {
	return true, 0
}

func TestSessionsEnd(t *testing.T) {
	h := open(t)
	_, token := h.signIn()
	for range 20 { // seen every 29 minutes: lives
		h.now = h.now.Add(29 * time.Minute)
		if _, err := h.Session(t.Context(), token); err != nil {
			t.Fatalf("at %v: %v", h.now, err)
		}
	}
	list, err := h.Sessions(t.Context(), h.patient)
	if err != nil || len(list) != 1 || !list[0].SeenAt.Equal(h.now) {
		t.Errorf("%+v, %v", list, err)
	}
	for range 5 { // but not after 12 hours
		h.now = h.now.Add(29 * time.Minute)
		_, err = h.Session(t.Context(), token)
	}
	want(t, "after 12 h", err, fault.Unauthenticated, "session-over")

	_, token = h.signIn()
	h.now = h.now.Add(31 * time.Minute)
	_, err = h.Session(t.Context(), token)
	want(t, "after 31 idle minutes", err, fault.Unauthenticated, "session-over")

	_, token = h.signIn()
	h.tx(func(ctx context.Context, tx *pg.Tx) error {
		return h.SetPasswordTx(ctx, tx, h.patient, "un autre mot bien long")
	})
	_, err = h.Session(t.Context(), token)
	want(t, "after a new password", err, fault.Unauthenticated, "session-over")

	h.now = h.now.Add(48 * time.Hour)
	if err := h.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := h.db.QueryRow(t.Context(), `SELECT count(*) FROM web_session`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows left, %v", n, err)
	}
}

// When something is taken from a BAL, whoever opens it on the web is out, and nobody else.
func TestSessionsEndWithTheirBAL(t *testing.T) {
	h := open(t)
	_, token := h.signIn()
	end := func(b id.BAL) {
		h.tx(func(ctx context.Context, tx *pg.Tx) error { return h.EndSessionsTx(ctx, tx, b, h.now) })
	}
	end(h.doctorBAL)
	if _, err := h.Session(t.Context(), token); err != nil {
		t.Errorf("another's: %v", err)
	}
	err := h.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		if err := h.EndSessionsTx(ctx, tx, h.pBAL, h.now); err != nil {
			return err
		}
		return fault.New(fault.Conflict, "test", "taken-back")
	})
	want(t, "taken back", err, fault.Conflict, "taken-back")
	if _, err := h.Session(t.Context(), token); err != nil {
		t.Errorf("taken back: %v", err)
	}
	end(h.pBAL)
	_, err = h.Session(t.Context(), token)
	want(t, "ended", err, fault.Unauthenticated, "session-over")
	end(h.pBAL)
}

func TestDisabledAccountIsOutEverywhere(t *testing.T) {
	h := open(t)
	_, token := h.signIn()
	for _, a := range []id.Account{h.doctor, h.patient} {
		if err := h.DisableAccount(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	_, err := h.Session(t.Context(), token)
	want(t, "session", err, fault.Unauthenticated, "session-over")
	_, err = h.AppPassword(t.Context(), doctorAddress, h.secret, "")
	want(t, "app password", err, fault.WrongSecret, "wrong-secret")
	if enabled, _, err := h.AccountFacts(t.Context(), h.db, h.doctor, nil); err != nil || enabled {
		t.Errorf("enabled %v, %v", enabled, err)
	}
	if err := h.EnableAccount(t.Context(), h.doctor); err != nil {
		t.Fatal(err)
	}
	if _, err = h.AppPassword(t.Context(), doctorAddress, h.secret, ""); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	want(t, "nobody", h.DisableAccount(t.Context(), 9999), fault.NotFound, "account")
}

func TestAccounts(t *testing.T) {
	h := open(t)
	err := h.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		_, err := h.CreateAccountTx(ctx, tx, NewAccount{Kind: Patient, Login: " LUCIE.M"})
		return err
	})
	want(t, "login", err, fault.Conflict, "login-taken")
	enabled, linked, err := h.AccountFacts(t.Context(), h.db, h.doctor, []id.BAL{h.doctorBAL, h.pBAL, 0, 77})
	if err != nil || !enabled || len(linked) != 1 || !linked[h.doctorBAL] {
		t.Errorf("%v, %v, %v", enabled, linked, err)
	}
	if enabled, linked, err = h.AccountFacts(t.Context(), h.db, 9999, []id.BAL{h.pBAL}); err != nil || enabled || len(linked) != 0 {
		t.Errorf("nobody: %v, %v, %v", enabled, linked, err)
	}
	if a, err := h.AccountOf(t.Context(), h.db, h.pBAL); err != nil || a != h.patient {
		t.Errorf("%d, %v", a, err)
	}
	_, err = h.AccountOf(t.Context(), h.db, 77)
	want(t, "no account", err, fault.NotFound, "no-row")
}

func TestPasswordsThatAreRefused(t *testing.T) {
	for p, code := range map[string]string{
		"":                    "password-short",
		"éééééééé ab":         "password-short",
		"Motdepasse2026!":     "password-common",
		"MOT DE PASSE 2026":   "password-common",
		"azertyuiop123":       "password-common",
		"Passw0rd2026!!":      "password-common",
		"123456789012":        "password-common",
		"abcdefghijklm":       "password-common",
		"aaaaaaaaaaaaaaaa":    "password-common",
		"abababababababab":    "password-common",
		"987654321098":        "password-common",
		"trois lilas du pont": "",
		"Zx9!kLm2#qPw":        "",
	} {
		err := checkPassword("test", p)
		if code == "" {
			if err != nil {
				t.Errorf("%q: %v", p, err)
			}
			continue
		}
		want(t, p, err, fault.Invalid, code)
		if fault.TextOf(err) == fault.Invalid.Text() {
			t.Errorf("%q is refused without a word", p)
		}
	}
}

func TestAWeakHashIsMadeAnew(t *testing.T) {
	h := open(t)
	old := params{memory: 8, time: 1, threads: 1, keySize: 32}
	salt := bytes.Repeat([]byte{7}, saltSize)
	weak := phc{params: old, salt: salt, key: old.derive(goodPassword, salt)}.String()
	if _, err := h.db.Exec(t.Context(), setPassword, h.patient, weak); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Password(t.Context(), "lucie.m", goodPassword, ""); err != nil {
		t.Fatal(err)
	}
	var stored string
	if err := h.db.QueryRow(t.Context(), `SELECT password_hash FROM account WHERE id = $1`, h.patient).Scan(&stored); err != nil {
		t.Fatal(err)
	}
	if v, err := parsePHC(stored); err != nil || v.params != cost {
		t.Errorf("%+v, %v", v.params, err)
	}
	if _, err := h.Password(t.Context(), "lucie.m", goodPassword, ""); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
}

func TestTOTPSecrets(t *testing.T) {
	h := open(t)
	given := "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	err := h.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		_, _, err := h.EnrolTOTPTx(ctx, tx, h.patient, "Pli", "x", "JBSWY3DP")
		want(t, "short", err, fault.Invalid, "totp-secret")
		_, _, err = h.EnrolTOTPTx(ctx, tx, h.patient, "Pli", "x", "not base 32!")
		want(t, "not base32", err, fault.Invalid, "totp-secret")
		_, _, err = h.EnrolTOTPTx(ctx, tx, 9999, "Pli", "x", "")
		want(t, "nobody", err, fault.NotFound, "account")
		secret, url, err := h.EnrolTOTPTx(ctx, tx, h.patient, "Pli", "Lucie.M", given)
		if secret != given || !strings.HasPrefix(url, "otpauth://totp/Pli:Lucie.M?") {
			t.Errorf("%q, %q", secret, url)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var sealed []byte
	if err := h.db.QueryRow(t.Context(), `SELECT totp_sealed FROM account WHERE id = $1`, h.patient).Scan(&sealed); err != nil || bytes.Contains(sealed, []byte(given)) {
		t.Errorf("stored in clear, %v", err)
	}
	h.totp = given
	h.signIn()
}

func TestStatements(t *testing.T) {
	db := pgtest.DB(t)
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for i, sql := range []string{findAppPassword, touchAppPassword, insertAppPassword, listAppPasswords, revokeAppPassword,
		findCertificate, insertCertificate, revokeCertificate, insertAccount, linkBAL, accountOf, accountFacts, disableAccount,
		enableAccount, findLogin, setPassword, swapPassword, insertSession, findSession, listSessions, touchSession, endSession,
		endSessionsOf, endSessionsAt, sweepSessions, findTOTP, takeStep, enrolTOTP, liveLevel} {
		if _, err := conn.Conn().Prepare(t.Context(), fmt.Sprintf("s%d", i), sql); err != nil {
			t.Errorf("statement %d: %v", i, err)
		}
	}
}

func FuzzSecret(f *testing.F) {
	for _, s := range []string{"ABCDE-12345-FGHJK-67890", "abcde 12345 fghjk 67890", "oil00-oil00-oil00-oil00", "", "UUUUU-UUUUU-UUUUU-UUUUU", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := normal(s)
		if n == "" {
			return
		}
		if len(n) != madeLength || strings.Trim(n, alphabet) != "" || normal(n) != n || normal(strings.ToLower(n)) != n {
			t.Errorf("%q folds to %q", s, n)
		}
	})
}

func FuzzCode(f *testing.F) {
	for _, s := range []string{"123456", "123 456", "12-34-56", "１２３４５６", "1234567", "", "abc"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		code, ok := parseCode(s)
		if ok && (len(code) != 6 || strings.Trim(code, "0123456789") != "") {
			t.Errorf("%q reads as %q", s, code)
		}
	})
}

func FuzzPHC(f *testing.F) {
	f.Add(dummy)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parsePHC(s)
		if err == nil && (h.String() != s || h.memory > 256*1024 || h.time > 10) {
			t.Errorf("%q reads as %q", s, h)
		}
	})
}
