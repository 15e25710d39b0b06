package webd

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/fault"
	"pli/health"
)

// pagesAnHour is how many pages of the directory one account may ask for in an hour: a
// person needs some tens.
const pagesAnHour = 600

// Bounds of what one account asks the directory: a person waits for one page, and no
// longer than this.
const (
	lookTime = 10 * time.Second
	atOnce   = 6 // pages, unless told
)

// lookUp answers those who may ask the directory.
func (s *Server) lookUp(h handler) http.Handler {
	return s.shared(func(w http.ResponseWriter, r *http.Request) error {
		return s.asking(r, func(r *http.Request) error { return h(w, r) })
	})
}

// asking does what asks the directory, for those who may, when others of the account
// leave room. The gate is asked once per visit.
func (s *Server) asking(r *http.Request, do func(*http.Request) error) error {
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	v := visitOf(r)
	if ok, _ := s.Limit.AllowIn(ctx, "annuaire:"+v.session.bearer(), pagesAnHour, time.Hour); !ok {
		return fault.New(fault.RateLimited, "webd.asking", "pages")
	}
	if err := v.openDirectory(ctx, s.Listings); err != nil {
		return err
	}
	leave, err := s.Turns.Take(ctx, v.session.Account)
	if err != nil {
		return err
	}
	defer leave()
	return do(r.WithContext(ctx))
}

// directoryPage is the form and, once asked, the answer.
type directoryPage struct {
	Who, Where, Profession, Kind string
	Professions                  []profession
	Refined                      bool // a filter is set: its fields are shown
	Wrong                        map[string]string
	Asked                        bool // there is an answer, or the reason why not
	Hits                         []hit
	Fuzzy                        bool
	Structure                    string // whose boxes are listed, when nothing was typed
	Label                        string // of the profession asked for
	More                         string // link to what follows, "" at the end
	First                        string // link to the beginning, "" when this is it
	Moved                        bool   // the directory changed between two pages: this is the beginning again
	Failed                       string // key of the text that says why there is no answer
	Patient                      bool
}

// profession is one choice of the filter.
type profession struct{ Code, Label string }

// Faults lists field and text key pairs for the summary at the top.
func (d directoryPage) Faults() []fieldFault {
	var fs []fieldFault
	for _, f := range []string{"qui", "ou"} {
		if k := d.Wrong[f]; k != "" {
			fs = append(fs, fieldFault{Field: f, Key: k})
		}
	}
	return fs
}

// hit is one listing as it is shown.
type hit struct {
	listing.Listing
	Link      string // of its own page
	Mailto    string // "" for a patient
	Preferred bool   // its holder has another box, and this one comes first
	WriteTo   bool   // a patient may write first
	Inside    bool   // on the page of its structure, which need not be said again
}

// Where is the structure that a listing belongs to, by its usual name.
func (h hit) Where() string { return first(h.TradeName, h.Listing.Structure) }

// ServiceLine is the service, unless it is what the listing goes by.
func (h hit) ServiceLine() string {
	if h.Service == h.Name() || h.Service == h.Where() {
		return ""
	}
	return h.Service
}

// WhereLine is the structure and the city, unless the listing goes by them or its page
// says them.
func (h hit) WhereLine() string {
	if h.Inside {
		return ""
	}
	parts := make([]string, 0, 2)
	if w := h.Where(); w != "" && w != h.Name() {
		parts = append(parts, w)
	}
	if t := h.Town(); t != "" {
		parts = append(parts, t)
	}
	return strings.Join(parts, ", ")
}

// Lines are the postal address, a line each.
func (h hit) Lines() []string {
	return postal(h.Complement, h.Street, h.PostalCode, h.City)
}

func postal(complement, street, code, city string) []string {
	var lines []string
	for _, l := range []string{complement, street, strings.TrimSpace(code + " " + city)} {
		if l != "" && !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	return lines
}

// Place is the id of the structure's page, "" when it has none.
func (h hit) Place() string {
	switch h.PlaceType {
	case "FINESS":
		return listing.OrganizationID(h.Listing.Place, "", "", "")
	case "SIRET":
		return listing.OrganizationID("", h.Listing.Place, "", "")
	}
	return ""
}

// hits makes listings ready to be shown to the one who asks. list is the ticket of the
// page that they are on, "" for none.
func hits(ses Session, ls []listing.Listing, list string) []hit {
	out := make([]hit, len(ls))
	preferred := preferredOf(ls)
	for i, l := range ls {
		h := hit{Listing: l, Link: "/annuaire/b/" + l.Key.String(), Preferred: preferred[i]}
		if list != "" {
			h.Link += "?liste=" + list
		}
		if ses.Professional {
			h.Mailto = "mailto:" + url.PathEscape(l.Address)
		} else {
			h.WriteTo = l.OpenToPatients && l.Kind != health.APP
		}
		out[i] = h
	}
	return out
}

// preferredOf marks the listings whose holder has a further address among them, of a
// lower preference, and none of a higher one.
func preferredOf(ls []listing.Listing) []bool {
	marks := make([]bool, len(ls))
	for i, l := range ls {
		if l.PP == "" {
			continue
		}
		for _, o := range ls {
			if o.PP != l.PP || o.PPType != l.PPType || o.Address == l.Address {
				continue
			}
			if marks[i] = o.Rank > l.Rank; !marks[i] {
				break
			}
		}
	}
	return marks
}

func (s *Server) directoryForm(w http.ResponseWriter, r *http.Request) error {
	return s.showDirectory(w, r, http.StatusOK, directoryPage{})
}

// seek takes the form and leads to the answer, under an address that says nothing of what
// was asked.
func (s *Server) seek(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, bodySize)
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "webd.seek", "form", err)
	}
	f := r.PostForm
	a := ask{Who: clean(f.Get("qui")), Where: clean(f.Get("ou"))}
	if code := f.Get("profession"); health.ProfessionLabel(code) != "" {
		a.Profession = code
	}
	if k := f.Get("sorte"); k == onlyPersons || k == onlyServices {
		a.Kind = k
	}
	if wrong := a.faults(); len(wrong) > 0 {
		a.Who, a.Where = cut(a.Who, 2*maxTyped), cut(a.Where, 2*maxTyped)
		return s.showDirectory(w, r, http.StatusUnprocessableEntity, a.page(wrong))
	}
	t, err := s.ticket(visitOf(r).session, a)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/annuaire/r/"+t+"#resultats", http.StatusSeeOther)
	return nil
}

