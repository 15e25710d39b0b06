package ldapd

import (
	"strings"

	"pli/directory/listing"
	"pli/directory/search"
)

// subject is what an entry is made of: a listing and how it is shown among the others
// of its answer.
type subject struct {
	*listing.Listing
	display string
}

// attribute is a kind of attribute that entries may have, and how it is asked for.
type attribute struct {
	oid   string
	names []string // the first is the one shown
	def   string   // the rest of its description (RFC 4512 §4.1.2)
	// fields are what a condition on it looks at; none: it is known and nobody has it.
	fields []search.Field
	// values appends those of an entry; nil: it has none.
	values func(s *subject, v []string) []string
	// asked is shown only to who names it; operational, to who names it or asks for +.
	asked, operational bool
	// always: every entry has one.
	always bool
}

const (
	words   = "EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15"
	named   = "SUP name"
	ia5     = "EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.26"
	phone   = "EQUALITY telephoneNumberMatch SUBSTR telephoneNumberSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.50"
	adWords = "EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE"
	byHouse = "NO-USER-MODIFICATION USAGE directoryOperation"
)

func one(f func(s *subject) string) func(*subject, []string) []string {
	return func(s *subject, v []string) []string { return add(v, f(s)) }
}

// add appends a value that is there and not there yet.
func add(v []string, s string) []string {
	if s = strings.TrimSpace(s); s == "" {
		return v
	}
	for _, w := range v {
		if strings.EqualFold(w, s) {
			return v
		}
	}
	return append(v, s)
}

// personClasses are the object classes of every entry of a listing (RFC 2798).
var personClasses = []string{"inetOrgPerson", "organizationalPerson", "person", "top"}

