package sample

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/text/encoding/charmap"
)

// CDA describes a clinical document. The zero value of a field means the sample's own
// usual value; the No… fields leave something out.
type CDA struct {
	ID        string // root, or root^extension
	SetID     string // "" is no setId
	Version   int    // 0 is no versionNumber
	Replaces  string // id of the parent of a RPLC
	Type      string // "11502-2"
	TypeLabel string
	Title     string
	Created   time.Time
	NoOffset  bool   // of the creation time
	Confid    string // "N"
	Patient   Person
	Author    Professional

	NoINS    bool // a local identifier only
	NoTraits bool // the INS without birth place and first birth name
	NoAuthor bool // an author without any national identifier
	NoStruct bool // nor structure

	PDF       []byte // level 1 body, or the copy in a level 3
	MediaType string // of PDF; "application/pdf"
	Level     int    // 1 or 3; 0 is 3
	Sections  []Section
	Padding   int // octets of harmless comment, to grow a file

	BOM, Latin1, Stylesheet, Signature, Prefix bool // shapes met in the wild (dmp.md §2.1)
	Doctype                                    string
}

// Section is a part of a level 3 body; Narrative is CDA narrative, written as it is.
type Section struct{ Title, Narrative string }

// Report is a laboratory report for p, structured, ready to be changed by its fields.
func Report(p Person) CDA {
	return CDA{
		ID: "2.25.990042.1.1", SetID: "2.25.990042.1", Version: 1,
		Type: "11502-2", TypeLabel: "CR d'examens biologiques", Title: "Compte rendu d'analyses de sang",
		Created: time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC), Confid: "N",
		Patient: p, Author: Biologist(), Level: 3,
		Sections: []Section{{
			"Hématologie", `<table border="0"><caption>Numération</caption><thead><tr><th>Examen</th><th>Résultat</th><th>Unité</th><th>Repère</th></tr></thead>` +
				`<tbody><tr ID="r1"><td>Hémoglobine</td><td>13,4</td><td>g/dL</td><td>12,0 – 16,0</td></tr>` +
				`<tr><td>Leucocytes</td><td><content styleCode="Bold">12,1</content></td><td>10<sup>9</sup>/L</td><td>4,0 – 10,0</td></tr></tbody></table>`,
		}, {
			"Conclusion", `<paragraph>Discrète hyperleucocytose.<br/>À contrôler dans un mois.</paragraph><list listType="ordered"><item>Repos</item><item>Contrôle le 4 avril</item></list>`,
		}},
	}
}

// Letter is a level 1 document: a PDF in base64 under a header.
func Letter(p Person) CDA {
	c := Report(p)
	c.ID, c.SetID = "2.25.990042.2.1", "2.25.990042.2"
	c.Type, c.TypeLabel, c.Title = "18748-4", "CR d'imagerie médicale", "Radiographie du poignet gauche"
	c.Author, c.Level, c.Sections = Radiologist(), 1, nil
	c.PDF = PDF("Radiographie du poignet gauche", "Pas de fracture visible.", "Contrôle inutile.")
	return c
}

