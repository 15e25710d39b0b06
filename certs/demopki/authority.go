package demopki

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Profile is what a certificate says.
type Profile struct {
	CN, OU, O, ST       string
	DNS                 []string
	IPs                 []net.IP
	Email               string
	EKU                 []x509.ExtKeyUsage
	CA                  bool
	NotBefore, NotAfter time.Time
}

func (p Profile) subject() pkix.Name {
	n := pkix.Name{CommonName: p.CN, Country: []string{"FR"}}
	for value, field := range map[string]*[]string{p.OU: &n.OrganizationalUnit, p.O: &n.Organization, p.ST: &n.Province} {
		if value != "" {
			*field = []string{value}
		}
	}
	return n
}

// Authority signs certificates and revocation lists.
type Authority struct {
	Cert *x509.Certificate
	Key  *rsa.PrivateKey
}

// NewKey makes an RSA key of the size that IGC-Santé servers use: the four suites that
// the trust space allows all need RSA (mssante.md §12.1).
func NewKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }

// NewAuthority makes an authority under parent, or a root when parent is nil.
func NewAuthority(parent *Authority, p Profile) (*Authority, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	p.CA = true
	a := &Authority{Key: key}
	if parent == nil {
		parent = a
	}
	der, err := parent.Issue(p, key)
	if err != nil {
		return nil, err
	}
	a.Cert, err = x509.ParseCertificate(der)
	return a, err
}

// Issue signs a certificate for key and returns it in DER.
func (a *Authority) Issue(p Profile, key *rsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	spki := sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: p.subject(), NotBefore: p.NotBefore, NotAfter: p.NotAfter,
		DNSNames: p.DNS, IPAddresses: p.IPs, ExtKeyUsage: p.EKU, SubjectKeyId: spki[:20],
		BasicConstraintsValid: true, IsCA: p.CA,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	if p.Email != "" {
		tmpl.EmailAddresses = []string{p.Email}
	}
	parent := tmpl // a root signs itself
	if p.CA {
		tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	if a.Cert != nil {
		parent = a.Cert
	}
	return x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, a.Key)
}

// CRL signs a revocation list, in PEM.
func (a *Authority) CRL(at, next time.Time, revoked ...*big.Int) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(at.Unix()), ThisUpdate: at, NextUpdate: next}
	for _, serial := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: at})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Cert, a.Key)
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), err
}

// PEM writes certificates one after the other.
func PEM(ders ...[]byte) []byte {
	var b bytes.Buffer
	for _, der := range ders {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a Buffer takes all
	}
	return b.Bytes()
}

// KeyPEM writes a private key (PKCS#8).
func KeyPEM(key *rsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // an RSA key always marshals
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// save writes a file whole or not at all.
func save(path string, b []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// load reads a certificate and its key back.
func load(path string) (*x509.Certificate, *rsa.PrivateKey, error) {
	pair, err := tls.LoadX509KeyPair(path+".pem", path+".key")
	if err != nil {
		return nil, nil, err
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("demopki: %s.key: not an RSA key", path)
	}
	return pair.Leaf, key, nil
}

// LoadAuthority reads an authority that Write made: "racine", "organisations",
// "personnes" or "web".
func LoadAuthority(dir, name string) (*Authority, error) {
	cert, key, err := load(filepath.Join(dir, "ac", name))
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}
