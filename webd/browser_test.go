package webd

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

var (
	shotsDir = flag.String("shots", "", "save a picture of every page in this folder")
	realSite = flag.String("site", "", "take the pictures of a running Pli: the path of its demo.json")
)

// browser is one headless Chromium for the whole test binary.
var browser struct {
	once   sync.Once
	ctx    context.Context
	cancel func()
	err    error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if browser.cancel != nil {
		browser.cancel()
	}
	os.Exit(code)
}

// chromium finds the browser, or skips unless PLI_E2E asks for it.
func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	if os.Getenv("PLI_E2E") != "" {
		t.Fatal("PLI_E2E is set and there is no chromium")
	}
	t.Skip("no chromium: browser tests not run (set PLI_E2E=1 to require it)")
	return ""
}

// tab is one page of the browser with its own cookies. It keeps what went wrong: errors
// of the content policy, and requests that left for elsewhere.
type tab struct {
	testing.TB
	ctx  context.Context
	base string

	mu       sync.Mutex
	outside  []string
	problems []string
	weights  map[string]float64 // octets on the wire by request id
	count    int                // requests since reset
}

func startBrowser(path string) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "fr-FR"), chromedp.Env("LANGUAGE=fr"), chromedp.WSURLReadTimeout(time.Minute))
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	browser.ctx = ctx
	browser.cancel = func() { cancel(); cancelAlloc() }
	browser.err = chromedp.Do(ctx)
}

// newTab opens a page of width pixels on the server at base.
func newTab(t testing.TB, base string, width int64) *tab {
	t.Helper()
	path := chromium(t)
	browser.once.Do(func() { startBrowser(path) })
	if browser.err != nil {
		t.Fatalf("chromium does not start: %v", browser.err)
	}
	tb := &tab{TB: t, base: base, weights: map[string]float64{}}
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(tb.listen))
	t.Cleanup(cancel)
	tctx, cancelTime := context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(cancelTime)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	tb.ctx = tctx
	if _, err := chromedp.Call(tctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	tb.size(width)
	return tb
}

func (tb *tab) listen(ev any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		tb.count++
		u := e.Request.URL
		if !strings.HasPrefix(u, tb.base) && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "about:") && !strings.HasPrefix(u, "chrome-extension:") {
			tb.outside = append(tb.outside, u)
		}
	case *network.EventLoadingFinished:
		tb.weights[string(e.RequestID)] = e.EncodedDataLength
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			tb.problems = append(tb.problems, e.Entry.Text)
		}
	}
}

func (tb *tab) size(width int64) {
	tb.Helper()
	tb.run(chromedp.EmulateViewport(width, 860))
}

func (tb *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	tb.Helper()
	if err := chromedp.Do(tb.ctx, steps...); err != nil {
		tb.Fatal(err)
	}
}

func (tb *tab) goTo(path string) {
	tb.Helper()
	tb.run(chromedp.Navigate(tb.base + path))
}

// eval runs a script of the test, never of the page.
func eval[T any](tb *tab, js string, opts ...chromedp.EvaluateOption) T {
	tb.Helper()
	v, err := chromedp.Run(tb.ctx, chromedp.Evaluate[T](js, opts...))
	if err != nil {
		tb.Fatalf("%s: %v", js, err)
	}
	return v
}

// signIn types its way in.
func (tb *tab) signIn() {
	tb.Helper()
	tb.signInAs(testLogin, testPassword)
}

func (tb *tab) signInAs(login, password string) {
	tb.Helper()
	tb.goTo("/connexion")
	tb.fill("#identifiant", login)
	tb.fill("#motdepasse", password)
	tb.submit("form[action='/connexion'] .button")
	tb.fill("#code", testCode)
	tb.submit("form[action='/connexion/code'] .button")
}

func (tb *tab) fill(sel, text string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS(sel), text)); err != nil {
		tb.Fatalf("%s: %v; the page says: %.800s", sel, err, tb.text())
	}
}

// submit clicks and waits for the next page.
func (tb *tab) submit(sel string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, 20*time.Second)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(sel))); err != nil {
		tb.Fatalf("clicking %s: %v", sel, err)
	}
}

func (tb *tab) text() string {
	tb.Helper()
	return eval[string](tb, "document.body.innerText")
}

// shot saves a picture of the page when -shots asks for them.
func (tb *tab) shot(name string) {
	tb.Helper()
	if *shotsDir == "" {
		return
	}
	b, err := chromedp.Run(tb.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.MkdirAll(*shotsDir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(*shotsDir, name+".png"), b, 0o644)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// clean fails when the page broke the content policy or called elsewhere.
func (tb *tab) clean() {
	tb.Helper()
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, p := range tb.problems {
		tb.Errorf("content policy: %s", p)
	}
	for _, u := range tb.outside {
		tb.Errorf("a request left for %s", u)
	}
	tb.problems, tb.outside = nil, nil
}

// theme sets the reader's preference.
func (tb *tab) theme(dark bool) {
	tb.Helper()
	v := "light"
	if dark {
		v = "dark"
	}
	if _, err := chromedp.Call(tb.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v}}}); err != nil {
		tb.Fatal(err)
	}
}