// attributes, in the order in which an entry shows them (RFC 4519, RFC 2798). Programs
// show the first cn: it tells one namesake from another.
var attributes = []attribute{
	{oid: "2.5.4.0", names: []string{"objectClass"}, def: "EQUALITY objectIdentifierMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.38", always: true,
		values: func(_ *subject, v []string) []string { return append(v, personClasses...) }},
	{oid: "0.9.2342.19200300.100.1.1", names: []string{"uid", "userid"}, def: words, always: true, fields: []search.Field{search.Key},
		values: one(func(s *subject) string { return s.Key.String() })},
	{oid: "2.5.4.3", names: []string{"cn", "commonName"}, def: named, always: true, fields: []search.Field{search.Name},
		values: func(s *subject, v []string) []string { return add(add(v, s.display), s.Name()) }},
	{oid: "2.5.4.4", names: []string{"sn", "surname"}, def: named, always: true, fields: []search.Field{search.Family},
		values: one(func(s *subject) string {
			if s.FamilyName != "" {
				return s.FamilyName
			}
			return s.Name()
		})},
	{oid: "2.5.4.42", names: []string{"givenName", "gn"}, def: named, fields: []search.Field{search.Given},
		values: one(func(s *subject) string { return s.GivenName })},
	{oid: "2.16.840.1.113730.3.1.241", names: []string{"displayName"}, def: words + " SINGLE-VALUE", always: true, fields: []search.Field{search.Name},
		values: one(func(s *subject) string { return s.display })},
	{oid: "0.9.2342.19200300.100.1.3", names: []string{"mail", "rfc822Mailbox"}, def: ia5, always: true, fields: []search.Field{search.Address},
		values: one(func(s *subject) string { return s.Address })},
	{oid: "2.5.4.12", names: []string{"title"}, def: named, fields: []search.Field{search.KnowHow, search.Profession},
		values: func(s *subject, v []string) []string { return add(add(v, s.Title()), s.ProfessionLabel) }},
	{oid: "2.5.4.10", names: []string{"o", "organizationName"}, def: named, fields: []search.Field{search.Structure},
		values: func(s *subject, v []string) []string { return add(add(v, s.TradeName), s.Structure) }},
	{oid: "2.5.4.11", names: []string{"ou", "organizationalUnitName"}, def: named, fields: []search.Field{search.Service},
		values: one(func(s *subject) string { return s.Service })},
	{oid: "2.5.4.9", names: []string{"street", "streetAddress"}, def: words,
		values: func(s *subject, v []string) []string { return add(add(v, s.Street), s.Complement) }},
	{oid: "2.5.4.17", names: []string{"postalCode"}, def: words, fields: []search.Field{search.PostalCode},
		values: one(func(s *subject) string { return s.PostalCode })},
	{oid: "2.5.4.7", names: []string{"l", "localityName"}, def: named, fields: []search.Field{search.City},
		values: one(func(s *subject) string { return s.City })},
	{oid: "2.5.4.8", names: []string{"st", "stateOrProvinceName"}, def: named, fields: []search.Field{search.Department},
		values: one(func(s *subject) string { return s.Department })},
	{oid: "2.5.4.6", names: []string{"c", "countryName"}, def: "SUP name SYNTAX 1.3.6.1.4.1.1466.115.121.1.11 SINGLE-VALUE",
		values: one(func(s *subject) string {
			if len(s.Country) == 2 {
				return strings.ToUpper(s.Country)
			}
			return ""
		})},
	{oid: "2.5.4.19", names: []string{"physicalDeliveryOfficeName"}, def: words, fields: []search.Field{search.City},
		values: one(func(s *subject) string { return s.Town() })},
	{oid: "2.16.840.1.113730.3.1.3", names: []string{"employeeNumber"}, def: words + " SINGLE-VALUE", fields: []search.Field{search.PP},
		values: one(func(s *subject) string { return s.PP })},
	{oid: "2.5.4.15", names: []string{"businessCategory"}, def: words, always: true, fields: []search.Field{search.Kind},
		values: one(func(s *subject) string { return string(s.Kind) })},
	{oid: "2.5.4.13", names: []string{"description"}, def: words, fields: []search.Field{search.Service},
		values: func(s *subject, v []string) []string { return add(add(v, s.Description), s.Hours) }},

	// Asked for by Outlook and Thunderbird under these names of Active Directory.
	{oid: "1.2.840.113556.1.2.146", names: []string{"company"}, def: adWords, asked: true, fields: []search.Field{search.Structure},
		values: one(func(s *subject) string {
			if s.TradeName != "" {
				return s.TradeName
			}
			return s.Structure
		})},
	{oid: "1.2.840.113556.1.2.141", names: []string{"department"}, def: adWords, asked: true, fields: []search.Field{search.Service},
		values: one(func(s *subject) string { return s.Service })},

	{oid: "1.3.6.1.1.20", names: []string{"entryDN"}, def: "EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 SINGLE-VALUE " + byHouse,
		operational: true, always: true},
	{oid: "2.5.18.2", names: []string{"modifyTimestamp"}, def: "EQUALITY generalizedTimeMatch ORDERING generalizedTimeOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 SINGLE-VALUE " + byHouse,
		operational: true, always: true,
		values: one(func(s *subject) string {
			if s.ChangedAt.IsZero() {
				return ""
			}
			return s.ChangedAt.UTC().Format("20060102150405Z")
		})},
	{oid: "2.5.18.10", names: []string{"subschemaSubentry"}, def: "EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 SINGLE-VALUE " + byHouse,
		operational: true, always: true, values: one(func(*subject) string { return schemaDN })},
	{oid: "2.5.21.9", names: []string{"structuralObjectClass"}, def: "EQUALITY objectIdentifierMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 SINGLE-VALUE " + byHouse,
		operational: true, always: true, values: one(func(*subject) string { return "inetOrgPerson" })},

	// Known, and of no entry here.
	{oid: "2.5.4.41", names: []string{"name"}, def: words, asked: true, fields: []search.Field{search.Name}},
	{oid: "2.5.4.20", names: []string{"telephoneNumber"}, def: phone},
	{oid: "2.5.4.23", names: []string{"facsimileTelephoneNumber", "fax"}, def: "SYNTAX 1.3.6.1.4.1.1466.115.121.1.22"},
	{oid: "0.9.2342.19200300.100.1.41", names: []string{"mobile", "mobileTelephoneNumber"}, def: phone},
	{oid: "0.9.2342.19200300.100.1.42", names: []string{"pager", "pagerTelephoneNumber"}, def: phone},
	{oid: "0.9.2342.19200300.100.1.20", names: []string{"homePhone", "homeTelephoneNumber"}, def: phone},
	{oid: "2.5.4.16", names: []string{"postalAddress"}, def: "EQUALITY caseIgnoreListMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.41"},
	{oid: "2.5.4.18", names: []string{"postOfficeBox"}, def: words},
	{oid: "2.5.4.43", names: []string{"initials"}, def: named},
	{oid: "2.5.4.34", names: []string{"seeAlso"}, def: "EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12"},
	{oid: "0.9.2342.19200300.100.1.60", names: []string{"jpegPhoto"}, def: "SYNTAX 1.3.6.1.4.1.1466.115.121.1.28"},
	{oid: "1.3.6.1.4.1.250.1.57", names: []string{"labeledURI"}, def: "EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15"},
	{oid: "2.16.840.1.113730.3.1.2", names: []string{"departmentNumber"}, def: words},
	{oid: "2.16.840.1.113730.3.1.4", names: []string{"employeeType"}, def: words},
	{oid: "2.16.840.1.113730.3.1.39", names: []string{"preferredLanguage"}, def: words + " SINGLE-VALUE"},
	{oid: "0.9.2342.19200300.100.1.6", names: []string{"roomNumber"}, def: words},
	{oid: "0.9.2342.19200300.100.1.10", names: []string{"manager"}, def: "EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12"},
	{oid: "0.9.2342.19200300.100.1.21", names: []string{"secretary"}, def: "EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12"},
	{oid: "2.16.840.1.113730.3.1.40", names: []string{"userSMIMECertificate"}, def: "SYNTAX 1.3.6.1.4.1.1466.115.121.1.5"},
	{oid: "2.5.4.36", names: []string{"userCertificate"}, def: "EQUALITY certificateExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.8"},
	{oid: "2.5.18.9", names: []string{"hasSubordinates"}, def: "EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE " + byHouse,
		operational: true},
}

