package policy

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pli/fault"
	"pli/health"
)

// drawScene makes any question with any mix of the table's words.
func drawScene(t *rapid.T) (Question, Facts) {
	pick := func(m map[string]func(*Question, *Facts), label string) string {
		return rapid.SampledFrom(sortedKeys(m)).Draw(t, label)
	}
	action := rapid.SampledFrom(Actions()).Draw(t, "action")
	q, f := Question{Action: action}, Facts{Now: now}
	froms[pick(froms, "from")](&q, &f)
	tos[pick(tos, "to")](&q, &f)
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		word := pick(changes, "change")
		func() {
			defer func() { _ = recover() }() // the word is about something this scene has not
			changes[word](&q, &f)
		}()
	}
	return q, f
}

func sortedKeys(m map[string]func(*Question, *Facts)) []string {
	return slices.Sorted(maps.Keys(m)) // SampledFrom must see one order
}

func TestNoFactsDeny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, _ := drawScene(t)
		q.Actor.Peer.Domains = nil // what the certificate proved is a fact too
		if d := Decide(q, Facts{}); d.Permits() {
			t.Fatalf("%s is permitted without facts: %v", q.Action, d.Rules())
		}
	})
	if (Decision{}).Permits() {
		t.Error("the zero decision permits")
	}
	if d := Decide(Question{}, Facts{}); d.Permits() || len(d.Reasons) == 0 {
		t.Errorf("the zero question: %+v", d)
	}
}

// worse holds changes that can only speak against an act, each a fact denied or lost.
var worse = map[string]func(*Facts){
	"account lost":     func(f *Facts) { f.Account = nil },
	"account disabled": func(f *Facts) { f.Account = &Account{ID: doctorAccount, Enabled: No, Linked: Yes} },
	"account unlinked": func(f *Facts) { copyTo(&f.Account); f.Account.Linked = No },
	"sender lost":      func(f *Facts) { f.Sender = nil },
	"terms lost":       func(f *Facts) { copyTo(&f.Sender); f.Sender.Terms = Unknown },
	"sender closed":    func(f *Facts) { copyTo(&f.Sender); f.Sender.State = health.Closed },
	"sender stateless": func(f *Facts) { copyTo(&f.Sender); f.Sender.State = "" },
	"sender kindless":  func(f *Facts) { copyTo(&f.Sender); f.Sender.Kind = "" },
	"recipient lost":   func(f *Facts) { f.Destination = nil },
	"place lost":       func(f *Facts) { copyTo(&f.Destination); f.Destination.Place = Nowhere },
	"trust lost":       func(f *Facts) { copyTo(&f.Destination); f.Destination.Trusted = Unknown },
	"trust denied":     func(f *Facts) { copyTo(&f.Destination); f.Destination.Trusted = No },
	"patients unknown": func(f *Facts) { copyTo(&f.Destination); f.Destination.ForPatient = Unknown },
	"address unknown":  func(f *Facts) { copyTo(&f.Destination); f.Destination.Exists = No },
	"address lost":     func(f *Facts) { copyTo(&f.Destination); f.Destination.Exists = Unknown },
	"box lost":         func(f *Facts) { copyTo(&f.Destination); f.Destination.Box = nil },
	"box closed": func(f *Facts) {
		copyTo(&f.Destination)
		copyTo(&f.Destination.Box)
		f.Destination.Box.State = health.Closed
	},
	"space lost":       func(f *Facts) { copyTo(&f.Destination); f.Destination.Patient = nil },
	"origin unknown":   func(f *Facts) { f.FromPatient = Unknown },
	"origin patient":   func(f *Facts) { f.FromPatient = Yes },
	"exchange lost":    func(f *Facts) { f.Exchange = ExchangeUnknown },
	"exchange ended":   func(f *Facts) { f.Exchange = ExchangeEnded },
	"time lost":        func(f *Facts) { f.Now = time.Time{} },
	"class lost":       func(f *Facts) { f.Class = "" },
	"patient lost":     func(f *Facts) { f.Patient = nil },
	"dossier closed":   func(f *Facts) { copyTo(&f.Patient); f.Patient.Open = No },
	"feeding opposed":  func(f *Facts) { copyTo(&f.Patient); f.Patient.FeedingOpposed = Yes },
	"reading lost":     func(f *Facts) { f.Reading = nil },
	"traits differ":    func(f *Facts) { copyTo(&f.Reading); f.Reading.TraitsMatch = No },
	"traits lost":      func(f *Facts) { copyTo(&f.Reading); f.Reading.TraitsMatch = Unknown },
	"restricted":       func(f *Facts) { copyTo(&f.Reading); f.Reading.Confidentiality = []string{"V"} },
	"marks lost":       func(f *Facts) { copyTo(&f.Reading); f.Reading.Confidentiality = nil },
	"document lost":    func(f *Facts) { f.Stored = nil },
	"document deleted": func(f *Facts) { copyTo(&f.Stored); f.Stored.Deleted = Yes },
	"document hidden":  func(f *Facts) { copyTo(&f.Stored); f.Stored.Visibility = []string{health.HiddenToPatient} },
}

