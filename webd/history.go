package webd

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// linesPerPage is how many lines of the history one page shows.
const linesPerPage = 50

// historyPage is who did what, when, on what ground.
type historyPage struct {
	Days   []dayOf
	Filter string // "", "soignants", "vous", "service"
	Older  string // link, "" at the end
	Newer  string
	Total  int
}

// dayOf is the lines of one day.
type dayOf struct {
	At     time.Time
	Events []Event
}

func (s *Server) history(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	d := historyPage{Filter: q.Get("qui")}
	var before time.Time
	if us, err := strconv.ParseInt(q.Get("avant"), 10, 64); err == nil {
		before = time.UnixMicro(us)
		d.Newer = historyLink(d.Filter, time.Time{})
	}
	events, err := s.Record.History(r.Context(), visitOf(r).session, before, linesPerPage*4)
	if err != nil {
		return err
	}
	d.fill(events)
	return s.render(w, r, http.StatusOK, "history", page{Title: s.words(r).T("history.title"), Nav: "history", Data: d})
}

// fill keeps the lines of the filter, by day, and finds where the next page begins.
func (d *historyPage) fill(events []Event) {
	for i, e := range events {
		if !d.keeps(e) {
			continue
		}
		if d.Total == linesPerPage {
			d.Older = historyLink(d.Filter, events[i-1].At)
			return
		}
		d.Total++
		if n := len(d.Days); n == 0 || !sameDay(d.Days[n-1].At, e.At) {
			d.Days = append(d.Days, dayOf{At: e.At})
		}
		day := &d.Days[len(d.Days)-1]
		day.Events = append(day.Events, e)
	}
	if n := len(events); n == linesPerPage*4 {
		d.Older = historyLink(d.Filter, events[n-1].At)
	}
}

func (d *historyPage) keeps(e Event) bool {
	switch d.Filter {
	case "soignants":
		return e.Kind == ByProfessional
	case "vous":
		return e.Kind == ByPatient
	case "service":
		return e.Kind == ByHouse
	}
	return true
}

func historyLink(filter string, before time.Time) string {
	q := url.Values{}
	if filter != "" {
		q.Set("qui", filter)
	}
	if !before.IsZero() {
		q.Set("avant", strconv.FormatInt(before.UnixMicro(), 10))
	}
	if len(q) == 0 {
		return "/acces/historique"
	}
	return "/acces/historique?" + q.Encode()
}

func sameDay(a, b time.Time) bool {
	a, b = a.In(paris), b.In(paris)
	return a.Year() == b.Year() && a.YearDay() == b.YearDay()
}
