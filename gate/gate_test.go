package gate

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pli/audit"
	"pli/consent"
	"pli/directory"
	"pli/dossier"
	"pli/fault"
	"pli/health"
	"pli/identity"
	"pli/internal/id"
	"pli/internal/limit"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mail"
	"pli/policy"
)

type testIndex struct{}

func (testIndex) Key(domain string, parts ...string) []byte {
	h := hmac.New(sha256.New, []byte("test"))
	fmt.Fprintf(h, "%q%q", domain, parts)
	return h.Sum(nil)[:16]
}

type trust struct{ broken error }

func (t trust) Trusted(domain string) bool { return domain == "mss-b.example" && t.broken == nil }
func (t trust) Check() error               { return t.broken }

// counted counts the questions put to the rooms.
type counted struct {
	*directory.Directory
	*identity.Service
	c *consent.Service
	d *dossier.Dossier
	n int
}

func (c *counted) Facts(ctx context.Context, q pg.Querier, ids []id.BAL, as []mail.Address) (directory.Found, error) {
	c.n++
	return c.Directory.Facts(ctx, q, ids, as)
}

func (c *counted) AccountFacts(ctx context.Context, q pg.Querier, a id.Account, bals []id.BAL) (bool, map[id.BAL]bool, error) {
	c.n++
	return c.Service.AccountFacts(ctx, q, a, bals)
}

func (c *counted) States(ctx context.Context, q pg.Querier, pairs []consent.Pair) ([]consent.State, error) {
	c.n++
	return c.c.States(ctx, q, pairs)
}

func (c *counted) PatientFacts(ctx context.Context, q pg.Querier, bals []id.BAL, patients []id.Patient) ([]policy.Patient, error) {
	c.n++
	return c.d.PatientFacts(ctx, q, bals, patients)
}

func (c *counted) DocumentFacts(ctx context.Context, q pg.Querier, docs []id.Document) ([]policy.Stored, error) {
	c.n++
	return c.d.DocumentFacts(ctx, q, docs)
}

var (
	now       = time.Date(2026, 3, 3, 14, 5, 6, 7891, time.UTC)
	doctorAt  = mail.MustAddress("claire.aubepine@mss-a.example")
	labAt     = mail.MustAddress("resultats@mss-a.example")
	shopAt    = mail.MustAddress("pharmacie.pont@mss-a.example")
	patientAt = mail.MustAddress("279035121518989@patient.mss-a.example")
	remoteAt  = mail.MustAddress("paul.sorbier@mss-b.example")
)

// town is real rooms on a real database: a doctor, a laboratory, a pharmacy, a patient.
type town struct {
	testing.TB
	db    *pg.DB
	gate  *Gate
	rooms *counted
	log   *audit.Log

	doctorBAL, labBAL, shopBAL, patientBAL id.BAL
	doctor, lab, patient                   id.Account
	dossier                                id.Patient
}

func build(t testing.TB, tr trust) *town {
	db := pgtest.DB(t)
	key := filepath.Join(t.TempDir(), "trace.key")
	if err := audit.NewKeyFile(key); err != nil {
		t.Fatal(err)
	}
	log, err := audit.New(db, key)
	if err != nil {
		t.Fatal(err)
	}
	dir := directory.New(db, testIndex{}, directory.Config{Domains: []string{"mss-a.example"}, PatientDomain: "patient.mss-a.example",
		ForeignPatientDomains: []string{"patient.mss-b.example"}})
	dir.Plug(directory.Plugs{Traces: noTraces{}})
	ids := identity.New(identity.Deps{DB: db, Index: testIndex{}, Boxes: dir, Limit: limit.New(nil), Now: func() time.Time { return now }})
	rooms := &counted{Directory: dir, Service: ids, c: consent.New(db, testIndex{}), d: dossier.New(db)}
	w := &town{TB: t, db: db, rooms: rooms, log: log}
	w.gate = New(Deps{DB: db, Boxes: rooms, Accounts: rooms, Consent: rooms, Dossier: rooms, Trust: tr, Audit: log,
		Class: health.TestINS, Now: func() time.Time { return now }})
	w.settle()
	return w
}

