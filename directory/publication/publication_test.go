package publication

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pli/codec/fhir"
	"pli/directory"
	"pli/fault"
	"pli/health"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/nationaltest"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mail"
)

type testIndex struct{}

func (testIndex) Key(domain string, parts ...string) []byte {
	return []byte(fmt.Sprintf("%q%q", domain, parts))
}

type noTraces struct{}

func (noTraces) TraceTx(context.Context, *pg.Tx, ...directory.Act) error { return nil }

// log is what was logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const secret = "cle-tres-secrete"

// house is a register that publishes to a stand-in of the national directory.
type house struct {
	t        *testing.T
	db       *pg.DB
	d        *directory.Directory
	p        *Publisher
	jobs     *job.Queue
	national *nationaltest.Server
	log      *logged
	cfg      Config

	mu    sync.Mutex
	clock time.Time
}

func (h *house) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock
}

func (h *house) later(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = h.clock.Add(d)
}

var noon = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)

func newHouse(t *testing.T, set ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t, db: pgtest.DB(t), log: &logged{}, clock: noon}
	h.national = &nationaltest.Server{Base: "/fhir/v2", Key: secret, Now: h.now,
		Allows: func(domain string) bool { return domain == "mss-a.example" }}
	web := httptest.NewUnstartedServer(h.national)
	web.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelInfo)
	web.StartTLS()
	t.Cleanup(web.Close)
	folder := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	h.cfg = Config{URL: web.URL + "/fhir/v2/", KeyFile: write("key", []byte(secret+"\n")), Timeout: 5 * time.Second,
		RootsFile: write("roots.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}))}
	for _, f := range set {
		f(&h.cfg)
	}
	h.d = directory.New(h.db, testIndex{}, directory.Config{Domains: []string{"mss-a.example"}})
	log := slog.New(slog.NewJSONHandler(h.log, nil))
	h.jobs = job.New(h.db, log)
	var err error
	if h.p, err = New(Deps{DB: h.db, Jobs: h.jobs, Register: h.d, Config: h.cfg, Log: log, Now: h.now}); err != nil {
		t.Fatal(err)
	}
	h.d.Plug(directory.Plugs{Traces: noTraces{}, Outlet: h.p, Now: h.now})
	return h
}

func (h *house) inTx(f func(ctx context.Context, tx *pg.Tx) error) {
	h.t.Helper()
	if err := h.db.InTx(h.t.Context(), f); err != nil {
		h.t.Fatal(err)
	}
}

// bal makes an active BAL: of a person, by RPPS, or of a structure, by FINESS or SIRET.
func (h *house) bal(kind health.BALKind, address, holder string) (b id.BAL) {
	h.t.Helper()
	var seal id.Holder
	if err := h.db.QueryRow(h.t.Context(), `INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id`).Scan(&seal); err != nil {
		h.t.Fatal(err)
	}
	h.inTx(func(ctx context.Context, tx *pg.Tx) (err error) {
		n := directory.NewBAL{Address: mail.MustAddress(address), Kind: kind, State: health.Active, Holder: seal, TermsVersion: "1", At: h.now()}
		if kind == health.PER || kind == health.CAB {
			n.Person, err = h.d.CreatePersonTx(ctx, tx, directory.Person{RPPS: health.RPPS(holder), FamilyName: "Canari", GivenName: "Ève", Profession: "10", Civility: "DR"})
		} else {
			s := directory.Structure{Name: "Hôpital des Canaris", PostalCode: "69003", City: "Lyon", Street: "1 rue du Lac", Country: "FR"}
			if len(holder) == 9 {
				s.FINESS = health.FINESS(holder)
			} else {
				s.SIRET = holder
			}
			n.Structure, err = h.d.CreateStructureTx(ctx, tx, s)
			n.Service = "Cardiologie"
		}
		if err != nil {
			return err
		}
		b, err = h.d.CreateBALTx(ctx, tx, n)
		return err
	})
	return b
}

func (h *house) move(b id.BAL, to health.BALState) {
	h.t.Helper()
	h.inTx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := h.d.MoveTx(ctx, tx, b, directory.Move{To: to, Cause: directory.CauseOperator, At: h.now()})
		return err
	})
}

