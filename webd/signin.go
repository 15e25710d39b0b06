package webd

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"pli/fault"
	"pli/internal/id"
)

// signInPage is what the two steps of signing in show.
type signInPage struct {
	Return string
	Login  string
	Text   string // of an answer that was being written when the session ended
	Ended  bool   // the session was over: say why the person is here
	Out    bool   // has just signed out
	All    bool   // everywhere
	Wrong  string // key of the text beside the field; "" when nothing is wrong
	Empty  map[string]string
}

// Faults lists field and text key pairs for the summary at the top.
func (p signInPage) Faults() []fieldFault {
	var fs []fieldFault
	for _, f := range []string{"identifiant", "motdepasse", "code"} {
		if k := p.Empty[f]; k != "" {
			fs = append(fs, fieldFault{Field: f, Key: k})
		}
	}
	if p.Wrong != "" {
		field := "identifiant"
		if p.Wrong == "signin.code.wrong" {
			field = "code"
		}
		fs = append(fs, fieldFault{Field: field, Key: p.Wrong})
	}
	return fs
}

// fieldFault is one line of an error summary. Name and Size are of the file it is
// about, if any.
type fieldFault struct {
	Field, Key string
	Name       string
	Size       int64
	Text       fault.Text // said by a room, when Key is ""
}

func (s *Server) signInForm(w http.ResponseWriter, r *http.Request) error {
	if _, ses, err := s.session(r); err == nil && ses.Full {
		http.Redirect(w, r, back(r.FormValue("retour")), http.StatusSeeOther)
		return nil
	}
	q := r.URL.Query()
	return s.showSignIn(w, r, http.StatusOK, "signin", signInPage{
		Return: back(q.Get("retour")), Ended: q.Get("etat") == "fin", Out: q.Get("etat") == "sortie", All: q.Get("etat") == "partout"})
}

func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request, status int, name string, d signInPage) error {
	title := s.words(r).T(name + ".title")
	path := "/connexion" // the language switch comes back here
	if name == "code" {
		path = "/connexion/code"
	}
	return s.render(w, r, status, name, page{Title: title, Error: len(d.Faults()) > 0, Path: path, Data: d})
}

// signIn checks login and password. Its answer is the same whether the account exists
// or not.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "webd.signIn", "form", err)
	}
	login, password := r.PostForm.Get("identifiant"), r.PostForm.Get("motdepasse")
	d := signInPage{Return: back(r.PostForm.Get("retour")), Login: login, Text: r.PostForm.Get("texte"), Empty: map[string]string{}}
	if login == "" {
		d.Empty["identifiant"] = "signin.login.empty"
	}
	if password == "" {
		d.Empty["motdepasse"] = "signin.password.empty"
	}
	if len(d.Empty) > 0 {
		return s.showSignIn(w, r, http.StatusUnprocessableEntity, "signin", d)
	}
	token, err := s.SignIn.Password(r.Context(), login, password, remote(r))
	switch fault.KindOf(err) {
	case fault.WrongSecret, fault.NotFound, fault.Withheld:
		d.Wrong = "signin.wrong"
		return s.showSignIn(w, r, http.StatusUnprocessableEntity, "signin", d)
	case fault.RateLimited:
		d.Wrong = "signin.often"
		return s.showSignIn(w, r, http.StatusTooManyRequests, "signin", d)
	}
	if err != nil {
		return err
	}
	setSession(w, token)
	if d.Text != "" {
		return s.showSignIn(w, r, http.StatusOK, "code", signInPage{Return: d.Return, Text: d.Text})
	}
	to := "/connexion/code"
	if d.Return != "/" {
		to += "?" + url.Values{"retour": {d.Return}}.Encode()
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (s *Server) codeForm(w http.ResponseWriter, r *http.Request) error {
	_, ses, err := s.session(r)
	if err != nil {
		http.Redirect(w, r, "/connexion", http.StatusSeeOther)
		return nil
	}
	to := back(r.URL.Query().Get("retour"))
	if ses.Full {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	return s.showSignIn(w, r, http.StatusOK, "code", signInPage{Return: to})
}

// code checks the second factor and gives the session that opens the space, under a
// new token.
func (s *Server) code(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "webd.code", "form", err)
	}
	token, _, err := s.session(r)
	if err != nil {
		clearCookie(w)
		http.Redirect(w, r, "/connexion?etat=fin", http.StatusSeeOther)
		return nil
	}
	d := signInPage{Return: back(r.PostForm.Get("retour")), Text: r.PostForm.Get("texte"), Empty: map[string]string{}}
	code := digits(r.PostForm.Get("code"))
	if code == "" {
		d.Empty["code"] = "code.empty"
		return s.showSignIn(w, r, http.StatusUnprocessableEntity, "code", d)
	}
	full, err := s.SignIn.SecondFactor(r.Context(), token, code, remote(r))
	switch {
	case fault.Is(err, fault.WrongSecret):
		d.Wrong = "signin.code.wrong"
		return s.showSignIn(w, r, http.StatusUnprocessableEntity, "code", d)
	case fault.Is(err, fault.RateLimited):
		d.Wrong = "signin.often"
		return s.showSignIn(w, r, http.StatusTooManyRequests, "code", d)
	case fault.Is(err, fault.Unauthenticated):
		clearCookie(w)
		http.Redirect(w, r, "/connexion?etat=fin", http.StatusSeeOther)
		return nil
	case err != nil:
		return err
	}
	setSession(w, full)
	if d.Text != "" {
		return s.resume(w, r, full, d)
	}
	http.Redirect(w, r, d.Return, http.StatusSeeOther)
	return nil
}

