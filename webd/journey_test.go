package webd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"pli/codec/message"
	"pli/fault"
	"pli/health"
	"pli/internal/sample"
)

// tabTo presses Tab until the focus is on sel, and checks on the way that each element
// is seen and not covered.
func (tb *tab) tabTo(sel string) {
	tb.Helper()
	for range 80 {
		tb.run(chromedp.KeyEvent(kb.Tab))
		state := eval[string](tb, fmt.Sprintf(`(() => {
			const e = document.activeElement;
			if (!e || e === document.body) return "none";
			if (e.matches(%q)) return "there";
			const r = e.getBoundingClientRect(), s = getComputedStyle(e);
			if (s.outlineStyle === "none" && s.boxShadow === "none" && e.tagName !== "IFRAME") return "no focus ring on " + e.outerHTML.slice(0, 80);
			const x = r.left + r.width / 2, y = r.top + Math.min(r.height / 2, 20), at = document.elementFromPoint(x, y);
			if (at && !e.contains(at) && !at.contains(e)) return "covered: " + e.outerHTML.slice(0, 80) + " by " + at.outerHTML.slice(0, 60);
			return "";
		})()`, sel))
		switch state {
		case "there":
			return
		case "", "none":
		default:
			tb.Error(state)
		}
	}
	tb.Fatalf("Tab never reaches %s", sel)
}

func (tb *tab) keys(text string) {
	tb.Helper()
	tb.run(chromedp.KeyEvent(text))
}

// enter presses Enter and waits for the page it leads to.
func (tb *tab) enter() {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, 20*time.Second)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.KeyEvent(kb.Enter)); err != nil {
		tb.Fatalf("Enter leads nowhere: %v", err)
	}
}

// The whole errand with the keyboard alone: sign in, read, answer, see it in the thread.
func TestKeyboardJourney(t *testing.T) {
	for _, width := range []int64{360, 1280} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			h := newHouse()
			tb := newTab(t, door(t, h).URL, width)
			tb.goTo("/")
			tb.keys(kb.Tab)
			if got := eval[string](tb, "document.activeElement.className"); got != "skip" {
				t.Errorf("the first Tab stops at %q, want the skip link", got)
			}
			tb.tabTo("main a.button")
			tb.enter()
			tb.tabTo("#identifiant")
			tb.keys(testLogin)
			tb.keys(kb.Tab)
			tb.keys(testPassword)
			tb.enter()
			tb.tabTo("#code")
			tb.keys(testCode)
			tb.enter()
			tb.tabTo(".row.unread")
			tb.enter()
			if !strings.Contains(tb.text(), "Passez me voir jeudi") {
				t.Error("the conversation does not show the letter")
			}
			tb.tabTo("#texte")
			tb.keys("Bonjour Docteur, je viens jeudi.")
			tb.tabTo("form[action$='/repondre'] .button")
			tb.enter()
			if got := tb.text(); !strings.Contains(got, "Message remis à HADDAD Karim") {
				t.Errorf("no confirmation: %.300s", got)
			}
			if len(h.sent) != 1 || !bytes.Contains(h.sent[0], []byte("je viens jeudi")) {
				t.Errorf("%d messages sent", len(h.sent))
			}
			tb.clean()
		})
	}
}

// A look-up with the keyboard alone: the form, the answer, whose heading has the focus, a
// listing, and back to the same answer.
func TestKeyboardLookUp(t *testing.T) {
	for _, width := range []int64{320, 1280} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			h := newHouse()
			tb := newTab(t, door(t, h).URL, width)
			tb.signInAs(doctorLogin, doctorPassword)
			if got := eval[string](tb, "location.pathname"); got != "/ps" {
				t.Fatalf("a professional comes to %s", got)
			}
			tb.tabTo("main a[href='/annuaire']")
			tb.enter()
			tb.tabTo("#qui")
			tb.keys("haddad")
			tb.tabTo("#ou")
			tb.keys("Lyon")
			tb.tabTo("details.more summary")
			tb.keys(kb.Enter)
			tb.tabTo("input[name='sorte']")
			tb.keys(kb.ArrowRight)
			tb.enter()
			if got := eval[string](tb, "document.activeElement.id"); got != "resultats" {
				t.Errorf("the focus is on %q, want the heading of the results", got)
			}
			if got := eval[string](tb, "location.href"); strings.Contains(strings.ToLower(got), "haddad") || strings.Contains(got, "Lyon") {
				t.Errorf("the address tells what was asked: %s", got)
			}
			if got := eval[string](tb, "document.title"); got != "Résultats de l'annuaire – HADDAD Karim – Pli" {
				t.Errorf("the title is %q", got)
			}
			if got := eval[string](tb, "document.querySelector('#qui').value + '|' + document.querySelector('#ou').value + '|' + document.querySelector('input[name=sorte]:checked').value"); got != "haddad|Lyon|personne" {
				t.Errorf("the form shows %q", got)
			}
			tb.tabTo(".hit-name a")
			tb.enter()
			if got := tb.text(); !strings.Contains(got, "Ses autres boîtes") || !strings.Contains(got, "Adresse postale") {
				t.Errorf("the listing: %.300s", got)
			}
			tb.tabTo(".crumb a")
			tb.enter()
			if n := eval[int](tb, "document.querySelectorAll('.hit').length"); n != 2 {
				t.Errorf("back to %d listings, want 2", n)
			}
			tb.clean()
		})
	}
}

