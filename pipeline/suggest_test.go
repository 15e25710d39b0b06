package pipeline

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/directory"
	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/health"
	"pli/identity"
	"pli/internal/clamav"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/internal/sample"
	"pli/mail"
	"pli/outbound"
)

// What app plugs in fits.
var (
	_ Suggester = (*search.Searcher)(nil)
	_ Usage     = (*directory.Directory)(nil)
)

// suggests answers as a directory would, and remembers what it was asked.
type suggests struct {
	found []search.Suggestion
	err   error
	wait  bool // until the caller gives up
	panic bool
	asked []mail.Address
}

func (s *suggests) Suggest(ctx context.Context, a mail.Address) ([]search.Suggestion, error) {
	s.asked = append(s.asked, a)
	if s.panic {
		panic(a.Reveal())
	}
	if s.wait {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.found, s.err
}

func suggestion(address, why string) search.Suggestion {
	return search.Suggestion{Why: why, Listing: listing.Listing{Kind: health.PER, Address: address, FamilyName: "Martin", GivenName: "Adèle", City: "Lyon"}}
}

func TestRefusalsNameThePresentAddress(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	s := &suggests{found: []search.Suggestion{suggestion("a.martin@mss-b.example", "same-professional"), suggestion("autre@mss-b.example", "near")}}
	h.d.Suggest = s
	adele := h.people["adele"].who
	peer := Peer{Domains: []string{"mss-b.example"}}
	const found = " Adresse actuelle trouvée dans l'annuaire : a.martin@mss-b.example (MARTIN Adèle, Lyon)."
	for name, c := range map[string]struct{ plain, to string }{
		"unknown": {"Cette adresse n'existe pas (ou plus).", "nobody"},
		"closed":  {"La boîte est fermée depuis le 2 mars 2026.", "gone"},
	} {
		to := h.people[c.to].address
		for door, err := range map[string]error{
			"submission": h.SubmitRecipient(t.Context(), adele, to, 0),
			"mx":         h.InboundRecipient(t.Context(), peer, h.people["bob"].address, to, 0),
			"notice":     h.InboundRecipient(t.Context(), peer, mail.Address{}, to, 0),
		} {
			if got := fault.TextOf(err); got.FR != c.plain+found || !strings.Contains(got.EN, "a.martin@mss-b.example (MARTIN Adèle, Lyon)") {
				t.Errorf("%s, %s: %+v", name, door, got)
			}
			if strings.Contains(err.Error(), "martin") || !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Closed) {
				t.Errorf("%s, %s: %v", name, door, err)
			}
		}
	}
	s.found = s.found[1:]
	if got := fault.TextOf(h.SubmitRecipient(t.Context(), adele, h.people["nobody"].address, 0)).FR; !strings.HasSuffix(got, " Adresse voisine dans l'annuaire, à vérifier : autre@mss-b.example (MARTIN Adèle, Lyon).") {
		t.Error(got)
	}
}

// Nothing is asked of the directory about patients' addresses, whoever asks and whatever
// they are; nor for a patient, who could not write to what is found.
func TestNoSuggestionAboutPatients(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	s := &suggests{found: []search.Suggestion{suggestion("a.martin@mss-b.example", "near")}}
	h.d.Suggest = s
	peer := Peer{Domains: []string{"mss-b.example", "patient.mss-b.example"}}
	texts := map[fault.Text]bool{}
	for _, to := range []string{sample.People()[2].Address("patient.mss-a.example"), "nobody@patient.mss-a.example", "279035121518900@patient.mss-a.example"} {
		for _, err := range []error{
			h.SubmitRecipient(t.Context(), h.people["adele"].who, mail.MustAddress(to), 0),
			h.InboundRecipient(t.Context(), peer, h.people["bob"].address, mail.MustAddress(to), 0),
		} {
			texts[fault.TextOf(err)] = true
		}
	}
	if len(texts) != 1 {
		t.Errorf("patients' addresses are told apart: %v", texts)
	}
	_ = h.SubmitRecipient(t.Context(), h.people["aline"].who, h.people["nobody"].address, 0)
	_ = h.InboundRecipient(t.Context(), peer, h.people["away-patient"].address, h.people["nobody"].address, 0)
	h.report("bounce-patient", "adele", sample.People()[3].Address("patient.mss-b.example"), "5.1.1")
	h.report("bounce-to-patient", "aline", "bob@mss-b.example", "5.1.1")
	if len(s.asked) != 0 {
		t.Errorf("the directory was asked %d times", len(s.asked))
	}
}

