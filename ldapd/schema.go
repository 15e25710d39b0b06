package ldapd

import (
	"strings"
)

const schemaDN = "cn=Subschema"

// Extensions and controls (RFC 4511, RFC 4532, RFC 3062, RFC 2696, RFC 3296).
const (
	oidStartTLS       = "1.3.6.1.4.1.1466.20037"
	oidWhoAmI         = "1.3.6.1.4.1.4203.1.11.3"
	oidPasswordModify = "1.3.6.1.4.1.4203.1.11.1"
	oidPaged          = "1.2.840.113556.1.4.319"
	oidManageDsaIT    = "2.16.840.1.113730.3.4.2"
)

// rootOnly are attributes that only the root DSE and the schema have, in lower case.
var rootOnly = map[string]bool{
	"namingcontexts": true, "defaultnamingcontext": true, "supportedldapversion": true, "supportedcontrol": true,
	"supportedextension": true, "supportedfeatures": true, "supportedsaslmechanisms": true, "vendorname": true,
	"attributetypes": true, "objectclasses": true, "ldapsyntaxes": true, "matchingrules": true,
}

// root is the root DSE (RFC 4512 §5.1), as it is for this connection.
func (c *conn) root() *object {
	extensions, mechanisms := []string{oidWhoAmI}, []string(nil)
	if c.tls == nil {
		extensions = append(extensions, oidStartTLS)
	} else {
		mechanisms = []string{"PLAIN"}
		if len(c.tls.PeerCertificates) > 0 {
			mechanisms = append(mechanisms, "EXTERNAL")
		}
	}
	return &object{attrs: []objectAttr{
		{name: "objectClass", values: []string{"top"}},
		{name: "namingContexts", values: []string{c.s.c.Base}},
		{name: "defaultNamingContext", values: []string{c.s.c.Base}},
		{name: "supportedLDAPVersion", values: []string{"3"}},
		{name: "supportedControl", values: []string{oidPaged, oidManageDsaIT}},
		{name: "supportedExtension", values: extensions},
		// All operational attributes by + (RFC 3673), filters (&) and (|) (RFC 4526).
		{name: "supportedFeatures", values: []string{"1.3.6.1.4.1.4203.1.5.1", "1.3.6.1.4.1.4203.1.5.3"}},
		{name: "supportedSASLMechanisms", values: mechanisms},
		{name: "subschemaSubentry", values: []string{schemaDN}},
		{name: "vendorName", values: []string{"Pli"}},
	}}
}

// base is the entry above all listings.
func (s *Server) base() *object {
	o := &object{dn: s.c.Base, attrs: []objectAttr{{name: "objectClass", values: []string{"organizationalUnit", "top"}}}}
	for _, a := range s.suffix[0] {
		if a.attr != "ou" {
			o.attrs[0].values = []string{"extensibleObject", "organizationalUnit", "top"}
			o.attrs = append(o.attrs, objectAttr{name: "ou", values: []string{"annuaire"}})
		}
		o.attrs = append(o.attrs, objectAttr{name: a.attr, values: []string{a.value}})
	}
	o.attrs = append(o.attrs,
		objectAttr{name: "description", values: []string{"Annuaire des boîtes de messagerie de santé"}},
		objectAttr{name: "entryDN", operational: true, values: []string{s.c.Base}},
		objectAttr{name: "subschemaSubentry", operational: true, values: []string{schemaDN}},
		objectAttr{name: "structuralObjectClass", operational: true, values: []string{"organizationalUnit"}},
		objectAttr{name: "hasSubordinates", operational: true, values: []string{"TRUE"}})
	return o
}

// objectClasses are those of the entries here, and above them (RFC 4512, RFC 4519, RFC
// 2798). A class may only name attributes that are described.
var objectClasses = []string{
	"( 2.5.6.0 NAME 'top' ABSTRACT MUST objectClass )",
	"( 1.3.6.1.4.1.1466.101.120.111 NAME 'extensibleObject' SUP top AUXILIARY )",
	"( 2.5.20.1 NAME 'subschema' AUXILIARY MAY ( attributeTypes $ objectClasses $ matchingRules $ ldapSyntaxes ) )",
	"( 2.5.17.0 NAME 'subentry' SUP top STRUCTURAL MUST cn )",
	"( 2.5.6.5 NAME 'organizationalUnit' SUP top STRUCTURAL MUST ou MAY ( businessCategory $ description $ l $ physicalDeliveryOfficeName $ postalAddress $ postalCode $ postOfficeBox $ st $ street $ telephoneNumber $ facsimileTelephoneNumber $ seeAlso ) )",
	"( 2.5.6.6 NAME 'person' SUP top STRUCTURAL MUST ( sn $ cn ) MAY ( telephoneNumber $ seeAlso $ description ) )",
	"( 2.5.6.7 NAME 'organizationalPerson' SUP person STRUCTURAL MAY ( title $ facsimileTelephoneNumber $ street $ postOfficeBox $ postalCode $ postalAddress $ physicalDeliveryOfficeName $ ou $ st $ l ) )",
	"( 2.16.840.1.113730.3.2.2 NAME 'inetOrgPerson' SUP organizationalPerson STRUCTURAL MAY ( businessCategory $ c $ company $ department $ departmentNumber $ displayName $ employeeNumber $ employeeType $ givenName $ homePhone $ initials $ jpegPhoto $ labeledURI $ mail $ manager $ mobile $ o $ pager $ preferredLanguage $ roomNumber $ secretary $ uid $ userCertificate $ userSMIMECertificate ) )",
}

