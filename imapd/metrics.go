package imapd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/fault"
)

// metrics count; labels are commands and fault kinds, never people.
type metrics struct {
	connections       prometheus.Gauge
	refused           prometheus.Counter
	handshakeFailures prometheus.Counter
	commands          *prometheus.CounterVec   // command, kind
	seconds           *prometheus.HistogramVec // command
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		connections:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "pli_imapd_connections", Help: "Connections open now."}),
		refused:           prometheus.NewCounter(prometheus.CounterOpts{Name: "pli_imapd_refused_connections_total", Help: "Connections beyond a bound."}),
		handshakeFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: "pli_imapd_handshake_failures_total", Help: "TLS handshakes that failed."}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_imapd_commands_total", Help: "Commands done, by outcome."},
			[]string{"command", "kind"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pli_imapd_command_seconds", Help: "Time to do a command.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9)}, []string{"command"}),
	}
	if r != nil {
		r.MustRegister(m.connections, m.refused, m.handshakeFailures, m.commands, m.seconds)
	}
	return m
}

func (m *metrics) done(command string, started time.Time, err error) {
	kind := "ok"
	if err != nil {
		kind = fault.KindOf(err).String()
	}
	m.commands.WithLabelValues(command, kind).Inc()
	m.seconds.WithLabelValues(command).Observe(time.Since(started).Seconds())
}
