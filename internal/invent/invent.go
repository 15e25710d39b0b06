// Package invent makes up the published files of the national directory: professionals,
// structures, BAL and exercises that exist nowhere, in the shape and the proportions of
// the real ones (mssante.md §4.2, §10). The same options give the same octets. Little is
// held but a few tables and a number per address, so a file may be as large as one likes.
//
// Identifiers are recognised at a glance: RPPS begin with 899, FINESS, SIREN and SIRET
// with 99, and domains end with .mssante.example.
package invent

import (
	"archive/zip"
	"compress/flate"
	"io"
	"iter"
	"strings"
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

// ExtractedAt is the instant in the names of the files.
func (o Options) ExtractedAt() time.Time {
	if !o.At.IsZero() {
		return o.At.UTC().Truncate(time.Minute)
	}
	return time.Date(2026, 8, 26, 6, 13, 0, 0, time.UTC).AddDate(0, 0, o.Day)
}

// WriteCorrespondances writes an Extraction_Correspondance_MSSante to w.
func WriteCorrespondances(w io.Writer, o Options) error {
	return write(extraction.NewCorrespondanceWriter(w), Correspondances(o), o)
}

// WriteActivities writes a PS_LibreAcces_Personne_activite to w, of the same people.
func WriteActivities(w io.Writer, o Options) error {
	return write(extraction.NewActivityWriter(w), Activities(o), o)
}

func write[T any](out *extraction.Writer[T], lines iter.Seq[*T], o Options) error {
	every, n, broken := max(1, o.Size/(o.Broken+1)), 0, 0
	for line := range lines {
		if err := out.Write(line); err != nil {
			return err
		}
		if n++; broken < o.Broken && n%every == 0 {
			if err := out.Raw(wrong(broken)); err != nil {
				return err
			}
			broken++
		}
	}
	for ; broken < o.Broken; broken++ {
		if err := out.Raw(wrong(broken)); err != nil {
			return err
		}
	}
	return out.Flush()
}

// wrong is a line that no reader can use, with its end.
func wrong(n int) string {
	switch n % 4 {
	case 0:
		return "PER|trop.court@medecin.mssante.example|8\n"
	case 1:
		return "PER|octets.\xff\xfe@medecin.mssante.example" + strings.Repeat("|", 29) + "\n"
	case 2:
		return "ORG|trop.de.colonnes@medecin.mssante.example" + strings.Repeat("|x", 70) + "\n"
	}
	return "PER|" + strings.Repeat("trop.long.", 7000) + "\n"
}

// ZIPCorrespondances is WriteCorrespondances as published, in a ZIP.
func ZIPCorrespondances(w io.Writer, o Options) error {
	out := archive(w)
	text, err := entry(out, extraction.FileName(extraction.Correspondances, o.ExtractedAt()), o)
	if err != nil {
		return err
	}
	if err := WriteCorrespondances(text, o); err != nil {
		return err
	}
	return out.Close()
}

// ZIPActivities is WriteActivities as published, in a ZIP with its two sisters, which
// hold their header only.
func ZIPActivities(w io.Writer, o Options) error {
	out := archive(w)
	name := extraction.FileName(extraction.Activities, o.ExtractedAt())
	text, err := entry(out, name, o)
	if err != nil {
		return err
	}
	if err := WriteActivities(text, o); err != nil {
		return err
	}
	const who = "Type d'identifiant PP|Identifiant PP|Identification nationale PP|Nom d'exercice|Prénom d'exercice|"
	for _, sister := range [][2]string{
		{"Dipl_AutExerc", who + "Code type diplôme obtenu|Libellé type diplôme obtenu|Code diplôme obtenu|Libellé diplôme obtenu|Code type autorisation|Libellé type autorisation|Code discipline autorisation|Libellé discipline autorisation\n"},
		{"SavoirFaire", who + "Code profession|Libellé profession|Code catégorie professionnelle|Libellé catégorie professionnelle|Code type savoir-faire|Libellé type savoir-faire|Code savoir-faire|Libellé savoir-faire\n"},
	} {
		if err := headerOnly(out, strings.Replace(name, "Personne_activite", sister[0], 1), sister[1], o); err != nil {
			return err
		}
	}
	return out.Close()
}

func archive(w io.Writer) *zip.Writer {
	out := zip.NewWriter(w)
	out.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	return out
}

func entry(out *zip.Writer, name string, o Options) (io.Writer, error) {
	return out.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: o.ExtractedAt()})
}

func headerOnly(out *zip.Writer, name, header string, o Options) error {
	text, err := entry(out, name, o)
	if err != nil {
		return err
	}
	_, err = io.WriteString(text, header)
	return err
}

// Correspondances gives the lines one by one; the value is overwritten at each step.
func Correspondances(o Options) iter.Seq[*extraction.Correspondance] {
	return func(yield func(*extraction.Correspondance) bool) {
		p := newPopulation(o)
		names := newAddresses(o.Size)
		var line extraction.Correspondance
		for slot := 0; p.born(slot) <= o.Day; slot++ {
			local, domain := p.address(slot)
			address := names.unique(p.die(forNumber, slot), local, domain) // also of those who are gone: it is never given again
			if p.gone(slot) <= o.Day {
				continue
			}
			p.correspondance(&line, slot, address, false)
			if !yield(&line) {
				return
			}
			if p.twice(slot) {
				p.correspondance(&line, slot, address, true)
				if !yield(&line) {
					return
				}
			}
		}
	}
}

// Activities gives the lines one by one; the value is overwritten at each step.
func Activities(o Options) iter.Seq[*extraction.Activity] {
	return func(yield func(*extraction.Activity) bool) {
		p := newPopulation(o)
		var line extraction.Activity
		for slot := 0; p.born(slot) <= o.Day; slot++ {
			if !p.personal(slot) || p.owner(slot) != slot || !p.national(slot) {
				continue
			}
			for k := range p.exercises(slot) {
				if p.ended(slot, k) <= o.Day {
					continue
				}
				p.activity(&line, slot, k)
				if !yield(&line) {
					return
				}
			}
		}
		for n := range o.Others {
			who := others + n
			for k := range p.exercises(who) {
				if p.ended(who, k) <= o.Day {
					continue
				}
				p.activity(&line, who, k)
				if !yield(&line) {
					return
				}
			}
		}
	}
}
