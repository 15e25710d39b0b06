package webd

import (
	"embed"
	"io/fs"
	"strings"

	"pli/fault"
)

// newestTerms is the edition of the conditions of use that the door shows when it is told
// of no other. An edition that was accepted is never changed: a new one gets its own files.
const newestTerms = "2026-11"

//go:embed conditions/*.txt
var termsFiles embed.FS

// terms are the conditions of use in one language, cut at their headings.
type terms struct {
	Version  string
	Sections []termsSection
}

type termsSection struct {
	Heading    string // "" for what opens the text
	Paragraphs []string
}

// loadTerms reads conditions/<edition>.<lang>.txt: paragraphs with blank lines between
// them, headings after "# ". Errors: fault.NotFound for an edition without a text.
func loadTerms(version string, l Lang) (terms, error) {
	b, err := fs.ReadFile(termsFiles, "conditions/"+version+"."+string(l)+".txt")
	if err != nil {
		return terms{}, fault.New(fault.NotFound, "webd.loadTerms", "edition-without-text")
	}
	t := terms{Version: version, Sections: []termsSection{{}}}
	for _, p := range strings.Split(strings.TrimSpace(string(b)), "\n\n") {
		p = strings.Join(strings.Fields(p), " ")
		if l == French {
			p = frenchSpaces.Replace(p)
		}
		if h, ok := strings.CutPrefix(p, "# "); ok {
			t.Sections = append(t.Sections, termsSection{Heading: h})
			continue
		}
		last := &t.Sections[len(t.Sections)-1]
		last.Paragraphs = append(last.Paragraphs, p)
	}
	return t, nil
}
