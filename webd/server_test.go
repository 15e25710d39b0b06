package webd

import (
	"log/slog"
	"net/http/httptest"
	"testing"
)

const testSecret = "0123456789abcdef"

func deps(h *house) Deps {
	return Deps{
		Config: Config{Operator: "Opérateur A (fictif)", Contact: "dpo@mss-a.example", AddressBook: AddressBook{LDAPHost: "annuaire.mss-a.example", LDAPPort: 389, LDAPS: 636,
			LDAPBase: "ou=annuaire,o=mssante,c=fr", CardDAV: "https://carnet.mss-a.example/"}},
		SignIn: h, Letterbox: h, Record: fakeRecord{h}, Exchanges: h, Cards: h, Submit: h, Practice: h, Listings: h.listings, Limit: h, TicketSecret: []byte(testSecret),
		Spool: func() (Spool, error) { return &memorySpool{}, nil }, Log: slog.New(slog.DiscardHandler), Now: h.Now,
	}
}

// door is a server around a house, over TLS as browsers see it.
func door(t testing.TB, h *house) *httptest.Server {
	t.Helper()
	return serve(t, deps(h))
}

func serve(t testing.TB, d Deps) *httptest.Server {
	t.Helper()
	s, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(s.Handler())
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}
