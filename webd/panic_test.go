package webd

import (
	"strings"
	"testing"

	"pli/codec/message"
	"pli/fault"
	"pli/internal/id"
)

// breaking is an upload whose reading panics.
type breaking struct{ *memorySpool }

func (breaking) Size() int64                       { return 10 }
func (breaking) ReadAt([]byte, int64) (int, error) { panic("a person's words") }

// A panic while a reply was written ended the whole process: it is in a goroutine of its
// own, out of reach of the request's guard.
func TestPanicWhileAReplyIsWritten(t *testing.T) {
	h := newHouse()
	o, err := message.Scan(strings.NewReader("From: "+haddad+"\r\n\r\nBonjour\r\n"), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	v := &visit{presence: &presence{owner: &h.owner}}
	conversation := threads([]Letter{{ID: id.New(), Outline: o}})[0]
	s := &Server{Deps: Deps{Submit: h, Now: h.Now}}
	_, err = s.sendReply(t.Context(), v, conversation, &draft{Text: "x", Files: []upload{{Name: "a.pdf", Spool: breaking{&memorySpool{}}}}})
	if !fault.Is(err, fault.Internal) || strings.Contains(err.Error(), "words") || len(h.sent) != 0 {
		t.Errorf("%v, %d sent", err, len(h.sent))
	}
}
