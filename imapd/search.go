package imapd

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"pli/codec/message"
	"pli/fault"
	"pli/mailstore"
)

// verdict is the answer of a search key as far as is known yet.
type verdict uint8

const (
	no verdict = iota
	unknown
	yes
)

func both(a, b verdict) verdict { return min(a, b) }

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// candidate is a message being searched. What is not read yet is nil, and keys that
// need it answer unknown: rows come first, outlines for those still undecided, bodies
// for the fewest.
type candidate struct {
	numbered
	m      mailstore.Message
	fields *message.Fields
	out    *message.Outline
	found  map[string]bool // needles found or not in the text of the body, nil before it was read
}

const maxNeedles = 50

// Search finds messages. SAVE keeps the result for $ (RFC 5182).
func (s *session) Search(kind imapserver.NumKind, c *imap.SearchCriteria, o *imap.SearchOptions) (data *imap.SearchData, err error) {
	err = s.run("SEARCH", func(ctx context.Context) error {
		s.pin(c)
		needles := needlesOf(c, nil)
		if len(needles) > maxNeedles {
			return fault.New(fault.Invalid, "imapd.Search", "too-many-words").Say("Trop de mots cherchés à la fois.", "Too many words searched for at once.")
		}
		var hits []numbered
		todo := s.narrowed(c)
		for len(todo) > 0 {
			n := min(fetchBatch, len(todo))
			found, err := s.searchBatch(ctx, todo[:n], c, needles)
			if err != nil {
				return err
			}
			hits, todo = append(hits, found...), todo[n:]
		}
		if o.ReturnSave {
			saved := imap.UIDSet{}
			for _, h := range hits {
				saved.AddNum(imap.UID(h.uid))
			}
			s.last = saved
		}
		data = searchData(kind, hits)
		return nil
	})
	return data, reply(err)
}

// pin puts the saved result in the place of $.
func (s *session) pin(c *imap.SearchCriteria) {
	for i, set := range c.UID {
		if imap.IsSearchRes(set) {
			c.UID[i] = imap.UIDSet{}
			if saved, ok := s.last.(imap.UIDSet); ok {
				c.UID[i] = saved
			}
		}
	}
	for i := range c.Not {
		s.pin(&c.Not[i])
	}
	for i := range c.Or {
		s.pin(&c.Or[i][0])
		s.pin(&c.Or[i][1])
	}
}

// narrowed lists the messages that the sets at the top of the criteria leave.
func (s *session) narrowed(c *imap.SearchCriteria) []numbered {
	todo := s.sel.find(imap.SeqSet{{Start: 1, Stop: 0}})
	keep := func(set imap.NumSet) {
		in := make(map[uint32]bool)
		for _, n := range s.sel.find(set) {
			in[n.seq] = true
		}
		todo = slices.DeleteFunc(todo, func(n numbered) bool { return !in[n.seq] })
	}
	for _, set := range c.SeqNum {
		keep(set)
	}
	for _, set := range c.UID {
		keep(set)
	}
	return todo
}

func searchData(kind imapserver.NumKind, hits []numbered) *imap.SearchData {
	data := &imap.SearchData{Count: uint32(len(hits))}
	seqs, uids := imap.SeqSet{}, imap.UIDSet{}
	for _, h := range hits {
		seqs.AddNum(h.seq)
		uids.AddNum(imap.UID(h.uid))
	}
	data.All = seqs
	if kind == imapserver.NumKindUID {
		data.All = uids
	}
	if len(hits) > 0 {
		first, last := hits[0], hits[len(hits)-1]
		if data.Min, data.Max = first.seq, last.seq; kind == imapserver.NumKindUID {
			data.Min, data.Max = uint32(first.uid), uint32(last.uid)
		}
	}
	return data
}

// searchBatch searches some messages, reading no more of each than its answer needs.
func (s *session) searchBatch(ctx context.Context, todo []numbered, c *imap.SearchCriteria, needles []string) ([]numbered, error) {
	d := s.srv.d
	ms, err := d.Mail.Lines(ctx, d.DB, s.sel.box.ID, uidsOf(todo))
	if err != nil {
		return nil, err
	}
	all := make([]*candidate, 0, len(ms))
	for i, j := 0, 0; i < len(ms); i++ {
		for todo[j].uid != ms[i].UID {
			j++
		}
		all = append(all, &candidate{numbered: todo[j], m: ms[i]})
	}
	if err := s.readOutlines(ctx, undecided(s.sel, all, c)); err != nil {
		return nil, err
	}
	if err := s.readTexts(ctx, undecided(s.sel, all, c), needles); err != nil {
		return nil, err
	}
	var hits []numbered
	for _, x := range all {
		if x.matches(s.sel, c) == yes {
			hits = append(hits, x.numbered)
		}
	}
	return hits, nil
}

func undecided(v *selected, all []*candidate, c *imap.SearchCriteria) (out []*candidate) {
	for _, x := range all {
		if x.matches(v, c) == unknown {
			out = append(out, x)
		}
	}
	return out
}