// copyTo replaces *p by a copy that may be changed, empty when it was nil.
func copyTo[T any](p **T) {
	c := new(T)
	if *p != nil {
		*c = **p
	}
	*p = c
}

func TestAddingADenyNeverPermits(t *testing.T) {
	keys := slices.Sorted(maps.Keys(worse))
	rapid.Check(t, func(t *rapid.T) {
		q, f := drawScene(t)
		before := Decide(q, f)
		name := rapid.SampledFrom(keys).Draw(t, "worse")
		worse[name](&f)
		if after := Decide(q, f); after.Permits() && !before.Permits() {
			t.Fatalf("%s: %s turned %v into %v", q.Action, name, before.Rules(), after.Rules())
		}
	})
}

func TestEveryDecisionSpeaks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, f := drawScene(t)
		d := Decide(q, f)
		if len(d.Reasons) == 0 || !d.Owes(Trace) {
			t.Fatalf("%s: reasons %v, obligations %v", q.Action, d.Reasons, d.Obligations)
		}
		if again := Decide(q, f); fmt.Sprint(again) != fmt.Sprint(d) {
			t.Fatalf("%s: the same question has two answers", q.Action)
		}
		r, denied := d.Denial()
		if denied == d.Permits() {
			t.Fatalf("%s: permits %v, denial %v", q.Action, d.Permits(), r)
		}
		if !denied {
			if d.Code() != 0 {
				t.Fatalf("a permission with code %d", d.Code())
			}
			return
		}
		text := r.Text()
		if text.FR == "" || text.EN == "" || strings.Contains(text.FR+text.EN, "{") {
			t.Fatalf("%s denies with the text %+v", r.Rule, text)
		}
		if r.Kind() == fault.Internal || d.Code() == 0 {
			t.Fatalf("%s denies as %v, code %d", r.Rule, r.Kind(), d.Code())
		}
		for _, reason := range d.Reasons {
			if _, ok := FindRule(reason.Rule); !ok {
				t.Fatalf("no rule %q in the book", reason.Rule)
			}
		}
	})
}

// A sender cannot learn from a refusal that somebody has a space, closed it, or opposed.
func TestRefusalsDoNotTellPatientsApart(t *testing.T) {
	var first string
	for _, s := range []struct{ action, from, to, words string }{
		{"submit", "PER", "no-matricule", ""},
		{"submit", "PER", "patient", "space-closed"},
		{"submit", "PER", "patient", "space-never-opened"},
		{"submit", "PER", "patient", "to-suspended"},
		{"submit", "PER", "patient", "to-closed"},
		{"receive", "peer", "no-matricule", ""},
		{"receive", "peer", "patient", "space-closed"},
		{"receive", "peer", "patient", "to-closed"},
	} {
		q, f, err := scene(s.action, s.from, s.to, s.words)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := Decide(q, f).Denial()
		k := r.Kind()
		got := fmt.Sprint(k.SMTP(), k.IMAP(), k.HTTP(), r.Text())
		if first == "" {
			first = got
		}
		if got != first || k.SMTP().Code != 550 || k.SMTP().Enhanced != [3]int{5, 1, 1} {
			t.Errorf("%v: %s, want %s", s, got, first)
		}
	}
}

func TestRefusalNamesTheDomainTheSenderGave(t *testing.T) {
	q, f, err := scene("submit", "PER", "outside", "")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := Decide(q, f).Denial()
	if want := "dehors.example ne fait pas partie de l'espace de confiance. Rien n'a été envoyé."; r.Text().FR != want {
		t.Errorf("%q, want %q", r.Text().FR, want)
	}
}

