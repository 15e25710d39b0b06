package house_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/smtp"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"pli/internal/house"
)

// TestTwoHousesInOneProcess sends a letter from one operator to the other inside one
// process, and reads it: no package keeps a state that two houses would share.
func TestTwoHousesInOneProcess(t *testing.T) {
	var events log
	b := house.Start(t, house.Options{Operator: "b", Log: &events})
	a := house.Start(t, house.Options{Operator: "a", Log: &events, Routes: map[string]string{"mss-b.example": b.Addr("smtp.mx")}})
	from, secret := a.Professional(t, "expediteur")
	to, toSecret := b.Professional(t, "destinataire")

	conf := trust(t, a.CA)
	conn, err := tls.Dial("tcp", a.Addr("smtp.submissions"), conf)
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", from, secret, "localhost")); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail(from); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(to); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("From: <" + from + ">\r\nTo: <" + to + ">\r\nSubject: canaridomestique\r\n\r\nBonjour.\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_ = c.Quit()

	r, err := imapclient.DialTLS(b.Addr("imap.imaps"), &imapclient.Options{TLSConfig: conf})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Login(to, toSecret).Wait(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		box, err := r.Select("INBOX", nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if box.NumMessages == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages\n%s", box.NumMessages, events.String())
		}
	}
	got, err := r.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{Envelope: true}).Collect()
	if err != nil || len(got) != 1 || got[0].Envelope.Subject != "canaridomestique" {
		t.Fatalf("read: %v", err)
	}
	if text := events.String(); strings.Contains(text, "canaridomestique") || strings.Contains(text, "expediteur") {
		t.Errorf("the events tell about a letter:\n%s", text)
	}
	if _, _, err := net.SplitHostPort(a.Addr("web.listen")); err != nil {
		t.Errorf("no web door: %v", err)
	}
}

func trust(t *testing.T, ca string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// log collects events from several goroutines.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