func (h *house) update(b id.BAL, c directory.Changes) {
	h.t.Helper()
	h.inTx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := h.d.UpdateBALTx(ctx, tx, b, c, directory.Author{Means: directory.ByCommand}, h.now())
		return err
	})
}

func ptr[T any](v T) *T { return &v }

func (h *house) send(b id.BAL) error { return h.p.Send(h.t.Context(), b) }

// sent sends, and expects no more to do.
func (h *house) sent(b id.BAL) {
	h.t.Helper()
	if err := h.send(b); err != nil {
		h.t.Fatalf("send: %v", err)
	}
}

func (h *house) status(b id.BAL) Status {
	h.t.Helper()
	s, err := h.p.Status(h.t.Context(), b)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// steps are the operations told since the last time, as outcomes of publication_step.
func (h *house) steps(b id.BAL) string {
	h.t.Helper()
	rows, err := h.db.Query(h.t.Context(), `SELECT operation || CASE WHEN outcome = 'refused' THEN '!' || status ELSE '' END FROM publication_step WHERE bal_id = $1 ORDER BY id`, b)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for rows.Next() {
		var s string
		rows.Scan(&s)
		out = append(out, s)
	}
	if rows.Err() != nil {
		h.t.Fatal(rows.Err())
	}
	return strings.Join(out, " ")
}

const (
	rpps       = "89970000017"
	idnps      = fhir.SystemPP + "|8" + rpps
	finess     = "990000108"
	finessID   = fhir.SystemFINESS + "|" + finess
	siret      = "99000000000017"
	doctorMail = "eve.canari@mss-a.example"
)

func TestTheLifeOfABAL(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Organization", finessID)
	const address = "cardiologie@mss-a.example"
	b := h.bal(health.ORG, address, finess)
	shown := func(want bool) fhir.Announced {
		t.Helper()
		a, _, ok := h.national.Published(address)
		if ok != want {
			t.Fatalf("published: %v, want %v; %s", ok, want, h.steps(b))
		}
		if s := h.status(b); s.Published != want || s.State != Told {
			t.Fatalf("status: %+v", s)
		}
		return a
	}
	if h.status(b).State != Waiting {
		t.Fatal("not waiting once made")
	}
	h.sent(b)
	if a := shown(true); a.Kind != health.ORG || a.Service != "Cardiologie" || a.Rank != 1 {
		t.Errorf("%+v", a)
	}
	h.update(b, directory.Changes{Description: ptr("Avis")})
	h.sent(b)
	h.update(b, directory.Changes{Description: ptr("Avis d'urgence")})
	h.sent(b)
	if a := shown(true); a.Description != "Avis d'urgence" {
		t.Errorf("%+v", a)
	}
	h.update(b, directory.Changes{Description: ptr(""), Responsible: ptr("La cadre"), Rank: ptr(2)})
	h.sent(b)
	if a := shown(true); a.Description != "" || a.Responsible != "La cadre" || a.Rank != 2 {
		t.Errorf("%+v", a)
	}
	h.update(b, directory.Changes{Hours: ptr("9 h à 17 h")}) // which the national directory does not know
	h.sent(b)
	h.update(b, directory.Changes{Unlisted: ptr(true)})
	h.sent(b)
	shown(false)
	h.update(b, directory.Changes{Responsible: ptr("Personne")})
	h.sent(b)
	shown(false)
	h.update(b, directory.Changes{Unlisted: ptr(false)})
	h.sent(b)
	shown(true)
	if got := h.steps(b); got != "insert replace replace replace delete insert" {
		t.Errorf("steps: %s", got)
	}
	h.move(b, health.Suspended)
	h.sent(b)
	shown(true)
	h.later(100 * 24 * time.Hour)
	if err := h.p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.sent(b)
	shown(true)
	h.later(100 * 24 * time.Hour) // suspended for long now
	if err := h.p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.sent(b)
	shown(false)
	h.move(b, health.Active)
	h.sent(b)
	shown(true)
	h.move(b, health.Closed)
	h.sent(b)
	shown(false)
	for _, r := range h.national.Requests() {
		if r.Method != "PATCH" && r.Method != "GET" {
			t.Errorf("%s was used", r.Method)
		}
	}
	for _, v := range h.national.History(finessID) {
		if strings.Contains(v, `"listeRouge","valueBoolean":true`) {
			t.Error("announced as being on the liste rouge")
		}
	}
}

func TestCarriers(t *testing.T) {
	t.Parallel()
	for _, as := range []string{"code", "concept"} {
		h := newHouse(t, func(c *Config) { c.KindAs = as })
		h.national.Add("Practitioner", idnps, fhir.SystemRPPS+"|"+rpps)
		h.national.Add("Organization", finessID)
		h.national.Add("Organization", fhir.SystemPlace+"|3"+siret)
		for _, c := range []struct {
			kind               health.BALKind
			holder, identifier string
		}{
			{health.PER, rpps, idnps}, {health.CAB, rpps, idnps}, {health.ORG, finess, finessID}, {health.APP, siret, fhir.SystemPlace + "|3" + siret},
		} {
			address := strings.ToLower(string(c.kind)) + "@mss-a.example"
			b := h.bal(c.kind, address, c.holder)
			if c.kind == health.ORG || c.kind == health.APP {
				h.update(b, directory.Changes{Description: ptr("d"), Responsible: ptr("r")})
			}
			h.sent(b)
			a, on, ok := h.national.Published(address)
			if !ok || a.Kind != c.kind || on[0] != c.identifier {
				t.Errorf("%s: %+v on %v; %+v", c.kind, a, on, h.status(b))
			}
		}
	}
}

// A professional without RPPS has nothing that could carry his BAL.
func TestWithoutNationalIdentifier(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.bal(health.PER, doctorMail, "")
	h.sent(b)
	if s := h.status(b); s.State != Parked || s.Code != "no-national-identifier" {
		t.Errorf("%+v", s)
	}
	if len(h.national.Requests()) != 0 {
		t.Error("something was sent")
	}
}

func TestAnExerciseCarriesIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.p.d.Exercise = func(context.Context, directory.BAL) (string, error) { return "1014196210", nil }
	h.national.Add("PractitionerRole", fhir.SystemRPPS+"|1014196210")
	h.national.Add("Practitioner", idnps)
	b := h.bal(health.PER, doctorMail, rpps)
	h.sent(b)
	if _, on, ok := h.national.Published(doctorMail); !ok || on[0] != fhir.SystemRPPS+"|1014196210" {
		t.Errorf("on %v", on)
	}
	// He is published for himself from now on: taken out there, then put here.
	h.p.d.Exercise = nil
	h.update(b, directory.Changes{Rank: ptr(2)})
	h.sent(b)
	if _, on, ok := h.national.Published(doctorMail); !ok || on[0] != idnps {
		t.Errorf("on %v", on)
	}
	if got := h.steps(b); got != "insert delete insert" {
		t.Error(got)
	}
}

