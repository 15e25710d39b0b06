package imapd

import (
	"context"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"pli/fault"
	"pli/internal/pg"
	"pli/mail"
	"pli/mailstore"
)

// Create makes a mailbox. An alias of a standard one exists already.
func (s *session) Create(name string, _ *imap.CreateOptions) error {
	return reply(s.change("CREATE", func(ctx context.Context, tx *pg.Tx) error {
		_, err := s.srv.d.Mail.CreateTx(ctx, tx, s.bal.BAL, name, s.bal.ViewKey(), s.srv.d.Now())
		return err
	}))
}

// Delete removes a mailbox with its messages.
func (s *session) Delete(name string) error {
	return reply(s.change("DELETE", func(ctx context.Context, tx *pg.Tx) error {
		return s.srv.d.Mail.DeleteTx(ctx, tx, s.bal.BAL, name, s.bal.ViewKey())
	}))
}

// Rename renames a mailbox and those below it.
func (s *session) Rename(name, newName string, _ *imap.RenameOptions) error {
	return reply(s.change("RENAME", func(ctx context.Context, tx *pg.Tx) error {
		return s.srv.d.Mail.RenameTx(ctx, tx, s.bal.BAL, name, newName, s.bal.ViewKey(), s.srv.d.Now())
	}))
}

// change does a command that changes mailboxes, in one transaction.
func (s *session) change(command string, f func(ctx context.Context, tx *pg.Tx) error) error {
	return s.run(command, func(ctx context.Context) error {
		if s.bal.ReadOnly {
			return suspended("imapd." + command)
		}
		return s.srv.d.DB.InTx(ctx, f)
	})
}

func (s *session) Subscribe(name string) error   { return s.subscribe("SUBSCRIBE", name, true) }
func (s *session) Unsubscribe(name string) error { return s.subscribe("UNSUBSCRIBE", name, false) }

func (s *session) subscribe(command, name string, on bool) error {
	return reply(s.run(command, func(ctx context.Context) error {
		if s.bal.ReadOnly {
			return suspended("imapd." + command)
		}
		box, err := s.resolve(ctx, name)
		if err != nil {
			return err
		}
		return s.srv.d.Mail.Subscribe(ctx, box.ID, on)
	}))
}

func (s *session) resolve(ctx context.Context, name string) (mailstore.Mailbox, error) {
	return s.srv.d.Mail.Resolve(ctx, s.srv.d.DB, s.bal.BAL, name)
}

// Namespace: one, personal.
func (s *session) Namespace() (*imap.NamespaceData, error) {
	return &imap.NamespaceData{Personal: []imap.NamespaceDescriptor{{Delim: mailstore.Separator}}}, nil
}

// Status tells a mailbox's counters under the name the client asked for.
func (s *session) Status(name string, o *imap.StatusOptions) (data *imap.StatusData, err error) {
	err = s.run("STATUS", func(ctx context.Context) error {
		box, err := s.resolve(ctx, name)
		if err != nil {
			return err
		}
		data, err = s.status(ctx, name, box, o)
		return err
	})
	return data, reply(err)
}

func (s *session) status(ctx context.Context, name string, box mailstore.Mailbox, o *imap.StatusOptions) (*imap.StatusData, error) {
	messages, unseen, none, limit := uint32(box.Messages), uint32(box.Unseen), uint32(0), s.AppendLimit()
	data := &imap.StatusData{
		Mailbox: name, NumMessages: &messages, NumUnseen: &unseen, NumRecent: &none, Size: &box.Size,
		UIDNext: imap.UID(box.UIDNext), UIDValidity: uint32(box.UIDValidity), AppendLimit: &limit,
	}
	if o.NumDeleted || o.DeletedStorage {
		n, size, err := s.srv.d.Mail.CountDeleted(ctx, s.srv.d.DB, box.ID)
		if err != nil {
			return nil, err
		}
		deleted := uint32(n)
		data.NumDeleted, data.DeletedStorage = &deleted, &size
	}
	return data, nil
}

// List lists mailboxes (RFC 9051 §6.3.9). An exact name that is an alias of a standard
// mailbox is listed under that name; patterns with wildcards never show aliases.
func (s *session) List(w *imapserver.ListWriter, ref string, patterns []string, o *imap.ListOptions) error {
	return reply(s.run("LIST", func(ctx context.Context) error {
		if len(patterns) == 0 { // the separator is asked for
			return gone(w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: mailstore.Separator}))
		}
		boxes, err := s.srv.d.Mail.Mailboxes(ctx, s.srv.d.DB, s.bal.BAL, s.bal.ViewKey())
		if err != nil {
			return err
		}
		for _, d := range listed(boxes, ref, patterns, o) {
			if o.ReturnStatus != nil {
				if d.data.Status, err = s.status(ctx, d.data.Mailbox, d.box, o.ReturnStatus); err != nil {
					return err
				}
			}
			if err := w.WriteList(d.data); err != nil {
				return gone(err)
			}
		}
		return nil
	}))
}

