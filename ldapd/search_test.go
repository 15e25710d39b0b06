package ldapd

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"pli/directory/search"
	"pli/fault"
)

// What programs send, word for word, with what is found.
func TestFiltersOfPrograms(t *testing.T) { overBoth(t, testFiltersOfPrograms) }

// overBoth asks a directory of a few in memory, and the real one.
func overBoth(t *testing.T, f func(t *testing.T, h *house)) {
	t.Run("few", func(t *testing.T) { f(t, newHouse(t, options{})) })
	t.Run("real", func(t *testing.T) { f(t, newHouse(t, options{search: realDirectory(t, people())})) })
}

func testFiltersOfPrograms(t *testing.T, h *house) {
	c := h.signedIn()
	for _, x := range []struct{ from, filter, want string }{
		{"Thunderbird, completing", "(|(cn=*hadd**)(mail=*hadd*)(givenName=*hadd*)(sn=*hadd*))", "k.haddad karim.haddad"},
		{"Thunderbird, completing two words", "(|(cn=*haddad*karim*)(mail=*haddad karim*)(givenName=*haddad*)(sn=*haddad karim*))", "k.haddad karim.haddad"},
		{"Thunderbird before 91", "(|(cn=mart**)(mail=mart**)(sn=mart**))", "anne.martin"},
		{"Thunderbird, with the filter of its URL", "(&(objectclass=*)(|(cn=*mart**)(mail=*mart*)(givenName=*mart*)(sn=*mart*)))", "anne.martin"},
		{"Thunderbird, address book", "(|(cn=*brest*)(givenName=*brest*)(sn=*brest*)(mozillaNickname=*brest*)(mail=*brest*)(mozillaSecondEmail=*brest*)" +
			"(&(null=TRUE)(description=*brest*))(o=*sante*)(ou=*brest*)(title=*brest*)(mozillaWorkUrl=*brest*)(mozillaHomeUrl=*brest*))", "eloise.lheritier"},
		{"Thunderbird, address book, two words", "(&(|(cn=*anne*)(givenName=*anne*)(sn=*anne*)(mozillaNickname=*anne*)(mail=*anne*)(&(null=TRUE)(description=*anne*)))" +
			"(|(cn=*mart*)(givenName=*mart*)(sn=*mart*)(mozillaNickname=*mart*)(mail=*mart*)(&(null=TRUE)(description=*mart*))))", "anne.martin"},
		{"Thunderbird, advanced", "(&(cn=*haddad*)(!(title=*cardio*)))", "karim.haddad"},
		{"Outlook", "(&(mail=*)(|(mail=hadd*)(|(cn=hadd*)(|(sn=hadd*)(givenName=hadd*)))))", "k.haddad karim.haddad"},
		{"Outlook, by given name", "(&(mail=*)(|(mail=karim h*)(|(cn=karim h*)(|(sn=karim h*)(givenName=karim h*)))))", "karim.haddad"},
		{"Outlook for an address", "(|(mail=karim.haddad@mss-a.example*)(proxyAddresses=smtp:karim.haddad@mss-a.example*))", "karim.haddad"},
		{"Outlook, resolving", "(&(mail=*)(anr=haddad))", "k.haddad karim.haddad"},
		{"Contacts", "(|(givenname=haddad)(sn=haddad)(cn=haddad)(mail=haddad))", "k.haddad karim.haddad"},
		{"Contacts, newer", "(&(objectClass=inetOrgPerson)(|(givenName=hadd*)(sn=hadd*)(cn=hadd*)(mail=hadd*)))", "k.haddad karim.haddad"},
		{"Evolution", "(&(|(objectClass=person)(objectClass=groupOfNames))(|(cn=martin*)(sn=martin*)(mail=martin*)))", "anne.martin"},
		{"a service", "(&(businessCategory=ORG)(|(cn=*cardio*)(ou=*cardio*)))", "cardiologie"},
	} {
		r, err := c.Search(sub(x.filter, "mail"))
		if err != nil {
			t.Errorf("%s: %v", x.from, err)
		} else if got := mails(r); got != x.want {
			t.Errorf("%s: %q, want %q", x.from, got, x.want)
		}
	}
	if strings.Contains(h.log.String(), "hadd") || strings.Contains(h.log.String(), "Karim") {
		t.Error("what was looked for is in the log")
	}
}

func TestFilters(t *testing.T) { overBoth(t, testFilters) }

