package job

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the jobs run here, by kind and outcome ("done", "again", "parked",
// "failed"): closed sets, declared in code.
type metrics struct {
	runs    *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newMetrics() metrics {
	return metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pli_job_runs_total", Help: "Jobs run, by kind and outcome.",
		}, []string{"kind", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pli_job_run_seconds", Help: "How long jobs ran, by kind.",
			Buckets: []float64{.005, .025, .1, .5, 2.5, 10, 60, 300},
		}, []string{"kind"}),
	}
}

const parkedTimeout = 2 * time.Second

// Register shows the queue's metrics in reg, with how many jobs are parked (NaN when
// the database does not say).
func (q *Queue) Register(reg prometheus.Registerer) {
	parked := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pli_job_parked", Help: "Jobs that gave up and wait for somebody to look.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), parkedTimeout)
		defer cancel()
		n, err := q.Parked(ctx)
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	})
	reg.MustRegister(q.metrics.runs, q.metrics.seconds, parked)
}