// noTraces keeps none of the register: the tests look at the gate's.
type noTraces struct{}

func (noTraces) TraceTx(context.Context, *pg.Tx, ...directory.Act) error { return nil }

func (w *town) tx(f func(ctx context.Context, tx *pg.Tx) error) {
	w.Helper()
	if err := w.db.InTx(w.Context(), f); err != nil {
		w.Fatal(err)
	}
}

func (w *town) holder(ctx context.Context, tx *pg.Tx) (h id.Holder) {
	w.Helper()
	if err := tx.QueryRow(ctx, `INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id`).Scan(&h); err != nil {
		w.Fatal(err)
	}
	return h
}

func (w *town) settle() {
	w.Helper()
	w.tx(func(ctx context.Context, tx *pg.Tx) error {
		person, err := w.rooms.CreatePersonTx(ctx, tx, directory.Person{RPPS: "10000023084", FamilyName: "Aubépine", GivenName: "Claire", Profession: "10"})
		if err != nil {
			return err
		}
		lab, err := w.rooms.CreateStructureTx(ctx, tx, directory.Structure{FINESS: "690000001", Name: "Laboratoire des Lilas", Sector: "SA25"})
		if err != nil {
			return err
		}
		shop, err := w.rooms.CreateStructureTx(ctx, tx, directory.Structure{FINESS: "690000002", Name: "Pharmacie du Pont", Sector: "SA33"})
		if err != nil {
			return err
		}
		for _, n := range []struct {
			bal *id.BAL
			acc *id.Account
			new directory.NewBAL
			who string
		}{
			{&w.doctorBAL, &w.doctor, directory.NewBAL{Address: doctorAt, Kind: health.PER, Person: person}, identity.Professional},
			{&w.labBAL, &w.lab, directory.NewBAL{Address: labAt, Kind: health.APP, Structure: lab}, identity.Application},
			{&w.shopBAL, nil, directory.NewBAL{Address: shopAt, Kind: health.ORG, Structure: shop}, ""},
			{&w.patientBAL, &w.patient, directory.NewBAL{Address: patientAt, Kind: health.Patient}, identity.Patient},
		} {
			n.new.State, n.new.Holder, n.new.TermsVersion, n.new.At = health.Active, w.holder(ctx, tx), "1", now
			if *n.bal, err = w.rooms.CreateBALTx(ctx, tx, n.new); err != nil {
				return err
			}
			if n.acc != nil {
				if *n.acc, err = w.rooms.CreateAccountTx(ctx, tx, identity.NewAccount{Kind: n.who, BALs: []id.BAL{*n.bal}}); err != nil {
					return err
				}
			}
		}
		w.dossier, err = w.rooms.d.CreatePatientTx(ctx, tx, dossier.NewPatient{INSKey: []byte("ins"), Class: health.TestINS, TraitsSealed: []byte("sealed"),
			Generation: 1, Qualified: true, Holder: w.holder(ctx, tx), BAL: w.patientBAL, Account: w.patient})
		return err
	})
}

func (w *town) by(account id.Account, bal id.BAL) policy.Actor {
	means := identity.ByAppPassword
	if account == w.lab {
		means = identity.ByCertificate
	}
	return Actor(identity.SignIn{Account: account, BAL: bal, Means: means}, "smtp")
}

func (w *town) submit(account id.Account, bal id.BAL, to ...mail.Address) []policy.Question {
	letter := id.New()
	qs := make([]policy.Question, len(to))
	for i, a := range to {
		qs[i] = policy.Question{Action: policy.Submit, Actor: w.by(account, bal), Object: policy.Object{To: a, Letter: letter}}
	}
	return qs
}

// traces returns a chain, the oldest first, as "effect action object rules".
func (w *town) traces(chain string) (said []string) {
	w.Helper()
	rows, err := w.log.Read(w.Context(), chain, 0, 100)
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range slices.Backward(rows) {
		effect := "deny"
		if r.Permit {
			effect = "permit"
		}
		said = append(said, fmt.Sprint(effect, " ", r.Action, " ", r.Object, " ", r.Actor, " ", strings.Join(r.Rules, " ")))
		if r.Rulebook != policy.RuleBookHash() || !r.At.Equal(now.Truncate(time.Microsecond)) {
			w.Errorf("trace %+v: rule book or time", r.Entry)
		}
	}
	return said
}

