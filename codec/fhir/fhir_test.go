package fhir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pli/fault"
)

// shelf is a catalogue to read searches against.
var shelf = Catalogue{
	{Type: "Book", Includes: []string{"Book:author"}, RevIncludes: []string{"Loan:book"}, Params: []Param{
		{Name: "_id", Kind: Token},
		{Name: "title", Kind: String, Modifiers: []string{Exact, Contains, Missing}},
		{Name: "isbn", Kind: Token},
		{Name: "printed", Kind: Date},
		{Name: "author", Kind: Reference, Targets: []string{"Author"}, Modifiers: []string{Identifier, Missing}, Chained: []string{"name"}},
	}},
	{Type: "Author", Params: []Param{{Name: "name", Kind: String, Modifiers: []string{Exact}}}},
}

func parse(raw string, strict bool) (Query, []Issue) {
	pairs, issues := ParsePairs(raw)
	if len(issues) > 0 {
		return Query{}, issues
	}
	return Parse(shelf, "Book", pairs, strict)
}

func text(s string) Value { return Value{Text: s} }

func TestParse(t *testing.T) {
	at := func(s string) time.Time { v, _ := time.Parse(time.RFC3339, s); return v }
	for _, c := range []struct {
		raw  string
		want []Filter
	}{
		{"title=a", []Filter{{Param: "title", Values: []Value{text("a")}}}},
		{"title=a,b", []Filter{{Param: "title", Values: []Value{text("a"), text("b")}}}},
		{"title=a%5C,b%5C%7Cc%5C%24d%5C%5Ce", []Filter{{Param: "title", Values: []Value{text(`a,b|c$d\e`)}}}},
		{"title=a&title=b", []Filter{{Param: "title", Values: []Value{text("a")}}, {Param: "title", Values: []Value{text("b")}}}},
		{"title:exact=%C3%89t%C3%A9", []Filter{{Param: "title", Modifier: Exact, Values: []Value{text("Été")}}}},
		{"title:missing=true", []Filter{{Param: "title", Modifier: Missing, Missing: true}}},
		{"isbn=1", []Filter{{Param: "isbn", Values: []Value{{Code: "1"}}}}},
		{"isbn=s%7C1,%7C2,s%7C", []Filter{{Param: "isbn", Values: []Value{{System: "s", HasSystem: true, Code: "1"}, {HasSystem: true, Code: "2"}, {System: "s", HasSystem: true}}}}},
		{"isbn=s%7Ca%5C%7Cb", []Filter{{Param: "isbn", Values: []Value{{System: "s", HasSystem: true, Code: "a|b"}}}}},
		{"author=x", []Filter{{Param: "author", Values: []Value{text("x")}}}},
		{"author=Author/x", []Filter{{Param: "author", Values: []Value{text("x")}}}},
		{"author:Author=x", []Filter{{Param: "author", Type: "Author", Values: []Value{text("x")}}}},
		{"author=https://a.example/r4/Author/x", []Filter{{Param: "author", Values: []Value{text("x")}}}},
		{"author:identifier=s%7Cx", []Filter{{Param: "author", Modifier: Identifier, Values: []Value{{System: "s", HasSystem: true, Code: "x"}}}}},
		{"author.name:exact=x", []Filter{{Param: "author", Chain: &Filter{Param: "name", Modifier: Exact, Values: []Value{text("x")}}}}},
		{"author:Author.name=x", []Filter{{Param: "author", Type: "Author", Chain: &Filter{Param: "name", Values: []Value{text("x")}}}}},
		{"printed=2026", []Filter{{Param: "printed", Values: []Value{{Compare: "eq", From: at("2026-01-01T00:00:00Z"), To: at("2027-01-01T00:00:00Z")}}}}},
		{"printed=ge2024-02", []Filter{{Param: "printed", Values: []Value{{Compare: "ge", From: at("2024-02-01T00:00:00Z"), To: at("2024-03-01T00:00:00Z")}}}}},
		{"printed=lt2026-03-01", []Filter{{Param: "printed", Values: []Value{{Compare: "lt", From: at("2026-03-01T00:00:00Z"), To: at("2026-03-02T00:00:00Z")}}}}},
		{"printed=2026-03-01T10:00%2B01:00", []Filter{{Param: "printed", Values: []Value{{Compare: "eq", From: at("2026-03-01T09:00:00Z"), To: at("2026-03-01T09:01:00Z")}}}}},
		{"printed=2026-03-01T10:00:00+01:00", []Filter{{Param: "printed", Values: []Value{{Compare: "eq", From: at("2026-03-01T09:00:00Z"), To: at("2026-03-01T09:00:01Z")}}}}},
	} {
		q, issues := parse(c.raw, true)
		if len(issues) > 0 || !reflect.DeepEqual(q.Filters, c.want) {
			t.Errorf("%s: %+v %+v", c.raw, q.Filters, issues)
		}
		if again := Encode(q.Used); again == "" {
			t.Errorf("%s: nothing is said to be used", c.raw)
		} else if q2, issues := parse(again, true); len(issues) > 0 || !reflect.DeepEqual(q2.Filters, c.want) {
			t.Errorf("%s: encoded again: %s", c.raw, again)
		}
	}
}

