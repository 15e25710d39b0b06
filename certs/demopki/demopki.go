// Package demopki makes a PKI shaped like IGC-Santé for demonstrations and tests: a
// root, the authority for organisations, servers, ORG clients, a person card, revocation
// lists and a signed white list. Its names say TEST and its people do not exist.
package demopki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

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
	CA                string // what clients and browsers of the demo trust: the roots, PEM
	Roots             string // the IGC-like root, PEM
	Intermediates     string // PEM
	CRLs              []string
	WhiteList         string
	WhiteListSigner   string // its CN
	WebCert, WebKey   string // for https://localhost
	CardCert, CardKey string // a person's card
	Operators         map[string]OperatorPaths
}

// OperatorPaths are the files of one operator.
type OperatorPaths struct {
	ServerCert, ServerKey string             // also shown when relaying
	Clients               map[string]KeyPair // by Client.Name
}

// KeyPair is a certificate with its chain, and its key, both PEM.
type KeyPair struct{ Cert, Key string }

// Signer is the CN that signs the demo's white list.
const Signer = "alb.demo.example"

const (
	crlLife    = 30 * 24 * time.Hour
	renewCRL   = 15 * 24 * time.Hour
	renewCert  = 30 * 24 * time.Hour
	leafLife   = 3 * 365 * 24 * time.Hour
	caLife     = 10 * 365 * 24 * time.Hour
	resignList = 24 * time.Hour
)

// writer is one run of Write.
type writer struct {
	dir string
	now time.Time
}

// Write makes what is missing or about to expire in dir and keeps what is valid.
// Revocation lists last 30 days, the white list is signed anew when its domains
// change or it is older than a day. Private keys are readable by their owner only.
func Write(dir string, ops []Operator, now time.Time) (Paths, error) {
	w := &writer{dir, now.UTC().Truncate(time.Second)}
	root, err := w.authority(nil, "racine", "TEST AC RACINE PLI-DEMO ELEMENTAIRE")
	if err != nil {
		return Paths{}, err
	}
	var orgs, persons, web *Authority
	if err := parallel(
		func() (err error) {
			orgs, err = w.authority(root, "organisations", "TEST AC PLI-DEMO ELEMENTAIRE ORGANISATIONS")
			return
		},
		func() (err error) {
			persons, err = w.authority(root, "personnes", "TEST AC PLI-DEMO ELEMENTAIRE PERSONNES")
			return
		},
		func() (err error) { web, err = w.authority(nil, "web", "TEST AC RACINE PLI-DEMO WEB"); return },
	); err != nil {
		return Paths{}, err
	}
	p := w.paths(ops)
	if err := parallel(w.leaves(p, ops, orgs, persons, web)...); err != nil {
		return Paths{}, err
	}
	return p, errors.Join(
		w.text(p.Roots, PEM(root.Cert.Raw)),
		w.text(p.Intermediates, PEM(orgs.Cert.Raw, persons.Cert.Raw)),
		w.text(p.CA, PEM(root.Cert.Raw, web.Cert.Raw)),
		w.crl(p.CRLs[0], root), w.crl(p.CRLs[1], orgs), w.crl(p.CRLs[2], persons),
		w.whiteList(p, ops),
	)
}

func (w *writer) paths(ops []Operator) Paths {
	in := func(s ...string) string { return filepath.Join(append([]string{w.dir}, s...)...) }
	p := Paths{
		CA: in("ca.pem"), Roots: in("racines.pem"), Intermediates: in("intermediaires.pem"),
		CRLs:      []string{in("crl", "racine.pem"), in("crl", "organisations.pem"), in("crl", "personnes.pem")},
		WhiteList: in("listeblanche.xml"), WhiteListSigner: Signer,
		WebCert: in("web.pem"), WebKey: in("web.key"), CardCert: in("carte.pem"), CardKey: in("carte.key"),
		Operators: map[string]OperatorPaths{},
	}
	for _, op := range ops {
		o := OperatorPaths{ServerCert: in(op.Name, "serveur.pem"), ServerKey: in(op.Name, "serveur.key"), Clients: map[string]KeyPair{}}
		for _, c := range op.Clients {
			o.Clients[c.Name] = KeyPair{in(op.Name, c.Name+".pem"), in(op.Name, c.Name+".key")}
		}
		p.Operators[op.Name] = o
	}
	return p
}

// leaves lists the certificates to make, one function each: key generation is what
// takes the time.
func (w *writer) leaves(p Paths, ops []Operator, orgs, persons, web *Authority) []func() error {
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	local := []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback}
	one := func(a *Authority, path string, pr Profile) func() error {
		return func() error { return w.leaf(a, strings.TrimSuffix(path, ".pem"), pr) }
	}
	out := []func() error{
		one(orgs, filepath.Join(w.dir, "alb.pem"), Profile{CN: Signer, O: "PLI DEMO", OU: "300000000000000", ST: "Paris (75)",
			Email: "alb@alb.demo.example", EKU: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}),
		one(web, p.WebCert, Profile{CN: "localhost", O: "PLI DEMO", DNS: []string{"localhost"}, IPs: local,
			EKU: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}),
		one(persons, p.CardCert, Profile{CN: "810000000001", OU: "Médecin", O: "PLI DEMO", EKU: client}),
	}
	for _, op := range ops {
		out = append(out, one(orgs, p.Operators[op.Name].ServerCert, Profile{CN: op.Host, O: op.Organisation, OU: "1" + op.FINESS,
			ST: "Paris (75)", DNS: []string{op.Host, "localhost"}, IPs: local, EKU: both}))
		for _, c := range op.Clients {
			out = append(out, one(orgs, p.Operators[op.Name].Clients[c.Name].Cert, Profile{CN: c.Host, O: c.Organisation,
				OU: "1" + c.FINESS, ST: "Paris (75)", EKU: client}))
		}
	}
	return out
}

