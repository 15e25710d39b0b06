package resource

import (
	"testing"

	"pli/codec/fhir"
)

// A condition that is about many rows finds the same as one that is about few, whose ids
// are looked up first.
func TestBroadConditions(t *testing.T) {
	s := country(t, 24_000)
	for _, c := range []struct{ kind, raw string }{
		{Practitioner, "mailbox-mss=boite"},
		{Practitioner, "mailbox-mss-type=PER"},
		{Practitioner, "mailbox-mss:missing=false"},
		{Practitioner, "qualification-code=10"},
		{Practitioner, "_lastUpdated=ge2026-10-20"},
		{PractitionerRole, "mailbox-mss=boite"},
		{PractitionerRole, "practitioner.given=prenom1"},
		{PractitionerRole, "organization.address-city=ville"},
		{Organization, "mailbox-mss=boite"},
		{Organization, "mailbox-mss-type=ORG"},
	} {
		pairs, _ := fhir.ParsePairs(c.raw)
		q, issues := fhir.Parse(Catalogue(), c.kind, pairs, true)
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		q.Count = fhir.MaxCount
		total, after := 0, ""
		for range 40 { // pages
			page, err := s.Search(t.Context(), q, after)
			if err != nil {
				t.Fatalf("%s?%s: %v", c.kind, c.raw, err)
			}
			total += len(page.Resources)
			if after = page.After; after == "" {
				break
			}
		}
		if total < few && after == "" {
			t.Errorf("%s?%s found %d: it is not broad", c.kind, c.raw, total)
		}
		// Each of those on the first page is found alone, too.
		page, err := s.Search(t.Context(), q, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Resources[:3] {
			alone := q
			alone.Filters = append([]fhir.Filter{{Param: "_id", Values: []fhir.Value{{Code: r.ID}}}}, q.Filters...)
			if p, err := s.Search(t.Context(), alone, ""); err != nil || ids(p) != r.ID {
				t.Errorf("%s?%s: %s alone: %q %v", c.kind, c.raw, r.ID, ids(p), err)
			}
		}
	}
}
