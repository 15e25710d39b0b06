package davd

import (
	"net/http"
	"strings"

	"pli/directory/search"
	"pli/fault"
)

// reportOn answers REPORT on a book.
func (a *asker) reportOn() error {
	body, err := readXML(a.r.Body)
	if err != nil {
		return err
	}
	if body == nil {
		return bad("report", "no-body")
	}
	n, err := readNames(body)
	if err != nil {
		return err
	}
	in := a.res.kind
	switch {
	case body.is(nsCard, "addressbook-query") && (in == book || in == gateway):
		return a.query(body, n)
	case body.is(nsCard, "addressbook-multiget") && (in == book || in == gateway):
		return a.multiget(body, n)
	case body.is(nsDAV, "sync-collection") && in == book:
		return a.sync(body, n)
	}
	return &refusal{status: http.StatusForbidden, name: "D:supported-report"}
}

// wanted is the form in which cards are asked for.
type wanted struct {
	version string // "" when they are not
	only    map[string]bool
}

// readWanted reads CARDDAV:address-data (RFC 6352 §10.4). Errors: a *refusal.
func readWanted(e *elem) (wanted, error) {
	if e == nil {
		return wanted{}, nil
	}
	v := wanted{version: vcard3}
	if t := e.attribute("content-type"); t != "" && !strings.EqualFold(t, "text/vcard") {
		return v, &refusal{status: http.StatusForbidden, name: "C:supported-address-data"}
	}
	switch e.attribute("version") {
	case "", vcard3:
	case vcard4:
		v.version = vcard4
	default:
		return v, &refusal{status: http.StatusForbidden, name: "C:supported-address-data"}
	}
	for _, k := range e.kids {
		if k.is(nsCard, "prop") {
			if v.only == nil {
				v.only = map[string]bool{}
			}
			v.only[strings.ToUpper(k.attribute("name"))] = true
		}
	}
	return v, nil
}

// subjectOf makes a card ready to be written.
func (a *asker) subjectOf(in kind, e entry, v wanted) (subject, error) {
	sub := subject{path: pathOf(in, e.l.Key), kind: card, e: e}
	if v.version == "" {
		return sub, nil
	}
	var err error
	sub.data, err = encode(a.makeCard(e.l, e.name, v.version), v.only)
	return sub, err
}

// query answers addressbook-query (RFC 6352 §8.6). Of everybody it finds nothing unless
// it is told something to look for.
func (a *asker) query(body *elem, n names) error {
	v, err := readWanted(n.data)
	if err != nil {
		return err
	}
	f, err := readFilter(body.child(nsCard, "filter"))
	if err != nil {
		return err
	}
	limit, err := readLimit(body.child(nsCard, "limit"), nsCard)
	if err != nil {
		return err
	}
	most := a.c.MaxFound
	if a.res.kind == book {
		most = a.c.MaxCards
	}
	if limit == 0 || limit > most {
		limit = most
	}
	found, more, err := a.found(f, limit)
	if err != nil {
		return err
	}
	subs := make([]subject, len(found))
	for i, e := range found {
		if subs[i], err = a.subjectOf(a.res.kind, e, v); err != nil {
			return err
		}
	}
	a.given += len(subs)
	return a.multistatus(func(w *writer) {
		for i := range subs {
			a.response(w, &subs[i], n)
		}
		if more { // RFC 6352 §8.6.2
			a.tooMany(w)
		}
	})
}

// tooMany says that there was more.
func (a *asker) tooMany(w *writer) {
	w.raw("<D:response>")
	w.href(paths[a.res.kind])
	w.raw("<D:status>HTTP/1.1 507 Insufficient Storage</D:status><D:error><D:number-of-matches-within-limits/></D:error></D:response>")
}

// found searches in the place asked of.
func (a *asker) found(f filter, limit int) (out []entry, more bool, err error) {
	if a.res.kind == gateway {
		return a.foundAnywhere(f, limit)
	}
	b, err := a.establishment()
	if err != nil || len(b.entries) == 0 {
		return nil, false, err
	}
	where := search.And{b.where, f.where}
	for after := ""; ; {
		page, err := a.search(search.Query{Where: where, Limit: min(limit, pageSize), After: after})
		if err != nil {
			return nil, false, searchFault(err)
		}
		for _, l := range page.Listings {
			e, ok := b.find(l.Key)
			switch {
			case !ok: // it came, or is beyond what the book holds
			case len(out) == limit:
				return out, true, nil
			default:
				out = append(out, e)
			}
		}
		if after = page.Next; after == "" {
			return out, false, nil
		}
		if len(out) == limit {
			return out, true, nil
		}
	}
}

