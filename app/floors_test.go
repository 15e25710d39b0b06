package app

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The floors of the house: who may import whom. Moving a package to another floor is
// a normal change; an import that climbs is not.
var (
	words = []string{"mail", "health", "fault"}
	rooms = []string{"seal", "directory", "identity", "consent", "mailstore", "outbound", "dossier", "audit", "certs"}
	doors = []string{"smtpd", "imapd", "webd", "ldapd", "fhird", "davd"}
)

// homes gives each outside library the packages that may import it. A package may
// always be imported below a home of the same name (certs/demopki for certs).
var homes = map[string][]string{
	"github.com/emersion/go-smtp":         {"smtpd", "outbound"},
	"github.com/emersion/go-sasl":         {"smtpd", "imapd"},
	"github.com/emersion/go-imap":         {"imapd"},
	"github.com/emersion/go-message":      {"codec/message"},
	"github.com/ProtonMail":               {"seal"},
	"github.com/redis/go-redis":           {"internal/wake", "internal/limit"},
	"github.com/go-redis/redis_rate":      {"internal/limit"},
	"github.com/alicebob/miniredis":       {"internal/redisserver"},
	"github.com/riverqueue/river":         {"internal/job", "migrations"},
	"github.com/minio/minio-go":           {"internal/blob"},
	"github.com/microcosm-cc/bluemonday":  {"webd"},
	"github.com/beevik/etree":             {"certs"},
	"github.com/russellhaering/goxmldsig": {"certs"},
	"github.com/pquerna/otp":              {"identity"},
	"github.com/alecthomas/kong":          {"cmd/pli"},
	"github.com/pelletier/go-toml":        {"app", "webd"},
	"github.com/jackc/pgx":                append([]string{"internal/pg", "internal/pgserver", "internal/pgtest", "internal/job", "migrations"}, rooms...),
	"github.com/prometheus/client_golang": nil, // metrics are made where they are counted
	"github.com/klauspost/compress":       {"seal"},
	"github.com/go-asn1-ber/asn1-ber":     {"ldapd"},
	"github.com/go-ldap/ldap":             {"bench"},
	"github.com/samply":                   {"codec/fhir", "directory/resource", "fhird"},
	"github.com/emersion/go-vcard":        {"davd"},
	"golang.org/x/crypto":                 {"identity", "seal", "certs"},
	"golang.org/x/net":                    {"codec", "webd"},
	"golang.org/x/sync":                   nil,
	"golang.org/x/text":                   nil,
	"golang.org/x/time":                   {"internal/limit", "smtpd", "imapd"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestFloors(t *testing.T) {
	for _, p := range listPackages(t) {
		here := strings.TrimPrefix(p.ImportPath, "pli/")
		for _, imp := range p.Imports {
			if there, ours := strings.CutPrefix(imp, "pli/"); ours {
				if why := climbs(here, there); why != "" {
					t.Errorf("%s imports %s: %s", here, there, why)
				}
				continue
			}
			if why := strays(here, imp); why != "" {
				t.Errorf("%s imports %s: %s", here, imp, why)
			}
		}
	}
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "pli/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var ps []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath != "pli/internal/tmpdeps" {
			ps = append(ps, p)
		}
	}
	if len(ps) < 5 {
		t.Fatalf("only %d packages listed", len(ps))
	}
	return ps
}

// top is the package itself or, below a room or a door, that room or door.
func top(p string) string {
	if first, _, _ := strings.Cut(p, "/"); slices.Contains(rooms, first) || slices.Contains(doors, first) {
		return first
	}
	return p
}

func floor(p string) int {
	switch {
	case slices.Contains(words, p):
		return 0
	case p == "internal/house", p == "app", strings.HasPrefix(p, "app/"), strings.HasPrefix(p, "cmd/"),
		p == "e2e", p == "bench", strings.HasPrefix(p, "bench/"):
		return 5
	case p == "policy", p == "migrations", p == "testdata", strings.HasPrefix(p, "codec/"), strings.HasPrefix(p, "internal/"):
		return 1
	case slices.Contains(rooms, top(p)):
		return 2
	case p == "pipeline", p == "gate", strings.HasPrefix(p, "pipeline/"):
		return 3
	case slices.Contains(doors, top(p)):
		return 4
	}
	return -1
}

// climbs says why one package of ours may not import another; empty when it may.
func climbs(here, there string) string {
	a, b := floor(here), floor(there)
	switch {
	case a < 0:
		return here + " has no floor: give it one in app/floors_test.go"
	case b < 0:
		return there + " has no floor: give it one in app/floors_test.go"
	case a == 5 || top(here) == top(there):
		return ""
	case b > a:
		return "a floor is not climbed"
	case here == "policy" && b > 0 && there != "internal/id":
		return "policy knows words and ids only"
	case strings.HasPrefix(here, "codec/") && b > 0 && !strings.HasPrefix(there, "codec/"):
		return "a codec knows words and codecs only"
	case a == 0 && b == 0 && there != "fault":
		return "words stand alone, but for fault"
	case a == 2 && b == 2:
		return "a room never imports another room: declare a small interface, app plugs it in"
	case a == 3 && b == 3 && !(strings.HasPrefix(here, "pipeline") && there == "gate"):
		return "of the corridors only pipeline asks gate"
	case a == 4 && b == 4:
		return "doors never import each other"
	}
	return ""
}

// strays says why a package may not import an outside library.
func strays(here, imp string) string {
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	if strings.HasPrefix(imp, "golang.org/x/crypto/openpgp") {
		return "declared unsafe; use gopenpgp in seal"
	}
	if floor(here) == 0 && !strings.HasPrefix(imp, "golang.org/x/text") {
		return "words need the standard library only"
	}
	for lib, allowed := range homes {
		if imp != lib && !strings.HasPrefix(imp, lib+"/") {
			continue
		}
		if allowed == nil || slices.ContainsFunc(allowed, func(h string) bool { return here == h || strings.HasPrefix(here, h+"/") }) {
			return ""
		}
		return "its home is " + strings.Join(allowed, ", ")
	}
	return "a library without a home: give it a line in app/floors_test.go and docs/DEPENDENCIES.md"
}

func TestClimbs(t *testing.T) {
	for _, c := range []struct {
		here, there string
		ok          bool
	}{
		{"seal", "internal/pg", true}, {"seal", "directory", false}, {"smtpd", "pipeline", true}, {"pipeline", "smtpd", false},
		{"pipeline", "gate", true}, {"gate", "pipeline", false}, {"policy", "internal/pg", false}, {"policy", "internal/id", true},
		{"codec/xdm", "health", true}, {"codec/xdm", "internal/pg", false}, {"certs/demopki", "certs", true}, {"mail", "health", false},
		{"internal/house", "app", true}, {"internal/pg", "app", false}, {"imapd", "webd", false}, {"nowhere", "mail", false},
	} {
		if got := climbs(c.here, c.there); (got == "") != c.ok {
			t.Errorf("climbs(%s, %s) = %q", c.here, c.there, got)
		}
	}
}
