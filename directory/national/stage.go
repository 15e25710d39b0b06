package national

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/codec/extraction"
	"pli/directory/listing"
	"pli/fault"
	"pli/health"
)

const (
	refusalsKept = 1000
	maxRefused   = 0.01 // of the lines; more, and it is not the file we know
)

// past is what the part that is read says of a row. Instants are few, one for each
// import there was: they are kept once (stager.instants).
type past struct {
	sum      int64 // fingerprint
	changed  instant
	activity bool
}

// pastListing is the same of a listing.
type pastListing struct {
	sum            int64
	changed, since instant // none, and sum of 0: this file has it, and it was written
}

// instant is the place of one in stager.instants; 0 is none.
type instant uint32

// stager writes the idle part. It belongs to one goroutine.
//
// Rows are told apart by a hash of 64 bits of their id, keyed for this run, so that some
// millions of them take some ten megabytes.
type stager struct {
	im         *Importer
	r          *Report
	from, into string // parts
	seed       maphash.Seed

	practitioners, organizations, roles, listings, words *load

	seen, now []byte // instants, as written
	instants  [][]byte
	places    map[int64]instant // of instants, by microseconds

	pastPractitioners, pastOrganizations, pastRoles map[uint64]past
	pastListings                                    map[listing.Key]pastListing
	present                                         int64 // lines that the part that is read has of this file
	found                                           int64 // of them, those that this file has too

	writtenPractitioners, writtenOrganizations, writtenRoles map[uint64]struct{}
	exercises                                                map[uint64]struct{} // of the activity file: professional and structure
	exercising                                               map[uint64]struct{} // of the activity file: professional
	siret                                                    map[uint64]string   // id of a structure that goes by its FINESS

	vocabulary map[string]struct{}
	refusals   []Refusal
	buffer     []byte
}

func (im *Importer) newStager(r *Report, from, into string) *stager {
	s := &stager{
		im: im, r: r, from: from, into: into, seed: maphash.MakeSeed(),
		writtenPractitioners: map[uint64]struct{}{}, writtenOrganizations: map[uint64]struct{}{}, writtenRoles: map[uint64]struct{}{},
		exercises: map[uint64]struct{}{}, exercising: map[uint64]struct{}{}, siret: map[uint64]string{}, vocabulary: map[string]struct{}{},
		instants: [][]byte{nil}, places: map[int64]instant{},
	}
	seen := r.ExtractedAt
	if seen.IsZero() {
		seen = r.StartedAt
	}
	s.seen, s.now = appendTime(nil, seen), appendTime(nil, r.StartedAt)
	return s
}

func (s *stager) hash(id string) uint64 { return maphash.String(s.seed, id) }

func (s *stager) pair(a, b string) uint64 { return maphash.Comparable(s.seed, [2]string{a, b}) }

// open empties every table of the idle part.
func (s *stager) open(ctx context.Context) (err error) {
	for _, t := range []struct {
		sheet sheet
		load  **load
	}{{listings, &s.listings}, {practitioners, &s.practitioners}, {organizations, &s.organizations}, {roles, &s.roles}, {words, &s.words}} {
		if *t.load, err = s.im.open(ctx, t.sheet, s.into); err != nil {
			return err
		}
	}
	return nil
}

func (s *stager) loads() []*load {
	return []*load{s.listings, s.practitioners, s.organizations, s.roles, s.words}
}

func (s *stager) abandon() {
	for _, l := range s.loads() {
		if l != nil {
			l.abandon()
		}
	}
}

// finish ends the writing. Nothing is committed yet.
func (s *stager) finish(ctx context.Context) error {
	for _, l := range s.loads() {
		if err := l.finish(ctx); err != nil {
			return err
		}
	}
	return nil
}

// correspondances stages a file of BAL: professionals and structures are carried over,
// and completed with those that only this file names.
func (s *stager) correspondances(ctx context.Context, in *extraction.Reader[extraction.Correspondance]) error {
	if err := s.rememberOthers(ctx, "NOT from_activity"); err != nil {
		return err
	}
	if err := s.rememberListings(ctx); err != nil {
		return err
	}
	if err := s.carryActivity(ctx); err != nil {
		return err
	}
	s.im.step("staging")
	err := walk(ctx, in, s.im.readBAL, func(line int64, cause string, b *balLine) error {
		s.r.Lines++
		if cause == "" {
			cause = b.cause
		}
		switch {
		case cause != "":
			s.refuse(line, cause)
			return nil
		case b.ours:
			s.r.Ours++
			return nil
		}
		return s.bal(b)
	})
	if err != nil {
		return err
	}
	for w := range s.vocabulary {
		s.buffer = append(appendText(s.buffer[:0], w), '\n')
		if _, err := s.words.out.Write(s.buffer); err != nil {
			return err
		}
	}
	return nil
}