func (w *town) wantTraces(chain string, want ...string) {
	w.Helper()
	if got := w.traces(chain); !slices.Equal(got, want) {
		w.Errorf("chain %s:\n got %q\nwant %q", chain, got, want)
	}
}

func noAct(context.Context, *pg.Tx, []policy.Decision) error { return nil }

func TestDoTracesWithTheAct(t *testing.T) {
	w := build(t, trust{})
	qs := w.submit(w.doctor, w.doctorBAL, labAt, patientAt, remoteAt)
	letter := qs[0].Object.Letter
	acted := 0
	w.rooms.n = 0
	err := w.gate.Do(t.Context(), qs, func(ctx context.Context, tx *pg.Tx, ds []policy.Decision) error {
		if len(ds) != 3 || !ds[0].Permits() || !ds[1].Permits() || !ds[2].Permits() {
			t.Errorf("decisions %+v", ds)
		}
		acted++
		return nil
	})
	if err != nil || acted != 1 {
		t.Fatalf("%v, acted %d times", err, acted)
	}
	if w.rooms.n != 3 {
		t.Errorf("%d questions to the rooms for 3 recipients, want directory, identity and dossier once each", w.rooms.n)
	}
	w.wantTraces(audit.BALChain(w.doctorBAL),
		fmt.Sprintf("permit submit letter:%s bal:%d account:%d R-WRITE-01", letter, w.labBAL, w.doctor),
		fmt.Sprintf("permit submit letter:%s bal:%d account:%d R-WRITE-03", letter, w.patientBAL, w.doctor),
		fmt.Sprintf("permit submit letter:%s domain:mss-b.example account:%d R-WRITE-02", letter, w.doctor))
	w.wantTraces(audit.BALChain(w.patientBAL),
		fmt.Sprintf("permit submit letter:%s bal:%d account:%d R-WRITE-03", letter, w.patientBAL, w.doctor))
	if r, err := w.log.Verify(t.Context()); err != nil || len(r.Faults) != 0 || r.Traces != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestOneRefusalStopsTheActAndIsTraced(t *testing.T) {
	w := build(t, trust{})
	qs := w.submit(w.doctor, w.doctorBAL, labAt, mail.MustAddress("x@dehors.example"), mail.MustAddress("inconnu@mss-a.example"))
	err := w.gate.Do(t.Context(), qs, func(context.Context, *pg.Tx, []policy.Decision) error {
		t.Error("acted")
		return nil
	})
	if !fault.Is(err, fault.Untrusted) || fault.CodeOf(err) != "R-DOM-01" {
		t.Errorf("%v, want the first refusal", err)
	}
	if got := fault.TextOf(err).FR; got != "dehors.example ne fait pas partie de l'espace de confiance. Rien n'a été envoyé." {
		t.Errorf("text %q", got)
	}
	if strings.Contains(err.Error(), "dehors") {
		t.Errorf("the error text names the domain: %v", err)
	}
	letter := qs[0].Object.Letter
	w.wantTraces(audit.BALChain(w.doctorBAL),
		fmt.Sprintf("permit submit letter:%s bal:%d account:%d R-WRITE-01", letter, w.labBAL, w.doctor),
		fmt.Sprintf("deny submit letter:%s domain:dehors.example account:%d R-DOM-01", letter, w.doctor),
		fmt.Sprintf("deny submit letter:%s domain:mss-a.example account:%d R-ADDR-01", letter, w.doctor))
}

func TestAFailedActLeavesNoTrace(t *testing.T) {
	w := build(t, trust{})
	broken := errors.New("disk")
	err := w.gate.Do(t.Context(), w.submit(w.doctor, w.doctorBAL, labAt), func(context.Context, *pg.Tx, []policy.Decision) error { return broken })
	if !fault.Is(err, fault.Internal) {
		t.Errorf("%v", err)
	}
	w.wantTraces(audit.BALChain(w.doctorBAL))
}

type noAudit struct{}

func (noAudit) AppendTx(context.Context, *pg.Tx, ...audit.Entry) error {
	return fault.New(fault.Unavailable, "audit.AppendTx", "away")
}

func TestNoTraceNoAct(t *testing.T) {
	w := build(t, trust{})
	w.gate.d.Audit = noAudit{}
	err := w.gate.Do(t.Context(), w.submit(w.doctor, w.doctorBAL, labAt), func(ctx context.Context, tx *pg.Tx, _ []policy.Decision) error {
		_, err := tx.Exec(ctx, `UPDATE bal SET description = 'acted'`)
		return err
	})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	var n int
	if err := w.db.QueryRow(t.Context(), `SELECT count(*) FROM bal WHERE description = 'acted'`).Scan(&n); err != nil || n != 0 {
		t.Errorf("the act stands without its trace: %d rows, %v", n, err)
	}
	if _, err := w.gate.Ask(t.Context(), w.submit(w.doctor, w.doctorBAL, mail.MustAddress("x@dehors.example"))[0]); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a refusal that cannot be traced: %v", err)
	}
	if err := w.gate.Do(t.Context(), nil, noAct); !fault.Is(err, fault.Internal) {
		t.Errorf("an act without a question: %v", err)
	}
}

