package webd

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Each zone of the home page shows up to this many lines.
const zoneLines = 3

// homePage is what awaits a person. A zone whose room fails says so alone.
type homePage struct {
	Rows         []row
	Unread       int // conversations
	MailFailed   bool
	Documents    []Document
	NewDocuments int
	RecordFailed bool
	Seen         []Event // last acts of others on the record
	SeenFailed   bool
}

// Nothing reports whether nothing is new.
func (d homePage) Nothing() bool {
	return len(d.Rows) == 0 && len(d.Documents) == 0 && !d.MailFailed && !d.RecordFailed
}

// home is the person's space, or the public page for anybody else.
func (s *Server) home(w http.ResponseWriter, r *http.Request) error {
	_, ses, err := s.session(r)
	if err != nil || !ses.Full {
		return s.render(w, r, http.StatusOK, "welcome", page{Title: s.words(r).T("welcome.title")})
	}
	if ses.Professional {
		http.Redirect(w, r, "/ps", http.StatusSeeOther)
		return nil
	}
	s.private(s.space).ServeHTTP(w, r)
	return nil
}

func (s *Server) space(w http.ResponseWriter, r *http.Request) error {
	ctx, v := r.Context(), visitOf(r)
	var d homePage
	if err := s.homeMail(ctx, v, &d); err != nil {
		noteOf(r).err, d.MailFailed = err, true
	}
	docs, err := s.Record.List(ctx, v.session)
	if err != nil {
		noteOf(r).err, d.RecordFailed = err, true
	}
	d.Documents, d.NewDocuments = newDocuments(docs, zoneLines)
	events, err := s.Record.History(ctx, v.session, time.Time{}, historyDepth)
	if err != nil {
		noteOf(r).err, d.SeenFailed = err, true
	}
	for _, e := range events {
		if e.Kind == ByProfessional && strings.HasPrefix(e.Action, "read-") && len(d.Seen) < zoneLines {
			d.Seen = append(d.Seen, e)
		}
	}
	return s.render(w, r, http.StatusOK, "home", page{Title: s.words(r).T("home.title"), Nav: "home", Data: d})
}

// homeMail lists the conversations with something unread.
func (s *Server) homeMail(ctx context.Context, v *visit, d *homePage) error {
	ts, err := s.allThreads(ctx, v)
	if err != nil {
		return err
	}
	ts, err = s.filter(ctx, v, ts, "non-lus")
	if err != nil {
		return err
	}
	d.Unread = len(ts)
	d.Rows, err = s.rows(ctx, v, ts[:min(zoneLines, len(ts))])
	return err
}
