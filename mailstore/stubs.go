package mailstore

import (
	"context"
	"time"

	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
)

var errSoon = fault.New(fault.Unavailable, "mailstore", "soon")

// InsertLetterTx keeps one sealed letter.
func (s *Store) InsertLetterTx(ctx context.Context, tx *pg.Tx, l Letter) error { return errSoon }

// DepositTx deposits one message.
func (s *Store) DepositTx(ctx context.Context, tx *pg.Tx, d Deposit) (Placed, error) {
	return Placed{}, errSoon
}

// DepositAllTx deposits all in one round trip; answers are in the order of ds.
func (s *Store) DepositAllTx(ctx context.Context, tx *pg.Tx, ds []Deposit) ([]Placed, error) {
	return nil, errSoon
}

// CreateStandardTx makes the six standard mailboxes.
func (s *Store) CreateStandardTx(ctx context.Context, tx *pg.Tx, bal id.BAL, now time.Time) error {
	return errSoon
}

// UsedSize is the octets of all messages of a BAL.
func (s *Store) UsedSize(ctx context.Context, q pg.Querier, bal id.BAL) (int64, error) {
	return 0, errSoon
}

// Mailboxes lists the BAL's mailboxes, standard ones first. v may be nil.
func (s *Store) Mailboxes(ctx context.Context, q pg.Querier, bal id.BAL, v ViewKey) ([]Mailbox, error) {
	return nil, errSoon
}

// Resolve finds a mailbox by name or alias. fault.NotFound.
func (s *Store) Resolve(ctx context.Context, q pg.Querier, bal id.BAL, name string) (Mailbox, error) {
	return Mailbox{}, errSoon
}

// ByRole finds a standard mailbox.
func (s *Store) ByRole(ctx context.Context, q pg.Querier, bal id.BAL, role mail.Role) (Mailbox, error) {
	return Mailbox{}, errSoon
}

// ByID finds a mailbox.
func (s *Store) ByID(ctx context.Context, q pg.Querier, mb id.Mailbox) (Mailbox, error) {
	return Mailbox{}, errSoon
}

// CreateTx makes a person's own mailbox. fault.Conflict when it (or an alias) exists.
func (s *Store) CreateTx(ctx context.Context, tx *pg.Tx, bal id.BAL, name string, v ViewKey, now time.Time) (Mailbox, error) {
	return Mailbox{}, errSoon
}

// RenameTx renames a mailbox and the ones below it.
func (s *Store) RenameTx(ctx context.Context, tx *pg.Tx, bal id.BAL, from, to string, v ViewKey, now time.Time) error {
	return errSoon
}

// DeleteTx removes a mailbox and its messages.
func (s *Store) DeleteTx(ctx context.Context, tx *pg.Tx, bal id.BAL, name string) error {
	return errSoon
}

// Subscribe sets or clears the subscription.
func (s *Store) Subscribe(ctx context.Context, mb id.Mailbox, on bool) error { return errSoon }

// Snapshot is the mailbox with all its places, by ascending UID, at one instant.
func (s *Store) Snapshot(ctx context.Context, q pg.Querier, mb id.Mailbox) (Mailbox, []Place, error) {
	return Mailbox{}, nil, errSoon
}

// ChangesSince lists what changed after since, by ascending MODSEQ, at one instant.
func (s *Store) ChangesSince(ctx context.Context, q pg.Querier, mb id.Mailbox, since mail.ModSeq) ([]Change, error) {
	return nil, errSoon
}

// Messages reads the messages of the given UIDs, by ascending UID. UIDs that are gone
// are left out.
func (s *Store) Messages(ctx context.Context, q pg.Querier, mb id.Mailbox, uids []mail.UID) ([]Message, error) {
	return nil, errSoon
}

// Message reads one message. fault.NotFound.
func (s *Store) Message(ctx context.Context, q pg.Querier, mb id.Mailbox, uid mail.UID) (Message, error) {
	return Message{}, errSoon
}

// Newest reads up to limit messages with a UID below before (0: from the newest), by
// descending UID.
func (s *Store) Newest(ctx context.Context, q pg.Querier, mb id.Mailbox, before mail.UID, limit int) ([]Message, error) {
	return nil, errSoon
}

// Thread is one conversation of a BAL: its newest message and its counts over all
// mailboxes but drafts, junk and trash.
type Thread struct {
	Key      []byte
	Newest   Message
	Messages int
	Unseen   int
}

// Threads lists conversations by descending date of their newest message, older than
// before (zero: from the newest).
func (s *Store) Threads(ctx context.Context, q pg.Querier, bal id.BAL, before time.Time, limit int) ([]Thread, error) {
	return nil, errSoon
}

// ThreadMessages reads the messages of one conversation by ascending date.
func (s *Store) ThreadMessages(ctx context.Context, q pg.Querier, bal id.BAL, key []byte) ([]Message, error) {
	return nil, errSoon
}

// ByMessageID finds the newest message of a mailbox that bears a Message-ID key.
func (s *Store) ByMessageID(ctx context.Context, q pg.Querier, mb id.Mailbox, key []byte) (Message, error) {
	return Message{}, errSoon
}

// StoreFlagsTx changes flags. It returns the messages that changed and those left
// alone because of UnchangedSince.
func (s *Store) StoreFlagsTx(ctx context.Context, tx *pg.Tx, mb id.Mailbox, uids []mail.UID, f FlagStore) (changed []Place, modified []mail.UID, err error) {
	return nil, nil, errSoon
}

// CopyTx copies messages to another mailbox of the same BAL. quotaSize as in Deposit.
func (s *Store) CopyTx(ctx context.Context, tx *pg.Tx, from, to id.Mailbox, uids []mail.UID, quotaSize int64) ([]Copied, error) {
	return nil, errSoon
}

// MoveTx moves messages to another mailbox of the same BAL.
func (s *Store) MoveTx(ctx context.Context, tx *pg.Tx, from, to id.Mailbox, uids []mail.UID) ([]Copied, error) {
	return nil, errSoon
}

// ExpungeTx removes the \Deleted messages among uids (nil: all of them).
func (s *Store) ExpungeTx(ctx context.Context, tx *pg.Tx, mb id.Mailbox, uids []mail.UID) ([]mail.UID, error) {
	return nil, errSoon
}

// KeepViews keeps outlines resealed under the view key.
func (s *Store) KeepViews(ctx context.Context, mb id.Mailbox, views map[mail.UID][]byte) error {
	return errSoon
}

// Deleter is the part of the blob store that Sweep needs.
type Deleter interface {
	Delete(ctx context.Context, name id.ID) error
	Each(ctx context.Context, f func(name id.ID, size int64, modified time.Time) error) error
}

// Swept counts what a sweep removed.
type Swept struct{ Letters, Blobs, Keys int }

// Sweep removes letters and blobs that nobody refers to and that are older than
// olderThan, and forgets content keys after seven days.
func (s *Store) Sweep(ctx context.Context, blobs Deleter, now time.Time, olderThan time.Duration) (Swept, error) {
	return Swept{}, errSoon
}
