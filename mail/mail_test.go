package mail_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pli/fault"
	"pli/mail"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		"Jean.Dupont@Medecin.MSS-A.example":        "jean.dupont@medecin.mss-a.example",
		"279035121518989@patient.mss-a.example":    "279035121518989@patient.mss-a.example",
		"o'hara+x=y_z-1@a.b":                       "o'hara+x=y_z-1@a.b",
		strings.Repeat("a", 64) + "@mss-a.example": strings.Repeat("a", 64) + "@mss-a.example",
		"":                                     "",
		"nobody":                               "",
		"@mss-a.example":                       "",
		"a@localhost":                          "",
		"a@-x.example":                         "",
		"a@x..example":                         "",
		"a@x.example.":                         "",
		".a@x.example":                         "",
		"a..b@x.example":                       "",
		"a b@x.example":                        "",
		"é@x.example":                          "",
		"a@x.example\r\nRCPT TO:<b@x.example>": "",
		"\"a b\"@x.example":                    "",
		strings.Repeat("a", 65) + "@mss-a.example":      "",
		"a@" + strings.Repeat("x.", 126) + "examples":   "",
		"a@" + strings.Repeat("x", 64) + ".mss.example": "",
	} {
		a, err := mail.ParseAddress(in)
		if want == "" {
			if !fault.Is(err, fault.InvalidAddress) {
				t.Errorf("%q: %v, want InvalidAddress", in, err)
			}
			if err != nil && len(in) > 8 && strings.Contains(err.Error(), in) {
				t.Errorf("the error tells the address: %v", err)
			}
			continue
		}
		if err != nil || a.Reveal() != want || a.Local()+"@"+a.Domain() != want {
			t.Errorf("%q: %q, %v", in, a.Reveal(), err)
		}
		if a != mail.MustAddress(strings.ToUpper(want)) {
			t.Errorf("%q: case tells two equal addresses apart", in)
		}
	}
}

func TestAnAddressNeverPrintsItself(t *testing.T) {
	type inside struct{ a mail.Address }
	a := mail.MustAddress("jeanne@mss-a.example")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "a", a, "in", inside{a}, "list", []mail.Address{a})
	for _, s := range []string{
		fmt.Sprint(a), fmt.Sprintf("%s %v %+v %#v %q %x %d", a, a, a, a, a, a, a),
		fmt.Sprintf("%v %+v %#v", inside{a}, inside{a}, []mail.Address{a}), log.String(),
	} {
		if strings.Contains(s, "jeanne") || strings.Contains(s, "6a65616e6e65") {
			t.Errorf("printed: %s", s)
		}
	}
	var none mail.Address
	if none.Reveal() != "" || none.Local() != "" || none.Domain() != "" || !none.IsZero() {
		t.Error("the zero address is not none")
	}
}

func TestNotify(t *testing.T) {
	for _, c := range []struct {
		n    mail.Notify
		e    mail.Notify
		want bool
	}{
		{mail.NotifyDefault, mail.NotifyFailure, true},
		{mail.NotifyDefault, mail.NotifyDelay, true},
		{mail.NotifyDefault, mail.NotifySuccess, false},
		{mail.NotifyNever, mail.NotifyFailure, false},
		{mail.NotifySuccess, mail.NotifyFailure, false},
		{mail.NotifySuccess | mail.NotifyFailure, mail.NotifyFailure, true},
	} {
		if got := c.n.Wants(c.e); got != c.want {
			t.Errorf("%d.Wants(%d) = %v", c.n, c.e, got)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a@b.example", "279035121518989@patient.mss-a.example", "a@b", "\x00@x.y", "a@b.example\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return
		}
		b, err := mail.ParseAddress(a.Reveal())
		if err != nil || b != a {
			t.Fatalf("what was read cannot be read again")
		}
		if strings.ContainsAny(a.Reveal(), "\r\n<> \x00") {
			t.Fatal("a separator got in")
		}
	})
}
