package app

import (
	"crypto/x509"
	"fmt"
	"os"

	"pli/directory/national"
)

// openNational makes what imports the national extractions.
func (r *Rooms) openNational() (*national.Importer, error) {
	c := r.Config.National
	roots, err := authorities(c.Roots, r.Config.Certs.Roots, r.Config.Certs.Intermediates)
	if err != nil {
		return nil, err
	}
	return national.New(national.Deps{DB: r.DB, Ended: r.Directory, Local: r.Directory.Local, Patient: r.Directory.ForPatients,
		Config: national.Config{Correspondance: c.Correspondance, Activite: c.Activite, Dir: c.Dir, Roots: roots, Hour: int(c.Hour),
			MaxLoss: float64(c.MaxLoss) / 100},
		Log: r.log, Metrics: r.counts, Now: r.now}), nil
}

// authorities reads the PEM file of a server's authorities; when none is named, those of
// the trusted space.
func authorities(own string, trusted ...string) (*x509.CertPool, error) {
	files := trusted
	if own != "" {
		files = []string{own}
	}
	pool := x509.NewCertPool()
	for _, f := range files {
		if f == "" {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s: no certificate in it", f)
		}
	}
	return pool, nil
}
