package resource

import (
	"testing"

	"pli/codec/fhir"
	"pli/fault"
	"pli/internal/pgtest"
)

// Whatever is asked, the database understands the statement that it becomes.
func TestOddValues(t *testing.T) {
	db := pgtest.DB(t)
	s := New(db, "")
	values := []string{"é", "é1", "1é", "8é", "\U0010FFFF", "\u2028", "œ", "'", `\\`, `\,`, "%_", "a|b", "|", "|é", "é|", "é|é", "Practitioner/é", "x", "-1", "0001", "9999", "ge9999-12-31T23:59:59",
		"true", "\u0301", "🙂🙂🙂", "finess-", "İİİ", "ß", "..."}
	for _, spec := range Catalogue() {
		for _, p := range spec.Params {
			names := []string{p.Name}
			for _, m := range p.Modifiers {
				names = append(names, p.Name+":"+m)
			}
			for _, c := range p.Chained {
				names = append(names, p.Name+"."+c, p.Name+"."+c+":exact", p.Name+"."+c+":contains", p.Name+"."+c+":missing")
			}
			for _, n := range names {
				for _, v := range values {
					q, issues := fhir.Parse(Catalogue(), spec.Type, []fhir.Pair{{Name: n, Value: v}}, true)
					if len(issues) > 0 {
						continue
					}
					if _, err := s.Search(t.Context(), q, ""); err != nil && !fault.Is(err, fault.Invalid) {
						t.Errorf("%s?%s=%q: %v", spec.Type, n, v, err)
					}
				}
			}
		}
	}
}
