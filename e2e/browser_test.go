package e2e

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"

	"pli/internal/sample"
)

// page is a tab of a headless Chromium with its own cookies, as a phone or a desktop.
type page struct {
	t    *testing.T
	ctx  context.Context
	base string
}

func (d *demo) browse(t *testing.T, operator int, width int64) *page {
	t.Helper()
	path := need(t, "chromium")
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.WSURLReadTimeout(time.Minute))...)
	t.Cleanup(cancelAlloc)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	timed, stop := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(stop)
	p := &page{t, timed, d.Operators[operator].Web}
	p.do(chromedp.EmulateViewport(width, 800))
	return p
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatalf("%v\nthe page was:\n%.3000s", err, p.text())
	}
}

// text is what a person reads on the page.
func (p *page) text() string {
	s, err := chromedp.Run(p.ctx, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
	if err != nil {
		return err.Error()
	}
	return s
}

// open goes to a path of the site.
func (p *page) open(path string) { p.t.Helper(); p.do(chromedp.Navigate(p.base + path)) }

// press clicks something that loads another page, and waits for it.
func (p *page) press(selector string) {
	p.t.Helper()
	if _, err := chromedp.RunResponse(p.ctx, chromedp.Click(selector)); err != nil {
		p.t.Fatalf("%s: %v\nthe page was:\n%.3000s", selector, err, p.text())
	}
}

// expect waits until the page says every word.
func (p *page) expect(words ...string) {
	p.t.Helper()
	var text string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		text = p.text()
		missing := false
		for _, w := range words {
			missing = missing || !strings.Contains(strings.ToLower(text), strings.ToLower(w))
		}
		if !missing {
			return
		}
	}
	p.t.Fatalf("the page does not say %q:\n%.3000s", words, text)
}

// signIn goes through password and code. A code is taken once: a second sign-in of the
// same person waits for the next one. It returns the code that was taken.
func (p *page) signIn(a account) string {
	p.t.Helper()
	for try := 0; ; try++ {
		code, err := totp.GenerateCode(a.TOTPSecret, time.Now())
		if err != nil {
			p.t.Fatal(err)
		}
		p.open("/connexion")
		p.do(chromedp.SendKeys("#identifiant", a.Login), chromedp.SendKeys("#motdepasse", cmp.Or(a.Web, a.Password)))
		p.press("main form button.button, form[action='/connexion'] button")
		p.do(chromedp.SendKeys("#code", code))
		p.press("form[action='/connexion/code'] button")
		if !strings.Contains(p.location(), "/connexion") {
			return code
		}
		if try == 3 {
			p.t.Fatalf("sign-in fails:\n%.2000s", p.text())
		}
		time.Sleep(time.Until(time.Now().Truncate(30 * time.Second).Add(30*time.Second + 100*time.Millisecond)))
	}
}

func (p *page) location() string {
	p.t.Helper()
	s, err := chromedp.Run(p.ctx, chromedp.Location())
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// follow opens the first link whose text holds words.
func (p *page) follow(words string) {
	p.t.Helper()
	p.open(p.link(words))
}

func (p *page) link(words string) string {
	p.t.Helper()
	const script = `(w => { for (const a of document.querySelectorAll('main a, a')) if ((a.closest('li') || a).innerText.includes(w) || a.innerText.includes(w)) return a.getAttribute('href'); return '' })`
	s, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](script+"("+quote(words)+")"))
	if err != nil || s == "" {
		p.t.Fatalf("no link says %q (%v):\n%.3000s", words, err, p.text())
	}
	return s
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" }

// browseAsPatient reads the messages and the record of a patient, for tests that look
// at what reading leaves behind.
func (d *demo) browseAsPatient(t *testing.T, a account) {
	t.Helper()
	p := d.browse(t, a.Operator, 1280)
	p.signIn(a)
	for _, path := range []string{"/messages", "/dossier", "/acces/historique"} {
		p.open(path)
	}
}

