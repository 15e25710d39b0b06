package webd

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// media sets what the page believes it is shown on.
func (tb *tab) media(kind string, features ...*emulation.MediaFeature) {
	tb.Helper()
	if _, err := chromedp.Call(tb.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: kind, Features: features}); err != nil {
		tb.Fatal(err)
	}
}

// On paper there is no menu and no form, but whose page it is and when it was printed.
func TestPrint(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 800)
	tb.signIn()
	tb.goTo("/messages/" + h.letters[0].ID.String())
	tb.media("print")
	got := tb.text()
	for _, want := range []string{"Aline ORMELUNE", "12\u00a0juin 1985", "imprimé le mardi 10\u00a0mars 2026", "Passez me voir jeudi"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q on paper: %.500q", want, got)
		}
	}
	for _, not := range []string{"Se déconnecter", "Votre message", "Ouvrir", "En cas d'urgence"} {
		if strings.Contains(got, not) {
			t.Errorf("%q on paper", not)
		}
	}
	tb.shot("papier")
}

// With the reader's own high-contrast colours the pages stay whole.
func TestForcedColours(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 360)
	tb.signIn()
	tb.media("", &emulation.MediaFeature{Name: "forced-colors", Value: "active"})
	for _, p := range []string{"/", "/messages/" + h.letters[2].ID.String(), "/dossier"} {
		tb.goTo(p)
		if got := eval[string](tb, `getComputedStyle(document.querySelector(".menu [aria-current]")).borderTopStyle`); got != "solid" {
			t.Errorf("%s: the current entry has no border: %s", p, got)
		}
		for _, f := range tb.faults() {
			t.Errorf("%s: %s", p, f)
		}
	}
	tb.shot("couleurs-forcees")
}

// A PDF opens in the browser's own viewer without breaking its policy.
func TestOpenPDF(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 1280)
	tb.signIn()
	tb.goTo("/messages/" + h.letters[2].ID.String() + "/2/0/ouvrir")
	if got := eval[string](tb, "document.contentType"); got != "application/pdf" {
		t.Errorf("shown as %s", got)
	}
	time.Sleep(500 * time.Millisecond) // the viewer
	tb.shot("pdf")
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if len(tb.problems) > 0 {
		t.Error(tb.problems)
	}
}
