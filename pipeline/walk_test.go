package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/txtar"

	"pli/audit"
	"pli/codec/message"
	"pli/consent"
	"pli/directory"
	"pli/dossier"
	"pli/fault"
	"pli/gate"
	"pli/health"
	"pli/identity"
	"pli/internal/blob"
	"pli/internal/clamav"
	"pli/internal/id"
	"pli/internal/job"
	"pli/internal/pg"
	"pli/internal/pgtest"
	"pli/internal/sample"
	"pli/mail"
	"pli/mailstore"
	"pli/outbound"
	"pli/seal"
)

// walkHouse is a house of real rooms on a real database, with people in it.
type walkHouse struct {
	*Pipeline
	t       testing.TB
	db      *pg.DB
	index   *seal.Index
	blobDir string
	people  map[string]*walkPerson // by short name
	woken   []string
	clock   time.Time
}

type walkPerson struct {
	address mail.Address
	kind    health.BALKind
	who     identity.SignIn
	holder  id.Holder
}

// walkTrust trusts operator B and nobody else away.
type walkTrust struct{}

func (walkTrust) Trusted(domain string) bool {
	return domain == "mss-b.example" || domain == "patient.mss-b.example"
}
func (walkTrust) Check() error { return nil }

func (h *walkHouse) Wake(_ context.Context, topic string) { h.woken = append(h.woken, topic) }

// eicar finds malware where a message holds a word, and cannot scan where it holds
// another.
type eicar struct{}

type eicarScan struct{ bytes.Buffer }

func (eicar) Begin(context.Context) (clamav.Scan, error) { return &eicarScan{}, nil }
func (s *eicarScan) Cancel()                             {}
func (s *eicarScan) Verdict() error {
	switch {
	case bytes.Contains(s.Bytes(), []byte("MALWARE")):
		return fault.New(fault.Infected, "clamav.Verdict", "malware")
	case bytes.Contains(s.Bytes(), []byte("SCANNER AWAY")):
		return fault.New(fault.Unavailable, "clamav", "unreachable")
	}
	return nil
}

