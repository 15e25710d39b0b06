package limit

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pli/fault"
)

// An account waits for itself, for a while, and never for another.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewTurns(2)
		ctx := context.Background()
		first, err := s.Take(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		second, _ := s.Take(ctx, 1)
		other, err := s.Take(ctx, 2)
		if err != nil {
			t.Fatal(err)
		}
		other()
		began := time.Now()
		if _, err := s.Take(ctx, 1); fault.KindOf(err) != fault.RateLimited || time.Since(began) != turnWait {
			t.Errorf("the third: %v after %v", err, time.Since(began))
		}
		go func() {
			time.Sleep(time.Second)
			first()
		}()
		third, err := s.Take(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		second()
		third()
		if len(s.of) != 0 {
			t.Errorf("%d accounts are kept", len(s.of))
		}
	})
}
