package xdm

import "strings"

// CX is an HL7 identifier with its assigning authority and type (dmp.md §3.3).
type CX struct{ ID, OID, Kind string }

// ParseCX reads 279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH. A text without an
// authority gives an ID alone.
func ParseCX(s string) CX {
	f := strings.Split(s, "^")
	c := CX{ID: f[0]}
	if len(f) > 3 {
		if hd := strings.Split(f[3], "&"); len(hd) > 1 {
			c.OID = hd[1]
		}
	}
	if len(f) > 4 {
		c.Kind = f[4]
	}
	return c
}