var cdaTemplate = template.Must(template.New("cda").Funcs(template.FuncMap{"x": escape}).Parse(`{{define "person"}}<id root="1.2.250.1.71.4.2.1" extension="8{{.Author.RPPS}}"/>{{end -}}
{{define "org"}}{{if not .NoStruct}}<id root="1.2.250.1.71.4.2.2" extension="1{{.Author.FINESS}}"/>{{end}}<name>{{x .Author.Structure}}</name>{{end -}}
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<realmCode code="FR"/>
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<templateId root="2.16.840.1.113883.2.8.2.1"/>
<templateId root="1.2.250.1.213.1.1.1.1"/>
<templateId root="{{.Model}}"/>
<id {{.IDAttrs .ID}}/>
<code code="{{.Type}}" codeSystem="{{.TypeSystem}}" displayName="{{x .TypeLabel}}"/>
<title>{{x .Title}}</title>
<effectiveTime value="{{.Time .Created}}"/>
<confidentialityCode code="{{.Confid}}" codeSystem="2.16.840.1.113883.5.25" displayName="Normal"/>
<languageCode code="fr-FR"/>
{{if .SetID}}<setId {{.IDAttrs .SetID}}/>{{end}}
{{if .Version}}<versionNumber value="{{.Version}}"/>{{end}}
<recordTarget><patientRole>
{{if not .NoINS}}<id root="{{.Patient.OID}}" extension="{{.Patient.INS}}"/>{{end}}
<id root="2.25.990042" extension="IPP-0042"/>
<addr><city>Villefictive</city></addr>
<patient classCode="PSN"><name>
<family qualifier="BR">{{x .Patient.BirthName}}</family>
{{if .Patient.UsedName}}<family qualifier="CL">{{x .Patient.UsedName}}</family>{{end}}
{{if not .NoTraits}}<given>{{x .Patient.GivenNames}}</given><given qualifier="BR">{{x .Patient.FirstName}}</given>{{end}}
</name>
<administrativeGenderCode code="{{.Patient.Sex}}" codeSystem="2.16.840.1.113883.5.1"/>
<birthTime value="{{.Patient.BirthDate}}"/>
{{if not .NoTraits}}<birthplace><place><addr><county>{{.Patient.BirthPlace}}</county></addr></place></birthplace>{{end}}
</patient></patientRole></recordTarget>
<author><time value="{{.Time .Created}}"/><assignedAuthor>
{{if not .NoAuthor}}{{template "person" .}}{{else}}<id nullFlavor="UNK"/>{{end}}
<code code="{{.Author.Specialty}}" codeSystem="1.2.250.1.213.1.1.4.5" displayName="{{x .Author.SpecialtyLabel}}"/>
<assignedPerson><name><family>{{x .Author.Family}}</family><given>{{x .Author.Given}}</given></name></assignedPerson>
<representedOrganization>{{template "org" .}}</representedOrganization>
</assignedAuthor></author>
<custodian><assignedCustodian><representedCustodianOrganization>{{template "org" .}}</representedCustodianOrganization></assignedCustodian></custodian>
<legalAuthenticator><time value="{{.Time .Created}}"/><signatureCode code="S"/><assignedEntity>{{template "person" .}}
<assignedPerson><name><family>{{x .Author.Family}}</family><given>{{x .Author.Given}}</given></name></assignedPerson></assignedEntity></legalAuthenticator>
<documentationOf><serviceEvent><effectiveTime><low value="{{.Time .Created}}"/></effectiveTime>
<performer typeCode="PRF"><assignedEntity>{{template "person" .}}<representedOrganization>{{template "org" .}}
<standardIndustryClassCode code="{{.Author.Sector}}" codeSystem="1.2.250.1.213.1.1.4.9" displayName="Ambulatoire"/></representedOrganization></assignedEntity></performer>
</serviceEvent></documentationOf>
{{if .Replaces}}<relatedDocument typeCode="RPLC"><parentDocument><id {{.IDAttrs .Replaces}}/></parentDocument></relatedDocument>{{end}}
<componentOf><encompassingEncounter><code code="AMB" codeSystem="2.16.840.1.113883.5.4" displayName="Ambulatoire"/>
<effectiveTime><low value="{{.Time .Created}}"/></effectiveTime>
<location><healthCareFacility><code code="{{.Author.Facility}}" codeSystem="1.2.250.1.71.4.2.4" displayName="Structure"/></healthCareFacility></location>
</encompassingEncounter></componentOf>
{{if eq .Level 1 -}}
<component><nonXMLBody><text mediaType="{{.MediaType}}" representation="B64">{{.Base64}}</text></nonXMLBody></component>
{{else -}}
<component><structuredBody>
{{range .Sections}}<component><section><title>{{x .Title}}</title><text>{{.Narrative}}</text></section></component>
{{end}}{{if .PDF}}<component><section><templateId root="1.2.250.1.213.1.1.2.243"/><code code="55108-5" codeSystem="2.16.840.1.113883.6.1"/><title>Copie du document</title>
<text><renderMultiMedia referencedObject="copie"/></text>
<entry><observationMedia classCode="OBS" moodCode="EVN" ID="copie"><value mediaType="{{.MediaType}}" representation="B64">{{.Base64}}</value></observationMedia></entry></section></component>
{{end}}</structuredBody></component>
{{end}}{{if .Padding}}<!--{{.Filler}}-->{{end}}</ClinicalDocument>
`))

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}

