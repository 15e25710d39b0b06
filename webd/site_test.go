package webd

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238's own
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestSite walks through a running Pli (-site .demo/demo.json), takes its pictures
// (-shots), and holds its real pages to what the pages of the other tests are held to.
// The picture of the README is made so: go test ./webd -run Site -site … -shots ….
func TestSite(t *testing.T) {
	if *realSite == "" {
		t.Skip("-site names no demo.json: no running Pli to look at")
	}
	var d siteDemo
	b, err := os.ReadFile(*realSite)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range d.Accounts {
		if a.Kind == "patient" {
			if *siteLetters {
				d.sendLetters(t, a)
			}
			for i, width := range []int64{1280, 360} {
				if i > 0 { // a code is taken once
					time.Sleep(time.Until(time.Now().Truncate(30 * time.Second).Add(30*time.Second + 200*time.Millisecond)))
				}
				siteAs(t, d.Operators[a.Operator].Web, a.Login, a.Password, a.TOTP, width)
			}
			return
		}
	}
	t.Fatal("no patient in the demo")
}

func siteAs(t *testing.T, base, login, password, secret string, width int64) {
	tb := newTab(t, base, width)
	tb.goTo("/connexion")
	tb.fill("#identifiant", login)
	tb.fill("#motdepasse", password)
	tb.submit("main .button")
	tb.fill("#code", oneTimeCode(t, secret, time.Now()))
	tb.submit("main .button")
	look := func(name, path string) {
		if path != "" {
			tb.goTo(path)
		}
		tb.check("site " + name)
		tb.shot(fmt.Sprintf("site-%s-%d", name, width))
	}
	look("accueil", "/")
	look("messages", "/messages")
	for i, href := range eval[[]string](tb, `[...document.querySelectorAll(".row")].slice(0, 4).map(a => a.getAttribute("href"))`) {
		look(fmt.Sprintf("conversation-%d", i), href)
		if i == 0 && *shotsDir != "" { // what the README shows: the top of a conversation
			b, err := chromedp.Run(tb.ctx, chromedp.CaptureScreenshot())
			if err == nil {
				err = os.WriteFile(filepath.Join(*shotsDir, fmt.Sprintf("webmail-%d.png", width)), b, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		// Of the attachments, those that open as a page: a PDF opens in the browser's viewer.
		for j, piece := range eval[[]string](tb, `[...document.querySelectorAll(".file")].filter(f => f.innerText.includes("Document de santé")).map(f => f.querySelector("a.button").getAttribute("href"))`) {
			look(fmt.Sprintf("piece-%d-%d", i, j), piece)
		}
	}
	look("dossier", "/dossier")
	for i, href := range eval[[]string](tb, `[...document.querySelectorAll(".doc")].slice(0, 3).map(a => a.getAttribute("href"))`) {
		look(fmt.Sprintf("document-%d", i), href)
	}
	look("historique", "/acces/historique")
	tb.submit("form[action='/deconnexion'] button")
}

// oneTimeCode is the TOTP of RFC 6238 with its usual parameters.
func oneTimeCode(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(secret, "="))
	if err != nil {
		t.Fatal(err)
	}
	var step [8]byte
	binary.BigEndian.PutUint64(step[:], uint64(at.Unix())/30)
	h := hmac.New(sha1.New, key)
	h.Write(step[:]) //nolint:errcheck // a hash
	sum := h.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

func TestOneTimeCode(t *testing.T) { // RFC 6238 appendix B, 6 digits
	if got := oneTimeCode(t, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", time.Unix(1111111109, 0)); got != "081804" {
		t.Errorf("got %s", got)
	}
}
