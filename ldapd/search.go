package ldapd

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/identity"
)

// Scopes (RFC 4511 §4.5.1.2).
const (
	scopeBase = iota
	scopeOne
	scopeSub
)

const flushAt = 32 << 10

// request is a search request (RFC 4511 §4.5.1).
type request struct {
	base       string
	scope      int64
	size, time int64
	typesOnly  bool
	filter     *filter
	attrs      []string
}

func readSearch(p *ber.Packet) (request, error) {
	var q request
	if len(p.Children) != 8 {
		return q, errMalformed
	}
	c := p.Children
	var ok [6]bool
	var types int64
	q.base, ok[0] = octets(c[0])
	q.scope, ok[1] = number(c[1], ber.TagEnumerated)
	_, ok[2] = number(c[2], ber.TagEnumerated) // aliases: there are none
	q.size, ok[3] = number(c[3], ber.TagInteger)
	q.time, ok[4] = number(c[4], ber.TagInteger)
	types, ok[5] = number(c[5], ber.TagBoolean)
	q.typesOnly = types != 0
	if ok != [6]bool{true, true, true, true, true, true} || !is(c[7], ber.TagSequence) ||
		q.scope < scopeBase || q.scope > scopeSub || q.size < 0 || q.time < 0 {
		return q, errMalformed
	}
	for _, a := range c[7].Children {
		n, ok := octets(a)
		if !ok {
			return q, errMalformed
		}
		q.attrs = append(q.attrs, n)
	}
	var err error
	q.filter, err = parseFilter(c[6])
	return q, err
}

// asker answers one search, as whoever was signed in when it was sent.
type asker struct {
	*conn
	id     int64
	secure bool
	bound  bool
	who    identity.SignIn
	root   func() *object

	q       request
	sel     *selection
	page    *paging
	buf     []byte
	scratch []string
	entries int
	cookie  string
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, flushAt+8<<10); return &b }}

// search answers a search request whole.
func (a *asker) search(ctx context.Context, m message, controls []control) {
	started := time.Now()
	b := buffers.Get().(*[]byte)
	a.buf = (*b)[:0]
	defer func() {
		if cap(a.buf) <= 4*flushAt { // a giant is not kept
			*b = a.buf
			buffers.Put(b)
		}
	}()
	r, err := a.read(m, controls)
	if err == nil && r.code == success {
		r, err = a.find(ctx)
	}
	name := r.name()
	if context.Cause(ctx) == errAbandoned {
		name = "abandoned"
	} else {
		if err != nil && r.code == success {
			r = a.explain(err)
			name = r.name()
		}
		var extra []byte
		if a.page != nil {
			extra = a.page.response(a.cookie)
		}
		a.buf = appendResponse(a.buf, a.id, tagSearchResultDone, r, nil, extra)
		a.write(a.buf)
	}
	a.s.metrics.searched(name, a.entries, started)
	attrs := []slog.Attr{slog.String("result", name), slog.Int("entries", a.entries), slog.Int64("account", int64(a.who.Account)),
		slog.Int64("bal", int64(a.who.BAL)), slog.Duration("took", time.Since(started))}
	if err != nil {
		attrs = append(attrs, slog.Any("cause", err))
	}
	a.event("ldap search", r.code == 80 && name != "abandoned", attrs...)
}

// explain gives a failed search its result.
func (a *asker) explain(err error) result {
	switch {
	case errors.Is(err, errFilterLarge):
		return result{code: adminLimitExceeded, text: textTooLarge}
	case errors.Is(err, errFilter), errors.Is(err, errMalformed):
		return result{code: protocolError, text: textMalformed}
	}
	switch fault.KindOf(err) {
	case fault.Timeout:
		return result{code: timeLimitExceeded, text: textSlow}
	case fault.Conflict: // the page is of a directory that was renewed since
		return result{code: unwillingToPerform, text: textCookie}
	case fault.Invalid:
		return result{code: unwillingToPerform, text: textFilter}
	}
	return failure(err)
}

func (a *asker) read(m message, controls []control) (result, error) {
	p, err := m.decode()
	if err != nil {
		return result{}, err
	}
	if a.q, err = readSearch(p); err != nil {
		return result{}, err
	}
	a.sel = selectAttributes(a.q.attrs, a.q.typesOnly)
	for _, c := range controls {
		if c.oid != oidPaged {
			continue
		}
		page, r, err := a.readPaging(c, m.op)
		if err != nil || r.code != success {
			return r, err
		}
		a.page = page
	}
	return result{}, nil
}

