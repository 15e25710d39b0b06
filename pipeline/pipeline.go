// Package pipeline is the walk of a message through the house: in from another operator
// (inbound.go), out from one of our people (submit.go), into a folder (store.go), back
// as a notice (notices.go), into the record (ingest.go), and to the eyes of the one it
// is for (read.go, record.go).
//
// A message is read once, from the socket to the sealed blob, by one.go: limits, shape,
// malware scan, hash and sealing happen on the way, and never more than a few buffers
// of it are in memory. Then one transaction decides (gate), traces, deposits, queues
// and plans jobs; only after it has committed does the caller answer 250. Whatever
// fails before leaves nothing behind; whatever panics is a temporary refusal.
package pipeline

import (
	"time"

	"pli/internal/id"
	"pli/mail"
	"pli/mailstore"
)

// Peer is an operator at the other end of an MX connection, as smtpd authenticated it.
type Peer struct {
	Domains []string // domains its certificate may send for, lower case
	Name    string   // what it said in EHLO
	Address string   // network address, host only
	TLS     string   // version and suite, for the Received field: "TLS1.3:TLS_AES_128_GCM_SHA256"
}

// Receipt is what became of a message answered with 250.
type Receipt struct {
	Letter     id.Letter
	Local      int // messages deposited for recipients of this house
	Remote     int // recipients put in the outgoing queue
	Duplicates int // recipients who had it already; nothing was done for them
}

// StoreRequest is a message to file as it is (IMAP APPEND). Mailbox names the target;
// when zero, Role does. Size is what the client announced, in octets.
type StoreRequest struct {
	BAL        id.BAL
	Mailbox    id.Mailbox
	Role       mail.Role
	Flags      mailstore.Flags
	Keywords   []string
	ReceivedAt time.Time // INTERNALDATE; zero is now
	Size       int64
}

// Config tunes the walk. The zero value is for production.
type Config struct {
	// Hostname is ours in Received fields and DSN.
	Hostname string `toml:"hostname"`
	// Operator is the name people know us by, in DSN. Empty means Hostname.
	Operator string `toml:"operator"`
	// MaxSize is the largest message accepted, in octets on the wire. Zero means
	// 36,700,160: 25 MiB of content once in base64 (mssante.md §5.5).
	MaxSize int64 `toml:"max_size"`
	// Postmaster is the address that DSN come from. Empty means postmaster@ the first
	// domain of the directory.
	Postmaster string `toml:"postmaster"`
	// QuotaSize is what a BAL may hold when the directory sets no bound of its own, in
	// octets. Zero means no bound.
	QuotaSize int64 `toml:"quota_size"`
}

// DefaultMaxSize is Config.MaxSize when it says nothing.
const DefaultMaxSize = 36_700_160
