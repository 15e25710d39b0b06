package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"pli/app"
	"pli/directory"
	"pli/health"
	"pli/mail"
)

type accountCmd struct {
	Create struct {
		Professional createProfessionalCmd `cmd:"" help:"A person's BAL (PER)."`
		Service      createServiceCmd      `cmd:"" help:"A structure's BAL (ORG), or its software's (APP)."`
		Patient      createPatientCmd      `cmd:"" help:"A patient's BAL and dossier."`
	} `cmd:"" help:"Make a BAL with the account that opens it."`
	AppPassword struct {
		New    appPasswordNewCmd    `cmd:"" help:"Give a BAL a further app password."`
		List   appPasswordListCmd   `cmd:"" help:"List a BAL's app passwords."`
		Revoke appPasswordRevokeCmd `cmd:"" help:"End an app password."`
	} `cmd:"" name:"app-password" help:"Passwords of mail programs."`
	Certificate certificateCmd `cmd:"" help:"Tie a client certificate to a BAL."`
	TOTP        totpCmd        `cmd:"" name:"totp" help:"Give a person a new second factor."`
	State       stateCmd       `cmd:"" help:"Move a BAL along its life, as pli bal suspend, resume and close do."`
}

// secretFile reads a secret that the operator chose.
func secretFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

type boxFlags struct {
	Address     string `arg:"" help:"Address of the BAL."`
	Name        string `help:"Display name."`
	AppPassword string `help:"File that holds the app password; one is made and printed when absent." type:"existingfile" placeholder:"FILE"`
	FINESS      string `help:"FINESS of the structure." name:"finess"`
	Structure   string `help:"Name of the structure."`
	City        string `help:"City of the structure."`
	Sector      string `help:"Sector of activity (TRE_R02)."`
	Open        bool   `help:"Open to patients who write first."`
}

func (f boxFlags) box(kind health.BALKind) (app.NewBox, error) {
	a, err := mail.ParseAddress(f.Address)
	if err != nil {
		return app.NewBox{}, err
	}
	n := app.NewBox{Kind: kind, Address: a, DisplayName: f.Name, OpenToPatients: f.Open, AppPassword: "new"}
	if f.AppPassword != "" {
		if n.AppPassword, err = secretFile(f.AppPassword); err != nil {
			return n, err
		}
	}
	if f.FINESS != "" || f.Structure != "" {
		s := directory.Structure{Name: f.Structure, City: f.City, Sector: f.Sector, Country: "FR"}
		if f.FINESS != "" {
			if s.FINESS, err = health.ParseFINESS(f.FINESS); err != nil {
				return n, err
			}
		}
		n.Structure = &s
	}
	return n, nil
}

// create makes the BAL and prints its secrets, once.
func create(ctx context.Context, c *cli, n app.NewBox, given bool) error {
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	m, err := r.CreateBox(ctx, n)
	if err != nil {
		return told(err)
	}
	fmt.Println("bal", m.BAL)
	if m.AppPassword != "" && !given {
		fmt.Println("app password", m.AppPassword)
	}
	if m.TOTPSecret != "" {
		fmt.Println("totp secret", m.TOTPSecret)
		fmt.Println("totp url", m.TOTPURL)
	}
	return nil
}

type createProfessionalCmd struct {
	boxFlags
	Family     string `required:"" help:"Family name."`
	Given      string `required:"" help:"Given name."`
	RPPS       string `help:"National number." name:"rpps"`
	Profession string `help:"Profession (TRE_G15)." default:"10"`
	KnowHow    string `help:"Savoir-faire (TRE_R38)." name:"know-how"`
	webLogin
}

// webLogin opens the web to whoever the BAL is made for.
type webLogin struct {
	Login      string `help:"What the person types to sign in on the web."`
	Password   string `help:"File that holds the first password; needed with --login." type:"existingfile" placeholder:"FILE"`
	TOTPSecret string `help:"File that holds the TOTP secret, base32; one is made and printed when absent." name:"totp-secret" type:"existingfile" placeholder:"FILE"`
}

func (w webLogin) into(n *app.NewBox) (err error) {
	if (w.Login == "") != (w.Password == "") {
		return errors.New("--login and --password go together")
	}
	if w.Login == "" {
		return nil
	}
	n.Login = w.Login
	if n.Password, err = secretFile(w.Password); err != nil {
		return err
	}
	if w.TOTPSecret != "" {
		n.TOTPSecret, err = secretFile(w.TOTPSecret)
	}
	return err
}

func (p createProfessionalCmd) Run(ctx context.Context, c *cli) error {
	n, err := p.box(health.PER)
	if err != nil {
		return err
	}
	n.Person = &directory.Person{FamilyName: p.Family, GivenName: p.Given, Profession: p.Profession, KnowHow: p.KnowHow}
	if p.RPPS != "" {
		if n.Person.RPPS, err = health.ParseRPPS(p.RPPS); err != nil {
			return err
		}
	}
	if err := p.webLogin.into(&n); err != nil {
		return err
	}
	return create(ctx, c, n, p.AppPassword != "")
}

type createServiceCmd struct {
	boxFlags
	Kind        string `help:"ORG or APP." enum:"ORG,APP" default:"ORG"`
	Service     string `help:"Name of the service."`
	Certificate string `help:"PEM file of the client certificate that opens the BAL." type:"existingfile" placeholder:"FILE"`
}

func (s createServiceCmd) Run(ctx context.Context, c *cli) error {
	n, err := s.box(health.BALKind(s.Kind))
	if err != nil {
		return err
	}
	n.Service = s.Service
	if s.Certificate != "" {
		if n.Certificate, err = readCertificate(s.Certificate); err != nil {
			return err
		}
		if s.AppPassword == "" {
			n.AppPassword = ""
		}
	}
	return create(ctx, c, n, s.AppPassword != "")
}

