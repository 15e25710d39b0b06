package imapd

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"pli/fault"
	"pli/internal/wake"
	"pli/mail"
	"pli/mailstore"
)

// selected is a mailbox as its client knows it: which message has which sequence
// number, and up to which MODSEQ it was told of changes.
type selected struct {
	box      mailstore.Mailbox
	readOnly bool
	uids     []mail.UID // by sequence number, ascending
	modseq   mail.ModSeq
	own      map[mail.UID]mail.ModSeq // changes of this session that the client knows of
	pending  map[mail.UID]bool        // expunged, and the client not told yet
}

// numbered is a message with the sequence number that the client knows it by.
type numbered struct {
	seq uint32
	uid mail.UID
}

// seqOf returns a message's sequence number, or 0.
func (v *selected) seqOf(u mail.UID) uint32 {
	if i, ok := slices.BinarySearch(v.uids, u); ok {
		return uint32(i + 1)
	}
	return 0
}

// find lists the messages of a set, by ascending number. Numbers that no message has
// are left out.
func (v *selected) find(set imap.NumSet) []numbered {
	picked := make([]bool, len(v.uids))
	n := uint32(len(v.uids))
	if n == 0 {
		return nil
	}
	mark := func(from, to int) { // half open, indexes
		for i := max(from, 0); i < min(to, len(v.uids)); i++ {
			picked[i] = true
		}
	}
	switch set := set.(type) {
	case imap.SeqSet:
		for _, r := range set {
			a, b := star(r.Start, n), star(r.Stop, n)
			mark(int(min(a, b))-1, int(max(a, b)))
		}
	case imap.UIDSet:
		last := imap.UID(v.uids[n-1])
		for _, r := range set {
			a, b := star(r.Start, last), star(r.Stop, last)
			a, b = min(a, b), max(a, b)
			from := sort.Search(len(v.uids), func(i int) bool { return imap.UID(v.uids[i]) >= a })
			to := sort.Search(len(v.uids), func(i int) bool { return imap.UID(v.uids[i]) > b })
			mark(from, to)
		}
	}
	var out []numbered
	for i, yes := range picked {
		if yes {
			out = append(out, numbered{uint32(i + 1), v.uids[i]})
		}
	}
	return out
}

func star[T ~uint32](n, last T) T {
	if n == 0 {
		return last
	}
	return n
}

func uidsOf(ns []numbered) []mail.UID {
	out := make([]mail.UID, len(ns))
	for i, n := range ns {
		out[i] = n.uid
	}
	return out
}

// targets lists the messages that a command is about. It wants a selected mailbox.
func (s *session) targets(set imap.NumSet) []numbered {
	if imap.IsSearchRes(set) {
		if set = s.last; set == nil {
			return nil
		}
	}
	return s.sel.find(set)
}

// Select opens a mailbox, for reading only when EXAMINE says so.
func (s *session) Select(name string, o *imap.SelectOptions) (data *imap.SelectData, err error) {
	command := "SELECT"
	if o.ReadOnly {
		command = "EXAMINE"
	}
	err = s.run(command, func(ctx context.Context) error {
		s.sel, s.last = nil, nil
		found, err := s.resolve(ctx, name)
		if err != nil {
			return err
		}
		box, places, err := s.srv.d.Mail.Snapshot(ctx, s.srv.d.DB, found.ID)
		if err != nil {
			return err
		}
		box.Name, box.Role = found.Name, found.Role
		v := &selected{box: box, readOnly: o.ReadOnly || s.bal.ReadOnly, modseq: box.ModSeq, uids: make([]mail.UID, len(places)),
			own: make(map[mail.UID]mail.ModSeq), pending: make(map[mail.UID]bool)}
		for i, p := range places {
			v.uids[i] = p.UID
		}
		s.sel, data = v, s.selectData(name, v, places)
		s.conn.selecting(v.readOnly)
		return nil
	})
	return data, reply(err)
}

