package smtpd

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count by closed sets of labels, never by peer or person.
type metrics struct {
	connections  prometheus.Gauge
	refused      *prometheus.CounterVec // reason: all, source, no-tls
	received     prometheus.Counter
	transactions *prometheus.CounterVec // result: "accepted", "aborted", or a fault kind
	seconds      prometheus.Observer
	signIns      *prometheus.CounterVec // means, result
}

func newMetrics(reg prometheus.Registerer, mode Mode) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"mode": string(mode)}, reg)
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pli_smtpd_transaction_seconds",
		Help: "From MAIL to the last reply.", Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 10)})
	return &metrics{
		connections: register(reg, prometheus.NewGauge(prometheus.GaugeOpts{Name: "pli_smtpd_connections_count", Help: "Connections open."})),
		refused: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_smtpd_connections_refused_total",
			Help: "Connections that got nowhere, by reason."}, []string{"reason"})),
		received: register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: "pli_smtpd_received_octets_total", Help: "Octets from the network."})),
		transactions: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_smtpd_transactions_total",
			Help: "Mail transactions, by result."}, []string{"result"})),
		seconds: register(reg, seconds),
		signIns: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_smtpd_signins_total",
			Help: "Sign-ins, by means and result."}, []string{"means", "result"})),
	}
}

// register adds a collector, or returns the one that another door of the same mode added.
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
