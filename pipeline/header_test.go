package pipeline

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/id"
	"pli/mail"
)

func TestFeigns(t *testing.T) {
	for name, want := range map[string]bool{
		"Dr Adèle Martin": false, "": false, "adele.martin@mss-a.example": false, "ADELE.MARTIN@MSS-A.EXAMPLE": false,
		"karim.haddad@mss-a.example": true, "Karim (karim.haddad@mss-a.example)": true, "Cabinet @ Lyon": false, "Karim karim.haddad@mss-b.example.": true,
		"karim.haddad\uff20mss-a.example": true, "karim.haddad@mss-a\u200b.example": true, "=?utf-8?q?karim.haddad=40mss-a.example?=": true,
		"Adèle = Martin": false, "Adèle Martin \u200e": false,
	} {
		if got := feigns(message.Person{Name: name, Address: "adele.martin@mss-a.example"}); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// A group's name was shown by mail programs and read by nobody here.
func TestAuthorIsNoGroup(t *testing.T) {
	for from, want := range map[string]bool{
		"adele.martin@mss-a.example": true, "\"Martin: Adèle; Dr\" <adele.martin@mss-a.example>": true, "Adèle Martin <adele.martin@mss-a.example> (Dr: M;)": true,
		"\"karim.haddad@mss-a.example\": adele.martin@mss-a.example;": false, "Dr: adele.martin@mss-a.example; (x)": false,
	} {
		raw := []byte("From: " + from + "\r\n\r\n")
		if _, err := checkHeader(raw, message.ParseFields(raw)); (err == nil) != want {
			t.Errorf("%s: %v", from, err)
		}
	}
}

// FuzzFromSender looks for a header that comes out with another author, with secret
// recipients, or with our own fields changed.
func FuzzFromSender(f *testing.F) {
	me := mail.MustAddress("adele.martin@mss-a.example")
	f.Add([]byte("From: adele.martin@mss-a.example\r\nBcc: x@y.example\r\n z\r\nSubject: a\r\n\r\n"))
	f.Add([]byte("from : Adele <adele.martin@mss-a.example>\nno colon\n\tX: y\nBCC:\n\nFrom: x\n"))
	f.Add([]byte(" folded\r\nFrom: adele.martin@mss-a.example\r\n"))
	f.Add([]byte("From: a@b.example, adele.martin@mss-a.example\r\nMessage-Id: <x@y>\r\nDate: \r\n\r\n"))
	p := &Pipeline{d: Deps{Zone: time.UTC, Config: Config{Hostname: "mx.mss-a.example"}}}
	letter, at := id.New(), time.Date(2026, 3, 2, 13, 5, 0, 0, time.UTC)
	check := p.fromSender("ESMTPSA", func(a mail.Address) (bool, error) { return a == me, nil })
	f.Fuzz(func(t *testing.T, raw []byte) {
		kept, err := check(letter, at, raw)
		if err != nil {
			if k := fault.KindOf(err); k != fault.InvalidContent && k != fault.Forbidden {
				t.Fatalf("%v", err)
			}
			return
		}
		if !bytes.HasPrefix(kept, []byte("Received: by mx.mss-a.example with ESMTPSA id "+letter.String()+";\r\n\tMon, 02 Mar 2026 13:05:00 +0000\r\n")) {
			t.Fatalf("our field was changed: %q", kept)
		}
		fields := message.ParseFields(kept)
		from := fields.From()
		if len(from) != 1 || from[0].Mail() != me || fields.Count("From") != 1 {
			t.Fatalf("another author: %q", kept)
		}
		if fields.Has("Bcc") || fields.Has("Return-Path") || !fields.Has("Date") || !fields.Has("Message-ID") {
			t.Fatalf("fields: %q", kept)
		}
		if !strings.HasSuffix(string(kept), string(raw[headerEnd(raw):])) {
			t.Fatalf("the end of the block was changed: %q", kept)
		}
	})
}

// headerEnd is where the first empty line begins, or the end.
func headerEnd(raw []byte) int {
	at := 0
	for line := range bytes.Lines(raw) {
		if s := string(line); s == "\n" || s == "\r\n" {
			return at
		}
		at += len(line)
	}
	return at
}
