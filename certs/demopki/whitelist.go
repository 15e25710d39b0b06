package demopki

import (
	"crypto/rsa"
	"crypto/tls"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// Entry is one (domain, certificate) pair of a white list (mssante.md §2.1).
type Entry struct{ Domain, Description, DN string }

// ListNamespace is that of the published list.
const ListNamespace = "https://listeblanche.mssante.fr/schema"

// SignWhiteList writes and signs a list as the published one is: enveloped signature,
// exclusive canonical form, RSA with SHA-256, the signer's certificate in KeyInfo.
func SignWhiteList(entries []Entry, at time.Time, cert []byte, key *rsa.PrivateKey) ([]byte, error) {
	doc := whiteList(entries, at)
	sctx := dsig.NewDefaultSigningContext(dsig.TLSCertKeyStore(tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}))
	sctx.Prefix = ""
	sctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := sctx.SetSignatureMethod(dsig.RSASHA256SignatureMethod); err != nil {
		return nil, err
	}
	signed, err := sctx.SignEnveloped(doc.Root())
	if err != nil {
		return nil, err
	}
	doc.SetRoot(signed)
	return doc.WriteToBytes()
}

// UnsignedWhiteList writes a list without signature, which every reader must refuse.
func UnsignedWhiteList(entries []Entry, at time.Time) ([]byte, error) {
	return whiteList(entries, at).WriteToBytes()
}

func whiteList(entries []Entry, at time.Time) *etree.Document {
	doc := etree.NewDocument()
	doc.CreateProcInst("xml", `version="1.0" encoding="UTF-8"`)
	root := doc.CreateElement("ListeBlancheMSSante")
	root.CreateAttr("xmlns", ListNamespace)
	stamp := at.UTC().Format(time.RFC3339)
	root.CreateElement("DateDeGeneration").SetText(stamp)
	list := root.CreateElement("ListeDomaines")
	for _, e := range entries {
		d := list.CreateElement("Domaine")
		for _, f := range [][2]string{{"Nom", e.Domain}, {"Description", e.Description}, {"DNCertificatOperateur", e.DN},
			{"ResponsableContact", "00 00 00 00 00, contact@alb.demo.example"},
			{"SupportContact", "00 00 00 00 00, contact@alb.demo.example"}, {"DateMAJ", stamp}} {
			d.CreateElement(f[0]).SetText(f[1])
		}
	}
	return doc
}