func TestMalformed(t *testing.T) {
	for raw, want := range map[string]string{
		"title=" + `%5C`:                         "invalid",
		"title=a%5Cb":                            "invalid",
		"title=%2C":                              "invalid",
		"title=-":                                "invalid",
		"title:contains=ab":                      "invalid",
		"title:missing=oui":                      "invalid",
		"title:text=a":                           "not-supported",
		"title.x=a":                              "not-supported",
		"isbn:exact=a":                           "not-supported",
		"isbn=a%7Cb%7Cc":                         "invalid",
		"isbn=%7C":                               "invalid",
		"author=Book/x":                          "invalid",
		"author=a/b/c":                           "invalid",
		"author=a_b":                             "invalid",
		"author.name.x=a":                        "not-supported",
		"author.born=a":                          "not-supported",
		"author:Book=x":                          "not-supported",
		"printed=ap2026":                         "invalid",
		"printed=20260301":                       "invalid",
		"printed=2026-02-30":                     "invalid",
		"printed=2026-03-01T10":                  "invalid",
		"printed=2026-03-01T10:00Q":              "invalid",
		"printed=0000":                           "invalid",
		"printed=ge":                             "invalid",
		"_count=-1":                              "invalid",
		"_count=1e3":                             "invalid",
		"_count=9999999999999":                   "invalid",
		"_elements=a.b":                          "invalid",
		"_elements=":                             "invalid",
		"_summary=peut-etre":                     "invalid",
		"_summary=true&_elements=a":              "invalid",
		"_total=x":                               "invalid",
		"title=%0A":                              "invalid",
		"title=" + strings.Repeat("a", 600):      "invalid",
		"_id=" + strings.Repeat("a,", 300):       "invalid",
		"title=" + strings.Repeat("a", MaxQuery): "too-long",
		strings.Repeat("title=a&", maxPairs+1):   "too-costly",
		"title=a&_page_token=x&_page_token=y":    "invalid",
		"titre=a":                                "", // lenient
		"_include=Book:isbn":                     "",
		"_include:iterate=Book:author":           "",
		"_include=Book:author&_revinclude=Loan:book": "",
		"_sort=title": "",
	} {
		_, issues := parse(raw, false)
		got := ""
		if len(issues) > 0 {
			got = issues[0].Code
		}
		if got != want {
			t.Errorf("%.60s: %+v, want %q", raw, issues, want)
		}
	}
}

func TestIncludes(t *testing.T) {
	q, issues := parse("_include=*&_include=Book:author:Author&_revinclude=Loan:book", true)
	if len(issues) > 0 || strings.Join(q.Include, " ") != "Book:author Book:author" || strings.Join(q.RevInclude, " ") != "Loan:book" {
		t.Errorf("%+v %+v", q, issues)
	}
}

