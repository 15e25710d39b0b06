package id_test

import (
	"testing"

	"pli/internal/id"
)

func TestIDRoundTrip(t *testing.T) {
	seen := map[id.ID]bool{}
	for range 1000 {
		v := id.New()
		w, err := id.Parse(v.String())
		if err != nil || w != v || seen[v] || v.IsZero() {
			t.Fatalf("%v: %v", v, err)
		}
		seen[v] = true
	}
	for _, s := range []string{"", "x", "00000000-0000-0000-0000-00000000000", "00000000+0000-0000-0000-000000000000", "0000000g-0000-0000-0000-000000000000"} {
		if _, err := id.Parse(s); err == nil {
			t.Errorf("%q is no identifier", s)
		}
	}
}
