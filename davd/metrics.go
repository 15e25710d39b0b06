package davd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count; labels are methods, places and statuses, never people nor what they
// look for.
type metrics struct {
	refused  prometheus.Counter
	requests *prometheus.CounterVec   // method, place, status
	seconds  *prometheus.HistogramVec // method
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "pli_davd_refused_connections_total", Help: "Connections beyond a bound."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_davd_requests_total", Help: "Requests done, by outcome."},
			[]string{"method", "place", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pli_davd_request_seconds", Help: "Time to answer a request.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9)}, []string{"method"}),
	}
	if r != nil {
		r.MustRegister(m.refused, m.requests, m.seconds)
	}
	return m
}

// statusClass keeps the label to a closed set.
func statusClass(status int) string {
	switch status {
	case 200, 207, 301, 304, 400, 401, 403, 404, 405, 413, 429, 500, 503, 504:
		return statusText[status]
	}
	return "other"
}

var statusText = map[int]string{200: "200", 207: "207", 301: "301", 304: "304", 400: "400", 401: "401", 403: "403", 404: "404", 405: "405",
	413: "413", 429: "429", 500: "500", 503: "503", 504: "504"}

func (m *metrics) done(method, place string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, place, statusClass(status)).Inc()
	m.seconds.WithLabelValues(method).Observe(took.Seconds())
}
