package webd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"pli/codec/cda"
	"pli/codec/message"
	"pli/codec/xdm"
	"pli/fault"
	"pli/internal/id"
)

// enclosure is one attachment card: a file, or one document of an archive.
type enclosure struct {
	Base    string // /messages/<letter>/<part>/<n>
	Anchor  string
	Title   string
	Kind    string // "cda", "pdf", "image", "text", "archive", "other"
	Type    string // words of the type of document, "" when the title says it all
	Author  string
	At      time.Time // of the document
	Size    int64
	Opens   bool // can be shown in the browser
	Keeps   bool // can be put in the dossier
	Mine    bool // in a letter of the person's own
	Filed   id.Document
	Origin  bool // the archive itself: « Fichier d'origine »
	Problem bool // the archive could not be read
}

// filedIndex finds what the dossier already holds, by unique id.
type filedIndex struct {
	byID map[string]id.Document
	kept map[int64]bool // sizes of what the person kept: only a file of such a size is worth hashing
}

func (s *Server) filed(ctx context.Context, v *visit) (filedIndex, error) {
	docs, err := s.Record.List(ctx, v.session)
	if err != nil {
		return filedIndex{}, err
	}
	ix := filedIndex{byID: map[string]id.Document{}, kept: map[int64]bool{}}
	for _, d := range docs {
		if d.UniqueID != "" {
			ix.byID[d.UniqueID] = d.ID
			if d.ByPatient {
				ix.kept[d.Size] = true
			}
		}
	}
	return ix, nil
}