func TestSubset(t *testing.T) {
	const whole = `{"resourceType":"Book","id":"b","meta":{"versionId":"1"},"title":"Été","_title":{"id":"t"},"pages":[1,2]}`
	for _, c := range []struct {
		elements, want string
	}{
		{"title", `{"resourceType":"Book","id":"b","meta":{"versionId":"1","tag":[T]},"title":"Été","_title":{"id":"t"}}`},
		{"pages,none", `{"resourceType":"Book","id":"b","meta":{"versionId":"1","tag":[T]},"pages":[1,2]}`},
		{"", `{"resourceType":"Book","id":"b","meta":{"versionId":"1","tag":[T]}}`},
	} {
		got, err := Subset([]byte(whole), strings.Split(c.elements, ","))
		want := strings.Replace(c.want, `"tag":[T]`, subsetted, 1)
		if err != nil || string(got) != want {
			t.Errorf("%s: %s %v", c.elements, got, err)
		}
	}
	for in, want := range map[string]string{
		`{"resourceType":"Book"}`:           `{"resourceType":"Book","meta":{` + subsetted + `}}`,
		`{"resourceType":"Book","meta":{}}`: `{"resourceType":"Book","meta":{` + subsetted + `}}`,
	} {
		if got, err := Subset([]byte(in), nil); err != nil || string(got) != want {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "[]", `{"a"`, `{"a":}`} {
		if _, err := Subset([]byte(bad), nil); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestVersioned(t *testing.T) {
	a, v := Versioned([]byte(`{"id":"1","meta":{"source":"x"},"n":1}`))
	if string(a) != `{"id":"1","meta":{"versionId":"`+v+`","source":"x"},"n":1}` {
		t.Errorf("%s", a)
	}
	b, w := Versioned([]byte(`{"id":"1","meta":{},"n":1}`))
	if v == w || string(b) != `{"id":"1","meta":{"versionId":"`+w+`"},"n":1}` {
		t.Errorf("%s", b)
	}
}

func TestSearchset(t *testing.T) {
	b := Searchset("i", time.Unix(0, 0), []Link{{"self", `https://a.example/?a=b&c="`}}, []Entry{{"https://a.example/B/1", json.RawMessage(`{"a":1}`), Match}, {"", Outcome(nil), Told}})
	var v struct {
		Total *int
		Entry []struct {
			FullURL  string
			Resource struct{ A int }
			Search   struct{ Mode string }
		}
	}
	if err := json.Unmarshal(b, &v); err != nil || v.Total != nil || len(v.Entry) != 2 || v.Entry[0].Resource.A != 1 || v.Entry[1].FullURL != "" {
		t.Errorf("%v %s", err, b)
	}
	if b := Searchset("i", time.Unix(0, 0), nil, nil); bytes.Contains(b, []byte("entry")) || !json.Valid(b) {
		t.Errorf("%s", b)
	}
}

// Parameters come from strangers: what is read is bounded, and reads the same again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"title=a,b&isbn=s|1", `title:exact=a\,b`, "author.name:exact=x", "printed=ge2026-03-01T10:00:00+01:00", "_elements=a,b&_count=3", "_include=*", "title=%zz", "&&=", "isbn=%5C%7C"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, raw string, strict bool) {
		q, issues := parse(raw, strict)
		for _, i := range append(issues, q.Ignored...) {
			if i.Text.FR == "" || i.Text.EN == "" || len(i.Expression) > maxName+8 {
				t.Errorf("%+v", i)
			}
		}
		if !json.Valid(Outcome(append(issues, q.Ignored...))) {
			t.Error("the outcome is no JSON")
		}
		if len(issues) > 0 {
			return
		}
		if q.Count < 1 || q.Count > MaxCount || len(q.Filters) > maxPairs {
			t.Errorf("%+v", q)
		}
		again, issues := parse(Encode(q.Used), true)
		if len(issues) > 0 {
			if len(raw) < MaxQuery/3 { // what is encoded again may be longer
				t.Errorf("%q is used and refused: %+v", Encode(q.Used), issues)
			}
			return
		}
		if fmt.Sprint(again.Filters) != fmt.Sprint(q.Filters) && !chained(q.Filters) {
			t.Errorf("%v, then %v", q.Filters, again.Filters)
		}
	})
}

// chained reports whether a filter holds a pointer, which prints differently.
func chained(fs []Filter) bool {
	for _, f := range fs {
		if f.Chain != nil {
			return true
		}
	}
	return false
}

// What is kept of a resource is a resource.
func FuzzSubset(f *testing.F) {
	f.Add([]byte(`{"resourceType":"B","id":"b","meta":{"a":1},"title":"x"}`), "title")
	f.Add([]byte(`{"meta":{ }}`), "")
	f.Fuzz(func(t *testing.T, resource []byte, element string) {
		if !json.Valid(resource) {
			return
		}
		out, err := Subset(resource, []string{element})
		if err == nil && !json.Valid(out) && plain(resource) {
			t.Errorf("%s", out)
		}
	})
}

// plain reports whether names of members need no escapes: ours never do.
func plain(b []byte) bool { return !bytes.ContainsAny(b, `\`) }
