package app

import (
	"pli/imapd"
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
	deps := rooms.Deps(webd.Config{Operator: cfg.Operator.Name, Contact: cfg.Operator.Contact, TLS: h.Trust.Web()})
	deps.Metrics = h.metrics
	s, err := webd.New(deps)
	if err != nil {
		return nil, err
	}
	return []door{{name: "web.listen", addr: cfg.Web.Listen, serve: s.Serve}}, nil
}