// activities stages a file of exercises: BAL are carried over, and with them those
// professionals and structures that the file does not know.
func (s *stager) activities(ctx context.Context, in *extraction.Reader[extraction.Activity]) error {
	if err := s.rememberOthers(ctx, "true"); err != nil {
		return err
	}
	s.im.step("staging")
	err := walk(ctx, in, readActivity, func(line int64, cause string, a *activityLine) error {
		s.r.Lines++
		if cause == "" {
			cause = a.cause
		}
		if cause != "" {
			s.refuse(line, cause)
			return nil
		}
		return s.activity(a)
	})
	if err != nil {
		return err
	}
	if err := s.carry(ctx, words, s.words, "true", nil); err != nil {
		return err
	}
	return s.carryListings(ctx)
}

func (s *stager) refuse(line int64, cause string) {
	s.r.Refused++
	if len(s.refusals) < refusalsKept {
		s.refusals = append(s.refusals, Refusal{Line: line, Cause: cause})
	}
}

// bal writes a listing and what it alone says.
func (s *stager) bal(b *balLine) error {
	was, known := s.pastListings[b.listing.Key]
	if known && was.changed == 0 {
		s.r.Repeated++
		return nil
	}
	changed, since := s.now, s.now
	switch {
	case !known:
		s.r.Added++
	case was.sum != b.sum:
		s.r.Changed++
		s.found++
		since = s.instants[was.since]
	default:
		s.found++
		since, changed = s.instants[was.since], s.instants[was.changed]
	}
	s.pastListings[b.listing.Key] = pastListing{}
	s.r.Kept++
	s.speak(b.words)
	if err := s.listings.row(b.text, b.sum, s.seen, changed, since, false); err != nil {
		return err
	}
	return s.beside(&b.listing)
}

// instant keeps an instant, once.
func (s *stager) instant(t time.Time) instant {
	us := t.UnixMicro()
	if i, ok := s.places[us]; ok {
		return i
	}
	i := instant(len(s.instants))
	s.instants, s.places[us] = append(s.instants, appendTime(nil, t)), i
	return i
}

// speak adds the words of a tsvector's text to the vocabulary.
func (s *stager) speak(vector string) {
	for {
		open := strings.IndexByte(vector, '\'')
		if open < 0 {
			return
		}
		vector = vector[open+1:]
		end := strings.IndexByte(vector, '\'')
		if end < 0 {
			return
		}
		if _, ok := s.vocabulary[vector[:end]]; !ok {
			s.vocabulary[strings.Clone(vector[:end])] = struct{}{}
		}
		vector = vector[end+1:]
	}
}

// beside writes the professional, the structure and the exercise that a listing names,
// unless they are there.
func (s *stager) beside(l *listing.Listing) error {
	p, o, r := beside(l)
	if at, ok := s.siret[s.hash(o.ID)]; ok {
		o.ID, r.Organization = at, at
	}
	if p.ID != "" {
		if err := s.practitioner(&p, false); err != nil {
			return err
		}
	}
	if o.ID != "" {
		if err := s.organization(&o, false); err != nil {
			return err
		}
	}
	if p.ID == "" {
		return nil
	}
	told := s.exercising
	h := s.hash(p.ID)
	if o.ID != "" {
		told, h = s.exercises, s.pair(p.ID, o.ID)
	}
	if _, ok := told[h]; ok {
		return nil
	}
	r.ID = listing.RoleID(r.Practitioner, r.Organization, r.Profession, r.KnowHow, "", "")
	if h = s.hash(r.ID); !fresh(s.writtenRoles, h) {
		return nil
	}
	var sum int64
	s.buffer, sum = roles.encode(s.buffer[:0], r.Row())
	return s.roles.row(s.buffer, sum, s.seen, s.changed(s.pastRoles[h], sum), nil, false)
}

// activity writes a line of the activity file.
func (s *stager) activity(a *activityLine) error {
	h := s.hash(a.role.ID)
	if !fresh(s.writtenRoles, h) {
		s.r.Repeated++
		return nil
	}
	if err := s.practitioner(&a.practitioner, true); err != nil {
		return err
	}
	if a.organization.ID != "" {
		if err := s.organization(&a.organization, true); err != nil {
			return err
		}
	}
	s.tell(a.role.Practitioner, a.role.Organization)
	s.r.Kept++
	switch was := s.pastRoles[h]; {
	case !was.activity:
		s.r.Added++
	case was.sum != a.sum:
		s.r.Changed++
		s.found++
	default:
		s.found++
	}
	return s.roles.row(a.text, a.sum, s.seen, s.changed(s.pastRoles[h], a.sum), nil, true)
}

