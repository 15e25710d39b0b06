package directory

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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

var config = Config{
	Domains:               []string{"mss-a.example", "cabinet.mss-a.example"},
	PatientDomain:         "patient.mss-a.example",
	ForeignPatientDomains: []string{"patient.mss-b.example"},
}

var noon = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)

func open(t testing.TB) (*Directory, *pg.DB) {
	db := pgtest.DB(t)
	d := New(db, testIndex{}, config)
	d.Plug(Plugs{Traces: &recorder{}})
	return d, db
}

// recorder keeps acts as the audit room would.
type recorder struct {
	mu   sync.Mutex
	acts []Act
}

func (r *recorder) TraceTx(_ context.Context, _ *pg.Tx, acts ...Act) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acts = append(r.acts, acts...)
	return nil
}

// take returns the acts kept since the last time, one word each: action/object/cause/fields.
func (r *recorder) take() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.acts {
		out = append(out, strings.TrimRight(fmt.Sprintf("%d %s %s %s %s", a.BAL, a.Action, a.Object, a.Cause, strings.Join(a.Fields, ",")), " "))
	}
	r.acts = nil
	return out
}

func inTx(t testing.TB, db *pg.DB, f func(ctx context.Context, tx *pg.Tx) error) {
	t.Helper()
	if err := db.InTx(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func holder(t testing.TB, db *pg.DB) (h id.Holder) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `INSERT INTO seal_holder (purpose) VALUES ('bal') RETURNING id`).Scan(&h); err != nil {
		t.Fatal(err)
	}
	return h
}

// seed makes a doctor in a practice, a pharmacy and a patient.
func seed(t testing.TB, d *Directory, db *pg.DB) (doctor, pharmacy, patient id.BAL) {
	t.Helper()
	h := []id.Holder{holder(t, db), holder(t, db), holder(t, db)}
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
		practice, err := d.CreateStructureTx(ctx, tx, Structure{FINESS: "690781810", Name: "SCM DES LILAS", TradeName: "Cabinet des Lilas", Sector: "SA07", City: "Lyon"})
		if err != nil {
			return err
		}
		chemist, err := d.CreateStructureTx(ctx, tx, Structure{FINESS: "690000001", Name: "Pharmacie du Pont", Sector: "SA33", City: "Lyon"})
		if err != nil {
			return err
		}
		p, err := d.CreatePersonTx(ctx, tx, Person{RPPS: "10000023084", FamilyName: "Aubépine", GivenName: "Claire", Profession: "10"})
		if err != nil {
			return err
		}
		if err := d.CreateSituationTx(ctx, tx, p, practice, "L", noon); err != nil {
			return err
		}
		for _, n := range []struct {
			to  *id.BAL
			bal NewBAL
		}{
			{&doctor, NewBAL{Address: mail.MustAddress("claire.aubepine@mss-a.example"), Kind: health.PER, State: health.Active, Holder: h[0], Person: p, TermsVersion: "1", At: noon}},
			{&pharmacy, NewBAL{Address: mail.MustAddress("pharmacie.pont@mss-a.example"), Kind: health.ORG, State: health.Active, Holder: h[1], Structure: chemist, DisplayName: "Comptoir", At: noon}},
			{&patient, NewBAL{Address: mail.MustAddress("279035121518989@patient.mss-a.example"), Kind: health.Patient, State: health.Active, Holder: h[2], At: noon}},
		} {
			if *n.to, err = d.CreateBALTx(ctx, tx, n.bal); err != nil {
				return err
			}
		}
		return nil
	})
	return
}