type listing struct {
	box  mailstore.Mailbox
	data *imap.ListData
}

// listed picks the mailboxes that a LIST asks for.
func listed(boxes []mailstore.Mailbox, ref string, patterns []string, o *imap.ListOptions) (out []listing) {
	for _, b := range boxes {
		if o.SelectSpecialUse && specialUse(b.Role) == "" {
			continue
		}
		below := subscribedBelow(boxes, b.Name)
		if o.SelectSubscribed && !b.Subscribed && !(o.SelectRecursiveMatch && below) {
			continue
		}
		if name, ok := nameFor(b, ref, patterns); ok {
			d := &imap.ListData{Attrs: attrs(b, boxes, o), Delim: mailstore.Separator, Mailbox: name}
			if o.SelectRecursiveMatch && below {
				d.ChildInfo = &imap.ListDataChildInfo{Subscribed: true}
			}
			out = append(out, listing{b, d})
		}
	}
	return out
}

// maxPattern bounds a LIST pattern, in octets: no name is as long, and trying one of many
// wildcards on every mailbox takes seconds.
const maxPattern = 1024

// nameFor says under which name a mailbox answers a LIST, if it does.
func nameFor(b mailstore.Mailbox, ref string, patterns []string) (string, bool) {
	for _, p := range patterns {
		full := ref + p
		if len(full) > maxPattern {
			continue
		}
		if matches(full, b.Name) {
			return b.Name, true
		}
		if strings.ContainsAny(full, "*%") {
			if b.Role == mail.Inbox && len(full) <= 20 && matches(strings.ToUpper(full), b.Name) {
				return b.Name, true
			}
			continue
		}
		if c, err := mailstore.Canonical(full); err == nil && c == b.Name {
			return strings.TrimSuffix(full, string(mailstore.Separator)), true
		}
	}
	return "", false
}

func attrs(b mailstore.Mailbox, boxes []mailstore.Mailbox, o *imap.ListOptions) []imap.MailboxAttr {
	as := []imap.MailboxAttr{imap.MailboxAttrHasNoChildren}
	for _, x := range boxes {
		if strings.HasPrefix(x.Name, b.Name+string(mailstore.Separator)) {
			as[0] = imap.MailboxAttrHasChildren
		}
	}
	if u := specialUse(b.Role); u != "" {
		as = append(as, u)
	}
	if b.Subscribed && (o.ReturnSubscribed || o.SelectSubscribed) {
		as = append(as, imap.MailboxAttrSubscribed)
	}
	return as
}

func subscribedBelow(boxes []mailstore.Mailbox, name string) bool {
	for _, x := range boxes {
		if x.Subscribed && strings.HasPrefix(x.Name, name+string(mailstore.Separator)) {
			return true
		}
	}
	return false
}

// specialUse is the attribute of a standard mailbox (RFC 6154).
func specialUse(r mail.Role) imap.MailboxAttr {
	switch r {
	case mail.Drafts:
		return imap.MailboxAttrDrafts
	case mail.Sent:
		return imap.MailboxAttrSent
	case mail.Archive:
		return imap.MailboxAttrArchive
	case mail.Junk:
		return imap.MailboxAttrJunk
	case mail.Trash:
		return imap.MailboxAttrTrash
	}
	return ""
}

// matches tells whether a LIST pattern matches a name: * any octets, % any but the
// separator. It takes time in proportion to both lengths multiplied, whatever the
// pattern.
func matches(pattern, name string) bool {
	const sep = byte(mailstore.Separator)
	// reach[j] says whether the pattern so far can match name[:j].
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*', '%':
			for j := 1; j <= len(name); j++ {
				reach[j] = reach[j] || reach[j-1] && (c == '*' || name[j-1] != sep)
			}
		default:
			for j := len(name); j > 0; j-- {
				reach[j] = reach[j-1] && name[j-1] == c
			}
			reach[0] = false
		}
	}
	return reach[len(name)]
}

// gone marks a failure to write: the client has left, and nothing is wrong with us.
func gone(err error) error { return fault.Wrap(fault.Timeout, "imapd.write", "client-gone", err) }