func testFilters(t *testing.T, h *house) {
	c := h.signedIn()
	all := "anne.martin cardiologie eloise.lheritier k.haddad karim.haddad"
	for _, x := range []struct{ filter, want string }{
		{"(objectClass=*)", "<" + base + "> " + all},
		{"(objectClass=inetorgperson)", all},
		{"(objectClass=user)", ""},
		{"(OBJECTCLASS=person)", all},
		{"(!(objectClass=group))", "<" + base + "> " + all},
		{"(&)", "<" + base + "> " + all},
		{"(|)", ""},
		{"(sn=l'heritier)", "eloise.lheritier"},
		{"(surname=L\\27H\\c3\\89RITIER)", "eloise.lheritier"},
		{"(commonName=karim*)", "k.haddad karim.haddad"},
		{"(2.5.4.4=martin)", "anne.martin"},
		{"(sn;lang-fr=martin)", "anne.martin"},
		{"(rfc822Mailbox=*.martin@*)", "anne.martin"},
		{"(mail=*@mss-a.example)", all},
		{"(mail=ANNE.MARTIN@MSS-A.EXAMPLE)", "anne.martin"},
		{"(o=CHU des Monts)", "cardiologie k.haddad"},
		{"(organizationName=*lilas*)", "karim.haddad"},
		{"(l=lyon)", "cardiologie k.haddad"},
		{"(postalCode=69*)", "cardiologie k.haddad"},
		{"(employeeNumber=89970000605)", "karim.haddad"},
		{"(title=cardiologie)", "k.haddad"},
		{"(title=*dermato*)", "eloise.lheritier"},
		{"(businessCategory=or*)", "cardiologie"},
		{"(businessCategory=cab)", ""},
		{"(cn:caseIgnoreMatch:=karim haddad)", "karim.haddad"},
		{"(cn:=karim haddad)", "karim.haddad"},
		{"(cn:dn:=karim haddad)", "karim.haddad"},
		{"(telephoneNumber=*)", ""},
		{"(telephoneNumber=1)", ""},
		{"(!(street=*))", ""},
		{"(&(sn=martin)(!(street=rue)))", ""},
		{"(&(sn=martin)(entryDN=*)(!(telephoneNumber=1)))", "anne.martin"},
		{"(employeeNumber=*)", "anne.martin eloise.lheritier k.haddad karim.haddad"},
		{"(!(givenName=*))", "cardiologie"},
		{"(&(ou=**)(mail=*))", "cardiologie"},
		{"(employeeNumber=8997*)", "anne.martin eloise.lheritier k.haddad karim.haddad"},
		{"(&(sn=martin)(!(telephoneNumber=*)))", "anne.martin"},
		{"(cn=karim haddad – médecin*)", "karim.haddad"},
		{"(a=b)", ""},
		// What is undefined is neither true nor false.
		{"(!(a=b))", ""},
		{"(!(!(a=b)))", ""},
		{"(!(&(a=b)(sn=martin)))", "cardiologie eloise.lheritier k.haddad karim.haddad"},
		{"(!(|(a=b)(sn=martin)))", ""},
		{"(|(a=b)(sn=martin))", "anne.martin"},
		{"(&(a=b)(sn=martin))", ""},
		{"(!(sn>=a))", ""},
		{"(sn>=a)", ""},
		{"(sn<=z)", ""},
		{"(!(cn:1.2.3.4:=x))", ""},
		{"(:caseIgnoreMatch:=martin)", ""},
		{"(sn=\\ff\\fe)", ""},
		{"(!(sn=\\ff\\fe))", ""},
		{"(sn=mar\\00tin)", ""},
		{"(sn=*\\00*)", ""},
		{"(!(sn=" + strings.Repeat("a", 300) + "))", ""},
		{"(sn=)", ""},
		{"(sn~=martin)", "anne.martin"},
		{"(&(!(sn=haddad))(!(businessCategory=ORG)))", "anne.martin eloise.lheritier"},
	} {
		r, err := c.Search(sub(x.filter, "mail"))
		if err != nil {
			t.Errorf("%s: %v", x.filter, err)
		} else if got := mails(r); strings.TrimSpace(strings.ReplaceAll(got, "<"+base+">", "")) != strings.TrimSpace(strings.ReplaceAll(x.want, "<"+base+">", "")) ||
			strings.Contains(got, "<") != strings.Contains(x.want, "<") && !strings.Contains(x.filter, "!(") {
			t.Errorf("%s: %q, want %q", x.filter, got, x.want)
		}
	}
}