// Everything works with scripts off: the pages have none, and need none.
func TestWithoutScripts(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 360)
	if _, err := chromedp.Call(tb.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	tb.signIn()
	path := "/messages/" + h.letters[4].ID.String()
	tb.goTo(path)
	tb.fill("#texte", "Voici ma carte, en pièce jointe.")
	file := filepath.Join(t.TempDir(), "carte groupe sanguin.pdf")
	content := sample.PDF("Groupe sanguin", "O positif")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	tb.run(chromedp.SetUploadFiles(chromedp.CSS("#fichiers"), []string{file}))
	tb.submit("form[action$='/repondre'] .button")
	if len(h.sent) != 1 {
		t.Fatalf("%d messages sent: %.400s", len(h.sent), tb.text())
	}
	o, err := message.Scan(bytes.NewReader(h.sent[0]), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f := o.Fields()
	if f.From()[0].Name != "Aline ORMELUNE" || f.To()[0].Address != preadmission || f.InReplyTo()[0] != "p1@mss-b.example" || f.References()[0] != "p1@mss-b.example" {
		t.Errorf("from %q to %q in reply to %v", f.From()[0].Name, f.To()[0].Address, f.InReplyTo())
	}
	as := o.Attachments()
	if len(as) != 1 || as[0].Part.Filename != "carte groupe sanguin.pdf" || !as[0].Part.Is("application/pdf") {
		t.Fatalf("attachments %v", as)
	}
	tb.submit(".menu li:nth-child(3) a")
	tb.submit(".doc")
	if !strings.Contains(tb.text(), "Hémoglobine") {
		t.Error("the report is not readable without scripts")
	}
	tb.submit("form[action='/deconnexion'] button")
	if !strings.Contains(tb.text(), "Vous êtes déconnecté") {
		t.Error("not signed out")
	}
	tb.goTo("/messages")
	if got := eval[string](tb, "location.pathname"); got != "/connexion" {
		t.Errorf("after signing out /messages shows %s", got)
	}
}

// Attachments go into the record with one button, and say so.
func TestKeepAnAttachment(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 1280)
	tb.signIn()
	path := "/messages/" + h.letters[2].ID.String()
	tb.goTo(path)
	tb.submit("form[action$='/ranger'] button")
	if got := tb.text(); !strings.Contains(got, "rangé dans votre dossier") {
		t.Errorf("no confirmation: %.200s", got)
	}
	if !strings.Contains(tb.text(), "Déjà dans votre dossier") {
		t.Error("the card still offers to keep it")
	}
	tb.check("after keeping")
	tb.submit("#etat a")
	if got := tb.text(); !strings.Contains(got, "Déclaré par vous") || !strings.Contains(got, "ordonnance.pdf") {
		t.Errorf("the document page: %.300s", got)
	}
}

