package fhir

import (
	"bytes"
	"encoding/json"
	"time"
)

// Entry is one resource of an answer.
type Entry struct {
	FullURL  string // empty for an outcome
	Resource json.RawMessage
	Mode     string // match, include or outcome
}

// Modes of an entry (R4 §2.36).
const (
	Match   = "match"
	Include = "include"
	Told    = "outcome"
)

// Link is a link of an answer: self, next.
type Link struct{ Relation, URL string }

// Searchset writes the answer to a search. It tells no total: what is not shown is not
// counted either. Resources are written as they are.
func Searchset(id string, at time.Time, links []Link, entries []Entry) []byte {
	size := 256
	for _, e := range entries {
		size += len(e.Resource) + len(e.FullURL) + 80
	}
	var b bytes.Buffer
	b.Grow(size)
	b.WriteString(`{"resourceType":"Bundle","id":`)
	writeString(&b, id)
	b.WriteString(`,"meta":{"lastUpdated":`)
	writeString(&b, Instant(at))
	b.WriteString(`},"type":"searchset","link":[`)
	for i, l := range links {
		comma(&b, i)
		b.WriteString(`{"relation":`)
		writeString(&b, l.Relation)
		b.WriteString(`,"url":`)
		writeString(&b, l.URL)
		b.WriteByte('}')
	}
	b.WriteByte(']')
	for i, e := range entries {
		if i == 0 {
			b.WriteString(`,"entry":[`)
		}
		comma(&b, i)
		b.WriteByte('{')
		if e.FullURL != "" {
			b.WriteString(`"fullUrl":`)
			writeString(&b, e.FullURL)
			b.WriteByte(',')
		}
		b.WriteString(`"resource":`)
		b.Write(e.Resource)
		b.WriteString(`,"search":{"mode":`)
		writeString(&b, e.Mode)
		b.WriteString(`}}`)
	}
	if len(entries) > 0 {
		b.WriteByte(']')
	}
	b.WriteByte('}')
	return b.Bytes()
}

func comma(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

func writeString(b *bytes.Buffer, s string) {
	j, _ := json.Marshal(s) // a string: cannot fail
	b.Write(j)
}