func TestWhatIsAskedOfTheDirectory(t *testing.T) {
	name, address := search.Name, search.Address
	for filter, want := range map[string]search.Cond{
		"(|(cn=*mart**)(mail=*mart*)(givenName=*mart*)(sn=*mart*))": search.Or{search.Contains{Field: name, Value: "mart"}, search.Contains{Field: address, Value: "mart"}},
		"(&(mail=*)(|(mail=mart*)(|(cn=mart*)(|(sn=mart*)(givenName=mart*)))))": search.Or{search.Prefix{Field: address, Value: "mart"},
			search.Prefix{Field: name, Value: "mart"}},
		"(|(cn=mart*)(sn=marti*))":             search.Or{search.Prefix{Field: name, Value: "mart"}, search.Prefix{Field: search.Family, Value: "marti"}},
		"(|(cn=martin)(sn=martin)(sn=martin))": search.Or{search.Equal{Field: name, Value: "martin"}, search.Equal{Field: search.Family, Value: "martin"}},
		"(&(objectClass=*)(sn=martin))":        search.Equal{Field: search.Family, Value: "martin"},
		"(&(sn=mar*tin)(!(l=lyon)))": search.And{search.Prefix{Field: search.Family, Value: "mar"}, search.Contains{Field: search.Family, Value: "tin"},
			search.Not{Cond: search.Equal{Field: search.City, Value: "lyon"}}},
		"(mail=smtp:a@b.example)": search.Equal{Field: address, Value: "a@b.example"},
	} {
		p, err := ldap.CompileFilter(filter)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parseFilter(ber.DecodePacket(p.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.compile(true); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v", filter, got)
		}
	}
}

func TestAFilterTooDeepOrTooLong(t *testing.T) {
	h := newHouse(t, options{})
	c := h.signedIn()
	deep := strings.Repeat("(!", 20) + "(sn=a)" + strings.Repeat(")", 20)
	_, err := c.Search(sub(deep))
	wantCode(t, err, adminLimitExceeded)
	_, err = c.Search(sub(strings.Repeat("(!", 1000) + "(sn=a)" + strings.Repeat(")", 1000)))
	wantCode(t, err, adminLimitExceeded)
	_, err = c.Search(sub("(|" + strings.Repeat("(sn=a)", 65) + ")"))
	wantCode(t, err, adminLimitExceeded)
	if r, err := c.Search(sub("(|"+strings.Repeat("(sn=martin)", 64)+")", "mail")); err != nil || mails(r) != "anne.martin" {
		t.Errorf("64 items: %v", err)
	}
}

// What each program shows of somebody: name, profession, city, structure.
func TestAnEntryAsProgramsReadIt(t *testing.T) {
	h := newHouse(t, options{})
	c := h.signedIn()
	one := func(filter string, attrs ...string) *ldap.Entry {
		t.Helper()
		r, err := c.Search(sub(filter, attrs...))
		h.check(err)
		if len(r.Entries) != 1 {
			t.Fatalf("%d entries", len(r.Entries))
		}
		return r.Entries[0]
	}
	want := func(e *ldap.Entry, all map[string]string) {
		t.Helper()
		for a, v := range all {
			if got := strings.Join(e.GetAttributeValues(a), "|"); got != v {
				t.Errorf("%s: %q, want %q", a, got, v)
			}
		}
		for _, a := range e.Attributes {
			if _, ok := all[a.Name]; !ok {
				t.Errorf("%s is shown: %q", a.Name, a.Values)
			}
		}
	}
	display := "HADDAD Karim – Médecin, médecine générale – Paris 19 – CABINET MEDICAL DES LILAS"
	display = h.crowd.all[0].Display()
	if !strings.Contains(display, "HADDAD Karim") || !strings.Contains(display, "Paris 19") {
		t.Fatal(display)
	}
	thunderbird := strings.Split("givenName,sn,surname,cn,commonname,displayName,mail,title,o,company,ou,department,departmentnumber,orgunit,l,locality,st,region,postalCode,zip,c,countryname,telephoneNumber,street,streetaddress,postOfficeBox,description,notes,modifytimestamp", ",")
	want(one("(mail=karim*)", thunderbird...), map[string]string{
		"givenName": "Karim", "sn": "HADDAD", "cn": display + "|HADDAD Karim", "displayName": display, "mail": "karim.haddad@mss-a.example",
		"title": h.crowd.all[0].Title() + "|Médecin", "o": "CABINET MEDICAL DES LILAS", "company": "CABINET MEDICAL DES LILAS", "l": "PARIS", "st": "Ville-Exemple",
		"postalCode": "75019", "c": "FR", "street": "3 RUE DES ESSAIS", "modifyTimestamp": "20261101080000Z",
	})
	outlook := []string{"cn", "commonName", "mail", "roleOccupant", "display-name", "displayname", "sn", "surname", "co", "o", "givenName", "objectClass", "uid", "company", "title", "department", "physicalDeliveryOfficeName", "telephoneNumber", "sAMAccountName", "legacyExchangeDN", "proxyAddresses;binary"}
	e := one("(mail=karim*)", outlook...)
	want(e, map[string]string{
		"cn": display + "|HADDAD Karim", "displayName": display, "mail": "karim.haddad@mss-a.example", "sn": "HADDAD", "givenName": "Karim", "o": "CABINET MEDICAL DES LILAS",
		"objectClass": "inetOrgPerson|organizationalPerson|person|top", "uid": h.crowd.all[0].Key.String(), "company": "CABINET MEDICAL DES LILAS",
		"title": h.crowd.all[0].Title() + "|Médecin", "physicalDeliveryOfficeName": "Paris 19",
	})
	if e.DN != "uid="+h.crowd.all[0].Key.String()+","+base {
		t.Error(e.DN)
	}
	contacts := strings.Split("givenName sn cn mail telephoneNumber facsimileTelephoneNumber o title ou buildingName street l st postalCode c jpegPhoto mobile co pager destinationIndicator labeledURI IMHandle", " ")
	want(one("(mail=cardio*)", contacts...), map[string]string{
		"sn": "Service de cardiologie", "cn": h.crowd.all[4].Display() + "|Service de cardiologie", "mail": "cardiologie@mss-a.example", "o": "CHU DES MONTS",
		"ou": "Service de cardiologie", "l": "LYON", "postalCode": "69003",
	})
	want(one("(mail=karim*)", "1.1"), map[string]string{})
	want(one("(mail=karim*)", "+"), map[string]string{"entryDN": e.DN, "modifyTimestamp": "20261101080000Z", "subschemaSubentry": "cn=Subschema", "structuralObjectClass": "inetOrgPerson"})
	if full := one("(mail=karim*)", "*", "+"); full.GetAttributeValue("employeeNumber") != "89970000605" || full.GetAttributeValue("entryDN") == "" {
		t.Error("* and + together miss some")
	}
	if every := one("(mail=karim*)"); every.GetAttributeValue("businessCategory") != "PER" || every.GetAttributeValue("entryDN") != "" || every.GetAttributeValue("company") != "" {
		t.Error("no list is not all user attributes")
	}
	q := sub("(mail=karim*)", "cn", "mail")
	q.TypesOnly = true
	r, err := c.Search(q)
	h.check(err)
	if a := r.Entries[0].Attributes; len(a) != 2 || len(a[0].Values) != 0 || a[0].Name != "cn" {
		t.Errorf("types only: %v", a)
	}
}

func TestNamesakesAreToldApart(t *testing.T) {
	ps := people()[:1]
	other := person("HADDAD", "Karim", "karim.haddad.2", "Médecine générale", "PARIS", "75019", "CABINET MEDICAL DES LILAS")
	h := newHouse(t, options{crowd: append(ps, other)})
	r, err := h.signedIn().Search(sub("(cn=haddad*)", "cn"))
	h.check(err)
	if len(r.Entries) != 2 || r.Entries[0].GetAttributeValue("cn") == r.Entries[1].GetAttributeValue("cn") {
		t.Errorf("%v", r.Entries)
	}
}

func TestScopesAndNames(t *testing.T) {
	h := newHouse(t, options{})
	c := h.signedIn()
	karim := "uid=" + h.crowd.all[0].Key.String() + "," + base
	for _, x := range []struct {
		base   string
		scope  int
		filter string
		code   uint16
		want   int
	}{
		{base, ldap.ScopeBaseObject, "(objectClass=*)", 0, 1},
		{base, ldap.ScopeBaseObject, "(ou=annuaire)", 0, 1},
		{base, ldap.ScopeBaseObject, "(ou=autre)", 0, 0},
		{base, ldap.ScopeSingleLevel, "(objectClass=*)", 0, 5},
		{base, ldap.ScopeWholeSubtree, "(objectClass=*)", 0, 6},
		{" OU = Annuaire , O=MSSante;C=FR", ldap.ScopeSingleLevel, "(objectClass=*)", 0, 5},
		{"2.5.4.11=annuaire,organizationName=mssante,c=fr", ldap.ScopeSingleLevel, "(objectClass=*)", 0, 5},
		{"", ldap.ScopeWholeSubtree, "(sn=martin)", 0, 1},
		{"o=mssante,c=fr", ldap.ScopeWholeSubtree, "(sn=martin)", 0, 1},
		{"c=fr", ldap.ScopeWholeSubtree, "(sn=martin)", 0, 1},
		{"o=mssante,c=fr", ldap.ScopeSingleLevel, "(objectClass=*)", 0, 1},
		{"o=mssante,c=fr", ldap.ScopeBaseObject, "(objectClass=*)", noSuchObject, 0},
		{"o=autre,c=fr", ldap.ScopeWholeSubtree, "(sn=martin)", noSuchObject, 0},
		{karim, ldap.ScopeBaseObject, "(objectClass=*)", 0, 1},
		{strings.ToUpper(karim), ldap.ScopeBaseObject, "(objectClass=*)", 0, 1},
		{karim, ldap.ScopeBaseObject, "(&(sn=haddad)(mail=karim*example)(cn=*médecin*))", 0, 1},
		{karim, ldap.ScopeBaseObject, "(!(sn=martin))", 0, 1},
		{karim, ldap.ScopeBaseObject, "(!(a=b))", 0, 0},
		{karim, ldap.ScopeBaseObject, "(sn=martin)", 0, 0},
		{karim, ldap.ScopeWholeSubtree, "(objectClass=person)", 0, 1},
		{karim, ldap.ScopeSingleLevel, "(objectClass=*)", 0, 0},
		{"uid=00112233445566778899aabbccddeeff," + base, ldap.ScopeBaseObject, "(objectClass=*)", noSuchObject, 0},
		{"uid=x," + base, ldap.ScopeBaseObject, "(objectClass=*)", noSuchObject, 0},
		{"cn=x,uid=y," + base, ldap.ScopeBaseObject, "(objectClass=*)", noSuchObject, 0},
		{"pas un nom", ldap.ScopeBaseObject, "(objectClass=*)", invalidDNSyntax, 0},
		{"ou=,c=fr", ldap.ScopeBaseObject, "(objectClass=*)", invalidDNSyntax, 0},
	} {
		r, err := c.Search(ldap.NewSearchRequest(x.base, x.scope, 0, 0, 0, false, x.filter, nil, nil))
		wantCode(t, err, x.code)
		if err == nil && len(r.Entries) != x.want {
			t.Errorf("%q scope %d %s: %d entries, want %d", x.base, x.scope, x.filter, len(r.Entries), x.want)
		}
	}
	_, err := c.Search(baseRead("uid=x,"+base, "(objectClass=*)"))
	if e, ok := err.(*ldap.Error); !ok || e.MatchedDN != base {
		t.Errorf("matched: %v", err)
	}
}

func TestRootAndSchema(t *testing.T) {
	h := newHouse(t, options{})
	clear, err := ldap.DialURL("ldap://" + h.clear)
	h.check(err)
	defer clear.Close()
	root := func(c *ldap.Conn) *ldap.Entry {
		t.Helper()
		r, err := c.Search(baseRead("", "(objectClass=*)", "namingContexts", "supportedSASLMechanisms", "supportedExtension", "supportedControl", "supportedLDAPVersion", "vendorName", "subschemaSubentry"))
		h.check(err)
		return r.Entries[0]
	}
	e := root(clear)
	if e.DN != "" || e.GetAttributeValue("namingContexts") != base || e.GetAttributeValue("supportedLDAPVersion") != "3" || e.GetAttributeValue("vendorName") != "Pli" {
		t.Errorf("%v", e)
	}
	if len(e.GetAttributeValues("supportedSASLMechanisms")) != 0 || !slices.Contains(e.GetAttributeValues("supportedExtension"), oidStartTLS) {
		t.Error("in clear: a mechanism, or no StartTLS")
	}
	if !slices.Contains(e.GetAttributeValues("supportedControl"), oidPaged) {
		t.Error("no paged results")
	}
	labo, err := selfSigned("labo")
	h.check(err)
	for want, c := range map[string]*ldap.Conn{"PLAIN": h.dial(), "PLAIN EXTERNAL": h.dial(labo)} {
		e = root(c)
		if got := strings.Join(e.GetAttributeValues("supportedSASLMechanisms"), " "); got != want || slices.Contains(e.GetAttributeValues("supportedExtension"), oidStartTLS) {
			t.Errorf("under TLS: %q, want %q", got, want)
		}
	}
	r, err := clear.Search(baseRead(e.GetAttributeValue("subschemaSubentry"), "(objectClass=subschema)", "attributeTypes", "objectClasses", "+"))
	h.check(err)
	checkSchema(t, r.Entries[0])
}

// checkSchema reads the schema as programs do: every name used is described.
func checkSchema(t *testing.T, e *ldap.Entry) {
	t.Helper()
	shape := regexp.MustCompile(`^\( ([0-9.]+) NAME (?:'([A-Za-z0-9]+)'|\( ('[A-Za-z0-9' ]+') \)) .* ?\)$`)
	types, rules, syntaxes := map[string]bool{}, map[string]bool{}, map[string]bool{}
	oids := map[string]bool{}
	for _, d := range e.GetAttributeValues("matchingRules") {
		m := shape.FindStringSubmatch(d)
		if m == nil {
			t.Fatalf("not a description: %s", d)
		}
		rules[m[2]] = true
	}
	for _, d := range e.GetAttributeValues("ldapSyntaxes") {
		syntaxes[strings.Fields(d)[1]] = true
	}
	for _, d := range e.GetAttributeValues("attributeTypes") {
		m := shape.FindStringSubmatch(d)
		if m == nil || oids[m[1]] {
			t.Fatalf("not a description, or twice: %s", d)
		}
		oids[m[1]] = true
		for _, n := range strings.Fields(m[2] + " " + strings.ReplaceAll(m[3], "'", "")) {
			types[n] = true
		}
		for _, x := range regexp.MustCompile(`(?:EQUALITY|SUBSTR|ORDERING) (\w+)`).FindAllStringSubmatch(d, -1) {
			if !rules[x[1]] {
				t.Errorf("rule %s is not described", x[1])
			}
		}
		for _, x := range regexp.MustCompile(`SYNTAX ([0-9.]+)`).FindAllStringSubmatch(d, -1) {
			if !syntaxes[x[1]] {
				t.Errorf("syntax %s is not described", x[1])
			}
		}
		if x := regexp.MustCompile(`SUP (\w+)`).FindStringSubmatch(d); x != nil && !types[x[1]] {
			t.Errorf("%s is under %s, not described before", m[1], x[1])
		}
	}
	classes := map[string]bool{}
	for _, d := range e.GetAttributeValues("objectClasses") {
		m := shape.FindStringSubmatch(d)
		if m == nil {
			t.Fatalf("not a description: %s", d)
		}
		classes[m[2]] = true
		for _, x := range regexp.MustCompile(`(?:MUST|MAY) (?:\( ([^)]*) \)|(\w+))`).FindAllStringSubmatch(d, -1) {
			for _, n := range strings.Fields(strings.ReplaceAll(x[1]+" "+x[2], "$", " ")) {
				if !types[n] {
					t.Errorf("%s names %s, which is not described", m[2], n)
				}
			}
		}
	}
	if !classes["inetOrgPerson"] || !types["businessCategory"] || !types["surname"] {
		t.Error("the classes or types of entries are missing")
	}
}

func TestSizeLimit(t *testing.T) {
	h := newHouse(t, options{crowd: crowdOf(250)})
	c := h.signedIn()
	for _, x := range []struct {
		asked int
		code  uint16
		want  int
	}{{0, sizeLimitExceeded, 100}, {10, sizeLimitExceeded, 10}, {500, sizeLimitExceeded, 100}} {
		q := sub("(sn=duval)", "mail")
		q.SizeLimit = x.asked
		r, err := c.Search(q)
		wantCode(t, err, x.code)
		if r == nil || len(r.Entries) != x.want {
			t.Errorf("limit %d: %v", x.asked, err)
		}
	}
	q := sub("(sn=haddad)", "mail")
	q.SizeLimit = 2
	if r, err := c.Search(q); err != nil || len(r.Entries) != 2 {
		t.Errorf("as many as there are: %v", err)
	}
}

func TestPages(t *testing.T) {
	h := newHouse(t, options{crowd: crowdOf(250)})
	c := h.signedIn()
	r, err := c.SearchWithPaging(sub("(sn=duval)", "mail"), 40)
	h.check(err)
	seen := map[string]bool{}
	for _, e := range r.Entries {
		seen[e.DN] = true
	}
	if len(r.Entries) != 250 || len(seen) != 250 {
		t.Errorf("%d entries, %d of them different", len(r.Entries), len(seen))
	}
	// The base entry is on the first page alone.
	r, err = c.SearchWithPaging(sub("(objectClass=*)", "mail"), 100)
	h.check(err)
	if len(r.Entries) != 256 {
		t.Errorf("%d entries, want 256", len(r.Entries))
	}
	// The client's own limit holds over all pages.
	q := sub("(sn=duval)", "mail")
	q.SizeLimit = 60
	r, err = c.SearchWithPaging(q, 40)
	wantCode(t, err, sizeLimitExceeded)
	if r != nil && len(r.Entries) > 60 {
		t.Errorf("%d entries, want 60", len(r.Entries))
	}
}

func TestCookies(t *testing.T) {
	h := newHouse(t, options{crowd: crowdOf(250)})
	c := h.signedIn()
	page := func(c *ldap.Conn, filter, cookie string) (string, error) {
		p := ldap.NewControlPaging(20)
		p.SetCookie([]byte(cookie))
		q := sub(filter, "mail")
		q.Controls = []ldap.Control{p}
		r, err := c.Search(q)
		if err != nil {
			return "", err
		}
		if x, ok := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging); ok {
			return string(x.Cookie), nil
		}
		return "", fmt.Errorf("no control")
	}
	cookie, err := page(c, "(sn=duval)", "")
	if err != nil || cookie == "" {
		t.Fatalf("%q %v", cookie, err)
	}
	if _, err := page(c, "(sn=duval)", cookie); err != nil {
		t.Error(err)
	}
	if _, err := page(h.signedIn(), "(sn=duval)", cookie); err != nil {
		t.Errorf("another connection of the same account: %v", err)
	}
	_, err = page(c, "(sn=duva*)", cookie)
	wantCode(t, err, unwillingToPerform)
	_, err = page(c, "(sn=duval)", cookie[:len(cookie)-2]+"AA")
	wantCode(t, err, unwillingToPerform)
	labo, err := selfSigned("labo")
	h.check(err)
	other := h.dial(labo)
	h.check(other.ExternalBind())
	_, err = page(other, "(sn=duval)", cookie)
	wantCode(t, err, unwillingToPerform)
	h.later.Store(int64(20 * time.Minute))
	_, err = page(c, "(sn=duval)", cookie)
	wantCode(t, err, unwillingToPerform)
	// Size 0 gives the rest up.
	p := ldap.NewControlPaging(0)
	p.SetCookie([]byte(cookie))
	h.later.Store(0)
	q := sub("(sn=duval)", "mail")
	q.Controls = []ldap.Control{p}
	if r, err := c.Search(q); err != nil || len(r.Entries) != 0 {
		t.Errorf("given up: %v", err)
	}
}