func (a ask) page(wrong map[string]string) directoryPage {
	return directoryPage{Who: a.Who, Where: a.Where, Profession: a.Profession, Kind: a.Kind, Wrong: wrong,
		Refined: a.Profession != "" || a.Kind != "", Label: health.ProfessionLabel(a.Profession)}
}

// results shows what the directory answers to the question of a ticket.
func (s *Server) results(w http.ResponseWriter, r *http.Request) error {
	ses, t := visitOf(r).session, r.PathValue("ticket")
	a, err := s.asked(ses, t)
	if err != nil {
		return s.showDirectory(w, r, http.StatusNotFound, directoryPage{Asked: true, Failed: "directory.stale"})
	}
	d := a.page(nil)
	d.Asked = true
	if len(a.Places) > 0 {
		d.Refined, d.Kind = false, "" // the form has not asked for these
	}
	p, moved, err := s.answer(r.Context(), a)
	if d.Failed = failure(err); d.Failed != "" {
		noteOf(r).err = err
		return s.showDirectory(w, r, fault.KindOf(err).HTTP(), d)
	}
	if err != nil {
		return err
	}
	if moved {
		a.After, d.Moved = "", true
		if t, err = s.ticket(ses, a); err != nil {
			return err
		}
	}
	d.Hits, d.Fuzzy = hits(ses, p.Listings, t), p.Fuzzy
	if len(a.Places) > 0 && len(d.Hits) > 0 {
		d.Structure = d.Hits[0].Where()
	}
	if d.More, err = s.pageLink(ses, a, p.Next); err != nil {
		return err
	}
	if a.After != "" {
		if d.First, err = s.pageLink(ses, a, "start"); err != nil {
			return err
		}
	}
	return s.showDirectory(w, r, http.StatusOK, d)
}

// pageLink is the address of another page of the same answer: what follows next, or the
// beginning for "start".
func (s *Server) pageLink(ses Session, a ask, next string) (string, error) {
	if next == "" {
		return "", nil
	}
	if a.After = next; next == "start" {
		a.After = ""
	}
	t, err := s.ticket(ses, a)
	return "/annuaire/r/" + t + "#resultats", err
}

// answer asks the directory. A page of an edition that is gone becomes the first page of the
// present one.
func (s *Server) answer(ctx context.Context, a ask) (p search.Page, moved bool, err error) {
	p, err = s.Listings.Search(ctx, a.query())
	if fault.Is(err, fault.Conflict) && a.After != "" {
		a.After = ""
		p, err = s.Listings.Search(ctx, a.query())
		return p, true, err
	}
	return p, false, err
}

// failure is the key of the text that tells why there is no answer, "" for an error that
// is no matter of the question.
func failure(err error) string {
	switch fault.KindOf(err) {
	case fault.Timeout:
		return "directory.broad"
	case fault.Invalid, fault.TooLarge:
		return "directory.unread"
	case fault.Unavailable, fault.RateLimited, fault.Quota:
		return "directory.away"
	}
	return ""
}

func (s *Server) showDirectory(w http.ResponseWriter, r *http.Request, status int, d directoryPage) error {
	d.Professions, d.Patient = professionChoices, !visitOf(r).session.Professional
	p := page{Title: s.words(r).T("directory.title"), Nav: "directory", Error: d.Failed != "" || len(d.Wrong) > 0, Data: d}
	if d.Asked {
		p.Title = s.words(r).T("directory.resultstitle")
	}
	if r.Method != http.MethodGet {
		p.Path = "/annuaire"
	}
	return s.render(w, r, status, "annuaire", p)
}

// professionChoices are those of the filter, in the order of the French alphabet.
var professionChoices = func() []profession {
	var out []profession
	for _, code := range []string{"10", "21", "26", "28", "31", "32", "35", "36", "37", "38", "39", "40", "50", "60", "70", "80",
		"81", "82", "83", "84", "85", "86", "91", "92", "93", "94", "95", "96", "98"} {
		if l := health.ProfessionLabel(code); l != "" {
			out = append(out, profession{code, l})
		}
	}
	slices.SortFunc(out, func(a, b profession) int { return strings.Compare(listing.Fold(a.Label), listing.Fold(b.Label)) })
	return out
}()
