package cda

import (
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // Europe/Paris must be known on any machine
)

var paris = sync.OnceValue(func() *time.Location {
	l, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic("cda: Europe/Paris is embedded and cannot be read")
	}
	return l
})

// hl7Time reads @value: AAAA up to AAAAMMJJhhmmss, then a fraction of a second, then an
// offset, all but the year optional. Europe/Paris without an offset (dmp.md §2.3). What
// cannot be read is no time: it is never a reason to refuse a document.
func hl7Time(e *elem) Time {
	literal := e.attr("value")
	digits := literal[:len(literal)-len(strings.TrimLeft(literal, "0123456789"))]
	layout := "20060102150405"
	switch len(digits) {
	case 4, 6, 8, 10, 12, 14:
		layout = layout[:len(digits)]
	default:
		return Time{}
	}
	rest := literal[len(digits):]
	if fraction, ok := strings.CutPrefix(rest, "."); ok {
		rest = strings.TrimLeft(fraction, "0123456789")
	}
	t := Time{Digits: len(digits), Literal: literal}
	var err error
	switch {
	case rest == "":
		t.At, err = time.ParseInLocation(layout, digits, paris())
	case len(rest) == 5 && len(digits) > 8:
		t.Zoned = true
		t.At, err = time.Parse(layout+"-0700", digits+rest)
	default:
		return Time{}
	}
	if err != nil {
		return Time{}
	}
	t.At = t.At.UTC()
	return t
}

// Local is the time as people in France write it, as far as it was written.
func (t Time) Local() string {
	if t.IsZero() {
		return ""
	}
	at := t.At.In(paris())
	switch t.Digits {
	case 4:
		return at.Format("2006")
	case 6:
		return at.Format("01/2006")
	case 8:
		return at.Format("02/01/2006")
	}
	return at.Format("02/01/2006 à 15:04")
}

func onlyDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
