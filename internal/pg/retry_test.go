package pg

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pli/fault"
)

// A deadlock that a room translated on the way is still one: InTx must run again.
func TestRetryableSeesThroughTranslation(t *testing.T) {
	deadlock := &pgconn.PgError{Code: "40P01"}
	for _, err := range []error{
		deadlock,
		Error("audit.AppendTx", deadlock),
		fault.Wrap(fault.Unavailable, "gate.Do", "trace", Error("audit.AppendTx", &pgconn.PgError{Code: "40001"})),
	} {
		if !retryable(err) {
			t.Errorf("%v is not run again", err)
		}
	}
	for _, err := range []error{
		nil,
		errors.New("other"),
		Error("x", &pgconn.PgError{Code: "23505", ConstraintName: "c"}),
		fault.New(fault.Conflict, "x", "taken"),
	} {
		if retryable(err) {
			t.Errorf("%v is run again", err)
		}
	}
}