// tell keeps who exercises where, by the activity file.
func (s *stager) tell(practitioner, organization string) {
	s.exercising[s.hash(practitioner)] = struct{}{}
	if organization != "" {
		s.exercises[s.pair(practitioner, organization)] = struct{}{}
	}
}

func (s *stager) practitioner(p *listing.Practitioner, fromActivity bool) error {
	h := s.hash(p.ID)
	if !fresh(s.writtenPractitioners, h) {
		return nil
	}
	var sum int64
	s.buffer, sum = practitioners.encode(s.buffer[:0], p.Row())
	return s.practitioners.row(s.buffer, sum, s.seen, s.changed(s.pastPractitioners[h], sum), nil, fromActivity)
}

func (s *stager) organization(o *listing.Organization, fromActivity bool) error {
	h := s.hash(o.ID)
	if !fresh(s.writtenOrganizations, h) {
		return nil
	}
	if fromActivity {
		s.known(o.ID, o.SIRET)
	}
	var sum int64
	s.buffer, sum = organizations.encode(s.buffer[:0], o.Row())
	return s.organizations.row(s.buffer, sum, s.seen, s.changed(s.pastOrganizations[h], sum), nil, fromActivity)
}

// known keeps that a SIRET is of a structure that goes by another identifier.
func (s *stager) known(organization, siret string) {
	if by := listing.OrganizationID("", siret, "", ""); siret != "" && by != organization {
		s.siret[s.hash(by)] = organization
	}
}

// changed is when a row last changed, as written.
func (s *stager) changed(was past, sum int64) []byte {
	if was.changed == 0 || was.sum != sum {
		return s.now
	}
	return s.instants[was.changed]
}

// fresh adds h and reports whether it was absent.
func fresh(m map[uint64]struct{}, h uint64) bool {
	if _, ok := m[h]; ok {
		return false
	}
	m[h] = struct{}{}
	return true
}

// rememberListings reads what the present part says of listings.
func (s *stager) rememberListings(ctx context.Context) error {
	rows, err := s.im.DB.Query(ctx, "SELECT key, sum, changed_at, since_at FROM "+listings.table(s.from))
	if err != nil {
		return err
	}
	s.pastListings = map[listing.Key]pastListing{}
	var key []byte
	var sum int64
	var changed, since time.Time
	_, err = pgx.ForEachRow(rows, []any{&key, &sum, &changed, &since}, func() error {
		if len(key) == len(listing.Key{}) {
			s.pastListings[listing.Key(key)] = pastListing{sum: sum, changed: s.instant(changed), since: s.instant(since)}
		}
		return nil
	})
	s.present = int64(len(s.pastListings))
	return err
}

// rememberOthers reads what the present part says of professionals, structures and
// exercises.
func (s *stager) rememberOthers(ctx context.Context, where string) error {
	for _, t := range []struct {
		sheet sheet
		into  *map[uint64]past
	}{{practitioners, &s.pastPractitioners}, {organizations, &s.pastOrganizations}, {roles, &s.pastRoles}} {
		rows, err := s.im.DB.Query(ctx, "SELECT id, sum, changed_at, from_activity FROM "+t.sheet.table(s.from)+" WHERE "+where)
		if err != nil {
			return err
		}
		*t.into = map[uint64]past{}
		var id string
		var changed time.Time
		var p past
		_, err = pgx.ForEachRow(rows, []any{&id, &p.sum, &changed, &p.activity}, func() error {
			p.changed = s.instant(changed)
			(*t.into)[s.hash(id)] = p
			return nil
		})
		if err != nil {
			return err
		}
	}
	if s.r.Dataset == extraction.Activities {
		for _, p := range s.pastRoles {
			if p.activity {
				s.present++
			}
		}
	}
	return nil
}

// carryActivity carries what came from the activity file.
func (s *stager) carryActivity(ctx context.Context) error {
	id := func(s sheet, m map[uint64]struct{}, hash func(string) uint64) func([][]byte) error {
		at := s.at("id")
		return func(f [][]byte) error { m[hash(readText(f[at]))] = struct{}{}; return nil }
	}
	if err := s.carry(ctx, practitioners, s.practitioners, "from_activity", id(practitioners, s.writtenPractitioners, s.hash)); err != nil {
		return err
	}
	oid, siret := organizations.at("id"), organizations.at("siret")
	err := s.carry(ctx, organizations, s.organizations, "from_activity", func(f [][]byte) error {
		id := readText(f[oid])
		s.writtenOrganizations[s.hash(id)] = struct{}{}
		s.known(id, readText(f[siret]))
		return nil
	})
	if err != nil {
		return err
	}
	rid, p, o := roles.at("id"), roles.at("practitioner"), roles.at("organization")
	return s.carry(ctx, roles, s.roles, "from_activity", func(f [][]byte) error {
		s.writtenRoles[s.hash(readText(f[rid]))] = struct{}{}
		s.tell(readText(f[p]), readText(f[o]))
		return nil
	})
}

