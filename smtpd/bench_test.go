package smtpd_test

import (
	"strings"
	"testing"

	"pli/smtpd"
)

// BenchmarkMessage measures the door alone: one connection, one message after another.
func BenchmarkMessage(b *testing.B) {
	for name, size := range map[string]int{"5KB": 5 << 10, "1MB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			r := start(b, smtpd.MX, false, smtpd.Config{})
			c := r.peer()
			body := letter + strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78) + ".\r\n"
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				c.do("MAIL FROM:<a@mss-b.example>", "250")
				c.do("RCPT TO:<b@mss-a.example>", "250")
				c.do("DATA", "354")
				c.send(body)
				c.want("message", "250")
				r.h.mu.Lock()
				r.h.taken = nil
				r.h.mu.Unlock()
			}
		})
	}
}
