package policy

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"slices"
	"strings"
	"time"

	"pli/fault"
	"pli/health"
)

// Rule is an article of the rule book.
type Rule struct {
	ID      string
	Actions []Action
	Grants  bool       // it permits; the other rules only deny
	Owes    Obligation // owed when it permits; "" is none
	Meaning string     // one English sentence
	Source  string     // text and section
	Text    fault.Text // of a refusal; {domain} is the domain the sender gave
	Dated   fault.Text // Text when the day is known from when the BAL is as it is, {since}; none most often
	Fault   fault.Kind // what a refusal becomes at the doors
	Code    health.IntegrationCode
	check   func(Question, Facts) verdict
}

// verdict is what a rule says about one question.
type verdict uint8

const (
	silent  verdict = iota // the question is not its business, or nothing is wrong
	permits                // by rules that grant
	denies
	missing // denies, for want of a fact
)

// need denies unless fact is yes.
func need(fact Fact) verdict {
	switch fact {
	case Yes:
		return silent
	case No:
		return denies
	}
	return missing
}

// forbid denies unless fact is no.
func forbid(fact Fact) verdict {
	switch fact {
	case No:
		return silent
	case Yes:
		return denies
	}
	return missing
}

func grantIf(ok bool) verdict {
	if ok {
		return permits
	}
	return silent
}

func denyIf(ok bool) verdict {
	if ok {
		return denies
	}
	return silent
}

func (r *Rule) concerns(a Action) bool { return len(r.Actions) == 0 || slices.Contains(r.Actions, a) }

func (r *Rule) domain(f Facts) string {
	if f.Destination == nil || !strings.Contains(r.Text.FR, "{domain}") {
		return ""
	}
	return f.Destination.Domain
}

// since is the day from when the recipient's BAL is as it is, for the rules that tell it.
func (r *Rule) since(f Facts) time.Time {
	if b := boxHere(f); b != nil && r.Dated.FR != "" {
		return b.StateAt
	}
	return time.Time{}
}

const byDefault = "R-DEFAULT"

// The book, in the order in which rules speak: the first that denies gives the text.
var book = slices.Concat(actorRules, mailRules, dossierRules, []Rule{{
	ID: byDefault, Meaning: "What no rule permits is denied.",
	Source: "style.md §8", Fault: fault.Forbidden, Text: fault.Forbidden.Text(),
	check: func(Question, Facts) verdict { return silent }, // Decide speaks for it
}})

var byID = func() map[string]int {
	m := make(map[string]int, len(book))
	for i, r := range book {
		m[r.ID] = i
	}
	return m
}()

// FindRule returns the rule of an id.
func FindRule(ruleID string) (Rule, bool) {
	i, ok := byID[ruleID]
	if !ok {
		return Rule{}, false
	}
	return book[i], true
}

// RuleBook returns every rule, in order.
func RuleBook() []Rule { return slices.Clone(book) }

//go:embed rules*.go decide.go
var edition embed.FS

var hash = func() string {
	h := sha256.New()
	names, err := fs.Glob(edition, "*.go")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names {
		b, err := edition.ReadFile(name)
		if err != nil {
			panic(err) // listed a line above
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}()

// RuleBookHash names this edition of the rules, texts and logic, in logs and traces.
func RuleBookHash() string { return hash }
