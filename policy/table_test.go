package policy

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pli/health"
	"pli/internal/id"
	"pli/mail"
)

var update = flag.Bool("update", false, "rewrite the outcomes of testdata/decisions.tsv and RULES.md")

var now = time.Date(2026, 3, 3, 14, 5, 0, 0, time.UTC)

// Who asks, by the words of the table.
const (
	doctorAccount, patientAccount = id.Account(1), id.Account(2)
	senderBAL, patientBAL, toBAL  = id.BAL(11), id.BAL(12), id.BAL(13)
	patientID                     = id.Patient(21)
)

var documentID = id.Document{31}

func box(n id.BAL, kind health.BALKind) *Box {
	return &Box{ID: n, Kind: kind, State: health.Active, StateAt: now.AddDate(-1, 0, 0), Terms: Yes, OpenToPatients: No}
}

func dossier() *Patient {
	return &Patient{ID: patientID, BAL: patientBAL, Account: patientAccount, Class: health.TestINS, Open: Yes, Qualified: Yes, FeedingOpposed: No}
}

func goodReading() *Reading {
	return &Reading{HasINS: Yes, Class: health.TestINS, KeyValid: No, Complete: Yes, SenderQualified: Yes, PatientFound: Yes,
		TraitsMatch: Yes, TypeKnown: Yes, Confidentiality: []string{"N"}, AuthorIdentified: Yes, Archive: Yes, Latest: Yes, Author: Yes}
}

var froms = map[string]func(*Question, *Facts){
	"PER":     professional(health.PER, "app-password"),
	"ORG":     professional(health.ORG, "app-password"),
	"CAB":     professional(health.CAB, "app-password"),
	"APP":     professional(health.APP, "certificate"),
	"patient": patientAsks,
	"house":   func(q *Question, _ *Facts) { q.Actor.House = true },
	"peer":    peerAsks("dr.b@mss-b.example"),
	"notice":  peerAsks(""),
	"nobody":  func(*Question, *Facts) {},
}

func professional(kind health.BALKind, proof string) func(*Question, *Facts) {
	return func(q *Question, f *Facts) {
		q.Actor = Actor{Account: doctorAccount, BAL: senderBAL, Proof: proof}
		q.Object.BAL = senderBAL
		f.Account = &Account{ID: doctorAccount, Enabled: Yes, Linked: Yes}
		f.Sender = box(senderBAL, kind)
	}
}

func patientAsks(q *Question, f *Facts) {
	q.Actor = Actor{Account: patientAccount, BAL: patientBAL, Patient: patientID, Proof: "web"}
	q.Object.BAL = patientBAL
	f.Account = &Account{ID: patientAccount, Enabled: Yes, Linked: Yes}
	f.Sender = box(patientBAL, health.Patient)
	f.Exchange = NoExchange
}

func peerAsks(from string) func(*Question, *Facts) {
	return func(q *Question, f *Facts) {
		q.Actor.Peer = Peer{Name: "mss-b.example", Domains: []string{"mss-b.example"}}
		if from != "" {
			q.Object.From = mail.MustAddress(from)
			f.FromPatient = No
		}
	}
}

var tos = map[string]func(*Question, *Facts){
	"-":            func(*Question, *Facts) {},
	"PER":          here(health.PER),
	"ORG":          here(health.ORG),
	"CAB":          here(health.CAB),
	"APP":          here(health.APP),
	"patient":      here(health.Patient),
	"pharmacy":     sector(health.ORG, "SA33"),
	"pharmacist":   sector(health.PER, "SA33"),
	"app-pharmacy": sector(health.APP, "SA33"),
	"unknown":      absent(No),
	"no-matricule": absent(Yes),
	"away":         away(Yes, No),
	"away-patient": away(Yes, Yes),
	"outside":      away(No, No),
	"dossier":      inDossier,
}

func here(kind health.BALKind) func(*Question, *Facts) {
	return func(q *Question, f *Facts) {
		q.Object.To = mail.MustAddress("to@mss-a.example")
		f.Destination = &Destination{Domain: "mss-a.example", Place: Here, ForPatient: Is(kind == health.Patient), Exists: Yes, Box: box(toBAL, kind)}
		if kind == health.Patient {
			f.Destination.Patient = dossier()
		}
	}
}

func sector(kind health.BALKind, sa string) func(*Question, *Facts) {
	return func(q *Question, f *Facts) { here(kind)(q, f); f.Destination.Box.Sector = sa }
}