// TestPatientReadsKeepsAndReplies follows the first letter in a browser as narrow as a
// phone: sign in, read, open the report, find it in the record, see who opened it,
// reply; then the exchange ends, and the page says why no reply is possible.
func TestPatientReadsKeepsAndReplies(t *testing.T) {
	karim, lab, jeanne := house.who(t, "karim.haddad"), house.who(t, "labo-halles"), house.who(t, "jeanne")
	m := mark("genou")
	pdf := filepath.Join(t.TempDir(), "exercices.pdf")
	if err := os.WriteFile(pdf, sample.PDF("Exercices pour le genou", "Monter et descendre une marche, dix fois."), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := house.swaks(t, karim, jeanne.Address, "--h-Subject", "Votre "+m, "--body", "Bonjour Madame, comment va ce genou ?",
		"--attach-type", "application/pdf", "--attach-name", "exercices.pdf", "--attach", "@"+pdf); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	doc := report(patientOf(jeanne), "80")
	path, _ := labReport(t, lab, jeanne, doc, sample.ArchiveOf(doc))
	if out, code := house.upload(t, lab, jeanne.Address, path); code != 0 {
		t.Fatalf("exit %d\n%.3000s", code, out)
	}

	p := house.browse(t, 0, 390)
	p.signIn(jeanne)
	p.expect("Jeanne")
	p.open("/messages")
	p.expect("Votre " + m)
	p.follow("Votre " + m)
	p.expect("comment va ce genou", "HADDAD")
	conversation := p.location()

	// The doctor's file is put in the record by the patient.
	p.press("form[action$='/ranger'] button")
	p.open("/dossier")
	p.expect("exercices")

	// The report was recognised and filed by itself.
	eventually(t, "the report is in the record", func() bool {
		p.open("/dossier")
		return strings.Contains(strings.ToLower(p.text()), "compte rendu d'examens biologiques")
	})
	p.follow("Compte rendu d'examens biologiques")
	p.expect("ORVALNOIR")
	p.open("/acces/historique")
	p.expect("Compte rendu d'examens biologiques")

	// The reply reaches the doctor.
	p.open(strings.TrimPrefix(conversation, p.base))
	answer := mark("mieux")
	p.do(chromedp.SendKeys("#texte", "Bien "+answer+", merci docteur."))
	p.press("form[action$='/repondre'] button")
	p.expect(answer)
	var uids []string
	eventually(t, "the reply reaches the doctor", func() bool { uids = house.find(t, karim, "INBOX", m); return len(uids) == 1 })
	if got := house.fetch(t, karim, "INBOX", uids[0]); !strings.Contains(got, "In-Reply-To: <") || !strings.Contains(got, jeanne.Address) {
		t.Errorf("the reply as received:\n%.3000s", got)
	}

	// The doctor ends the exchange.
	if out, code := house.swaks(t, karim, jeanne.Address, "--h-Subject", "[FIN] Votre "+m, "--add-header", "X-MSS-MES: FIN", "--body", "Bonne continuation."); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	p.open("/messages")
	p.expect("Votre " + m)
	p.follow("Votre " + m)
	p.expect("Bonne continuation")
	left, err := chromedp.Run(p.ctx, chromedp.Evaluate[int]("document.querySelectorAll('#texte').length"))
	if err != nil || left != 0 {
		t.Errorf("a reply is still offered (%d fields, %v):\n%.3000s", left, err, p.text())
	}
}

// TestSignInRefusesAUsedCode signs in twice with one code. Should the clock move on
// meanwhile, the code is refused for its age as well.
func TestSignInRefusesAUsedCode(t *testing.T) {
	sofia := house.who(t, "sofia")
	code := house.browse(t, 0, 1280).signIn(sofia)
	q := house.browse(t, 0, 1280)
	q.open("/connexion")
	q.do(chromedp.SendKeys("#identifiant", sofia.Login), chromedp.SendKeys("#motdepasse", sofia.Password))
	q.press("form[action='/connexion'] button")
	q.do(chromedp.SendKeys("#code", code))
	q.press("form[action='/connexion/code'] button")
	if !strings.Contains(q.location(), "/connexion") {
		t.Fatalf("a used code opened %s", q.location())
	}
	// And nothing is open without signing in.
	q.open("/messages")
	if !strings.Contains(q.location(), "/connexion") {
		t.Errorf("open without a session: %s", q.location())
	}
}
