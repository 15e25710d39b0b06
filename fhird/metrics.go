package fhird

import "github.com/prometheus/client_golang/prometheus"

// metrics count; labels are routes and statuses, never people.
type metrics struct {
	refused   prometheus.Counter
	seconds   *prometheus.HistogramVec // route, status
	resources *prometheus.CounterVec   // type
	signIns   *prometheus.CounterVec   // means, result
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "pli_fhird_refused_connections_total", Help: "Connections beyond a bound."}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pli_fhird_request_seconds", Help: "Time to answer a request.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9)}, []string{"route", "status"}),
		resources: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_fhird_resources_total", Help: "Resources shown."}, []string{"type"}),
		signIns:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pli_fhird_sign_ins_total", Help: "Credentials proven, those remembered excepted."}, []string{"means", "result"}),
	}
	if r != nil {
		r.MustRegister(m.refused, m.seconds, m.resources, m.signIns)
	}
	return m
}
