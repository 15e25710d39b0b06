package webd

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"net"
	"net/smtp"
	"os"
	"strings"
	"testing"
	"time"

	"pli/internal/sample"
)

var siteLetters = flag.Bool("letters", false, "with -site: first send the patient letters worth a picture")

// siteDemo is demo.json, as far as the pictures need it.
type siteDemo struct {
	CA        string
	Operators []struct{ Web, Submissions string }
	Accounts  []siteAccount
}

type siteAccount struct {
	Operator                            int
	Kind, Address, Login, Password, INS string
	TOTP                                string `json:"totp_secret"`
	Cert                                string `json:"client_cert"`
	Key                                 string `json:"client_key"`
}

// from finds the account whose address begins so.
func (d siteDemo) from(t *testing.T, start string) siteAccount {
	t.Helper()
	for _, a := range d.Accounts {
		if strings.HasPrefix(a.Address, start) {
			return a
		}
	}
	t.Fatalf("nobody in the demo is %s…", start)
	return siteAccount{}
}

// sendLetters gives Jeanne Petit, of the demo's cast, something to read.
func (d siteDemo) sendLetters(t *testing.T, to siteAccount) {
	p := sample.Person{INS: to.INS, OID: "1.2.250.1.213.1.4.10", BirthName: "PETIT", FirstName: "JEANNE", GivenNames: "JEANNE MARIE", Sex: "F", BirthDate: "19580312", BirthPlace: "99999"}
	report := sample.Report(p)
	report.ID, report.SetID = "2.25.990042.77.1", "2.25.990042.77"
	report.Created = time.Now().AddDate(0, 0, -2)
	haddad, office, lab := d.from(t, "karim.haddad@"), d.from(t, "preadmission-chirurgie@"), d.from(t, "labo-halles@")
	d.send(t, office, sample.Mail{From: office.Address, To: to.Address, FromName: "Préadmission chirurgie", Subject: "Votre opération du genou : documents à envoyer", Date: time.Now(),
		Text:        "Bonjour Madame Petit,\r\n\r\nVotre opération est prévue le 24. Merci de nous envoyer votre carte de groupe sanguin et la liste de vos traitements une semaine avant.\r\n\r\nLe secrétariat de chirurgie\r\n",
		Attachments: []sample.File{{Name: "Préparer mon séjour.pdf", MediaType: "application/pdf", Content: sample.PDF("Préparer mon séjour", "À jeun dès minuit.")}}})
	m := sample.ReportMail(lab.Address, to.Address, sample.Archive{Items: []sample.Item{sample.ItemOf(report)}}.Bytes(), report)
	m.Date, m.FromName, m.Receipt = time.Now(), "Laboratoire des Halles", lab.Address
	d.send(t, lab, m)
	second := report
	second.ID, second.SetID, second.Title = "2.25.990042.78.1", "2.25.990042.78", "Bilan sanguin avant l'opération"
	d.send(t, haddad, sample.Mail{From: haddad.Address, To: to.Address, FromName: "HADDAD Karim", Subject: "Vos résultats avant l'opération", Receipt: haddad.Address, Date: time.Now(),
		Text: "Bonjour Madame Petit,\r\n\r\nVos analyses sont bonnes : l'opération peut avoir lieu. Je vous joins le bilan et l'ordonnance pour la kinésithérapie.\r\n\r\nPassez me voir jeudi si la douleur revient.\r\n\r\nDr K. Haddad\r\n",
		Attachments: []sample.File{
			{Name: "IHE_XDM.ZIP", MediaType: "application/zip", Content: sample.Archive{Items: []sample.Item{sample.ItemOf(second)}}.Bytes()},
			{Name: "ordonnance.pdf", MediaType: "application/pdf", Content: sample.PDF("Ordonnance", "Kinésithérapie, dix séances.")},
		}})
	time.Sleep(3 * time.Second) // the document job, the relay between operators
}

// send submits over TLS, with the account's password or its certificate.
func (d siteDemo) send(t *testing.T, a siteAccount, m sample.Mail) {
	t.Helper()
	pem, err := os.ReadFile(d.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conf := &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	if a.Cert != "" {
		pair, err := tls.LoadX509KeyPair(a.Cert, a.Key)
		if err != nil {
			t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	_, port, _ := net.SplitHostPort(d.Operators[a.Operator].Submissions)
	conn, err := tls.Dial("tcp", "localhost:"+port, conf)
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var auth smtp.Auth = external(a.Address)
	if a.Cert == "" {
		auth = smtp.PlainAuth("", a.Address, a.Password, "localhost")
	}
	if err := c.Auth(auth); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail(a.Address); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(m.To); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err == nil {
		_, err = w.Write(m.Bytes())
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// external is SASL EXTERNAL: the certificate speaks, for this address.
type external string

func (e external) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "EXTERNAL", []byte(e), nil
}
func (external) Next([]byte, bool) ([]byte, error) { return nil, nil }