type createPatientCmd struct {
	Address    string `arg:"" help:"Address of the BAL: the INS at the patients' domain."`
	OID        string `help:"OID of the INS." name:"oid" default:"1.2.250.1.213.1.4.8"`
	Traits     string `required:"" help:"File with the traits, one name=value per line: birth_name, first_birth_name, given_names, sex, birth_date, birth_place." type:"existingfile" placeholder:"FILE"`
	Login      string `required:"" help:"What the person types to sign in."`
	Password   string `required:"" help:"File that holds the first password." type:"existingfile" placeholder:"FILE"`
	TOTPSecret string `help:"File that holds the TOTP secret, base32; one is made when absent." name:"totp-secret" type:"existingfile" placeholder:"FILE"`
}

func (p createPatientCmd) Run(ctx context.Context, c *cli) error {
	a, err := mail.ParseAddress(p.Address)
	if err != nil {
		return err
	}
	n := app.NewBox{Kind: health.Patient, Address: a, OID: p.OID, Login: p.Login}
	if n.INS, err = health.ParseINS(a.Local()); err != nil {
		return err
	}
	if n.Traits, err = readTraits(p.Traits); err != nil {
		return err
	}
	if n.Password, err = secretFile(p.Password); err != nil {
		return err
	}
	if p.TOTPSecret != "" {
		if n.TOTPSecret, err = secretFile(p.TOTPSecret); err != nil {
			return err
		}
	}
	return create(ctx, c, n, true)
}

// readTraits reads name=value lines; traits are not given on a command line, where
// other users of the machine would see them.
func readTraits(path string) (health.Traits, error) {
	var t health.Traits
	b, err := os.ReadFile(path)
	if err != nil {
		return t, err
	}
	fields := map[string]*string{"birth_name": &t.BirthName, "first_birth_name": &t.FirstBirthName, "given_names": &t.GivenNames, "sex": &t.Sex,
		"birth_date": &t.BirthDate, "birth_place": &t.BirthPlace, "used_name": &t.UsedName, "used_first_name": &t.UsedFirstName}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		f, ok := fields[strings.TrimSpace(name)]
		if !ok {
			return t, fmt.Errorf("%s: unknown trait", path)
		}
		*f = strings.TrimSpace(value)
	}
	if !t.Complete() {
		return t, fmt.Errorf("%s: the five traits are needed", path)
	}
	return t, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM certificate", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

type appPasswordNewCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	Label   string `help:"Which program or device." default:"appareil"`
	Secret  string `help:"File that holds the secret, 20 characters or more; one is made and printed when absent." type:"existingfile" placeholder:"FILE"`
}

func (a appPasswordNewCmd) Run(ctx context.Context, c *cli) error {
	given := ""
	if a.Secret != "" {
		var err error
		if given, err = secretFile(a.Secret); err != nil {
			return err
		}
	}
	return withBox(ctx, c, a.Address, func(r *app.Rooms, address mail.Address) error {
		secret, err := r.NewAppPassword(ctx, address, a.Label, given)
		if err == nil && given == "" {
			fmt.Println("app password", secret)
		}
		return err
	})
}

type appPasswordListCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
}

func (a appPasswordListCmd) Run(ctx context.Context, c *cli) error {
	return withBox(ctx, c, a.Address, func(r *app.Rooms, address mail.Address) error {
		list, err := r.AppPasswords(ctx, address)
		for _, p := range list {
			state := "living"
			if !p.RevokedAt.IsZero() {
				state = "revoked " + p.RevokedAt.Format("2006-01-02")
			}
			fmt.Printf("%d\t%s\tmade %s\t%s\n", p.ID, p.Label, p.CreatedAt.Format("2006-01-02"), state)
		}
		return err
	})
}

type appPasswordRevokeCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	Number  int64  `arg:"" help:"Number, from list."`
}

func (a appPasswordRevokeCmd) Run(ctx context.Context, c *cli) error {
	return withBox(ctx, c, a.Address, func(r *app.Rooms, address mail.Address) error {
		return r.RevokeAppPassword(ctx, address, a.Number)
	})
}

type certificateCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	File    string `arg:"" help:"PEM file." type:"existingfile"`
}

func (a certificateCmd) Run(ctx context.Context, c *cli) error {
	cert, err := readCertificate(a.File)
	if err != nil {
		return err
	}
	return withBox(ctx, c, a.Address, func(r *app.Rooms, address mail.Address) error {
		return r.EnrolCertificate(ctx, address, cert)
	})
}

type totpCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	Login   string `help:"Name shown in the authenticator."`
}

func (a totpCmd) Run(ctx context.Context, c *cli) error {
	return withBox(ctx, c, a.Address, func(r *app.Rooms, address mail.Address) error {
		secret, url, err := r.EnrolTOTP(ctx, address, a.Login)
		if err == nil {
			fmt.Printf("totp secret %s\ntotp url %s\n", secret, url)
		}
		return err
	})
}

type stateCmd struct {
	Address string `arg:"" help:"Address of the BAL."`
	State   string `arg:"" help:"New state." enum:"active,suspended,closed"`
}

func (a stateCmd) Run(ctx context.Context, c *cli) error {
	return withBox(ctx, c, a.Address, func(r *app.Rooms, address mail.Address) error {
		return told(r.SetState(ctx, address, health.BALState(a.State)))
	})
}

func withBox(ctx context.Context, c *cli, address string, f func(*app.Rooms, mail.Address) error) error {
	a, err := mail.ParseAddress(address)
	if err != nil {
		return err
	}
	r, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	return f(r, a)
}
