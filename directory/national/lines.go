package national

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"pli/codec/extraction"
	"pli/directory/listing"
	"pli/health"
)

// A published line, made ready by a worker for the one who writes.
type (
	balLine struct {
		listing listing.Listing
		text    []byte // encoded, without its tail
		sum     int64
		words   string // as tsvector reads them
		cause   string // of a refusal
		ours    bool
	}
	activityLine struct {
		practitioner listing.Practitioner
		organization listing.Organization // no id: the place is not told
		role         listing.Role
		text         []byte // the role's
		sum          int64
		cause        string
	}
)

// readBAL turns a line of the correspondance file into a listing.
func (im *Importer) readBAL(c *extraction.Correspondance, out *balLine) {
	out.cause, out.ours, out.text = "", false, out.text[:0]
	local, domain, _ := strings.Cut(c.Address, "@")
	switch {
	case im.Patient(domain) || domain == nationalPatients || matricule(local):
		out.cause = "patient"
		return
	case im.Local(domain):
		out.ours = true
		return
	}
	ppType, pp, _ := extraction.Professional(c.PPType, c.PP, c.PPNational)
	if pp == "" {
		ppType = ""
	}
	placeType, place, _ := extraction.Place(c.PlaceType, c.Place)
	if place == "" {
		placeType = ""
	}
	out.listing = listing.Listing{
		Kind: health.BALKind(c.Kind), Address: c.Address, PPType: ppType, PP: pp, PlaceType: placeType, Place: place,
		Civility: c.Civility, FamilyName: c.FamilyName, GivenName: c.GivenName, Category: c.Category, CategoryLabel: c.CategoryLabel,
		Profession: c.Profession, ProfessionLabel: c.ProfessionLabel, KnowHow: c.KnowHow, KnowHowLabel: c.KnowHowLabel,
		Service: c.Service, Structure: c.Structure, TradeName: c.TradeName,
		Complement: join(c.Location, c.Distribution, c.Locality),
		Street:     join(c.StreetNumber, c.StreetRepeat, c.StreetKind, c.StreetName),
		PostalCode: c.PostalCode, City: city(c.Routing, c.PostalCode), Department: c.Department, Country: c.Country,
		Paperless: extraction.Yes(c.Paperless), Rank: 1,
	}
	l := &out.listing
	l.Key = listing.KeyOf(l.Address, l.PP, l.Place, l.Service)
	row := l.Row()
	if slices.ContainsFunc(row[:len(row)-1], long) {
		out.cause = "too-long"
		return
	}
	out.words, _ = row[len(row)-1].(string)
	out.text, out.sum = listings.encode(out.text, row)
}

// textSize is the longest value that is taken, in octets: an index row of PostgreSQL
// holds 2,700, and some of ours hold two values.
const textSize = 1000

func long(v any) bool {
	s, ok := v.(string)
	return ok && len(s) > textSize
}

// longFolded reports whether a value is too long, or would be once folded: a letter may
// fold into eighteen (U+FDFA), which takes eleven times its octets.
func longFolded(s string) bool {
	return len(s) > textSize || len(s) > textSize/11 && len(listing.Fold(s)) > textSize
}

// nationalPatients is the domain of patients' addresses (mssante.md §3.3), whatever the
// configuration says.
const nationalPatients = "patient.mssante.fr"

// matricule reports whether a local part is an INS with its right key: the address is a
// patient's then, whatever its domain.
func matricule(local string) bool {
	if len(local) != 15 {
		return false
	}
	ins, err := health.ParseINS(local)
	return err == nil && ins.KeyValid()
}

// readActivity turns a line of the activity file into a professional, a structure and
// the exercise of the one in the other.
func readActivity(a *extraction.Activity, out *activityLine) {
	out.cause, out.text = "", out.text[:0]
	ppType, pp, _ := extraction.Professional(a.PPType, a.PP, a.PPNational)
	id := listing.PractitionerID(ppType, pp)
	if id == "" {
		out.cause = "no-identifier"
		return
	}
	if slices.ContainsFunc([]string{pp, a.FamilyName, a.GivenName, a.Structure, a.TradeName, a.City, a.Cedex, a.PostalCode, a.Profession,
		a.KnowHow, a.FINESS, a.FINESSEJ, a.SIRET, a.SIREN, a.Technical}, longFolded) {
		out.cause = "too-long"
		return
	}
	out.practitioner = listing.Practitioner{
		ID: id, PPType: ppType, PP: pp, Civility: first(a.ExerciseCivility, a.Civility), FamilyName: a.FamilyName,
		GivenName: a.GivenName, Category: a.Category, CategoryLabel: a.CategoryLabel, Active: true,
	}
	finess, ej, siret, siren := number("FINESS", a.FINESS), number("FINESS", a.FINESSEJ), number("SIRET", a.SIRET), number("SIREN", a.SIREN)
	out.organization = listing.Organization{
		ID: listing.OrganizationID(finess, siret, siren, a.Technical), FINESS: finess, FINESSEJ: ej, SIRET: siret, SIREN: siren,
		Technical: a.Technical, Name: first(a.Structure, a.TradeName), TradeName: a.TradeName, Sector: a.Sector, SectorLabel: a.SectorLabel,
		Complement: join(a.Complement, a.Point, a.Mention),
		Street:     join(a.StreetNumber, a.StreetRepeat, first(a.StreetKindLabel, a.StreetKind), a.StreetName),
		PostalCode: a.PostalCode, City: first(a.City, city(a.Cedex, a.PostalCode)), Department: a.Department,
		Country: first(a.Country, a.CountryLabel), Phone: first(a.Phone, a.Phone2), Fax: a.Fax, Active: true,
	}
	out.role = listing.Role{
		ID:           listing.RoleID(id, out.organization.ID, a.Profession, a.KnowHow, a.Mode, a.Function),
		Practitioner: id, Organization: out.organization.ID, Profession: a.Profession, ProfessionLabel: a.ProfessionLabel,
		KnowHowType: a.KnowHowType, KnowHow: a.KnowHow, KnowHowLabel: a.KnowHowLabel, Mode: a.Mode, ModeLabel: a.ModeLabel,
		Function: a.Function, FunctionLabel: a.FunctionLabel, Active: true, FamilyName: a.FamilyName, GivenName: a.GivenName,
	}
	out.text, out.sum = roles.encode(out.text, out.role.Row())
}

