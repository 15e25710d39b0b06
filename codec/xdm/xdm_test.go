package xdm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pli/codec/xdm"
	"pli/fault"
	"pli/internal/sample"
)

func open(b []byte) (*xdm.Archive, error) {
	return xdm.Open(bytes.NewReader(b), int64(len(b)), xdm.Limits{})
}

// readAll opens an archive and reads every document of it.
func readAll(b []byte) (*xdm.Archive, [][]byte, error) {
	a, err := open(b)
	if err != nil {
		return nil, nil, err
	}
	var docs [][]byte
	for i := range a.Entries {
		rc, err := a.Document(&a.Entries[i])
		if err != nil {
			return a, docs, err
		}
		doc, err := io.ReadAll(rc)
		if err != nil {
			return a, docs, err
		}
		docs = append(docs, doc)
	}
	return a, docs, nil
}

func items() []sample.Item {
	p := sample.People()[0]
	return []sample.Item{sample.ItemOf(sample.Report(p)), sample.ItemOf(sample.Letter(p))}
}

// What dmp.md §4.2 says to expect is read.
func TestShapesMetInTheWild(t *testing.T) {
	for name, a := range map[string]sample.Archive{
		"plain":           {},
		"lower case":      {Lower: true},
		"backslashes":     {Backslash: true},
		"missing slash":   {MissingSlash: true},
		"folders":         {Folders: true},
		"several subsets": {Subsets: true},
		"odd prefix":      {Prefix: "ns42"},
		"wrong namespace": {Namespace: "urn:oasis:names:tc:ebxml-regrep:rim:xsd:2.1"},
		"a PDF beside":    {Extra: []sample.ZipEntry{{Name: "IHE_XDM/SUBSET01/COPIE.PDF", Content: []byte("%PDF-1.4")}}},
		"another folder":  {Extra: []sample.ZipEntry{{Name: "__MACOSX/x", Content: []byte("x")}}},
	} {
		a.Items = items()
		got, docs, err := readAll(a.Bytes())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(docs) != 2 || !bytes.Equal(docs[0], a.Items[0].Content) || !bytes.Equal(docs[1], a.Items[1].Content) {
			t.Errorf("%s: documents differ", name)
		}
		e := got.Entries[0]
		if e.UniqueID != a.Items[0].UniqueID || e.Type.Code != "11502-2" || e.Title != a.Items[0].Title || e.Size != int64(len(docs[0])) {
			t.Errorf("%s: entry differs: %+v", name, struct{ U, T, N string }{e.UniqueID, e.Type.Code, e.Title})
		}
		if cx := xdm.ParseCX(e.PatientID); cx.ID != sample.People()[0].INS || cx.OID != "1.2.250.1.213.1.4.10" || cx.Kind != "NH" {
			t.Errorf("%s: patient differs", name)
		}
	}
}

