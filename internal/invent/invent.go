// Package invent makes up the published files of the national directory: professionals,
// structures, BAL and exercises that exist nowhere, in the shape and the proportions of
// the real ones (mssante.md §4.2, §10). The same options give the same octets. Nothing
// is held but a few tables, so a file may be as large as one likes.
package invent

import (
	"io"
	"iter"
	"time"

	"pli/codec/extraction"
)

// Options says which files to make up.
type Options struct {
	Seed   int64
	Size   int       // BAL published on day 0
	Others int       // professionals without a BAL, in the activities only
	Day    int       // how many days later: some have come, some have gone, some have changed
	Broken int       // lines that are wrong on purpose
	At     time.Time // of the extraction, for the names of files; zero means Day days after 2026-08-26
}

// WriteCorrespondances writes an Extraction_Correspondance_MSSante to w.
func WriteCorrespondances(w io.Writer, o Options) error { panic("in the making") }

// WriteActivities writes a PS_LibreAcces_Personne_activite to w, of the same people.
func WriteActivities(w io.Writer, o Options) error { panic("in the making") }

// ZIPCorrespondances is WriteCorrespondances as published, in a ZIP.
func ZIPCorrespondances(w io.Writer, o Options) error { panic("in the making") }

// ZIPActivities is WriteActivities as published, in a ZIP with its two sisters.
func ZIPActivities(w io.Writer, o Options) error { panic("in the making") }

// Correspondances gives the lines one by one; the value is overwritten at each step.
func Correspondances(o Options) iter.Seq[*extraction.Correspondance] { panic("in the making") }

// Activities gives the lines one by one; the value is overwritten at each step.
func Activities(o Options) iter.Seq[*extraction.Activity] { panic("in the making") }
