package app

import (
	"cmp"

	"pli/directory"
	"pli/directory/publication"
)

// publication is the configuration in the words of its room.
func (c *Config) publication() publication.Config {
	p := c.Publication
	return publication.Config{URL: p.URL, KeyFile: p.KeyFile, KeyHeader: p.KeyHeader, RootsFile: cmp.Or(p.Roots, c.Certs.Roots), KindAs: p.KindAs,
		Folder: p.Folder, Reports: p.Reports, Hour: int(p.Hour)}
}

// openPublication has the national directory told of what changes in the register, by
// whatever command or job it changes.
func (r *Rooms) openPublication() (err error) {
	r.Publication, err = publication.New(publication.Deps{DB: r.DB, Jobs: r.Jobs, Register: r.Directory, Config: r.Config.publication(),
		Log: r.log, Metrics: r.counts, Now: r.now})
	if err == nil {
		r.Directory.Plug(directory.Plugs{Outlet: r.Publication})
	}
	return err
}
