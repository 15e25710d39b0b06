package pipeline

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/blob"
	"pli/internal/clamav"
	"pli/internal/id"
	"pli/internal/wake"
	"pli/mail"
	"pli/outbound"
)

var peerB = Peer{Domains: []string{"mss-b.example"}, Name: "mx.mss-b.example", Address: "192.0.2.1", TLS: "TLS1.3:TLS_AES_128_GCM_SHA256"}

func (h *walkHouse) envelope(from string, to ...string) mail.Envelope {
	env := mail.Envelope{ReversePath: h.people[from].address}
	for _, n := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: h.people[n].address})
	}
	return env
}

func (h *walkHouse) newest(name string, role mail.Role) (*message.Outline, string) {
	h.t.Helper()
	box := readNeed(h.d.Mail.ByRole(h.t.Context(), h.db, h.people[name].who.BAL, role))(h.t)
	ms := readNeed(h.d.Mail.Newest(h.t.Context(), h.db, box.ID, 0, 1))(h.t)
	if len(ms) == 0 {
		h.t.Fatalf("%s has nothing in %s", name, role)
	}
	o, content := h.open(name, ms[0])
	return o, string(content)
}

func (h *walkHouse) count(name string, role mail.Role) int {
	h.t.Helper()
	return int(readNeed(h.d.Mail.ByRole(h.t.Context(), h.db, h.people[name].who.BAL, role))(h.t).Messages)
}

