package fhir

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pli/fault"
	"pli/health"
)

func TestPathsAreWrittenAndRead(t *testing.T) {
	second := 2
	for text, want := range map[string]Path{
		"Practitioner.telecom":                                   TelecomsPath("Practitioner"),
		"Practitioner.telecom.where(value = 'a@b.example')":      TelecomPath("Practitioner", "a@b.example"),
		`Organization.telecom.where(value = 'l\'h\\@b.example')`: TelecomPath("Organization", `l'h\@b.example`),
		"Organization.telecom.where(value = 'a@b').extension('" + ExtensionMailbox + "').extension('description').value": MetadataPath("Organization", "a@b", "description"),
		"Practitioner.telecom[2].value": {"Practitioner", []Step{{Name: "telecom", Index: &second}, {Name: "value"}}},
	} {
		if got := want.String(); got != text {
			t.Errorf("written %s, want %s", got, text)
		}
		if got, err := ParsePath(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	// Another hand's spaces.
	if p, err := ParsePath(" Practitioner . telecom.where( value='a@b' ) "); err != nil || p.String() != "Practitioner.telecom.where(value = 'a@b')" {
		t.Error(p, err)
	}
	for _, text := range []string{"", "Practitioner", ".telecom", "Practitioner.", "Practitioner.telecom.where(value = 'x", "Practitioner.telecom.where(value = 'x'",
		"Practitioner.telecom.where(value != 'x')", "Practitioner.telecom[x]", "Practitioner.telecom[1", "Practitioner.where(a = 'b')", "Practitioner.telecom.first()",
		"Practitioner.telecom | Practitioner.name", `Practitioner.telecom.where(value = '\x')`, "Practitioner.telecom.where(a = 'b').where(c = 'd')",
		"Practitioner" + strings.Repeat(".a", 50), "Practitioner.telecom.where(value = '" + strings.Repeat("x", pathSize) + "')"} {
		if _, err := ParsePath(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPatchesAreWrittenAndRead(t *testing.T) {
	a := Announced{Mailbox{Address: "secretariat@ch.example", Kind: health.ORG, Description: "d", Service: "Préadmission", Rank: 2}, "Direction"}
	ops := []Operation{
		{Type: Delete, Path: TelecomPath("Organization", "old@ch.example")},
		{Type: Insert, Path: TelecomsPath("Organization"), Index: 1, Value: a.Value(AsConcept)},
		{Type: Replace, Path: MetadataPath("Organization", "x@ch.example", "description"), Value: StringValue("d'été")},
	}
	b := Patch(ops...)
	got, err := ParsePatch(b)
	if err != nil || !reflect.DeepEqual(got, ops) {
		t.Errorf("%v\n%s\n%+v", err, b, got)
	}
	var shape struct {
		ResourceType string
		Parameter    []struct {
			Name string
			Part []map[string]any
		}
	}
	if err := json.Unmarshal(b, &shape); err != nil || shape.ResourceType != "Parameters" || len(shape.Parameter) != 3 || shape.Parameter[0].Name != "operation" {
		t.Errorf("%s", b)
	}
	if part := shape.Parameter[0].Part; len(part) != 2 || part[0]["valueCode"] != "delete" || part[1]["valueString"] != "Organization.telecom.where(value = 'old@ch.example')" {
		t.Errorf("%v", part)
	}
	if part := shape.Parameter[1].Part; len(part) != 4 || part[2]["valueInteger"] != 1.0 || part[3]["valueContactPoint"] == nil {
		t.Errorf("%v", part)
	}
}

func TestWhatIsNoPatch(t *testing.T) {
	op := func(parts string) string {
		return `{"resourceType":"Parameters","parameter":[{"name":"operation","part":[` + parts + `]}]}`
	}
	const path = `{"name":"path","valueString":"Practitioner.telecom"}`
	for text, code := range map[string]string{
		`[]`: "not-parameters", `{"resourceType":"Bundle"}`: "not-parameters", `{"resourceType":"Parameters"}`: "no-operation",
		`{"resourceType":"Parameters","parameter":[{"name":"x"}]}`: "operation",
		op(`{"name":"type","valueCode":"move"},` + path):           "patch-type", op(path): "patch-type", op(`3`): "operation",
		op(`{"name":"type","valueCode":"delete"}`): "path", op(`{"name":"type","valueCode":"delete"},{"name":"path","valueString":"x"}`): "path",
		op(`{"name":"type","valueCode":"insert"},` + path):                                                                     "index",
		op(`{"name":"type","valueCode":"insert"},` + path + `,{"name":"index","valueInteger":-1}`):                             "index",
		op(`{"name":"type","valueCode":"insert"},` + path + `,{"name":"index","valueInteger":0}`):                              "value",
		op(`{"name":"type","valueCode":"replace"},` + path + `,{"name":"value","valueString":null}`):                           "value",
		op(`{"name":"type","valueCode":"delete"},` + path + `,` + path):                                                        "operation",
		op(`{"name":"type","valueCode":"replace"},` + path + `,{"name":"value","valueString":"a","valueBoolean":true}`):        "operation",
		`{"resourceType":"Parameters","parameter":[` + strings.Repeat(`{"name":"operation"},`, 200) + `{"name":"operation"}]}`: "too-many-operations",
	} {
		if _, err := ParsePatch([]byte(text)); fault.CodeOf(err) != code {
			t.Errorf("%.100s: %v, want %s", text, err, code)
		}
	}
}

func TestAnnouncedInBothShapes(t *testing.T) {
	want := Announced{Mailbox{Address: "a@b.example", Kind: health.APP, Description: "d", Service: "s", Rank: 1}, "r"}
	for _, as := range []KindAs{AsCode, AsConcept} {
		v := want.Value(as)
		if code := bytes.Contains(v.JSON, []byte(`"valueCode":"APP"`)); code != (as == AsCode) {
			t.Errorf("%s: %s", as, v.JSON)
		}
		if got, unlisted, ok := ParseAnnounced(v.JSON); !ok || unlisted || got != want {
			t.Errorf("%s: %+v %v %v", as, got, unlisted, ok)
		}
	}
	// What the open directory writes is read too.
	open, _ := json.Marshal(Mailbox{Address: "a@b.example", Kind: health.PER}.ContactPoint())
	if got, _, ok := ParseAnnounced(open); !ok || got.Kind != health.PER {
		t.Errorf("%s %+v", open, got)
	}
	if _, unlisted, ok := ParseAnnounced([]byte(`{"system":"email","value":"a@b","extension":[{"url":"` + ExtensionMailbox + `","extension":[{"url":"type","valueCode":"PER"},{"url":"listeRouge","valueBoolean":true}]}]}`)); !ok || !unlisted {
		t.Error("liste rouge not seen")
	}
	for _, other := range []string{`{"system":"phone","value":"01"}`, `{"system":"email","value":"a@b"}`, `x`, `{"system":"email","extension":[]}`} {
		if _, _, ok := ParseAnnounced([]byte(other)); ok {
			t.Errorf("%s taken for a BAL", other)
		}
	}
}

func TestChanges(t *testing.T) {
	per := &Announced{Mailbox: Mailbox{Address: "a@b.example", Kind: health.PER, Rank: 1}}
	org := &Announced{Mailbox{Address: "s@b.example", Kind: health.ORG, Description: "d", Service: "s", Rank: 1}, "r"}
	with := func(a *Announced, f func(*Announced)) *Announced { c := *a; f(&c); return &c }
	for _, c := range []struct {
		name     string
		was, is  *Announced
		want     string // types
		lastPath string
	}{
		{"nothing", nil, nil, "", ""},
		{"made", nil, per, "insert", "X.telecom"},
		{"gone", per, nil, "delete", "X.telecom.where(value = 'a@b.example')"},
		{"the same", per, with(per, func(*Announced) {}), "", ""},
		{"a text that a PER does not have", per, with(per, func(a *Announced) { a.Description = "x" }), "", ""},
		{"another address", per, with(per, func(a *Announced) { a.Address = "z@b.example" }), "delete insert", "X.telecom"},
		{"another kind", per, with(per, func(a *Announced) { a.Kind = health.CAB }), "delete insert", "X.telecom"},
		{"rank", per, with(per, func(a *Announced) { a.Rank = 2 }), "replace", "X.telecom.where(value = 'a@b.example')"},
		{"one text", org, with(org, func(a *Announced) { a.Responsible = "other" }), "replace", MetadataPath("X", "s@b.example", "responsible").String()},
		{"two texts", org, with(org, func(a *Announced) { a.Responsible, a.Service = "other", "more" }), "replace", "X.telecom.where(value = 's@b.example')"},
		{"a text that goes", org, with(org, func(a *Announced) { a.Description = "" }), "replace", "X.telecom.where(value = 's@b.example')"},
		{"a text and the rank", org, with(org, func(a *Announced) { a.Description, a.Rank = "x", 3 }), "replace", "X.telecom.where(value = 's@b.example')"},
	} {
		var types []string
		last := ""
		for _, op := range Changes("X", c.was, c.is, AsCode) {
			types, last = append(types, string(op.Type)), op.Path.String()
		}
		if got := strings.Join(types, " "); got != c.want || last != c.lastPath {
			t.Errorf("%s: %s %s", c.name, got, last)
		}
	}
}

func FuzzParsePatch(f *testing.F) {
	f.Add(Patch(Operation{Type: Insert, Path: TelecomsPath("Practitioner"), Value: Announced{Mailbox: Mailbox{Address: "a@b", Kind: health.PER}}.Value(AsCode)},
		Operation{Type: Delete, Path: TelecomPath("Practitioner", "l'a@b")}, Operation{Type: Replace, Path: MetadataPath("O", "a", "listeRouge"), Value: BooleanValue(true)}))
	f.Add([]byte(`{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"delete"},{"name":"path","valueString":"A.b[3].where(c='\\'')"}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, err := ParsePatch(b)
		if err != nil {
			return
		}
		again, err := ParsePatch(Patch(ops...))
		if err != nil || len(again) != len(ops) {
			t.Fatalf("%v: %s", err, Patch(ops...))
		}
		for i := range ops {
			if again[i].Path.String() != ops[i].Path.String() || again[i].Type != ops[i].Type {
				t.Fatalf("%v then %v", ops[i], again[i])
			}
		}
	})
}

func FuzzParseAnnounced(f *testing.F) {
	f.Add([]byte(Announced{Mailbox{Address: "a@b", Kind: health.ORG, Service: "s"}, "r"}.Value(AsConcept).JSON))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, _, ok := ParseAnnounced(b)
		if !ok {
			return
		}
		a.Rank = max(a.Rank, 0)
		if again, _, ok := ParseAnnounced(a.Value(AsCode).JSON); !ok || again != a.Allowed() {
			t.Fatalf("%+v then %+v", a, again)
		}
	})
}
