package pipeline

import (
	"context"
	"io"

	"pli/fault"
	"pli/identity"
	"pli/mail"
	"pli/mailstore"
)

// Pipeline walks messages. It is safe for concurrent use.
type Pipeline struct{}

var errSoon = fault.New(fault.Unavailable, "pipeline", "soon")

// InboundRecipient answers RCPT on the MX listener: may this peer bring a message from
// that reverse-path (zero is <>) to this recipient?
//
// Errors: fault.NotFound, fault.Closed, fault.Untrusted, fault.Forbidden and more, each
// with a text for the peer.
func (p *Pipeline) InboundRecipient(ctx context.Context, peer Peer, from, to mail.Address) error {
	return errSoon
}

// Inbound takes a message that a peer brings. Reading r to its end, sealing, depositing
// and committing are done when it returns without an error.
func (p *Pipeline) Inbound(ctx context.Context, peer Peer, env mail.Envelope, r io.Reader) (Receipt, error) {
	return Receipt{}, errSoon
}

// SubmitRecipient answers RCPT on the submission listener.
func (p *Pipeline) SubmitRecipient(ctx context.Context, who identity.SignIn, to mail.Address) error {
	return errSoon
}

// Submit takes a message that one of our people sends: as Inbound, with a copy in Sent.
func (p *Pipeline) Submit(ctx context.Context, who identity.SignIn, env mail.Envelope, r io.Reader) (Receipt, error) {
	return Receipt{}, errSoon
}

// Store files a message as it is in a folder of its BAL (IMAP APPEND).
func (p *Pipeline) Store(ctx context.Context, req StoreRequest, r io.Reader) (mailstore.Placed, error) {
	return mailstore.Placed{}, errSoon
}

// Notice is a message of the house itself: a DSN or an MDN, already built.
type Notice struct {
	From mail.Address // reverse-path; zero is <>
	To   mail.Address
	Body io.Reader
}

// Notice deposits a notice with a BAL of ours, or queues it for another operator.
func (p *Pipeline) Notice(ctx context.Context, n Notice) error { return errSoon }
