package resource

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"pli/codec/fhir"
	"pli/internal/pg"
)

// include brings along what a query asks for: in one or two statements, whatever the
// number of rows found. It reports whether there was more than a page may hold.
func (v *view) include(q fhir.Query, found *rows) (*rows, bool, error) {
	out := &rows{}
	cut := false
	if slices.Contains(q.RevInclude, rolePractitioner) || slices.Contains(q.RevInclude, roleOrganization) {
		more, err := v.rolesOf(found)
		if err != nil {
			return nil, false, err
		}
		if cut = len(more.roles) > maxIncluded; cut {
			more.cut(maxIncluded)
		}
		out.roles = more.roles
	}
	people, places := []string{}, []string{}
	for i := range found.roles {
		if slices.Contains(q.Include, rolePractitioner) {
			people = append(people, found.roles[i].Practitioner)
		}
		if slices.Contains(q.Include, roleOrganization) && found.roles[i].Organization != "" {
			places = append(places, found.roles[i].Organization)
		}
	}
	for i := range found.organizations {
		if o := &found.organizations[i]; slices.Contains(q.Include, placePartOf) && o.partOf() != "" {
			places = append(places, o.partOf())
		}
	}
	p, err := v.get(Practitioner, people)
	if err != nil {
		return nil, false, err
	}
	o, err := v.get(Organization, places)
	if err != nil {
		return nil, false, err
	}
	out.practitioners, out.organizations = p.practitioners, o.organizations
	return out, cut, nil
}

// rolesOf finds the exercises of the professionals found, and in the places found.
func (v *view) rolesOf(found *rows) (*rows, error) {
	people, places := make([]string, 0, len(found.practitioners)), make([]string, 0, len(found.organizations))
	for i := range found.practitioners {
		people = append(people, found.practitioners[i].ID)
	}
	for i := range found.organizations {
		places = append(places, found.organizations[i].ID)
	}
	return v.read(PractitionerRole, v.about(rolesOf, PractitionerRole, ""), people, places, maxIncluded+1)
}

// surroundings are what resources show beyond their own rows.
type surroundings struct {
	source        string
	people        map[string]*practitionerRow // by id, of roles
	places        map[string]*organizationRow // by id, of roles
	exercises     map[string][]*roleRow       // by professional
	legalEntities map[string]bool             // ids of those that can be read
	byPerson      map[person][]mailbox
	byPlace       map[string][]mailbox // by number, whatever its type
}

type person struct{ kind, number string }

// surroundings reads them, a fixed number of statements for any number of rows.
func (v *view) surroundings(all ...*rows) (*surroundings, error) {
	s := &surroundings{source: v.source, people: map[string]*practitionerRow{}, places: map[string]*organizationRow{},
		exercises: map[string][]*roleRow{}, legalEntities: map[string]bool{}, byPerson: map[person][]mailbox{}, byPlace: map[string][]mailbox{}}
	var people, ofRoles, atRoles, legal []string
	var numbers, places []string
	for _, r := range all {
		for i := range r.practitioners {
			p := &r.practitioners[i]
			people, numbers = append(people, p.ID), append(numbers, p.PP)
			s.people[p.ID] = p
		}
		for i := range r.organizations {
			o := &r.organizations[i]
			places = append(places, o.numbers()...)
			s.places[o.ID] = o
			if id := o.partOf(); id != "" {
				legal = append(legal, id)
			}
		}
	}
	for _, r := range all {
		for i := range r.roles {
			role := &r.roles[i]
			if s.people[role.Practitioner] == nil {
				ofRoles = append(ofRoles, role.Practitioner)
			}
			if s.places[role.Organization] == nil && role.Organization != "" {
				atRoles = append(atRoles, role.Organization)
			}
		}
	}
	p, err := v.get(Practitioner, ofRoles)
	if err != nil {
		return nil, err
	}
	for i := range p.practitioners {
		s.people[p.practitioners[i].ID] = &p.practitioners[i]
		numbers = append(numbers, p.practitioners[i].PP)
	}
	o, err := v.get(Organization, atRoles)
	if err != nil {
		return nil, err
	}
	for i := range o.organizations {
		s.places[o.organizations[i].ID] = &o.organizations[i]
	}
	return s, v.fetch(s, people, legal, numbers, places)
}

// fetch reads in one round trip the exercises of professionals, the BAL of people and
// places, and which legal entities there are.
func (v *view) fetch(s *surroundings, people, legal, numbers, places []string) error {
	numbers, places = nonempty(numbers), nonempty(places)
	batch := &pgx.Batch{}
	if len(people) > 0 {
		batch.Queue(v.about(rolesOf, PractitionerRole, ""), people, []string{}, maxExercises).Query(func(rs pgx.Rows) error {
			found, err := pgx.CollectRows(rs, scanRole)
			for i := range found {
				s.exercises[found[i].Practitioner] = append(s.exercises[found[i].Practitioner], &found[i])
			}
			return err
		})
	}
	if len(legal) > 0 {
		batch.Queue(v.of(existing), legal).Query(func(rs pgx.Rows) error {
			found, err := pgx.CollectRows(rs, pgx.RowTo[string])
			for _, id := range found {
				s.legalEntities[id] = true
			}
			return err
		})
	}
	if len(numbers)+len(places) > 0 {
		batch.Queue(v.of(mailboxes), numbers, places).Query(func(rs pgx.Rows) error {
			found, err := pgx.CollectRows(rs, scanMailbox)
			for _, m := range found {
				if m.pp != "" {
					k := person{m.ppType, m.pp}
					s.byPerson[k] = append(s.byPerson[k], m)
				}
				if m.place != "" {
					s.byPlace[m.place] = append(s.byPlace[m.place], m)
				}
			}
			return err
		})
	}
	if batch.Len() == 0 {
		return nil
	}
	return pg.Error("resource.fetch", v.tx.SendBatch(v.ctx, batch).Close())
}

// maxExercises bounds the exercises read for the qualifications of a page.
const maxExercises = 10_000

func nonempty(list []string) []string {
	list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
	slices.Sort(list)
	return slices.Compact(list)
}

// resources writes rows, but for those already there.
func (s *surroundings) resources(r *rows, there []Resource) ([]Resource, error) {
	known := make(map[string]bool, len(there))
	for i := range there {
		known[there[i].ID] = true // ids of the three types never meet
	}
	out := make([]Resource, 0, len(r.practitioners)+len(r.roles)+len(r.organizations))
	add := func(id string, write func() (Resource, error)) error {
		if known[id] {
			return nil
		}
		known[id] = true
		res, err := write()
		out = append(out, res)
		return err
	}
	for i := range r.practitioners {
		if err := add(r.practitioners[i].ID, func() (Resource, error) { return s.practitioner(&r.practitioners[i]) }); err != nil {
			return nil, err
		}
	}
	for i := range r.roles {
		if err := add(r.roles[i].ID, func() (Resource, error) { return s.role(&r.roles[i]) }); err != nil {
			return nil, err
		}
	}
	for i := range r.organizations {
		if err := add(r.organizations[i].ID, func() (Resource, error) { return s.organization(&r.organizations[i]) }); err != nil {
			return nil, err
		}
	}
	return out, nil
}
