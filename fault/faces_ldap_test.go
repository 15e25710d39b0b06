package fault_test

import (
	"testing"

	"pli/fault"
)

// The LDAP column of the table of the house, spelled again.
func TestLDAPFaces(t *testing.T) {
	want := map[fault.Kind]int{
		fault.Internal: 80, fault.Corrupt: 80,
		fault.Invalid: 21, fault.InvalidAddress: 21, fault.InvalidContent: 21,
		fault.Unauthenticated: 49, fault.WrongSecret: 49,
		fault.Forbidden: 50, fault.NotFound: 32, fault.Withheld: 32,
		fault.Closed: 53, fault.Infected: 53, fault.Conflict: 68,
		fault.TooLarge: 11, fault.Quota: 11, fault.RateLimited: 51, fault.Untrusted: 13,
		fault.Unavailable: 52, fault.Timeout: 52,
	}
	for _, k := range fault.Kinds() {
		if w, ok := want[k]; !ok {
			t.Errorf("%v has no row in this table", k)
		} else if got := k.LDAP(); got != w {
			t.Errorf("%v: %d, want %d", k, got, w)
		}
	}
	if got := fault.Kind(255).LDAP(); got != 80 {
		t.Errorf("a kind nobody knows: %d", got)
	}
}
