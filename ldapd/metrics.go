package ldapd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count; labels are means and results, never people or what they look for.
type metrics struct {
	connections       prometheus.Gauge
	refused           prometheus.Counter
	handshakeFailures prometheus.Counter
	binds             *prometheus.CounterVec // means, result
	searches          *prometheus.CounterVec // result
	seconds           prometheus.Histogram
	entries           prometheus.Counter
	others            *prometheus.CounterVec // operation, result
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		connections:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "pli_ldapd_connections", Help: "Connections open now."}),
		refused:           prometheus.NewCounter(prometheus.CounterOpts{Name: "pli_ldapd_refused_connections_total", Help: "Connections beyond a bound."}),
		handshakeFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: "pli_ldapd_handshake_failures_total", Help: "TLS handshakes that failed."}),
		binds: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_ldapd_binds_total", Help: "Binds, by means and result."},
			[]string{"means", "result"}),
		searches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_ldapd_searches_total", Help: "Searches, by result."}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pli_ldapd_search_seconds", Help: "Time from a search's request to its last answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 11)}),
		entries: prometheus.NewCounter(prometheus.CounterOpts{Name: "pli_ldapd_entries_total", Help: "Entries shown."}),
		others: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_ldapd_operations_total", Help: "Other operations, by result."},
			[]string{"operation", "result"}),
	}
	if r != nil {
		r.MustRegister(m.connections, m.refused, m.handshakeFailures, m.binds, m.searches, m.seconds, m.entries, m.others)
	}
	return m
}

func (m *metrics) searched(name string, entries int, started time.Time) {
	m.searches.WithLabelValues(name).Inc()
	m.entries.Add(float64(entries))
	m.seconds.Observe(time.Since(started).Seconds())
}
