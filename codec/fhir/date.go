package fhir

import (
	"slices"
	"strings"
	"time"
)

// comparisons that a date may begin with; ap (about) is not among them.
var comparisons = []string{"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"}

// spans are the forms of a date, and how long what is written lasts. Without a zone, UTC.
var spans = []struct {
	layout string
	end    func(time.Time) time.Time
}{
	{"2006", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
	{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
	{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
	{"2006-01-02T15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
	{"2006-01-02T15:04Z07:00", func(t time.Time) time.Time { return t.Add(time.Minute) }},
	{"2006-01-02T15:04:05", func(t time.Time) time.Time { return t.Add(time.Second) }},
	{"2006-01-02T15:04:05Z07:00", func(t time.Time) time.Time { return t.Add(time.Second) }},
	{"2006-01-02T15:04:05.000", func(t time.Time) time.Time { return t.Add(time.Millisecond) }},
	{"2006-01-02T15:04:05.000Z07:00", func(t time.Time) time.Time { return t.Add(time.Millisecond) }},
}

// readDate reads a date with its comparison, eq when none is written (R4 §3.1.1.4.6).
func readDate(s string) (Value, bool) {
	v := Value{Compare: "eq"}
	if len(s) > 2 && slices.Contains(comparisons, s[:2]) {
		v.Compare, s = s[:2], s[2:]
	}
	s = strings.Replace(s, " ", "+", 1) // a zone whose + was not encoded
	for _, f := range spans {
		// An exact form: time.Parse alone takes fractions where the layout has none.
		t, err := time.Parse(f.layout, s)
		if err != nil || len(s) < len("2006") || t.Year() < 1 || !sameForm(f.layout, s) {
			continue
		}
		v.From, v.To = t.UTC(), f.end(t).UTC()
		return v, true
	}
	return Value{}, false
}

// sameForm reports whether s has as many octets before its zone as the layout.
func sameForm(layout, s string) bool { return beforeZone(layout) == beforeZone(s) }

func beforeZone(s string) int {
	const day = len("2006-01-02T")
	for i := day; i < len(s); i++ {
		if s[i] == 'Z' || s[i] == '+' || s[i] == '-' {
			return i
		}
	}
	return len(s)
}
