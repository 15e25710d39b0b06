package webd

import (
	"slices"
	"strings"

	"pli/codec/message"
	"pli/internal/id"
	"pli/mail"
)

// maxReferences bounds how many identifiers of one message are followed.
const maxReferences = 100

// item is a letter with its header read.
type item struct {
	Letter
	*message.Fields
}

// thread is one conversation, oldest letter first. It is found by the id of any of its
// letters.
type thread struct{ items []item }

// threads groups letters by Message-ID, References and In-Reply-To, never by subject
// (ux.md §5.2), and sorts the conversations newest first.
func threads(ls []Letter) []thread {
	items := make([]item, len(ls))
	for i, l := range ls {
		items[i] = item{l, l.Outline.Fields()}
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	roots := gather(items)
	at := map[int]int{}
	var ts []thread
	for i := range items {
		r := roots[i]
		if _, ok := at[r]; !ok {
			at[r] = len(ts)
			ts = append(ts, thread{})
		}
		t := &ts[at[r]]
		t.items = append(t.items, items[i])
	}
	slices.SortStableFunc(ts, func(a, b thread) int { return b.last().ReceivedAt.Compare(a.last().ReceivedAt) })
	return ts
}

// gather gives each item the index of the set it belongs to.
func gather(items []item) []int {
	parent := make([]int, len(items))
	for i := range parent {
		parent[i] = i
	}
	var find func(i int) int
	find = func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	seen := map[string]int{}
	for i, it := range items {
		ids := append(it.References(), it.InReplyTo()...)
		ids = append(ids[max(0, len(ids)-maxReferences):], it.MessageID())
		for _, m := range ids {
			if m == "" {
				continue
			}
			if j, ok := seen[m]; ok {
				parent[find(i)] = find(j)
			} else {
				seen[m] = i
			}
		}
	}
	for i := range parent {
		parent[i] = find(i)
	}
	return parent
}

func (t thread) last() item { return t.items[len(t.items)-1] }

// ID names the conversation: the id of its oldest letter.
func (t thread) ID() id.Letter { return t.items[0].ID }

func (t thread) has(l id.Letter) bool {
	return slices.ContainsFunc(t.items, func(it item) bool { return it.ID == l })
}

// received is the last letter that somebody else wrote, automatic notices left out; ok
// is false when there is none.
func (t thread) received() (it item, ok bool) {
	for _, it := range slices.Backward(t.items) {
		if !it.Sent && !it.Outline.IsReport() {
			return it, true
		}
	}
	return item{}, false
}

// Unread counts the letters not opened yet.
func (t thread) Unread() int {
	n := 0
	for _, it := range t.items {
		if !it.Seen && !it.Sent {
			n++
		}
	}
	return n
}

// Attachments counts the files of all letters.
func (t thread) Attachments() int {
	n := 0
	for _, it := range t.items {
		n += len(it.Outline.Attachments())
	}
	return n
}

// Subject is that of the first letter that has one, for people: no XDM prefix.
func (t thread) Subject() string {
	for _, it := range t.items {
		if s := strings.TrimSpace(message.HumanSubject(it.Fields.Subject())); s != "" && s != "[FIN]" {
			return s
		}
	}
	return ""
}

// peer is who the conversation is with: the author of the last letter received, else
// the first recipient of what was sent.
func (t thread) peer() message.Person {
	if it, ok := t.received(); ok {
		return author(it)
	}
	if to := t.items[0].To(); len(to) > 0 {
		return to[0]
	}
	return message.Person{}
}

// answer is the address that an answer in the conversation would go to; zero for none.
func (t thread) answer() mail.Address {
	it, ok := t.received()
	if !ok {
		return mail.Address{}
	}
	return answerTo(it).Mail()
}

// author is who a letter says it comes from.
func author(it item) message.Person {
	if from := it.From(); len(from) > 0 {
		return from[0]
	}
	return message.Person{}
}

// answerTo is where an answer to a letter goes: its Reply-To, else its author
// (mssante.md §6.1).
func answerTo(it item) message.Person {
	if to := it.ReplyTo(); len(to) > 0 && !to[0].Mail().IsZero() {
		return to[0]
	}
	return author(it)
}