// otherNames are those under which programs look for what we call otherwise, in filters
// alone.
var otherNames = map[string]string{
	"proxyaddresses": "mail", "email": "mail", "emailaddress": "mail", "mailprimaryaddress": "mail", "mailnickname": "mail",
	"userprincipalname": "mail", "samaccountname": "mail", "locality": "l", "region": "st", "zip": "postalCode",
	"orgunit": "ou", "fn": "displayName", "entryuuid": "uid",
}

var byName = indexAttributes()

func indexAttributes() map[string]*attribute {
	m := map[string]*attribute{}
	for i := range attributes {
		a := &attributes[i]
		m[a.oid] = a
		for _, n := range a.names {
			m[strings.ToLower(n)] = a
		}
	}
	for other, n := range otherNames {
		if m[other] == nil {
			m[other] = m[strings.ToLower(n)]
		}
	}
	return m
}

// describe takes the options off an attribute description (RFC 4512 §2.5): none of ours
// has any. It returns the name in lower case.
func describe(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.ToLower(s)
}

// selection is what a search wants to see of an entry (RFC 4511 §4.5.1.8).
type selection struct {
	user, operational bool            // all of them
	some              map[string]bool // names in lower case, as asked
	attrs             []*attribute    // of listings, in order
	typesOnly         bool
}

func selectAttributes(list []string, typesOnly bool) *selection {
	s := &selection{typesOnly: typesOnly, user: len(list) == 0, some: map[string]bool{}}
	chosen := map[*attribute]bool{}
	for _, d := range list {
		switch d {
		case "*":
			s.user = true
		case "+":
			s.operational = true
		case "1.1": // none: says nothing beside others
		default:
			n := describe(d)
			s.some[n] = true
			if a := byName[n]; a != nil && otherNames[n] == "" {
				chosen[a] = true
				for _, m := range a.names {
					s.some[strings.ToLower(m)] = true
				}
			}
		}
	}
	for i := range attributes {
		a := &attributes[i]
		if chosen[a] || s.operational && a.operational || s.user && !a.operational && !a.asked {
			s.attrs = append(s.attrs, a)
		}
	}
	return s
}

// wants reports whether an attribute of an object that is no listing is to be shown.
func (s *selection) wants(a objectAttr) bool {
	return s.some[strings.ToLower(a.name)] || s.user && !a.operational || s.operational && a.operational
}
