package national

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pli/codec/extraction"
)

// metrics by dataset ("correspondance", "activite") and outcome ("done", "refused",
// "failed"): closed sets.
type metrics struct {
	imports *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

const freshTimeout = 2 * time.Second

func (im *Importer) newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		imports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pli_national_imports_total", Help: "Imports of national extractions, by dataset and outcome.",
		}, []string{"dataset", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pli_national_import_seconds", Help: "How long imports took, by dataset.", Buckets: []float64{1, 5, 15, 30, 60, 120, 300, 900},
		}, []string{"dataset"}),
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.imports, m.seconds)
	for _, d := range []extraction.Dataset{extraction.Correspondances, extraction.Activities} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pli_national_age_seconds", Help: "Age of the extraction that is read; +Inf when it never came.",
			ConstLabels: prometheus.Labels{"dataset": string(d)},
		}, func() float64 { return im.age(d) }))
	}
	return m
}

// age is NaN when the database does not say.
func (im *Importer) age(d extraction.Dataset) float64 {
	ctx, cancel := context.WithTimeout(context.Background(), freshTimeout)
	defer cancel()
	all, err := im.Freshness(ctx)
	if err != nil {
		return math.NaN()
	}
	for _, f := range all {
		if f.Dataset == d && !f.ImportedAt.IsZero() {
			return f.Age(im.now()).Seconds()
		}
	}
	return math.Inf(1)
}