// find looks where the search looks, and writes the entries. A result that is not
// success goes with a nil error.
func (a *asker) find(ctx context.Context) (result, error) {
	n, err := parseName(a.q.base)
	if err != nil {
		return result{code: invalidDNSyntax, text: textName}, nil
	}
	s := a.s
	switch {
	case len(n) == 0 && a.q.scope == scopeBase:
		a.show(a.root())
		return result{}, nil
	case n.key() == "cn=subschema" && a.q.scope != scopeOne:
		a.show(schema)
		return result{}, nil
	}
	if r, ok := a.allowed(); !ok {
		return r, nil
	}
	switch {
	case n.key() == s.suffix.key() && a.q.scope == scopeBase:
		a.show(s.base())
		return result{}, nil
	case n.key() == s.suffix.key(), s.suffix.under(n) && a.q.scope == scopeSub:
		// A search that begins above is taken for one of all there is: Contacts has an
		// empty base by default.
		if a.q.scope == scopeSub && (a.page == nil || a.page.given == 0) {
			a.show(s.base())
		}
		return a.listings(ctx)
	case s.suffix.under(n) && a.q.scope == scopeOne && len(n) == len(s.suffix)-1:
		a.show(s.base())
		return result{}, nil
	case n.under(s.suffix) && len(n) == len(s.suffix)+1:
		var l *subject
		err := a.ask(ctx, func(ctx context.Context) (err error) {
			l, err = s.entry(ctx, n)
			return err
		})
		if fault.Is(err, fault.NotFound) {
			return result{code: noSuchObject, matched: s.c.Base, text: textNoObject}, nil
		}
		if err != nil || a.q.scope == scopeOne {
			return result{}, err
		}
		if a.q.filter.match(s.lookListing(l)) != yes {
			return result{}, nil
		}
		if r, ok := a.share(ctx, 1); !ok {
			return r, nil
		}
		a.put(l)
		return result{}, nil
	case n.under(s.suffix):
		return result{code: noSuchObject, matched: s.c.Base, text: textNoObject}, nil
	}
	return result{code: noSuchObject, text: textNoObject}, nil
}

// allowed refuses whoever has not signed in.
func (a *asker) allowed() (result, bool) {
	switch {
	case a.bound:
		return result{}, true
	case !a.secure:
		return result{code: confidentialityRequired, text: textNoTLS}, false
	}
	return result{code: strongerAuthRequired, text: textSignIn}, false
}

