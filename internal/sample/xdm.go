package sample

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"text/template"
	"time"
)

// Item is a document of an archive and what its metadata says of it. Zero fields are
// filled from the content; the Bad… fields lie.
type Item struct {
	Content   []byte
	Name      string // "DOC0001.XML"
	MimeType  string // "text/xml"
	UniqueID  string
	PatientID string // CX; "" in the metadata when it is "-"
	Title     string
	TypeCode  string
	ClassCode string
	Visible   []string // further confidentiality codes: MASQUE_PS, INVISIBLE_PATIENT…
	Confid    string   // the first one: "N"
	Created   time.Time
	Author    Professional
	Action    string // "C", "D" or none
	Replaces  string // entryUUID of a RPLC association

	BadHash, BadSize, Missing bool
}

// ItemOf describes a CDA as a right METADATA.XML does.
func ItemOf(c CDA) Item {
	it := Item{
		Content: c.Bytes(), UniqueID: c.ID, Title: c.Title, TypeCode: c.Type, ClassCode: "10",
		Created: c.Created, Author: c.Author, PatientID: CX(c.Patient),
	}
	if c.Replaces != "" {
		it.Action = "C"
	}
	if c.Stylesheet {
		it.MimeType = "application/xslt+xml"
	}
	return it
}

// CX writes an INS as HL7 does.
func CX(p Person) string { return p.INS + "^^^&" + p.OID + "&ISO^NH" }

// Archive is an IHE_XDM.ZIP. The zero value of a field is the usual form.
type Archive struct {
	Items        []Item
	Lower        bool   // all names in lower case
	Backslash    bool   // as separator
	MissingSlash bool   // after SUBSET01
	Folders      bool   // entries for the folders
	Subsets      bool   // each item in its own subset
	Namespace    string // of the ebRIM elements
	Prefix       string // "rim"
	Metadata     string // replaces METADATA.XML whole
	NoMetadata   bool
	Extra        []ZipEntry
}

// ZipEntry is any other entry.
type ZipEntry struct {
	Name    string
	Content []byte
	Symlink bool
}

// Hash is what METADATA.XML says of the content.
func (it Item) Hash() string {
	if it.BadHash {
		return strings.Repeat("0", 40)
	}
	s := sha1.Sum(it.Content)
	return hex.EncodeToString(s[:])
}

// Size is what METADATA.XML says of the content.
func (it Item) Size() int {
	if it.BadSize {
		return len(it.Content) + 1
	}
	return len(it.Content)
}

var metadataTemplate = template.Must(template.New("metadata").Funcs(template.FuncMap{"x": escape, "add": func(a, b int) int { return a + b }}).Parse(
	`{{define "slot"}}<P:Slot name="{{index . 0}}"><P:ValueList><P:Value>{{x (index . 1)}}</P:Value></P:ValueList></P:Slot>
{{end}}<?xml version="1.0" encoding="UTF-8"?>
<lcm:SubmitObjectsRequest xmlns:lcm="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0" xmlns:P="{{.Namespace}}"><P:RegistryObjectList>
<P:RegistryPackage id="SubmissionSet01"><P:Slot name="submissionTime"><P:ValueList><P:Value>20260304100000</P:Value></P:ValueList></P:Slot>
<P:Classification id="cl0" classifiedObject="SubmissionSet01" classificationNode="urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"/>
<P:ExternalIdentifier id="ei1" registryObject="SubmissionSet01" identificationScheme="urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446" value="{{x (index .Items 0).PatientID}}"/>
<P:ExternalIdentifier id="ei2" registryObject="SubmissionSet01" identificationScheme="urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8" value="2.25.990042.9.1"/>
</P:RegistryPackage>
{{range $n, $it := .Items}}<P:ExtrinsicObject id="Document{{add $n 1}}" mimeType="{{$it.MimeType}}" objectType="urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1">
<P:Slot name="creationTime"><P:ValueList><P:Value>{{$it.UTC}}</P:Value></P:ValueList></P:Slot>
<P:Slot name="hash"><P:ValueList><P:Value>{{$it.Hash}}</P:Value></P:ValueList></P:Slot>
<P:Slot name="size"><P:ValueList><P:Value>{{$it.Size}}</P:Value></P:ValueList></P:Slot>
<P:Slot name="URI"><P:ValueList><P:Value>{{$it.Name}}</P:Value></P:ValueList></P:Slot>
{{if $it.Action}}<P:Slot name="action"><P:ValueList><P:Value>{{$it.Action}}</P:Value></P:ValueList></P:Slot>
{{end}}<P:Name><P:LocalizedString value="{{x $it.Title}}"/></P:Name>
<P:Classification id="a{{$n}}" classifiedObject="Document{{add $n 1}}" classificationScheme="urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d" nodeRepresentation="">
<P:Slot name="authorPerson"><P:ValueList><P:Value>8{{$it.Author.RPPS}}^{{x $it.Author.Family}}^{{x $it.Author.Given}}^^^^^^&amp;1.2.250.1.71.4.2.1&amp;ISO^D^^^IDNPS</P:Value></P:ValueList></P:Slot>
<P:Slot name="authorInstitution"><P:ValueList><P:Value>{{x $it.Author.Structure}}^^^^^&amp;1.2.250.1.71.4.2.2&amp;ISO^IDNST^^^1{{$it.Author.FINESS}}</P:Value></P:ValueList></P:Slot></P:Classification>
<P:Classification id="c{{$n}}" classificationScheme="urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a" nodeRepresentation="{{$it.ClassCode}}"/>
<P:Classification id="t{{$n}}" classificationScheme="urn:uuid:f0306f51-975f-434e-a61c-c59651d33983" nodeRepresentation="{{$it.TypeCode}}"/>
{{range $it.Codes}}<P:Classification classificationScheme="urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f" nodeRepresentation="{{.}}"/>
{{end}}<P:ExternalIdentifier id="p{{$n}}" identificationScheme="urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427" value="{{x $it.PatientID}}"/>
<P:ExternalIdentifier id="u{{$n}}" identificationScheme="urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab" value="{{x $it.UniqueID}}"/>
</P:ExtrinsicObject>
<P:Association associationType="urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember" sourceObject="SubmissionSet01" targetObject="Document{{add $n 1}}"/>
{{if $it.Replaces}}<P:Association associationType="urn:ihe:iti:2007:AssociationType:RPLC" sourceObject="Document{{add $n 1}}" targetObject="{{x $it.Replaces}}"/>
{{end}}{{end}}</P:RegistryObjectList></lcm:SubmitObjectsRequest>
`))