func TestMetadataFields(t *testing.T) {
	it := items()[:1]
	it[0].Visible, it[0].Action, it[0].Replaces = []string{"MASQUE_PS", "INVISIBLE_PATIENT"}, "C", "urn:uuid:old"
	a, err := open(sample.Archive{Items: it}.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	e := a.Entries[0]
	var codes []string
	for _, c := range e.Confidentiality {
		codes = append(codes, c.Code)
	}
	if strings.Join(codes, " ") != "N MASQUE_PS INVISIBLE_PATIENT" || e.Action != xdm.Change || e.Replaces != "urn:uuid:old" {
		t.Errorf("codes %v, action %q, replaces %q", codes, e.Action, e.Replaces)
	}
	if len(e.Authors) != 1 || !strings.HasPrefix(e.Authors[0].Person, "8"+sample.Biologist().RPPS+"^ORVALNOIR") || len(e.Authors[0].Institution) != 1 {
		t.Errorf("author was not read")
	}
	if len(a.Submissions) != 1 || a.Submissions[0].UniqueID == "" || a.Submissions[0].Time != "20260304100000" {
		t.Errorf("submission set was not read")
	}
	if s := fmt.Sprintf("%v %+v %#v %s", e, e, e, e); strings.Contains(s, sample.People()[0].INS) {
		t.Error("an entry prints the patient")
	}
}

func TestRefusals(t *testing.T) {
	one := items()[:1]
	bad := func(f func(*sample.Item)) sample.Archive {
		it := []sample.Item{one[0]}
		f(&it[0])
		return sample.Archive{Items: it}
	}
	extra := func(e sample.ZipEntry) sample.Archive { return sample.Archive{Items: one, Extra: []sample.ZipEntry{e}} }
	var many []sample.ZipEntry
	for i := range 1001 {
		many = append(many, sample.ZipEntry{Name: fmt.Sprintf("X%d", i)})
	}
	nested := sample.ArchiveOf(sample.Report(sample.People()[0]))
	for code, archives := range map[string][]sample.Archive{
		"hash-mismatch":    {bad(func(i *sample.Item) { i.BadHash = true })},
		"size-mismatch":    {bad(func(i *sample.Item) { i.BadSize = true })},
		"missing-file":     {bad(func(i *sample.Item) { i.Missing = true }), bad(func(i *sample.Item) { i.Name, i.Missing = "../README.TXT", true }), bad(func(i *sample.Item) { i.Name, i.Missing = "METADATA.XML", true })},
		"unsafe-name":      {extra(sample.ZipEntry{Name: "IHE_XDM/../../etc/x"}), extra(sample.ZipEntry{Name: "/etc/x"}), extra(sample.ZipEntry{Name: `C:\x`}), extra(sample.ZipEntry{Name: `..\x`}), extra(sample.ZipEntry{Name: "a//b"}), extra(sample.ZipEntry{Name: "a\x00b"})},
		"duplicate-name":   {extra(sample.ZipEntry{Name: "IHE_XDM/SUBSET01/doc0001.xml"}), extra(sample.ZipEntry{Name: `ihe_xdm\SUBSET01\METADATA.xml`})},
		"link":             {extra(sample.ZipEntry{Name: "IHE_XDM/SUBSET01/LINK", Symlink: true})},
		"too-many-entries": {{Items: one, Extra: many}},
		"nested-archive":   {extra(sample.ZipEntry{Name: "IHE_XDM/SUBSET01/MORE.ZIP", Content: nested}), bad(func(i *sample.Item) { i.Content = nested })},
		"ratio":            {extra(sample.ZipEntry{Name: "IHE_XDM/SUBSET01/BOMB.TXT", Content: make([]byte, 30<<20)})},
		"no-metadata":      {{Items: one, NoMetadata: true}},
		"no-document":      {{Items: one, Metadata: "<a/>"}},
		"metadata-xml":     {{Items: one, Metadata: "<a>"}, {Items: one, Metadata: `<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>`}, {Items: one, Metadata: strings.Repeat("<a>", 200)}},
	} {
		for i, a := range archives {
			_, _, err := readAll(a.Bytes())
			if fault.KindOf(err) != fault.InvalidContent || fault.CodeOf(err) != code {
				t.Errorf("%s #%d: %v", code, i, err)
			}
		}
	}
	for _, b := range [][]byte{nil, []byte("PK"), []byte("not a zip at all, but long enough to hold an end record"), nested[:len(nested)-30]} {
		if _, err := open(b); fault.CodeOf(err) != "not-zip" {
			t.Errorf("%d octets: %v", len(b), err)
		}
	}
}

// A small archive once described its one file thousands of times: each would have been
// expanded, hashed, put in quarantine and traced.
func TestOneFileDescribedManyTimes(t *testing.T) {
	for code, a := range map[string]struct{ times, size int }{"too-many-entries": {1001, 10}, "too-large": {300, 1 << 20}, "": {100, 10}} {
		it := sample.Item{Name: "DOC0001.XML", Content: make([]byte, a.size), UniqueID: "2.25.1"}
		archive := sample.Archive{Items: []sample.Item{it}}
		for range a.times - 1 {
			it.Missing = true // the file is there once
			archive.Items = append(archive.Items, it)
		}
		archive.Items[0].Content = make([]byte, 10) // small, as is the archive
		got, err := open(archive.Bytes())
		if fault.CodeOf(err) != code || code == "" && len(got.Entries) != a.times {
			t.Errorf("%d times %d octets: %v", a.times, a.size, err)
		}
	}
}

// A size in the directory that lies is caught while reading, not believed.
func TestLyingSize(t *testing.T) {
	b := sample.Archive{Items: items()[:1]}.Bytes()
	content := items()[0].Content
	real := []byte{byte(len(content)), byte(len(content) >> 8), 0, 0}
	lie := []byte{byte(len(content) - 7), byte((len(content) - 7) >> 8), 0, 0}
	b = bytes.ReplaceAll(b, real, lie)
	if _, _, err := readAll(b); fault.KindOf(err) != fault.InvalidContent {
		t.Fatalf("got %v", err)
	}
}

type brokenDisk struct{ *bytes.Reader }

var errDisk = errors.New("disk")

func (b brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if off < 4096 {
		return 0, errDisk
	}
	return b.Reader.ReadAt(p, off)
}

func TestFailingDiskIsNoBadArchive(t *testing.T) {
	b := sample.ArchiveOf(sample.Report(sample.People()[0]))
	_, err := xdm.Open(brokenDisk{bytes.NewReader(b)}, int64(len(b)), xdm.Limits{})
	if !errors.Is(err, errDisk) {
		t.Fatalf("got %v", err)
	}
}

func shared(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "xdm", name))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("../shared is not beside the checkout")
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSharedArchives(t *testing.T) {
	for name, code := range map[string]string{
		"constructed/IHE_XDM_valid.zip":        "",
		"constructed/IHE_XDM_bad-hash.zip":     "hash-mismatch",
		"constructed/IHE_XDM_ins-mismatch.zip": "", // the archive is sound; the patient is not (pipeline)
		"third-party/direct-ri-xdm.zip":        "",
	} {
		a, docs, err := readAll(shared(t, name))
		if fault.CodeOf(err) != code || (err == nil) != (code == "") {
			t.Errorf("%s: %v", name, err)
		}
		if code == "" && (len(a.Entries) != 1 || len(docs) != 1) {
			t.Errorf("%s: %d entries", name, len(a.Entries))
		}
	}
	a, err := open(shared(t, "constructed/IHE_XDM_valid.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if e := a.Entries[0]; e.Type.Code != "18748-4" || e.Class.Label != "Imagerie médicale" || len(e.Confidentiality) != 2 || e.FormatCode.Code != "urn:ihe:iti:xds-sd:pdf:2008" {
		t.Errorf("fields differ: %q %q %d", e.Type.Code, e.Class.Label, len(e.Confidentiality))
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sample.Archive{Items: items()}.Bytes())
	f.Add(sample.Archive{Items: items()[:1], Backslash: true, Folders: true}.Bytes())
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, docs, err := readAll(b)
		if err != nil && fault.KindOf(err) != fault.InvalidContent {
			t.Fatalf("an archive from outside gave %v", err)
		}
		if err == nil && len(docs) != len(a.Entries) {
			t.Fatal("documents are missing")
		}
	})
}

func FuzzMetadata(f *testing.F) {
	a := sample.Archive{Items: items()}
	f.Add(`<rim:ExtrinsicObject xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0" mimeType="x"><rim:Slot name="size"><rim:ValueList><rim:Value>-4</rim:Value></rim:ValueList></rim:Slot></rim:ExtrinsicObject>`)
	f.Add(`<?xml version="1.0" encoding="iso-8859-1"?><ExtrinsicObject/>`)
	f.Fuzz(func(t *testing.T, s string) {
		a.Metadata = s
		if _, _, err := readAll(a.Bytes()); err != nil && fault.KindOf(err) != fault.InvalidContent {
			t.Fatalf("metadata from outside gave %v", err)
		}
	})
}