func TestFind(t *testing.T) {
	d, db := open(t)
	doctor, pharmacy, patient := seed(t, d, db)
	for address, want := range map[string]id.BAL{
		"claire.aubepine@mss-a.example":          doctor,
		"CLAIRE.Aubepine@MSS-A.example":          doctor,
		"pharmacie.pont@mss-a.example":           pharmacy,
		"279035121518989@patient.mss-a.example":  patient,
		"255081416802538@patient.mss-a.example":  0, // right key, nobody
		"279035121518988@patient.mss-a.example":  0, // wrong key
		"2-79035121518989@patient.mss-a.example": 0, // a second way to write it
		"279035121518989@mss-a.example":          0,
		"inconnu@mss-a.example":                  0,
		"claire.aubepine@mss-b.example":          0,
		"claire.aubepine+x@mss-a.example":        0, // no plus-addressing
	} {
		b, err := d.Find(t.Context(), db, mail.MustAddress(address))
		if want == 0 {
			if !fault.Is(err, fault.NotFound) || fault.CodeOf(err) != "unknown-bal" {
				t.Errorf("%s: %v, want the one not-found", address, err)
			}
			continue
		}
		if err != nil || b.ID != want {
			t.Errorf("%s: BAL %d, %v, want %d", address, b.ID, err, want)
		}
		if b.Address != mail.MustAddress(address) {
			t.Errorf("%s: the address asked for is not in the answer", address)
		}
	}
}

func TestFactsAreOneQueryForAll(t *testing.T) {
	d, db := open(t)
	doctor, pharmacy, patient := seed(t, d, db)
	a1, a2 := mail.MustAddress("claire.aubepine@mss-a.example"), mail.MustAddress("279035121518989@patient.mss-a.example")
	q := &counting{Querier: db}
	f, err := d.Facts(t.Context(), q, []id.BAL{pharmacy, patient, 9999}, []mail.Address{a1, a2, a1, mail.MustAddress("x@mss-a.example")})
	if err != nil || q.n != 1 {
		t.Fatalf("%v, %d queries", err, q.n)
	}
	if len(f.ByID) != 2 || len(f.ByAddress) != 2 || f.ByAddress[a1].ID != doctor || f.ByAddress[a2].ID != patient {
		t.Fatalf("found %d by id, %d by address", len(f.ByID), len(f.ByAddress))
	}
	if !f.ByID[patient].Address.IsZero() {
		t.Error("a patient found by id shows an address")
	}
	if f.ByID[pharmacy].Structure.Sector != "SA33" || !f.ByID[pharmacy].TakesPatients() || f.ByAddress[a1].TakesPatients() {
		t.Error("only the pharmacy takes patients")
	}
	if f.ByAddress[a1].TermsVersion != "1" || !f.ByAddress[a1].TermsAt.Equal(noon) {
		t.Error("terms are lost")
	}
}

type counting struct {
	pg.Querier
	n int
}

func (c *counting) Query(ctx context.Context, sql string, args ...any) (rows pgx.Rows, err error) {
	c.n++
	return c.Querier.Query(ctx, sql, args...)
}

func TestAPatientsAddressIsNotInTheDatabase(t *testing.T) {
	d, db := open(t)
	_, _, patient := seed(t, d, db)
	var row string
	if err := db.QueryRow(t.Context(), `SELECT b::text FROM bal b WHERE id = $1`, patient).Scan(&row); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(row, "279035121518989") {
		t.Error("the INS is readable in the row")
	}
}

func TestCards(t *testing.T) {
	d, db := open(t)
	doctor, pharmacy, patient := seed(t, d, db)
	for b, want := range map[id.BAL]string{
		doctor:   "AUBÉPINE Claire, médecin, Cabinet des Lilas, Lyon",
		pharmacy: "Comptoir, Pharmacie du Pont, Lyon",
		patient:  "",
	} {
		c, err := d.Card(t.Context(), db, b)
		if err != nil || c.Line() != want {
			t.Errorf("BAL %d: %q, %v, want %q", b, c.Line(), err, want)
		}
	}
	cards, err := d.OpenToPatients(t.Context(), db)
	if err != nil || len(cards) != 1 || cards[0].BAL != pharmacy || !cards[0].OpenToPatients {
		t.Errorf("open to patients: %v, %v", cards, err)
	}
	by, err := d.Cards(t.Context(), db, []mail.Address{mail.MustAddress("claire.aubepine@mss-a.example"), mail.MustAddress("279035121518989@patient.mss-a.example")})
	if err != nil || len(by) != 1 {
		t.Errorf("cards by address: %d, %v, want the doctor's alone", len(by), err)
	}
	if _, err := d.Card(t.Context(), db, 9999); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown BAL: %v", err)
	}
}