// UTC is the creation time as metadata writes it.
func (it Item) UTC() string { return it.Created.UTC().Format("20060102150405") }

// Codes are the confidentiality codes.
func (it Item) Codes() []string { return append([]string{it.Confid}, it.Visible...) }

func (a Archive) filled() Archive {
	if a.Namespace == "" {
		a.Namespace = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
	}
	if a.Prefix == "" {
		a.Prefix = "rim"
	}
	items := make([]Item, len(a.Items))
	for i, it := range a.Items {
		if it.Name == "" {
			it.Name = fmt.Sprintf("DOC%04d.XML", i+1)
		}
		if it.MimeType == "" {
			it.MimeType = "text/xml"
		}
		if it.Confid == "" {
			it.Confid = "N"
		}
		if it.PatientID == "-" {
			it.PatientID = ""
		}
		items[i] = it
	}
	a.Items = items
	return a
}

func (a Archive) metadata(items []Item) []byte {
	if a.Metadata != "" {
		return []byte(a.Metadata)
	}
	a.Items = items
	var b bytes.Buffer
	if err := metadataTemplate.Execute(&b, a); err != nil {
		panic("sample.Archive: " + err.Error())
	}
	return []byte(strings.NewReplacer("<P:", "<"+a.Prefix+":", "</P:", "</"+a.Prefix+":", "xmlns:P=", "xmlns:"+a.Prefix+"=").Replace(b.String()))
}

// Bytes writes the archive.
func (a Archive) Bytes() []byte {
	a = a.filled()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	a.add(z, ZipEntry{Name: "README.TXT", Content: []byte("Emetteur : échantillon fictif de Pli\r\n")})
	a.add(z, ZipEntry{Name: "INDEX.HTM", Content: []byte("<html><body>Echantillon</body></html>")})
	if a.Folders {
		a.add(z, ZipEntry{Name: "IHE_XDM/"})
		a.add(z, ZipEntry{Name: "IHE_XDM/SUBSET01/"})
	}
	if a.Subsets {
		for i, it := range a.Items {
			a.subset(z, fmt.Sprintf("IHE_XDM/SUBSET%02d/", i+1), []Item{it})
		}
	} else {
		a.subset(z, "IHE_XDM/SUBSET01/", a.Items)
	}
	for _, e := range a.Extra {
		a.add(z, e)
	}
	if err := z.Close(); err != nil {
		panic("sample.Archive: " + err.Error())
	}
	return b.Bytes()
}

func (a Archive) subset(z *zip.Writer, folder string, items []Item) {
	if a.MissingSlash {
		folder = strings.TrimSuffix(folder, "/")
	}
	if !a.NoMetadata {
		a.add(z, ZipEntry{Name: folder + "METADATA.XML", Content: a.metadata(items)})
	}
	for _, it := range items {
		if !it.Missing {
			a.add(z, ZipEntry{Name: folder + it.Name, Content: it.Content})
		}
	}
}

func (a Archive) add(z *zip.Writer, e ZipEntry) {
	name := e.Name
	if a.Lower {
		name = strings.ToLower(name)
	}
	if a.Backslash {
		name = strings.ReplaceAll(name, "/", `\`)
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)}
	if e.Symlink {
		h.SetMode(0o777 | fs.ModeSymlink)
	}
	w, err := z.CreateHeader(h)
	if err == nil && !strings.HasSuffix(name, "/") {
		_, err = w.Write(e.Content)
	}
	if err != nil {
		panic("sample.Archive: " + err.Error())
	}
}

// ArchiveOf is the usual archive of some documents.
func ArchiveOf(docs ...CDA) []byte {
	var a Archive
	for _, d := range docs {
		a.Items = append(a.Items, ItemOf(d))
	}
	return a.Bytes()
}
