package webd

import (
	"net/http"
	"time"

	"pli/internal/id"
)

// recordPage is the dossier by month.
type recordPage struct {
	Chips    []chip
	Category Category // "" is all
	Months   []monthOf
	Total    int // documents under this category
	All      int
}

// chip is one family with its count.
type chip struct {
	Category Category
	Count    int
	Current  bool
}

// monthOf is the documents of one month, newest first.
type monthOf struct {
	First     time.Time
	Documents []Document
}

func (s *Server) record(w http.ResponseWriter, r *http.Request) error {
	docs, err := s.Record.List(r.Context(), visitOf(r).session)
	if err != nil {
		return err
	}
	d := recordPage{Category: Category(r.URL.Query().Get("categorie")), All: len(docs)}
	count := map[Category]int{}
	for _, doc := range docs {
		count[doc.Category]++
	}
	if count[d.Category] == 0 {
		d.Category = ""
	}
	for _, c := range Categories() {
		if count[c] > 0 {
			d.Chips = append(d.Chips, chip{Category: c, Count: count[c], Current: c == d.Category})
		}
	}
	for _, doc := range docs {
		if d.Category == "" || doc.Category == d.Category {
			d.add(doc)
		}
	}
	return s.render(w, r, http.StatusOK, "record", page{Title: s.words(r).T("record.title"), Nav: "record", Data: d})
}

// add puts a document under its month; documents come newest first.
func (d *recordPage) add(doc Document) {
	d.Total++
	at := doc.DocumentAt.In(paris)
	first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, paris)
	if n := len(d.Months); n == 0 || !d.Months[n-1].First.Equal(first) {
		d.Months = append(d.Months, monthOf{First: first})
	}
	m := &d.Months[len(d.Months)-1]
	m.Documents = append(m.Documents, doc)
}

// newDocuments keeps those the person has not opened, up to n, and counts them all.
func newDocuments(docs []Document, n int) (some []Document, total int) {
	for _, doc := range docs {
		if doc.New && !doc.ByPatient {
			if total++; total <= n {
				some = append(some, doc)
			}
		}
	}
	return some, total
}

// parseDoc reads the id of a document in the URL; the zero id names none.
func parseDoc(r *http.Request) id.Document {
	v, err := id.Parse(r.PathValue("doc"))
	if err != nil {
		return id.Document{}
	}
	return v
}