func TestRefusalsArePark(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.bal(health.PER, doctorMail, rpps)
	parked := func(status int, code string) {
		t.Helper()
		h.sent(b)
		if s := h.status(b); s.State != Parked || s.HTTP != status || s.Code != code || s.Text == "" || s.Published {
			t.Fatalf("%+v", s)
		}
	}
	parked(404, "not-found")
	h.sent(b)                                    // nothing more happens by itself
	if n := len(h.national.Requests()); n != 3 { // tried, looked, tried
		t.Errorf("%d requests: %+v", n, h.national.Requests())
	}
	h.national.Add("Practitioner", idnps)
	h.national.Add("Practitioner", idnps)
	if n, err := h.p.Retry(t.Context(), 0); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	parked(412, "multiple-matches")
	h.national.Remove(idnps)
	h.national.Add("Practitioner", idnps)
	h.national.Allows = func(string) bool { return false }
	h.update(b, directory.Changes{Rank: ptr(3)}) // a change tries again too
	parked(400, "business-rule")
	refused, err := h.p.Refusals(t.Context(), 0, 10)
	if err != nil || len(refused) != 1 || refused[0].BAL != b || refused[0].HTTP != 400 || refused[0].Way != "change" {
		t.Errorf("%+v %v", refused, err)
	}
	if waiting, n, _, err := h.p.Counts(t.Context()); waiting != 0 || n != 1 || err != nil {
		t.Error(waiting, n, err)
	}
	h.national.Allows = nil
	if n, err := h.p.Retry(t.Context(), b); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	h.sent(b)
	if s := h.status(b); s.State != Told || s.Code != "" || s.Text != "" || !s.Published {
		t.Errorf("%+v", s)
	}
}

