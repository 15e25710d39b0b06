package webd

import (
	"context"
	"html/template"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"pli/fault"
	"pli/internal/id"
	"pli/mail"
)

// textSize is how much of a text body a page shows, in octets.
const textSize = 256 << 10

// conversationPage is one conversation, oldest letter first.
type conversationPage struct {
	ID      id.Letter
	Subject string
	Named   bool // the subject is the sender's, not our own words
	Who     Card
	Letters []letterView
	Reply   replyZone
	Done    string      // what has just been done: "remis", "envoye", "range", "deja"; "" nothing
	DoneAt  time.Time   // of the letter just sent
	Doc     id.Document // just filed
}

// letterView is one letter of a conversation.
type letterView struct {
	ID      id.Letter
	Who     Card
	Mine    bool
	At      time.Time
	New     bool // unread until this page
	Open    bool // unfolded
	Text    []passage
	Cut     bool // the text is longer than what is shown
	HTML    bool // there is an HTML body
	Ends    bool // ended the exchange
	Files   []enclosure
	Report  bool // an automatic notice: a DSN, an MDN
	Receipt bool // the sender asked to know that it was opened, and is told
}

// Documents counts what there is to read among the files: archives are only the way it
// came, unless one could not be read.
func (l letterView) Documents() int {
	n := 0
	for _, f := range l.Files {
		if !f.Origin || f.Problem {
			n++
		}
	}
	return n
}

// passage is a run of a text body; quotes are folded.
type passage struct {
	Text  string
	Quote bool
}

func (s *Server) conversation(w http.ResponseWriter, r *http.Request) error {
	t, err := s.thread(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	d := conversationPage{Done: doneOf(q.Get("fait"), t)}
	if doc, err := id.Parse(q.Get("document")); err == nil {
		d.Doc = doc
	}
	return s.showConversation(w, r, http.StatusOK, t, d)
}

// doneOf is what the address says has just been done, when it can be true.
func doneOf(s string, t thread) string {
	switch s {
	case "range", "deja", "refuse":
		return s
	case "remis", "envoye":
		if slices.ContainsFunc(t.items, func(it item) bool { return it.Sent }) {
			return s
		}
	}
	return ""
}

// thread finds the conversation that holds the letter of the URL.
func (s *Server) thread(r *http.Request) (thread, error) {
	l, err := id.Parse(r.PathValue("letter"))
	if err != nil {
		return thread{}, fault.New(fault.NotFound, "webd.thread", "no-letter")
	}
	ts, err := s.allThreads(r.Context(), visitOf(r))
	if err != nil {
		return thread{}, err
	}
	for _, t := range ts {
		if t.has(l) {
			return t, nil
		}
	}
	return thread{}, fault.New(fault.NotFound, "webd.thread", "no-letter")
}

// showConversation shows t and marks its letters as read.
func (s *Server) showConversation(w http.ResponseWriter, r *http.Request, status int, t thread, d conversationPage) error {
	ctx, v := r.Context(), visitOf(r)
	d.ID, d.Subject = t.ID(), t.Subject()
	if d.Named = d.Subject != ""; !d.Named {
		d.Subject = s.words(r).T("messages.nosubject")
	}
	cards, err := s.cards(ctx, t)
	if err != nil {
		return err
	}
	d.Who = cardOf(t.peer(), cards)
	filed, err := s.filed(ctx, v)
	if err != nil {
		return err
	}
	for i, it := range t.items {
		lv, err := s.letter(ctx, v, it, cards, filed)
		if err != nil {
			return err
		}
		lv.Open = lv.New || i == len(t.items)-1
		d.Letters = append(d.Letters, lv)
		if it.Sent {
			d.DoneAt = it.ReceivedAt
		}
	}
	if err := s.fillReply(ctx, v, t, cards, &d.Reply); err != nil {
		return err
	}
	if err := s.markSeen(ctx, v, t); err != nil {
		return err
	}
	return s.render(w, r, status, "conversation", page{
		Title: d.Subject, Nav: "messages", Error: len(d.Reply.Faults) > 0, Path: "/messages/" + d.ID.String(), Data: d})
}

// cards finds everybody of a conversation in the directory, in one query.
func (s *Server) cards(ctx context.Context, t thread) (map[mail.Address]Card, error) {
	var as []mail.Address
	for _, it := range t.items {
		as = append(as, author(it).Mail())
		if !it.Sent {
			as = append(as, answerTo(it).Mail())
		}
	}
	return s.Cards.Cards(ctx, append(as, t.peer().Mail()))
}

func (s *Server) letter(ctx context.Context, v *visit, it item, cards map[mail.Address]Card, filed filedIndex) (letterView, error) {
	lv := letterView{ID: it.ID, Mine: it.Sent, At: it.ReceivedAt, New: !it.Seen && !it.Sent,
		Ends: !it.Sent && it.EndsExchange(), Receipt: !it.Sent && len(it.DispositionNotificationTo()) > 0}
	if !it.Sent {
		lv.Who = cardOf(author(it), cards)
	}
	lv.HTML, lv.Report = it.Outline.HTML() != nil, it.Outline.IsReport()
	var err error
	if lv.Text, lv.Cut, err = s.text(ctx, v, it); err != nil {
		return lv, err
	}
	lv.Files, err = s.enclosures(ctx, v, it, filed)
	return lv, err
}

// text reads the plain body of a letter.
func (s *Server) text(ctx context.Context, v *visit, it item) (ps []passage, cut bool, err error) {
	a := it.Outline.Text()
	if a == nil {
		return nil, false, nil
	}
	box, err := v.open(ctx)
	if err != nil {
		return nil, false, err
	}
	rc, _, err := box.Part(ctx, it.Letter, a.Path)
	if err != nil {
		return nil, false, err
	}
	defer rc.Close()
	b, err := io.ReadAll(io.LimitReader(rc, textSize+1))
	if err != nil {
		return nil, false, err
	}
	if len(b) > textSize {
		b, cut = b[:textSize], true
	}
	return passages(strings.ToValidUTF8(string(b), "�")), cut, nil
}

var wroteLine = regexp.MustCompile(`(?i)(a écrit|wrote|schrieb)\s*:?\s*$`)

// passages splits a text into what was written and what was quoted. The line that
// introduces a quote goes with it.
func passages(text string) []passage {
	var ps []passage
	var run []string
	quote := false
	flush := func() {
		if s := strings.Trim(strings.Join(run, "\n"), "\n"); strings.TrimSpace(s) != "" {
			ps = append(ps, passage{Text: s, Quote: quote})
		}
		run = nil
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, l := range lines {
		q := strings.HasPrefix(l, ">") || quote && strings.TrimSpace(l) == "" ||
			wroteLine.MatchString(l) && nextQuoted(lines[i+1:])
		if q != quote {
			flush()
			quote = q
		}
		run = append(run, l)
	}
	flush()
	return ps
}

// nextQuoted reports whether the first line with text in it is quoted.
func nextQuoted(lines []string) bool {
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			return strings.HasPrefix(l, ">")
		}
	}
	return false
}

