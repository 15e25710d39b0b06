package publication

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/codec/fhir"
)

type metrics struct {
	patches *prometheus.CounterVec // operation, result: done, refused, failed
	seconds prometheus.Observer
	lines   *prometheus.CounterVec // result: written, accepted, refused
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	return &metrics{
		patches: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_publication_patches_total",
			Help: "Changes sent to the national directory, by operation and result."}, []string{"operation", "result"})),
		seconds: register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pli_publication_patch_seconds",
			Help: "One change sent.", Buckets: prometheus.ExponentialBuckets(0.01, 3, 10)})),
		lines: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_publication_lines_total",
			Help: "Lines of daily files, written and as reported."}, []string{"result"})),
	}
}

// register adds a collector, or returns the one there: commands make a second publisher.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if there, ok := already.ExistingCollector.(C); ok {
			return there
		}
	}
	return c
}

func (m *metrics) sent(operation fhir.PatchType, result string, took time.Duration) {
	m.patches.WithLabelValues(string(operation), result).Inc()
	m.seconds.Observe(took.Seconds())
}
