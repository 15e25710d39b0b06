package davd

import (
	"bufio"
	"encoding/xml"
	"net/http"
	"strconv"

	"pli/fault"
)

// names asks for properties: some of them, or all, or their names.
type names struct {
	some     []xml.Name
	data     *elem // CARDDAV:address-data as asked for, in a report
	all      bool
	nameOnly bool
}

// readNames reads DAV:prop, DAV:allprop or DAV:propname below e. Nothing at all is
// allprop (RFC 4918 §9.1). Errors: fault.Invalid, fault.TooLarge.
func readNames(e *elem) (names, error) {
	p := e.child(nsDAV, "prop")
	switch {
	case e.child(nsDAV, "propname") != nil:
		return names{nameOnly: true}, nil
	case p == nil:
		return names{all: true}, nil
	case len(p.kids) > maxProps:
		return names{}, fault.New(fault.TooLarge, "davd.readNames", "properties")
	}
	var n names
	seen := map[xml.Name]bool{}
	for _, k := range p.kids {
		if seen[k.name] {
			continue
		}
		seen[k.name] = true
		if k.is(nsCard, "address-data") {
			n.data = k
		}
		n.some = append(n.some, k.name)
	}
	return n, nil
}

// subject is what a response is about.
type subject struct {
	path string
	kind kind
	e    entry
	data []byte // address-data, in a report that asks for it
}

// propfind answers PROPFIND. Depth infinity is taken for 1: the tree is not deeper where
// it may be listed.
func (a *asker) propfind() error {
	body, err := readXML(a.r.Body)
	if err != nil {
		return err
	}
	if body != nil && !body.is(nsDAV, "propfind") {
		return bad("propfind", "body")
	}
	n, err := readNames(body)
	if err != nil {
		return err
	}
	deep := false
	switch a.r.Header.Get("Depth") {
	case "0":
	case "1", "infinity", "":
		deep = true
	default:
		return bad("propfind", "depth")
	}
	subjects, err := a.subjects(deep)
	if err != nil {
		return err
	}
	return a.multistatus(func(w *writer) {
		for i := range subjects {
			a.response(w, &subjects[i], n)
		}
	})
}

// subjects are the place asked of and, when deep, what is in it. « Annuaire » lists
// nothing, and stands beside the books: a phone that does not know what it is would keep
// an empty one.
func (a *asker) subjects(deep bool) ([]subject, error) {
	if a.res.kind == card {
		e, err := a.card(a.res)
		return []subject{{path: pathOf(a.res.in, a.res.key), kind: card, e: e}}, err
	}
	var b *establishment
	var err error
	if a.res.kind == book || a.res.kind == home && deep {
		if b, err = a.establishment(); err != nil {
			return nil, err
		}
	}
	out := []subject{{path: paths[a.res.kind], kind: a.res.kind}}
	if !deep {
		return out, nil
	}
	switch a.res.kind {
	case root:
		out = append(out, subject{path: principalPath, kind: principal}, subject{path: homePath, kind: home})
	case home:
		out = append(out, subject{path: bookPath, kind: book})
	case book:
		for _, e := range b.entries {
			out = append(out, subject{path: pathOf(book, e.l.Key), kind: card, e: e})
		}
		a.given += len(b.entries)
	}
	return out, nil
}

// multistatus writes a 207 (RFC 4918 §13).
func (a *asker) multistatus(write func(w *writer)) error {
	a.w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	a.w.WriteHeader(http.StatusMultiStatus)
	w := &writer{b: bufio.NewWriterSize(a.w, 32<<10)}
	w.raw(xmlHead, "<D:multistatus", spaces, ">")
	write(w)
	w.raw("</D:multistatus>\n")
	if w.err == nil {
		w.err = w.b.Flush()
	}
	return left(w.err)
}

// response writes what is known of a subject, and what is not.
func (a *asker) response(w *writer, sub *subject, n names) {
	w.raw("<D:response>")
	w.href(sub.path)
	asked := n.some
	if n.all || n.nameOnly {
		asked = a.known(sub)
	}
	w.raw("<D:propstat><D:prop>")
	var absent []xml.Name
	for _, name := range asked {
		switch {
		case n.nameOnly:
			w.named(name)
		case !a.property(w, sub, name):
			absent = append(absent, name)
		}
	}
	w.raw("</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>")
	if len(absent) > 0 && !a.minimal {
		w.raw("<D:propstat><D:prop>")
		for _, name := range absent {
			w.named(name)
		}
		w.raw("</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>")
	}
	w.raw("</D:response>")
}

// known are the properties of a subject, for allprop and propname.
func (a *asker) known(sub *subject) []xml.Name {
	d := func(locals ...string) (out []xml.Name) {
		for _, l := range locals {
			out = append(out, xml.Name{Space: nsDAV, Local: l})
		}
		return out
	}
	out := d("resourcetype", "current-user-principal", "current-user-privilege-set", "owner", "supported-report-set")
	c := func(locals ...string) {
		for _, l := range locals {
			out = append(out, xml.Name{Space: nsCard, Local: l})
		}
	}
	switch sub.kind {
	case card:
		return append(out, d("getetag", "getcontenttype", "getlastmodified", "displayname")...)
	case principal:
		out = append(out, d("displayname", "principal-URL")...)
		c("addressbook-home-set", "directory-gateway")
	case book:
		out = append(out, d("displayname", "sync-token")...)
		out = append(out, xml.Name{Space: nsCS, Local: "getctag"})
		c("addressbook-description", "supported-address-data", "max-resource-size", "supported-collation-set")
	case gateway:
		out = append(out, d("displayname")...)
		c("addressbook-description", "supported-address-data", "max-resource-size", "supported-collation-set")
	default:
		out = append(out, d("displayname")...)
	}
	return out
}

