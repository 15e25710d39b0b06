package demo

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pli/app"
	"pli/codec/extraction"
	"pli/directory/national"
	"pli/health"
	"pli/internal/invent"
)

// How many invented people of other operators the demo's national directory holds.
const (
	annuaireSize   = 3000
	annuaireOthers = 500
	// annuaireLife is how long an extraction of the demo is taken for new.
	annuaireLife = 24 * time.Hour
)

func (d *demo) correspondancePath() string {
	return d.at("annuaire", "Extraction_Correspondance_MSSante.zip")
}
func (d *demo) activitePath() string { return d.at("annuaire", "PS_LibreAcces.zip") }

// publishAnnuaire writes the extractions of the demo's national directory: invented
// people, and the cast of both operators.
func (d *demo) publishAnnuaire() error {
	if st, err := os.Stat(d.activitePath()); err == nil && time.Since(st.ModTime()) < annuaireLife {
		return nil
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(d.at("annuaire"), 0o755); err != nil {
		return err
	}
	o := invent.Options{Seed: 1, Size: annuaireSize, Others: annuaireOthers, At: time.Now()}
	if err := writeWhole(d.correspondancePath(), func(f *os.File) error { return d.correspondances(f, o) }); err != nil {
		return err
	}
	return writeWhole(d.activitePath(), func(f *os.File) error { return invent.ZIPActivities(f, o) })
}

func writeWhole(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (d *demo) correspondances(f *os.File, o invent.Options) error {
	archive := zip.NewWriter(f)
	text, err := archive.Create(extraction.FileName(extraction.Correspondances, o.ExtractedAt()))
	if err != nil {
		return err
	}
	w := extraction.NewCorrespondanceWriter(text)
	for c := range invent.Correspondances(o) {
		if err := w.Write(c); err != nil {
			return err
		}
	}
	for _, op := range d.ops {
		for _, p := range op.cast {
			if p.kind != health.PER && p.kind != health.ORG {
				continue
			}
			if err := w.Write(p.correspondance(op)); err != nil {
				return err
			}
		}
	}
	return errors.Join(w.Flush(), archive.Close())
}

// correspondance is the line of somebody of the cast, as the national directory
// publishes it.
func (p person) correspondance(op operator) *extraction.Correspondance {
	s := p.place
	c := &extraction.Correspondance{Kind: string(p.kind), Address: p.address(op), PlaceType: "FINESS", Place: s.FINESS.NationalID(), Service: p.service,
		Structure: s.Name, TradeName: s.TradeName, StreetName: s.Street, Routing: s.PostalCode + " " + s.City, PostalCode: s.PostalCode, Country: "FRANCE"}
	if w := p.who; w != nil {
		c.PPType, c.PP, c.PPNational = "8", string(w.RPPS), w.RPPS.NationalID()
		c.Civility, c.FamilyName, c.GivenName, c.Profession, c.KnowHow = w.Civility, w.FamilyName, w.GivenName, w.Profession, w.KnowHow
		c.ProfessionLabel = health.ProfessionLabel(w.Profession)
	}
	return c
}

// importAnnuaire brings the extractions into an operator's directory, before it serves.
func (d *demo) importAnnuaire(ctx context.Context, rooms *app.Rooms) error {
	rooms.National.Config.Grace = time.Millisecond // nobody reads yet
	for set, path := range map[extraction.Dataset]string{extraction.Correspondances: d.correspondancePath(), extraction.Activities: d.activitePath()} {
		if _, err := rooms.National.Import(ctx, set, path, national.Options{}); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return nil
}