// A deletion on a resource that is no more is done.
func TestGoneWithItsCarrier(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Practitioner", idnps)
	b := h.bal(health.PER, doctorMail, rpps)
	h.sent(b)
	h.national.Remove(idnps)
	h.move(b, health.Closed)
	h.sent(b)
	if s := h.status(b); s.State != Told || s.Published {
		t.Errorf("%+v", s)
	}
}

func TestFailuresAreTriedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Timeout = 300 * time.Millisecond })
	h.national.Add("Practitioner", idnps)
	b := h.bal(health.PER, doctorMail, rpps)
	wait := time.Duration(0)
	for i, f := range []nationaltest.Fault{
		{Method: "PATCH", Status: 500}, {Method: "GET", Status: 502, Body: "<html>"}, {Method: "GET", Status: 0}, {Method: "GET", Status: 504, Delay: 400 * time.Millisecond}, {Method: "GET", Status: 302},
	} {
		h.national.FailNext(f)
		if f.Status == 0 { // Go itself asks again when a kept connection breaks
			h.national.FailNext(f)
		}
		err := h.send(b)
		if err == nil {
			t.Fatalf("%d: no more to do", i)
		}
		s := h.status(b)
		if s.State != Waiting || s.Attempts != i+1 || s.Published {
			t.Fatalf("%d: %+v", i, s)
		}
		if pause := s.NextAt.Sub(h.now()); pause <= wait {
			t.Errorf("%d: tried again after %v, then %v", i, wait, pause)
		} else {
			wait = pause
		}
		if h.send(b) == nil || h.status(b).Attempts != i+1 {
			t.Error("tried before its time")
		}
		h.later(wait + time.Second)
	}
	h.sent(b)
	if s := h.status(b); s.State != Told || s.Attempts != 0 || !s.Published {
		t.Errorf("%+v", s)
	}
	if h.national.Count() != 1 {
		t.Errorf("%d BAL announced", h.national.Count())
	}
}

// Asked to wait, we leave the national directory alone for everybody.
func TestAskedToWait(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Practitioner", idnps)
	h.national.Add("Organization", finessID)
	one, other := h.bal(health.PER, doctorMail, rpps), h.bal(health.ORG, "org@mss-a.example", finess)
	h.national.FailNext(nationaltest.Fault{Status: 429, RetryAfter: "600"})
	if h.send(one) == nil || h.send(other) == nil {
		t.Fatal("not asked again later")
	}
	if n := len(h.national.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
	if s := h.status(one); s.HTTP != 429 || s.NextAt.Sub(h.now()) < 10*time.Minute {
		t.Errorf("%+v", s)
	}
	h.later(11 * time.Minute)
	h.sent(other)
	h.sent(one)
	if h.national.Count() != 2 {
		t.Error("not all announced")
	}
}

func TestTheKeyIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Practitioner", idnps)
	b := h.bal(health.PER, doctorMail, rpps)
	h.national.Key = "another"
	if h.send(b) == nil {
		t.Fatal("done")
	}
	if s := h.status(b); s.State != Waiting || s.Code != "key-refused" {
		t.Errorf("%+v", s)
	}
	h.national.Key = secret
	h.later(16 * time.Minute)
	h.sent(b)
}

