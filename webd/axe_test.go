package webd

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

const axeVersion = "4.14.1"

var axe = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "pli", "axe-"+axeVersion)
	file := filepath.Join(dir, "node_modules", "axe-core", "axe.min.js")
	if b, err := os.ReadFile(file); err == nil {
		return string(b), nil
	}
	out, err := exec.Command("../scripts/axe.sh", axeVersion, dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("scripts/axe.sh: %w\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	return string(b), err
})

type violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// violations runs axe on the page as it stands: WCAG 2.0 to 2.2, A and AA, and the best
// practices.
func (tb *tab) violations() []violation {
	tb.Helper()
	src, err := axe()
	if err != nil {
		if os.Getenv("PLI_E2E") == "" {
			tb.Skipf("axe-core cannot be fetched: %v", err)
		}
		tb.Fatal(err)
	}
	tb.run(chromedp.Evaluate[chromedp.Void](src))
	raw, err := chromedp.Run(tb.ctx, chromedp.Evaluate[string](
		`axe.run(document, {runOnly: {type: "tag", values: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]}, resultTypes: ["violations"], iframes: false}).then(r => JSON.stringify(r.violations))`, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.Fatal(err)
	}
	var vs []violation
	if err := json.Unmarshal([]byte(raw), &vs); err != nil {
		tb.Fatal(err)
	}
	return vs
}

func (tb *tab) accessible(name string) {
	tb.Helper()
	for _, v := range tb.violations() {
		for _, n := range v.Nodes {
			tb.Errorf("%s: axe %s (%s): %s\n\t%s\n\t%s", name, v.ID, v.Impact, v.Help, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", " "))
		}
	}
}

// The checkers see what is wrong, so their silence means something.
func TestCheckersSeeFaults(t *testing.T) {
	tb := newTab(t, door(t, newHouse()).URL, 360)
	tb.goTo("/connexion")
	tb.run(chromedp.Evaluate[chromedp.Void](`document.querySelector("label").remove(); document.querySelector(".hint").className = "";
		document.querySelector("h1").outerHTML = "<h3 id='x'><img src='https://ailleurs.example/x.png'><div id='large'>x</div></h3>";
		document.querySelector("#large").append(...Array(300).fill("m")); document.querySelector("#large").className = "ref"`))
	ids := map[string]bool{}
	for _, v := range tb.violations() {
		ids[v.ID] = true
	}
	if !ids["label"] || !ids["image-alt"] {
		t.Errorf("axe did not see a missing label and alternative: %v", ids)
	}
	found := strings.Join(tb.faults(), "\n")
	for _, want := range []string{"0 h1", "heading skips", "scrolls sideways"} {
		if !strings.Contains(found, want) {
			t.Errorf("no %q in %q", want, found)
		}
	}
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if len(tb.problems) == 0 {
		t.Error("an image from elsewhere did not break the content policy")
	}
	tb.problems, tb.outside = nil, nil
}

// faults are what axe does not look at (RGAA 4.1, ux.md §8.1, §9).
func (tb *tab) faults() []string {
	tb.Helper()
	const js = `(() => {
		const bad = [];
		const all = s => [...document.querySelectorAll(s)];
		if (document.compatMode !== "CSS1Compat") bad.push("no doctype");
		if (!document.documentElement.lang) bad.push("no language");
		if (all("h1").length !== 1) bad.push(all("h1").length + " h1");
		let last = 0;
		for (const h of all("h1,h2,h3,h4,h5,h6")) { const l = +h.tagName[1]; if (l > last + 1) bad.push("heading skips to " + h.outerHTML.slice(0, 80)); last = l; }
		for (const tag of ["main", "body > footer", "body > header"]) if (all(tag).length !== 1) bad.push(all(tag).length + " " + tag);
		const ids = all("[id]").map(e => e.id), twice = ids.filter((v, i) => ids.indexOf(v) !== i);
		if (twice.length) bad.push("id twice: " + twice);
		if (document.scripts.length) bad.push("scripts");
		if (all("[style],style").length) bad.push("inline style");
		for (const e of all("iframe")) if (!e.title) bad.push("frame without title");
		for (const e of all("table")) if (!e.querySelector("th[scope]")) bad.push("table without scoped headers");
		for (const e of all("a[href],button,input:not([type=hidden]),textarea,summary")) {
			const r = e.getBoundingClientRect();
			if (r.width && (r.height < 24 || r.width < 24) && getComputedStyle(e).display !== "inline") bad.push("small target " + Math.round(r.width) + "x" + Math.round(r.height) + " " + e.outerHTML.slice(0, 90));
		}
		const w = document.documentElement;
		if (w.scrollWidth > w.clientWidth) {
			const wide = all("body *").filter(e => e.getBoundingClientRect().right > w.clientWidth + 1).map(e => e.tagName + "." + e.className).slice(-3);
			bad.push("scrolls sideways: " + w.scrollWidth + " > " + w.clientWidth + " " + wide);
		}
		if (document.body.innerText.includes("‹")) bad.push("missing text " + document.body.innerText.match(/‹[^›]*›/));
		if (/%!|\(MISSING\)|\bnil\b/.test(document.body.innerText)) bad.push("broken text");
		return bad;
	})()`
	return eval[[]string](tb, js)
}

// check is every assertion on a page.
func (tb *tab) check(name string) {
	tb.Helper()
	tb.accessible(name)
	for _, b := range tb.faults() {
		tb.Errorf("%s: %s", name, b)
	}
	tb.clean()
}

// Every page in every state, at three widths, in both languages and both themes.
func TestPagesAreAccessible(t *testing.T) {
	for _, c := range []struct {
		name    string
		width   int64
		dark    bool
		english bool
	}{{"360", 360, false, false}, {"1280", 1280, false, false}, {"320 dark", 320, true, false}, {"1280 dark English", 1280, true, true}} {
		t.Run(c.name, func(t *testing.T) { visitAll(t, c.width, c.dark, c.english) })
	}
}

func visitAll(t *testing.T, width int64, dark, english bool) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, width)
	tb.theme(dark)
	if english {
		tb.goTo("/")
		tb.submit("form[action='/langue'] button")
	}
	titles := map[string]string{}
	look := func(p place) {
		tb.goTo(p.path(h))
		if p.name == "corps" {
			return
		}
		tb.check(p.name)
		tb.shot(fmt.Sprintf("%s-%d-%v", p.name, width, dark))
		title := eval[string](tb, "document.title")
		if len(strings.Split(title, " – ")) < 2 {
			t.Errorf("%s: title %q", p.name, title)
		}
		titles[p.name] = title
	}
	for _, p := range places() {
		if p.seen == 0 {
			look(p)
		}
	}
	tb.eachPlace(look)
	if titles["dossier"] == titles["messages"] || !strings.Contains(titles["dossier"], "Aline ORMELUNE") {
		t.Errorf("titles do not tell pages apart: %v", titles)
	}
}
