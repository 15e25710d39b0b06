package cda

import (
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"

	"pli/health"
)

// Options of a rendering.
type Options struct {
	// MediaURL gives the address of an embedded image, to be shown in its place. Nil, or
	// "", shows a few words instead.
	MediaURL func(Media) string
	// HeadingLevel is that of the document's title: 2 when zero.
	HeadingLevel int
}

// Render writes the document as an HTML fragment in French: header, then the sections'
// narrative; for a level 1 document, what is embedded. Only tags and attributes made
// here come out: no script, no style, no link, whatever the document holds.
func Render(w io.Writer, d *Document, o Options) error {
	if o.HeadingLevel < 1 || o.HeadingLevel > 4 {
		o.HeadingLevel = 2
	}
	n := &narrative{doc: d, opt: o}
	return page.Execute(w, map[string]any{
		"Head": heading(o.HeadingLevel, d.Title), "Lang": language(d.Language), "Facts": d.facts(),
		"Sections": n.sections(d.Sections, o.HeadingLevel+1), "Embedded": d.embedded(),
	})
}

var page = template.Must(template.New("cda").Parse(`<article class="cda" lang="{{.Lang}}">
<header class="cda-head">{{.Head}}
<dl>{{range .Facts}}<div><dt>{{.Label}}</dt><dd>{{.Value}}</dd></div>{{end}}</dl></header>
{{.Sections}}{{if .Embedded}}<p class="cda-embedded">{{.Embedded}}</p>
{{end}}</article>
`))

type fact struct{ Label, Value string }

// facts are what the reader checks first: whose document, of what kind, when, by whom.
func (d *Document) facts() []fact {
	var fs []fact
	add := func(label, value string) {
		if value != "" {
			fs = append(fs, fact{label, value})
		}
	}
	add("Patient", d.Patient.words())
	add("Type", typeLabel(d.Type))
	add("Date du document", d.Created.Local())
	if act := d.MainService().Start; act.Local() != d.Created.Local() {
		add("Date de l’acte", act.Local())
	}
	for _, a := range d.Authors {
		add("Auteur", a.words())
	}
	if d.Version > 1 {
		add("Version", strconv.Itoa(d.Version))
	}
	return fs
}

func typeLabel(c Code) string {
	if t, ok := health.TypeOf(c.Code); ok {
		return t.Label
	}
	return c.Label
}

func (p Patient) words() string {
	t := p.Traits
	name := t.UsedName
	if name == "" {
		name = t.BirthName
	}
	given := t.UsedFirstName
	if given == "" {
		given = t.FirstBirthName
	}
	if given == "" {
		given = t.GivenNames
	}
	s := strings.TrimSpace(name + " " + given)
	if t.UsedName != "" && t.BirthName != "" && t.UsedName != t.BirthName {
		s += fmt.Sprintf(" (nom de naissance : %s)", t.BirthName)
	}
	if len(t.BirthDate) == 8 {
		s += fmt.Sprintf(", %s %s/%s/%s", born(t.Sex), t.BirthDate[6:], t.BirthDate[4:6], t.BirthDate[:4])
	}
	return strings.TrimPrefix(s, ", ")
}

func born(sex string) string {
	if sex == "F" {
		return "née le"
	}
	return "né le"
}

func (a Author) words() string {
	parts := []string{strings.TrimSpace(a.Prefix + " " + a.Name())}
	role := health.AuthorLabel(a.Specialty.Code)
	if role == "" {
		role = a.Specialty.Label
	}
	for _, s := range []string{role, a.Organisation.Name} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.TrimPrefix(strings.Join(parts, ", "), ", ")
}

// embedded tells what the document holds as a file.
func (d *Document) embedded() string {
	m, ok := d.Printable()
	if !ok {
		return ""
	}
	kind := map[string]string{
		"application/pdf": "un PDF", "image/jpeg": "une image", "image/tiff": "une image",
		"text/rtf": "un texte mis en forme (RTF)", "text/plain": "un texte",
	}[m.MediaType]
	switch {
	case kind == "":
		kind = "un fichier"
	case m.Copy:
		return "Une copie en PDF accompagne ce document."
	}
	return "Le contenu de ce document est " + kind + " joint."
}

// language keeps a language tag's shape and nothing else.
func language(s string) string {
	if s == "" || len(s) > 12 || strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "fr"
	}
	return s
}

func heading(level int, text string) template.HTML {
	if text == "" {
		return ""
	}
	level = min(level, 6)
	return template.HTML(fmt.Sprintf("<h%d>%s</h%d>", level, template.HTMLEscapeString(text), level))
}

// narrative writes sections as HTML. Every octet that it writes is either a constant
// of this file or escaped.
type narrative struct {
	doc   *Document
	opt   Options
	b     strings.Builder
	title string // of the section being written
}

func (n *narrative) sections(ss []Section, level int) template.HTML {
	n.b.Reset()
	n.write(ss, level)
	return template.HTML(n.b.String())
}

func (n *narrative) write(ss []Section, level int) {
	for _, s := range ss {
		if s.Copy {
			n.write(s.Sections, level)
			continue
		}
		below := level
		if s.Title != "" {
			n.title, below = s.Title, level+1
		}
		n.b.WriteString("<section>")
		n.b.WriteString(string(heading(level, s.Title)))
		n.nodes(s.Narrative, context{})
		n.write(s.Sections, below)
		n.b.WriteString("</section>\n")
	}
}

