package outbound

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// FuzzPeer lets a peer say anything before TLS: we neither hang nor panic, never go on
// without TLS, and always have a result of class 4 for it.
func FuzzPeer(f *testing.F) {
	for _, s := range []string{"", "220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n", "220 mx\r\n250 mx\r\n", "554 5.7.1 non\r\n", "421 4.3.2 plus tard\r\n",
		"220-a\r\n220 b\r\n500 EHLO?\r\n", "220 mx\r\n250-mx\r\n250 STARTTLS\r\n454 non\r\n", "220 mx\r\n250 STARTTLS\r\n220 go\r\n250 injecte\r\n",
		"\x00\xff\r\n", "999 x\r\n", "22", "220 " + string(make([]byte, 70_000))} {
		f.Add([]byte(s))
	}
	q := New(Deps{Trust: nobody{}, Config: Config{Timeout: time.Second}})
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			go func() { _, _ = theirs.Write(said) }() // may be cut short
			b := make([]byte, 512)
			for {
				if _, err := theirs.Read(b); err != nil {
					return
				}
			}
		}()
		time.AfterFunc(50*time.Millisecond, func() { theirs.Close() })
		_, err := q.greet(context.Background(), ours, "mss-b.example", "127.0.0.1")
		ours.Close()
		if err == nil {
			t.Fatalf("a conversation without TLS: %q", said)
		}
		var s *setback
		if errors.As(err, &s) && (s.permanent || s.state != queued || s.enhanced[0] != '4') {
			t.Errorf("%q gives %+v", said, s.result)
		}
	})
}