func TestNobodyCopiesTheDirectory(t *testing.T) {
	h := newHouse(t, options{crowd: crowdOf(400), config: Config{MaxPagedEntries: 150, MaxEntriesPerHour: 350}})
	c := h.signedIn()
	r, err := c.SearchWithPaging(sub("(sn=duval)", "mail"), 50)
	wantCode(t, err, adminLimitExceeded)
	if r != nil && len(r.Entries) > 150 {
		t.Errorf("%d entries of one search", len(r.Entries))
	}
	got := 150
	for range 10 {
		r, err = h.signedIn().Search(sub("(sn=duval)", "mail")) // a new connection changes nothing
		if ldap.IsErrorWithCode(err, adminLimitExceeded) {
			break
		}
		got += len(r.Entries)
	}
	if got != 350 || !ldap.IsErrorWithCode(err, adminLimitExceeded) {
		t.Errorf("%d entries in an hour, then %v", got, err)
	}
	labo, err := selfSigned("labo")
	h.check(err)
	other := h.dial(labo)
	h.check(other.ExternalBind())
	if r, err := other.Search(sub("(sn=martin)", "mail")); err != nil || len(r.Entries) != 1 {
		t.Errorf("another account: %v", err)
	}
}

func TestControls(t *testing.T) {
	h := newHouse(t, options{})
	c := h.signedIn()
	try := func(x ldap.Control) error {
		q := sub("(sn=martin)", "mail")
		q.Controls = []ldap.Control{x}
		r, err := c.Search(q)
		if err == nil && len(r.Entries) != 1 {
			t.Errorf("%d entries", len(r.Entries))
		}
		return err
	}
	const vlv = "2.16.840.1.113730.3.4.9"
	wantCode(t, try(ldap.NewControlString(vlv, true, "x")), unavailableCriticalExtension)
	wantCode(t, try(ldap.NewControlString(vlv, false, "x")), 0)
	wantCode(t, try(ldap.NewControlManageDsaIT(true)), 0)
	wantCode(t, try(ldap.NewControlString(oidPaged, true, "not it")), protocolError)
	wantCode(t, c.Del(&ldap.DelRequest{DN: base, Controls: []ldap.Control{ldap.NewControlString(vlv, true, "")}}), unavailableCriticalExtension)
}

