// Package fhir is the wire of FHIR R4 (4.0.1) as Pli speaks it: search requests to values,
// values to Bundles, OperationOutcomes and a CapabilityStatement, and the French systems
// and extensions that a health mailbox is written with (mssante.md §4.3). It does no I/O
// and knows no table.
package fhir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"pli/fault"
)

// MediaType is what FHIR resources are sent as.
const MediaType = "application/fhir+json"

// Instant writes an instant to the millisecond, in UTC.
func Instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// ValidID reports whether s has the form of a resource id (R4 §2.24.0.1).
func ValidID(s string) bool {
	return s != "" && len(s) <= 64 &&
		strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-.") == ""
}

// Versioned puts into the meta of a resource a version made from its content, and returns
// it too: the same content has the same version, whoever writes it. The resource begins
// as ours do, with its id and then its meta.
func Versioned(resource []byte) (out []byte, version string) {
	sum := sha256.Sum256(resource)
	version = hex.EncodeToString(sum[:8])
	head, tail, ok := bytes.Cut(resource, []byte(`"meta":{`))
	if !ok {
		return resource, version
	}
	out = make([]byte, 0, len(resource)+32)
	out = append(out, head...)
	out = append(out, `"meta":{"versionId":"`...)
	out = append(out, version...)
	out = append(out, '"')
	if !bytes.HasPrefix(tail, []byte("}")) {
		out = append(out, ',')
	}
	return append(out, tail...), version
}

// subsetted marks a resource of which a part only is shown (R4 §3.1.0.6).
const subsetted = `"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]`

// Subset keeps of a resource the elements named, and those without which it would be
// another or none: resourceType, id, meta. It marks what is left. Our resources carry no
// tag of their own. Errors: fault.Corrupt when resource is no JSON object.
func Subset(resource []byte, elements []string) ([]byte, error) {
	bad := fault.New(fault.Corrupt, "fhir.Subset", "not-an-object")
	d := json.NewDecoder(bytes.NewReader(resource))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, bad
	}
	out := append(make([]byte, 0, len(resource)+len(subsetted)), '{')
	tagged := false
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, bad
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, bad
		}
		switch {
		case name == "meta" && bytes.HasPrefix(value, []byte("{")):
			value, tagged = tag(value), true
		case name == "resourceType", name == "id", name == "meta", slices.Contains(elements, strings.TrimPrefix(name, "_")):
		default:
			continue
		}
		out = appendMember(out, name, value)
	}
	if !tagged {
		out = appendMember(out, "meta", json.RawMessage("{"+subsetted+"}"))
	}
	return append(out, '}'), nil
}

func tag(meta json.RawMessage) json.RawMessage {
	inner := bytes.TrimSuffix(meta, []byte("}"))
	out := append(make([]byte, 0, len(meta)+len(subsetted)+1), inner...)
	if len(bytes.TrimSpace(inner)) > 1 {
		out = append(out, ',')
	}
	return append(append(out, subsetted...), '}')
}

func appendMember(out []byte, name string, value []byte) []byte {
	if len(out) > 1 {
		out = append(out, ',')
	}
	return append(append(append(append(out, '"'), name...), `":`...), value...)
}
