package davd_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"pli/app"
	"pli/internal/house"
)

// In a whole house: an app password opens the door, the BAL is found by its holder's
// name, and one trace tells of all that was asked.
func TestInAHouse(t *testing.T) {
	h := house.Start(t, house.Options{Change: func(c *app.Config) { c.DAV.Listen = "127.0.0.1:0" }})
	address, password := h.Professional(t, "nadia.hamdi")
	pool := x509.NewCertPool()
	b, err := os.ReadFile(h.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(b)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}}}
	ask := func(method, path, secret, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, "https://"+h.Addr("dav.listen")+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(address, secret)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	const query = `<C:addressbook-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><D:prop><C:address-data/></D:prop>` +
		`<C:filter test="anyof"><C:prop-filter name="FN"><C:text-match collation="i;unicode-casemap" match-type="contains">nadia</C:text-match></C:prop-filter>` +
		`<C:prop-filter name="EMAIL"><C:text-match match-type="contains">nadia</C:text-match></C:prop-filter></C:filter><C:limit><C:nresults>50</C:nresults></C:limit></C:addressbook-query>`
	if status, _ := ask("PROPFIND", "/carddav/", "wrong", ""); status != 401 {
		t.Errorf("a wrong password: %d", status)
	}
	for _, path := range []string{"/carddav/", "/carddav/moi/", "/carddav/livres/", "/carddav/livres/etablissement/", "/carddav/annuaire/"} {
		if status, text := ask("PROPFIND", path, password, ""); status != 207 {
			t.Errorf("%s: %d\n%s", path, status, text)
		}
	}
	if status, text := ask("REPORT", "/carddav/annuaire/", password, query); status != 207 || !strings.Contains(text, address) {
		t.Errorf("%d\n%s", status, text)
	}
	var traces int
	if err := h.DB.QueryRow(t.Context(), `SELECT count(*) FROM trace WHERE action = 'open-directory' AND means = 'carddav' AND effect = 'permit'`).Scan(&traces); err != nil || traces != 1 {
		t.Errorf("%d traces, %v", traces, err)
	}
}