// An answer that never came: what was sent may have been carried out or not.
func TestALostAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Practitioner", idnps)
	b := h.bal(health.PER, doctorMail, rpps)
	h.national.FailNext(nationaltest.Fault{Method: "PATCH", After: true})
	if h.send(b) == nil {
		t.Fatal("done")
	}
	h.later(time.Hour)
	h.sent(b)
	if n := h.national.Count(); n != 1 {
		t.Errorf("%d BAL announced", n)
	}
	if got := h.steps(b); got != "found" {
		t.Error(got)
	}
	// Put on the liste rouge while nobody knows whether it was announced.
	h.move(b, health.Closed)
	h.sent(b)
	h.move(b, health.Active)
	h.national.FailNext(nationaltest.Fault{Method: "PATCH", After: true})
	if h.send(b) == nil || h.national.Count() != 1 {
		t.Fatal("the answer was not lost")
	}
	h.update(b, directory.Changes{Unlisted: ptr(true)})
	h.sent(b)
	if n := h.national.Count(); n != 0 {
		t.Error("a BAL on the liste rouge stays announced")
	}
}

// Somebody else changed what we published: it is put right.
func TestBehindOurBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Organization", finessID)
	const address = "org@mss-a.example"
	b := h.bal(health.ORG, address, finess)
	h.update(b, directory.Changes{Description: ptr("un")})
	h.sent(b)
	h.national.Edit(address, func(map[string]any) bool { return false }) // taken out
	h.update(b, directory.Changes{Description: ptr("deux")})
	h.sent(b)
	if a, _, ok := h.national.Published(address); !ok || a.Description != "deux" {
		t.Errorf("%+v %v: %s", a, ok, h.steps(b))
	}
	if got := h.steps(b); got != "insert replace!400 found insert" {
		t.Error(got)
	}
	// And what somebody announced before us is taken over.
	const second = "second@mss-a.example"
	c := h.bal(health.ORG, second, finess)
	h.sent(c)
	if _, err := h.db.Exec(t.Context(), `UPDATE publication SET published = NULL WHERE bal_id = $1`, c); err != nil {
		t.Fatal(err)
	}
	h.update(c, directory.Changes{Description: ptr("nouveau")})
	h.sent(c)
	if a, _, ok := h.national.Published(second); !ok || a.Description != "nouveau" {
		t.Errorf("%+v %v: %s", a, ok, h.steps(c))
	}
}

func TestChangesArriveThroughJobs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.clock = time.Now().UTC().Truncate(time.Microsecond)
	h.national.Add("Practitioner", idnps)
	b := h.bal(health.PER, doctorMail, rpps)
	back := fault.New(fault.Conflict, "test", "back")
	err := h.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		if _, err := h.d.MoveTx(ctx, tx, b, directory.Move{To: health.Closed, Cause: directory.CauseOperator, At: h.now()}); err != nil {
			return err
		}
		return back // rolled back: nobody is told
	})
	if fault.CodeOf(err) != "back" {
		t.Fatal(err)
	}
	w := job.NewWorkers()
	h.p.Handle(w)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.jobs.Run(ctx, w) }()
	defer func() { cancel(); <-done }()
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never: %s: %+v", what, h.status(b))
			}
		}
	}
	until("announced", func() bool { s := h.status(b); return s.State == Told && s.Published })
	h.move(b, health.Closed)
	until("taken out", func() bool { s := h.status(b); return s.State == Told && !s.Published })
	if got := h.steps(b); got != "insert delete" {
		t.Error(got)
	}
}

// Changes and senders all at once: one BAL in the end, and the last word is right.
func TestManyHands(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Organization", finessID)
	const address = "org@mss-a.example"
	b := h.bal(health.ORG, address, finess)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 6 {
				h.update(b, directory.Changes{Description: ptr(fmt.Sprintf("%d.%d", i, n)), Unlisted: ptr(n%3 == 1)})
				_ = h.send(b)
			}
		})
	}
	wg.Wait()
	h.update(b, directory.Changes{Description: ptr("dernier mot"), Unlisted: ptr(false)})
	h.later(time.Minute)
	h.sent(b)
	if a, _, ok := h.national.Published(address); !ok || a.Description != "dernier mot" || h.national.Count() != 1 {
		t.Errorf("%+v %v, %d: %s", a, ok, h.national.Count(), h.steps(b))
	}
	for _, r := range h.national.Requests() {
		if r.Status != 200 {
			t.Errorf("%+v", r)
		}
	}
}