func TestAsk(t *testing.T) {
	w := build(t, trust{})
	ask := func(account id.Account, bal id.BAL, to mail.Address, action policy.Action) error {
		t.Helper()
		q := w.submit(account, bal, to)[0]
		q.Action, q.Object.Letter = action, id.ID{}
		d, err := w.gate.Ask(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return Refusal(d)
	}
	if err := ask(w.doctor, w.doctorBAL, patientAt, policy.Submit); err != nil {
		t.Errorf("doctor to patient: %v", err)
	}
	w.wantTraces(audit.BALChain(w.doctorBAL))
	if err := ask(w.patient, w.patientBAL, doctorAt, policy.Reply); fault.CodeOf(err) != "R-PAT-04" {
		t.Errorf("patient first: %v", err)
	}
	w.wantTraces(audit.BALChain(w.patientBAL)) // drawing a page is no attempt
	if err := ask(w.patient, w.patientBAL, doctorAt, policy.Submit); fault.CodeOf(err) != "R-PAT-04" {
		t.Errorf("patient first: %v", err)
	}
	w.wantTraces(audit.BALChain(w.patientBAL), fmt.Sprintf("deny submit bal:%d account:%d R-PAT-04", w.doctorBAL, w.patient))
	if err := ask(w.patient, w.patientBAL, shopAt, policy.Submit); err != nil {
		t.Errorf("patient to a pharmacy: %v", err)
	}
	if err := ask(w.doctor, w.patientBAL, labAt, policy.Submit); fault.CodeOf(err) != "R-ACCT-02" {
		t.Errorf("in another's name: %v", err)
	}
	if err := ask(9999, w.doctorBAL, labAt, policy.Submit); fault.CodeOf(err) != "R-ACCT-01" {
		t.Errorf("nobody's account: %v", err)
	}
}

func TestExchanges(t *testing.T) {
	w := build(t, trust{})
	code := func() string {
		t.Helper()
		d, err := w.gate.Ask(t.Context(), w.submit(w.patient, w.patientBAL, remoteAt)[0])
		if err != nil {
			t.Fatal(err)
		}
		return fault.CodeOf(Refusal(d))
	}
	set := func(f func(context.Context, *pg.Tx, id.BAL, mail.Address, []byte, time.Time) error, at time.Time) {
		t.Helper()
		w.tx(func(ctx context.Context, tx *pg.Tx) error {
			return f(ctx, tx, w.patientBAL, remoteAt, []byte("sealed"), at)
		})
	}
	steps := []string{code()}
	set(w.rooms.c.OpenTx, now)
	steps = append(steps, code())
	set(w.rooms.c.EndTx, now.Add(time.Second))
	steps = append(steps, code())
	set(w.rooms.c.OpenTx, now.Add(2*time.Second))
	steps = append(steps, code())
	if want := []string{"R-PAT-04", "", "R-PAT-03", ""}; !slices.Equal(steps, want) {
		t.Errorf("first, opened, ended, opened again: %q, want %q", steps, want)
	}
}

func TestReceive(t *testing.T) {
	w := build(t, trust{})
	peer := policy.Actor{Peer: policy.Peer{Name: "mss-b.example", Domains: []string{"mss-b.example"}}, Means: "smtp"}
	for _, c := range []struct{ from, to, code string }{
		{"paul.sorbier@mss-b.example", "279035121518989@patient.mss-a.example", ""},
		{"", "claire.aubepine@mss-a.example", ""},
		{"paul.sorbier@mss-c.example", "claire.aubepine@mss-a.example", "R-PEER-02"},
		{"paul.sorbier@mss-b.example", "255081416802538@patient.mss-a.example", "R-ADDR-01"},
		{"paul.sorbier@mss-b.example", "279035121518988@patient.mss-a.example", "R-ADDR-01"},
		{"paul.sorbier@mss-b.example", "x@mss-b.example", "R-RELAY-01"},
	} {
		q := policy.Question{Action: policy.Receive, Actor: peer, Object: policy.Object{To: mail.MustAddress(c.to)}}
		if c.from != "" {
			q.Object.From = mail.MustAddress(c.from)
		}
		if err := w.gate.Do(t.Context(), []policy.Question{q}, noAct); fault.CodeOf(err) != c.code {
			t.Errorf("%s to %s: %v, want %q", c.from, c.to, err, c.code)
		}
	}
	w.wantTraces(audit.BALChain(w.patientBAL), fmt.Sprintf("permit receive bal:%d peer:mss-b.example R-RECV-01", w.patientBAL))
	w.wantTraces(audit.House,
		"deny receive domain:patient.mss-a.example peer:mss-b.example R-ADDR-01",
		"deny receive domain:patient.mss-a.example peer:mss-b.example R-ADDR-01",
		"deny receive domain:mss-b.example peer:mss-b.example R-RELAY-01")
	w.tx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := w.rooms.MoveTx(ctx, tx, w.doctorBAL, directory.Move{To: health.Suspended, Cause: directory.CauseOperator, At: now})
		return err
	})
	q := policy.Question{Action: policy.Receive, Actor: peer, Object: policy.Object{To: doctorAt}}
	if err := w.gate.Do(t.Context(), []policy.Question{q}, noAct); !fault.Is(err, fault.Closed) {
		t.Errorf("suspended: %v", err)
	}
}