// context is what the writing of an element depends on.
type context struct{ head, list, table bool }

func (n *narrative) nodes(nodes []Node, c context) {
	for _, node := range nodes {
		n.node(node, c)
	}
}

func (n *narrative) text(s string) { n.b.WriteString(template.HTMLEscapeString(s)) }

// run writes text of the narrative, where any white space counts as one space.
func (n *narrative) run(s string) {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' })
	if len(words) == 0 {
		n.b.WriteByte(' ')
		return
	}
	if strings.TrimLeft(s, " \t\r\n") != s {
		n.b.WriteByte(' ')
	}
	n.text(strings.Join(words, " "))
	if strings.TrimRight(s, " \t\r\n") != s {
		n.b.WriteByte(' ')
	}
}

// tags maps narrative elements to HTML ones (CDA R2 narrative block).
var tags = map[string]string{
	"paragraph": "p", "content": "span", "span": "span", "p": "p", "item": "li", "sub": "sub", "sup": "sup",
	"thead": "thead", "tbody": "tbody", "tfoot": "tfoot", "tr": "tr", "td": "td", "th": "th",
	"linkHtml": "span", "footnote": "small", "caption": "p", "list": "ul", "table": "table",
}

func (n *narrative) node(e Node, c context) {
	switch e.Name {
	case "":
		n.run(e.Text)
		return
	case "br":
		n.b.WriteString("<br>")
		return
	case "renderMultiMedia":
		n.media(e)
		return
	case "footnoteRef", "col", "colgroup":
		return
	}
	tag, ok := tags[e.Name]
	if !ok {
		n.nodes(e.Children, c) // an element we do not know: its text is still read
		return
	}
	tag, attrs, inner := n.open(e, tag, c)
	if e.Name == "table" {
		n.b.WriteString(`<div class="cda-table" tabindex="0" role="group" aria-label="`)
		n.text(strings.TrimSpace("Tableau " + n.title))
		n.b.WriteString(`">`)
	}
	n.b.WriteString("<" + tag + attrs + ">")
	n.nodes(e.Children, inner)
	n.b.WriteString("</" + tag + ">")
	if e.Name == "table" {
		n.b.WriteString("</div>")
	}
}

// open decides the tag, its attributes and the context within.
func (n *narrative) open(e Node, tag string, c context) (string, string, context) {
	var attrs string
	switch e.Name {
	case "table":
		c = context{table: true}
	case "list":
		if e.Attrs["listType"] == "ordered" {
			tag = "ol"
		}
		c = context{list: true}
	case "caption":
		if c.table {
			tag = "caption"
		} else if c.list {
			tag = "li"
		}
	case "thead":
		c.head = true
	case "tbody", "tfoot":
		c.head = false
	case "th":
		if !hasWords(e) {
			tag = "td" // an empty heading cell heads nothing
		} else {
			attrs = ` scope="` + scope(e.Attrs["scope"], c) + `"`
		}
		attrs += span(e)
	case "td":
		attrs = span(e)
	}
	return tag, attrs + classes(e), c
}

func scope(given string, c context) string {
	if slices.Contains([]string{"row", "col", "rowgroup", "colgroup"}, given) {
		return given
	}
	if c.head {
		return "col"
	}
	return "row"
}

func span(e Node) string {
	var s string
	for _, name := range []string{"colspan", "rowspan"} {
		if n, err := strconv.Atoi(e.Attrs[name]); err == nil && n > 1 && n <= 100 {
			s += fmt.Sprintf(` %s="%d"`, name, n)
		}
	}
	return s
}

// classes puts the few style codes of CDA R2 and the cell's alignment in words of ours.
func classes(e Node) string {
	var cs []string
	codes := strings.ToLower(e.Attrs["styleCode"])
	for _, c := range []string{"bold", "italics", "underline", "emphasis"} {
		if strings.Contains(codes, c) {
			cs = append(cs, "cda-"+c)
		}
	}
	if a := strings.ToLower(e.Attrs["align"]); a == "center" || a == "right" {
		cs = append(cs, "cda-"+a)
	}
	if len(cs) == 0 {
		return ""
	}
	return ` class="` + strings.Join(cs, " ") + `"`
}

func hasWords(e Node) bool {
	return strings.TrimSpace(e.Text) != "" || slices.ContainsFunc(e.Children, hasWords)
}

// media shows an embedded image, or says that a file is there.
func (n *narrative) media(e Node) {
	id := e.Attrs["referencedObject"]
	i := slices.IndexFunc(n.doc.Media, func(m Media) bool { return m.ID != "" && m.ID == id })
	if i < 0 {
		n.b.WriteString(`<span class="cda-media">[image absente du document]</span>`)
		return
	}
	m := n.doc.Media[i]
	safe := m.MediaType == "image/jpeg" || m.MediaType == "image/png" || m.MediaType == "image/gif"
	if safe && n.opt.MediaURL != nil {
		if u := n.opt.MediaURL(m); strings.HasPrefix(u, "/") && !strings.HasPrefix(u, "//") {
			n.b.WriteString(`<img class="cda-media" alt="Image jointe au document" src="`)
			n.text(u)
			n.b.WriteString(`">`)
			return
		}
	}
	n.b.WriteString(`<span class="cda-media">[fichier joint au document]</span>`)
}