// report reports a failure to somebody, and returns what he reads.
func (h *walkHouse) report(reportID, to, about, status string) string {
	h.t.Helper()
	err := h.DSN(h.t.Context(), outbound.Report{ID: reportID, Action: outbound.Failed, Sender: h.people[to].who.BAL, To: h.people[to].address, QueuedAt: h.clock, At: h.clock,
		Recipients: []outbound.ReportRecipient{{Final: mail.MustAddress(about), Status: status, LastTryAt: h.clock}},
		Original: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("Subject: Avis\r\n\r\n")), nil
		}})
	if err != nil {
		h.t.Fatal(err)
	}
	_, text := h.newest(to, mail.Inbox)
	return text
}

// The plain refusal stays, at once or nearly, when no other address can be named.
func TestSuggestionsThatFail(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	to := h.people["nobody"].address
	for name, s := range map[string]*suggests{
		"none": {}, "failing": {err: errors.New("x")}, "slow": {wait: true}, "panicking": {panic: true},
		"the same":   {found: []search.Suggestion{suggestion(to.Reveal(), "near")}},
		"a patient":  {found: []search.Suggestion{suggestion(sample.People()[0].Address("patient.mss-b.example"), "near")}},
		"no address": {found: []search.Suggestion{suggestion("x", "near")}},
	} {
		h.d.Suggest = s
		began := time.Now()
		err := h.SubmitRecipient(t.Context(), h.people["adele"].who, to, 0)
		if got := fault.TextOf(err).FR; got != "Cette adresse n'existe pas (ou plus)." || time.Since(began) > 10*suggestTimeout || len(s.asked) != 1 {
			t.Errorf("%s: %q after %v, asked %d times", name, got, time.Since(began), len(s.asked))
		}
	}
	s := &suggests{found: []search.Suggestion{suggestion("a@mss-b.example", "near")}}
	h.d.Suggest = s
	for range suggestAtOnce {
		h.suggesting <- struct{}{}
	}
	if _ = h.SubmitRecipient(t.Context(), h.people["adele"].who, to, 0); len(s.asked) != 0 {
		t.Error("more at a time than allowed")
	}
}

func TestReportsNameThePresentAddress(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	h.d.Suggest = &suggests{found: []search.Suggestion{suggestion("a.martin@mss-b.example", "replacement")}}
	for status, want := range map[string]bool{"5.1.1": true, "5.1.10": true, "5.2.1": true, "5.2.2": false, "5.3.4": false, "5.4.7": false, "5.7.1": false} {
		text := h.report(status, "adele", "bob@mss-b.example", status)
		if strings.Contains(text, "a.martin@mss-b.example, MARTIN Ad=C3=A8le, Lyon (nomm=C3=A9e par l'=C3=A9t=\r\nablissement)") != want && strings.Contains(text, "a.martin@mss-b.example") != want {
			t.Errorf("%s:\n%s", status, text)
		}
	}
}

// used counts the days on which BAL are used.
type used struct{ at map[id.BAL]time.Time }

func (u *used) Touch(_ context.Context, b id.BAL, at time.Time) error {
	u.at[b] = at
	return errors.New("not noted") // and nobody minds
}

func TestUseIsNoted(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	u := &used{at: map[id.BAL]time.Time{}}
	h.d.Usage = u
	adele := h.people["adele"].who
	if _, err := h.Submit(t.Context(), adele, h.envelope("adele", "nobody"), strings.NewReader("From: adele.martin@mss-a.example\r\n\r\nx\r\n")); err == nil || len(u.at) != 0 {
		t.Errorf("a message refused is no use: %v, %v", err, u.at)
	}
	if _, err := h.Submit(t.Context(), adele, h.envelope("adele", "karim"), strings.NewReader("From: adele.martin@mss-a.example\r\n\r\nx\r\n")); err != nil || !u.at[adele.BAL].Equal(h.clock) {
		t.Errorf("%v, %v", err, u.at)
	}
	karim := h.people["karim"].who
	reader := NewReader(ReaderDeps{DB: h.db, Mail: h.d.Mail, Gate: h.d.Gate, Boxes: h.d.Directory, Seal: h.d.Seal, Blobs: h.d.Blobs, Usage: u, Now: h.d.Now, Log: h.d.Log})
	o, err := reader.Open(t.Context(), karim)
	if err != nil || !u.at[karim.BAL].Equal(h.clock) {
		t.Fatalf("%v, %v", err, u.at)
	}
	o.Close()
	if _, err := reader.Open(t.Context(), identity.SignIn{Account: adele.Account, BAL: h.people["gone"].who.BAL, Means: identity.ByAppPassword}); err == nil || len(u.at) != 2 {
		t.Errorf("%v, %v", err, u.at)
	}
}

