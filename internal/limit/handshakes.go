package limit

import (
	"context"
	"crypto/tls"
	"net"
)

// Handshakes lets so many TLS handshakes be computed at a time: they are what strangers
// can make cost. One that waits for its client keeps no place, so that those who connect
// and say nothing shut nobody out.
type Handshakes struct{ places chan struct{} }

// NewHandshakes makes n places.
func NewHandshakes(n int) *Handshakes { return &Handshakes{make(chan struct{}, n)} }

// Server makes the handshake of a server, within ctx.
func (h *Handshakes) Server(ctx context.Context, nc net.Conn, c *tls.Config) (*tls.Conn, error) {
	w := &shaking{Conn: nc, places: h.places}
	tc := tls.Server(w, c)
	h.places <- struct{}{}
	defer func() {
		<-h.places
		w.places = nil
	}()
	return tc, tc.HandshakeContext(ctx)
}

// shaking leaves its place while it waits for the client.
type shaking struct {
	net.Conn
	places chan struct{} // nil after the handshake; of the goroutine that reads
}

func (s *shaking) Read(b []byte) (int, error) {
	if s.places == nil {
		return s.Conn.Read(b)
	}
	<-s.places
	defer func() { s.places <- struct{}{} }()
	return s.Conn.Read(b)
}
