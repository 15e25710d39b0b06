package webd

import (
	"log/slog"
	"net/http/httptest"
	"testing"
)

// door is a server around a house, over TLS as browsers see it.
func door(t testing.TB, h *house) *httptest.Server {
	t.Helper()
	s, err := New(Deps{
		Config: Config{Operator: "Opérateur A (fictif)", Contact: "dpo@mss-a.example", AddressBook: AddressBook{LDAPHost: "annuaire.mss-a.example", LDAPPort: 389, LDAPS: 636,
			LDAPBase: "ou=annuaire,o=mssante,c=fr", CardDAV: "https://carnet.mss-a.example/"}},
		SignIn: h, Letterbox: h, Record: fakeRecord{h}, Exchanges: h, Cards: h, Submit: h, Practice: h, Listings: h.listings, Limit: h,
		TicketSecret: []byte("0123456789abcdef"),
		Spool:        func() (Spool, error) { return &memorySpool{}, nil }, Log: slog.New(slog.DiscardHandler), Now: h.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(s.Handler())
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}
