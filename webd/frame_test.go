package webd

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// An HTML body is shown in its own box: its words and its own image, no script, no form,
// nothing from elsewhere.
func TestHTMLBodyInItsFrame(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 1280)
	tb.signIn()
	tb.goTo("/messages/" + h.letters[6].ID.String())
	var text string
	for range 40 {
		infos, err := chromedp.Targets(tb.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			if i.Type == "iframe" && strings.HasSuffix(i.URL, "/corps") {
				ctx, cancel := chromedp.NewContext(tb.ctx, chromedp.WithTargetID(target.ID(i.TargetID)))
				text, err = chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText+'|'+document.images.length+'|'+(document.images[0]||{}).naturalWidth+'|'+document.forms.length+'|'+getComputedStyle(document.body).backgroundColor+'|'+document.links.length"))
				cancel()
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if text != "" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%q", text)
	tb.clean()
}
