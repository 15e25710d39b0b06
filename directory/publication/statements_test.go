package publication

import (
	"testing"

	"pli/internal/pgtest"
)

// Every statement is sound on the migrated schema.
func TestStatements(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	c, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	for _, sql := range []string{
		sqlChanged, sqlChangedUnsent, sqlClaim, sqlWhen, sqlTry, sqlSettle, sqlStep, sqlEnd, sqlLater, sqlSeed, sqlSuspended, sqlDue, sqlForget,
		sqlStatus, sqlFileStatus, sqlRefused, sqlCounts, sqlRetry,
		sqlLastPlaced, sqlUnplaced, sqlForgetFiles, sqlNewFile, sqlPlaced, sqlFileByName, sqlReported, sqlReportedAt,
	} {
		if _, err := c.Conn().Prepare(t.Context(), sql, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
