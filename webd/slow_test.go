package webd

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// deadlined notes until when a request may be read.
type deadlined struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (d *deadlined) SetReadDeadline(t time.Time) error {
	d.until = t
	return nil
}

// A stranger could hold a connection for ten minutes by sending the sign-in form an octet
// at a time.
func TestStrangersFormComesAtOnce(t *testing.T) {
	srv := door(t, newHouse())
	r := httptest.NewRequest("POST", "https://pli.example/connexion", strings.NewReader("identifiant="))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := &deadlined{ResponseRecorder: httptest.NewRecorder()}
	srv.Config.Handler.ServeHTTP(w, r)
	if w.until.IsZero() || time.Until(w.until) > pageTime {
		t.Errorf("the body may take until %v", w.until)
	}
}