// beside gives what a listing says of its professional, its structure and the exercise
// of the one in the other; an empty id is none.
func beside(l *listing.Listing) (listing.Practitioner, listing.Organization, listing.Role) {
	p := listing.Practitioner{
		ID: listing.PractitionerID(l.PPType, l.PP), PPType: l.PPType, PP: l.PP, Civility: l.Civility, FamilyName: l.FamilyName,
		GivenName: l.GivenName, Category: l.Category, CategoryLabel: l.CategoryLabel, Active: true,
	}
	o := listing.Organization{
		Name: first(l.Structure, l.TradeName, l.Service), TradeName: l.TradeName, Sector: l.Sector, Complement: l.Complement,
		Street: l.Street, PostalCode: l.PostalCode, City: l.City, Department: l.Department, Country: l.Country, Active: true,
	}
	switch l.PlaceType {
	case "FINESS":
		o.FINESS = l.Place
	case "SIRET":
		o.SIRET = l.Place
	case "SIREN":
		o.SIREN = l.Place
	default:
		o.Technical = l.Place
	}
	o.ID = listing.OrganizationID(o.FINESS, o.SIRET, o.SIREN, o.Technical)
	r := listing.Role{
		Practitioner: p.ID, Organization: o.ID, Profession: l.Profession, ProfessionLabel: l.ProfessionLabel,
		KnowHow: l.KnowHow, KnowHowLabel: l.KnowHowLabel, Active: true, FamilyName: l.FamilyName, GivenName: l.GivenName,
	}
	return p, o, r
}

// number is an identifier of a structure without the digit of its type.
func number(kind, s string) string {
	if s == "" {
		return ""
	}
	_, n, _ := extraction.Place(kind, s)
	return n
}

// city is the routing line (L6) without its postal code.
func city(routing, postalCode string) string {
	return strings.TrimSpace(strings.TrimPrefix(routing, postalCode))
}

func first(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

// join puts spaces between what is not empty.
func join(ss ...string) string {
	var b strings.Builder
	for _, s := range ss {
		if s == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s)
	}
	return b.String()
}

const (
	parcelLines = 256
	parcelsHeld = 8 // between the reader and the writer
	workers     = 2 // that make lines ready
)

// parcel is a run of lines on their way. ready is closed once out is filled.
type parcel[T, R any] struct {
	in    []T
	line  []int64
	cause []string // of a line that the codec refuses; its in is empty
	out   []R
	n     int
	ready chan struct{}
}

// walk reads lines in one goroutine, makes them ready in others, and gives them to use
// in the order of the file, in the caller's goroutine. cause is why a line is refused,
// "" when it is not.
func walk[T, R any](ctx context.Context, in *extraction.Reader[T], ready func(*T, *R), use func(line int64, cause string, r *R) error) error {
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan *parcel[T, R], parcelsHeld)
	order := make(chan *parcel[T, R], parcelsHeld)
	free := make(chan *parcel[T, R], 2*parcelsHeld+workers+2)
	g.Go(func() error {
		defer close(work)
		defer close(order)
		for last := false; !last; {
			p := take(free)
			var err error
			if last, err = fill(in, p); err != nil {
				return err
			}
			if p.n == 0 {
				break
			}
			for _, to := range []chan *parcel[T, R]{work, order} {
				select {
				case to <- p:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			for p := range work {
				for i := range p.n {
					if p.cause[i] == "" {
						ready(&p.in[i], &p.out[i])
					}
				}
				close(p.ready)
			}
			return nil
		})
	}
	var failed error
	for p := range order {
		if failed != nil {
			continue // the reader sees that the context ended
		}
		select {
		case <-p.ready:
		case <-ctx.Done():
			failed = ctx.Err()
			continue
		}
		for i := 0; i < p.n && failed == nil; i++ {
			failed = use(p.line[i], p.cause[i], &p.out[i])
		}
		if failed != nil {
			g.Go(func() error { return failed }) // ends the context
		}
		select {
		case free <- p:
		default:
		}
	}
	return g.Wait()
}

func take[T, R any](free chan *parcel[T, R]) *parcel[T, R] {
	select {
	case p := <-free:
		p.ready = make(chan struct{})
		return p
	default:
		return &parcel[T, R]{in: make([]T, parcelLines), line: make([]int64, parcelLines), cause: make([]string, parcelLines),
			out: make([]R, parcelLines), ready: make(chan struct{})}
	}
}

// fill reads as many lines as a parcel holds; last says that there are no more.
func fill[T, R any](in *extraction.Reader[T], p *parcel[T, R]) (last bool, err error) {
	for p.n = 0; p.n < parcelLines; p.n++ {
		err := in.Next(&p.in[p.n])
		var bad *extraction.LineError
		switch {
		case err == nil:
			p.line[p.n], p.cause[p.n] = in.Line(), ""
		case errors.Is(err, io.EOF):
			return true, nil
		case errors.As(err, &bad):
			p.line[p.n], p.cause[p.n] = bad.Line, bad.Cause
		default:
			return false, err
		}
	}
	return false, nil
}