// A closed box says from when, in the zone it was told in, and never of a patient's.
func TestRefusalNamesTheDay(t *testing.T) {
	paris := time.FixedZone("Europe/Paris", 3600)
	for _, c := range []struct {
		to   string
		at   time.Time
		want fault.Text
	}{
		{"PER", time.Date(2026, 2, 28, 23, 30, 0, 0, time.UTC).In(paris), fault.Text{FR: "La boîte est fermée depuis le 1er mars 2026.", EN: "The mailbox has been closed since 1 March 2026."}},
		{"ORG", time.Date(2025, 8, 12, 9, 0, 0, 0, time.UTC), fault.Text{FR: "La boîte est fermée depuis le 12 août 2025.", EN: "The mailbox has been closed since 12 August 2025."}},
		{"PER", time.Time{}, fault.Text{FR: "Cette boîte est fermée et ne reçoit plus de messages.", EN: "This mailbox is closed and receives no more messages."}},
		{"patient", now, unknownAddress},
	} {
		q, f, err := scene("submit", "PER", c.to, "to-suspended")
		if err != nil {
			t.Fatal(err)
		}
		f.Destination.Box.StateAt = c.at
		r, _ := Decide(q, f).Denial()
		if got := r.Text(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.to, got, c.want)
		}
	}
}

func TestRuleBook(t *testing.T) {
	shape := regexp.MustCompile(`^R-[A-Z]+(-[0-9]{2})?$`)
	seen := map[string]bool{}
	for _, r := range RuleBook() {
		if !shape.MatchString(r.ID) || seen[r.ID] {
			t.Errorf("id %q", r.ID)
		}
		seen[r.ID] = true
		if r.Meaning == "" || r.Source == "" || r.Text.FR == "" || r.Text.EN == "" || r.check == nil {
			t.Errorf("%s is not whole", r.ID)
		}
		if strings.Contains(r.Text.FR+r.Text.EN, "{since}") || strings.Count(r.Dated.FR, "{since}") != strings.Count(r.Dated.EN, "{since}") {
			t.Errorf("%s: the day is in the wrong text", r.ID)
		}
		if r.Fault == fault.Internal || len([]rune(r.Text.FR)) > 120 {
			t.Errorf("%s: fault %v, text %d characters", r.ID, r.Fault, len([]rune(r.Text.FR)))
		}
		for _, a := range r.Actions {
			if a == FileDocument && r.Code == 0 && !r.Grants {
				t.Errorf("%s refuses to file without an integration code", r.ID)
			}
		}
	}
	if len(RuleBookHash()) != 16 {
		t.Errorf("hash %q", RuleBookHash())
	}
}

// TestRules keeps RULES.md, the table of the book, in step.
func TestRules(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# The rules\n\nMade from the code by `go test ./policy -update`; do not edit. Every rule of an action is evaluated, a denial beats a permission, a fact that is missing denies (as a temporary fault), and what no rule permits is denied. testdata/decisions.tsv shows them at work. Sources: `mssante.md` and `dmp.md` are the house's reading of the national texts.\n\n")
	b.WriteString("| Id | Acts | Effect | Meaning | Source | Fault, code | Refusal |\n|---|---|---|---|---|---|---|\n")
	for _, r := range RuleBook() {
		acts := "all"
		if len(r.Actions) > 0 {
			acts = strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Actions), " ", ", "), "[]")
		}
		effect, refusal, what := "denies otherwise", "« "+r.Text.FR+" »", r.Fault.String()
		if r.Dated.FR != "" {
			refusal += "; with the day: « " + r.Dated.FR + " »"
		}
		if r.Grants {
			effect, refusal, what = "permits", "–", "–"
		}
		if r.Code != 0 {
			what += fmt.Sprintf(", %d", r.Code)
		}
		if r.Owes != "" {
			effect += ", " + string(r.Owes)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.ID, acts, effect, r.Meaning, r.Source, what, refusal)
	}
	if *update {
		if err := os.WriteFile("RULES.md", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("RULES.md")
	if err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("RULES.md is not that of the code (%v): go test ./policy -update", err)
	}
}

func BenchmarkDecide(b *testing.B) {
	q, f, err := scene("submit", "PER", "patient", "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !Decide(q, f).Permits() {
			b.Fatal("denied")
		}
	}
}