var displayNames = map[kind]string{root: "Pli", principal: "Pli", home: "Carnets d'adresses", book: "Mon établissement", gateway: "Annuaire"}

// maxCardSize is more than any card of ours, in octets.
const maxCardSize = 64 << 10

// property writes a property with its value, if the subject has it.
func (a *asker) property(w *writer, sub *subject, n xml.Name) bool {
	switch n.Space {
	case nsDAV:
		return a.davProperty(w, sub, n.Local)
	case nsCard:
		return a.cardProperty(w, sub, n.Local)
	case nsCS:
		if n.Local != "getctag" || sub.kind != book || a.book == nil {
			return false
		}
		w.leaf("CS:getctag", a.book.ctag())
		return true
	}
	return false
}

func (a *asker) davProperty(w *writer, sub *subject, local string) bool {
	switch local {
	case "resourcetype":
		w.raw("<D:resourcetype>", resourceTypes[sub.kind], "</D:resourcetype>")
	case "displayname":
		name := displayNames[sub.kind]
		if sub.kind == card {
			name = clean(sub.e.name)
		}
		w.leaf("D:displayname", name)
	case "current-user-principal", "owner":
		w.raw("<D:", local, ">")
		w.href(principalPath)
		w.raw("</D:", local, ">")
	case "principal-URL":
		if sub.kind != principal {
			return false
		}
		w.raw("<D:principal-URL>")
		w.href(principalPath)
		w.raw("</D:principal-URL>")
	case "current-user-privilege-set": // RFC 3744 §5.5: it is read, and that is all
		w.raw("<D:current-user-privilege-set><D:privilege><D:read/></D:privilege>",
			"<D:privilege><D:read-current-user-privilege-set/></D:privilege></D:current-user-privilege-set>")
	case "supported-report-set": // RFC 3253 §3.1.5
		w.open("D:supported-report-set")
		for _, r := range reports[sub.kind] {
			w.raw("<D:supported-report><D:report><", r, "/></D:report></D:supported-report>")
		}
		w.shut("D:supported-report-set")
	case "sync-token":
		if sub.kind != book || a.book == nil {
			return false
		}
		w.leaf("D:sync-token", a.book.state().token())
	case "getetag":
		if sub.kind != card {
			return false
		}
		w.leaf("D:getetag", `"`+sub.e.etag+`"`)
	case "getcontenttype":
		if sub.kind != card {
			return false
		}
		w.leaf("D:getcontenttype", "text/vcard; charset=utf-8")
	case "getlastmodified":
		if sub.kind != card {
			return false
		}
		w.leaf("D:getlastmodified", sub.e.l.ChangedAt.UTC().Format(http.TimeFormat))
	default:
		return false
	}
	return true
}

// resourceTypes: what « Annuaire » is has a name of its own for those who know it, and is
// an address book for the others.
var resourceTypes = map[kind]string{
	root: "<D:collection/>", principal: "<D:collection/><D:principal/>", home: "<D:collection/>",
	book: "<D:collection/><C:addressbook/>", gateway: "<D:collection/><C:addressbook/><C:directory/>",
}

var reports = map[kind][]string{
	book:    {"C:addressbook-query", "C:addressbook-multiget", "D:sync-collection"},
	gateway: {"C:addressbook-query", "C:addressbook-multiget"},
}

func (a *asker) cardProperty(w *writer, sub *subject, local string) bool {
	folder := sub.kind == book || sub.kind == gateway
	switch local {
	case "addressbook-home-set":
		if sub.kind != principal && sub.kind != root { // some ask at the root, having read no further
			return false
		}
		w.open("C:addressbook-home-set")
		w.href(homePath)
		w.shut("C:addressbook-home-set")
	case "directory-gateway":
		if sub.kind != principal && sub.kind != home {
			return false
		}
		w.open("C:directory-gateway")
		w.href(gatewayPath)
		w.shut("C:directory-gateway")
	case "addressbook-description":
		if !folder {
			return false
		}
		text := "Annuaire MSSanté : tapez un nom pour chercher."
		if sub.kind == book {
			text = "Annuaire MSSanté de votre établissement"
			if a.book != nil && a.book.name != "" {
				text = "Annuaire MSSanté : " + clean(a.book.name)
			}
		}
		w.leaf("C:addressbook-description", text)
	case "supported-address-data":
		if !folder {
			return false
		}
		w.raw(`<C:supported-address-data><C:address-data-type content-type="text/vcard" version="3.0"/>`,
			`<C:address-data-type content-type="text/vcard" version="4.0"/></C:supported-address-data>`)
	case "max-resource-size":
		if !folder {
			return false
		}
		w.leaf("C:max-resource-size", strconv.Itoa(maxCardSize))
	case "supported-collation-set":
		if !folder {
			return false
		}
		w.raw("<C:supported-collation-set><C:supported-collation>i;ascii-casemap</C:supported-collation>",
			"<C:supported-collation>i;unicode-casemap</C:supported-collation></C:supported-collation-set>")
	case "address-data":
		if sub.data == nil {
			return false
		}
		w.open("C:address-data")
		w.text(string(sub.data))
		w.shut("C:address-data")
	default:
		return false
	}
	return true
}