// contentID is the unique id that the record gives to a kept file.
func contentID(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return "urn:sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// keptBefore finds an ordinary file that the person kept before, by its content.
func (s *Server) keptBefore(ctx context.Context, v *visit, it item, a message.Attachment, filed filedIndex) (id.Document, error) {
	likely := false
	for d := int64(-4); d <= 4; d++ { // base64 rounds the size
		likely = likely || filed.kept[decodedSize(a.Part)+d]
	}
	if !likely {
		return id.Document{}, nil
	}
	box, err := v.open(ctx)
	if err != nil {
		return id.Document{}, err
	}
	rc, _, err := box.Part(ctx, it.Letter, a.Path)
	if err != nil {
		return id.Document{}, err
	}
	defer rc.Close()
	key, err := contentID(rc)
	return filed.byID[key], err
}

// enclosures lists the cards of a letter, archives opened.
func (s *Server) enclosures(ctx context.Context, v *visit, it item, filed filedIndex) ([]enclosure, error) {
	var es []enclosure
	for _, a := range it.Outline.Attachments() {
		if partOfBody(it, a.Part) {
			continue
		}
		var more []enclosure
		var err error
		switch {
		case it.Outline.IsXDM(a.Part):
			more, err = s.archive(ctx, v, it, a, filed)
		case maybeCDA(a.Part):
			more, err = s.loneCDA(ctx, v, it, a, filed)
		default:
			e := plain(it, a)
			if e.Keeps && !it.Sent {
				e.Filed, err = s.keptBefore(ctx, v, it, a, filed)
			}
			more = []enclosure{e}
		}
		if err != nil {
			return nil, err
		}
		es = append(es, more...)
	}
	slices.SortStableFunc(es, func(a, b enclosure) int { // archives come after what they hold
		switch {
		case a.Origin == b.Origin:
			return 0
		case a.Origin:
			return 1
		}
		return -1
	})
	for i := range es {
		es[i].Mine = it.Sent
		es[i].Keeps = es[i].Keeps && !it.Sent
		es[i].Anchor = fmt.Sprintf("piece-%s-%d", it.ID.String()[:8], i+1)
	}
	return es, nil
}

// partOfBody reports whether a part is an image that belongs inside the HTML body.
func partOfBody(it item, p *message.Part) bool {
	return p.MediaType == "image" && p.ContentID != "" && p.Disposition != "attachment" && it.Outline.HTML() != nil
}

func partName(p []int) string {
	ss := make([]string, len(p))
	for i, n := range p {
		ss[i] = strconv.Itoa(n)
	}
	return strings.Join(ss, ".")
}

func base(it item, a message.Attachment, n int) string {
	return fmt.Sprintf("/messages/%s/%s/%d", it.ID, partName(a.Path), n)
}

// decodedSize is about what the part holds once its base64 is undone.
func decodedSize(p *message.Part) int64 {
	n := p.End - p.BodyStart
	if p.Encoding == "base64" {
		n = (n - 2*p.Lines) * 3 / 4
	}
	return max(n, 0)
}

// plain is the card of an ordinary file.
func plain(it item, a message.Attachment) enclosure {
	kind := fileKind(a.Part.MediaType+"/"+a.Part.Subtype, a.Part.Filename)
	e := enclosure{Base: base(it, a, 0), Title: fileTitle(a.Part), Kind: kind, Size: decodedSize(a.Part),
		Opens: kind == "pdf" || kind == "image" || kind == "text"}
	e.Keeps = e.Opens || kind == "keep"
	if kind == "keep" {
		e.Kind = "other"
	}
	return e
}

func fileTitle(p *message.Part) string {
	if p.Description != "" {
		return p.Description
	}
	return p.Filename
}

// fileKind is the family of a file by its declared type, or its name when the type
// says nothing. "keep" is a type the dossier takes and browsers do not show.
func fileKind(mediaType, name string) string {
	switch ext := strings.ToLower(path.Ext(name)); {
	case mediaType == "application/pdf" || mediaType == "application/octet-stream" && ext == ".pdf":
		return "pdf"
	case mediaType == "image/jpeg" || mediaType == "image/png",
		mediaType == "application/octet-stream" && (ext == ".jpg" || ext == ".jpeg" || ext == ".png"):
		return "image"
	case mediaType == "text/plain":
		return "text"
	case mediaType == "image/tiff" || mediaType == "application/rtf" || mediaType == "text/rtf" || ext == ".rtf" || ext == ".tif" || ext == ".tiff":
		return "keep"
	}
	return "other"
}

func maybeCDA(p *message.Part) bool {
	return p.Is("text/xml") || p.Is("application/xml") || strings.HasSuffix(strings.ToLower(p.Filename), ".xml")
}

// spooled copies one part into a sealed temporary file, for random access.
func (s *Server) spooled(ctx context.Context, v *visit, it item, p []int) (Spool, error) {
	box, err := v.open(ctx)
	if err != nil {
		return nil, err
	}
	rc, _, err := box.Part(ctx, it.Letter, p)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return s.spool(rc)
}

func (s *Server) spool(r io.Reader) (Spool, error) {
	sp, err := s.Spool()
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(sp, r); err == nil {
		err = sp.Finish()
	}
	if err != nil {
		sp.Close() //nolint:errcheck // the copy's failure is what matters
		return nil, err
	}
	return sp, nil
}

// archive shows an IHE_XDM archive as the documents it contains, then itself. One that
// cannot be read is still there to download.
func (s *Server) archive(ctx context.Context, v *visit, it item, a message.Attachment, filed filedIndex) ([]enclosure, error) {
	origin := enclosure{Base: base(it, a, 0), Title: fileTitle(a.Part), Kind: "archive", Size: decodedSize(a.Part), Origin: true}
	sp, err := s.spooled(ctx, v, it, a.Path)
	if err != nil {
		return nil, err
	}
	defer sp.Close()
	arc, err := xdm.Open(sp, sp.Size(), xdm.Limits{})
	if err != nil {
		origin.Problem = true
		return []enclosure{origin}, nil //nolint:nilerr // shown as a file that cannot be read
	}
	var es []enclosure
	for i := range arc.Entries {
		e := &arc.Entries[i]
		c := enclosure{Base: base(it, a, i+1), Title: e.Title, Type: e.Type.Label, Kind: fileKind(e.MimeType, e.URI), Size: e.Size, At: hl7Time(e.CreationTime)}
		if e.MimeType == "text/xml" || e.MimeType == "application/xml" {
			c.Kind = "cda"
		}
		if len(e.Authors) > 0 {
			c.Author = authorWords(e.Authors[0])
		}
		if c.Title == "" {
			c.Title = e.Type.Label
		}
		c.Opens = c.Kind != "other" && c.Kind != "keep"
		c.Keeps = c.Kind != "other"
		c.Filed = filed.byID[e.UniqueID]
		es = append(es, c)
	}
	return append(es, origin), nil
}

// authorWords is « NOM Prénom » and the structure of an XDS author.
func authorWords(a xdm.Author) string {
	var parts []string
	if f := strings.Split(a.Person, "^"); len(f) > 2 {
		parts = append(parts, strings.TrimSpace(f[1]+" "+f[2]))
	}
	if len(a.Institution) > 0 {
		if n, _, _ := strings.Cut(a.Institution[0], "^"); n != "" {
			parts = append(parts, n)
		}
	}
	return strings.Join(parts, ", ")
}

// hl7Time reads the digits of an XDS date (UTC); the zero time when it cannot.
func hl7Time(t string) time.Time {
	layout := "20060102150405"
	if len(t) > len(layout) || len(t) < 8 {
		return time.Time{}
	}
	at, err := time.Parse(layout[:len(t)], t)
	if err != nil {
		return time.Time{}
	}
	return at
}

// loneCDA is the card of an XML file: a CDA shows its own title and author.
func (s *Server) loneCDA(ctx context.Context, v *visit, it item, a message.Attachment, filed filedIndex) ([]enclosure, error) {
	sp, err := s.spooled(ctx, v, it, a.Path)
	if err != nil {
		return nil, err
	}
	defer sp.Close()
	d, err := cda.Read(io.NewSectionReader(sp, 0, sp.Size()))
	if err != nil || d.Root != "ClinicalDocument" {
		return []enclosure{plain(it, a)}, nil //nolint:nilerr // an ordinary XML file
	}
	e := enclosure{Base: base(it, a, 0), Title: d.Title, Type: d.Type.Label, Kind: "cda", At: d.Created.At, Size: sp.Size(),
		Opens: true, Keeps: true, Filed: filed.byID[d.ID.String()]}
	if e.Title == "" {
		e.Title = fileTitle(a.Part)
	}
	if len(d.Authors) > 0 {
		e.Author = d.Authors[0].Name()
	}
	return []enclosure{e}, nil
}

// enclosed is the content one URL names.
type enclosed struct {
	card    enclosure
	item    item
	name    string // file name for a download
	media   string
	content Spool
}

// enclosed opens the content that the URL names. Close content.
func (s *Server) enclosed(r *http.Request) (enclosed, error) {
	missing := fault.New(fault.NotFound, "webd.enclosed", "no-part")
	it, err := s.find(r)
	if err != nil {
		return enclosed{}, err
	}
	filed, err := s.filed(r.Context(), visitOf(r))
	if err != nil {
		return enclosed{}, err
	}
	es, err := s.enclosures(r.Context(), visitOf(r), it, filed)
	if err != nil {
		return enclosed{}, err
	}
	want := "/messages/" + r.PathValue("letter") + "/" + r.PathValue("part") + "/" + r.PathValue("n")
	for _, e := range es {
		if e.Base != want {
			continue
		}
		for _, a := range it.Outline.Attachments() {
			if partName(a.Path) == r.PathValue("part") {
				return s.contentOf(r.Context(), visitOf(r), it, a, e)
			}
		}
	}
	return enclosed{}, missing
}

func (s *Server) contentOf(ctx context.Context, v *visit, it item, a message.Attachment, card enclosure) (enclosed, error) {
	out := enclosed{card: card, item: it, name: a.Part.Filename, media: a.Part.MediaType + "/" + a.Part.Subtype}
	sp, err := s.spooled(ctx, v, it, a.Path)
	if err != nil {
		return out, err
	}
	n, err := strconv.Atoi(path.Base(card.Base))
	if err != nil || n == 0 {
		out.content = sp
		return out, err
	}
	defer sp.Close()
	arc, err := xdm.Open(sp, sp.Size(), xdm.Limits{})
	if err != nil {
		return out, err
	}
	if n > len(arc.Entries) {
		return out, fault.New(fault.NotFound, "webd.contentOf", "no-entry")
	}
	e := &arc.Entries[n-1]
	out.name, out.media = path.Base(strings.ReplaceAll(e.URI, `\`, "/")), e.MimeType
	rc, err := arc.Document(e)
	if err != nil {
		return out, err
	}
	defer rc.Close()
	out.content, err = s.spool(rc)
	return out, err
}

// openEnclosed shows an attachment: a CDA as a page, what a browser reads as it is,
// anything else as a page that says so.
func (s *Server) openEnclosed(w http.ResponseWriter, r *http.Request) error {
	e, err := s.enclosed(r)
	if err != nil {
		return err
	}
	defer e.content.Close()
	if e.card.Kind == "cda" {
		return s.showCDA(w, r, e)
	}
	if mt := inlineType(e.content); mt != "" && e.card.Opens {
		return serveInline(w, r, e.content, mt, e.name)
	}
	return s.render(w, r, http.StatusOK, "preview", page{Title: e.card.Title, Nav: "messages", Data: previewPage{
		Card: e.card, Back: "/messages/" + r.PathValue("letter")}})
}

// previewPage is an attachment shown as a page.
type previewPage struct {
	Card enclosure
	Back string
	HTML template.HTML // of a CDA; "" when it cannot be shown
	PDF  bool          // it has a printable copy
	Text string        // a body of plain text
}

func (s *Server) showCDA(w http.ResponseWriter, r *http.Request, e enclosed) error {
	d, err := cda.Read(io.NewSectionReader(e.content, 0, e.content.Size()))
	if err != nil {
		d = nil
	}
	if r.URL.Query().Get("forme") == "pdf" && d != nil {
		return s.servePrintable(w, r, e.content, d)
	}
	p := previewPage{Card: e.card, Back: "/messages/" + r.PathValue("letter")}
	if d != nil {
		if p.HTML, err = s.renderCDA(r, d); err != nil {
			return err
		}
		_, p.PDF = d.Printable()
	}
	return s.render(w, r, http.StatusOK, "preview", page{Title: e.card.Title, Nav: "messages", Data: p})
}

// renderCDA turns a clinical document into HTML that is safe in a page of ours.
func (s *Server) renderCDA(r *http.Request, d *cda.Document) (template.HTML, error) {
	var b bytes.Buffer
	if err := cda.Render(&b, d, cda.Options{HeadingLevel: 2}); err != nil {
		return "", err
	}
	h, err := cleanDocument(b.String(), s.words(r).T("document.table"))
	return template.HTML(h), err //nolint:gosec // sanitised just above
}

// servePrintable gives the PDF inside a CDA.
func (s *Server) servePrintable(w http.ResponseWriter, r *http.Request, content Content, d *cda.Document) error {
	m, ok := d.Printable()
	if !ok {
		return fault.New(fault.NotFound, "webd.servePrintable", "no-copy")
	}
	sp, err := s.Spool()
	if err != nil {
		return err
	}
	defer sp.Close()
	if err := cda.Extract(io.NewSectionReader(content, 0, content.Size()), m, sp); err != nil {
		return err
	}
	if err := sp.Finish(); err != nil {
		return err
	}
	name := "document" + extension(m.MediaType)
	if mt := inlineType(sp); mt != "" {
		return serveInline(w, r, sp, mt, name)
	}
	return serveFile(w, r, sp, m.MediaType, name)
}

func extension(mediaType string) string {
	switch mediaType {
	case "application/pdf":
		return ".pdf"
	case "image/jpeg":
		return ".jpg"
	case "image/png":
		return ".png"
	case "image/tiff":
		return ".tiff"
	case "text/rtf", "application/rtf":
		return ".rtf"
	case "text/plain":
		return ".txt"
	}
	return ""
}

// downloadEnclosed gives the file as it came.
func (s *Server) downloadEnclosed(w http.ResponseWriter, r *http.Request) error {
	e, err := s.enclosed(r)
	if err != nil {
		return err
	}
	defer e.content.Close()
	return serveFile(w, r, e.content, e.media, e.name)
}

// filePolicy is that of a file: nothing loads, nothing runs, no origin of ours.
const filePolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"

// inlineType is the media type under which a browser may show a content, from its own
// first bytes; "" when it may not.
func inlineType(c Content) string {
	head := make([]byte, 512)
	n, err := c.ReadAt(head, 0)
	if err != nil && err != io.EOF { //nolint:errorlint // ReaderAt's own
		return ""
	}
	switch mt := sniff(head[:n]); mt {
	case "application/pdf", "image/png", "image/jpeg":
		return mt
	case "text/plain":
		return "text/plain; charset=utf-8"
	}
	return ""
}

// serveInline shows a content in the browser. A PDF is left out of the sandbox: its
// viewer would not start; it may still load nothing.
func serveInline(w http.ResponseWriter, r *http.Request, c Content, mediaType, name string) error {
	policy := filePolicy
	if mediaType == "application/pdf" {
		policy = strings.TrimSuffix(filePolicy, "; sandbox")
	}
	return serveContent(w, r, c, mediaType, disposition("inline", name), policy)
}

// serveFile gives a content to save.
func serveFile(w http.ResponseWriter, r *http.Request, c Content, mediaType, name string) error {
	if mediaType == "" || strings.ContainsAny(mediaType, "\r\n") {
		mediaType = "application/octet-stream"
	}
	return serveContent(w, r, c, mediaType, disposition("attachment", name), filePolicy)
}

func serveContent(w http.ResponseWriter, r *http.Request, c Content, mediaType, dispo, policy string) error {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", dispo)
	h.Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(c, 0, c.Size()))
	return nil
}

// keep files an attachment in the dossier.
func (s *Server) keep(w http.ResponseWriter, r *http.Request) error {
	e, err := s.enclosed(r)
	if err != nil {
		return err
	}
	defer e.content.Close()
	if !e.card.Keeps {
		return fault.New(fault.Forbidden, "webd.keep", "type")
	}
	cards, err := s.Cards.Cards(r.Context(), mailOf(author(e.item)))
	if err != nil {
		return err
	}
	done := "range"
	if !e.card.Filed.IsZero() {
		done = "deja"
	}
	doc, err := s.Record.Keep(r.Context(), visitOf(r).session, File{
		Letter: e.item.ID, Name: e.name, MediaType: e.media, From: cardOf(author(e.item), cards).Line(),
		Content: io.NewSectionReader(e.content, 0, e.content.Size())})
	if k := fault.KindOf(err); err != nil && (k == fault.InvalidContent || k == fault.TooLarge || k == fault.Forbidden || k == fault.Closed) {
		noteOf(r).err = err
		done, doc, err = "refuse", id.Document{}, nil
	}
	if err != nil {
		return err
	}
	to := "/messages/" + r.PathValue("letter") + "?fait=" + done
	if !doc.IsZero() {
		to += "&document=" + doc.String()
	}
	http.Redirect(w, r, to+"#etat", http.StatusSeeOther)
	return nil
}