func TestTimeLimit(t *testing.T) {
	h := newHouse(t, options{config: Config{TimeLimit: 100 * time.Millisecond}})
	c := h.signedIn()
	h.crowd.delay.Store(int64(time.Minute))
	_, err := c.Search(sub("(sn=martin)"))
	wantCode(t, err, timeLimitExceeded)
	h.crowd.delay.Store(0)
	q := sub("(sn=martin)", "mail")
	q.TimeLimit = 30
	if r, err := c.Search(q); err != nil || len(r.Entries) != 1 {
		t.Errorf("after it: %v", err)
	}
}

func TestForgivingQuestions(t *testing.T) {
	h := newHouse(t, options{})
	c := h.signedIn()
	for filter, want := range map[string]bool{
		"(|(cn=*hadd*)(mail=*hadd*))": true, "(sn~=hadad)": true, "(sn=hadad)": true, "(anr=hadad)": true,
		"(&(mail=*)(|(cn=ha*)(sn=ha*)))": true, "(mail=ha*)": false, "(employeeNumber=89970000605)": false, "(!(cn=*x*))": false, "(l=lyon)": false,
	} {
		before := h.crowd.fuzzy.Load()
		if _, err := c.Search(sub(filter)); err != nil {
			t.Fatal(err)
		}
		if got := h.crowd.fuzzy.Load() > before; got != want {
			t.Errorf("%s forgives: %v", filter, got)
		}
	}
}