// ask lets a question wait for others of its account, then gives it its time. What it
// finds is written afterwards: a client that reads slowly keeps no turn.
func (a *asker) ask(ctx context.Context, question func(context.Context) error) error {
	leave, err := a.s.d.Turns.Take(ctx, a.who.Account)
	if err != nil {
		return err
	}
	defer leave()
	limit := a.s.c.TimeLimit
	if a.q.time > 0 && a.q.time < int64(limit/time.Second)+1 {
		limit = min(limit, time.Duration(a.q.time)*time.Second)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return question(ctx)
}

// entry reads the listing that a name is of. Errors: fault.NotFound.
func (s *Server) entry(ctx context.Context, n name) (*subject, error) {
	missing := fault.New(fault.NotFound, "ldapd.entry", "no-entry")
	if len(n[0]) != 1 || n[0][0].attr != "uid" {
		return nil, missing
	}
	k, err := listing.ParseKey(n[0][0].value)
	if err != nil {
		return nil, missing
	}
	l, err := s.d.Search.ByKey(ctx, k)
	if err != nil {
		return nil, err
	}
	return &subject{&l, l.Display()}, nil
}

// listings asks the directory.
func (a *asker) listings(ctx context.Context) (result, error) {
	s := a.s
	where := a.q.filter.compile(true)
	if isNever(where) {
		return result{}, nil
	}
	want, after := int64(s.c.MaxEntries), ""
	if a.page != nil {
		if a.page.size == 0 { // the client gives up, or asks for an estimate: we make none
			return result{}, nil
		}
		want, after = min(want, a.page.size, int64(s.c.MaxPagedEntries)-a.page.given), a.page.after
	}
	if a.q.size > 0 {
		room := a.q.size - int64(a.entries)
		if a.page != nil {
			room -= a.page.given
		}
		want = min(want, room)
	}
	if want <= 0 {
		return result{code: sizeLimitExceeded, text: textMore}, nil
	}
	var page search.Page
	err := a.ask(ctx, func(ctx context.Context) (err error) {
		page, err = s.d.Search.Search(ctx, search.Query{Where: where, Limit: int(want), After: after, Fuzzy: a.q.filter.completes()})
		return err
	})
	if err != nil {
		return result{}, err
	}
	if r, ok := a.share(ctx, len(page.Listings)); !ok {
		return r, nil
	}
	for i, display := range listing.Displays(page.Listings) {
		a.put(&subject{&page.Listings[i], display})
	}
	if page.Next == "" {
		return result{}, nil
	}
	return a.more(page.Next), nil
}

// more says that there is more: how to go on, or that it ends here.
func (a *asker) more(next string) result {
	if a.page == nil {
		return result{code: sizeLimitExceeded, text: textMore}
	}
	given := a.page.given + int64(a.entries)
	switch {
	case a.q.size > 0 && given >= a.q.size:
		return result{code: sizeLimitExceeded, text: textMore}
	case given >= int64(a.s.c.MaxPagedEntries):
		return result{code: adminLimitExceeded, text: textMore}
	}
	a.cookie = a.seal(next, given)
	return result{}
}

// share counts what an account takes: nobody copies the directory here.
func (a *asker) share(ctx context.Context, n int) (result, bool) {
	if n == 0 {
		return result{}, true
	}
	key := "ldap-entries:" + strconv.FormatInt(int64(a.who.Account), 10)
	if ok, _ := a.s.d.Limit.AllowN(ctx, key, a.s.c.MaxEntriesPerHour, time.Hour, n); !ok {
		return result{code: adminLimitExceeded, text: textShare}, false
	}
	return result{}, true
}

// put writes a listing's entry, and sends what has gathered now and then.
func (a *asker) put(sub *subject) {
	a.buf, a.scratch = a.s.appendListing(a.buf, a.id, sub, a.sel, a.scratch)
	a.entries++
	a.flush()
}

// show writes an entry that is no listing, if the filter is true of it.
func (a *asker) show(o *object) {
	if a.q.filter.match(o.look) == yes {
		a.buf = appendObject(a.buf, a.id, o, a.sel)
		a.entries++
		a.flush()
	}
}

func (a *asker) flush() {
	if len(a.buf) >= flushAt {
		a.write(a.buf)
		a.buf = a.buf[:0]
	}
}

// compare answers a comparison (RFC 4511 §4.10).
func (c *conn) compare(m message) result {
	r := c.compared(m)
	c.s.metrics.others.WithLabelValues("compare", r.name()).Inc()
	return r
}

func (c *conn) compared(m message) result {
	p, err := m.decode()
	if err != nil || len(p.Children) != 2 || !is(p.Children[1], ber.TagSequence) {
		return result{code: protocolError, text: textMalformed}
	}
	base, ok := octets(p.Children[0])
	f := &filter{op: filterEqual}
	if err := f.readAssertion(p.Children[1]); err != nil || !ok {
		return result{code: protocolError, text: textMalformed}
	}
	n, err := parseName(base)
	if err != nil {
		return result{code: invalidDNSyntax, text: textName}
	}
	var at look
	switch a := (&asker{conn: c, secure: c.tls != nil, bound: c.bound}); {
	case len(n) == 0:
		at = c.root().look
	case n.key() == "cn=subschema":
		at = schema.look
	default:
		if r, ok := a.allowed(); !ok {
			return r
		}
		if at, err = c.s.lookAt(c.ctx, n); err != nil {
			return failure(err)
		}
	}
	values, known := at(f.attr)
	switch {
	case !known:
		return result{code: undefinedAttributeType}
	case len(values) == 0:
		return result{code: noSuchAttribute}
	case !f.undefined && f.holds(values) == yes:
		return result{code: compareTrue}
	}
	return result{code: compareFalse}
}

func (s *Server) lookAt(ctx context.Context, n name) (look, error) {
	if n.key() == s.suffix.key() {
		return s.base().look, nil
	}
	if !n.under(s.suffix) || len(n) != len(s.suffix)+1 {
		return nil, fault.New(fault.NotFound, "ldapd.compare", "no-entry")
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.TimeLimit)
	defer cancel()
	l, err := s.entry(ctx, n)
	if err != nil {
		return nil, err
	}
	return s.lookListing(l), nil
}