func (s *session) selectData(name string, v *selected, places []mailstore.Place) *imap.SelectData {
	data := &imap.SelectData{
		NumMessages: uint32(len(places)), UIDNext: imap.UID(v.box.UIDNext), UIDValidity: uint32(v.box.UIDValidity),
		Flags: append(systemFlags(), knownKeywords(places)...),
	}
	if !v.readOnly {
		data.PermanentFlags = append(slices.Clone(data.Flags), imap.FlagWildcard)
	}
	if i := slices.IndexFunc(places, func(p mailstore.Place) bool { return p.Flags&mailstore.Seen == 0 }); i >= 0 {
		data.FirstUnseenSeqNum = uint32(i + 1)
	}
	if s.engine.EnabledCaps().Has(imap.CapIMAP4rev2) {
		data.List = &imap.ListData{Delim: mailstore.Separator, Mailbox: name}
	}
	return data
}

// Unselect closes the selected mailbox.
func (s *session) Unselect() error {
	return reply(s.run("UNSELECT", func(context.Context) error {
		s.sel, s.last = nil, nil
		return nil
	}))
}

// Poll tells the client, between two commands, what changed.
func (s *session) Poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sel == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	return s.catchUp(ctx, w, allowExpunge)
}

// catchUp reads the rows that changed since the client was last told, and tells it:
// EXPUNGE first, from the highest number down, then EXISTS, then flags.
func (s *session) catchUp(ctx context.Context, w *imapserver.UpdateWriter, allowExpunge bool) error {
	v := s.sel
	cs, err := s.srv.d.Mail.ChangesSince(ctx, s.srv.d.DB, v.box.ID, v.modseq)
	if err != nil {
		s.srv.d.Log.Warn("imap changes unread", "mailbox", v.box.ID, "cause", err)
		return nil // the next poll reads them
	}
	var flags []mailstore.Change
	before := len(v.uids)
	for _, c := range cs {
		v.modseq = max(v.modseq, c.ModSeq)
		switch known := v.seqOf(c.UID) != 0; {
		case c.Expunged && known:
			v.pending[c.UID] = true
		case c.Expunged:
		case !known:
			v.insert(c.UID)
		case v.own[c.UID] != c.ModSeq:
			flags = append(flags, c)
		}
	}
	grown := len(v.uids) > before
	clear(v.own)
	if allowExpunge && len(v.pending) > 0 {
		if err := v.tellExpunged(w.WriteExpunge); err != nil {
			return gone(err)
		}
	}
	if grown {
		if err := w.WriteNumMessages(uint32(len(v.uids))); err != nil {
			return gone(err)
		}
	}
	for _, c := range flags {
		if seq := v.seqOf(c.UID); seq != 0 {
			if err := w.WriteMessageFlags(seq, imap.UID(c.UID), flagList(c.Flags, c.Keywords)); err != nil {
				return gone(err)
			}
		}
	}
	return nil
}

// insert adds a new message; its UID is the highest but in the rarest order of events.
func (v *selected) insert(u mail.UID) {
	i, _ := slices.BinarySearch(v.uids, u)
	v.uids = slices.Insert(v.uids, i, u)
}

// tellExpunged writes EXPUNGE for what is pending, and renumbers.
func (v *selected) tellExpunged(write func(seq uint32) error) error {
	for i := len(v.uids) - 1; i >= 0 && len(v.pending) > 0; i-- {
		u := v.uids[i]
		if !v.pending[u] {
			continue
		}
		delete(v.pending, u)
		v.uids = slices.Delete(v.uids, i, i+1)
		if err := write(uint32(i + 1)); err != nil {
			return err
		}
	}
	clear(v.pending)
	return nil
}

// idlePoll is how often an idle session looks by itself, should a wake-up be lost.
const idlePoll = 30 * time.Second

// Idle tells the client what changes as it happens (RFC 2177), until stop.
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || s.bal == nil {
		return nil
	}
	woken, cancel := s.srv.d.Wake.Subscribe(wake.BAL(s.bal.BAL))
	defer cancel()
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
		err := s.stillAllowed(ctx)
		if err == nil && s.sel != nil {
			err = s.catchUp(ctx, w, true)
		}
		cancel()
		if err != nil {
			return reply(err)
		}
		select {
		case <-stop:
			return nil
		case <-s.ctx.Done():
			return nil
		case <-woken:
		case <-tick.C:
		}
	}
}

// wantWritable refuses a change where only reading is possible.
func (s *session) wantWritable(op string) error {
	if s.sel == nil {
		return fault.New(fault.Invalid, op, "no-mailbox-selected")
	}
	switch {
	case s.bal.ReadOnly:
		return suspended(op)
	case s.sel.readOnly:
		return readOnly(op)
	}
	return nil
}
