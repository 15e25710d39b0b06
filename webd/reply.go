package webd

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"pli/codec/message"
	"pli/fault"
	"pli/mail"
)

// replyZone is what stands under a conversation: always one state (ux.md §5.2).
type replyZone struct {
	State   string // "open", "closed", "gone", "none"
	Who     Card   // whom an answer goes to, or who ended the exchange
	At      time.Time
	Text    string // kept from a try that failed
	Faults  []fieldFault
	Forgot  bool // asks whether a file was forgotten
	Lost    bool // files must be chosen again
	Kept    bool // the text outlived a session
	Limit   int64
	Accepts string
}

// fillReply works out the state; what was typed stays.
func (s *Server) fillReply(ctx context.Context, v *visit, t thread, cards map[mail.Address]Card, z *replyZone) error {
	z.State, z.Limit, z.Accepts = "none", s.Config.UploadSize, acceptList
	it, ok := t.received()
	if !ok {
		return nil
	}
	z.Who = cardOf(answerTo(it), cards)
	es, err := s.exchanges(ctx, v, []thread{t})
	if err != nil {
		return err
	}
	e := es[t.answer()]
	switch {
	case e.Gone:
		z.State = "gone"
	case e.Ended:
		z.State, z.At = "closed", e.At
	case e.Open:
		z.State = "open"
	}
	return nil
}

// replyForm is where a reload of the answer leads.
func (s *Server) replyForm(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, "/messages/"+r.PathValue("letter")+"#repondre", http.StatusSeeOther)
	return nil
}

var attachmentWords = regexp.MustCompile(`(?i)ci[- ]joint|pi[eè]ces? jointe|je vous (envoie|joins|transmets)|attached|attachment|enclosed`)

// reply sends the answer, or shows the conversation again with what is wrong.
func (s *Server) reply(w http.ResponseWriter, r *http.Request) error {
	d, err := s.readDraft(w, r)
	if err != nil {
		return err
	}
	defer d.close()
	t, err := s.thread(r)
	if err != nil {
		return err
	}
	if strings.TrimSpace(d.Text) == "" && len(d.Files) == 0 && len(d.Faults) == 0 {
		d.Faults = append(d.Faults, fieldFault{Field: "texte", Key: "reply.text.empty"})
	}
	forgot := len(d.Faults) == 0 && len(d.Files) == 0 && !d.Confirmed && attachmentWords.MatchString(d.Text)
	if len(d.Faults) > 0 || forgot {
		return s.replyAgain(w, r, t, d, http.StatusUnprocessableEntity, forgot)
	}
	rc, err := s.sendReply(r.Context(), visitOf(r), t, d)
	if err != nil {
		return s.replyFailed(w, r, t, d, err)
	}
	done := "envoye"
	if rc.Delivered {
		done = "remis"
	}
	http.Redirect(w, r, "/messages/"+t.ID().String()+"?fait="+done+"#etat", http.StatusSeeOther)
	return nil
}

func (s *Server) replyAgain(w http.ResponseWriter, r *http.Request, t thread, d *draft, status int, forgot bool) error {
	return s.showConversation(w, r, status, t, conversationPage{Reply: replyZone{
		Text: d.Text, Faults: d.Faults, Forgot: forgot, Lost: len(d.Files) > 0}})
}

// replyFailed tells a refusal in the rule's own words; the text is kept.
func (s *Server) replyFailed(w http.ResponseWriter, r *http.Request, t thread, d *draft, err error) error {
	noteOf(r).err = err
	f := fieldFault{Field: "texte", Text: fault.TextOf(err)}
	switch kind := fault.KindOf(err); kind {
	case fault.Infected:
		f.Field, f.Key = "fichiers", "upload.virus"
	case fault.Internal, fault.Corrupt, fault.Unavailable, fault.Timeout, fault.Conflict:
		f.Key = "reply.failed"
	}
	d.Faults = append(d.Faults, f)
	return s.replyAgain(w, r, t, d, fault.KindOf(err).HTTP(), false)
}

// sendReply composes the message and submits it, streamed from the sealed uploads.
func (s *Server) sendReply(ctx context.Context, v *visit, t thread, d *draft) (Receipt, error) {
	it, ok := t.received()
	if !ok {
		return Receipt{}, fault.New(fault.Forbidden, "webd.sendReply", "nobody-wrote").Say(
			"Vous pourrez écrire à ce soignant quand il vous aura écrit.", "You can write to this professional once they have written to you.")
	}
	to := answerTo(it)
	if to.Mail().IsZero() {
		return Receipt{}, fault.New(fault.Forbidden, "webd.sendReply", "no-address")
	}
	mine := v.owner.Address
	env := mail.Envelope{ReversePath: mine, Recipients: []mail.Recipient{{Address: to.Mail()}}}
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { // a goroutine's panic would end the process
			if v := recover(); v != nil {
				pw.CloseWithError(fault.Panic("webd.sendReply", v))
			}
		}()
		pw.CloseWithError(message.Compose(pw, s.compose(v.owner, it, to, d)))
	}()
	rc, err := s.Submit.Submit(ctx, v.session, env, pr)
	pr.CloseWithError(io.ErrClosedPipe) // the writer stops when nobody reads any more
	<-done
	return rc, err
}

func (s *Server) compose(o *Owner, it item, to message.Person, d *draft) message.Draft {
	subject := message.HumanSubject(it.Fields.Subject())
	if !strings.HasPrefix(strings.ToLower(subject), "re:") && subject != "" {
		subject = "Re: " + subject
	}
	dr := message.Draft{
		From: message.Person{Name: o.Name(), Address: o.Address.Reveal()}, To: []message.Person{to}, Subject: subject, At: s.Now(),
		MessageID: message.NewMessageID(o.Address.Domain()), InReplyTo: it.MessageID(), Text: crlfless(d.Text),
	}
	if dr.InReplyTo != "" {
		refs := it.References()
		dr.References = append(refs[max(0, len(refs)-20):], dr.InReplyTo)
	}
	for _, f := range d.Files {
		dr.Files = append(dr.Files, message.File{Name: f.Name, MediaType: f.MediaType, Content: io.NewSectionReader(f.Spool, 0, f.Spool.Size())})
	}
	return dr
}

func crlfless(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// mailOf is the address of a person as a list, for the directory.
func mailOf(p message.Person) []mail.Address {
	if p.Mail().IsZero() {
		return nil
	}
	return []mail.Address{p.Mail()}
}