func (a *asker) foundAnywhere(f filter, limit int) (out []entry, more bool, err error) {
	if !f.told {
		return nil, false, nil
	}
	page, err := a.search(search.Query{Where: f.where, Limit: limit, Fuzzy: f.names})
	if err != nil {
		return nil, false, searchFault(err)
	}
	if err := a.take(len(page.Listings)); err != nil {
		return nil, false, err
	}
	for _, l := range page.Listings {
		e, err := a.makeEntry(l, l.Display())
		if err != nil {
			return nil, false, err
		}
		out = append(out, e)
	}
	return out, page.Next != "", nil
}

// searchFault says of a question that cannot be asked that its filter is not supported.
func searchFault(err error) error {
	if fault.Is(err, fault.Invalid) {
		return unsupportedFilter
	}
	return err
}

// multiget answers addressbook-multiget (RFC 6352 §8.7).
func (a *asker) multiget(body *elem, n names) error {
	v, err := readWanted(n.data)
	if err != nil {
		return err
	}
	var hrefs []string
	for _, k := range body.kids {
		if k.is(nsDAV, "href") {
			hrefs = append(hrefs, k.text())
		}
	}
	most := a.c.MaxFound
	if a.res.kind == book {
		most = a.c.MaxCards
	}
	if len(hrefs) > most {
		return &refusal{status: http.StatusForbidden, name: "D:number-of-matches-within-limits"}
	}
	type asked struct {
		href string
		sub  subject
		ok   bool
	}
	all := make([]asked, len(hrefs))
	for i, h := range hrefs {
		all[i].href = h
		res := locateHref(h)
		if res.kind != card || res.in != a.res.kind {
			continue
		}
		e, err := a.card(res)
		switch {
		case fault.Is(err, fault.NotFound):
			continue
		case err != nil:
			return err
		}
		if all[i].sub, err = a.subjectOf(res.in, e, v); err != nil {
			return err
		}
		all[i].ok = true
		a.given++
	}
	return a.multistatus(func(w *writer) {
		for i := range all {
			if all[i].ok {
				a.response(w, &all[i].sub, n)
				continue
			}
			w.absent(all[i].href)
		}
	})
}

// absent says that there is nothing at a path (any more).
func (w *writer) absent(href string) {
	w.raw("<D:response>")
	w.href(href)
	w.raw("<D:status>HTTP/1.1 404 Not Found</D:status></D:response>")
}

// sync answers sync-collection (RFC 6578): what changed since the state that the token
// tells, and the present token.
func (a *asker) sync(body *elem, n names) error {
	v, err := readWanted(n.data)
	if err != nil {
		return err
	}
	limit, err := readLimit(body.child(nsDAV, "limit"), nsDAV)
	if err != nil {
		return err
	}
	st := state{}
	if t := body.child(nsDAV, "sync-token").text(); t != "" {
		if st, err = readToken(t, a.c.MaxCards); err != nil {
			return &refusal{status: http.StatusForbidden, name: "D:valid-sync-token"}
		}
	}
	b, err := a.establishment()
	if err != nil {
		return err
	}
	changes, more := b.since(st), false
	if limit > 0 && len(changes) > limit {
		changes, more = changes[:limit], true
	}
	subs := make([]subject, len(changes))
	for i, c := range changes {
		if c.gone {
			delete(st, c.key)
			continue
		}
		st[c.key] = c.e.mark()
		if subs[i], err = a.subjectOf(book, c.e, v); err != nil {
			return err
		}
	}
	a.given += len(changes)
	return a.multistatus(func(w *writer) {
		for i, c := range changes {
			if c.gone {
				w.absent(pathOf(book, c.key))
				continue
			}
			a.response(w, &subs[i], n)
		}
		if more { // RFC 6578 §3.6
			a.tooMany(w)
		}
		w.leaf("D:sync-token", st.token())
	})
}
