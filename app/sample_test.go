package app

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite generated files")

// TestSample keeps pli.sample.toml in step with the comments of the fields.
func TestSample(t *testing.T) {
	want := generateSample(t)
	if *update {
		if err := os.WriteFile("pli.sample.toml", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if Sample != want {
		t.Fatal("pli.sample.toml is stale: go test ./app -run TestSample -update")
	}
}

// TestSampleIsRead shows that the sample is a valid file and names every setting.
func TestSampleIsRead(t *testing.T) {
	path := t.TempDir() + "/pli.toml"
	if err := os.WriteFile(path, []byte(Sample), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Operator.Domains[0] != "mss-a.example" || c.SMTP.MX != ":25" {
		t.Fatalf("read %+v", c.Operator)
	}
	for _, e := range c.Check() {
		if !strings.Contains(e.Error(), "cannot be read") {
			t.Errorf("the sample has a problem of its own: %v", e)
		}
	}
}

func generateSample(t *testing.T) string {
	comments := fieldComments(t)
	var b strings.Builder
	b.WriteString("# Configuration of Pli. Each setting may also come from the environment, as\n# PLI_SECTION_KEY. Unknown keys are refused. Relative paths start at this file's folder.\n")
	root := reflect.TypeOf(Config{})
	for i := range root.NumField() {
		sec := root.Field(i)
		fmt.Fprintf(&b, "\n%s[%s]\n", comment(comments[sec.Type.Name()]), sec.Tag.Get("toml"))
		for j := range sec.Type.NumField() {
			f := sec.Type.Field(j)
			b.WriteString(comment(comments[sec.Type.Name()+"."+f.Name]))
			b.WriteString(sampleLine(f))
		}
	}
	return b.String()
}

func sampleLine(f reflect.StructField) string {
	key, sample := f.Tag.Get("toml"), f.Tag.Get("sample")
	switch {
	case sample != "" && f.Type.Kind() == reflect.Int32:
		return fmt.Sprintf("%s = %s\n", key, sample)
	case sample != "" && f.Type.Kind() == reflect.Slice:
		return fmt.Sprintf("%s = [%q]\n", key, sample)
	case sample != "":
		return fmt.Sprintf("%s = %q\n", key, sample)
	}
	zero := map[reflect.Kind]string{reflect.String: `""`, reflect.Slice: "[]", reflect.Map: `{ "mss-b.example" = "mx.mss-b.example:25" }`, reflect.Bool: "false"}
	if f.Type == reflect.TypeOf(Duration(0)) {
		return fmt.Sprintf("# %s = \"1m\"\n", key)
	}
	if z, ok := zero[f.Type.Kind()]; ok {
		return fmt.Sprintf("# %s = %s\n", key, z)
	}
	return fmt.Sprintf("# %s = 0\n", key)
}

func comment(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("# " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

// fieldComments maps Type and Type.Field to its doc comment.
func fieldComments(t *testing.T) map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, d := range file.Decls {
		gd, ok := d.(*ast.GenDecl)
		if !ok || gd.Tok != token.TYPE {
			continue
		}
		name := gd.Specs[0].(*ast.TypeSpec).Name.Name
		out[name] = gd.Doc.Text()
		if st, ok := gd.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				for _, n := range f.Names {
					out[name+"."+n.Name] = f.Doc.Text()
				}
			}
		}
	}
	return out
}