// authority keeps a valid authority or makes a new one; a root when parent is nil.
func (w *writer) authority(parent *Authority, name, cn string) (*Authority, error) {
	p := Profile{CN: cn, O: "PLI DEMO", OU: "IGC-SANTE TEST", NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(caLife)}
	if old, err := LoadAuthority(w.dir, name); err == nil {
		signer := parent
		if signer == nil {
			signer = old
		}
		if w.still(old.Cert, signer, p) {
			return old, nil
		}
	}
	a, err := NewAuthority(parent, p)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(w.dir, "ac", name)
	return a, errors.Join(save(path+".key", KeyPEM(a.Key), 0o600), save(path+".pem", PEM(a.Cert.Raw), 0o644))
}

// leaf keeps a valid certificate or makes a new one with a new key. The file holds the
// chain without the root, as servers send it.
func (w *writer) leaf(a *Authority, path string, p Profile) error {
	if old, _, err := load(path); err == nil && w.still(old, a, p) {
		return nil
	}
	key, err := NewKey()
	if err != nil {
		return err
	}
	p.NotBefore, p.NotAfter = w.now.Add(-time.Hour), w.now.Add(leafLife)
	der, err := a.Issue(p, key)
	if err != nil {
		return err
	}
	chain := [][]byte{der}
	if !bytes.Equal(a.Cert.RawIssuer, a.Cert.RawSubject) {
		chain = append(chain, a.Cert.Raw)
	}
	return errors.Join(save(path+".key", KeyPEM(key), 0o600), save(path+".pem", PEM(chain...), 0o644))
}

// still reports whether an old certificate says what p says, comes from a, and lasts.
func (w *writer) still(old *x509.Certificate, a *Authority, p Profile) bool {
	sameIPs := slices.EqualFunc(old.IPAddresses, p.IPs, func(a, b net.IP) bool { return a.Equal(b) })
	return old.CheckSignatureFrom(a.Cert) == nil && old.Subject.String() == p.subject().String() &&
		slices.Equal(old.DNSNames, p.DNS) && sameIPs && slices.Equal(old.ExtKeyUsage, p.EKU) &&
		w.now.After(old.NotBefore) && w.now.Add(renewCert).Before(old.NotAfter)
}

func (w *writer) text(path string, b []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b) {
		return nil
	}
	return save(path, b, 0o644)
}

func (w *writer) crl(path string, a *Authority) error {
	if old, err := os.ReadFile(path); err == nil {
		if block, _ := pem.Decode(old); block != nil {
			list, err := x509.ParseRevocationList(block.Bytes)
			if err == nil && list.CheckSignatureFrom(a.Cert) == nil && w.now.Add(renewCRL).Before(list.NextUpdate) && !w.now.Before(list.ThisUpdate) {
				return nil
			}
		}
	}
	b, err := a.CRL(w.now.Add(-time.Minute), w.now.Add(crlLife))
	if err != nil {
		return err
	}
	return save(path, b, 0o644)
}

// whiteList signs the list of the operators' domains, unless the one there says the
// same and is fresh. A file beside it remembers what it says.
func (w *writer) whiteList(p Paths, ops []Operator) error {
	cert, key, err := load(filepath.Join(w.dir, "alb"))
	if err != nil {
		return err
	}
	var entries []Entry
	for _, op := range ops {
		for _, d := range op.Domains {
			entries = append(entries, Entry{Domain: d, Description: "Domaine de démonstration, " + op.Organisation, DN: op.DN()})
		}
	}
	sum := sha256.Sum256(fmt.Appendf(cert.Raw, "%q", entries))
	says := hex.EncodeToString(sum[:]) + "\n"
	at := w.now
	if info, err := os.Stat(p.WhiteList); err == nil {
		old, err := os.ReadFile(p.WhiteList + ".sum")
		age := at.Sub(info.ModTime())
		if err == nil && string(old) == says && age < resignList && age > -time.Minute {
			return nil
		}
	}
	b, err := SignWhiteList(entries, at, cert.Raw, key)
	if err != nil {
		return err
	}
	return errors.Join(save(p.WhiteList, b, 0o644), os.Chtimes(p.WhiteList, at, at), save(p.WhiteList+".sum", []byte(says), 0o644))
}

// DN is the operator's line in the white list.
func (op Operator) DN() string {
	return fmt.Sprintf("CN=%s,OU=1%s,O=%s,ST=Paris (75),C=FR", op.Host, op.FINESS, op.Organisation)
}

// parallel runs all and returns what failed.
func parallel(fs ...func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(fs))
	for i, f := range fs {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
