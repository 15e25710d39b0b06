package policy

import (
	"pli/fault"
	"pli/health"
)

// Effect is the outcome of a decision. The zero value denies.
type Effect uint8

const (
	Deny Effect = iota
	Permit
)

func (e Effect) String() string {
	if e == Permit {
		return "permit"
	}
	return "deny"
}

// Reason is one rule that spoke. Missing says that it denied for want of a fact, which
// is our failing and so temporary at the doors.
type Reason struct {
	Rule    string
	Effect  Effect
	Missing bool
}

// Obligation is something owed before the act counts. The set is closed and whoever
// carries obligations out refuses one that he does not know.
type Obligation string

const (
	Trace    Obligation = "trace"     // owed by every decision
	ReadOnly Obligation = "read-only" // the BAL opens for reading and export only
)

// Decision is an answer. The zero Decision denies.
type Decision struct {
	Effect      Effect
	Reasons     []Reason // in rule order, never empty when Decide made it
	Obligations []Obligation
}

// Permits reports whether the act may take place.
func (d Decision) Permits() bool { return d.Effect == Permit }

// Owes reports whether the decision holds o.
func (d Decision) Owes(o Obligation) bool {
	for _, x := range d.Obligations {
		if x == o {
			return true
		}
	}
	return false
}

// Rule is an article of the rule book.
type Rule struct {
	ID      string
	Actions []Action
	Grants  bool   // it may permit; other rules only deny
	Meaning string // one English sentence
	Source  string // text and section
	Text    fault.Text
	Fault   fault.Kind             // what a denial becomes at the doors
	Code    health.IntegrationCode // file-document: what the MDN tells; 0 is none
	check   func(Question, Facts) verdict
}
