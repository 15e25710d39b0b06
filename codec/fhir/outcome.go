package fhir

import (
	"encoding/json"

	"pli/fault"
)

// Issue is one thing to say of a request.
type Issue struct {
	Severity   string // error, warning, information
	Code       string // of the value set issue-type
	Text       fault.Text
	Expression string // what of the request it is about: "http.name" is parameter name
}

// Severities.
const (
	Error   = "error"
	Warning = "warning"
)

// Outcome writes an OperationOutcome: the French text for people, the English one in
// diagnostics, as a client's log would show it. There is at least one issue.
func Outcome(issues []Issue) []byte {
	type text struct {
		Text string `json:"text"`
	}
	type issue struct {
		Severity    string   `json:"severity"`
		Code        string   `json:"code"`
		Details     *text    `json:"details,omitempty"`
		Diagnostics string   `json:"diagnostics,omitempty"`
		Expression  []string `json:"expression,omitempty"`
	}
	out := struct {
		ResourceType string  `json:"resourceType"`
		Issue        []issue `json:"issue"`
	}{ResourceType: "OperationOutcome"}
	if len(issues) == 0 {
		issues = []Issue{{Severity: Error, Code: fault.Internal.FHIR(), Text: fault.Internal.Text()}}
	}
	for _, i := range issues {
		o := issue{Severity: i.Severity, Code: i.Code, Diagnostics: i.Text.EN}
		if i.Text.FR != "" {
			o.Details = &text{i.Text.FR}
		}
		if i.Expression != "" {
			o.Expression = []string{i.Expression}
		}
		out.Issue = append(out.Issue, o)
	}
	b, _ := json.Marshal(out) // strings only: cannot fail
	return b
}

// IssueOf tells an error as an issue.
func IssueOf(err error) Issue {
	return Issue{Severity: Error, Code: fault.KindOf(err).FHIR(), Text: fault.TextOf(err)}
}
