package health

import (
	_ "embed"
	"strings"
	"sync"
)

// codes.tsv holds the value sets by which documents are named: facts of the ANS
// terminologies, with source and edition of each, in a form of our own.
//
//go:embed codes.tsv
var codesTSV string

// DocumentType is a type of document: its class is "" where ASS_X04 names none.
type DocumentType struct{ Code, Class, Label string }

type codeBook struct {
	types       map[string]DocumentType
	classes     map[string]string
	professions map[string]string
	authors     map[string]string
}

var codes = sync.OnceValue(readCodes)

func readCodes() *codeBook {
	b := &codeBook{
		types: map[string]DocumentType{}, classes: map[string]string{},
		professions: map[string]string{}, authors: map[string]string{},
	}
	for line := range strings.Lines(codesTSV) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case f[0] == "type" && len(f) == 4:
			b.types[f[1]] = DocumentType{Code: f[1], Class: f[2], Label: f[3]}
		case f[0] == "class" && len(f) == 3:
			b.classes[f[1]] = f[2]
		case f[0] == "profession" && len(f) == 3:
			b.professions[f[1]] = f[2]
		case f[0] == "author" && len(f) == 3:
			b.authors[f[1]] = f[2]
		}
	}
	return b
}

// TypeOf finds a type of document by its code (JDV_J07).
func TypeOf(code string) (DocumentType, bool) {
	t, ok := codes().types[code]
	return t, ok
}

// ClassLabel is the French name of a class of document (JDV_J57), or "".
func ClassLabel(class string) string { return codes().classes[class] }

// ClassOther is the class of what a patient files (« Autres documents déposés par le
// patient »).
const ClassOther = "90"

// ProfessionLabel is the French name of a profession (TRE_G15, TRE_R94), or "".
func ProfessionLabel(code string) string { return codes().professions[code] }

// AuthorLabel puts the code of an author (JDV_J01) in words people read: « Médecin,
// Biologie médicale ». An unknown code with a known profession gives the profession
// alone; anything else gives "".
func AuthorLabel(code string) string {
	if l, ok := codes().authors[code]; ok {
		return shortAuthor(l)
	}
	p, _, _ := strings.Cut(strings.TrimPrefix(code, "G15_"), "/")
	return ProfessionLabel(p)
}

// shortAuthor drops the kind of diploma at the end, which tells patients nothing.
func shortAuthor(label string) string {
	if i := strings.LastIndex(label, " ("); i > 0 && strings.HasSuffix(label, ")") && strings.ToUpper(label[i:]) == label[i:] {
		label = label[:i]
	}
	return strings.Replace(label, " - ", ", ", 1)
}