func newWalkHouse(t testing.TB, scanner clamav.Scanner) *walkHouse {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{seal.NewKeyFile(path("operator")), seal.NewIndexFile(path("index")), audit.NewKeyFile(path("audit"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h := &walkHouse{t: t, db: pgtest.DB(t), blobDir: path("blobs"), people: map[string]*walkPerson{},
		clock: time.Date(2026, 3, 2, 13, 5, 0, 0, time.UTC)}
	log := slog.New(slog.DiscardHandler)
	now := func() time.Time { return h.clock }
	h.index = readNeed(seal.OpenIndex(path("index")))(t)
	sealed := seal.New(h.db, readNeed(seal.OpenKeyFiles(path("operator")))(t))
	if err := sealed.EnsureHouse(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := Deps{DB: h.db, Seal: sealed, Index: h.index, Blobs: readNeed(blob.OpenFiles(h.blobDir))(t), Scanner: scanner, Wake: h,
		Directory: directory.New(h.db, h.index, directory.Config{Domains: []string{"mss-a.example"}, PatientDomain: "patient.mss-a.example",
			ForeignPatientDomains: []string{"patient.mss-b.example"}}),
		Consent: consent.New(h.db, h.index), Mail: mailstore.New(h.db, h.index), Dossier: dossier.New(h.db), Jobs: job.New(h.db, log),
		Config: Config{Hostname: "mx.mss-a.example", Operator: "Opérateur A", Postmaster: "postmaster@mss-a.example"}, Log: log, Now: now}
	accounts := identity.New(identity.Deps{DB: h.db, Index: h.index, Boxes: d.Directory, Patients: d.Dossier, Now: now, Log: log})
	d.Gate = gate.New(gate.Deps{DB: h.db, Boxes: d.Directory, Accounts: accounts, Consent: d.Consent, Dossier: d.Dossier, Trust: walkTrust{},
		Audit: readNeed(audit.New(h.db, path("audit")))(t), Class: health.TestINS, Now: now, Log: log})
	d.Outbound = outbound.New(outbound.Deps{DB: h.db, Jobs: d.Jobs, Config: outbound.Config{Hostname: "mx.mss-a.example"}, Log: log, Now: now})
	h.Pipeline = New(d)
	h.settlePeople(accounts)
	return h
}

func (h *walkHouse) settlePeople(accounts *identity.Service) {
	h.person(accounts, "adele", "adele.martin@mss-a.example", health.PER, nil)
	h.person(accounts, "karim", "karim.haddad@mss-a.example", health.PER, nil)
	h.person(accounts, "chir", "chirurgie@mss-a.example", health.ORG, nil)
	h.person(accounts, "labo", "labo@mss-a.example", health.APP, nil)
	h.person(accounts, "pharma", "pharmacie@mss-a.example", health.ORG, func(b *directory.NewBAL) { b.OpenToPatients = true })
	h.person(accounts, "full", "pleine@mss-a.example", health.PER, func(b *directory.NewBAL) { b.QuotaSize = 396 })
	h.person(accounts, "gone", "partie@mss-a.example", health.PER, func(b *directory.NewBAL) { b.State = health.Closed })
	h.person(accounts, "aline", sample.People()[0].Address("patient.mss-a.example"), health.Patient, nil)
	for name, address := range map[string]string{"nobody": "nobody@mss-a.example", "bob": "bob@mss-b.example", "bea": "bea@mss-b.example",
		"outside": "x@dehors.example", "away-patient": sample.People()[1].Address("patient.mss-b.example")} {
		h.people[name] = &walkPerson{address: mail.MustAddress(address)}
	}
}

func (h *walkHouse) person(accounts *identity.Service, name, address string, kind health.BALKind, change func(*directory.NewBAL)) {
	h.t.Helper()
	person := &walkPerson{address: mail.MustAddress(address), kind: kind}
	h.people[name] = person
	in := func(f func(ctx context.Context, tx *pg.Tx) error) {
		h.t.Helper()
		if err := h.db.InTx(h.t.Context(), f); err != nil {
			h.t.Fatalf("%s: %v", name, err)
		}
	}
	var dossierHolder id.Holder
	in(func(ctx context.Context, tx *pg.Tx) (err error) {
		if person.holder, err = h.d.Seal.CreateHolderTx(ctx, tx, seal.PurposeBAL); err != nil {
			return err
		}
		b := directory.NewBAL{Address: person.address, Kind: kind, State: health.Active, Holder: person.holder, TermsVersion: "1", At: h.clock}
		if kind != health.Patient {
			b.DisplayName = name
			if b.Structure, err = h.d.Directory.CreateStructureTx(ctx, tx, directory.Structure{FINESS: "990000001", Name: "Maison de santé"}); err != nil {
				return err
			}
		}
		if kind == health.PER {
			if b.Person, err = h.d.Directory.CreatePersonTx(ctx, tx, directory.Person{FamilyName: "MARTIN", GivenName: name}); err != nil {
				return err
			}
		}
		if change != nil {
			change(&b)
		}
		if person.who.BAL, err = h.d.Directory.CreateBALTx(ctx, tx, b); err != nil {
			return err
		}
		if err := h.d.Mail.CreateStandardTx(ctx, tx, person.who.BAL, h.clock); err != nil {
			return err
		}
		person.who.Kind, person.who.Means = identity.Professional, identity.ByAppPassword
		if kind == health.APP {
			person.who.Kind, person.who.Means = identity.Application, identity.ByCertificate
		}
		if kind == health.Patient {
			person.who.Kind, person.who.Means = identity.Patient, identity.ByWeb
			if dossierHolder, err = h.d.Seal.CreateHolderTx(ctx, tx, seal.PurposeDossier); err != nil {
				return err
			}
		}
		person.who.Account, err = accounts.CreateAccountTx(ctx, tx, identity.NewAccount{Kind: person.who.Kind, BALs: []id.BAL{person.who.BAL}})
		return err
	})
	if kind == health.Patient {
		in(func(ctx context.Context, tx *pg.Tx) error {
			_, err := h.d.Dossier.CreatePatientTx(ctx, tx, dossier.NewPatient{INSKey: h.index.Key("ins", "test", person.address.Local()), Class: health.TestINS,
				TraitsSealed: []byte("sealed"), Generation: 1, Qualified: true, Holder: dossierHolder, BAL: person.who.BAL, Account: person.who.Account})
			return err
		})
	}
}

// TestWalks plays the cases of testdata/walk: each file of an archive is one step, named
// by what is done, with the message as its text; "answer" and "rows" after it are what
// must come of it. Short names stand for people. PLI_UPDATE=1 writes the outcomes anew.
func TestWalks(t *testing.T) {
	paths, err := filepath.Glob("testdata/walk/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			playWalk(t, path)
		})
	}
}

func playWalk(t *testing.T, path string) {
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := newWalkHouse(t, eicar{})
	played := &txtar.Archive{Comment: ar.Comment}
	for _, f := range ar.Files {
		switch f.Name {
		case "answer":
		case "rows":
			played.Files = append(played.Files, txtar.File{Name: "rows", Data: []byte(h.rows())})
		default:
			answer := h.step(strings.Fields(f.Name), string(f.Data))
			h.clock = h.clock.Add(time.Minute)
			played.Files = append(played.Files, f, txtar.File{Name: "answer", Data: []byte(answer + "\n")})
		}
	}
	if os.Getenv("PLI_UPDATE") != "" {
		if err := os.WriteFile(path, txtar.Format(played), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(string(txtar.Format(ar)), string(txtar.Format(played))); d != "" && os.Getenv("PLI_UPDATE") == "" {
		t.Errorf("-want +got:\n%s", d)
	}
	h.everyBlobHasALetter()
}

// step does what a step's name says: "submit adele to karim bob", "inbound bob to adele",
// "rcpt adele to karim", "rcpt-in bob to adele", "store adele in sent", "notice adele", "wait adele 20m".
// Words with "=" set the envelope: ret=full, notify=success, as=<>, size=1000.
func (h *walkHouse) step(words []string, text string) string {
	ctx := h.t.Context()
	env, options := mail.Envelope{}, map[string]string{}
	var names []string
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			options[k] = v
		} else if w != "to" && w != "in" {
			names = append(names, w)
		}
	}
	if names[0] == "wait" {
		d, err := time.ParseDuration(names[2])
		h.clock = h.clock.Add(d)
		return answerOf("later", err)
	}
	for _, n := range names[2:] {
		r := mail.Recipient{Address: h.people[n].address}
		if options["notify"] == "success" {
			r.Notify = mail.NotifySuccess
		}
		env.Recipients = append(env.Recipients, r)
	}
	if options["ret"] == "full" {
		env.Return = mail.ReturnFull
	}
	person := h.people[names[1]]
	if as, ok := options["as"]; !ok {
		env.ReversePath = person.address
	} else if as != "<>" {
		env.ReversePath = h.people[as].address
	}
	r := strings.NewReader(h.text(text))
	peer := Peer{Domains: []string{"mss-b.example", "patient.mss-b.example"}, Name: "mx.mss-b.example", Address: "192.0.2.1", TLS: "TLS1.3:TLS_AES_128_GCM_SHA256"}
	var rec Receipt
	var err error
	size, _ := strconv.ParseInt(options["size"], 10, 64) // 0 when not announced
	switch names[0] {
	case "submit":
		rec, err = h.Submit(ctx, person.who, env, r)
	case "inbound":
		rec, err = h.Inbound(ctx, peer, env, r)
	case "rcpt":
		err = h.SubmitRecipient(ctx, person.who, env.Recipients[0].Address, size)
	case "rcpt-in":
		err = h.InboundRecipient(ctx, peer, env.ReversePath, env.Recipients[0].Address, size)
	case "store":
		placed, err := h.Store(ctx, StoreRequest{BAL: person.who.BAL, Role: mail.Role(options["role"]), Flags: mailstore.Seen, Size: r.Size()}, r)
		return answerOf(fmt.Sprintf("filed as %d, octets left %d", placed.UID, r.Len()), err)
	case "notice":
		err = h.Notice(ctx, Notice{To: person.address, Body: r, Key: options["key"]})
	default:
		h.t.Fatalf("step %q", words)
	}
	return answerOf(fmt.Sprintf("accepted: %d here, %d away, %d repeated", rec.Local, rec.Remote, rec.Duplicates), err)
}

// text puts addresses in the place of @names@ and ends lines with CRLF; "␍" and "␊" are
// a bare CR and LF.
func (h *walkHouse) text(s string) string {
	for name, p := range h.people {
		s = strings.ReplaceAll(s, "@"+name+"@", p.address.Reveal())
	}
	return strings.NewReplacer("\n", "\r\n", "␍", "\r", "␊", "\n").Replace(s)
}

func answerOf(accepted string, err error) string {
	if err == nil {
		return accepted
	}
	reply := fault.KindOf(err).SMTP()
	return fmt.Sprintf("%d %d.%d.%d %s [%s]", reply.Code, reply.Enhanced[0], reply.Enhanced[1], reply.Enhanced[2], fault.TextOf(err).FR, fault.CodeOf(err))
}

// rows writes what the database holds, in words: who has which messages, what leaves,
// who may answer whom, what is to be read, what was traced.
func (h *walkHouse) rows() string {
	var b strings.Builder
	names := make([]string, 0, len(h.people))
	for n, p := range h.people {
		if p.who.BAL != 0 {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	for _, n := range names {
		for _, role := range mail.Roles() {
			h.mailboxRows(&b, n, role)
		}
		h.exchangeRows(&b, n)
	}
	h.outboundRows(&b)
	h.query(&b, "ingest", `SELECT b.display_name || CASE WHEN b.kind = 'PATIENT' THEN 'patient' ELSE '' END, m.uid::text,
		(i.packet IS NOT NULL)::text FROM ingestion i JOIN bal b ON b.id = i.bal_id JOIN message m ON m.letter_id = i.letter_id AND m.mailbox_id = i.mailbox_id AND m.uid = i.uid ORDER BY 1, 2`)
	h.query(&b, "job", `SELECT kind, count(*)::text FROM job.river_job GROUP BY 1 ORDER BY 1`)
	h.query(&b, "trace", `SELECT CASE WHEN t.chain = 'house' THEN 'house' ELSE COALESCE(NULLIF(b.display_name, ''), 'aline') END, regexp_replace(t.actor, '[0-9]+', '#'),
		t.action, regexp_replace(t.object, '[0-9a-f-]{36}', '#'), t.effect, array_to_string(t.rules, ' '), t.means
		FROM trace t LEFT JOIN bal b ON t.chain = 'bal:' || b.id ORDER BY 1, t.seq`)
	return b.String()
}

func (h *walkHouse) query(b *strings.Builder, title, sql string) {
	h.t.Helper()
	rows, err := h.db.Query(h.t.Context(), sql)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		values, err := row.Values()
		fmt.Fprintf(b, "%s:", title)
		for _, v := range values {
			fmt.Fprintf(b, " %v", v)
		}
		b.WriteByte('\n')
		return struct{}{}, err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *walkHouse) mailboxRows(b *strings.Builder, name string, role mail.Role) {
	h.t.Helper()
	box, err := h.d.Mail.ByRole(h.t.Context(), h.db, h.people[name].who.BAL, role)
	if err != nil {
		h.t.Fatal(err)
	}
	ms, err := h.d.Mail.Newest(h.t.Context(), h.db, box.ID, 0, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := len(ms) - 1; i >= 0; i-- {
		o, content := h.open(name, ms[i])
		f := o.Fields()
		flags := ""
		if ms[i].Flags&mailstore.Seen != 0 {
			flags = " seen"
		}
		fmt.Fprintf(b, "%s %s %d%s: %q from %s, %d octets, reverse %q, preview %q\n", name, role, ms[i].UID, flags, f.Subject(), h.short(f.From()[0].Address),
			len(content), h.short(o.ReversePath), o.Preview)
		if ms[i].Size != o.Size || o.Size != int64(len(content)) || !bytes.HasPrefix(content, o.Header) {
			h.t.Errorf("sizes: row %d, outline %d, content %d", ms[i].Size, o.Size, len(content))
		}
	}
}

// open opens a stored message as its owner.
func (h *walkHouse) open(name string, m mailstore.Message) (*message.Outline, []byte) {
	h.t.Helper()
	ctx := h.t.Context()
	u := readNeed(h.d.Seal.Unlock(ctx, h.people[name].holder))(h.t)
	defer u.Close()
	key := readNeed(u.SessionKey(seal.Packet{Generation: m.Generation, Bytes: m.Packet}))(h.t)
	defer key.Clear()
	o := readNeed(message.Unmarshal(readNeed(key.OpenValue(m.Outline))(h.t)))(h.t)
	return o, h.content(key, m.Letter)
}

func (h *walkHouse) content(key *seal.SessionKey, letter id.Letter) []byte {
	h.t.Helper()
	f := readNeed(h.d.Blobs.Open(h.t.Context(), letter))(h.t)
	defer f.Close()
	r := readNeed(key.OpenFrom(f))(h.t)
	defer r.Close()
	return readNeed(io.ReadAll(r))(h.t)
}

func (h *walkHouse) short(address string) string {
	for n, p := range h.people {
		if p.address.Reveal() == address {
			return n
		}
	}
	return address
}

func (h *walkHouse) exchangeRows(b *strings.Builder, name string) {
	h.t.Helper()
	p := h.people[name]
	if p.kind != health.Patient {
		return
	}
	xs := readNeed(h.d.Consent.List(h.t.Context(), p.who.BAL))(h.t)
	u := readNeed(h.d.Seal.Unlock(h.t.Context(), p.holder))(h.t)
	defer u.Close()
	var lines []string
	for _, x := range xs {
		c := readNeed(ReadCorrespondent(readNeed(u.OpenSealed(x.PeerSealed))(h.t)))(h.t)
		lines = append(lines, fmt.Sprintf("exchange %s with %s (%s): %s\n", name, h.short(c.Address), c.Name, [...]string{"none", "open", "ended"}[x.State]))
	}
	sort.Strings(lines)
	b.WriteString(strings.Join(lines, ""))
}

func (h *walkHouse) outboundRows(b *strings.Builder) {
	h.t.Helper()
	ctx := h.t.Context()
	relay := readNeed(h.d.Seal.Unlock(ctx, readNeed(h.d.Seal.House(ctx, seal.PurposeRelay))(h.t)))(h.t)
	defer relay.Close()
	type row struct {
		letter          [16]byte
		packet, reverse []byte
		generation      int
		domain          string
		full            bool
		addresses       [][]byte
		notify          []int32
		sender          *int64
	}
	rows, err := h.db.Query(ctx, `SELECT o.letter_id, o.packet, o.reverse_path, o.generation, o.domain, o.full_return,
		array_agg(r.address ORDER BY r.n), array_agg(r.notify ORDER BY r.n), o.sender_bal_id
		FROM outbound o JOIN outbound_recipient r ON r.outbound_id = o.id GROUP BY o.id ORDER BY o.id`)
	if err != nil {
		h.t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (v row, err error) {
		return v, r.Scan(&v.letter, &v.packet, &v.reverse, &v.generation, &v.domain, &v.full, &v.addresses, &v.notify, &v.sender)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, v := range all {
		key := readNeed(relay.SessionKey(seal.Packet{Generation: v.generation, Bytes: v.packet}))(h.t)
		o := readNeed(message.Scan(bytes.NewReader(h.content(key, v.letter)), message.Limits{}))(h.t)
		var to []string
		for i, a := range v.addresses {
			to = append(to, fmt.Sprintf("%s(%d)", h.short(string(readNeed(key.OpenValue(a))(h.t))), v.notify[i]))
		}
		fmt.Fprintf(b, "outbound %s: %q, reverse %q, to %s, full %v, house %v\n", v.domain, o.Fields().Subject(),
			h.short(string(readNeed(key.OpenValue(v.reverse))(h.t))), strings.Join(to, " "), v.full, v.sender == nil)
	}
}

// everyBlobHasALetter checks that refusals left nothing behind.
func (h *walkHouse) everyBlobHasALetter() {
	h.t.Helper()
	err := h.d.Blobs.Each(h.t.Context(), func(name id.ID, _ int64, _ time.Time) error {
		var n int
		if err := h.db.QueryRow(h.t.Context(), `SELECT count(*) FROM letter WHERE id = $1`, [16]byte(name)).Scan(&n); err != nil || n == 0 {
			return errors.Join(fmt.Errorf("a blob without a letter"), err)
		}
		return nil
	})
	if err != nil {
		h.t.Error(err)
	}
}