func TestAWhiteListThatCannotBeReadDefers(t *testing.T) {
	w := build(t, trust{broken: errors.New("stale")})
	err := w.gate.Do(t.Context(), w.submit(w.doctor, w.doctorBAL, remoteAt), noAct)
	if !fault.Is(err, fault.Unavailable) || !fault.KindOf(err).SMTP().Temporary() {
		t.Errorf("%v, want a temporary refusal", err)
	}
}

func TestOpenBAL(t *testing.T) {
	w := build(t, trust{})
	open := func(account id.Account, bal id.BAL) (policy.Decision, error) {
		var got policy.Decision
		q := policy.Question{Action: policy.OpenBAL, Actor: w.by(account, bal), Object: policy.Object{BAL: bal}}
		err := w.gate.Do(t.Context(), []policy.Question{q}, func(_ context.Context, _ *pg.Tx, ds []policy.Decision) error {
			got = ds[0]
			return nil
		})
		return got, err
	}
	if d, err := open(w.doctor, w.doctorBAL); err != nil || d.Owes(policy.ReadOnly) {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := open(w.doctor, w.patientBAL); fault.CodeOf(err) != "R-ACCT-02" {
		t.Errorf("another's BAL: %v", err)
	}
	w.tx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := w.rooms.MoveTx(ctx, tx, w.doctorBAL, directory.Move{To: health.Suspended, Cause: directory.CauseOperator, At: now.AddDate(0, 0, -89)})
		return err
	})
	if d, err := open(w.doctor, w.doctorBAL); err != nil || !d.Owes(policy.ReadOnly) {
		t.Errorf("suspended: %+v, %v, want read-only", d, err)
	}
	w.wantTraces(audit.BALChain(w.patientBAL), fmt.Sprintf("deny open-bal bal:%d account:%d R-ACCT-02 R-OPEN-01", w.patientBAL, w.doctor))
}