// Every door asks for the same right, and the trace names the door, never the search.
func TestOpenDirectory(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	reader := NewReader(ReaderDeps{DB: h.db, Mail: h.d.Mail, Gate: h.d.Gate, Boxes: h.d.Directory, Seal: h.d.Seal, Blobs: h.d.Blobs, Log: h.d.Log})
	for _, door := range []string{"ldap", "fhir", "carddav", "web"} {
		if err := reader.OpenDirectory(t.Context(), h.people["adele"].who, door); err != nil {
			t.Errorf("%s: %v", door, err)
		}
	}
	if err := reader.DirectoryStillAllowed(t.Context(), h.people["adele"].who, "ldap"); err != nil {
		t.Error(err)
	}
	aline := h.people["aline"].who
	if err := reader.OpenDirectory(t.Context(), aline, "web"); err != nil {
		t.Error(err)
	}
	aline.Means = identity.ByAppPassword
	for _, err := range []error{reader.OpenDirectory(t.Context(), aline, "carddav"), reader.DirectoryStillAllowed(t.Context(), aline, "carddav")} {
		if !fault.Is(err, fault.Forbidden) || !strings.HasPrefix(fault.TextOf(err).FR, "L'annuaire se consulte depuis votre espace") {
			t.Error(err)
		}
	}
	var doors int
	if err := h.db.QueryRow(t.Context(), `SELECT count(DISTINCT means) FROM trace WHERE action = 'open-directory' AND effect = 'permit'`).Scan(&doors); err != nil || doors != 4 {
		t.Errorf("%d doors, %v", doors, err)
	}
}

// The directory itself suggests: the one named by the structure, the same professional
// elsewhere, a neighbour for a slip of the finger; never one on the liste rouge.
func TestTheDirectorySuggests(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	h.d.Suggest = search.New(h.db, h.d.Directory)
	accounts := identity.New(identity.Deps{DB: h.db, Index: h.index, Boxes: h.d.Directory, Now: h.d.Now})
	h.person(accounts, "rouge", "rose.cachee@mss-a.example", health.PER, func(b *directory.NewBAL) { b.Unlisted = true })
	in := func(sql string, args ...any) {
		t.Helper()
		if _, err := h.db.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	l := listing.Listing{Kind: health.PER, Address: "nadia.hamdi@mss-c.example", PPType: "8", PP: "89970000017", FamilyName: "Hamdi", GivenName: "Nadia", City: "Lyon",
		Rank: 1, SinceAt: h.clock, ChangedAt: h.clock, SeenAt: h.clock}
	l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
	if _, err := h.db.Pool().CopyFrom(t.Context(), pgx.Identifier{"listing_a"}, listing.Columns, pgx.CopyFromRows([][]any{l.Row()})); err != nil {
		t.Fatal(err)
	}
	in(`INSERT INTO departed (address, kind, pp_type, pp, gone_at) VALUES ('n.hamdi@mss-b.example', 'PER', '8', '89970000017', $1)`, h.clock)
	h.d.Directory.Plug(directory.Plugs{Traces: noTraces{}})
	if err := h.db.InTx(t.Context(), func(ctx context.Context, tx *pg.Tx) error {
		_, err := h.d.Directory.MoveTx(ctx, tx, h.people["karim"].who.BAL, directory.Move{To: health.Closed, Cause: "closed-by-operator", At: h.clock, Replacement: h.people["adele"].address})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	refusal := func(to string) string {
		return fault.TextOf(h.SubmitRecipient(t.Context(), h.people["chir"].who, mail.MustAddress(to), 0)).FR
	}
	for to, want := range map[string]string{
		"karim.haddad@mss-a.example": "La boîte est fermée depuis le 2 mars 2026. Adresse actuelle trouvée dans l'annuaire : adele.martin@mss-a.example (MARTIN adele).",
		"adele.martn@mss-a.example":  "Cette adresse n'existe pas (ou plus). Adresse voisine dans l'annuaire, à vérifier : adele.martin@mss-a.example (MARTIN adele).",
		"rose.cache@mss-a.example":   "Cette adresse n'existe pas (ou plus).",
		"cachee.rose@mss-a.example":  "Cette adresse n'existe pas (ou plus).",
		"nobody@mss-a.example":       "Cette adresse n'existe pas (ou plus).",
	} {
		if got := refusal(to); got != want {
			t.Errorf("%s: %s", to, got)
		}
	}
	if text := h.report("moved", "adele", "n.hamdi@mss-b.example", "5.1.1"); !strings.Contains(text, "nadia.hamdi@mss-c.example, HAMDI Nadia, Lyon (m=C3=AAme professionnel)") &&
		!strings.Contains(strings.ReplaceAll(text, "=\r\n", ""), "nadia.hamdi@mss-c.example, HAMDI Nadia, Lyon (m=C3=AAme professionnel)") {
		t.Error(text)
	}
}

// noTraces takes the register's, which are no business of this test.
type noTraces struct{}

func (noTraces) TraceTx(context.Context, *pg.Tx, ...directory.Act) error { return nil }