// Every state that an error or an empty house leads to is whole, told in words, and
// accessible.
func TestStates(t *testing.T) {
	away := fault.New(fault.Unavailable, "fake", "away")
	t.Run("sign-in", func(t *testing.T) {
		tb := newTab(t, door(t, newHouse()).URL, 360)
		tb.goTo("/connexion")
		tb.submit("main .button")
		tb.state("empty form", "Écrivez votre identifiant.", "Erreur : ")
		tb.fill("#identifiant", "personne")
		tb.fill("#motdepasse", "mauvais")
		tb.submit("main .button")
		tb.state("wrong password", "ne correspondent pas", "Erreur : ")
		tb.goTo("/connexion")
		tb.fill("#identifiant", testLogin)
		tb.fill("#motdepasse", testPassword)
		tb.submit("main .button")
		tb.state("code", "Étape 2 sur 2", "")
		tb.fill("#code", "000 000")
		tb.submit("main .button")
		tb.state("wrong code", "Ce code ne correspond pas", "Erreur : ")
	})
	t.Run("empty house", func(t *testing.T) {
		tb := newTab(t, door(t, emptyHouse()).URL, 360)
		tb.signIn()
		tb.state("home", "Rien de nouveau", "")
		tb.goTo("/messages")
		tb.state("messages", "Aucun message.", "")
		tb.goTo("/dossier")
		tb.state("record", "Aucun document.", "")
		tb.goTo("/acces/historique")
		tb.state("history", "Aucune ligne", "")
	})
	t.Run("rooms away", func(t *testing.T) {
		h := newHouse()
		tb := newTab(t, door(t, h).URL, 360)
		tb.signIn()
		h.failMail, h.failRecord, h.failHistory = away, away, away
		tb.goTo("/")
		tb.state("home", "Les messages ne s'affichent pas pour le moment", "")
		tb.goTo("/messages")
		tb.state("messages", "Service momentanément indisponible", "Erreur : ")
	})
	t.Run("reply", func(t *testing.T) { replyStates(t) })
	t.Run("directory", func(t *testing.T) { directoryStates(t) })
	t.Run("professional", func(t *testing.T) { professionalStates(t) })
}

func directoryStates(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 320)
	tb.signIn()
	tb.goTo("/annuaire")
	tb.submit(".seek .button")
	tb.state("directory nothing typed", "Écrivez un nom, une profession ou un lieu.", "Erreur : ")
	tb.fill("#qui", "m")
	tb.submit(".seek .button")
	tb.state("directory one letter", "Écrivez au moins deux lettres.", "Erreur : ")
	h.listings.fail = fault.New(fault.Timeout, "fake", "slow")
	tb.goTo("/annuaire")
	tb.fill("#qui", "martin")
	tb.submit(".seek .button")
	tb.state("directory too broad", "Cette recherche est trop large.", "Erreur : ")
	if got := eval[string](tb, "document.querySelector('#qui').value"); got != "martin" {
		t.Errorf("the text was lost: %q", got)
	}
	h.listings.fail = fault.New(fault.Unavailable, "fake", "away")
	tb.submit(".seek .button")
	tb.state("directory away", "L'annuaire ne répond pas pour le moment.", "Erreur : ")
	h.listings.fail = nil
	tb.submit(".seek .button")
	tb.state("directory nobody", "Aucun résultat.", "")
	h.listings.failOpen = fault.New(fault.Closed, "gate", "R-DIR-04").Say("Cette boîte n'est pas ouverte. Contactez votre opérateur de messagerie.", "This mailbox is not open.")
	tb.submit("form[action='/deconnexion'] button")
	tb.signIn()
	tb.goTo("/annuaire")
	tb.state("directory refused", "Contactez votre opérateur de messagerie.", "Erreur : ")
}

