package imapd

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"pli/audit"
	"pli/consent"
	"pli/directory"
	"pli/directory/search"
	"pli/dossier"
	"pli/fault"
	"pli/gate"
	"pli/health"
	"pli/identity"
	"pli/internal/blob"
	"pli/internal/clamav"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/limit"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/mail"
	"pli/mailstore"
	"pli/outbound"
	"pli/pipeline"
	"pli/seal"
	"pli/smtpd"
)

const (
	royAddress   = "claire.roy@mss-a.example"
	labAddress   = "resultats@mss-a.example"
	royPassword  = "trois lilas près du pont"
	otherAddress = "remplacante@mss-a.example"
)

// clinic is a house of real rooms, with Dr Roy and a laboratory, the IMAP and submission
// doors, and a clock that the test turns.
type clinic struct {
	*testing.T
	db       *pg.DB
	dir      *directory.Directory
	ids      *identity.Service
	clock    atomic.Int64 // after the start, nanoseconds
	start    time.Time
	roy, lab id.BAL
	dr       directory.PersonID
	secrets  map[id.BAL]string
	totp     string
	imap     string
	smtp     string
}

func (c *clinic) now() time.Time { return c.start.Add(time.Duration(c.clock.Load())) }

func (c *clinic) need(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *clinic) tx(f func(ctx context.Context, tx *pg.Tx) error) {
	c.Helper()
	c.need(c.db.InTx(c.Context(), f))
}

// clinicTrust trusts nobody away.
type clinicTrust struct{}

func (clinicTrust) Trusted(string) bool { return false }
func (clinicTrust) Check() error        { return nil }
func (clinicTrust) PeerDomains(tls.ConnectionState) ([]string, error) {
	return nil, fault.New(fault.Untrusted, "test", "")
}
func (clinicTrust) VerifyClient(tls.ConnectionState) (*x509.Certificate, error) {
	return nil, fault.New(fault.Untrusted, "test", "")
}

// noTraces takes the register's acts, which are no business of this test.
type noTraces struct{}

func (noTraces) TraceTx(context.Context, *pg.Tx, ...directory.Act) error { return nil }

type clinicBoxes struct{ *directory.Directory }

func (b clinicBoxes) BALOf(ctx context.Context, q pg.Querier, a mail.Address) (id.BAL, health.BALKind, error) {
	box, err := b.Find(ctx, q, a)
	return box.ID, box.Kind, err
}

type noPatients struct{}

func (noPatients) PatientOf(context.Context, pg.Querier, id.Account) (id.Patient, error) {
	return 0, nil
}

type clearRegister struct{}

func (clearRegister) Seal(_ context.Context, b []byte) ([]byte, error) { return b, nil }
func (clearRegister) Open(_ context.Context, b []byte) ([]byte, error) { return b, nil }

func newClinic(t *testing.T) *clinic {
	c := &clinic{T: t, db: pgtest.DB(t), start: time.Now().UTC(), secrets: map[id.BAL]string{}}
	path := func(name string) string { return filepath.Join(t.TempDir(), name) }
	keys := []string{path("operator"), path("index"), path("audit")}
	c.need(errors.Join(seal.NewKeyFile(keys[0]), seal.NewIndexFile(keys[1]), audit.NewKeyFile(keys[2])))
	custodian, err := seal.OpenKeyFiles(keys[0])
	c.need(err)
	index, err := seal.OpenIndex(keys[1])
	c.need(err)
	traces, err := audit.New(c.db, keys[2])
	c.need(err)
	blobs, err := blob.OpenFiles(path("blobs"))
	c.need(err)
	log := slog.New(slog.DiscardHandler)
	sealed, boxes, con, dos := seal.New(c.db, custodian), mailstore.New(c.db, index), consent.New(c.db, index), dossier.New(c.db)
	c.need(sealed.EnsureHouse(t.Context()))
	c.dir = directory.New(c.db, index, directory.Config{Domains: []string{"mss-a.example"}, PatientDomain: "patient.mss-a.example"})
	c.ids = identity.New(identity.Deps{DB: c.db, Index: index, Boxes: clinicBoxes{c.dir}, Patients: noPatients{}, Register: clearRegister{},
		Limit: limit.New(nil), Now: c.now, Log: log})
	c.dir.Plug(directory.Plugs{Sessions: c.ids, Traces: noTraces{}, Now: c.now, Log: log})
	g := gate.New(gate.Deps{DB: c.db, Boxes: c.dir, Accounts: c.ids, Consent: con, Dossier: dos, Trust: clinicTrust{}, Audit: traces, Class: health.TestINS, Now: c.now})
	jobs := job.New(c.db, log)
	walk := pipeline.New(pipeline.Deps{DB: c.db, Seal: sealed, Index: index, Blobs: blobs, Scanner: clamav.None{}, Gate: g, Directory: c.dir, Consent: con,
		Mail: boxes, Outbound: outbound.New(outbound.Deps{DB: c.db, Jobs: jobs, Log: log, Now: c.now}), Dossier: dos, Jobs: jobs, Suggest: search.New(c.db, c.dir),
		Config: pipeline.Config{Hostname: "mx.mss-a.example"}, Log: log, Now: c.now})
	reader := pipeline.NewReader(pipeline.ReaderDeps{DB: c.db, Mail: boxes, Gate: g, Boxes: c.dir, Seal: sealed, Blobs: blobs, Log: log})
	c.people(sealed, boxes)
	im := New(Deps{DB: c.db, Mail: boxes, SignIn: c.ids, Reader: reader, Filer: walk, Wake: quietBus{}, TLS: serverTLS(t), VerifyClient: clinicTrust{}.VerifyClient, Log: log, Now: c.now}, Config{})
	im.watchEvery = 50 * time.Millisecond
	sm := smtpd.New(smtpd.Deps{Mode: smtpd.Submission, TLS: serverTLS(t), Trust: clinicTrust{}, Outgoing: walk, Accounts: c.ids, Log: log, Now: c.now})
	c.imap, c.smtp = c.listen(im.ServeTLS), c.listen(sm.ServeTLS)
	return c
}

