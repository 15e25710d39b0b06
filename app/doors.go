package app

import (
	"cmp"
	"net"
	"runtime/debug"
	"strconv"

	"pli/davd"
	"pli/directory/resource"
	"pli/fhird"
	"pli/imapd"
	"pli/internal/ticket"
	"pli/ldapd"
	"pli/smtpd"
	"pli/webd"
)

// smtpDoors are those by which mail comes in: from operators, and from users.
func (h *House) smtpDoors() ([]door, error) {
	c := h.Config.SMTP
	deps := smtpd.Deps{Config: smtpd.Config{Hostname: h.Config.Operator.Hostname, MaxMessageSize: c.MaxSize}, Trust: h.Trust, Inbound: h.Pipeline,
		Outgoing: h.Pipeline, Accounts: h.Identity, Log: h.log, Metrics: h.metrics, Now: h.now}
	mx, users := deps, deps
	mx.Mode, mx.TLS = smtpd.MX, h.Trust.MXServer()
	users.Mode, users.TLS = smtpd.Submission, h.Trust.Submission()
	mxServer, userServer := smtpd.New(mx), smtpd.New(users)
	return []door{
		{name: "smtp.mx", addr: c.MX, serve: mxServer.Serve},
		{name: "smtp.submission", addr: c.Submission, serve: userServer.Serve},
		{name: "smtp.submissions", addr: c.Submissions, serve: userServer.ServeTLS},
	}, nil
}

// imapDoors are those by which mail is read.
func (h *House) imapDoors() ([]door, error) {
	s := imapd.New(imapd.Deps{DB: h.DB, Mail: h.Mail, SignIn: h.Identity, Reader: h.Reader, Filer: h.Pipeline, Wake: h.Wake, TLS: h.Trust.IMAP(),
		VerifyClient: h.Trust.VerifyClient, Log: h.log, Now: h.now, Metrics: h.metrics}, imapd.Config{MaxSize: h.Config.SMTP.MaxSize})
	return []door{
		{name: "imap.imap", addr: h.Config.IMAP.IMAP, serve: s.Serve},
		{name: "imap.imaps", addr: h.Config.IMAP.IMAPS, serve: s.ServeTLS},
	}, nil
}

// webDoors is the one by which people come in.
func (h *House) webDoors() ([]door, error) {
	cfg := h.Config
	rooms := &webd.House{DB: h.DB, Identity: h.Identity, Directory: h.Directory, Consent: h.Consent,
		Mail: h.Mail, Gate: h.Gate, Reader: h.Reader, Pipeline: h.Pipeline, Record: h.Record, SpoolDir: cfg.Blobs.SpoolDir,
		Hostname: cfg.Operator.Hostname, Log: h.log, Now: h.now}
	rooms.Search, rooms.TicketSecret, rooms.Limit = h.Search, h.ticketSecret("web"), h.Limit
	rooms.Turns = h.Turns
	deps := rooms.Deps(webd.Config{Operator: cfg.Operator.Name, Contact: cfg.Operator.Contact, TLS: h.Trust.Web(),
		TermsVersion: TermsVersion, AddressBook: cfg.addressBook()})
	deps.Metrics = h.metrics
	s, err := webd.New(deps)
	if err != nil {
		return nil, err
	}
	return []door{{name: "web.listen", addr: cfg.Web.Listen, serve: s.Serve}}, nil
}

// ldapDoors are those by which mail programs ask the directory.
func (h *House) ldapDoors() ([]door, error) {
	tickets, err := ticket.New(h.ticketSecret("ldap"))
	if err != nil {
		return nil, err
	}
	c := h.Config.LDAP
	s, err := ldapd.New(ldapd.Deps{SignIn: h.Identity, Reader: h.Reader, Search: h.Search, Limit: h.Limit, Turns: h.Turns, Tickets: tickets, TLS: h.Trust.IMAP(),
		VerifyClient: h.Trust.VerifyClient, Log: h.log, Now: h.now, Metrics: h.metrics},
		ldapd.Config{Base: c.Base, MaxEntriesPerHour: int(c.HourlyEntries)})
	if err != nil {
		return nil, err
	}
	return []door{
		{name: "ldap.ldap", addr: c.LDAP, serve: s.Serve},
		{name: "ldap.ldaps", addr: c.LDAPS, serve: s.ServeTLS},
	}, nil
}

// fhirDoors are those by which software and phones ask the directory.
func (h *House) fhirDoors() ([]door, error) {
	tickets, err := ticket.New(h.ticketSecret("fhir"))
	if err != nil {
		return nil, err
	}
	cfg := h.Config
	s, err := fhird.New(fhird.Deps{SignIn: h.Identity, Reader: h.Reader, Store: resource.New(h.Asked, cmp.Or(cfg.FHIR.BaseURL, "https://"+cfg.Operator.Hostname+"/fhir")), Limit: h.Limit, Turns: h.Turns,
		Tickets: tickets, TLS: h.Trust.IMAP(), VerifyClient: h.Trust.VerifyClient, Log: h.log, Now: h.now, Metrics: h.metrics},
		fhird.Config{BaseURL: cfg.FHIR.BaseURL, Operator: cfg.Operator.Name, Version: version()})
	if err != nil {
		return nil, err
	}
	dav := davd.New(davd.Deps{DB: h.DB, SignIn: h.Identity, Reader: h.Reader, Search: h.Search, Boxes: h.Directory, Limit: h.Limit, Turns: h.Turns,
		TLS: h.Trust.IMAP(), VerifyClient: h.Trust.VerifyClient, Log: h.log, Now: h.now, Zone: h.zone, Metrics: h.metrics}, davd.Config{})
	return []door{
		{name: "fhir.listen", addr: cfg.FHIR.Listen, serve: s.Serve},
		{name: "dav.listen", addr: cfg.DAV.Listen, serve: dav.Serve},
	}, nil
}

// version is the commit that this program was built from, where it is known.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "devel"
}

// ticketSecret is that of one door's tickets.
func (h *House) ticketSecret(door string) []byte { return h.Index.Key("ticket", door) }

// addressBook is what professionals type into their mail program.
func (c Config) addressBook() webd.AddressBook {
	b := webd.AddressBook{LDAPBase: cmp.Or(c.LDAP.Base, ldapd.DefaultBase), LDAPPort: port(c.LDAP.LDAP), LDAPS: port(c.LDAP.LDAPS), CardDAV: c.DAV.BaseURL}
	if b.LDAPPort != 0 || b.LDAPS != 0 {
		b.LDAPHost = cmp.Or(c.LDAP.Hostname, c.Operator.Hostname)
	}
	return b
}

// port of a listener's address, 0 when there is none.
func port(addr string) int {
	_, p, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(p)
	return n
}