func professionalStates(t *testing.T) {
	h := newHouse()
	h.doctor.TermsVersion = ""
	tb := newTab(t, door(t, h).URL, 360)
	tb.signInAs(doctorLogin, doctorPassword)
	tb.state("conditions", "Rien d'autre ne s'ouvre avant votre accord.", "")
	tb.submit(".agree .button")
	tb.state("home of a professional", "Bonjour HADDAD Karim", "")
	h.doctor.Unlisted = true
	tb.goTo("/ps/boite")
	tb.state("liste rouge", "Vous êtes sur liste rouge.", "")
	tb.run(chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll("details")) d.open = true`))
	tb.state("steps", "Ajouter un compte CardDAV", "")
	h.doctor.State, h.doctor.ReadUntil = health.Suspended, testNow.AddDate(0, 2, 0)
	tb.goTo("/ps")
	tb.state("suspended", "Lecture possible jusqu'au 10 mai 2026.", "")
}

func replyStates(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 360)
	tb.signIn()
	path := "/messages/" + h.letters[0].ID.String()
	tb.goTo(path)
	send := "form[action$='/repondre'] .button"
	tb.submit(send)
	tb.state("nothing written", "Écrivez votre message, ou joignez un fichier.", "Erreur : ")
	tb.fill("#texte", "Vous trouverez ci-joint mon ordonnance.")
	tb.submit(send)
	tb.state("forgotten file", "aucun n'est joint", "")
	bad := filepath.Join(t.TempDir(), "virus.exe")
	empty := filepath.Join(t.TempDir(), "vide.pdf")
	if err := os.WriteFile(bad, []byte("MZ"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tb.run(chromedp.SetUploadFiles(chromedp.CSS("#fichiers"), []string{bad, empty}))
	tb.submit(send)
	tb.state("wrong files", "virus.exe » : ce type de fichier n'est pas accepté", "Erreur : ")
	if got := tb.text(); !strings.Contains(strings.ReplaceAll(got, "\u00a0", " "), "vide.pdf » : ce fichier est vide") {
		t.Error("an empty file is not told of")
	}
	if got := eval[string](tb, "document.querySelector('#texte').value"); !strings.Contains(got, "ci-joint mon ordonnance") {
		t.Errorf("the text was lost: %q", got)
	}
	h.failSubmit = fault.New(fault.Forbidden, "fake", "ended").Say("Cet échange a été terminé par le service.", "The service ended this exchange.")
	tb.goTo(path)
	tb.fill("#texte", "Encore moi.")
	tb.submit(send)
	tb.state("refused", "Cet échange a été terminé par le service.", "Erreur : ")
	h.failSubmit = fault.New(fault.Internal, "fake", "broken")
	tb.submit(send)
	tb.state("failed", "Votre texte est gardé", "Erreur : ")
	h.failSubmit = fault.New(fault.Infected, "fake", "eicar")
	tb.submit(send)
	tb.state("infected", "programme dangereux", "Erreur : ")
	tb.goTo("/messages/" + h.letters[5].ID.String())
	tb.state("closed", "KERBRAT Paul a terminé cet échange le 7 mars 2026.", "")
	if eval[bool](tb, "!!document.querySelector('#texte')") {
		t.Error("a closed exchange still has a form")
	}
}

// state checks the page shown: its words, the start of its title, everything of check.
func (tb *tab) state(name, words, title string) {
	tb.Helper()
	plain := strings.NewReplacer("\u00a0", " ", "\u202f", " ").Replace
	if got := plain(tb.text()); !strings.Contains(got, words) {
		tb.Errorf("%s: no %q in %.600q", name, words, got)
	}
	if got := plain(eval[string](tb, "document.title")); !strings.HasPrefix(got, title) || title == "" && strings.HasPrefix(got, "Erreur") {
		tb.Errorf("%s: title %q, want it to start with %q", name, got, title)
	}
	tb.check(name)
	tb.shot("etat-" + strings.ReplaceAll(name, " ", "-"))
}

// Text at 200 %, spaced out (WCAG 1.4.4, 1.4.12): nothing is cut and nothing scrolls
// sideways.
func TestLargeAndSpacedText(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 640)
	tb.eachPlace(func(p place) {
		if p.name == "corps" {
			return
		}
		tb.goTo(p.path(h))
		tb.run(chromedp.Evaluate[chromedp.Void](`document.documentElement.style.fontSize = "225%";
			for (const e of document.querySelectorAll("body *")) { e.style.lineHeight = "1.5"; e.style.letterSpacing = ".12em"; e.style.wordSpacing = ".16em"; }`))
		cut := eval[[]string](tb, `[...document.querySelectorAll("main *, .menu *, .bar *")].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible" && !e.closest(".wide, .row-text, .sr") && e.tagName !== "INPUT" && e.tagName !== "TEXTAREA").map(e => e.outerHTML.slice(0, 100))`)
		if len(cut) > 0 {
			t.Errorf("%s: cut: %v", p.name, cut)
		}
		if w := eval[int](tb, "document.documentElement.scrollWidth"); w > 640 {
			t.Errorf("%s: %d pixels wide", p.name, w)
		}
	})
	tb.mu.Lock()
	tb.problems = nil // the styles of the test itself
	tb.mu.Unlock()
}

// Page weights of ux.md §9.1.
func TestWeights(t *testing.T) {
	h := newHouse()
	tb := newTab(t, door(t, h).URL, 360)
	tb.goTo("/")
	first, requests := tb.weigh()
	if first > 40_000 || requests > 6 {
		t.Errorf("public page: %.0f octets in %d requests", first, requests)
	}
	tb.eachPlace(func(p place) {
		if p.name == "corps" {
			return
		}
		tb.weigh()
		tb.goTo(p.path(h))
		octets, n := tb.weigh()
		t.Logf("%-24s %6.0f octets, %d requests", p.name, octets, n)
		if octets > 30_000 || n > 6 {
			t.Errorf("%s: %.0f octets in %d requests", p.name, octets, n)
		}
	})
}

// weigh gives what crossed the wire since the last time.
func (tb *tab) weigh() (octets float64, requests int) {
	time.Sleep(150 * time.Millisecond) // the last events
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, w := range tb.weights {
		octets += w
	}
	requests = tb.count
	clear(tb.weights)
	tb.count = 0
	return octets, requests
}
