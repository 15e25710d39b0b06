package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/audit"
	"pli/consent"
	"pli/directory"
	"pli/directory/national"
	"pli/directory/publication"
	"pli/directory/search"
	"pli/dossier"
	"pli/identity"
	"pli/internal/blob"
	"pli/internal/job"
	"pli/internal/limit"
	"pli/internal/pg"
	"pli/mailstore"
	"pli/migrations"
	"pli/seal"
)

// Rooms are the rooms of one house on one database, each built once. Commands use
// them as they are; a server adds corridors and doors.
type Rooms struct {
	Config      Config
	DB          *pg.DB
	Index       *seal.Index
	Seal        *seal.Service
	Audit       *audit.Log
	Blobs       blob.Store
	Directory   *directory.Directory
	Asked       *pg.DB // for questions that strangers shape
	Search      *search.Searcher
	National    *national.Importer
	Publication *publication.Publisher
	Identity    *identity.Service
	Consent     *consent.Service
	Mail        *mailstore.Store
	Dossier     *dossier.Dossier
	Jobs        *job.Queue
	Limit       *limit.Limiter
	Turns       *limit.Turns // of accounts that ask the directory

	log    *slog.Logger
	counts prometheus.Registerer
	now    func() time.Time
}

const (
	// searchTime is how long one statement of a question to the directory may last.
	searchTime = 2 * time.Second
	// searchConns answer questions to the directory, unless the configuration says so.
	searchConns = 8
)

// OpenRooms connects to the database, refuses a schema it does not know, and opens
// keys and blobs. Close lets everything go.
func OpenRooms(ctx context.Context, cfg Config, log *slog.Logger) (*Rooms, error) {
	return openRooms(ctx, cfg, log, nil)
}

// openRooms counts what rooms do in metrics; nil counts nothing.
func openRooms(ctx context.Context, cfg Config, log *slog.Logger, metrics prometheus.Registerer) (*Rooms, error) {
	r := &Rooms{Config: cfg, log: log, counts: metrics, now: time.Now}
	if err := r.open(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Rooms) open(ctx context.Context) (err error) {
	cfg := r.Config
	if r.DB, err = pg.Open(ctx, pg.Config{DSN: cfg.Database.DSN, MaxConns: cfg.Database.MaxConns}); err != nil {
		return err
	}
	if err = migrations.Check(ctx, r.DB); err != nil {
		return err
	}
	asked := cmp.Or(cfg.Database.SearchConns, searchConns)
	if r.Asked, err = pg.Open(ctx, pg.Config{DSN: cfg.Database.DSN, MaxConns: asked, Search: searchTime}); err != nil {
		return err
	}
	r.Turns = limit.NewTurns(int(asked) * 3 / 4) // nobody holds them all
	if r.Index, err = seal.OpenIndex(cfg.Keys.Index); err != nil {
		return err
	}
	custodian, err := seal.OpenKeyFiles(cfg.Keys.Operator...)
	if err != nil {
		return err
	}
	r.Seal = seal.New(r.DB, custodian)
	if err = r.Seal.EnsureHouse(ctx); err != nil {
		return err
	}
	if r.Audit, err = audit.New(r.DB, cfg.Keys.Audit); err != nil {
		return err
	}
	if r.Blobs, err = openBlobs(ctx, r.DB, cfg.Blobs); err != nil {
		return err
	}
	url, err := cfg.RedisURL()
	if err != nil {
		return err
	}
	if r.Limit, err = limit.Open(url); err != nil {
		return err
	}
	r.Directory = directory.New(r.DB, r.Index, directory.Config{Domains: cfg.Operator.Domains, PatientDomain: cfg.Operator.PatientDomain,
		ForeignPatientDomains: cfg.Operator.ForeignPatientDomains})
	r.Search = search.New(r.Asked, r.Directory)
	if r.National, err = r.openNational(); err != nil {
		return err
	}
	r.Consent = consent.New(r.DB, r.Index)
	r.Mail = mailstore.New(r.DB, r.Index)
	r.Dossier = dossier.New(r.DB)
	r.Jobs = job.New(r.DB, r.log)
	r.Identity = identity.New(identity.Deps{DB: r.DB, Index: r.Index, Boxes: r.Directory, Patients: r.Dossier,
		Register: register{r.Seal}, Limit: r.Limit, Now: r.now, Log: r.log})
	if err := r.openPublication(); err != nil {
		return err
	}
	return r.plugRegister(ctx)
}

// openBlobs puts the database, for short blobs, in front of files or of an S3 store.
func openBlobs(ctx context.Context, db *pg.DB, c BlobsConfig) (long blob.Store, err error) {
	if c.S3Endpoint != "" {
		long, err = blob.OpenS3(ctx, blob.S3Config{Endpoint: c.S3Endpoint, Region: c.S3Region, Bucket: c.S3Bucket,
			AccessFile: c.S3AccessKeyFile, SecretFile: c.S3SecretKeyFile, Insecure: c.S3Plain})
	} else {
		long, err = blob.OpenFiles(c.Dir)
	}
	if err != nil || c.ShortSize < 0 {
		return long, err
	}
	if c.ShortSize == 0 {
		c.ShortSize = blob.DefaultShortSize
	}
	return blob.NewShort(db, long, int(c.ShortSize)), nil
}

// Close lets the database and Redis go.
func (r *Rooms) Close() {
	if r.Limit != nil {
		_ = r.Limit.Close()
	}
	if r.Asked != nil {
		r.Asked.Close()
	}
	if r.DB != nil {
		r.DB.Close()
	}
}

// register seals small secrets for the house's register.
type register struct{ seal *seal.Service }

func (r register) Seal(ctx context.Context, value []byte) ([]byte, error) {
	h, err := r.seal.House(ctx, seal.PurposeRegister)
	if err != nil {
		return nil, err
	}
	return r.seal.SealFor(ctx, h, value)
}

func (r register) Open(ctx context.Context, sealed []byte) ([]byte, error) {
	h, err := r.seal.House(ctx, seal.PurposeRegister)
	if err != nil {
		return nil, err
	}
	u, err := r.seal.Unlock(ctx, h)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return u.OpenSealed(sealed)
}

// NewKeys makes the key files of the configuration that are not there yet, and says
// which. It never touches one that is.
func NewKeys(c KeysConfig) (made []string, err error) {
	type maker struct {
		path string
		make func(string) error
	}
	all := []maker{{c.Index, seal.NewIndexFile}, {c.Audit, audit.NewKeyFile}}
	for _, p := range c.Operator {
		all = append(all, maker{p, seal.NewKeyFile})
	}
	for _, m := range all {
		if m.path == "" {
			return made, errors.New("keys.operator, keys.index and keys.audit must name files")
		}
		if _, err := os.Stat(m.path); err == nil {
			continue
		}
		if err := m.make(m.path); err != nil {
			return made, err
		}
		made = append(made, m.path)
	}
	return made, nil
}