func TestCreateBALRefusals(t *testing.T) {
	d, db := open(t)
	h := holder(t, db)
	good := NewBAL{Address: mail.MustAddress("a@mss-a.example"), Kind: health.ORG, Holder: h, Structure: 1, At: noon}
	for name, c := range map[string]struct {
		change func(*NewBAL)
		want   fault.Kind
	}{
		"no address":              {func(n *NewBAL) { n.Address = mail.Address{} }, fault.InvalidAddress},
		"another operator's":      {func(n *NewBAL) { n.Address = mail.MustAddress("a@mss-b.example") }, fault.InvalidAddress},
		"patient outside":         {func(n *NewBAL) { n.Kind, n.Structure = health.Patient, 0 }, fault.InvalidAddress},
		"service among patients":  {func(n *NewBAL) { n.Address = mail.MustAddress("279035121518989@patient.mss-a.example") }, fault.InvalidAddress},
		"service without a place": {func(n *NewBAL) { n.Structure = 0 }, fault.Invalid},
		"doctor without a person": {func(n *NewBAL) { n.Kind = health.PER }, fault.Invalid},
		"no holder":               {func(n *NewBAL) { n.Holder = 0 }, fault.Invalid},
		"kind":                    {func(n *NewBAL) { n.Kind = "XYZ" }, fault.Invalid},
		"wrong key": {func(n *NewBAL) {
			n.Kind, n.Structure, n.Address = health.Patient, 0, mail.MustAddress("279035121518988@patient.mss-a.example")
		}, fault.InvalidAddress},
	} {
		n := good
		c.change(&n)
		err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.CreateBALTx(ctx, tx, n)
			return err
		})
		if fault.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestPersonsAndStructuresAreMadeOnce(t *testing.T) {
	d, db := open(t)
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
		p1, err := d.CreatePersonTx(ctx, tx, Person{RPPS: "10000023084", FamilyName: "A"})
		if err != nil {
			return err
		}
		p2, err := d.CreatePersonTx(ctx, tx, Person{RPPS: "10000023084", FamilyName: "A"})
		if err != nil || p1 != p2 {
			t.Errorf("one RPPS, persons %d and %d, %v", p1, p2, err)
		}
		s1, err := d.CreateStructureTx(ctx, tx, Structure{FINESS: "690781810", Name: "S"})
		if err != nil {
			return err
		}
		s2, err := d.CreateStructureTx(ctx, tx, Structure{FINESS: "690781810", Name: "S"})
		if err != nil || s1 != s2 {
			t.Errorf("one FINESS, structures %d and %d, %v", s1, s2, err)
		}
		p3, err := d.CreatePersonTx(ctx, tx, Person{FamilyName: "B"})
		if err != nil || p3 == p1 {
			t.Errorf("a person without RPPS is a new one: %d, %v", p3, err)
		}
		return nil
	})
}

func TestLifeOfABAL(t *testing.T) {
	d, db := open(t)
	doctor, _, _ := seed(t, d, db)
	address := mail.MustAddress("claire.aubepine@mss-a.example")
	move := func(to health.BALState) error {
		return db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
			_, err := d.MoveTx(ctx, tx, doctor, Move{To: to, Cause: CauseOperator, At: noon.Add(time.Hour)})
			return err
		})
	}
	steps := []struct {
		to   health.BALState
		want fault.Kind
		ok   bool
	}{
		{health.Active, 0, true}, // stays
		{health.Pending, fault.Conflict, false},
		{health.Purged, fault.Conflict, false},
		{health.Suspended, 0, true},
		{health.Active, 0, true},
		{health.Closed, 0, true},
		{health.Suspended, fault.Conflict, false},
		{health.Active, 0, true}, // the same identity opens it again
		{health.Closed, 0, true},
		{health.Purged, 0, true},
		{health.Active, fault.Conflict, false},
	}
	for i, s := range steps {
		err := move(s.to)
		if (err == nil) != s.ok || !s.ok && !fault.Is(err, s.want) {
			t.Fatalf("step %d to %s: %v", i, s.to, err)
		}
	}
	if _, err := d.Find(t.Context(), db, address); !fault.Is(err, fault.NotFound) {
		t.Errorf("purged but found: %v", err)
	}
	h := holder(t, db)
	err := db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		_, err := d.CreateBALTx(ctx, tx, NewBAL{Address: address, Kind: health.PER, Holder: h, Person: 1, At: noon})
		return err
	})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("the address of a purged BAL was given again: %v", err)
	}
}

