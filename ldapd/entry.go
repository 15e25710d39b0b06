package ldapd

// Entries are written straight into the buffer of an answer: nothing is built first.

// appendListing writes the SearchResultEntry of a listing. scratch is room for values,
// returned to be used again.
func (s *Server) appendListing(b []byte, id int64, sub *subject, sel *selection, scratch []string) ([]byte, []string) {
	b, whole := begin(b, 0x30)
	b = appendNumber(b, 0x02, id)
	b, op := begin(b, tagSearchResultEntry)
	dn := s.dnOf(sub)
	b = appendString(b, 0x04, dn)
	b, list := begin(b, 0x30)
	for _, a := range sel.attrs {
		scratch = scratch[:0]
		switch {
		case a.names[0] == "entryDN":
			scratch = append(scratch, dn)
		case a.values != nil:
			scratch = a.values(sub, scratch)
		}
		b = appendAttribute(b, a.names[0], scratch, sel.typesOnly)
	}
	end(b, list)
	end(b, op)
	end(b, whole)
	return b, scratch
}

// dnOf is the name of a listing's entry.
func (s *Server) dnOf(sub *subject) string { return "uid=" + sub.Key.String() + "," + s.c.Base }

// appendAttribute writes a PartialAttribute, unless it has no value.
func appendAttribute(b []byte, name string, values []string, typesOnly bool) []byte {
	if len(values) == 0 {
		return b
	}
	b, whole := begin(b, 0x30)
	b = appendString(b, 0x04, name)
	b, set := begin(b, 0x31)
	if !typesOnly {
		for _, v := range values {
			b = appendString(b, 0x04, v)
		}
	}
	end(b, set)
	end(b, whole)
	return b
}

// object is an entry that is no listing: root DSE, schema, base.
type object struct {
	dn    string
	attrs []objectAttr
}

type objectAttr struct {
	name        string
	operational bool
	values      []string
}

func appendObject(b []byte, id int64, o *object, sel *selection) []byte {
	b, whole := begin(b, 0x30)
	b = appendNumber(b, 0x02, id)
	b, op := begin(b, tagSearchResultEntry)
	b = appendString(b, 0x04, o.dn)
	b, list := begin(b, 0x30)
	for _, a := range o.attrs {
		if sel.wants(a) {
			b = appendAttribute(b, a.name, a.values, sel.typesOnly)
		}
	}
	end(b, list)
	end(b, op)
	end(b, whole)
	return b
}

// look gives the values of an attribute by any of its names, in lower case; known is
// whether such an attribute exists at all.
type look func(attr string) (values []string, known bool)

func (o *object) look(attr string) ([]string, bool) {
	known := byName[attr] != nil
	for _, a := range o.attrs {
		n := describe(a.name)
		if n == attr || known && byName[n] == byName[attr] {
			return a.values, true
		}
	}
	return nil, known || rootOnly[attr]
}

func (s *Server) lookListing(sub *subject) look {
	return func(attr string) ([]string, bool) {
		a := byName[attr]
		switch {
		case a == nil:
			return nil, false
		case a.names[0] == "entryDN":
			return []string{s.dnOf(sub)}, true
		case a.values == nil:
			return nil, true
		}
		return a.values(sub, nil), true
	}
}
