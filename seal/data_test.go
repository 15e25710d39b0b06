package seal

import (
	"math/rand/v2"
	"strings"
)

// text makes n octets that compress as letters do; chance makes n that do not.
func text(n int) []byte {
	words := strings.Fields("patient courrier compte rendu biologie glycémie hémoglobine le la de du consultation " +
		"docteur madame monsieur bilan traitement matin soir mg contrôle dans trois semaines")
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = append(b, words[r.IntN(len(words))]...)
		b = append(b, " \r\n"[r.IntN(2)])
	}
	return b[:n]
}

func chance(n int) []byte {
	r := rand.NewChaCha8([32]byte{3})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}
