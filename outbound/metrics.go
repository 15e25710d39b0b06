package outbound

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count by closed sets of labels, never by peer.
type metrics struct {
	recipients *prometheus.CounterVec // result: delivered, failed, queued
	seconds    prometheus.Observer
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	return &metrics{
		recipients: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_outbound_recipients_total",
			Help: "Recipients attempted, by result."}, []string{"result"})),
		seconds: register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pli_outbound_attempt_seconds",
			Help: "One attempt at one item.", Buckets: prometheus.ExponentialBuckets(0.01, 3, 10)})),
	}
}

// register adds a collector, or returns the one there: commands make a second queue.
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

// observe counts an attempt and writes its one event: no domain, no address, no text.
func (q *Queue) observe(it *item, results []result, took time.Duration) {
	count := map[state]int{}
	var codes []string
	for _, r := range results {
		count[r.state]++
		q.metrics.recipients.WithLabelValues(string(r.state)).Inc()
		if !slices.Contains(codes, r.enhanced) {
			codes = append(codes, r.enhanced)
		}
	}
	q.metrics.seconds.Observe(took.Seconds())
	q.d.Log.Info("outbound: attempt", "outbound", it.id, "letter", it.letter, "attempt", it.attempts+1, "delivered", count[delivered],
		"failed", count[failed], "queued", count[queued], "status", strings.Join(codes, " "), "ms", took.Milliseconds())
}