// Publication turned on for a register that is there already.
func TestSweepFindsWhatWasNeverTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Practitioner", idnps)
	h.national.Add("Organization", finessID)
	b, c := h.bal(health.PER, doctorMail, rpps), h.bal(health.ORG, "org@mss-a.example", finess)
	h.update(c, directory.Changes{Unlisted: ptr(true)})
	for _, sql := range []string{`DELETE FROM publication`, `DELETE FROM job.river_job`} {
		if _, err := h.db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := h.status(b); s.State != Waiting {
		t.Errorf("%+v", s)
	}
	if s := h.status(c); s.State != "" {
		t.Errorf("of the liste rouge: %+v", s)
	}
	var args string
	if err := h.db.QueryRow(t.Context(), `SELECT string_agg(args::text, ' ') FROM job.river_job`).Scan(&args); err != nil || !strings.Contains(args, "publication") {
		t.Errorf("%v %s", err, args)
	}
	if strings.Contains(args, "canari") || strings.Contains(args, rpps) {
		t.Error("a job holds more than opaque ids")
	}
	h.sent(b)
	if h.national.Count() != 1 {
		t.Error(h.national.Count())
	}
}

// Neither logs nor errors tell an address, a name, an identifier or the key.
func TestDiscretion(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Practitioner", idnps)
	b := h.bal(health.PER, doctorMail, rpps)
	var errs []string
	try := func() {
		if err := h.send(b); err != nil {
			errs = append(errs, err.Error())
		}
		_, _, err := h.p.d.Channel.Read(t.Context(), Target{"Practitioner", fhir.SystemPP, "8" + rpps}, doctorMail)
		if err != nil {
			errs = append(errs, err.Error())
		}
		h.later(2 * time.Hour)
	}
	for _, f := range []nationaltest.Fault{{Status: 500}, {Status: 0}, {Status: 401}, {Status: 429}, {Status: 400, Body: doctorMail}, {Status: 422, Body: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"` + doctorMail + `","diagnostics":"x"}]}`}} {
		h.national.FailNext(f, f)
		try()
	}
	closed := Config{URL: "http://127.0.0.1:1", KeyFile: h.cfg.KeyFile}
	g, err := NewGateway(closed)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := g.Read(t.Context(), Target{"Practitioner", fhir.SystemPP, rpps}, doctorMail); err == nil {
		t.Error("nobody answered")
	} else {
		errs = append(errs, err.Error())
	}
	said := strings.ToLower(strings.Join(errs, "\n") + h.log.String())
	for _, mark := range []string{"canari", rpps, secret, "127.0.0.1"} {
		if strings.Contains(said, mark) {
			t.Errorf("%q is told:\n%s", mark, said)
		}
	}
}

func TestGatewayWantsTrust(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, c := range map[string]Config{
		"url":        {URL: "http://directory.example", KeyFile: h.cfg.KeyFile},
		"key-file":   {URL: "https://directory.example", KeyFile: filepath.Join(t.TempDir(), "none")},
		"roots-file": {URL: "https://directory.example", KeyFile: h.cfg.KeyFile, RootsFile: h.cfg.KeyFile},
	} {
		if _, err := NewGateway(c); fault.CodeOf(err) != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A certificate that leads to none of our roots.
	c := h.cfg
	c.RootsFile = ""
	g, err := NewGateway(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := g.Read(t.Context(), Target{"Practitioner", fhir.SystemPP, rpps}, doctorMail); !fault.Is(err, fault.Untrusted) {
		t.Errorf("%v", err)
	}
	if n := len(h.national.Requests()); n != 0 {
		t.Error("the key went out")
	}
}

func TestCheck(t *testing.T) {
	if p := (Config{}).Check(); len(p) != 0 {
		t.Error(p)
	}
	if p := (Config{URL: "ftp://x", KindAs: "x", Hour: 24, Reports: "r"}).Check(); len(p) != 5 {
		t.Error(p)
	}
}
