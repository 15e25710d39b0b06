package publication

import (
	"testing"

	"pli/directory"
	"pli/health"
)

// Faults that were found, each with its test.

// A command on a machine whose configuration names no national directory puts a BAL on
// the liste rouge.
func TestWhatChangesWhereThereIsNoChannelIsToldByAnother(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.national.Add("Organization", finessID)
	const address = "cardiologie@mss-a.example"
	b := h.bal(health.ORG, address, finess)
	h.sent(b)
	silent, err := New(Deps{DB: h.db, Jobs: h.jobs, Register: h.d, Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	h.d.Plug(directory.Plugs{Outlet: silent})
	h.update(b, directory.Changes{Unlisted: ptr(true)})
	other := h.bal(health.ORG, "autre@mss-a.example", finess)
	if s := h.status(b); s.State != Waiting {
		t.Errorf("the change is lost: %+v", s)
	}
	if s := h.status(other); s != (Status{}) {
		t.Errorf("a BAL never told of waits: %+v", s)
	}
	if err := h.p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.sent(b)
	if _, _, ok := h.national.Published(address); ok {
		t.Error("a BAL on the liste rouge is published still")
	}
}
