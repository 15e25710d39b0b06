package app

import (
	"fmt"
	"slices"
	"strings"
)

// role is one duty of a serving process.
type role struct {
	name  string
	does  string
	doors func(*House) ([]door, error) // what listens; nil for the worker
}

// roles is the table: which doors each opens. Every role needs PostgreSQL and the
// key files; smtp and web and worker write blobs, imap and web open letters.
var roles = []role{
	{"smtp", "mail comes in, from operators and from users", (*House).smtpDoors},
	{"imap", "mail is read", (*House).imapDoors},
	{"web", "people come in", (*House).webDoors},
	{"ldap", "mail programs ask the directory", (*House).ldapDoors},
	{"fhir", "software and phones ask the directory", (*House).fhirDoors},
	{"worker", "jobs: mail leaves, reports are filed, leftovers are swept", nil},
}

// RoleNames lists the roles in the order of the table.
func RoleNames() []string {
	var out []string
	for _, r := range roles {
		out = append(out, r.name)
	}
	return out
}

// ParseRoles reads names parted by commas; none asks for all.
func ParseRoles(s string) ([]string, error) {
	asked := split(s)
	if len(asked) == 0 {
		return RoleNames(), nil
	}
	for _, a := range asked {
		if !slices.Contains(RoleNames(), a) {
			return nil, fmt.Errorf("there is no role %q; there are:\n%s", a, describeRoles())
		}
	}
	return asked, nil
}

func describeRoles() string {
	var b strings.Builder
	for _, r := range roles {
		fmt.Fprintf(&b, "  %-7s %s\n", r.name, r.does)
	}
	return b.String()
}
