package ticket

import (
	"testing"
	"time"
)

func TestTickets(t *testing.T) {
	o, err := New([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := New([]byte("0123456789abcdeg"))
	now := time.Unix(1_800_000_000, 0)
	k := o.Seal([]byte("martin"), "account 3", now.Add(time.Minute))
	if v, err := o.Open(k, "account 3", now); err != nil || string(v) != "martin" {
		t.Fatalf("%q, %v", v, err)
	}
	changed := []byte(k)
	changed[len(changed)/2] ^= 1
	for name, try := range map[string]func() ([]byte, error){
		"another bearer": func() ([]byte, error) { return o.Open(k, "account 4", now) },
		"too old":        func() ([]byte, error) { return o.Open(k, "account 3", now.Add(2*time.Minute)) },
		"another office": func() ([]byte, error) { return other.Open(k, "account 3", now) },
		"changed":        func() ([]byte, error) { return o.Open(string(changed), "account 3", now) },
		"short":          func() ([]byte, error) { return o.Open("AAAA", "account 3", now) },
		"not base64":     func() ([]byte, error) { return o.Open("é", "account 3", now) },
	} {
		if v, err := try(); err == nil {
			t.Errorf("%s: %q", name, v)
		}
	}
	if o.Seal([]byte("martin"), "", now) == o.Seal([]byte("martin"), "", now) {
		t.Error("two tickets for one value look alike")
	}
}