// quietBus carries nothing.
type quietBus struct{}

func (quietBus) Wake(context.Context, string)                     {}
func (quietBus) Subscribe(string) (c <-chan struct{}, end func()) { return nil, func() {} }

func (c *clinic) listen(serve func(context.Context, net.Listener) error) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	c.need(err)
	ctx, cancel := context.WithCancel(context.Background())
	var door sync.WaitGroup
	door.Go(func() { _ = serve(ctx, ln) })
	c.Cleanup(func() { cancel(); door.Wait() })
	return ln.Addr().String()
}

func (c *clinic) people(sealed *seal.Service, boxes *mailstore.Store) {
	var lopez id.BAL
	for _, p := range []struct {
		address, family, login string
		bal                    *id.BAL
	}{{royAddress, "Roy", "c.roy", &c.roy}, {labAddress, "Labo", "", &c.lab}, {otherAddress, "Lopez", "", &lopez}} {
		c.tx(func(ctx context.Context, tx *pg.Tx) error {
			holder, err := sealed.CreateHolderTx(ctx, tx, seal.PurposeBAL)
			c.need(err)
			person, err := c.dir.CreatePersonTx(ctx, tx, directory.Person{FamilyName: p.family, GivenName: "Claire", Profession: "10"})
			c.need(err)
			if p.login != "" {
				c.dr = person
			}
			*p.bal, err = c.dir.CreateBALTx(ctx, tx, directory.NewBAL{Address: mail.MustAddress(p.address), Kind: health.PER, State: health.Active,
				Holder: holder, Person: person, TermsVersion: "1", At: c.now()})
			c.need(err)
			c.need(boxes.CreateStandardTx(ctx, tx, *p.bal, c.now()))
			account, err := c.ids.CreateAccountTx(ctx, tx, identity.NewAccount{Kind: identity.Professional, Login: p.login, BALs: []id.BAL{*p.bal}})
			c.need(err)
			if p.login != "" {
				c.need(c.ids.SetPasswordTx(ctx, tx, account, royPassword))
				c.totp, _, err = c.ids.EnrolTOTPTx(ctx, tx, account, "Pli", p.login, "")
				c.need(err)
			}
			c.secrets[*p.bal], err = c.ids.NewAppPasswordTx(ctx, tx, account, *p.bal, "essai", "")
			return err
		})
	}
}

// read signs in and selects INBOX.
func (c *clinic) read() (w *wire, selected string) {
	c.Helper()
	conn, err := tls.Dial("tcp", c.imap, clientTLS(c.T))
	c.need(err)
	c.Cleanup(func() { _ = conn.Close() })
	w = &wire{t: c.T, c: conn, br: bufio.NewReader(conn)}
	w.line()
	w.ok("LOGIN %s %s", royAddress, c.secrets[c.roy])
	_, selected = w.do("SELECT INBOX")
	return w, selected
}