// markSeen marks what this page shows for the first time.
func (s *Server) markSeen(ctx context.Context, v *visit, t thread) error {
	box, err := v.open(ctx)
	if err != nil {
		return err
	}
	for _, it := range t.items {
		if it.Seen || it.Sent {
			continue
		}
		if err := box.MarkSeen(ctx, it.Letter); err != nil {
			return err
		}
	}
	return nil
}

// find gets the letter of the URL.
func (s *Server) find(r *http.Request) (item, error) {
	t, err := s.thread(r)
	if err != nil {
		return item{}, err
	}
	for _, it := range t.items {
		if it.ID.String() == r.PathValue("letter") {
			return it, nil
		}
	}
	return item{}, fault.New(fault.NotFound, "webd.find", "no-letter")
}

// framePolicy is that of an HTML body: nothing but its own words, its own images
// (inside the page, as data:) and our style sheet, in a box of its own without scripts,
// forms, or a way out other than a new tab.
const framePolicy = "default-src 'none'; img-src data:; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"

// body serves the HTML body of a letter, sanitised, as a page of its own.
func (s *Server) body(w http.ResponseWriter, r *http.Request) error {
	it, err := s.find(r)
	if err != nil {
		return err
	}
	a := it.Outline.HTML()
	if a == nil {
		return fault.New(fault.NotFound, "webd.body", "no-html")
	}
	box, err := visitOf(r).open(r.Context())
	if err != nil {
		return err
	}
	rc, _, err := box.Part(r.Context(), it.Letter, a.Path)
	if err != nil {
		return err
	}
	defer rc.Close()
	clean, err := cleanMail(io.LimitReader(rc, htmlSize), images(r.Context(), box, it))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", framePolicy)
	w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	words := s.words(r)
	var b strings.Builder
	err = s.pages[words.Lang].by["body"].ExecuteTemplate(&b, "body", map[string]any{
		"Lang": words.Lang, "HTML": template.HTML(clean)}) //nolint:gosec // sanitised just above
	if err != nil {
		return err
	}
	send(w, r, http.StatusOK, []byte(b.String()))
	return nil
}
