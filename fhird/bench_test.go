package fhird

import "testing"

// BenchmarkPages measures whole answers, from the request under TLS to the last octet.
func BenchmarkPages(b *testing.B) {
	h := newHouse(b, func(_ *house, _ *Deps, c *Config) { c.MaxRequestsPerMinute, c.MaxResourcesPerHour = 1e9, 1e9 })
	h.publish(1000)
	for _, path := range []string{"/Practitioner?_count=200", "/PractitionerRole?_count=200", "/Practitioner?_count=200&_elements=name", "/Practitioner/rpps-89970000042"} {
		b.Run(path, func(b *testing.B) {
			found := 0
			for b.Loop() {
				a := h.get(path)
				found = 1
				if a.status != 200 {
					b.Fatal(a.status)
				}
				if path[len(path)-2:] != "42" {
					found = 200
				}
				b.SetBytes(int64(len(a.body)))
			}
			b.ReportMetric(float64(found)*float64(b.N)/b.Elapsed().Seconds(), "resources/s")
		})
	}
}