func (h *walkHouse) blobs() (n int) {
	h.t.Helper()
	err := h.d.Blobs.Each(h.t.Context(), func(id.ID, int64, time.Time) error { n++; return nil })
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// TestTraceFields shows the header that a recipient finds, identifiers put at rest.
func TestTraceFields(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	rest := func(s string) string {
		s = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`).ReplaceAllString(s, "ID")
		return regexp.MustCompile(`<[0-9a-f]{32}@`).ReplaceAllString(s, "<NEW@")
	}
	peer := peerB
	peer.Name, peer.Address = "evil\r\nBcc: x (mx.mss-b.example)", "2001:db8::1"
	in := "Return-Path: <x@mss-b.example>\r\nFrom: bob@mss-b.example\r\nSubject: a\r\n\r\nb\r\n"
	if _, err := h.Inbound(t.Context(), peer, h.envelope("bob", "adele"), strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	_, got := h.newest("adele", mail.Inbox)
	want := "Received: from evilBcc:xmx.mss-b.example ([2001:db8::1])\r\n\tby mx.mss-a.example with ESMTPS id ID\r\n" +
		"\t(TLS1.3:TLS_AES_128_GCM_SHA256);\r\n\tMon, 02 Mar 2026 13:05:00 +0000\r\nFrom: bob@mss-b.example\r\nSubject: a\r\n\r\nb\r\n"
	if rest(got) != want {
		t.Errorf("from a peer:\n%q\nwant\n%q", rest(got), want)
	}
	sent := "Return-Path: <x@mss-b.example>\r\nFrom: adele.martin@mss-a.example\r\nbcc: a,\r\n b\r\nSubject: a\r\n\r\nb\r\n"
	if _, err := h.Submit(t.Context(), h.people["adele"].who, h.envelope("adele", "karim"), strings.NewReader(sent)); err != nil {
		t.Fatal(err)
	}
	_, got = h.newest("karim", mail.Inbox)
	want = "Received: by mx.mss-a.example with ESMTPSA id ID;\r\n\tMon, 02 Mar 2026 13:05:00 +0000\r\n" +
		"Date: Mon, 02 Mar 2026 13:05:00 +0000\r\nMessage-ID: <NEW@mss-a.example>\r\nFrom: adele.martin@mss-a.example\r\nSubject: a\r\n\r\nb\r\n"
	if rest(got) != want {
		t.Errorf("from one of ours:\n%q\nwant\n%q", rest(got), want)
	}
	if len(h.woken) != 3 || h.woken[0] != wake.BAL(h.people["adele"].who.BAL) {
		t.Errorf("woken: %v", h.woken)
	}
}

// failingBlobs fails at the step it is told to.
type failingBlobs struct {
	blob.Store
	at string
}

type failingBlob struct {
	blob.Writer
	at string
}

var errDisk = errors.New("disk full")

func (f failingBlobs) Create(ctx context.Context, name id.ID) (blob.Writer, error) {
	if f.at == "create" {
		return nil, errDisk
	}
	w, err := f.Store.Create(ctx, name)
	return failingBlob{w, f.at}, err
}

func (w failingBlob) Write(p []byte) (int, error) {
	if w.at == "write" {
		return 0, errDisk
	}
	return w.Writer.Write(p)
}

func (w failingBlob) Commit() error {
	if w.at == "commit" {
		w.Abort()
		return errDisk
	}
	return w.Writer.Commit()
}

// panicScanner panics while a message passes.
type panicScanner struct{ clamav.Scan }

func (panicScanner) Begin(context.Context) (clamav.Scan, error) { return panicScanner{}, nil }
func (panicScanner) Write([]byte) (int, error)                  { panic("patient's name") }
func (panicScanner) Cancel()                                    {}

// TestFailuresAreTemporaryAndLeaveNothing breaks the walk at each of its steps.
func TestFailuresAreTemporaryAndLeaveNothing(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	const text = "From: bob@mss-b.example\r\nSubject: a\r\n\r\nb\r\n"
	try := func(name string, p *Pipeline, r io.Reader) {
		t.Helper()
		_, err := p.Inbound(t.Context(), peerB, h.envelope("bob", "adele"), r)
		if err == nil || !fault.KindOf(err).SMTP().Temporary() {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprint(err), "patient") {
			t.Errorf("%s: the text of a panic came out", name)
		}
		if n := h.blobs(); n != 0 {
			t.Errorf("%s: %d blobs are left", name, n)
		}
	}
	for _, at := range []string{"create", "write", "commit"} {
		d := h.d
		d.Blobs = failingBlobs{h.d.Blobs, at}
		try("blob "+at, New(d), strings.NewReader(text))
	}
	d := h.d
	d.Scanner = panicScanner{}
	try("panic", New(d), strings.NewReader(text))
	try("connection lost", h.Pipeline, io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("reset"))))
	if _, err := h.db.Exec(t.Context(), `ALTER TABLE deposited RENAME TO away; CREATE VIEW deposited AS SELECT * FROM away; ALTER TABLE message RENAME TO elsewhere`); err != nil {
		t.Fatal(err)
	}
	try("database", h.Pipeline, strings.NewReader(text))
}

// TestBlobOutlivesAnUnknownCommit keeps the sealed body when the database may have
// committed: the sender tries again, is told that all is there, and it must be.
func TestBlobOutlivesAnUnknownCommit(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	for _, acted := range []bool{true, false} {
		l, err := h.take(t.Context(), strings.NewReader("From: x\r\n\r\n"), intake{scanner: clamav.None{}, max: 100, header: asItIs})
		if err != nil {
			t.Fatal(err)
		}
		lost := errors.New("connection lost")
		err = h.settle(t.Context(), &plan{taken: []*letter{l}}, nil, func(_ context.Context, pl *plan) error {
			pl.acted = acted
			return lost
		})
		if err != lost {
			t.Errorf("%v", err)
		}
	}
	if n := h.blobs(); n != 1 {
		t.Errorf("%d blobs are left", n)
	}
}

// TestTooLarge refuses without reading on.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	d := h.d
	d.Config.MaxSize = 100_000
	p := New(d)
	big := "From: bob@mss-b.example\r\n\r\n" + strings.Repeat("0123456789abcde\r\n", 10_000)
	r := strings.NewReader(big)
	_, err := p.Inbound(t.Context(), peerB, h.envelope("bob", "adele"), r)
	if !fault.Is(err, fault.TooLarge) || !strings.Contains(fault.TextOf(err).FR, "Mo") {
		t.Errorf("%v", err)
	}
	if r.Len() == 0 || h.blobs() != 0 {
		t.Errorf("%d octets left, %d blobs", r.Len(), h.blobs())
	}
	if _, err := p.Store(t.Context(), StoreRequest{BAL: h.people["adele"].who.BAL, Role: mail.Drafts, Size: 200_000}, strings.NewReader("")); !fault.Is(err, fault.TooLarge) {
		t.Errorf("an announced size: %v", err)
	}
	other := readNeed(h.d.Mail.ByRole(t.Context(), h.db, h.people["karim"].who.BAL, mail.Drafts))(t)
	if _, err := p.Store(t.Context(), StoreRequest{BAL: h.people["adele"].who.BAL, Mailbox: other.ID}, strings.NewReader("\r\n")); !fault.Is(err, fault.NotFound) {
		t.Errorf("another's folder: %v", err)
	}
}

// TestDSN deposits a failure report with headers only, once per report.
func TestDSN(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	report := outbound.Report{
		ID: "letter-1-failed", Action: outbound.Failed, Sender: h.people["adele"].who.BAL, To: h.people["adele"].address,
		QueuedAt: h.clock, At: h.clock, Recipients: []outbound.ReportRecipient{{Final: h.people["bob"].address, Status: "5.1.1",
			Diagnostic: "550 5.1.1 no", RemoteMTA: "mx.mss-b.example", LastTryAt: h.clock}},
		Original: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("Subject: Avis\r\nMessage-ID: <2@x>\r\nReferences: <1@x>\r\n\r\nSECRET\r\n")), nil
		},
	}
	for range 2 {
		if err := h.DSN(t.Context(), report); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.count("adele", mail.Inbox); n != 1 {
		t.Errorf("%d reports", n)
	}
	o, text := h.newest("adele", mail.Inbox)
	if f := o.Fields(); f.Subject() != "Non remis : Avis → bob@mss-b.example" || strings.Contains(text, "SECRET") || f.References()[0] != "1@x" {
		t.Errorf("%q\n%s", f.Subject(), text)
	}
	report.ID, report.Full = "letter-1-again", true
	if err := h.DSN(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	if _, text := h.newest("adele", mail.Inbox); !strings.Contains(text, "SECRET") {
		t.Errorf("RET=FULL was not honoured:\n%s", text)
	}
	report.ID, report.To = "to-nobody", h.people["gone"].address
	if err := h.DSN(t.Context(), report); err != nil {
		t.Errorf("a report that nobody can read: %v", err)
	}
	report.To = mail.Address{}
	if err := h.DSN(t.Context(), report); err != nil {
		t.Errorf("a report to <>: %v", err)
	}
	if n := h.blobs(); n != 2+1 { // the second of the same report waits for the sweeper
		t.Errorf("%d blobs", n)
	}
}

// TestDSNOfWhatCannotBeGivenBack: failures of messages at the limits of what is taken in,
// or whose blob is gone, were never told to their senders.
func TestDSNOfWhatCannotBeGivenBack(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	stream := func(s string) func(context.Context) (io.ReadCloser, error) {
		return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
	}
	var deep strings.Builder
	deep.WriteString("Subject: Avis\r\n")
	for i := range 50 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for name, original := range map[string]func(context.Context) (io.ReadCloser, error){
		"too deep inside a report": stream(deep.String()),
		"a header too long":        stream("Subject: Avis\r\n" + strings.Repeat("X: y\r\n", 1<<18) + "\r\nb\r\n"),
		"no blob": func(context.Context) (io.ReadCloser, error) {
			return nil, fault.New(fault.NotFound, "blob.Files.Open", "no-blob")
		},
	} {
		before := h.count("adele", mail.Inbox)
		err := h.DSN(t.Context(), outbound.Report{ID: name, Action: outbound.Failed, Full: true, Sender: h.people["adele"].who.BAL,
			To: h.people["adele"].address, QueuedAt: h.clock, At: h.clock, Original: original,
			Recipients: []outbound.ReportRecipient{{Final: h.people["bob"].address, Status: "5.1.1", LastTryAt: h.clock}}})
		if err != nil || h.count("adele", mail.Inbox) != before+1 {
			t.Errorf("%s: %v, %d reports", name, err, h.count("adele", mail.Inbox)-before)
			continue
		}
		if o, text := h.newest("adele", mail.Inbox); !o.IsReport() || !strings.Contains(text, "bob@mss-b.example") {
			t.Errorf("%s: not the report:\n%.500s", name, text)
		}
	}
}

// TestAtOnce submits the same message, and others, from many sides: each recipient has
// each once, and UIDs are without gaps.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	h.d.Wake, h.Pipeline.d.Wake = nil, nil
	var local, again atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 4 {
				who := []string{"adele", "karim"}[i%2]
				text := fmt.Sprintf("From: %s\r\nMessage-ID: <%d.%d@mss-a.example>\r\nDate: x\r\n\r\nb\r\n", h.people[who].address.Reveal(), i/4*2+i%2, j)
				rec, err := h.Submit(t.Context(), h.people[who].who, h.envelope(who, "adele", "karim", "chir", "bob"), strings.NewReader(text))
				if err != nil {
					t.Error(err)
				}
				local.Add(int64(rec.Local + rec.Remote))
				again.Add(int64(rec.Duplicates))
			}
		})
	}
	wg.Wait()
	const distinct = 4 * 4
	if local.Load() != distinct*4 || again.Load() != distinct*4 {
		t.Errorf("%d deposits and %d repeats", local.Load(), again.Load())
	}
	for name, want := range map[string]int{"adele": distinct, "karim": distinct, "chir": distinct} {
		box := readNeed(h.d.Mail.ByRole(t.Context(), h.db, h.people[name].who.BAL, mail.Inbox))(t)
		if box.Messages != int64(want) || int(box.UIDNext) != want+1 {
			t.Errorf("%s has %d messages, next UID %d", name, box.Messages, box.UIDNext)
		}
	}
	if a, k := h.count("adele", mail.Sent), h.count("karim", mail.Sent); a != distinct/2 || k != distinct/2 {
		t.Errorf("%d and %d copies in Sent", a, k)
	}
}

// bigMessage streams a message with one attachment of so many octets before base64.
func bigMessage(from string, size int) io.Reader {
	head := "From: " + from + "\r\nSubject: big\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n" +
		"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	pr, pw := io.Pipe()
	go func() {
		random := rand.New(rand.NewPCG(1, uint64(size)))
		raw, line := make([]byte, 57), make([]byte, 78)
		copy(line[76:], "\r\n")
		for left := size; left > 0; left -= len(raw) {
			for i := range raw {
				raw[i] = byte(random.Uint32())
			}
			base64.StdEncoding.Encode(line, raw)
			if _, err := pw.Write(line); err != nil {
				return
			}
		}
		pw.Close()
	}()
	return io.MultiReader(strings.NewReader(head), pr, strings.NewReader("--b--\r\n"))
}

// TestMemory takes in ten messages of 25 MB at once and adds less than 100 MB of heap.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("ten messages of 25 MB")
	}
	h := newWalkHouse(t, clamav.None{})
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, done := m.HeapInuse, make(chan struct{})
	var peak uint64
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
	})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := h.Inbound(t.Context(), peerB, h.envelope("bob", "adele"), bigMessage("bob@mss-b.example", 25_000_000)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(done)
	watch.Wait()
	if peak == 0 || peak > before+100<<20 {
		t.Errorf("heap rose from %d to %d MB", before>>20, peak>>20)
	}
	t.Logf("heap rose from %d to %d MB", before>>20, peak>>20)
	if n := h.count("adele", mail.Inbox); n != 10 {
		t.Errorf("%d messages", n)
	}
}

// TestNothingReadableAtRest looks for marked words in the database and the blobs.
func TestNothingReadableAtRest(t *testing.T) {
	t.Parallel()
	h := newWalkHouse(t, clamav.None{})
	text := "From: Dr Zanzibar <adele.martin@mss-a.example>\r\nReply-To: Zanzibar <chirurgie@mss-a.example>\r\nSubject: Zanzibar\r\nMessage-ID: <zanzibar@mss-a.example>\r\n" +
		"Content-Type: text/plain; name=zanzibar.pdf\r\n\r\nzanzibar " + strings.Repeat("zanzibar ", 100) + "\r\n"
	if _, err := h.Submit(t.Context(), h.people["adele"].who, h.envelope("adele", "aline", "karim", "bob"), strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	err := h.d.Blobs.Each(t.Context(), func(name id.ID, _ int64, _ time.Time) error {
		f, err := h.d.Blobs.Open(t.Context(), name)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if bytes.Contains(bytes.ToLower(b), []byte("zanzibar")) {
			t.Error("a blob can be read")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ins := h.people["aline"].address.Local()
	for _, table := range []string{"letter", "message", "deposited", "exchange", "outbound", "outbound_recipient", "trace", "bal", "patient", "ingestion", "job.river_job"} {
		var n int
		err := h.db.QueryRow(t.Context(), `SELECT count(*) FROM `+table+` x WHERE x::text ILIKE '%zanzibar%' OR x::text LIKE '%' || $1 || '%'
			OR x::text LIKE '%' || encode(convert_to('anzibar', 'UTF8'), 'hex') || '%' OR x::text LIKE '%' || encode(convert_to($1, 'UTF8'), 'hex') || '%'`, ins).Scan(&n)
		if err != nil || n != 0 {
			t.Errorf("%s: %d rows can be read, %v", table, n, err)
		}
	}
	_, got := h.newest("aline", mail.Inbox)
	if !strings.Contains(got, "zanzibar zanzibar") {
		t.Error("the recipient cannot read it either")
	}
}

func TestWireAndMended(t *testing.T) {
	for in, ok := range map[string]bool{
		"a\r\nb\r\n": true, "": true, "a": true, "a\nb": false, "a\rb": false, "a\r": false, "\r\r\n": false, "\n": false,
		"a\r\n\nb": false, "a\x00": false, "\r\n\r\n": true,
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
			got, err := io.ReadAll(&wire{r: r, max: 100})
			if (err == nil) != ok || ok && string(got) != in {
				t.Errorf("%q: %q, %v", in, got, err)
			}
		}
		want := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(in)
		got, err := io.ReadAll(&mended{r: iotest.OneByteReader(strings.NewReader(in))})
		if err != nil || string(got) != want {
			t.Errorf("%q mended is %q, want %q", in, got, want)
		}
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte("a\r\nb\r\n"), 3)
	f.Add([]byte("a\rb"), 1)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		cut = max(0, min(cut, len(in)))
		got, err := io.ReadAll(&wire{r: io.MultiReader(bytes.NewReader(in[:cut]), bytes.NewReader(in[cut:])), max: 1 << 20})
		clean := !bytes.ContainsAny(bytes.ReplaceAll(in, []byte("\r\n"), nil), "\r\n\x00")
		if (err == nil) != clean || clean && !bytes.Equal(got, in) {
			t.Fatalf("%q: %v", in, err)
		}
		if mended, err := io.ReadAll(&mended{r: bytes.NewReader(in)}); err != nil ||
			bytes.ContainsAny(bytes.ReplaceAll(mended, []byte("\r\n"), nil), "\r\n") {
			t.Fatalf("%q mended is %q, %v", in, mended, err)
		}
	})
}

func BenchmarkInbound5KB(b *testing.B)   { benchmarkInbound(b, 3_500) }
func BenchmarkInbound100KB(b *testing.B) { benchmarkInbound(b, 72_000) }

func benchmarkInbound(b *testing.B, size int) {
	h := newWalkHouse(b, clamav.None{})
	text := readNeed(io.ReadAll(bigMessage("bob@mss-b.example", size)))(b)
	env := h.envelope("bob", "adele")
	h.Pipeline.d.Wake = nil
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	b.SetParallelism(10)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.Inbound(context.Background(), peerB, env, bytes.NewReader(text)); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkSubmit5KB(b *testing.B) {
	h := newWalkHouse(b, clamav.None{})
	text := readNeed(io.ReadAll(bigMessage("adele.martin@mss-a.example", 3_500)))(b)
	env, who := h.envelope("adele", "karim"), h.people["adele"].who
	h.Pipeline.d.Wake = nil
	b.ReportAllocs()
	b.SetParallelism(10)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.Submit(context.Background(), who, env, bytes.NewReader(text)); err != nil {
				b.Error(err)
			}
		}
	})
}
