package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"

	"pli/audit"
	"pli/directory"
	"pli/dossier"
	"pli/health"
	"pli/identity"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
	"pli/seal"
)

// TermsVersion is the edition of the conditions of use that an operator's command
// accepts for the holder, who signed them on paper.
const TermsVersion = "2026-11"

// NewBox is a BAL to make with the account that opens it.
type NewBox struct {
	Kind    health.BALKind
	Address mail.Address

	// A professional's: PER and CAB have a person, ORG and APP a structure.
	Person         *directory.Person
	Structure      *directory.Structure
	Mode           string // how the person exercises there: L, S or B; "" is L
	DisplayName    string
	Service        string
	Description    string
	Responsible    string
	Hours          string
	Unlisted       bool // on the liste rouge
	OpenToPatients bool
	Rank           int   // 0 is after the holder's others
	QuotaSize      int64 // octets; 0 is the operator's default
	// Pending leaves the BAL shut until its holder accepts the conditions of use. It
	// is otherwise active: the holder signed them on paper.
	Pending bool
	// TermsVersion is the edition that was signed; "" is TermsVersion.
	TermsVersion string

	// A patient's.
	INS    health.INS
	OID    string
	Traits health.Traits

	// Login, Password and TOTPSecret (base32; one is made when empty) open the web.
	Login, Password, TOTPSecret string

	// AppPassword opens mail programs: a secret of 20 characters or more, "new" to have
	// one made, empty for none.
	AppPassword string
	// Certificate opens an application's BAL.
	Certificate *x509.Certificate
}

// Made is what came of a NewBox. The secrets are told once.
type Made struct {
	BAL         id.BAL
	Account     id.Account
	AppPassword string
	TOTPSecret  string
	TOTPURL     string
}

// CreateBox makes a BAL with its key, its standard mailboxes, its account and, for a
// patient, the dossier, in one transaction with its trace.
func (r *Rooms) CreateBox(ctx context.Context, n NewBox) (Made, error) {
	var traits []byte
	if n.Kind == health.Patient {
		var err error
		if traits, err = r.sealTraits(ctx, n); err != nil {
			return Made{}, err
		}
	}
	var m Made
	err := r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) (err error) {
		m, err = r.createBoxTx(ctx, tx, n, traits)
		return err
	})
	return m, err
}

func (r *Rooms) createBoxTx(ctx context.Context, tx *pg.Tx, n NewBox, traits []byte) (m Made, err error) {
	if err := r.createBALTx(ctx, tx, n, &m); err != nil {
		return m, err
	}
	if err := r.createAccountTx(ctx, tx, n, &m); err != nil {
		return m, err
	}
	if n.Kind == health.Patient {
		if err := r.createPatientTx(ctx, tx, n, traits, m); err != nil {
			return m, err
		}
	}
	return m, r.traceTx(ctx, tx, audit.BALChain(m.BAL), "create-bal", fmt.Sprintf("bal:%d", m.BAL))
}

func (r *Rooms) createBALTx(ctx context.Context, tx *pg.Tx, n NewBox, m *Made) error {
	holder, err := r.Seal.CreateHolderTx(ctx, tx, seal.PurposeBAL)
	if err != nil {
		return err
	}
	b := directory.NewBAL{Address: n.Address, Kind: n.Kind, State: health.Active, Holder: holder, DisplayName: n.DisplayName, Service: n.Service,
		Description: n.Description, Responsible: n.Responsible, Hours: n.Hours, Unlisted: n.Unlisted, OpenToPatients: n.OpenToPatients,
		Rank: n.Rank, QuotaSize: n.QuotaSize, TermsVersion: cmp.Or(n.TermsVersion, TermsVersion), At: r.now()}
	if n.Pending {
		b.State, b.TermsVersion = health.Pending, ""
	}
	if n.Structure != nil {
		if b.Structure, err = r.Directory.CreateStructureTx(ctx, tx, *n.Structure); err != nil {
			return err
		}
	}
	if n.Person != nil {
		if b.Person, err = r.Directory.CreatePersonTx(ctx, tx, *n.Person); err != nil {
			return err
		}
		if b.Structure != 0 {
			if err := r.Directory.CreateSituationTx(ctx, tx, b.Person, b.Structure, cmp.Or(n.Mode, "L"), r.now()); err != nil {
				return err
			}
		}
	}
	if m.BAL, err = r.Directory.CreateBALTx(ctx, tx, b); err != nil {
		return err
	}
	return r.Mail.CreateStandardTx(ctx, tx, m.BAL, r.now())
}

func (r *Rooms) createAccountTx(ctx context.Context, tx *pg.Tx, n NewBox, m *Made) (err error) {
	kind := identity.Professional
	switch n.Kind {
	case health.Patient:
		kind = identity.Patient
	case health.APP:
		kind = identity.Application
	}
	if m.Account, err = r.Identity.CreateAccountTx(ctx, tx, identity.NewAccount{Kind: kind, Login: n.Login, BALs: []id.BAL{m.BAL}}); err != nil {
		return err
	}
	if n.Password != "" {
		if err := r.Identity.SetPasswordTx(ctx, tx, m.Account, n.Password); err != nil {
			return err
		}
		if m.TOTPSecret, m.TOTPURL, err = r.Identity.EnrolTOTPTx(ctx, tx, m.Account, "Pli", n.Login, n.TOTPSecret); err != nil {
			return err
		}
	}
	if n.AppPassword != "" {
		given := n.AppPassword
		if given == "new" {
			given = ""
		}
		if m.AppPassword, err = r.Identity.NewAppPasswordTx(ctx, tx, m.Account, m.BAL, "premier appareil", given); err != nil {
			return err
		}
	}
	if n.Certificate != nil {
		return r.Identity.EnrolCertificateTx(ctx, tx, m.Account, m.BAL, n.Certificate)
	}
	return nil
}