// Asking the directory is traced with the BAL that asks, once; asked again, a permission
// leaves nothing.
func TestOpenDirectory(t *testing.T) {
	w := build(t, trust{})
	ask := func(account id.Account, bal id.BAL, proof, door string) policy.Question {
		return policy.Question{Action: policy.OpenDirectory, Actor: Actor(identity.SignIn{Account: account, BAL: bal, Means: proof}, door)}
	}
	for _, c := range []struct {
		q    policy.Question
		code string
	}{
		{ask(w.doctor, w.doctorBAL, identity.ByAppPassword, "ldap"), ""},
		{ask(w.patient, w.patientBAL, identity.ByWeb, "web"), ""},
		{ask(w.patient, w.patientBAL, identity.ByAppPassword, "carddav"), "R-DIR-03"},
		{ask(w.patient, w.labBAL, identity.ByWeb, "web"), "R-ACCT-02"},
	} {
		if err := w.gate.Do(t.Context(), []policy.Question{c.q}, noAct); fault.CodeOf(err) != c.code {
			t.Errorf("%v, want %q", err, c.code)
		}
	}
	if d, err := w.gate.Ask(t.Context(), ask(w.doctor, w.doctorBAL, identity.ByAppPassword, "ldap")); err != nil || !d.Permits() {
		t.Errorf("asked again: %+v, %v", d, err)
	}
	w.wantTraces(audit.BALChain(w.doctorBAL), fmt.Sprintf("permit open-directory directory account:%d R-DIR-01", w.doctor))
	w.wantTraces(audit.BALChain(w.patientBAL), fmt.Sprintf("permit open-directory directory account:%d R-DIR-02", w.patient),
		fmt.Sprintf("deny open-directory directory account:%d R-DIR-03", w.patient))
	w.tx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := w.rooms.MoveTx(ctx, tx, w.doctorBAL, directory.Move{To: health.Closed, Cause: directory.CauseOperator, At: now})
		return err
	})
	if d, err := w.gate.Ask(t.Context(), ask(w.doctor, w.doctorBAL, identity.ByAppPassword, "ldap")); err != nil || fault.CodeOf(Refusal(d)) != "R-DIR-04" {
		t.Errorf("closed: %+v, %v", d, err)
	}
}

