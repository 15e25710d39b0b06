// Package smtpd is the door by which mail comes in: from operators of the trust space
// (MX, port 25) and from users (submission, 587 and 465). It speaks SMTP with the
// go-smtp library, checks who is there, and hands every message to the pipeline as a
// stream. It keeps nothing, decides nothing, and says 250 only after the pipeline did.
package smtpd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/identity"
	"pli/mail"
	"pli/pipeline"
)

// Mode says who calls.
type Mode string

const (
	MX         Mode = "mx"         // operators: STARTTLS and a listed certificate
	Submission Mode = "submission" // users: STARTTLS, then AUTH
)

// Inbound is what the MX door needs of the pipeline.
type Inbound interface {
	InboundRecipient(ctx context.Context, peer pipeline.Peer, from, to mail.Address) error
	Inbound(ctx context.Context, peer pipeline.Peer, env mail.Envelope, r io.Reader) (pipeline.Receipt, error)
}

// Outgoing is what the submission door needs of the pipeline.
type Outgoing interface {
	SubmitRecipient(ctx context.Context, who identity.SignIn, to mail.Address) error
	Submit(ctx context.Context, who identity.SignIn, env mail.Envelope, r io.Reader) (pipeline.Receipt, error)
}

// Accounts is what the submission door needs of identity.
type Accounts interface {
	AppPassword(ctx context.Context, address, secret, remote string) (identity.SignIn, error)
	Certificate(ctx context.Context, address string, cert *x509.Certificate) (identity.SignIn, error)
}

// Trust is what the doors need of certs.
type Trust interface {
	PeerDomains(cs tls.ConnectionState) ([]string, error)
	VerifyClient(cs tls.ConnectionState) (*x509.Certificate, error)
}

// Config tunes a door. The zero value is for production.
type Config struct {
	// Hostname is said in the greeting and in Received fields.
	Hostname string `toml:"hostname"`
	// MaxMessageSize is advertised as SIZE, in octets. Zero means 36,700,160 (25 MB of
	// content once in base64, and some).
	MaxMessageSize int64 `toml:"max_message_size"`
	// MaxRecipients of one message. Zero means 100.
	MaxRecipients int `toml:"max_recipients"`
	// MaxConnections at once, and from one source address. Zero means 500 and 50.
	MaxConnections          int `toml:"max_connections"`
	MaxConnectionsPerSource int `toml:"max_connections_per_source"`
	// ReadTimeout bounds every read, WriteTimeout every reply. Zero means 5 min and 1 min.
	ReadTimeout  time.Duration `toml:"read_timeout"`
	WriteTimeout time.Duration `toml:"write_timeout"`
	// CommandTimeout bounds what a command asks of the house; DataTimeout bounds a whole
	// message from DATA to its reply. Zero means 1 min and 30 min.
	CommandTimeout time.Duration `toml:"command_timeout"`
	DataTimeout    time.Duration `toml:"data_timeout"`
	// StopTimeout bounds the wait for messages in hand when stopping. Zero means 30 s.
	StopTimeout time.Duration `toml:"stop_timeout"`
}

// Deps is what a door stands on. Inbound is needed for MX; Outgoing and Accounts for
// submission.
type Deps struct {
	Mode     Mode
	Config   Config
	TLS      *tls.Config // certs.MXServer or certs.Submission
	Trust    Trust
	Inbound  Inbound
	Outgoing Outgoing
	Accounts Accounts
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil: none
	Now      func() time.Time
}

// Server is one door. It may serve several listeners.
type Server struct{ d Deps }

// New makes a door.
func New(d Deps) *Server { return &Server{d: d} }

// Serve answers on ln, in the clear until STARTTLS, until ctx is done; then it accepts
// no one, says 421 to the idle, finishes the messages in hand, and returns nil.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return nil }

// ServeTLS is Serve with TLS from the first octet (465).
func (s *Server) ServeTLS(ctx context.Context, ln net.Listener) error { return nil }