func TestCompare(t *testing.T) {
	h := newHouse(t, options{})
	c := h.signedIn()
	karim := "uid=" + h.crowd.all[0].Key.String() + "," + base
	for _, x := range []struct {
		dn, attr, value string
		want            bool
		code            uint16
	}{
		{karim, "sn", "haddad", true, 0},
		{karim, "surname", "Haddad", true, 0},
		{karim, "sn", "martin", false, 0},
		{karim, "objectClass", "person", true, 0},
		{karim, "telephoneNumber", "1", false, noSuchAttribute},
		{karim, "shoeSize", "1", false, undefinedAttributeType},
		{base, "ou", "annuaire", true, 0},
		{"uid=x," + base, "sn", "x", false, noSuchObject},
		{"=", "sn", "x", false, invalidDNSyntax},
		{"", "supportedLDAPVersion", "3", true, 0},
	} {
		got, err := c.Compare(x.dn, x.attr, x.value)
		wantCode(t, err, x.code)
		if got != x.want {
			t.Errorf("%s %s=%s: %v", x.dn, x.attr, x.value, got)
		}
	}
	_, err := h.dial().Compare(karim, "sn", "haddad")
	wantCode(t, err, strongerAuthRequired)
}

func TestAPanicIsAnAnswer(t *testing.T) {
	h := newHouse(t, options{})
	c := h.signedIn()
	h.crowd.panic.Store(true)
	_, err := c.Search(sub("(sn=martin)"))
	wantCode(t, err, 80)
	h.crowd.panic.Store(false)
	if _, err := c.Search(sub("(sn=martin)")); err != nil {
		t.Error(err)
	}
	if strings.Contains(h.log.String(), "Jeanne") {
		t.Error("the panic's text is in the log")
	}
}

func TestFailuresOfTheDirectory(t *testing.T) {
	for kind, want := range map[fault.Kind]uint16{
		fault.Timeout: timeLimitExceeded, fault.Unavailable: unavailable, fault.Internal: 80, fault.Invalid: unwillingToPerform, fault.Conflict: unwillingToPerform,
	} {
		a := &asker{}
		if r := a.explain(fault.New(kind, "x", "")); r.code != int(want) {
			t.Errorf("%v: %d, want %d", kind, r.code, want)
		}
	}
}