var matchingRules = []string{
	"( 2.5.13.0 NAME 'objectIdentifierMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 )",
	"( 2.5.13.1 NAME 'distinguishedNameMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )",
	"( 2.5.13.2 NAME 'caseIgnoreMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
	"( 2.5.13.4 NAME 'caseIgnoreSubstringsMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.58 )",
	"( 2.5.13.5 NAME 'caseExactMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
	"( 2.5.13.11 NAME 'caseIgnoreListMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.41 )",
	"( 2.5.13.13 NAME 'booleanMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 )",
	"( 2.5.13.20 NAME 'telephoneNumberMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.50 )",
	"( 2.5.13.21 NAME 'telephoneNumberSubstringsMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.58 )",
	"( 2.5.13.27 NAME 'generalizedTimeMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 )",
	"( 2.5.13.28 NAME 'generalizedTimeOrderingMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 )",
	"( 2.5.13.30 NAME 'objectIdentifierFirstComponentMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 )",
	"( 2.5.13.34 NAME 'certificateExactMatch' SYNTAX 1.3.6.1.1.15.1 )",
	"( 1.3.6.1.4.1.1466.109.114.2 NAME 'caseIgnoreIA5Match' SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )",
	"( 1.3.6.1.4.1.1466.109.114.3 NAME 'caseIgnoreIA5SubstringsMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.58 )",
}

var ldapSyntaxes = []string{
	"( 1.3.6.1.1.15.1 DESC 'X.509 Certificate Exact Assertion' )",
	"( 1.3.6.1.4.1.1466.115.121.1.3 DESC 'Attribute Type Description' )",
	"( 1.3.6.1.4.1.1466.115.121.1.5 DESC 'Binary' )",
	"( 1.3.6.1.4.1.1466.115.121.1.7 DESC 'Boolean' )",
	"( 1.3.6.1.4.1.1466.115.121.1.8 DESC 'Certificate' )",
	"( 1.3.6.1.4.1.1466.115.121.1.11 DESC 'Country String' )",
	"( 1.3.6.1.4.1.1466.115.121.1.12 DESC 'DN' )",
	"( 1.3.6.1.4.1.1466.115.121.1.15 DESC 'Directory String' )",
	"( 1.3.6.1.4.1.1466.115.121.1.22 DESC 'Facsimile Telephone Number' )",
	"( 1.3.6.1.4.1.1466.115.121.1.24 DESC 'Generalized Time' )",
	"( 1.3.6.1.4.1.1466.115.121.1.26 DESC 'IA5 String' )",
	"( 1.3.6.1.4.1.1466.115.121.1.28 DESC 'JPEG' )",
	"( 1.3.6.1.4.1.1466.115.121.1.30 DESC 'Matching Rule Description' )",
	"( 1.3.6.1.4.1.1466.115.121.1.37 DESC 'Object Class Description' )",
	"( 1.3.6.1.4.1.1466.115.121.1.38 DESC 'OID' )",
	"( 1.3.6.1.4.1.1466.115.121.1.41 DESC 'Postal Address' )",
	"( 1.3.6.1.4.1.1466.115.121.1.50 DESC 'Telephone Number' )",
	"( 1.3.6.1.4.1.1466.115.121.1.54 DESC 'LDAP Syntax Description' )",
	"( 1.3.6.1.4.1.1466.115.121.1.58 DESC 'Substring Assertion' )",
}

// schema is the subschema subentry (RFC 4512 §4.2).
var schema = &object{dn: schemaDN, attrs: []objectAttr{
	{name: "objectClass", values: []string{"extensibleObject", "subschema", "subentry", "top"}},
	{name: "cn", values: []string{"Subschema"}},
	{name: "objectClasses", operational: true, values: objectClasses},
	{name: "attributeTypes", operational: true, values: attributeTypes()},
	{name: "matchingRules", operational: true, values: matchingRules},
	{name: "ldapSyntaxes", operational: true, values: ldapSyntaxes},
}}

func attributeTypes() []string {
	// Those that describe the rest (RFC 4512 §4.2).
	const of = " EQUALITY objectIdentifierFirstComponentMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1."
	types := []string{
		"( 2.5.21.4 NAME 'matchingRules'" + of + "30 USAGE directoryOperation )",
		"( 2.5.21.5 NAME 'attributeTypes'" + of + "3 USAGE directoryOperation )",
		"( 2.5.21.6 NAME 'objectClasses'" + of + "37 USAGE directoryOperation )",
		"( 1.3.6.1.4.1.1466.101.120.16 NAME 'ldapSyntaxes'" + of + "54 USAGE directoryOperation )",
	}
	// A type comes after the one it is under.
	for _, first := range []bool{true, false} {
		for _, a := range attributes {
			if first != (a.names[0] == "name") {
				continue
			}
			names := "'" + a.names[0] + "'"
			if len(a.names) > 1 {
				names = "( '" + strings.Join(a.names, "' '") + "' )"
			}
			types = append(types, "( "+a.oid+" NAME "+names+" "+a.def+" )")
		}
	}
	return types
}