// carryListings carries the BAL, and completes professionals and structures with what
// they alone say.
func (s *stager) carryListings(ctx context.Context) error {
	at := func(column string) int { return listings.at(column) }
	kind, ppType, pp, placeType, place := at("kind"), at("pp_type"), at("pp"), at("place_type"), at("place")
	civility, family, given, category, categoryLabel := at("civility"), at("family_name"), at("given_name"), at("category"), at("category_label")
	profession, professionLabel, knowHow, knowHowLabel := at("profession"), at("profession_label"), at("know_how"), at("know_how_label")
	service, structure, trade, sector, complement := at("service"), at("structure"), at("trade_name"), at("sector"), at("complement")
	street, postal, town, department, country := at("street"), at("postal_code"), at("city"), at("department"), at("country")
	return s.carry(ctx, listings, s.listings, "true", func(f [][]byte) error {
		return s.beside(&listing.Listing{
			Kind: health.BALKind(f[kind]), PPType: readText(f[ppType]), PP: readText(f[pp]), PlaceType: readText(f[placeType]), Place: readText(f[place]),
			Civility: readText(f[civility]), FamilyName: readText(f[family]), GivenName: readText(f[given]), Category: readText(f[category]),
			CategoryLabel: readText(f[categoryLabel]), Profession: readText(f[profession]), ProfessionLabel: readText(f[professionLabel]),
			KnowHow: readText(f[knowHow]), KnowHowLabel: readText(f[knowHowLabel]), Service: readText(f[service]), Structure: readText(f[structure]),
			TradeName: readText(f[trade]), Sector: readText(f[sector]), Complement: readText(f[complement]), Street: readText(f[street]),
			PostalCode: readText(f[postal]), City: readText(f[town]), Department: readText(f[department]), Country: readText(f[country]),
		})
	})
}

// carry copies rows of the part that is read into the idle one as they are, and shows
// the fields of each to look.
func (s *stager) carry(ctx context.Context, sh sheet, to *load, where string, look func([][]byte) error) error {
	conn, err := s.im.DB.Pool().Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	w := &carrier{to: to.out, look: look}
	sql := "COPY (SELECT " + strings.Join(sh.columns, ", ") + " FROM " + sh.table(s.from) + " WHERE " + where + ") TO STDOUT"
	if _, err = conn.Conn().PgConn().CopyTo(ctx, w, sql); err != nil {
		return err
	}
	if len(w.part) > 0 {
		return fault.New(fault.Internal, "national.carry", "half-a-row")
	}
	return nil
}

// carrier passes rows on, whole.
type carrier struct {
	to   io.Writer
	look func([][]byte) error
	part []byte // of a row whose end has not come yet
	f    [][]byte
}

func (c *carrier) Write(b []byte) (int, error) {
	n := len(b)
	if len(c.part) > 0 {
		b = append(c.part, b...)
		c.part = nil
	}
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			c.part = slices.Clone(b)
			break
		}
		if err := c.row(b[:end+1]); err != nil {
			return 0, err
		}
		b = b[end+1:]
	}
	return n, nil
}

func (c *carrier) row(b []byte) error {
	if _, err := c.to.Write(b); err != nil || c.look == nil {
		return err
	}
	c.f = c.f[:0]
	for rest := b[:len(b)-1]; ; {
		tab := bytes.IndexByte(rest, '\t')
		if tab < 0 {
			c.f = append(c.f, rest)
			break
		}
		c.f = append(c.f, rest[:tab])
		rest = rest[tab+1:]
	}
	return c.look(c.f)
}

// guard says why what was staged must not be published, if it must not.
func (s *stager) guard(maxLoss float64) error {
	const op = "national.guard"
	s.r.Gone = s.present - s.found
	switch {
	case s.r.Kept == 0 && s.r.Ours == 0:
		return fault.New(fault.InvalidContent, op, "empty")
	case float64(s.r.Refused) > maxRefused*float64(s.r.Lines):
		return fault.New(fault.InvalidContent, op, "too-many-refused")
	case float64(s.r.Gone) > maxLoss*float64(s.present):
		return fault.New(fault.InvalidContent, op, "too-many-gone")
	}
	return nil
}

// cause is the code under which a file is refused, "" when the failure is not the file's.
func cause(err error) string {
	if errors.Is(err, extraction.ErrTruncated) {
		return "truncated"
	}
	var fe *fault.Error
	if errors.As(err, &fe) && fe.Kind == fault.InvalidContent {
		return fe.Code
	}
	// What PostgreSQL cannot keep (22, 54) it could not keep tomorrow either.
	if s := sqlState(err); strings.HasPrefix(s, "22") || strings.HasPrefix(s, "54") {
		return "sqlstate-" + s
	}
	return ""
}
