package certs

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"pli/fault"
	"pli/mail"
)

// listNamespace is that of the published list (mssante.md §2.1).
const listNamespace = "https://listeblanche.mssante.fr/schema"

// Bounds of what we read: the list of February 2025 has 6,494 entries in 3.7 MB.
const (
	maxListSize    = 64 << 20
	maxListEntries = 100_000
	maxListField   = 4096 // octets; the publisher's screen stops at 255 characters
	maxListDepth   = 12   // XML-DSig's X509Certificate is at 5
)

// WhiteList is the content of one list: who may send for which domain.
type WhiteList struct {
	GeneratedAt time.Time
	Entries     int // (domain, certificate) pairs read
	Skipped     int // pairs whose domain or DN cannot be read
	byDomain    map[string][]DN
	byDN        map[DN][]string
}

// Domains counts the distinct domains.
func (l *WhiteList) Domains() int { return len(l.byDomain) }

// DNs counts the distinct certificate names, as compared.
func (l *WhiteList) DNs() int { return len(l.byDN) }

// Has reports whether domain is listed; the match is exact (mssante.md §2.3 rule 4).
func (l *WhiteList) Has(domain string) bool { return len(l.byDomain[asciiDomain(domain)]) > 0 }

// Names returns the certificates of domain's operators.
func (l *WhiteList) Names(domain string) []DN { return l.byDomain[asciiDomain(domain)] }

// DomainsOf returns, sorted, the domains that a certificate may send for.
func (l *WhiteList) DomainsOf(dn DN) []string { return l.byDN[dn] }

// without returns how many domains of l are absent from next.
func (l *WhiteList) without(next *WhiteList) (n int) {
	for d := range l.byDomain {
		if !next.Has(d) {
			n++
		}
	}
	return n
}

// changes counts domains added, removed, and bound to other certificates.
func (l *WhiteList) changes(next *WhiteList) (added, removed, rebound int) {
	for d, dns := range next.byDomain {
		switch was := l.byDomain[d]; {
		case len(was) == 0:
			added++
		case !slices.Equal(was, dns):
			rebound++
		}
	}
	return added, l.without(next), rebound
}

// asciiDomain lower-cases a domain. International names are compared by their A-labels
// (xn--…), as they stand in certificates and DNS; a U-label is not a domain here.
func asciiDomain(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// listReader reads a list as a stream of tokens, in bounded memory.
type listReader struct {
	dec      *xml.Decoder
	list     *WhiteList
	path     []string // local names from the root
	text     strings.Builder
	fields   map[string]string // of the current Domaine
	finished bool              // the root was closed
}

// parseWhiteList reads the content of a list and looks at no signature: what it returns
// is worth only what was verified before. Errors are faults of kind InvalidContent.
func parseWhiteList(r io.Reader) (*WhiteList, error) {
	const op = "certs.parseWhiteList"
	lr := &listReader{dec: xml.NewDecoder(io.LimitReader(r, maxListSize)), list: &WhiteList{
		byDomain: map[string][]DN{}, byDN: map[DN][]string{}}}
	for {
		tok, err := lr.dec.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fault.New(fault.InvalidContent, op, "xml")
		}
		if code := lr.token(tok); code != "" {
			return nil, fault.New(fault.InvalidContent, op, code)
		}
	}
	if !lr.finished || lr.list.GeneratedAt.IsZero() {
		return nil, fault.New(fault.InvalidContent, op, "incomplete")
	}
	if lr.list.Skipped*100 > lr.list.Entries {
		return nil, fault.New(fault.InvalidContent, op, "too-many-unreadable")
	}
	lr.list.sort()
	return lr.list, nil
}

// token takes one token and returns the code of what is wrong with it, or "".
func (lr *listReader) token(tok xml.Token) string {
	switch tok := tok.(type) {
	case xml.Directive: // a document type could define entities
		return "directive"
	case xml.StartElement:
		return lr.start(tok)
	case xml.EndElement:
		if len(lr.path) == 0 || lr.path[len(lr.path)-1] != name(tok.Name) {
			return "nesting"
		}
		code := lr.end(strings.Join(lr.path, "/"))
		lr.path = lr.path[:len(lr.path)-1]
		lr.finished = len(lr.path) == 0
		return code
	case xml.CharData:
		if lr.text.Len()+len(tok) > maxListField && !lr.inSignature() {
			return "field-too-long"
		}
		if len(lr.path) > 0 && !lr.inSignature() {
			lr.text.Write(tok)
		}
	}
	return ""
}

func (lr *listReader) start(el xml.StartElement) string {
	if lr.finished || len(lr.path) == maxListDepth {
		return "depth"
	}
	if len(lr.path) == 0 && (name(el.Name) != "ListeBlancheMSSante" || namespaceOf(el) != listNamespace) {
		return "root"
	}
	lr.path = append(lr.path, name(el.Name))
	if len(lr.path) > 1 && lr.path[1] != "Signature" && len(el.Attr) > 0 {
		return "attribute" // all is text in this format; a namespace change would hide here
	}
	lr.text.Reset()
	if strings.Join(lr.path, "/") == domainePath {
		if lr.list.Entries++; lr.list.Entries > maxListEntries {
			return "too-many-entries"
		}
		lr.fields = map[string]string{}
	}
	return ""
}

const domainePath = "ListeBlancheMSSante/ListeDomaines/Domaine"

func (lr *listReader) end(path string) string {
	text := strings.TrimSpace(lr.text.String())
	lr.text.Reset()
	switch path {
	case "ListeBlancheMSSante/DateDeGeneration":
		at, err := time.Parse(time.RFC3339, text)
		if err != nil || !lr.list.GeneratedAt.IsZero() {
			return "date"
		}
		lr.list.GeneratedAt = at.UTC()
	case domainePath + "/Nom", domainePath + "/DNCertificatOperateur":
		lr.fields[lr.path[3]] += text
	case domainePath:
		lr.list.add(lr.fields["Nom"], lr.fields["DNCertificatOperateur"])
	}
	return ""
}

func (lr *listReader) inSignature() bool { return len(lr.path) > 1 && lr.path[1] == "Signature" }

// add binds a domain to a certificate. What cannot be read is counted, not fatal: one
// bad line must not cut everybody off.
func (l *WhiteList) add(domain, dn string) {
	d := asciiDomain(domain)
	n, err := ParseDN(dn)
	if err != nil || !mail.ValidDomain(d) {
		l.Skipped++
		return
	}
	if !slices.Contains(l.byDomain[d], n) {
		l.byDomain[d] = append(l.byDomain[d], n)
		l.byDN[n] = append(l.byDN[n], d)
	}
}

func (l *WhiteList) sort() {
	for _, ds := range l.byDN {
		slices.Sort(ds)
	}
	for _, ns := range l.byDomain {
		slices.SortFunc(ns, func(a, b DN) int { return strings.Compare(a.CN+"\x00"+a.OU, b.CN+"\x00"+b.OU) })
	}
}

// name is the qualified name as written: the list uses no prefix outside Signature.
func name(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

func namespaceOf(el xml.StartElement) string {
	for _, a := range el.Attr {
		if a.Name.Space == "" && a.Name.Local == "xmlns" {
			return a.Value
		}
	}
	return ""
}

// readWhiteList verifies and reads a list: bounds first, then the signature, then the
// content again from the very octets that were signed.
func readWhiteList(raw []byte, signer func(*Signature) error) (*WhiteList, error) {
	if _, err := parseWhiteList(bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	signed, err := verifySignature(raw, signer)
	if err != nil {
		return nil, err
	}
	return parseWhiteList(bytes.NewReader(signed))
}