func TestDossier(t *testing.T) {
	w := build(t, trust{})
	doc := id.New()
	reading := &policy.Reading{HasINS: policy.Yes, Class: health.TestINS, Complete: policy.Yes, SenderQualified: policy.Yes, PatientFound: policy.Yes,
		TraitsMatch: policy.Yes, TypeKnown: policy.Yes, Confidentiality: []string{"N"}, AuthorIdentified: policy.Yes, Archive: policy.Yes, Latest: policy.Yes, Author: policy.Yes}
	file := policy.Question{Action: policy.FileDocument, Actor: policy.Actor{House: true, Means: "job"}, Reading: reading,
		Object: policy.Object{Patient: w.dossier, BAL: w.doctorBAL, Document: doc}}
	err := w.gate.Do(t.Context(), []policy.Question{file}, func(ctx context.Context, tx *pg.Tx, _ []policy.Decision) error {
		_, err := tx.Exec(ctx, `INSERT INTO document (id, patient_id, unique_key, set_key, version, status, origin, blob_id, size, sealed_size, sealed_sha256, generation, packet, meta, filed_at)
VALUES ($1, $2, 'u', 's', 1, 'approved', 'ingest', $1, 1, 1, '', 1, '', '', $3)`, doc, w.dossier, now)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	unknown := file
	r := *reading
	r.PatientFound = policy.No
	unknown.Reading, unknown.Object.Patient = &r, 0
	if err := w.gate.Do(t.Context(), []policy.Question{unknown}, noAct); fault.CodeOf(err) != "R-FILE-06" {
		t.Errorf("unknown patient: %v", err)
	}
	w.wantTraces(audit.BALChain(w.doctorBAL), fmt.Sprintf("deny file-document document:%s house R-FILE-06", doc))

	read := policy.Question{Action: policy.ReadDocument, Actor: w.by(w.patient, w.patientBAL), Object: policy.Object{Patient: w.dossier, Document: doc}}
	read.Actor.Patient = w.dossier
	if err := w.gate.Do(t.Context(), []policy.Question{read}, noAct); err != nil {
		t.Errorf("the patient: %v", err)
	}
	stranger := read
	stranger.Actor = w.by(w.doctor, w.doctorBAL)
	stranger.Actor.Patient = w.dossier // whatever a caller claims
	if err := w.gate.Do(t.Context(), []policy.Question{stranger}, noAct); !fault.Is(err, fault.Withheld) {
		t.Errorf("a stranger: %v", err)
	}
	w.tx(func(ctx context.Context, tx *pg.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE document SET visibility = '{N,INVISIBLE_PATIENT}'`)
		return err
	})
	if err := w.gate.Do(t.Context(), []policy.Question{read}, noAct); fault.CodeOf(err) != "R-READ-03" {
		t.Errorf("hidden: %v", err)
	}
	said := func(effect, action, actor, rule string) string {
		return fmt.Sprintf("%s %s document:%s patient:%d %s %s", effect, action, doc, w.dossier, actor, rule)
	}
	me, dr := fmt.Sprintf("account:%d", w.patient), fmt.Sprintf("account:%d", w.doctor)
	w.wantTraces(audit.PatientChain(w.dossier),
		said("permit", "file-document", "house", "R-FILE-17"), said("permit", "read-document", me, "R-READ-04"),
		said("deny", "read-document", dr, "R-HOLD-01"), said("deny", "read-document", me, "R-READ-03 R-READ-04"))
}

func TestEveryDenialIsAFaultWithATextAndNoName(t *testing.T) {
	for _, r := range policy.RuleBook() {
		err := Refusal(policy.Decision{Reasons: []policy.Reason{{Rule: r.ID, Domain: "dehors.example"}}})
		if fault.CodeOf(err) != r.ID || fault.KindOf(err) != r.Fault {
			t.Errorf("%s: %v", r.ID, err)
		}
		if text := fault.TextOf(err); text.FR == "" || text.EN == "" || strings.Contains(text.FR, "{") {
			t.Errorf("%s: %+v", r.ID, text)
		}
	}
	if err := Refusal(policy.Decision{}); !fault.Is(err, fault.Forbidden) {
		t.Errorf("the zero decision: %v", err)
	}
	if err := Refusal(policy.Decision{Effect: policy.Permit, Reasons: []policy.Reason{{Rule: "R-WRITE-01", Effect: policy.Permit}}}); err != nil {
		t.Errorf("a permission: %v", err)
	}
}

func TestAnUnknownObligationStops(t *testing.T) {
	if err := carried(policy.Decision{Obligations: []policy.Obligation{policy.Trace, "notify"}}); err == nil {
		t.Error("an obligation that nobody carries out was let through")
	}
	if err := carried(policy.Decision{}); err == nil {
		t.Error("a decision that owes no trace was let through")
	}
}

func TestAGateWithoutRoomsIsNotMade(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("made without a trace store")
		}
	}()
	New(Deps{})
}

// BenchmarkDo is the gate's part of a delivery: facts, decision, trace, commit.
func BenchmarkDo(b *testing.B) {
	w := build(b, trust{})
	peer := policy.Actor{Peer: policy.Peer{Name: "mss-b.example", Domains: []string{"mss-b.example"}}, Means: "smtp"}
	for name, qs := range map[string][]policy.Question{
		"submit":  w.submit(w.doctor, w.doctorBAL, labAt),
		"receive": {{Action: policy.Receive, Actor: peer, Object: policy.Object{From: remoteAt, To: doctorAt}}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := w.gate.Do(b.Context(), qs, noAct); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
