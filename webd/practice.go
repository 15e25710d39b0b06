package webd

import (
	"net/http"

	"pli/directory/search"
	"pli/fault"
	"pli/health"
)

// practicePage is a professional's home and, with Published, his own box.
type practicePage struct {
	Box
	Published  []hit // what the directory shows of it
	Unreadable bool  // what it shows cannot be told now
	Directory  bool
	Book       AddressBook
	Terms      terms
}

// Ends reports whether a suspended box is still read, and until when.
func (d practicePage) Ends() bool { return d.State == health.Suspended && !d.ReadUntil.IsZero() }

func (s *Server) practiceHome(w http.ResponseWriter, r *http.Request) error {
	b, err := s.Practice.Box(r.Context(), visitOf(r).session)
	if err != nil {
		return err
	}
	d := practicePage{Box: b, Directory: s.Listings != nil, Book: s.Config.AddressBook}
	return s.render(w, r, http.StatusOK, "ps", page{Title: s.words(r).T("practice.title"), Nav: "home", Data: d})
}

func (s *Server) ownBox(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	b, err := s.Practice.Box(r.Context(), v.session)
	if err != nil {
		return err
	}
	d := practicePage{Box: b, Directory: s.Listings != nil, Book: s.Config.AddressBook, Terms: s.terms[langOf(r)]}
	if d.Directory && b.State == health.Active && !b.Unlisted {
		err := s.asking(r, func(r *http.Request) (err error) {
			d.Published, err = s.published(r, v)
			return err
		})
		if err != nil {
			noteOf(r).err, d.Unreadable = err, true
		}
	}
	return s.render(w, r, http.StatusOK, "maboite", page{Title: s.words(r).T("mybox.title"), Nav: "mybox", Data: d})
}

// published is what the directory shows of the session's own box.
func (s *Server) published(r *http.Request, v *visit) ([]hit, error) {
	p, err := s.Listings.Search(r.Context(), search.Query{Where: search.Equal{Field: search.BAL, Value: v.session.box()}, Limit: holderBoxes})
	if err != nil {
		return nil, err
	}
	hs := hits(v.session, p.Listings, "")
	for i := range hs {
		hs[i].Mailto = "" // nobody writes to himself
	}
	return hs, nil
}

// termsPage is the conditions of use, to be accepted or to be read again.
type termsPage struct {
	terms
	Accepted bool
	Box
}

func (s *Server) conditions(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	b, err := s.Practice.Box(r.Context(), v.session)
	if err != nil {
		return err
	}
	d := termsPage{terms: s.terms[langOf(r)], Accepted: b.TermsVersion == s.Config.TermsVersion, Box: b}
	return s.render(w, r, http.StatusOK, "conditions", page{Title: s.words(r).T("terms.title"), Nav: "terms", Pending: !d.Accepted, Data: d})
}

// accept takes the agreement to the edition that was read: another one is shown again.
func (s *Server) accept(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, bodySize)
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "webd.accept", "form", err)
	}
	if r.PostForm.Get("edition") != s.Config.TermsVersion {
		http.Redirect(w, r, "/ps/conditions", http.StatusSeeOther)
		return nil
	}
	v := visitOf(r)
	if !v.agreed() {
		if err := s.Practice.AcceptTerms(r.Context(), v.session, s.Config.TermsVersion); err != nil {
			return err
		}
		v.mu.Lock()
		v.accepted = true
		v.mu.Unlock()
	}
	http.Redirect(w, r, "/ps", http.StatusSeeOther)
	return nil
}