// resume shows again the conversation that was being answered when the session ended,
// with the text as it was. A conversation that is not this person's shows nothing.
func (s *Server) resume(w http.ResponseWriter, r *http.Request, token string, d signInPage) error {
	letter, ok := strings.CutPrefix(d.Return, "/messages/")
	if !ok {
		http.Redirect(w, r, d.Return, http.StatusSeeOther)
		return nil
	}
	ses, err := s.SignIn.Session(r.Context(), token)
	if err != nil {
		return err
	}
	if ses.Professional {
		http.Redirect(w, r, d.Return, http.StatusSeeOther)
		return nil
	}
	v := s.visits.enter(token, ses)
	defer v.leave()
	r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
	r.SetPathValue("letter", letter)
	if err := s.greet(r.Context(), v); err != nil {
		return err
	}
	t, err := s.thread(r)
	if err != nil {
		return err
	}
	return s.showConversation(w, r, http.StatusOK, t, conversationPage{Reply: replyZone{Text: d.Text, Kept: true}})
}

// keepText saves the text of an answer whose session has ended: the sign-in page
// carries it. It reports whether there was one.
func (s *Server) keepText(w http.ResponseWriter, r *http.Request) bool {
	letter, err := id.Parse(r.PathValue("letter"))
	if err != nil || r.Method != http.MethodPost || !strings.HasSuffix(r.Pattern, "/repondre") {
		return false
	}
	text := firstText(w, r)
	if text == "" {
		return false
	}
	clearCookie(w)
	err = s.showSignIn(w, r, http.StatusOK, "signin", signInPage{Return: "/messages/" + letter.String(), Ended: true, Text: text})
	if err != nil {
		s.fail(w, r, err)
	}
	return true
}

// digits keeps the digits of what was typed or pasted: « 123 456 » is a code too.
func digits(s string) string {
	b := make([]byte, 0, 8)
	for i := 0; i < len(s) && len(b) < 10; i++ {
		if s[i] >= '0' && s[i] <= '9' {
			b = append(b, s[i])
		}
	}
	return string(b)
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) error {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.visits.end(c.Value)
		if err := s.SignIn.End(r.Context(), c.Value); err != nil && !fault.Is(err, fault.Unauthenticated) {
			return err
		}
	}
	clearCookie(w)
	http.Redirect(w, r, "/connexion?etat=sortie", http.StatusSeeOther)
	return nil
}

// stay keeps the session alive: the page opened by « Rester connecté ».
func (s *Server) stay(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, "stay", page{Title: s.words(r).T("stay.title")})
}

// leaflet is a page of plain text, the same for everybody.
func (s *Server) leaflet(name string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		p := page{Title: s.words(r).T(name + ".title"), Nav: name}
		if _, ses, err := s.session(r); err == nil && ses.Full {
			p.Owner = s.ownerOf(r.Context(), ses)
		}
		return s.render(w, r, http.StatusOK, name, p)
	}
}

// ownerOf is who a leaflet is shown to, nil when that cannot be told now.
func (s *Server) ownerOf(ctx context.Context, ses Session) *Owner {
	if ses.Professional {
		b, err := s.Practice.Box(ctx, ses)
		if err != nil {
			return nil
		}
		o := b.owner()
		return &o
	}
	o, err := s.Record.Owner(ctx, ses)
	if err != nil {
		return nil
	}
	return &o
}