// Model is the third templateId.
func (c CDA) Model() string {
	if c.Level == 1 {
		return "1.3.6.1.4.1.19376.1.2.20"
	}
	return "1.2.250.1.213.1.1.1.55"
}

// TypeSystem is the code system of the type.
func (c CDA) TypeSystem() string {
	if strings.Contains(c.Type, "-") {
		return "2.16.840.1.113883.6.1"
	}
	return "1.2.250.1.213.1.1.4.12"
}

// Time writes an HL7 ts.
func (c CDA) Time(t time.Time) string {
	if c.NoOffset {
		return t.Format("20060102150405")
	}
	return t.Format("20060102150405-0700")
}

// IDAttrs writes an id as its attributes.
func (c CDA) IDAttrs(id string) string {
	root, ext, ok := strings.Cut(id, "^")
	if ok {
		return fmt.Sprintf(`root="%s" extension="%s"`, root, ext)
	}
	return fmt.Sprintf(`root="%s"`, root)
}

// Base64 is the embedded file in lines of 76, as producers write it.
func (c CDA) Base64() string {
	s := base64.StdEncoding.EncodeToString(c.PDF)
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\n")
		s = s[76:]
	}
	return b.String() + s
}

// Filler is a comment of Padding octets.
func (c CDA) Filler() string { return strings.Repeat("remplissage. ", c.Padding/13+1)[:c.Padding] }

// Bytes writes the document.
func (c CDA) Bytes() []byte {
	if c.Level == 0 {
		c.Level = 3
	}
	if c.MediaType == "" {
		c.MediaType = "application/pdf"
	}
	if c.Confid == "" {
		c.Confid = "N"
	}
	var b bytes.Buffer
	if err := cdaTemplate.Execute(&b, c); err != nil {
		panic("sample.CDA: " + err.Error())
	}
	body := b.String()
	switch {
	case c.Prefix:
		body = withPrefix(body)
	case c.Stylesheet:
		body = `<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0"><xsl:template match="/"><html><body onload="alert(1)"/></html></xsl:template>` + body + `</xsl:stylesheet>`
	case c.Signature:
		body = `<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo/><ds:Object>` + body + `</ds:Object></ds:Signature>`
	}
	charset := "UTF-8"
	if c.Latin1 {
		charset = "ISO-8859-1"
	}
	out := `<?xml version="1.0" encoding=` + strconv.Quote(charset) + `?>` + "\n" + c.Doctype + body
	if c.Latin1 {
		latin, err := charmap.ISO8859_1.NewEncoder().String(strings.ReplaceAll(out, "–", "-"))
		if err != nil {
			panic("sample.CDA: " + err.Error())
		}
		out = latin
	}
	if c.BOM {
		out = "\xef\xbb\xbf" + out
	}
	return []byte(out)
}

// withPrefix writes every element of the document under the prefix c, as some
// producers do.
func withPrefix(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		b.WriteByte(s[i])
		if s[i] != '<' || s[i+1] == '!' {
			continue
		}
		if s[i+1] == '/' {
			b.WriteByte('/')
			i++
		}
		b.WriteString("c:")
	}
	return strings.Replace(b.String(), `xmlns="urn:hl7-org:v3"`, `xmlns:c="urn:hl7-org:v3"`, 1)
}