func (s *session) readOutlines(ctx context.Context, xs []*candidate) error {
	if len(xs) == 0 {
		return nil
	}
	ns := make([]numbered, len(xs))
	byUID := make(map[imap.UID]*candidate, len(xs))
	for i, x := range xs {
		ns[i], byUID[imap.UID(x.uid)] = x.numbered, x
	}
	ms, err := s.srv.d.Mail.Messages(ctx, s.srv.d.DB, s.sel.box.ID, uidsOf(ns))
	if err != nil {
		return err
	}
	outs, err := s.bal.Outlines(ctx, ms)
	if err != nil {
		return err
	}
	for i, m := range ms {
		x := byUID[imap.UID(m.UID)]
		if outs[i] == nil { // it does not open: it holds no word that can be searched
			outs[i] = &message.Outline{}
		}
		x.m, x.out, x.fields = m, outs[i], outs[i].Fields()
	}
	for _, x := range xs { // gone meanwhile
		if x.out == nil {
			x.out = &message.Outline{}
			x.fields = x.out.Fields()
		}
	}
	return nil
}

// matches answers the criteria with what is known of the message.
func (x *candidate) matches(v *selected, c *imap.SearchCriteria) verdict {
	r := both(verdictOf(x.inSets(v, c)), verdictOf(x.rowMatches(c)))
	if r == no {
		return no
	}
	for i := range c.Not {
		if r = both(r, yes-x.matches(v, &c.Not[i])); r == no {
			return no
		}
	}
	for i := range c.Or {
		if r = both(r, max(x.matches(v, &c.Or[i][0]), x.matches(v, &c.Or[i][1]))); r == no {
			return no
		}
	}
	if r = both(r, x.headerMatches(c)); r == no {
		return no
	}
	return both(r, x.textMatches(c))
}

func (x *candidate) inSets(v *selected, c *imap.SearchCriteria) bool {
	for _, set := range c.SeqNum {
		if !contains(v, set, x.numbered) {
			return false
		}
	}
	for _, set := range c.UID {
		if !contains(v, set, x.numbered) {
			return false
		}
	}
	return true
}

func contains(v *selected, set imap.NumSet, n numbered) bool {
	last := len(v.uids)
	if last == 0 {
		return false
	}
	switch set := set.(type) {
	case imap.SeqSet:
		return slices.ContainsFunc(set, func(r imap.SeqRange) bool {
			a, b := star(r.Start, uint32(last)), star(r.Stop, uint32(last))
			return min(a, b) <= n.seq && n.seq <= max(a, b)
		})
	case imap.UIDSet:
		return slices.ContainsFunc(set, func(r imap.UIDRange) bool {
			a, b := star(r.Start, imap.UID(v.uids[last-1])), star(r.Stop, imap.UID(v.uids[last-1]))
			return min(a, b) <= imap.UID(n.uid) && imap.UID(n.uid) <= max(a, b)
		})
	}
	return false
}

// rowMatches answers flags, dates and sizes. Dates compare by day, in UTC.
func (x *candidate) rowMatches(c *imap.SearchCriteria) bool {
	day := dayOf(x.m.ReceivedAt)
	if !c.Since.IsZero() && day.Before(dayOf(c.Since)) || !c.Before.IsZero() && !day.Before(dayOf(c.Before)) {
		return false
	}
	if c.Larger > 0 && x.m.Size <= c.Larger || c.Smaller > 0 && x.m.Size >= c.Smaller {
		return false
	}
	for _, f := range c.Flag {
		if !x.hasFlag(f) {
			return false
		}
	}
	for _, f := range c.NotFlag {
		if x.hasFlag(f) {
			return false
		}
	}
	return true
}

func dayOf(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

func (x *candidate) hasFlag(f imap.Flag) bool {
	bits, keywords := parseFlags([]imap.Flag{f})
	if bits != 0 {
		return x.m.Flags&bits != 0
	}
	return len(keywords) > 0 && slices.ContainsFunc(x.m.Keywords, func(k string) bool { return strings.EqualFold(k, keywords[0]) })
}

// headerMatches answers header fields and sent dates.
func (x *candidate) headerMatches(c *imap.SearchCriteria) verdict {
	sent := !c.SentSince.IsZero() || !c.SentBefore.IsZero()
	if len(c.Header) == 0 && !sent {
		return yes
	}
	if x.fields == nil {
		return unknown
	}
	for _, h := range c.Header {
		if !x.hasField(h.Key, h.Value) {
			return no
		}
	}
	if !sent {
		return yes
	}
	day := dayOf(sentAt(x.fields))
	return verdictOf(!(!c.SentSince.IsZero() && day.Before(dayOf(c.SentSince)) || !c.SentBefore.IsZero() && !day.Before(dayOf(c.SentBefore))))
}

// hasField tells whether a field of that name holds the words, as a reader sees it:
// decoded, without regard to letter case or accents.
func (x *candidate) hasField(name, words string) bool {
	needle := fold(words)
	for f, value := range fieldsOf(x.out.Header) {
		if strings.EqualFold(f, name) && (needle == "" || strings.Contains(fold(value()), needle)) {
			return true
		}
	}
	return false
}

// fieldsOf gives the fields of a raw header block, and how to have each unfolded and
// decoded.
func fieldsOf(raw []byte) iter.Seq2[string, func() string] {
	return func(yield func(name string, value func() string) bool) {
		for len(raw) > 0 {
			end := fieldEnd(raw)
			one := raw[:end]
			raw = raw[end:]
			name, _, ok := bytes.Cut(one, []byte(":"))
			if !ok {
				continue
			}
			key := strings.TrimSpace(string(name))
			if !yield(key, func() string { return message.ParseFields(one).Text(key) }) {
				return
			}
		}
	}
}

// fieldEnd finds where the first field ends: at a line that does not begin with a
// space.
func fieldEnd(raw []byte) int {
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\n' && (i+1 == len(raw) || raw[i+1] != ' ' && raw[i+1] != '\t') {
			return i + 1
		}
	}
	return len(raw)
}