// submission is a connection that has signed in to send.
func (c *clinic) submission(bal id.BAL, address string) *wire {
	c.Helper()
	conn, err := tls.Dial("tcp", c.smtp, clientTLS(c.T))
	c.need(err)
	c.Cleanup(func() { _ = conn.Close() })
	w := &wire{t: c.T, c: conn, br: bufio.NewReader(conn)}
	w.smtpReply()
	w.smtp("250", "EHLO poste.example")
	w.smtp("235", "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+address+"\x00"+c.secrets[bal])))
	return w
}

// smtp says a command, wants a code, and returns the reply.
func (w *wire) smtp(code, format string, args ...any) string {
	w.t.Helper()
	w.send(fmt.Sprintf(format, args...) + "\r\n")
	got := w.smtpReply()
	if !strings.HasPrefix(got, code) {
		w.t.Errorf("%s: %s, want %s", fmt.Sprintf(format, args...), got, code)
	}
	return got
}

func (w *wire) smtpReply() string {
	w.t.Helper()
	var all strings.Builder
	for {
		_ = w.c.SetDeadline(time.Now().Add(patience))
		l, err := w.br.ReadString('\n')
		if err != nil {
			w.t.Fatalf("%v after %q", err, all.String())
		}
		all.WriteString(l)
		if len(l) > 3 && l[3] == ' ' {
			return all.String()
		}
	}
}

func (w *wire) deliver(from, to, text string) {
	w.t.Helper()
	w.smtp("250", "MAIL FROM:<%s>", from)
	w.smtp("250", "RCPT TO:<%s>", to)
	w.smtp("354", "DATA")
	w.smtp("250", "From: %s\r\nSubject: %s\r\n\r\n%s\r\n.", from, text, text)
}

func (c *clinic) web() (token string) {
	c.Helper()
	first, err := c.ids.Password(c.Context(), "c.roy", royPassword, "192.0.2.1")
	c.need(err)
	code, err := totp.GenerateCode(c.totp, c.now())
	c.need(err)
	token, err = c.ids.SecondFactor(c.Context(), first, code)
	c.need(err)
	return token
}

// The situation of Dr Roy ends (journeys.md §17.4, features.md DIR-07): within 15 minutes
// her sessions are over, her mail is there to read and nothing more, she sends nothing,
// and who writes to her is told, and whom to write to.
func TestASituationEnds(t *testing.T) {
	c := newClinic(t)
	lab := c.submission(c.lab, labAddress)
	lab.deliver(labAddress, royAddress, "compte rendu")
	idle, _ := c.read()
	busy, opened := c.read()
	if !strings.HasPrefix(opened, "OK [READ-WRITE]") {
		t.Fatal(opened)
	}
	busy.ok("STORE 1 +FLAGS (\\Flagged)")
	idle.send("a IDLE\r\n")
	idle.line()
	sending := c.submission(c.roy, royAddress)
	sending.deliver(royAddress, labAddress, "merci")
	token := c.web()

	c.clock.Add(int64(time.Hour)) // sessions were asked about lately, whenever that is
	time.Sleep(200 * time.Millisecond)
	token = c.web()
	c.tx(func(ctx context.Context, tx *pg.Tx) error { // as the night's import has it
		ended, err := c.dir.EndSituationsTx(ctx, tx, c.dr, c.now())
		if len(ended) != 1 || ended[0] != c.roy {
			t.Errorf("ended: %v", ended)
		}
		return err
	})
	c.tx(func(ctx context.Context, tx *pg.Tx) error { // and as her establishment has it
		other := mail.MustAddress(otherAddress)
		_, err := c.dir.UpdateBALTx(ctx, tx, c.roy, directory.Changes{Replacement: &other}, directory.Author{}, c.now())
		return err
	})

	// At once: the web is closed, nothing is sent on a connection that was open already,
	// senders are told.
	if _, err := c.ids.Session(t.Context(), token); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("web session: %v", err)
	}
	sending.smtp("250", "MAIL FROM:<%s>", royAddress)
	if got := sending.smtp("550", "RCPT TO:<%s>", labAddress); !strings.Contains(got, "5.7.1 Votre inscription a l'annuaire n'est plus active.") {
		t.Error(got)
	}
	lab.smtp("250", "MAIL FROM:<%s>", labAddress)
	got := lab.smtp("550", "RCPT TO:<%s>", royAddress)
	for _, want := range []string{"5.2.1 La boite est fermee depuis le ", "Adresse actuelle trouvee dans l'annuaire : " + otherAddress + " (LOPEZ Claire)."} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwithout %s", got, want)
		}
	}

	// Within 15 minutes: whoever reads is out.
	c.clock.Add(int64(15*time.Minute - watchEvery))
	for name, w := range map[string]*wire{"idle": idle, "silent": busy} {
		if got := w.rest(); !strings.Contains(got, "* BYE Votre inscription à l'annuaire n'est plus active") {
			t.Errorf("%s: %q", name, got)
		}
	}

	// Then she reads, and only that.
	w, opened := c.read()
	if !strings.HasPrefix(opened, "OK [READ-ONLY]") {
		t.Error(opened)
	}
	if lines := w.ok("FETCH 1 BODY[TEXT]"); !strings.Contains(strings.Join(lines, ""), "compte rendu") {
		t.Error(lines)
	}
	for _, command := range []string{"STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "COPY 1 Trash", "MOVE 1 Trash", "APPEND INBOX {2+}\r\nx\n", "CREATE x"} {
		w.refused("NO [NOPERM] Votre boîte est suspendue", "%s", command)
	}
	again := c.submission(c.roy, royAddress)
	again.smtp("250", "MAIL FROM:<%s>", royAddress)
	again.smtp("550 5.7.1 Votre inscription", "RCPT TO:<%s>", labAddress)

	// And after 90 days she does not.
	c.clock.Add(int64(91 * 24 * time.Hour))
	if got := w.rest(); !strings.Contains(got, "* BYE Cette boîte n'est pas ouverte.") {
		t.Errorf("%q", got)
	}
}
