package webd

import (
	"html/template"
	"io"
	"net/http"
	"time"

	"pli/codec/cda"
	"pli/fault"
)

// documentPage is one document: what it is, what it says, who saw it.
type documentPage struct {
	Doc    Document
	Others []Document
	Newest Document      // the version that replaces this one, when State is Replaced
	HTML   template.HTML // of a CDA
	PDF    bool          // the document is, or holds, something to open as it is
	Kind   string
	Seen   []Event // who opened it
	SeenBy bool    // Seen could be read
}

// historyDepth is how many lines of the history a page looks through for one document.
const historyDepth = 200

func (s *Server) openRecord(r *http.Request) (*OpenedDocument, error) {
	doc := parseDoc(r)
	if doc.IsZero() {
		return nil, fault.New(fault.NotFound, "webd.openRecord", "no-document")
	}
	return s.Record.Open(r.Context(), visitOf(r).session, doc)
}

func (s *Server) document(w http.ResponseWriter, r *http.Request) error {
	o, err := s.openRecord(r)
	if err != nil {
		return err
	}
	defer o.Close() //nolint:errcheck // a temporary file
	d := documentPage{Doc: o.Document, Others: o.Others, Kind: fileKind(o.MediaType, "")}
	if o.State == Replaced {
		for _, v := range o.Others {
			if v.State == Current {
				d.Newest = v
			}
		}
	}
	if err := s.previewRecord(r, o, &d); err != nil {
		return err
	}
	events, err := s.Record.History(r.Context(), visitOf(r).session, time.Time{}, historyDepth)
	if err == nil {
		d.SeenBy = true
		d.Seen = opened(events, o.Document)
	} else {
		noteOf(r).err = err
	}
	return s.render(w, r, http.StatusOK, "document", page{Title: o.Title, Nav: "record", Data: d})
}

// previewRecord renders a CDA. One that cannot be rendered keeps its download.
func (s *Server) previewRecord(r *http.Request, o *OpenedDocument, d *documentPage) error {
	if !o.CDA {
		d.PDF = inlineType(o.Content) != ""
		return nil
	}
	d.Kind = "cda"
	doc, err := cda.Read(io.NewSectionReader(o.Content, 0, o.Content.Size()))
	if err != nil {
		noteOf(r).err = err
		return nil
	}
	_, d.PDF = doc.Printable()
	d.HTML, err = s.renderCDA(r, doc)
	return err
}

// opened keeps the openings of one document by others, newest first.
func opened(events []Event, doc Document) []Event {
	var out []Event
	for _, e := range events {
		if e.Document == doc.ID && e.Kind != ByPatient && e.Action == "read-document" {
			out = append(out, e)
		}
	}
	return out
}

// openDocument gives what a browser can show: the file, or the PDF of a CDA.
func (s *Server) openDocument(w http.ResponseWriter, r *http.Request) error {
	o, err := s.openRecord(r)
	if err != nil {
		return err
	}
	defer o.Close() //nolint:errcheck // a temporary file
	if o.CDA {
		doc, err := cda.Read(io.NewSectionReader(o.Content, 0, o.Content.Size()))
		if err != nil {
			return err
		}
		return s.servePrintable(w, r, o.Content, doc)
	}
	if mt := inlineType(o.Content); mt != "" {
		return serveInline(w, r, o.Content, mt, "document"+extension(o.MediaType))
	}
	return serveFile(w, r, o.Content, o.MediaType, "document"+extension(o.MediaType))
}

func (s *Server) downloadDocument(w http.ResponseWriter, r *http.Request) error {
	o, err := s.openRecord(r)
	if err != nil {
		return err
	}
	defer o.Close() //nolint:errcheck // a temporary file
	ext := extension(o.MediaType)
	if o.CDA {
		ext = ".xml"
	}
	return serveFile(w, r, o.Content, o.MediaType, "document"+ext)
}