func TestTerms(t *testing.T) {
	d, db := open(t)
	_, pharmacy, _ := seed(t, d, db)
	inTx(t, db, func(ctx context.Context, tx *pg.Tx) error {
		if err := d.AcceptTermsTx(ctx, tx, 9999, "2", Author{Means: ByCommand}, noon); !fault.Is(err, fault.NotFound) {
			t.Errorf("unknown BAL: %v", err)
		}
		return d.AcceptTermsTx(ctx, tx, pharmacy, "2", Author{Means: ByCommand}, noon)
	})
	if b, err := d.ByID(t.Context(), db, pharmacy); err != nil || b.TermsVersion != "2" {
		t.Errorf("version %q, %v", b.TermsVersion, err)
	}
}

func TestDomains(t *testing.T) {
	d := New(nil, testIndex{}, config)
	for domain, want := range map[string][2]bool{ // ours, for patients
		"mss-a.example":         {true, false},
		"MSS-A.example":         {true, false},
		"patient.mss-a.example": {true, true},
		"patient.mss-b.example": {false, true},
		"mss-b.example":         {false, false},
		"":                      {false, false},
	} {
		if d.Local(domain) != want[0] || d.ForPatients(domain) != want[1] {
			t.Errorf("%q: ours %v, for patients %v", domain, d.Local(domain), d.ForPatients(domain))
		}
	}
	none := New(nil, testIndex{}, Config{Domains: []string{"mss-a.example"}})
	if none.Local("") || none.ForPatients("") {
		t.Error("no patient domain: the empty domain is taken for it")
	}
}

func TestStatements(t *testing.T) {
	_, db := open(t)
	conn, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for i, sql := range []string{findBALs, findOpenToPatients, insertBAL, nextRank, insertPerson, findStructure, insertStructure, insertSituation,
		lockRegister, lockBAL, setState, acceptTerms, findTerms, lockPerson, endPerson, endSituations, restorePerson, restoreSituations, balsOfPerson,
		updateBAL, updatePerson, updateStructure, selectPerson, selectStructure, ranked, setRank, balsHeldBy, balsOfStructure,
		upsertListing, upsertPractitioner, upsertOrganization, upsertRole, findShown, upsertShown, deleteShown, deleteListing,
		deletePractitioner, deleteOrganization, deleteRole, wordsShown, addWords, dropWords, findMode, findTexts, nextBALs, deleteStrays,
		deleteStrayWords, anyToShow, touch, findSleep, showAgain, findSleeping, setNoticed, findToSuspend, findToUnpublish, stillToSuspend,
		setUnpublished, confirmListings, confirmPractitioners, confirmOrganizations, confirmRoles, listBALs, updateMode,
		setCause, balsOfMoved, findPart, dropNational["a"], dropNational["b"]} {
		if _, err := conn.Conn().Prepare(t.Context(), fmt.Sprintf("s%d", i), sql); err != nil {
			t.Errorf("statement %d: %v", i, err)
		}
	}
}

func FuzzPatientAddress(f *testing.F) {
	for _, s := range []string{"279035121518989", "279035121518988", "284052a32102552", "284052A32102552", "2-79035121518989", "", "a", "999999999999999"} {
		f.Add(s)
	}
	d := New(nil, testIndex{}, config)
	f.Fuzz(func(t *testing.T, local string) {
		a, err := mail.ParseAddress(local + "@patient.mss-a.example")
		if err != nil {
			return
		}
		key, ok := d.key(a)
		if !ok {
			return
		}
		ins, err := health.ParseINS(a.Local())
		if err != nil || !ins.KeyValid() || ins.Reveal() != strings.ToUpper(a.Local()) || len(key) != 16 {
			t.Errorf("a key for an address that is no matricule: %q", local)
		}
	})
}
