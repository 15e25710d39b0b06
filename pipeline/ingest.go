package pipeline

import (
	"context"
	"errors"

	"pli/internal/id"
)

// IngestJob asks for the archive of a letter to be read and its reports filed. One per
// recipient; running it twice files once.
type IngestJob struct {
	Letter id.Letter `json:"letter"`
	BAL    id.BAL    `json:"bal"`
}

// Kind names the job (internal/job).
func (IngestJob) Kind() string { return "ingest" }

// Ingester files attached reports.
type Ingester struct{}

// Ingest is the handler of IngestJob.
func (g *Ingester) Ingest(ctx context.Context, j IngestJob) error { return errors.ErrUnsupported }
