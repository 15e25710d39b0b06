package certs

import (
	"crypto/x509"
	"encoding/base64"
	"strings"
	"unicode"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"pli/fault"
)

// Signature is what the one signature of a list shows before it is verified.
type Signature struct{ Certificate *x509.Certificate }

// The only algorithms accepted: those of the published list (mssante.md §2.1).
const (
	dsNamespace  = "http://www.w3.org/2000/09/xmldsig#"
	algEnveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	algExcC14N   = "http://www.w3.org/2001/10/xml-exc-c14n#"
	algRSASHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
	algSHA256    = "http://www.w3.org/2001/04/xmlenc#sha256"
)

// verifySignature checks the enveloped signature of a list and returns the octets that
// it covers, in canonical form. signer is asked whether the certificate in KeyInfo may
// sign; the key in there proves nothing by itself.
//
// Against wrapping (a valid signature over another element), the document must hold
// exactly one Signature, the last child of the root, with one Reference to the whole
// document, and only what that reference covers comes out.
func verifySignature(raw []byte, signer func(*Signature) error) ([]byte, error) {
	const op = "certs.verifySignature"
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(raw); err != nil || doc.Root() == nil {
		return nil, fault.New(fault.InvalidContent, op, "xml")
	}
	root := doc.Root()
	sig, code := onlySignature(root)
	if code != "" {
		return nil, fault.New(fault.Untrusted, op, code)
	}
	cert, code := checkShape(sig)
	if code != "" {
		return nil, fault.New(fault.Untrusted, op, code)
	}
	if err := signer(&Signature{cert}); err != nil {
		return nil, err
	}
	// goxmldsig looks for the signature from the top and stops after 1,000 elements.
	// An enveloped signature is taken out before the digest, so its place is free.
	root.RemoveChild(sig)
	root.InsertChildAt(0, sig)
	vctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}})
	vctx.Clock = dsig.NewFakeClockAt(cert.NotBefore) // validity is the signer function's affair
	verified, err := vctx.Validate(root)
	if err != nil {
		return nil, fault.New(fault.Untrusted, op, "signature")
	}
	out := etree.NewDocument()
	out.SetRoot(verified)
	b, err := out.WriteToBytes()
	return b, fault.Wrap(fault.Internal, op, "write", err)
}

// onlySignature returns the one Signature element, last child of root.
func onlySignature(root *etree.Element) (sig *etree.Element, code string) {
	count := 0
	var walk func(*etree.Element)
	walk = func(el *etree.Element) {
		for _, c := range el.ChildElements() {
			if c.Tag == "Signature" {
				count++
			}
			walk(c)
		}
	}
	walk(root)
	children := root.ChildElements()
	if count == 0 {
		return nil, "not-signed"
	}
	last := children[len(children)-1]
	if count > 1 || last.Tag != "Signature" || last.NamespaceURI() != dsNamespace {
		return nil, "signature-place"
	}
	return last, ""
}

// checkShape holds the signature to the published parameters and returns the
// certificate it names.
func checkShape(sig *etree.Element) (*x509.Certificate, string) {
	one := func(el *etree.Element, path ...string) *etree.Element {
		for _, tag := range path {
			var found []*etree.Element
			if el != nil {
				for _, c := range el.ChildElements() {
					if c.Tag == tag && c.NamespaceURI() == dsNamespace {
						found = append(found, c)
					}
				}
			}
			if len(found) != 1 {
				return nil
			}
			el = found[0]
		}
		return el
	}
	alg := func(el *etree.Element) string {
		if el == nil {
			return ""
		}
		return el.SelectAttrValue("Algorithm", "")
	}
	ref := one(sig, "SignedInfo", "Reference")
	transforms := one(ref, "Transforms")
	cert := one(sig, "KeyInfo", "X509Data", "X509Certificate")
	if ref == nil || transforms == nil || cert == nil || len(sig.ChildElements()) != 3 {
		return nil, "signature-shape"
	}
	uri := ref.SelectAttr("URI")
	ts := transforms.ChildElements()
	if uri == nil || uri.Value != "" || len(ts) != 2 || alg(ts[0]) != algEnveloped || alg(ts[1]) != algExcC14N ||
		len(ts[1].ChildElements()) != 0 || alg(one(sig, "SignedInfo", "CanonicalizationMethod")) != algExcC14N ||
		alg(one(sig, "SignedInfo", "SignatureMethod")) != algRSASHA256 || alg(one(ref, "DigestMethod")) != algSHA256 {
		return nil, "signature-parameters"
	}
	return decodeCertificate(cert.Text())
}

// decodeCertificate reads base64 whose lines end with a carriage return (&#13;).
func decodeCertificate(text string) (*x509.Certificate, string) {
	der, err := base64.StdEncoding.DecodeString(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text))
	if err != nil {
		return nil, "signer-certificate"
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, "signer-certificate"
	}
	return cert, ""
}
