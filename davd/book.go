package davd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/identity"
)

// establishment is « Mon établissement » as it is now: the listings of one structure.
type establishment struct {
	name    string // of the structure
	where   search.Cond
	entries []entry // by ascending key
}

func (b *establishment) find(k listing.Key) (entry, bool) {
	i, ok := slices.BinarySearchFunc(b.entries, k, func(e entry, k listing.Key) int { return bytes.Compare(e.l.Key[:], k[:]) })
	if !ok {
		return entry{}, false
	}
	return b.entries[i], true
}

// keptTime is how long a book is kept: a phone asks for one in many pieces.
const (
	keptTime = 30 * time.Second
	maxKept  = 64
)

type shelf struct {
	mu sync.Mutex
	by map[string]keptBook
}

type keptBook struct {
	book  *establishment
	until time.Time
}

// load reads the book of who asks. One whose BAL is of no structure has an empty one.
func (s *Server) load(ctx context.Context, who identity.SignIn) (*establishment, error) {
	box, err := s.d.Boxes.ByID(ctx, s.d.DB, who.BAL)
	if err != nil {
		return nil, err
	}
	where, name := search.Or{}, ""
	if st := box.Structure; st != nil {
		name = st.Name
		for _, number := range []string{string(st.FINESS), st.SIRET} {
			if number != "" {
				where = append(where, search.Equal{Field: search.Place, Value: number})
			}
		}
	}
	if len(where) == 0 {
		return &establishment{name: name, where: where}, nil
	}
	var shelfName strings.Builder
	for _, c := range where {
		shelfName.WriteString(c.(search.Equal).Value + " ")
	}
	now := s.d.Now()
	if b := s.kept.get(shelfName.String(), now); b != nil {
		return b, nil
	}
	b := &establishment{name: name, where: where}
	if err := s.fill(ctx, b); err != nil {
		return nil, err
	}
	s.kept.put(shelfName.String(), b, now)
	return b, nil
}

func (k *shelf) get(name string, now time.Time) *establishment {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kept, ok := k.by[name]; ok && now.Before(kept.until) {
		return kept.book
	}
	return nil
}

func (k *shelf) put(name string, b *establishment, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by == nil || len(k.by) >= maxKept {
		k.by = map[string]keptBook{}
	}
	k.by[name] = keptBook{b, now.Add(keptTime)}
}

// fill reads the listings, a page at a time, and again from the start when the directory
// has changed in between.
func (s *Server) fill(ctx context.Context, b *establishment) error {
	var ls []listing.Listing
	for try := 0; ; try++ {
		var err error
		if ls, err = s.pages(ctx, b.where); err == nil {
			break
		}
		if !fault.Is(err, fault.Conflict) || try == 2 {
			return err
		}
	}
	names := listing.Displays(ls)
	b.entries = make([]entry, len(ls))
	for i, l := range ls {
		var err error
		if b.entries[i], err = s.makeEntry(l, names[i]); err != nil {
			return err
		}
	}
	slices.SortFunc(b.entries, func(x, y entry) int { return bytes.Compare(x.l.Key[:], y.l.Key[:]) })
	b.entries = slices.CompactFunc(b.entries, func(x, y entry) bool { return x.l.Key == y.l.Key })
	return nil
}

const pageSize = 1_000

func (s *Server) pages(ctx context.Context, where search.Cond) ([]listing.Listing, error) {
	var ls []listing.Listing
	for after := ""; len(ls) < s.c.MaxCards; {
		page, err := s.d.Search.Search(ctx, search.Query{Where: where, Limit: min(pageSize, s.c.MaxCards-len(ls)), After: after})
		if err != nil {
			return nil, err
		}
		ls = append(ls, page.Listings...)
		if after = page.Next; after == "" {
			break
		}
	}
	return ls, nil
}

// mark is what a state keeps of an entry's tag, in octets.
const mark = 4

// state is what a phone has, as its sync token tells it (RFC 6578): every card with the
// beginning of its tag. We keep nothing of it, so that a token never grows old and what
// has gone can always be told. One of 2,000 cards weighs 54 kB.
type state map[listing.Key][mark]byte

const tokenScheme = "urn:x-pli-sync:1:"

func (b *establishment) state() state {
	st := make(state, len(b.entries))
	for _, e := range b.entries {
		st[e.l.Key] = e.mark()
	}
	return st
}

func (e entry) mark() (m [mark]byte) {
	_, _ = hex.Decode(m[:], []byte(e.etag[:2*mark])) // our own hexadecimal digits
	return m
}

// token writes a state; it is the same for the same state.
func (st state) token() string {
	keys := make([]listing.Key, 0, len(st))
	for k := range st {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b listing.Key) int { return bytes.Compare(a[:], b[:]) })
	b := make([]byte, 0, len(keys)*(len(listing.Key{})+mark))
	for _, k := range keys {
		m := st[k]
		b = append(append(b, k[:]...), m[:]...)
	}
	return tokenScheme + base64.RawURLEncoding.EncodeToString(b)
}

// readToken reads a state. Errors: fault.Invalid for what we did not write, or of more
// cards than a book holds.
func readToken(s string, most int) (state, error) {
	const size = len(listing.Key{}) + mark
	wrong := bad("readToken", "sync-token")
	rest, ok := strings.CutPrefix(s, tokenScheme)
	if !ok {
		return nil, wrong
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || len(b)%size != 0 || len(b)/size > most {
		return nil, wrong
	}
	st := make(state, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
		st[listing.Key(b[:len(listing.Key{})])] = [mark]byte(b[len(listing.Key{}):size])
	}
	return st, nil
}

// ctag changes with the book (a habit of clients that know no sync token).
func (b *establishment) ctag() string {
	h := sha256.New()
	for _, e := range b.entries {
		_, _ = h.Write(e.l.Key[:]) // a hash takes everything
		_, _ = h.Write([]byte(e.etag))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// change is a card that a phone has not, has otherwise, or has and should not.
type change struct {
	key  listing.Key
	gone bool
	e    entry
}

// since lists what changed from a state, by ascending key.
func (b *establishment) since(st state) []change {
	var out []change
	for _, e := range b.entries {
		if m, ok := st[e.l.Key]; !ok || m != e.mark() {
			out = append(out, change{key: e.l.Key, e: e})
		}
	}
	for k := range st {
		if _, ok := b.find(k); !ok {
			out = append(out, change{key: k, gone: true})
		}
	}
	slices.SortFunc(out, func(x, y change) int { return bytes.Compare(x.key[:], y.key[:]) })
	return out
}