func absent(forPatient Fact) func(*Question, *Facts) {
	return func(q *Question, f *Facts) {
		q.Object.To = mail.MustAddress("nobody@mss-a.example")
		f.Destination = &Destination{Domain: "mss-a.example", Place: Here, ForPatient: forPatient, Exists: No}
	}
}

func away(trusted, forPatient Fact) func(*Question, *Facts) {
	return func(q *Question, f *Facts) {
		q.Object.To = mail.MustAddress("someone@dehors.example")
		f.Destination = &Destination{Domain: "dehors.example", Place: Away, Trusted: trusted, ForPatient: forPatient}
	}
}

func inDossier(q *Question, f *Facts) {
	q.Object.Patient, q.Object.Document = patientID, documentID
	f.Patient, f.Class = dossier(), health.TestINS
	if q.Action == FileDocument {
		f.Reading = goodReading()
	}
	f.Stored = &Stored{ID: documentID, Patient: patientID, Deleted: No, Visibility: []string{"N"}}
}

// Every other word of the table, each one change.
var changes = map[string]func(*Question, *Facts){
	"account-disabled": func(_ *Question, f *Facts) { f.Account.Enabled = No },
	"account-unknown":  func(_ *Question, f *Facts) { f.Account = nil },
	"not-linked":       func(_ *Question, f *Facts) { f.Account.Linked = No },
	"terms-refused":    func(_ *Question, f *Facts) { f.Sender.Terms = No },
	"terms-unknown":    func(_ *Question, f *Facts) { f.Sender.Terms = Unknown },
	"sender-pending":   func(_ *Question, f *Facts) { f.Sender.State = health.Pending },
	"sender-suspended": func(_ *Question, f *Facts) {
		f.Sender.State, f.Sender.StateAt = health.Suspended, now.AddDate(0, 0, -1)
	},
	"sender-long-suspended": func(_ *Question, f *Facts) {
		f.Sender.State, f.Sender.StateAt = health.Suspended, now.AddDate(0, 0, -91)
	},
	"sender-closed":       func(_ *Question, f *Facts) { f.Sender.State = health.Closed },
	"by-password":         func(q *Question, _ *Facts) { q.Actor.Proof = "app-password" },
	"to-pending":          func(_ *Question, f *Facts) { f.Destination.Box.State = health.Pending },
	"to-suspended":        func(_ *Question, f *Facts) { f.Destination.Box.State = health.Suspended },
	"to-closed":           func(_ *Question, f *Facts) { f.Destination.Box.State = health.Closed },
	"to-purged":           func(_ *Question, f *Facts) { f.Destination.Box.State = health.Purged },
	"open-to-patients":    func(_ *Question, f *Facts) { f.Destination.Box.OpenToPatients = Yes },
	"space-closed":        func(_ *Question, f *Facts) { f.Destination.Patient.Open = No },
	"space-never-opened":  func(_ *Question, f *Facts) { f.Destination.Patient = nil },
	"exchange-open":       func(_ *Question, f *Facts) { f.Exchange = ExchangeOpen },
	"exchange-ended":      func(_ *Question, f *Facts) { f.Exchange = ExchangeEnded },
	"exchange-unknown":    func(_ *Question, f *Facts) { f.Exchange = ExchangeUnknown },
	"white-list-unusable": func(_ *Question, f *Facts) { f.Destination.Trusted = Unknown },
	"from-patient":        func(_ *Question, f *Facts) { f.FromPatient = Yes },
	"from-elsewhere":      func(q *Question, _ *Facts) { q.Object.From = mail.MustAddress("x@mss-c.example") },
	"no-domains":          func(q *Question, _ *Facts) { q.Actor.Peer.Domains = nil },
	"also-house":          func(q *Question, _ *Facts) { q.Actor.House = true },

	"no-ins":         func(_ *Question, f *Facts) { f.Reading.HasINS = No },
	"not-qualified":  func(_ *Question, f *Facts) { f.Reading.SenderQualified = No },
	"traits-missing": func(_ *Question, f *Facts) { f.Reading.Complete = No },
	"real-ins": func(_ *Question, f *Facts) {
		f.Reading.Class, f.Class, f.Patient.Class = health.RealINS, health.RealINS, health.RealINS
	},
	"right-key":         func(_ *Question, f *Facts) { f.Reading.KeyValid = Yes },
	"house-of-real-ins": func(_ *Question, f *Facts) { f.Class = health.RealINS },
	"patient-unknown":   func(q *Question, f *Facts) { f.Reading.PatientFound, f.Patient, q.Object.Patient = No, nil, 0 },
	"traits-differ":     func(_ *Question, f *Facts) { f.Reading.TraitsMatch = No },
	"dossier-closed":    func(_ *Question, f *Facts) { f.Patient.Open = No },
	"ours-unqualified":  func(_ *Question, f *Facts) { f.Patient.Qualified = No },
	"feeding-opposed":   func(_ *Question, f *Facts) { f.Patient.FeedingOpposed = Yes },
	"old-version":       func(_ *Question, f *Facts) { f.Reading.Latest = No },
	"other-author":      func(_ *Question, f *Facts) { f.Reading.Author = No },
	"type-unknown":      func(_ *Question, f *Facts) { f.Reading.TypeKnown = No },
	"restricted":        func(_ *Question, f *Facts) { f.Reading.Confidentiality = []string{"R"} },
	"very-restricted":   func(_ *Question, f *Facts) { f.Reading.Confidentiality = []string{"N", "V"} },
	"masked":            func(_ *Question, f *Facts) { f.Reading.Confidentiality = []string{"N", health.MaskedToPros} },
	"author-unknown":    func(_ *Question, f *Facts) { f.Reading.AuthorIdentified = No },
	"bare":              func(_ *Question, f *Facts) { f.Reading.Archive = No },
	"unread":            func(_ *Question, f *Facts) { f.Reading = nil },
	"other-dossier": func(q *Question, f *Facts) {
		q.Object.Patient, f.Patient.ID, f.Patient.Account, f.Stored.Patient = 99, 99, 98, 99
	},
	"stolen-dossier": func(_ *Question, f *Facts) { f.Patient.Account = 98 },
	"other-message":  func(q *Question, _ *Facts) { q.Object.BAL = toBAL },
	"deleted":        func(_ *Question, f *Facts) { f.Stored.Deleted = Yes },
	"hidden":         func(_ *Question, f *Facts) { f.Stored.Visibility = []string{"N", health.HiddenToPatient} },
	"of-another":     func(_ *Question, f *Facts) { f.Stored.Patient = 99 },
	"no-document":    func(_ *Question, f *Facts) { f.Stored = nil },
}