// sealTraits seals who the patient is for the house's register.
func (r *Rooms) sealTraits(ctx context.Context, n NewBox) ([]byte, error) {
	b, err := json.Marshal(dossier.Identity{INS: n.INS.Reveal(), OID: n.OID, Traits: n.Traits})
	if err != nil {
		return nil, err
	}
	return register{r.Seal}.Seal(ctx, b)
}

func (r *Rooms) createPatientTx(ctx context.Context, tx *pg.Tx, n NewBox, traits []byte, m Made) error {
	class, ok := health.ClassOfOID(n.OID)
	if !ok {
		return fmt.Errorf("app.CreateBox: %q is no OID of INS", n.OID)
	}
	holder, err := r.Seal.CreateHolderTx(ctx, tx, seal.PurposeDossier)
	if err != nil {
		return err
	}
	register, err := r.Seal.House(ctx, seal.PurposeRegister)
	if err != nil {
		return err
	}
	public, err := r.Seal.Public(ctx, register)
	if err != nil {
		return err
	}
	_, err = r.Dossier.CreatePatientTx(ctx, tx, dossier.NewPatient{INSKey: r.Index.Key("ins", string(class), n.INS.Reveal()), Class: class,
		TraitsSealed: traits, Generation: public.Generation, Qualified: true, Holder: holder, BAL: m.BAL, Account: m.Account})
	return err
}

// NewAppPassword gives a BAL a further app password: given, or made when empty.
func (r *Rooms) NewAppPassword(ctx context.Context, a mail.Address, label, given string) (secret string, err error) {
	err = r.forBox(ctx, a, "new-app-password", func(ctx context.Context, tx *pg.Tx, acc id.Account, b id.BAL) (err error) {
		secret, err = r.Identity.NewAppPasswordTx(ctx, tx, acc, b, label, given)
		return err
	})
	return secret, err
}

// EnrolCertificate ties a client certificate to a BAL.
func (r *Rooms) EnrolCertificate(ctx context.Context, a mail.Address, cert *x509.Certificate) error {
	return r.forBox(ctx, a, "enrol-certificate", func(ctx context.Context, tx *pg.Tx, acc id.Account, b id.BAL) error {
		return r.Identity.EnrolCertificateTx(ctx, tx, acc, b, cert)
	})
}

// EnrolTOTP gives the account of a BAL a new second factor, and ends the former.
func (r *Rooms) EnrolTOTP(ctx context.Context, a mail.Address, name string) (secret, url string, err error) {
	err = r.forBox(ctx, a, "enrol-totp", func(ctx context.Context, tx *pg.Tx, acc id.Account, _ id.BAL) (err error) {
		secret, url, err = r.Identity.EnrolTOTPTx(ctx, tx, acc, "Pli", name, "")
		return err
	})
	return secret, url, err
}

// forBox runs f for the account that opens a BAL, with a trace, in one transaction.
func (r *Rooms) forBox(ctx context.Context, a mail.Address, action string, f func(context.Context, *pg.Tx, id.Account, id.BAL) error) error {
	return r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		b, err := r.Directory.Find(ctx, tx, a)
		if err != nil {
			return err
		}
		acc, err := r.Identity.AccountOf(ctx, tx, b.ID)
		if err != nil {
			return err
		}
		if err := f(ctx, tx, acc, b.ID); err != nil {
			return err
		}
		return r.traceTx(ctx, tx, audit.BALChain(b.ID), action, fmt.Sprintf("bal:%d", b.ID))
	})
}

// traceTx records what the operator did by command.
func (r *Rooms) traceTx(ctx context.Context, tx *pg.Tx, chain, action, object string) error {
	return r.Audit.AppendTx(ctx, tx, audit.Entry{Chain: chain, Actor: "house", Action: action, Object: object, Permit: true,
		Rules: []string{"operator-command"}, Means: "command", At: r.now()})
}

// AppPasswords lists the app passwords of a BAL's account.
func (r *Rooms) AppPasswords(ctx context.Context, a mail.Address) ([]identity.AppPasswordInfo, error) {
	acc, err := r.accountOf(ctx, a)
	if err != nil {
		return nil, err
	}
	return r.Identity.AppPasswords(ctx, acc)
}

// RevokeAppPassword ends one.
func (r *Rooms) RevokeAppPassword(ctx context.Context, a mail.Address, n int64) error {
	acc, err := r.accountOf(ctx, a)
	if err != nil {
		return err
	}
	return r.Identity.RevokeAppPassword(ctx, acc, n)
}

func (r *Rooms) accountOf(ctx context.Context, a mail.Address) (id.Account, error) {
	b, err := r.Directory.Find(ctx, r.DB, a)
	if err != nil {
		return 0, err
	}
	return r.Identity.AccountOf(ctx, r.DB, b.ID)
}

// RotateBox gives a BAL a new key pair: new letters use it, old ones stay readable.
func (r *Rooms) RotateBox(ctx context.Context, address string) error {
	a, err := mail.ParseAddress(address)
	if err != nil {
		return err
	}
	b, err := r.Directory.Find(ctx, r.DB, a)
	if err != nil {
		return err
	}
	if err := r.Seal.Rotate(ctx, b.Holder); err != nil {
		return err
	}
	return r.DB.InTx(ctx, func(ctx context.Context, tx *pg.Tx) error {
		return r.traceTx(ctx, tx, audit.BALChain(b.ID), "rotate-key", fmt.Sprintf("bal:%d", b.ID))
	})
}
