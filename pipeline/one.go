package pipeline

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"time"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/blob"
	"pli/internal/clamav"
	"pli/internal/id"
	"pli/mail"
	"pli/mailstore"
	"pli/seal"
)

// letter is a message taken in: read, found clean, sealed and durable, and not yet
// anybody's. close forgets its key.
type letter struct {
	id         id.Letter
	key        *seal.SessionKey
	outline    *message.Outline
	fields     *message.Fields
	reverse    mail.Address
	size       int64 // octets, our own fields included
	sealedSize int64
	sealedSum  []byte
	content    string // SHA-256 of what came in, before our own fields, in hexadecimal
	named      bool   // it came in with a Message-ID: the same content again is a repeat
	at         time.Time
}

func (l *letter) close() { l.key.Clear() }

// intake says how a message is to be taken in.
type intake struct {
	reverse mail.Address
	scanner clamav.Scanner
	max     int64 // octets
	// header checks the header block as it came in, and returns the block to keep.
	header func(letter id.Letter, at time.Time, raw []byte) ([]byte, error)
}

// maxHeader bounds a header block, in octets.
const maxHeader = 256 << 10

// take reads a message once, to its end: checked line by line, scanned for malware,
// outlined, hashed and sealed to a blob as it passes, a few buffers at a time. The blob
// is durable when take returns; on an error nothing is left.
//
// Errors: fault.InvalidContent, fault.TooLarge, fault.Infected, fault.Unavailable, those
// of in.header, of r and of the blob store.
func (p *Pipeline) take(ctx context.Context, r io.Reader, in intake) (*letter, error) {
	l := &letter{id: id.New(), at: p.now().UTC().Truncate(time.Microsecond), reverse: in.reverse}
	br := bufio.NewReaderSize(&wire{r: r, max: in.max}, 32<<10)
	raw, err := message.ReadHeader(br, maxHeader)
	if err != nil {
		return nil, err
	}
	l.named = message.ParseFields(raw).MessageID() != ""
	kept, err := in.header(l.id, l.at, raw)
	if err != nil {
		return nil, err
	}
	s, err := p.openSink(ctx, l, in.scanner)
	if err != nil {
		return nil, err
	}
	defer s.abort()
	content := sha256.New()
	content.Write(raw)
	if _, err := s.Write(kept); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.MultiWriter(content, s), br); err != nil {
		return nil, err
	}
	l.content = hex.EncodeToString(content.Sum(nil))
	if err := s.finish(l); err != nil {
		return nil, err
	}
	return l, nil
}

// sink is where the octets of a message go.
type sink struct {
	key     *seal.SessionKey
	outline *message.Scanner
	malware clamav.Scan
	body    *seal.BodyWriter
	blob    blob.Writer
	kept    bool
}

func (p *Pipeline) openSink(ctx context.Context, l *letter, scanner clamav.Scanner) (_ *sink, err error) {
	s := &sink{outline: message.NewScanner(message.Limits{})}
	defer func() {
		if err != nil {
			s.abort()
		}
	}()
	if s.key, err = seal.NewSessionKey(); err != nil {
		return nil, err
	}
	if s.malware, err = scanner.Begin(ctx); err != nil {
		return nil, err
	}
	if s.blob, err = p.d.Blobs.Create(ctx, l.id); err != nil {
		return nil, err
	}
	if s.body, err = s.key.SealTo(s.blob); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *sink) Write(b []byte) (int, error) {
	for _, w := range []io.Writer{s.outline, s.malware, s.body} {
		if _, err := w.Write(b); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// finish asks for the verdict, then makes the blob durable.
func (s *sink) finish(l *letter) (err error) {
	if l.outline, err = s.outline.Finish(); err != nil {
		return err
	}
	l.outline.ReversePath = l.reverse.Reveal()
	l.fields = l.outline.Fields()
	l.size = l.outline.Size
	if err := s.malware.Verdict(); err != nil {
		return err
	}
	if err := s.body.Close(); err != nil {
		return fault.Wrap(fault.Unavailable, "pipeline.seal", "blob-write", err)
	}
	l.sealedSize, l.sealedSum = s.body.Size(), s.body.Sum()
	if err := s.blob.Commit(); err != nil {
		return err
	}
	l.key, s.kept = s.key, true
	return nil
}

// abort leaves nothing behind of a message that was not finished.
func (s *sink) abort() {
	if s.kept {
		return
	}
	if s.malware != nil {
		s.malware.Cancel()
	}
	if s.blob != nil {
		s.blob.Abort()
	}
	s.key.Clear()
}

// row is the letter as mailstore keeps it.
func (l *letter) row() (mailstore.Letter, error) {
	sealed, err := l.key.SealValue(l.outline.Marshal())
	return mailstore.Letter{
		ID: l.id, Size: l.size, SealedSize: l.sealedSize, SealedSHA256: l.sealedSum, Outline: sealed,
	}, err
}

// messageIDKey is the blind key of a Message-ID in one BAL; nil when there is none.
func (p *Pipeline) messageIDKey(bal id.BAL, messageID string) []byte {
	if messageID == "" {
		return nil
	}
	return p.d.Index.Key("message-id", number(bal), messageID)
}

// threadKey names the conversation in one BAL: that of the first message referred to,
// or a new one.
func (p *Pipeline) threadKey(bal id.BAL, l *letter) []byte {
	root := l.id.String()
	for _, ids := range [][]string{l.fields.References(), l.fields.InReplyTo(), {l.fields.MessageID()}} {
		if len(ids) > 0 && ids[0] != "" {
			root = ids[0]
			break
		}
	}
	return p.d.Index.Key("thread", number(bal), root)
}

// contentKey recognises a message that comes a second time because our 250 was lost.
// use keeps apart what the same BAL may hold of it: received, sent, passed on. It is
// nil, and nothing is a repeat, when the message came in without a Message-ID.
func (p *Pipeline) contentKey(l *letter, use ...string) []byte {
	if !l.named {
		return nil
	}
	return p.d.Index.Key("content", append([]string{l.content}, use...)...)
}

func number(bal id.BAL) string { return strconv.FormatInt(int64(bal), 10) }
