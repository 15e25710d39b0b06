package search

import (
	"testing"

	"pli/fault"
	"pli/internal/pgtest"
)

type nowhere struct{}

func (nowhere) ForPatients(string) bool { return false }

// Whatever is asked, the database understands the statement that it becomes.
func TestOddValues(t *testing.T) {
	s := New(pgtest.DB(t), nowhere{})
	for _, v := range []string{"é", "a", "", " ", "\u2028", "\U0010FFFF", "'", `\`, "%", "_", "*", "&|!:", "<->", "a:b", "🙂🙂", "\u0301", "İ", "ß", "œ", "a'b", "0", "9223372036854775808", "x'", "\xff", "a\x00b", "-1"} {
		for f := Any; f < fields; f++ {
			for _, c := range []Cond{Equal{f, v}, Prefix{f, v}, Contains{f, v}, Words{f, v}, Not{Contains{f, v}}, And{Words{f, v}, Not{Prefix{f, ""}}}, Or{Equal{f, v}, Words{Any, "martin"}}} {
				if _, err := s.Search(t.Context(), Query{Where: c, Limit: 5, Fuzzy: true}); err != nil && !fault.Is(err, fault.Invalid) {
					t.Errorf("%d %T %q: %v", f, c, v, err)
				}
			}
		}
	}
}
