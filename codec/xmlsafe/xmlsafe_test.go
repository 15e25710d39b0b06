package xmlsafe

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"pli/fault"
)

func read(s string, lim Limits) (text string, err error) {
	d := NewDecoder(strings.NewReader(s), lim)
	for {
		t, err := d.Token()
		if err == io.EOF {
			return text, nil
		}
		if err != nil {
			return text, err
		}
		if c, ok := t.(xml.CharData); ok {
			text += string(c)
		}
	}
}

func TestRefusals(t *testing.T) {
	deep := strings.Repeat("<a>", 101) + strings.Repeat("</a>", 101)
	many := "<a>" + strings.Repeat("<b/>", 20) + "</a>"
	for name, c := range map[string]struct {
		in, code string
		lim      Limits
	}{
		"doctype":           {"<!DOCTYPE a><a/>", "doctype", Limits{}},
		"entity bomb":       {`<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`, "doctype", Limits{}},
		"undeclared entity": {"<a>&nbsp;</a>", "xml", Limits{}},
		"depth":             {deep, "depth", Limits{}},
		"elements":          {many, "elements", Limits{Elements: 20}},
		"size":              {"<a>" + strings.Repeat("x", 5000) + "</a>", "too-large", Limits{Size: 5000}},
		"cut":               {"<a><b>", "xml", Limits{}},
		"empty":             {"", "xml", Limits{}},
		"utf-16":            {"\xff\xfe<\x00a\x00/\x00>\x00", "xml", Limits{}},
		"utf-32 declared":   {`<?xml version="1.0" encoding="utf-32"?><a/>`, "xml", Limits{}},
		"not utf-8":         {"<a>\xe9</a>", "xml", Limits{}},
	} {
		_, err := read(c.in, c.lim)
		if fault.KindOf(err) != fault.InvalidContent || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want code %s", name, err, c.code)
		}
	}
}

func TestCharsets(t *testing.T) {
	for in, want := range map[string]string{
		"\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"UTF-8\"?><a>é</a>": "é",
		"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xe9</a>":     "é",
		"<?xml version=\"1.0\" encoding=\"ISO-8859-15\"?><a>\xa4</a>":    "€",
		"<?xml version=\"1.0\" encoding=\"Windows-1252\"?><a>\x80</a>":   "€",
		"<a>&lt;&#233;</a>": "<é",
	} {
		if got, err := read(in, Limits{}); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

var errBroken = errors.New("broken pipe")

func TestReaderErrorComesOut(t *testing.T) {
	d := NewDecoder(io.MultiReader(strings.NewReader("<a>"), failing{}), Limits{})
	var err error
	for err == nil {
		_, err = d.Token()
	}
	if !errors.Is(err, errBroken) {
		t.Fatalf("got %v: a failing disk must not look like a bad document", err)
	}
}
