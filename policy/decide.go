package policy

import (
	"strconv"
	"strings"
	"time"

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
// is our failing and so temporary at the doors. Domain is the one the sender gave, Since
// the day from when it is so, for the rules whose text names them.
type Reason struct {
	Rule    string
	Effect  Effect
	Missing bool
	Domain  string
	Since   time.Time // in the zone of the dates that people read
}

// Obligation is something owed before the act counts. The set is closed, and whoever
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

// Rules names the rules that spoke, in order, as a trace keeps them.
func (d Decision) Rules() []string {
	ids := make([]string, len(d.Reasons))
	for i, r := range d.Reasons {
		ids[i] = r.Rule
	}
	return ids
}

// Denial is the reason a person is told: the first rule that denied knowing the facts,
// else the first that lacked one. ok is false when the decision permits.
func (d Decision) Denial() (r Reason, ok bool) {
	for _, r := range d.Reasons {
		if r.Effect == Deny && !r.Missing {
			return r, !d.Permits()
		}
	}
	for _, r := range d.Reasons {
		if r.Effect == Deny {
			return r, !d.Permits()
		}
	}
	return Reason{Rule: byDefault}, !d.Permits()
}

// Code is what an MDN tells of a refusal to file (mssante.md §7.3); 0 when permitted. When
// a fact was missing the caller had better try again (see Reason.Kind) than tell anybody.
func (d Decision) Code() health.IntegrationCode {
	r, denied := d.Denial()
	if !denied {
		return 0
	}
	if rule, ok := FindRule(r.Rule); ok && rule.Code != 0 && !r.Missing {
		return rule.Code
	}
	return health.OtherError
}

// Text is what the reader of a refusal is told.
func (r Reason) Text() fault.Text {
	rule, ok := FindRule(r.Rule)
	if !ok {
		rule, _ = FindRule(byDefault)
	}
	if r.Missing {
		return fault.Unavailable.Text()
	}
	if !r.Since.IsZero() && rule.Dated.FR != "" {
		return fault.Text{
			FR: strings.ReplaceAll(rule.Dated.FR, "{since}", dayFR(r.Since)),
			EN: strings.ReplaceAll(rule.Dated.EN, "{since}", r.Since.Format("2 January 2006")),
		}
	}
	return fault.Text{
		FR: strings.ReplaceAll(rule.Text.FR, "{domain}", r.Domain),
		EN: strings.ReplaceAll(rule.Text.EN, "{domain}", r.Domain),
	}
}

var months = [...]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}

// dayFR writes a day as a sentence does: « 1er mars 2026 ». The year is always there,
// since a refusal may be read long after.
func dayFR(t time.Time) string {
	day := strconv.Itoa(t.Day())
	if t.Day() == 1 {
		day = "1er"
	}
	return day + " " + months[t.Month()-1] + " " + strconv.Itoa(t.Year())
}

// Kind is the kind of fault of a refusal.
func (r Reason) Kind() fault.Kind {
	if r.Missing {
		return fault.Unavailable
	}
	if rule, ok := FindRule(r.Rule); ok {
		return rule.Fault
	}
	return fault.Forbidden
}

// Decide answers one question from the facts given and from nothing else: no I/O,
// no clock, no chance. Every rule of the action is evaluated, a denial beats a
// permission, a missing fact denies, and what no rule permits is denied.
func Decide(q Question, f Facts) Decision {
	d := Decision{Obligations: []Obligation{Trace}}
	denied, permitted := false, false
	for i := range book {
		r := &book[i]
		if !r.concerns(q.Action) {
			continue
		}
		switch r.check(q, f) {
		case permits:
			permitted = permitted || r.Grants
			d.Reasons = append(d.Reasons, Reason{Rule: r.ID, Effect: Permit})
			if r.Owes != "" {
				d.Obligations = append(d.Obligations, r.Owes)
			}
		case denies:
			denied = true
			d.Reasons = append(d.Reasons, Reason{Rule: r.ID, Domain: r.domain(f), Since: r.since(f)})
		case missing:
			denied = true
			d.Reasons = append(d.Reasons, Reason{Rule: r.ID, Missing: true})
		}
	}
	if permitted && !denied {
		d.Effect = Permit
		return d
	}
	d.Obligations = []Obligation{Trace}
	if !denied {
		d.Reasons = append(d.Reasons, Reason{Rule: byDefault})
	}
	return d
}
