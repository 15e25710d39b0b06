package fault_test

import (
	"testing"

	"pli/fault"
)

// The FHIR column of the house's table, spelled again.
func TestFHIRFaces(t *testing.T) {
	want := map[fault.Kind]string{
		fault.Internal: "exception", fault.Invalid: "invalid", fault.InvalidAddress: "invalid", fault.InvalidContent: "invalid",
		fault.Unauthenticated: "login", fault.WrongSecret: "login", fault.Forbidden: "forbidden",
		fault.NotFound: "not-found", fault.Withheld: "not-found", fault.Closed: "deleted", fault.Conflict: "conflict",
		fault.TooLarge: "too-long", fault.Quota: "business-rule", fault.RateLimited: "throttled", fault.Untrusted: "security",
		fault.Infected: "business-rule", fault.Unavailable: "transient", fault.Timeout: "timeout", fault.Corrupt: "exception",
	}
	for _, k := range fault.Kinds() {
		if w, ok := want[k]; !ok || k.FHIR() != w {
			t.Errorf("%v: %q, want %q", k, k.FHIR(), w)
		}
	}
	if fault.Kind(250).FHIR() != "exception" {
		t.Error("an unknown kind is not an exception")
	}
}