// scene builds the question and facts of a line of the table.
func scene(action, from, to, words string) (Question, Facts, error) {
	q, f := Question{Action: Action(action)}, Facts{Now: now}
	who, ok1 := froms[from]
	where, ok2 := tos[to]
	if !ok1 || !ok2 {
		return q, f, fmt.Errorf("unknown word in %q, %q", from, to)
	}
	who(&q, &f)
	where(&q, &f)
	for w := range strings.FieldsSeq(strings.Trim(words, "-")) {
		change, ok := changes[w]
		if !ok {
			return q, f, fmt.Errorf("unknown word %q", w)
		}
		change(&q, &f)
	}
	return q, f, nil
}

// outcome writes a decision as the table does.
func outcome(d Decision) string {
	kind := "-"
	if r, denied := d.Denial(); denied {
		kind = r.Kind().String()
		if c := d.Code(); c != health.OtherError || strings.HasPrefix(r.Rule, "R-FILE") {
			kind += fmt.Sprintf(" %d", c)
		}
	}
	if d.Owes(ReadOnly) {
		kind = string(ReadOnly)
	}
	var said []string
	for _, r := range d.Reasons {
		if r.Effect != d.Effect {
			continue
		}
		if r.Missing {
			r.Rule += "?"
		}
		said = append(said, r.Rule)
	}
	return fmt.Sprintf("%s\t%s\t%s", d.Effect, kind, strings.Join(said, " "))
}

// TestDecisionTable runs testdata/decisions.tsv, which people read to know the rules.
func TestDecisionTable(t *testing.T) {
	const file = "testdata/decisions.tsv"
	table, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	spoke, cases := map[string]bool{}, 0
	for line := range strings.Lines(string(table)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			fmt.Fprintln(&out, line)
			continue
		}
		cells := strings.SplitN(line, "\t", 5)
		if len(cells) < 4 {
			t.Fatalf("%q: want action, from, to, words, outcome", line)
		}
		q, f, err := scene(cells[0], cells[1], cells[2], cells[3])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		d := Decide(q, f)
		for _, r := range d.Reasons {
			spoke[r.Rule] = true
		}
		cases++
		got := strings.Join(cells[:4], "\t") + "\t" + outcome(d)
		fmt.Fprintln(&out, got)
		if got != line && !*update {
			t.Errorf("\n want %s\n  got %s", line, got)
		}
	}
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range RuleBook() {
		if !spoke[r.ID] {
			t.Errorf("%s never speaks in the table", r.ID)
		}
	}
	t.Logf("%d cases", cases)
}
